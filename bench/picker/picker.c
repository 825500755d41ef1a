/* Picker latency: nanoseconds per pick through the public functions, by policy, backends and threads.
 *
 *     bench_picker [--quick] [--policy=NAME] [--backends=N] [--threads=N] [--output=FILE]
 *     bench_picker --count=N --policy=NAME --backends=N      (exactly N picks, for counting instructions)
 *
 * Every figure covers all threads together: the time of the clock on the wall, over all their picks. Two threads that
 * do not disturb each other show half the figure of one; more threads than processors cannot show less. Fails if a pick
 * allocates memory or finds no backend, or if the shares of the backends are not what the policy promises. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <evener/evener.h>

#include "bench/picker/floor.h"
#include "bench/picker/picker_load.h"
#include "bench/picker/picker_row.h"
#include "bench/picker/shares.h"
#include "bench/support/bench_channel.h"
#include "bench/support/measure.h"
#include "bench/support/output.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const char *const policies[] = {
    "pick_first",           "round_robin",   "random",   "weighted_random",
    "weighted_round_robin", "least_request", "p2c_ewma", "ring_hash",
};

typedef struct picker_settings {
    unsigned passes;
    unsigned passes_headline; /* per headline row, after each policy */
    unsigned passes_speedup;
    unsigned passes_crowded; /* more than two threads measure the scheduler: few passes are enough */
    /* a writer changes the cost of a pick only through the caches: few passes are enough */
    unsigned passes_with_writer;
    uint64_t duration_ns;
    const size_t *backends;
    size_t backends_count;
    const unsigned *threads;
    size_t threads_count;
    const unsigned *updates_per_s; /* update rates of a writer, in addition to none */
    size_t updates_count;
} picker_settings;

static const size_t full_backends[] = {1, 3, 10, 100, 1000, 10000, 100000};
static const unsigned full_threads[] = {1, 2, 4, 8, 16};
static const size_t quick_backends[] = {10, 10000};
static const unsigned quick_threads[] = {1, 2, 8};
static const unsigned updates_per_s[] = {10, 1000};
#define WRITER_BACKENDS_MIN 10
#define WRITER_BACKENDS_MAX 1000 /* copying longer lists takes too long for 1,000 updates per second */
#define WRITER_THREADS_MAX 2
#define UNCROWDED_THREADS_MAX 2
#define CROWD_THREADS 32
#define CROWD_BACKENDS 10
#define SHARES_BACKENDS 10
#define HEADLINE_FEW 10
#define HEADLINE_MANY 10000
/* The least arithmetic speedup of two separate processors, and how long it is measured. */
#define TWO_PROCESSORS 1.9
#define CONTROL_NS EVENER_NS_PER_MS

static const picker_settings full = {
    .passes = 8,
    .passes_headline = 5,
    .passes_speedup = 25,
    .passes_crowded = 2,
    .passes_with_writer = 5,
    .duration_ns = 6 * EVENER_NS_PER_MS,
    .backends = full_backends,
    .backends_count = COUNT(full_backends),
    .threads = full_threads,
    .threads_count = COUNT(full_threads),
    .updates_per_s = updates_per_s,
    .updates_count = COUNT(updates_per_s),
};
static const picker_settings quick = {
    .passes = 3,
    .passes_headline = 1,
    .passes_speedup = 3,
    .passes_crowded = 3,
    .passes_with_writer = 3,
    .duration_ns = 5 * EVENER_NS_PER_MS,
    .backends = quick_backends,
    .backends_count = COUNT(quick_backends),
    .threads = quick_threads,
    .threads_count = COUNT(quick_threads),
    .updates_per_s = updates_per_s + 1,
    .updates_count = 1,
};

static bool is_headline(size_t backends)
{
    return backends == HEADLINE_FEW || backends == HEADLINE_MANY;
}

/* ---- two threads over one ---- */

static void append_speedup(json_t *rows, const char *policy, size_t backends, const bench_figure *speedup,
                           unsigned left_out)
{
    json_t *row = json_pack("{s:s, s:I, s:i, s:i, s:i}", "policy", policy, "backends", (json_int_t)backends, "threads",
                            2, "passes", (int)speedup->count, "passes_left_out", (int)left_out);
    bench_set_quartiles(row, "speedup", speedup);
    json_array_append_new(rows, row);
    bench_progress("picker  %-21s %6zu backends  2 threads  %.2f times one, %u passes left out", policy, backends,
                   bench_figure_median(speedup), left_out);
}

static void measure_arithmetic(json_t *rows, const picker_settings *settings)
{
    bench_figure speedup = {0};
    for (unsigned pass = 0; pass < settings->passes_speedup; pass++) {
        bench_figure_add(&speedup, bench_arithmetic_speedup(settings->duration_ns));
    }
    append_speedup(rows, "(arithmetic alone)", 0, &speedup, 0);
}

/* The rate of one thread is the mean over both processors: one of them may be slower at the time. */
static bool speedup_now(const bench_channel *bench, const char *policy, uint64_t duration_ns, double *speedup)
{
    static const picker_load loads[] = {{.threads = 1}, {.threads = 1, .first_processor = 1}, {.threads = 2}};
    double rates[COUNT(loads)];
    for (size_t i = 0; i < COUNT(loads); i++) {
        picker_load load = loads[i];
        picker_result result;
        load.channel = bench->channel;
        load.duration_ns = duration_ns;
        load.with_hash = strcmp(policy, "ring_hash") == 0;
        if (!picker_load_run(&load, PICKER_LOAD_PICK_DONE, &result, NULL)) {
            return false;
        }
        rates[i] = 1 / result.ns;
    }
    *speedup = 2 * rates[2] / (rates[0] + rates[1]);
    return true;
}

/* Measure how many times as much two threads do as one, in interleaved passes. A virtual machine's two processors
 * may share a core for a while; then two threads of any program do no more than one. A pass is therefore repeated if
 * plain arithmetic before or after it does not reach the speedup of two processors, unless that is so most of the
 * time. */
static void measure_speedup(json_t *rows, const bench_channel *bench, const char *policy,
                            const picker_settings *settings)
{
    bench_figure all = {0}, good = {0};
    double before = bench_arithmetic_speedup(CONTROL_NS);
    while (good.count < settings->passes_speedup && all.count < 2 * settings->passes_speedup) {
        double speedup;
        if (!speedup_now(bench, policy, settings->duration_ns, &speedup)) {
            bench_complain("%s, %zu backends: threads did not start", policy, bench->backends);
            return;
        }
        const double after = bench_arithmetic_speedup(CONTROL_NS);
        bench_figure_add(&all, speedup);
        if (before >= TWO_PROCESSORS && after >= TWO_PROCESSORS) {
            bench_figure_add(&good, speedup);
        }
        before = after;
    }
    const bench_figure *chosen = good.count > settings->passes_speedup / 3 ? &good : &all;
    append_speedup(rows, policy, bench->backends, chosen, all.count - chosen->count);
}

/* ---- headline rows: one thread, few and many backends ---- */

typedef struct headline {
    picker_row row;
    json_t *object; /* the row's place in the results, borrowed; NULL: not wanted */
} headline;

static headline headlines[COUNT(policies)][2];

static headline *headline_of(size_t policy, size_t backends)
{
    return &headlines[policy][backends == HEADLINE_MANY];
}

static void begin_headline(json_t *rows, size_t policy, size_t backends)
{
    headline *one = headline_of(policy, backends);
    one->object = json_object();
    json_array_append_new(rows, one->object);
    picker_row_begin(&one->row, policies[policy], backends, 1, 0);
}

/* Run a few passes of every headline row. A shared machine is quiet for some seconds only: passes spread over the
 * run catch the quiet times, and the median covers the whole run. */
static void run_headlines(const picker_settings *settings)
{
    for (size_t p = 0; p < COUNT(policies); p++) {
        for (size_t i = 0; i < COUNT(headlines[p]); i++) {
            headline *one = &headlines[p][i];
            bench_channel bench;
            if (one->object == NULL) {
                continue;
            }
            if (bench_channel_open(&bench, policies[p], one->row.backends)) {
                picker_row_run(&one->row, &bench, settings->passes_headline, settings->duration_ns);
                bench_channel_close(&bench);
            } else {
                bench_complain("a channel of %s over %zu backends does not open", policies[p], one->row.backends);
            }
        }
    }
}

static void end_headlines(void)
{
    for (size_t p = 0; p < COUNT(policies); p++) {
        for (size_t i = 0; i < COUNT(headlines[p]); i++) {
            if (headlines[p][i].object != NULL) {
                json_t *object = picker_row_end(&headlines[p][i].row);
                json_object_update(headlines[p][i].object, object);
                json_decref(object);
            }
        }
    }
}

/* ---- all rows ---- */

static void measure_row(json_t *rows, bench_channel *bench, const char *policy, unsigned threads, unsigned updates,
                        const picker_settings *settings)
{
    const unsigned passes = threads > UNCROWDED_THREADS_MAX ? settings->passes_crowded
                            : updates > 0                   ? settings->passes_with_writer
                                                            : settings->passes;
    picker_row row;
    picker_row_begin(&row, policy, bench->backends, threads, updates);
    picker_row_run(&row, bench, passes, settings->duration_ns);
    json_array_append_new(rows, picker_row_end(&row));
}

static bool open_channel(bench_channel *bench, const char *policy, size_t backends)
{
    const bool ok = bench_channel_open(bench, policy, backends);
    if (!ok) {
        bench_complain("a channel of %s over %zu backends does not open", policy, backends);
    }
    return ok;
}

static bool is_wanted(unsigned threads, unsigned only_threads)
{
    return only_threads == 0 || only_threads == threads;
}

static void measure_channel(json_t *rows, json_t *speedups, size_t policy, size_t backends, unsigned only_threads,
                            const picker_settings *settings)
{
    bench_channel bench;
    if (!open_channel(&bench, policies[policy], backends)) {
        return;
    }
    if (backends == SHARES_BACKENDS) {
        bench_check_shares(bench.channel, policies[policy], backends);
    }
    for (size_t t = 0; t < settings->threads_count; t++) {
        const unsigned threads = settings->threads[t];
        if (is_wanted(threads, only_threads) && threads == 1 && is_headline(backends)) {
            begin_headline(rows, policy, backends);
        } else if (is_wanted(threads, only_threads)) {
            measure_row(rows, &bench, policies[policy], threads, 0, settings);
        }
    }
    if (is_headline(backends)) {
        measure_speedup(speedups, &bench, policies[policy], settings);
    }
    bench_channel_close(&bench);
}

/* A server with 32 threads, of which some pick at the moment. */
static void measure_crowd(json_t *rows, const char *policy, const picker_settings *settings)
{
    static const unsigned hot[] = {2, 8, CROWD_THREADS};
    bench_channel bench;
    if (!open_channel(&bench, policy, CROWD_BACKENDS)) {
        return;
    }
    for (size_t i = 0; i < COUNT(hot); i++) {
        picker_idlers *idlers = picker_idlers_start(bench.channel, CROWD_THREADS - hot[i]);
        if (idlers == NULL) {
            bench_complain("%s: %u idle threads did not start", policy, CROWD_THREADS - hot[i]);
            break;
        }
        picker_row row;
        picker_row_begin(&row, policy, CROWD_BACKENDS, hot[i], 0);
        picker_row_run(&row, &bench, settings->passes_crowded, settings->duration_ns);
        json_t *object = picker_row_end(&row);
        json_object_set_new(object, "idle_threads", json_integer(CROWD_THREADS - hot[i]));
        json_array_append_new(rows, object);
        picker_idlers_stop(idlers);
    }
    bench_channel_close(&bench);
}

/* On a separate channel: the writer leaves uneven weights behind. */
static void measure_with_writer(json_t *rows, const char *policy, size_t backends, unsigned only_threads,
                                const picker_settings *settings)
{
    bench_channel bench;
    if (backends < WRITER_BACKENDS_MIN || backends > WRITER_BACKENDS_MAX || !open_channel(&bench, policy, backends)) {
        return;
    }
    for (size_t t = 0; t < settings->threads_count && settings->threads[t] <= WRITER_THREADS_MAX; t++) {
        for (size_t u = 0; u < settings->updates_count && is_wanted(settings->threads[t], only_threads); u++) {
            measure_row(rows, &bench, policy, settings->threads[t], settings->updates_per_s[u], settings);
        }
    }
    bench_channel_close(&bench);
}

/* For `valgrind --tool=callgrind`: the difference of two runs with different counts is the cost of the picks alone. */
static int count_only(const char *policy, size_t backends, uint64_t operations)
{
    bench_channel bench;
    if (!bench_channel_open(&bench, policy, backends)) {
        return 1;
    }
    picker_load_count(bench.channel, operations, strcmp(policy, "ring_hash") == 0);
    bench_channel_close(&bench);
    return 0;
}

int main(int argc, char **argv)
{
    const picker_settings *settings = &full;
    const char *only_policy = NULL, *output = NULL, *value;
    size_t only_backends = 0;
    unsigned only_threads = 0;
    uint64_t operations = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0) {
            settings = &quick;
        } else if ((value = bench_option(argv[i], "--policy")) != NULL) {
            only_policy = value;
        } else if ((value = bench_option(argv[i], "--backends")) != NULL) {
            only_backends = strtoull(value, NULL, 10);
        } else if ((value = bench_option(argv[i], "--threads")) != NULL) {
            only_threads = (unsigned)strtoul(value, NULL, 10);
        } else if ((value = bench_option(argv[i], "--count")) != NULL) {
            operations = strtoull(value, NULL, 10);
        } else if ((value = bench_option(argv[i], "--output")) != NULL) {
            output = value;
        } else {
            fprintf(stderr, "bench_picker: unknown argument %s\n", argv[i]);
            return 2;
        }
    }
    if (operations > 0) {
        return count_only(only_policy != NULL ? only_policy : "round_robin", only_backends > 0 ? only_backends : 10,
                          operations);
    }
    json_t *rows = json_array();
    json_t *floors = json_array();
    json_t *crowd = json_array();
    json_t *speedups = json_array();
    measure_arithmetic(speedups, settings);
    for (size_t t = 0; t < settings->threads_count && settings->threads[t] <= 2; t++) {
        bench_floors(floors, settings->threads[t], settings->passes, settings->duration_ns);
    }
    for (size_t p = 0; p < COUNT(policies); p++) {
        if (evener_policy_find(NULL, policies[p]) == NULL ||
            (only_policy != NULL && strcmp(only_policy, policies[p]) != 0)) {
            continue;
        }
        for (size_t b = 0; b < settings->backends_count; b++) {
            if (only_backends == 0 || only_backends == settings->backends[b]) {
                measure_channel(rows, speedups, p, settings->backends[b], only_threads, settings);
                measure_with_writer(rows, policies[p], settings->backends[b], only_threads, settings);
            }
        }
        if (only_backends == 0 && only_threads == 0) {
            measure_crowd(crowd, policies[p], settings);
        }
        run_headlines(settings);
    }
    end_headlines();
    return bench_finish(json_pack("{s:o, s:o, s:o, s:o}", "picker", rows, "picker_crowd", crowd, "picker_speedup",
                                  speedups, "floor", floors),
                        output);
}
