/* Stats: what a channel knows of its backends: why does a call go where it goes? */
#ifndef EVENER_STATS_H
#define EVENER_STATS_H

#include <stddef.h>
#include <stdint.h>

#include <evener/channel.h>

EVENER_BEGIN_DECLS

#define EVENER_SUBCHANNEL_NOTE_BYTES 256

typedef struct evener_subchannel_stats {
    char address[EVENER_ADDRESS_BYTES_MAX];
    evener_connectivity_state state;
    uint64_t state_age_ms; /* since when it has this state */
    uint64_t picks;        /* since the address is known */
    uint64_t in_flight;
    uint64_t failed;   /* calls that ended with another status than OK */
    uint64_t connects; /* successful connections */
    uint64_t connect_failures;
    uint64_t backoff_remaining_ms;           /* 0: not in backoff */
    char note[EVENER_SUBCHANNEL_NOTE_BYTES]; /* the policy's own: "ewma_us=312 success=0.998 ejected" */
    char last_error[EVENER_STATUS_MESSAGE_BYTES];
} evener_subchannel_stats;

typedef struct evener_channel_stats {
    evener_connectivity_state state;
    char policy[64];
    uint64_t queued_picks;
    uint64_t resolver_updates;
    uint64_t resolver_errors;
    char last_resolver_error[EVENER_STATUS_MESSAGE_BYTES];
    size_t subchannel_count;
    evener_subchannel_stats *subchannels; /* in the order of the address list */
} evener_channel_stats;

/* A snapshot. On success fills *stats, to be freed with evener_channel_stats_clear(). Errors: RESOURCE_EXHAUSTED. Waits
 * for the control thread: any thread that may wait for it. */
EVENER_API evener_status_code evener_channel_get_stats(evener_channel *channel, evener_channel_stats *stats,
                                                       evener_status *status);
EVENER_API void evener_channel_stats_clear(evener_channel_stats *stats);

EVENER_END_DECLS

#endif
