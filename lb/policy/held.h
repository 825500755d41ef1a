/* Held places: the in-flight count that a backend would have if its early failures had taken as long as its usual
 * calls.
 *
 * A call that ends early and not OK leaves the in-flight count early, which would make a backend that refuses at once
 * look idle. Therefore its place in the count is held until the usual time has passed. Each place fades exponentially
 * with the usual time of a call: the mean is the number of calls that would be in flight (Little's law), without a
 * timer per call.
 *
 * Any thread. Relaxed atomics: when two threads change the places at once one change may be lost; the next failure
 * makes up for it. */
#ifndef EVENER_LB_POLICY_HELD_H
#define EVENER_LB_POLICY_HELD_H

#include <math.h>
#include <stdint.h>

typedef struct evener_held {
    uint64_t at_ns; /* when `places` was right */
    float places;
    uint32_t of_owner; /* for the struct's owner: alignment would leave these bytes empty */
} evener_held;

/* Less than this counts as no place. */
#define EVENER_HELD_MIN (1.0F / 64)

/* Return the places held now, where calls usually take `usual_ns`; 0: not known, and then none are held. */
static inline float evener_held_now(const evener_held *held, uint64_t now_ns, float usual_ns)
{
    float places;
    __atomic_load(&held->places, &places, __ATOMIC_RELAXED);
    if (places == 0.0F || usual_ns == 0.0F) {
        return 0.0F;
    }
    const float age_ns = (float)(int64_t)(now_ns - __atomic_load_n(&held->at_ns, __ATOMIC_RELAXED));
    const float left = age_ns > 0.0F ? places * expf(-age_ns / usual_ns) : places;
    return left > EVENER_HELD_MIN ? left : 0.0F;
}

/* Hold `places` more. */
static inline void evener_held_add(evener_held *held, uint64_t now_ns, float usual_ns, float places)
{
    float sum = evener_held_now(held, now_ns, usual_ns) + places;
    __atomic_store(&held->places, &sum, __ATOMIC_RELAXED);
    __atomic_store_n(&held->at_ns, now_ns, __ATOMIC_RELAXED);
}

#endif
