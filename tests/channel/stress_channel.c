/* brpc's "update while selecting" on real threads: callers pick without pause while the list is shuffled, connections
 * drop and the policy changes. No call may fail while one backend of the current list is alive; nothing may be left
 * at the end. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/stress_scene.h"

#define THREADS 8
#define UPDATES 1000
#define PORTS 12

typedef struct caller {
    stress_scene *s;
    pthread_t thread;
    uint64_t calls;
} caller;

static void *call_without_pause(void *arg)
{
    caller *c = arg;
    const evener_pick_args args = {.size = sizeof args, .timeout_ms = 30000};
    evener_pick held[4]; /* some picks last long */
    uint32_t held_count = 0;
    while (!stress_stopped(c->s)) {
        evener_pick pick;
        evener_status status;
        if (evener_channel_pick(c->s->channel, &args, &pick, &status) != EVENER_STATUS_OK) {
            stress_check(c->s, false, status.message);
        }
        stress_check(c->s, strncmp(evener_subchannel_address_text(pick.subchannel), "127.0.0.1:", 10) == 0,
                     "no address");
        c->calls++;
        if (c->calls % 64 == 0 && held_count < 4) {
            held[held_count++] = pick;
            continue;
        }
        const evener_done_info info = {.size = sizeof info,
                                       .code = c->calls % 7 == 0 ? EVENER_STATUS_UNAVAILABLE : EVENER_STATUS_OK};
        evener_pick_done(&pick, &info);
        if (held_count == 4) {
            while (held_count > 0) {
                evener_pick_done(&held[--held_count], NULL);
            }
        }
    }
    while (held_count > 0) {
        evener_pick_done(&held[--held_count], NULL);
    }
    return NULL;
}

static void drop_some(void *arg)
{
    stress_scene *s = arg;
    for (int port = 2; port <= PORTS; port++) { /* the first backend never drops */
        char address[32];
        snprintf(address, sizeof address, "127.0.0.1:%d", port);
        if (rand() % 4 == 0) {
            (void)fake_transport_drop(s->transport, address);
        }
    }
}

int main(void)
{
    stress_scene s;
    stress_open(&s, "stress_channel", &(evener_channel_options){.policy = "round_robin"});

    caller callers[THREADS] = {0};
    for (int i = 0; i < THREADS; i++) {
        callers[i].s = &s;
        pthread_create(&callers[i].thread, NULL, call_without_pause, &callers[i]);
    }
    srand(1);
    unsigned random = 1;
    for (int i = 0; i < UPDATES; i++) {
        const char *config = i % 50 < 40 ? NULL : "{\"loadBalancingPolicy\":\"pick_first\"}";
        stress_push(&s, PORTS, true, config, &random);
        if (i % 10 == 0) {
            evener_runtime_call(s.runtime, drop_some, &s);
        }
        usleep(500);
    }
    stress_stop(&s);
    uint64_t calls = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(callers[i].thread, NULL);
        calls += callers[i].calls;
    }
    (void)stress_close(&s);
    printf("stress_channel: %llu calls over %d updates, none failed\n", (unsigned long long)calls, UPDATES);
    return calls > 0 ? 0 : 1;
}
