/* One call on the server: it reads a message, passes it to the method, sends the method's replies, and repeats until
 * the method or the client ends the call. One function, pump(), decides what to do next. */
#include "demo_server/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>

/* Abort on out of memory: a test server does not need an error path in every function. */
static void *must(void *memory)
{
    if (memory == NULL) {
        fputs("demo_server: out of memory\n", stderr);
        abort();
    }
    return memory;
}

static void call_ref(demo_call *call)
{
    atomic_fetch_add_explicit(&call->references, 1, memory_order_relaxed);
}

/* Count a call out. The stop waits for the threads that do this, so the server lives until the mutex is released. */
static void count_out(demo_server *server)
{
    if (atomic_fetch_sub_explicit(&server->calls_alive, 1, memory_order_acq_rel) == 1) {
        pthread_mutex_lock(&server->mutex);
        pthread_cond_broadcast(&server->changed);
        pthread_mutex_unlock(&server->mutex);
    }
}

void demo_call_unref(demo_call *call)
{
    /* acq_rel: the other holders' accesses happen before the end. */
    if (atomic_fetch_sub_explicit(&call->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    if (call->core != NULL) {
        grpc_call_unref(call->core);
    }
    while (call->first_reply != NULL) {
        demo_reply *reply = call->first_reply;
        call->first_reply = reply->next;
        grpc_byte_buffer_destroy(reply->buffer);
        free(reply);
    }
    for (size_t i = 0; i < call->header_count; i++) {
        grpc_slice_unref(call->headers[i].key);
        grpc_slice_unref(call->headers[i].value);
    }
    for (size_t i = 0; i < call->trailer_count; i++) {
        grpc_slice_unref(call->trailers[i].key);
        grpc_slice_unref(call->trailers[i].value);
    }
    free(call->headers);
    free(call->trailers);
    grpc_byte_buffer_destroy(call->received);
    grpc_byte_buffer_destroy(call->sending);
    grpc_slice_unref(call->message);
    grpc_call_details_destroy(&call->details);
    grpc_metadata_array_destroy(&call->request_headers);
    pthread_mutex_destroy(&call->mutex);
    free(call->text);
    demo_server *server = call->server;
    free(call);
    count_out(server);
}

void demo_call_request(demo_server *server)
{
    demo_call *call = must(calloc(1, sizeof *call));
    call->server = server;
    atomic_fetch_add_explicit(&server->calls_alive, 1, memory_order_relaxed);
    atomic_init(&call->references, 1);
    call->opened = (demo_op){call, DEMO_OP_OPENED};
    call->closed = (demo_op){call, DEMO_OP_CLOSED};
    call->read = (demo_op){call, DEMO_OP_READ};
    call->written = (demo_op){call, DEMO_OP_WRITTEN};
    call->end_of_replies = &call->first_reply;
    call->message = grpc_empty_slice();
    pthread_mutex_init(&call->mutex, NULL);
    grpc_call_details_init(&call->details);
    grpc_metadata_array_init(&call->request_headers);
    if (grpc_server_request_call(server->core, &call->core, &call->details, &call->request_headers, server->queue,
                                 server->queue, &call->opened) != GRPC_CALL_OK) {
        demo_call_unref(call);
    }
}

/* Start a batch. The caller holds the call's mutex, and a reference: so the queue is not shut down yet (see
 * demo_server_stop()). */
static bool start(demo_call *call, const grpc_op *ops, size_t op_count, demo_op *tag)
{
    call_ref(call);
    if (grpc_call_start_batch(call->core, ops, op_count, tag, NULL) != GRPC_CALL_OK) {
        call->dead = true;
        demo_call_unref(call); /* not the last reference: the caller holds one */
        return false;
    }
    return true;
}

static void add_header(grpc_metadata **list, size_t *count, grpc_slice key, grpc_slice value)
{
    *list = must(realloc(*list, (*count + 1) * sizeof **list));
    memset(&(*list)[*count], 0, sizeof **list);
    (*list)[*count].key = key;
    (*list)[(*count)++].value = value;
}

static void prepare_headers(demo_call *call)
{
    for (size_t i = 0; i < call->request_headers.count; i++) {
        const grpc_metadata *header = &call->request_headers.metadata[i];
        if (GRPC_SLICE_LENGTH(header->key) >= 5 && memcmp(GRPC_SLICE_START_PTR(header->key), "echo-", 5) == 0) {
            add_header(&call->headers, &call->header_count, grpc_slice_ref(header->key), grpc_slice_ref(header->value));
            add_header(&call->trailers, &call->trailer_count, grpc_slice_ref(header->key),
                       grpc_slice_ref(header->value));
        }
    }
    if (call->header_count > 0) {
        char port[8];
        snprintf(port, sizeof port, "%u", (unsigned)call->server->port);
        add_header(&call->headers, &call->header_count, grpc_slice_from_static_string("served-by"),
                   grpc_slice_from_copied_string(port));
        add_header(&call->headers, &call->header_count, grpc_slice_from_static_string("host-seen"),
                   grpc_slice_ref(call->details.host));
    }
}

static void add_headers_op(demo_call *call, grpc_op *op)
{
    op->op = GRPC_OP_SEND_INITIAL_METADATA;
    op->data.send_initial_metadata.metadata = call->headers;
    op->data.send_initial_metadata.count = call->header_count;
    call->headers_sent = true;
}

static void add_status_op(demo_call *call, grpc_op *op)
{
    grpc_slice report = demo_server_load_report(call->server);
    if (GRPC_SLICE_LENGTH(report) > 0) {
        /* A client on the C core sees only the second header: the core consumes the first itself. */
        add_header(&call->trailers, &call->trailer_count, grpc_slice_from_static_string("endpoint-load-metrics-bin"),
                   grpc_slice_ref(report));
        add_header(&call->trailers, &call->trailer_count, grpc_slice_from_static_string("x-endpoint-load-metrics-bin"),
                   report);
    }
    op->op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    op->data.send_status_from_server.status = call->code;
    op->data.send_status_from_server.status_details = &call->message;
    op->data.send_status_from_server.trailing_metadata = call->trailers;
    op->data.send_status_from_server.trailing_metadata_count = call->trailer_count;
    call->status_sent = true;
}

/* Start the next operation: a write if there is a reply, otherwise the end if the method has finished, otherwise a
 * read. The caller holds the call's mutex. */
static void pump(demo_call *call)
{
    if (call->dead || call->writing || call->status_sent) {
        return;
    }
    if (call->first_reply != NULL || call->finished) {
        grpc_op ops[3];
        size_t op_count = 0;
        memset(ops, 0, sizeof ops);
        if (!call->headers_sent) {
            add_headers_op(call, &ops[op_count++]);
        }
        if (call->first_reply != NULL) {
            demo_reply *reply = call->first_reply;
            call->first_reply = reply->next;
            if (call->first_reply == NULL) {
                call->end_of_replies = &call->first_reply;
            }
            call->sending = reply->buffer;
            free(reply);
            ops[op_count].op = GRPC_OP_SEND_MESSAGE;
            ops[op_count++].data.send_message.send_message = call->sending;
        }
        if (call->first_reply == NULL && call->finished) {
            add_status_op(call, &ops[op_count++]);
        }
        call->writing = start(call, ops, op_count, &call->written);
    } else if (!call->reading && !call->processing && !call->read_ended) {
        grpc_op op;
        memset(&op, 0, sizeof op);
        op.op = GRPC_OP_RECV_MESSAGE;
        op.data.recv_message.recv_message = &call->received;
        call->reading = start(call, &op, 1, &call->read);
    }
}

static void opened(demo_call *call)
{
    demo_server *server = call->server;
    demo_call_request(server);
    call->method = demo_method_find((const char *)GRPC_SLICE_START_PTR(call->details.method),
                                    GRPC_SLICE_LENGTH(call->details.method));
    if (call->method == NULL || !call->method->health) {
        atomic_fetch_add_explicit(&server->calls, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&server->calls_in_flight, 1, memory_order_relaxed);
    }
    prepare_headers(call);
    if (call->method == NULL) {
        demo_call_finish(call, GRPC_STATUS_UNIMPLEMENTED, "no such method");
    }
    pthread_mutex_lock(&call->mutex);
    grpc_op op;
    memset(&op, 0, sizeof op);
    op.op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    op.data.recv_close_on_server.cancelled = &call->cancelled;
    start(call, &op, 1, &call->closed);
    pump(call);
    pthread_mutex_unlock(&call->mutex);
}

static void closed(demo_call *call)
{
    if (call->method == NULL || !call->method->health) {
        atomic_fetch_sub_explicit(&call->server->calls_in_flight, 1, memory_order_relaxed);
    }
    pthread_mutex_lock(&call->mutex);
    call->dead = call->dead || call->cancelled;
    pthread_mutex_unlock(&call->mutex);
    demo_server_forget(call->server, call);
}

void demo_call_process(demo_call *call)
{
    char message[128];
    grpc_status_code failure = call->method->health ? GRPC_STATUS_OK : demo_server_failure(call->server, message);
    if (failure != GRPC_STATUS_OK) {
        demo_call_finish(call, failure, message);
    } else if (call->received == NULL) {
        if (call->method->end != NULL) {
            call->method->end(call);
        } else {
            demo_call_finish(call, GRPC_STATUS_OK, NULL);
        }
    } else {
        grpc_byte_buffer_reader reader;
        if (grpc_byte_buffer_reader_init(&reader, call->received)) {
            grpc_slice bytes = grpc_byte_buffer_reader_readall(&reader);
            grpc_byte_buffer_reader_destroy(&reader);
            call->method->message(call, GRPC_SLICE_START_PTR(bytes), GRPC_SLICE_LENGTH(bytes));
            grpc_slice_unref(bytes);
        } else {
            demo_call_finish(call, GRPC_STATUS_INTERNAL, "the request cannot be decompressed");
        }
    }
    grpc_byte_buffer_destroy(call->received);
    call->received = NULL;
    pthread_mutex_lock(&call->mutex);
    call->processing = false;
    pump(call);
    pthread_mutex_unlock(&call->mutex);
}

static void was_read(demo_call *call, bool success)
{
    pthread_mutex_lock(&call->mutex);
    call->reading = false;
    call->read_ended = call->received == NULL;
    call->dead = call->dead || !success;
    bool process = !call->dead && !call->finished;
    call->processing = process;
    pthread_mutex_unlock(&call->mutex);
    if (!process) {
        return;
    }
    uint64_t delay_ms = atomic_load_explicit(&call->server->delay_ms, memory_order_relaxed);
    if (delay_ms > 0 && call->received != NULL && !call->method->health) {
        call_ref(call); /* the list's reference */
        demo_server_delay(call->server, call, delay_ms);
    } else {
        demo_call_process(call);
    }
}

static void was_written(demo_call *call, bool success)
{
    pthread_mutex_lock(&call->mutex);
    grpc_byte_buffer_destroy(call->sending);
    call->sending = NULL;
    call->writing = false;
    call->dead = call->dead || !success;
    pump(call);
    pthread_mutex_unlock(&call->mutex);
}

void demo_call_event(demo_op *op, bool success)
{
    demo_call *call = op->call;
    switch (op->kind) {
    case DEMO_OP_OPENED:
        if (success) { /* otherwise the server is shutting down */
            opened(call);
        }
        break;
    case DEMO_OP_CLOSED:
        closed(call);
        break;
    case DEMO_OP_READ:
        was_read(call, success);
        break;
    case DEMO_OP_WRITTEN:
        was_written(call, success);
        break;
    }
    demo_call_unref(call);
}

/* ---- for the methods ---- */

void demo_call_reply(demo_call *call, const void *data, size_t data_bytes)
{
    grpc_slice slice = grpc_slice_from_copied_buffer(data_bytes > 0 ? data : "", data_bytes);
    demo_reply *reply = must(malloc(sizeof *reply));
    reply->next = NULL;
    reply->buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    pthread_mutex_lock(&call->mutex);
    *call->end_of_replies = reply;
    call->end_of_replies = &reply->next;
    if (!call->processing) { /* otherwise sent with the rest, to save batches */
        pump(call);
    }
    pthread_mutex_unlock(&call->mutex);
}

void demo_call_finish(demo_call *call, grpc_status_code code, const char *message)
{
    pthread_mutex_lock(&call->mutex);
    if (!call->finished) {
        call->finished = true;
        call->code = code;
        call->message = grpc_slice_from_copied_string(message != NULL ? message : "");
    }
    pthread_mutex_unlock(&call->mutex);
}

uint16_t demo_call_port(const demo_call *call)
{
    return call->server->port;
}

bool demo_call_append_text(demo_call *call, const char *text)
{
    size_t length = call->text != NULL ? strlen(call->text) : 0;
    size_t more = strlen(text) + 1;
    char *longer = realloc(call->text, length + more);
    if (longer == NULL) {
        return false;
    }
    memcpy(longer + length, text, more);
    call->text = longer;
    return true;
}

const char *demo_call_text(const demo_call *call)
{
    return call->text != NULL ? call->text : "";
}
