/* One row of the picker's results: passes, made in one go or in several, and the JSON of them all. */
#ifndef BENCH_PICKER_PICKER_ROW_H
#define BENCH_PICKER_PICKER_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "bench/picker/picker_load.h"
#include "bench/support/bench_channel.h"
#include "bench/support/measure.h"

typedef struct picker_row {
    const char *policy;
    size_t backends;
    unsigned threads;
    unsigned updates_per_s;                 /* that a writer publishes meanwhile; 0: there is none */
    unsigned passes;                        /* made so far */
    bench_figure figures[PICKER_LOAD_EACH]; /* by picker_load_kind */
    bench_histogram *ticks;                 /* of PICKER_LOAD_EACH */
    uint64_t allocations, not_complete, operations;
    bool ok;
} picker_row;

/* Begins one of no passes. `policy` is borrowed. Ended with picker_row_end(). */
void picker_row_begin(picker_row *row, const char *policy, size_t backends, unsigned threads, unsigned updates_per_s);

/* Makes more passes, each of every kind for so long, on a channel of the row's policy and backends. */
void picker_row_run(picker_row *row, bench_channel *bench, unsigned passes, uint64_t duration_ns);

/* Complains of what must not be: an allocation in a pick, a pick without a backend. Returns the row as an object. */
json_t *picker_row_end(picker_row *row);

#endif
