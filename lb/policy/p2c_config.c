/* p2c_ewma's part of `loadBalancingConfig`:
 *
 *     {"p2c_ewma": {"choices": 2, "maxChoices": 8, "decay": "10s", "forcePickInterval": "1s", "slowStartConfig": {"window": "10s"},
 *                   "compat": "go-zero"}} */
#include <stdlib.h>
#include <string.h>

#include "lb/policy/json_fields.h"
#include "lb/policy/p2c_internal.h"

#define CHOICES_MIN 2
#define CHOICES_MAX 64
#define DURATION_MIN_NS EVENER_NS_PER_MS
#define DURATION_MAX_NS (3600 * EVENER_NS_PER_S)

const p2c_config p2c_config_default = {
    .choices = 2,
    .choices_max = 8,
    .decay_ns = 10 * EVENER_NS_PER_S,
    .force_pick_ns = EVENER_NS_PER_S,
    .slow_start = {.window_ns = 10 * EVENER_NS_PER_S, .aggression = 1.0, .floor = 0.1},
    .go_zero = false,
};

static evener_status_code read_compat(const json_t *object, p2c_config *config, evener_status *status)
{
    char compat[16] = "";
    const evener_status_code code = evener_json_string(object, "compat", compat, sizeof compat, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    config->go_zero = strcmp(compat, "go-zero") == 0;
    if (!config->go_zero && compat[0] != '\0') {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "compat: \"%s\" is not known; write \"go-zero\"", compat);
    }
    return EVENER_STATUS_OK;
}

static evener_status_code read_config(const json_t *object, evener_policy_config *parsed, evener_status *status)
{
    p2c_config *config = parsed;
    evener_status_code code;
    if ((code = evener_json_u32(object, "choices", CHOICES_MIN, CHOICES_MAX, &config->choices, status)) != 0) {
        return code;
    }
    if (config->choices > config->choices_max) {
        config->choices_max = config->choices;
    }
    if ((code = evener_json_u32(object, "maxChoices", config->choices, CHOICES_MAX, &config->choices_max, status)) !=
            0 ||
        (code = evener_json_duration(object, "decay", DURATION_MIN_NS, DURATION_MAX_NS, &config->decay_ns, status)) !=
            0 ||
        (code = evener_json_duration(object, "forcePickInterval", DURATION_MIN_NS, DURATION_MAX_NS,
                                     &config->force_pick_ns, status)) != 0 ||
        (code = evener_slow_start_parse(object, &config->slow_start, status)) != 0) {
        return code;
    }
    return read_compat(object, config, status);
}

evener_status_code p2c_config_parse(const evener_policy_builder *builder, const evener_policy_set *policies,
                                    const char *json, evener_policy_config **config, evener_status *status)
{
    (void)builder;
    (void)policies;
    return evener_json_config(json, &p2c_config_default, sizeof p2c_config_default, read_config, config, status);
}

void p2c_config_destroy(evener_policy_config *config)
{
    free(config);
}
