/* HTTP CONNECT proxies, "http://[USER:PASSWORD@]HOST[:PORT]", chosen as the gRPC C core chooses them
 * (lb/base/proxy_rules.h).
 *
 * One difference: the target's name is matched, and so is the address of each connection, as evener resolves the target
 * itself and asks the proxy for the backend's address. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_PROXY_H
#define EVENER_LB_TRANSPORT_HTTP2_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lb/base/proxy_rules.h"

/* Limit of the answer to CONNECT: a proxy whose headers are longer is given up. */
#define EVENER_HTTP2_PROXY_ANSWER_BYTES_MAX 8192

typedef struct evener_http2_proxy {
    char host[EVENER_PROXY_HOST_BYTES]; /* a name or an address without brackets */
    char port[EVENER_PROXY_PORT_BYTES];
    char *authorization; /* base64 of USER:PASSWORD; NULL: none */
    char *exceptions;    /* of no_proxy; NULL: none */
} evener_http2_proxy;

/* Return the proxy for a channel's target ("dns:///orders.test:443", "orders.test:443"), owned; NULL: none is set, the
 * target is excepted by name or is a unix socket, the setting cannot be read (logged as a warning, as in the core), or
 * memory is out. Any thread. */
evener_http2_proxy *evener_http2_proxy_find(const char *target, evener_proxy_environment environment);

void evener_http2_proxy_free(evener_http2_proxy *proxy);

/* Return whether a connection to this address (canonical text) goes through the proxy. Any thread. */
bool evener_http2_proxy_serves(const evener_http2_proxy *proxy, const char *address);

/* Write the CONNECT request for the address; return its length, or 0 if it does not fit. */
size_t evener_http2_proxy_request(const evener_http2_proxy *proxy, const char *address, char *to, size_t to_bytes);

typedef enum evener_http2_proxy_answer {
    EVENER_HTTP2_PROXY_MORE = 0, /* incomplete */
    EVENER_HTTP2_PROXY_DONE = 1, /* status 2xx: the tunnel stands */
    EVENER_HTTP2_PROXY_REFUSED = 2,
    EVENER_HTTP2_PROXY_MALFORMED = 3
} evener_http2_proxy_answer;

/* Parse what the proxy has sent so far (RFC 9110 section 9.3.6). *header_bytes: length of status line and headers when
 * DONE or REFUSED; *status: its HTTP status then. */
evener_http2_proxy_answer evener_http2_proxy_parse(const uint8_t *data, size_t bytes, size_t *header_bytes,
                                                   unsigned *status);

#endif
