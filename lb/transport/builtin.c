/* The transports of this library, by name: the one file that includes all of them. */
#include "lb/backend/transport_registry.h"
#include "lb/transport/grpc/transport.h"
#include "lb/transport/http2/factory.h"

const evener_named_transport evener_builtin_transports[] = {
    {"grpc", &evener_grpc_transport_factory},
    {"http2", &evener_http2_transport_factory},
    {NULL, NULL},
};
