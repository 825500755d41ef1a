/* The gateway: an HTTP/1.1 server that calls gRPC methods. main.c reads the command line; server.c is the server and
 * the choice of what answers a request; request.c is a request from its first byte to its answer; unary.c and
 * stream.c make its call; page.c and headers.c make what their names say. */
#ifndef EXAMPLES_GATEWAY_GATEWAY_H
#define EXAMPLES_GATEWAY_GATEWAY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <microhttpd.h>

#include <evener/call.h>
#include <evener/channel.h>
#include <evener/http_routes.h>

#define GATEWAY_BODY_BYTES_MAX (4 * 1024 * 1024) /* of a request; gRPC servers refuse more, too */
#define GATEWAY_HEADER_BYTES_MAX (64 * 1024)     /* of a request's line and headers together */
#define GATEWAY_IDLE_S 75 /* how long a connection without a request, or with half of one, is kept */

/* ---- the server (server.c) ---- */

typedef struct gateway_request gateway_request;

typedef struct gateway {
    evener_channel *channel;
    const evener_http_routes *routes;
    char *openapi; /* the documents that the gateway serves */
    char *page;
    const char *certificate; /* chain and key in PEM, to serve TLS; NULL: without */
    const char *key;
    struct MHD_Daemon *daemon;
    uint16_t port;
    atomic_bool closed;    /* new connections are closed at once */
    pthread_mutex_t mutex; /* for the members below */
    pthread_cond_t changed;
    gateway_request *first; /* requests under way */
    size_t request_count;
    bool stopping; /* answers close their connections */
    bool no_calls; /* no further call starts */
} gateway;

/* Start to serve at an address "127.0.0.1:10080" or "[::1]:0". `self` has channel, routes, documents and, for TLS,
 * certificate and key. False: `error` says why. */
bool gateway_start(gateway *self, const char *address, char *error, size_t error_room);

/* Close further connections at once, let requests end for `grace_ms`, cancel the calls of those that are left, answer
 * further requests on open connections with 503, and stop. */
void gateway_stop(gateway *self, uint64_t grace_ms);

/* ---- a request (request.c) ---- */

typedef struct gateway_stream gateway_stream;

/* Two hold a request: the HTTP server until it has forgotten it, and its call until that has ended. */
struct gateway_request {
    gateway *owner;
    atomic_uint references;
    gateway_request *previous, *next; /* of the gateway's list */
    char *target;                     /* as in the request line, without the query: "/v1/call" */
    char *query;                      /* "a=b", or NULL */
    char *body;
    size_t body_length, body_room;
    bool body_too_large;
    bool body_out_of_memory;
    bool listed;
    bool starting; /* with the gateway's mutex: its call is being started */
    evener_http_match *match;

    pthread_mutex_t mutex;             /* for the members below; taken after the gateway's, if both are */
    struct MHD_Connection *connection; /* NULL: the HTTP server has forgotten the request */
    bool suspended;
    bool call_started;
    bool call_ended;
    evener_status status; /* of the ended call */
    evener_call_details details;
    evener_bytes response; /* unary: the answer */
    evener_call *call;
    gateway_stream *stream;
};

void gateway_request_ref(gateway_request *request);
void gateway_request_unref(gateway_request *request);

/* Suspend the connection until gateway_request_wake(). On a thread of the HTTP server, in one of its callbacks, with
 * the request's mutex. */
void gateway_request_sleep(gateway_request *request);
/* Let the HTTP server go on with the request, if it sleeps. With the request's mutex. */
void gateway_request_wake(gateway_request *request);

/* End the request's call with CANCELLED. Any thread. */
void gateway_request_cancel(gateway_request *request);

/* Answer with JSON, which is freed, or NULL: out of memory. `details` are those of the call, or NULL. */
enum MHD_Result gateway_answer(gateway_request *request, unsigned http_status, char *json,
                               const evener_call_details *details);
/* Return a status in JSON, to be freed, with the whole message and the details that the call got; NULL: out of
 * memory. `details` may be NULL. */
char *gateway_error_json(const gateway_request *request, const evener_status *status,
                         const evener_call_details *details);
/* Answer with a status and the HTTP status that belongs to it, or `http_status` unless that is 0. */
enum MHD_Result gateway_answer_error(gateway_request *request, unsigned http_status, const evener_status *status,
                                     const evener_call_details *details);

/* ---- calls (unary.c, stream.c) ---- */

/* What the headers of a request say for its call. Borrows from the connection; to be cleared. */
typedef struct gateway_call_headers {
    uint64_t timeout_ms; /* 0: none */
    evener_metadata *metadata;
    size_t metadata_count;
    char *memory;
} gateway_call_headers;

/* Read Grpc-Timeout, Grpc-Metadata-... and Authorization. Errors: INVALID_ARGUMENT, RESOURCE_EXHAUSTED. */
evener_status_code gateway_headers_read(struct MHD_Connection *connection, gateway_call_headers *headers,
                                        evener_status *status);
void gateway_headers_clear(gateway_call_headers *headers);
/* Add what a server sent as Grpc-Metadata-... and Grpc-Trailer-... */
void gateway_headers_add(struct MHD_Response *response, const evener_call_details *details);

/* Start the call of a request whose route is found and whose body is there. The request sleeps, and is called again in
 * gateway_unary_answer() or gateway_stream_answer(). Not OK: nothing was started. */
evener_status_code gateway_unary_start(gateway_request *request, const evener_bytes *message,
                                       const evener_call_options *options, evener_status *status);
enum MHD_Result gateway_unary_answer(gateway_request *request);
evener_status_code gateway_stream_start(gateway_request *request, const evener_bytes *message,
                                        const evener_call_options *options, evener_status *status);
enum MHD_Result gateway_stream_answer(gateway_request *request);
void gateway_stream_free(gateway_stream *stream);
void gateway_stream_cancel(gateway_stream *stream);

/* ---- the page (page.c) ---- */

/* Return the page with a form for each route, to be freed; NULL: out of memory. */
char *gateway_page(const evener_http_routes *routes);

#endif
