/* A call: from call_begin on any thread over its stream to its end on the owner's. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/c_locale.h"
#include "lb/base/metadata_rules.h"
#include "lb/transport/http2/compression.h"
#include "lb/transport/http2/flow_control.h"
#include "lb/transport/http2/group.h"
#include "lb/transport/http2/internal.h"
#include "lb/transport/http2/keepalive.h"
#include "lb/transport/http2/request_headers.h"

/* PROTOCOL-HTTP2.md: the largest length in a message's prefix. */
#define MESSAGE_BYTES_MAX UINT32_MAX

static const evener_bytes empty_message;

/* ---- the owner's side: the end ---- */

evener_fate evener_http2_call_fate(const evener_connection *connection, const evener_http2_call *call)
{
    if (call->headers_at == UINT64_MAX) {
        return EVENER_FATE_NEVER_LEFT;
    }
    /* Frames that were made but not written go nowhere once the connection is closed. */
    return connection->phase == EVENER_HTTP2_PHASE_CLOSED && call->headers_at >= connection->written_total
               ? EVENER_FATE_NEVER_LEFT
               : EVENER_FATE_PERHAPS_PROCESSED;
}

#define METADATA_ON_STACK 32

/* Deliver `ended`. The call's memory is not touched afterwards, so its contents are moved out first. */
static void deliver_end(evener_connection *connection, evener_http2_call *call)
{
    const evener_call_events *events = call->base.events;
    const bool is_ok = call->end_code == EVENER_STATUS_OK;
    evener_http2_crowd_shrinks(connection,
                               call->message.length > call->sent_bytes ? call->message.length : call->sent_bytes);
    evener_bytes message = call->message;
    evener_bytes compressed = call->compressed;
    evener_http2_metadata_in received = call->received;
    uint8_t *held = call->held;
    char *grpc_message = call->grpc_message;
    uint8_t *load_report = call->load_report;
    char text[EVENER_HTTP2_END_TEXT_BYTES];
    const char *end_message = call->end_message;
    if (end_message == call->end_text) {
        memcpy(text, call->end_text, call->end_message_bytes + 1);
        end_message = text;
    }
    evener_metadata on_stack[METADATA_ON_STACK];
    on_stack[0] = (evener_metadata){0};
    evener_metadata *trailing = on_stack;
    size_t count = received.count;
    if (count > METADATA_ON_STACK) {
        trailing = malloc(count * sizeof *trailing);
        count = trailing != NULL ? count : 0;
    }
    if (count > 0) {
        evener_http2_metadata_in_list(&received, trailing);
    }
    const evener_call_end end = {
        .size = sizeof end,
        .code = call->end_code,
        .message = end_message,
        .message_bytes = call->end_message_bytes,
        .fate = is_ok ? EVENER_FATE_PERHAPS_PROCESSED : call->end_fate,
        .connection_gone = atomic_load_explicit(&connection->closed_to_calls, memory_order_relaxed) != 0,
        .timed_out = call->timed_out,
        .trailing = trailing,
        .trailing_count = count,
        .load_report = load_report,
        .load_report_bytes = call->load_report_bytes,
        .response = is_ok && call->unary ? &message : NULL,
        .headers_came = call->headers_came,
    };
    const bool is_assigned = call->is_assigned;
    call->phase = EVENER_HTTP2_CALL_NONE;
    call->received = (evener_http2_metadata_in){0};
    call->message = (evener_bytes){0};
    call->compressed = (evener_bytes){0};
    call->held = NULL;
    call->held_bytes = 0;
    call->held_capacity = 0;
    call->grpc_message = NULL;
    call->load_report = NULL;
    if (!call->blocking) {
        (void)atomic_fetch_sub_explicit(&connection->nonblocking, 1, memory_order_relaxed);
    }
    if (is_assigned) { /* before the caller begins its next call; the turn has a reference */
        evener_http2_group_release(connection);
    }
    events->ended(&call->base, &end);
    evener_bytes_clear(&message);
    evener_bytes_clear(&compressed);
    evener_http2_metadata_in_clear(&received);
    free(held);
    free(grpc_message);
    free(load_report);
    if (trailing != on_stack) {
        free(trailing);
    }
}

void evener_http2_call_end(evener_connection *connection, evener_http2_call *call, evener_status_code code,
                           evener_fate fate, const char *message, size_t message_bytes)
{
    if (call->phase == EVENER_HTTP2_CALL_OPEN && call->stream_id > 0) {
        (void)nghttp2_session_set_stream_user_data(connection->session, call->stream_id, NULL);
    }
    if (call->phase == EVENER_HTTP2_CALL_OPEN || call->phase == EVENER_HTTP2_CALL_WAITING) {
        evener_http2_link_remove(&call->link);
        connection->foreground -= !call->is_background;
    }
    if (call->timer.active) {
        evener_timer_heap_stop(&connection->timers, &call->timer);
    }
    if (call->written_due) {
        call->written_due = false;
        evener_http2_link_remove(&call->written_link);
    }
    evener_http2_narrow_forget(call);
    atomic_store_explicit(&call->wait_word, NULL, memory_order_relaxed);
    call->end_code = code;
    call->end_fate = fate;
    call->end_message = message;
    call->end_message_bytes = message_bytes;
    /* From here on operations are refused. If one is queued, the call ends when it leaves the queue. */
    const uint32_t bits = atomic_exchange_explicit(&call->op.bits, 0, memory_order_acq_rel);
    if ((bits & ~(uint32_t)EVENER_HTTP2_OP_LIVE) != 0) {
        call->phase = EVENER_HTTP2_CALL_QUEUED;
    } else if (connection->in_send) {
        call->phase = EVENER_HTTP2_CALL_ENDING;
        evener_http2_link_append(&connection->ending, &call->link);
    } else {
        deliver_end(connection, call);
    }
}

void evener_http2_call_fail(evener_connection *connection, evener_http2_call *call, evener_status_code code,
                            evener_fate fate, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)evener_vsnprintf(call->end_text, sizeof call->end_text, format, arguments);
    va_end(arguments);
    evener_http2_call_end(connection, call, code, fate, call->end_text, strlen(call->end_text));
}

void evener_http2_call_time_out(evener_connection *connection, evener_http2_call *call, evener_fate fate)
{
    static const char message[] = "Deadline Exceeded";
    call->timed_out = true;
    evener_http2_call_end(connection, call, EVENER_STATUS_DEADLINE_EXCEEDED, fate, message, sizeof message - 1);
}

void evener_http2_call_reset(evener_connection *connection, evener_http2_call *call, uint32_t error_code)
{
    if (call->phase == EVENER_HTTP2_CALL_OPEN && call->stream_id > 0 && !connection->is_stalled) {
        (void)nghttp2_submit_rst_stream(connection->session, NGHTTP2_FLAG_NONE, call->stream_id, error_code);
    }
}

void evener_http2_call_leave_stream(evener_connection *connection, evener_http2_call *call)
{
    assert(call->remote_ended && call->sending == NULL);
    if (call->stream_id > 0) {
        (void)nghttp2_session_set_stream_user_data(connection->session, call->stream_id, NULL);
        call->stream_id = 0;
    }
}

void evener_http2_call_drop_message(evener_connection *connection, evener_http2_call *call)
{
    assert(!call->unary);
    if (call->sending == NULL) {
        return;
    }
    call->sending = NULL;
    evener_http2_narrow_forget(call);
    if (connection->in_send) { /* the output refers to it: the flush delivers */
        call->written_due = true;
        evener_http2_link_append(&connection->written, &call->written_link);
    } else {
        evener_bytes_clear(&call->compressed);
        call->base.events->written(&call->base);
    }
}

void evener_http2_call_deliver_ended(evener_connection *connection)
{
    while (!evener_http2_link_is_empty(&connection->ending)) {
        evener_http2_call *call = EVENER_CONTAINER_OF(connection->ending.next, evener_http2_call, link);
        evener_http2_link_remove(&call->link);
        deliver_end(connection, call);
    }
}

/* ---- the owner's side: begin, write, read, cancel ---- */

static void deadline_passes(void *arg)
{
    evener_http2_call *call = arg;
    evener_connection *connection = call->base.connection;
    evener_http2_call_reset(connection, call, NGHTTP2_CANCEL);
    evener_http2_call_time_out(connection, call, evener_http2_call_fate(connection, call));
}

/* False: the call has ended. */
static bool begin(evener_connection *connection, evener_http2_call *call)
{
    call->phase = EVENER_HTTP2_CALL_WAITING;
    connection->foreground += !call->is_background;
    evener_http2_crowd_grows(connection);
    evener_http2_link_append(&connection->waiting, &call->link);
    if (connection->phase != EVENER_HTTP2_PHASE_OPEN || connection->draining) {
        const char *reason = connection->failure != NULL ? connection->failure->message : "not connected yet";
        evener_http2_call_end(connection, call, EVENER_STATUS_UNAVAILABLE, EVENER_FATE_NEVER_LEFT, reason,
                              strlen(reason));
        return false;
    }
    if (call->deadline_ns != UINT64_MAX) {
        call->timer = (evener_timer)EVENER_TIMER_INIT(deadline_passes, call);
        evener_timer_heap_start(&connection->timers, &call->timer, call->deadline_ns);
    }
    return true;
}

/* Take the message that is to be sent, compressed if that makes it smaller. False: the call has ended. */
static bool take_message(evener_connection *connection, evener_http2_call *call, const evener_bytes *message)
{
    call->sent_bytes = 0;
    call->sending_is_compressed = false;
    call->sending = message != NULL ? message : &empty_message;
    const size_t max =
        call->send_bytes_max > 0 && call->send_bytes_max < MESSAGE_BYTES_MAX ? call->send_bytes_max : MESSAGE_BYTES_MAX;
    if (call->sending->length > max) {
        evener_http2_call_reset(connection, call, NGHTTP2_CANCEL);
        evener_http2_call_fail(connection, call, EVENER_STATUS_RESOURCE_EXHAUSTED,
                               evener_http2_call_fate(connection, call),
                               "sent message of %zu bytes is larger than the limit of %zu", message->length, max);
        return false;
    }
    if (call->compression != EVENER_COMPRESSION_NONE && call->sending->length > 0 &&
        evener_http2_compress(call->compression, call->sending, &call->compressed)) {
        call->sending = &call->compressed;
        call->sending_is_compressed = true;
    }
    return true;
}

static void resume(evener_connection *connection, evener_http2_call *call)
{
    if (call->send_deferred && call->stream_id > 0) {
        call->send_deferred = false;
        (void)nghttp2_session_resume_data(connection->session, call->stream_id);
    }
}

void evener_http2_call_operate(evener_connection *connection, evener_http2_call *call, uint32_t bits)
{
    if (call->phase == EVENER_HTTP2_CALL_QUEUED) {
        deliver_end(connection, call);
        return;
    }
    if (bits == 0 || ((bits & EVENER_HTTP2_OP_BEGIN) != 0 && !begin(connection, call))) {
        return;
    }
    if ((bits & EVENER_HTTP2_OP_CANCEL) != 0) {
        evener_http2_call_reset(connection, call, NGHTTP2_CANCEL);
        evener_http2_call_end(connection, call, call->cancel_code, evener_http2_call_fate(connection, call),
                              call->cancel_message, strlen(call->cancel_message));
        return;
    }
    if ((bits & EVENER_HTTP2_OP_WRITE) != 0) {
        call->send_closed = call->next_is_last;
        if (call->remote_ended) {
            call->base.events->written(
                &call->base); /* the server does not read it; received messages still wait to be read */
        } else if (!take_message(connection, call, call->next_message)) {
            return;
        }
        resume(connection, call);
    }
    if ((bits & EVENER_HTTP2_OP_HALF_CLOSE) != 0 && !call->send_closed) {
        call->send_closed = true;
        if (!call->remote_ended) {
            resume(connection, call);
        }
    }
    if ((bits & EVENER_HTTP2_OP_READ) != 0) {
        call->reading = true;
        evener_http2_receive_more(connection, call);
    }
}

bool evener_http2_call_submit_next(evener_connection *connection)
{
    if (evener_http2_link_is_empty(&connection->waiting) || connection->streams >= connection->streams_max ||
        connection->draining || connection->phase != EVENER_HTTP2_PHASE_OPEN) {
        return false;
    }
    evener_http2_call *call = EVENER_CONTAINER_OF(connection->waiting.next, evener_http2_call, link);
    const uint64_t now_ns = call->deadline_ns != UINT64_MAX ? evener_http2_now_ns(connection) : 0;
    if (call->deadline_ns <= now_ns) {
        deadline_passes(call);
        return true;
    }
    if (call->unary && call->sending == NULL) {
        call->send_closed = true;
        if (!take_message(connection, call, call->next_message)) {
            return true;
        }
    }
    const int32_t stream_id = evener_http2_request_submit(connection, call, call->deadline_ns - now_ns);
    if (stream_id < 0) {
        /* Out of stream ids: a new connection is needed. Any other error: out of memory. */
        if (stream_id == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE) {
            evener_http2_connection_drain(connection, true);
        } else {
            evener_http2_call_fail(connection, call, EVENER_STATUS_RESOURCE_EXHAUSTED, EVENER_FATE_NEVER_LEFT,
                                   "%s: the call cannot be submitted: %s", connection->address,
                                   nghttp2_strerror(stream_id));
        }
        return true;
    }
    if (evener_http2_link_is_empty(&connection->open)) {
        evener_http2_keepalive_call_began(connection);
    }
    evener_http2_link_remove(&call->link);
    evener_http2_link_append(&connection->open, &call->link);
    call->phase = EVENER_HTTP2_CALL_OPEN;
    call->stream_id = stream_id;
    connection->streams++;
    return true;
}

/* ---- the seam ---- */

static evener_status_code check_args(const evener_call_begin_args *args, evener_status *status)
{
    if (args->method == NULL || args->method[0] != '/' ||
        nghttp2_check_path((const uint8_t *)args->method, strlen(args->method)) == 0) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "method \"%s\": \"/package.Service/Method\" is wanted",
                                 args->method != NULL ? args->method : "(NULL)");
    }
    if (args->authority != NULL &&
        (*args->authority == '\0' ||
         nghttp2_check_authority((const uint8_t *)args->authority, strlen(args->authority)) == 0)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "authority \"%s\" cannot be sent",
                                 args->authority);
    }
    if (args->metadata_count > 0 && !evener_metadata_check(args->metadata, args->metadata_count, status)) {
        return EVENER_STATUS_INVALID_ARGUMENT;
    }
    if (args->unary && args->request != NULL && args->send_bytes_max > 0 &&
        args->request->length > args->send_bytes_max) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                                 "sent message of %zu bytes is larger than the limit of %zu", args->request->length,
                                 args->send_bytes_max);
    }
    return EVENER_STATUS_OK;
}

static evener_status_code call_begin(evener_connection *connection, evener_transport_call *base,
                                     const evener_call_begin_args *args, evener_status *status)
{
    evener_http2_call *call = (evener_http2_call *)base;
    if (atomic_load_explicit(&connection->closed_to_calls, memory_order_acquire) != 0) {
        return evener_status_set(status, EVENER_STATUS_UNAVAILABLE, "%s: the connection takes no further call",
                                 connection->address);
    }
    const evener_status_code code = check_args(args, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    call->picked = connection;
    call->is_assigned = evener_http2_group_of(connection) != NULL;
    if (call->is_assigned) {
        connection = evener_http2_group_choose(connection);
    }
    __atomic_store_n(&base->connection, connection, __ATOMIC_RELAXED);
    base->events = args->events;
    call->op.is_call = true;
    call->method = args->method;
    call->authority = args->authority;
    call->metadata = args->metadata;
    call->metadata_count = args->metadata_count;
    call->deadline_ns = args->deadline_ns;
    call->receive_bytes_max =
        args->receive_bytes_max > 0 ? args->receive_bytes_max : EVENER_HTTP2_MESSAGE_BYTES_DEFAULT;
    call->send_bytes_max = args->send_bytes_max;
    call->previous_attempts = args->previous_attempts;
    call->compression = (uint8_t)args->compression;
    call->unary = args->unary;
    call->blocking = args->blocking || args->background;
    call->is_background = args->background;
    call->wants_metadata = args->wants_metadata;
    call->next_message = args->request;
    call->next_is_last = args->unary;
    call->headers_at = UINT64_MAX;
    call->stream_id = 0;
    call->sending = NULL;
    call->sent_bytes = 0;
    call->send_closed = false;
    call->send_deferred = false;
    call->end_stream_sent = false;
    call->written_due = false;
    call->is_narrow = false;
    call->reading = args->unary;
    call->final_status = 0;
    call->answered = false;
    call->headers_came = false;
    call->timed_out = false;
    call->remote_ended = false;
    call->reset_by_peer = false;
    call->local_failure = false;
    call->content_is_grpc = false;
    call->has_grpc_status = false;
    call->encoding = EVENER_COMPRESSION_NONE;
    call->http_status = 0;
    call->header_list_bytes = 0;
    call->prefix_bytes = 0;
    call->has_message = false;
    call->message_bytes = 0;
    call->held_from = 0;
    call->load_report_bytes = 0;
    call->grpc_message_bytes = 0;
    atomic_store_explicit(&call->wait_word, NULL, memory_order_relaxed);
    if (!call->blocking) {
        (void)atomic_fetch_add(&connection->nonblocking, 1);
    }
    atomic_store_explicit(&call->op.bits, EVENER_HTTP2_OP_LIVE, memory_order_relaxed);
    /* A blocking caller serves, and wakes, the picked connection only. */
    evener_http2_submit(connection, &call->op, EVENER_HTTP2_OP_BEGIN, !args->blocking || connection != call->picked);
    return EVENER_STATUS_OK;
}

static void call_write(evener_transport_call *base, const evener_bytes *message, bool last)
{
    evener_http2_call *call = (evener_http2_call *)base;
    call->next_message = message;
    call->next_is_last = last;
    evener_http2_call_submit(call, EVENER_HTTP2_OP_WRITE);
}

static void call_half_close(evener_transport_call *base)
{
    evener_http2_call_submit((evener_http2_call *)base, EVENER_HTTP2_OP_HALF_CLOSE);
}

static void call_read(evener_transport_call *base)
{
    evener_http2_call_submit((evener_http2_call *)base, EVENER_HTTP2_OP_READ);
}

static void call_cancel(evener_transport_call *base, evener_status_code code, const char *message)
{
    evener_http2_call *call = (evener_http2_call *)base;
    call->cancel_code = code;
    call->cancel_message = message;
    evener_http2_call_submit(call, EVENER_HTTP2_OP_CANCEL);
}

const evener_transport_calls evener_http2_calls = {
    .size = sizeof evener_http2_calls,
    .call_bytes = sizeof(evener_http2_call),
    .call_begin = call_begin,
    .call_write = call_write,
    .call_half_close = call_half_close,
    .call_read = call_read,
    .call_cancel = call_cancel,
    .call_wait = evener_http2_call_wait,
};
