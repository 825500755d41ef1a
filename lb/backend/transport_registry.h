/* The registry of transports, as the library fills it. */
#ifndef EVENER_LB_BACKEND_TRANSPORT_REGISTRY_H
#define EVENER_LB_BACKEND_TRANSPORT_REGISTRY_H

#include <evener/transport.h>

typedef struct evener_named_transport {
    const char *name;
    const evener_transport_factory *factory;
} evener_named_transport;

/* What the library was built with, ended by a NULL name; defined in lb/transport/builtin.c. */
extern const evener_named_transport evener_builtin_transports[];

#endif
