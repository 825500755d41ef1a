#include "lb/protobuf/plugin/templates.h"

#include <stddef.h>

/* The generated code is C11 and C++: no designated initialisers, and casts where C++ needs them. */

#define METHOD                                                                                                         \
    "static const evener_protobuf_c_method $F_method = {\n"                                                            \
    "    \"/$P\",\n"                                                                                                   \
    "    &$q__descriptor,\n"                                                                                           \
    "    &$a__descriptor,\n"                                                                                           \
    "    "

/* ---- parts of several kinds ---- */

#define STREAM_TYPE                                                                                                    \
    "typedef struct $F_stream {\n"                                                                                     \
    "    evener_protobuf_c_stream base;\n"                                                                             \
    "} $F_stream;\n\n"

#define OPEN_DECLARATION                                                                                               \
    "evener_status_code $F_open(\n"                                                                                    \
    "    evener_channel *channel, const evener_call_options *options,\n"                                               \
    "    $F_stream *stream, evener_status *status)"

#define OPEN_REQUEST_DECLARATION                                                                                       \
    "evener_status_code $F_open(\n"                                                                                    \
    "    evener_channel *channel, const $Q *request, const evener_call_options *options,\n"                            \
    "    $F_stream *stream, evener_status *status)"

#define OPEN_SOURCE                                                                                                    \
    OPEN_DECLARATION "\n{\n"                                                                                           \
                     "    return evener_protobuf_c_stream_open(channel, &$F_method,\n"                                 \
                     "        false, NULL, options, &stream->base, status);\n"                                         \
                     "}\n\n"

#define OPEN_REQUEST_SOURCE                                                                                            \
    OPEN_REQUEST_DECLARATION "\n{\n"                                                                                   \
                             "    return evener_protobuf_c_stream_open(channel, &$F_method, true,\n"                   \
                             "        (const ProtobufCMessage *)request, options, &stream->base, status);\n"           \
                             "}\n\n"

#define WRITE_DECLARATION "bool $F_write(\n    $F_stream *stream, const $Q *message)"
#define WRITE_SOURCE                                                                                                   \
    WRITE_DECLARATION "\n{\n"                                                                                          \
                      "    return evener_protobuf_c_stream_write(&stream->base, (const ProtobufCMessage *)message);\n" \
                      "}\n\n"

#define WRITES_DONE_DECLARATION "bool $F_writes_done(\n    $F_stream *stream)"
#define WRITES_DONE_SOURCE                                                                                             \
    WRITES_DONE_DECLARATION "\n{\n"                                                                                    \
                            "    return evener_protobuf_c_stream_writes_done(&stream->base);\n"                        \
                            "}\n\n"

#define READ_DECLARATION "$A *$F_read(\n    $F_stream *stream)"
#define READ_SOURCE                                                                                                    \
    READ_DECLARATION "\n{\n"                                                                                           \
                     "    return ($A *)evener_protobuf_c_stream_read(&stream->base);\n"                                \
                     "}\n\n"

#define CANCEL_DECLARATION "void $F_cancel(\n    const $F_stream *stream)"
#define CANCEL_SOURCE                                                                                                  \
    CANCEL_DECLARATION "\n{\n"                                                                                         \
                       "    evener_protobuf_c_stream_cancel(&stream->base);\n"                                         \
                       "}\n\n"

#define FINISH_DECLARATION "evener_status_code $F_finish(\n    $F_stream *stream, evener_status *status)"
#define FINISH_SOURCE                                                                                                  \
    FINISH_DECLARATION "\n{\n"                                                                                         \
                       "    return evener_protobuf_c_stream_finish(&stream->base, status);\n"                          \
                       "}\n"

#define FINISH_ONE_DECLARATION                                                                                         \
    "evener_status_code $F_finish(\n"                                                                                  \
    "    $F_stream *stream, $A **response, evener_status *status)"
#define STORE_RESPONSE                                                                                                 \
    "    if (code == EVENER_STATUS_OK && response != NULL) {\n"                                                        \
    "        *response = ($A *)message;\n"                                                                             \
    "    }\n"                                                                                                          \
    "    return code;\n"                                                                                               \
    "}\n"
#define FINISH_ONE_SOURCE                                                                                              \
    FINISH_ONE_DECLARATION "\n{\n"                                                                                     \
                           "    ProtobufCMessage *message = NULL;\n"                                                   \
                           "    const evener_status_code code =\n"                                                     \
                           "        evener_protobuf_c_stream_finish_one(&stream->base, response != NULL ? &message : " \
                           "NULL, status);\n" STORE_RESPONSE

/* ---- parts of streams without waiting ---- */

#define ASYNC_TYPE                                                                                                     \
    "typedef struct $F_async {\n"                                                                                      \
    "    evener_protobuf_c_async *base;\n"                                                                             \
    "} $F_async;\n\n"

#define CALLBACKS_BEGIN                                                                                                \
    "typedef struct $F_callbacks {\n"                                                                                  \
    "    void (*headers)(void *arg, const evener_metadata *metadata, size_t count);\n"
#define CALLBACKS_WRITTEN "    void (*written)(void *arg);\n"
#define CALLBACKS_MESSAGE                                                                                              \
    "    void (*message)(void *arg, $A *message);\n"                                                                   \
    "    void (*ended)(void *arg, const evener_status *status);\n"
#define CALLBACKS_ANSWERED "    void (*answered)(void *arg, const evener_status *status, $A *response);\n"
#define CALLBACKS_END "} $F_callbacks;\n\n"

#define START_STREAM_DECLARATION                                                                                       \
    "evener_status_code $F_start(\n"                                                                                   \
    "    evener_channel *channel, const evener_call_options *options,\n"                                               \
    "    const $F_callbacks *callbacks, void *arg,\n"                                                                  \
    "    $F_async *stream, evener_status *status)"
#define START_REQUEST_DECLARATION                                                                                      \
    "evener_status_code $F_start(\n"                                                                                   \
    "    evener_channel *channel, const $Q *request, const evener_call_options *options,\n"                            \
    "    const $F_callbacks *callbacks, void *arg,\n"                                                                  \
    "    $F_async *stream, evener_status *status)"

#define DELIVER_MESSAGE                                                                                                \
    "static void $F_deliver(\n"                                                                                        \
    "    evener_protobuf_c_callback callback, void *arg, const evener_status *status, ProtobufCMessage *response)\n"   \
    "{\n"                                                                                                              \
    "    (void)status;\n"                                                                                              \
    "    ((void (*)(void *, $A *))callback)(arg, ($A *)response);\n"                                                   \
    "}\n\n"
#define DELIVER_ANSWER                                                                                                 \
    "static void $F_deliver(\n"                                                                                        \
    "    evener_protobuf_c_callback callback, void *arg, const evener_status *status, ProtobufCMessage *response)\n"   \
    "{\n"                                                                                                              \
    "    ((void (*)(void *, const evener_status *, $A *))callback)(arg, status, ($A *)response);\n"                    \
    "}\n\n"

/* The callbacks in the order of evener_protobuf_c_stream_callbacks. */
#define START_BODY(written, message, ended, answered, has_request, request)                                            \
    "\n{\n"                                                                                                            \
    "    const evener_protobuf_c_stream_callbacks own = {\n"                                                           \
    "        sizeof own, callbacks->headers, " written ",\n"                                                           \
    "        " message ", " ended ",\n"                                                                                \
    "        " answered "};\n"                                                                                         \
    "    return evener_protobuf_c_stream_start(channel, &$F_method,\n"                                                 \
    "        " has_request ", " request ", options, &own, arg, &stream->base, status);\n"                              \
    "}\n\n"
#define MESSAGE_CALLBACK "(evener_protobuf_c_callback)callbacks->message"
#define ANSWERED_CALLBACK "(evener_protobuf_c_callback)callbacks->answered"

#define ASK_DECLARATION "bool $F_ask(\n    const $F_async *stream)"
#define ASK_SOURCE                                                                                                     \
    ASK_DECLARATION "\n{\n"                                                                                            \
                    "    return evener_protobuf_c_async_ask(stream->base);\n"                                          \
                    "}\n\n"

#define SEND_DECLARATION "bool $F_send(\n    const $F_async *stream, const $Q *message)"
#define SEND_SOURCE                                                                                                    \
    SEND_DECLARATION "\n{\n"                                                                                           \
                     "    return evener_protobuf_c_async_send(stream->base, (const ProtobufCMessage *)message);\n"     \
                     "}\n\n"

#define SEND_DONE_DECLARATION "bool $F_send_done(\n    const $F_async *stream)"
#define SEND_DONE_SOURCE                                                                                               \
    SEND_DONE_DECLARATION "\n{\n"                                                                                      \
                          "    return evener_protobuf_c_async_send_done(stream->base);\n"                              \
                          "}\n\n"

#define ASYNC_CANCEL_DECLARATION "void $F_async_cancel(\n    const $F_async *stream)"
#define ASYNC_CANCEL_SOURCE                                                                                            \
    ASYNC_CANCEL_DECLARATION "\n{\n"                                                                                   \
                             "    evener_protobuf_c_async_cancel(stream->base);\n"                                     \
                             "}\n\n"

#define ASYNC_UNREF_DECLARATION "void $F_async_unref(\n    $F_async *stream)"
#define ASYNC_UNREF_SOURCE                                                                                             \
    ASYNC_UNREF_DECLARATION "\n{\n"                                                                                    \
                            "    evener_protobuf_c_async_unref(stream->base);\n"                                       \
                            "    stream->base = NULL;\n"                                                               \
                            "}\n"

#define ASYNC_END_DECLARATIONS ASYNC_CANCEL_DECLARATION ";\n" ASYNC_UNREF_DECLARATION ";\n"
#define ASYNC_END_SOURCES ASYNC_CANCEL_SOURCE ASYNC_UNREF_SOURCE

/* ---- unary ---- */

#define CALL_DECLARATION                                                                                               \
    "evener_status_code $F(\n"                                                                                         \
    "    evener_channel *channel, const $Q *request, const evener_call_options *options,\n"                            \
    "    $A **response, evener_status *status)"

#define START_DECLARATION                                                                                              \
    "evener_status_code $F_start(\n"                                                                                   \
    "    evener_channel *channel, const $Q *request, const evener_call_options *options,\n"                            \
    "    $F_callback callback, void *arg, evener_call **call, evener_status *status)"

static const char unary_header[] = CALL_DECLARATION
    ";\n\n"
    "typedef void (*$F_callback)(\n    void *arg, const evener_status *status, $A *response);\n\n" START_DECLARATION
    ";\n";

static const char unary_source[] =
    "static void $F_deliver(\n"
    "    evener_protobuf_c_callback callback, void *arg, const evener_status *status, ProtobufCMessage *response)\n"
    "{\n"
    "    (($F_callback)callback)(arg, status, ($A *)response);\n"
    "}\n\n" METHOD "$F_deliver};\n\n" CALL_DECLARATION "\n{\n"
    "    ProtobufCMessage *message = NULL;\n"
    "    const evener_status_code code = evener_protobuf_c_call(channel, &$F_method,\n"
    "        (const ProtobufCMessage *)request, options, response != NULL ? &message : NULL, status);\n" STORE_RESPONSE
    "\n" START_DECLARATION "\n{\n"
    "    return evener_protobuf_c_call_start(channel, &$F_method,\n"
    "        (const ProtobufCMessage *)request, options, (evener_protobuf_c_callback)callback, arg, call, status);\n"
    "}\n";
static const char *const unary_suffixes[] = {"", "_start", "_callback", "_deliver", "_method", NULL};

/* ---- streams ---- */

static const char client_stream_header[] = STREAM_TYPE OPEN_DECLARATION
    ";\n" WRITE_DECLARATION ";\n" FINISH_ONE_DECLARATION ";\n" CANCEL_DECLARATION
    ";\n\n" ASYNC_TYPE CALLBACKS_BEGIN CALLBACKS_WRITTEN CALLBACKS_ANSWERED CALLBACKS_END START_STREAM_DECLARATION
    ";\n" SEND_DECLARATION ";\n" SEND_DONE_DECLARATION ";\n" ASYNC_END_DECLARATIONS;
static const char client_stream_source[] = DELIVER_ANSWER METHOD
    "$F_deliver};\n\n" OPEN_SOURCE WRITE_SOURCE CANCEL_SOURCE FINISH_ONE_SOURCE
    "\n" START_STREAM_DECLARATION START_BODY("callbacks->written", "NULL", "NULL", ANSWERED_CALLBACK, "false", "NULL")
        SEND_SOURCE SEND_DONE_SOURCE ASYNC_END_SOURCES;
static const char *const client_stream_suffixes[] = {
    "_stream",    "_open",  "_write", "_finish",    "_cancel",       "_method",      "_deliver", "_async",
    "_callbacks", "_start", "_send",  "_send_done", "_async_cancel", "_async_unref", NULL};

static const char server_stream_header[] = STREAM_TYPE OPEN_REQUEST_DECLARATION
    ";\n" READ_DECLARATION ";\n" FINISH_DECLARATION ";\n" CANCEL_DECLARATION
    ";\n\n" ASYNC_TYPE CALLBACKS_BEGIN CALLBACKS_MESSAGE CALLBACKS_END START_REQUEST_DECLARATION ";\n" ASK_DECLARATION
    ";\n" ASYNC_END_DECLARATIONS;
static const char server_stream_source[] = DELIVER_MESSAGE METHOD
    "$F_deliver};\n\n" OPEN_REQUEST_SOURCE READ_SOURCE CANCEL_SOURCE FINISH_SOURCE
    "\n" START_REQUEST_DECLARATION START_BODY("NULL", MESSAGE_CALLBACK, "callbacks->ended", "NULL", "true",
                                              "(const ProtobufCMessage *)request") ASK_SOURCE ASYNC_END_SOURCES;
static const char *const server_stream_suffixes[] = {
    "_stream", "_open",      "_read",  "_finish", "_cancel",       "_method",      "_deliver",
    "_async",  "_callbacks", "_start", "_ask",    "_async_cancel", "_async_unref", NULL};

static const char both_stream_header[] = STREAM_TYPE OPEN_DECLARATION
    ";\n" WRITE_DECLARATION ";\n" WRITES_DONE_DECLARATION ";\n" READ_DECLARATION ";\n" FINISH_DECLARATION
    ";\n" CANCEL_DECLARATION
    ";\n\n" ASYNC_TYPE CALLBACKS_BEGIN CALLBACKS_WRITTEN CALLBACKS_MESSAGE CALLBACKS_END START_STREAM_DECLARATION
    ";\n" SEND_DECLARATION ";\n" SEND_DONE_DECLARATION ";\n" ASK_DECLARATION ";\n" ASYNC_END_DECLARATIONS;
static const char both_stream_source[] = DELIVER_MESSAGE METHOD
    "$F_deliver};\n\n" OPEN_SOURCE WRITE_SOURCE WRITES_DONE_SOURCE READ_SOURCE CANCEL_SOURCE FINISH_SOURCE
    "\n" START_STREAM_DECLARATION START_BODY("callbacks->written", MESSAGE_CALLBACK, "callbacks->ended", "NULL",
                                             "false", "NULL") SEND_SOURCE SEND_DONE_SOURCE ASK_SOURCE ASYNC_END_SOURCES;
static const char *const both_stream_suffixes[] = {"_stream",       "_open",        "_write",  "_writes_done", "_read",
                                                   "_finish",       "_cancel",      "_method", "_deliver",     "_async",
                                                   "_callbacks",    "_start",       "_send",   "_send_done",   "_ask",
                                                   "_async_cancel", "_async_unref", NULL};

const method_templates method_kinds[4] = {
    [METHOD_UNARY] = {"unary", unary_header, unary_source, unary_suffixes},
    [METHOD_CLIENT_STREAM] = {"client stream", client_stream_header, client_stream_source, client_stream_suffixes},
    [METHOD_SERVER_STREAM] = {"server stream", server_stream_header, server_stream_source, server_stream_suffixes},
    [METHOD_BOTH_STREAM] = {"streams both ways", both_stream_header, both_stream_source, both_stream_suffixes},
};
