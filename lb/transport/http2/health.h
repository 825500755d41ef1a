/* Health watching of a connection (A17), for the transport's table. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_HEALTH_H
#define EVENER_LB_TRANSPORT_HTTP2_HEALTH_H

#include <evener/transport.h>

/* evener_transport_vtable.watch_health. Control thread. */
evener_status_code evener_http2_health_watch(
    evener_transport *transport, evener_connection *connection, const char *service,
    void (*health_changed)(void *arg, evener_connectivity_state state, const evener_status *status), void *arg);

/* End all watches; nothing is reported afterwards. Control thread. */
void evener_http2_health_stop(evener_connection *connection);

#endif
