/* Breaker: rejects calls in the client while their servers reject or fail them (Google SRE book, "Handling Overload",
 * adaptive throttling; go-zero's client breaker). Of the calls of the last ten seconds `requests` were made and `accepts`
 * were answered well; a call is rejected with probability max(0, (requests - k * accepts) / (requests + 1)). Rejected
 * calls count as requests. */
#ifndef EVENER_LB_CHANNEL_BREAKER_H
#define EVENER_LB_CHANNEL_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/status.h>

#define EVENER_BREAKER_SLICES 40 /* of a quarter of a second */

typedef struct evener_breaker {
    uint64_t slice; /* atomic, as all members: number of the latest one */
    struct {
        uint32_t requests, accepts;
    } slices[EVENER_BREAKER_SLICES];
    uint64_t rejections;
} evener_breaker;

/* Count a call and return whether it may be made. `random` is uniform in [0, 1). Any thread. */
bool evener_breaker_admit(evener_breaker *breaker, double k, uint64_t now_ns, double random);

/* Count the end of a call that was admitted. Any thread. */
void evener_breaker_ended(evener_breaker *breaker, evener_status_code code, uint64_t now_ns);

#endif
