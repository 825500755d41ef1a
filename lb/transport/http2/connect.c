/* From an address to a session: socket, proxy, TLS, the server's SETTINGS. On the I/O thread, without blocking. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "lb/base/c_locale.h"
#include "lb/base/fork.h"
#include "lb/transport/http2/internal.h"
#include "lb/transport/http2/tls.h"
#include "lb/transport/http2/tunnel.h"

#define UNIX_PREFIX "unix:"
#define ABSTRACT_PREFIX "unix-abstract:"
#define VSOCK_PREFIX "vsock:"

typedef union any_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
    struct sockaddr_vm vm;
} any_address;

static void fail(evener_connection *connection, const char *what, int error)
{
    evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE, "%s%s: %s", what,
                                  connection->wants_tunnel ? " to the proxy" : "",
                                  strerror_l(error, evener_c_locale()));
}

/* ---- addresses ---- */

static socklen_t read_local(const char *path, bool is_abstract, any_address *address)
{
    const size_t bytes = strlen(path);
    const size_t first = is_abstract ? 1 : 0;
    if (bytes + first >= sizeof address->local.sun_path) {
        return 0;
    }
    address->local.sun_family = AF_UNIX;
    memcpy(address->local.sun_path + first, path, bytes);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + first + bytes + (is_abstract ? 0 : 1));
}

static socklen_t read_vsock(const char *cid, any_address *address)
{
    const char *colon = strchr(cid, ':');
    address->vm.svm_family = AF_VSOCK;
    address->vm.svm_cid = (unsigned)strtoul(cid, NULL, 10);
    address->vm.svm_port = colon != NULL ? (unsigned)strtoul(colon + 1, NULL, 10) : 0;
    return colon != NULL ? sizeof address->vm : 0;
}

/* Read the canonical text of an evener_address; return the address's length, 0: it cannot be connected to. */
static socklen_t read_address(const char *text, any_address *address)
{
    memset(address, 0, sizeof *address);
    if (strncmp(text, ABSTRACT_PREFIX, sizeof ABSTRACT_PREFIX - 1) == 0) {
        return read_local(text + sizeof ABSTRACT_PREFIX - 1, true, address);
    }
    if (strncmp(text, UNIX_PREFIX, sizeof UNIX_PREFIX - 1) == 0) {
        return read_local(text + sizeof UNIX_PREFIX - 1, false, address);
    }
    if (strncmp(text, VSOCK_PREFIX, sizeof VSOCK_PREFIX - 1) == 0) {
        return read_vsock(text + sizeof VSOCK_PREFIX - 1, address);
    }
    const bool is_v6 = *text == '[';
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN + IF_NAMESIZE + 2];
    const size_t host_bytes = colon == NULL ? 0 : (size_t)(colon - text) - (is_v6 ? 2 : 0);
    if (host_bytes == 0 || host_bytes >= sizeof host) {
        return 0;
    }
    memcpy(host, text + is_v6, host_bytes);
    host[host_bytes] = '\0';
    const in_port_t port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    if (!is_v6) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = port;
        return inet_pton(AF_INET, host, &address->v4.sin_addr) == 1 ? sizeof address->v4 : 0;
    }
    address->v6.sin6_family = AF_INET6;
    address->v6.sin6_port = port;
    char *zone = strchr(host, '%');
    if (zone != NULL) {
        *zone++ = '\0';
        address->v6.sin6_scope_id = if_nametoindex(zone);
        if (address->v6.sin6_scope_id == 0) {
            address->v6.sin6_scope_id = (uint32_t)strtoul(zone, NULL, 10);
        }
    }
    return inet_pton(AF_INET6, host, &address->v6.sin6_addr) == 1 ? sizeof address->v6 : 0;
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
        const unsigned timeout_ms = (unsigned)(transport->keepalive_timeout_ns / EVENER_NS_PER_MS);
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
    any_address address;
    const socklen_t bytes = read_address(address_text, &address);
    if (bytes == 0) {
        evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE, "not an address to connect to");
        return;
    }
    connection->phase = EVENER_HTTP2_PHASE_CONNECTING;
    connection->fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connection->fd < 0) {
        fail(connection, "no socket", errno);
        return;
    }
    evener_fork_close_in_child(connection->fd);
    set_options(connection, address.any.sa_family);
    if (connect(connection->fd, &address.any, bytes) == 0) {
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
