/* Service config: the JSON text in which a service tells its clients how to call it (grpc: doc/service_config.md).
 *
 * Immutable once parsed, and counted: the control plane takes the policy from it, calls their method's defaults. */
#ifndef EVENER_LB_CHANNEL_SERVICE_CONFIG_H
#define EVENER_LB_CHANNEL_SERVICE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/policy.h>
#include <evener/status.h>

typedef struct evener_service_config evener_service_config;

#define EVENER_SERVICE_CONFIG_BYTES_MAX (4 * 1024 * 1024)

/* Parses and checks. Unknown fields are ignored; a known one with a bad type or value makes the whole config invalid
 * (A21), with a message that names the field. A policy named by `loadBalancingConfig` wins over `loadBalancingPolicy`
 * (A24). With `healthCheckConfig` (A17) the policy is wrapped in health_check; `default_policy` is the
 * one to wrap when the config names none. Stores a reference. Any thread. */
evener_status_code evener_service_config_parse(const char *json, const evener_policy_set *policies,
                                               const char *default_policy, evener_service_config **config,
                                               evener_status *status);

/* NULL is allowed. Any thread. */
evener_service_config *evener_service_config_ref(evener_service_config *config);
void evener_service_config_unref(evener_service_config *config);

/* The policy that it names; its `builder` is NULL if it names none. Lives as long as the config. */
const evener_policy_choice *evener_service_config_policy(const evener_service_config *config);

/* What a method's `methodConfig` says. */
typedef struct evener_method_settings {
    uint64_t timeout_ms; /* 0: none */
    bool has_wait_for_ready, wait_for_ready;
} evener_method_settings;

/* The settings of "/package.Service/Method": the method's own, else its service's, else the default's. */
evener_method_settings evener_service_config_method(const evener_service_config *config, const char *method);

/* Fields of gRPC's service config that this version does not act on, though they ask for something: bit i is set in
 * evener_service_config_unbuilt() if the config has the field that evener_service_config_unbuilt_field(i) names. */
#define EVENER_SERVICE_CONFIG_UNBUILT_COUNT 5
uint32_t evener_service_config_unbuilt(const evener_service_config *config);
const char *evener_service_config_unbuilt_field(unsigned i);

/* The text it was parsed from. */
const char *evener_service_config_text(const evener_service_config *config);

#endif
