/* Weights of the READY subchannels: the attribute "weight" (1 if none), less during a slow start.
 *
 * Slow start (Envoy: load_balancing/slow_start): a backend that has just got READY may have cold caches. Within
 * `window` its weight is multiplied by max(minWeightPercent / 100, (age / window)^(1 / aggression)); aggression 1 grows
 * it in a straight line, more than 1 faster at the beginning.
 *
 *     "slowStartConfig": {"window": "30s", "aggression": 1.0, "minWeightPercent": 10}
 */
#ifndef EVENER_LB_POLICY_WEIGHTS_H
#define EVENER_LB_POLICY_WEIGHTS_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/base_policy.h>
#include <evener/policy_config.h>

typedef struct evener_slow_start {
    uint64_t window_ns; /* 0: none */
    double aggression;
    double floor; /* of the factor, 0.01 to 1 */
} evener_slow_start;

#define EVENER_SLOW_START_NONE                                                                                         \
    {                                                                                                                  \
        0, 1.0, 0.1                                                                                                    \
    }

/* Read "slowStartConfig" of a policy's configuration, if there is one. */
void evener_slow_start_read(evener_policy_fields *fields, evener_slow_start *slow_start);

/* Return the factor of a weight at an age; 1 when the slow start is over. */
double evener_slow_start_factor(const evener_slow_start *slow_start, uint64_t age_ns);

/* Return whether the address has the weight 0: it gets no new calls while others have more. */
bool evener_is_drained(const evener_address *address);

/* Return the attribute "weight" of an address, at least 1; of a subchannel's address as last set. */
uint32_t evener_static_weight_of(const evener_address *address);
uint32_t evener_static_weight(const evener_subchannel *subchannel);

/* Fill weights[0 .. ready->count), all above 0. While one of them is still growing, ask for another picker soon. */
void evener_ready_weights(const evener_base_ready *ready, const evener_slow_start *slow_start, double *weights);

#endif
