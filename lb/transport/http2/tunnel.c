#include "lb/transport/http2/tunnel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lb/base/c_locale.h"
#include "lb/runtime/thread.h"
#include "lb/transport/http2/proxy.h"

#define REQUEST_BYTES_MAX 2048

/* Shared by the connection and the thread of the lookup, which may outlive the connection and even the runtime:
 * getaddrinfo() cannot be cancelled. */
struct evener_http2_lookup {
    pthread_mutex_t mutex;
    unsigned references;           /* under the mutex */
    evener_connection *connection; /* under the mutex; NULL: it is closed */
    char host[EVENER_PROXY_HOST_BYTES];
    char port[8];
    int error; /* of getaddrinfo(); the thread's until the connection is notified */
    char address[INET6_ADDRSTRLEN + 16];
};

static void write_address(char *to, size_t to_bytes, const char *host, const char *port)
{
    snprintf(to, to_bytes, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
}

/* ---- the lookup ---- */

/* Give back a reference. Called with the mutex held, and unlocks it. */
static void lookup_unref(evener_http2_lookup *lookup)
{
    const bool is_last = --lookup->references == 0;
    pthread_mutex_unlock(&lookup->mutex);
    if (is_last) {
        pthread_mutex_destroy(&lookup->mutex);
        free(lookup);
    }
}

static void *look_up(void *arg)
{
    evener_http2_lookup *lookup = arg;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG};
    struct addrinfo *found = NULL;
    char host[INET6_ADDRSTRLEN];
    int error = getaddrinfo(lookup->host, lookup->port, &hints, &found);
    if (error == 0) {
        error = getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, NULL, 0, NI_NUMERICHOST);
        freeaddrinfo(found);
    }
    pthread_mutex_lock(&lookup->mutex);
    lookup->error = error;
    if (error == 0) {
        write_address(lookup->address, sizeof lookup->address, host, lookup->port);
    }
    if (lookup->connection != NULL) { /* it cannot close while the mutex is held */
        evener_http2_submit(lookup->connection, &lookup->connection->op, EVENER_HTTP2_OP_CONNECT, true);
    }
    lookup_unref(lookup);
    return NULL;
}

static void start_lookup(evener_connection *connection, const evener_http2_proxy *proxy)
{
    evener_http2_lookup *lookup = calloc(1, sizeof *lookup);
    if (lookup == NULL) {
        evener_http2_connection_break(connection, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    pthread_mutex_init(&lookup->mutex, NULL);
    lookup->references = 2;
    lookup->connection = connection;
    memcpy(lookup->host, proxy->host, sizeof lookup->host);
    memcpy(lookup->port, proxy->port, sizeof lookup->port);
    connection->lookup = lookup;
    pthread_t thread;
    evener_status why;
    if (evener_thread_start(&thread, "evener-proxy", look_up, lookup, &why) != EVENER_STATUS_OK) {
        pthread_mutex_lock(&lookup->mutex);
        lookup_unref(lookup);
        evener_http2_connection_break(connection, EVENER_STATUS_RESOURCE_EXHAUSTED, "proxy %s: %s", proxy->host,
                                      why.message);
        return;
    }
    (void)pthread_detach(thread);
}

/* ---- the tunnel ---- */

bool evener_http2_tunnel_is_wanted(const evener_connection *connection)
{
    const evener_http2_proxy *proxy = connection->transport->proxy;
    return proxy != NULL && evener_http2_proxy_serves(proxy, connection->address);
}

void evener_http2_tunnel_start(evener_connection *connection)
{
    const evener_http2_proxy *proxy = connection->transport->proxy;
    uint8_t address[16];
    connection->phase = EVENER_HTTP2_PHASE_CONNECTING;
    connection->wants_tunnel = true;
    if (inet_pton(AF_INET, proxy->host, address) != 1 && inet_pton(AF_INET6, proxy->host, address) != 1) {
        start_lookup(connection, proxy);
        return;
    }
    char text[EVENER_PROXY_HOST_BYTES + 16];
    write_address(text, sizeof text, proxy->host, proxy->port);
    evener_http2_connect_socket(connection, text);
}

void evener_http2_tunnel_looked_up(evener_connection *connection)
{
    evener_http2_lookup *lookup = connection->lookup;
    if (lookup == NULL || connection->phase != EVENER_HTTP2_PHASE_CONNECTING || connection->fd >= 0) {
        return;
    }
    if (lookup->error != 0) {
        evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE, "proxy %s: its name is not resolved: %s",
                                      lookup->host, evener_gai_strerror(lookup->error));
        return;
    }
    evener_http2_connect_socket(connection, lookup->address);
}

void evener_http2_tunnel_request(evener_connection *connection)
{
    const evener_http2_proxy *proxy = connection->transport->proxy;
    char request[REQUEST_BYTES_MAX];
    const size_t bytes = evener_http2_proxy_request(proxy, connection->address, request, sizeof request);
    connection->phase = EVENER_HTTP2_PHASE_PROXY;
    /* A new socket has room for it: less is a failure. */
    const ssize_t sent = bytes > 0 ? send(connection->fd, request, bytes, MSG_NOSIGNAL) : 0;
    if (bytes == 0 || sent != (ssize_t)bytes) {
        evener_http2_connection_break(
            connection, EVENER_STATUS_UNAVAILABLE, "proxy %s: CONNECT cannot be sent: %s", proxy->host,
            bytes == 0 ? "it is too long" : strerror_l(sent < 0 ? errno : EAGAIN, evener_c_locale()));
    }
}

bool evener_http2_tunnel_read(evener_connection *connection)
{
    const char *host = connection->transport->proxy->host;
    if (connection->early == NULL) {
        connection->early = malloc(EVENER_HTTP2_PROXY_ANSWER_BYTES_MAX);
        if (connection->early == NULL) {
            evener_http2_connection_break(connection, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
            return false;
        }
    }
    /* Peek first: what follows the headers is the backend's and stays in the socket. */
    uint8_t *to = connection->early + connection->early_bytes;
    const ssize_t seen =
        recv(connection->fd, to, EVENER_HTTP2_PROXY_ANSWER_BYTES_MAX - connection->early_bytes, MSG_PEEK);
    if (seen < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (seen <= 0) {
        evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE,
                                      "proxy %s: it closed the connection without an answer to CONNECT: %s", host,
                                      seen < 0 ? strerror_l(errno, evener_c_locale()) : "end of stream");
        return false;
    }
    size_t header_bytes = connection->early_bytes + (size_t)seen;
    unsigned status = 0;
    const evener_http2_proxy_answer answer =
        evener_http2_proxy_parse(connection->early, header_bytes, &header_bytes, &status);
    (void)!recv(connection->fd, to, header_bytes - connection->early_bytes, 0);
    connection->early_bytes = header_bytes;
    switch (answer) {
    case EVENER_HTTP2_PROXY_DONE:
        return true;
    case EVENER_HTTP2_PROXY_REFUSED:
        evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE,
                                      status == 407
                                          ? "proxy %s: it answers CONNECT with HTTP status %u: set USER:PASSWORD"
                                          : "proxy %s: it answers CONNECT with HTTP status %u",
                                      host, status);
        return false;
    case EVENER_HTTP2_PROXY_MALFORMED:
        evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE,
                                      "proxy %s: its answer to CONNECT is no HTTP/1.1 response", host);
        return false;
    default:
        return false;
    }
}

void evener_http2_tunnel_close(evener_connection *connection)
{
    evener_http2_lookup *lookup = connection->lookup;
    if (lookup != NULL) {
        connection->lookup = NULL;
        pthread_mutex_lock(&lookup->mutex);
        lookup->connection = NULL;
        lookup_unref(lookup);
    }
}
