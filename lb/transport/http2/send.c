/* Sending: frames are collected in the owner's seat and written at once. What the socket does not take is copied into
 * the connection; until it is written nghttp2 is asked for no further frame, so that at most one collection is buffered
 * for a peer that does not read. */
#include <stdlib.h>
#include <string.h>

#include "lb/transport/http2/flow_control.h"
#include "lb/transport/http2/internal.h"
#include "lb/transport/http2/tls.h"

#define FRAME_HEADER_BYTES 9

/* ---- what nghttp2 asks for ---- */

static size_t total_bytes(const evener_http2_call *call)
{
    return EVENER_HTTP2_PREFIX_BYTES + call->sending->length;
}

evener_nghttp2_length evener_http2_on_read(nghttp2_session *session, int32_t stream_id, uint8_t *buffer, size_t length,
                                           uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    (void)buffer;
    (void)source;
    evener_http2_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
    if (call == NULL) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* the call has ended, RST_STREAM is on its way */
    }
    if (call->sending == NULL) {
        if (call->send_closed) {
            call->end_stream_sent = true;
            *flags |= NGHTTP2_DATA_FLAG_EOF;
            return 0;
        }
        call->send_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    const size_t rest = total_bytes(call) - call->sent_bytes;
    if (evener_http2_narrow_waits(user_data, call, length, rest)) {
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (rest > length) {
        return (evener_nghttp2_length)length;
    }
    if (call->send_closed) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (evener_nghttp2_length)rest;
}

static void message_is_through(evener_connection *connection, evener_http2_call *call)
{
    call->sending = NULL;
    call->end_stream_sent = call->send_closed;
    if (!call->unary || call->compressed.owner != NULL) {
        call->written_due = true;
        evener_http2_link_append(&connection->written, &call->written_link);
    }
}

int evener_http2_on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *frame_header,
                              size_t length, nghttp2_data_source *source, void *user_data)
{
    (void)source;
    evener_connection *connection = user_data;
    evener_http2_output *output = connection->output;
    if (evener_http2_output_is_full(output)) {
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    evener_http2_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (call == NULL || call->sending == NULL) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    evener_http2_output_copy(output, frame_header, FRAME_HEADER_BYTES);
    const size_t message_bytes = call->sending->length;
    size_t left = length;
    if (call->sent_bytes < EVENER_HTTP2_PREFIX_BYTES) {
        const uint8_t prefix[EVENER_HTTP2_PREFIX_BYTES] = {call->sending_is_compressed, (uint8_t)(message_bytes >> 24),
                                                           (uint8_t)(message_bytes >> 16),
                                                           (uint8_t)(message_bytes >> 8), (uint8_t)message_bytes};
        size_t bytes = EVENER_HTTP2_PREFIX_BYTES - call->sent_bytes;
        bytes = bytes < left ? bytes : left;
        evener_http2_output_copy(output, prefix + call->sent_bytes, bytes);
        call->sent_bytes += bytes;
        left -= bytes;
    }
    if (left > 0) {
        const uint8_t *data = call->sending->data + (call->sent_bytes - EVENER_HTTP2_PREFIX_BYTES);
        if (left < EVENER_HTTP2_OUTPUT_REFER_BYTES) {
            evener_http2_output_copy(output, data, left);
        } else {
            evener_http2_output_refer(output, data, left);
        }
        call->sent_bytes += left;
    }
    connection->output_total += FRAME_HEADER_BYTES + length;
    if (call->sent_bytes == total_bytes(call)) {
        message_is_through(connection, call);
    }
    return 0;
}

/* ---- writing ---- */

static void write_failed(evener_connection *connection, evener_http2_seat *seat, const char *what)
{
    /* Frames that the peer sent before it closed (GOAWAY, answers) may still be unread; they decide fates. */
    connection->unsent_bytes = 0;
    evener_http2_connection_receive(connection, seat);
    evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE, "%s", what);
}

/* Write the bytes left over from before. True: none are left. */
static bool write_unsent(evener_connection *connection, evener_http2_seat *seat)
{
    if (evener_http2_tls_has_output(connection)) {
        char what[128];
        const int written = evener_http2_tls_write_output(connection, what);
        if (written < 0) {
            write_failed(connection, seat, what);
        }
        if (written <= 0) {
            return false;
        }
    }
    while (connection->unsent_bytes > 0) {
        char what[128];
        const struct iovec piece = {.iov_base = connection->unsent + connection->unsent_from,
                                    .iov_len = connection->unsent_bytes};
        const ssize_t written = evener_http2_wire_write(connection, &piece, 1, what);
        if (written < 0) {
            write_failed(connection, seat, what);
            return false;
        }
        if (written == 0) {
            return false;
        }
        connection->unsent_from += (size_t)written;
        connection->unsent_bytes -= (size_t)written;
        connection->written_total += (uint64_t)written;
    }
    free(connection->unsent);
    connection->unsent = NULL;
    connection->unsent_from = 0;
    return true;
}

/* Write the output. True: all was written. */
static bool write_output(evener_connection *connection, evener_http2_seat *seat)
{
    evener_http2_output *output = &seat->output;
    char what[128];
    const ssize_t written = evener_http2_wire_write(connection, output->pieces, output->piece_count, what);
    if (written < 0) {
        write_failed(connection, seat, what);
        return false;
    }
    connection->written_total += (uint64_t)written;
    if ((size_t)written == output->bytes) {
        return true;
    }
    const size_t rest = output->bytes - (size_t)written;
    connection->unsent = malloc(rest);
    if (connection->unsent == NULL) {
        evener_http2_connection_break(connection, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return false;
    }
    evener_http2_output_copy_rest(output, (size_t)written, connection->unsent);
    connection->unsent_bytes = rest;
    connection->unsent_from = 0;
    return false;
}

/* Fill the output. True: it is full, and more may follow. */
static bool collect(evener_connection *connection, evener_http2_output *output)
{
    evener_http2_output_reset(output);
    for (;;) {
        if (evener_http2_output_is_full(output)) {
            return true;
        }
        const uint8_t *frame;
        const evener_nghttp2_length bytes = evener_nghttp2_send(connection->session, &frame);
        if (bytes > 0) {
            evener_http2_output_copy(output, frame, (size_t)bytes);
            connection->output_total += (uint64_t)bytes;
        } else if (bytes < 0) {
            connection->is_stalled = true;
            evener_http2_connection_break(connection, EVENER_STATUS_INTERNAL, "HTTP/2 session failed: %s",
                                          nghttp2_strerror((int)bytes));
            return false;
        } else if (evener_http2_output_is_full(output)) {
            return true;
        } else if (!evener_http2_call_submit_next(connection)) {
            return false;
        }
    }
}

static void deliver_written(evener_connection *connection)
{
    while (!evener_http2_link_is_empty(&connection->written)) {
        evener_http2_call *call = EVENER_CONTAINER_OF(connection->written.next, evener_http2_call, written_link);
        evener_http2_link_remove(&call->written_link);
        call->written_due = false;
        evener_bytes_clear(&call->compressed);
        if (!call->unary && call->phase == EVENER_HTTP2_CALL_OPEN) {
            call->base.events->written(&call->base);
        }
    }
}

void evener_http2_flush(evener_connection *connection, evener_http2_seat *seat)
{
    connection->output = &seat->output;
    bool more = write_unsent(connection, seat);
    while (more && connection->phase != EVENER_HTTP2_PHASE_CLOSED) {
        connection->in_send = true; /* the output refers to messages of calls */
        more = collect(connection, &seat->output);
        if (seat->output.bytes > 0 && connection->phase != EVENER_HTTP2_PHASE_CLOSED &&
            !write_output(connection, seat)) {
            more = false;
        }
        connection->in_send = false;
        deliver_written(connection);
        evener_http2_call_deliver_ended(connection);
    }
    connection->sends_narrow = false;
}
