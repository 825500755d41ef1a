/* IMPLEMENTATION NOTES
 *
 * A stream is one call on one connection, of which it holds a reference. Its events come on a thread of the transport:
 * they keep the latest report and the end under the stream's mutex, and post tasks. Everything else belongs to the
 * control thread. `ended_task` is posted once and after every `report_task`, and tasks run in order, so its run may
 * free the stream.
 *
 *   a report      passed to all watchers; resets the backoff
 *   the end       UNIMPLEMENTED: no further stream over this connection; anything else: another stream after a
 *                 connection's backoff
 *   other watch   if the shortest interval changes, the stream is replaced, as the interval is part of its request
 *
 * A stream counts as a link of the pool, so the channel's end waits until the transport has reported the stream's
 * end. */
#include "lb/backend/load_reports.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <evener/backoff.h>
#include <evener/log.h>

#include "lb/base/memory.h"

#define METHOD "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"
/* OrcaLoadReportRequest {report_interval = 1: Duration {seconds = 1, nanos = 2}}: four tags or lengths of one byte and
 * two varints of at most 10 bytes. */
#define REQUEST_BYTES_MAX 24
/* A longer report is not taken, and ends the stream. */
#define REPORT_BYTES_MAX 65536
#define LENGTH_DELIMITED 2

typedef struct watcher {
    evener_subchannel_body *subchannel;
    uint64_t interval_ms;
    void (*load_reported)(void *arg, evener_subchannel *subchannel, const void *report, size_t report_bytes);
    void *arg;
    struct watcher *next;
} watcher;

typedef struct stream {
    evener_load_reports *owner; /* NULL after it was stopped */
    evener_subchannel_pool *pool;
    evener_connection *connection; /* a reference */
    evener_transport_call *call;   /* owned memory */
    evener_bytes request;
    uint8_t request_at[REQUEST_BYTES_MAX];
    evener_task report_task, ended_task;
    pthread_mutex_t mutex; /* for the members below, and for functions of the call against its end */
    evener_bytes latest;   /* a report that was not passed on yet */
    bool has_report;
    bool has_ended;
    evener_status end;
} stream;

struct evener_load_reports {
    evener_subchannel_pool *pool;
    const evener_address *address;
    evener_connection *connection; /* the one in service, or NULL */
    watcher *watchers;
    uint64_t interval_ms; /* of the stream, or of the next one: the watchers' shortest */
    stream *stream;       /* or NULL */
    bool is_unsupported;  /* by the server of this connection */
    evener_timer retry;
    evener_backoff backoff; /* between streams, as for connections */
};

static const evener_transport_calls *calls_of(const stream *self)
{
    return self->pool->transport->vtable->calls;
}

/* ---- events of the call; a thread of the transport ---- */

static void on_message(evener_transport_call *call, evener_bytes *message)
{
    stream *self = call->arg;
    pthread_mutex_lock(&self->mutex);
    evener_bytes replaced = self->latest;
    self->latest = *message;
    self->has_report = true;
    pthread_mutex_unlock(&self->mutex);
    evener_bytes_clear(&replaced);
    calls_of(self)->call_read(call);
    (void)evener_loop_post(self->pool->loop, &self->report_task);
}

static void on_written(evener_transport_call *call)
{
    (void)call;
}

static void on_ended(evener_transport_call *call, const evener_call_end *end)
{
    stream *self = call->arg;
    pthread_mutex_lock(&self->mutex);
    self->has_ended = true;
    evener_status_set(&self->end, end->code, "%s", end->message);
    pthread_mutex_unlock(&self->mutex);
    (void)evener_loop_post(self->pool->loop, &self->ended_task); /* its run frees `self` */
}

static const evener_call_events events = {
    .size = sizeof events, .message = on_message, .written = on_written, .ended = on_ended};

/* ---- one stream; the control thread ---- */

static void stream_free(stream *self)
{
    evener_subchannel_pool *pool = self->pool;
    if (self->connection != NULL) {
        pool->transport->vtable->connection_unref(self->connection);
    }
    evener_bytes_clear(&self->latest);
    pthread_mutex_destroy(&self->mutex);
    free(self->call);
    free(self);
    if (--pool->link_count == 0) {
        pool->drained(pool->arg);
    }
}

static void report_received(void *arg)
{
    stream *self = arg;
    pthread_mutex_lock(&self->mutex);
    evener_bytes report = self->latest;
    const bool has_report = self->has_report;
    self->latest = (evener_bytes){0};
    self->has_report = false;
    pthread_mutex_unlock(&self->mutex);
    evener_load_reports *reports = self->owner;
    if (reports != NULL && has_report) {
        evener_backoff_reset(&reports->backoff);
        for (watcher *w = reports->watchers, *next = NULL; w != NULL; w = next) {
            next = w->next; /* the watcher may end its own watch */
            w->load_reported(w->arg, w->subchannel->handle, report.data, report.length);
        }
    }
    evener_bytes_clear(&report);
}

static void stream_ended(void *arg)
{
    stream *self = arg;
    evener_load_reports *reports = self->owner;
    if (reports != NULL) {
        reports->stream = NULL;
        const char *text = evener_address_text(reports->address);
        if (self->end.code == EVENER_STATUS_UNIMPLEMENTED) {
            evener_log(EVENER_LOG_INFO, "load_reports", "%s has no service for out-of-band load reports: %s", text,
                       self->end.message);
            reports->is_unsupported = true;
        } else {
            evener_log(EVENER_LOG_DEBUG, "load_reports", "%s: the stream of load reports ended with %s: %s", text,
                       evener_status_code_name(self->end.code), self->end.message);
            evener_loop *loop = reports->pool->loop;
            evener_timer_start(loop, &reports->retry,
                               evener_backoff_next_ns(&reports->backoff, &reports->pool->backoff, loop));
        }
    }
    stream_free(self);
}

static size_t write_varint(uint8_t *to, uint64_t value)
{
    size_t used = 0;
    for (; value >= 0x80; value >>= 7) {
        to[used++] = (uint8_t)(value | 0x80);
    }
    to[used++] = (uint8_t)value;
    return used;
}

/* Write the request. Return its length. */
static size_t write_request(uint8_t request[REQUEST_BYTES_MAX], uint64_t interval_ms)
{
    size_t used = 2;
    const uint64_t nanos = interval_ms % 1000 * EVENER_NS_PER_MS;
    if (interval_ms >= 1000) {
        request[used++] = 1 << 3;
        used += write_varint(request + used, interval_ms / 1000);
    }
    if (nanos > 0) {
        request[used++] = 2 << 3;
        used += write_varint(request + used, nanos);
    }
    request[0] = 1 << 3 | LENGTH_DELIMITED;
    request[1] = (uint8_t)(used - 2);
    return used;
}

/* Make a stream without a call. NULL: out of memory. */
static stream *stream_create(evener_load_reports *reports)
{
    evener_subchannel_pool *pool = reports->pool;
    stream *self = calloc(1, sizeof *self);
    evener_transport_call *call = evener_cache_aligned_calloc(pool->transport->vtable->calls->call_bytes);
    if (self == NULL || call == NULL) {
        free(self);
        free(call);
        return NULL;
    }
    self->owner = reports;
    self->pool = pool;
    self->call = call;
    call->arg = self;
    self->request =
        (evener_bytes){.data = self->request_at, .length = write_request(self->request_at, reports->interval_ms)};
    self->report_task = (evener_task)EVENER_TASK_INIT(report_received, self);
    self->ended_task = (evener_task)EVENER_TASK_INIT(stream_ended, self);
    pthread_mutex_init(&self->mutex, NULL);
    pool->link_count++;
    return self;
}

/* Begin the call. False: the connection takes none, or out of memory. */
static bool stream_begin(stream *self, evener_connection *connection)
{
    if (!self->pool->transport->vtable->connection_ref(connection)) {
        return false;
    }
    self->connection = connection;
    const evener_transport_calls *calls = calls_of(self);
    const evener_call_begin_args args = {
        .size = sizeof args,
        .events = &events,
        .method = METHOD,
        .deadline_ns = UINT64_MAX,
        .receive_bytes_max = REPORT_BYTES_MAX,
        .background = true,
    };
    evener_status ignored;
    if (calls->call_begin(connection, self->call, &args, &ignored) != EVENER_STATUS_OK) {
        return false;
    }
    pthread_mutex_lock(&self->mutex);
    if (!self->has_ended) {
        calls->call_write(self->call, &self->request, true);
        calls->call_read(self->call);
    }
    pthread_mutex_unlock(&self->mutex);
    return true;
}

/* Cancel the call. The stream frees itself after the call's end. */
static void stream_stop(evener_load_reports *reports)
{
    stream *self = reports->stream;
    if (self == NULL) {
        return;
    }
    reports->stream = NULL;
    self->owner = NULL;
    pthread_mutex_lock(&self->mutex);
    if (!self->has_ended) {
        calls_of(self)->call_cancel(self->call, EVENER_STATUS_CANCELLED, "no longer watched");
    }
    pthread_mutex_unlock(&self->mutex);
}

/* ---- the streams of a backend ---- */

/* Open the stream if it is wanted and possible. */
static void start(void *arg)
{
    evener_load_reports *reports = arg;
    if (reports->stream != NULL || reports->connection == NULL || reports->watchers == NULL ||
        reports->is_unsupported) {
        return;
    }
    stream *self = stream_create(reports);
    if (self != NULL && stream_begin(self, reports->connection)) {
        reports->stream = self;
        return;
    }
    if (self != NULL) {
        stream_free(self);
    }
    evener_loop *loop = reports->pool->loop;
    evener_timer_start(loop, &reports->retry, evener_backoff_next_ns(&reports->backoff, &reports->pool->backoff, loop));
}

static void restart(evener_load_reports *reports)
{
    evener_timer_stop(reports->pool->loop, &reports->retry);
    stream_stop(reports);
    start(reports);
}

/* Take over the shortest interval of the watchers, with another stream if it has changed. */
static void settle_interval(evener_load_reports *reports)
{
    uint64_t shortest_ms = UINT64_MAX;
    for (const watcher *w = reports->watchers; w != NULL; w = w->next) {
        shortest_ms = w->interval_ms < shortest_ms ? w->interval_ms : shortest_ms;
    }
    if (shortest_ms != reports->interval_ms) {
        reports->interval_ms = shortest_ms;
        restart(reports);
    }
}

evener_load_reports *evener_load_reports_create(evener_subchannel_pool *pool, const evener_address *address,
                                                evener_connection *connection)
{
    evener_load_reports *reports = calloc(1, sizeof *reports);
    if (reports != NULL) {
        reports->pool = pool;
        reports->address = address;
        reports->connection = connection;
        reports->interval_ms = UINT64_MAX;
        reports->retry = (evener_timer)EVENER_TIMER_INIT(start, reports);
    }
    return reports;
}

void evener_load_reports_destroy(evener_load_reports *reports)
{
    if (reports == NULL) {
        return;
    }
    evener_timer_stop(reports->pool->loop, &reports->retry);
    stream_stop(reports);
    while (reports->watchers != NULL) {
        watcher *first = reports->watchers;
        reports->watchers = first->next;
        free(first);
    }
    free(reports);
}

bool evener_load_reports_watch(evener_load_reports *reports, evener_subchannel_body *subchannel, uint64_t interval_ms,
                               void (*load_reported)(void *arg, evener_subchannel *subchannel, const void *report,
                                                     size_t report_bytes),
                               void *arg)
{
    watcher *w = reports->watchers;
    while (w != NULL && w->subchannel != subchannel) {
        w = w->next;
    }
    if (w == NULL) {
        w = calloc(1, sizeof *w);
        if (w == NULL) {
            return false;
        }
        w->subchannel = subchannel;
        w->next = reports->watchers;
        reports->watchers = w;
    }
    w->interval_ms = interval_ms;
    w->load_reported = load_reported;
    w->arg = arg;
    settle_interval(reports);
    return true;
}

void evener_load_reports_unwatch(evener_load_reports *reports, const evener_subchannel_body *subchannel)
{
    watcher **link = &reports->watchers;
    while (*link != NULL && (*link)->subchannel != subchannel) {
        link = &(*link)->next;
    }
    watcher *gone = *link;
    if (gone != NULL) {
        *link = gone->next;
        free(gone);
        settle_interval(reports);
    }
}

void evener_load_reports_move(evener_load_reports *reports, evener_connection *connection)
{
    reports->connection = connection;
    reports->is_unsupported = false;
    evener_backoff_reset(&reports->backoff);
    restart(reports);
}
