/* Method state: what a channel counts and learns of the calls of one name in methodConfig that has a retry or a hedging
 * policy. Its memory lives as long as the channel, and so outlives changes of the service config. */
#ifndef EVENER_LB_CHANNEL_METHOD_STATE_H
#define EVENER_LB_CHANNEL_METHOD_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "lb/channel/breaker.h"

/* Latencies are counted in buckets of an eighth of a power of two: a quantile is at most 13 % too high. */
#define EVENER_LATENCY_OCTAVES 27 /* from 1 us (2^10 ns) to about 137 s */
#define EVENER_LATENCY_BUCKETS (EVENER_LATENCY_OCTAVES * 8)

typedef struct evener_method_state {
    char *path;     /* "/service/method", "/service/" or ""; the control thread's, as the next */
    uint64_t round; /* of the last config that has the name */
    /* atomic counters */
    uint64_t calls, attempts, retries, hedges, transparent_retries, throttled, losers;
    /* latencies of first attempts; atomic. The sum is halved now and then, so that old ones fade */
    uint32_t latencies[EVENER_LATENCY_BUCKETS];
    uint32_t latency_count;
    evener_breaker breaker;
    uint64_t quantile_bits; /* atomic, of a double: the quantile that a hedging policy asks for; 0: none */
    uint64_t quantile_ns;   /* atomic; 0: not known yet */
} evener_method_state;

/* Names that a table holds: as many as one service config may have. A resolver whose configs bring ever new names
 * makes a full table give the state of a name that the config does not have any more to a new one. */
#define EVENER_METHOD_STATES_MAX 10000

/* The states of a channel. Control thread, or before any other use. Start with all zero. */
typedef struct evener_method_table {
    evener_method_state **states; /* sorted by path up to `sorted`, then in the order of their arrival */
    size_t count, sorted;
    size_t reusable; /* states before this index are of this round's config, or were looked at */
    uint64_t round;
} evener_method_table;

/* Start the names of a further config. */
void evener_method_table_begin(evener_method_table *table);

/* Find or make the state of a name of this config; each name once. A state is never freed before the table, so calls
 * hold it without a reference; calls of a former name in flight count for the new one. NULL: out of memory. */
evener_method_state *evener_method_table_find(evener_method_table *table, const char *path);

/* Free everything. No call is in flight. */
void evener_method_table_clear(evener_method_table *table);

/* Set the quantile that is wanted, in (0, 1); 0: none. Control thread. */
void evener_method_state_want(evener_method_state *state, double quantile);

/* Count the latency of a first attempt. Any thread. */
void evener_method_state_record(evener_method_state *state, uint64_t latency_ns);

/* Add to a counter. NULL `state` is allowed. Any thread. */
#define EVENER_METHOD_ADD(state, counter, number)                                                                      \
    do {                                                                                                               \
        if ((state) != NULL) {                                                                                         \
            (void)__atomic_fetch_add(&(state)->counter, (number), __ATOMIC_RELAXED);                                   \
        }                                                                                                              \
    } while (0)
#define EVENER_METHOD_COUNT(state, counter) EVENER_METHOD_ADD(state, counter, 1)

#endif
