/* brpc's "update while selecting", on real threads: callers pick without pause while the list is shuffled, connections
 * drop and the policy changes. No call may fail while one backend of the current list lives; nothing may be left. */
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
#define UPDATES 1000
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
        fprintf(stderr, "stress_channel: %s\n", what);
        abort();
    }
}

typedef struct caller {
    scene *s;
    pthread_t thread;
    uint64_t calls;
} caller;

static void *call_without_pause(void *arg)
{
    caller *c = arg;
    const evener_pick_args args = {.size = sizeof args, .timeout_ms = 30000};
    evener_pick held[4]; /* some picks are long */
    uint32_t held_count = 0;
    while (!__atomic_load_n(&c->s->stop, __ATOMIC_RELAXED)) {
        evener_pick pick;
        evener_status status;
        if (evener_channel_pick(c->s->channel, &args, &pick, &status) != EVENER_STATUS_OK) {
            check(false, status.message);
        }
        check(strncmp(evener_subchannel_address_text(pick.subchannel), "127.0.0.1:", 10) == 0, "no address");
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
    scene *s = arg;
    for (int port = 2; port <= PORTS; port++) { /* the first one is never hurt */
        char address[32];
        snprintf(address, sizeof address, "127.0.0.1:%d", port);
        if (rand() % 4 == 0) {
            (void)fake_transport_drop(s->transport, address);
        }
    }
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
                                            .policy = "round_robin"};
    check(evener_channel_create("orders:///x", &options, &s.channel, &status) == EVENER_STATUS_OK, status.message);

    caller callers[THREADS] = {0};
    for (int i = 0; i < THREADS; i++) {
        callers[i].s = &s;
        pthread_create(&callers[i].thread, NULL, call_without_pause, &callers[i]);
    }
    srand(1);
    for (int i = 0; i < UPDATES; i++) {
        char list[512] = "127.0.0.1:1";
        for (int port = 2; port <= PORTS; port++) {
            if (rand() % 2 == 0) {
                const size_t used = strlen(list);
                snprintf(list + used, sizeof list - used, ",127.0.0.1:%d;weight=%d", port, 1 + rand() % 9);
            }
        }
        const char *config = i % 50 < 40 ? NULL : "{\"loadBalancingPolicy\":\"pick_first\"}";
        check(evener_manual_resolver_set(s.resolver, list, config, &status) == EVENER_STATUS_OK, status.message);
        if (i % 10 == 0) {
            evener_runtime_call(s.runtime, drop_some, &s);
        }
        usleep(500);
    }
    __atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
    uint64_t calls = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(callers[i].thread, NULL);
        calls += callers[i].calls;
    }
    evener_channel_stats stats;
    check(evener_channel_get_stats(s.channel, &stats, &status) == EVENER_STATUS_OK, status.message);
    for (size_t i = 0; i < stats.subchannel_count; i++) {
        check(stats.subchannels[i].in_flight == 0, "calls are counted as under way after the last was done");
    }
    evener_channel_stats_clear(&stats);
    evener_channel_unref(s.channel);
    check(fake_transport_references(s.transport) == 0, "a pick's reference of a connection was left");
    fake_transport_destroy(s.transport);
    evener_manual_resolver_destroy(s.resolver);
    evener_runtime_unref(s.runtime);
    printf("stress_channel: %llu calls over %d updates, none failed\n", (unsigned long long)calls, UPDATES);
    return calls > 0 ? 0 : 1;
}
