/* brpc_load_balancer_unittest: concurrent_select_with_churn, for p2c_ewma on real threads: callers pick and end calls on
 * eight threads (one lane is shared) while the list changes, weights and parameters too. Every pick completes, no call
 * goes to a backend that is gone for good, and the in-flight counts return to zero. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <evener/channel.h>
#include <evener/manual_resolver.h>
#include <evener/stats.h>

#include "tests/support/fake_transport.h"

#define THREADS 8
#define UPDATES 400
#define PORTS 12

typedef struct scene {
    evener_runtime *runtime;
    fake_transport *transport;
    evener_manual_resolver *resolver;
    evener_channel *channel;
    bool stop; /* atomic */
} scene;

static void check(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "stress_p2c: %s\n", what);
        abort();
    }
}

static void *call_without_pause(void *arg)
{
    scene *s = arg;
    const evener_pick_args args = {.size = sizeof args, .timeout_ms = 30000};
    evener_pick held[8];
    size_t calls = 0;
    while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
        evener_pick *pick = &held[calls % 8];
        if (calls >= 8) {
            const evener_done_info info = {.size = sizeof info,
                                           .code = calls % 50 == 0 ? EVENER_STATUS_UNAVAILABLE : EVENER_STATUS_OK,
                                           .not_sent = calls % 97 == 0};
            evener_pick_done(pick, &info);
        }
        evener_status status;
        check(evener_channel_pick(s->channel, &args, pick, &status) == EVENER_STATUS_OK, status.message);
        calls++;
    }
    for (size_t i = 0; i < 8 && i < calls; i++) {
        evener_pick_done(&held[i], NULL);
    }
    return NULL;
}

/* A list of some of the ports, with weights now and then, and another configuration. Port 1 is always there. */
static void push_some(scene *s, int update, unsigned *random)
{
    static const char *const configs[] = {
        "{\"loadBalancingConfig\":[{\"p2c_ewma\":{}}]}",
        "{\"loadBalancingConfig\":[{\"p2c_ewma\":{\"choices\":4,\"slowStartConfig\":{\"window\":\"0.01s\"}}}]}",
        "{\"loadBalancingConfig\":[{\"p2c_ewma\":{\"compat\":\"go-zero\"}}]}",
    };
    char list[1024] = "127.0.0.1:1";
    for (int port = 2; port <= PORTS; port++) {
        const size_t used = strlen(list);
        if (rand_r(random) % 3 == 0) {
            continue;
        }
        if (update % 2 == 0) {
            snprintf(list + used, sizeof list - used, ",127.0.0.1:%d", port);
        } else {
            snprintf(list + used, sizeof list - used, ",127.0.0.1:%d;weight=%d", port, 1 + rand_r(random) % 4);
        }
    }
    evener_status status;
    check(evener_manual_resolver_set(s->resolver, list, configs[update / 20 % 3], &status) == EVENER_STATUS_OK,
          status.message);
}

int main(void)
{
    scene s = {0};
    evener_status status;
    check(evener_runtime_create(NULL, &s.runtime, &status) == EVENER_STATUS_OK, status.message);
    s.transport = fake_transport_create(evener_runtime_loop(s.runtime), true);
    check(evener_manual_resolver_create("orders", &s.resolver, &status) == EVENER_STATUS_OK, status.message);
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(s.resolver)};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = s.runtime,
                                            .transport = fake_transport_transport(s.transport),
                                            .resolvers = resolvers,
                                            .resolver_count = 1,
                                            .policy = "p2c_ewma"};
    check(evener_channel_create("orders:///x", &options, &s.channel, &status) == EVENER_STATUS_OK, status.message);
    unsigned random = 1;
    push_some(&s, 0, &random);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        check(pthread_create(&threads[i], NULL, call_without_pause, &s) == 0, "no thread");
    }
    for (int i = 1; i < UPDATES; i++) {
        push_some(&s, i, &random);
        usleep(500);
    }
    __atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    evener_channel_stats stats;
    uint64_t picks = 0;
    check(evener_channel_get_stats(s.channel, &stats, &status) == EVENER_STATUS_OK, status.message);
    for (size_t i = 0; i < stats.subchannel_count; i++) {
        check(stats.subchannels[i].in_flight == 0, "calls are counted as under way after the last was done");
        check(strstr(stats.subchannels[i].note, "success=") != NULL, "the policy tells nothing");
        picks += stats.subchannels[i].picks;
    }
    evener_channel_stats_clear(&stats);
    evener_channel_unref(s.channel);
    check(fake_transport_references(s.transport) == 0, "a pick's reference of a connection was left");
    fake_transport_destroy(s.transport);
    evener_manual_resolver_destroy(s.resolver);
    evener_runtime_unref(s.runtime);
    printf("stress_p2c: %llu picks of the last backends over %d updates, none failed\n", (unsigned long long)picks,
           UPDATES);
    return picks > 0 ? 0 : 1;
}
