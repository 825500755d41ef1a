/* The HTTP/2 transport driven as the layers above drive it: a runtime, a transport, connections through the vtable, and
 * calls through the seam with the least call layer that works. */
#ifndef TESTS_HTTP2_FIXTURE_H
#define TESTS_HTTP2_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/runtime.h>

#include "lb/transport/http2/transport.h"

typedef struct h2_fixture {
    evener_runtime *runtime;
    evener_transport *transport;
} h2_fixture;

/* Abort the program when the transport cannot be made. `options` may be NULL. */
void h2_open(h2_fixture *fixture, const evener_http2_transport_options *options);

/* Close it, after all peers were closed. */
void h2_close(h2_fixture *fixture);

#define H2_EVENTS_MAX 8

/* A connection, with what was reported of it. */
typedef struct h2_peer {
    h2_fixture *fixture;
    evener_connection *connection;
    evener_connectivity_state states[H2_EVENTS_MAX];
    evener_status statuses[H2_EVENTS_MAX];
    unsigned count;
    bool given_up;
} h2_peer;

/* Start to connect; `authority` NULL: "orders.test". */
h2_peer *h2_connect(h2_fixture *fixture, const char *address, const char *authority);
h2_peer *h2_connect_port(h2_fixture *fixture, uint16_t port);

/* Wait for the `count`th report and return its state; abort after 10 s. */
evener_connectivity_state h2_wait_state(h2_peer *peer, unsigned count);
const char *h2_state_message(h2_peer *peer, unsigned count);
unsigned h2_state_count(h2_peer *peer);

void h2_disconnect(h2_peer *peer);

/* Disconnects and frees; no call is under way. */
void h2_forget(h2_peer *peer);

/* A call. Zeroed, then the members down to `request` are the test's. Freed by h2_call_free(). */
typedef struct h2_call h2_call;
typedef struct h2_call_options {
    const char *method; /* NULL: Echo/Unary */
    const void *request;
    size_t request_bytes;
    uint64_t timeout_ms; /* 0: none */
    bool stream;
    bool wants_metadata;
    const evener_metadata *metadata;
    size_t metadata_count;
    evener_compression compression;
    size_t receive_bytes_max, send_bytes_max;
    uint32_t previous_attempts;
    const char *authority;
    void (*ended)(void *arg); /* on the thread of the event */
    void *arg;
} h2_call_options;

typedef struct h2_result {
    evener_status_code code;
    char *message; /* owned by the call */
    evener_fate fate;
    bool connection_gone;
    uint8_t *response; /* of a unary call, copied */
    size_t response_bytes;
    char *headers, *trailers; /* "key=value\n..." */
    uint8_t load_report[64];
    size_t load_report_bytes;
} h2_result;

#define H2_ECHO "/evener.demo.Echo/Unary"
#define H2_ECHO_STREAM "/evener.demo.Echo/Stream"

/* Make a blocking call and return its code; the result lives until h2_result_clear(). */
evener_status_code h2_call_blocking(h2_peer *peer, const h2_call_options *options, h2_result *result);

/* Start a call; NULL with a filled status when call_begin refuses it. */
h2_call *h2_call_start(h2_peer *peer, const h2_call_options *options, evener_status *status);
/* Wait for its end, 20 s at most. */
const h2_result *h2_call_wait(h2_call *call);
bool h2_call_has_ended(h2_call *call);
void h2_call_cancel(h2_call *call, evener_status_code code, const char *message);
void h2_call_free(h2_call *call);
void h2_result_clear(h2_result *result);

/* Streams. Writing waits for `written` or the end: false then. Reading: NULL at the end; the message is the caller's,
 * to be freed, and NUL follows it. */
bool h2_stream_write(h2_call *call, const void *message, size_t bytes, bool last);
void h2_stream_half_close(h2_call *call);
void h2_stream_read_start(h2_call *call);
char *h2_stream_read_wait(h2_call *call, size_t *bytes);
char *h2_stream_read(h2_call *call, size_t *bytes);

#endif
