/* A tunnel through an HTTP CONNECT proxy: from the proxy's name to the socket that leads to the backend. I/O thread. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_TUNNEL_H
#define EVENER_LB_TRANSPORT_HTTP2_TUNNEL_H

#include <stdbool.h>

#include "lb/transport/http2/internal.h"

/* Return whether this connection goes through the transport's proxy. */
bool evener_http2_tunnel_is_wanted(const evener_connection *connection);

/* Start to connect to the proxy, after looking its name up on a thread of its own if it is no address. On failure the
 * connection is broken. */
void evener_http2_tunnel_start(evener_connection *connection);

/* Connect, after the lookup has ended. */
void evener_http2_tunnel_looked_up(evener_connection *connection);

/* Send CONNECT, after the socket to the proxy is connected. */
void evener_http2_tunnel_request(evener_connection *connection);

/* Read from the socket to the proxy. Return whether the tunnel is established; nothing after the proxy's answer is
 * read. */
bool evener_http2_tunnel_read(evener_connection *connection);

/* Forget a lookup that is under way, and the proxy's answer. */
void evener_http2_tunnel_close(evener_connection *connection);

#endif
