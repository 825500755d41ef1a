/* Whole channels in the simulator (bench_sim_calls): the published scenarios hold what they are there to show, and a run is
 * the same every time. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "bench/sim/engine.h"

static sim_scenario read_scenario(const char *name)
{
    static sim_scenario scenario;
    char path[512], message[512] = "";
    snprintf(path, sizeof path, "%s/%s.cfg", SIM_FOLDER, name);
    cr_assert(sim_scenario_read(path, &scenario, message, sizeof message), "%s", message);
    return scenario;
}

static sim_result *run(const sim_scenario *scenario, const char *label)
{
    char message[512] = "no such policy";
    sim_result *result = NULL;
    for (uint32_t i = 0; i < scenario->policy_count; i++) {
        if (strcmp(scenario->policies[i].label, label) == 0) {
            result = sim_run(scenario, &scenario->policies[i], message, sizeof message);
        }
    }
    cr_assert_not_null(result, "%s: %s", label, message);
    return result;
}

enum { HEALTHY, FIRST_SECOND, FAULT };

Test(sim_calls, hedging_keeps_the_tail_when_one_of_four_hangs)
{
    sim_scenario scenario = read_scenario("hedging_hang");
    for (uint32_t i = 0; i < 3; i++, scenario.seed++) {
        sim_result *hedged = run(&scenario, "p2c_ewma hedged"), *plain = run(&scenario, "round_robin");
        const sim_slice *fault = &hedged->windows[FAULT].slice, *healthy = &hedged->windows[HEALTHY].slice;
        cr_expect_leq(fault->p999_us, 3 * healthy->p999_us, "%f, healthy %f", fault->p999_us, healthy->p999_us);
        cr_expect_leq((double)fault->attempts, 1.02 * (double)fault->calls);
        cr_expect_gt(fault->attempts, fault->calls);
        cr_expect_eq(fault->failed, 0);
        cr_expect_gt(plain->windows[FAULT].slice.failed, plain->windows[FAULT].slice.calls / 5, "it does hang");
        sim_result_destroy(hedged);
        sim_result_destroy(plain);
    }
}

Test(sim_calls, retries_save_every_call_and_avoid_the_backend_that_failed)
{
    static const char *const labels[][2] = {{"round_robin", "round_robin retried"}, {"p2c_ewma", "p2c_ewma retried"}};
    const sim_scenario scenario = read_scenario("retry_unavailable");
    for (size_t i = 0; i < 2; i++) {
        sim_result *plain = run(&scenario, labels[i][0]), *retried = run(&scenario, labels[i][1]);
        for (uint32_t w = FIRST_SECOND; w <= FAULT; w++) {
            const sim_slice *slice = &retried->windows[w].slice;
            cr_expect_gt(plain->windows[w].slice.failed, 0, "%s", labels[i][0]);
            cr_expect_eq(slice->failed, 0, "%s", labels[i][1]);
            cr_expect_gt(slice->attempts, slice->calls);
            cr_expect_eq(slice->repeated, 0);
        }
        sim_result_destroy(plain);
        sim_result_destroy(retried);
    }
}

/* Backends leave, join and are killed; without retries only the calls at the killed ones fail. */
Test(sim_calls, backends_are_replaced_and_killed)
{
    sim_scenario scenario = read_scenario("channel_mesh");
    scenario.clients = 20;
    scenario.rate_per_s = 2000;
    for (uint32_t g = 0; g < scenario.group_count; g++) {
        scenario.groups[g].count /= 20;
    }
    sim_result *first = run(&scenario, "p2c_ewma"), *second = run(&scenario, "p2c_ewma");
    cr_assert_eq(first->window_count, 4);
    for (uint32_t w = 0; w < first->window_count; w++) {
        const sim_slice *slice = &first->windows[w].slice;
        cr_expect_eq(memcmp(slice, &second->windows[w].slice, sizeof *slice), 0, "another run differs");
        cr_expect_eq(slice->group_calls[1] > 0, w == 0, "window %u: calls to those that have left", w);
        cr_expect_eq(slice->group_calls[2] > 0, w < 2, "window %u: calls to those that were killed", w);
        cr_expect_eq(slice->group_calls[3] > 0, w > 0, "window %u: calls to those that have joined", w);
        cr_expect_eq(slice->failed, 0, "window %u: %llu", w, (unsigned long long)slice->failed);
    }
    sim_result_destroy(first);
    sim_result_destroy(second);
}

Test(sim_calls, a_bad_method_config_is_refused)
{
    sim_scenario scenario = read_scenario("hedging_hang");
    char message[512] = "";
    snprintf(scenario.policies[0].method_config, sizeof scenario.policies[0].method_config, "[{");
    cr_assert_null(sim_run(&scenario, &scenario.policies[0], message, sizeof message));
    cr_expect_neq(message[0], '\0');
}
