/* Every policy, and every wrapper around every policy, under 100,000 random events. */
#include <criterion/criterion.h>

#include "tests/support/policy_events.h"

#define EVENTS 100000
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const no_config[] = {"{}"};
static const char *const pick_first_configs[] = {"{}", "{\"shuffleAddressList\":true}",
                                                 "{\"connectionAttemptDelay\":\"1s\"}"};
static const char *const slow_start_configs[] = {"{}", "{\"slowStartConfig\":{\"window\":\"5s\"}}"};
static const char *const least_request_configs[] = {"{}", "{\"choiceCount\":10}",
                                                    "{\"choiceCount\":3,\"slowStartConfig\":{\"window\":\"5s\"}}"};

Test(policy_events, least_request, .timeout = 120)
{
    const policy_events events = {
        .policy = "least_request", .configs = least_request_configs, .config_count = COUNT(least_request_configs)};
    policy_events_run(&events, 1, EVENTS);
}

Test(policy_events, pick_first, .timeout = 120)
{
    const policy_events events = {
        .policy = "pick_first", .configs = pick_first_configs, .config_count = COUNT(pick_first_configs)};
    policy_events_run(&events, 2, EVENTS);
}

Test(policy_events, random, .timeout = 120)
{
    const policy_events events = {.policy = "random", .configs = no_config, .config_count = 1};
    policy_events_run(&events, 3, EVENTS);
}

Test(policy_events, round_robin, .timeout = 120)
{
    const policy_events events = {.policy = "round_robin", .configs = no_config, .config_count = 1};
    policy_events_run(&events, 4, EVENTS);
}

Test(policy_events, weighted_random, .timeout = 120)
{
    const policy_events events = {
        .policy = "weighted_random", .configs = slow_start_configs, .config_count = COUNT(slow_start_configs)};
    policy_events_run(&events, 5, EVENTS);
}

Test(policy_events, weighted_round_robin, .timeout = 120)
{
    const policy_events events = {
        .policy = "weighted_round_robin", .configs = slow_start_configs, .config_count = COUNT(slow_start_configs)};
    policy_events_run(&events, 6, EVENTS);
}

Test(policy_events, ring_hash, .timeout = 120)
{
    static const char *const configs[] = {"{}", "{\"minRingSize\":10,\"maxRingSize\":100}"};
    const policy_events events = {
        .policy = "ring_hash", .configs = configs, .config_count = COUNT(configs), .ready_may_queue = true};
    policy_events_run(&events, 7, EVENTS);
}
