/* A transport of a program's own: plain TCP and Unix sockets, for protocols that evener does not know. */
#ifndef EXAMPLES_TCP_TRANSPORT_H
#define EXAMPLES_TCP_TRANSPORT_H

#include <evener/evener.h>

/* For evener_channel_options.transport. It holds nothing, so any number of channels can share it. */
extern evener_transport tcp_transport;

/* Return the socket of a pick's connection (non-blocking). It stays open until evener_pick_done(). */
int tcp_connection_socket(const evener_connection *connection);

#endif
