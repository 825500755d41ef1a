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
    p2c_common common;  /* a copy, so that this is found by p2c_stats.common */
    p2c_common *former; /* what p2c_stats.common was before; owned; or NULL */
    evener_subchannel *subchannel;
    uint64_t lag_ns;
    uint64_t success;
    int64_t in_flight;
    int64_t last_ns; /* the last answer */
    int64_t pick_ns; /* the last pick */
    uint64_t generation;
} p2c_go_zero_stats;

/* evener_subchannel_data() is the p2c_stats; the memory is aligned: they begin on a cache line of their own. go-zero's
 * statistics, which are created on first use, stay apart from them when `compat` changes on a live channel. */

/* The memory of one instance of the policy. Control thread. */
typedef struct p2c_state {
    p2c_common *common;      /* owned; NULL until the first picker */
    uint32_t generation;     /* of the last picker */
    uint64_t first_ready_ns; /* when it had its first backend */
    uint64_t ramp_end_ns;    /* when the last slow start ends */
    bool go_zero;            /* of the last picker */
} p2c_state;

/* Set the configuration in force. */
static inline void p2c_common_configure(p2c_common *common, const p2c_config *config)
{
    p2c_set(&common->decay_ns, (float)config->decay_ns);
    __atomic_store_n(&common->failure_codes, config->failure_codes, __ATOMIC_RELAXED);
}

/* The build_picker of `compat`. */
evener_picker *p2c_go_zero_build_picker(const evener_base_ready *ready, const p2c_config *config);
/* Free go-zero's statistics of a backend; return what p2c_stats.common was before them. */
p2c_common *p2c_go_zero_free(p2c_common *common);
void p2c_go_zero_describe(const p2c_stats *backend, char *buffer, size_t buffer_bytes);

#endif
