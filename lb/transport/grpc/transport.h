/* The transport over the gRPC C core: one grpc_channel for each attempt to connect and the connection it becomes. The
 * channel makes one when its options name no transport. */
#ifndef EVENER_LB_TRANSPORT_GRPC_TRANSPORT_H
#define EVENER_LB_TRANSPORT_GRPC_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/credentials.h>
#include <evener/runtime.h>
#include <evener/status.h>
#include <evener/transport.h>

/* All borrowed for the call of evener_grpc_transport_create(). */
typedef struct evener_grpc_transport_options {
    const evener_credentials *credentials; /* must be named */
    const void *grpc_args;         /* a `const grpc_channel_args *`: further arguments for every connection; or NULL */
    const char *user_agent;        /* put before the core's own; NULL: "evener/VERSION" */
    uint64_t keepalive_time_ms;    /* 0: the core's default */
    uint64_t keepalive_timeout_ms; /* 0: the core's default */
} evener_grpc_transport_options;

/* Makes a transport for channels of `runtime`. Starts nothing: the runtime's engine (threads and queues of the core)
 * starts with the first connection and ends with the runtime. On success stores a transport, to be ended through
 * vtable->destroy on the control thread. Errors: INVALID_ARGUMENT (no credentials: the message says how to name them),
 * RESOURCE_EXHAUSTED. Any thread. */
evener_status_code evener_grpc_transport_create(evener_runtime *runtime, const evener_grpc_transport_options *options,
                                                evener_transport **transport, evener_status *status);

/* Exchanges what two transports connect with: credentials, arguments. Their connections stay as they are. Control
 * thread of both. */
void evener_grpc_transport_exchange(evener_transport *a, evener_transport *b);

/* Whether the transport, one of these, verifies servers against the `server_name` of its connections: with any credentials
 * but evener_credentials_create_insecure(), and unless grpc_args override the name for all
 * (GRPC_SSL_TARGET_NAME_OVERRIDE_ARG). Control thread, or before the transport is used. */
bool evener_grpc_transport_verifies_names(const evener_transport *transport);

/* Whether a transport is one of these. Any thread. */
bool evener_transport_is_grpc(const evener_transport *transport);

#endif
