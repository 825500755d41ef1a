/* Call: RPCs over a channel's connections.
 *
 *     evener_bytes request, response;
 *     uint8_t *to = evener_bytes_create(grpcdemo__folder__imported_message__get_packed_size(&message), &request);
 *     grpcdemo__folder__imported_message__pack(&message, to);
 *     evener_call_options options = {.size = sizeof options, .timeout_ms = 500};
 *     evener_status status;
 *     if (evener_unary_call(channel, "/grpcdemo.GrpcDemo/DemoImport", &request, &options, &response, &status) ==
 *         EVENER_STATUS_OK) {
 *         grpcdemo__custom_message__unpack(NULL, response.length, response.data);
 *         evener_bytes_clear(&response);
 *     }
 *     evener_bytes_clear(&request);
 *
 * Every call picks a backend. A call is picked again only when it certainly was not sent (the transport reports that),
 * and, once and over the transport "http2" only, when the server certainly did not process it (REFUSED_STREAM, or a
 * stream beyond a GOAWAY's last one, RFC 9113 sections 8.7 and 6.8). It is then completed, queued or failed as any new
 * call, within its deadline. Every other failure is reported once, with the status that the server or the transport
 * gave, and counts for the backend picked. Over "grpc" that includes calls that the server refused: through the core's
 * interface they look like a status that the server wrote. */
#ifndef EVENER_CALL_H
#define EVENER_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <evener/bytes.h>
#include <evener/channel.h>
#include <evener/interceptor.h>
#include <evener/picker.h>
#include <evener/runtime.h>
#include <evener/status.h>

EVENER_BEGIN_DECLS

/* ---- options and details ---- */

typedef enum evener_wait_for_ready {
    EVENER_WAIT_FOR_READY_DEFAULT = 0, /* what the channel's options say */
    EVENER_WAIT_FOR_READY_YES = 1,     /* waits for a backend until the deadline (grpc: doc/wait-for-ready.md) */
    EVENER_WAIT_FOR_READY_NO = 2       /* fails with the last connection error when no backend can be reached */
} evener_wait_for_ready;

/* What else is known of a call that has ended. All is copied and owned by the struct, until
 * evener_call_details_clear(). Start with {.size = sizeof(evener_call_details)}. */
typedef struct evener_call_details {
    size_t size; /* sizeof(evener_call_details) */
    /* The backend picked, however the call ended there: "ipv4:127.0.0.1:50051", "ipv6:[::1]:50051", "unix:/path". ""
     * when the call ended while it had none. */
    const char *peer;
    const evener_metadata *initial_metadata; /* the server's headers; values of "-bin" keys are plain bytes */
    size_t initial_metadata_count;
    const evener_metadata *trailing_metadata; /* its trailers, without grpc-status and grpc-message */
    size_t trailing_metadata_count;
    uint32_t attempts; /* picks that were made for the call; more than 1: it was picked again */
    void *memory;      /* evener's */
    /* The status message as the backend's attempt ended with it, whole, followed by NUL: evener_status cuts it after
     * EVENER_STATUS_MESSAGE_BYTES. May hold NUL bytes. "" with OK, and when the call ended while it had no backend. */
    const char *status_message;
    size_t status_message_bytes;
} evener_call_details;

/* Free what a filled struct owns and make it empty. NULL is allowed. Any thread. */
EVENER_API void evener_call_details_clear(evener_call_details *details);

/* Return the first entry of that key, or NULL. */
EVENER_API const evener_metadata *evener_metadata_find(const evener_metadata *metadata, size_t count, const char *key);

/* A google.rpc.Status, as servers send it in the trailer "grpc-status-details-bin". */
typedef struct evener_status_detail {
    const char *type_url; /* "type.googleapis.com/google.rpc.RetryInfo" */
    size_t type_url_bytes;
    const void *value; /* a message of that type, to be unpacked */
    size_t value_bytes;
} evener_status_detail;

typedef struct evener_status_details {
    int32_t code;
    const char *message; /* not followed by NUL */
    size_t message_bytes;
    size_t count; /* of details; may exceed the room */
} evener_status_details;

/* Decode the status details of a call that has ended. Store what they say in *status_details, and at most `room` details
 * in `list`; all of it points into `details`. NOT_FOUND: the server sent none; DATA_LOSS: they are malformed. Any
 * thread. */
EVENER_API evener_status_code evener_call_status_details(const evener_call_details *details,
                                                         evener_status_details *status_details,
                                                         evener_status_detail *list, size_t room,
                                                         evener_status *status);

/* Everything zero is the documented default. What it points to is borrowed: until a blocking function returns, until
 * evener_call_start() or evener_stream_open() has returned; `details` until it has been filled. */
typedef struct evener_call_options {
    size_t size;         /* sizeof(evener_call_options) */
    uint64_t timeout_ms; /* for the whole call, waiting for a backend included; 0: no deadline. A shorter one in
                            the service config's methodConfig wins */
    evener_wait_for_ready wait_for_ready;
    /* Sent with the call. Keys in lower case; values of "-bin" keys are plain bytes (the transport encodes them), others
     * printable ASCII without spaces at their ends. INVALID_ARGUMENT otherwise, and for headers that the transport
     * writes itself: te, host, user-agent, content-type, grpc-timeout and so on. */
    const evener_metadata *metadata;
    size_t metadata_count;
    uint64_t hash; /* for policies that hash (ring_hash); used when has_hash */
    bool has_hash;
    const char *authority; /* :authority of this call; NULL: the backend's */
    /* Filled when the call has ended, well or not, before its callback; NULL: not asked for (and then not paid for).
     * Cleared first, so it must be initialised. */
    evener_call_details *details;
    /* Receives what the policy weighed at each pick of the call, of a hedged one: until its first attempt has begun.
     * Or NULL. The struct is borrowed as the rest, its `arg` until the call has ended. Picks after the first one may
     * run on other threads. */
    const evener_pick_trace *trace;
    evener_compression compression; /* of messages sent; EVENER_COMPRESSION_IDENTITY: none; 0: the channel's */
    /* Interceptors of this call (evener/interceptor.h), after those of the channel. The interceptors are borrowed until
     * `done`, the array as the rest. */
    const evener_interceptor *const *interceptors;
    size_t interceptor_count;
} evener_call_options;

/* Return an entry of metadata whose value is a text. Borrows both. */
static inline evener_metadata evener_metadata_text(const char *key, const char *value)
{
    const evener_metadata entry = {key, value, strlen(value)}; /* no designators: C++ before C++20 has none */
    return entry;
}

/* Parse the value of an incoming call's "grpc-timeout" header ("250m"), for evener_call_options.timeout_ms or
 * evener_new_call_limit(): what is left of that call when it arrives, rounded up to milliseconds, at least 1. False:
 * the text is none (PROTOCOL-HTTP2.md: at most 8 digits and a unit of H, M, S, m, u, n). Any thread. */
EVENER_API bool evener_timeout_parse(const char *text, uint64_t *timeout_ms);

/* ---- unary calls ---- */

/* Make a blocking unary call of "/package.Service/Method". `options` may be NULL. `request` is borrowed (see
 * evener_bytes) and may be sent any number of times; NULL: an empty message. On OK store a message to be cleared in
 * *response (which may be NULL: then it is dropped). Return and fill `status` with what the server said, or:
 * INVALID_ARGUMENT (no method, bad metadata), DEADLINE_EXCEEDED ("deadline exceeded after 1.000 s at 127.0.0.1:50051",
 * or what the call waited for when it had no backend), UNAVAILABLE (no backend, connection lost, channel closed),
 * FAILED_PRECONDITION (the channel's transport carries no calls; on the control thread when it would have to wait for a
 * backend). Any thread. */
EVENER_API evener_status_code evener_unary_call(evener_channel *channel, const char *method,
                                                const evener_bytes *request, const evener_call_options *options,
                                                evener_bytes *response, evener_status *status);

/* An asynchronous unary call under way. */
typedef struct evener_call evener_call;

/* Called exactly once if evener_call_start() returned OK, never from inside it: on one of the runtime's call threads
 * (transport "grpc") or of the transport's I/O threads ("http2"), or on the control thread when the call ended while it
 * waited for a backend. Must not block; may start, cancel and give back calls and channels. On an I/O thread it holds
 * up all calls of its connection, and must not wait for another call. `status` is borrowed; `response` is empty unless
 * the status is OK, and is cleared after the callback: to keep it, copy the struct and set response->owner to NULL. */
typedef void (*evener_call_callback)(void *arg, const evener_status *status, evener_bytes *response);

/* Start an asynchronous unary call. Everything as in evener_unary_call(); when it does not return OK, the callback is
 * not called. With `call` not NULL store a reference in *call, for cancelling, to be given back with
 * evener_call_unref() at any time. Any thread; does not wait. */
EVENER_API evener_status_code evener_call_start(evener_channel *channel, const char *method,
                                                const evener_bytes *request, const evener_call_options *options,
                                                evener_call_callback callback, void *arg, evener_call **call,
                                                evener_status *status);

/* End the call with CANCELLED if it has not ended yet; its callback still comes. Any number of times. Any thread. */
EVENER_API void evener_call_cancel(evener_call *call);

/* Take or give back a reference. The last unref does not cancel. NULL is allowed for unref. Any thread. */
EVENER_API evener_call *evener_call_ref(evener_call *call);
EVENER_API void evener_call_unref(evener_call *call);

/* ---- streams ---- */

/* A client-streaming, server-streaming or bidirectional call. One thread may read while another writes; two threads
 * must not read, nor write, at the same time. Cancelling goes from any thread at any time.
 *
 *     evener_stream_open(channel, "/grpcdemo.GrpcDemo/Exchange", NULL, NULL, &stream, &status);
 *     while (have_more && evener_stream_write(stream, &message)) ...
 *     evener_stream_writes_done(stream);
 *     while (evener_stream_read(stream, &message)) { ...; evener_bytes_clear(&message); }
 *     code = evener_stream_finish(stream, &status);
 *     evener_stream_unref(stream);
 *
 * A stream that was not processed is made again like a unary call, as long as no message of it was written. With a
 * retryPolicy or hedgingPolicy (A6) its messages are kept until its answer begins, 256 KiB at most, for further attempts. */
typedef struct evener_stream evener_stream;

/* Open a stream and wait until it has a backend (no round trip). With `only_request` not NULL that message and the
 * end of writing go with it: what a server-streaming call needs. `options` may be NULL; options->details, if any, is
 * filled by evener_stream_finish(). On OK store a reference in *stream. Errors as evener_unary_call(). Any thread. */
EVENER_API evener_status_code evener_stream_open(evener_channel *channel, const char *method,
                                                 const evener_bytes *only_request, const evener_call_options *options,
                                                 evener_stream **stream, evener_status *status);

/* Wait for the next message and store it in *message, to be cleared. False: there is no further one, because the
 * server has ended the stream or the call has failed: evener_stream_finish() says which. One thread at a time. */
EVENER_API bool evener_stream_read(evener_stream *stream, evener_bytes *message);

/* Write a message and wait until flow control has let it pass. False: the call has ended, evener_stream_finish() says
 * why; or writing was ended before. One thread at a time. */
EVENER_API bool evener_stream_write(evener_stream *stream, const evener_bytes *message);

/* End writing. False as evener_stream_write(). One thread at a time, with writes. */
EVENER_API bool evener_stream_writes_done(evener_stream *stream);

/* Wait for the server's headers and store them; they live as long as the stream. False: the stream has ended without
 * any. Over the C core an answer that consists of trailers only counts as one with empty headers. Any thread. */
EVENER_API bool evener_stream_headers(evener_stream *stream, const evener_metadata **metadata, size_t *count);

/* End the call with CANCELLED if it has not ended yet: waiting reads and writes return false. Any thread. */
EVENER_API void evener_stream_cancel(evener_stream *stream);

/* Wait for the end of the call and return its status; drop messages that were not read. End writing first, if that
 * was not done. A further call returns the same. When no read or write is under way; one thread at a time. */
EVENER_API evener_status_code evener_stream_finish(evener_stream *stream, evener_status *status);

/* Return the backend, as evener_call_details.peer; "" while there is none; of a hedged stream without an answer, the
 * newest attempt's. Lives as long as the stream. Any thread. */
EVENER_API const char *evener_stream_peer(const evener_stream *stream);

/* Take or give back a reference. The last unref cancels a stream that was not finished. NULL is allowed for unref. Any
 * thread. */
EVENER_API evener_stream *evener_stream_ref(evener_stream *stream);
EVENER_API void evener_stream_unref(evener_stream *stream);

/* ---- streams without waiting ---- */

/* What a stream reports. One function at a time per stream, never from inside a function of this header that the
 * program calls on the stream. On an I/O thread of the transport, a call thread, or the control thread when the stream
 * ended while it waited for a backend. Must not block; may use any function of this section, evener_stream_cancel() and
 * _unref(). */
typedef struct evener_stream_callbacks {
    size_t size; /* sizeof(evener_stream_callbacks) */
    /* Deliver the server's headers; borrowed. At most once, before any message. NULL: not wanted. */
    void (*headers)(void *arg, const evener_metadata *metadata, size_t count);
    /* Answer one evener_stream_ask(). The message is the receiver's, to be cleared. */
    void (*message)(void *arg, evener_bytes *message);
    /* Answer one evener_stream_send(): flow control has let the message pass. NULL: not wanted. */
    void (*written)(void *arg);
    /* Report the end, exactly once, last. `status` is borrowed; options->details, if any, is filled. */
    void (*ended)(void *arg, const evener_status *status);
} evener_stream_callbacks;

/* Start a stream, as evener_stream_open() does, and return at once. `callbacks` is copied; options->details is
 * borrowed until `ended`. Not OK: no callback comes. On OK store a reference in *stream; the stream keeps one of its
 * own until `ended` has returned. Errors: as evener_call_start(). Any thread. */
EVENER_API evener_status_code evener_stream_start(evener_channel *channel, const char *method,
                                                  const evener_bytes *only_request, const evener_call_options *options,
                                                  const evener_stream_callbacks *callbacks, void *arg,
                                                  evener_stream **stream, evener_status *status);

/* Ask for the next message: `message` or `ended` follows. One at a time: the next after `message`. Without asking, the
 * server is held back by flow control. False: the stream has ended, or one was asked for already. Any thread. */
EVENER_API bool evener_stream_ask(evener_stream *stream);

/* Send a message: `written` or `ended` follows. The message is kept by reference, or copied if it has no owner. One at
 * a time: the next after `written`. False: the stream or writing has ended, a message is under way, or there is no
 * memory. Any thread. */
EVENER_API bool evener_stream_send(evener_stream *stream, const evener_bytes *message);

/* End writing, after a message that is under way. False as evener_stream_send(). Any
 * thread. */
EVENER_API bool evener_stream_send_done(evener_stream *stream);

EVENER_END_DECLS

#endif
