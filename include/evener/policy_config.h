/* Policy configuration: how a policy reads its part of `loadBalancingConfig`, with errors that name the place.
 *
 * A policy describes its configuration once and lets its builder's parse_config call evener_policy_config_parse():
 *
 *     typedef struct mine { uint32_t choices; uint64_t window_ns; evener_policy_choice child; } mine;
 *     static const mine defaults = {.choices = 2, .window_ns = EVENER_NS_PER_S};
 *
 *     static void read(evener_policy_fields *fields, const evener_policy_set *policies, evener_policy_config *config)
 *     {
 *         mine *m = config;
 *         evener_policy_fields_get_u32(fields, "choices", 2, 64, &m->choices);
 *         evener_policy_fields_get_duration(fields, "window", 0, 60 * EVENER_NS_PER_S, &m->window_ns);
 *         evener_policy_fields_get_child_policy(fields, "childPolicy", policies, &m->child);
 *     }
 *
 * The first error is kept and ends the reading: what follows it reads nothing. So no call needs a check of its own, and
 * the message is "choices: a whole number from 2 to 64 is needed" or "slowStartConfig.window: ...". */
#ifndef EVENER_POLICY_CONFIG_H
#define EVENER_POLICY_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/policy.h>
#include <evener/status.h>

EVENER_BEGIN_DECLS

/* A JSON object that is being read. */
typedef struct evener_policy_fields evener_policy_fields;

/* What a field that was not read means. */
typedef enum evener_unknown_fields {
    EVENER_UNKNOWN_FIELDS_IGNORE = 0, /* gRPC's rule (A21, service config error handling) */
    EVENER_UNKNOWN_FIELDS_REFUSE = 1  /* INVALID_ARGUMENT that names the field: finds misspelt ones */
} evener_unknown_fields;

/* ---- a configuration of one block ---- */

typedef struct evener_policy_config_type {
    size_t size;          /* sizeof(evener_policy_config_type) */
    size_t config_bytes;  /* of the policy's own struct */
    const void *defaults; /* such a struct, copied before the reading; NULL: all zero */
    /* Read the fields into `config`, which holds the defaults. */
    void (*read)(evener_policy_fields *fields, const evener_policy_set *policies, evener_policy_config *config);
    /* End a configuration that was read in part, and free it. The same function as the builder's config_destroy.
     * NULL: free(). */
    void (*destroy)(evener_policy_config *config);
    evener_unknown_fields unknown;
} evener_policy_config_type;

/* Parse `json`, the text of one object, into a new configuration. On success store it in *config; the caller owns it
 * and ends it with type->destroy, or free() without one. On failure *config is untouched. Errors: INVALID_ARGUMENT (the
 * message begins with the field), RESOURCE_EXHAUSTED. Any thread. */
EVENER_API evener_status_code evener_policy_config_parse(const evener_policy_config_type *type,
                                                         const evener_policy_set *policies, const char *json,
                                                         evener_policy_config **config, evener_status *status);

/* ---- field by field ---- */

/* Open the text of one object; evener_policy_config_parse() does it for its `read`. Never to be checked: NULL (out of
 * memory) and a text that is no object are errors that close reports. Ended with evener_policy_fields_close(). All
 * functions below allow `fields` NULL. One thread at a time. */
EVENER_API evener_policy_fields *evener_policy_fields_open(const char *json);

/* Free `fields` and report the first error. Errors: INVALID_ARGUMENT (the message begins with the field), the code
 * given to evener_policy_fields_fail(), RESOURCE_EXHAUSTED. */
EVENER_API evener_status_code evener_policy_fields_close(evener_policy_fields *fields, evener_unknown_fields unknown,
                                                         evener_status *status);

/* Read one field. Return true if it is there and good, and then store it in *value. Return false if it is missing, and
 * if there was an error before or now; *value keeps the default. A field that is null is missing (ProtoJSON). `name`
 * must stay until close. */
EVENER_API bool evener_policy_fields_get_bool(evener_policy_fields *fields, const char *name, bool *value);
EVENER_API bool evener_policy_fields_get_u32(evener_policy_fields *fields, const char *name, uint32_t min, uint32_t max,
                                             uint32_t *value);
EVENER_API bool evener_policy_fields_get_double(evener_policy_fields *fields, const char *name, double min, double max,
                                                double *value);
/* Read a google.protobuf.Duration, "1.5s". */
EVENER_API bool evener_policy_fields_get_duration(evener_policy_fields *fields, const char *name, uint64_t min_ns,
                                                  uint64_t max_ns, uint64_t *value_ns);
/* Read a string of at most `bytes` - 1 bytes, copied into `value` with a terminating NUL. */
EVENER_API bool evener_policy_fields_get_string(evener_policy_fields *fields, const char *name, char *value,
                                                size_t bytes);

/* Read a list of strings into `value`, of `bytes` bytes: one after another, each with a terminating NUL. Store how many
 * there are in *count. Empty strings are refused, and more than `bytes` can hold. */
EVENER_API bool evener_policy_fields_get_strings(evener_policy_fields *fields, const char *name, char *value,
                                                 size_t bytes, size_t *count);

/* Read a list of status codes, by name or number, as `retryableStatusCodes` of a service config: ["UNAVAILABLE", 14].
 * The set has the bit 1 << code per code. OK and CANCELLED (the caller's own) are refused; an empty list gives an empty
 * set. */
EVENER_API bool evener_policy_fields_get_status_codes(evener_policy_fields *fields, const char *name, uint32_t *codes);

/* Read a list like `loadBalancingConfig` (see evener_policy_choose()). It must be there: a missing one is an error.
 * *choice is ended with evener_policy_choice_clear(). `policies` as parse_config got it. */
EVENER_API bool evener_policy_fields_get_child_policy(evener_policy_fields *fields, const char *name,
                                                      const evener_policy_set *policies, evener_policy_choice *choice);

/* Enter the object `name`: the names that follow are its fields, until leave. Return false, and stay, if it is
 * missing, not an object, deeper than EVENER_POLICY_FIELDS_DEPTH_MAX, or after an error. Enter an object once. */
#define EVENER_POLICY_FIELDS_DEPTH_MAX 8
EVENER_API bool evener_policy_fields_enter(evener_policy_fields *fields, const char *name);
EVENER_API void evener_policy_fields_leave(evener_policy_fields *fields);

/* Report an error of the policy's own rules about the field `name`: the message is the place, ": " and the text. Only
 * the first error is kept. */
EVENER_API void evener_policy_fields_fail(evener_policy_fields *fields, evener_status_code code, const char *name,
                                          const char *format, ...) EVENER_PRINTF(4, 5);

EVENER_END_DECLS

#endif
