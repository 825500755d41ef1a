/* Load stats: what `evener load` counts while calls end on several threads, and how it is told to people and programs. */
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
    char address[EVENER_ADDRESS_BYTES_MAX]; /* "127.0.0.1:50051"; "" for calls that never reached one */
    uint64_t calls, failed;
    histogram latency; /* of calls that went well */
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

/* Counts one call. `peer` as evener_call_details.peer; NULL or "": none. Any thread. */
void load_stats_add(load_stats *stats, const char *peer, const evener_status *status, uint64_t latency_ns);

/* One line over the last one, for a terminal; starts a new interval. */
void load_stats_print_progress(load_stats *stats, FILE *to, double elapsed_s, double interval_s);

/* The table of backends, their states from the channel, and a summary. */
void load_stats_print_table(load_stats *stats, FILE *to, evener_channel *channel, double elapsed_s);

/* {"calls","failed","calls_per_s","p50_us","p99_us","p999_us","failures":{status:count},
 *  "backends":[{"address","calls","failed","p50_us","p99_us"}]} */
void load_stats_print_json(load_stats *stats, FILE *to, double elapsed_s);

#endif
