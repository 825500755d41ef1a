/* Threads pick from a channel with limits of calls in flight: no limit is ever exceeded, nobody is forgotten in the
 * queue, and at the end nothing is in flight.
 *
 *     stress_limits [PICKS_PER_THREAD] */
#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/evener.h>

#include "tests/support/fake_transport.h"

#define THREADS 8
#define BACKENDS 3
#define PER_BACKEND 2
#define PER_CHANNEL 4

static evener_channel *channel;
static int in_flight[BACKENDS], in_all; /* atomic */
static unsigned long picks_per_thread = 500;

typedef struct caller {
    pthread_t thread;
    unsigned number;
    unsigned long found, late;
} caller;

static void *pick_often(void *arg)
{
    caller *self = arg;
    for (unsigned long i = 0; i < picks_per_thread; i++) {
        /* Some give up early, so that they leave the queue beside others that get a pick. */
        const evener_pick_args args = {.size = sizeof args,
                                       .timeout_ms = self->number % 4 == 0 && i % 8 == 0 ? 1 : 60000};
        evener_pick pick;
        evener_status status;
        const evener_status_code code = evener_channel_pick(channel, &args, &pick, &status);
        if (code == EVENER_STATUS_DEADLINE_EXCEEDED && args.timeout_ms == 1) {
            self->late++;
            continue;
        }
        if (code != EVENER_STATUS_OK) {
            fprintf(stderr, "stress_limits: %s: %s\n", evener_status_code_name(code), status.message);
            abort();
        }
        const char *address = evener_subchannel_address_text(pick.subchannel);
        int *at = &in_flight[address[strlen(address) - 1] - '1'];
        const int at_backend = __atomic_add_fetch(at, 1, __ATOMIC_SEQ_CST);
        const int at_all = __atomic_add_fetch(&in_all, 1, __ATOMIC_SEQ_CST);
        if (at_backend > PER_BACKEND || at_all > PER_CHANNEL) {
            fprintf(stderr, "stress_limits: %d calls to %s, %d over the channel\n", at_backend, address, at_all);
            abort();
        }
        sched_yield();
        (void)__atomic_sub_fetch(at, 1, __ATOMIC_SEQ_CST);
        (void)__atomic_sub_fetch(&in_all, 1, __ATOMIC_SEQ_CST);
        evener_pick_done(&pick, NULL);
        self->found++;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        picks_per_thread = strtoul(argv[1], NULL, 10);
    }
    evener_runtime *runtime;
    evener_manual_resolver *resolver;
    evener_status status;
    const evener_runtime_options runtime_options = {.size = sizeof runtime_options};
    if (evener_runtime_create(&runtime_options, &runtime, &status) != EVENER_STATUS_OK ||
        evener_manual_resolver_create("stress", &resolver, &status) != EVENER_STATUS_OK ||
        evener_manual_resolver_set(resolver, "10.0.0.1:1,10.0.0.1:2,10.0.0.1:3", NULL, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "stress_limits: %s\n", status.message);
        return 1;
    }
    fake_transport *transport = fake_transport_create(evener_runtime_loop(runtime), true);
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(resolver)};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = runtime,
                                            .transport = fake_transport_transport(transport),
                                            .resolvers = resolvers,
                                            .resolver_count = 1,
                                            .policy = "p2c_ewma",
                                            .calls_in_flight_max = PER_CHANNEL,
                                            .backend_calls_in_flight_max = PER_BACKEND,
                                            .calls_wait_ms_max = 60000};
    if (evener_channel_create("stress:///x", &options, &channel, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "stress_limits: %s\n", status.message);
        return 1;
    }
    static caller callers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        callers[i].number = i;
        if (pthread_create(&callers[i].thread, NULL, pick_often, &callers[i]) != 0) {
            return 1;
        }
    }
    unsigned long found = 0;
    unsigned long late = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(callers[i].thread, NULL);
        found += callers[i].found;
        late += callers[i].late;
    }
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    if (evener_channel_get_stats(channel, &stats, &status) != EVENER_STATUS_OK || stats.limited_calls_in_flight != 0 ||
        stats.limited_calls_waiting != 0 || stats.limited_calls_refused + stats.limited_calls_expired != 0) {
        fprintf(stderr, "stress_limits: %llu in flight, %llu waiting, %llu refused, %llu expired\n",
                (unsigned long long)stats.limited_calls_in_flight, (unsigned long long)stats.limited_calls_waiting,
                (unsigned long long)stats.limited_calls_refused, (unsigned long long)stats.limited_calls_expired);
        return 1;
    }
    evener_channel_stats_clear(&stats);
    evener_channel_unref(channel);
    evener_manual_resolver_destroy(resolver);
    evener_runtime_unref(runtime);
    fake_transport_destroy(transport);
    printf("%lu picks, %lu gave up\n", found, late);
    return found + late == THREADS * picks_per_thread ? 0 : 1;
}
