/* IMPLEMENTATION NOTES
 *
 * One server-streaming call of grpc.health.v1.Health/Watch for each connection that is watched. Its operations complete
 * on the watcher's thread, which only posts them: all state is the control thread's.
 *
 *   a message     SERVING: READY; any other status: TRANSIENT_FAILURE
 *   the end       UNIMPLEMENTED: READY for good, the server knows no health checking; anything else:
 *                 TRANSIENT_FAILURE, and a new call, at once if there was a message, otherwise after a
 *                 connection's backoff
 *
 * The two messages are a field each: no protobuf library is needed for them. */
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

#include "lb/base/memory.h"
#include "lb/transport/grpc/connection.h"

#define HEALTH_METHOD "/grpc.health.v1.Health/Watch"
#define SERVICE_BYTES_MAX 4096
#define STATUS_SERVING 1

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
    grpc_slice service;
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

/* ---- messages ---- */

static bool read_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    uint64_t result = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        result |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *value = result;
            return true;
        }
    }
    return false;
}

/* Pass over a field that is not known (protobuf encoding: wire types). */
static bool skip_field(const uint8_t **at, const uint8_t *end, uint64_t wire_type)
{
    uint64_t bytes = 0;
    switch (wire_type) {
    case 0:
        return read_varint(at, end, &bytes);
    case 1:
        bytes = 8;
        break;
    case 2:
        if (!read_varint(at, end, &bytes)) {
            return false;
        }
        break;
    case 5:
        bytes = 4;
        break;
    default:
        return false;
    }
    if (bytes > (uint64_t)(end - *at)) {
        return false;
    }
    *at += bytes;
    return true;
}

bool evener_grpc_health_parse(const uint8_t *message, size_t bytes, bool *serving)
{
    const uint8_t *end = message + bytes;
    uint64_t found = 0;
    while (message < end) {
        uint64_t key;
        if (!read_varint(&message, end, &key)) {
            return false;
        }
        bool is_status = key == (1 << 3);
        if (is_status ? !read_varint(&message, end, &found) : !skip_field(&message, end, key & 7)) {
            return false;
        }
    }
    *serving = found == STATUS_SERVING;
    return true;
}

/* HealthCheckRequest{service = 1}. */
static grpc_slice encode_request(const char *service)
{
    size_t bytes = strlen(service);
    uint8_t head[8];
    size_t head_bytes = 0;
    head[head_bytes++] = (1 << 3) | 2;
    size_t rest = bytes;
    for (; rest >= 0x80; rest >>= 7) {
        head[head_bytes++] = (uint8_t)(rest | 0x80);
    }
    head[head_bytes++] = (uint8_t)rest;
    grpc_slice request = grpc_slice_malloc(head_bytes + bytes);
    memcpy(GRPC_SLICE_START_PTR(request), head, head_bytes);
    memcpy(GRPC_SLICE_START_PTR(request) + head_bytes, service, bytes);
    return request;
}

/* ---- operations ---- */

static void destroy(health *self)
{
    grpc_slice_unref(self->service);
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
        readable = evener_grpc_health_parse(GRPC_SLICE_START_PTR(whole), GRPC_SLICE_LENGTH(whole), &serving);
        grpc_slice_unref(whole);
        grpc_byte_buffer_reader_destroy(&reader);
    }
    grpc_byte_buffer_destroy(self->message);
    self->message = NULL;
    self->had_message = true;
    attend(self, false);
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
        grpc_slice_from_static_string(HEALTH_METHOD), NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    evener_grpc_connection_leave(self->connection);
    self->had_message = false;
    self->ended = false;
    attend(self, true);
    self->message = NULL;
    self->details = grpc_empty_slice();
    grpc_metadata_array_init(&self->initial_metadata);
    grpc_metadata_array_init(&self->trailing_metadata);

    grpc_slice service = grpc_slice_ref(self->service);
    grpc_byte_buffer *request = grpc_raw_byte_buffer_create(&service, 1);
    grpc_slice_unref(service);
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

void evener_grpc_health_stop(evener_connection *connection)
{
    health *self = connection->health;
    if (self == NULL) {
        return;
    }
    connection->health = NULL;
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

evener_status_code evener_grpc_health_watch(
    evener_transport *transport, evener_connection *connection, const char *service,
    void (*health_changed)(void *arg, evener_connectivity_state health, const evener_status *status), void *arg)
{
    (void)transport;
    evener_grpc_health_stop(connection);
    if (service == NULL) {
        return EVENER_STATUS_OK;
    }
    if (strlen(service) > SERVICE_BYTES_MAX) {
        return EVENER_STATUS_INVALID_ARGUMENT;
    }
    health *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return EVENER_STATUS_RESOURCE_EXHAUSTED;
    }
    evener_grpc_connection_ref(connection);
    self->connection = connection;
    self->service = encode_request(service);
    self->health_changed = health_changed;
    self->arg = arg;
    self->retry = (evener_timer)EVENER_TIMER_INIT(retry, self);
    operation_init(&self->starting, self, first_start);
    operation_init(&self->message_operation, self, message_received);
    operation_init(&self->end, self, call_ended);
    connection->health = self;
    self->outstanding = 1;
    evener_loop_post(connection->loop, &self->starting.task);
    return EVENER_STATUS_OK;
}
