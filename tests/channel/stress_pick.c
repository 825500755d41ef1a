/* Threads pick in every possible way, and end picks on other threads too, while lists, policies and connections
 * change. At the end nothing is lost: every pick has ended, every connection was given up.
 *
 *     stress_pick [SECONDS_PER_POLICY]      without: a fixed number of updates */
#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <evener/evener.h>

#include "lb/runtime/random.h"
#include "tests/support/fake_transport.h"

#define PICKERS 8
#define ADDRESSES 12
#define OUTSTANDING 16 /* picks in flight per thread */
#define PARKING 32     /* slots where threads leave picks for other threads to end */
#define UPDATES 400

static const char *const policies[] = {"round_robin",          "pick_first", "p2c_ewma",  "least_request",
                                       "weighted_round_robin", "random",     "ring_hash", "weighted_random"};
#define POLICIES (sizeof(policies) / sizeof(policies[0]))

static evener_runtime *runtime;
static fake_transport *transport;
static evener_manual_resolver *resolver;
static evener_channel *channel;
static bool counted;                 /* connections stay valid for their picks */
static bool stop;                    /* atomic */
static evener_pick *parked[PARKING]; /* atomic */

typedef struct picker {
    pthread_t thread;
    evener_random random;
    uint64_t given, refused, queued, waited, asynchronous;
    uint64_t async_under_way; /* atomic */
} picker;

static uint64_t below(evener_random *random, uint64_t bound)
{
    return evener_random_next(random) % bound;
}

/* ---- data plane ---- */

static void end(evener_random *random, evener_pick *pick)
{
    static const evener_status_code codes[] = {EVENER_STATUS_OK, EVENER_STATUS_OK, EVENER_STATUS_OK,
                                               EVENER_STATUS_UNAVAILABLE, EVENER_STATUS_DEADLINE_EXCEEDED};
    assert(evener_subchannel_address_text(pick->subchannel)[0] == '1');
    assert(pick->connection != NULL);
    assert(!counted || fake_connection_is_alive(pick->connection)); /* a sanitizer sees it too */
    const evener_done_info info = {
        .size = sizeof(info), .code = codes[below(random, 5)], .not_sent = below(random, 50) == 0};
    evener_pick_done(pick, below(random, 4) == 0 ? NULL : &info);
}

static void park_or_end(picker *self, const evener_pick *pick)
{
    evener_pick *mine = NULL;
    if (below(&self->random, 8) == 0) {
        mine = malloc(sizeof(*mine));
        assert(mine != NULL);
        *mine = *pick;
        mine = __atomic_exchange_n(&parked[below(&self->random, PARKING)], mine, __ATOMIC_ACQ_REL);
        if (mine != NULL) { /* left by another thread */
            end(&self->random, mine);
            free(mine);
        }
    } else {
        evener_pick local = *pick;
        end(&self->random, &local);
    }
}

typedef struct async_pick {
    evener_pick_request request;
    evener_pick pick;
    picker *from;
    uint64_t seed;
    bool called; /* control thread only */
    bool cancelling;
} async_pick;

static void async_done(void *arg, evener_status_code code, const evener_status *status)
{
    async_pick *a = arg;
    assert(!a->called);
    a->called = true;
    assert(status->code == code);
    if (code == EVENER_STATUS_OK) {
        evener_random random;
        evener_random_seed(&random, a->seed);
        end(&random, &a->pick);
    }
    if (!a->cancelling) {
        (void)__atomic_sub_fetch(&a->from->async_under_way, 1, __ATOMIC_RELEASE);
        free(a);
    }
}

/* On the control thread, as it knows whether the callback was called. */
static void async_cancel(void *arg)
{
    async_pick *a = arg;
    if (!a->called) {
        evener_pick_request_cancel(&a->request);
    }
}

static void async_forget(void *arg)
{
    async_pick *a = arg;
    if (!a->called) { /* the callback that follows the cancel will free it */
        a->cancelling = false;
        return;
    }
    (void)__atomic_sub_fetch(&a->from->async_under_way, 1, __ATOMIC_RELEASE);
    free(a);
}

static void pick_async(picker *self, const evener_pick_args *args)
{
    async_pick *a = calloc(1, sizeof(*a));
    assert(a != NULL);
    a->request.size = sizeof a->request;
    a->request.pick = &a->pick;
    a->request.callback = async_done;
    a->request.arg = a;
    a->from = self;
    a->seed = evener_random_next(&self->random) | 1;
    a->cancelling = below(&self->random, 4) == 0;
    const bool cancelling = a->cancelling;
    (void)__atomic_add_fetch(&self->async_under_way, 1, __ATOMIC_RELAXED);
    const evener_pick_outcome outcome = evener_channel_pick_async(channel, args, &a->request, NULL);
    if (outcome == EVENER_PICK_QUEUE) {
        self->asynchronous++;
        if (cancelling) {
            evener_runtime_call(runtime, async_cancel, a);
            evener_runtime_call(runtime, async_forget, a);
        }
        return;
    }
    if (outcome == EVENER_PICK_COMPLETE) {
        end(&self->random, &a->pick);
    }
    (void)__atomic_sub_fetch(&self->async_under_way, 1, __ATOMIC_RELAXED);
    free(a);
}

static void *pick_on(void *arg)
{
    picker *self = arg;
    evener_pick under_way[OUTSTANDING];
    bool used[OUTSTANDING] = {false};
    for (size_t i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
        evener_pick *pick = &under_way[i % OUTSTANDING];
        bool *is_used = &used[i % OUTSTANDING];
        if (*is_used) {
            park_or_end(self, pick);
            *is_used = false;
        }
        const evener_pick_args args = {.size = sizeof(args),
                                       .method = "/stress.Service/Method",
                                       .hash = evener_random_next(&self->random),
                                       .has_hash = true,
                                       .wait_for_ready = below(&self->random, 2) == 0,
                                       .timeout_ms = 1 + below(&self->random, 3)};
        const uint64_t way = below(&self->random, 64);
        if (way == 0) {
            pick_async(self, &args);
            continue;
        }
        if (way == 1) {
            *is_used = evener_channel_pick(channel, &args, pick, NULL) == EVENER_STATUS_OK;
            self->waited++;
        } else {
            const evener_pick_outcome outcome = evener_channel_try_pick(channel, &args, pick, NULL);
            *is_used = outcome == EVENER_PICK_COMPLETE;
            self->queued += outcome == EVENER_PICK_QUEUE;
            self->refused += outcome == EVENER_PICK_FAIL || outcome == EVENER_PICK_DROP;
        }
        self->given += *is_used;
    }
    for (size_t i = 0; i < OUTSTANDING; i++) {
        if (used[i]) {
            end(&self->random, &under_way[i]);
        }
    }
    return NULL;
}

/* ---- control plane ---- */

static void address_of(size_t index, char *text, size_t bytes)
{
    (void)snprintf(text, bytes, "10.0.0.%zu:80", index);
}

static void push(evener_random *random, const char *policy, uint64_t member_odds)
{
    char list[ADDRESSES * 64] = "";
    size_t length = 0;
    for (size_t i = 0; i < ADDRESSES; i++) {
        if (below(random, 100) < member_odds) {
            char address[32];
            address_of(i, address, sizeof(address));
            length += (size_t)snprintf(list + length, sizeof(list) - length, "%s%s;weight=%d", length > 0 ? "," : "",
                                       address, 1 + (int)below(random, 5));
        }
    }
    char config[128];
    (void)snprintf(config, sizeof(config), "{\"loadBalancingConfig\":[{\"%s\":{}}]}", policy);
    evener_status status;
    if (evener_manual_resolver_set(resolver, list, config, &status) != EVENER_STATUS_OK) {
        (void)fprintf(stderr, "%s\n", status.message);
        abort();
    }
}

static void disturb(void *arg)
{
    evener_random *random = arg;
    const uint64_t what = below(random, 8);
    char address[32];
    address_of(below(random, ADDRESSES), address, sizeof(address));
    if (what == 0) { /* drop all: picks queue */
        for (size_t i = 0; i < ADDRESSES; i++) {
            address_of(i, address, sizeof(address));
            (void)fake_transport_drop(transport, address);
        }
    } else if (what < 4) {
        (void)fake_transport_drop(transport, address);
    } else if (what == 4) {
        fake_transport_set(transport, address, FAKE_REFUSE, 0);
    } else {
        fake_transport_set(transport, address, FAKE_ACCEPT, below(random, 3) * 300 * EVENER_NS_PER_US);
    }
}

static uint64_t now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

static void stir(evener_random *random, const char *policy, uint64_t seconds)
{
    const uint64_t end_s = now_s() + seconds;
    for (size_t i = 0; seconds > 0 ? now_s() < end_s : i < UPDATES; i++) {
        /* Mostly one policy; sometimes a graceful switch to another. */
        const char *chosen = below(random, 20) == 0 ? "round_robin" : policy;
        push(random, chosen, below(random, 10) == 0 ? 100 : 60);
        evener_runtime_call(runtime, disturb, random);
        if (below(random, 10) == 0) {
            evener_channel_reset_connect_backoff(channel);
        }
        if (below(random, 50) == 0) {
            evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
            if (evener_channel_get_stats(channel, &stats, NULL) == EVENER_STATUS_OK) {
                evener_channel_stats_clear(&stats);
            }
        }
        const struct timespec nap = {.tv_nsec = 100000};
        (void)nanosleep(&nap, NULL);
    }
}

static void make_transport(void *arg)
{
    transport = fake_transport_create(evener_runtime_loop(runtime), *(bool *)arg);
}

static void end_transport(void *arg)
{
    (void)arg;
    assert(fake_transport_unfreed(transport) == 0);
    fake_transport_destroy(transport);
}

static void count_open(void *arg)
{
    *(size_t *)arg = fake_transport_open_count(transport, NULL);
}

static void run(const char *policy, bool is_counted, uint64_t seconds)
{
    counted = is_counted;
    assert(evener_runtime_create(NULL, &runtime, NULL) == EVENER_STATUS_OK);
    evener_runtime_call(runtime, make_transport, &counted);
    assert(evener_manual_resolver_create("stress", &resolver, NULL) == EVENER_STATUS_OK);
    evener_random random;
    evener_random_seed(&random, 42);
    push(&random, policy, 100);
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(resolver)};
    const evener_channel_options options = {.size = sizeof(options),
                                            .runtime = runtime,
                                            .transport = fake_transport_transport(transport),
                                            .resolvers = resolvers,
                                            .resolver_count = 1,
                                            .backoff_initial_ms = 1,
                                            .backoff_max_ms = 5};
    evener_status status;
    if (evener_channel_create("stress:///x", &options, &channel, &status) != EVENER_STATUS_OK) {
        (void)fprintf(stderr, "%s\n", status.message);
        abort();
    }
    __atomic_store_n(&stop, false, __ATOMIC_RELAXED);
    picker pickers[PICKERS] = {{.given = 0}};
    for (size_t i = 0; i < PICKERS; i++) {
        evener_random_seed(&pickers[i].random, i + 1);
        assert(pthread_create(&pickers[i].thread, NULL, pick_on, &pickers[i]) == 0);
    }
    stir(&random, policy, seconds);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    picker sum = {.given = 0};
    for (size_t i = 0; i < PICKERS; i++) {
        assert(pthread_join(pickers[i].thread, NULL) == 0);
        sum.given += pickers[i].given;
        sum.queued += pickers[i].queued;
        sum.refused += pickers[i].refused;
        sum.waited += pickers[i].waited;
        sum.asynchronous += pickers[i].asynchronous;
    }
    for (size_t i = 0; i < PARKING; i++) {
        evener_pick *pick = __atomic_exchange_n(&parked[i], NULL, __ATOMIC_ACQUIRE);
        if (pick != NULL) {
            end(&random, pick);
            free(pick);
        }
    }
    /* Every queued pick has a timeout, so its callback comes. */
    for (size_t i = 0; i < PICKERS; i++) {
        while (__atomic_load_n(&pickers[i].async_under_way, __ATOMIC_ACQUIRE) != 0) {
            const struct timespec nap = {.tv_nsec = 1000000};
            (void)nanosleep(&nap, NULL);
        }
    }
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    assert(evener_channel_get_stats(channel, &stats, NULL) == EVENER_STATUS_OK);
    for (size_t i = 0; i < stats.subchannel_count; i++) {
        assert(stats.subchannels[i].in_flight == 0);
    }
    evener_channel_stats_clear(&stats);
    assert(sum.given > 0);

    evener_channel_unref(channel);
    size_t open = 1;
    while (open > 0) { /* ctest's timeout ends an endless loop */
        evener_runtime_call(runtime, count_open, &open);
    }
    evener_runtime_call(runtime, end_transport, NULL);
    evener_manual_resolver_destroy(resolver);
    evener_runtime_unref(runtime);
    printf("%-20s %9llu picks, %llu queued, %llu refused, %llu waited, %llu asynchronous\n", policy,
           (unsigned long long)sum.given, (unsigned long long)sum.queued, (unsigned long long)sum.refused,
           (unsigned long long)sum.waited, (unsigned long long)sum.asynchronous);
}

int main(int argc, char **argv)
{
    const uint64_t seconds = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    for (size_t i = 0; i < POLICIES; i++) {
        if (evener_policy_find(NULL, policies[i]) != NULL) {
            run(policies[i], i % 2 == 0, seconds);
        }
    }
    return 0;
}
