/* Glances: calls so short that counting them costs more than the count is worth.
 *
 * A counter that all threads write costs each of them some 20 to 100 ns. A call that is over before another thread
 * could make use of hearing of it need not be counted there: it is a glance. A lane has at most one glance under way,
 * whatever backend it goes to: further calls are counted, so that a backend which stops to answer is seen with the next
 * one, and no count is ever wrong by more than one call a lane.
 *
 * Which calls are short enough is for the policy to say. */
#ifndef EVENER_LB_POLICY_GLANCE_H
#define EVENER_LB_POLICY_GLANCE_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/picker.h>

/* One that ends on another thread than it began on leaves this set, or ends it for another: then calls are counted that
 * need not be, or one more is not. */
typedef struct evener_glance {
    _Alignas(EVENER_LANE_BYTES) uint32_t under_way;
} evener_glance;

extern evener_glance evener_glances[EVENER_LANES];

static inline bool evener_glance_may_begin(uint32_t lane)
{
    return lane != EVENER_LANE_SHARED && __atomic_load_n(&evener_glances[lane].under_way, __ATOMIC_RELAXED) == 0;
}

/* Of a glance that may begin. */
static inline void evener_glance_begin(uint32_t lane)
{
    __atomic_store_n(&evener_glances[lane].under_way, 1, __ATOMIC_RELAXED);
}

static inline void evener_glance_end(uint32_t lane)
{
    if (lane != EVENER_LANE_SHARED) {
        __atomic_store_n(&evener_glances[lane].under_way, 0, __ATOMIC_RELAXED);
    }
}

#endif
