/* Picks on a virtual loop, for counting instructions: every run takes the same path, as neither clock nor threads
 * influence it. bench/instructions/check.sh runs this under callgrind.
 *
 *     bench_instructions POLICY PICKS
 *     bench_instructions queued_pick PICKS
 *     bench_instructions one_changed UNITS
 *
 * Ten backends, one thread; every pick is ended at once, and 1 us passes per pick. `queued_pick`: all picks wait for the
 * first list, and the control thread retries them with round_robin: what a turn of it takes is at most 544 times that
 * (lb/channel/pick_queue.c). `one_changed`: UNITS / 1000 times one address of a list of 1,000 that are READY changes, with
 * round_robin; a unit is what each backend of the list costs the control thread then (docs/performance.md, Updates).
 * Exit status 1 if a pick or an update fails. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/evener.h>

#include "bench/support/instant_transport.h"
#include "tests/support/virtual_loop.h"

#define BACKENDS                                                                                                       \
    "10.0.0.1:1,10.0.0.2:1,10.0.0.3:1,10.0.0.4:1,10.0.0.5:1,"                                                          \
    "10.0.0.6:1,10.0.0.7:1,10.0.0.8:1,10.0.0.9:1,10.0.0.10:1"
#define LIST_BACKENDS 1000
#define WARM_UP_PICKS 1000
#define WARM_UP_MS 20
#define PICKS_PER_STEP 64

/* Return how many picks failed. Time passes in steps, so that the loop's own instructions hardly count. */
static uint64_t pick_many(evener_channel *channel, virtual_loop *loop, uint64_t picks, uint64_t step_ns)
{
    uint64_t failed = 0;
    evener_pick_args args = {.size = sizeof args, .has_hash = true};
    for (uint64_t i = 0; i < picks; i++) {
        evener_pick pick;
        args.hash = args.hash * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        if (evener_channel_try_pick(channel, &args, &pick, NULL) == EVENER_PICK_COMPLETE) {
            evener_pick_done(&pick, NULL);
        } else {
            failed++;
        }
        if ((i + 1) % PICKS_PER_STEP == 0) {
            virtual_loop_advance_ns(loop, step_ns);
        }
    }
    return failed;
}

/* ---- picks that wait ---- */

typedef struct queued {
    evener_pick_request request;
    evener_pick pick;
    uint64_t *failed;
} queued;

static void queued_over(void *arg, evener_status_code code, const evener_status *status)
{
    queued *q = arg;
    (void)status;
    if (code == EVENER_STATUS_OK) {
        evener_pick_done(&q->pick, NULL);
    } else {
        ++*q->failed;
    }
}

/* Queue the picks, push the first list, and return how many failed. */
static uint64_t queue_many(evener_channel *channel, virtual_loop *loop, evener_manual_resolver *resolver,
                           uint64_t picks)
{
    uint64_t failed = 0;
    queued *all = calloc(picks, sizeof *all);
    if (all == NULL) {
        return picks;
    }
    const evener_pick_args args = {.size = sizeof args};
    for (uint64_t i = 0; i < picks; i++) {
        all[i].failed = &failed;
        all[i].request = (evener_pick_request){
            .size = sizeof(evener_pick_request), .pick = &all[i].pick, .callback = queued_over, .arg = &all[i]};
        failed += evener_channel_pick_async(channel, &args, &all[i].request, NULL) != EVENER_PICK_QUEUE;
    }
    failed += evener_manual_resolver_set(resolver, BACKENDS, NULL, NULL) != EVENER_STATUS_OK;
    virtual_loop_run_until_idle(loop);
    free(all);
    return failed;
}

/* ---- lists of which one address changes ---- */

static evener_address *backend(unsigned number)
{
    char text[32];
    evener_address *address = NULL;
    snprintf(text, sizeof text, "10.1.%u.%u:%u", number / 256 % 256, number % 256, 1 + number / 65536);
    return evener_address_create(text, NULL, 0, &address, NULL) == EVENER_STATUS_OK ? address : NULL;
}

/* Push a list, let it become READY, then change one address in its middle per LIST_BACKENDS units. Return how many
 * updates failed. */
static uint64_t change_many(evener_channel *channel, virtual_loop *loop, evener_manual_resolver *resolver,
                            uint64_t units)
{
    evener_address *list[LIST_BACKENDS];
    uint64_t failed = 0;
    for (unsigned i = 0; i < LIST_BACKENDS; i++) {
        list[i] = backend(i);
    }
    const evener_resolver_update update = {.size = sizeof update, .addresses = list, .address_count = LIST_BACKENDS};
    failed += evener_manual_resolver_update(resolver, &update, NULL) != EVENER_STATUS_OK;
    virtual_loop_run_until_idle(loop);
    for (unsigned i = 0; i < units / LIST_BACKENDS; i++) {
        evener_address **changed = &list[LIST_BACKENDS / 2];
        evener_address_unref(*changed);
        *changed = backend(LIST_BACKENDS + i);
        failed += evener_manual_resolver_update(resolver, &update, NULL) != EVENER_STATUS_OK;
        virtual_loop_run_until_idle(loop);
    }
    evener_pick pick;
    const evener_pick_args args = {.size = sizeof args};
    if (evener_channel_try_pick(channel, &args, &pick, NULL) == EVENER_PICK_COMPLETE) {
        evener_pick_done(&pick, NULL);
    } else {
        failed++;
    }
    for (unsigned i = 0; i < LIST_BACKENDS; i++) {
        evener_address_unref(list[i]);
    }
    return failed;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: bench_instructions POLICY PICKS\n");
        return 2;
    }
    const bool waits = strcmp(argv[1], "queued_pick") == 0;
    const bool changes = strcmp(argv[1], "one_changed") == 0;
    virtual_loop *loop = virtual_loop_create(1);
    const evener_runtime_options runtime_options = {.size = sizeof runtime_options, .loop = virtual_loop_loop(loop)};
    evener_runtime *runtime;
    evener_manual_resolver *resolver;
    evener_channel *channel;
    evener_status status;
    if (evener_runtime_create(&runtime_options, &runtime, &status) != EVENER_STATUS_OK ||
        evener_manual_resolver_create("bench", &resolver, &status) != EVENER_STATUS_OK ||
        (!waits && !changes && evener_manual_resolver_set(resolver, BACKENDS, NULL, &status) != EVENER_STATUS_OK)) {
        fprintf(stderr, "bench_instructions: %s\n", status.message);
        return 1;
    }
    instant_transport transport;
    instant_transport_init(&transport, virtual_loop_loop(loop));
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(resolver)};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = runtime,
                                            .transport = &transport.base,
                                            .resolvers = resolvers,
                                            .resolver_count = 1,
                                            .policy = waits || changes ? "round_robin" : argv[1]};
    if (evener_channel_create("bench:///backends", &options, &channel, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "bench_instructions: %s\n", status.message);
        return 1;
    }
    evener_channel_connect(channel);
    const uint64_t picks = strtoull(argv[2], NULL, 10);
    uint64_t failed;
    if (waits) {
        failed = queue_many(channel, loop, resolver, picks);
    } else if (changes) {
        failed = change_many(channel, loop, resolver, picks);
    } else {
        /* ring_hash connects a backend with its first pick; policies that measure learn. */
        (void)pick_many(channel, loop, WARM_UP_PICKS, WARM_UP_MS * EVENER_NS_PER_MS);
        failed = pick_many(channel, loop, picks, PICKS_PER_STEP * EVENER_NS_PER_US);
    }
    evener_channel_unref(channel);
    virtual_loop_run_until_idle(loop);
    evener_manual_resolver_destroy(resolver);
    evener_runtime_unref(runtime);
    instant_transport_clear(&transport);
    virtual_loop_destroy(loop);
    if (failed > 0) {
        fprintf(stderr, "bench_instructions: %llu picks or updates of %s failed\n", (unsigned long long)failed,
                argv[1]);
    }
    return failed > 0;
}
