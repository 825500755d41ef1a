/* Retry throttling (A6): a bucket of tokens per server name (shared_throttle.h). Each failure takes a token, each
 * success gives a part of one back; retries and hedges are made only while more than half of the tokens are there. In a
 * total outage that ends nearly all additional load. */
#ifndef EVENER_LB_CHANNEL_THROTTLE_H
#define EVENER_LB_CHANNEL_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "lb/channel/call_policy.h"

typedef struct evener_throttle {
    uint32_t max_milli;    /* atomic, as all members; thousandths of a token. 0: no throttling */
    uint32_t ratio_milli;  /* of a success */
    uint32_t tokens_milli; /* up to max_milli */
} evener_throttle;

/* Apply a configuration; all zero: none. The first one fills the bucket, a further one keeps the share that is there.
 * Control thread, or before any other use. */
void evener_throttle_configure(evener_throttle *throttle, const evener_throttle_config *config);

/* Count the success of a call. Any thread. */
void evener_throttle_succeeded(evener_throttle *throttle);

/* Count the failure of an attempt. Any thread. */
void evener_throttle_failed(evener_throttle *throttle);

/* Return whether a retry or a hedge may be made. Any thread. */
bool evener_throttle_allows(const evener_throttle *throttle);

#endif
