/* A ProtobufCService whose methods are calls over a channel. */
#include <evener/protobuf_c.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "lb/base/options.h"

typedef struct service {
    ProtobufCService base; /* first: a ProtobufCService * is a service * */
    evener_channel *channel;
    evener_call_options options;
    char *paths[]; /* "/package.Service/Method" by method index, in one allocation with the service */
} service;

typedef struct invocation {
    const ProtobufCMessageDescriptor *response;
    ProtobufCClosure closure;
    void *closure_data;
} invocation;

/* The status of the closure under way. */
static _Thread_local const evener_status *current_status;

/* A closure may call a stub that fails at once, so closures may nest. */
static void call_closure(ProtobufCClosure closure, void *closure_data, const ProtobufCMessage *message,
                         const evener_status *status)
{
    const evener_status *outer = current_status;
    current_status = status;
    closure(message, closure_data);
    current_status = outer;
}

static void ended(void *arg, const evener_status *status, evener_bytes *response)
{
    const invocation call = *(invocation *)arg;
    free(arg);
    ProtobufCMessage *message = NULL;
    evener_status malformed;
    if (status->code == EVENER_STATUS_OK && evener_protobuf_c_unpack(call.response, response, "protobuf-c service",
                                                                     &message, &malformed) != EVENER_STATUS_OK) {
        status = &malformed;
    }
    call_closure(call.closure, call.closure_data, message, status);
    protobuf_c_message_free_unpacked(message, NULL);
}

static void invoke(ProtobufCService *base, unsigned method_index, const ProtobufCMessage *input,
                   ProtobufCClosure closure, void *closure_data)
{
    service *self = (service *)base;
    evener_status status;
    evener_bytes packed = {0};
    invocation *call = malloc(sizeof *call);
    evener_status_code code = call == NULL
                                  ? evener_status_set(&status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory")
                                  : evener_protobuf_c_pack(input, &packed, &status);
    if (code == EVENER_STATUS_OK) {
        *call = (invocation){base->descriptor->methods[method_index].output, closure, closure_data};
        code = evener_call_start(self->channel, self->paths[method_index], &packed, &self->options, ended, call, NULL,
                                 &status);
    }
    evener_bytes_clear(&packed);
    if (code != EVENER_STATUS_OK) {
        free(call);
        call_closure(closure, closure_data, NULL, &status);
    }
}

static void destroy(ProtobufCService *base)
{
    service *self = (service *)base;
    evener_channel_unref(self->channel);
    free(self);
}

ProtobufCService *evener_protobuf_c_service(evener_channel *channel, const ProtobufCServiceDescriptor *descriptor)
{
    if (channel == NULL || descriptor == NULL) {
        return NULL;
    }
    size_t bytes = sizeof(service) + descriptor->n_methods * sizeof(char *);
    const size_t paths_at = bytes;
    for (unsigned i = 0; i < descriptor->n_methods; i++) {
        bytes += strlen(descriptor->name) + strlen(descriptor->methods[i].name) + sizeof "//";
    }
    service *self = calloc(1, bytes);
    if (self == NULL) {
        return NULL;
    }
    char *to = (char *)self + paths_at;
    for (unsigned i = 0; i < descriptor->n_methods; i++) {
        self->paths[i] = to;
        to +=
            snprintf(to, bytes - (size_t)(to - (char *)self), "/%s/%s", descriptor->name, descriptor->methods[i].name) +
            1;
    }
    self->base = (ProtobufCService){.descriptor = descriptor, .invoke = invoke, .destroy = destroy};
    self->channel = evener_channel_ref(channel);
    self->options.size = sizeof self->options;
    return &self->base;
}

evener_status_code evener_protobuf_c_service_set_options(ProtobufCService *base, const evener_call_options *options,
                                                         evener_status *status)
{
    if (base == NULL || base->invoke != invoke) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "a service of evener_protobuf_c_service() is needed");
    }
    service *self = (service *)base;
    evener_call_options own;
    const evener_status_code code =
        evener_options_read(&own, sizeof own, options, base->descriptor->name, "evener_call_options", status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (own.details != NULL || own.trace != NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "%s: details and trace are of one call, and not possible for a service",
                                 base->descriptor->name);
    }
    self->options = own;
    return evener_status_clear(status);
}

const evener_status *evener_protobuf_c_status(void)
{
    return current_status;
}
