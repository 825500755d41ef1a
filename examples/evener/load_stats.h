/* Load stats: the counters of `evener load`, fed by several threads, and their output as table and JSON. */
#ifndef EVENER_CLI_LOAD_STATS_H
#define EVENER_CLI_LOAD_STATS_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <evener/evener.h>

#include "examples/evener/histogram.h"

#define LOAD_STATUS_CODES 17

typedef struct load_backend {
    char address[EVENER_ADDRESS_BYTES_MAX]; /* "127.0.0.1:50051" */
    uint64_t calls, failed;
    histogram succeeded; /* latencies of successful calls */
    histogram *failures; /* those of failed calls, up to their failure; NULL: none failed */
    /* Of the channel, while the stats are printed; NULL: not known. */
    const evener_subchannel_stats *state;
} load_backend;

/* How a run went. */
typedef struct load_run {
    double elapsed_s; /* until the last call ended */
    double window_s;  /* time for which calls were asked; without --duration and --rate elapsed_s */
    double asked_rate,
        achieved_rate;    /* with --rate: calls per second that were due and that were started; otherwise 0 */
    uint64_t not_started; /* with --rate: calls that were due and that the end of the run kept from starting */
} load_run;

typedef struct load_stats {
    pthread_mutex_t mutex; /* guards all below */
    load_backend nowhere;  /* calls that reached no backend, or for whose backend there was no memory */
    /* Sorted by address: each call looks for its own, and there may be 10,000. */
    load_backend **backends;
    size_t backend_count, backend_room;
    uint64_t failures[LOAD_STATUS_CODES]; /* by code; that of OK stays 0 */
    char last_failure[EVENER_STATUS_MESSAGE_BYTES];
    histogram interval; /* since the last progress line */
    uint64_t interval_calls, calls, failed;
} load_stats;

void load_stats_init(load_stats *stats);
void load_stats_clear(load_stats *stats);

/* Count one call. `peer` as evener_call_details.peer; NULL or "": no backend. Any thread. */
void load_stats_add(load_stats *stats, const char *peer, const evener_status *status, uint64_t latency_ns);

/* Print one line over the last one, for a terminal, and start a new interval. */
void load_stats_print_progress(load_stats *stats, FILE *to, double elapsed_s, double interval_s);

/* Print the table of backends with their states of the channel, and a summary. */
void load_stats_print_table(load_stats *stats, FILE *to, evener_channel *channel, const load_run *run);

/* Print one line of JSON. Latencies are in microseconds; null if there is none. `p50_us` and the like are of all calls, a
 * failed one with the time until it failed; `ok_p50_us` and the like are of the successful ones. `calls_per_s` is `calls`
 * over `duration_s`, which is load_run.window_s. Backends are sorted by address, those without calls included, and sum
 * up to the totals; an empty address, always there, stands for calls that reached no backend. In `histogram`, of the
 * successful calls, `up_to_us` is the upper bound of a bucket.
 * {"calls","failed","calls_per_s","p50_us","p99_us","p999_us","failures":{status:count},
 * "backends":[{"address","calls","failed","p50_us","p99_us","p999_us","max_us","mean_us","ok_p50_us","ok_p99_us",
 * "ok_p999_us","ok_max_us","ok_mean_us","state"}],"max_us","duration_s","policy","histogram":[{"up_to_us","count"}],
 * "mean_us","ok_p50_us","ok_p99_us","ok_p999_us","ok_max_us","ok_mean_us","elapsed_s","asked_rate","achieved_rate",
 * "not_started"} */
void load_stats_print_json(load_stats *stats, evener_channel *channel, const load_run *run);

#endif
