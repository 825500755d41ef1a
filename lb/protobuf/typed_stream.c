/* Streams of protobuf-c's messages: packing and unpacking around the streams of evener/call.h. */
#include <evener/protobuf_c.h>

#include <protobuf-c/protobuf-c.h>

evener_status_code evener_protobuf_c_stream_open(evener_channel *channel, const evener_protobuf_c_method *method,
                                                 bool has_only_request, const ProtobufCMessage *only_request,
                                                 const evener_call_options *options, evener_protobuf_c_stream *stream,
                                                 evener_status *status)
{
    evener_bytes packed = {0};
    evener_status_code code = EVENER_STATUS_OK;
    if (has_only_request) {
        code = evener_protobuf_c_pack(only_request, &packed, status);
    }
    if (code == EVENER_STATUS_OK) {
        evener_protobuf_c_stream opened = {.method = method};
        code = evener_stream_open(channel, method->path, has_only_request ? &packed : NULL, options, &opened.stream,
                                  status);
        if (code == EVENER_STATUS_OK) {
            *stream = opened;
        }
    }
    evener_bytes_clear(&packed);
    return code;
}

ProtobufCMessage *evener_protobuf_c_stream_read(evener_protobuf_c_stream *stream)
{
    ProtobufCMessage *message = NULL;
    evener_bytes packed;
    if (stream->stream == NULL || stream->malformed || !evener_stream_read(stream->stream, &packed)) {
        return NULL;
    }
    if (evener_protobuf_c_unpack(stream->method->response, &packed, "", &message, NULL) != EVENER_STATUS_OK) {
        stream->malformed = true;
        evener_stream_cancel(stream->stream);
    }
    evener_bytes_clear(&packed);
    return message;
}

bool evener_protobuf_c_stream_write(evener_protobuf_c_stream *stream, const ProtobufCMessage *message)
{
    evener_bytes packed;
    if (stream->stream == NULL) {
        return false;
    }
    if (evener_protobuf_c_pack(message, &packed, NULL) != EVENER_STATUS_OK) {
        stream->no_memory = true;
        evener_stream_cancel(stream->stream);
        return false;
    }
    const bool written = evener_stream_write(stream->stream, &packed);
    evener_bytes_clear(&packed);
    return written;
}

bool evener_protobuf_c_stream_writes_done(evener_protobuf_c_stream *stream)
{
    return stream->stream != NULL && evener_stream_writes_done(stream->stream);
}

void evener_protobuf_c_stream_cancel(const evener_protobuf_c_stream *stream)
{
    if (stream->stream != NULL) {
        evener_stream_cancel(stream->stream);
    }
}

evener_status_code evener_protobuf_c_stream_finish(evener_protobuf_c_stream *stream, evener_status *status)
{
    if (stream->stream == NULL) {
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION, "the stream is not open");
    }
    evener_status_code code = evener_stream_finish(stream->stream, status);
    /* What the program must know wins over the CANCELLED that it caused. */
    if (stream->malformed) {
        code = evener_status_set(status, EVENER_STATUS_INTERNAL, "%s: an answer is not a %s", stream->method->path,
                                 stream->method->response->name);
    } else if (stream->no_memory && code == EVENER_STATUS_CANCELLED) {
        code = evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s: out of memory", stream->method->path);
    }
    evener_stream_unref(stream->stream);
    *stream = (evener_protobuf_c_stream){.method = stream->method};
    return code;
}

evener_status_code evener_protobuf_c_stream_finish_one(evener_protobuf_c_stream *stream, ProtobufCMessage **response,
                                                       evener_status *status)
{
    (void)evener_protobuf_c_stream_writes_done(stream);
    ProtobufCMessage *message = evener_protobuf_c_stream_read(stream);
    evener_bytes second;
    const bool has_second = message != NULL && evener_stream_read(stream->stream, &second);
    if (has_second) {
        evener_bytes_clear(&second);
        evener_stream_cancel(stream->stream); /* more may follow, without end */
    }
    evener_status_code code = evener_protobuf_c_stream_finish(stream, status);
    if (has_second) {
        code = evener_status_set(status, EVENER_STATUS_INTERNAL, "%s: the server sent more than one answer",
                                 stream->method->path);
    } else if (code == EVENER_STATUS_OK && message == NULL) {
        code = evener_status_set(status, EVENER_STATUS_INTERNAL, "%s: the server ended the call without an answer",
                                 stream->method->path);
    }
    if (code == EVENER_STATUS_OK && response != NULL) {
        *response = message;
    } else {
        protobuf_c_message_free_unpacked(message, NULL);
    }
    return code;
}
