/* The transport's table: connecting and giving up, on the control thread. */
#include "lb/transport/http2/transport.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/version.h>

#include "lb/base/options.h"
#include "lb/transport/http2/group.h"
#include "lb/transport/http2/health.h"
#include "lb/transport/http2/internal.h"
#include "lb/transport/http2/proxy.h"
#include "lb/transport/http2/tls.h"

/* ---- connections ---- */

static void free_connection(evener_connection *connection)
{
    evener_http2_engine *engine = connection->engine;
    evener_http2_seat_release(connection); /* taken by a caller that came after the connection's end */
    evener_http2_transport_unref(connection->transport);
    evener_http2_group_unref(evener_http2_group_of(connection));
    evener_http2_connection_free_failure(connection);
    free(connection->address);
    free(connection->authority);
    free(connection);
    evener_http2_engine_connection_ended(engine);
}

static void free_on_control_thread(void *arg)
{
    evener_connection *connection = arg;
    connection->transport->connections[connection->thread - connection->engine->threads]--;
    free_connection(connection);
}

/* Report the failure without the address, which the subchannel adds; the messages of calls contain it. */
static void report_failure(evener_connection *connection)
{
    const char *message = connection->failure->message;
    const size_t address_bytes = strlen(connection->address);
    if (strncmp(message, connection->address, address_bytes) == 0 && message[address_bytes] == ':') {
        message += address_bytes + strspn(message + address_bytes, ": ");
    }
    evener_status status;
    evener_status_set(&status, connection->failure->code, "%s", message);
    connection->state_changed(connection->state_arg, EVENER_TRANSIENT_FAILURE, &status);
}

static void events_on_control_thread(void *arg)
{
    evener_connection *connection = arg;
    const uint32_t events = atomic_exchange_explicit(&connection->events, 0, memory_order_acquire);
    evener_status ok;
    evener_status_clear(&ok);
    /* Each may end in disconnect(), after which nothing is reported. */
    if ((events & EVENER_HTTP2_EVENT_READY) != 0 && !connection->given_up) {
        connection->state_changed(connection->state_arg, EVENER_READY, &ok);
    }
    if ((events & EVENER_HTTP2_EVENT_MORE_WANTED) != 0 && !connection->given_up) {
        connection->more_wanted(connection->state_arg);
    }
    if ((events & EVENER_HTTP2_EVENT_FAILED) != 0 && !connection->given_up) {
        report_failure(connection);
    }
    if ((events & EVENER_HTTP2_EVENT_DROPPED) != 0 && !connection->given_up) {
        connection->state_changed(connection->state_arg, EVENER_IDLE, &ok);
    }
    evener_http2_connection_unref(connection);
}

static evener_connection *connection_create(evener_http2_transport *transport, const evener_connect_args *args,
                                            evener_http2_engine *engine)
{
    evener_connection *connection = evener_cache_aligned_calloc(sizeof *connection);
    char *address = strdup(evener_address_text(args->address));
    char *authority = strdup(args->authority);
    if (connection == NULL || address == NULL || authority == NULL) {
        free(connection);
        free(address);
        free(authority);
        return NULL;
    }
    connection->address = address;
    connection->authority = authority;
    connection->authority_bytes = strlen(authority);
    evener_http2_connection_init(connection, transport, engine);
    (void)atomic_fetch_add_explicit(&transport->references, 1, memory_order_relaxed);
    (void)atomic_fetch_add(&engine->connections, 1);
    connection->events_task = (evener_task)EVENER_TASK_INIT(events_on_control_thread, connection);
    connection->free_task = (evener_task)EVENER_TASK_INIT(free_on_control_thread, connection);
    connection->state_changed = args->state_changed;
    connection->more_wanted = args->more_wanted;
    connection->state_arg = args->arg;
    return connection;
}

/* ---- the table ---- */

static evener_status_code transport_connect(evener_transport *base, const evener_connect_args *args,
                                            evener_connection **connection, evener_status *status)
{
    evener_http2_transport *transport = (evener_http2_transport *)base;
    evener_status engine_status;
    evener_http2_engine *engine = evener_http2_engine_get(transport->runtime, transport->io_threads, &engine_status);
    if (engine == NULL) {
        return evener_status_set(status, engine_status.code, "%s", engine_status.message);
    }
    if (!transport->has_first_thread) {
        transport->has_first_thread = true;
        transport->first_thread = evener_http2_engine_first_thread(engine);
    }
    evener_http2_io_thread *thread =
        evener_http2_engine_choose_thread(engine, transport->first_thread, transport->connections);
    evener_connection *made = connection_create(transport, args, engine);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "connection to %s: out of memory",
                                 evener_address_text(args->address));
    }
    if (args->beside != NULL && !evener_http2_group_join(made, args->beside)) {
        free_connection(made);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "connection to %s: out of memory",
                                 evener_address_text(args->address));
    }
    made->thread = thread;
    transport->connections[thread - engine->threads]++;
    const evener_status_code code = evener_http2_io_thread_connect(thread, made, status);
    if (code != EVENER_STATUS_OK) {
        evener_http2_connection_unref(made);
        return code;
    }
    *connection = made;
    return evener_status_clear(status);
}

static void transport_disconnect(evener_transport *base, evener_connection *connection)
{
    (void)base;
    connection->given_up = true;
    evener_http2_health_stop(connection);
    atomic_store(&connection->closed_to_calls, 1);
    evener_http2_submit(connection, &connection->op, EVENER_HTTP2_OP_DISCONNECT, true);
    evener_http2_connection_unref(connection);
}

void evener_http2_transport_unref(evener_http2_transport *transport)
{
    if (atomic_fetch_sub_explicit(&transport->references, 1, memory_order_acq_rel) == 1) {
        evener_http2_tls_context_destroy(transport->tls);
        evener_http2_proxy_free(transport->proxy);
        free(transport->user_agent);
        free(transport);
    }
}

static void transport_destroy(evener_transport *base)
{
    evener_http2_transport_unref((evener_http2_transport *)base);
}

bool evener_http2_connection_hold(evener_connection *connection)
{
    if (!evener_http2_connection_takes_calls(connection)) {
        return false;
    }
    evener_http2_connection_ref(connection);
    return true;
}

bool evener_http2_connection_takes_calls(const evener_connection *connection)
{
    /* Relaxed: a call that reads an old value fails in call_begin. */
    return atomic_load_explicit(&connection->closed_to_calls, memory_order_relaxed) == 0;
}

static const evener_transport_vtable vtable = {
    .size = sizeof vtable,
    .connect = transport_connect,
    .disconnect = transport_disconnect,
    .connection_ref = evener_http2_connection_hold,
    .connection_unref = evener_http2_connection_unref,
    .watch_health = evener_http2_health_watch,
    .destroy = transport_destroy,
    .connection_takes_calls = evener_http2_connection_takes_calls,
    .calls_wait = evener_http2_connection_calls_wait,
};

void evener_http2_transport_keep_pace(const evener_transport *transport, evener_transport *successor)
{
    const evener_http2_transport *from = (const evener_http2_transport *)transport;
    evener_http2_transport *to = (evener_http2_transport *)successor;
    const uint64_t time_ns = atomic_load_explicit(&from->keepalive_time_ns, memory_order_relaxed);
    if (from->keepalive_configured_ns == to->keepalive_configured_ns &&
        time_ns > atomic_load_explicit(&to->keepalive_time_ns, memory_order_relaxed)) {
        atomic_store_explicit(&to->keepalive_time_ns, time_ns, memory_order_relaxed);
    }
}

/* ---- creation ---- */

static char *make_user_agent(const char *prefix)
{
    char *text = NULL;
    const int bytes = asprintf(&text, "%s%sgrpc-c-evener/%s", prefix != NULL ? prefix : "",
                               prefix != NULL && *prefix != '\0' ? " " : "", EVENER_VERSION_STRING);
    return bytes < 0 ? NULL : text;
}

static evener_status_code check_options(const evener_http2_transport_options *options, evener_status *status)
{
    if (options->user_agent != NULL &&
        nghttp2_check_header_value((const uint8_t *)options->user_agent, strlen(options->user_agent)) == 0) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "http2 transport: user_agent holds bytes that cannot be sent in a header");
    }
    if (options->window_bytes > EVENER_HTTP2_WINDOW_BYTES_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "http2 transport: window_bytes is %u: at most %u are allowed", options->window_bytes,
                                 EVENER_HTTP2_WINDOW_BYTES_MAX);
    }
    if (options->io_threads > EVENER_HTTP2_THREADS_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "http2 transport: io_threads is %u: at most %d are allowed", options->io_threads,
                                 EVENER_HTTP2_THREADS_MAX);
    }
    return EVENER_STATUS_OK;
}

static uint64_t ms_to_ns(uint64_t ms)
{
    return ms <= UINT64_MAX / EVENER_NS_PER_MS ? ms * EVENER_NS_PER_MS : UINT64_MAX;
}

static uint64_t keepalive_time_ns(const evener_http2_transport_options *options)
{
    const uint64_t time_ms = options->keepalive_time_ms;
    if (time_ms == 0) {
        return UINT64_MAX;
    }
    if (time_ms < EVENER_HTTP2_KEEPALIVE_TIME_MS_MIN && !options->keepalive_unrestricted) {
        return ms_to_ns(EVENER_HTTP2_KEEPALIVE_TIME_MS_MIN);
    }
    return ms_to_ns(time_ms);
}

evener_status_code evener_http2_transport_create(evener_runtime *runtime, const evener_http2_transport_options *options,
                                                 evener_transport **transport, evener_status *status)
{
    evener_http2_transport_options chosen;
    evener_status_code code = evener_options_read(&chosen, sizeof chosen, options, "http2 transport options",
                                                  "evener_http2_transport_options", status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    code = check_options(&chosen, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    evener_http2_transport *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "http2 transport: out of memory");
    }
    made->base.vtable = &vtable;
    made->runtime = runtime;
    atomic_init(&made->references, 1);
    made->keepalive_timeout_ns = ms_to_ns(chosen.keepalive_timeout_ms > 0 ? chosen.keepalive_timeout_ms
                                                                          : EVENER_HTTP2_KEEPALIVE_TIMEOUT_MS_DEFAULT);
    made->keepalive_configured_ns = keepalive_time_ns(&chosen);
    atomic_init(&made->keepalive_time_ns, made->keepalive_configured_ns);
    made->keepalive_permit_without_calls = chosen.keepalive_permit_without_calls;
    made->header_list_bytes_max =
        chosen.header_list_bytes_max > 0 ? chosen.header_list_bytes_max : EVENER_HTTP2_HEADER_LIST_BYTES_DEFAULT;
    made->window_bytes = chosen.window_bytes > 0 ? chosen.window_bytes : EVENER_HTTP2_WINDOW_BYTES_DEFAULT;
    made->io_threads = chosen.io_threads;
    made->user_agent = make_user_agent(chosen.user_agent);
    made->proxy = chosen.target != NULL ? evener_http2_proxy_find(chosen.target, evener_proxy_getenv) : NULL;
    if (made->user_agent == NULL) {
        evener_http2_transport_unref(made);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "http2 transport: out of memory");
    }
    made->user_agent_bytes = strlen(made->user_agent);
    if (chosen.tls != NULL) {
        code = evener_http2_tls_context_create(chosen.tls, &made->tls, status);
        if (code != EVENER_STATUS_OK) {
            evener_http2_transport_unref(made);
            return code;
        }
    }
    *transport = &made->base;
    return evener_status_clear(status);
}
