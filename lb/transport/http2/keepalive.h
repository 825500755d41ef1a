/* Keepalive (A8, A18): a PING after keepalive_time without a byte from the peer; no answer within keepalive_timeout
 * ends the connection. Goes on for as long as the peer is silent. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_KEEPALIVE_H
#define EVENER_LB_TRANSPORT_HTTP2_KEEPALIVE_H

#include "lb/transport/http2/internal.h"

/* The connection is open. Owner. */
void evener_http2_keepalive_start(evener_connection *connection);

/* A call was submitted on a connection that had none: pings may have slept. Owner. */
void evener_http2_keepalive_call_began(evener_connection *connection);

/* A PING was answered that was none of flow control's. Owner. */
void evener_http2_keepalive_answered(evener_connection *connection);

/* A8: a GOAWAY with ENHANCE_YOUR_CALM and "too_many_pings": doubles the transport's keepalive time. Owner. */
void evener_http2_keepalive_goaway(evener_connection *connection, uint32_t error_code, const uint8_t *debug,
                                   size_t debug_bytes);

/* Of connection.keepalive. */
void evener_http2_keepalive_rings(void *arg);

#endif
