/* The answer of a call: headers, messages, trailers (grpc: doc/PROTOCOL-HTTP2.md, Responses). */
#include <stdlib.h>
#include <string.h>

#include "lb/transport/http2/compression.h"
#include "lb/transport/http2/internal.h"
#include "lb/transport/http2/message_buffer.h"

#define HEADER_OVERHEAD_BYTES 32 /* RFC 9113 section 6.5.2: per field of SETTINGS_MAX_HEADER_LIST_SIZE */
#define HELD_BYTES_FIRST 4096

#define IS(name, name_bytes, text) ((name_bytes) == sizeof(text) - 1 && memcmp(name, text, sizeof(text) - 1) == 0)

/* ---- headers ---- */

/* Reset the stream, with the reason; the call ends when the RST_STREAM was sent. */
static int fail_stream(evener_http2_call *call, evener_status_code code, const char *message)
{
    call->local_failure = true;
    call->end_code = code;
    call->end_message = message;
    call->end_message_bytes = strlen(message);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int out_of_memory(evener_http2_call *call)
{
    return fail_stream(call, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory for the answer's headers");
}

static bool keep_grpc_message(evener_http2_call *call, const uint8_t *value, size_t bytes)
{
    char *text = realloc(call->grpc_message, bytes + 1);
    if (text == NULL) {
        return false;
    }
    call->grpc_message_bytes = evener_http2_percent_decode(value, bytes, (uint8_t *)text);
    text[call->grpc_message_bytes] = '\0';
    call->grpc_message = text;
    return true;
}

static bool keep_load_report(evener_http2_call *call, const uint8_t *value, size_t bytes)
{
    uint8_t *report = realloc(call->load_report, bytes + 4);
    if (report == NULL) {
        return false;
    }
    call->load_report = report;
    if (!evener_http2_base64_decode(value, bytes, report, &call->load_report_bytes)) {
        free(report); /* as if it had not been sent */
        call->load_report = NULL;
    }
    return true;
}

static uint16_t read_http_status(const uint8_t *value, size_t bytes)
{
    return bytes == 3 ? (uint16_t)((value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0')) : 0;
}

int evener_http2_receive_header(evener_connection *connection, evener_http2_call *call, const uint8_t *name,
                                size_t name_bytes, const uint8_t *value, size_t value_bytes)
{
    if (call->local_failure || call->remote_ended) {
        return 0;
    }
    call->header_list_bytes += (uint32_t)(name_bytes + value_bytes + HEADER_OVERHEAD_BYTES);
    if (call->header_list_bytes > connection->transport->header_list_bytes_max) {
        return fail_stream(call, EVENER_STATUS_RESOURCE_EXHAUSTED,
                           "the answer's headers are larger than the limit (header_list_bytes_max)");
    }
    if (IS(name, name_bytes, ":status")) {
        call->http_status = read_http_status(value, value_bytes); /* nghttp2 has checked that these are digits */
        return 0;
    }
    if (IS(name, name_bytes, "grpc-status")) {
        call->has_grpc_status = evener_http2_grpc_status_read(value, value_bytes, &call->grpc_status);
        if (!call->has_grpc_status) { /* unreadable, but present: not a success */
            call->has_grpc_status = true;
            call->grpc_status = EVENER_STATUS_UNKNOWN;
        }
        return 0;
    }
    if (IS(name, name_bytes, "grpc-message")) {
        return keep_grpc_message(call, value, value_bytes) ? 0 : out_of_memory(call);
    }
    if (IS(name, name_bytes, "content-type")) {
        call->content_is_grpc = evener_http2_content_type_is_grpc(value, value_bytes);
        return 0;
    }
    if (IS(name, name_bytes, "grpc-encoding")) {
        if (!evener_http2_compression_named(value, value_bytes, &call->encoding)) {
            call->encoding = EVENER_HTTP2_ENCODING_UNKNOWN;
        }
        return 0;
    }
    if (IS(name, name_bytes, "grpc-accept-encoding") || name[0] == ':') {
        return 0;
    }
    if (IS(name, name_bytes, "endpoint-load-metrics-bin") && !keep_load_report(call, value, value_bytes)) {
        return out_of_memory(call);
    }
    if (!call->wants_metadata && !IS(name, name_bytes, "grpc-retry-pushback-ms")) {
        return 0;
    }
    return evener_http2_metadata_in_add(&call->received, name, name_bytes, value, value_bytes) ? 0
                                                                                               : out_of_memory(call);
}

#define METADATA_ON_STACK 32

static void deliver_headers(evener_http2_call *call)
{
    if (!call->wants_metadata || call->base.events->headers == NULL) {
        return;
    }
    evener_metadata on_stack[METADATA_ON_STACK];
    on_stack[0] = (evener_metadata){0};
    evener_metadata *entries = on_stack;
    size_t count = call->received.count;
    if (count > METADATA_ON_STACK) {
        entries = malloc(count * sizeof *entries);
        count = entries != NULL ? count : 0;
    }
    if (count > 0) {
        evener_http2_metadata_in_list(&call->received, entries);
    }
    call->base.events->headers(&call->base, entries, count);
    if (entries != on_stack) {
        free(entries);
    }
}

/* End a call at an answer that is not gRPC's. One attempt, no resend. */
static void not_grpc(evener_connection *connection, evener_http2_call *call)
{
    evener_http2_call_reset(connection, call, NGHTTP2_CANCEL);
    const evener_status_code code = evener_http2_status_of_http(call->final_status);
    if (call->final_status != 200) {
        evener_http2_call_fail(connection, call, code, EVENER_FATE_PERHAPS_PROCESSED, "HTTP status %u",
                               (unsigned)call->final_status);
    } else {
        evener_http2_call_fail(connection, call, code, EVENER_FATE_PERHAPS_PROCESSED,
                               "HTTP status 200, but the content-type is not application/grpc");
    }
}

void evener_http2_receive_headers_end(evener_connection *connection, evener_http2_call *call, bool end_stream)
{
    if (call->local_failure) {
        return; /* RST_STREAM is on its way */
    }
    if (call->answered) {
        if (end_stream) {
            evener_http2_receive_end(connection, call);
        }
        return;
    }
    if (call->http_status >= 100 && call->http_status < 200) {
        return; /* informational: the final headers follow */
    }
    call->answered = true;
    call->final_status = call->http_status;
    if (end_stream) {
        evener_http2_receive_end(connection, call); /* Trailers-Only */
    } else if (call->final_status != 200 || !call->content_is_grpc) {
        not_grpc(connection, call);
    } else {
        call->headers_came = true;
        deliver_headers(call);
    }
}

/* ---- the end ---- */

static void finish(evener_connection *connection, evener_http2_call *call)
{
    if (!call->has_grpc_status) {
        if (call->final_status != 200 || !call->content_is_grpc) {
            not_grpc(connection, call);
            return;
        }
        evener_http2_call_fail(connection, call, EVENER_STATUS_UNKNOWN, EVENER_FATE_PERHAPS_PROCESSED,
                               "the server ended the stream without grpc-status");
        return;
    }
    const evener_status_code code = (evener_status_code)call->grpc_status;
    if (code == EVENER_STATUS_OK) {
        if (call->prefix_bytes > 0) {
            evener_http2_call_fail(connection, call, EVENER_STATUS_INTERNAL, EVENER_FATE_PERHAPS_PROCESSED,
                                   "the server ended the stream inside a message");
            return;
        }
        if (call->unary && !call->has_message) {
            evener_http2_call_fail(connection, call, EVENER_STATUS_INTERNAL, EVENER_FATE_PERHAPS_PROCESSED,
                                   "the server answered OK without a message");
            return;
        }
    }
    evener_http2_call_end(connection, call, code, EVENER_FATE_PERHAPS_PROCESSED,
                          call->grpc_message != NULL ? call->grpc_message : "", call->grpc_message_bytes);
}

void evener_http2_receive_end(evener_connection *connection, evener_http2_call *call)
{
    call->remote_ended = true;
    if (!call->end_stream_sent) {
        evener_http2_call_reset(connection, call, NGHTTP2_NO_ERROR); /* the server has answered without the rest */
    }
    if (call->held_bytes > 0) { /* messages wait to be read, by a program that may first wait until it has written */
        evener_http2_call_drop_message(connection, call);
        return;
    }
    finish(connection, call);
}

/* ---- messages ---- */

/* What is wrong with the answer ends the call. Return false. */
static bool fail_message(evener_connection *connection, evener_http2_call *call, evener_status_code code,
                         const char *what, size_t bytes)
{
    evener_http2_call_reset(connection, call, NGHTTP2_CANCEL);
    evener_http2_call_fail(connection, call, code, EVENER_FATE_PERHAPS_PROCESSED, what, bytes, call->receive_bytes_max);
    return false;
}

/* The prefix is complete. False: the call has ended. */
static bool start_message(evener_connection *connection, evener_http2_call *call)
{
    const uint8_t *prefix = call->prefix;
    const size_t length =
        (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 | (size_t)prefix[4];
    if (prefix[0] > 1) {
        return fail_message(connection, call, EVENER_STATUS_INTERNAL,
                            "the answer is malformed: a message's compressed flag is %zu", prefix[0]);
    }
    if (prefix[0] == 1 &&
        (call->encoding == EVENER_COMPRESSION_NONE || call->encoding == EVENER_HTTP2_ENCODING_UNKNOWN)) {
        return fail_message(connection, call, EVENER_STATUS_INTERNAL,
                            call->encoding == EVENER_COMPRESSION_NONE
                                ? "a message of %zu bytes is compressed, but there is no grpc-encoding"
                                : "a message of %zu bytes is compressed with an unknown grpc-encoding",
                            length);
    }
    if (length > call->receive_bytes_max) {
        return fail_message(connection, call, EVENER_STATUS_RESOURCE_EXHAUSTED,
                            "received message of %zu bytes is larger than the limit of %zu", length);
    }
    if (call->has_message) {
        return fail_message(connection, call, EVENER_STATUS_INTERNAL,
                            "the server sent a second message of %zu bytes in answer to a unary call", length);
    }
    call->message_at = evener_http2_message_create(length, &call->message);
    call->message_bytes = 0;
    return call->message_at != NULL || fail_message(connection, call, EVENER_STATUS_RESOURCE_EXHAUSTED,
                                                    "out of memory for a received message of %zu bytes", length);
}

/* The message is complete. False: the call has ended. */
static bool complete_message(evener_connection *connection, evener_http2_call *call)
{
    call->prefix_bytes = 0;
    if (call->prefix[0] == 1) {
        evener_bytes message;
        const evener_status_code code =
            evener_http2_decompress(call->encoding, &call->message, call->receive_bytes_max, &message);
        if (code != EVENER_STATUS_OK) {
            return fail_message(connection, call, code,
                                code == EVENER_STATUS_INTERNAL
                                    ? "a compressed message of %zu bytes cannot be decompressed"
                                    : "received message of %zu compressed bytes is larger than the limit of %zu",
                                call->message.length);
        }
        evener_bytes_clear(&call->message);
        call->message = message;
    }
    if (call->unary) {
        call->has_message = true;
        return true;
    }
    call->reading = false;
    evener_bytes message = call->message;
    call->message = (evener_bytes){0};
    call->base.events->message(&call->base, &message);
    return true;
}

/* Take messages out of received bytes for as long as they are wanted. False: the call has ended. */
static bool parse(evener_connection *connection, evener_http2_call *call, const uint8_t *data, size_t bytes,
                  size_t *used)
{
    size_t at = 0;
    while (at < bytes && call->reading) {
        if (call->prefix_bytes < EVENER_HTTP2_PREFIX_BYTES) {
            call->prefix[call->prefix_bytes++] = data[at++];
            if (call->prefix_bytes < EVENER_HTTP2_PREFIX_BYTES) {
                continue;
            }
            if (!start_message(connection, call)) {
                return false;
            }
        }
        const size_t missing = call->message.length - call->message_bytes;
        const size_t taken = missing < bytes - at ? missing : bytes - at;
        if (taken > 0) {
            memcpy(call->message_at + call->message_bytes, data + at, taken);
            call->message_bytes += taken;
            at += taken;
        }
        if (call->message_bytes == call->message.length && !complete_message(connection, call)) {
            return false;
        }
    }
    *used = at;
    if (call->stream_id > 0 && at > 0) {
        (void)nghttp2_session_consume_stream(connection->session, call->stream_id, at);
    }
    return true;
}

/* Keep bytes that were not asked for yet: at most one window, as they are not consumed. */
static bool hold(evener_connection *connection, evener_http2_call *call, const uint8_t *data, size_t bytes)
{
    if (call->held_from > 0) {
        memmove(call->held, call->held + call->held_from, call->held_bytes);
        call->held_from = 0;
    }
    if (call->held_capacity - call->held_bytes < bytes) {
        size_t capacity = call->held_capacity > 0 ? call->held_capacity : HELD_BYTES_FIRST;
        while (capacity - call->held_bytes < bytes) {
            capacity *= 2;
        }
        uint8_t *larger = realloc(call->held, capacity);
        if (larger == NULL) {
            return fail_message(connection, call, EVENER_STATUS_RESOURCE_EXHAUSTED,
                                "out of memory for %zu received bytes", bytes);
        }
        call->held = larger;
        call->held_capacity = capacity;
    }
    memcpy(call->held + call->held_bytes, data, bytes);
    call->held_bytes += bytes;
    return true;
}

void evener_http2_receive_data(evener_connection *connection, evener_http2_call *call, const uint8_t *data,
                               size_t bytes)
{
    size_t used = 0;
    if (call->held_bytes == 0 && !parse(connection, call, data, bytes, &used)) {
        return;
    }
    if (used < bytes) {
        (void)hold(connection, call, data + used, bytes - used);
    }
}

void evener_http2_receive_more(evener_connection *connection, evener_http2_call *call)
{
    if (call->held_bytes > 0) {
        size_t used = 0;
        if (!parse(connection, call, call->held + call->held_from, call->held_bytes, &used)) {
            return;
        }
        call->held_from += used;
        call->held_bytes -= used;
        if (call->held_bytes == 0) {
            free(call->held);
            call->held = NULL;
            call->held_capacity = 0;
            call->held_from = 0;
        }
    }
    if (call->remote_ended && call->reading && call->held_bytes == 0) {
        finish(connection, call);
    }
}
