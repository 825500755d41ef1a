#include "lb/policy/weights.h"

#include <math.h>

#define WINDOW_MAX_NS (UINT64_C(24) * 3600 * EVENER_NS_PER_S)
/* Steps from the floor to the full weight: each adds 5 % of a share. */
#define STEPS 20
#define STEP_MIN_NS (50 * EVENER_NS_PER_MS)

void evener_slow_start_read(evener_policy_fields *fields, evener_slow_start *slow_start)
{
    double percent = slow_start->floor * 100;
    if (!evener_policy_fields_enter(fields, "slowStartConfig")) {
        return;
    }
    evener_policy_fields_get_duration(fields, "window", 0, WINDOW_MAX_NS, &slow_start->window_ns);
    evener_policy_fields_get_double(fields, "aggression", 0.1, 100, &slow_start->aggression);
    evener_policy_fields_get_double(fields, "minWeightPercent", 1, 100, &percent);
    evener_policy_fields_leave(fields);
    slow_start->floor = percent / 100;
}

double evener_slow_start_factor(const evener_slow_start *slow_start, uint64_t age_ns)
{
    if (age_ns >= slow_start->window_ns) {
        return 1;
    }
    const double grown = pow((double)age_ns / (double)slow_start->window_ns, 1 / slow_start->aggression);
    return grown > slow_start->floor ? grown : slow_start->floor;
}

bool evener_is_drained(const evener_address *address)
{
    return evener_address_attribute_u32(address, "weight", 1) == 0;
}

uint32_t evener_static_weight_of(const evener_address *address)
{
    const uint32_t weight = evener_address_attribute_u32(address, "weight", 1);
    return weight > 0 ? weight : 1;
}

uint32_t evener_static_weight(const evener_subchannel *subchannel)
{
    return evener_static_weight_of(evener_subchannel_address(subchannel));
}

void evener_ready_weights(const evener_base_ready *ready, const evener_slow_start *slow_start, double *weights)
{
    const uint64_t now_ns = evener_loop_now_ns(ready->helper->loop);
    bool growing = false;
    for (size_t i = 0; i < ready->count; i++) {
        const uint64_t age_ns = now_ns - ready->ready_since_ns[i];
        weights[i] = (double)evener_static_weight(ready->subchannels[i]);
        if (age_ns < slow_start->window_ns) {
            weights[i] *= evener_slow_start_factor(slow_start, age_ns);
            growing = true;
        }
    }
    if (growing) {
        const uint64_t step_ns = slow_start->window_ns / STEPS;
        *ready->rebuild_after_ns = step_ns > STEP_MIN_NS ? step_ns : STEP_MIN_NS;
    }
}
