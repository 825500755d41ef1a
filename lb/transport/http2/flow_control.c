#include "lb/transport/http2/flow_control.h"

#include <string.h>

static const uint8_t ping_mark[8] = {'e', 'v', 'e', 'n', 'r', 'b', 'd', 'p'};

static int set_windows(evener_connection *connection)
{
    uint32_t whole = connection->window_bytes * EVENER_HTTP2_CONNECTION_WINDOWS;
    if (whole > EVENER_HTTP2_WINDOW_BYTES_MAX) {
        whole = EVENER_HTTP2_WINDOW_BYTES_MAX;
    }
    if (whole < NGHTTP2_INITIAL_CONNECTION_WINDOW_SIZE) {
        whole = NGHTTP2_INITIAL_CONNECTION_WINDOW_SIZE;
    }
    return nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, (int32_t)whole);
}

bool evener_http2_flow_start(evener_connection *connection)
{
    connection->window_bytes = connection->transport->window_bytes;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, connection->window_bytes},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, connection->transport->header_list_bytes_max},
    };
    return nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings,
                                   sizeof settings / sizeof *settings) == 0 &&
           set_windows(connection) == 0;
}

void evener_http2_flow_received(evener_connection *connection, size_t bytes)
{
    (void)nghttp2_session_consume_connection(connection->session, bytes);
    connection->received_bytes += bytes;
    if (connection->bdp_ping_out || connection->received_bytes <= connection->window_bytes / 2 ||
        connection->window_bytes >= EVENER_HTTP2_WINDOW_BYTES_MAX) {
        return;
    }
    if (nghttp2_submit_ping(connection->session, NGHTTP2_FLAG_NONE, ping_mark) == 0) {
        connection->bdp_ping_out = true;
        connection->received_bytes = 0;
    }
}

bool evener_http2_flow_ping_answered(evener_connection *connection, const uint8_t opaque[8])
{
    if (!connection->bdp_ping_out || memcmp(opaque, ping_mark, sizeof ping_mark) != 0) {
        return false;
    }
    connection->bdp_ping_out = false;
    if (connection->received_bytes >= (uint64_t)connection->window_bytes / 3 * 2) {
        connection->window_bytes = connection->window_bytes <= EVENER_HTTP2_WINDOW_BYTES_MAX / 2
                                       ? connection->window_bytes * 2
                                       : EVENER_HTTP2_WINDOW_BYTES_MAX;
        const nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, connection->window_bytes};
        (void)nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, &window, 1);
        (void)set_windows(connection);
    }
    connection->received_bytes = 0;
    return true;
}

/* ---- sending ---- */

bool evener_http2_narrow_waits(evener_connection *connection, evener_http2_call *call, size_t bytes, size_t rest)
{
    if (bytes >= rest || bytes >= EVENER_HTTP2_NARROW_BYTES || connection->sends_narrow) {
        return false;
    }
    if (!call->is_narrow) {
        call->is_narrow = true;
        evener_http2_link_append(&connection->narrow, &call->narrow_link);
    }
    if (!connection->narrow_timer.active) {
        evener_timer_heap_start(&connection->timers, &connection->narrow_timer,
                                evener_http2_now_ns(connection) + EVENER_HTTP2_NARROW_WAIT_NS);
    }
    return true;
}

void evener_http2_narrow_forget(evener_http2_call *call)
{
    if (call->is_narrow) {
        call->is_narrow = false;
        evener_http2_link_remove(&call->narrow_link);
    }
}

void evener_http2_narrow_resume(evener_connection *connection)
{
    while (!evener_http2_link_is_empty(&connection->narrow)) {
        evener_http2_call *call = EVENER_CONTAINER_OF(connection->narrow.next, evener_http2_call, narrow_link);
        evener_http2_narrow_forget(call);
        if (call->stream_id > 0) {
            (void)nghttp2_session_resume_data(connection->session, call->stream_id);
        }
    }
}

void evener_http2_narrow_rings(void *arg)
{
    evener_connection *connection = arg;
    if (connection->phase == EVENER_HTTP2_PHASE_OPEN) {
        connection->sends_narrow = true; /* until the next flush */
        evener_http2_narrow_resume(connection);
    }
}
