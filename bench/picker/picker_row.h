/* One row of the picker's results: its passes, in one or several runs, and their JSON. */
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
    unsigned updates_per_s;                 /* lists that a writer publishes meanwhile; 0: no writer */
    unsigned passes;                        /* passes so far */
    bench_figure figures[PICKER_LOAD_EACH]; /* by picker_load_kind */
    histogram *ticks;                       /* of PICKER_LOAD_EACH */
    uint64_t allocations, not_complete, operations;
    unsigned too_fast; /* passes whose figure is not of the clock on the wall */
    bool ok;
} picker_row;

/* Begin a row without passes. `policy` is borrowed. End it with picker_row_end(). */
void picker_row_begin(picker_row *row, const char *policy, size_t backends, unsigned threads, unsigned updates_per_s);

/* Run more passes on a channel of the row's policy and backends; each pass runs every kind of load for
 * `duration_ns`. */
void picker_row_run(picker_row *row, bench_channel *bench, unsigned passes, uint64_t duration_ns);

/* Complain about an allocation in a pick, a pick without a backend, or a figure below the time on the wall. Return the
 * row as an object that the caller owns. */
json_t *picker_row_end(picker_row *row);

#endif
