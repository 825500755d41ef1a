/* Calls with protobuf-c's messages: packing and unpacking around evener/call.h. */
#include <evener/protobuf_c.h>

#include <stdlib.h>

#include <protobuf-c/protobuf-c.h>

#include "lb/protobuf/nesting.h"

evener_status_code evener_protobuf_c_pack(const ProtobufCMessage *message, evener_bytes *bytes, evener_status *status)
{
    const size_t length = message != NULL ? protobuf_c_message_get_packed_size(message) : 0;
    uint8_t *to = evener_bytes_create(length, bytes);
    if (to == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    if (message != NULL) {
        protobuf_c_message_pack(message, to);
    }
    return evener_status_clear(status);
}

evener_status_code evener_protobuf_c_unpack(const ProtobufCMessageDescriptor *type, const evener_bytes *bytes,
                                            const char *what, ProtobufCMessage **message, evener_status *status)
{
    static const uint8_t nothing[1];
    const uint8_t *data = bytes->length > 0 ? bytes->data : nothing;
    if (!evener_protobuf_c_nesting_is_bounded(type, data, bytes->length, EVENER_PROTOBUF_DEPTH_MAX)) {
        return evener_status_set(status, EVENER_STATUS_INTERNAL, "%s: messages are nested deeper than %d in the %s",
                                 what, EVENER_PROTOBUF_DEPTH_MAX, type->name);
    }
    ProtobufCMessage *unpacked = protobuf_c_message_unpack(type, NULL, bytes->length, data);
    if (unpacked == NULL) {
        return evener_status_set(status, EVENER_STATUS_INTERNAL, "%s: the answer of %zu bytes is not a %s", what,
                                 bytes->length, type->name);
    }
    *message = unpacked;
    return evener_status_clear(status);
}

evener_status_code evener_protobuf_c_call(evener_channel *channel, const evener_protobuf_c_method *method,
                                          const ProtobufCMessage *request, const evener_call_options *options,
                                          ProtobufCMessage **response, evener_status *status)
{
    evener_bytes packed;
    evener_status_code code = evener_protobuf_c_pack(request, &packed, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    evener_bytes answer;
    code = evener_unary_call(channel, method->path, &packed, options, &answer, status);
    evener_bytes_clear(&packed);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    ProtobufCMessage *message = NULL;
    code = evener_protobuf_c_unpack(method->response, &answer, method->path, &message, status);
    evener_bytes_clear(&answer);
    if (code == EVENER_STATUS_OK && response != NULL) {
        *response = message;
    } else {
        protobuf_c_message_free_unpacked(message, NULL);
    }
    return code;
}

/* What an asynchronous call must remember until it has ended. */
typedef struct started_call {
    const evener_protobuf_c_method *method;
    evener_protobuf_c_callback callback;
    void *arg;
} started_call;

static void ended(void *arg, const evener_status *status, evener_bytes *response)
{
    const started_call call = *(started_call *)arg;
    free(arg);
    ProtobufCMessage *message = NULL;
    evener_status malformed;
    if (status->code == EVENER_STATUS_OK && evener_protobuf_c_unpack(call.method->response, response, call.method->path,
                                                                     &message, &malformed) != EVENER_STATUS_OK) {
        status = &malformed;
    }
    call.method->deliver(call.callback, call.arg, status, message);
}

evener_status_code evener_protobuf_c_call_start(evener_channel *channel, const evener_protobuf_c_method *method,
                                                const ProtobufCMessage *request, const evener_call_options *options,
                                                evener_protobuf_c_callback callback, void *arg, evener_call **call,
                                                evener_status *status)
{
    if (callback == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: a callback is needed", method->path);
    }
    evener_bytes packed;
    evener_status_code code = evener_protobuf_c_pack(request, &packed, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    started_call *started = malloc(sizeof *started);
    if (started == NULL) {
        code = evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    } else {
        *started = (started_call){.method = method, .callback = callback, .arg = arg};
        code = evener_call_start(channel, method->path, &packed, options, ended, started, call, status);
        if (code != EVENER_STATUS_OK) {
            free(started);
        }
    }
    evener_bytes_clear(&packed);
    return code;
}
