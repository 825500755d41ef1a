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
        free(stats->backends[i]->failures);
        free(stats->backends[i]);
    }
    free(stats->nowhere.failures);
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

/* Return the index of the first backend whose address is not less, or the count. */
static size_t place_of(const load_stats *stats, const char *address)
{
    size_t low = 0;
    size_t high = stats->backend_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(stats->backends[middle]->address, address) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Make room for one more backend. False: out of memory. */
static bool grow(load_stats *stats)
{
    if (stats->backend_count < stats->backend_room) {
        return true;
    }
    const size_t room = stats->backend_room > 0 ? 2 * stats->backend_room : 16;
    load_backend **grown = realloc(stats->backends, room * sizeof *grown);
    if (grown != NULL) {
        stats->backends = grown;
        stats->backend_room = room;
    }
    return grown != NULL;
}

static load_backend *backend_of(load_stats *stats, const char *address)
{
    if (address[0] == '\0') {
        return &stats->nowhere;
    }
    const size_t place = place_of(stats, address);
    if (place < stats->backend_count && strcmp(stats->backends[place]->address, address) == 0) {
        return stats->backends[place];
    }
    load_backend *backend = grow(stats) ? calloc(1, sizeof *backend) : NULL;
    if (backend == NULL) {
        return &stats->nowhere;
    }
    snprintf(backend->address, sizeof backend->address, "%s", address);
    load_backend **at = stats->backends + place;
    memmove(at + 1, at, (stats->backend_count - place) * sizeof *at);
    *at = backend;
    stats->backend_count++;
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
    }
    histogram_add(&stats->interval, latency_ns);
    backend->calls++;
    backend->failed += failed;
    if (failed && backend->failures == NULL) {
        backend->failures = calloc(1, sizeof *backend->failures); /* without it the percentiles lack the call */
    }
    histogram *latencies = failed ? backend->failures : &backend->succeeded;
    if (latencies != NULL) {
        histogram_add(latencies, latency_ns);
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

/* Latencies of successful calls, and of all calls. */
typedef struct latencies {
    histogram succeeded, all;
} latencies;

static void latencies_add(latencies *into, const load_backend *b)
{
    histogram_merge(&into->succeeded, &b->succeeded);
    histogram_merge(&into->all, &b->succeeded);
    if (b->failures != NULL) {
        histogram_merge(&into->all, b->failures);
    }
}

/* What the outputs print: the backends that had calls or that the channel has, by address, and their latencies. */
typedef struct view {
    const load_stats *stats;
    evener_channel_stats channel;
    bool has_states;
    latencies *whole, *one; /* of all backends; of the one that is printed */
} view;

/* Find or add the backends that the channel has, those without calls included, and their states. */
static void add_states(load_stats *stats, const evener_channel_stats *channel)
{
    for (size_t i = 0; i < channel->subchannel_count; i++) {
        load_backend *backend = backend_of(stats, channel->subchannels[i].address);
        if (backend != &stats->nowhere && backend->state == NULL) {
            backend->state = &channel->subchannels[i];
        }
    }
}

/* Open a view; the stats stay locked until view_close(). False: out of memory. */
static bool view_open(view *v, load_stats *stats, evener_channel *channel)
{
    *v = (view){.stats = stats,
                .channel = {.size = sizeof v->channel, .subchannel_bytes = sizeof *v->channel.subchannels},
                .whole = calloc(1, sizeof *v->whole),
                .one = calloc(1, sizeof *v->one)};
    v->has_states = evener_channel_get_stats(channel, &v->channel, NULL) == EVENER_STATUS_OK;
    pthread_mutex_lock(&stats->mutex);
    if (v->has_states) {
        add_states(stats, &v->channel);
    }
    if (v->whole == NULL || v->one == NULL) {
        return false;
    }
    for (size_t i = 0; i < stats->backend_count; i++) {
        latencies_add(v->whole, stats->backends[i]);
    }
    latencies_add(v->whole, &stats->nowhere);
    return true;
}

static void view_close(view *v, load_stats *stats)
{
    for (size_t i = 0; i < stats->backend_count; i++) {
        stats->backends[i]->state = NULL;
    }
    pthread_mutex_unlock(&stats->mutex);
    free(v->whole);
    free(v->one);
    if (v->has_states) {
        evener_channel_stats_clear(&v->channel);
    }
}

/* Return the latencies of a backend; they are valid until the next call. */
static const latencies *latencies_of(view *v, const load_backend *b)
{
    *v->one = (latencies){{0}, {0}};
    latencies_add(v->one, b);
    return v->one;
}

static void print_row(view *v, FILE *to, const load_backend *b)
{
    const evener_subchannel_stats *state = b->state;
    const char *name = b->address[0] != '\0' ? b->address : "(no backend)";
    const char *note = state != NULL ? state->note : "";
    const latencies *both = latencies_of(v, b);
    /* A backend that fails at once must not look like the fastest one. */
    const histogram *latency = both->succeeded.count > 0 ? &both->all : &both->succeeded;
    char printable[EVENER_ADDRESS_BYTES_MAX];
    (void)evener_printable(name, strlen(name), printable, sizeof printable);
    char p50[LATENCY_BYTES];
    char p99[LATENCY_BYTES];
    char p999[LATENCY_BYTES];
    fprintf(to, "%-28s %10llu %6.1f%% %9s %9s %9s %9llu  %s%s", printable, (unsigned long long)b->calls,
            v->stats->calls > 0 ? 100.0 * (double)b->calls / (double)v->stats->calls : 0.0,
            latency_text(latency, 0.5, p50), latency_text(latency, 0.99, p99), latency_text(latency, 0.999, p999),
            (unsigned long long)b->failed, state != NULL ? evener_connectivity_state_name(state->state) : "-",
            note[0] != '\0' ? "  " : "");
    cli_puts_foreign(to, note);
    fputc('\n', to);
}

static void print_latencies(FILE *to, const histogram *latency)
{
    char p50[LATENCY_BYTES];
    char p99[LATENCY_BYTES];
    char p999[LATENCY_BYTES];
    char maximum[LATENCY_BYTES];
    fprintf(to, "p50 %s ms, p99 %s ms, p99.9 %s ms, max %s ms\n", latency_text(latency, 0.5, p50),
            latency_text(latency, 0.99, p99), latency_text(latency, 0.999, p999), latency_text(latency, 1, maximum));
}

static void print_failures(FILE *to, const load_stats *stats)
{
    fprintf(to, "%llu failed", (unsigned long long)stats->failed);
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

void load_stats_print_table(load_stats *stats, FILE *to, evener_channel *channel, const load_run *run)
{
    view v;
    if (view_open(&v, stats, channel)) {
        fprintf(to, "%-28s %10s %7s %9s %9s %9s %9s  %s\n", "backend", "calls", "share", "p50 ms", "p99 ms", "p99.9 ms",
                "failed", "state");
        for (size_t i = 0; i < stats->backend_count; i++) {
            print_row(&v, to, stats->backends[i]);
        }
        if (stats->nowhere.calls > 0) {
            print_row(&v, to, &stats->nowhere);
        }
        fprintf(to, "\n%llu calls in %.1f s, %.0f/s; ", (unsigned long long)stats->calls, run->elapsed_s,
                (double)stats->calls / run->window_s);
        print_latencies(to, &v.whole->all);
        if (stats->failed > 0) {
            fputs("successful calls only: ", to);
            print_latencies(to, &v.whole->succeeded);
        }
        if (run->asked_rate > 0) {
            fprintf(to, "asked for %.6g/s, achieved %.6g/s; %llu calls that were due were not started\n",
                    run->asked_rate, run->achieved_rate, (unsigned long long)run->not_started);
        }
        fprintf(to, "policy %s; ", v.has_states ? v.channel.policy : "?");
        print_failures(to, stats);
    }
    view_close(&v, stats);
}

/* ---- JSON ---- */

static void set_latencies(json_t *object, const char *prefix, const histogram *h)
{
    static const struct {
        const char *name;
        double share;
    } quantiles[] = {{"p50_us", 0.5}, {"p99_us", 0.99}, {"p999_us", 0.999}, {"max_us", 1}};
    char key[32];
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
        snprintf(key, sizeof key, "%s%s", prefix, quantiles[i].name);
        json_object_set_new(object, key,
                            h->count > 0 ? json_real((double)histogram_quantile(h, quantiles[i].share) / 1e3)
                                         : json_null());
    }
    snprintf(key, sizeof key, "%smean_us", prefix);
    json_object_set_new(object, key, h->count > 0 ? json_real(histogram_mean(h) / 1e3) : json_null());
}

static json_t *backend_json(view *v, const load_backend *b)
{
    const evener_subchannel_stats *state = b->state;
    const latencies *both = latencies_of(v, b);
    json_t *row = json_pack("{s:o, s:I, s:I}", "address", cli_json_text(b->address, strlen(b->address)), "calls",
                            (json_int_t)b->calls, "failed", (json_int_t)b->failed);
    set_latencies(row, "", &both->all);
    set_latencies(row, "ok_", &both->succeeded);
    json_object_set_new(row, "state",
                        state != NULL ? json_string(evener_connectivity_state_name(state->state)) : json_null());
    return row;
}

static void add_bucket(void *arg, uint64_t up_to_ns, uint64_t count)
{
    json_array_append_new(arg, json_pack("{s:f, s:I}", "up_to_us", (double)up_to_ns / 1e3, "count", (json_int_t)count));
}

static json_t *failures_json(const load_stats *stats)
{
    json_t *failures = json_object();
    for (unsigned code = 0; code < LOAD_STATUS_CODES; code++) {
        if (stats->failures[code] > 0) {
            json_object_set_new(failures, evener_status_code_name((evener_status_code)code),
                                json_integer((json_int_t)stats->failures[code]));
        }
    }
    return failures;
}

static json_t *rate_json(const load_run *run, double rate)
{
    return run->asked_rate > 0 ? json_real(rate) : json_null();
}

void load_stats_print_json(load_stats *stats, evener_channel *channel, const load_run *run)
{
    view v;
    if (view_open(&v, stats, channel)) {
        json_t *backends = json_array();
        json_t *buckets = json_array();
        json_array_append_new(backends, backend_json(&v, &stats->nowhere));
        for (size_t i = 0; i < stats->backend_count; i++) {
            json_array_append_new(backends, backend_json(&v, stats->backends[i]));
        }
        histogram_visit(&v.whole->succeeded, add_bucket, buckets);
        json_t *result = json_pack("{s:I, s:I, s:f}", "calls", (json_int_t)stats->calls, "failed",
                                   (json_int_t)stats->failed, "calls_per_s", (double)stats->calls / run->window_s);
        set_latencies(result, "", &v.whole->all);
        json_object_set_new(result, "failures", failures_json(stats));
        json_object_set_new(result, "backends", backends);
        set_latencies(result, "ok_", &v.whole->succeeded);
        json_object_update_new(
            result, json_pack("{s:f, s:s?, s:o, s:f, s:o, s:o, s:I}", "duration_s", run->window_s, "policy",
                              v.has_states ? v.channel.policy : NULL, "histogram", buckets, "elapsed_s", run->elapsed_s,
                              "asked_rate", rate_json(run, run->asked_rate), "achieved_rate",
                              rate_json(run, run->achieved_rate), "not_started", (json_int_t)run->not_started));
        cli_print_json(result);
    }
    view_close(&v, stats);
}
