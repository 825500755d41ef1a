/* Backoff: the delay before the next retry (grpc: doc/connection-backoff.md). evener's own connections, DNS lookups,
 * health watches and resolver builds use it; resolvers and transports of a program can.
 *
 *     evener_backoff backoff = {0};                       // a member of the object that retries
 *     ...
 *     evener_timer_start(loop, &retry, evener_backoff_next_ns(&backoff, NULL, loop));   // after each failure
 *     evener_backoff_reset(&backoff);                                                   // after a success
 *
 * The delays are initial, initial x multiplier, initial x multiplier^2 and so on up to the maximum, each randomised
 * by +-jitter, so that clients that failed together do not retry together. No function here allocates or fails.
 * Control thread. */
#ifndef EVENER_BACKOFF_H
#define EVENER_BACKOFF_H

#include <stddef.h>
#include <stdint.h>

#include <evener/loop.h>

EVENER_BEGIN_DECLS

/* Zero in a member is its default, also in members beyond `size`. As no function here fails, a `size` of 0 counts as
 * that of the first version, which ended with `jitter`. */
typedef struct evener_backoff_options {
    size_t size;         /* sizeof(evener_backoff_options) */
    uint64_t initial_ms; /* the first delay; 0: 1000 */
    uint64_t max_ms;     /* limit of the delay before jitter; 0: 120000; below the first delay: the first delay */
    double multiplier;   /* ratio of a delay to the one before; 0: 1.6; below 1: 1 */
    double jitter;       /* share of a delay, at most 1; 0: 0.2; negative: none */
} evener_backoff_options;

/* State of one retry sequence; all zero at its start. */
typedef struct evener_backoff {
    uint64_t delay_ns; /* the last delay, before jitter; 0: none since the start */
} evener_backoff;

/* Advance to the next delay and return it in nanoseconds, with jitter. `options` NULL: all defaults. */
EVENER_API uint64_t evener_backoff_next_ns(evener_backoff *backoff, const evener_backoff_options *options,
                                           evener_loop *loop);

/* Do the two halves of evener_backoff_next_ns() apart, for retries whose delay counts from the start of the failed
 * attempt: advance when the attempt starts, apply the jitter when it has failed. */
EVENER_API uint64_t evener_backoff_advance_ns(evener_backoff *backoff, const evener_backoff_options *options);
EVENER_API uint64_t evener_backoff_spread_ns(uint64_t delay_ns, const evener_backoff_options *options,
                                             evener_loop *loop);

/* Restart the sequence: the next delay is the first one. */
static inline void evener_backoff_reset(evener_backoff *backoff)
{
    backoff->delay_ns = 0;
}

EVENER_END_DECLS

#endif
