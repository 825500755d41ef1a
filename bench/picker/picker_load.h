/* Threads that pick, in the ways that are measured. */
#ifndef BENCH_PICKER_PICKER_LOAD_H
#define BENCH_PICKER_PICKER_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/channel.h>

#include "bench/support/measure.h"

typedef enum picker_load_kind {
    PICKER_LOAD_PICK,        /* only pick is timed; done follows untimed, 256 at a time */
    PICKER_LOAD_PICK_DONE,   /* pick, done, pick, done... */
    PICKER_LOAD_OUTSTANDING, /* the same with 64 picks of each thread always under way */
    PICKER_LOAD_EACH         /* every pick + done timed by itself, into the histogram */
} picker_load_kind;

typedef struct picker_load {
    evener_channel *channel;
    unsigned threads;
    unsigned first_processor; /* that the first thread is kept on, while there are as many as threads */
    uint64_t duration_ns;
    bool with_hash; /* gives each pick another hash, for ring_hash */
} picker_load;

typedef struct picker_result {
    double ns; /* per operation of all threads together: one over the sum of their rates */
    uint64_t operations;
    uint64_t allocations;  /* on the picking threads */
    uint64_t not_complete; /* picks that gave no subchannel */
} picker_result;

/* Runs the load and waits for its end. `histogram` (in ns) is for PICKER_LOAD_EACH, else NULL. False: no threads. */
bool picker_load_run(const picker_load *load, picker_load_kind kind, picker_result *result, bench_histogram *histogram);

/* Exactly `operations` of pick + done on this thread: for counting instructions. */
void picker_load_count(evener_channel *channel, uint64_t operations, bool with_hash);

#endif
