/* Transport: makes the connections of subchannels. The gRPC C core in production (evener/credentials.h), a fake one
 * in tests and simulation, or a program's own for any other protocol.
 *
 * One connection object is one attempt to connect and, if it succeeds, the connection. Its states are CONNECTING ->
 * READY -> (dropped) or CONNECTING -> (failed). evener keeps state, backoff and statistics on its side. */
#ifndef EVENER_TRANSPORT_H
#define EVENER_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/address.h>
#include <evener/connectivity.h>
#include <evener/credentials.h>
#include <evener/loop.h>
#include <evener/picker.h>
#include <evener/runtime.h>
#include <evener/status.h>

EVENER_BEGIN_DECLS

typedef struct evener_transport evener_transport;

typedef struct evener_connect_args {
    size_t size;                   /* sizeof(evener_connect_args) */
    const evener_address *address; /* borrowed for the call */
    const char *authority;         /* :authority over plain text; borrowed for the call */
    uint64_t timeout_ms;           /* after this time evener gives up and disconnects */
    /* Reports the fate of the attempt, on the control thread, never from inside connect(), never after disconnect():
     *   READY               connected; at most once
     *   TRANSIENT_FAILURE   the attempt failed, with the reason; the last call
     *   IDLE                the connection dropped or drains (GOAWAY) after READY; the last call */
    void (*state_changed)(void *arg, evener_connectivity_state state, const evener_status *status);
    void *arg;
    /* The name, with or without a port, that a transport with verified servers verifies this server against, and then
     * its :authority; borrowed for the call. NULL: the server has no name (a Unix socket that neither application nor
     * list names): such a transport refuses to connect. */
    const char *server_name;
    evener_loop *loop; /* the channel's, for tasks and timers; lives until disconnect() has returned */
} evener_connect_args;

typedef struct evener_transport_vtable {
    size_t size; /* sizeof(evener_transport_vtable) */
    /* Starts an attempt. Must not block. Errors: the attempt failed at once. Control thread. */
    evener_status_code (*connect)(evener_transport *transport, const evener_connect_args *args,
                                  evener_connection **connection, evener_status *status);
    /* Gives the connection up in any state: calls in flight finish, no new call starts. Called exactly once per
     * connection. Control thread; may be called from inside state_changed. */
    void (*disconnect)(evener_transport *transport, evener_connection *connection);
    /* If set (both or none), a pick holds a reference to the connection until it is done. Otherwise picks only carry
     * the pointer, which may dangle after disconnect. Any thread; must not lock, wait or allocate. */
    void (*connection_ref)(evener_connection *connection);
    void (*connection_unref)(evener_connection *connection);
    /* Watches the health of `service` over a READY connection (A17, client-side health checking), until the
     * connection is given up or watch_health is called again with another service (NULL: stop). Reports READY
     * (serving), TRANSIENT_FAILURE (not serving) or CONNECTING (not known yet) on the control thread, never from
     * inside. NULL: the transport has no health. */
    evener_status_code (*watch_health)(evener_transport *transport, evener_connection *connection, const char *service,
                                       void (*health_changed)(void *arg, evener_connectivity_state health,
                                                              const evener_status *status),
                                       void *arg);
    /* Destroys the transport after all its connections were given up. Control thread. NULL: the caller owns the
     * transport. */
    void (*destroy)(evener_transport *transport);
    /* Exchanges the settings (credentials and others) of two transports of one factory. Their connections stay;
     * attempts that start from now on use the new settings. Used when a factory file changes. Control thread. NULL:
     * the settings of a live channel cannot change. */
    void (*exchange_settings)(evener_transport *a, evener_transport *b);
    /* Returns whether servers are verified against evener_connect_args.server_name, so that a backend without a name
     * cannot be connected to. Any thread. NULL: they are not. */
    bool (*verifies_names)(const evener_transport *transport);
} evener_transport_vtable;

/* Embedded first in every transport. */
struct evener_transport {
    const evener_transport_vtable *vtable;
};

/* ---- transports by name ---- */

/* A channel's settings for its connections. All pointers are borrowed for the call of create(). */
typedef struct evener_transport_args {
    size_t size; /* sizeof(evener_transport_args) */
    evener_runtime *runtime;
    const evener_credentials *credentials; /* NULL: none were given */
    const char *user_agent;                /* NULL: "evener/VERSION" */
    uint64_t keepalive_time_ms;            /* 0: the transport's default */
    uint64_t keepalive_timeout_ms;         /* 0: the transport's default */
    const void *grpc_args;                 /* a `const grpc_channel_args *`, for the gRPC C core only; or NULL */
} evener_transport_args;

/* Creates the transport of one channel. On success stores a transport, which the channel ends through
 * vtable->destroy. Errors: INVALID_ARGUMENT, FAILED_PRECONDITION, RESOURCE_EXHAUSTED; the channel then fails at
 * creation with them. Any thread. */
typedef evener_status_code (*evener_transport_create_fn)(const evener_transport_args *args,
                                                         evener_transport **transport, evener_status *status);

typedef struct evener_transport_factory {
    size_t size; /* sizeof(evener_transport_factory) */
    evener_transport_create_fn create;
} evener_transport_factory;

/* Register a factory for the whole process, or replace the one of that name. Name and factory must stay valid forever
 * (static). Existing channels keep their transport. Built in: "grpc". Errors: INVALID_ARGUMENT (no name, no create),
 * RESOURCE_EXHAUSTED. Any thread. */
EVENER_API evener_status_code evener_transport_register(const char *name, const evener_transport_factory *factory,
                                                        evener_status *status);

/* Return the factory of a name, or NULL. Any thread. */
EVENER_API const evener_transport_factory *evener_transport_find(const char *name);

EVENER_END_DECLS

#endif
