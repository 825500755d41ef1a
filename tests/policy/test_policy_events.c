/* Every policy, and every wrapper around every policy, under 100,000 random events. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/policy_events.h"

#define EVENTS 100000
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const no_config[] = {"{}"};
static const char *const pick_first_configs[] = {"{}", "{\"shuffleAddressList\":true}",
                                                 "{\"connectionAttemptDelay\":\"1s\"}"};
static const char *const slow_start_configs[] = {"{}", "{\"slowStartConfig\":{\"window\":\"5s\"}}"};
static const char *const least_request_configs[] = {"{}", "{\"choiceCount\":10}",
                                                    "{\"choiceCount\":3,\"slowStartConfig\":{\"window\":\"5s\"}}"};

Test(policy_events, least_request)
{
    const policy_events events = {
        .policy = "least_request", .configs = least_request_configs, .config_count = COUNT(least_request_configs)};
    policy_events_run(&events, 1, EVENTS);
}

Test(policy_events, p2c_ewma)
{
    static const char *const configs[] = {"{}", "{\"choices\":4,\"slowStartConfig\":{\"window\":\"5s\"}}",
                                          "{\"compat\":\"go-zero\"}"};
    const policy_events events = {.policy = "p2c_ewma", .configs = configs, .config_count = COUNT(configs)};
    policy_events_run(&events, 9, EVENTS);
}

Test(policy_events, pick_first)
{
    const policy_events events = {
        .policy = "pick_first", .configs = pick_first_configs, .config_count = COUNT(pick_first_configs)};
    policy_events_run(&events, 2, EVENTS);
}

Test(policy_events, random)
{
    const policy_events events = {.policy = "random", .configs = no_config, .config_count = 1};
    policy_events_run(&events, 3, EVENTS);
}

Test(policy_events, round_robin)
{
    const policy_events events = {.policy = "round_robin", .configs = no_config, .config_count = 1};
    policy_events_run(&events, 4, EVENTS);
}

Test(policy_events, weighted_random)
{
    const policy_events events = {
        .policy = "weighted_random", .configs = slow_start_configs, .config_count = COUNT(slow_start_configs)};
    policy_events_run(&events, 5, EVENTS);
}

Test(policy_events, weighted_round_robin)
{
    const policy_events events = {
        .policy = "weighted_round_robin", .configs = slow_start_configs, .config_count = COUNT(slow_start_configs)};
    policy_events_run(&events, 6, EVENTS);
}

Test(policy_events, ring_hash)
{
    static const char *const configs[] = {"{}", "{\"minRingSize\":10,\"maxRingSize\":100}"};
    const policy_events events = {
        .policy = "ring_hash", .configs = configs, .config_count = COUNT(configs), .ready_may_queue = true};
    policy_events_run(&events, 7, EVENTS);
}

/* ---- wrappers ---- */

static const char *const children[] = {"least_request", "pick_first",      "random",   "ring_hash",
                                       "round_robin",   "weighted_random", "p2c_ewma", "weighted_round_robin"};

/* Random events on a wrapper of each policy, whose configurations are made of `formats` with the child for %s. */
static void run_wrapped(const char *wrapper, const char *const *formats, size_t format_count)
{
    for (size_t c = 0; c < COUNT(children); c++) {
        char texts[4][512];
        const char *configs[4];
        char child[64];
        snprintf(child, sizeof child, "[{\"%s\":{}}]", children[c]);
        cr_assert_leq(format_count, COUNT(texts));
        for (size_t i = 0; i < format_count; i++) {
            const char *hole = strstr(formats[i], "%s");
            cr_assert_not_null(hole);
            snprintf(texts[i], sizeof texts[i], "%.*s%s%s", (int)(hole - formats[i]), formats[i], child, hole + 2);
            configs[i] = texts[i];
        }
        const policy_events events = {.policy = wrapper,
                                      .configs = configs,
                                      .config_count = format_count,
                                      .ready_may_queue = strcmp(children[c], "ring_hash") == 0};
        policy_events_run(&events, 100 + c, EVENTS);
    }
}

Test(policy_events, outlier_detection_of_each_policy)
{
    static const char *const formats[] = {
        "{\"interval\":\"1s\",\"baseEjectionTime\":\"2s\",\"maxEjectionPercent\":60,\"failurePercentageEjection\":"
        "{\"threshold\":30,\"minimumHosts\":1,\"requestVolume\":1},\"childPolicy\":%s}",
        "{\"interval\":\"0.5s\",\"maxEjectionPercent\":100,\"successRateEjection\":{\"stdevFactor\":100,"
        "\"minimumHosts\":1,\"requestVolume\":1},\"childPolicy\":%s}",
        "{\"childPolicy\":%s}"};
    run_wrapped("outlier_detection", formats, COUNT(formats));
}

Test(policy_events, health_check_of_each_policy)
{
    static const char *const formats[] = {"{\"serviceName\":\"a\",\"childPolicy\":%s}",
                                          "{\"serviceName\":\"b\",\"childPolicy\":%s}"};
    run_wrapped("health_check", formats, COUNT(formats));
}

Test(policy_events, health_check_of_outlier_detection)
{
    static const char *const configs[] = {
        "{\"childPolicy\":[{\"outlier_detection\":{\"interval\":\"1s\",\"baseEjectionTime\":\"2s\","
        "\"maxEjectionPercent\":60,\"failurePercentageEjection\":{\"threshold\":30,\"minimumHosts\":1,"
        "\"requestVolume\":1},\"childPolicy\":[{\"weighted_round_robin\":{}}]}}]}",
        "{\"childPolicy\":[{\"outlier_detection\":{\"childPolicy\":[{\"random\":{}}]}}]}",
        "{\"serviceName\":\"x\",\"childPolicy\":[{\"least_request\":{}}]}"};
    const policy_events events = {.policy = "health_check", .configs = configs, .config_count = COUNT(configs)};
    policy_events_run(&events, 200, EVENTS);
}
