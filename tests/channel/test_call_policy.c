/* retryPolicy, hedgingPolicy and retryThrottling of a service config (A6, client retries), and A6's validation rules. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include <evener/loop.h>

#include "lb/channel/service_config.h"

#define RETRY                                                                                                          \
    "\"maxAttempts\": 4, \"initialBackoff\": \"0.1s\", \"maxBackoff\": \"1s\", \"backoffMultiplier\": 2, "             \
    "\"retryableStatusCodes\": [\"unavailable\", 10, \"DEADLINE_EXCEEDED\"]"

static evener_service_config *parse(const char *json)
{
    evener_service_config *config = NULL;
    evener_status status;
    cr_assert_eq(evener_service_config_parse(json, NULL, "round_robin", &config, &status), EVENER_STATUS_OK, "%s: %s",
                 json, status.message);
    return config;
}

Test(call_policy, a_retry_policy_is_read)
{
    evener_service_config *config = parse("{\"methodConfig\": [{\"name\": [{\"service\": \"a.B\"}], \"retryPolicy\": "
                                          "{" RETRY ", \"perAttemptRecvTimeout\": \"0.25s\"}}]}");
    const evener_call_policy policy = evener_service_config_method(config, "/a.B/C").policy;
    cr_expect_eq(policy.kind, EVENER_CALL_POLICY_RETRY);
    cr_expect_eq(policy.attempts_max, 4);
    cr_expect_eq(policy.backoff_initial_ns, 100 * EVENER_NS_PER_MS);
    cr_expect_eq(policy.backoff_max_ns, EVENER_NS_PER_S);
    cr_expect_float_eq(policy.backoff_multiplier, 2, 1e-9);
    cr_expect_eq(policy.codes,
                 1U << EVENER_STATUS_UNAVAILABLE | 1U << EVENER_STATUS_ABORTED | 1U << EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_expect_eq(policy.attempt_timeout_ns, 250 * EVENER_NS_PER_MS);
    cr_expect_eq(evener_service_config_method(config, "/a.C/C").policy.kind, EVENER_CALL_POLICY_NONE);
    evener_service_config_unref(config);
}

Test(call_policy, a_hedging_policy_is_read)
{
    evener_service_config *config =
        parse("{\"methodConfig\": [{\"name\": [{}], \"hedgingPolicy\": {\"maxAttempts\": 100, \"hedgingDelay\": "
              "\"0.5s\", \"nonFatalStatusCodes\": [\"INTERNAL\"], \"evenerHedgingQuantile\": 0.99}}, "
              "{\"name\": [{\"service\": \"all.AtOnce\"}], \"hedgingPolicy\": {\"maxAttempts\": 2}}]}");
    evener_call_policy policy = evener_service_config_method(config, "/a.B/C").policy;
    cr_expect_eq(policy.kind, EVENER_CALL_POLICY_HEDGE);
    cr_expect_eq(policy.attempts_max, 100, "calls apply the limit, not the config");
    cr_expect_eq(policy.hedging_delay_ns, 500 * EVENER_NS_PER_MS);
    cr_expect_eq(policy.codes, 1U << EVENER_STATUS_INTERNAL);
    cr_expect_float_eq(policy.hedging_quantile, 0.99, 1e-9);
    policy = evener_service_config_method(config, "/all.AtOnce/C").policy;
    cr_expect_eq(policy.kind, EVENER_CALL_POLICY_HEDGE);
    cr_expect_eq(policy.hedging_delay_ns, 0);
    cr_expect_eq(policy.codes, 0);
    evener_service_config_unref(config);
}

/* The most specific name wins, with all that it says: nothing is merged. */
Test(call_policy, the_most_specific_name_wins)
{
    evener_service_config *config =
        parse("{\"methodConfig\": [{\"name\": [{\"service\": \"s\", \"method\": \"plain\"}]}, "
              "{\"name\": [{\"service\": \"s\"}], \"retryPolicy\": {" RETRY "}}, "
              "{\"name\": [{}], \"hedgingPolicy\": {\"maxAttempts\": 2}}]}");
    cr_expect_eq(evener_service_config_method(config, "/s/plain").policy.kind, EVENER_CALL_POLICY_NONE);
    cr_expect_eq(evener_service_config_method(config, "/s/other").policy.kind, EVENER_CALL_POLICY_RETRY);
    cr_expect_eq(evener_service_config_method(config, "/t/plain").policy.kind, EVENER_CALL_POLICY_HEDGE);
    evener_service_config_unref(config);
}

Test(call_policy, throttling_is_read_in_thousandths)
{
    evener_service_config *config = parse("{\"retryThrottling\": {\"maxTokens\": 10, \"tokenRatio\": 0.1239}}");
    cr_expect_eq(evener_service_config_throttle(config)->max_milli, 10000);
    cr_expect_eq(evener_service_config_throttle(config)->ratio_milli, 123);
    evener_service_config_unref(config);
    config = parse("{\"retryThrottling\": {\"maxTokens\": 1000, \"tokenRatio\": 1e9}}");
    cr_expect_eq(evener_service_config_throttle(config)->ratio_milli, 1000000, "as much as there can be");
    evener_service_config_unref(config);
    config = parse("{\"retryThrottling\": null}");
    cr_expect_eq(evener_service_config_throttle(config)->max_milli, 0);
    evener_service_config_unref(config);
}

/* Each of them makes the whole config invalid, and the message names the field. */
Test(call_policy, what_a6_forbids_is_refused)
{
#define POLICY(kind, fields) "{\"methodConfig\": [{\"name\": [{}], \"" kind "\": " fields "}]}"
#define WITHOUT_CODES "\"maxAttempts\": 2, \"initialBackoff\": \"1s\", \"maxBackoff\": \"1s\", \"backoffMultiplier\": 1"
    static const struct {
        const char *json, *place;
    } bad[] = {
        {POLICY("retryPolicy", "5"), "methodConfig[0].retryPolicy:"},
        {POLICY("retryPolicy", "{}"), "retryPolicy.maxAttempts"},
        {POLICY("retryPolicy", "{\"maxAttempts\": 1}"), "retryPolicy.maxAttempts"},
        {POLICY("retryPolicy", "{\"maxAttempts\": \"2\"}"), "retryPolicy.maxAttempts"},
        {POLICY("retryPolicy", "{\"maxAttempts\": 2.5}"), "retryPolicy.maxAttempts"},
        {POLICY("retryPolicy", "{\"maxAttempts\": 2}"), "retryPolicy.initialBackoff: it is missing"},
        {POLICY("retryPolicy", "{\"maxAttempts\": 2, \"initialBackoff\": \"0s\"}"), "retryPolicy.initialBackoff"},
        {POLICY("retryPolicy", "{\"maxAttempts\": 2, \"initialBackoff\": \"1\"}"), "retryPolicy.initialBackoff"},
        {POLICY("retryPolicy", "{\"maxAttempts\": 2, \"initialBackoff\": \"1s\"}"), "retryPolicy.maxBackoff"},
        {POLICY("retryPolicy", "{\"maxAttempts\": 2, \"initialBackoff\": \"1s\", \"maxBackoff\": \"1s\"}"),
         "retryPolicy.backoffMultiplier"},
        {POLICY("retryPolicy", "{\"maxAttempts\": 2, \"initialBackoff\": \"1s\", \"maxBackoff\": \"1s\", "
                               "\"backoffMultiplier\": 0}"),
         "retryPolicy.backoffMultiplier"},
        {POLICY("retryPolicy", "{" WITHOUT_CODES "}"), "retryPolicy.retryableStatusCodes"},
        {POLICY("retryPolicy", "{" WITHOUT_CODES ", \"retryableStatusCodes\": []}"),
         "retryPolicy.retryableStatusCodes"},
        {POLICY("retryPolicy", "{" WITHOUT_CODES ", \"retryableStatusCodes\": \"UNAVAILABLE\"}"),
         "retryPolicy.retryableStatusCodes"},
        {POLICY("retryPolicy", "{" WITHOUT_CODES ", \"retryableStatusCodes\": [14, \"NO_SUCH\"]}"), "element 1"},
        {POLICY("retryPolicy", "{" WITHOUT_CODES ", \"retryableStatusCodes\": [17]}"), "element 0"},
        {POLICY("retryPolicy", "{" WITHOUT_CODES ", \"retryableStatusCodes\": [14], \"perAttemptRecvTimeout\": 1}"),
         "retryPolicy.perAttemptRecvTimeout"},
        {POLICY("hedgingPolicy", "[]"), "methodConfig[0].hedgingPolicy:"},
        {POLICY("hedgingPolicy", "{}"), "hedgingPolicy.maxAttempts"},
        {POLICY("hedgingPolicy", "{\"maxAttempts\": 2, \"hedgingDelay\": \"-1s\"}"), "hedgingPolicy.hedgingDelay"},
        {POLICY("hedgingPolicy", "{\"maxAttempts\": 2, \"nonFatalStatusCodes\": [true]}"),
         "hedgingPolicy.nonFatalStatusCodes"},
        {POLICY("hedgingPolicy", "{\"maxAttempts\": 2, \"evenerHedgingQuantile\": 1}"),
         "hedgingPolicy.evenerHedgingQuantile"},
        {POLICY("retryPolicy", "{" RETRY "}, \"hedgingPolicy\": {\"maxAttempts\": 2}"), "not both"},
        {"{\"methodConfig\": [{\"name\": [{\"service\": \"s\"}]}, {\"name\": [{\"service\": \"s\"}]}]}", "two entries"},
        {"{\"methodConfig\": [{\"name\": [{\"method\": \"m\"}]}]}", "\"method\" without \"service\""},
        {POLICY("evenerBreaker", "1"), "methodConfig[0].evenerBreaker:"},
        {POLICY("evenerBreaker", "{\"k\": 0.5}"), "evenerBreaker.k"},
        {"{\"evenerRetryBudget\": 1}", "evenerRetryBudget:"},
        {"{\"evenerRetryBudget\": {\"ratio\": -1}}", "evenerRetryBudget.ratio"},
        {"{\"evenerRetryBudget\": {\"minPerSecond\": \"1\"}}", "evenerRetryBudget.minPerSecond"},
        {"{\"retryThrottling\": 1}", "retryThrottling:"},
        {"{\"retryThrottling\": {\"tokenRatio\": 1}}", "retryThrottling.maxTokens"},
        {"{\"retryThrottling\": {\"maxTokens\": 0, \"tokenRatio\": 1}}", "retryThrottling.maxTokens"},
        {"{\"retryThrottling\": {\"maxTokens\": 1001, \"tokenRatio\": 1}}", "retryThrottling.maxTokens"},
        {"{\"retryThrottling\": {\"maxTokens\": 10}}", "retryThrottling.tokenRatio"},
        {"{\"retryThrottling\": {\"maxTokens\": 10, \"tokenRatio\": 0.0001}}", "retryThrottling.tokenRatio"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        evener_service_config *config = NULL;
        evener_status status = {0};
        cr_expect_eq(evener_service_config_parse(bad[i].json, NULL, "round_robin", &config, &status),
                     EVENER_STATUS_INVALID_ARGUMENT, "%s", bad[i].json);
        cr_expect_not_null(strstr(status.message, bad[i].place), "%s: %s", bad[i].json, status.message);
        evener_service_config_unref(config);
    }
}
