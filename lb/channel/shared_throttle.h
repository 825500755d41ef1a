/* Throttles of a runtime, one per server name (A6): its channels with the same :authority share their tokens, so that
 * an outage of a server ends the retries of all of them. A channel whose service config has no `retryThrottling` takes
 * no part. When two configs differ, the one that came last is in force for all. */
#ifndef EVENER_LB_CHANNEL_SHARED_THROTTLE_H
#define EVENER_LB_CHANNEL_SHARED_THROTTLE_H

#include <evener/runtime.h>

#include "lb/channel/throttle.h"

typedef struct evener_held_throttle evener_held_throttle;

/* Return the throttle of a server name, held until evener_throttles_release(): a call in flight may still use that of a
 * former name. `held` is the channel's list, NULL at first. NULL: out of memory. Control thread. */
evener_throttle *evener_throttle_hold(evener_runtime *runtime, const char *server_name, evener_held_throttle **held);

/* Give all of the list back. Control thread, if the list is not empty. */
void evener_throttles_release(evener_runtime *runtime, evener_held_throttle **held);

#endif
