/* Transport: makes the connections of subchannels. evener's own HTTP/2 or the gRPC C core (evener/grpc.h) in
 * production, a fake one in tests, or a program's own for any other protocol.
 *
 * One connection object is one attempt to connect and, if it succeeds, the connection. Its states are CONNECTING ->
 * READY -> (dropped) or CONNECTING -> (failed). evener keeps state, backoff and statistics on its side. */
#ifndef EVENER_TRANSPORT_H
#define EVENER_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/address.h>
#include <evener/bytes.h>
#include <evener/connectivity.h>
#include <evener/credentials.h>
#include <evener/loop.h>
#include <evener/picker.h>
#include <evener/runtime.h>
#include <evener/status.h>

EVENER_BEGIN_DECLS

typedef struct evener_transport evener_transport;

typedef struct evener_connect_args {
    size_t size;                   /* sizeof(evener_connect_args) */
    const evener_address *address; /* borrowed for the call */
    const char *authority;         /* :authority over plain text; borrowed for the call */
    uint64_t timeout_ms;           /* after this time evener gives up and disconnects */
    /* Report the fate of the attempt, on the control thread, never from inside connect(), never after disconnect():
     *   READY               connected; at most once
     *   TRANSIENT_FAILURE   the attempt failed, with the reason; the last call
     *   IDLE                the connection dropped or drains (GOAWAY) after READY; the last call */
    void (*state_changed)(void *arg, evener_connectivity_state state, const evener_status *status);
    void *arg;
    /* The name, with or without a port, that a transport with verified servers verifies this server against, and then
     * its :authority; borrowed for the call. NULL: the server has no name (a Unix socket that neither application nor
     * list names): such a transport refuses to connect. */
    const char *server_name;
    evener_loop *loop; /* the channel's, for tasks and timers; lives until disconnect() has returned */
    /* A105 (connection scaling), for transports with calls_wait. `more_wanted` is called, like state_changed, when calls
     * on the READY connection begin to wait for room below the peer's MAX_CONCURRENT_STREAMS, and again when some of
     * them have found room elsewhere and others still wait; NULL: nobody wants to know. */
    void (*more_wanted)(void *arg);
    /* A READY connection of this transport to the same server, which the new one shares its calls with: a call that
     * begins on either goes to the one with room that has opened first, or waits on the first. NULL: none. */
    evener_connection *beside;
} evener_connect_args;

typedef struct evener_transport_vtable {
    size_t size; /* sizeof(evener_transport_vtable) */
    /* Start an attempt. Must not block. Errors: the attempt failed at once. Control thread. */
    evener_status_code (*connect)(evener_transport *transport, const evener_connect_args *args,
                                  evener_connection **connection, evener_status *status);
    /* Give the connection up in any state: calls in flight finish, no new call starts. Called exactly once per
     * connection. Control thread; may be called from inside state_changed. */
    void (*disconnect)(evener_transport *transport, evener_connection *connection);
    /* Keep a connection valid until all picks on it are done. Set both or none: without them picks only carry the
     * pointer, which may dangle after disconnect. evener counts the picks itself, per thread: it takes one reference
     * when the connection has become READY, and gives it back after disconnect() when the last pick is done. Return
     * false, without a reference, if the connection takes no further call; its last state_changed has come or will
     * come. Any thread; must not lock, wait or allocate. */
    bool (*connection_ref)(evener_connection *connection);
    void (*connection_unref)(evener_connection *connection);
    /* Watch the health of `service` over a READY connection (A17, client-side health checking), until the
     * connection is given up or watch_health is called again with the same `arg` and another service (NULL: stop). A
     * transport whose factory has shares_connections keeps a watch per `arg`, others may keep one per connection. Report
     * READY (serving), TRANSIENT_FAILURE (not serving) or CONNECTING (not known yet) on the control thread, never from
     * inside. NULL: the transport has no health. */
    evener_status_code (*watch_health)(evener_transport *transport, evener_connection *connection, const char *service,
                                       void (*health_changed)(void *arg, evener_connectivity_state health,
                                                              const evener_status *status),
                                       void *arg);
    /* Destroy the transport after all its connections were given up. Control thread. NULL: the caller owns the
     * transport. */
    void (*destroy)(evener_transport *transport);
    /* Exchange the settings (credentials and others) of two transports of one factory. Their connections stay;
     * attempts that start from now on use the new settings. Used when a factory file changes. Control thread. NULL:
     * the settings of a live channel cannot change. */
    void (*exchange_settings)(evener_transport *a, evener_transport *b);
    /* Return whether servers are verified against evener_connect_args.server_name, so that a backend without a name
     * cannot be connected to. Any thread. NULL: they are not. */
    bool (*verifies_names)(const evener_transport *transport);
    /* How RPCs go over its connections; needs connection_ref. NULL: it carries none, and evener/call.h cannot be
     * used. */
    const struct evener_transport_calls *calls;
    /* Return whether a connection takes further calls. A pick that finds one that does not is made again, before the
     * policy has been notified of its end; false therefore means that the last state_changed has come or will come.
     * Used with connection_ref only. Any thread that has a pick of the connection or reads it under RCU; must not lock,
     * wait or allocate. NULL: every connection does until its last state_changed. */
    bool (*connection_takes_calls)(const evener_connection *connection);
    /* Replace the credentials (borrowed): attempts to connect that start from now on use them, connections stay. On
     * failure the old ones stay in force. Control thread. NULL: they cannot be replaced. */
    evener_status_code (*set_credentials)(evener_transport *transport, const struct evener_credentials *credentials,
                                          evener_status *status);
    /* Take over what servers have asked another transport of the same factory for: a keepalive time that a GOAWAY has
     * raised (A8). A channel's further attempts to connect go to this transport instead of that one. Control thread.
     * NULL: there is nothing to take over. */
    void (*inherit)(evener_transport *transport, const evener_transport *from);
    /* Return whether calls wait on this connection because it and all that were made beside it have as many calls as
     * their peer allows. Control thread. NULL: the transport makes no connection beside another one. */
    bool (*calls_wait)(const evener_connection *connection);
} evener_transport_vtable;

/* Embedded first in every transport. */
struct evener_transport {
    const evener_transport_vtable *vtable;
};

/* Compression of the messages that are sent. A call compresses a message only if that makes it smaller. Received
 * messages are decompressed whatever is set here. */
typedef enum evener_compression {
    EVENER_COMPRESSION_NONE = 0, /* of a channel: none. Of a call: the channel's */
    EVENER_COMPRESSION_GZIP = 1,
    EVENER_COMPRESSION_DEFLATE = 2,
    EVENER_COMPRESSION_IDENTITY = 3 /* of a call: none, whatever the channel's is. Never passed to a transport */
} evener_compression;

/* ---- transports by name ---- */

/* A channel's settings for its connections. All pointers are borrowed for the call of create(). */
typedef struct evener_transport_args {
    size_t size; /* sizeof(evener_transport_args) */
    evener_runtime *runtime;
    const evener_credentials *credentials; /* NULL: none were given */
    const char *user_agent;                /* NULL: "evener/VERSION" */
    uint64_t keepalive_time_ms;            /* 0: the transport's default */
    uint64_t keepalive_timeout_ms;         /* 0: the transport's default */
    const void *grpc_args;                 /* a `const grpc_channel_args *`, for the gRPC C core only; or NULL */
    const char *target;                    /* the channel's, for proxies by name; NULL: no proxy is used. Borrowed */
    bool ignore_http_proxy;                /* HTTP CONNECT proxies of the environment are not used */
    bool keepalive_permit_without_calls;   /* keepalive PINGs also while no call is under way (A8) */
    uint32_t header_list_bytes_max;        /* limit of a received header list; 0: the transport's default */
    uint32_t io_threads;                   /* I/O threads of the runtime: those of the first transport that connects */
    /* An upper bound for received messages, for transports that know none per call (receive_bytes_max of
     * evener_call_begin_args); 0: the transport's default; SIZE_MAX: none */
    size_t receive_bytes_max;
} evener_transport_args;

/* Create the transport of one channel. On success store a transport, which the channel ends through
 * vtable->destroy. Errors: INVALID_ARGUMENT, FAILED_PRECONDITION, RESOURCE_EXHAUSTED; the channel then fails at
 * creation with them. Any thread. */
typedef evener_status_code (*evener_transport_create_fn)(const evener_transport_args *args,
                                                         evener_transport **transport, evener_status *status);

typedef struct evener_transport_factory {
    size_t size; /* sizeof(evener_transport_factory) */
    evener_transport_create_fn create;
    /* With shares_connections: return whether `args->target` matters to the connections that would be made now;
     * otherwise channels of different targets share them as well. NULL: it does. Any thread. */
    bool (*uses_target)(const evener_transport_args *args);
    /* The connections of one of its transports may serve several channels. evener then creates one transport for all
     * channels of a runtime with equal arguments, and destroys it when the last of these channels and of their
     * connections has ended. Needs connection_ref, and a health watch per `arg`. Attempts of such transports are not
     * given up by connect_timeout_ms of one channel while another one waits for them. */
    bool shares_connections;
} evener_transport_factory;

/* Register a factory for the whole process, or replace the one of that name. Name and factory must stay valid forever
 * (static). Existing channels keep their transport. Built in: "http2"; libevener-grpc registers "grpc" (the gRPC C
 * core) when it is loaded. Errors:
 * INVALID_ARGUMENT (no name, no create), RESOURCE_EXHAUSTED. Any thread. */
EVENER_API evener_status_code evener_transport_register(const char *name, const evener_transport_factory *factory,
                                                        evener_status *status);

/* Return the factory of a name, or NULL. Loads no library: "grpc" is there once libevener-grpc is. Any thread. */
EVENER_API const evener_transport_factory *evener_transport_find(const char *name);

/* ---- calls: the seam between what an RPC is (deadline, attempts, retries) and the wire ----
 *
 * One evener_transport_call is one stream: one attempt of an RPC on one connection. The layer above owns attempts,
 * retries and the life of metadata and messages. The transport owns the wire, and alone knows the fate of a call.
 *
 *     call_begin --> headers --> message* --> ended        (events; headers and message are optional)
 *         call_write, call_half_close, call_read, call_cancel in between
 *
 * A blocking caller begins with `blocking`, then at once calls call_wait() until its `ended` event has changed the word
 * that it waits for. */

/* What the transport knows of a call that has ended without OK. Nothing above a transport infers it. */
typedef enum evener_fate {
    EVENER_FATE_PERHAPS_PROCESSED = 0, /* everything that is not certainly one of the others */
    EVENER_FATE_NEVER_LEFT = 1,        /* not a byte of the request was written to the connection, nor will be */
    EVENER_FATE_REFUSED = 2            /* RST_STREAM REFUSED_STREAM, or a stream id above the GOAWAY's last id */
} evener_fate;

typedef struct evener_transport_call evener_transport_call;

/* How a call has ended. Borrowed for the event. */
typedef struct evener_call_end {
    size_t size; /* sizeof(evener_call_end) */
    evener_status_code code;
    const char *message; /* status message of any length, followed by NUL; never NULL */
    size_t message_bytes;
    evener_fate fate;                /* PERHAPS_PROCESSED with OK */
    bool connection_gone;            /* the connection takes no further call: closed, given up, or GOAWAY received */
    bool timed_out;                  /* the call's own deadline ended it, and not a status that the server sent */
    const evener_metadata *trailing; /* without grpc-status and grpc-message; values of "-bin" keys are decoded; a
                                        Trailers-Only answer has all its metadata here. Without `wants_metadata` only
                                        grpc-retry-pushback-ms (A6) is here, if the server sent it */
    size_t trailing_count;
    const void *load_report; /* A58: endpoint-load-metrics-bin, decoded; NULL: none */
    size_t load_report_bytes;
    evener_bytes *response; /* unary calls with OK: the message. The receiver takes it (copies the struct and sets
                               response->owner to NULL) or leaves it; otherwise NULL */
    /* The server's headers came before its trailers: the answer was not Trailers-Only. A6: the call is committed, it is
     * not retried by policy. Without this member (an older transport) that is assumed. The core does not distinguish
     * headers without metadata from none: over "grpc" false then, as long as no message came */
    bool headers_came;
} evener_call_end;

/* What the transport reports of a call: one event at a time per call, never from inside one of the functions below
 * except call_wait. Thread: an I/O thread of the transport; for a call begun with `blocking` also a thread inside
 * call_wait of any call of the same connection. An event must not block; it may use any function below except
 * call_wait. */
typedef struct evener_call_events {
    size_t size; /* sizeof(evener_call_events) */
    /* Deliver the server's headers: at most once, before any message, not for a Trailers-Only answer; only with
     * `wants_metadata`. NULL: not wanted. */
    void (*headers)(evener_transport_call *call, const evener_metadata *metadata, size_t count);
    /* Answer one call_read; the receiver owns the message. Not for unary calls (evener_call_end.response); may be NULL
     * then. */
    void (*message)(evener_transport_call *call, evener_bytes *message);
    /* Answer one call_write: flow control let the message pass, its reference is not needed any more. Not for unary
     * calls; may be NULL then. */
    void (*written)(evener_transport_call *call);
    /* Report the end: exactly once, last. The transport does not touch the call's memory afterwards, nor what was
     * passed to call_begin. */
    void (*ended)(evener_transport_call *call, const evener_call_end *end);
} evener_call_events;

/* Arguments of call_begin. The struct itself is borrowed for the call of call_begin; everything that it points to is
 * borrowed until `ended`. */
typedef struct evener_call_begin_args {
    size_t size; /* sizeof(evener_call_begin_args) */
    const evener_call_events *events;
    const char *method;              /* "/package.Service/Method" */
    const char *authority;           /* NULL: the connection's */
    const evener_metadata *metadata; /* keys in lower case; values of "-bin" keys are plain bytes */
    size_t metadata_count;
    uint64_t deadline_ns; /* the runtime loop's clock; UINT64_MAX: none. Sent as grpc-timeout; when it passes the
                             transport ends the call with DEADLINE_EXCEEDED */
    bool unary;           /* `request` and END_STREAM follow the headers; exactly one response message is expected */
    bool blocking;        /* the caller calls call_wait() next, on the same thread */
    bool wants_metadata;  /* deliver headers and trailing metadata */
    const evener_bytes *request; /* unary: the message; NULL: an empty one */
    evener_compression compression;
    size_t receive_bytes_max;   /* limit of one received message; 0: 4 MiB. Exceeding: RESOURCE_EXHAUSTED */
    size_t send_bytes_max;      /* limit of one sent message; 0: none. Exceeding: RESOURCE_EXHAUSTED */
    uint32_t previous_attempts; /* A6: > 0 is sent as grpc-previous-rpc-attempts */
    bool background; /* a long stream that no caller waits for, such as load reports: its events also come inside
                        call_wait of other calls, and it keeps no thread from serving the connection. Not with
                        `blocking` */
} evener_call_begin_args;

/* Embedded first in the transport's own struct. */
struct evener_transport_call {
    evener_connection *connection; /* set by call_begin */
    const evener_call_events *events;
    void *arg; /* the owner's */
};

/* The bits of a word passed to call_wait that belong to the waiting: its waiter sleeps, or was woken to serve the
 * connection. The values of the owner are below them. Who changes a word does so by evener_wait_word_set(). */
#define EVENER_WAIT_SLEEPING (UINT32_C(1) << 31)
#define EVENER_WAIT_SERVE (UINT32_C(1) << 30)
#define EVENER_WAIT_BITS (EVENER_WAIT_SLEEPING | EVENER_WAIT_SERVE)

/* Change a word that a thread may wait for, and wake the thread if it sleeps. Other than the system call nothing of
 * the word's memory is touched after the change. Any thread. */
EVENER_API void evener_wait_word_set(uint32_t *word, uint32_t value);

/* Sleep until *word is not `value` (EVENER_WAIT_BITS aside), `until_ns` of CLOCK_MONOTONIC has passed (UINT64_MAX:
 * never), or for no reason. What a caller uses when the transport has no call_wait. Any thread. */
EVENER_API void evener_wait_word_sleep(uint32_t *word, uint32_t value, uint64_t until_ns);

/* The functions of a transport that carries calls. */
typedef struct evener_transport_calls {
    size_t size; /* sizeof(evener_transport_calls) */
    /* Memory that the owner provides for each call: 64-byte aligned and zeroed once, never between calls. It may be
     * freed whenever no call is under way in it. */
    size_t call_bytes;
    /* Begin a call. Any thread that holds a reference to the connection, which it keeps until `ended` and until its
     * call_wait has returned. Not OK: nothing was sent, and no event follows (fate NEVER_LEFT): INVALID_ARGUMENT (the
     * method or metadata cannot be sent), RESOURCE_EXHAUSTED (message above the limit, out of memory), UNAVAILABLE (the
     * connection takes no further call). */
    evener_status_code (*call_begin)(evener_connection *connection, evener_transport_call *call,
                                     const evener_call_begin_args *args, evener_status *status);
    /* Streams: write a message, one at a time: the next after `written`. The message and its reference are borrowed
     * until `written` or `ended`. `last`: END_STREAM goes with it. A message above send_bytes_max ends the call. One
     * thread at a time with call_half_close. */
    void (*call_write)(evener_transport_call *call, const evener_bytes *message, bool last);
    /* Streams: end writing, after the last `written`. */
    void (*call_half_close)(evener_transport_call *call);
    /* Streams: ask for the next message, one at a time: the next after `message`. Without it at most one flow-control
     * window is buffered. Status and trailers arrive without reads only after all messages were read. */
    void (*call_read)(evener_transport_call *call);
    /* End the call with this status: RST_STREAM CANCEL; `ended` follows with it, unless the call ends otherwise first.
     * `message` is borrowed until `ended`. At most once per call. Any thread. This function, call_write,
     * call_half_close and call_read may meet the end of the call: after `ended` they do nothing, as long as the call's
     * memory is there, no other call was begun in it, and the caller holds a reference to the connection. */
    void (*call_cancel)(evener_transport_call *call, evener_status_code code, const char *message);
    /* Wait, for the blocking caller of this call, until *word (EVENER_WAIT_BITS aside) is not `value` any more or
     * `until_ns` of the loop's clock has passed; serve the connection meanwhile if nobody else does. The word stays
     * valid until `ended`, and is changed by evener_wait_word_set() only. NULL: the transport has none. */
    void (*call_wait)(evener_transport_call *call, uint32_t *word, uint32_t value, uint64_t until_ns);
    /* Events come on threads made for callbacks that may block, and hold up no other call. False: the channel option
     * callbacks_on_call_threads hands them to such threads. */
    bool events_may_block;
    /* `headers` without an entry may also mean that the answer consists of trailers only. A stream that may be retried
     * (A6) then holds such headers back until a message or the end shows what they were. */
    bool empty_headers_are_ambiguous;
} evener_transport_calls;

EVENER_END_DECLS

#endif
