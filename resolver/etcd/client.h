/* Client: calls to the members of an etcd cluster, over a channel of evener's own (transport http2, round_robin, so
 * that each further attempt goes to another member).
 *
 * A client belongs to one owner and to the control thread. Responses are decoded on a call thread, so that a page of
 * 10,000 keys holds up neither the control thread nor the connections. With a user, the client gets a token before the
 * first operation, and another one when etcd refuses it. */
#ifndef EVENER_RESOLVER_ETCD_CLIENT_H
#define EVENER_RESOLVER_ETCD_CLIENT_H

#include <evener/call.h>
#include <evener/channel.h>
#include <evener/loop.h>
#include <evener/runtime.h>
#include <evener/status.h>

#include "resolver/etcd/options.h"

typedef struct evener_etcd_client evener_etcd_client;

/* Create a client of the members that the options name; they are borrowed for the client's life. Reads files. With
 * `decodes_much` responses are decoded on call threads, which the program's own callbacks may hold for long;
 * otherwise on I/O threads. On success store an owned handle. Errors: those of the files, of TLS and of
 * evener_channel_create(). */
evener_status_code evener_etcd_client_create(const evener_etcd_options *options, evener_runtime *runtime,
                                             bool decodes_much, evener_etcd_client **client, evener_status *status);
/* Let go: operations under way end with CANCELLED. */
void evener_etcd_client_destroy(evener_etcd_client *client);

/* A unary call. Embedded in the owner's memory, which must stay until `done`. */
typedef struct evener_etcd_operation {
    const char *method;
    evener_bytes request; /* owned; cleared when the operation has ended */
    /* Decode a response, on a call or I/O thread; or NULL. */
    evener_status_code (*decode)(struct evener_etcd_operation *operation, const evener_bytes *response,
                                 evener_status *status);
    /* Called exactly once, on the control thread, never inside start(). The operation may be freed in it. */
    void (*done)(struct evener_etcd_operation *operation);
    evener_status status;
    char peer[64]; /* the member, "10.0.0.1:2379"; "" when the call had none */
    /* private */
    evener_call_details details;
    evener_etcd_client *client;
    evener_runtime *runtime;
    evener_loop *loop;
    evener_call *call;
    struct evener_etcd_operation *next;
    evener_task task;
    uint64_t token_number;
    bool canceled, with_token, renewed;
    bool waiting; /* for a token */
} evener_etcd_operation;

/* Start an operation whose first four members are set. */
void evener_etcd_client_start(evener_etcd_client *client, evener_etcd_operation *operation);
/* End it with CANCELLED if it has not ended; `done` still comes. */
void evener_etcd_operation_cancel(evener_etcd_operation *operation);

/* A stream. Allocated by the owner, freed with free() after `ended`. */
typedef struct evener_etcd_stream {
    /* Decode a message, on a call or I/O thread. NULL: not wanted. */
    void (*decode)(struct evener_etcd_stream *stream, const evener_bytes *message);
    /* A message was decoded. evener_etcd_stream_next() asks for the next. Control thread; not after detach(). */
    void (*message)(struct evener_etcd_stream *stream);
    /* The stream has ended with `status`. Control thread; not after detach(). */
    void (*ended)(struct evener_etcd_stream *stream);
    /* Free what `decode` left, and the stream. Control thread, last. */
    void (*release)(struct evener_etcd_stream *stream);
    evener_status status;
    /* private */
    evener_runtime *runtime;
    evener_loop *loop;
    evener_stream *stream;
    evener_task message_task, end_task;
    bool detached;
} evener_etcd_stream;

/* Open a stream, send its first message (taken over), and ask for the first answer. Not OK: nothing comes. */
evener_status_code evener_etcd_client_open(evener_etcd_client *client, const char *method, evener_etcd_stream *stream,
                                           evener_bytes *first, evener_status *status);
void evener_etcd_stream_next(evener_etcd_stream *stream);
/* Send a further message (taken over). False: the stream has ended, or another one is under way. */
bool evener_etcd_stream_send(evener_etcd_stream *stream, evener_bytes *message);
/* Cancel the stream; only `release` comes. */
void evener_etcd_stream_detach(evener_etcd_stream *stream);

/* Write a member as people do: "10.0.0.1:2379" for "ipv4:10.0.0.1:2379". */
void evener_etcd_peer_text(const char *peer, char *text, size_t room);

/* Return whether a status says that the token, or its absence, was the reason. */
bool evener_etcd_is_token_refused(const evener_status *status);
/* Forget the token, so that the next operation gets another one. */
void evener_etcd_client_drop_token(evener_etcd_client *client);
/* Retry connections without waiting. */
void evener_etcd_client_reset_backoff(evener_etcd_client *client);

#endif
