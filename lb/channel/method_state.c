#include "lb/channel/method_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_OCTAVE 10
/* From this sum on all counts are halved. */
#define LATENCIES_MAX 8192
/* The quantile is computed again after this many latencies. */
#define LATENCIES_PER_QUANTILE 32
/* Latencies above the quantile that must be there before it is known; and the sum that is always enough. */
#define ABOVE_MIN 2.0
#define ENOUGH 2000.0

evener_method_state *evener_method_state_create(const char *path)
{
    const size_t bytes = strlen(path) + 1;
    evener_method_state *state = calloc(1, sizeof *state + bytes);
    if (state != NULL) {
        memcpy(state->path, path, bytes);
    }
    return state;
}

void evener_method_state_want(evener_method_state *state, double quantile)
{
    uint64_t bits;
    memcpy(&bits, &quantile, sizeof bits);
    if (__atomic_exchange_n(&state->quantile_bits, bits, __ATOMIC_RELAXED) != bits) {
        __atomic_store_n(&state->quantile_ns, 0, __ATOMIC_RELAXED);
    }
}

static uint32_t bucket_of(uint64_t ns)
{
    if (ns < UINT64_C(1) << FIRST_OCTAVE) {
        return 0;
    }
    const uint32_t octave = 63U - (uint32_t)__builtin_clzll(ns);
    const uint32_t index = (octave - FIRST_OCTAVE) * 8 + (uint32_t)(ns >> (octave - 3) & 7U);
    return index < EVENER_LATENCY_BUCKETS ? index : EVENER_LATENCY_BUCKETS - 1;
}

static uint64_t upper_bound(uint32_t bucket)
{
    return (UINT64_C(9) + bucket % 8) << (FIRST_OCTAVE + bucket / 8 - 3);
}

/* Halve all counts. Latencies that come meanwhile may be lost or kept whole. */
static void fade(evener_method_state *state)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < EVENER_LATENCY_BUCKETS; i++) {
        const uint32_t half = __atomic_load_n(&state->latencies[i], __ATOMIC_RELAXED) / 2;
        __atomic_store_n(&state->latencies[i], half, __ATOMIC_RELAXED);
        sum += half;
    }
    __atomic_store_n(&state->latency_count, sum, __ATOMIC_RELAXED);
}

static void find_quantile(evener_method_state *state)
{
    const uint64_t bits = __atomic_load_n(&state->quantile_bits, __ATOMIC_RELAXED);
    double quantile;
    memcpy(&quantile, &bits, sizeof quantile);
    const double count = (double)__atomic_load_n(&state->latency_count, __ATOMIC_RELAXED);
    if (bits == 0 || count < fmin(ABOVE_MIN / (1 - quantile), ENOUGH)) {
        return;
    }
    double below = 0;
    uint32_t bucket = 0;
    for (; bucket < EVENER_LATENCY_BUCKETS - 1; bucket++) {
        below += (double)__atomic_load_n(&state->latencies[bucket], __ATOMIC_RELAXED);
        if (below >= quantile * count) {
            break;
        }
    }
    __atomic_store_n(&state->quantile_ns, upper_bound(bucket), __ATOMIC_RELAXED);
}

void evener_method_state_record(evener_method_state *state, uint64_t latency_ns)
{
    (void)__atomic_fetch_add(&state->latencies[bucket_of(latency_ns)], 1, __ATOMIC_RELAXED);
    const uint32_t count = __atomic_add_fetch(&state->latency_count, 1, __ATOMIC_RELAXED);
    if (count % LATENCIES_PER_QUANTILE == 0) {
        find_quantile(state);
    }
    if (count == LATENCIES_MAX) { /* one thread sees this number */
        fade(state);
    }
}
