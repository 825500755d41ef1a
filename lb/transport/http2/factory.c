/* A channel's transport: a table of functions around the transport that makes its connections at present. Connections
 * keep the one that made them: new settings of a live channel apply to further connections only. */
#include "lb/transport/http2/factory.h"

#include <stdlib.h>
#include <string.h>

#include <evener/log.h>

#include "lb/base/credentials.h"
#include "lb/base/options.h"
#include "lb/base/proxy_rules.h"
#include "lb/transport/http2/transport.h"

typedef struct channel_transport {
    evener_transport base;
    evener_transport *now; /* makes the connections from now on; owned */
    bool is_secure;
    evener_runtime *runtime;                /* its channel's: not counted */
    evener_http2_transport_options options; /* of `now`, but for `tls` */
    char *user_agent, *target;              /* which `options` names; owned */
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
    if (transport->now != NULL) {
        transport->now->vtable->destroy(transport->now);
    }
    free(transport->user_agent);
    free(transport->target);
    free(transport);
}

/* Take all but the base, which threads that begin a call read. */
static void take_settings(channel_transport *to, const channel_transport *from)
{
    to->now = from->now;
    to->is_secure = from->is_secure;
    to->runtime = from->runtime;
    to->options = from->options;
    to->user_agent = from->user_agent;
    to->target = from->target;
}

static void transport_exchange_settings(evener_transport *a, evener_transport *b)
{
    channel_transport *first = (channel_transport *)a;
    channel_transport *second = (channel_transport *)b;
    const channel_transport settings = *first;
    take_settings(first, second);
    take_settings(second, &settings);
    evener_http2_transport_keep_pace(second->now, first->now);
}

static void transport_inherit(evener_transport *base, const evener_transport *from)
{
    evener_http2_transport_keep_pace(((const channel_transport *)from)->now, ((channel_transport *)base)->now);
}

static bool transport_verifies_names(const evener_transport *base)
{
    return ((const channel_transport *)base)->is_secure;
}

/* Make a transport of the options with these credentials. */
static evener_status_code make_inner(const channel_transport *transport, const evener_credentials *credentials,
                                     evener_transport **inner, evener_status *status)
{
    evener_http2_tls_options tls = {0};
    evener_http2_transport_options options = transport->options;
    if (evener_credentials_get_kind(credentials) == EVENER_CREDENTIALS_FOREIGN) {
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                                 "transport \"http2\": credentials of the gRPC core need the transport \"grpc\"");
    }
    if (evener_credentials_get_kind(credentials) == EVENER_CREDENTIALS_TLS) {
        const evener_tls_options *texts = evener_credentials_tls(credentials);
        tls.root_certificates = texts->root_certificates;
        tls.certificate_chain = texts->certificate_chain;
        tls.private_key = texts->private_key;
        options.tls = &tls;
    }
    return evener_http2_transport_create(transport->runtime, &options, inner, status);
}

static evener_status_code transport_set_credentials(evener_transport *base, const evener_credentials *credentials,
                                                    evener_status *status)
{
    channel_transport *transport = (channel_transport *)base;
    evener_transport *made = NULL;
    const evener_status_code code = make_inner(transport, credentials, &made, status);
    if (code == EVENER_STATUS_OK) {
        evener_http2_transport_keep_pace(transport->now, made);
        transport->now->vtable->destroy(transport->now); /* its connections keep it */
        transport->now = made;
        transport->is_secure = evener_credentials_get_kind(credentials) == EVENER_CREDENTIALS_TLS;
    }
    return code;
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
    .set_credentials = transport_set_credentials,
    .inherit = transport_inherit,
    .calls_wait = evener_http2_connection_calls_wait,
};

/* Copy the options. Return false on out of memory. */
static bool take_options(channel_transport *transport, const evener_transport_args *args)
{
    const char *target = args->ignore_http_proxy ? NULL : args->target;
    transport->runtime = args->runtime;
    transport->user_agent = args->user_agent != NULL ? strdup(args->user_agent) : NULL;
    transport->target = target != NULL ? strdup(target) : NULL;
    transport->options = (evener_http2_transport_options){
        .size = sizeof transport->options,
        .user_agent = transport->user_agent,
        .keepalive_time_ms = args->keepalive_time_ms,
        .keepalive_timeout_ms = args->keepalive_timeout_ms,
        .keepalive_permit_without_calls = args->keepalive_permit_without_calls,
        .target = transport->target,
        .header_list_bytes_max = args->header_list_bytes_max,
        .io_threads = args->io_threads,
    };
    return (args->user_agent == NULL) == (transport->user_agent == NULL) &&
           (target == NULL) == (transport->target == NULL);
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
    if (args.grpc_args != NULL) {
        evener_log(EVENER_LOG_WARNING, "transport",
                   "transport \"http2\": grpc_args are for the transport \"grpc\" only, and are ignored");
    }
    channel_transport *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "transport \"http2\": out of memory");
    }
    made->base.vtable = &vtable;
    made->is_secure = evener_credentials_get_kind(args.credentials) == EVENER_CREDENTIALS_TLS;
    code = take_options(made, &args)
               ? make_inner(made, args.credentials, &made->now, status)
               : evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "transport \"http2\": out of memory");
    if (code != EVENER_STATUS_OK) {
        transport_destroy(&made->base);
        return code;
    }
    *transport = &made->base;
    return evener_status_clear(status);
}

/* The target chooses among the environment's proxies. */
static bool uses_target(const evener_transport_args *args)
{
    return !args->ignore_http_proxy && evener_proxy_is_named(evener_proxy_getenv);
}

const evener_transport_factory evener_http2_transport_factory = {.size = sizeof evener_http2_transport_factory,
                                                                 .create = transport_create,
                                                                 .uses_target = uses_target,
                                                                 .shares_connections = true};
