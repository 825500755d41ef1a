/* Glances: calls so short that counting them costs more than the count is worth.
 *
 * A counter that all threads write costs each of them some 20 to 100 ns. A call that ends before another thread could
 * use the changed count need not be counted: it is a glance. A lane has at most one glance in flight, over all
 * backends: further calls are counted. So a backend that stops answering is noticed with the next call, and no count is
 * wrong by more than one call per lane.
 *
 * The policy decides which calls are short enough. */
#ifndef EVENER_LB_POLICY_GLANCE_H
#define EVENER_LB_POLICY_GLANCE_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/picker.h>

/* Set while the lane has a glance in flight. A glance that ends on another thread than it began on leaves this set, or
 * clears it for another glance: then calls are counted needlessly, or one more call is not counted. */
typedef struct evener_glance {
    _Alignas(EVENER_LANE_BYTES) uint32_t under_way;
} evener_glance;

extern evener_glance evener_glances[EVENER_LANES];

static inline bool evener_glance_may_begin(uint32_t lane)
{
    return lane != EVENER_LANE_SHARED && __atomic_load_n(&evener_glances[lane].under_way, __ATOMIC_RELAXED) == 0;
}

/* Begin a glance, where one may begin. */
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
