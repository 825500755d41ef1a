/* Keepalive (A8, A18): a PING after keepalive_time without a byte from the peer; no answer within keepalive_timeout
 * ends the connection. PINGs are repeated while the peer is silent. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_KEEPALIVE_H
#define EVENER_LB_TRANSPORT_HTTP2_KEEPALIVE_H

#include "lb/transport/http2/internal.h"

/* Start keepalive on an open connection. Owner. */
void evener_http2_keepalive_start(evener_connection *connection);

/* Resume PINGs, which may have paused: a call was submitted on a connection that had none. Owner. */
void evener_http2_keepalive_call_began(evener_connection *connection);

/* Handle the answer to a PING that is not one of flow control. Owner. */
void evener_http2_keepalive_answered(evener_connection *connection);

/* Handle a GOAWAY; with ENHANCE_YOUR_CALM and "too_many_pings" double the transport's keepalive time (A8). Owner. */
void evener_http2_keepalive_goaway(evener_connection *connection, uint32_t error_code, const uint8_t *debug,
                                   size_t debug_bytes);

/* Handle the timer connection.keepalive. */
void evener_http2_keepalive_rings(void *arg);

#endif
