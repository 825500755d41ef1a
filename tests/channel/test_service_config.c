/* Parsing a service config: what is taken, what is refused, and each bound exactly. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/loop.h>

#include "lb/channel/method_state.h"
#include "lb/channel/service_config.h"

static evener_service_config *parse(const char *json)
{
    evener_service_config *config = NULL;
    evener_status status;
    cr_assert_eq(evener_service_config_parse(json, NULL, "round_robin", &config, &status), EVENER_STATUS_OK, "%s: %s",
                 json, status.message);
    return config;
}

static void expect_refused(const char *json, const char *message)
{
    evener_service_config *config = NULL;
    evener_status status = {0};
    cr_expect_eq(evener_service_config_parse(json, NULL, "round_robin", &config, &status),
                 EVENER_STATUS_INVALID_ARGUMENT, "%s", json);
    cr_expect_not_null(strstr(status.message, message), "%s: \"%s\" does not say \"%s\"", json, status.message,
                       message);
    cr_expect_null(config);
}

Test(service_config, an_object_is_needed)
{
    expect_refused("{", "service config: line 1, column 1: ");
    expect_refused("{\"a\": 1,\n \"a\": 2}", "service config: line 2, column ");
    expect_refused("[]", "service config: a JSON object is needed");
    expect_refused("5", "service config: ");
    evener_service_config *config = parse("{}");
    cr_expect_str_eq(evener_service_config_text(config), "{}");
    cr_expect_null(evener_service_config_policy(config)->builder);
    cr_expect_eq(evener_service_config_connections_max(config), 1);
    cr_expect_eq(evener_service_config_throttle(config)->max_milli, 0);
    cr_expect_not(evener_service_config_retry_budget(config)->is_on);
    const evener_method_settings settings = evener_service_config_method(config, "/a/b");
    cr_expect(settings.timeout_ms == 0 && !settings.has_wait_for_ready && settings.state == NULL);
    cr_expect_eq(evener_service_config_ref(config), config);
    evener_service_config_unref(config);
    cr_expect_str_eq(evener_service_config_text(config), "{}", "one reference is left");
    evener_service_config_unref(config);
    cr_expect_null(evener_service_config_ref(NULL));
    evener_service_config_unref(NULL);
}

Test(service_config, its_size_is_bounded)
{
    char *text = malloc(EVENER_SERVICE_CONFIG_BYTES_MAX + 2);
    memset(text, ' ', EVENER_SERVICE_CONFIG_BYTES_MAX + 1);
    text[0] = '{';
    text[EVENER_SERVICE_CONFIG_BYTES_MAX - 1] = '}';
    text[EVENER_SERVICE_CONFIG_BYTES_MAX] = '\0';
    evener_service_config_unref(parse(text));
    text[EVENER_SERVICE_CONFIG_BYTES_MAX] = ' ';
    text[EVENER_SERVICE_CONFIG_BYTES_MAX + 1] = '\0';
    expect_refused(text, "service config: longer than 4194304 bytes");
    free(text);
}

static void expect_policy(const char *json, const char *name)
{
    evener_service_config *config = parse(json);
    const evener_policy_builder *builder = evener_service_config_policy(config)->builder;
    cr_expect_str_eq(builder != NULL ? builder->name : "none", name, "%s", json);
    evener_service_config_unref(config);
}

Test(service_config, the_policy_is_named_in_two_ways)
{
    expect_policy("{\"loadBalancingConfig\": [{\"random\": {}}], \"loadBalancingPolicy\": \"round_robin\"}", "random");
    expect_policy("{\"loadBalancingPolicy\": \"ROUND_robin\"}", "round_robin");
    expect_policy("{\"loadBalancingPolicy\": \"P2C_EWMA\"}", "p2c_ewma");
    expect_policy("{\"healthCheckConfig\": {}}", "none");
    expect_policy("{\"healthCheckConfig\": {\"serviceName\": \"\"}}", "health_check");
    expect_policy("{\"healthCheckConfig\": {\"serviceName\": \"a\"}, \"loadBalancingPolicy\": \"random\"}",
                  "health_check");
    expect_refused("{\"loadBalancingConfig\": [{\"no_such\": {}}]}", "service config: loadBalancingConfig");
    expect_refused("{\"loadBalancingConfig\": {}}", "service config: loadBalancingConfig");
    expect_refused("{\"loadBalancingPolicy\": \"no_such\"}", "service config: loadBalancingPolicy");
    expect_refused("{\"loadBalancingPolicy\": 5}", "service config: loadBalancingPolicy: a string is needed");
    expect_refused("{\"loadBalancingPolicy\": \"\"}", "service config: loadBalancingPolicy");
    expect_refused("{\"healthCheckConfig\": 5}", "service config: healthCheckConfig: an object");
    expect_refused("{\"healthCheckConfig\": {\"serviceName\": 5}}", "service config: healthCheckConfig: an object");
    char json[256];
    for (int bytes = 62; bytes < 66; bytes++) { /* no policy has so long a name, and none of a part of it is taken */
        (void)snprintf(json, sizeof json, "{\"loadBalancingPolicy\": \"%0*d\"}", bytes, 0);
        expect_refused(json, "service config: loadBalancingPolicy");
    }
}

/* ---- methods ---- */

static uint64_t timeout_of(const evener_service_config *config, const char *method)
{
    return evener_service_config_method(config, method).timeout_ms;
}

#define TIMEOUT(name, seconds) "{\"name\": [" name "], \"timeout\": \"" seconds "s\"}"

Test(service_config, a_method_has_its_own_name_its_services_or_the_default)
{
    static const char json[] = "{\"methodConfig\": ["
#define SERVICE(name) "{\"service\": \"" name "\"}"
#define METHOD(service, method) "{\"service\": \"" service "\", \"method\": \"" method "\"}"
        TIMEOUT(METHOD("a", "get"), "1") ", " TIMEOUT(METHOD("a", "getAll"), "2") ", " TIMEOUT(
            SERVICE("a"), "3") ", " TIMEOUT(SERVICE("ab") ", " METHOD("b.c.D", ""),
                                            "4") ", " TIMEOUT("{}", "5") ", " TIMEOUT(METHOD("z", "a"), "6") "]}";
    evener_service_config *config = parse(json);
    static const struct {
        const char *method;
        uint64_t timeout_ms;
    } methods[] = {{"/a/get", 1000},   {"/a/getAll", 2000},  {"/a/getA", 3000},  {"/a/ge", 3000},
                   {"/a/", 3000},      {"/a/getAllx", 3000}, {"/ab/get", 4000},  {"/b.c.D/get", 4000},
                   {"/b.c/get", 5000}, {"/", 5000},          {"", 5000},         {"a", 5000},
                   {"/z/a", 6000},     {"/z/b", 5000},       {"/abc/get", 5000}, {"/zz/a", 5000},
                   {"/A/get", 5000}};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        cr_expect_eq(timeout_of(config, methods[i].method), methods[i].timeout_ms, "%s: %lu", methods[i].method,
                     (unsigned long)timeout_of(config, methods[i].method));
    }
    evener_service_config_unref(config);
    config = parse("{\"methodConfig\": [" TIMEOUT("{\"service\": \"a\"}", "1") "]}");
    cr_expect_eq(timeout_of(config, "/a/x"), 1000);
    cr_expect_eq(timeout_of(config, "/b/x"), 0, "there is no default");
    evener_service_config_unref(config);
    config = parse("{\"methodConfig\": [{\"timeout\": \"1s\"}, {\"name\": [], \"timeout\": \"1s\"}]}");
    cr_expect_eq(timeout_of(config, "/a/x"), 0, "they are of no method");
    evener_service_config_unref(config);
}

/* Many names: each one is found. */
Test(service_config, each_of_many_methods_is_found)
{
    for (int count = 1; count <= 40; count++) {
        char json[8192] = "{\"methodConfig\": [";
        for (int i = count; i-- > 0;) {
            (void)snprintf(json + strlen(json), sizeof json - strlen(json),
                           TIMEOUT("{\"service\": \"s\", \"method\": \"m%02d\"}", "%d") "%s", i, i + 1,
                           i > 0 ? ", " : "]}");
        }
        evener_service_config *config = parse(json);
        for (int i = 0; i < count; i++) {
            char method[16];
            (void)snprintf(method, sizeof method, "/s/m%02d", i);
            cr_assert_eq(timeout_of(config, method), (uint64_t)(i + 1) * 1000, "%s of %d", method, count);
        }
        cr_assert_eq(timeout_of(config, "/s/m99"), 0);
        cr_assert_eq(timeout_of(config, "/s/a"), 0);
        evener_service_config_unref(config);
    }
}

/* Parse a config with this number of names. */
static void parse_names(unsigned count, bool is_refused)
{
    char *json = malloc((size_t)count * 32 + 64);
    char *to = json + sprintf(json, "{\"methodConfig\": [{\"name\": [{}");
    for (unsigned i = 1; i < count; i++) {
        to += sprintf(to, ", {\"service\": \"s%u\"}", i);
    }
    (void)strcpy(to, "], \"timeout\": \"2s\"}]}");
    if (is_refused) {
        expect_refused(json, "service config: methodConfig: more than 10000 names");
    } else {
        evener_service_config *config = parse(json);
        char method[16];
        (void)snprintf(method, sizeof method, "/s%u/x", count - 1);
        cr_expect_eq(timeout_of(config, method), 2000);
        evener_service_config_unref(config);
    }
    free(json);
}

Test(service_config, ten_thousand_names_may_be_given)
{
    parse_names(10000, false);
    parse_names(10001, true);
}

Test(service_config, methods_that_are_none_are_refused)
{
    expect_refused("{\"methodConfig\": {}}", "service config: methodConfig: a list is needed");
    expect_refused("{\"methodConfig\": [5]}", "methodConfig[0]: an object with a list \"name\" is needed");
    expect_refused("{\"methodConfig\": [{}, {\"name\": {}}]}", "methodConfig[1]: an object with a list");
    expect_refused("{\"methodConfig\": [{\"name\": [{}, {}]}]}", "two entries for the name \"\"");
    expect_refused(
        "{\"methodConfig\": [{\"name\": [{\"service\": \"b\"}, {\"service\": \"a\"}, {\"service\": \"b\"}]}]}",
        "two entries for the name \"/b/\"");
    expect_refused("{\"methodConfig\": [{\"name\": [5]}]}", "methodConfig[0]");
    expect_refused("{\"methodConfig\": [{\"name\": [{\"service\": 5}]}]}", "methodConfig[0]");
    expect_refused("{\"methodConfig\": [{\"name\": [{\"service\": \"a\", \"method\": 5}]}]}", "methodConfig[0]");
    expect_refused("{\"methodConfig\": [{\"waitForReady\": 1}]}", "methodConfig[0].waitForReady: true or false");
    static const char *const bad[] = {"1",       "\"1\"",   "\"s\"",    "\"-1s\"",           "\"1 s\"",
                                      "\" 1s\"", "\"+1s\"", "\"1es\"",  "\"1e3s\"",          "\"0x1s\"",
                                      "\"1ss\"", "\"1sm\"", "\"infs\"", "\"315576000001s\"", "\".5s\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char json[128];
        (void)snprintf(json, sizeof json, "{\"methodConfig\": [{}, {\"timeout\": %s}]}", bad[i]);
        expect_refused(json, "methodConfig[1].timeout: a duration");
    }
}

Test(service_config, a_timeout_is_rounded_up_to_a_millisecond)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } timeouts[] = {{"0s", 1},      {"0.0s", 1},    {"0.000001s", 1},
                    {"0.001s", 1},  {"0.0011s", 2}, {"1s", 1000},
                    {"1.5s", 1500}, {"9.s", 9000},  {"315576000000s", UINT64_C(315576000000000)}};
    for (size_t i = 0; i < sizeof timeouts / sizeof *timeouts; i++) {
        char json[128];
        (void)snprintf(json, sizeof json, "{\"methodConfig\": [{\"name\": [{}], \"timeout\": \"%s\"}]}",
                       timeouts[i].text);
        evener_service_config *config = parse(json);
        cr_expect_eq(timeout_of(config, "/a/b"), timeouts[i].ms, "%s", timeouts[i].text);
        evener_service_config_unref(config);
    }
}

Test(service_config, wait_for_ready_may_be_set_either_way)
{
    evener_service_config *config = parse("{\"methodConfig\": [{\"name\": [{\"service\": \"a\"}], \"waitForReady\": "
                                          "false}, {\"name\": [{}], \"waitForReady\": true}]}");
    evener_method_settings settings = evener_service_config_method(config, "/a/b");
    cr_expect(settings.has_wait_for_ready && !settings.wait_for_ready);
    settings = evener_service_config_method(config, "/b/b");
    cr_expect(settings.has_wait_for_ready && settings.wait_for_ready);
    evener_service_config_unref(config);
}

/* ---- numbers ---- */

static uint32_t connections_max(const char *number)
{
    char json[128];
    (void)snprintf(json, sizeof json, "{\"connectionScaling\": {\"maxConnectionsPerSubchannel\": %s}}", number);
    evener_service_config *config = parse(json);
    const uint32_t max = evener_service_config_connections_max(config);
    evener_service_config_unref(config);
    return max;
}

/* A google.protobuf.UInt32Value: a number, or its digits as a string. */
Test(service_config, whole_numbers_have_two_forms)
{
    cr_expect_eq(connections_max("0"), 1, "none is as one");
    cr_expect_eq(connections_max("1"), 1);
    cr_expect_eq(connections_max("2"), 2);
    cr_expect_eq(connections_max("\"3\""), 3);
    cr_expect_eq(connections_max("\"0000000004\""), 4);
    cr_expect_eq(connections_max("4294967295"), UINT32_MAX);
    cr_expect_eq(connections_max("\"4294967295\""), UINT32_MAX);
    cr_expect_eq(connections_max("null"), 1);
    static const char *const bad[] = {"-1",
                                      "4294967296",
                                      "1.0",
                                      "true",
                                      "[]",
                                      "{}",
                                      "\"\"",
                                      "\"1x\"",
                                      "\"x\"",
                                      "\"-1\"",
                                      "\" 1\"",
                                      "\"4294967296\"",
                                      "\"00000000004\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char json[128];
        (void)snprintf(json, sizeof json, "{\"connectionScaling\": {\"maxConnectionsPerSubchannel\": %s}}", bad[i]);
        expect_refused(json, "service config: connectionScaling.maxConnectionsPerSubchannel: a whole number from 0");
        (void)snprintf(json, sizeof json, "{\"methodConfig\": [{\"maxRequestMessageBytes\": %s}]}", bad[i]);
        expect_refused(json, "service config: methodConfig[0].maxRequestMessageBytes: a whole number from 0");
    }
    evener_service_config *config = parse("{\"connectionScaling\": null}");
    cr_expect_eq(evener_service_config_connections_max(config), 1);
    evener_service_config_unref(config);
    config = parse("{\"connectionScaling\": {}}");
    cr_expect_eq(evener_service_config_connections_max(config), 1);
    evener_service_config_unref(config);
    expect_refused("{\"connectionScaling\": 5}", "service config: connectionScaling: an object is needed");
    expect_refused("{\"connectionScaling\": []}", "service config: connectionScaling: an object is needed");
}

Test(service_config, each_bound_of_a_retry_or_hedging_policy_is_exact)
{
#define RETRY(multiplier, codes)                                                                                       \
    "{\"methodConfig\": [{\"name\": [{}], \"retryPolicy\": {\"maxAttempts\": 2, \"initialBackoff\": "                  \
    "\"0.000000001s\", "                                                                                               \
    "\"maxBackoff\": \"1s\", \"backoffMultiplier\": " multiplier ", \"retryableStatusCodes\": " codes "}}]}"
#define HEDGE(fields) "{\"methodConfig\": [{\"name\": [{}], \"hedgingPolicy\": {" fields "}}]}"
    evener_service_config *config = parse(RETRY("0.001", "[0, 1, 16, \"unauthenticated\", \"Data_Loss\"]"));
    evener_call_policy policy = evener_service_config_method(config, "/a/b").policy;
    cr_expect_eq(policy.attempts_max, 2);
    cr_expect_eq(policy.backoff_initial_ns, 1);
    cr_expect_float_eq(policy.backoff_multiplier, 0.001, 1e-12);
    cr_expect_eq(policy.codes, UINT32_C(1) << 1 | UINT32_C(1) << 15 | UINT32_C(1) << 16, "OK is none of them");
    cr_expect_eq(policy.attempt_timeout_ns, 0);
    evener_service_config_unref(config);
    expect_refused(RETRY("-1", "[1]"), "retryPolicy.backoffMultiplier: a number above 0");
    expect_refused(RETRY("null", "[1]"), "retryPolicy.backoffMultiplier: a number above 0");
    expect_refused(RETRY("1", "[-1]"), "retryPolicy.retryableStatusCodes: element 0");
    expect_refused(RETRY("1", "[1, 17]"), "retryPolicy.retryableStatusCodes: element 1");
    expect_refused(RETRY("1", "[1, 2, \"\"]"), "retryPolicy.retryableStatusCodes: element 2");

    config = parse(HEDGE("\"maxAttempts\": 4294967296, \"hedgingDelay\": \"0s\", \"evenerHedgingQuantile\": 0.0001"));
    policy = evener_service_config_method(config, "/a/b").policy;
    cr_expect_eq(policy.attempts_max, UINT32_MAX);
    cr_expect_eq(policy.hedging_delay_ns, 0);
    cr_expect_float_eq(policy.hedging_quantile, 0.0001, 1e-9);
    evener_service_config_unref(config);
    config = parse(HEDGE("\"maxAttempts\": 4294967295, \"hedgingDelay\": null, \"nonFatalStatusCodes\": [], "
                         "\"evenerHedgingQuantile\": 0.9999"));
    policy = evener_service_config_method(config, "/a/b").policy;
    cr_expect_eq(policy.attempts_max, UINT32_MAX);
    cr_expect_eq(policy.codes, 0);
    evener_service_config_unref(config);
    static const char *const quantiles[] = {"0", "1", "-0.5", "1.5", "\"0.5\"", "true"};
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
        char json[192];
        (void)snprintf(json, sizeof json, HEDGE("\"maxAttempts\": 2, \"evenerHedgingQuantile\": %s"), quantiles[i]);
        expect_refused(json, "hedgingPolicy.evenerHedgingQuantile: a number above 0 and below 1");
    }
    expect_refused(HEDGE("\"maxAttempts\": 1"), "methodConfig[0].hedgingPolicy.maxAttempts: a whole number above 1");
    config = parse("{\"methodConfig\": [{\"name\": [{}], \"retryPolicy\": null, \"hedgingPolicy\": null, "
                   "\"evenerBreaker\": null}]}");
    cr_expect_eq(evener_service_config_method(config, "/a/b").policy.kind, EVENER_CALL_POLICY_NONE);
    evener_service_config_unref(config);
}

static void expect_budget(const char *fields, uint32_t ratio_milli, uint32_t second_milli)
{
    char json[128];
    (void)snprintf(json, sizeof json, "{\"evenerRetryBudget\": {%s}}", fields);
    evener_service_config *config = parse(json);
    const evener_retry_budget_config *budget = evener_service_config_retry_budget(config);
    cr_expect(budget->is_on);
    cr_expect_eq(budget->ratio_milli, ratio_milli, "%s: %u", fields, budget->ratio_milli);
    cr_expect_eq(budget->second_milli, second_milli, "%s: %u", fields, budget->second_milli);
    evener_service_config_unref(config);
}

Test(service_config, a_retry_budget_has_defaults_and_bounds)
{
    expect_budget("", 200, 10000);
    expect_budget("\"ratio\": 0, \"minPerSecond\": 0", 0, 0);
    expect_budget("\"ratio\": 1000, \"minPerSecond\": 1000000", 1000000, 1000000000);
    expect_budget("\"ratio\": 0.0014, \"minPerSecond\": 0.0015", 1, 2);
    expect_refused("{\"evenerRetryBudget\": {\"ratio\": 1000.1}}", "evenerRetryBudget.ratio: a number from 0 to 1000");
    expect_refused("{\"evenerRetryBudget\": {\"ratio\": -0.1}}", "evenerRetryBudget.ratio: a number from 0 to 1000");
    expect_refused("{\"evenerRetryBudget\": {\"ratio\": \"0.5\"}}", "evenerRetryBudget.ratio: a number");
    expect_refused("{\"evenerRetryBudget\": {\"minPerSecond\": 1000001}}", "evenerRetryBudget.minPerSecond: a number");
    evener_service_config *config = parse("{\"evenerRetryBudget\": null}");
    cr_expect_not(evener_service_config_retry_budget(config)->is_on);
    evener_service_config_unref(config);
}

static void expect_limits(const char *json, evener_limits_given wanted)
{
    evener_service_config *config = parse(json);
    const evener_limits_given *limits = evener_service_config_limits(config);
    cr_expect_eq(limits->in_flight_max, wanted.in_flight_max, "%s", json);
    cr_expect_eq(limits->backend_in_flight_max, wanted.backend_in_flight_max, "%s", json);
    cr_expect_eq(limits->waiting_max, wanted.waiting_max, "%s", json);
    cr_expect_eq(limits->wait_ns_max, wanted.wait_ns_max, "%s", json);
    evener_service_config_unref(config);
}

/* ProtoJSON: null is allowed for every field, and means absent. What a policy's null means, the policy says. */
Test(service_config, a_field_that_is_null_is_absent)
{
    evener_service_config *config =
        parse("{\"loadBalancingConfig\": null, \"loadBalancingPolicy\": null, \"healthCheckConfig\": null, "
              "\"methodConfig\": [{\"name\": [{\"service\": \"a\", \"method\": null}, {\"service\": null}], "
              "\"timeout\": null, \"waitForReady\": null}, {\"name\": null, \"timeout\": \"1s\"}]}");
    cr_expect_null(evener_service_config_policy(config)->builder);
    const evener_method_settings settings = evener_service_config_method(config, "/a/b");
    cr_expect(settings.timeout_ms == 0 && !settings.has_wait_for_ready);
    evener_service_config_unref(config);
    config = parse("{\"methodConfig\": null, \"healthCheckConfig\": {\"serviceName\": null}}");
    cr_expect_null(evener_service_config_policy(config)->builder);
    evener_service_config_unref(config);
    expect_refused("{\"methodConfig\": [null]}", "service config: methodConfig[0]: an object");
    expect_refused("{\"methodConfig\": [{\"name\": [null]}]}", "service config: methodConfig[0].name[0]: an object");
    expect_refused("{\"loadBalancingConfig\": [{\"ring_hash\": {\"minRingSize\": null, \"maxRingSize\": \"x\"}}]}",
                   "maxRingSize");
    expect_refused("{\"loadBalancingConfig\": [{\"round_robin\": null}]}", "service config: loadBalancingConfig");
}

Test(service_config, limits_are_given_one_by_one)
{
    const evener_limits_given none = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT64_MAX};
    expect_limits("{}", none);
    expect_limits("{\"evenerLimits\": null}", none);
    expect_limits("{\"evenerLimits\": {}}", none);
    evener_limits_given wanted = none;
    wanted.in_flight_max = 1;
    expect_limits("{\"evenerLimits\": {\"maxInFlight\": 1}}", wanted);
    wanted = none;
    wanted.backend_in_flight_max = UINT32_MAX - 1;
    expect_limits("{\"evenerLimits\": {\"maxInFlightPerBackend\": 4294967294}}", wanted);
    wanted = none;
    wanted.waiting_max = 0;
    expect_limits("{\"evenerLimits\": {\"maxWaiting\": 0}}", wanted);
    wanted = none;
    wanted.wait_ns_max = 1;
    expect_limits("{\"evenerLimits\": {\"maxWait\": \"0.000000001s\"}}", wanted);
    expect_refused("{\"evenerLimits\": 5}", "evenerLimits: an object is needed");
    expect_refused("{\"evenerLimits\": {\"maxInFlight\": 0}}", "evenerLimits.maxInFlight: a number from 1");
    expect_refused("{\"evenerLimits\": {\"maxInFlightPerBackend\": 0.5}}",
                   "evenerLimits.maxInFlightPerBackend: a number");
    expect_refused("{\"evenerLimits\": {\"maxInFlightPerBackend\": 1.5}}",
                   "evenerLimits.maxInFlightPerBackend: a whole");
    expect_refused("{\"evenerLimits\": {\"maxWaiting\": 4294967295}}", "evenerLimits.maxWaiting: a number");
    expect_refused("{\"evenerLimits\": {\"maxWait\": \"0s\"}}", "evenerLimits.maxWait: a duration");
    expect_refused("{\"evenerLimits\": {\"maxWait\": 5}}", "evenerLimits.maxWait: a duration");
}

static double breaker_k(const char *fields)
{
    char json[128];
    (void)snprintf(json, sizeof json, "{\"methodConfig\": [{\"name\": [{}], \"evenerBreaker\": {%s}}]}", fields);
    evener_service_config *config = parse(json);
    const double k = evener_service_config_method(config, "/a/b").breaker_k;
    evener_service_config_unref(config);
    return k;
}

Test(service_config, a_breaker_has_a_default_and_bounds)
{
    cr_expect_float_eq(breaker_k(""), 1.5, 1e-9);
    cr_expect_float_eq(breaker_k("\"k\": null"), 1.5, 1e-9);
    cr_expect_float_eq(breaker_k("\"k\": 1"), 1, 1e-9);
    cr_expect_float_eq(breaker_k("\"k\": 1000"), 1000, 1e-9);
    expect_refused("{\"methodConfig\": [{\"evenerBreaker\": {\"k\": 0.99}}]}",
                   "methodConfig[0].evenerBreaker.k: a number from 1 to 1000");
    expect_refused("{\"methodConfig\": [{\"evenerBreaker\": {\"k\": 1000.5}}]}", "evenerBreaker.k: a number");
    expect_refused("{\"methodConfig\": [{}, {\"evenerBreaker\": []}]}", "methodConfig[1].evenerBreaker: an object");
}

Test(service_config, throttling_has_bounds)
{
    evener_service_config *config = parse("{\"retryThrottling\": {\"maxTokens\": 0.0001, \"tokenRatio\": 0.001}}");
    cr_expect_eq(evener_service_config_throttle(config)->max_milli, 1, "rounded up");
    cr_expect_eq(evener_service_config_throttle(config)->ratio_milli, 1);
    evener_service_config_unref(config);
    config = parse("{\"retryThrottling\": {\"maxTokens\": 2, \"tokenRatio\": 2}}");
    cr_expect_eq(evener_service_config_throttle(config)->ratio_milli, 2000);
    evener_service_config_unref(config);
    expect_refused("{\"retryThrottling\": {\"maxTokens\": 1000.5, \"tokenRatio\": 1}}", "retryThrottling.maxTokens");
    expect_refused("{\"retryThrottling\": {\"maxTokens\": \"5\", \"tokenRatio\": 1}}", "retryThrottling.maxTokens");
    expect_refused("{\"retryThrottling\": {\"maxTokens\": 5, \"tokenRatio\": \"1\"}}", "retryThrottling.tokenRatio");
    expect_refused("{\"retryThrottling\": {\"maxTokens\": 5, \"tokenRatio\": 0.0009}}", "retryThrottling.tokenRatio");
}

/* ---- states of methods ---- */

static evener_method_state states[8];
static const char *bound[8];
static size_t bound_count;

static evener_method_state *state_of(void *arg, const char *path)
{
    cr_assert_eq(arg, &bound);
    cr_assert_lt(bound_count, 8);
    bound[bound_count] = path;
    return strcmp(path, "/d/") == 0 ? NULL : &states[bound_count++];
}

/* Those that nothing is counted for have no state. */
Test(service_config, methods_with_a_policy_or_a_breaker_have_a_state)
{
    evener_service_config *config = parse("{\"methodConfig\": [" TIMEOUT(
        "{\"service\": \"a\"}", "1") ", "
                                     "{\"name\": [{\"service\": \"b\"}], \"evenerBreaker\": {}}, "
                                     "{\"name\": [{\"service\": \"c\"}], \"hedgingPolicy\": {\"maxAttempts\": 2, "
                                     "\"evenerHedgingQuantile\": 0.5}}, "
                                     "{\"name\": [{\"service\": \"d\"}], \"hedgingPolicy\": {\"maxAttempts\": 2}}]}");
    evener_service_config_bind(config, state_of, &bound);
    cr_assert_eq(bound_count, 2);
    cr_expect_null(evener_service_config_method(config, "/a/x").state);
    cr_expect_eq(evener_service_config_method(config, "/b/x").state, &states[0]);
    cr_expect_eq(evener_service_config_method(config, "/c/x").state, &states[1]);
    cr_expect_null(evener_service_config_method(config, "/d/x").state, "there was no memory");
    cr_expect_str_eq(bound[0], "/b/");
    cr_expect_str_eq(bound[1], "/c/");
    cr_expect_eq(states[0].quantile_bits, 0);
    double quantile;
    memcpy(&quantile, &states[1].quantile_bits, sizeof quantile);
    cr_expect_float_eq(quantile, 0.5, 1e-9);
    evener_service_config_unref(config);
}
