#include "lb/channel/breaker.h"

#include <evener/loop.h>

#define SLICE_NS (250 * EVENER_NS_PER_MS)
/* The codes by which go-zero's breaker judges (codes.Acceptable is false). */
#define FAILURES                                                                                                       \
    (1U << EVENER_STATUS_DEADLINE_EXCEEDED | 1U << EVENER_STATUS_RESOURCE_EXHAUSTED |                                  \
     1U << EVENER_STATUS_UNIMPLEMENTED | 1U << EVENER_STATUS_INTERNAL | 1U << EVENER_STATUS_UNAVAILABLE |              \
     1U << EVENER_STATUS_DATA_LOSS)

/* Move to the slice of now, and empty those between. A call that counts meanwhile may be lost: the sums are of some
 * hundreds. Return its index. */
static uint32_t turn_to(evener_breaker *breaker, uint64_t now_ns)
{
    const uint64_t now = now_ns / SLICE_NS;
    uint64_t latest = __atomic_load_n(&breaker->slice, __ATOMIC_RELAXED);
    if (latest < now &&
        __atomic_compare_exchange_n(&breaker->slice, &latest, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        const uint64_t passed = now - latest < EVENER_BREAKER_SLICES ? now - latest : EVENER_BREAKER_SLICES;
        for (uint64_t i = 0; i < passed; i++) {
            __atomic_store_n(&breaker->slices[(now - i) % EVENER_BREAKER_SLICES].requests, 0, __ATOMIC_RELAXED);
            __atomic_store_n(&breaker->slices[(now - i) % EVENER_BREAKER_SLICES].accepts, 0, __ATOMIC_RELAXED);
        }
    }
    return (uint32_t)(now % EVENER_BREAKER_SLICES);
}

bool evener_breaker_admit(evener_breaker *breaker, double k, uint64_t now_ns, double random)
{
    const uint32_t index = turn_to(breaker, now_ns);
    double requests = 0;
    double accepts = 0;
    for (uint32_t i = 0; i < EVENER_BREAKER_SLICES; i++) {
        requests += (double)__atomic_load_n(&breaker->slices[i].requests, __ATOMIC_RELAXED);
        accepts += (double)__atomic_load_n(&breaker->slices[i].accepts, __ATOMIC_RELAXED);
    }
    (void)__atomic_fetch_add(&breaker->slices[index].requests, 1, __ATOMIC_RELAXED);
    if (random >= (requests - k * accepts) / (requests + 1)) {
        return true;
    }
    (void)__atomic_fetch_add(&breaker->rejections, 1, __ATOMIC_RELAXED);
    return false;
}

void evener_breaker_ended(evener_breaker *breaker, evener_status_code code, uint64_t now_ns)
{
    if ((FAILURES >> ((uint32_t)code & 31U) & 1U) == 0) {
        (void)__atomic_fetch_add(&breaker->slices[turn_to(breaker, now_ns)].accepts, 1, __ATOMIC_RELAXED);
    }
}
