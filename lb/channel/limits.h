/* Limits: how many calls may be in flight over a channel and to each of its backends, and how many may wait for an end
 * (A32, circuit breaking: a call above the limit ends with UNAVAILABLE; here it may wait for a bounded time before).
 *
 * Counted are picks from their success to their end, so attempts of retries and hedges as well. The counters are exact:
 * words that all threads share, changed without a lock. They cost a channel without limits nothing: its picks take the
 * paths that they always took, and the end of a pick is counted by a layer that only limited picks have.
 *
 *     pick ── full ──▶ queue ── end of a call, wakes the queue ──▶ pick again, in the order of arrival
 *                        └── wait too long, or too many wait ──▶ UNAVAILABLE
 *
 * While calls wait, new ones queue up behind them. No wake-up is lost: a pick remembers `word`, whose upper half counts
 * ends, and queues up only if it is unchanged after `waiting` was counted; an end changes `word` first and then looks
 * at `waiting`. Both are sequentially consistent. */
#ifndef EVENER_LB_CHANNEL_LIMITS_H
#define EVENER_LB_CHANNEL_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/channel.h>
#include <evener/picker.h>

#include "lb/channel/call_policy.h"

/* What applies. 0: no limit, for the first two. */
typedef struct evener_limit_config {
    uint32_t in_flight_max;
    uint32_t backend_in_flight_max;
    uint32_t waiting_max; /* 0: nobody waits */
    uint64_t wait_ns_max;
} evener_limit_config;

/* Apply the limits of a service config on top: the smaller one of each. Its bounds of the wait replace the others. */
void evener_limit_config_narrow(evener_limit_config *config, const evener_limits_given *given);

typedef struct evener_limits {
    evener_channel *channel;
    uint64_t word;    /* atomic: calls in flight, and 2^32 times the ends and whatever else may give a pick room */
    uint32_t waiting; /* atomic: requests of the queue that wait because of a limit; changed with its mutex held */
    /* atomic, changed by the control thread */
    uint32_t in_flight_max, backend_in_flight_max, waiting_max;
    uint64_t wait_ns_max;
    uint64_t refused, expired; /* atomic counters: too many waited already; waited too long */
    evener_task task;          /* wakes the queue */
} evener_limits;

typedef enum evener_limit_answer {
    EVENER_LIMIT_COUNTED = 0,
    EVENER_LIMIT_CHANNEL_FULL = 1,
    EVENER_LIMIT_BACKEND_FULL = 2
} evener_limit_answer;

void evener_limits_init(evener_limits *limits, evener_channel *channel);

/* Put a configuration in force. Return whether there is any limit. Control thread, or before any other use. */
bool evener_limits_configure(evener_limits *limits, const evener_limit_config *config);

/* Return whether a new pick has to queue up without choosing. Any thread, as the next functions. */
bool evener_limits_is_full(const evener_limits *limits, bool overtakes);

/* Count a pick of the backend if both limits allow it. */
evener_limit_answer evener_limits_begin(evener_limits *limits, const evener_subchannel *subchannel);
/* Take back what evener_limits_begin() has counted, as the pick was not made. */
void evener_limits_take_back(evener_limits *limits, const evener_subchannel *subchannel);
/* The layer of a limited pick: `data` is the limits, `word` the subchannel. */
void evener_limits_ended(void *data, uint64_t word, const evener_done_info *info, uint32_t lane);

/* Return the number of ends: changes when a pick that found no room may find some. */
uint32_t evener_limits_ends(const evener_limits *limits);

/* Count a request that is about to wait. False: it may not. The queue's mutex is held, also in the next. */
bool evener_limits_wait(evener_limits *limits);
/* Count the end of its wait. */
void evener_limits_leave(evener_limits *limits);

/* Fill and return the status of a call that may not wait, or has waited too long; counts it. */
evener_status_code evener_limits_refuse(evener_limits *limits, bool has_waited, evener_status *status);

#endif
