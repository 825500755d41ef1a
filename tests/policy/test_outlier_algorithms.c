/* The algorithms of A50 by themselves (lb/policy/outlier_algorithms.h), each at its limits, and how they are read. */
#include <criterion/criterion.h>

#include <string.h>

#include "lb/policy/outlier_algorithms.h"

static evener_outlier_config config_of(void)
{
    return (evener_outlier_config){.max_ejection_percent = 100};
}

static uint32_t zero_percent(void *arg)
{
    (void)arg;
    return 0;
}

static uint32_t percent_of(void *arg)
{
    return *(uint32_t *)arg;
}

static size_t count_ejected(const evener_outlier_host *hosts, size_t count)
{
    size_t ejected = 0;
    for (size_t i = 0; i < count; i++) {
        ejected += hosts[i].ejected;
    }
    return ejected;
}

static evener_outlier_host host(uint64_t successes, uint64_t failures)
{
    return (evener_outlier_host){.successes = successes, .failures = failures};
}

/* Of four, with the numbers in `last` for the last one, return whether the last is ejected and no other. */
static bool last_is_ejected(const evener_outlier_config *config, evener_outlier_host others, evener_outlier_host last)
{
    evener_outlier_host hosts[] = {others, others, others, last};
    evener_outlier_sweep(config, hosts, 4, zero_percent, NULL);
    cr_expect_not(hosts[0].ejected || hosts[1].ejected || hosts[2].ejected);
    cr_expect_eq(hosts[3].reason[0] != '\0', hosts[3].ejected, "with a reason, and only then: \"%s\"", hosts[3].reason);
    return hosts[3].ejected;
}

/* ---- success rate ---- */

/* Three succeed always, one in `rate` %: the mean is 100 - d/4 and the deviation sqrt(3)/4 d, where d = 100 - rate. So
 * the fourth is below the threshold with factors up to sqrt(3) = 1.732, however small d is. */
Test(outlier_algorithms, success_rate_is_held_against_the_deviation)
{
    evener_outlier_config config = config_of();
    config.success_rate = (evener_success_rate_config){
        .enabled = true, .stdev_factor = 1731, .enforcement_percent = 100, .minimum_hosts = 1, .request_volume = 1};
    cr_expect(last_is_ejected(&config, host(1000, 0), host(999, 1)), "99.9 % beside 100 %");
    cr_expect(last_is_ejected(&config, host(100, 0), host(99, 1)), "99 %");
    cr_expect(last_is_ejected(&config, host(100, 0), host(30, 70)), "30 %");
    config.success_rate.stdev_factor = 1733;
    cr_expect_not(last_is_ejected(&config, host(1000, 0), host(999, 1)));
    cr_expect_not(last_is_ejected(&config, host(100, 0), host(99, 1)));
    cr_expect_not(last_is_ejected(&config, host(100, 0), host(30, 70)));
    config.success_rate.stdev_factor = 0;
    cr_expect(last_is_ejected(&config, host(1000, 0), host(999, 1)), "any below the mean");
    cr_expect_not(last_is_ejected(&config, host(1000, 0), host(1000, 0)), "the mean itself is not below it");
}

/* One below a fifth of the mean is an outlier whatever the deviation; at a fifth it is not. The mean of three of 100 %
 * and one of r is (300 + r) / 4; a fifth of it is r at r = 300/19 = 15.789. */
Test(outlier_algorithms, success_rate_has_a_floor)
{
    evener_outlier_config config = config_of();
    config.success_rate = (evener_success_rate_config){
        .enabled = true, .stdev_factor = 9000, .enforcement_percent = 100, .minimum_hosts = 1, .request_volume = 1};
    cr_expect(last_is_ejected(&config, host(1000, 0), host(157, 843)));
    cr_expect_not(last_is_ejected(&config, host(1000, 0), host(158, 842)));
}

Test(outlier_algorithms, success_rate_counts_those_with_the_volume)
{
    evener_outlier_config config = config_of();
    config.success_rate = (evener_success_rate_config){
        .enabled = true, .stdev_factor = 1000, .enforcement_percent = 100, .minimum_hosts = 4, .request_volume = 10};
    cr_expect(last_is_ejected(&config, host(10, 0), host(5, 5)));
    cr_expect_not(last_is_ejected(&config, host(10, 0), host(4, 5)), "9 calls are too few; so are three hosts");
    cr_expect_not(last_is_ejected(&config, host(9, 0), host(5, 5)), "one host");
    config.success_rate.minimum_hosts = 3;
    evener_outlier_host hosts[] = {host(100, 0), host(100, 0), host(98, 2), host(0, 9)};
    evener_outlier_sweep(&config, hosts, 4, zero_percent, NULL);
    cr_expect(hosts[2].ejected, "held against the two others with the volume");
    cr_expect_not(hosts[3].ejected, "too few calls");
    config.success_rate.minimum_hosts = config.success_rate.request_volume = 0;
    evener_outlier_host idle[] = {host(0, 0), host(0, 0)};
    evener_outlier_sweep(&config, idle, 2, zero_percent, NULL);
    cr_expect_eq(count_ejected(idle, 2), 0, "no call says nothing");
}

/* Two of six fail every call: the mean less 1.9 deviations is below 0. */
Test(outlier_algorithms, none_of_many_calls_succeeded)
{
    evener_outlier_config config = config_of();
    config.success_rate = (evener_success_rate_config){
        .enabled = true, .stdev_factor = 1900, .enforcement_percent = 100, .minimum_hosts = 6, .request_volume = 10};
    evener_outlier_host hosts[] = {host(0, 10), host(10, 0), host(10, 0), host(0, 12), host(10, 0), host(10, 0)};
    evener_outlier_sweep(&config, hosts, 6, zero_percent, NULL);
    cr_expect_eq(count_ejected(hosts, 6), 2);
    cr_expect_str_eq(hosts[0].reason, "none of 10 calls succeeded");
    cr_expect_str_eq(hosts[3].reason, "none of 12 calls succeeded");
    config.success_rate.minimum_hosts = 7;
    hosts[0] = host(0, 10);
    hosts[3] = host(0, 12);
    evener_outlier_sweep(&config, hosts, 6, zero_percent, NULL);
    cr_expect_eq(count_ejected(hosts, 6), 0, "too few hosts");
}

/* ---- failure percentage ---- */

Test(outlier_algorithms, failure_percentage_is_above_the_threshold)
{
    evener_outlier_config config = config_of();
    config.failure_percentage = (evener_failure_percentage_config){
        .enabled = true, .threshold_percent = 25, .enforcement_percent = 100, .minimum_hosts = 4, .request_volume = 8};
    cr_expect_not(last_is_ejected(&config, host(6, 2), host(6, 2)), "25 % are not above 25 %");
    cr_expect(last_is_ejected(&config, host(8, 0), host(5, 3)));
    cr_expect_not(last_is_ejected(&config, host(8, 0), host(0, 7)), "7 calls are too few; so are three hosts");
    cr_expect_not(last_is_ejected(&config, host(7, 0), host(0, 8)), "one host");
    config.failure_percentage.minimum_hosts = 0;
    config.failure_percentage.request_volume = 0;
    cr_expect_not(last_is_ejected(&config, host(0, 0), host(0, 0)));
    cr_expect(last_is_ejected(&config, host(0, 0), host(0, 1)));
    evener_outlier_host hosts[] = {host(1, 0), host(1, 0), host(1, 2)};
    evener_outlier_sweep(&config, hosts, 3, zero_percent, NULL);
    cr_expect_str_eq(hosts[2].reason, "66.7 % failures, above 25 %");
}

/* ---- failures in a row ---- */

Test(outlier_algorithms, failures_in_a_row_reach_the_threshold)
{
    evener_outlier_config config = config_of();
    config.consecutive = (evener_consecutive_config){.enabled = true, .threshold = 3, .enforcement_percent = 100};
    evener_outlier_host row = host(90, 10);
    row.run = 2;
    cr_expect_not(last_is_ejected(&config, host(1, 0), row));
    row.run = 3;
    cr_expect(last_is_ejected(&config, host(1, 0), row));
    evener_outlier_host hosts[] = {host(1, 0), row};
    evener_outlier_sweep(&config, hosts, 2, zero_percent, NULL);
    cr_expect_str_eq(hosts[1].reason, "3 failures in a row");
}

/* ---- how many ---- */

/* With every one of `count` failing and `ejected` of them ejected before, return how many are ejected after. */
static size_t ejected_of(size_t count, size_t ejected, uint32_t max_percent, uint32_t min_healthy_percent)
{
    evener_outlier_config config = config_of();
    config.max_ejection_percent = max_percent;
    config.min_healthy_percent = min_healthy_percent;
    config.consecutive = (evener_consecutive_config){.enabled = true, .threshold = 1, .enforcement_percent = 100};
    evener_outlier_host hosts[16] = {0};
    for (size_t i = 0; i < count; i++) {
        hosts[i].run = 1;
        hosts[i].ejected = i < ejected;
    }
    evener_outlier_sweep(&config, hosts, count, zero_percent, NULL);
    for (size_t i = 0; i < ejected; i++) {
        cr_expect(hosts[i].ejected && hosts[i].reason[0] == '\0', "was ejected before, and not now");
    }
    return count_ejected(hosts, count);
}

Test(outlier_algorithms, at_most_a_share_and_at_least_one_is_ejected)
{
    cr_expect_eq(ejected_of(10, 0, 0, 0), 1, "one at least");
    cr_expect_eq(ejected_of(10, 0, 10, 0), 1);
    cr_expect_eq(ejected_of(10, 0, 11, 0), 2, "10 % are below 11 %");
    cr_expect_eq(ejected_of(10, 0, 50, 0), 5);
    cr_expect_eq(ejected_of(10, 5, 50, 0), 5, "those of before count");
    cr_expect_eq(ejected_of(10, 4, 50, 0), 5);
    cr_expect_eq(ejected_of(10, 0, 100, 0), 9, "one stays");
    cr_expect_eq(ejected_of(1, 0, 100, 0), 0);
    cr_expect_eq(ejected_of(2, 0, 100, 0), 1);
    cr_expect_eq(ejected_of(2, 1, 100, 0), 1);
}

Test(outlier_algorithms, a_share_stays)
{
    cr_expect_eq(ejected_of(10, 0, 100, 70), 3);
    cr_expect_eq(ejected_of(10, 0, 100, 71), 2);
    cr_expect_eq(ejected_of(10, 2, 100, 70), 3);
    cr_expect_eq(ejected_of(10, 0, 0, 91), 0, "none, though one is allowed");
    cr_expect_eq(ejected_of(10, 0, 100, 100), 0);
}

/* Calls of an ejected backend that end in this interval do not eject it again. */
Test(outlier_algorithms, what_is_ejected_is_left_alone)
{
    for (size_t which = 0; which < 3; which++) {
        evener_outlier_config config = config_of();
        config.max_ejection_percent = 26; /* of four: one more than is ejected */
        config.success_rate = (evener_success_rate_config){.enabled = which < 2,
                                                           .stdev_factor = 100,
                                                           .enforcement_percent = 100,
                                                           .minimum_hosts = 1,
                                                           .request_volume = 1};
        config.failure_percentage = (evener_failure_percentage_config){
            .enabled = which == 2, .threshold_percent = 50, .enforcement_percent = 100, .request_volume = 1};
        const evener_outlier_host bad = host(which == 1 ? 0 : 1, 8);
        evener_outlier_host hosts[] = {bad, bad, host(9, 0), host(9, 0)};
        hosts[0].ejected = true;
        evener_outlier_sweep(&config, hosts, 4, zero_percent, NULL);
        cr_expect_str_eq(hosts[0].reason, "", "%zu", which);
        cr_expect(hosts[1].ejected, "%zu", which);
        cr_expect_eq(count_ejected(hosts, 4), 2, "%zu", which);
    }
}

/* Each algorithm ejects with its chance: a random number below it. */
Test(outlier_algorithms, enforcement_is_a_chance)
{
    for (size_t which = 0; which < 4; which++) {
        for (uint32_t percent = 29; percent <= 30; percent++) {
            evener_outlier_config config = config_of();
            config.consecutive =
                (evener_consecutive_config){.enabled = which == 0, .threshold = 1, .enforcement_percent = 30};
            config.success_rate = (evener_success_rate_config){.enabled = which == 1 || which == 2,
                                                               .stdev_factor = 100,
                                                               .enforcement_percent = 30,
                                                               .minimum_hosts = 1,
                                                               .request_volume = 1};
            config.failure_percentage = (evener_failure_percentage_config){
                .enabled = which == 3, .threshold_percent = 50, .enforcement_percent = 30};
            evener_outlier_host hosts[] = {host(9, 0), host(9, 0), host(which == 2 ? 0 : 1, 8)};
            hosts[2].run = 8;
            evener_outlier_sweep(&config, hosts, 3, percent_of, &percent);
            cr_expect_eq(hosts[2].ejected, percent < 30, "%zu, %u", which, percent);
            cr_expect_eq(count_ejected(hosts, 2), 0);
        }
    }
}

/* ---- configuration ---- */

static evener_outlier_config read_from(const char *json)
{
    evener_outlier_config config = {.interval_ns = 1,
                                    .base_ejection_ns = 30 * EVENER_NS_PER_S,
                                    .max_ejection_ns = 300 * EVENER_NS_PER_S,
                                    .max_ejection_percent = 10,
                                    .failure_codes = 1};
    evener_status status;
    evener_policy_fields *fields = evener_policy_fields_open(json);
    evener_outlier_read(fields, &config);
    cr_assert_eq(evener_policy_fields_close(fields, EVENER_UNKNOWN_FIELDS_REFUSE, &status), EVENER_STATUS_OK, "%s: %s",
                 json, status.message);
    return config;
}

Test(outlier_algorithms, without_fields_the_defaults_stay_and_nothing_is_enabled)
{
    const evener_outlier_config config = read_from("{}");
    cr_expect_eq(config.interval_ns, 1);
    cr_expect_eq(config.base_ejection_ns, 30 * EVENER_NS_PER_S);
    cr_expect_eq(config.max_ejection_ns, 300 * EVENER_NS_PER_S);
    cr_expect_eq(config.max_ejection_percent, 10);
    cr_expect_eq(config.min_healthy_percent, 0);
    cr_expect_eq(config.panic_percent, 0);
    cr_expect_eq(config.failure_codes, 1);
    cr_expect_not(config.success_rate.enabled || config.failure_percentage.enabled || config.consecutive.enabled);
}

/* A50: the larger of 300 s and the base when it is not said. */
Test(outlier_algorithms, the_longest_ejection_is_not_below_the_base_unless_said)
{
    cr_expect_eq(read_from("{\"baseEjectionTime\":\"300s\"}").max_ejection_ns, 300 * EVENER_NS_PER_S);
    cr_expect_eq(read_from("{\"baseEjectionTime\":\"301s\"}").max_ejection_ns, 301 * EVENER_NS_PER_S);
    cr_expect_eq(read_from("{\"baseEjectionTime\":\"9s\"}").max_ejection_ns, 300 * EVENER_NS_PER_S);
    const evener_outlier_config said = read_from("{\"baseEjectionTime\":\"9s\",\"maxEjectionTime\":\"5s\"}");
    cr_expect_eq(said.base_ejection_ns, 9 * EVENER_NS_PER_S);
    cr_expect_eq(said.max_ejection_ns, 5 * EVENER_NS_PER_S);
}

Test(outlier_algorithms, every_field_is_read)
{
    const evener_outlier_config config = read_from(
        "{\"interval\":\"2s\",\"maxEjectionPercent\":11,\"minHealthyPercent\":12,\"panicThresholdPercent\":13,"
        "\"failureCodes\":[\"UNKNOWN\",\"INTERNAL\"],"
        "\"successRateEjection\":{\"stdevFactor\":14,\"enforcementPercentage\":15,\"minimumHosts\":16,"
        "\"requestVolume\":17},"
        "\"failurePercentageEjection\":{\"threshold\":18,\"enforcementPercentage\":19,\"minimumHosts\":20,"
        "\"requestVolume\":21},"
        "\"consecutiveFailureEjection\":{\"threshold\":22,\"enforcementPercentage\":23}}");
    cr_expect_eq(config.interval_ns, 2 * EVENER_NS_PER_S);
    cr_expect(config.max_ejection_percent == 11 && config.min_healthy_percent == 12 && config.panic_percent == 13);
    cr_expect_eq(config.failure_codes, 1U << EVENER_STATUS_UNKNOWN | 1U << EVENER_STATUS_INTERNAL);
    const evener_success_rate_config *success = &config.success_rate;
    cr_expect(success->enabled && success->stdev_factor == 14 && success->enforcement_percent == 15 &&
              success->minimum_hosts == 16 && success->request_volume == 17);
    const evener_failure_percentage_config *failure = &config.failure_percentage;
    cr_expect(failure->enabled && failure->threshold_percent == 18 && failure->enforcement_percent == 19 &&
              failure->minimum_hosts == 20 && failure->request_volume == 21);
    cr_expect(config.consecutive.enabled && config.consecutive.threshold == 22 &&
              config.consecutive.enforcement_percent == 23);
}

/* A50's defaults of the algorithms, each enabled by its object. */
Test(outlier_algorithms, an_empty_object_enables_its_algorithm_with_the_defaults)
{
    evener_outlier_config config = read_from("{\"successRateEjection\":{}}");
    const evener_success_rate_config *success = &config.success_rate;
    cr_expect(success->enabled && success->stdev_factor == 1900 && success->enforcement_percent == 100 &&
              success->minimum_hosts == 5 && success->request_volume == 100);
    cr_expect_not(config.failure_percentage.enabled || config.consecutive.enabled);
    config = read_from("{\"failurePercentageEjection\":{}}");
    const evener_failure_percentage_config *failure = &config.failure_percentage;
    cr_expect(failure->enabled && failure->threshold_percent == 85 && failure->enforcement_percent == 100 &&
              failure->minimum_hosts == 5 && failure->request_volume == 50);
    cr_expect_not(config.success_rate.enabled || config.consecutive.enabled);
    config = read_from("{\"consecutiveFailureEjection\":{}}");
    cr_expect(config.consecutive.enabled && config.consecutive.threshold == 5 &&
              config.consecutive.enforcement_percent == 100);
    cr_expect_not(config.success_rate.enabled || config.failure_percentage.enabled);
}
