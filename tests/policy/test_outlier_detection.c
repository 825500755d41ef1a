/* outlier_detection: A50, by the names of core's outlier detection end-to-end and unit tests. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/policy_harness.h"

#define A "10.0.0.1:1"
#define B "10.0.0.2:1"
#define C "10.0.0.3:1"
#define D "10.0.0.4:1"
#define ALL A "," B "," C "," D

static policy_harness *harness_with_child(const char *fields, const char *child, const char *list)
{
    char config[1024];
    snprintf(config, sizeof config, "{%s%s\"childPolicy\":[{\"%s\":{}}]}", fields, fields[0] != '\0' ? "," : "", child);
    policy_harness *h = harness_create("outlier_detection_experimental", config);
    h->connect_succeeds = true;
    cr_assert_eq(harness_update(h, list), EVENER_STATUS_OK);
    cr_assert_eq(h->state, EVENER_READY);
    return h;
}

static policy_harness *harness_with(const char *fields)
{
    return harness_with_child(fields, "round_robin", ALL);
}

static void configure(policy_harness *h, const char *fields)
{
    char config[1024];
    snprintf(config, sizeof config, "{%s,\"childPolicy\":[{\"round_robin\":{}}]}", fields);
    harness_configure(h, config);
}

/* Calls that fail at the addresses in `failing` and succeed elsewhere, at `every`-th time only. */
static void call(policy_harness *h, size_t calls, const char *failing, size_t every)
{
    size_t hits = 0;
    for (size_t i = 0; i < calls; i++) {
        evener_pick pick;
        cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
        const bool hit = strstr(failing, evener_subchannel_address_text(pick.subchannel)) != NULL;
        harness_done(h, &pick, hit && hits++ % every == 0 ? EVENER_STATUS_UNAVAILABLE : EVENER_STATUS_OK);
    }
}

static bool is_used(policy_harness *h, const char *address)
{
    for (size_t i = 0; i < 40; i++) {
        evener_pick pick;
        cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
        const bool found = strcmp(evener_subchannel_address_text(pick.subchannel), address) == 0;
        const evener_done_info unsent = {.size = sizeof unsent, .code = EVENER_STATUS_UNAVAILABLE, .not_sent = true};
        harness_done_with(h, &pick, &unsent); /* counts for nothing */
        if (found) {
            return true;
        }
    }
    return false;
}

static size_t used_count(policy_harness *h)
{
    return (size_t)is_used(h, A) + is_used(h, B) + is_used(h, C) + is_used(h, D);
}

#define SUCCESS_RATE                                                                                                   \
    "\"interval\":\"1s\",\"baseEjectionTime\":\"1s\",\"maxEjectionPercent\":50,"                                       \
    "\"successRateEjection\":{\"stdevFactor\":100,\"minimumHosts\":1,\"requestVolume\":1}"
#define FAILURE_PERCENTAGE                                                                                             \
    "\"interval\":\"1s\",\"baseEjectionTime\":\"1s\",\"maxEjectionPercent\":50,"                                       \
    "\"failurePercentageEjection\":{\"threshold\":0,\"minimumHosts\":1,\"requestVolume\":1}"

/* core: SuccessRateEjectionAndUnejection */
Test(outlier_detection, success_rate_ejection_and_unejection)
{
    policy_harness *h = harness_with(SUCCESS_RATE);
    call(h, 40, A, 1);
    cr_assert(is_used(h, A));
    harness_advance_ms(h, 1000);
    cr_assert(!is_used(h, A));
    cr_assert_eq(used_count(h), 3);
    cr_assert_eq(h->connect_count, 4, "the connection stays");
    cr_assert_not_null(harness_find(h, A));
    harness_advance_ms(h, 1000);
    cr_assert(is_used(h, A));
    cr_assert_eq(h->connect_count, 4);
    harness_destroy(h);
}

/* core: SuccessRateMaxPercent: at most that share, and one at least */
Test(outlier_detection, success_rate_max_percent)
{
    policy_harness *h = harness_with("\"interval\":\"1s\",\"maxEjectionPercent\":1,"
                                     "\"successRateEjection\":{\"stdevFactor\":100,\"minimumHosts\":1,"
                                     "\"requestVolume\":1}");
    call(h, 40, A "," B, 1);
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 3);
    harness_destroy(h);
}

/* core: SuccessRateStdevFactor: with a factor this large no backend with any success is an outlier */
Test(outlier_detection, success_rate_stdev_factor)
{
    policy_harness *h = harness_with("\"interval\":\"1s\",\"successRateEjection\":{\"stdevFactor\":10000,"
                                     "\"minimumHosts\":1,\"requestVolume\":1}");
    call(h, 40, A, 2);
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 4);
    harness_destroy(h);
}

/* core: SuccessRateEnforcementPercentage */
Test(outlier_detection, success_rate_enforcement_percentage)
{
    policy_harness *h = harness_with("\"interval\":\"1s\",\"successRateEjection\":{\"stdevFactor\":100,"
                                     "\"enforcementPercentage\":0,\"minimumHosts\":1,\"requestVolume\":1}");
    call(h, 40, A, 1);
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 4);
    harness_destroy(h);
}

/* core: SuccessRateMinimumHosts */
Test(outlier_detection, success_rate_minimum_hosts)
{
    policy_harness *h = harness_with("\"interval\":\"1s\",\"successRateEjection\":{\"stdevFactor\":100,"
                                     "\"minimumHosts\":5,\"requestVolume\":1}");
    call(h, 40, A, 1);
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 4);
    harness_destroy(h);
}

/* core: SuccessRateRequestVolume */
Test(outlier_detection, success_rate_request_volume)
{
    policy_harness *h = harness_with("\"interval\":\"1s\",\"successRateEjection\":{\"stdevFactor\":100,"
                                     "\"minimumHosts\":1,\"requestVolume\":11}");
    call(h, 40, A, 1);
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 4);
    call(h, 44, A, 1);
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 3);
    harness_destroy(h);
}

/* core: FailurePercentageEjectionAndUnejection */
Test(outlier_detection, failure_percentage_ejection_and_unejection)
{
    policy_harness *h = harness_with(FAILURE_PERCENTAGE);
    call(h, 40, B, 5);
    harness_advance_ms(h, 1000);
    cr_assert(!is_used(h, B));
    cr_assert_eq(used_count(h), 3);
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 4);
    harness_destroy(h);
}

/* core: FailurePercentageMaxPercentage */
Test(outlier_detection, failure_percentage_max_percentage)
{
    policy_harness *h = harness_with("\"interval\":\"1s\",\"maxEjectionPercent\":50,"
                                     "\"failurePercentageEjection\":{\"threshold\":0,\"minimumHosts\":1,"
                                     "\"requestVolume\":1}");
    call(h, 40, A "," B "," C, 1);
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 2);
    harness_destroy(h);
}

/* core: FailurePercentageThreshold */
Test(outlier_detection, failure_percentage_threshold)
{
    policy_harness *h = harness_with("\"interval\":\"1s\",\"failurePercentageEjection\":{\"threshold\":50,"
                                     "\"minimumHosts\":1,\"requestVolume\":1}");
    call(h, 40, A, 2); /* 50 % is not above 50 % */
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 4);
    call(h, 40, A, 1);
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 3);
    harness_destroy(h);
}

/* core: FailurePercentageEnforcementPercentage */
Test(outlier_detection, failure_percentage_enforcement_percentage)
{
    policy_harness *h = harness_with("\"interval\":\"1s\",\"failurePercentageEjection\":{\"threshold\":0,"
                                     "\"enforcementPercentage\":0,\"minimumHosts\":1,\"requestVolume\":1}");
    call(h, 40, A, 1);
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 4);
    harness_destroy(h);
}

/* core: FailurePercentageMinimumHosts, FailurePercentageRequestVolume */
Test(outlier_detection, failure_percentage_minimum_hosts_and_request_volume)
{
    policy_harness *h = harness_with("\"interval\":\"1s\",\"failurePercentageEjection\":{\"threshold\":0,"
                                     "\"minimumHosts\":5,\"requestVolume\":1}");
    call(h, 40, A, 1);
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 4);
    configure(h, "\"interval\":\"1s\",\"failurePercentageEjection\":{\"threshold\":0,\"minimumHosts\":1,"
                 "\"requestVolume\":100}");
    call(h, 40, A, 1);
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 4);
    harness_destroy(h);
}

/* core: SuccessRateAndFailurePercentage */
Test(outlier_detection, success_rate_and_failure_percentage)
{
    policy_harness *h = harness_with("\"interval\":\"1s\",\"baseEjectionTime\":\"1s\",\"maxEjectionPercent\":50,"
                                     "\"successRateEjection\":{\"stdevFactor\":1500,\"minimumHosts\":1,"
                                     "\"requestVolume\":1},"
                                     "\"failurePercentageEjection\":{\"threshold\":25,\"minimumHosts\":1,"
                                     "\"requestVolume\":1}");
    call(h, 40, A "," B, 3); /* both a third: no outliers of the mean, but above 25 % */
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 2);
    cr_assert(!is_used(h, A) && !is_used(h, B));
    harness_destroy(h);
}

/* core: SuccessRateAndFailurePercentageBothDisabled */
Test(outlier_detection, both_disabled)
{
    policy_harness *h = harness_with("\"interval\":\"1s\"");
    evener_pick pick;
    cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    cr_assert_eq(pick.layer_count, 0, "nothing is counted");
    harness_done(h, &pick, EVENER_STATUS_OK);
    call(h, 40, A, 1);
    harness_advance_ms(h, 100000);
    cr_assert_eq(used_count(h), 4);
    cr_assert_eq(virtual_loop_next_deadline_ns(h->vl), UINT64_MAX);
    harness_destroy(h);
}

/* core: DisableOutlierDetectionWhileAddressesAreEjected */
Test(outlier_detection, disable_while_addresses_are_ejected)
{
    policy_harness *h = harness_with(FAILURE_PERCENTAGE);
    call(h, 40, A, 1);
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 3);
    configure(h, "\"interval\":\"1s\"");
    cr_assert_eq(used_count(h), 4);
    cr_assert_eq(h->connect_count, 4);
    harness_destroy(h);
}

/* core: EjectionRetainedAcross...: an update of list or parameters keeps ejections, connections and counts */
Test(outlier_detection, updates_keep_ejections)
{
    policy_harness *h = harness_with("\"interval\":\"1s\",\"baseEjectionTime\":\"10s\","
                                     "\"failurePercentageEjection\":{\"threshold\":0,\"minimumHosts\":1,"
                                     "\"requestVolume\":1}");
    call(h, 40, A, 1);
    harness_advance_ms(h, 1000);
    harness_update(h, D ";x=1," C "," B "," A);
    cr_assert(!is_used(h, A));
    configure(h, "\"interval\":\"2s\",\"baseEjectionTime\":\"10s\","
                 "\"failurePercentageEjection\":{\"threshold\":1,\"minimumHosts\":1,\"requestVolume\":1}");
    cr_assert(!is_used(h, A));
    /* Gone from the list and back: a new start. */
    harness_update(h, B "," C "," D);
    harness_update(h, ALL);
    cr_assert(is_used(h, A));
    harness_destroy(h);
}

/* ---- a new list that is not in service yet ---- */

#define UNREACHABLE "10.9.9.1:1,10.9.9.2:1,10.9.9.3:1,10.9.9.4:1,10.9.9.5:1,10.9.9.6:1"

/* A wrong list comes, none of it can be reached, and the right one comes back. */
Test(outlier_detection, a_list_that_returns_is_counted_as_before)
{
    policy_harness *h = harness_with(FAILURE_PERCENTAGE);
    h->connect_succeeds = false;
    harness_update(h, "10.9.9.9:1");
    harness_update(h, ALL);
    cr_assert_eq(h->created, 5, "the child keeps its subchannels");
    call(h, 40, A, 1);
    harness_advance_ms(h, 1000);
    cr_assert(!is_used(h, A));
    cr_assert_eq(used_count(h), 3);
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 4);
    harness_destroy(h);
}

Test(outlier_detection, an_ejection_outlasts_a_list_that_cannot_be_reached)
{
    policy_harness *h = harness_with("\"interval\":\"1s\",\"baseEjectionTime\":\"3s\",\"maxEjectionPercent\":50,"
                                     "\"failurePercentageEjection\":{\"threshold\":0,\"minimumHosts\":1,"
                                     "\"requestVolume\":1}");
    call(h, 40, A, 1);
    harness_advance_ms(h, 1000);
    h->connect_succeeds = false;
    harness_update(h, "10.9.9.9:1");
    cr_assert(!is_used(h, A));
    call(h, 40, B, 1);
    harness_advance_ms(h, 1000);
    cr_assert(!is_used(h, A) && !is_used(h, B));
    cr_assert(is_used(h, C) && is_used(h, D));
    harness_update(h, ALL);
    cr_assert(!is_used(h, A) && !is_used(h, B));
    harness_advance_ms(h, 2000);
    cr_assert(is_used(h, A) && !is_used(h, B), "each for its own time");
    harness_destroy(h);
}

/* The shares are of the backends in service: here two of four may be ejected, not five of ten. */
Test(outlier_detection, a_list_that_cannot_be_reached_does_not_count)
{
    policy_harness *h = harness_with(FAILURE_PERCENTAGE);
    h->connect_succeeds = false;
    harness_update(h, UNREACHABLE);
    call(h, 40, ALL, 1);
    harness_advance_ms(h, 1000);
    cr_assert_eq(h->state, EVENER_READY);
    cr_assert_eq(used_count(h), 2);
    harness_destroy(h);
}

Test(outlier_detection, a_list_that_cannot_be_reached_begins_no_panic)
{
    policy_harness *h = harness_with("\"panicThresholdPercent\":60," FAILURE_PERCENTAGE);
    h->connect_succeeds = false;
    harness_update(h, UNREACHABLE);
    call(h, 40, A, 1);
    harness_advance_ms(h, 1000);
    cr_assert(!is_used(h, A), "three of four are healthy");
    harness_update(h, ALL);
    call(h, 40, B, 1);
    harness_advance_ms(h, 1000);
    cr_assert(!is_used(h, B), "A is back: three of four are healthy");
    harness_destroy(h);
}

/* Once its backends are READY, the new list is the one in service. */
Test(outlier_detection, a_new_list_counts_when_it_has_taken_over)
{
    policy_harness *h = harness_with(FAILURE_PERCENTAGE);
    h->connect_succeeds = false;
    harness_update(h, A ",10.9.9.1:1,10.9.9.2:1,10.9.9.3:1");
    harness_set(h, "10.9.9.1:1,10.9.9.2:1,10.9.9.3:1", EVENER_READY);
    cr_assert_null(harness_find(h, B));
    call(h, 40, "10.9.9.1:1,10.9.9.2:1", 1);
    harness_advance_ms(h, 1000);
    cr_assert(!is_used(h, "10.9.9.1:1") && !is_used(h, "10.9.9.2:1"));
    cr_assert(is_used(h, "10.9.9.3:1") && is_used(h, A));
    harness_destroy(h);
}

Test(outlier_detection, says_who_is_ejected_while_its_list_is_only_kept)
{
    policy_harness *h = harness_with(FAILURE_PERCENTAGE);
    h->connect_succeeds = false;
    harness_update(h, "10.9.9.9:1");
    call(h, 40, A, 1);
    harness_advance_ms(h, 1000);
    char text[256] = "";
    h->policy->vtable->describe(h->policy, harness_find(h, A), text, sizeof text);
    cr_assert_str_eq(text, "ejected for 0 ms: 100.0 % failures, above 0 %");
    harness_destroy(h);
}

/* A50: a changed interval counts from the start of the current one, with the calls since then. */
Test(outlier_detection, a_changed_interval_counts_from_the_start_of_the_current_one)
{
    static const char *const intervals[] = {"1s", "2s", "0.3s"};
    static const uint64_t due_ms[] = {1000, 2000, 500}; /* the last one is over already: at once */
    for (size_t i = 0; i < 3; i++) {
        policy_harness *h = harness_with(FAILURE_PERCENTAGE);
        call(h, 40, A, 1);
        harness_advance_ms(h, 500);
        char fields[256];
        snprintf(fields, sizeof fields,
                 "\"interval\":\"%s\",\"failurePercentageEjection\":{\"threshold\":0,\"minimumHosts\":1,"
                 "\"requestVolume\":1}",
                 intervals[i]);
        configure(h, fields);
        if (due_ms[i] > 500) {
            harness_advance_ms(h, due_ms[i] - 500 - 1);
            cr_assert(is_used(h, A), "%s", intervals[i]);
        }
        harness_advance_ms(h, 1);
        cr_assert(!is_used(h, A), "%s", intervals[i]);
        harness_destroy(h);
    }
}

/* A50: ejection time is base times the number of ejections, at most max; an interval without one takes one off */
Test(outlier_detection, ejections_in_a_row_last_longer)
{
    policy_harness *h = harness_with("\"interval\":\"1s\",\"baseEjectionTime\":\"2s\",\"maxEjectionTime\":\"3s\","
                                     "\"failurePercentageEjection\":{\"threshold\":0,\"minimumHosts\":1,"
                                     "\"requestVolume\":1}");
    call(h, 40, A, 1);
    harness_advance_ms(h, 1000); /* at 1 s: ejected for 2 s */
    harness_advance_ms(h, 1999);
    cr_assert(!is_used(h, A));
    harness_advance_ms(h, 1);
    cr_assert(is_used(h, A));
    call(h, 40, A, 1);
    harness_advance_ms(h, 1000); /* again: 4 s, but at most 3 */
    harness_advance_ms(h, 2999);
    cr_assert(!is_used(h, A));
    harness_advance_ms(h, 1);
    cr_assert(is_used(h, A));
    harness_advance_ms(h, 5000); /* two intervals without: forgotten */
    call(h, 40, A, 1);
    harness_advance_ms(h, 1000);
    harness_advance_ms(h, 2000);
    cr_assert(is_used(h, A));
    harness_destroy(h);
}

/* evener's floor: never fewer than that share, and one at least */
Test(outlier_detection, never_ejects_below_the_floor)
{
    policy_harness *h = harness_with("\"interval\":\"1s\",\"maxEjectionPercent\":100,\"minHealthyPercent\":75,"
                                     "\"failurePercentageEjection\":{\"threshold\":0,\"minimumHosts\":1,"
                                     "\"requestVolume\":1}");
    call(h, 40, ALL, 1);
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 3);
    configure(h, "\"interval\":\"1s\",\"maxEjectionPercent\":100,"
                 "\"failurePercentageEjection\":{\"threshold\":0,\"minimumHosts\":1,\"requestVolume\":1}");
    call(h, 40, ALL, 1);
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 1);
    harness_destroy(h);
}

/* While a backend is ejected its connection may come and go: the child hears of it when the ejection ends. */
Test(outlier_detection, states_during_an_ejection_are_reported_at_its_end)
{
    policy_harness *h = harness_with(FAILURE_PERCENTAGE);
    call(h, 40, A, 1);
    harness_advance_ms(h, 1000);
    h->connect_succeeds = false;
    harness_set(h, A, EVENER_IDLE);
    cr_assert_eq(harness_connects(h, A), 1, "the child does not know");
    harness_advance_ms(h, 1000);
    cr_assert_eq(harness_connects(h, A), 2);
    harness_set(h, A, EVENER_READY);
    cr_assert(is_used(h, A));
    harness_destroy(h);
}

/* A connection that failed meanwhile is passed on with its error. */
Test(outlier_detection, a_failure_during_an_ejection_is_reported_at_its_end)
{
    policy_harness *h = harness_with_child(FAILURE_PERCENTAGE, "round_robin", A "," B);
    call(h, 20, A, 1);
    harness_advance_ms(h, 1000);
    harness_fail(h, A, "gone");
    harness_fail(h, B, "refused");
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    cr_assert_not_null(strstr(h->status.message, B ": refused"), "%s", h->status.message);
    harness_advance_ms(h, 1000);
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    cr_assert_not_null(strstr(h->status.message, A ": gone"), "%s", h->status.message);
    harness_destroy(h);
}

Test(outlier_detection, says_who_is_ejected_and_why)
{
    policy_harness *h = harness_with_child(FAILURE_PERCENTAGE, "weighted_round_robin", ALL);
    call(h, 40, A, 1);
    harness_advance_ms(h, 1500);
    char text[256] = "";
    h->policy->vtable->describe(h->policy, harness_find(h, A), text, sizeof text);
    cr_assert_str_eq(text, "weight=1 ejected for 500 ms: 100.0 % failures, above 0 %");
    text[0] = '\0';
    h->policy->vtable->describe(h->policy, harness_find(h, B), text, sizeof text);
    cr_assert_str_eq(text, "weight=1");
    harness_destroy(h);
}

/* A call that never reached its backend says nothing about it. */
Test(outlier_detection, calls_that_were_not_sent_do_not_count)
{
    policy_harness *h = harness_with(FAILURE_PERCENTAGE);
    for (size_t i = 0; i < 100; i++) {
        evener_pick pick;
        harness_pick(h, NULL, &pick, NULL);
        const evener_done_info unsent = {.size = sizeof unsent, .code = EVENER_STATUS_UNAVAILABLE, .not_sent = true};
        harness_done_with(h, &pick, &unsent);
    }
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 4);
    harness_destroy(h);
}

/* All lanes count. */
Test(outlier_detection, counts_on_every_lane)
{
    policy_harness *h = harness_with("\"interval\":\"1s\",\"failurePercentageEjection\":{\"threshold\":85,"
                                     "\"minimumHosts\":4,\"requestVolume\":80}");
    for (h->lane = 0; h->lane < EVENER_LANES; h->lane++) {
        call(h, 40, C, 1);
    }
    h->lane = 0;
    harness_advance_ms(h, 1000);
    cr_assert(!is_used(h, C));
    harness_destroy(h);
}

/* Another child takes over when it is ready: nothing reconnects, and it hears of ejections. */
Test(outlier_detection, child_policy_may_change_without_a_gap)
{
    policy_harness *h = harness_with("\"interval\":\"1s\",\"baseEjectionTime\":\"100s\","
                                     "\"failurePercentageEjection\":{\"threshold\":0,\"minimumHosts\":1,"
                                     "\"requestVolume\":1}");
    call(h, 40, A, 1);
    harness_advance_ms(h, 1000);
    h->connect_succeeds = false;
    harness_configure(h, "{\"interval\":\"1s\",\"baseEjectionTime\":\"100s\",\"failurePercentageEjection\":"
                         "{\"threshold\":0,\"minimumHosts\":1,\"requestVolume\":1},\"childPolicy\":[{\"random\":{}}]}");
    cr_assert_eq(h->state, EVENER_READY);
    cr_assert_eq(h->connect_count, 4);
    cr_assert_eq(h->subchannel_count, 4);
    cr_assert(!is_used(h, A));
    cr_assert_eq(used_count(h), 3);
    harness_destroy(h);
}

/* Two of them, one inside the other: each has its own memory. */
Test(outlier_detection, may_be_nested)
{
    policy_harness *h = harness_create(
        "outlier_detection", "{\"interval\":\"1s\",\"failurePercentageEjection\":{\"threshold\":0,\"minimumHosts\":1,"
                             "\"requestVolume\":1},\"childPolicy\":[{\"outlier_detection\":{\"interval\":\"2s\","
                             "\"maxEjectionPercent\":50,\"failurePercentageEjection\":{\"threshold\":0,"
                             "\"minimumHosts\":1,\"requestVolume\":1},"
                             "\"childPolicy\":[{\"weighted_round_robin\":{}}]}}]}");
    h->connect_succeeds = true;
    harness_update(h, ALL);
    call(h, 40, A "," B, 1);
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 3);
    harness_advance_ms(h, 1000);
    cr_assert_eq(used_count(h), 2);
    harness_destroy(h);
}

Test(outlier_detection, empty_list_and_resolver_errors_reach_the_child)
{
    policy_harness *h = harness_with(FAILURE_PERCENTAGE);
    harness_resolver_error(h, "no DNS");
    cr_assert_eq(h->state, EVENER_READY);
    cr_assert_eq(harness_update(h, ""), EVENER_STATUS_UNAVAILABLE);
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    harness_update(h, A);
    cr_assert_str_eq(harness_pick_one(h), A);
    harness_destroy(h);
}

/* A50: validation */
Test(outlier_detection, bad_configuration_names_the_field)
{
    const struct {
        const char *config, *message;
    } cases[] = {
        {"{}", "childPolicy: a list like"},
        {"{\"childPolicy\":[]}", "childPolicy: no known policy"},
        {"{\"childPolicy\":[{\"random\":{}}],\"childPolicy\":[{\"pick_first\":{}}]}",
         "duplicate object key near '\"childPolicy\"'"},
        {"{\"childPolicy\":[{\"nobody\":{}}]}", "childPolicy: no known policy among \"nobody\""},
        {"{\"childPolicy\":[{\"pick_first\":{\"shuffleAddressList\":1}}]}",
         "childPolicy: pick_first: shuffleAddressList: true or false"},
        {"{\"interval\":1,\"childPolicy\":[{\"random\":{}}]}", "interval: a duration"},
        {"{\"interval\":\"0s\",\"childPolicy\":[{\"random\":{}}]}", "interval: a duration from"},
        {"{\"maxEjectionPercent\":101,\"childPolicy\":[{\"random\":{}}]}", "maxEjectionPercent"},
        {"{\"successRateEjection\":{\"enforcementPercentage\":-1},\"childPolicy\":[{\"random\":{}}]}",
         "successRateEjection.enforcementPercentage: a whole number from 0 to 100"},
        {"{\"failurePercentageEjection\":{\"threshold\":\"x\"},\"childPolicy\":[{\"random\":{}}]}",
         "failurePercentageEjection.threshold"},
        {"{\"failurePercentageEjection\":[],\"childPolicy\":[{\"random\":{}}]}", "failurePercentageEjection: a JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char json[512];
        snprintf(json, sizeof json, "[{\"outlier_detection\":%s}]", cases[i].config);
        evener_policy_choice choice = {0};
        evener_status status;
        cr_assert_eq(evener_policy_choose(NULL, json, "lb", &choice, &status), EVENER_STATUS_INVALID_ARGUMENT, "%s",
                     json);
        cr_assert_not_null(strstr(status.message, cases[i].message), "%s", status.message);
    }
}

/* ---- field cases B5 ---- */

#define SIX "10.0.1.1:1,10.0.1.2:1,10.0.1.3:1,10.0.1.4:1,10.0.1.5:1,10.0.1.6:1"

/* End `calls` calls with `code` at the addresses in `at`, and with OK elsewhere. */
static void call_with(policy_harness *h, size_t calls, const char *at, evener_status_code code)
{
    for (size_t i = 0; i < calls; i++) {
        evener_pick pick;
        cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
        const bool hit = strstr(at, evener_subchannel_address_text(pick.subchannel)) != NULL;
        harness_done(h, &pick, hit ? code : EVENER_STATUS_OK);
    }
}

/* grpc-java 12537: mean less 1.9 standard deviations is below 0 when two of six fail every call. */
Test(outlier_detection, b5_no_success_with_volume_is_an_outlier)
{
    policy_harness *h = harness_with_child("\"successRateEjection\":{\"requestVolume\":10},\"maxEjectionPercent\":50",
                                           "round_robin", SIX);
    call_with(h, 120, "10.0.1.1:1,10.0.1.2:1", EVENER_STATUS_UNAVAILABLE);
    harness_advance_ms(h, 10000);
    cr_assert_not(is_used(h, "10.0.1.1:1"));
    cr_assert_not(is_used(h, "10.0.1.2:1"));
    cr_assert(is_used(h, "10.0.1.3:1"));
    harness_destroy(h);
}

/* grpc-java 12834: what the caller or the request is to blame for. */
Test(outlier_detection, b5_cancelled_and_other_codes_do_not_count)
{
    static const evener_status_code codes[] = {EVENER_STATUS_CANCELLED, EVENER_STATUS_NOT_FOUND,
                                               EVENER_STATUS_PERMISSION_DENIED};
    for (size_t i = 0; i < 3; i++) {
        policy_harness *h = harness_with("\"failurePercentageEjection\":{\"requestVolume\":5,\"minimumHosts\":1,"
                                         "\"threshold\":50},\"successRateEjection\":{\"requestVolume\":5}");
        call_with(h, 80, A, codes[i]);
        harness_advance_ms(h, 10000);
        cr_assert(is_used(h, A), "code %d", (int)codes[i]);
        harness_destroy(h);
    }
}

Test(outlier_detection, b5_codes_are_configured)
{
    policy_harness *h = harness_with("\"failureCodes\":[\"NOT_FOUND\",16],\"failurePercentageEjection\":{"
                                     "\"requestVolume\":5,\"minimumHosts\":1,\"threshold\":50}");
    call_with(h, 80, A, EVENER_STATUS_UNAVAILABLE);
    harness_advance_ms(h, 10000);
    cr_assert(is_used(h, A));
    call_with(h, 80, A, EVENER_STATUS_NOT_FOUND);
    harness_advance_ms(h, 10000);
    cr_assert_not(is_used(h, A));
    configure(h, "\"failureCodes\":[],\"failurePercentageEjection\":{\"requestVolume\":5,\"minimumHosts\":1,"
                 "\"threshold\":50}");
    harness_advance_ms(h, 40000);
    call_with(h, 80, A, EVENER_STATUS_NOT_FOUND);
    harness_advance_ms(h, 10000);
    cr_assert(is_used(h, A));
    harness_destroy(h);
}

/* Envoy 2463. */
Test(outlier_detection, b5_failures_in_a_row)
{
    policy_harness *h = harness_with("\"consecutiveFailureEjection\":{\"threshold\":5}");
    call(h, 200, A, 2); /* every other call fails: no row */
    harness_advance_ms(h, 10000);
    cr_assert(is_used(h, A));
    call(h, 20, A, 1);
    harness_advance_ms(h, 10000);
    cr_assert_not(is_used(h, A));
    cr_assert(is_used(h, B));
    harness_destroy(h);
}

/* Below the threshold of healthy backends, all are used; above it, ejected ones are left out again. */
Test(outlier_detection, b5_panic_threshold)
{
    policy_harness *h = harness_with("\"panicThresholdPercent\":60,\"maxEjectionPercent\":100,"
                                     "\"failurePercentageEjection\":{\"requestVolume\":5,\"minimumHosts\":1,"
                                     "\"threshold\":50}");
    call(h, 80, A, 1);
    harness_advance_ms(h, 10000);
    cr_assert_not(is_used(h, A), "three of four are healthy");
    call(h, 80, B, 1);
    harness_advance_ms(h, 10000);
    cr_assert(is_used(h, A), "two of four are healthy");
    cr_assert(is_used(h, B));
    call(h, 80, "", 1);
    harness_advance_ms(h, 20000); /* A's time is over: three are healthy */
    cr_assert(is_used(h, A));
    cr_assert_not(is_used(h, B));
    harness_destroy(h);
}
