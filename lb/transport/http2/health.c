/* IMPLEMENTATION NOTES
 *
 * One server-streaming call of grpc.health.v1.Health/Watch per watched connection, made through the transport's own
 * table of functions. Its events arrive on the thread that owns the connection: they store the latest result and post a
 * task; all other state belongs to the control thread. Tasks run in the order of their posts, so that of the end is the
 * last of its call: it may free the watch. (With one task for both, the run for a message could see the end before its
 * event had posted.)
 *
 *   a message     SERVING: READY; any other status: TRANSIENT_FAILURE
 *   the end       UNIMPLEMENTED: READY for good, the server knows no health checking; anything else:
 *                 TRANSIENT_FAILURE, and a new call, at once if there was a message, otherwise after a
 *                 connection's backoff
 *
 * The call is a background call: blocking callers may own the connection while it is open. */
#include "lb/transport/http2/health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/backoff.h>
#include <evener/log.h>

#include "lb/base/health_message.h"
#include "lb/transport/http2/internal.h"

typedef struct evener_http2_health health;

/* The latest message. */
enum { IS_SERVING = 1, IS_NOT_SERVING = 2, IS_UNREADABLE = 3 };

struct evener_http2_health {
    evener_http2_call call;        /* first: aligned as the seam asks for */
    evener_connection *connection; /* a reference */
    health *next;                  /* watch of the connection */
    evener_bytes request;
    uint8_t request_at[EVENER_HEALTH_REQUEST_BYTES_MAX];
    void (*health_changed)(void *arg, evener_connectivity_state state, const evener_status *status);
    void *arg;
    bool stopped;
    bool is_calling; /* the end was not handled yet */
    bool had_message;
    evener_timer retry;
    evener_backoff backoff; /* between calls, as for connections */

    /* from the call's events to the control thread */
    _Atomic uint32_t news;
    evener_status end; /* written before `ended_task` is posted */
    evener_task news_task, ended_task;
};

/* ---- events of the call; the thread that owns the connection ---- */

static void on_message(evener_transport_call *call, evener_bytes *message)
{
    health *self = call->arg;
    bool serving = false;
    const bool readable = evener_health_response_parse(message->data, message->length, &serving);
    evener_bytes_clear(message);
    atomic_store(&self->news, !readable ? IS_UNREADABLE : serving ? IS_SERVING : IS_NOT_SERVING);
    evener_http2_calls.call_read(call);
    (void)evener_loop_post(self->connection->loop, &self->news_task);
}

static void on_written(evener_transport_call *call)
{
    (void)call;
}

static void on_ended(evener_transport_call *call, const evener_call_end *end)
{
    health *self = call->arg;
    evener_status_set(&self->end, end->code, "%s", end->message);
    (void)evener_loop_post(self->connection->loop, &self->ended_task); /* its run may free `self` */
}

static const evener_call_events events = {
    .size = sizeof events, .message = on_message, .written = on_written, .ended = on_ended};

/* ---- the control thread ---- */

static void destroy(health *self)
{
    evener_http2_connection_unref(self->connection);
    free(self);
}

static void report(health *self, evener_connectivity_state state, const char *reason)
{
    evener_status status;
    evener_status_clear(&status);
    if (state == EVENER_TRANSIENT_FAILURE) {
        evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "backend %s is unhealthy: %s", self->connection->address,
                          reason);
    }
    if (!self->stopped) {
        self->health_changed(self->arg, state, &status);
    }
}

static void call_start(health *self)
{
    const evener_transport_calls *calls = &evener_http2_calls;
    const evener_call_begin_args args = {
        .size = sizeof args,
        .events = &events,
        .method = EVENER_HEALTH_METHOD,
        .deadline_ns = UINT64_MAX,
        .background = true,
    };
    evener_status ignored;
    if (calls->call_begin(self->connection, &self->call.base, &args, &ignored) != EVENER_STATUS_OK) {
        return; /* the connection is going: its owner stops this watch */
    }
    self->is_calling = true;
    self->had_message = false;
    calls->call_write(&self->call.base, &self->request, true);
    calls->call_read(&self->call.base);
}

static void retry(void *arg)
{
    health *self = arg;
    call_start(self);
    report(self, EVENER_CONNECTING, "");
}

static void schedule_retry(health *self)
{
    evener_loop *loop = self->connection->loop;
    const uint64_t delay_ns = evener_backoff_next_ns(&self->backoff, NULL, loop);
    evener_timer_start(loop, &self->retry, self->had_message ? 0 : delay_ns);
}

static void message_received(void *arg)
{
    health *self = arg;
    const uint32_t news = atomic_load(&self->news);
    self->had_message = true;
    evener_backoff_reset(&self->backoff);
    report(self, news == IS_SERVING ? EVENER_READY : EVENER_TRANSIENT_FAILURE,
           news == IS_UNREADABLE ? "its health service sent what cannot be read"
                                 : "its health service does not say SERVING");
}

static void call_over(void *arg)
{
    health *self = arg;
    self->is_calling = false;
    if (self->stopped) {
        destroy(self);
        return;
    }
    if (self->end.code == EVENER_STATUS_UNIMPLEMENTED) {
        evener_log(EVENER_LOG_INFO, "health", "%s has no health service: taken as healthy", self->connection->address);
        report(self, EVENER_READY, "");
        return;
    }
    char reason[EVENER_STATUS_MESSAGE_BYTES + 64];
    snprintf(reason, sizeof reason, "its health service ended with %s: %s", evener_status_code_name(self->end.code),
             self->end.message);
    schedule_retry(self);
    report(self, EVENER_TRANSIENT_FAILURE, reason);
}

/* ---- life ---- */

static void stop(evener_connection *connection, health *self)
{
    self->stopped = true;
    evener_timer_stop(connection->loop, &self->retry);
    if (self->is_calling) {
        evener_http2_calls.call_cancel(&self->call.base, EVENER_STATUS_CANCELLED, "no longer watched");
    } else {
        destroy(self);
    }
}

void evener_http2_health_stop(evener_connection *connection)
{
    while (connection->health != NULL) {
        health *first = connection->health;
        connection->health = first->next;
        stop(connection, first);
    }
}

static void stop_watch_of(evener_connection *connection, const void *arg)
{
    health **place = &connection->health;
    while (*place != NULL && (*place)->arg != arg) {
        place = &(*place)->next;
    }
    if (*place != NULL) {
        health *found = *place;
        *place = found->next;
        stop(connection, found);
    }
}

evener_status_code evener_http2_health_watch(
    evener_transport *transport, evener_connection *connection, const char *service,
    void (*health_changed)(void *arg, evener_connectivity_state state, const evener_status *status), void *arg)
{
    (void)transport;
    stop_watch_of(connection, arg);
    if (service == NULL) {
        return EVENER_STATUS_OK;
    }
    if (strlen(service) > EVENER_HEALTH_SERVICE_BYTES_MAX) {
        return EVENER_STATUS_INVALID_ARGUMENT;
    }
    health *self = evener_cache_aligned_calloc(sizeof *self);
    if (self == NULL) {
        return EVENER_STATUS_RESOURCE_EXHAUSTED;
    }
    evener_http2_connection_ref(connection);
    self->connection = connection;
    self->call.base.arg = self;
    const size_t request_bytes = evener_health_request_write(service, self->request_at);
    self->request = (evener_bytes){.data = self->request_at, .length = request_bytes};
    self->health_changed = health_changed;
    self->arg = arg;
    self->retry = (evener_timer)EVENER_TIMER_INIT(retry, self);
    self->news_task = (evener_task)EVENER_TASK_INIT(message_received, self);
    self->ended_task = (evener_task)EVENER_TASK_INIT(call_over, self);
    self->next = connection->health;
    connection->health = self;
    call_start(self);
    return EVENER_STATUS_OK;
}
