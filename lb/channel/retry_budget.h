/* Retry budget: retries and hedges of a channel at most as a share of its calls, and a few per second besides. Beyond A6,
 * and on top of its throttle: that one reacts to failures, this one also bounds retries of calls that succeed later. */
#ifndef EVENER_LB_CHANNEL_RETRY_BUDGET_H
#define EVENER_LB_CHANNEL_RETRY_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "lb/channel/call_policy.h"

typedef struct evener_retry_budget {
    uint32_t is_on;        /* atomic, as all members */
    uint32_t ratio_milli;  /* thousandths of a retry that each call earns */
    uint32_t second_milli; /* and each second */
    int64_t milli;         /* what there is */
    uint64_t filled_ns;    /* when the seconds' share was added */
} evener_retry_budget;

/* Apply a configuration; `is_on` false: none. A budget begins with what ten seconds earn. Control thread, or before any
 * other use. */
void evener_retry_budget_configure(evener_retry_budget *budget, const evener_retry_budget_config *config,
                                   uint64_t now_ns);

/* Count a call. Any thread. */
void evener_retry_budget_earn(evener_retry_budget *budget);

/* Take a retry out of the budget; true without one. Any thread. */
bool evener_retry_budget_take(evener_retry_budget *budget, uint64_t now_ns);

#endif
