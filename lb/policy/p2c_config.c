/* p2c_ewma's part of `loadBalancingConfig`:
 *
 *     {"p2c_ewma": {"choices": 2, "maxChoices": 8, "decay": "10s", "forcePickInterval": "1s",
 *                   "slowStartConfig": {"window": "10s"}, "failureCodes": ["UNAVAILABLE"], "compat": "go-zero"}} */
#include <stdlib.h>
#include <string.h>

#include <evener/policy_config.h>

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
    .failure_codes = EVENER_FAILURE_CODES_DEFAULT,
    .go_zero = false,
};

static void read_compat(evener_policy_fields *fields, p2c_config *config)
{
    char compat[16] = "";
    evener_policy_fields_get_string(fields, "compat", compat, sizeof compat);
    config->go_zero = strcmp(compat, "go-zero") == 0;
    if (!config->go_zero && compat[0] != '\0') {
        evener_policy_fields_fail(fields, EVENER_STATUS_INVALID_ARGUMENT, "compat",
                                  "\"%s\" is not known; write \"go-zero\"", compat);
    }
}

static void read_config(evener_policy_fields *fields, const evener_policy_set *policies, evener_policy_config *parsed)
{
    (void)policies;
    p2c_config *config = parsed;
    evener_policy_fields_get_u32(fields, "choices", CHOICES_MIN, CHOICES_MAX, &config->choices);
    if (config->choices > config->choices_max) {
        config->choices_max = config->choices;
    }
    evener_policy_fields_get_u32(fields, "maxChoices", config->choices, CHOICES_MAX, &config->choices_max);
    evener_policy_fields_get_duration(fields, "decay", DURATION_MIN_NS, DURATION_MAX_NS, &config->decay_ns);
    evener_policy_fields_get_duration(fields, "forcePickInterval", DURATION_MIN_NS, DURATION_MAX_NS,
                                      &config->force_pick_ns);
    evener_slow_start_read(fields, &config->slow_start);
    evener_policy_fields_get_status_codes(fields, "failureCodes", &config->failure_codes);
    read_compat(fields, config);
}

static const evener_policy_config_type config_type = {.size = sizeof config_type,
                                                      .config_bytes = sizeof(p2c_config),
                                                      .defaults = &p2c_config_default,
                                                      .read = read_config};

evener_status_code p2c_config_parse(const evener_policy_builder *builder, const evener_policy_set *policies,
                                    const char *json, evener_policy_config **config, evener_status *status)
{
    (void)builder;
    return evener_policy_config_parse(&config_type, policies, json, config, status);
}

void p2c_config_destroy(evener_policy_config *config)
{
    free(config);
}
