/* IMPLEMENTATION NOTES
 *
 * One server-streaming call of grpc.health.v1.Health/Watch for each connection that is watched. Its operations complete
 * on the watcher's thread, which only posts them: all state is the control thread's.
 *
 *   a message     SERVING: READY; any other status: TRANSIENT_FAILURE
 *   the end       UNIMPLEMENTED: READY for good, the server knows no health checking; anything else:
 *                 TRANSIENT_FAILURE, and a new call, at once if there was a message, otherwise after a
 *                 connection's backoff */
#include "lb/transport/grpc/health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>

#include <evener/backoff.h>
#include <evener/log.h>

#include "lb/base/health_message.h"
#include "lb/base/memory.h"
#include "lb/transport/grpc/connection.h"

typedef struct evener_grpc_health health;

/* One operation in flight: completed by the watcher's thread, handled by the control thread. */
typedef struct operation {
    evener_grpc_tag tag;
    evener_task task;
    health *owner;
    void (*handle)(health *self, bool ok);
    bool ok;
} operation;

struct evener_grpc_health {
    evener_connection *connection; /* a reference */
    health *next;                  /* watch of the connection */
    grpc_slice request;
    void (*health_changed)(void *arg, evener_connectivity_state state, const evener_status *status);
    void *arg;
    bool stopped;

    grpc_call *call; /* NULL between calls */
    bool had_message;
    bool ended;
    bool attended;        /* the watcher polls for this watch */
    uint32_t outstanding; /* operations, the posted start included */
    operation starting;
    operation message_operation;
    operation end;
    grpc_byte_buffer *message;
    grpc_metadata_array initial_metadata;
    grpc_metadata_array trailing_metadata;
    grpc_status_code code;
    grpc_slice details;

    evener_timer retry;
    evener_backoff backoff; /* between calls, as for connections */
};

/* ---- operations ---- */

static void destroy(health *self)
{
    grpc_slice_unref(self->request);
    evener_grpc_connection_unref(self->connection);
    free(self);
}

static void call_over(health *self);

static void operation_on_control_thread(void *arg)
{
    operation *done = arg;
    health *self = done->owner;
    done->handle(self, done->ok);
    self->outstanding--; /* after the handler, which may otherwise free the watch */
    if (self->outstanding != 0) {
        return;
    }
    if (self->call != NULL && self->ended) {
        call_over(self);
    } else if (self->stopped) {
        destroy(self);
    }
}

static void operation_completed(evener_grpc_tag *tag, bool ok)
{
    operation *done = EVENER_CONTAINER_OF(tag, operation, tag);
    done->ok = ok;
    evener_loop_post(done->owner->connection->loop, &done->task);
}

static void operation_init(operation *made, health *self, void (*handle)(health *self, bool ok))
{
    made->tag.done = operation_completed;
    made->task = (evener_task)EVENER_TASK_INIT(operation_on_control_thread, made);
    made->owner = self;
    made->handle = handle;
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

static void attend(health *self, bool wanted)
{
    evener_grpc_watcher *watcher = self->connection->engine->watcher;
    if (wanted && !self->attended) {
        evener_grpc_watcher_attend(watcher);
    } else if (!wanted && self->attended) {
        evener_grpc_watcher_release(watcher);
    }
    self->attended = wanted;
}

static void start(health *self, const grpc_op *operations, size_t count, operation *what)
{
    evener_grpc_watcher *watcher = self->connection->engine->watcher;
    EVENER_GRPC_HANDS_OVER(&what->tag);
    evener_grpc_watcher_expect(watcher);
    if (grpc_call_start_batch(self->call, operations, count, &what->tag, NULL) == GRPC_CALL_OK) {
        self->outstanding++;
    } else {
        evener_grpc_watcher_forget(watcher);
    }
}

static void read_next(health *self)
{
    grpc_op receive = {.op = GRPC_OP_RECV_MESSAGE};
    receive.data.recv_message.recv_message = &self->message;
    start(self, &receive, 1, &self->message_operation);
}

static void message_received(health *self, bool ok)
{
    if (self->message == NULL) {
        return; /* the end follows */
    }
    bool serving = false;
    bool readable = ok;
    grpc_byte_buffer_reader reader;
    if (ok && grpc_byte_buffer_reader_init(&reader, self->message)) {
        grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
        readable = evener_health_response_parse(GRPC_SLICE_START_PTR(whole), GRPC_SLICE_LENGTH(whole), &serving);
        grpc_slice_unref(whole);
        grpc_byte_buffer_reader_destroy(&reader);
    }
    grpc_byte_buffer_destroy(self->message);
    self->message = NULL;
    self->had_message = true;
    attend(self, false);
    if (self->stopped) {
        return; /* at the end of the runtime this runs after the shutdown of the watcher's queue: start nothing on it */
    }
    evener_backoff_reset(&self->backoff);
    read_next(self);
    report(self, serving ? EVENER_READY : EVENER_TRANSIENT_FAILURE,
           readable ? "its health service does not say SERVING" : "its health service sent what cannot be read");
}

static void schedule_retry(health *self)
{
    evener_loop *loop = self->connection->loop;
    const uint64_t delay_ns = evener_backoff_next_ns(&self->backoff, NULL, loop);
    evener_timer_start(loop, &self->retry, self->had_message ? 0 : delay_ns);
}

static void call_ended(health *self, bool ok)
{
    (void)ok; /* a status always arrives */
    self->ended = true;
}

/* End the call, after all its operations. May free `self`: must be the caller's last use of it. */
static void call_over(health *self)
{
    attend(self, false);
    char *details = grpc_slice_to_c_string(self->details);
    grpc_slice_unref(self->details);
    grpc_metadata_array_destroy(&self->initial_metadata);
    grpc_metadata_array_destroy(&self->trailing_metadata);
    grpc_call_unref(self->call);
    self->call = NULL;
    if (self->stopped) {
        gpr_free(details);
        destroy(self);
        return;
    }
    if (self->code == GRPC_STATUS_UNIMPLEMENTED) {
        evener_log(EVENER_LOG_INFO, "health", "%s has no health service: taken as healthy", self->connection->address);
        gpr_free(details);
        report(self, EVENER_READY, "");
    } else {
        char reason[EVENER_STATUS_MESSAGE_BYTES];
        snprintf(reason, sizeof reason, "its health service ended with %s: %s",
                 evener_status_code_name((evener_status_code)self->code), details);
        gpr_free(details);
        schedule_retry(self);
        report(self, EVENER_TRANSIENT_FAILURE, reason);
    }
}

static void call_start(health *self)
{
    if (self->stopped || !evener_grpc_connection_enter(self->connection)) {
        return; /* the connection was given up: its owner stops this watch */
    }
    self->call = grpc_channel_create_call(
        self->connection->channel, NULL, 0, evener_grpc_watcher_queue(self->connection->engine->watcher),
        grpc_slice_from_static_string(EVENER_HEALTH_METHOD), NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    evener_grpc_connection_leave(self->connection);
    self->had_message = false;
    self->ended = false;
    attend(self, true);
    self->message = NULL;
    self->details = grpc_empty_slice();
    grpc_metadata_array_init(&self->initial_metadata);
    grpc_metadata_array_init(&self->trailing_metadata);

    grpc_slice slice = grpc_slice_ref(self->request);
    grpc_byte_buffer *request = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    /* The status always arrives, so the sending batch can share its completion with the first message. */
    grpc_op operations[5] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                             {.op = GRPC_OP_SEND_MESSAGE},
                             {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
                             {.op = GRPC_OP_RECV_INITIAL_METADATA},
                             {.op = GRPC_OP_RECV_MESSAGE}};
    operations[1].data.send_message.send_message = request;
    operations[3].data.recv_initial_metadata.recv_initial_metadata = &self->initial_metadata;
    operations[4].data.recv_message.recv_message = &self->message;
    start(self, operations, 5, &self->message_operation);
    grpc_byte_buffer_destroy(request);

    grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    status.data.recv_status_on_client.trailing_metadata = &self->trailing_metadata;
    status.data.recv_status_on_client.status = &self->code;
    status.data.recv_status_on_client.status_details = &self->details;
    start(self, &status, 1, &self->end);
}

static void first_start(health *self, bool ok)
{
    (void)ok;
    call_start(self);
}

static void retry(void *arg)
{
    health *self = arg;
    call_start(self);
    report(self, EVENER_CONNECTING, "");
}

/* ---- life ---- */

static void stop(evener_connection *connection, health *self)
{
    self->stopped = true;
    evener_timer_stop(connection->loop, &self->retry);
    if (self->call != NULL) {
        grpc_call_cancel(self->call, NULL);
        evener_grpc_watcher_wake(connection->engine->watcher);
    }
    if (self->outstanding == 0) {
        destroy(self);
    }
}

void evener_grpc_health_stop(evener_connection *connection)
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

evener_status_code evener_grpc_health_watch(
    evener_transport *transport, evener_connection *connection, const char *service,
    void (*health_changed)(void *arg, evener_connectivity_state health, const evener_status *status), void *arg)
{
    (void)transport;
    stop_watch_of(connection, arg);
    if (service == NULL) {
        return EVENER_STATUS_OK;
    }
    if (strlen(service) > EVENER_HEALTH_SERVICE_BYTES_MAX) {
        return EVENER_STATUS_INVALID_ARGUMENT;
    }
    health *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return EVENER_STATUS_RESOURCE_EXHAUSTED;
    }
    evener_grpc_connection_ref(connection);
    self->connection = connection;
    uint8_t request[EVENER_HEALTH_REQUEST_BYTES_MAX];
    const size_t request_bytes = evener_health_request_write(service, request);
    self->request = grpc_slice_from_copied_buffer((const char *)request, request_bytes);
    self->health_changed = health_changed;
    self->arg = arg;
    self->retry = (evener_timer)EVENER_TIMER_INIT(retry, self);
    operation_init(&self->starting, self, first_start);
    operation_init(&self->message_operation, self, message_received);
    operation_init(&self->end, self, call_ended);
    self->next = connection->health;
    connection->health = self;
    self->outstanding = 1;
    evener_loop_post(connection->loop, &self->starting.task);
    return EVENER_STATUS_OK;
}
