/* From an address to a session: socket, proxy, TLS, the server's SETTINGS. On the I/O thread, without blocking. */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "lb/base/c_locale.h"
#include "lb/base/fork.h"
#include "lb/transport/http2/internal.h"
#include "lb/transport/http2/tls.h"
#include "lb/transport/http2/tunnel.h"

static void fail(evener_connection *connection, const char *what, int error)
{
    evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE, "%s%s: %s", what,
                                  connection->wants_tunnel ? " to the proxy" : "",
                                  strerror_l(error, evener_c_locale()));
}

/* ---- sockets ---- */

static void set_options(const evener_connection *connection, int family)
{
    if (family == AF_UNIX || family == AF_VSOCK) {
        return;
    }
    const int on = 1;
    (void)setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const evener_http2_transport *transport = connection->transport;
    if (atomic_load_explicit(&transport->keepalive_time_ns, memory_order_relaxed) != UINT64_MAX) {
        /* A18: data that is not acknowledged for this time ends the connection. */
        const uint64_t given_ms = transport->keepalive_timeout_ns / EVENER_NS_PER_MS;
        const unsigned timeout_ms = given_ms < INT_MAX ? (unsigned)given_ms : INT_MAX;
        (void)setsockopt(connection->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
    }
}

static void start_session(evener_connection *connection)
{
    if (!evener_http2_session_start(connection)) {
        evener_http2_connection_break(connection, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
}

static void go_on_with_tls(evener_connection *connection)
{
    if (evener_http2_tls_handshake(connection) == EVENER_HTTP2_TLS_DONE) {
        start_session(connection);
    }
}

static void is_at_backend(evener_connection *connection)
{
    if (connection->transport->tls == NULL) {
        start_session(connection);
        return;
    }
    connection->phase = EVENER_HTTP2_PHASE_TLS;
    if (evener_http2_tls_start(connection)) {
        go_on_with_tls(connection);
    }
}

static void socket_is_connected(evener_connection *connection)
{
    if (connection->wants_tunnel) {
        evener_http2_tunnel_request(connection);
    } else {
        is_at_backend(connection);
    }
}

void evener_http2_connect_start(evener_connection *connection)
{
    if (evener_http2_tunnel_is_wanted(connection)) {
        evener_http2_tunnel_start(connection);
    } else {
        evener_http2_connect_socket(connection, connection->address);
    }
}

void evener_http2_connect_socket(evener_connection *connection, const char *address_text)
{
    struct sockaddr_storage to;
    uint32_t bytes = 0;
    evener_address *address = NULL;
    evener_status status;
    if (evener_address_create(address_text, NULL, 0, &address, &status) != EVENER_STATUS_OK ||
        evener_address_get_sockaddr(address, &to, &bytes, &status) != EVENER_STATUS_OK) {
        evener_address_unref(address);
        evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE, "%s", status.message);
        return;
    }
    evener_address_unref(address);
    connection->phase = EVENER_HTTP2_PHASE_CONNECTING;
    connection->fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connection->fd < 0) {
        fail(connection, "no socket", errno);
        return;
    }
    evener_fork_close_in_child(connection->fd);
    set_options(connection, to.ss_family);
    if (connect(connection->fd, (const struct sockaddr *)&to, bytes) == 0) {
        socket_is_connected(connection);
    } else if (errno != EINPROGRESS) {
        fail(connection, "cannot connect", errno);
    }
}

void evener_http2_connect_continue(evener_connection *connection)
{
    if (connection->phase == EVENER_HTTP2_PHASE_CONNECTING) {
        int error = 0;
        socklen_t bytes = sizeof error;
        (void)getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
        if (error != 0) {
            fail(connection, "cannot connect", error);
        } else {
            socket_is_connected(connection);
        }
    } else if (connection->phase == EVENER_HTTP2_PHASE_PROXY) {
        if (evener_http2_tunnel_read(connection)) {
            is_at_backend(connection);
        }
    } else if (connection->phase == EVENER_HTTP2_PHASE_TLS) {
        go_on_with_tls(connection);
    }
}

/* ---- peers that speak something else ---- */

bool evener_http2_connect_judge(evener_connection *connection, const uint8_t *data, size_t bytes)
{
    static const char http1[] = "HTTP/1.";
    /* The first frame starts with a length below 16 KiB: never with these. */
    if (bytes >= sizeof http1 - 1 && memcmp(data, http1, sizeof http1 - 1) == 0) {
        evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE, "the server speaks HTTP/1.1, not HTTP/2");
        return true;
    }
    if (connection->tls == NULL && bytes >= 2 && data[0] == 0x15 && data[1] == 0x03) { /* a TLS alert */
        evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE,
                                      "the server speaks TLS: use TLS credentials");
        return true;
    }
    return false;
}
