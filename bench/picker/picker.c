/* Picker latency: nanoseconds for a pick through the public functions, by policy, backends and threads.
 *
 *     bench_picker [--quick] [--policy=NAME] [--backends=N] [--threads=N] [--output=FILE]
 *     bench_picker --count=N --policy=NAME --backends=N      (exactly N picks, for counting instructions)
 *
 * Every figure is of all threads together: one over the sum of their rates. So with two threads that do not disturb each
 * other it is half of that with one. Fails if a pick allocates memory or finds no backend, or if the backends do
 * not get the shares that the policy promises. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <evener/evener.h>

#include "bench/picker/floor.h"
#include "bench/picker/picker_load.h"
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
    unsigned passes;             /* of HEADLINE_FEW and HEADLINE_MANY backends */
    unsigned passes_between;     /* of other numbers */
    unsigned passes_crowded;     /* with more threads than two the scheduler is measured: once in a while will do */
    unsigned passes_with_writer; /* the picks cost what they cost without one, but for what it does to the caches */
    uint64_t duration_ns;
    const size_t *backends;
    size_t backends_count;
    const unsigned *threads;
    size_t threads_count;
    const unsigned *updates_per_s; /* besides none: with a writer at work */
    size_t updates_count;
} picker_settings;

static const size_t full_backends[] = {1, 3, 10, 100, 1000, 10000, 100000};
static const unsigned full_threads[] = {1, 2, 4, 8, 16};
static const size_t quick_backends[] = {10, 10000};
static const unsigned quick_threads[] = {1, 2};
static const unsigned updates_per_s[] = {10, 1000};
#define WRITER_BACKENDS_MAX 1000 /* 1,000 updates a second of longer lists are more than a list's copying allows */
#define WRITER_THREADS_MAX 2
#define UNCROWDED_THREADS_MAX 2
#define SHARES_BACKENDS 10
#define HEADLINE_FEW 10
#define HEADLINE_MANY 10000

static const picker_settings full = {
    .passes = 25,
    .passes_between = 12,
    .passes_crowded = 2,
    .passes_with_writer = 8,
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
    .passes_between = 3,
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

/* ---- a writer: pushes lists with one weight changed while others pick ---- */

typedef struct update_writer {
    bench_channel *bench;
    unsigned updates_per_s;
    atomic_bool stop;
    uint64_t updates;
    pthread_t thread;
} update_writer;

static void *run_writer(void *arg)
{
    update_writer *self = arg;
    uint64_t interval_ns = EVENER_NS_PER_S / self->updates_per_s;
    uint64_t next_ns = bench_now_ns();
    while (!atomic_load_explicit(&self->stop, memory_order_relaxed)) {
        bench_channel_update(self->bench, BENCH_CHANGE_WEIGHT, 1);
        self->updates++;
        next_ns += interval_ns;
        struct timespec at = {.tv_sec = (time_t)(next_ns / EVENER_NS_PER_S),
                              .tv_nsec = (long)(next_ns % EVENER_NS_PER_S)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    }
    return NULL;
}

/* ---- one row ---- */

static const struct {
    const char *name;
    double share;
} percentiles[] = {{"p1", 0.01},  {"p10", 0.1},    {"p25", 0.25},     {"p50", 0.5},        {"p75", 0.75}, {"p90", 0.9},
                   {"p99", 0.99}, {"p999", 0.999}, {"p9999", 0.9999}, {"p99999", 0.99999}, {"max", 1}};

/* The distribution in ns, and three of its places as columns. */
static void set_latencies(json_t *row, const bench_histogram *ticks)
{
    json_t *distribution = json_object();
    for (size_t i = 0; i < COUNT(percentiles); i++) {
        double ns = (double)bench_histogram_percentile(ticks, percentiles[i].share) * bench_ns_per_tick();
        json_object_set_new(distribution, percentiles[i].name, json_integer((json_int_t)(ns + 0.5)));
    }
    json_object_set(row, "pick_done_ns_p50", json_object_get(distribution, "p50"));
    json_object_set(row, "pick_done_ns_p99", json_object_get(distribution, "p99"));
    json_object_set(row, "pick_done_ns_p999", json_object_get(distribution, "p999"));
    json_object_set_new(row, "distribution_ns", distribution);
}

static json_t *measure_row(bench_channel *bench, const char *policy, unsigned threads, unsigned updates,
                           const picker_settings *settings)
{
    picker_load load = {.channel = bench->channel,
                        .threads = threads,
                        .duration_ns = settings->duration_ns,
                        .with_hash = strcmp(policy, "ring_hash") == 0};
    bench_figure figures[3] = {{0}};
    bench_histogram *ticks = calloc(1, sizeof *ticks);
    picker_result result = {0};
    uint64_t allocations = 0, not_complete = 0, operations = 0;
    update_writer writer = {.bench = bench, .updates_per_s = updates};
    if (ticks == NULL || (updates > 0 && pthread_create(&writer.thread, NULL, run_writer, &writer) != 0)) {
        free(ticks);
        return NULL;
    }
    const unsigned passes = threads > UNCROWDED_THREADS_MAX ? settings->passes_crowded
                            : updates > 0                   ? settings->passes_with_writer
                            : is_headline(bench->backends)  ? settings->passes
                                                            : settings->passes_between;
    bool ok = true;
    for (unsigned pass = 0; pass < passes && ok; pass++) {
        load.first_processor = pass; /* one of them may be slower at the time */
        for (picker_load_kind kind = PICKER_LOAD_PICK; kind <= PICKER_LOAD_EACH && ok; kind++) {
            if (kind == PICKER_LOAD_OUTSTANDING && threads > UNCROWDED_THREADS_MAX) {
                continue;
            }
            ok = picker_load_run(&load, kind, &result, kind == PICKER_LOAD_EACH ? ticks : NULL);
            allocations += result.allocations;
            not_complete += result.not_complete;
            operations += result.operations;
            if (kind != PICKER_LOAD_EACH) {
                bench_figure_add(&figures[kind], result.ns);
            }
        }
    }
    if (updates > 0) {
        atomic_store_explicit(&writer.stop, true, memory_order_relaxed);
        pthread_join(writer.thread, NULL);
    }
    json_t *row = json_pack("{s:s, s:I, s:i, s:i}", "policy", policy, "backends", (json_int_t)bench->backends,
                            "threads", (int)threads, "updates_per_s", (int)updates);
    bench_set_figure(row, "pick_ns", &figures[PICKER_LOAD_PICK]);
    bench_set_figure(row, "pick_done_ns", &figures[PICKER_LOAD_PICK_DONE]);
    if (figures[PICKER_LOAD_OUTSTANDING].count > 0) {
        bench_set_figure(row, "outstanding_ns", &figures[PICKER_LOAD_OUTSTANDING]);
    }
    set_latencies(row, ticks);
    json_object_set_new(row, "allocations", json_integer((json_int_t)allocations));
    json_object_set_new(row, "not_complete", json_integer((json_int_t)not_complete));
    /* A ring of few points finds a backend that was never asked for now and then, and connects it then (A42). */
    const uint64_t tolerated = load.with_hash ? operations / 1000 : 0;
    if (!ok || allocations > 0 || not_complete > tolerated) {
        bench_complain("%s, %zu backends, %u threads: %llu allocations, %llu picks without a backend%s", policy,
                       bench->backends, threads, (unsigned long long)allocations, (unsigned long long)not_complete,
                       ok ? "" : ", and threads that did not start");
    }
    free(ticks);
    return row;
}

static void append_speedup(json_t *rows, const char *policy, size_t backends, const bench_figure *speedup)
{
    json_t *row = json_pack("{s:s, s:I, s:i}", "policy", policy, "backends", (json_int_t)backends, "threads", 2);
    bench_set_quartiles(row, "speedup", speedup);
    json_array_append_new(rows, row);
    bench_progress("picker  %-21s %6zu backends  2 threads  %.2f times one", policy, backends,
                   bench_figure_median(speedup));
}

/* How many times as much two threads do as one, in passes that take turns. One does what it does on the mean of two
 * processors: one of them may be slower at the time. */
static void measure_speedup(json_t *rows, const bench_channel *bench, const char *policy,
                            const picker_settings *settings)
{
    bench_figure speedup = {0};
    for (unsigned pass = 0; pass < settings->passes; pass++) {
        static const picker_load loads[] = {{.threads = 1}, {.threads = 1, .first_processor = 1}, {.threads = 2}};
        double rates[COUNT(loads)];
        for (size_t i = 0; i < COUNT(loads); i++) {
            picker_load load = loads[i];
            picker_result result;
            load.channel = bench->channel;
            load.duration_ns = settings->duration_ns;
            load.with_hash = strcmp(policy, "ring_hash") == 0;
            if (!picker_load_run(&load, PICKER_LOAD_PICK_DONE, &result, NULL)) {
                bench_complain("%s, %zu backends: threads that did not start", policy, bench->backends);
                return;
            }
            rates[i] = 1 / result.ns;
        }
        bench_figure_add(&speedup, 2 * rates[2] / (rates[0] + rates[1]));
    }
    append_speedup(rows, policy, bench->backends, &speedup);
}

static void measure_channel(json_t *rows, json_t *speedups, const char *policy, size_t backends, unsigned only_threads,
                            const picker_settings *settings)
{
    bench_channel bench;
    if (!bench_channel_open(&bench, policy, backends)) {
        bench_complain("%s over %zu backends cannot be opened", policy, backends);
        return;
    }
    if (backends == SHARES_BACKENDS) {
        bench_check_shares(bench.channel, policy, backends);
    }
    for (size_t t = 0; t < settings->threads_count; t++) {
        unsigned threads = settings->threads[t];
        if (only_threads != 0 && only_threads != threads) {
            continue;
        }
        json_array_append_new(rows, measure_row(&bench, policy, threads, 0, settings));
        for (size_t u = 0; u < settings->updates_count; u++) {
            if (backends <= WRITER_BACKENDS_MAX && backends >= 10 && threads <= WRITER_THREADS_MAX) {
                json_array_append_new(rows, measure_row(&bench, policy, threads, settings->updates_per_s[u], settings));
            }
        }
        const json_t *row = json_array_get(rows, json_array_size(rows) - 1);
        bench_progress("picker  %-21s %6zu backends %2u threads  pick+done %7.1f ns", policy, backends, threads,
                       json_real_value(json_object_get(row, "pick_done_ns")));
    }
    if (is_headline(backends)) {
        measure_speedup(speedups, &bench, policy, settings);
    }
    bench_channel_close(&bench);
}

/* For `valgrind --tool=callgrind`: two runs with different counts differ by the instructions of the picks alone. */
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
    json_t *speedups = json_array();
    bench_figure arithmetic = {0};
    bench_arithmetic_speedup(&arithmetic, settings->passes, settings->duration_ns);
    append_speedup(speedups, "(arithmetic alone)", 0, &arithmetic);
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
                measure_channel(rows, speedups, policies[p], settings->backends[b], only_threads, settings);
            }
        }
    }
    return bench_finish(json_pack("{s:o, s:o, s:o}", "picker", rows, "picker_speedup", speedups, "floor", floors),
                        output);
}
