/* HTTP/2 transport: gRPC calls over evener's own connections, on nghttp2.
 *
 *     evener_http2_transport_options options = {.size = sizeof options};
 *     evener_http2_transport_create(runtime, &options, &transport, &status);
 *     transport->vtable->connect(transport, ...);       // control thread
 *     const evener_transport_calls *calls = &evener_http2_calls;
 *     calls->call_begin(connection, call, ...);         // any thread, once READY was reported */
#ifndef EVENER_LB_TRANSPORT_HTTP2_TRANSPORT_H
#define EVENER_LB_TRANSPORT_HTTP2_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/runtime.h>
#include <evener/status.h>
#include <evener/transport.h>

#define EVENER_HTTP2_KEEPALIVE_TIME_MS_MIN UINT64_C(10000) /* A8 */
#define EVENER_HTTP2_KEEPALIVE_TIMEOUT_MS_DEFAULT UINT64_C(20000)
#define EVENER_HTTP2_HEADER_LIST_BYTES_DEFAULT (UINT32_C(64) * 1024)
#define EVENER_HTTP2_WINDOW_BYTES_DEFAULT (UINT32_C(256) * 1024)
#define EVENER_HTTP2_WINDOW_BYTES_MAX (UINT32_C(8) << 20)

/* TLS. All PEM texts are copied; NULL: none. */
typedef struct evener_http2_tls_options {
    const char *root_certificates; /* NULL: the system's (OpenSSL's default paths) */
    const char *certificate_chain; /* for mTLS; needs private_key, which must belong to it */
    const char *private_key;
} evener_http2_tls_options;

/* Everything zero is the documented default. */
typedef struct evener_http2_transport_options {
    size_t size;                         /* sizeof(evener_http2_transport_options) */
    const evener_http2_tls_options *tls; /* NULL: plain text */
    const char *target; /* the channel's: what https_proxy and no_proxy of the environment are matched against; NULL: no
                           proxy */
    const char *user_agent;        /* put before evener's own; NULL: none */
    uint64_t keepalive_time_ms;    /* a PING after this time without a byte from the peer; 0: never; at least 10 s (A8)
                                      unless keepalive_unrestricted */
    uint64_t keepalive_timeout_ms; /* 0: 20 s; EVENER_NEVER_MS. Also TCP_USER_TIMEOUT while keepalive is on (A18) */
    bool keepalive_permit_without_calls;
    bool keepalive_unrestricted;    /* for tests: no lower limit of keepalive_time_ms */
    uint32_t header_list_bytes_max; /* of received headers; 0: 64 KiB */
    uint32_t window_bytes;          /* flow-control window of a stream at the start; 0: 256 KiB */
    uint32_t io_threads;            /* of the runtime; the first connection's transport decides; 0: one per processor,
                                       at most 4 */
} evener_http2_transport_options;

/* Make a transport for the channels of `runtime`, which it does not keep alive. On success store it in *transport; it
 * ends with vtable->destroy. Errors: INVALID_ARGUMENT (a PEM text that holds none, a key that is not the
 * certificate's), RESOURCE_EXHAUSTED. Any thread. */
evener_status_code evener_http2_transport_create(evener_runtime *runtime, const evener_http2_transport_options *options,
                                                 evener_transport **transport, evener_status *status);

/* Let the connections that `successor` makes ping no more often than those of `transport` were asked to (A8), unless
 * the keepalive time was set anew. Both are made by evener_http2_transport_create(). Control thread. */
void evener_http2_transport_keep_pace(const evener_transport *transport, evener_transport *successor);

/* As a transport's connection_takes_calls, connection_ref and connection_unref. */
bool evener_http2_connection_takes_calls(const evener_connection *connection);
bool evener_http2_connection_calls_wait(const evener_connection *connection);
bool evener_http2_connection_hold(evener_connection *connection);
void evener_http2_connection_unref(evener_connection *connection);

/* The functions for calls on connections of such transports. */
extern const evener_transport_calls evener_http2_calls;

#endif
