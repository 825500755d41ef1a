/* The transports of this library, by name: the one place that sees them all. */
#include "lb/backend/transport_registry.h"
#include "lb/transport/grpc/transport.h"

const evener_named_transport evener_builtin_transports[] = {
    {"grpc", &evener_grpc_transport_factory},
    {NULL, NULL},
};
