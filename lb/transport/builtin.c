/* The transports of this library, by name: the one file that includes all of them. */
#include "lb/backend/transport_registry.h"
#include "lb/transport/http2/factory.h"

const evener_named_transport evener_builtin_transports[] = {
    {"http2", &evener_http2_transport_factory},
    {NULL, NULL},
};
