/* A scripted HTTP/2 server: answers each request with the frames that its script lists, and counts requests. For what
 * servers of the gRPC core never send, and for proof of how often a call was sent.
 *
 *     static const h2_step unavailable[] = {
 *         {.kind = H2_AWAIT_END_STREAM},
 *         {.kind = H2_HEADERS, .headers = {{":status", "503"}, {"content-type", "text/html"}}},
 *         {.kind = H2_DATA, .data = "no", .data_bytes = 2, .end_stream = true},
 *         {.kind = H2_END}};
 *     const h2_script script = {.steps = unavailable};
 *     h2_script_server *server = h2_script_server_start(&(h2_script_server_options){.scripts = &script, .count = 1});
 *     ... make a call to 127.0.0.1:h2_script_server_port(server) ...
 *     cr_expect_eq(h2_script_server_count(server, H2_REQUESTS), 1);
 *     h2_script_server_stop(server);
 *
 * RFC 9113 without TLS. Header blocks are written as literals without indexing (RFC 7541, section 6.2.2). Request
 * headers are not decoded. The server obeys the client's flow control, and gives the client as much window as there is,
 * in a second SETTINGS frame behind `settings`. Functions may be called from any thread, and abort the test program on
 * failure. */
#ifndef TESTS_SUPPORT_H2_SCRIPT_SERVER_H
#define TESTS_SUPPORT_H2_SCRIPT_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/support/h2_frames.h"

#define H2_SCRIPTS_MAX 8

/* For `last_stream` of a GOAWAY, besides the identifier of a stream. */
#define H2_NO_STREAM 0u
#define H2_ALL_STREAMS 0x7fffffffu
#define H2_THIS_STREAM UINT32_MAX

typedef enum h2_step_kind {
    H2_END = 0,          /* nothing more is sent on this stream: silence, unless an earlier step ended it */
    H2_HEADERS,          /* one frame; `headers`, `end_stream`. At most 16,384 bytes */
    H2_DATA,             /* `data`, `data_bytes`, `end_stream`; one frame up to 16,384 bytes, if the windows allow it */
    H2_RST_STREAM,       /* `code` */
    H2_GOAWAY,           /* `code`, `last_stream` */
    H2_SETTINGS,         /* `settings` */
    H2_CLOSE,            /* closes the connection, after all before it was written */
    H2_ABORT,            /* the same, with a TCP reset */
    H2_PAUSE,            /* writes all before it and holds the whole server for `pause_ms` */
    H2_AWAIT_END_STREAM, /* the request is complete */
    H2_AWAIT_RST_STREAM, /* the client has reset the stream */
    H2_AWAIT_RELEASE     /* h2_script_server_release() */
} h2_step_kind;

typedef struct h2_step {
    h2_step_kind kind;
    bool end_stream;
    h2_header headers[H2_HEADERS_MAX];
    const void *data; /* NULL: zeros */
    size_t data_bytes;
    uint32_t code;
    uint32_t last_stream;
    h2_setting settings[H2_SETTINGS_MAX];
    uint32_t pause_ms;
} h2_step;

typedef struct h2_script {
    const h2_step *steps; /* up to and including H2_END */
    uint64_t plays; /* requests in a row that get this script, then the next script follows; 0: all further ones */
} h2_script;

/* All is borrowed until h2_script_server_stop(). */
typedef struct h2_script_server_options {
    const h2_script *scripts;
    size_t count;                         /* 1 to H2_SCRIPTS_MAX */
    bool cycle;                           /* the first script follows the last; else the last one stays */
    h2_setting settings[H2_SETTINGS_MAX]; /* of the SETTINGS frame that the server begins with */
} h2_script_server_options;

typedef enum h2_count {
    H2_REQUESTS,           /* header blocks that began a stream */
    H2_PINGS,              /* without ACK */
    H2_RESETS,             /* RST_STREAM frames */
    H2_CONNECTIONS,        /* that were accepted */
    H2_REQUESTS_OF_SCRIPT, /* and its index added: requests that got this script */
    H2_COUNTS = H2_REQUESTS_OF_SCRIPT + H2_SCRIPTS_MAX
} h2_count;

typedef struct h2_script_server h2_script_server;

/* Listen on a free port of 127.0.0.1. */
h2_script_server *h2_script_server_start(const h2_script_server_options *options);
/* Close all connections. NULL is allowed. */
void h2_script_server_stop(h2_script_server *server);
uint16_t h2_script_server_port(const h2_script_server *server);

/* Return how many have come since the start. */
uint64_t h2_script_server_count(h2_script_server *server, h2_count what);
/* Wait, 20 s at most, until that many have come. False: they have not. */
bool h2_script_server_wait(h2_script_server *server, h2_count what, uint64_t wanted);

/* Close the connections that there are, as H2_CLOSE does. */
void h2_script_server_hang_up(h2_script_server *server);

/* Let all H2_AWAIT_RELEASE pass, from now on. */
void h2_script_server_release(h2_script_server *server);

#endif
