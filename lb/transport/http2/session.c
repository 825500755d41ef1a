/* The session: nghttp2's view of a connection, and its callbacks. */
#include <string.h>

#include "lb/transport/http2/flow_control.h"
#include "lb/transport/http2/group.h"
#include "lb/transport/http2/internal.h"
#include "lb/transport/http2/keepalive.h"

/* Limit of queued acknowledgements of PING and SETTINGS: a peer that floods is disconnected. */
#define OUTBOUND_ACKS_MAX 1000

static evener_http2_call *call_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

/* Return nghttp2's error if the connection broke inside a callback: nghttp2 must then stop. */
static int go_on(const evener_connection *connection)
{
    return connection->phase == EVENER_HTTP2_PHASE_CLOSED ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    (void)user_data;
    evener_http2_call *call = call_of(session, frame->hd.stream_id);
    if (call != NULL) {
        call->header_list_bytes = 0;
        call->received.used = 0;
        call->received.count = 0;
        call->http_status = 0;
    }
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_bytes,
                     const uint8_t *value, size_t value_bytes, uint8_t flags, void *user_data)
{
    (void)flags;
    evener_http2_call *call = call_of(session, frame->hd.stream_id);
    return call != NULL ? evener_http2_receive_header(user_data, call, name, name_bytes, value, value_bytes) : 0;
}

static void on_settings(evener_connection *connection)
{
    evener_http2_narrow_resume(connection); /* windows may have changed */
    connection->streams_max =
        nghttp2_session_get_remote_settings(connection->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    atomic_store(&connection->streams_limit, connection->streams_max);
    if (connection->phase == EVENER_HTTP2_PHASE_SETTINGS) {
        connection->phase = EVENER_HTTP2_PHASE_OPEN;
        evener_http2_keepalive_start(connection);
        evener_http2_group_opened(connection);
        evener_http2_connection_report(connection, EVENER_HTTP2_EVENT_READY);
    } else {
        evener_http2_group_limit_changed(connection);
    }
}

static void on_goaway(evener_connection *connection, const nghttp2_goaway *goaway)
{
    connection->goaway_received = true;
    connection->goaway_last_id = goaway->last_stream_id;
    evener_http2_keepalive_goaway(connection, goaway->error_code, goaway->opaque_data, goaway->opaque_data_len);
    if (connection->phase == EVENER_HTTP2_PHASE_SETTINGS) {
        evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE, "GOAWAY before SETTINGS");
        return;
    }
    evener_http2_connection_drain(connection, true);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    evener_connection *connection = user_data;
    const bool is_answer = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
    const bool end_stream = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    evener_http2_call *call;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        call = call_of(session, frame->hd.stream_id);
        if (call != NULL) {
            evener_http2_receive_headers_end(connection, call, end_stream);
        }
        break;
    case NGHTTP2_DATA:
        call = end_stream ? call_of(session, frame->hd.stream_id) : NULL;
        if (call != NULL) {
            evener_http2_receive_end(connection, call);
        }
        break;
    case NGHTTP2_RST_STREAM:
        call = call_of(session, frame->hd.stream_id);
        if (call != NULL) {
            call->reset_by_peer = true;
        }
        break;
    case NGHTTP2_SETTINGS:
        if (!is_answer) {
            on_settings(connection);
        }
        break;
    case NGHTTP2_PING:
        if (is_answer && !evener_http2_flow_ping_answered(connection, frame->ping.opaque_data)) {
            evener_http2_keepalive_answered(connection);
        }
        break;
    case NGHTTP2_WINDOW_UPDATE:
        evener_http2_narrow_resume(connection);
        break;
    case NGHTTP2_GOAWAY:
        on_goaway(connection, &frame->goaway);
        break;
    default:
        break;
    }
    return go_on(connection);
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t bytes,
                         void *user_data)
{
    (void)flags;
    evener_connection *connection = user_data;
    evener_http2_flow_received(connection, bytes);
    evener_http2_call *call = call_of(session, stream_id);
    if (call != NULL) {
        evener_http2_receive_data(connection, call, data, bytes);
    }
    return go_on(connection);
}

/* End the call of a stream that was closed before the call's end. */
static void stream_failed(evener_connection *connection, evener_http2_call *call, uint32_t error_code)
{
    evener_fate fate = EVENER_FATE_PERHAPS_PROCESSED;
    if (call->headers_at == UINT64_MAX) {
        fate = EVENER_FATE_NEVER_LEFT;
    } else if (error_code == NGHTTP2_REFUSED_STREAM && !call->answered &&
               (call->reset_by_peer || (connection->goaway_received && call->stream_id > connection->goaway_last_id))) {
        fate = EVENER_FATE_REFUSED;
    }
    /* A server at which the deadline has passed can only reset the stream. Its reset may be read before this side's
     * timer runs. */
    const bool timed_out =
        call->reset_by_peer && error_code == NGHTTP2_CANCEL && call->deadline_ns <= evener_http2_now_ns(connection);
    if (timed_out) {
        evener_http2_call_time_out(connection, call, fate);
    } else if (call->reset_by_peer) {
        evener_http2_call_fail(connection, call, evener_http2_status_of_reset(error_code), fate,
                               "the server reset the stream: %s", nghttp2_http2_strerror(error_code));
    } else if (fate == EVENER_FATE_REFUSED) {
        evener_http2_call_fail(connection, call, EVENER_STATUS_UNAVAILABLE, fate,
                               "%s: the server ends the connection (GOAWAY) and did not look at the call",
                               connection->address);
    } else if (call->local_failure) {
        evener_http2_call_end(connection, call, call->end_code, fate, call->end_message, call->end_message_bytes);
    } else {
        evener_http2_call_fail(connection, call, EVENER_STATUS_INTERNAL, fate, "the server's answer breaks HTTP/2: %s",
                               nghttp2_http2_strerror(error_code));
    }
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *user_data)
{
    evener_connection *connection = user_data;
    evener_http2_call *call = call_of(session, stream_id);
    if (connection->streams > 0) {
        connection->streams--;
    }
    if (call == NULL) {
        return 0;
    }
    if (call->remote_ended) {
        evener_http2_call_leave_stream(connection, call);
        return 0;
    }
    stream_failed(connection, call, error_code);
    return 0;
}

static int before_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    if (frame->hd.type == NGHTTP2_HEADERS) {
        evener_http2_call *call = call_of(session, frame->hd.stream_id);
        if (call != NULL) {
            call->headers_at = ((evener_connection *)user_data)->output_total;
        }
    }
    return 0;
}

nghttp2_session_callbacks *evener_http2_session_callbacks(void)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) {
        return NULL;
    }
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_before_frame_send_callback(callbacks, before_frame_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, evener_http2_on_send_data);
    return callbacks;
}

nghttp2_option *evener_http2_session_option(void)
{
    nghttp2_option *option;
    if (nghttp2_option_new(&option) != 0) {
        return NULL;
    }
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_outbound_ack(option, OUTBOUND_ACKS_MAX);
    return option;
}

bool evener_http2_session_start(evener_connection *connection)
{
    nghttp2_mem memory = evener_http2_memory_pool_table(&connection->pool);
    connection->phase = EVENER_HTTP2_PHASE_SETTINGS;
    connection->last_received_ns = evener_http2_now_ns(connection);
    return nghttp2_session_client_new3(&connection->session, connection->engine->callbacks, connection,
                                       connection->engine->option, &memory) == 0 &&
           evener_http2_flow_start(connection);
}
