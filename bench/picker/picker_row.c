#include "bench/picker/picker_row.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/support/output.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
/* More threads measure the scheduler, even more so with picks in flight. */
#define OUTSTANDING_THREADS_MAX 2

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

/* ---- row ---- */

static bool picks_by_hash(const picker_row *row)
{
    return strcmp(row->policy, "ring_hash") == 0;
}

void picker_row_begin(picker_row *row, const char *policy, size_t backends, unsigned threads, unsigned updates_per_s)
{
    *row = (picker_row){
        .policy = policy, .backends = backends, .threads = threads, .updates_per_s = updates_per_s, .ok = true};
    row->ticks = calloc(1, sizeof *row->ticks);
    if (row->ticks == NULL) {
        abort();
    }
}

static void run_pass(picker_row *row, picker_load *load)
{
    load->first_processor = row->passes++; /* alternate: one processor may be slower at the time */
    for (picker_load_kind kind = PICKER_LOAD_PICK; kind <= PICKER_LOAD_EACH && row->ok; kind++) {
        if (kind == PICKER_LOAD_OUTSTANDING && row->threads > OUTSTANDING_THREADS_MAX) {
            continue;
        }
        picker_result result;
        row->ok = picker_load_run(load, kind, &result, kind == PICKER_LOAD_EACH ? row->ticks : NULL);
        if (row->ok) {
            row->allocations += result.allocations;
            row->not_complete += result.not_complete;
            row->operations += result.operations;
        }
        if (row->ok && kind != PICKER_LOAD_EACH) {
            bench_figure_add(&row->figures[kind], result.ns);
        }
        /* Operations of this figure's time fill the pass at least, unless a processor counts several times. */
        if (row->ok && kind == PICKER_LOAD_PICK_DONE &&
            result.ns * (double)result.timed < (double)load->duration_ns * 0.999) {
            row->too_fast++;
        }
    }
}

void picker_row_run(picker_row *row, bench_channel *bench, unsigned passes, uint64_t duration_ns)
{
    picker_load load = {.channel = bench->channel,
                        .threads = row->threads,
                        .duration_ns = duration_ns,
                        .with_hash = picks_by_hash(row)};
    update_writer writer = {.bench = bench, .updates_per_s = row->updates_per_s};
    if (row->updates_per_s > 0 && pthread_create(&writer.thread, NULL, run_writer, &writer) != 0) {
        row->ok = false;
        return;
    }
    for (unsigned pass = 0; pass < passes && row->ok; pass++) {
        run_pass(row, &load);
    }
    if (row->updates_per_s > 0) {
        atomic_store_explicit(&writer.stop, true, memory_order_relaxed);
        pthread_join(writer.thread, NULL);
    }
}

static const struct {
    const char *name;
    double share;
} percentiles[] = {{"p1", 0.01},  {"p10", 0.1},    {"p25", 0.25},     {"p50", 0.5},        {"p75", 0.75}, {"p90", 0.9},
                   {"p99", 0.99}, {"p999", 0.999}, {"p9999", 0.9999}, {"p99999", 0.99999}, {"max", 1}};

/* Add the distribution in ns, and three of its percentiles as columns. */
static void set_latencies(json_t *row, const histogram *ticks)
{
    json_t *distribution = json_object();
    for (size_t i = 0; i < COUNT(percentiles); i++) {
        double ns = (double)histogram_quantile(ticks, percentiles[i].share) * bench_ns_per_tick();
        json_object_set_new(distribution, percentiles[i].name, json_integer((json_int_t)(ns + 0.5)));
    }
    json_object_set(row, "pick_done_ns_p50", json_object_get(distribution, "p50"));
    json_object_set(row, "pick_done_ns_p99", json_object_get(distribution, "p99"));
    json_object_set(row, "pick_done_ns_p999", json_object_get(distribution, "p999"));
    json_object_set_new(row, "distribution_ns", distribution);
}

json_t *picker_row_end(picker_row *row)
{
    json_t *object = json_pack("{s:s, s:I, s:i, s:i}", "policy", row->policy, "backends", (json_int_t)row->backends,
                               "threads", (int)row->threads, "updates_per_s", (int)row->updates_per_s);
    bench_set_figure(object, "pick_ns", &row->figures[PICKER_LOAD_PICK]);
    bench_set_figure(object, "pick_done_ns", &row->figures[PICKER_LOAD_PICK_DONE]);
    if (row->figures[PICKER_LOAD_OUTSTANDING].count > 0) {
        bench_set_figure(object, "outstanding_ns", &row->figures[PICKER_LOAD_OUTSTANDING]);
    }
    set_latencies(object, row->ticks);
    json_object_set_new(object, "allocations", json_integer((json_int_t)row->allocations));
    json_object_set_new(object, "not_complete", json_integer((json_int_t)row->not_complete));
    /* With few points on the ring, a rare hash reaches a backend for the first time and connects it then (A42,
     * ring_hash: lazy connections). */
    const uint64_t tolerated = picks_by_hash(row) ? row->operations / 1000 : 0;
    if (!row->ok || row->allocations > 0 || row->not_complete > tolerated) {
        bench_complain("%s, %zu backends, %u threads: %llu allocations, %llu picks without a backend%s", row->policy,
                       row->backends, row->threads, (unsigned long long)row->allocations,
                       (unsigned long long)row->not_complete, row->ok ? "" : ", and threads did not start");
    }
    if (row->too_fast > 0) {
        bench_complain("%s, %zu backends, %u threads: %u figures are below the time of the clock on the wall",
                       row->policy, row->backends, row->threads, row->too_fast);
    }
    bench_progress("picker  %-21s %6zu backends %2u threads %4u lists/s  pick+done %7.1f ns, best %.1f", row->policy,
                   row->backends, row->threads, row->updates_per_s,
                   bench_figure_median(&row->figures[PICKER_LOAD_PICK_DONE]),
                   bench_figure_min(&row->figures[PICKER_LOAD_PICK_DONE]));
    free(row->ticks);
    row->ticks = NULL;
    return object;
}
