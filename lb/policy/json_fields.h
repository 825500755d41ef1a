/* Reading the parameters of a policy out of its JSON object (A21): an unknown field is ignored, a missing one leaves the
 * default in *value, a known one of a bad type or value is INVALID_ARGUMENT with a message that names it. Any thread. */
#ifndef EVENER_LB_POLICY_JSON_FIELDS_H
#define EVENER_LB_POLICY_JSON_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include <evener/policy.h>
#include <evener/status.h>

/* Parses the text of one object; *object is to be given back with json_decref(). */
evener_status_code evener_json_object(const char *json, json_t **object, evener_status *status);

evener_status_code evener_json_bool(const json_t *object, const char *name, bool *value, evener_status *status);

/* A whole number from `min` to `max`. */
evener_status_code evener_json_u32(const json_t *object, const char *name, uint32_t min, uint32_t max, uint32_t *value,
                                   evener_status *status);

/* A number from `min` to `max`. */
evener_status_code evener_json_double(const json_t *object, const char *name, double min, double max, double *value,
                                      evener_status *status);

/* A google.protobuf.Duration, "1.5s", from `min_ns` to `max_ns`. */
evener_status_code evener_json_duration(const json_t *object, const char *name, uint64_t min_ns, uint64_t max_ns,
                                        uint64_t *value_ns, evener_status *status);

/* A string of at most `bytes` - 1 bytes, copied into `value`. */
evener_status_code evener_json_string(const json_t *object, const char *name, char *value, size_t bytes,
                                      evener_status *status);

/* A nested object; *value is borrowed, and NULL if there is none. */
evener_status_code evener_json_nested(const json_t *object, const char *name, const json_t **value,
                                      evener_status *status);

/* Reads the fields of one policy into its configuration, which holds the defaults. */
typedef evener_status_code (*evener_json_config_reader)(const json_t *object, evener_policy_config *config,
                                                        evener_status *status);

/* What a parse_config does whose configuration is one block of `bytes`, to be ended with free(): a copy of `defaults`
 * that `read` fills from the object in `json`. *config is written on success only. */
evener_status_code evener_json_config(const char *json, const void *defaults, size_t bytes,
                                      evener_json_config_reader read, evener_policy_config **config,
                                      evener_status *status);

/* "childPolicy": a loadBalancingConfig list, which must be there. *choice is ended with evener_policy_choice_clear(). */
evener_status_code evener_json_child_policy(const json_t *object, const evener_policy_set *policies,
                                            evener_policy_choice *choice, evener_status *status);

#endif
