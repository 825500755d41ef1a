/* The call seam (evener/transport.h) over the gRPC C core. */
#ifndef EVENER_LB_TRANSPORT_GRPC_CALLS_H
#define EVENER_LB_TRANSPORT_GRPC_CALLS_H

#include <evener/transport.h>

extern const evener_transport_calls evener_grpc_calls;

#endif
