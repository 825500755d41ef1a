/* Health checking of one backend over its connection (A17; grpc: doc/health-checking.md). */
#ifndef EVENER_LB_TRANSPORT_GRPC_HEALTH_H
#define EVENER_LB_TRANSPORT_GRPC_HEALTH_H

#include <evener/transport.h>

/* evener_transport_vtable.watch_health. Control thread. */
evener_status_code evener_grpc_health_watch(
    evener_transport *transport, evener_connection *connection, const char *service,
    void (*health_changed)(void *arg, evener_connectivity_state health, const evener_status *status), void *arg);

/* End all watches of a connection that is given up: nothing more is reported. Control thread. */
void evener_grpc_health_stop(evener_connection *connection);

#endif
