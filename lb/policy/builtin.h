/* The policies that come with evener. Each file of this folder defines its builders; lb/policy/registry.c lists
 * them. */
#ifndef EVENER_LB_POLICY_BUILTIN_H
#define EVENER_LB_POLICY_BUILTIN_H

#include <evener/policy.h>

extern const evener_policy_builder evener_policy_health_check;
extern const evener_policy_builder evener_policy_least_request;
extern const evener_policy_builder evener_policy_least_request_experimental;
extern const evener_policy_builder evener_policy_outlier_detection;
extern const evener_policy_builder evener_policy_outlier_detection_experimental;
extern const evener_policy_builder evener_policy_p2c;
extern const evener_policy_builder evener_policy_p2c_ewma;
extern const evener_policy_builder evener_policy_pick_first;
extern const evener_policy_builder evener_policy_random;
extern const evener_policy_builder evener_policy_ring_hash;
extern const evener_policy_builder evener_policy_ring_hash_experimental;
extern const evener_policy_builder evener_policy_round_robin;
extern const evener_policy_builder evener_policy_weighted_random;
extern const evener_policy_builder evener_policy_weighted_round_robin;

#endif
