/* Flow control of what is received: windows that follow the bandwidth-delay product.
 *
 * Windows start at the transport's window_bytes. When more than half a window has arrived since the last estimate, a
 * PING is sent; what arrives until its answer is what the path holds. Where that fills two thirds of the window, the
 * window doubles, up to EVENER_HTTP2_WINDOW_BYTES_MAX. The connection's window is EVENER_HTTP2_CONNECTION_WINDOWS
 * stream windows. Small answers never cause a PING. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_FLOW_CONTROL_H
#define EVENER_LB_TRANSPORT_HTTP2_FLOW_CONTROL_H

#include "lb/transport/http2/internal.h"

#define EVENER_HTTP2_CONNECTION_WINDOWS 4

/* Set the first windows of a new session. False: out of memory. Owner. */
bool evener_http2_flow_start(evener_connection *connection);

/* `bytes` of DATA arrived. Owner. */
void evener_http2_flow_received(evener_connection *connection, size_t bytes);

/* Sending. A peer that consumes byte by byte opens its window as slowly: a frame of EVENER_HTTP2_NARROW_BYTES is worth
 * sending, a smaller part of a message waits for the window to grow, for EVENER_HTTP2_NARROW_WAIT_NS at most (RFC 9293
 * section 3.8.6.2.1: the sender's part against silly windows). */
#define EVENER_HTTP2_NARROW_BYTES 1024
#define EVENER_HTTP2_NARROW_WAIT_NS (5 * EVENER_NS_PER_MS)

/* Whether a part of `bytes` of a message of which `rest` is left has to wait; the call is then resumed in time.
 * Owner. */
bool evener_http2_narrow_waits(evener_connection *connection, evener_http2_call *call, size_t bytes, size_t rest);

/* The peer opened windows: calls that wait try again. Owner. */
void evener_http2_narrow_resume(evener_connection *connection);

/* The call ends. Owner. */
void evener_http2_narrow_forget(evener_http2_call *call);

/* A PING was answered: true if it was one of these. Owner. */
bool evener_http2_flow_ping_answered(evener_connection *connection, const uint8_t opaque[8]);

#endif
