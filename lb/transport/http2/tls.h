/* TLS of a transport and of its connections, by OpenSSL: ALPN h2, the server's name verified, mTLS, resumption. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_TLS_H
#define EVENER_LB_TRANSPORT_HTTP2_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <evener/status.h>
#include <evener/transport.h>

#include "lb/transport/http2/transport.h"

typedef struct evener_http2_tls_context evener_http2_tls_context;

/* Create what all connections of a transport share. Errors: INVALID_ARGUMENT (a PEM text without certificate or key,
 * only one of chain and key, a key of another certificate), RESOURCE_EXHAUSTED. Any thread. */
evener_status_code evener_http2_tls_context_create(const evener_http2_tls_options *options,
                                                   evener_http2_tls_context **context, evener_status *status);
void evener_http2_tls_context_destroy(evener_http2_tls_context *context);

/* Return the number of connections that resumed a session instead of a full handshake. Any thread. */
uint64_t evener_http2_tls_context_resumptions(const evener_http2_tls_context *context);

typedef enum evener_http2_tls_progress {
    EVENER_HTTP2_TLS_DONE,
    EVENER_HTTP2_TLS_WANTS_READ,
    EVENER_HTTP2_TLS_WANTS_WRITE, /* output waits for the socket */
    EVENER_HTTP2_TLS_FAILED       /* the connection is broken */
} evener_http2_tls_progress;

/* Prepare TLS on the connected socket. False: the connection is broken. Owner. */
bool evener_http2_tls_start(evener_connection *connection);

/* Go on with the handshake. Owner. */
evener_http2_tls_progress evener_http2_tls_handshake(evener_connection *connection);

/* As evener_http2_wire_read() and _write(). */
ssize_t evener_http2_tls_read(evener_connection *connection, void *to, size_t bytes, char what[128]);
ssize_t evener_http2_tls_write(evener_connection *connection, const struct iovec *pieces, unsigned count,
                               char what[128]);

/* Return whether OpenSSL holds bytes that were read from the socket: no further event of the socket announces them.
 * Owner. */
bool evener_http2_tls_has_input(const evener_connection *connection);

/* Return whether encrypted bytes wait for the socket. Owner. */
bool evener_http2_tls_has_output(const evener_connection *connection);

/* Write the encrypted bytes. 1: all written; 0: the socket is full; -1: error. Owner. */
int evener_http2_tls_write_output(evener_connection *connection, char what[128]);

/* Free the connection's part, if it has one. Owner. */
void evener_http2_tls_close(evener_connection *connection);

#endif
