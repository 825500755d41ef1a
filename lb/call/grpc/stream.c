/* Streams: a call of the core on a pluck queue of its own, which the reading, the writing and the finishing thread
 * share. Each operation is a batch, and its tag a byte of the stream, so that every thread plucks its own. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>

#include <evener/call.h>

#include "lb/call/grpc/bytes.h"
#include "lb/call/grpc/details.h"
#include "lb/call/grpc/rpc.h"

struct evener_stream {
    _Atomic uint32_t references;
    evener_channel *channel; /* a reference */
    evener_grpc_rpc rpc;
    evener_grpc_attempt attempt;
    grpc_call *call;               /* another reference to its call: one may cancel it as long as the stream lives */
    evener_connection *connection; /* another reference to the one picked: its name is the stream's peer */
    evener_grpc_queues *queues;
    evener_grpc_pluck_queue *queue;
    evener_call_details *details;
    /* the reader's, then the finisher's */
    bool headers_received;
    bool reads_ended;
    /* the writer's, then the finisher's */
    bool writes_ended;
    bool finished;
    evener_status status; /* set when finished */
    /* tags */
    char reading, writing, finishing;
};

static bool pluck(evener_stream *stream, void *tag)
{
    return grpc_completion_queue_pluck(evener_grpc_pluck_queue_core(stream->queue), tag,
                                       gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL)
               .success != 0;
}

/* Runs one batch to its end; false when the operation failed, because the call has ended. */
static bool run_batch(evener_stream *stream, const grpc_op *operations, size_t count, void *tag)
{
    if (grpc_call_start_batch(stream->attempt.call, operations, count, tag, NULL) != GRPC_CALL_OK) {
        return false;
    }
    return pluck(stream, tag);
}

/* ---- opening ---- */

typedef enum opening {
    OPENING_SENT,
    OPENING_FAILED,  /* the call has ended; its status tells why */
    OPENING_REFUSED, /* the core does not take the metadata; nothing was started */
} opening;

static opening send_opening(evener_stream *stream, const evener_bytes *only_request)
{
    grpc_op operations[3];
    memset(operations, 0, sizeof operations);
    size_t count = 1;
    evener_grpc_attempt_send_metadata_op(&stream->rpc, &operations[0]);
    grpc_byte_buffer *buffer = NULL;
    if (only_request != NULL) {
        grpc_slice slice = evener_grpc_bytes_to_slice(only_request);
        buffer = grpc_raw_byte_buffer_create(&slice, 1);
        grpc_slice_unref(slice);
        operations[1].op = GRPC_OP_SEND_MESSAGE;
        operations[1].data.send_message.send_message = buffer;
        operations[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
        count = 3;
    }
    opening result = OPENING_REFUSED;
    if (evener_grpc_attempt_start(&stream->attempt, operations, count, &stream->writing) == GRPC_CALL_OK) {
        result = pluck(stream, &stream->writing) ? OPENING_SENT : OPENING_FAILED;
    }
    if (buffer != NULL) {
        grpc_byte_buffer_destroy(buffer);
    }
    return result;
}

static void receive_status(evener_stream *stream)
{
    grpc_op operations[2];
    memset(operations, 0, sizeof operations);
    evener_grpc_attempt_status_op(&stream->attempt, &operations[0]);
    size_t count = 1;
    if (!stream->headers_received) {
        operations[1].op = GRPC_OP_RECV_INITIAL_METADATA;
        operations[1].data.recv_initial_metadata.recv_initial_metadata = &stream->attempt.initial_metadata;
        stream->headers_received = true;
        count = 2;
    }
    (void)run_batch(stream, operations, count, &stream->finishing);
}

static evener_status_code no_memory(const evener_grpc_rpc *rpc, evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "stream of %s: out of memory",
                             rpc->pick_args.method);
}

/* Picks and sends the beginning until a connection has taken it, or until that is hopeless. */
static evener_status_code connect_stream(evener_stream *stream, const evener_bytes *only_request, evener_status *status)
{
    evener_grpc_rpc *rpc = &stream->rpc;
    evener_grpc_attempt *attempt = &stream->attempt;
    for (;;) {
        if (!evener_grpc_rpc_pick_time(rpc)) {
            return evener_grpc_rpc_deadline_status(rpc, status);
        }
        evener_status_code code = evener_channel_pick(rpc->channel, &rpc->pick_args, &attempt->pick, status);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
        stream->queues = attempt->pick.connection->engine->queues;
        if (stream->queue == NULL) {
            stream->queue = evener_grpc_queues_borrow(stream->queues);
        }
        if (stream->queue == NULL) {
            evener_grpc_attempt_drop(attempt);
            return no_memory(rpc, status);
        }
        if (evener_grpc_attempt_begin(attempt, rpc, evener_grpc_pluck_queue_core(stream->queue))) {
            switch (send_opening(stream, only_request)) {
            case OPENING_SENT:
                return EVENER_STATUS_OK;
            case OPENING_REFUSED:
                evener_grpc_attempt_drop(attempt);
                return evener_grpc_rpc_bad_metadata(rpc, status);
            case OPENING_FAILED:
                break;
            }
            receive_status(stream);
            stream->headers_received = false;
            if (!evener_grpc_attempt_pick_again(attempt)) {
                stream->finished = true;
                return evener_grpc_attempt_finish(attempt, rpc, stream->details, NULL, status);
            }
        }
        code = evener_grpc_rpc_pause(rpc, status);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
    }
}

static void stream_free(evener_stream *stream)
{
    if (stream->call != NULL) {
        grpc_call_unref(stream->call);
        evener_grpc_connection_unref(stream->connection);
    }
    if (stream->queue != NULL) {
        evener_grpc_queues_give_back(stream->queues, stream->queue);
    }
    evener_grpc_rpc_clear(&stream->rpc);
    evener_channel_unref(stream->channel);
    free(stream);
}

evener_status_code evener_stream_open(evener_channel *channel, const char *method, const evener_bytes *only_request,
                                      const evener_call_options *given, evener_stream **stream, evener_status *status)
{
    evener_call_options options;
    evener_status_code code = evener_grpc_rpc_check(channel, method, given, &options, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (stream == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "evener_stream_open: `stream` is NULL");
    }
    evener_stream *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "stream of %s: out of memory", method);
    }
    atomic_init(&made->references, 1);
    made->channel = evener_channel_ref(channel);
    made->details = options.details;
    evener_grpc_rpc_init(&made->rpc, channel, method, &options);
    made->rpc.pick_args.streaming = true;
    evener_grpc_borrowed_metadata borrowed;
    code = evener_grpc_rpc_borrow_metadata(&made->rpc, &options, &borrowed, status);
    if (code == EVENER_STATUS_OK) {
        code = connect_stream(made, only_request, status);
        evener_grpc_rpc_end_borrowing(&made->rpc, &borrowed);
    }
    if (code != EVENER_STATUS_OK) {
        if (made->details != NULL && !made->finished) {
            evener_grpc_details_fill_unsent(made->details, made->rpc.attempts);
        }
        stream_free(made);
        return code;
    }
    made->call = made->attempt.call;
    grpc_call_ref(made->call);
    made->connection = made->attempt.pick.connection;
    evener_grpc_connection_ref(made->connection);
    made->writes_ended = only_request != NULL;
    *stream = made;
    return evener_status_clear(status);
}

/* ---- messages ---- */

bool evener_stream_read(evener_stream *stream, evener_bytes *message)
{
    if (stream->finished || stream->reads_ended) {
        return false;
    }
    grpc_op operations[2];
    memset(operations, 0, sizeof operations);
    grpc_byte_buffer *received = NULL;
    operations[0].op = GRPC_OP_RECV_MESSAGE;
    operations[0].data.recv_message.recv_message = &received;
    size_t count = 1;
    if (!stream->headers_received) {
        operations[1].op = GRPC_OP_RECV_INITIAL_METADATA;
        operations[1].data.recv_initial_metadata.recv_initial_metadata = &stream->attempt.initial_metadata;
        stream->headers_received = true;
        count = 2;
    }
    bool ok = run_batch(stream, operations, count, &stream->reading);
    if (!ok || received == NULL) {
        stream->reads_ended = true;
        if (received != NULL) {
            grpc_byte_buffer_destroy(received);
        }
        return false;
    }
    if (!stream->attempt.message_received) {
        stream->attempt.message_received = true;
        stream->attempt.first_message_ns =
            evener_loop_now_ns(evener_runtime_loop(evener_channel_runtime(stream->channel)));
    }
    evener_grpc_bytes_receive(received, message);
    return true;
}

bool evener_stream_write(evener_stream *stream, const evener_bytes *message)
{
    if (stream->finished || stream->writes_ended) {
        return false;
    }
    grpc_slice slice = evener_grpc_bytes_to_slice(message);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    grpc_op operation = {.op = GRPC_OP_SEND_MESSAGE};
    operation.data.send_message.send_message = buffer;
    bool ok = run_batch(stream, &operation, 1, &stream->writing);
    grpc_byte_buffer_destroy(buffer);
    return ok;
}

bool evener_stream_writes_done(evener_stream *stream)
{
    if (stream->finished || stream->writes_ended) {
        return false;
    }
    stream->writes_ended = true;
    const grpc_op operation = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    return run_batch(stream, &operation, 1, &stream->writing);
}

/* ---- the end ---- */

void evener_stream_cancel(evener_stream *stream)
{
    grpc_call_cancel(stream->call, NULL);
}

evener_status_code evener_stream_finish(evener_stream *stream, evener_status *status)
{
    if (!stream->finished) {
        (void)evener_stream_writes_done(stream);
        /* The core tells the status when all messages before it are read. */
        evener_bytes dropped;
        while (evener_stream_read(stream, &dropped)) {
            evener_bytes_clear(&dropped);
        }
        receive_status(stream);
        evener_grpc_attempt_finish(&stream->attempt, &stream->rpc, stream->details, NULL, &stream->status);
        stream->finished = true;
    }
    if (status != NULL) {
        *status = stream->status;
    }
    return stream->status.code;
}

const char *evener_stream_peer(const evener_stream *stream)
{
    return stream->connection->peer;
}

evener_stream *evener_stream_ref(evener_stream *stream)
{
    atomic_fetch_add_explicit(&stream->references, 1, memory_order_relaxed);
    return stream;
}

void evener_stream_unref(evener_stream *stream)
{
    /* acq_rel: the last one sees what the others did. */
    if (stream == NULL || atomic_fetch_sub_explicit(&stream->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (!stream->finished) {
        evener_stream_cancel(stream);
        stream->details = NULL; /* borrowed from a caller who may be gone */
        (void)evener_stream_finish(stream, NULL);
    }
    stream_free(stream);
}
