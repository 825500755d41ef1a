/* A channel's transport: a table of functions around the transport that makes its connections at present. Connections
 * keep the one that made them: new settings of a live channel apply to further connections only. */
#include "lb/transport/http2/factory.h"

#include <stdlib.h>

#include <evener/log.h>

#include "lb/base/credentials.h"
#include "lb/base/options.h"
#include "lb/transport/http2/transport.h"

typedef struct channel_transport {
    evener_transport base;
    evener_transport *now; /* makes the connections from now on; owned */
    bool is_secure;
} channel_transport;

static evener_status_code transport_connect(evener_transport *base, const evener_connect_args *args,
                                            evener_connection **connection, evener_status *status)
{
    const channel_transport *transport = (const channel_transport *)base;
    evener_connect_args own = *args;
    if (transport->is_secure) {
        if (args->server_name == NULL) {
            return evener_status_set(status, EVENER_STATUS_UNAVAILABLE,
                                     "there is no name to verify the server's certificate against: a socket in the "
                                     "file system has none; set "
                                     "the channel's authority (options.authority; `authority` in a factory file), or "
                                     "this backend's attribute "
                                     "\"authority\"");
        }
        own.authority = args->server_name;
    }
    return transport->now->vtable->connect(transport->now, &own, connection, status);
}

static void transport_disconnect(evener_transport *base, evener_connection *connection)
{
    const channel_transport *transport = (const channel_transport *)base;
    transport->now->vtable->disconnect(transport->now, connection);
}

static evener_status_code transport_watch_health(
    evener_transport *base, evener_connection *connection, const char *service,
    void (*health_changed)(void *arg, evener_connectivity_state health, const evener_status *status), void *arg)
{
    const channel_transport *transport = (const channel_transport *)base;
    return transport->now->vtable->watch_health(transport->now, connection, service, health_changed, arg);
}

static void transport_destroy(evener_transport *base)
{
    channel_transport *transport = (channel_transport *)base;
    transport->now->vtable->destroy(transport->now);
    free(transport);
}

static void transport_exchange_settings(evener_transport *a, evener_transport *b)
{
    channel_transport *first = (channel_transport *)a;
    channel_transport *second = (channel_transport *)b;
    evener_transport *now = first->now;
    const bool is_secure = first->is_secure;
    first->now = second->now;
    first->is_secure = second->is_secure;
    second->now = now;
    second->is_secure = is_secure;
}

static bool transport_verifies_names(const evener_transport *base)
{
    return ((const channel_transport *)base)->is_secure;
}

static const evener_transport_vtable vtable = {
    .size = sizeof vtable,
    .connect = transport_connect,
    .disconnect = transport_disconnect,
    .connection_ref = evener_http2_connection_hold,
    .connection_unref = evener_http2_connection_unref,
    .watch_health = transport_watch_health,
    .destroy = transport_destroy,
    .exchange_settings = transport_exchange_settings,
    .verifies_names = transport_verifies_names,
    .calls = &evener_http2_calls,
    .connection_takes_calls = evener_http2_connection_takes_calls,
};

static evener_status_code make_inner(const evener_transport_args *args, evener_transport **inner, evener_status *status)
{
    evener_http2_tls_options tls = {0};
    evener_http2_transport_options options = {
        .size = sizeof options,
        .user_agent = args->user_agent,
        .keepalive_time_ms = args->keepalive_time_ms,
        .keepalive_timeout_ms = args->keepalive_timeout_ms,
        .keepalive_permit_without_calls = args->keepalive_permit_without_calls,
        .target = args->ignore_http_proxy ? NULL : args->target,
        .header_list_bytes_max = args->header_list_bytes_max,
        .io_threads = args->io_threads,
    };
    if (evener_credentials_get_kind(args->credentials) == EVENER_CREDENTIALS_TLS) {
        const evener_tls_options *texts = evener_credentials_tls(args->credentials);
        tls.root_certificates = texts->root_certificates;
        tls.certificate_chain = texts->certificate_chain;
        tls.private_key = texts->private_key;
        options.tls = &tls;
    }
    return evener_http2_transport_create(args->runtime, &options, inner, status);
}

static evener_status_code transport_create(const evener_transport_args *given, evener_transport **transport,
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
    const evener_credentials_kind kind = evener_credentials_get_kind(args.credentials);
    if (kind == EVENER_CREDENTIALS_FOREIGN) {
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                                 "transport \"http2\": credentials of the gRPC core need the transport \"grpc\"");
    }
    if (args.grpc_args != NULL) {
        evener_log(EVENER_LOG_WARNING, "transport",
                   "transport \"http2\": grpc_args are for the transport \"grpc\" only, and are ignored");
    }
    channel_transport *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "transport \"http2\": out of memory");
    }
    code = make_inner(&args, &made->now, status);
    if (code != EVENER_STATUS_OK) {
        free(made);
        return code;
    }
    made->base.vtable = &vtable;
    made->is_secure = kind == EVENER_CREDENTIALS_TLS;
    *transport = &made->base;
    return evener_status_clear(status);
}

const evener_transport_factory evener_http2_transport_factory = {.size = sizeof evener_http2_transport_factory,
                                                                 .create = transport_create};
