/* Health watching of a connection (A17), for the transport's table. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_HEALTH_H
#define EVENER_LB_TRANSPORT_HTTP2_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/transport.h>

/* evener_transport_vtable.watch_health. Control thread. */
evener_status_code evener_http2_health_watch(
    evener_transport *transport, evener_connection *connection, const char *service,
    void (*health_changed)(void *arg, evener_connectivity_state state, const evener_status *status), void *arg);

/* End the watch if there is one; nothing is reported afterwards. Control thread. */
void evener_http2_health_stop(evener_connection *connection);

/* Read a grpc.health.v1.HealthCheckResponse. False: it is not well-formed. */
bool evener_http2_health_parse(const uint8_t *message, size_t bytes, bool *serving);

#endif
