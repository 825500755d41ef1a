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
    char address[EVENER_ADDRESS_BYTES_MAX]; /* "127.0.0.1:50051"; "": calls that had no backend */
    uint64_t calls, failed;
    histogram latency; /* of successful calls */
} load_backend;

typedef struct load_stats {
    pthread_mutex_t mutex; /* guards all below */
    load_backend **backends;
    size_t backend_count;
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
void load_stats_print_table(load_stats *stats, FILE *to, evener_channel *channel, double elapsed_s);

/* Print one line of JSON. Latencies are of successful calls, in microseconds; null if there is none. Backends are
 * sorted by address and sum up to the totals; an empty address stands for calls that had no backend. In `histogram`,
 * `up_to_us` is the upper bound of a bucket.
 * {"calls","failed","calls_per_s","p50_us","p99_us","p999_us","failures":{status:count},
 * "backends":[{"address","calls","failed","p50_us","p99_us","p999_us","max_us"}],
 * "max_us","duration_s","policy","histogram":[{"up_to_us","count"}]} */
void load_stats_print_json(load_stats *stats, evener_channel *channel, double elapsed_s);

#endif
