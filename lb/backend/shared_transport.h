/* Shared transport: the connections of all channels of a runtime whose transports have equal arguments.
 *
 * A channel's transport is then a *front*: a table of functions before a transport that all such channels use. What its
 * connect() returns is a *member*, which belongs to one link of one channel and leads to a connection that all members
 * with the same address, authority, server name, time-out and backoff have in common. The connection ends when its last
 * member is given up. A channel of its own (own_connections, or arguments that cannot be compared) has a front too,
 * before a transport that no other channel finds.
 *
 * shared_transport.c has the fronts and the list of shared transports, shared_peer.c the attempts, backoffs and
 * connections, shared_health.c the health watches. */
#ifndef EVENER_LB_BACKEND_SHARED_TRANSPORT_H
#define EVENER_LB_BACKEND_SHARED_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/address.h>
#include <evener/backoff.h>
#include <evener/transport.h>

/* What a connector passes to connect(): `base` is all that transports other than fronts know of. */
typedef struct evener_shared_connect_args {
    evener_connect_args base;              /* first */
    uint64_t connect_timeout_ns;           /* the channel's; base.timeout_ms may be longer, after failures */
    const evener_backoff_options *backoff; /* the channel's; borrowed for the call */
    /* A front sets it before it reports or returns a failure: when the next attempt to this backend may start, as the
     * channels share one backoff. Valid until the attempt has succeeded or was given up. */
    uint64_t *retry_at_ns;
    bool end_backoff; /* connect although the backoff has not ended */
} evener_shared_connect_args;

/* Return whether the factory's connections may serve several channels. Any thread. */
bool evener_shared_transport_is_possible(const evener_transport_factory *factory);

/* Create a channel's front. `alone`: share nothing. Errors: those of factory->create(), and INVALID_ARGUMENT for a
 * transport that cannot be shared although its factory says so. Any thread. */
evener_status_code evener_shared_transport_create(const evener_transport_factory *factory,
                                                  const evener_transport_args *args, bool alone,
                                                  evener_transport **transport, evener_status *status);

bool evener_shared_transport_is_front(const evener_transport *transport);

/* Let `recovered` be called, on the control thread, when a backend has become READY after failures through another
 * channel's attempt: a backoff of this channel for the address may end. It must not call the transport. Nothing happens
 * for other transports. Before the first connect(). */
void evener_shared_transport_on_recovery(evener_transport *transport,
                                         void (*recovered)(void *arg, const evener_address *address), void *arg);

/* Set how many connections the channel wants to each backend at most (A105, connection scaling); the largest of the
 * channels that share a backend holds. Return whether the transport makes more than one. Control thread. */
bool evener_shared_transport_set_connections_max(evener_transport *transport, uint32_t max);

/* Return the connection for picks and calls that a READY connection of the transport leads to: itself, unless the
 * transport is a front. Control thread. */
evener_connection *evener_shared_transport_resolve(const evener_transport *transport, evener_connection *connection);

#endif
