/* Runs scenarios of the simulator and writes the results as JSON for bench_report:
 *
 *     bench_sim [--scale=0.2] [--policy=LABEL] [--output=FILE] bench/sim/NAME.cfg ...
 *
 *     {"sim": [one object per scenario, policy and window],
 *      "sim_series": [one object per scenario and policy, with time slices]}
 *
 * --scale multiplies all times (durations, events, windows) of the files after it. A progress table goes to stderr. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "bench/sim/engine.h"

typedef struct options {
    double scale;
    const char *policy, *output;
} options;

static void shorten(sim_scenario *scenario, double scale)
{
    scenario->duration_s *= scale;
    scenario->series_s *= scale;
    for (uint32_t i = 0; i < scenario->event_count; i++) {
        scenario->events[i].at_s *= scale;
        scenario->events[i].every_s *= scale;
    }
    for (uint32_t i = 0; i < scenario->window_count; i++) {
        scenario->windows[i].from_s *= scale;
        scenario->windows[i].to_s *= scale;
    }
}

static json_t *slice_json(const sim_scenario *scenario, const sim_slice *slice)
{
    json_t *shares = json_object();
    for (uint32_t g = 0; g < scenario->group_count; g++) {
        const double calls = slice->calls > 0 ? (double)slice->calls : 1;
        json_object_set_new(shares, scenario->groups[g].name, json_real((double)slice->group_calls[g] / calls));
    }
    return json_pack("{s:f,s:f,s:I,s:I,s:f,s:f,s:f,s:f,s:o}", "from_s", slice->from_s, "to_s", slice->to_s, "calls",
                     (json_int_t)slice->calls, "failed", (json_int_t)slice->failed, "mean_us", slice->mean_us, "p50_us",
                     slice->p50_us, "p99_us", slice->p99_us, "p999_us", slice->p999_us, "shares", shares);
}

static const char *window_name(const sim_scenario *scenario, uint32_t index)
{
    return scenario->window_count > 0 ? scenario->windows[index].name : "all";
}

static void add_rows(json_t *results, const sim_scenario *scenario, const sim_policy *policy, const sim_result *result)
{
    for (uint32_t i = 0; i < result->window_count; i++) {
        const sim_window_result *w = &result->windows[i];
        const double calls = w->slice.calls > 0 ? (double)w->slice.calls : 1;
        json_t *row = slice_json(scenario, &w->slice);
        json_t *more =
            json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:I,s:f,s:f,s:f,s:f,s:i,s:f}", "scenario", scenario->name, "policy",
                      policy->label, "window", window_name(scenario, i), "config", policy->config, "clients",
                      (int)scenario->clients, "subset", (int)scenario->subset, "seed", (json_int_t)scenario->seed,
                      "ok_percent", 100 * (calls - (double)w->slice.failed) / calls, "calls_max_over_mean",
                      w->calls_max_over_mean, "load_max_over_mean", w->load_max_over_mean, "utilization_max",
                      w->utilization_max, "queue_max", (int)w->queue_max, "cpu_s", result->cpu_s);
        json_object_update_missing(row, more);
        json_decref(more);
        json_array_append_new(json_object_get(results, "sim"), row);
    }
    json_t *slices = json_array();
    for (size_t i = 0; i < result->series_count; i++) {
        json_array_append_new(slices, slice_json(scenario, &result->series[i]));
    }
    json_array_append_new(json_object_get(results, "sim_series"),
                          json_pack("{s:s,s:s,s:s,s:o}", "scenario", scenario->name, "note", scenario->note, "policy",
                                    policy->label, "slices", slices));
}

static void print_result(const sim_scenario *scenario, const sim_policy *policy, const sim_result *result)
{
    for (uint32_t i = 0; i < result->window_count; i++) {
        const sim_window_result *w = &result->windows[i];
        const double calls = w->slice.calls > 0 ? (double)w->slice.calls : 1;
        fprintf(stderr,
                "%-22s %-20s %-14s %9.0f calls %8.4f %% ok  p50 %9.0f  p99 %9.0f  p99.9 %9.0f us  busiest %5.2f\n",
                scenario->name, policy->label, window_name(scenario, i), calls,
                100 * (calls - (double)w->slice.failed) / calls, w->slice.p50_us, w->slice.p99_us, w->slice.p999_us,
                w->utilization_max);
    }
}

static int run_scenario(const char *path, const options *given, json_t *results)
{
    static sim_scenario scenario;
    char message[512];
    int failures = 0;
    if (!sim_scenario_read(path, &scenario, message, sizeof message)) {
        fprintf(stderr, "%s\n", message);
        return 1;
    }
    shorten(&scenario, given->scale);
    for (uint32_t i = 0; i < scenario.policy_count; i++) {
        const sim_policy *policy = &scenario.policies[i];
        if (given->policy != NULL && strcmp(given->policy, policy->label) != 0) {
            continue;
        }
        sim_result *result = sim_run(&scenario, policy, message, sizeof message);
        if (result == NULL) {
            fprintf(stderr, "%s: %s: %s\n", scenario.name, policy->label, message);
            failures++;
            continue;
        }
        print_result(&scenario, policy, result);
        add_rows(results, &scenario, policy, result);
        sim_result_destroy(result);
    }
    return failures;
}

static int usage(void)
{
    fprintf(stderr, "usage: bench_sim [--scale=FACTOR] [--policy=LABEL] [--output=FILE] SCENARIO.cfg ...\n");
    return 2;
}

int main(int argc, char **argv)
{
    options given = {.scale = 1};
    json_t *results = json_pack("{s:[],s:[]}", "sim", "sim_series");
    int failures = 0;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--scale=", 8) == 0) {
            given.scale = strtod(argv[i] + 8, NULL);
        } else if (strncmp(argv[i], "--policy=", 9) == 0) {
            given.policy = argv[i] + 9;
        } else if (strncmp(argv[i], "--output=", 9) == 0) {
            given.output = argv[i] + 9;
        } else if (argv[i][0] == '-' || !(given.scale > 0)) {
            json_decref(results);
            return usage();
        } else {
            failures += run_scenario(argv[i], &given, results);
        }
    }
    if (given.output != NULL) {
        failures += json_dump_file(results, given.output, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) != 0;
    } else {
        failures += json_dumpf(results, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) != 0;
    }
    json_decref(results);
    return failures > 0 ? 1 : 0;
}
