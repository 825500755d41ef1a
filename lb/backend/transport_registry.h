/* The registry of transports: what the library and the program register. */
#ifndef EVENER_LB_BACKEND_TRANSPORT_REGISTRY_H
#define EVENER_LB_BACKEND_TRANSPORT_REGISTRY_H

#include <evener/transport.h>

typedef struct evener_named_transport {
    const char *name;
    const evener_transport_factory *factory;
} evener_named_transport;

/* The built-in transports, ended by a NULL name. Defined in lb/transport/builtin.c. */
extern const evener_named_transport evener_builtin_transports[];

#endif
