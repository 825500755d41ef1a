/* A scripted HTTP/2 server, frame by frame: the test itself is the server, on blocking sockets. Headers are written as
 * literals (RFC 7541) and read with nghttp2's inflater. Every function aborts the program after 10 s of silence. */
#ifndef TESTS_HTTP2_RAW_SERVER_H
#define TESTS_HTTP2_RAW_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RAW_DATA = 0,
    RAW_HEADERS = 1,
    RAW_RST_STREAM = 3,
    RAW_SETTINGS = 4,
    RAW_PING = 6,
    RAW_GOAWAY = 7,
    RAW_WINDOW_UPDATE = 8,
    RAW_CONTINUATION = 9
};
enum { RAW_END_STREAM = 1, RAW_ACK = 1, RAW_END_HEADERS = 4 };

typedef struct raw_server {
    int fd;
    uint16_t port;
} raw_server;

typedef struct raw_peer {
    int fd;
    void *inflater;
} raw_peer;

typedef struct raw_frame {
    uint8_t type, flags;
    uint32_t stream;
    size_t bytes;
    uint8_t payload[65536];
    char headers[16384]; /* HEADERS: "name: value\n..." */
} raw_frame;

void raw_listen(raw_server *server);
void raw_stop(raw_server *server);

/* Accept a connection and read nothing. */
void raw_accept(raw_server *server, raw_peer *peer);
/* Close the connection. */
void raw_close(raw_peer *peer);
/* Close it with a TCP reset. */
void raw_reset(raw_peer *peer);

/* Read the client's preface and SETTINGS, and send `settings` (id, value pairs). */
void raw_handshake(raw_peer *peer, const uint32_t (*settings)[2], size_t count);

/* Read the next frame that is neither SETTINGS, WINDOW_UPDATE nor an answer to a PING. False: the client closed. */
bool raw_read(raw_peer *peer, raw_frame *frame);
/* Read the next frame of any kind. */
bool raw_read_any(raw_peer *peer, raw_frame *frame);
/* Read the next HEADERS frame and return its stream; skip other frames. */
uint32_t raw_read_call(raw_peer *peer, raw_frame *frame);
/* Read until the client closes; return whether it did within 10 s. */
bool raw_read_to_end(raw_peer *peer);

void raw_send(raw_peer *peer, int type, int flags, uint32_t stream, const void *payload, size_t bytes);
void raw_send_bytes(raw_peer *peer, const void *bytes, size_t count);

/* HEADERS with the given fields: "name", "value", ..., NULL. */
void raw_send_headers(raw_peer *peer, int flags, uint32_t stream, ...);
/* :status 200 and content-type application/grpc. */
void raw_send_grpc_headers(raw_peer *peer, uint32_t stream);
/* DATA with one message. */
void raw_send_message(raw_peer *peer, uint32_t stream, const void *message, size_t bytes);
/* Send trailers with END_STREAM. */
void raw_send_trailers(raw_peer *peer, uint32_t stream, const char *grpc_status);
/* Send all three. */
void raw_answer(raw_peer *peer, uint32_t stream, const char *message);
void raw_send_reset(raw_peer *peer, uint32_t stream, uint32_t error_code);
void raw_send_goaway(raw_peer *peer, uint32_t last_stream, uint32_t error_code, const char *debug);

#endif
