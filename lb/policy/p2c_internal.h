/* What the files of p2c_ewma share: its configuration, its memory, and go-zero's arithmetic behind `compat`. */
#ifndef EVENER_LB_POLICY_P2C_INTERNAL_H
#define EVENER_LB_POLICY_P2C_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/base_policy.h>

#include "lb/policy/p2c_load.h"
#include "lb/policy/weights.h"

typedef struct p2c_config {
    uint32_t choices;     /* candidates of every pick */
    uint32_t choices_max; /* limit, when the best of them is not good */
    uint64_t decay_ns;
    uint64_t force_pick_ns;
    evener_slow_start slow_start;
    uint32_t failure_codes; /* failure_codes.h */
    bool go_zero;           /* "compat": "go-zero" */
} p2c_config;

/* The defaults, documented in docs/policies.md. */
extern const p2c_config p2c_config_default;

/* The parse_config of the builder. */
evener_status_code p2c_config_parse(const evener_policy_builder *builder, const evener_policy_set *policies,
                                    const char *json, evener_policy_config **config, evener_status *status);
void p2c_config_destroy(evener_policy_config *config);

/* go-zero's statistics of one backend, in its own types (see p2c_go_zero.c). */
typedef struct p2c_go_zero_stats {
    evener_subchannel *subchannel;
    evener_loop *loop;
    uint64_t lag_ns;
    uint64_t success;
    int64_t in_flight;
    int64_t last_ns; /* the last answer */
    int64_t pick_ns; /* the last pick */
    uint64_t generation;
} p2c_go_zero_stats;

/* evener_subchannel_data(): statistics of either kind, so that they stay apart when `compat` changes on a live channel.
 * go-zero's are created on first use. */
typedef struct p2c_data {
    p2c_stats stats;            /* the memory is aligned: on a cache line of their own */
    p2c_go_zero_stats *go_zero; /* owned; or NULL */
} p2c_data;

/* The memory of one instance of the policy. Control thread. */
typedef struct p2c_state {
    uint32_t generation;     /* of the last picker */
    uint64_t first_ready_ns; /* when it had its first backend */
    uint64_t ramp_end_ns;    /* when the last slow start ends */
    bool go_zero;            /* of the last picker */
} p2c_state;

/* The build_picker of `compat`. */
evener_picker *p2c_go_zero_build_picker(const evener_base_ready *ready, const p2c_config *config);
void p2c_go_zero_free(p2c_data *data);
void p2c_go_zero_describe(const p2c_data *data, char *buffer, size_t buffer_bytes);

#endif
