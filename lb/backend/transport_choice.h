/* Which transport a channel gets: the one it names, the one of the environment, or the process's default. */
#ifndef EVENER_LB_BACKEND_TRANSPORT_CHOICE_H
#define EVENER_LB_BACKEND_TRANSPORT_CHOICE_H

#include <evener/transport.h>

/* Return the name of the default transport: "grpc" if libevener-grpc was linked when this library was loaded, else
 * "http2". The same for the life of the process. Any thread. */
const char *evener_transport_default(void);

/* Find the factory of `name`; NULL: what EVENER_TRANSPORT in the environment says, else the default. "grpc" loads
 * libevener-grpc.so.1 if it is not registered. On success stores the factory. Errors: FAILED_PRECONDITION ("grpc", and
 * the library cannot be loaded), INVALID_ARGUMENT (any other name that is not registered). Any thread. */
evener_status_code evener_transport_choose(const char *name, const evener_transport_factory **factory,
                                           evener_status *status);

#endif
