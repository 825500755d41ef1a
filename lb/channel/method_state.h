/* Method state: what a channel counts and learns of the calls of one name in methodConfig that has a retry or a hedging
 * policy. Lives as long as the channel, and so outlives changes of the service config. */
#ifndef EVENER_LB_CHANNEL_METHOD_STATE_H
#define EVENER_LB_CHANNEL_METHOD_STATE_H

#include <stdint.h>

#include "lb/channel/breaker.h"

/* Latencies are counted in buckets of an eighth of a power of two: a quantile is at most 13 % too high. */
#define EVENER_LATENCY_OCTAVES 27 /* from 1 us (2^10 ns) to about 137 s */
#define EVENER_LATENCY_BUCKETS (EVENER_LATENCY_OCTAVES * 8)

typedef struct evener_method_state {
    struct evener_method_state *next; /* the control thread's */
    /* atomic counters */
    uint64_t calls, attempts, retries, hedges, transparent_retries, throttled;
    /* latencies of first attempts; atomic. The sum is halved now and then, so that old ones fade */
    uint32_t latencies[EVENER_LATENCY_BUCKETS];
    uint32_t latency_count;
    evener_breaker breaker;
    uint64_t quantile_bits; /* atomic, of a double: the quantile that a hedging policy asks for; 0: none */
    uint64_t quantile_ns;   /* atomic; 0: not known yet */
    char path[];            /* "/service/method", "/service/" or "" */
} evener_method_state;

/* Create a state. NULL: out of memory. Freed with free(). */
evener_method_state *evener_method_state_create(const char *path);

/* Set the quantile that is wanted, in (0, 1); 0: none. Control thread. */
void evener_method_state_want(evener_method_state *state, double quantile);

/* Count the latency of a first attempt. Any thread. */
void evener_method_state_record(evener_method_state *state, uint64_t latency_ns);

/* Add one to a counter. NULL `state` is allowed. Any thread. */
#define EVENER_METHOD_COUNT(state, counter)                                                                            \
    do {                                                                                                               \
        if ((state) != NULL) {                                                                                         \
            (void)__atomic_fetch_add(&(state)->counter, 1, __ATOMIC_RELAXED);                                          \
        }                                                                                                              \
    } while (0)

#endif
