/* Service config: the JSON text in which a service describes how to call it (grpc: doc/service_config.md).
 *
 * Immutable once parsed, and counted: the control plane takes the policy from it, calls take the defaults of their
 * method. */
#ifndef EVENER_LB_CHANNEL_SERVICE_CONFIG_H
#define EVENER_LB_CHANNEL_SERVICE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/policy.h>
#include <evener/status.h>

#include "lb/channel/call_policy.h"

typedef struct evener_service_config evener_service_config;

#define EVENER_SERVICE_CONFIG_BYTES_MAX (4 * 1024 * 1024)

/* Parse and check. Unknown fields are ignored. A known field with a bad type or value makes the whole config invalid
 * (A21, service config error handling), with a message that names the field. `loadBalancingConfig` wins over
 * `loadBalancingPolicy` (A24, policy configuration). With `healthCheckConfig` (A17, client-side health checking) the
 * policy is wrapped in health_check; `default_policy` is wrapped when the config names no policy. Store a reference.
 * Any thread. */
evener_status_code evener_service_config_parse(const char *json, const evener_policy_set *policies,
                                               const char *default_policy, evener_service_config **config,
                                               evener_status *status);

/* Take or give back a reference. NULL is allowed. Any thread. */
evener_service_config *evener_service_config_ref(evener_service_config *config);
void evener_service_config_unref(evener_service_config *config);

/* Return the policy that the config names; its `builder` is NULL if it names none. Lives as long as the config. */
const evener_policy_choice *evener_service_config_policy(const evener_service_config *config);

/* A method's settings in `methodConfig`. */
typedef struct evener_method_settings {
    uint64_t timeout_ms; /* 0: none */
    bool has_wait_for_ready, wait_for_ready;
    size_t request_bytes_max, response_bytes_max; /* of one message; 0: not set. At least 1 */
    evener_call_policy policy;
    double breaker_k;                  /* 0: no breaker */
    struct evener_method_state *state; /* the channel's; NULL without policy and breaker, or without memory */
} evener_method_settings;

/* Return the settings of "/package.Service/Method": the method's own, otherwise its service's, otherwise the
 * default's. */
evener_method_settings evener_service_config_method(const evener_service_config *config, const char *method);

/* Return `retryThrottling`. Lives as long as the config. */
const evener_throttle_config *evener_service_config_throttle(const evener_service_config *config);

/* Return connectionScaling.maxConnectionsPerSubchannel (A105, connection scaling), at least 1. */
uint32_t evener_service_config_connections_max(const evener_service_config *config);

/* Return `evenerRetryBudget`. Lives as long as the config. */
const evener_retry_budget_config *evener_service_config_retry_budget(const evener_service_config *config);

/* Return `evenerLimits`. Lives as long as the config. */
const evener_limits_given *evener_service_config_limits(const evener_service_config *config);

/* Set the state of each name with a policy: `state_of` finds or makes that of a path. Before calls see the config. */
void evener_service_config_bind(evener_service_config *config,
                                struct evener_method_state *(*state_of)(void *arg, const char *path), void *arg);

/* Return the text that was parsed. */
const char *evener_service_config_text(const evener_service_config *config);

#endif
