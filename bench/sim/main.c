/* Runs scenarios of the simulator and writes what came out as a JSON list, one object a scenario and policy:
 *
 *     bench_sim [--scale=0.2] [--policy=LABEL] [--output=FILE] bench/sim/NAME.cfg ...
 *
 * --scale shortens everything (durations, events, windows) of the files after it by that factor. A table goes to standard
 * error while it runs. */
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

static json_t *result_json(const sim_scenario *scenario, const sim_policy *policy, const sim_result *result)
{
    json_t *windows = json_array(), *series = json_array();
    for (uint32_t i = 0; i < result->window_count; i++) {
        const sim_window_result *w = &result->windows[i];
        json_t *window = slice_json(scenario, &w->slice);
        json_object_set_new(window, "name",
                            json_string(scenario->window_count > 0 ? scenario->windows[i].name : "all"));
        json_object_set_new(window, "calls_max_over_mean", json_real(w->calls_max_over_mean));
        json_object_set_new(window, "load_max_over_mean", json_real(w->load_max_over_mean));
        json_object_set_new(window, "utilization_max", json_real(w->utilization_max));
        json_object_set_new(window, "queue_max", json_integer(w->queue_max));
        json_array_append_new(windows, window);
    }
    for (size_t i = 0; i < result->series_count; i++) {
        json_array_append_new(series, slice_json(scenario, &result->series[i]));
    }
    return json_pack("{s:s,s:s,s:s,s:s,s:I,s:i,s:i,s:f,s:I,s:o,s:o}", "scenario", scenario->name, "note",
                     scenario->note, "policy", policy->label, "config", policy->config, "seed",
                     (json_int_t)scenario->seed, "clients", (int)scenario->clients, "subset", (int)scenario->subset,
                     "wall_s", result->wall_s, "events", (json_int_t)result->events, "windows", windows, "series",
                     series);
}

static void print_result(const sim_scenario *scenario, const sim_policy *policy, const sim_result *result)
{
    for (uint32_t i = 0; i < result->window_count; i++) {
        const sim_window_result *w = &result->windows[i];
        const double calls = w->slice.calls > 0 ? (double)w->slice.calls : 1;
        fprintf(stderr,
                "%-22s %-20s %-14s %9.0f calls %8.4f %% ok  p50 %9.0f  p99 %9.0f  p99.9 %9.0f us  busiest %5.2f\n",
                scenario->name, policy->label, scenario->window_count > 0 ? scenario->windows[i].name : "all", calls,
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
        json_array_append_new(results, result_json(&scenario, policy, result));
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
    json_t *results = json_array();
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
