/* Threads that pick: the loads that are measured. */
#ifndef BENCH_PICKER_PICKER_LOAD_H
#define BENCH_PICKER_PICKER_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/channel.h>

#include "bench/support/measure.h"
#include "examples/evener/histogram.h"

typedef enum picker_load_kind {
    PICKER_LOAD_PICK,        /* only pick is timed; done follows untimed, in batches of 256 */
    PICKER_LOAD_PICK_DONE,   /* pick, done, pick, done... */
    PICKER_LOAD_OUTSTANDING, /* the same with 64 picks in flight per thread */
    PICKER_LOAD_EACH         /* each pick + done is timed separately, into the histogram */
} picker_load_kind;

typedef struct picker_load {
    evener_channel *channel;
    unsigned threads;
    /* processor of the first thread; used if there are at least as many processors as threads */
    unsigned first_processor;
    uint64_t duration_ns;
    bool with_hash; /* each pick has a different hash, for ring_hash */
} picker_load;

typedef struct picker_result {
    double ns;      /* of the clock on the wall, per operation of all threads together */
    uint64_t timed; /* operations in that time, `duration_ns` at least */
    uint64_t operations;
    uint64_t allocations;  /* on the picking threads */
    uint64_t not_complete; /* picks without a subchannel */
} picker_result;

/* Run the load and wait for its end. `ticks` (times in ticks) is for PICKER_LOAD_EACH, otherwise NULL. Return false if
 * threads do not start. */
bool picker_load_run(const picker_load *load, picker_load_kind kind, picker_result *result, histogram *ticks);

/* Threads that have picked once and stay. */
typedef struct picker_idlers picker_idlers;

/* Start idle threads and wait until each has picked. NULL: they do not start. */
picker_idlers *picker_idlers_start(evener_channel *channel, unsigned count);
void picker_idlers_stop(picker_idlers *idlers);

/* Run exactly `operations` of pick + done on this thread, for counting instructions. */
void picker_load_count(evener_channel *channel, uint64_t operations, bool with_hash);

#endif
