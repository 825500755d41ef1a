/* The simulator's servers and histogram against closed forms of queueing theory, for one client and one server, and what
 * its figures mean: busy time inside the window, timeouts. Deterministic, so the tolerances are not exceeded by chance. */
#include <criterion/criterion.h>
#include <math.h>

#include "bench/sim/engine.h"

#define CALLS 4000000 /* their mean varies by less than the tolerance */
#define TOLERANCE 0.005
#define TOLERANCE_P99 0.015

/* Run calls with a mean service time of 1 ms at a load of `load` per worker. Return the window, after a warm-up. */
static sim_window_result one_server(uint32_t workers, double load, sim_distribution distribution, double sigma)
{
    const double rate_per_s = 1000 * load * workers;
    sim_scenario scenario = {
        .seed = 42,
        .clients = 1,
        .rate_per_s = rate_per_s,
        .duration_s = CALLS / rate_per_s + 1,
        .group_count = 1,
        .groups = {{.count = 1, .workers = workers, .distribution = distribution, .service_us = 1000, .sigma = sigma}},
        .window_count = 1};
    scenario.windows[0] = (sim_window){"steady", 1, scenario.duration_s};
    char message[256];
    sim_result *result = sim_run(&scenario, &(sim_policy){.name = "pick_first"}, message, sizeof message);
    cr_assert_not_null(result, "%s", message);
    const sim_window_result window = result->windows[0];
    sim_result_destroy(result);
    cr_assert_eq(window.slice.failed, 0);
    return window;
}

static void expect_within(double value, double expected, double tolerance, const char *what)
{
    cr_expect(fabs(value - expected) <= tolerance * expected, "%s: %f instead of %f", what, value, expected);
}

static void expect_close(double value, double expected, const char *what)
{
    expect_within(value, expected, TOLERANCE, what);
}

/* M/M/1: the time in the system is exponential with the mean S / (1 - load). */
Test(sim_queues, one_worker_with_exponential_times)
{
    const double load = 0.6, mean_us = 1000 / (1 - load);
    const sim_window_result window = one_server(1, load, SIM_EXPONENTIAL, 0);
    expect_close(window.slice.mean_us, mean_us, "mean");
    expect_close(window.slice.p50_us, mean_us * log(2), "median");
    expect_within(window.slice.p99_us, mean_us * log(100), TOLERANCE_P99, "99th percentile");
    expect_close(window.busy_share_max, load, "busy share");
    expect_close(window.busy_share_mean, load, "mean busy share");
    cr_expect_eq(window.load_max_over_mean, 1);
}

/* M/M/4: a call waits with the probability of Erlang's C formula, S / (4 * (1 - load)) on average. */
Test(sim_queues, four_workers_with_exponential_times)
{
    const double load = 0.7, offered = 4 * load;
    double term = 1, sum = 1;
    for (int k = 1; k < 4; k++) {
        term *= offered / k;
        sum += term;
    }
    const double waiting = term * offered / 4 / (1 - load);
    const double waits = waiting / (sum + waiting);
    const sim_window_result window = one_server(4, load, SIM_EXPONENTIAL, 0);
    expect_close(window.slice.mean_us, 1000 + waits * 1000 / (4 * (1 - load)), "mean");
    expect_close(window.busy_share_max, load, "busy share");
}

/* Pollaczek-Khinchine: the mean wait is load / (1 - load) * S * (1 + variance / S^2) / 2. */
static void expect_mean_of(sim_distribution distribution, double sigma, double variance_over_square)
{
    const double load = 0.6;
    const sim_window_result window = one_server(1, load, distribution, sigma);
    expect_close(window.slice.mean_us, 1000 + load / (1 - load) * 1000 * (1 + variance_over_square) / 2, "mean");
    expect_close(window.busy_share_max, load, "busy share");
}

/* M/D/1 */
Test(sim_queues, one_worker_with_constant_times)
{
    expect_mean_of(SIM_CONSTANT, 0, 0);
}

/* M/G/1 */
Test(sim_queues, one_worker_with_lognormal_times)
{
    expect_mean_of(SIM_LOGNORMAL, 0.8, exp(0.8 * 0.8) - 1);
}

/* One call per second, which takes 600 ms: of the window from 0.25 s to 0.75 s the server is busy from 0.25 to 0.6 s,
 * although the call began before the window. */
Test(sim_queues, busy_time_is_clipped_to_the_window)
{
    const sim_scenario scenario = {
        .seed = 1,
        .clients = 1,
        .rate_per_s = 1,
        .even = true,
        .duration_s = 2.5,
        .group_count = 1,
        .groups = {{.count = 1, .workers = 2, .distribution = SIM_CONSTANT, .service_us = 600000}},
        .window_count = 3,
        .windows = {{"around its end", 1.25, 1.75}, {"all of it", 1, 2}, {"before", 0, 1}}};
    char message[256];
    sim_result *result = sim_run(&scenario, &(sim_policy){.name = "pick_first"}, message, sizeof message);
    cr_assert_not_null(result, "%s", message);
    cr_expect_float_eq(result->windows[0].busy_share_max, 0.35 / 0.5 / 2, 1e-6);
    cr_expect_eq(result->windows[0].slice.calls, 0);
    cr_expect_float_eq(result->windows[1].busy_share_max, 0.6 / 2, 1e-6);
    cr_expect_eq(result->windows[1].slice.calls, 1);
    cr_expect_eq(result->windows[2].busy_share_max, 0);
    sim_result_destroy(result);
}

/* A server gets half as much again as it can do. Its calls end with the timeout, none later; it is busy all the time,
 * never more. */
Test(sim_queues, no_time_is_above_the_timeout_and_no_server_more_than_busy)
{
    const sim_scenario scenario = {
        .seed = 3,
        .clients = 1,
        .rate_per_s = 1500,
        .duration_s = 10,
        .timeout_ms = 1000,
        .group_count = 1,
        .groups = {{.count = 1, .workers = 1, .distribution = SIM_EXPONENTIAL, .service_us = 1000}},
        .window_count = 1,
        .windows = {{"late", 5, 10}}};
    char message[256];
    sim_result *result = sim_run(&scenario, &(sim_policy){.name = "pick_first"}, message, sizeof message);
    cr_assert_not_null(result, "%s", message);
    const sim_window_result *window = &result->windows[0];
    cr_expect_eq(window->slice.p99_us, 1000000);
    cr_expect_eq(window->slice.p999_us, 1000000);
    cr_expect_leq(window->slice.mean_us, 1000000);
    cr_expect_float_eq(window->busy_share_max, 1, 1e-3);
    cr_expect_leq(window->busy_share_max, 1);
    cr_expect_geq(window->slice.failed * 3, window->slice.calls); /* what it cannot serve */
    sim_result_destroy(result);
}

/* A server hangs for half of a run: its worker has a call for that time. */
Test(sim_queues, a_server_that_hangs_is_busy)
{
    const sim_scenario scenario = {
        .seed = 3,
        .clients = 1,
        .rate_per_s = 100,
        .duration_s = 10,
        .timeout_ms = 100,
        .group_count = 1,
        .groups = {{.count = 1, .workers = 1, .distribution = SIM_CONSTANT, .service_us = 10}},
        .event_count = 2,
        .events = {{.at_s = 2, .action = SIM_HANG}, {.at_s = 7, .action = SIM_RECOVER}}};
    char message[256];
    sim_result *result = sim_run(&scenario, &(sim_policy){.name = "pick_first"}, message, sizeof message);
    cr_assert_not_null(result, "%s", message);
    cr_expect_float_eq(result->windows[0].busy_share_max, 0.5, 0.02, "%f", result->windows[0].busy_share_max);
    sim_result_destroy(result);
}
