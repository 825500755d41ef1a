/* random, weighted_random, weighted_round_robin and the slow start: shares and orders. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/policy/smooth_sequence.h"
#include "lb/policy/weights.h"
#include "tests/support/policy_harness.h"
#include <evener/load_report.h>
#include <evener/log.h>

#define A "10.0.0.1:1"
#define B "10.0.0.2:1"
#define C "10.0.0.3:1"
#define WEIGHTED A ";weight=6," B ";weight=3," C ";weight=1"

static policy_harness *ready_harness(const char *policy, const char *config, const char *list)
{
    policy_harness *h = harness_create(policy, config);
    h->connect_succeeds = true;
    cr_assert_eq(harness_update(h, list), EVENER_STATUS_OK);
    cr_assert_eq(h->state, EVENER_READY);
    return h;
}

static void assert_shares(const size_t *counts, const double *shares, size_t count, double tolerance)
{
    double total = 0;
    for (size_t i = 0; i < count; i++) {
        total += (double)counts[i];
    }
    for (size_t i = 0; i < count; i++) {
        cr_assert_float_eq((double)counts[i] / total, shares[i], tolerance, "backend %zu: %zu of %g", i, counts[i],
                           total);
    }
}

/* ---- random ---- */

Test(random, gives_equal_shares_without_regard_to_weights)
{
    policy_harness *h = ready_harness("random", NULL, WEIGHTED);
    size_t counts[3];
    harness_count_picks(h, 30000, counts);
    assert_shares(counts, (double[]){1 / 3.0, 1 / 3.0, 1 / 3.0}, 3, 0.01);
    h->lane = EVENER_LANE_SHARED;
    harness_count_picks(h, 30000, counts);
    assert_shares(counts, (double[]){1 / 3.0, 1 / 3.0, 1 / 3.0}, 3, 0.01);
    harness_destroy(h);
}

/* ---- weighted_random ---- */

Test(weighted_random, gives_shares_by_weight)
{
    policy_harness *h = ready_harness("weighted_random", NULL, WEIGHTED);
    size_t counts[3];
    for (h->lane = 0; h->lane < EVENER_LANES; h->lane++) {
        harness_count_picks(h, 40000, counts);
        assert_shares(counts, (double[]){0.6, 0.3, 0.1}, 3, 0.01);
    }
    harness_destroy(h);
}

Test(weighted_random, takes_extreme_weights)
{
    policy_harness *h =
        ready_harness("weighted_random", NULL, A ";weight=4294967295," B ";weight=1," C ";weight=2147483648");
    size_t counts[3];
    harness_count_picks(h, 40000, counts);
    assert_shares(counts, (double[]){2 / 3.0, 0, 1 / 3.0}, 3, 0.01);
    harness_update(h, A ";weight=1," B ";weight=nonsense," C);
    harness_count_picks(h, 40000, counts);
    assert_shares(counts, (double[]){1 / 3.0, 1 / 3.0, 1 / 3.0}, 3, 0.01);
    harness_destroy(h);
}

/* brpc: weighted_split 1:2:4 within 5 % */
Test(weighted_random, weighted_split)
{
    policy_harness *h = ready_harness("weighted_random", NULL, A ";weight=1," B ";weight=2," C ";weight=4");
    size_t counts[3];
    harness_count_picks(h, 70000, counts);
    cr_assert_float_eq((double)counts[0], 10000, 500);
    cr_assert_float_eq((double)counts[1], 20000, 1000);
    cr_assert_float_eq((double)counts[2], 40000, 2000);
    harness_destroy(h);
}

Test(weighted_random, follows_changed_weights_without_reconnecting)
{
    policy_harness *h = ready_harness("weighted_random", NULL, WEIGHTED);
    const size_t connects = h->connect_count;
    harness_update(h, A ";weight=1," B ";weight=1," C ";weight=8");
    size_t counts[3];
    harness_count_picks(h, 40000, counts);
    assert_shares(counts, (double[]){0.1, 0.1, 0.8}, 3, 0.01);
    cr_assert_eq(h->connect_count, connects);
    harness_destroy(h);
}

/* ---- the smooth sequence ---- */

static void assert_smooth(const double *weights, uint32_t count)
{
    uint32_t length;
    uint32_t *sequence = evener_smooth_sequence(weights, count, &length);
    cr_assert_not_null(sequence);
    double total = 0;
    for (uint32_t i = 0; i < count; i++) {
        total += weights[i];
    }
    uint32_t *seen = calloc(count, sizeof *seen);
    for (uint32_t k = 0; k < length; k++) {
        seen[sequence[k]]++;
        const uint32_t i = sequence[k];
        const double due = weights[i] / total * (k + 1);
        cr_assert_float_eq((double)seen[i], due, 2.0 + 0.05 * due, "place %u of %u: index %u has %u, due %g", k, length,
                           i, seen[i], due);
    }
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_gt(seen[i], 0);
    }
    free(seen);
    free(sequence);
}

Test(smooth_sequence, whole_weights_come_exactly)
{
    uint32_t length;
    const double weights[] = {60, 30, 10};
    uint32_t *sequence = evener_smooth_sequence(weights, 3, &length);
    cr_assert_eq(length, 10);
    uint32_t seen[3] = {0};
    uint32_t run = 1;
    for (uint32_t k = 0; k < length; k++) {
        seen[sequence[k]]++;
        run = k > 0 && sequence[k] == sequence[k - 1] ? run + 1 : 1;
        cr_assert_leq(run, 2, "a burst of %u", run);
    }
    cr_assert(seen[0] == 6 && seen[1] == 3 && seen[2] == 1);
    free(sequence);
}

Test(smooth_sequence, is_smooth_whatever_the_weights)
{
    assert_smooth((double[]){1}, 1);
    assert_smooth((double[]){5, 1, 1}, 3);
    assert_smooth((double[]){0.1, 0.2, 0.7}, 3);
    assert_smooth((double[]){1000, 1, 1, 999}, 4);
    assert_smooth((double[]){4294967295.0, 1, 4294967294.0}, 3);
    assert_smooth((double[]){3.14159, 2.71828, 1.41421, 1.73205, 0.57721}, 5);
    double many[1000];
    for (uint32_t i = 0; i < 1000; i++) {
        many[i] = 1 + i % 17;
    }
    assert_smooth(many, 1000);
}

/* ---- weighted_round_robin ---- */

Test(weighted_round_robin, static_weights_come_exactly_and_without_bursts)
{
    policy_harness *h = ready_harness("weighted_round_robin", NULL, WEIGHTED);
    for (h->lane = 0; h->lane < EVENER_LANES; h->lane++) {
        size_t counts[3];
        harness_count_picks(h, 10, counts);
        cr_assert(counts[0] == 6 && counts[1] == 3 && counts[2] == 1, "%zu %zu %zu", counts[0], counts[1], counts[2]);
    }
    harness_destroy(h);
}

Test(weighted_round_robin, weights_are_exact_over_all_lanes_where_calls_follow)
{
    policy_harness *h = harness_create("weighted_round_robin", NULL);
    h->carries_calls = true;
    harness_update(h, WEIGHTED);
    harness_set_all(h, EVENER_READY);
    for (size_t round = 0; round < 100; round++) {
        size_t totals[3];
        harness_count_picks_on_any_lane(h, 10, totals);
        cr_assert(totals[0] == 6 && totals[1] == 3 && totals[2] == 1, "%zu %zu %zu", totals[0], totals[1], totals[2]);
    }
    harness_destroy(h);
}

static void report_with(policy_harness *h, const char *address, evener_status_code code, double rps, double eps,
                        double application, double cpu)
{
    uint8_t bytes[64];
    size_t size = 0;
    const struct {
        uint8_t field;
        double value;
    } fields[] = {{1, cpu}, {6, rps}, {7, eps}, {9, application}};
    for (size_t i = 0; i < 4; i++) {
        bytes[size++] = (uint8_t)(fields[i].field << 3 | 1);
        memcpy(bytes + size, &fields[i].value, 8);
        size += 8;
    }
    for (size_t i = 0; i < 100000; i++) {
        evener_pick pick;
        cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
        const bool wanted = strcmp(evener_subchannel_address_text(pick.subchannel), address) == 0;
        const evener_done_info info = {.size = sizeof info,
                                       .code = wanted ? code : EVENER_STATUS_OK,
                                       .load_report = wanted ? bytes : NULL,
                                       .load_report_bytes = wanted ? size : 0};
        harness_done_with(h, &pick, &info);
        if (wanted) {
            return;
        }
    }
    cr_assert_fail("%s is never picked", address);
}

static void report(policy_harness *h, const char *address, double rps, double eps, double application, double cpu)
{
    report_with(h, address, EVENER_STATUS_OK, rps, eps, application, cpu);
}

static void assert_ratio(policy_harness *h, double a, double b, double c)
{
    size_t counts[3];
    harness_count_picks(h, 7000, counts);
    const double sum = a + b + c;
    assert_shares(counts, (double[]){a / sum, b / sum, c / sum}, 3, 0.002);
}

#define NO_BLACKOUT "{\"blackoutPeriod\":\"0s\"}"

/* core weighted_round_robin_test.cc: Basic */
Test(weighted_round_robin, basic)
{
    policy_harness *h = ready_harness("weighted_round_robin", NO_BLACKOUT, A "," B "," C);
    assert_ratio(h, 1, 1, 1);
    report(h, A, 100, 0, 0.9, 0);
    report(h, B, 100, 0, 0.3, 0);
    report(h, C, 100, 0, 0.3, 0);
    harness_advance_ms(h, 1000);
    assert_ratio(h, 1, 3, 3);
    report(h, A, 100, 0, 0.3, 0);
    report(h, C, 100, 0, 0.9, 0);
    harness_advance_ms(h, 1000);
    assert_ratio(h, 3, 3, 1);
    harness_destroy(h);
}

/* core weighted_round_robin_test.cc: CpuUtilWithNoAppUtil, AppUtilOverCpuUtil */
Test(weighted_round_robin, cpu_util_with_no_app_util_and_app_util_over_cpu_util)
{
    policy_harness *h = ready_harness("weighted_round_robin", NO_BLACKOUT, A "," B "," C);
    report(h, A, 100, 0, 0, 0.9);
    report(h, B, 100, 0, 0, 0.3);
    report(h, C, 100, 0, 0, 0.3);
    harness_advance_ms(h, 1000);
    assert_ratio(h, 1, 3, 3);
    report(h, A, 100, 0, 0.3, 0.2);
    report(h, B, 100, 0, 0.3, 0.6);
    report(h, C, 100, 0, 0.9, 0.1);
    harness_advance_ms(h, 1000);
    assert_ratio(h, 3, 3, 1);
    harness_destroy(h);
}

/* core weighted_round_robin_test.cc: Eps */
Test(weighted_round_robin, eps)
{
    policy_harness *h = ready_harness("weighted_round_robin",
                                      "{\"blackoutPeriod\":\"0s\",\"errorUtilizationPenalty\":1.0}", A "," B "," C);
    report(h, A, 100, 50, 0.4, 0);
    report(h, B, 100, 20, 0.1, 0);
    report(h, C, 100, 20, 0.1, 0);
    harness_advance_ms(h, 1000);
    assert_ratio(h, 1, 3, 3);
    harness_destroy(h);
}

/* core weighted_round_robin_test.cc: ZeroErrorUtilPenalty */
Test(weighted_round_robin, zero_error_util_penalty)
{
    policy_harness *h = ready_harness("weighted_round_robin",
                                      "{\"blackoutPeriod\":\"0s\",\"errorUtilizationPenalty\":0}", A "," B "," C);
    report(h, A, 100, 50, 0.9, 0);
    report(h, B, 100, 90, 0.3, 0);
    report(h, C, 100, 1, 0.3, 0);
    harness_advance_ms(h, 1000);
    assert_ratio(h, 1, 3, 3);
    harness_destroy(h);
}

/* core weighted_round_robin_test.cc: FallsBackToRoundRobinWithoutWeights, MissingWeight uses the mean */
Test(weighted_round_robin, one_report_is_not_enough_and_who_has_none_gets_the_mean)
{
    policy_harness *h = ready_harness("weighted_round_robin", NO_BLACKOUT, A "," B "," C);
    report(h, A, 100, 0, 0.9, 0);
    harness_advance_ms(h, 1000);
    assert_ratio(h, 1, 1, 1);
    report(h, B, 100, 0, 0.3, 0);
    harness_advance_ms(h, 1000);
    assert_ratio(h, 1, 3, 2);
    harness_destroy(h);
}

/* core weighted_round_robin_test.cc: HonorsWeightUpdatePeriod, HonorsWeightUpdatePeriodLowerBound */
Test(weighted_round_robin, honors_weight_update_period)
{
    policy_harness *h = ready_harness("weighted_round_robin",
                                      "{\"blackoutPeriod\":\"0s\",\"weightUpdatePeriod\":\"2s\"}", A "," B "," C);
    report(h, A, 100, 0, 0.9, 0);
    report(h, B, 100, 0, 0.3, 0);
    report(h, C, 100, 0, 0.3, 0);
    harness_advance_ms(h, 1999);
    assert_ratio(h, 1, 1, 1);
    harness_advance_ms(h, 1);
    assert_ratio(h, 1, 3, 3);
    harness_configure(h, "{\"blackoutPeriod\":\"0s\",\"weightUpdatePeriod\":\"0.01s\"}");
    report(h, A, 100, 0, 0.3, 0);
    harness_advance_ms(h, 99);
    assert_ratio(h, 1, 3, 3);
    harness_advance_ms(h, 1);
    assert_ratio(h, 1, 1, 1);
    harness_destroy(h);
}

/* core weighted_round_robin_test.cc: WeightExpirationPeriod, BlackoutPeriodAfterWeightExpiration */
Test(weighted_round_robin, weight_expiration_period)
{
    policy_harness *h = ready_harness("weighted_round_robin",
                                      "{\"blackoutPeriod\":\"1s\",\"weightExpirationPeriod\":\"5s\"}", A "," B "," C);
    report(h, A, 100, 0, 0.9, 0);
    report(h, B, 100, 0, 0.3, 0);
    report(h, C, 100, 0, 0.3, 0);
    harness_advance_ms(h, 999);
    assert_ratio(h, 1, 1, 1);
    harness_advance_ms(h, 1);
    assert_ratio(h, 1, 3, 3);
    harness_advance_ms(h, 4000);
    assert_ratio(h, 1, 1, 1);
    report(h, A, 100, 0, 0.3, 0);
    report(h, B, 100, 0, 0.3, 0);
    report(h, C, 100, 0, 0.9, 0);
    harness_advance_ms(h, 999);
    assert_ratio(h, 1, 1, 1);
    harness_advance_ms(h, 1001);
    assert_ratio(h, 3, 3, 1);
    harness_destroy(h);
}

/* core weighted_round_robin_test.cc: BlackoutPeriodAfterDisconnect: who reconnects counts as the mean meanwhile */
Test(weighted_round_robin, blackout_period_after_disconnect)
{
    policy_harness *h = ready_harness("weighted_round_robin", "{\"blackoutPeriod\":\"1s\"}", A "," B "," C);
    report(h, A, 100, 0, 0.9, 0);
    report(h, B, 100, 0, 0.3, 0);
    report(h, C, 100, 0, 0.3, 0);
    harness_advance_ms(h, 1000);
    assert_ratio(h, 1, 3, 3);
    harness_set(h, A, EVENER_IDLE);
    assert_ratio(h, 3, 3, 3);
    report(h, A, 100, 0, 0.9, 0);
    harness_advance_ms(h, 999);
    assert_ratio(h, 3, 3, 3);
    harness_advance_ms(h, 1000);
    assert_ratio(h, 1, 3, 3);
    harness_destroy(h);
}

/* core weighted_round_robin_test.cc: BlackoutPeriodDoesNotGetResetAfterUpdate */
Test(weighted_round_robin, blackout_period_does_not_get_reset_after_update)
{
    policy_harness *h = ready_harness("weighted_round_robin", "{\"blackoutPeriod\":\"1s\"}", A "," B "," C);
    report(h, A, 100, 0, 0.9, 0);
    report(h, B, 100, 0, 0.3, 0);
    report(h, C, 100, 0, 0.3, 0);
    harness_advance_ms(h, 1000);
    harness_update(h, A ";x=1," B "," C);
    assert_ratio(h, 1, 3, 3);
    harness_destroy(h);
}

Test(weighted_round_robin, bad_configuration_names_the_field)
{
    const struct {
        const char *config, *message;
    } cases[] = {
        {"{\"blackoutPeriod\":10}", "blackoutPeriod: a duration like \"1.5s\" is needed"},
        {"{\"errorUtilizationPenalty\":-1}", "errorUtilizationPenalty: a number from 0 to 1e+09 is needed"},
        {"{\"enableOobLoadReport\":\"yes\"}", "enableOobLoadReport: true or false is needed"},
        {"{\"slowStartConfig\":{\"window\":\"x\"}}", "slowStartConfig.window: a duration like \"1.5s\" is needed"},
        {"{\"metricNamesForComputingUtilization\":\"eps\"}",
         "metricNamesForComputingUtilization: a list of strings that are not empty is needed"},
        {"{\"metricNamesForComputingUtilization\":[\"eps\",\"\"]}",
         "metricNamesForComputingUtilization: a list of strings that are not empty is needed"},
        {"{\"slowStartConfig\":3}", "slowStartConfig: a JSON object is needed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char json[256];
        snprintf(json, sizeof json, "[{\"weighted_round_robin\":%s}]", cases[i].config);
        evener_policy_choice choice = {0};
        evener_status status;
        cr_assert_eq(evener_policy_choose(NULL, json, "lb", &choice, &status), EVENER_STATUS_INVALID_ARGUMENT);
        cr_assert_not_null(strstr(status.message, cases[i].message), "%s", status.message);
    }
}

/* ---- load reports ---- */

Test(load_report, reads_its_fields_and_skips_others)
{
    const uint8_t bytes[] = {/* rps = 3 (varint) */ 0x18,
                             0x96,
                             0x01,
                             /* named_metrics {"a": 1} */ 0x42,
                             0x0C,
                             0x0A,
                             0x01,
                             'a',
                             0x11,
                             0,
                             0,
                             0,
                             0,
                             0,
                             0,
                             0xF0,
                             0x3F,
                             /* cpu 0.5 */ 0x09,
                             0,
                             0,
                             0,
                             0,
                             0,
                             0,
                             0xE0,
                             0x3F,
                             /* rps_fractional 2 */ 0x31,
                             0,
                             0,
                             0,
                             0,
                             0,
                             0,
                             0,
                             0x40};
    evener_load_report parsed = {.size = sizeof parsed};
    cr_assert(evener_load_report_parse(bytes, sizeof bytes, &parsed));
    cr_assert_float_eq(parsed.cpu_utilization, 0.5, 0);
    cr_assert_float_eq(parsed.requests_per_second, 2, 0);
    cr_assert_float_eq(parsed.application_utilization, 0, 0);
    cr_assert(evener_load_report_parse("", 0, &parsed));
}

Test(load_report, refuses_what_is_none)
{
    evener_load_report parsed = {.size = sizeof parsed};
    const uint8_t negative[] = {0x09, 0, 0, 0, 0, 0, 0, 0xF0, 0xBF};
    const uint8_t nan[] = {0x09, 0, 0, 0, 0, 0, 0, 0xF8, 0x7F};
    const uint8_t cut[] = {0x09, 0, 0, 0};
    const uint8_t cut_number[] = {0x18, 0x80, 0}; /* would end in the byte after */
    const uint8_t too_long[] = {0x42, 0x7F, 0};
    const uint8_t group[] = {0x0B};
    const uint8_t endless[] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01};
    cr_assert(!evener_load_report_parse(negative, sizeof negative, &parsed));
    cr_assert(!evener_load_report_parse(nan, sizeof nan, &parsed));
    cr_assert(!evener_load_report_parse(cut, sizeof cut, &parsed));
    cr_assert(!evener_load_report_parse(cut_number, 2, &parsed));
    cr_assert(evener_load_report_parse(cut_number, 3, &parsed));
    cr_assert(!evener_load_report_parse(too_long, sizeof too_long, &parsed));
    cr_assert(!evener_load_report_parse(group, sizeof group, &parsed));
    cr_assert(!evener_load_report_parse(endless, sizeof endless, &parsed));
}

/* ---- slow start ---- */

/* Envoy: slow start grows a weight over the window, from a floor */
Test(slow_start, factor_grows_from_the_floor)
{
    const evener_slow_start linear = {10 * EVENER_NS_PER_S, 1.0, 0.1};
    cr_assert_float_eq(evener_slow_start_factor(&linear, 0), 0.1, 1e-9);
    cr_assert_float_eq(evener_slow_start_factor(&linear, 5 * EVENER_NS_PER_S), 0.5, 1e-9);
    cr_assert_float_eq(evener_slow_start_factor(&linear, 10 * EVENER_NS_PER_S), 1, 1e-9);
    const evener_slow_start fast = {10 * EVENER_NS_PER_S, 2.0, 0.1};
    cr_assert_float_eq(evener_slow_start_factor(&fast, EVENER_NS_PER_S * 5 / 2), 0.5, 1e-9);
    const evener_slow_start none = EVENER_SLOW_START_NONE;
    cr_assert_float_eq(evener_slow_start_factor(&none, 0), 1, 0);
}

static void slow_start_of(const char *policy, double tolerance)
{
    policy_harness *h =
        ready_harness(policy, "{\"slowStartConfig\":{\"window\":\"10s\",\"minWeightPercent\":10}}", A "," B);
    harness_advance_ms(h, 20000);
    harness_update(h, A "," B "," C);
    size_t counts[3];
    harness_count_picks(h, 42000, counts);
    assert_shares(counts, (double[]){1 / 2.1, 1 / 2.1, 0.1 / 2.1}, 3, tolerance);
    harness_advance_ms(h, 5000);
    harness_count_picks(h, 42000, counts);
    assert_shares(counts, (double[]){0.4, 0.4, 0.2}, 3, tolerance);
    harness_advance_ms(h, 5500);
    harness_count_picks(h, 42000, counts);
    assert_shares(counts, (double[]){1 / 3.0, 1 / 3.0, 1 / 3.0}, 3, tolerance);
    harness_destroy(h);
}

Test(slow_start, of_weighted_random)
{
    slow_start_of("weighted_random", 0.01);
}

Test(slow_start, of_weighted_round_robin)
{
    slow_start_of("weighted_round_robin", 0.002);
}

/* ---- field cases B1, B6, B9, B10 ---- */

/* B6: one absurd report is refused, and all others count on. */
Test(weighted_round_robin, b6_an_absurd_report_is_refused)
{
    static const double absurd[][2] = {{1e299, 1e-20}, {1e299, 1}, {1e-9, 1e9}, {1, 1e-300}};
    for (size_t i = 0; i < 4; i++) {
        policy_harness *h = ready_harness("weighted_round_robin", NO_BLACKOUT, A "," B "," C);
        report(h, A, 100, 0, 0.9, 0);
        report(h, B, 100, 0, 0.3, 0);
        report(h, C, 100, 0, 0.3, 0);
        report(h, C, absurd[i][0], 0, absurd[i][1], 0);
        harness_advance_ms(h, 1000);
        assert_ratio(h, 1, 3, 3);
        harness_destroy(h);
    }
}

/* B6: numbers that are no numbers, below 0 or without end, in any field. */
Test(weighted_round_robin, b6_a_report_with_an_impossible_number_is_refused)
{
    static const double impossible[][3] = {
        {NAN, 0, 0.1},      {100, NAN, 0.1}, {100, 0, NAN},    {INFINITY, 0, 0.1}, {100, INFINITY, 0.1},
        {100, 0, INFINITY}, {-100, 0, 0.1},  {100, -9.9, 0.1}, {100, -29, 0.3},    {-100, -100, 0.1},
    };
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        policy_harness *h = ready_harness("weighted_round_robin", NO_BLACKOUT, A "," B "," C);
        report(h, A, 100, 0, 0.9, 0);
        report(h, B, 100, 0, 0.3, 0);
        report(h, C, 100, 0, 0.3, 0);
        report(h, C, impossible[i][0], impossible[i][1], impossible[i][2], 0);
        harness_advance_ms(h, 1000);
        size_t counts[3];
        harness_count_picks(h, 7000, counts);
        cr_assert(counts[0] >= 995 && counts[0] <= 1005 && counts[2] >= 2990 && counts[2] <= 3010, "%zu: %zu %zu %zu",
                  i, counts[0], counts[1], counts[2]);
        harness_destroy(h);
    }
}

/* B10: linkerd2 11043. One with next to no utilization gets ten times the median, and the others remain apart. */
Test(weighted_round_robin, b10_weights_are_clamped_against_the_median)
{
    policy_harness *h = ready_harness("weighted_round_robin", NO_BLACKOUT, A "," B "," C ",10.0.0.4:1");
    report(h, A, 100, 0, 1e-6, 0);
    report(h, B, 100, 0, 0.25, 0);
    report(h, C, 100, 0, 0.5, 0);
    report(h, "10.0.0.4:1", 100, 0, 0.5, 0);
    harness_advance_ms(h, 1000);
    size_t counts[4];
    harness_count_picks(h, 40000, counts);
    /* The weights are 1e8, 400, 200 and 200: the median is 300. */
    const double sum = 3000 + 400 + 200 + 200;
    assert_shares(counts, (double[]){3000 / sum, 400 / sum, 200 / sum, 200 / sum}, 4, 0.005);
    harness_destroy(h);
}

/* B1: a backend that fails fast reports little load; that draws no calls. */
Test(weighted_round_robin, b1_a_report_with_a_failure_never_raises_the_weight)
{
    static const evener_status_code codes[] = {EVENER_STATUS_PERMISSION_DENIED, EVENER_STATUS_UNKNOWN};
    for (size_t i = 0; i < 2; i++) {
        policy_harness *h = ready_harness("weighted_round_robin", NO_BLACKOUT, A "," B "," C);
        report(h, A, 100, 0, 0.5, 0);
        report(h, B, 100, 0, 0.5, 0);
        report(h, C, 100, 0, 0.5, 0);
        harness_advance_ms(h, 1000);
        assert_ratio(h, 1, 1, 1);
        for (size_t call = 0; call < 100; call++) {
            report_with(h, A, codes[i], 100, 0, 0.01, 0);
        }
        harness_advance_ms(h, 1000);
        size_t counts[3];
        harness_count_picks(h, 9000, counts);
        if (i == 0) {
            assert_shares(counts, (double[]){1 / 3.0, 1 / 3.0, 1 / 3.0}, 3, 0.002);
        } else { /* all fail: utilization 0.5 + 1 in place of 0.5 */
            cr_assert_lt(counts[0], 9000 / 6);
        }
        harness_destroy(h);
    }
}

/* B1: what the server reports as errors is not held against it a second time; what it does not report is. */
Test(weighted_round_robin, b1_failures_count_once_whether_they_are_reported_or_not)
{
    for (size_t i = 0; i < 2; i++) {
        policy_harness *h = ready_harness("weighted_round_robin", NO_BLACKOUT, A "," B "," C);
        const double reported = i == 0 ? 50 : 0;    /* of 100 per second */
        for (size_t call = 0; call < 100; call++) { /* every other one fails */
            report_with(h, A, call % 2 == 0 ? EVENER_STATUS_UNAVAILABLE : EVENER_STATUS_OK, 100, reported, 0.5, 0);
        }
        report(h, B, 100, 0, 1, 0); /* 100 */
        report(h, C, 100, 0, 1, 0);
        harness_advance_ms(h, 1000);
        size_t counts[3];
        harness_count_picks(h, 9000,
                            counts); /* A: 100 / (0.5 + 1 * 50 / 100), and a little less than half is failing */
        assert_shares(counts, (double[]){1 / 3.0, 1 / 3.0, 1 / 3.0}, 3, 0.02);
        harness_destroy(h);
    }
}

/* ... and what was not sent, or has a code that is not listed, is none. */
Test(weighted_round_robin, b1_only_calls_that_the_backend_failed_count)
{
    static const struct {
        const char *config;
        evener_done_info info;
        bool counts;
    } cases[] = {
        {NO_BLACKOUT, {.size = sizeof(evener_done_info), .code = EVENER_STATUS_INTERNAL}, true},
        {NO_BLACKOUT, {.size = sizeof(evener_done_info), .code = EVENER_STATUS_INTERNAL, .not_sent = true}, false},
        {NO_BLACKOUT, {.size = sizeof(evener_done_info), .code = EVENER_STATUS_NOT_FOUND}, false},
        {"{\"blackoutPeriod\":\"0s\",\"failureCodes\":[\"NOT_FOUND\"]}",
         {.size = sizeof(evener_done_info), .code = EVENER_STATUS_NOT_FOUND},
         true},
        {"{\"blackoutPeriod\":\"0s\",\"failureCodes\":[\"NOT_FOUND\"]}",
         {.size = sizeof(evener_done_info), .code = EVENER_STATUS_INTERNAL},
         false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        policy_harness *h = ready_harness("weighted_round_robin", cases[i].config, A "," B "," C);
        report(h, A, 100, 0, 0.5, 0);
        report(h, B, 100, 0, 0.5, 0);
        report(h, C, 100, 0, 0.5, 0);
        for (size_t call = 0; call < 300; call++) {
            evener_pick pick;
            cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
            const evener_done_info ok = {.size = sizeof ok, .code = EVENER_STATUS_OK};
            harness_done_with(h, &pick, pick.subchannel == harness_find(h, A) ? &cases[i].info : &ok);
        }
        harness_advance_ms(h, 1000);
        size_t counts[3];
        harness_count_picks(h, 9000, counts);
        cr_expect(cases[i].counts ? counts[0] < 9000 / 4 : counts[0] > 9000 * 33 / 100, "%zu: %zu", i, counts[0]);
        harness_destroy(h);
    }
}

/* B9: weight 0 drains: no new calls while others have more, and the connection stays. */
Test(weight_zero, b9_drains)
{
    static const char *const policies[] = {"weighted_random", "weighted_round_robin", "least_request", "p2c_ewma",
                                           "ring_hash"};
    for (size_t i = 0; i < 5; i++) {
        policy_harness *h = harness_create(policies[i], NULL);
        h->connect_succeeds = true;
        harness_update(h, A ";weight=0," B ";weight=2," C);
        for (size_t b = 0; b < 3; b++) {
            evener_subchannel_connect(harness_at(h, b));
        }
        harness_run(h);
        size_t counts[3];
        harness_count_picks(h, 3000, counts);
        cr_assert_eq(counts[0], 0, "%s: %zu", policies[i], counts[0]);
        cr_assert_gt(counts[1], 0);
        cr_assert_gt(counts[2], 0);
        cr_assert_eq(harness_subchannel_state(harness_find(h, A)), EVENER_READY);
        harness_update(h, A ";weight=0," B ";weight=0," C ";weight=0");
        harness_count_picks(h, 3000, counts);
        cr_assert(counts[0] > 0 && counts[1] > 0 && counts[2] > 0, "%s: all would drain", policies[i]);
        harness_destroy(h);
    }
}

/* ---- metrics by name (A114), reports out of band (A51), missing reports ---- */

/* Write a field of type double. Return its length. */
static size_t put_double(uint8_t *to, unsigned field, double value)
{
    to[0] = (uint8_t)(field << 3 | 1);
    memcpy(to + 1, &value, 8);
    return 9;
}

/* Write an entry of a map from strings to doubles. */
static size_t put_entry(uint8_t *to, unsigned field, const char *key, double value)
{
    const size_t key_bytes = strlen(key);
    to[0] = (uint8_t)(field << 3 | 2);
    to[1] = (uint8_t)(2 + key_bytes + 9);
    to[2] = 1 << 3 | 2;
    to[3] = (uint8_t)key_bytes;
    memcpy(to + 4, key, key_bytes);
    return 4 + key_bytes + put_double(to + 4 + key_bytes, 2, value);
}

Test(load_report, finds_a_metric_by_its_name)
{
    uint8_t bytes[256];
    size_t size = put_double(bytes, 1, 0.5);
    size += put_double(bytes + size, 2, 0.25);
    size += put_entry(bytes + size, 4, "db", 7);
    size += put_entry(bytes + size, 5, "disk", 0.75);
    size += put_entry(bytes + size, 8, "queue", 12);
    size += put_entry(bytes + size, 8, "bad", -1);
    const struct {
        const char *name;
        double value; /* below 0: not found */
    } cases[] = {{"cpu_utilization", 0.5},
                 {"mem_utilization", 0.25},
                 {"request_cost.db", 7},
                 {"utilization.disk", 0.75},
                 {"named_metrics.queue", 12},
                 {"named_metrics.disk", -1},
                 {"named_metrics.bad", -1},
                 {"named_metrics", -1},
                 {"eps", -1},
                 {"cpu_utilization.x", -1},
                 {"", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double value = -1;
        cr_expect_eq(evener_load_report_find(bytes, size, cases[i].name, &value), cases[i].value >= 0, "%s",
                     cases[i].name);
        cr_expect_float_eq(value, cases[i].value, 0, "%s: %g", cases[i].name, value);
    }
    double value = -1;
    for (size_t cut = size - 1; cut > size - 10; cut--) {
        cr_expect_not(evener_load_report_find(bytes, cut, "cpu_utilization", &value), "%zu bytes", cut);
    }
}

/* Report with the next call that goes to the address. */
static void report_bytes(policy_harness *h, const char *address, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < 100000; i++) {
        evener_pick pick;
        cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
        const bool wanted = strcmp(evener_subchannel_address_text(pick.subchannel), address) == 0;
        const evener_done_info info = {
            .size = sizeof info, .load_report = wanted ? bytes : NULL, .load_report_bytes = wanted ? size : 0};
        harness_done_with(h, &pick, &info);
        if (wanted) {
            return;
        }
    }
    cr_assert_fail("%s is never picked", address);
}

/* A report of 100 requests per second; metrics of 0 are left out. */
static size_t put_report(uint8_t *bytes, double application, double cpu, double queue, double memory)
{
    size_t size = put_double(bytes, 6, 100);
    size += application > 0 ? put_double(bytes + size, 9, application) : 0;
    size += cpu > 0 ? put_double(bytes + size, 1, cpu) : 0;
    size += queue > 0 ? put_entry(bytes + size, 8, "queue", queue) : 0;
    size += memory > 0 ? put_double(bytes + size, 2, memory) : 0;
    return size;
}

static void report_metrics(policy_harness *h, const char *address, double application, double cpu, double queue,
                           double memory)
{
    uint8_t bytes[128];
    report_bytes(h, address, bytes, put_report(bytes, application, cpu, queue, memory));
}

/* A114: the application's utilization, else the highest of the named metrics, else the CPU's */
Test(weighted_round_robin, named_metrics_give_the_utilization_without_the_applications)
{
    policy_harness *h = ready_harness("weighted_round_robin",
                                      "{\"blackoutPeriod\":\"0s\",\"metricNamesForComputingUtilization\":"
                                      "[\"named_metrics.queue\",\"mem_utilization\"]}",
                                      A "," B "," C);
    report_metrics(h, A, 0, 0.1, 0.9, 0.2);   /* the highest: the queue */
    report_metrics(h, B, 0, 0.9, 0.1, 0.3);   /* the highest: the memory */
    report_metrics(h, C, 0.3, 0.1, 0.9, 0.9); /* the application's */
    harness_advance_ms(h, 1000);
    assert_ratio(h, 1, 3, 3);
    report_metrics(h, A, 0, 0.3, 0, 0); /* neither: the CPU's */
    harness_advance_ms(h, 1000);
    assert_ratio(h, 1, 1, 1);
    harness_configure(h,
                      "{\"blackoutPeriod\":\"0s\",\"metricNamesForComputingUtilization\":[\"named_metrics.other\"]}");
    report_metrics(h, A, 0, 0.3, 0.1, 0); /* other names: the CPU's */
    report_metrics(h, B, 0, 0.3, 0.1, 0);
    report_metrics(h, C, 0, 0.9, 0.1, 0);
    harness_advance_ms(h, 1000);
    assert_ratio(h, 3, 3, 1);
    harness_configure(h, NO_BLACKOUT);
    report_metrics(h, C, 0, 0.3, 0.1, 0.9);
    harness_advance_ms(h, 1000);
    assert_ratio(h, 1, 1, 1);
    harness_destroy(h);
}

#define OUT_OF_BAND "{\"blackoutPeriod\":\"0s\",\"enableOobLoadReport\":true,\"oobReportingPeriod\":\"2.5s\"}"

static void report_out_of_band(policy_harness *h, const char *address, double utilization)
{
    uint8_t bytes[64];
    size_t size = put_double(bytes, 6, 100);
    size += put_double(bytes + size, 9, utilization);
    harness_report_load(h, address, bytes, size);
}

/* A58: enable_oob_load_report replaces the reports of calls */
Test(weighted_round_robin, reports_out_of_band_replace_those_of_calls)
{
    policy_harness *h = ready_harness("weighted_round_robin", OUT_OF_BAND, A "," B "," C);
    cr_expect_eq(harness_load_interval_ms(h, A), 2500);
    report_out_of_band(h, A, 0.9);
    report_out_of_band(h, B, 0.3);
    report_out_of_band(h, C, 0.3);
    report(h, A, 100, 0, 0.01, 0);
    harness_advance_ms(h, 1000);
    assert_ratio(h, 1, 3, 3);
    harness_configure(h, "{\"blackoutPeriod\":\"0s\",\"enableOobLoadReport\":true}");
    cr_expect_eq(harness_load_interval_ms(h, B), 10000, "A58: the default period");
    harness_configure(h, NO_BLACKOUT);
    cr_expect_eq(harness_load_interval_ms(h, A), 0);
    report(h, A, 100, 0, 0.3, 0);
    harness_advance_ms(h, 1000);
    assert_ratio(h, 1, 1, 1);
    harness_destroy(h);
}

static unsigned warnings;

static void count_warnings(void *arg, evener_log_level level, const char *component, const char *message)
{
    (void)arg;
    (void)message;
    warnings += level == EVENER_LOG_WARNING && strcmp(component, "weighted_round_robin") == 0;
}

static unsigned warnings_of(const char *config, const char *list, bool calls, bool reports)
{
    warnings = 0;
    evener_log_set_sink(count_warnings, NULL, EVENER_LOG_WARNING);
    policy_harness *h = ready_harness("weighted_round_robin", config, list);
    if (calls) {
        (void)harness_pick_one(h);
    }
    if (reports) {
        report(h, A, 100, 0, 0.5, 0);
    }
    harness_advance_ms(h, 9000);
    cr_expect_eq(warnings, 0);
    harness_advance_ms(h, 100000);
    harness_update(h, list);
    harness_advance_ms(h, 10000);
    harness_destroy(h);
    evener_log_set_sink(NULL, NULL, EVENER_LOG_WARNING);
    return warnings;
}

Test(weighted_round_robin, one_warning_if_no_backend_sends_reports)
{
    cr_expect_eq(warnings_of("{}", A "," B, true, false), 1);
    cr_expect_eq(warnings_of("{}", A "," B, true, true), 0);
    cr_expect_eq(warnings_of("{}", A "," B, false, false), 0, "no call has ended");
    cr_expect_eq(warnings_of("{}", WEIGHTED, true, false), 0, "the addresses have weights");
    cr_expect_eq(warnings_of("{\"enableOobLoadReport\":true}", WEIGHTED, false, false), 1, "reports were asked for");
}
