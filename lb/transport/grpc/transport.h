/* The transport over the gRPC C core: one grpc_channel for each attempt to connect and the connection it becomes. */
#ifndef EVENER_LB_TRANSPORT_GRPC_TRANSPORT_H
#define EVENER_LB_TRANSPORT_GRPC_TRANSPORT_H

#include <stdbool.h>

#include <evener/transport.h>

/* Create a transport (evener_transport_create_fn). Nothing starts yet: the runtime's engine (threads and queues of the
 * core) starts with the first connection. */
evener_status_code evener_grpc_transport_create(const evener_transport_args *given, evener_transport **transport,
                                                evener_status *status);

/* Return whether a transport is one over the core. Any thread. */
bool evener_transport_is_grpc(const evener_transport *transport);

#endif
