/* Calls in flight to a backend that count for a limit: exact, in one word that all threads share, as opposed to the
 * lanes of slots.h. The word also counts failed calls, in the upper bits. */
#ifndef EVENER_LB_BACKEND_IN_FLIGHT_H
#define EVENER_LB_BACKEND_IN_FLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "lb/backend/subchannel_pool.h"

#define EVENER_IN_FLIGHT_BITS 24
#define EVENER_IN_FLIGHT_MAX ((UINT32_C(1) << EVENER_IN_FLIGHT_BITS) - 1)

/* Return the calls that count for a limit. Any thread that keeps the subchannel alive, as all functions here. */
static inline uint32_t evener_in_flight(const evener_subchannel *subchannel)
{
    return (uint32_t)__atomic_load_n(&evener_slot_body(subchannel)->counts, __ATOMIC_SEQ_CST) & EVENER_IN_FLIGHT_MAX;
}

/* Count a call if there are less than `max`. */
static inline bool evener_in_flight_begin(const evener_subchannel *subchannel, uint32_t max)
{
    uint64_t *counts = &evener_slot_body(subchannel)->counts;
    uint64_t seen = __atomic_load_n(counts, __ATOMIC_RELAXED);
    do {
        if ((seen & EVENER_IN_FLIGHT_MAX) >= max) {
            return false;
        }
    } while (!__atomic_compare_exchange_n(counts, &seen, seen + 1, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    return true;
}

/* End a call that was counted. */
static inline void evener_in_flight_end(const evener_subchannel *subchannel)
{
    (void)__atomic_fetch_sub(&evener_slot_body(subchannel)->counts, 1, __ATOMIC_SEQ_CST);
}

/* Count a failed call. */
static inline void evener_count_failed(const evener_subchannel *subchannel)
{
    (void)__atomic_fetch_add(&evener_slot_body(subchannel)->counts, UINT64_C(1) << EVENER_IN_FLIGHT_BITS,
                             __ATOMIC_RELAXED);
}

/* Return the number of failed calls, modulo 2^40. */
static inline uint64_t evener_failed(const evener_subchannel_body *body)
{
    return __atomic_load_n(&body->counts, __ATOMIC_RELAXED) >> EVENER_IN_FLIGHT_BITS;
}

#endif
