/* Runs scenarios of the simulator and writes the results as JSON for bench_report. bench_sim runs those of policies,
 * bench_sim_calls those with channel = true:
 *
 *     bench_sim [--seeds=20] [--skip-seeds=20] [--scale=0.2] [--policy=LABEL] [--check=FILE] [--keep=FILE]
 *               [--update=FILE] [--output=FILE] bench/sim/NAME.cfg ...
 *
 * Windows of channels also have attempts_percent (of the calls), and `repeated`: the attempts at a server that their call
 * had tried before.
 *
 *     {"sim": [one object per scenario, policy and window],
 *      "sim_series": [one object per scenario and policy, with time slices]}
 *
 * Each policy runs with --seeds seeds (by default the scenario's number of seeds): the scenario's seed and those after
 * it, less the first --skip-seeds of them. A figure KEY is the median over the seeds; KEY_least and KEY_greatest are its
 * range. The same command gives the same JSON on every machine.
 * --scale multiplies all times (durations, events, windows) of the files after it.
 * --check compares the medians with the ranges of an earlier output; a median outside of its range is an error. Ranges of
 * few seeds are not checked: they leave out the median too often.
 * With --update the output also has the rows that an earlier output has of other scenarios.
 * The output is written again after each seed, so that a run that is stopped leaves what it has finished. With --keep
 * the figures of each seed are also kept in a file, and a later run with that file takes them from there; it is for one
 * version of the program and the scenarios. Progress and a
 * table go to stderr. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "bench/sim/engine.h"
#include "bench/sim/kept.h"
#include "bench/sim/rows.h"
#include "bench/sim/seeds.h"

#define CHECKED_SEEDS_MIN 10 /* their range leaves out the median of all seeds in one of 500 cases */

typedef struct options {
    double scale;
    uint64_t seeds, skip_seeds; /* seeds 0: as many as the scenario says */
    const char *policy, *output;
    const char *keep;        /* NULL: no file */
    const json_t *kept;      /* what it had at the start */
    const json_t *published; /* of --check; NULL: no check */
    const json_t *earlier;   /* of --update; NULL: none */
} options;

/* The results of a policy, one entry per seed. */
typedef struct collected {
    json_t *windows[SIM_WINDOWS_MAX]; /* arrays */
    json_t **slices;
    size_t window_count, slice_count;
    double cpu_s;
} collected;

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

/* ---- one seed ---- */

static json_t *slice_figures(const sim_scenario *scenario, const sim_slice *slice)
{
    const double calls = slice->calls > 0 ? (double)slice->calls : 1;
    json_t *shares = json_object();
    for (uint32_t g = 0; g < scenario->group_count; g++) {
        json_object_set_new(shares, scenario->groups[g].name, json_real((double)slice->group_calls[g] / calls));
    }
    return json_pack("{s:I,s:I,s:f,s:f,s:f,s:f,s:o}", "calls", (json_int_t)slice->calls, "failed",
                     (json_int_t)slice->failed, "mean_us", slice->mean_us, "p50_us", slice->p50_us, "p99_us",
                     slice->p99_us, "p999_us", slice->p999_us, "shares", shares);
}

static json_t *window_figures(const sim_scenario *scenario, const sim_window_result *w)
{
    json_t *figures = slice_figures(scenario, &w->slice);
    const double calls = w->slice.calls > 0 ? (double)w->slice.calls : 1;
    json_t *more = json_pack("{s:f,s:f,s:f,s:f,s:f,s:i}", "ok_percent", 100 * (calls - (double)w->slice.failed) / calls,
                             "calls_max_over_mean", w->calls_max_over_mean, "load_max_over_mean", w->load_max_over_mean,
                             "busy_share_max", w->busy_share_max, "busy_share_mean", w->busy_share_mean, "queue_max",
                             (int)w->queue_max);
    json_object_update(figures, more);
    json_decref(more);
    if (scenario->channel) {
        json_object_set_new(figures, "attempts_percent", json_real(100 * (double)w->slice.attempts / calls));
        json_object_set_new(figures, "repeated", json_integer((json_int_t)w->slice.repeated));
    }
    return figures;
}

/* Return the figures of a run: those of each window and of each slice. */
static json_t *run_figures(const sim_scenario *scenario, const sim_result *result)
{
    json_t *windows = json_array(), *slices = json_array();
    for (size_t i = 0; i < result->window_count; i++) {
        json_array_append_new(windows, window_figures(scenario, &result->windows[i]));
    }
    for (size_t i = 0; i < result->series_count; i++) {
        json_array_append_new(slices, slice_figures(scenario, &result->series[i]));
    }
    return json_pack("{s:o,s:o,s:f}", "windows", windows, "slices", slices, "cpu_s", result->cpu_s);
}

static void collect(collected *all, const json_t *figures)
{
    const json_t *windows = json_object_get(figures, "windows"), *slices = json_object_get(figures, "slices");
    if (all->window_count == 0) {
        all->window_count = json_array_size(windows);
        all->slice_count = json_array_size(slices);
        all->slices = calloc(all->slice_count + 1, sizeof(json_t *));
        if (all->slices == NULL || all->window_count > SIM_WINDOWS_MAX) {
            abort();
        }
        for (size_t i = 0; i < all->window_count; i++) {
            all->windows[i] = json_array();
        }
        for (size_t i = 0; i < all->slice_count; i++) {
            all->slices[i] = json_array();
        }
    }
    for (size_t i = 0; i < all->window_count; i++) {
        json_array_append(all->windows[i], json_array_get(windows, i));
    }
    for (size_t i = 0; i < all->slice_count; i++) {
        json_array_append(all->slices[i], json_array_get(slices, i));
    }
    all->cpu_s += json_number_value(json_object_get(figures, "cpu_s"));
}

static void collected_clear(collected *all)
{
    for (size_t i = 0; i < all->window_count; i++) {
        json_decref(all->windows[i]);
    }
    for (size_t i = 0; i < all->slice_count; i++) {
        json_decref(all->slices[i]);
    }
    free(all->slices);
}

/* ---- over the seeds ---- */

static const char *window_name(const sim_scenario *scenario, size_t index)
{
    return scenario->window_count > 0 ? scenario->windows[index].name : "all";
}

/* Return the figures with `head` before them. */
static json_t *row_of(json_t *head, const json_t *by_seed)
{
    json_t *figures = sim_over_seeds(by_seed);
    json_object_update(head, figures);
    json_decref(figures);
    return head;
}

static const json_t *published_row(const json_t *published, const json_t *row)
{
    static const char *const keys[] = {"scenario", "policy", "window"};
    size_t index;
    const json_t *other;
    json_array_foreach(json_object_get(published, "sim"), index, other)
    {
        bool same = true;
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            same = same && json_equal(json_object_get(row, keys[i]), json_object_get(other, keys[i]));
        }
        if (same) {
            return other;
        }
    }
    return NULL;
}

static void complain(void *arg, const char *figure, double median, double least, double greatest)
{
    const json_t *row = arg;
    fprintf(stderr, "CHECK FAILED: %s, %s, %s: median of %s is %g, outside of %g to %g\n",
            json_string_value(json_object_get(row, "scenario")), json_string_value(json_object_get(row, "policy")),
            json_string_value(json_object_get(row, "window")), figure, median, least, greatest);
}

static double figure(const json_t *row, const char *key)
{
    return json_number_value(json_object_get(row, key));
}

static void print_row(const json_t *row)
{
    fprintf(stderr,
            "%-20s %-16s %-14s %9.0f calls %8.4f %% ok  p50 %9.0f  p99 %9.0f (%.0f-%.0f)  p99.9 %9.0f us  busiest "
            "%4.2f\n",
            json_string_value(json_object_get(row, "scenario")), json_string_value(json_object_get(row, "policy")),
            json_string_value(json_object_get(row, "window")), figure(row, "calls"), figure(row, "ok_percent"),
            figure(row, "p50_us"), figure(row, "p99_us"), figure(row, "p99_us_least"), figure(row, "p99_us_greatest"),
            figure(row, "p999_us"), figure(row, "busy_share_max"));
}

/* Add the rows of a policy. */
static void add_rows(json_t *results, const sim_scenario *scenario, const sim_policy *policy, const collected *all,
                     const options *given)
{
    const json_int_t seed = (json_int_t)(scenario->seed + given->skip_seeds);
    for (size_t i = 0; i < all->window_count; i++) {
        const sim_window whole = {"all", 0, scenario->duration_s};
        const sim_window *window = scenario->window_count > 0 ? &scenario->windows[i] : &whole;
        json_t *row = row_of(
            json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:I,s:I,s:f,s:f}", "scenario", scenario->name, "policy", policy->label,
                      "window", window_name(scenario, i), "config", policy->config, "clients", (int)scenario->clients,
                      "subset", (int)scenario->subset, "seed", seed, "seeds",
                      (json_int_t)json_array_size(all->windows[i]), "from_s", window->from_s, "to_s", window->to_s),
            all->windows[i]);
        json_array_append_new(json_object_get(results, "sim"), row);
    }
    json_t *slices = json_array();
    for (size_t i = 0; i < all->slice_count; i++) {
        json_array_append_new(slices, row_of(json_pack("{s:f,s:f}", "from_s", (double)i * scenario->series_s, "to_s",
                                                       (double)(i + 1) * scenario->series_s),
                                             all->slices[i]));
    }
    json_array_append_new(json_object_get(results, "sim_series"),
                          json_pack("{s:s,s:s,s:s,s:o}", "scenario", scenario->name, "note", scenario->note, "policy",
                                    policy->label, "slices", slices));
}

static bool write_rows(const json_t *results, const char *path)
{
    const size_t flags = JSON_INDENT(1) | JSON_REAL_PRECISION(6);
    if (path == NULL) {
        return json_dumpf(results, stdout, flags) == 0;
    }
    char partial[4096];
    snprintf(partial, sizeof partial, "%s.partial", path);
    if (json_dump_file(results, partial, flags) != 0 || rename(partial, path) != 0) {
        fprintf(stderr, "bench_sim: cannot write %s\n", path);
        return false;
    }
    return true;
}

/* Write the results, and the rows of --update, to --output. */
static bool write_results(const json_t *results, const options *given)
{
    json_t *all = sim_rows_with_earlier(results, given->earlier);
    const bool written = write_rows(all, given->output);
    json_decref(all);
    return written;
}

/* Return the figures of a policy with the scenario's seed, or NULL: it cannot run. */
static json_t *simulate(const sim_scenario *scenario, const sim_policy *policy)
{
    char message[512];
    sim_result *result = sim_run(scenario, policy, message, sizeof message);
    if (result == NULL) {
        fprintf(stderr, "%s: %s: %s\n", scenario->name, policy->label, message);
        return NULL;
    }
    json_t *figures = run_figures(scenario, result);
    sim_result_destroy(result);
    return figures;
}

/* Run one seed of a policy, or take what --keep has of it. False: it cannot run, or not be kept. */
static bool run_seed(const sim_scenario *scenario, const sim_policy *policy, uint64_t number, const options *given,
                     collected *all)
{
    static sim_scenario one;
    one = *scenario;
    one.seed += number;
    json_t *figures = json_incref(sim_kept_find(given->kept, scenario, policy, one.seed));
    bool kept = true;
    if (figures == NULL) {
        figures = simulate(&one, policy);
        if (figures != NULL && given->keep != NULL) {
            kept = sim_kept_add(given->keep, scenario, policy, one.seed, figures);
            if (!kept) {
                fprintf(stderr, "bench_sim: cannot write %s\n", given->keep);
            }
        }
    }
    if (figures != NULL) {
        collect(all, figures);
    }
    const bool ran = figures != NULL && kept;
    json_decref(figures);
    return ran;
}

/* Run all policies with each seed in turn, so that a run that is stopped has the same seeds of each. */
static size_t run_seeds(const sim_scenario *scenario, const options *given, json_t *results)
{
    static collected all[SIM_POLICIES_MAX];
    const uint64_t seeds = given->seeds > 0 ? given->seeds : scenario->seeds;
    size_t failures = 0;
    json_t *with_these = NULL;
    memset(all, 0, sizeof all);
    for (uint64_t seed = 0; failures == 0 && seed < seeds; seed++) {
        json_decref(with_these);
        with_these = json_deep_copy(results);
        for (uint32_t i = 0; i < scenario->policy_count; i++) {
            const sim_policy *policy = &scenario->policies[i];
            if (given->policy == NULL || strcmp(given->policy, policy->label) == 0) {
                const bool ran = run_seed(scenario, policy, given->skip_seeds + seed, given, &all[i]);
                failures += !ran;
                if (ran) {
                    add_rows(with_these, scenario, policy, &all[i], given);
                }
            }
        }
        fprintf(stderr, "%s: %llu of %llu seeds\n", scenario->name, (unsigned long long)seed + 1,
                (unsigned long long)seeds);
        failures += failures == 0 && given->output != NULL && !write_results(with_these, given);
    }
    for (uint32_t i = 0; i < scenario->policy_count; i++) {
        fprintf(stderr, "%s, %s: %.1f s of processor time\n", scenario->name, scenario->policies[i].label,
                all[i].cpu_s);
        collected_clear(&all[i]);
    }
    if (failures == 0) {
        json_object_update(results, with_these);
    }
    json_decref(with_these);
    return failures;
}

/* Check the rows of a scenario against those of --check. Return how many figures are outside. */
static size_t check_rows(const sim_scenario *scenario, const options *given, const json_t *results)
{
    size_t index, outside = 0;
    json_t *row;
    json_array_foreach(json_object_get(results, "sim"), index, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "scenario")), scenario->name) == 0) {
            print_row(row);
            const json_t *published = published_row(given->published, row);
            if (published != NULL && json_integer_value(json_object_get(published, "seeds")) < CHECKED_SEEDS_MIN) {
                fprintf(stderr, "not checked: published with fewer than %d seeds\n", CHECKED_SEEDS_MIN);
            } else if (given->published != NULL) {
                outside += sim_outside(row, published, complain, row);
            }
        }
    }
    return outside;
}

static size_t run_scenario(const char *path, const options *given, json_t *results)
{
    static sim_scenario scenario;
    char message[512];
    if (!sim_scenario_read(path, &scenario, message, sizeof message)) {
        fprintf(stderr, "%s\n", message);
        return 1;
    }
    shorten(&scenario, given->scale);
    const size_t failures = run_seeds(&scenario, given, results);
    return failures + check_rows(&scenario, given, results);
}

static int usage(void)
{
    fprintf(stderr, "usage: bench_sim [--seeds=COUNT] [--skip-seeds=COUNT] [--scale=FACTOR] [--policy=LABEL] "
                    "[--check=FILE] [--keep=FILE] [--update=FILE] [--output=FILE] SCENARIO.cfg ...\n");
    return 2;
}

/* Return the value of "--name=value", or NULL if the argument is another one. */
static const char *option(const char *argument, const char *name)
{
    const size_t length = strlen(name);
    return strncmp(argument, name, length) == 0 && argument[length] == '=' ? argument + length + 1 : NULL;
}

/* Replace `into` by what a file has. */
static bool load_json(const char *path, json_t **into)
{
    json_error_t error;
    json_decref(*into);
    *into = json_load_file(path, 0, &error);
    if (*into == NULL) {
        fprintf(stderr, "bench_sim: %s:%d: %s\n", path, error.line, error.text);
    }
    return *into != NULL;
}

int main(int argc, char **argv)
{
    options given = {.scale = 1};
    json_t *results = json_pack("{s:[],s:[]}", "sim", "sim_series");
    json_t *published = NULL, *earlier = NULL, *kept = NULL;
    size_t failures = 0;
    for (int i = 1; i < argc; i++) {
        const char *value;
        if ((value = option(argv[i], "--scale")) != NULL) {
            given.scale = strtod(value, NULL);
        } else if ((value = option(argv[i], "--seeds")) != NULL) {
            given.seeds = strtoull(value, NULL, 10);
        } else if ((value = option(argv[i], "--skip-seeds")) != NULL) {
            given.skip_seeds = strtoull(value, NULL, 10);
        } else if ((value = option(argv[i], "--policy")) != NULL) {
            given.policy = value;
        } else if ((value = option(argv[i], "--output")) != NULL) {
            given.output = value;
        } else if ((value = option(argv[i], "--keep")) != NULL) {
            json_decref(kept);
            kept = sim_kept_read(value);
            given.keep = value;
            given.kept = kept;
        } else if ((value = option(argv[i], "--check")) != NULL) {
            failures += !load_json(value, &published);
            given.published = published;
        } else if ((value = option(argv[i], "--update")) != NULL) {
            failures += !load_json(value, &earlier);
            given.earlier = earlier;
        } else if (argv[i][0] == '-' || !(given.scale > 0)) {
            json_decref(results);
            json_decref(published);
            json_decref(earlier);
            json_decref(kept);
            return usage();
        } else {
            failures += run_scenario(argv[i], &given, results);
        }
    }
    if (!write_results(results, &given)) {
        failures++;
    }
    json_decref(results);
    json_decref(published);
    json_decref(earlier);
    json_decref(kept);
    return failures > 0 ? 1 : 0;
}
