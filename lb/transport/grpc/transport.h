/* The transport over the gRPC C core: one grpc_channel for each attempt to connect and the connection it becomes. */
#ifndef EVENER_LB_TRANSPORT_GRPC_TRANSPORT_H
#define EVENER_LB_TRANSPORT_GRPC_TRANSPORT_H

#include <stdbool.h>

#include <evener/transport.h>

extern const evener_transport_factory evener_grpc_transport_factory;

/* Return whether a transport is one over the core. Any thread. */
bool evener_transport_is_grpc(const evener_transport *transport);

#endif
