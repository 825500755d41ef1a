/* The bounds of every field of the built-in policies' configurations: the last good value, and the first bad one. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include <evener/policy.h>

#define CHILD "\"childPolicy\":[{\"random\":{}}],"
#define DAY_BOUNDS "\"0s\"", "\"86400s\"", "\"-0.001s\"", "\"86400.001s\""
#define YEAR_BOUNDS "\"0s\"", "\"31536000s\"", "\"-0.001s\"", "\"31536000.001s\""
#define PERCENT_BOUNDS "0", "100", "-1", "101"
#define U32_BOUNDS "0", "4294967295", "-1", "4294967296"
#define SLOW_START(policy)                                                                                             \
    {policy, "\"slowStartConfig\":{\"window\":%s}", {DAY_BOUNDS}},                                                     \
        {policy, "\"slowStartConfig\":{\"aggression\":%s}", {"0.1", "100", "0.0999", "100.01"}},                       \
    {                                                                                                                  \
        policy, "\"slowStartConfig\":{\"minWeightPercent\":%s}",                                                       \
        {                                                                                                              \
            "1", "100", "0.99", "100.01"                                                                               \
        }                                                                                                              \
    }

static const struct {
    const char *policy, *field;
    const char *values[4]; /* the least and the greatest; one below and one above. NULL: none */
} rows[] = {
    {"pick_first", "\"connectionAttemptDelay\":%s", {"\"0.1s\"", "\"2s\"", "\"0.0999s\"", "\"2.0001s\""}},
    {"p2c_ewma", "\"choices\":%s", {"2", "64", "1", "65"}},
    {"p2c_ewma", "\"choices\":5,\"maxChoices\":%s", {"5", "64", "4", "65"}},
    {"p2c_ewma", "\"decay\":%s", {"\"0.001s\"", "\"3600s\"", "\"0.0009s\"", "\"3600.001s\""}},
    {"p2c_ewma", "\"forcePickInterval\":%s", {"\"0.001s\"", "\"3600s\"", "\"0.0009s\"", "\"3600.001s\""}},
    {"least_request", "\"choiceCount\":%s", {"2", "4294967295", "1", "4294967296"}},
    {"ring_hash", "\"minRingSize\":%s,\"maxRingSize\":8388608", {"1", "8388608", "0", "8388609"}},
    {"ring_hash", "\"minRingSize\":1,\"maxRingSize\":%s", {"1", "8388608", "0", "8388609"}},
    {"ring_hash", "\"maxLoadFactor\":%s", {"1", "1000", "0.999", "1000.1"}},
    {"weighted_round_robin", "\"oobReportingPeriod\":%s", {DAY_BOUNDS}},
    {"weighted_round_robin", "\"blackoutPeriod\":%s", {DAY_BOUNDS}},
    {"weighted_round_robin", "\"weightExpirationPeriod\":%s", {DAY_BOUNDS}},
    {"weighted_round_robin", "\"weightUpdatePeriod\":%s", {DAY_BOUNDS}},
    {"weighted_round_robin", "\"errorUtilizationPenalty\":%s", {"0", "1e9", "-0.001", "1.001e9"}},
    SLOW_START("weighted_random"),
    SLOW_START("p2c_ewma"),
    SLOW_START("least_request"),
    {"outlier_detection", CHILD "\"interval\":%s", {"\"0.001s\"", "\"31536000s\"", "\"0.0009s\"", "\"31536000.001s\""}},
    {"outlier_detection", CHILD "\"baseEjectionTime\":%s", {YEAR_BOUNDS}},
    {"outlier_detection", CHILD "\"maxEjectionTime\":%s", {YEAR_BOUNDS}},
    {"outlier_detection", CHILD "\"maxEjectionPercent\":%s", {PERCENT_BOUNDS}},
    {"outlier_detection", CHILD "\"minHealthyPercent\":%s", {PERCENT_BOUNDS}},
    {"outlier_detection", CHILD "\"panicThresholdPercent\":%s", {PERCENT_BOUNDS}},
    {"outlier_detection", CHILD "\"successRateEjection\":{\"stdevFactor\":%s}", {U32_BOUNDS}},
    {"outlier_detection", CHILD "\"successRateEjection\":{\"enforcementPercentage\":%s}", {PERCENT_BOUNDS}},
    {"outlier_detection", CHILD "\"successRateEjection\":{\"minimumHosts\":%s}", {U32_BOUNDS}},
    {"outlier_detection", CHILD "\"successRateEjection\":{\"requestVolume\":%s}", {U32_BOUNDS}},
    {"outlier_detection", CHILD "\"failurePercentageEjection\":{\"threshold\":%s}", {PERCENT_BOUNDS}},
    {"outlier_detection", CHILD "\"failurePercentageEjection\":{\"enforcementPercentage\":%s}", {PERCENT_BOUNDS}},
    {"outlier_detection", CHILD "\"failurePercentageEjection\":{\"minimumHosts\":%s}", {U32_BOUNDS}},
    {"outlier_detection", CHILD "\"failurePercentageEjection\":{\"requestVolume\":%s}", {U32_BOUNDS}},
    {"outlier_detection",
     CHILD "\"consecutiveFailureEjection\":{\"threshold\":%s}",
     {"1", "4294967295", "0", "4294967296"}},
    {"outlier_detection", CHILD "\"consecutiveFailureEjection\":{\"enforcementPercentage\":%s}", {PERCENT_BOUNDS}},
};

Test(policy_bounds, are_exact)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t value = 0; value < 4; value++) {
            char member[256], json[512];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            (void)snprintf(member, sizeof member, rows[i].field, rows[i].values[value]);
#pragma GCC diagnostic pop
            (void)snprintf(json, sizeof json, "[{\"%s\":{%s}}]", rows[i].policy, member);
            evener_policy_choice choice = {0};
            evener_status status;
            const evener_status_code code = evener_policy_choose(NULL, json, "lb", &choice, &status);
            cr_expect_eq(code, value < 2 ? EVENER_STATUS_OK : EVENER_STATUS_INVALID_ARGUMENT, "%s: %s", json,
                         status.message);
            evener_policy_choice_clear(&choice);
        }
    }
}

/* Fields of an object are read in that object only: elsewhere they are unknown, and ignored. */
Test(policy_bounds, fields_outside_their_object_are_not_read)
{
    static const char *const policies[] = {"weighted_random", "p2c_ewma", "least_request", "weighted_round_robin"};
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        char json[256];
        (void)snprintf(json, sizeof json, "[{\"%s\":{\"window\":7,\"aggression\":0,\"minWeightPercent\":0}}]",
                       policies[i]);
        evener_policy_choice choice = {0};
        evener_status status;
        cr_expect_eq(evener_policy_choose(NULL, json, "lb", &choice, &status), EVENER_STATUS_OK, "%s: %s", json,
                     status.message);
        evener_policy_choice_clear(&choice);
    }
}
