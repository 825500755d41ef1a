/* Stats: a channel's view of its backends. Answers why a call goes where it goes. */
#ifndef EVENER_STATS_H
#define EVENER_STATS_H

#include <stddef.h>
#include <stdint.h>

#include <evener/channel.h>

EVENER_BEGIN_DECLS

#define EVENER_SUBCHANNEL_NOTE_BYTES 256

/* One backend. The stride of the array is the caller's: evener_channel_stats.subchannel_bytes. */
typedef struct evener_subchannel_stats {
    char address[EVENER_ADDRESS_BYTES_MAX];
    evener_connectivity_state state;
    uint64_t state_age_ms; /* time in this state */
    uint64_t picks;        /* since the address became known */
    uint64_t in_flight;
    uint64_t failed;   /* calls that ended with a status other than OK */
    uint64_t connects; /* successful connections */
    uint64_t connect_failures;
    uint64_t backoff_remaining_ms;           /* 0: not in backoff */
    char note[EVENER_SUBCHANNEL_NOTE_BYTES]; /* written by the policy: "ewma_us=312 success=0.998 ejected" */
    char last_error[EVENER_STATUS_MESSAGE_BYTES];
    uint64_t retries; /* of `picks`: attempts by a retryPolicy after a call's first one, modulo 2^32 */
    uint64_t hedges;  /* attempts by a hedgingPolicy after a call's first one, modulo 2^32 */
    /* Of `picks`: attempts that this backend certainly did not process (A6), and that were made again at once, here or at
     * another backend; modulo 2^32. Many of them: its server refuses streams, or closes connections often. */
    uint64_t transparent_retries;
} evener_subchannel_stats;

/*     evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
 *     if (evener_channel_get_stats(channel, &stats, &status) == EVENER_STATUS_OK) {
 *         ... stats.subchannels[i].note ...
 *         evener_channel_stats_clear(&stats);
 *     } */
typedef struct evener_channel_stats {
    size_t size;             /* sizeof(evener_channel_stats), set by the caller */
    size_t subchannel_bytes; /* sizeof(evener_subchannel_stats), set by the caller: the stride of `subchannels` */
    evener_connectivity_state state;
    char policy[64];
    uint64_t queued_picks;
    uint64_t resolver_updates;
    uint64_t resolver_errors;
    char last_resolver_error[EVENER_STATUS_MESSAGE_BYTES];
    size_t subchannel_count;
    evener_subchannel_stats *subchannels; /* in the order of the address list */
    char list_source[128];                /* origin of the list: "dns 10.0.0.2:53", "cache file /x"; "": unknown */
    /* The list is that of the cache file: the time since the resolver confirmed it. 0: it is the resolver's. */
    uint64_t cached_list_age_ms;
    uint64_t cache_writes; /* of the cache file that succeeded; a list that is in it already is not written */
    uint64_t cache_write_errors;
    char last_cache_error[EVENER_STATUS_MESSAGE_BYTES]; /* why the file was refused, or could not be written */
    /* With a limit of calls in flight; 0 without: those that count, and those that wait for the end of another one. */
    uint64_t limited_calls_in_flight, limited_calls_waiting;
    uint64_t limited_calls_refused; /* too many waited already */
    uint64_t limited_calls_expired; /* they waited too long */
} evener_channel_stats;

/* Take a snapshot. On success fills *stats; the caller frees it with evener_channel_stats_clear(). On failure *stats
 * is untouched. Members that only a newer evener than the library knows are 0. Errors: INVALID_ARGUMENT (`size` or
 * `subchannel_bytes` is not set), RESOURCE_EXHAUSTED. Any thread that may wait for the control thread. */
EVENER_API evener_status_code evener_channel_get_stats(evener_channel *channel, evener_channel_stats *stats,
                                                       evener_status *status);

/* Free the result of evener_channel_get_stats(). The two sizes stay, so that *stats can be filled again. NULL is
 * allowed. Any thread. */
EVENER_API void evener_channel_stats_clear(evener_channel_stats *stats);

/* The calls of one name in methodConfig that has a retryPolicy, a hedgingPolicy or an evenerBreaker, since it first had
 * one. 10,000 names are kept: a further one takes the place of one that the service config does not have any more. */
typedef struct evener_method_stats {
    char method
        [EVENER_SUBCHANNEL_NOTE_BYTES]; /* "/package.Service/Method", "/package.Service/", or "" for the default */
    uint64_t calls;
    uint64_t attempts;            /* on the wire: retries, hedges and transparent retries included */
    uint64_t retries;             /* by policy */
    uint64_t hedges;              /* attempts after the first of a hedged call */
    uint64_t transparent_retries; /* of attempts that were certainly not processed (A6) */
    uint64_t throttled;           /* retries that the policy allows, and the throttle or the budget does not */
    uint64_t breaker_rejections;  /* calls that evenerBreaker did not let through */
    uint64_t quantile_ns;         /* evenerHedgingQuantile of the latencies; 0: not known yet, or not asked for */
    uint64_t attempts_cancelled;  /* of hedged calls: under way when another attempt gave the answer, or began it */
} evener_method_stats;

/* Copy the counters of at most `room` names to `stats`, `stride` bytes each (sizeof(evener_method_stats)). Return the
 * number of names, which may be larger. Any thread that may wait for the control thread. */
EVENER_API size_t evener_channel_get_method_stats(evener_channel *channel, evener_method_stats *stats, size_t stride,
                                                  size_t room);

EVENER_END_DECLS

#endif
