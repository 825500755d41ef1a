/* Streams of protobuf-c's messages without waiting: packing and unpacking around evener_stream_start(). */
#include <evener/protobuf_c.h>

#include <stdatomic.h>
#include <stdlib.h>

#include <protobuf-c/protobuf-c.h>

#include "lb/base/options.h"

struct evener_protobuf_c_async {
    _Atomic uint32_t references; /* of the program, of the stream until its end, of the starting function */
    const evener_protobuf_c_method *method;
    evener_protobuf_c_stream_callbacks callbacks;
    void *arg;
    evener_stream *stream; /* written before the first callback */
    /* Of the callbacks only, which come one at a time: */
    bool has_failed;          /* by an answer that is malformed, or one too many: `failure` says which */
    evener_status failure;    /* wins over the CANCELLED that it causes */
    ProtobufCMessage *answer; /* the first one, for `answered` */
};

void evener_protobuf_c_async_unref(evener_protobuf_c_async *stream)
{
    /* Release and acquire: the last owner frees what the others have written. */
    if (stream != NULL && atomic_fetch_sub_explicit(&stream->references, 1, memory_order_acq_rel) == 1) {
        evener_stream_unref(stream->stream);
        free(stream);
    }
}

static void headers(void *arg, const evener_metadata *metadata, size_t count)
{
    const evener_protobuf_c_async *self = arg;
    if (self->callbacks.headers != NULL) {
        self->callbacks.headers(self->arg, metadata, count);
    }
}

static void written(void *arg)
{
    const evener_protobuf_c_async *self = arg;
    if (self->callbacks.written != NULL) {
        self->callbacks.written(self->arg);
    }
}

/* Unpack a message, or fail if there is an answer already. */
static evener_status_code unpack(evener_protobuf_c_async *self, const evener_bytes *packed, ProtobufCMessage **unpacked)
{
    if (self->answer != NULL) {
        return evener_status_set(&self->failure, EVENER_STATUS_INTERNAL, "%s: the server sent more than one answer",
                                 self->method->path);
    }
    return evener_protobuf_c_unpack(self->method->response, packed, self->method->path, unpacked, &self->failure);
}

static void message(void *arg, evener_bytes *packed)
{
    evener_protobuf_c_async *self = arg;
    ProtobufCMessage *unpacked = NULL;
    const evener_status_code code = unpack(self, packed, &unpacked);
    evener_bytes_clear(packed);
    if (code != EVENER_STATUS_OK) {
        self->has_failed = true;
        evener_stream_cancel(self->stream);
    } else if (self->callbacks.answered != NULL) {
        self->answer = unpacked;
        /* The status comes after all messages have been read. False: it is on its way. */
        (void)evener_stream_ask(self->stream);
    } else {
        self->method->deliver(self->callbacks.message, self->arg, NULL, unpacked);
    }
}

static void ended(void *arg, const evener_status *status)
{
    evener_protobuf_c_async *self = arg;
    const bool answers_once = self->callbacks.answered != NULL;
    evener_status missing;
    if (self->has_failed) {
        status = &self->failure;
    } else if (answers_once && self->answer == NULL && status->code == EVENER_STATUS_OK) {
        evener_status_set(&missing, EVENER_STATUS_INTERNAL, "%s: the server ended the call without an answer",
                          self->method->path);
        status = &missing;
    }
    if (!answers_once) {
        self->callbacks.ended(self->arg, status);
    } else if (status->code == EVENER_STATUS_OK) {
        self->method->deliver(self->callbacks.answered, self->arg, status, self->answer);
    } else {
        protobuf_c_message_free_unpacked(self->answer, NULL);
        self->method->deliver(self->callbacks.answered, self->arg, status, NULL);
    }
    evener_protobuf_c_async_unref(self);
}

evener_status_code evener_protobuf_c_stream_start(evener_channel *channel, const evener_protobuf_c_method *method,
                                                  bool has_only_request, const ProtobufCMessage *only_request,
                                                  const evener_call_options *options,
                                                  const evener_protobuf_c_stream_callbacks *callbacks, void *arg,
                                                  evener_protobuf_c_async **stream, evener_status *status)
{
    static const evener_stream_callbacks own = {
        .size = sizeof own, .headers = headers, .message = message, .written = written, .ended = ended};
    evener_protobuf_c_stream_callbacks given;
    evener_status_code code = evener_options_read(&given, sizeof given, callbacks, "stream callbacks",
                                                  "evener_protobuf_c_stream_callbacks", status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (stream == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: the place for the stream is NULL",
                                 method->path);
    }
    const bool is_whole = given.answered != NULL ? given.message == NULL && given.ended == NULL
                                                 : given.message != NULL && given.ended != NULL;
    if (!is_whole || method->deliver == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "%s: the callbacks `message` and `ended` are needed, or `answered`", method->path);
    }
    evener_protobuf_c_async *made = malloc(sizeof *made);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    *made = (evener_protobuf_c_async){.references = 3, .method = method, .callbacks = given, .arg = arg};
    evener_bytes packed = {0};
    code = has_only_request ? evener_protobuf_c_pack(only_request, &packed, status) : EVENER_STATUS_OK;
    if (code == EVENER_STATUS_OK) {
        *stream = made; /* callbacks may use it before this returns */
        code = evener_stream_start(channel, method->path, has_only_request ? &packed : NULL, options, &own, made,
                                   &made->stream, status);
        if (code != EVENER_STATUS_OK) {
            *stream = NULL;
        }
    }
    evener_bytes_clear(&packed);
    if (code != EVENER_STATUS_OK) {
        free(made);
        return code;
    }
    if (given.answered != NULL) {
        (void)evener_stream_ask(made->stream); /* false: it has ended, which is reported */
    }
    evener_protobuf_c_async_unref(made);
    return code;
}

bool evener_protobuf_c_async_ask(evener_protobuf_c_async *stream)
{
    return stream->callbacks.answered == NULL && evener_stream_ask(stream->stream);
}

bool evener_protobuf_c_async_send(evener_protobuf_c_async *stream, const ProtobufCMessage *sent)
{
    evener_bytes packed;
    if (evener_protobuf_c_pack(sent, &packed, NULL) != EVENER_STATUS_OK) {
        return false;
    }
    const bool can = evener_stream_send(stream->stream, &packed);
    evener_bytes_clear(&packed);
    return can;
}

bool evener_protobuf_c_async_send_done(evener_protobuf_c_async *stream)
{
    return evener_stream_send_done(stream->stream);
}

void evener_protobuf_c_async_cancel(evener_protobuf_c_async *stream)
{
    evener_stream_cancel(stream->stream);
}

evener_stream *evener_protobuf_c_async_stream(const evener_protobuf_c_async *stream)
{
    return stream->stream;
}
