/* Calls over the core.
 *
 * A unary call is one batch. The result of a blocking call is plucked from a queue of the calling thread, so that the
 * waiting thread is also the polling thread.
 *
 * That batch reads one message. The core holds the status back until every message that came was read: its HTTP/2
 * transport completes recv_trailing_metadata only when nothing is left in the stream's frame storage (1.51,
 * grpc_chttp2_maybe_complete_recv_trailing_metadata). So a server that answers a unary call with several messages, as a
 * wrong method does, would keep it until its deadline, or for ever. A unary call that takes longer than a second
 * therefore reads a second message; if one comes, the call ends with INTERNAL.
 *
 * All other calls, and all operations of streams, complete on the call threads' queue (call_threads.h). */
#include "lb/transport/grpc/calls.h"

#include <string.h>

#include <grpc/byte_buffer.h>
#include <grpc/support/time.h>

#include "lb/base/memory.h"
#include "lb/transport/grpc/bytes.h"
#include "lb/transport/grpc/core_call.h"
#include "lb/transport/grpc/engine.h"

#define UNARY_LONG_MS 1000

/* The owner's memory. */
typedef struct wire_call {
    evener_transport_call base;
    evener_grpc_core_call *call; /* a reference, until `ended` */
} wire_call;

static evener_grpc_core_call *core_call_of(evener_transport_call *call)
{
    return ((wire_call *)call)->call;
}

/* ---- completions ---- */

/* Give back an operation's reference and unlock. */
static void end_locked(evener_grpc_core_call *call)
{
    const bool ended = call->owner != NULL;
    if (ended) {
        evener_grpc_core_call_deliver_end(call);
    }
    pthread_mutex_unlock(&call->mutex);
    if (ended) {
        evener_grpc_core_call_unref(call); /* the owner's */
    }
}

static evener_grpc_core_call *completed(evener_grpc_tag *tag)
{
    evener_grpc_core_call *call = EVENER_CONTAINER_OF(tag, evener_grpc_operation, tag)->call;
    pthread_mutex_lock(&call->mutex);
    return call;
}

/* Deliver the headers of a unary call, which arrive with its end. None without metadata. */
static void deliver_unary_headers(evener_grpc_core_call *call)
{
    if (call->initial_metadata.count > 0) {
        evener_grpc_core_call_deliver_headers(call);
    }
}

static void unary_completed(evener_grpc_tag *tag, bool ok)
{
    (void)ok; /* always true with a status in the batch */
    evener_grpc_core_call *call = completed(tag);
    deliver_unary_headers(call);
    if (call->second_pending) { /* its completion ends the call */
        call->status_known = true;
        pthread_mutex_unlock(&call->mutex);
    } else {
        end_locked(call);
    }
    evener_grpc_core_call_unref(call);
}

/* Note that the reading of a second message has ended. The mutex is held. */
static void note_second(evener_grpc_core_call *call)
{
    call->second_pending = false;
    if (call->second != NULL) {
        call->second_came = true;
        (void)grpc_call_cancel(call->core, NULL); /* there may be more messages */
    }
}

static void second_completed(evener_grpc_tag *tag, bool ok)
{
    (void)ok;
    evener_grpc_core_call *call = completed(tag);
    note_second(call);
    if (call->status_known) {
        end_locked(call);
    } else {
        pthread_mutex_unlock(&call->mutex);
    }
    evener_grpc_core_call_unref(call);
}

/* End an operation of a stream, after its event was delivered: the last one after the status ends the call. */
static void settle(evener_grpc_core_call *call)
{
    const bool last = atomic_fetch_sub_explicit(&call->under_way, 1, memory_order_acq_rel) == 1;
    if (last && call->status_known) {
        end_locked(call);
    } else {
        pthread_mutex_unlock(&call->mutex);
    }
    evener_grpc_core_call_unref(call);
}

static void opening_completed(evener_grpc_tag *tag, bool ok)
{
    (void)ok;
    settle(completed(tag));
}

/* The core completes headers before the first message, but another thread may take that completion and be faster. The
 * headers are there then: the core processes them first (call.cc, ReceivingStreamReady). */
static void deliver_headers_once(evener_grpc_core_call *call)
{
    if (!call->has_headers) {
        call->has_headers = true;
        evener_grpc_core_call_deliver_headers(call);
    }
}

static void headers_completed(evener_grpc_tag *tag, bool ok)
{
    evener_grpc_core_call *call = completed(tag);
    if (ok) {
        deliver_headers_once(call);
    }
    settle(call);
}

static void reading_completed(evener_grpc_tag *tag, bool ok)
{
    evener_grpc_core_call *call = completed(tag);
    grpc_byte_buffer *received = call->response;
    call->response = NULL;
    if (ok && received != NULL && call->owner != NULL) {
        evener_bytes message;
        call->answered = true;
        deliver_headers_once(call);
        if (evener_grpc_core_call_take_message(call, received, &message)) {
            call->events->message(call->owner, &message);
        } else {
            (void)grpc_call_cancel(call->core, NULL); /* the end says why */
        }
    } else if (received != NULL) {
        grpc_byte_buffer_destroy(received);
    }
    settle(call);
}

static void writing_completed(evener_grpc_tag *tag, bool ok)
{
    evener_grpc_core_call *call = completed(tag);
    grpc_byte_buffer_destroy(call->request);
    call->request = NULL;
    if (ok && call->owner != NULL && call->events->written != NULL) {
        call->events->written(call->owner);
    }
    settle(call);
}

static void closing_completed(evener_grpc_tag *tag, bool ok)
{
    (void)ok;
    settle(completed(tag));
}

static void status_completed(evener_grpc_tag *tag, bool ok)
{
    (void)ok;
    evener_grpc_core_call *call = completed(tag);
    call->status_known = true;
    settle(call);
}

static void prepare(evener_grpc_core_call *call, evener_grpc_operation *operation,
                    void (*done)(evener_grpc_tag *tag, bool ok))
{
    operation->tag.done = done;
    operation->call = call;
    atomic_fetch_add_explicit(&call->references, 1, memory_order_relaxed);
}

/* ---- beginning ---- */

static evener_grpc_call_threads *call_threads_of(const evener_connection *connection)
{
    return connection->engine->call_threads;
}

static evener_status_code take_thread(const evener_connection *connection, evener_status *status)
{
    return evener_grpc_call_threads_take(call_threads_of(connection),
                                         atomic_load_explicit(&connection->engine->connections, memory_order_relaxed),
                                         status);
}

static void drop_threads(const evener_connection *connection, int count)
{
    for (int i = 0; i < count; i++) {
        evener_grpc_call_threads_drop(call_threads_of(connection));
    }
}

static void fill_unary(evener_grpc_core_call *call, const evener_bytes *request, grpc_op *operations)
{
    grpc_slice slice = evener_grpc_bytes_to_slice(request);
    call->request = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    memset(operations, 0, 6 * sizeof *operations);
    evener_grpc_core_call_send_metadata_op(call, &operations[0]);
    operations[1].op = GRPC_OP_SEND_MESSAGE;
    operations[1].data.send_message.send_message = call->request;
    operations[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    evener_grpc_core_call_headers_op(call, &operations[3]);
    operations[4].op = GRPC_OP_RECV_MESSAGE;
    operations[4].data.recv_message.recv_message = &call->response;
    evener_grpc_core_call_status_op(call, &operations[5]);
}

static evener_status_code refused(const evener_call_begin_args *args, evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                             "the gRPC core refuses the call of %s (see its log: GRPC_VERBOSITY=debug)", args->method);
}

static evener_status_code start_unary(evener_grpc_core_call *call, const evener_call_begin_args *args, void *tag,
                                      evener_status *status)
{
    grpc_op operations[6];
    fill_unary(call, args->request, operations);
    return evener_grpc_core_call_start(call, operations, 6, tag) ? EVENER_STATUS_OK : refused(args, status);
}

/* Start a stream: one batch per operation, as each completes by itself. The first one is started inside the
 * connection. */
static evener_status_code start_stream(evener_grpc_core_call *call, const evener_call_begin_args *args,
                                       evener_status *status)
{
    evener_connection *connection = call->connection;
    grpc_op operation;
    memset(&operation, 0, sizeof operation);
    for (int taken = 0; taken < 2; taken++) { /* for headers and status; call_begin() took one for the opening */
        const evener_status_code code = take_thread(connection, status);
        if (code != EVENER_STATUS_OK) {
            drop_threads(connection, taken);
            evener_grpc_connection_leave(connection);
            return code;
        }
    }
    /* All operations are counted before one can complete. */
    atomic_store_explicit(&call->under_way, 3, memory_order_relaxed);
    prepare(call, &call->opening, opening_completed);
    prepare(call, &call->headers, headers_completed);
    prepare(call, &call->status, status_completed);
    evener_grpc_core_call_send_metadata_op(call, &operation);
    if (!evener_grpc_core_call_start(call, &operation, 1, &call->opening.tag)) {
        for (int i = 0; i < 3; i++) {
            evener_grpc_core_call_unref(call);
        }
        drop_threads(connection, 2);
        return refused(args, status);
    }
    memset(&operation, 0, sizeof operation);
    evener_grpc_core_call_headers_op(call, &operation);
    EVENER_GRPC_HANDS_OVER(&call->headers.tag);
    (void)grpc_call_start_batch(call->core, &operation, 1, &call->headers.tag, NULL);
    memset(&operation, 0, sizeof operation);
    evener_grpc_core_call_status_op(call, &operation);
    EVENER_GRPC_HANDS_OVER(&call->status.tag);
    (void)grpc_call_start_batch(call->core, &operation, 1, &call->status.tag, NULL);
    return EVENER_STATUS_OK;
}

/* Begin a call inside the connection, and leave the connection. */
static evener_status_code begin_inside(evener_connection *connection, wire_call *wire,
                                       const evener_call_begin_args *args, grpc_completion_queue *queue,
                                       evener_status *status)
{
    evener_grpc_core_call *call = NULL;
    evener_status_code code = evener_grpc_core_call_create(connection, queue, args, &call, status);
    if (code != EVENER_STATUS_OK) {
        evener_grpc_connection_leave(connection);
        return code;
    }
    wire->call = call;
    call->owner = &wire->base;
    int references = 1; /* to be given back when it does not start */
    const bool is_plucked = args->unary && args->blocking;
    call->is_unary = args->unary;
    if (!is_plucked && (args->unary || args->deadline_ns != UINT64_MAX)) {
        evener_grpc_overdue_add(connection->engine->overdue, call);
    }
    if (!args->unary) {
        code = start_stream(call, args, status);
    } else if (is_plucked) {
        atomic_fetch_add_explicit(&call->references, 1, memory_order_relaxed); /* the batch's */
        references = 2;
        code = start_unary(call, args, call, status);
    } else {
        prepare(call, &call->status, unary_completed);
        references = 2;
        code = start_unary(call, args, &call->status.tag, status);
    }
    if (code != EVENER_STATUS_OK) {
        evener_grpc_overdue_remove(connection->engine->overdue, call);
    }
    for (; code != EVENER_STATUS_OK && references > 0; references--) {
        evener_grpc_core_call_unref(call);
    }
    return code;
}

static evener_status_code too_long_to_send(const evener_bytes *message, size_t bytes_max, evener_status *status)
{
    return message != NULL && bytes_max > 0 && message->length > bytes_max
               ? evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                                   "sent message of %zu bytes is larger than the limit of %zu", message->length,
                                   bytes_max)
               : EVENER_STATUS_OK;
}

static evener_status_code call_begin(evener_connection *connection, evener_transport_call *base,
                                     const evener_call_begin_args *args, evener_status *status)
{
    wire_call *wire = (wire_call *)base;
    const evener_status_code too_long = too_long_to_send(args->request, args->send_bytes_max, status);
    if (too_long != EVENER_STATUS_OK) {
        return too_long;
    }
    base->connection = connection;
    base->events = args->events;
    evener_grpc_call_threads *threads = call_threads_of(connection);
    grpc_completion_queue *queue = NULL;
    const bool plucks = args->blocking && args->unary;
    if (plucks) {
        queue = evener_grpc_queues_of_thread(connection->engine->queues);
        if (queue == NULL) {
            return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        }
    } else {
        const evener_status_code code = take_thread(connection, status);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
        queue = evener_grpc_call_threads_queue(threads);
    }
    evener_status_code code;
    bool inside = evener_grpc_connection_enter(connection);
    if (inside && evener_grpc_connection_is_gone(connection)) {
        evener_grpc_connection_leave(connection);
        inside = false;
    }
    if (!inside) {
        code = evener_status_set(status, EVENER_STATUS_UNAVAILABLE, "the connection to %s has been given up",
                                 connection->address);
    } else {
        code = begin_inside(connection, wire, args, queue, status);
    }
    if (code != EVENER_STATUS_OK && !plucks) {
        evener_grpc_call_threads_drop(threads);
    }
    return code;
}

/* ---- waiting ---- */

static void forget(void *tag)
{
    evener_grpc_core_call_unref(tag);
}

static void forget_second(void *tag)
{
    evener_grpc_core_call *call = EVENER_CONTAINER_OF(tag, evener_grpc_operation, tag)->call;
    evener_grpc_core_call_unref(call);
}

static bool start_second(evener_grpc_core_call *call);

/* Wait for the batch of a unary call. */
static bool pluck_unary(evener_grpc_queues *queues, grpc_completion_queue *queue, evener_grpc_core_call *call,
                        gpr_timespec until)
{
    const gpr_timespec interval = gpr_time_from_millis(UNARY_LONG_MS, GPR_TIMESPAN);
    for (;;) {
        const gpr_timespec next = gpr_time_min(until, gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), interval));
        if (grpc_completion_queue_pluck(queue, call, next, NULL).type == GRPC_OP_COMPLETE) {
            return true;
        }
        if (gpr_time_cmp(next, until) >= 0) {
            return false;
        }
        prepare(call, &call->reading, NULL);
        if (start_second(call)) {
            break;
        }
        evener_grpc_core_call_unref(call);
    }
    if (grpc_completion_queue_pluck(queue, &call->reading.tag, until, NULL).type != GRPC_OP_COMPLETE) {
        evener_grpc_queues_abandon(queues, queue, &call->reading.tag, forget_second);
        return false;
    }
    pthread_mutex_lock(&call->mutex);
    note_second(call);
    pthread_mutex_unlock(&call->mutex);
    evener_grpc_core_call_unref(call); /* the batch's reference is left */
    return grpc_completion_queue_pluck(queue, call, until, NULL).type == GRPC_OP_COMPLETE;
}

static void call_wait(evener_transport_call *base, uint32_t *word, uint32_t value, uint64_t until_ns)
{
    (void)word;
    (void)value;
    (void)until_ns;
    evener_grpc_core_call *call = core_call_of(base);
    evener_grpc_queues *queues = call->connection->engine->queues;
    grpc_completion_queue *queue = evener_grpc_queues_of_thread(queues);
    gpr_timespec until = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (call->deadline_ns != UINT64_MAX) {
        const uint64_t now_ns = evener_loop_now_ns(call->connection->loop);
        const uint64_t left_ns = call->deadline_ns > now_ns ? call->deadline_ns - now_ns : 0;
        until = gpr_time_add(
            gpr_now(GPR_CLOCK_MONOTONIC),
            gpr_time_from_nanos((int64_t)(left_ns + EVENER_GRPC_CORE_GRACE_MS * EVENER_NS_PER_MS), GPR_TIMESPAN));
    }
    if (pluck_unary(queues, queue, call, until)) {
        pthread_mutex_lock(&call->mutex);
        deliver_unary_headers(call);
        end_locked(call);
        evener_grpc_core_call_unref(call);
    } else {
        /* The batch's reference keeps the call until the core has completed it. */
        evener_grpc_core_call_abandon(call);
        evener_grpc_queues_abandon(queues, queue, call, forget);
    }
    evener_grpc_queues_sweep(queues);
}

/* ---- streams ---- */

/* Start one operation of a stream. Before the status has completed, so the owner lives. */
static bool start_operation(evener_grpc_core_call *call, evener_grpc_operation *operation,
                            void (*done)(evener_grpc_tag *tag, bool ok), const grpc_op *op)
{
    evener_status status;
    if (take_thread(call->connection, &status) != EVENER_STATUS_OK) {
        return false;
    }
    prepare(call, operation, done);
    atomic_fetch_add_explicit(&call->under_way, 1, memory_order_relaxed);
    EVENER_GRPC_HANDS_OVER(&operation->tag);
    if (grpc_call_start_batch(call->core, op, 1, &operation->tag, NULL) == GRPC_CALL_OK) {
        return true;
    }
    evener_grpc_call_threads_drop(call_threads_of(call->connection));
    atomic_fetch_sub_explicit(&call->under_way, 1, memory_order_relaxed);
    evener_grpc_core_call_unref(call);
    return false;
}

/* Start to read a second message. False: the first one has not come yet, or the core refuses it. */
static bool start_second(evener_grpc_core_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &call->second;
    EVENER_GRPC_HANDS_OVER(&call->reading.tag);
    return grpc_call_start_batch(call->core, &op, 1, &call->reading.tag, NULL) == GRPC_CALL_OK;
}

void evener_grpc_call_read_second(evener_grpc_core_call *call)
{
    evener_status status;
    if (pthread_mutex_trylock(&call->mutex) != 0) {
        return; /* an event of the call is under way */
    }
    if (call->owner != NULL && !call->second_asked && take_thread(call->connection, &status) == EVENER_STATUS_OK) {
        prepare(call, &call->reading, second_completed);
        call->second_pending = true;
        call->second_asked = start_second(call);
        if (!call->second_asked) {
            call->second_pending = false;
            evener_grpc_call_threads_drop(call_threads_of(call->connection));
            evener_grpc_core_call_unref(call); /* not the last one */
        }
    }
    pthread_mutex_unlock(&call->mutex);
}

static void call_half_close(evener_transport_call *base)
{
    evener_grpc_core_call *call = core_call_of(base);
    const grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    (void)start_operation(call, &call->closing, closing_completed, &op);
}

static void call_write(evener_transport_call *base, const evener_bytes *message, bool last)
{
    evener_grpc_core_call *call = core_call_of(base);
    evener_status refusal;
    if (too_long_to_send(message, call->send_bytes_max, &refusal) != EVENER_STATUS_OK) {
        (void)grpc_call_cancel_with_status(call->core, GRPC_STATUS_RESOURCE_EXHAUSTED, refusal.message, NULL);
        return;
    }
    grpc_slice slice = evener_grpc_bytes_to_slice(message);
    call->request = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
    op.data.send_message.send_message = call->request;
    if (!start_operation(call, &call->writing, writing_completed, &op)) {
        grpc_byte_buffer_destroy(call->request);
        call->request = NULL;
        grpc_call_cancel_with_status(call->core, GRPC_STATUS_INTERNAL, "the message could not be written", NULL);
    } else if (last) {
        call_half_close(base);
    }
}

static void call_read(evener_transport_call *base)
{
    evener_grpc_core_call *call = core_call_of(base);
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &call->response;
    if (!start_operation(call, &call->reading, reading_completed, &op)) {
        grpc_call_cancel_with_status(call->core, GRPC_STATUS_INTERNAL, "no message can be read", NULL);
    }
}

static void call_cancel(evener_transport_call *base, evener_status_code code, const char *message)
{
    (void)grpc_call_cancel_with_status(core_call_of(base)->core, (grpc_status_code)code, message, NULL);
}

const evener_transport_calls evener_grpc_calls = {
    .size = sizeof evener_grpc_calls,
    .call_bytes = sizeof(wire_call),
    .call_begin = call_begin,
    .call_write = call_write,
    .call_half_close = call_half_close,
    .call_read = call_read,
    .call_cancel = call_cancel,
    .call_wait = call_wait,
    .events_may_block = true,
    .empty_headers_are_ambiguous = true,
};
