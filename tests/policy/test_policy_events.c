/* Every policy, and every wrapper around every policy, under 100,000 random events. */
#include <criterion/criterion.h>

#include "tests/support/policy_events.h"

#define EVENTS 100000

static const char *const no_config[] = {"{}"};
static const char *const pick_first_configs[] = {"{}", "{\"shuffleAddressList\":true}",
                                                 "{\"connectionAttemptDelay\":\"1s\"}"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

Test(policy_events, round_robin, .timeout = 120)
{
    const policy_events events = {.policy = "round_robin", .configs = no_config, .config_count = 1};
    policy_events_run(&events, 1, EVENTS);
}

Test(policy_events, pick_first, .timeout = 120)
{
    const policy_events events = {
        .policy = "pick_first", .configs = pick_first_configs, .config_count = COUNT(pick_first_configs)};
    policy_events_run(&events, 2, EVENTS);
}
