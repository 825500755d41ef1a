/* Request headers: a call's HEADERS frame (grpc: doc/PROTOCOL-HTTP2.md, Request-Headers). */
#ifndef EVENER_LB_TRANSPORT_HTTP2_REQUEST_HEADERS_H
#define EVENER_LB_TRANSPORT_HTTP2_REQUEST_HEADERS_H

#include "lb/transport/http2/internal.h"

/* Submit the call to nghttp2: returns the stream id, or nghttp2's error. `timeout_ns`: until the deadline; ignored
 * without one. What the call points to must stay until the frame is made. Owner. */
int32_t evener_http2_request_submit(evener_connection *connection, evener_http2_call *call, uint64_t timeout_ns);

#endif
