/* Typed calls: RPCs whose messages are protobuf-c's, by functions that protoc-gen-evener generates or by
 * protobuf-c's own stubs. Part of libevener-protobuf-c (pkg-config `evener-protobuf-c`, CMake component
 * `protobuf_c`).
 *
 *     Grpcdemo__Folder__ImportedMessage request = GRPCDEMO__FOLDER__IMPORTED_MESSAGE__INIT;
 *     Grpcdemo__CustomMessage *response;
 *     if (grpcdemo_grpc_demo_demo_import(channel, &request, &options, &response, &status) == EVENER_STATUS_OK) {
 *         puts(response->custom_message);
 *         grpcdemo__custom_message__free_unpacked(response, NULL);
 *     }
 *
 * This header holds what generated functions consist of. Programs use these functions directly only for methods that
 * they learn of at run time. Requests are borrowed until the function returns, and NULL is an empty message. Every
 * message that a function or a callback delivers is the receiver's, to be freed with its free_unpacked(). Options,
 * status, threads and errors are those of evener/call.h, and one more: INTERNAL when an answer is no message of the
 * method's type. */
#ifndef EVENER_PROTOBUF_C_H
#define EVENER_PROTOBUF_C_H

#include <stdbool.h>

#include <evener/bytes.h>
#include <evener/call.h>
#include <evener/channel.h>
#include <evener/status.h>

EVENER_BEGIN_DECLS

/* Of <protobuf-c/protobuf-c.h>, which generated headers include. */
typedef struct ProtobufCMessage ProtobufCMessage;
typedef struct ProtobufCMessageDescriptor ProtobufCMessageDescriptor;
typedef struct ProtobufCService ProtobufCService;
typedef struct ProtobufCServiceDescriptor ProtobufCServiceDescriptor;

/* ---- methods ---- */

/* A callback of a generated type, kept as a type of no arguments; `deliver` knows the type. */
typedef void (*evener_protobuf_c_callback)(void);

/* One method of a service. A static constant of generated code, which must outlive the calls. */
typedef struct evener_protobuf_c_method {
    const char *path; /* "/package.Service/Method" */
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *response;
    /* Call `callback` with its own types. `response` is the receiver's, and NULL unless the status is OK. `status` is
     * NULL for a message of a stream. Needed by evener_protobuf_c_call_start() and _stream_start() only. */
    void (*deliver)(evener_protobuf_c_callback callback, void *arg, const evener_status *status,
                    ProtobufCMessage *response);
} evener_protobuf_c_method;

/* ---- messages ---- */

/* Pack the message (NULL: an empty one) into *bytes, to be cleared. Errors: RESOURCE_EXHAUSTED (out of memory); then
 * *bytes is empty. Any thread. */
EVENER_API evener_status_code evener_protobuf_c_pack(const ProtobufCMessage *message, evener_bytes *bytes,
                                                     evener_status *status);

/* Unpack a message of that type and store it in *message, to be freed with protobuf_c_message_free_unpacked().
 * `what` begins the error's message: "/package.Service/Method". Errors: INTERNAL (the bytes are no such message, or
 * there is no memory: protobuf-c does not say which). Any thread. */
EVENER_API evener_status_code evener_protobuf_c_unpack(const ProtobufCMessageDescriptor *type,
                                                       const evener_bytes *bytes, const char *what,
                                                       ProtobufCMessage **message, evener_status *status);

/* ---- unary calls ---- */

/* Make a blocking call, as evener_unary_call(). On OK store the answer in *response; `response` NULL: it is checked and
 * dropped. Any thread. */
EVENER_API evener_status_code evener_protobuf_c_call(evener_channel *channel, const evener_protobuf_c_method *method,
                                                     const ProtobufCMessage *request,
                                                     const evener_call_options *options, ProtobufCMessage **response,
                                                     evener_status *status);

/* Start an asynchronous call, as evener_call_start(). `callback` is called by method->deliver, exactly once if this
 * returns OK, on the threads and under the rules of evener_call_callback. Any thread. */
EVENER_API evener_status_code evener_protobuf_c_call_start(evener_channel *channel,
                                                           const evener_protobuf_c_method *method,
                                                           const ProtobufCMessage *request,
                                                           const evener_call_options *options,
                                                           evener_protobuf_c_callback callback, void *arg,
                                                           evener_call **call, evener_status *status);

/* ---- streams ---- */

/* A stream of messages. Lies in the caller's memory, wraps an evener_stream and follows its rules: one thread may read
 * while another writes. Every stream that was opened is finished, also one that was cancelled or whose reads or writes
 * failed: evener_protobuf_c_stream_finish() gives back what it holds. */
typedef struct evener_protobuf_c_stream {
    evener_stream *stream; /* for evener_stream_headers(), _peer() and _cancel(); NULL: not open */
    const evener_protobuf_c_method *method;
    bool malformed; /* evener's, as the next one: a message could not be unpacked */
    bool no_memory; /* a message could not be packed */
} evener_protobuf_c_stream;

/* Open a stream, as evener_stream_open(). With `has_only_request` the message `only_request` (NULL: an empty one) and
 * the end of writing go with it. *stream is written only on OK. Any thread. */
EVENER_API evener_status_code evener_protobuf_c_stream_open(evener_channel *channel,
                                                            const evener_protobuf_c_method *method,
                                                            bool has_only_request, const ProtobufCMessage *only_request,
                                                            const evener_call_options *options,
                                                            evener_protobuf_c_stream *stream, evener_status *status);

/* Wait for the next message and return it. NULL: there is no further one; finish() says why. A message that cannot be
 * unpacked cancels the stream, and finish() returns INTERNAL. One thread at a time. */
EVENER_API ProtobufCMessage *evener_protobuf_c_stream_read(evener_protobuf_c_stream *stream);

/* Write a message and wait until flow control has let it pass. False: the call has ended, and finish() says why. One
 * thread at a time. */
EVENER_API bool evener_protobuf_c_stream_write(evener_protobuf_c_stream *stream, const ProtobufCMessage *message);

/* End writing. False as evener_protobuf_c_stream_write(). One thread at a time, with writes. */
EVENER_API bool evener_protobuf_c_stream_writes_done(evener_protobuf_c_stream *stream);

/* End the call with CANCELLED if it has not ended yet. Any thread, until finish() is called. */
EVENER_API void evener_protobuf_c_stream_cancel(const evener_protobuf_c_stream *stream);

/* End writing, wait for the end of the call, drop messages that were not read, give the stream back and return its
 * status. Of a stream that is not open: FAILED_PRECONDITION. When no read or write is under way. */
EVENER_API evener_status_code evener_protobuf_c_stream_finish(evener_protobuf_c_stream *stream, evener_status *status);

/* Finish a stream with one answer, as client-streaming methods have it: end writing, read the answer, and finish. On OK
 * store it in *response (NULL: it is dropped). INTERNAL if the server ended the call with OK and without an answer, or
 * sent a second one, which cancels the call. */
EVENER_API evener_status_code evener_protobuf_c_stream_finish_one(evener_protobuf_c_stream *stream,
                                                                  ProtobufCMessage **response, evener_status *status);

/* ---- streams without waiting ---- */

/* A stream that was started. Counted; wraps an evener_stream and follows its rules (evener/call.h, "streams without
 * waiting"). */
typedef struct evener_protobuf_c_async evener_protobuf_c_async;

/* What a started stream reports. Threads and rules are those of evener_stream_callbacks. Either `message` and `ended`,
 * or only `answered`. */
typedef struct evener_protobuf_c_stream_callbacks {
    size_t size; /* sizeof(evener_protobuf_c_stream_callbacks) */
    /* Deliver the server's headers; borrowed. At most once, before any message. NULL: not wanted. */
    void (*headers)(void *arg, const evener_metadata *metadata, size_t count);
    /* Answer one evener_protobuf_c_async_send(). NULL: not wanted. */
    void (*written)(void *arg);
    /* Answer one evener_protobuf_c_async_ask(). Called by method->deliver, with the status NULL. The message is the
     * receiver's. */
    evener_protobuf_c_callback message;
    /* Report the end, exactly once, last. `status` is borrowed. A message that could not be unpacked ends the stream
     * with INTERNAL. */
    void (*ended)(void *arg, const evener_status *status);
    /* Report the end and the one answer, exactly once, last. Called by method->deliver. Such a stream asks for its
     * answer by itself. INTERNAL if the server ended the call with OK and without an answer, or sent a second one,
     * which cancels the call. */
    evener_protobuf_c_callback answered;
} evener_protobuf_c_stream_callbacks;

/* Start a stream, as evener_stream_start(), and return at once. `has_only_request` and `only_request` as for
 * evener_protobuf_c_stream_open(). `callbacks` is copied. On OK store a reference in *stream, before the first callback
 * comes, to be given back with evener_protobuf_c_async_unref(). Not OK: no callback comes. Errors: as
 * evener_stream_start(); INVALID_ARGUMENT if callbacks, method->deliver or `stream` are missing. Any thread. */
EVENER_API evener_status_code
evener_protobuf_c_stream_start(evener_channel *channel, const evener_protobuf_c_method *method, bool has_only_request,
                               const ProtobufCMessage *only_request, const evener_call_options *options,
                               const evener_protobuf_c_stream_callbacks *callbacks, void *arg,
                               evener_protobuf_c_async **stream, evener_status *status);

/* Ask for the next message: `message` or `ended` follows. False as evener_stream_ask(), and for a stream with
 * `answered`. Any thread. */
EVENER_API bool evener_protobuf_c_async_ask(evener_protobuf_c_async *stream);

/* Send a message, which is packed before this returns: `written` or the end follows. False as evener_stream_send(). Any
 * thread. */
EVENER_API bool evener_protobuf_c_async_send(evener_protobuf_c_async *stream, const ProtobufCMessage *message);

/* End writing, after a message that is under way. False as evener_stream_send_done(). Any thread. */
EVENER_API bool evener_protobuf_c_async_send_done(evener_protobuf_c_async *stream);

/* End the call with CANCELLED if it has not ended yet; the end is still reported. Any thread. */
EVENER_API void evener_protobuf_c_async_cancel(evener_protobuf_c_async *stream);

/* Return the stream, for evener_stream_peer() and _headers(). Borrowed: it lives as long as the reference. Any
 * thread. */
EVENER_API evener_stream *evener_protobuf_c_async_stream(const evener_protobuf_c_async *stream);

/* Give back the reference. The stream goes on until its end. NULL is allowed. Any thread. */
EVENER_API void evener_protobuf_c_async_unref(evener_protobuf_c_async *stream);

/* ---- protobuf-c's own stubs ---- */

/* Return a service whose methods are calls over the channel, for the stubs that protoc-c generates:
 *
 *     ProtobufCService *demo = evener_protobuf_c_service(channel, &grpcdemo__grpc_demo__descriptor);
 *     grpcdemo__grpc_demo__demo_import(demo, &request, answered, arg);   // returns at once
 *     ...
 *     protobuf_c_service_destroy(demo);
 *
 * A stub packs its message before it returns, and may be called by any thread, several at a time. Its closure is
 * called exactly once, on the threads and under the rules of evener_call_callback; or, when the call cannot be
 * started, on the calling thread before the stub returns. The message passed to the closure is freed when the
 * closure has returned. NULL instead of a message: the call failed, and evener_protobuf_c_status() says why. A stub
 * sends one message and expects one answer, as protobuf-c's descriptors do not know streams.
 *
 * The service keeps a reference of the channel, and the descriptor must outlive it. protobuf_c_service_destroy()
 * frees it when no stub is being called; calls under way go on and call their closures. NULL: out of memory, or an
 * argument is NULL. Any thread. */
EVENER_API ProtobufCService *evener_protobuf_c_service(evener_channel *channel,
                                                       const ProtobufCServiceDescriptor *descriptor);

/* Set the options of further calls of the service (NULL: the defaults): deadline, metadata and so on. The struct is
 * copied; what it points to is borrowed until the service is destroyed or has other options. When no stub is being
 * called. Errors: INVALID_ARGUMENT (`details` or `trace` is set, which several calls cannot share; no service of
 * evener's). */
EVENER_API evener_status_code evener_protobuf_c_service_set_options(ProtobufCService *service,
                                                                    const evener_call_options *options,
                                                                    evener_status *status);

/* Return the status of the call whose closure is running on this thread; borrowed until the closure returns. NULL
 * outside of closures. Any thread. */
EVENER_API const evener_status *evener_protobuf_c_status(void);

EVENER_END_DECLS

#endif
