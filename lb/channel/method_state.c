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

/* ---- the table ---- */

static int compare_states(const void *a, const void *b)
{
    return strcmp((*(evener_method_state *const *)a)->path, (*(evener_method_state *const *)b)->path);
}

void evener_method_table_begin(evener_method_table *table)
{
    if (table->count > 1) {
        qsort(table->states, table->count, sizeof *table->states, compare_states);
    }
    table->sorted = table->count;
    table->reusable = 0;
    table->round++;
}

static evener_method_state *find_sorted(const evener_method_table *table, const char *path)
{
    size_t low = 0;
    size_t high = table->sorted;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(table->states[middle]->path, path);
        if (order == 0) {
            return table->states[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

static evener_method_state *append(evener_method_table *table, char *path)
{
    if ((table->count & (table->count - 1)) == 0) { /* 0 or a power of two: the array is full */
        const size_t room = table->count > 0 ? table->count * 2 : 1;
        evener_method_state **grown = realloc(table->states, room * sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        table->states = grown;
    }
    evener_method_state *state = calloc(1, sizeof *state);
    if (state != NULL) {
        state->path = path;
        table->states[table->count++] = state;
    }
    return state;
}

/* Start the counters of a state anew. Calls of the former name may count meanwhile. */
static void reset(evener_method_state *state)
{
    uint64_t *const counters[] = {&state->calls,
                                  &state->attempts,
                                  &state->retries,
                                  &state->hedges,
                                  &state->transparent_retries,
                                  &state->throttled,
                                  &state->losers,
                                  &state->breaker.rejections,
                                  &state->quantile_bits,
                                  &state->quantile_ns};
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        __atomic_store_n(counters[i], 0, __ATOMIC_RELAXED);
    }
    for (size_t i = 0; i < EVENER_LATENCY_BUCKETS; i++) {
        __atomic_store_n(&state->latencies[i], 0, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&state->latency_count, 0, __ATOMIC_RELAXED);
    for (size_t i = 0; i < EVENER_BREAKER_SLICES; i++) {
        __atomic_store_n(&state->breaker.slices[i].requests, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&state->breaker.slices[i].accepts, 0, __ATOMIC_RELAXED);
    }
}

/* Take a state whose name is not among those found in this round so far. Its name may follow in this config, which then
 * finds no state of that name and starts anew. NULL: none is left. */
static evener_method_state *take_over(evener_method_table *table, char *path)
{
    while (table->reusable < table->sorted && table->states[table->reusable]->round == table->round) {
        table->reusable++;
    }
    if (table->reusable == table->sorted) {
        return NULL;
    }
    /* Its place moves to the unsorted part: searches rely on the order of the rest. */
    evener_method_state *state = table->states[table->reusable];
    memmove(&table->states[table->reusable], &table->states[table->reusable + 1],
            (table->count - table->reusable - 1) * sizeof *table->states);
    table->states[table->count - 1] = state;
    table->sorted--;
    free(state->path);
    state->path = path;
    reset(state);
    return state;
}

evener_method_state *evener_method_table_find(evener_method_table *table, const char *path)
{
    evener_method_state *state = find_sorted(table, path);
    if (state == NULL) {
        char *copy = strdup(path);
        if (copy == NULL) {
            return NULL;
        }
        state = table->count < EVENER_METHOD_STATES_MAX ? append(table, copy) : take_over(table, copy);
        if (state == NULL) {
            free(copy);
            return NULL;
        }
    }
    state->round = table->round;
    return state;
}

void evener_method_table_clear(evener_method_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        free(table->states[i]->path);
        free(table->states[i]);
    }
    free(table->states);
    *table = (evener_method_table){0};
}

/* ---- latencies ---- */

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
