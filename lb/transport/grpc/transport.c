#include "lb/transport/grpc/transport.h"

#include <stdlib.h>
#include <string.h>

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <evener/log.h>

#include "lb/base/credentials.h"
#include "lb/base/fork.h"
#include "lb/base/options.h"
#include "lb/transport/grpc/args.h"
#include "lb/transport/grpc/calls.h"
#include "lb/transport/grpc/connection.h"
#include "lb/transport/grpc/core_locks.h"
#include "lb/transport/grpc/core_threads.h"
#include "lb/transport/grpc/credentials.h"
#include "lb/transport/grpc/engine.h"
#include "lb/transport/grpc/health.h"
#include "lb/transport/grpc/kept.h"

typedef struct grpc_transport {
    evener_transport base;
    evener_runtime *runtime; /* its channel's: not counted */
    evener_grpc_credentials credentials;
    evener_grpc_args args;
    evener_grpc_kept kept;
} grpc_transport;

/* ---- fork ---- */

/* The core's threads, its locks and its epoll set, which the child shares with the parent, do not survive a fork. */
static bool core_is_lost;
static bool core_was_in_use; /* at the fork under way */

static void before_fork(void)
{
    core_was_in_use = grpc_is_initialized() != 0;
}

static void after_fork_in_parent(void)
{
}

static void after_fork_in_child(void)
{
    core_is_lost = core_is_lost || core_was_in_use;
}

static __attribute__((constructor)) void add_fork_hook(void)
{
    static evener_fork_hook hook = {.level = EVENER_FORK_TRANSPORT,
                                    .before = before_fork,
                                    .in_parent = after_fork_in_parent,
                                    .in_child = after_fork_in_child};
    evener_fork_add_hook(&hook);
}

/* ---- references ---- */

static void free_on_control_thread(void *arg)
{
    evener_connection *connection = arg;
    evener_grpc_connection_close(connection);
    evener_grpc_engine *engine = connection->engine;
    free(connection->peer);
    free(connection->address);
    free(connection);
    evener_grpc_engine_connection_ended(engine);
}

void evener_grpc_connection_unref(evener_connection *connection)
{
    /* acq_rel: the last one sees all changes that others made to the connection. */
    uint64_t before = atomic_fetch_sub_explicit(&connection->use, EVENER_GRPC_USE_REFERENCE, memory_order_acq_rel);
    if ((before & (EVENER_GRPC_USE_INSIDE - 1)) == EVENER_GRPC_USE_REFERENCE) {
        evener_loop_post(connection->loop, &connection->free_task);
    }
}

void evener_grpc_connection_close(evener_connection *connection)
{
    if (connection->shared != NULL && !atomic_flag_test_and_set_explicit(&connection->closed, memory_order_relaxed)) {
        evener_grpc_core_channel_unref(connection->shared);
        evener_grpc_watcher_wake(connection->engine->watcher); /* whose event of this connection has come */
    }
}

/* ---- events ---- */

void evener_grpc_connection_post(evener_connection *connection, uint32_t event)
{
    /* Release: `failure` is written before. Pairs with the exchange below. */
    atomic_fetch_or_explicit(&connection->events, event, memory_order_release);
    evener_grpc_connection_ref(connection);
    if (!evener_loop_post(connection->loop, &connection->events_task)) {
        evener_grpc_connection_unref(connection);
    }
}

/* Keep the channel for the next connection to this address: see kept.h. */
static void keep_channel(evener_connection *connection)
{
    /* No call begins from now on. Calls look at it inside the connection: who entered before this thread does is either
     * still inside or counted. */
    atomic_store_explicit(&connection->gone, true, memory_order_relaxed);
    if (!evener_grpc_connection_enter(connection)) {
        return;
    }
    const uint64_t use = atomic_load_explicit(&connection->use, memory_order_acquire);
    const bool has_calls =
        evener_grpc_use_inside(use) > 1 || atomic_load_explicit(&connection->calls, memory_order_acquire) > 0;
    evener_grpc_kept_add(connection->kept, connection->shared, has_calls);
    evener_grpc_connection_leave(connection);
}

static void events_on_control_thread(void *arg)
{
    evener_connection *connection = arg;
    uint32_t events = atomic_exchange_explicit(&connection->events, 0, memory_order_acquire);
    evener_status ok;
    evener_status_clear(&ok);
    /* Each may end in disconnect(), after which nothing is reported. */
    if ((events & EVENER_GRPC_EVENT_READY) != 0 && !connection->given_up) {
        connection->state_changed(connection->arg, EVENER_READY, &ok);
    }
    const bool ended = connection->ended;
    connection->ended = ended || (events & (EVENER_GRPC_EVENT_FAILED | EVENER_GRPC_EVENT_DROPPED)) != 0;
    if ((events & EVENER_GRPC_EVENT_FAILED) != 0 && !connection->given_up) {
        connection->state_changed(connection->arg, EVENER_TRANSIENT_FAILURE, &connection->failure);
    }
    /* A call and the watcher both report it: once is enough. */
    if ((events & EVENER_GRPC_EVENT_DROPPED) != 0 && !ended && !connection->given_up) {
        keep_channel(connection);
        connection->state_changed(connection->arg, EVENER_IDLE, &ok);
    }
    evener_grpc_connection_unref(connection);
}

/* ---- the transport's table ---- */

static evener_connection *connection_create(grpc_transport *transport, const evener_connect_args *args,
                                            evener_grpc_engine *engine)
{
    evener_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) {
        return NULL;
    }
    connection->peer = evener_grpc_peer_of(args->address);
    connection->address = strdup(evener_address_text(args->address));
    if (connection->peer == NULL || connection->address == NULL) {
        free(connection->peer);
        free(connection->address);
        free(connection);
        return NULL;
    }
    atomic_init(&connection->use, EVENER_GRPC_USE_REFERENCE);
    atomic_flag_clear(&connection->closed);
    connection->engine = engine;
    evener_grpc_engine_connection_begins(engine);
    connection->loop = evener_runtime_loop(transport->runtime);
    connection->kept = &transport->kept;
    connection->state_changed = args->state_changed;
    connection->arg = args->arg;
    connection->events_task = (evener_task)EVENER_TASK_INIT(events_on_control_thread, connection);
    connection->free_task = (evener_task)EVENER_TASK_INIT(free_on_control_thread, connection);
    return connection;
}

static bool transport_verifies_names(const evener_transport *base)
{
    const grpc_transport *transport = (const grpc_transport *)base;
    return evener_credentials_get_kind(transport->credentials.handle) != EVENER_CREDENTIALS_INSECURE &&
           !evener_grpc_args_has(&transport->args, GRPC_SSL_TARGET_NAME_OVERRIDE_ARG);
}

/* Return a channel with a reference: a kept one, or a new one. NULL: the core makes none. */
static evener_grpc_core_channel *core_channel_for(grpc_transport *transport, const evener_connect_args *args,
                                                  const char *authority)
{
    const char *address = evener_address_text(args->address);
    evener_grpc_core_channel *kept = evener_grpc_kept_take(&transport->kept, address, authority, args->timeout_ms);
    if (kept != NULL) {
        return kept;
    }
    grpc_channel *made = NULL;
    char *target = evener_grpc_target_of(args->address);
    if (target != NULL) {
        made = evener_grpc_args_create_channel(&transport->args, target, address, authority, args->timeout_ms,
                                               transport->credentials.core);
        free(target);
    }
    if (made != NULL && !grpc_channel_support_connectivity_watcher(made)) {
        grpc_channel_destroy(made);
        made = NULL;
    }
    return made == NULL ? NULL
                        : evener_grpc_core_channel_create(made, address, authority, args->timeout_ms, &transport->kept);
}

static evener_status_code transport_connect(evener_transport *base, const evener_connect_args *args,
                                            evener_connection **connection, evener_status *status)
{
    grpc_transport *transport = (grpc_transport *)base;
    const char *authority = args->authority;
    if (transport_verifies_names(base)) {
        authority = args->server_name;
        if (authority == NULL) {
            return evener_status_set(
                status, EVENER_STATUS_UNAVAILABLE,
                "there is no name to verify the server's certificate against: a socket in the file "
                "system has none; set the channel's authority (options.authority; `authority` in a "
                "factory file), or this backend's attribute \"authority\"");
        }
    }
    evener_status engine_status;
    evener_grpc_engine *engine = evener_grpc_engine_get(transport->runtime, &engine_status);
    if (engine == NULL) {
        return evener_status_set(status, engine_status.code, "%s", engine_status.message);
    }
    evener_connection *made = connection_create(transport, args, engine);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "connection to %s: out of memory",
                                 evener_address_text(args->address));
    }
    made->shared = core_channel_for(transport, args, authority);
    if (made->shared == NULL) {
        evener_status_set(
            status, EVENER_STATUS_UNAVAILABLE,
            "the gRPC core makes no channel to %s (authority \"%s\"): check the credentials and grpc_args",
            made->address, authority);
        free_on_control_thread(made);
        return EVENER_STATUS_UNAVAILABLE;
    }
    made->channel = made->shared->channel;
    evener_grpc_watcher_follow(engine->watcher, made);
    *connection = made;
    return evener_status_clear(status);
}

static void transport_disconnect(evener_transport *base, evener_connection *connection)
{
    (void)base;
    connection->given_up = true;
    evener_grpc_health_stop(connection);
    /* Release pairs with enter(): a thread that saw no flag is counted in the returned value. */
    uint64_t before = atomic_fetch_or_explicit(&connection->use, EVENER_GRPC_USE_GIVEN_UP, memory_order_acq_rel);
    if (evener_grpc_use_inside(before) == 0) {
        evener_grpc_connection_close(connection);
    }
    evener_grpc_connection_unref(connection);
}

static bool transport_connection_ref(evener_connection *connection)
{
    if (evener_grpc_connection_is_gone(connection)) {
        return false;
    }
    evener_grpc_connection_ref(connection);
    return true;
}

static bool transport_connection_takes_calls(const evener_connection *connection)
{
    return !evener_grpc_connection_is_gone(connection);
}

static void transport_connection_unref(evener_connection *connection)
{
    evener_grpc_connection_unref(connection);
}

static void transport_destroy(evener_transport *base)
{
    grpc_transport *transport = (grpc_transport *)base;
    evener_grpc_kept_clear(&transport->kept);
    evener_grpc_args_clear(&transport->args);
    evener_grpc_credentials_clear(&transport->credentials);
    free(transport);
}

/* The channels made so far are not for later connections. */
static void settings_changed(grpc_transport *transport)
{
    evener_grpc_kept_clear(&transport->kept);
    transport->kept.settings++;
}

static void transport_exchange_settings(evener_transport *a, evener_transport *b)
{
    grpc_transport *first = (grpc_transport *)a;
    grpc_transport *second = (grpc_transport *)b;
    const evener_grpc_credentials credentials = first->credentials;
    const evener_grpc_args args = first->args;
    first->credentials = second->credentials;
    first->args = second->args;
    second->credentials = credentials;
    second->args = args;
    settings_changed(first);
    settings_changed(second);
}

static evener_status_code transport_set_credentials(evener_transport *base, const evener_credentials *credentials,
                                                    evener_status *status)
{
    grpc_transport *transport = (grpc_transport *)base;
    evener_grpc_credentials made;
    const evener_status_code code = evener_grpc_credentials_make(credentials, &made, status);
    if (code == EVENER_STATUS_OK) {
        evener_grpc_credentials_clear(&transport->credentials);
        transport->credentials = made;
        settings_changed(transport);
    }
    return code;
}

static const evener_transport_vtable vtable = {
    .size = sizeof vtable,
    .connect = transport_connect,
    .disconnect = transport_disconnect,
    .connection_ref = transport_connection_ref,
    .connection_unref = transport_connection_unref,
    .watch_health = evener_grpc_health_watch,
    .destroy = transport_destroy,
    .exchange_settings = transport_exchange_settings,
    .verifies_names = transport_verifies_names,
    .calls = &evener_grpc_calls,
    .connection_takes_calls = transport_connection_takes_calls,
    .set_credentials = transport_set_credentials,
};

bool evener_transport_is_grpc(const evener_transport *transport)
{
    return transport->vtable->calls == &evener_grpc_calls; /* also of the table of a front */
}

evener_status_code evener_grpc_transport_create(const evener_transport_args *given, evener_transport **transport,
                                                evener_status *status)
{
    evener_transport_args args;
    evener_status_code code =
        evener_options_read(&args, sizeof args, given, "transport arguments", "evener_transport_args", status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (args.credentials == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "options.credentials is NULL: name them, with evener_credentials_create_tls() for a "
                                 "secure channel or evener_credentials_create_insecure() for plain text");
    }
    if (core_is_lost) {
        return evener_status_set(
            status, EVENER_STATUS_FAILED_PRECONDITION,
            "the gRPC C core was in use when this process was made by fork(), and does not survive "
            "that: use transport \"http2\" here, or fork() before the parent's first channel or after "
            "its last one");
    }
    code = evener_grpc_check_core_threads(status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    evener_grpc_settle_locks();
    grpc_transport *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "gRPC transport: out of memory");
    }
    code = evener_grpc_args_create(&args, &made->args, status);
    if (code != EVENER_STATUS_OK) {
        free(made);
        return code;
    }
    code = evener_grpc_credentials_make(args.credentials, &made->credentials, status);
    if (code != EVENER_STATUS_OK) {
        evener_grpc_args_clear(&made->args);
        free(made);
        return code;
    }
    made->base.vtable = &vtable;
    made->runtime = args.runtime;
    made->kept.loop = evener_runtime_loop(args.runtime);
    *transport = &made->base;
    return evener_status_clear(status);
}
