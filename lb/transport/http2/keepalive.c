#include "lb/transport/http2/keepalive.h"

#include <string.h>

#include <evener/log.h>

static const uint8_t ping_mark[8] = {'e', 'v', 'e', 'n', 'r', 'a', 'l', 'v'};

static uint64_t time_ns(const evener_connection *connection)
{
    return atomic_load_explicit(&connection->transport->keepalive_time_ns, memory_order_relaxed);
}

static void start_timer(evener_connection *connection, uint64_t from_ns, uint64_t after_ns)
{
    const uint64_t deadline_ns = after_ns < UINT64_MAX - from_ns ? from_ns + after_ns : UINT64_MAX;
    evener_timer_heap_start(&connection->timers, &connection->keepalive, deadline_ns);
}

void evener_http2_keepalive_start(evener_connection *connection)
{
    if (time_ns(connection) != UINT64_MAX) {
        start_timer(connection, connection->last_received_ns, time_ns(connection));
    }
}

void evener_http2_keepalive_call_began(evener_connection *connection)
{
    if (time_ns(connection) != UINT64_MAX && !connection->keepalive.active) {
        start_timer(connection, evener_http2_now_ns(connection), time_ns(connection));
    }
}

void evener_http2_keepalive_answered(evener_connection *connection)
{
    if (connection->keepalive_ping_out) {
        connection->keepalive_ping_out = false;
        evener_http2_keepalive_start(connection);
    }
}

void evener_http2_keepalive_rings(void *arg)
{
    evener_connection *connection = arg;
    const uint64_t now_ns = evener_http2_now_ns(connection);
    const uint64_t silent_ns = now_ns - connection->last_received_ns;
    if (connection->phase != EVENER_HTTP2_PHASE_OPEN || time_ns(connection) == UINT64_MAX) {
        return;
    }
    if (connection->keepalive_ping_out) {
        if (connection->last_received_ns <= connection->ping_sent_ns) {
            evener_http2_connection_break(
                connection, EVENER_STATUS_UNAVAILABLE, "keepalive: no byte from the server for %llu ms after a PING",
                (unsigned long long)(connection->transport->keepalive_timeout_ns / EVENER_NS_PER_MS));
            return;
        }
        connection->keepalive_ping_out = false; /* any received byte counts as the answer */
    }
    if (silent_ns < time_ns(connection)) {
        start_timer(connection, connection->last_received_ns, time_ns(connection));
        return;
    }
    if (!connection->transport->keepalive_permit_without_calls && !evener_http2_has_calls(connection)) {
        return; /* until a call begins */
    }
    if (nghttp2_submit_ping(connection->session, NGHTTP2_FLAG_NONE, ping_mark) == 0) {
        connection->keepalive_ping_out = true;
        connection->ping_sent_ns = now_ns;
        start_timer(connection, now_ns, connection->transport->keepalive_timeout_ns);
    }
}

void evener_http2_keepalive_goaway(evener_connection *connection, uint32_t error_code, const uint8_t *debug,
                                   size_t debug_bytes)
{
    static const char reason[] = "too_many_pings";
    if (error_code != NGHTTP2_ENHANCE_YOUR_CALM || debug_bytes != sizeof reason - 1 ||
        memcmp(debug, reason, debug_bytes) != 0) {
        return;
    }
    uint64_t before = time_ns(connection);
    if (before != UINT64_MAX) {
        const uint64_t after = before < UINT64_MAX / 2 ? before * 2 : UINT64_MAX;
        /* Two connections may receive it at once: one doubling is enough. */
        if (atomic_compare_exchange_strong(&connection->transport->keepalive_time_ns, &before, after)) {
            evener_log(EVENER_LOG_WARNING, "http2",
                       "%s: the server found pings too frequent: keepalive time is %llu ms now", connection->address,
                       (unsigned long long)(after / EVENER_NS_PER_MS));
        }
    }
}
