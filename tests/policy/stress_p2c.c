/* brpc_load_balancer_unittest: concurrent_select_with_churn, for p2c_ewma on real threads: callers pick and end calls
 * on eight threads (one lane is shared) while the list changes, weights and parameters too. Every pick completes, no
 * call goes to a backend that is gone for good, and the in-flight counts return to zero. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/stress_scene.h"

#define THREADS 8
#define UPDATES 400
#define PORTS 12

static void *call_without_pause(void *arg)
{
    stress_scene *s = arg;
    const evener_pick_args args = {.size = sizeof args, .timeout_ms = 30000};
    evener_pick held[8];
    size_t calls = 0;
    while (!stress_stopped(s)) {
        evener_pick *pick = &held[calls % 8];
        if (calls >= 8) {
            const evener_done_info info = {.size = sizeof info,
                                           .code = calls % 50 == 0 ? EVENER_STATUS_UNAVAILABLE : EVENER_STATUS_OK,
                                           .not_sent = calls % 97 == 0};
            evener_pick_done(pick, &info);
        }
        evener_status status;
        stress_check(s, evener_channel_pick(s->channel, &args, pick, &status) == EVENER_STATUS_OK, status.message);
        calls++;
    }
    for (size_t i = 0; i < 8 && i < calls; i++) {
        evener_pick_done(&held[i], NULL);
    }
    return NULL;
}

/* A list of some of the ports, with weights now and then, and another configuration. Port 1 is always there. */
static void push_some(stress_scene *s, int update, unsigned *random)
{
    static const char *const configs[] = {
        "{\"loadBalancingConfig\":[{\"p2c_ewma\":{}}]}",
        "{\"loadBalancingConfig\":[{\"p2c_ewma\":{\"choices\":4,\"slowStartConfig\":{\"window\":\"0.01s\"}}}]}",
        "{\"loadBalancingConfig\":[{\"p2c_ewma\":{\"compat\":\"go-zero\"}}]}",
    };
    stress_push(s, PORTS, update % 2 != 0, configs[update / 20 % 3], random);
}

/* Return whether the policy has a note on each of the backends of the list in force. */
static bool describes_all(const stress_scene *s)
{
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    evener_status status;
    stress_check(s, evener_channel_get_stats(s->channel, &stats, &status) == EVENER_STATUS_OK, status.message);
    bool all = stats.subchannel_count > 0;
    for (size_t i = 0; i < stats.subchannel_count; i++) {
        all = all && strstr(stats.subchannels[i].note, "success=") != NULL;
    }
    evener_channel_stats_clear(&stats);
    return all;
}

int main(void)
{
    stress_scene s;
    stress_open(&s, "stress_p2c", &(evener_channel_options){.policy = "p2c_ewma"});
    unsigned random = 1;
    push_some(&s, 0, &random);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        stress_check(&s, pthread_create(&threads[i], NULL, call_without_pause, &s) == 0, "no thread");
    }
    for (int i = 1; i < UPDATES; i++) {
        push_some(&s, i, &random);
        usleep(500);
    }
    /* The control thread may still be busy with earlier lists: the backends of the last one get calls too. */
    bool described = describes_all(&s);
    for (int tries = 0; tries < 2000 && !described; tries++) {
        usleep(10000);
        described = describes_all(&s);
    }
    stress_check(&s, described, "the policy describes nothing");
    stress_stop(&s);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    const uint64_t picks = stress_close(&s);
    printf("stress_p2c: %llu picks of the last backends over %d updates, none failed\n", (unsigned long long)picks,
           UPDATES);
    return picks > 0 ? 0 : 1;
}
