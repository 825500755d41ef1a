#include "examples/evener/load_stats.h"

#include <stdlib.h>
#include <string.h>

#include "examples/evener/cli.h"
#include "lb/base/printable.h"

void load_stats_init(load_stats *stats)
{
    memset(stats, 0, sizeof *stats);
    pthread_mutex_init(&stats->mutex, NULL);
}

void load_stats_clear(load_stats *stats)
{
    for (size_t i = 0; i < stats->backend_count; i++) {
        free(stats->backends[i]);
    }
    free(stats->backends);
    pthread_mutex_destroy(&stats->mutex);
}

/* Convert to the form of the address list: "ipv4:127.0.0.1:50051" -> "127.0.0.1:50051". */
static const char *address_of_peer(const char *peer)
{
    if (peer == NULL) {
        return "";
    }
    const bool with_family = strncmp(peer, "ipv4:", 5) == 0 || strncmp(peer, "ipv6:", 5) == 0;
    return with_family ? peer + 5 : peer;
}

/* Return the counters of a backend. NULL: out of memory; the call is then counted in the totals only. */
static load_backend *backend_of(load_stats *stats, const char *address)
{
    for (size_t i = 0; i < stats->backend_count; i++) {
        if (strcmp(stats->backends[i]->address, address) == 0) {
            return stats->backends[i];
        }
    }
    load_backend *backend = calloc(1, sizeof *backend);
    load_backend **grown = realloc(stats->backends, (stats->backend_count + 1) * sizeof *grown);
    if (grown != NULL) {
        stats->backends = grown;
    }
    if (backend == NULL || grown == NULL) {
        free(backend);
        return NULL;
    }
    snprintf(backend->address, sizeof backend->address, "%s", address);
    grown[stats->backend_count++] = backend;
    return backend;
}

void load_stats_add(load_stats *stats, const char *peer, const evener_status *status, uint64_t latency_ns)
{
    const unsigned code = (unsigned)status->code < LOAD_STATUS_CODES ? (unsigned)status->code : EVENER_STATUS_UNKNOWN;
    const bool failed = code != EVENER_STATUS_OK;
    pthread_mutex_lock(&stats->mutex);
    load_backend *backend = backend_of(stats, address_of_peer(peer));
    stats->calls++;
    stats->interval_calls++;
    if (failed) {
        stats->failed++;
        stats->failures[code]++;
        snprintf(stats->last_failure, sizeof stats->last_failure, "%s", status->message);
    } else {
        histogram_add(&stats->interval, latency_ns);
    }
    if (backend != NULL) {
        backend->calls++;
        backend->failed += failed;
        if (!failed) {
            histogram_add(&backend->latency, latency_ns);
        }
    }
    pthread_mutex_unlock(&stats->mutex);
}

/* ---- output ---- */

#define LATENCY_BYTES 24

static double quantile_ms(const histogram *h, double share)
{
    return (double)histogram_quantile(h, share) / 1e6;
}

/* Write a quantile in milliseconds, "-" if there is no latency. */
static const char *latency_text(const histogram *h, double share, char buffer[LATENCY_BYTES])
{
    if (h->count > 0) {
        snprintf(buffer, LATENCY_BYTES, "%.2f", quantile_ms(h, share));
    } else {
        snprintf(buffer, LATENCY_BYTES, "-");
    }
    return buffer;
}

void load_stats_print_progress(load_stats *stats, FILE *to, double elapsed_s, double interval_s)
{
    pthread_mutex_lock(&stats->mutex);
    char p50[LATENCY_BYTES];
    char p99[LATENCY_BYTES];
    fprintf(to, "\r\033[K%6.0f s  %10.0f calls/s  p50 %s ms  p99 %s ms  %llu failed", elapsed_s,
            (double)stats->interval_calls / interval_s, latency_text(&stats->interval, 0.5, p50),
            latency_text(&stats->interval, 0.99, p99), (unsigned long long)stats->failed);
    fflush(to);
    memset(&stats->interval, 0, sizeof stats->interval);
    stats->interval_calls = 0;
    pthread_mutex_unlock(&stats->mutex);
}

static int by_address(const void *a, const void *b)
{
    return strcmp((*(load_backend *const *)a)->address, (*(load_backend *const *)b)->address);
}

/* Return the latencies of all backends, to be freed; NULL: out of memory. */
static histogram *whole_latency(const load_stats *stats)
{
    histogram *whole = calloc(1, sizeof *whole);
    for (size_t i = 0; whole != NULL && i < stats->backend_count; i++) {
        histogram_merge(whole, &stats->backends[i]->latency);
    }
    return whole;
}

static const evener_subchannel_stats *state_of(const evener_channel_stats *stats, const char *address)
{
    for (size_t i = 0; i < stats->subchannel_count; i++) {
        if (strcmp(stats->subchannels[i].address, address) == 0) {
            return &stats->subchannels[i];
        }
    }
    return NULL;
}

static void print_row(FILE *to, const char *name, uint64_t calls, uint64_t all, const histogram *latency,
                      uint64_t failed, const char *state, const char *note)
{
    char printable[EVENER_ADDRESS_BYTES_MAX];
    (void)evener_printable(name, strlen(name), printable, sizeof printable);
    char p50[LATENCY_BYTES];
    char p99[LATENCY_BYTES];
    char p999[LATENCY_BYTES];
    fprintf(to, "%-28s %10llu %6.1f%% %9s %9s %9s %9llu  %s%s", printable, (unsigned long long)calls,
            all > 0 ? 100.0 * (double)calls / (double)all : 0.0, latency_text(latency, 0.5, p50),
            latency_text(latency, 0.99, p99), latency_text(latency, 0.999, p999), (unsigned long long)failed, state,
            note[0] != '\0' ? "  " : "");
    cli_puts_foreign(to, note);
    fputc('\n', to);
}

void load_stats_print_table(load_stats *stats, FILE *to, evener_channel *channel, double elapsed_s)
{
    evener_channel_stats seen = {.size = sizeof seen, .subchannel_bytes = sizeof *seen.subchannels};
    const bool has_states = evener_channel_get_stats(channel, &seen, NULL) == EVENER_STATUS_OK;
    pthread_mutex_lock(&stats->mutex);
    histogram *whole = whole_latency(stats);
    if (whole != NULL) {
        qsort(stats->backends, stats->backend_count, sizeof(load_backend *), by_address);
        fprintf(to, "%-28s %10s %7s %9s %9s %9s %9s  %s\n", "backend", "calls", "share", "p50 ms", "p99 ms", "p99.9 ms",
                "failed", "state");
        for (size_t i = 0; i < stats->backend_count; i++) {
            const load_backend *b = stats->backends[i];
            const evener_subchannel_stats *state = state_of(&seen, b->address);
            print_row(to, b->address[0] != '\0' ? b->address : "(no backend)", b->calls, stats->calls, &b->latency,
                      b->failed, state != NULL ? evener_connectivity_state_name(state->state) : "-",
                      state != NULL ? state->note : "");
        }
        for (size_t i = 0; i < seen.subchannel_count; i++) {
            bool called = false;
            for (size_t j = 0; j < stats->backend_count; j++) {
                called = called || strcmp(stats->backends[j]->address, seen.subchannels[i].address) == 0;
            }
            if (!called) {
                static const histogram empty;
                print_row(to, seen.subchannels[i].address, 0, stats->calls, &empty, 0,
                          evener_connectivity_state_name(seen.subchannels[i].state), seen.subchannels[i].note);
            }
        }
        char p50[LATENCY_BYTES];
        char p99[LATENCY_BYTES];
        char p999[LATENCY_BYTES];
        char maximum[LATENCY_BYTES];
        fprintf(to, "\n%llu calls in %.1f s, %.0f/s; p50 %s ms, p99 %s ms, p99.9 %s ms, max %s ms\n",
                (unsigned long long)stats->calls, elapsed_s, (double)stats->calls / elapsed_s,
                latency_text(whole, 0.5, p50), latency_text(whole, 0.99, p99), latency_text(whole, 0.999, p999),
                latency_text(whole, 1, maximum));
        fprintf(to, "policy %s; %llu failed", has_states ? seen.policy : "?", (unsigned long long)stats->failed);
        for (unsigned code = 0; code < LOAD_STATUS_CODES; code++) {
            if (stats->failures[code] > 0) {
                fprintf(to, ", %llu %s", (unsigned long long)stats->failures[code],
                        evener_status_code_name((evener_status_code)code));
            }
        }
        if (stats->failed > 0) {
            fputs("; the last one: ", to);
            cli_puts_foreign(to, stats->last_failure);
        }
        fputc('\n', to);
    }
    free(whole);
    pthread_mutex_unlock(&stats->mutex);
    if (has_states) {
        evener_channel_stats_clear(&seen);
    }
}

static json_t *latency_json(const histogram *h, double share)
{
    return h->count > 0 ? json_real((double)histogram_quantile(h, share) / 1e3) : json_null();
}

static json_t *backend_json(const load_backend *b)
{
    return json_pack("{s:o, s:I, s:I, s:o, s:o, s:o, s:o}", "address", cli_json_text(b->address, strlen(b->address)),
                     "calls", (json_int_t)b->calls, "failed", (json_int_t)b->failed, "p50_us",
                     latency_json(&b->latency, 0.5), "p99_us", latency_json(&b->latency, 0.99), "p999_us",
                     latency_json(&b->latency, 0.999), "max_us", latency_json(&b->latency, 1));
}

static void add_bucket(void *arg, uint64_t up_to_ns, uint64_t count)
{
    json_array_append_new(arg, json_pack("{s:f, s:I}", "up_to_us", (double)up_to_ns / 1e3, "count", (json_int_t)count));
}

void load_stats_print_json(load_stats *stats, evener_channel *channel, double elapsed_s)
{
    evener_channel_stats seen = {.size = sizeof seen, .subchannel_bytes = sizeof *seen.subchannels};
    const bool has_states = evener_channel_get_stats(channel, &seen, NULL) == EVENER_STATUS_OK;
    json_t *failures = json_object();
    json_t *backends = json_array();
    json_t *buckets = json_array();
    pthread_mutex_lock(&stats->mutex);
    histogram *whole = whole_latency(stats);
    if (whole != NULL) {
        qsort(stats->backends, stats->backend_count, sizeof(load_backend *), by_address);
        for (unsigned code = 0; code < LOAD_STATUS_CODES; code++) {
            if (stats->failures[code] > 0) {
                json_object_set_new(failures, evener_status_code_name((evener_status_code)code),
                                    json_integer((json_int_t)stats->failures[code]));
            }
        }
        for (size_t i = 0; i < stats->backend_count; i++) {
            json_array_append_new(backends, backend_json(stats->backends[i]));
        }
        histogram_visit(whole, add_bucket, buckets);
        cli_print_json(json_pack("{s:I, s:I, s:f, s:o, s:o, s:o, s:O, s:O, s:o, s:f, s:s?, s:O}", "calls",
                                 (json_int_t)stats->calls, "failed", (json_int_t)stats->failed, "calls_per_s",
                                 (double)stats->calls / elapsed_s, "p50_us", latency_json(whole, 0.5), "p99_us",
                                 latency_json(whole, 0.99), "p999_us", latency_json(whole, 0.999), "failures", failures,
                                 "backends", backends, "max_us", latency_json(whole, 1), "duration_s", elapsed_s,
                                 "policy", has_states ? seen.policy : NULL, "histogram", buckets));
    }
    free(whole);
    pthread_mutex_unlock(&stats->mutex);
    json_decref(failures);
    json_decref(backends);
    json_decref(buckets);
    if (has_states) {
        evener_channel_stats_clear(&seen);
    }
}
