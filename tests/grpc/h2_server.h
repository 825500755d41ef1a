/* The least HTTP/2 server that a gRPC client talks to: for what servers of the C core never do. */
#ifndef TESTS_GRPC_H2_SERVER_H
#define TESTS_GRPC_H2_SERVER_H

#include <stdint.h>

typedef struct h2_server h2_server;

typedef enum h2_refusal {
    H2_RST_STREAM,       /* with REFUSED_STREAM */
    H2_GOAWAY,           /* that says that no stream was looked at; then the connection closes */
    H2_CANCEL,           /* with the status CANCELLED and nothing else, as a server of the core does that shuts down */
    H2_CANCEL_AND_DRAIN, /* and a GOAWAY 50 ms later, that says that all streams were looked at */
    H2_LIKE_A_GOAWAY,    /* with the status UNAVAILABLE and the core's words for a GOAWAY */
    H2_LIKE_NO_CONNECTION, /* with that and the core's words for a backend that cannot be reached */
    H2_HTTP_503,           /* with that HTTP status and a body of HTML, as proxies do */
    H2_SILENCE             /* not at all: no answer comes */
} h2_refusal;

/* Refuses the first `refuse_count` streams in that way, and answers all others with an empty message and `grpc_status`.
 * Aborts the test program when it cannot listen. */
h2_server *h2_server_start(h2_refusal refusal, unsigned refuse_count, const char *grpc_status);
void h2_server_stop(h2_server *server);
/* Closes the connections that there are. */
void h2_server_hang_up(h2_server *server);
uint16_t h2_server_port(const h2_server *server);
/* Streams that have come, the refused ones included. */
unsigned h2_server_streams(h2_server *server);
/* Pings that have come. */
unsigned h2_server_pings(h2_server *server);

#endif
