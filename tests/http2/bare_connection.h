/* A connection of the HTTP/2 transport without threads, on a virtual loop: the test is its owner and its server. */
#ifndef TESTS_HTTP2_BARE_CONNECTION_H
#define TESTS_HTTP2_BARE_CONNECTION_H

#include <stddef.h>
#include <stdint.h>

#include "lb/transport/http2/internal.h"
#include "tests/support/virtual_loop.h"

typedef struct bare_connection {
    virtual_loop *loop;
    evener_http2_transport transport; /* set before bare_connection_open() as the test needs it */
    evener_http2_seat *seat;
    evener_connection *connection;
} bare_connection;

/* Append a frame with up to 255 bytes of payload to *to, and advance it. */
void bare_put_frame(uint8_t **to, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, uint8_t bytes);

/* Make a connection and exchange SETTINGS. Members of the transport that are zero get the defaults; a keepalive time
 * of 0 means none. `fd`: where its output goes, owned from here on; -1: nowhere. Abort the program on failure. */
void bare_connection_open(bare_connection *bare, int fd);

/* Break and free the connection: calls under way end. */
void bare_connection_close(bare_connection *bare);

/* Let the connection receive a frame, as a part of a turn that is not ended. */
void bare_connection_feed(bare_connection *bare, uint8_t type, uint8_t flags, uint32_t stream, const void *payload,
                          uint8_t bytes);

/* Take one turn at the loop's time: operations, timers, output. */
void bare_connection_work(bare_connection *bare);

/* Begin a call as a blocking caller does, so that no thread is woken. It is sent with the next turn. Abort if it is refused. */
void bare_connection_begin(bare_connection *bare, evener_http2_call *call, const evener_call_events *events,
                           const evener_bytes *request);

#endif
