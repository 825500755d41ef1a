/* p2c_ewma under load, in the simulator (bench/sim): the library's own object code, in virtual time, with servers that
 * queue. Everything is deterministic. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "bench/sim/engine.h"

#define SEEDS 20
#define GO_ZERO "{\"compat\":\"go-zero\"}"

/* Four servers of eight workers, exponential times of 1 ms; 2,000 calls per second. Reported: after 10 s. */
static sim_scenario four_servers(void)
{
    return (sim_scenario){.seed = 7,
                          .clients = 1,
                          .rate_per_s = 2000,
                          .duration_s = 30,
                          .timeout_ms = 1000,
                          .group_count = 1,
                          .groups = {{.count = 4, .workers = 8, .distribution = SIM_EXPONENTIAL, .service_us = 1000}},
                          .window_count = 1,
                          .windows = {{"steady", 10, 30}}};
}

/* The same, `count` of them slower by 5 ms. */
static sim_scenario four_servers_slow(uint32_t count)
{
    sim_scenario scenario = four_servers();
    scenario.event_count = 1;
    scenario.events[0] = (sim_event){.action = SIM_EXTRA, .count = count, .value = 5000};
    return scenario;
}

static sim_result *run(const sim_scenario *scenario, const char *policy, const char *config)
{
    sim_policy p = {0};
    char message[256];
    snprintf(p.name, sizeof p.name, "%s", policy);
    snprintf(p.config, sizeof p.config, "%s", config != NULL ? config : "");
    sim_result *result = sim_run(scenario, &p, message, sizeof message);
    cr_assert_not_null(result, "%s", message);
    return result;
}

static double p99_us(const sim_scenario *scenario, const char *policy, const char *config)
{
    sim_result *result = run(scenario, policy, config);
    const double p99 = result->windows[0].slice.p99_us;
    cr_assert_eq(result->windows[0].slice.failed, 0);
    sim_result_destroy(result);
    return p99;
}

/* The same scenario twice gives the same result to the last call. */
Test(p2c_sim, is_deterministic)
{
    const sim_scenario scenario = four_servers_slow(1);
    sim_result *a = run(&scenario, "p2c_ewma", NULL), *b = run(&scenario, "p2c_ewma", NULL);
    cr_assert_eq(a->events, b->events);
    cr_assert_arr_eq(&a->windows[0], &b->windows[0], sizeof a->windows[0]);
    sim_result_destroy(a);
    sim_result_destroy(b);
}

/* brpc 3340: one of four slow by 5 ms. */
Test(p2c_sim, one_of_four_slow)
{
    const sim_scenario healthy = four_servers(), slow = four_servers_slow(1);
    const double p99_healthy = p99_us(&healthy, "p2c_ewma", NULL);
    const double p99_slow = p99_us(&slow, "p2c_ewma", NULL);
    cr_assert_leq(p99_slow, 1.05 * p99_healthy, "%f against %f", p99_slow, p99_healthy);
    cr_assert_gt(p99_us(&slow, "round_robin", NULL), 1.5 * p99_healthy);
}

/* brpc 3340: two of four, where two choices alone send one call in six to a slow one. */
Test(p2c_sim, two_of_four_slow)
{
    const sim_scenario healthy = four_servers(), slow = four_servers_slow(2);
    const double p99_healthy = p99_us(&healthy, "p2c_ewma", NULL);
    const double p99_slow = p99_us(&slow, "p2c_ewma", NULL);
    const double p99_two_choices = p99_us(&slow, "p2c_ewma", "{\"maxChoices\":2}");
    cr_assert_leq(p99_slow, 1.2 * p99_healthy, "%f against %f", p99_slow, p99_healthy);
    cr_assert_gt(p99_two_choices, 1.2 * p99_healthy, "%f against %f", p99_two_choices, p99_healthy);
}

/* The acceptance figure for two of four slow, with other seeds. */
Test(p2c_sim, two_of_four_slow_with_twenty_seeds)
{
    sim_scenario healthy = four_servers(), slow = four_servers_slow(2);
    healthy.duration_s = slow.duration_s = healthy.windows[0].to_s = slow.windows[0].to_s = 20;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        healthy.seed = slow.seed = seed;
        const double p99_healthy = p99_us(&healthy, "p2c_ewma", NULL), p99_slow = p99_us(&slow, "p2c_ewma", NULL);
        cr_assert_leq(p99_slow, 1.2 * p99_healthy, "seed %zu: %f against %f", (size_t)seed, p99_slow, p99_healthy);
    }
}

/* B1: one of four ends its calls with `code` after 0.1 ms, from 10 s on. Return its share from 11 s on. */
static double share_of_the_failing(const char *policy, evener_status_code code, uint64_t seed)
{
    sim_scenario scenario = four_servers();
    scenario.seed = seed;
    scenario.rate_per_s = 1000;
    scenario.groups[0].service_us = 5000;
    scenario.groups[0].count = 1;
    scenario.groups[1] = scenario.groups[0];
    scenario.groups[1].count = 3;
    scenario.group_count = 2;
    scenario.event_count = 1;
    scenario.events[0] = (sim_event){.at_s = 10, .action = SIM_FAIL, .value = 1, .code = code};
    scenario.windows[0] = (sim_window){"after the first second", 11, 30};
    sim_result *result = run(&scenario, policy, NULL);
    const sim_slice *slice = &result->windows[0].slice;
    const double share = (double)slice->group_calls[0] / (double)slice->calls;
    sim_result_destroy(result);
    return share;
}

Test(p2c_sim, b1_one_that_fails_fast_gets_a_twentieth_or_its_share)
{
    static const char *const policies[] = {"p2c_ewma", "least_request"};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        for (size_t p = 0; p < 2; p++) {
            static const evener_status_code listed[] = {EVENER_STATUS_UNKNOWN, EVENER_STATUS_RESOURCE_EXHAUSTED};
            static const evener_status_code others[] = {EVENER_STATUS_UNAUTHENTICATED, EVENER_STATUS_NOT_FOUND};
            const double of_listed = share_of_the_failing(policies[p], listed[seed % 2], seed);
            const double of_other = share_of_the_failing(policies[p], others[seed % 2], seed);
            cr_assert_lt(of_listed, 0.05, "%s, seed %zu: %f", policies[p], (size_t)seed, of_listed);
            cr_assert_lt(of_other, 0.27, "%s, seed %zu: %f", policies[p], (size_t)seed, of_other);
            cr_assert_gt(of_other, 0.05, "%s, seed %zu: %f", policies[p], (size_t)seed, of_other);
        }
    }
    cr_assert_gt(share_of_the_failing("round_robin", EVENER_STATUS_UNKNOWN, 1), 0.24);
}

/* Two of four are slow, and every second everything stands still for 10 ms, as on a machine that is shared. The calls
 * under way at the fast ones take longer than the slow ones do otherwise; that says nothing of the fast ones. */
static double share_of_the_slow_with_pauses(const char *policy, const char *config)
{
    sim_scenario scenario = four_servers();
    scenario.rate_per_s = 1000;
    scenario.group_count = 2;
    scenario.groups[0] = (sim_group){.count = 2, .workers = 8, .distribution = SIM_CONSTANT, .service_us = 6500};
    scenario.groups[1] = (sim_group){.count = 2, .workers = 8, .distribution = SIM_CONSTANT, .service_us = 1500};
    for (uint32_t second = 0; second < 15; second++) {
        for (uint32_t group = 0; group < 2; group++) {
            sim_event *events = &scenario.events[scenario.event_count];
            events[0] = (sim_event){.at_s = 12 + second, .action = SIM_HANG, .group = group};
            events[1] = (sim_event){.at_s = 12.01 + second, .action = SIM_RECOVER, .group = group};
            scenario.event_count += 2;
        }
    }
    sim_result *result = run(&scenario, policy, config);
    const sim_slice *slice = &result->windows[0].slice;
    const double share = (double)slice->group_calls[0] / (double)slice->calls;
    sim_result_destroy(result);
    return share;
}

Test(p2c_sim, a_pause_of_all_does_not_drive_calls_to_the_slow)
{
    const double share = share_of_the_slow_with_pauses("p2c_ewma", NULL);
    cr_assert_lt(share, 0.01, "%f", share);
}

/* One of four hangs at 10 s. */
static double share_of_the_hung(const char *policy, const char *config)
{
    sim_scenario scenario = four_servers();
    scenario.event_count = 1;
    scenario.events[0] = (sim_event){.at_s = 10, .action = SIM_HANG, .count = 1};
    scenario.groups[0].count = 1;
    scenario.groups[1] = scenario.groups[0];
    scenario.groups[1].count = 3;
    scenario.group_count = 2;
    scenario.windows[0] = (sim_window){"after the first second", 11, 30};
    sim_result *result = run(&scenario, policy, config);
    const sim_slice *slice = &result->windows[0].slice;
    const double share = (double)slice->group_calls[0] / (double)slice->calls;
    sim_result_destroy(result);
    return share;
}

Test(p2c_sim, a_hung_backend_gets_less_than_a_hundredth)
{
    const double share = share_of_the_hung("p2c_ewma", NULL);
    cr_assert_lt(share, 0.01, "%f", share);
    cr_assert_gt(share_of_the_hung("round_robin", NULL), 0.2);
}

/* A backend joins fifty others at 20 s. If it is cold, its calls take 100 ms longer for 0.3 s. Times its fair share of
 * the calls: in its first 100 ms, its first second, and when its slow start is over. */
typedef struct joining {
    double at_once, first_second, later;
} joining;

static double times_fair_share(const sim_result *result, size_t window)
{
    const sim_slice *slice = &result->windows[window].slice;
    return (double)slice->group_calls[1] * 51 / (double)slice->calls;
}

static joining join_fifty(const char *config, bool cold)
{
    const sim_scenario scenario = {
        .seed = 11,
        .clients = 10,
        .rate_per_s = 20000,
        .duration_s = 50,
        .group_count = 2,
        .groups = {{.count = 50, .workers = 8, .distribution = SIM_EXPONENTIAL, .service_us = 5000},
                   {.count = 1, .workers = 8, .distribution = SIM_EXPONENTIAL, .service_us = 5000, .absent = true}},
        .event_count = cold ? 3 : 1,
        .events = {{.at_s = 20, .action = SIM_JOIN, .group = 1},
                   {.at_s = 20, .action = SIM_EXTRA, .group = 1, .value = 100000},
                   {.at_s = 20.3, .action = SIM_RECOVER, .group = 1}},
        .window_count = 3,
        .windows = {{"at once", 20, 20.1}, {"first second", 20.1, 21}, {"later", 30, 50}}};
    sim_result *result = run(&scenario, "p2c_ewma", config);
    const double at_once = times_fair_share(result, 0);
    const joining shares = {at_once, at_once * 0.1 + times_fair_share(result, 1) * 0.9, times_fair_share(result, 2)};
    sim_result_destroy(result);
    return shares;
}

Test(p2c_sim, a_joining_backend_gets_its_share)
{
    const joining shares = join_fifty(NULL, false);
    cr_assert_leq(shares.first_second, 1.5, "%f", shares.first_second);
    cr_assert(shares.later > 0.85 && shares.later < 1.15, "%f", shares.later);
}

/* Two choices make a herd of twice the fair share at most, in the original until the first answer comes. */
Test(p2c_sim, a_cold_backend_draws_no_herd)
{
    const joining ours = join_fifty(NULL, true), original = join_fifty(GO_ZERO, true);
    cr_assert_leq(ours.at_once, 1.5, "%f", ours.at_once);
    cr_assert_leq(ours.first_second, 1.5, "%f", ours.first_second);
    cr_assert_gt(original.at_once, 1.5, "%f", original.at_once);
}

/* Where backends differ in speed, p2c_ewma is ahead of all, by latency and by how busy the busiest backend
 * is. */
Test(p2c_sim, backends_of_different_speed)
{
    const sim_scenario scenario = {
        .seed = 5,
        .clients = 20,
        .subset = 20,
        .rate_per_s = 32000,
        .duration_s = 10,
        .group_count = 1,
        .groups = {{.count = 100, .workers = 4, .distribution = SIM_EXPONENTIAL, .service_us = 5000, .spread = 3}},
        .window_count = 1,
        .windows = {{"steady", 4, 10}}};
    sim_result *ours = run(&scenario, "p2c_ewma", NULL);
    const char *const others[] = {"random", "round_robin", "least_request"};
    for (size_t i = 0; i < 3; i++) {
        sim_result *other = run(&scenario, others[i], NULL);
        const double p99s_us[] = {ours->windows[0].slice.p99_us, other->windows[0].slice.p99_us};
        const double busy[] = {ours->windows[0].busy_share_max, other->windows[0].busy_share_max};
        cr_assert_lt(p99s_us[0], p99s_us[1], "%f against %f of %s", p99s_us[0], p99s_us[1], others[i]);
        cr_assert_lt(busy[0], busy[1], "%f against %f of %s", busy[0], busy[1], others[i]);
        sim_result_destroy(other);
    }
    sim_result_destroy(ours);
}
