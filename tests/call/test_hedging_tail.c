/* The tail of hedged calls, simulated: 1,000 calls per second to four backends under p2c_ewma, one of which begins to
 * hang. With the hedging delay at the 99th percentile of the method's own latencies the 99.9th percentile stays near that
 * of healthy backends, at few more attempts. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/call/retry_scene.h"

#define SECONDS 30
#define RATE_PER_S 1000
#define HANGS_AT_S 10
#define TIMEOUT_MS 1000
#define HUNG "127.0.0.1:2"
#define HEDGING                                                                                                        \
    "{\"methodConfig\": [{\"name\": [{}], \"hedgingPolicy\": {\"maxAttempts\": 2, \"hedgingDelay\": \"0.1s\", "        \
    "\"evenerHedgingQuantile\": 0.99}}]}"

typedef struct tail tail;

typedef struct tail_call {
    tail *owner;
    uint64_t started_ns, latency_ns;
    evener_status_code code;
    uint32_t ends;
} tail_call;

struct tail {
    fixture *f;
    uint64_t random, hangs_at_ns;
    uint64_t attempts;
    size_t count;
    tail_call calls[SECONDS * RATE_PER_S * 2];
};

static double unit(tail *t)
{
    t->random ^= t->random << 13;
    t->random ^= t->random >> 7;
    t->random ^= t->random << 17;
    return ((double)(t->random >> 11) + 1) / (double)(UINT64_C(1) << 53);
}

/* 1 ms, and an exponential share of 1 ms on average. */
static fake_call_outcome answer(void *arg, const char *address, const evener_call_begin_args *args)
{
    tail *t = arg;
    (void)args;
    t->attempts++;
    const bool hangs = virtual_loop_now_ns(t->f->loop) >= t->hangs_at_ns && strcmp(address, HUNG) == 0;
    return (fake_call_outcome){.kind = hangs ? FAKE_CALL_SILENT : FAKE_CALL_ANSWER,
                               .delay_ns = (uint64_t)(1e6 - 1e6 * log(unit(t)))};
}

static void ended(void *arg, const evener_status *status, evener_bytes *response)
{
    tail_call *c = arg;
    (void)response;
    c->ends++;
    c->code = status->code;
    c->latency_ns = virtual_loop_now_ns(c->owner->f->loop) - c->started_ns;
}

static tail *run(const char *config, uint64_t seed)
{
    tail *t = calloc(1, sizeof *t);
    t->random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    t->f = fixture_create_calling(&(evener_channel_options){.policy = "p2c_ewma", .default_service_config = config},
                                  answer, t);
    fixture_push(t->f, SCENE_BACKENDS ",127.0.0.1:4");
    fixture_connect(t->f);
    virtual_loop_advance_ms(t->f->loop, 100);
    const uint64_t began_ns = virtual_loop_now_ns(t->f->loop);
    t->hangs_at_ns = began_ns + HANGS_AT_S * EVENER_NS_PER_S;
    const evener_call_options options = {.size = sizeof options, .timeout_ms = TIMEOUT_MS};
    while (virtual_loop_now_ns(t->f->loop) < began_ns + SECONDS * EVENER_NS_PER_S) {
        virtual_loop_advance_ns(t->f->loop, (uint64_t)(-log(unit(t)) * 1e9 / RATE_PER_S));
        tail_call *c = &t->calls[t->count++];
        evener_status status;
        *c = (tail_call){.owner = t, .started_ns = virtual_loop_now_ns(t->f->loop)};
        cr_assert_eq(evener_call_start(t->f->channel, SCENE_METHOD, NULL, &options, ended, c, NULL, &status),
                     EVENER_STATUS_OK, "%s", status.message);
    }
    virtual_loop_advance_ms(t->f->loop, 2 * TIMEOUT_MS);
    return t;
}

static void destroy(tail *t)
{
    cr_assert_eq(fake_transport_calls_under_way(t->f->transport), 0);
    fixture_destroy(t->f);
    free(t);
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Return the quantile of the calls that began between two seconds; a failed call counts with its time. */
static double quantile_ms(const tail *t, uint64_t from_s, uint64_t to_s, double quantile)
{
    const uint64_t began_ns = t->hangs_at_ns - HANGS_AT_S * EVENER_NS_PER_S;
    uint64_t *latencies = malloc(t->count * sizeof *latencies);
    size_t count = 0;
    for (size_t i = 0; i < t->count; i++) {
        const tail_call *c = &t->calls[i];
        cr_assert_eq(c->ends, 1);
        if (c->started_ns >= began_ns + from_s * EVENER_NS_PER_S && c->started_ns < began_ns + to_s * EVENER_NS_PER_S) {
            latencies[count++] = c->latency_ns;
        }
    }
    qsort(latencies, count, sizeof *latencies, compare);
    const double found = (double)latencies[(size_t)((double)count * quantile)] / 1e6;
    free(latencies);
    return found;
}

Test(hedging_tail, one_of_four_hangs)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        tail *t = run(HEDGING, seed);
        const double healthy_ms = quantile_ms(t, 2, HANGS_AT_S, 0.999);
        const double hanging_ms = quantile_ms(t, HANGS_AT_S + 1, SECONDS, 0.999);
        const double more = (double)t->attempts / (double)t->count - 1;
        printf("seed %llu: p99.9 %.1f ms healthy, %.1f ms with one that hangs; %.2f %% more attempts\n",
               (unsigned long long)seed, healthy_ms, hanging_ms, more * 100);
        cr_expect_leq(hanging_ms, 3 * healthy_ms, "seed %llu: %.1f ms, healthy %.1f ms", (unsigned long long)seed,
                      hanging_ms, healthy_ms);
        cr_expect_leq(more, 0.02, "seed %llu: %.4f", (unsigned long long)seed, more);
        for (size_t i = 0; i < t->count; i++) {
            cr_assert(t->calls[i].code == EVENER_STATUS_OK || t->calls[i].started_ns < t->hangs_at_ns + EVENER_NS_PER_S,
                      "seed %llu: a call failed", (unsigned long long)seed);
        }
        destroy(t);
    }
}
