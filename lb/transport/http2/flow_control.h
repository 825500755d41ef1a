/* Flow control of what is received: windows that follow the bandwidth-delay product.
 *
 * Windows start at the transport's window_bytes. When more than half a window has arrived since the last estimate, a
 * PING is sent; the bytes that arrive until its answer are the path's capacity. If they fill two thirds of the window,
 * the window doubles, up to EVENER_HTTP2_WINDOW_BYTES_MAX. The connection's window is EVENER_HTTP2_CONNECTION_WINDOWS
 * stream windows. Small answers never cause a PING. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_FLOW_CONTROL_H
#define EVENER_LB_TRANSPORT_HTTP2_FLOW_CONTROL_H

#include "lb/transport/http2/internal.h"

#define EVENER_HTTP2_CONNECTION_WINDOWS 4

/* Set the first windows of a new session. False: out of memory. Owner. */
bool evener_http2_flow_start(evener_connection *connection);

/* Note that `bytes` of DATA arrived. Owner. */
void evener_http2_flow_received(evener_connection *connection, size_t bytes);

/* Sending. A peer that consumes byte by byte opens its window byte by byte. A frame of EVENER_HTTP2_NARROW_BYTES is
 * sent; a smaller part of a message waits for the window to grow, at most EVENER_HTTP2_NARROW_WAIT_NS (RFC 9293 section
 * 3.8.6.2.1: silly window avoidance of the sender). */
#define EVENER_HTTP2_NARROW_BYTES 1024
#define EVENER_HTTP2_NARROW_WAIT_NS (5 * EVENER_NS_PER_MS)

/* Return whether a part of `bytes` of a message with `rest` bytes left must wait; the call is then resumed in time.
 * Owner. */
bool evener_http2_narrow_waits(evener_connection *connection, evener_http2_call *call, size_t bytes, size_t rest);

/* Let waiting calls try again, as the peer opened windows. Owner. */
void evener_http2_narrow_resume(evener_connection *connection);

/* Forget a call that ends. Owner. */
void evener_http2_narrow_forget(evener_http2_call *call);

/* Handle the answer to a PING; return whether it is one of flow control. Owner. */
bool evener_http2_flow_ping_answered(evener_connection *connection, const uint8_t opaque[8]);

#endif
