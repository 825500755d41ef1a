/* `dns:[//server[:53]/]host[:port]` - the addresses of a name, watched for changes (grpc: naming.md). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/resolver.h>

#include "lb/base/memory.h"
#include "resolver/builtin.h"
#include "resolver/dns/addresses.h"
#include "resolver/dns/config.h"
#include "resolver/dns/lookup.h"
#include "resolver/dns/name.h"
#include "resolver/dns/options.h"
#include "resolver/dns/srv.h"
#include "resolver/fixed.h"
#include "resolver/retry.h"

/* `base` is the first member. */
struct dns {
    evener_resolver base;
    evener_dns_watch watch;
    evener_resolver_sink *sink;
    evener_runtime *runtime;
    evener_dns_client *client;
    evener_dns_host host;
    evener_dns_options options;
    evener_dns_config config;
    evener_retry unstarted; /* active: the watch could not be started */
    bool known;             /* `list` to `source` are valid */
    evener_list list;       /* the last answer */
    uint64_t ttl_ms;
    char source[128];
};

static bool push(struct dns *self)
{
    if (!self->known || self->config.waiting) {
        return true;
    }
    evener_resolver_update update = {
        .size = sizeof update,
        .addresses = self->list.addresses,
        .address_count = self->list.count,
        .ttl_ms = self->ttl_ms,
        .source = self->source,
    };
    evener_dns_config_fill(&self->config, &update);
    return evener_resolver_sink_update(self->sink, &update);
}

/* The TXT record has come, or is not to be had: the addresses that waited for it go out. */
static void config_changed(void *arg)
{
    struct dns *self = arg;
    if (!push(self)) {
        evener_dns_watch_refused(&self->watch);
    }
}

static bool answered(evener_dns_watch *watch, const evener_dns_result *result)
{
    struct dns *self = EVENER_CONTAINER_OF(watch, struct dns, watch);
    evener_list list = EVENER_LIST_INIT;
    evener_status status;
    evener_status_code code = EVENER_STATUS_OK;
    for (size_t i = 0; i < result->count && code == EVENER_STATUS_OK; i++) {
        code = evener_dns_list_add(&list, result->records[i]->text, self->host.port, NULL, 0, &status);
    }
    if (code != EVENER_STATUS_OK) {
        evener_list_clear(&list);
        evener_resolver_sink_error(self->sink, &status);
        return false;
    }
    evener_list_clear(&self->list);
    self->list = list;
    self->ttl_ms = result->ttl_ms;
    self->known = true;
    evener_dns_result_source(result, self->source, sizeof self->source);
    return push(self);
}

static void failed(evener_dns_watch *watch, const evener_status *status)
{
    struct dns *self = EVENER_CONTAINER_OF(watch, struct dns, watch);
    evener_resolver_sink_error(self->sink, status);
}

static void start_watch(void *arg)
{
    struct dns *self = arg;
    evener_status status;
    if (evener_dns_watch_start(&self->watch, self->runtime, self->client, EVENER_DNS_HOST, self->host.name,
                               &self->options, &status) != EVENER_STATUS_OK) {
        evener_resolver_sink_error(self->sink, &status);
        evener_retry_later(&self->unstarted);
    }
}

static void dns_start(evener_resolver *resolver)
{
    struct dns *self = (struct dns *)resolver;
    evener_dns_config_start(&self->config, self->runtime, self->client, self->host.name, &self->options, config_changed,
                            self);
    start_watch(self);
}

static void dns_resolve_now(evener_resolver *resolver)
{
    struct dns *self = (struct dns *)resolver;
    evener_retry_soon(&self->unstarted);
    evener_dns_watch_resolve_now(&self->watch);
}

static void dns_reset_backoff(evener_resolver *resolver)
{
    struct dns *self = (struct dns *)resolver;
    evener_retry_reset(&self->unstarted);
    evener_dns_watch_reset_backoff(&self->watch);
    evener_dns_config_reset_backoff(&self->config);
}

static void dns_close(evener_resolver *resolver)
{
    struct dns *self = (struct dns *)resolver;
    evener_retry_end(&self->unstarted);
    evener_dns_watch_stop(&self->watch);
    evener_dns_config_stop(&self->config);
    evener_list_clear(&self->list);
    free(self);
}

static const evener_resolver_vtable dns_vtable = {
    .size = sizeof dns_vtable,
    .start = dns_start,
    .resolve_now = dns_resolve_now,
    .close = dns_close,
    .reset_backoff = dns_reset_backoff,
};

/* A literal address is pushed once. */
static evener_status_code build_literal(const evener_resolver_args *args, const evener_dns_host *host,
                                        evener_resolver **resolver, evener_status *status)
{
    evener_list list = EVENER_LIST_INIT;
    evener_status_code code = evener_dns_list_add(&list, host->name, host->port, NULL, 0, status);
    if (code == EVENER_STATUS_OK) {
        code = evener_fixed_resolver_create(args, &list, "dns: a literal address", resolver, status);
    }
    evener_list_clear(&list);
    return code;
}

static evener_status_code read_args(const evener_resolver_args *args, evener_dns_options *options,
                                    evener_dns_host *host, evener_status *status)
{
    const char *authority = evener_target_authority(args->target);
    if (evener_target_endpoint(args->target)[0] == '\0' && authority[0] != '\0') {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "dns: no host: \"%.100s\" was taken for the DNS server; dns:///%.100s is meant",
                                 authority, authority);
    }
    const evener_status_code code =
        evener_dns_host_parse(evener_target_endpoint(args->target), args->default_port, host, status);
    return code == EVENER_STATUS_OK ? evener_dns_options_read(args, options, status) : code;
}

static evener_status_code dns_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                    evener_resolver **resolver, evener_status *status)
{
    if (evener_dns_srv_serves(args->target)) {
        return evener_dns_srv_build(builder, args, resolver, status);
    }
    evener_dns_options options;
    evener_dns_host host;
    const evener_status_code code = read_args(args, &options, &host, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (host.literal) {
        return build_literal(args, &host, resolver, status);
    }
    struct dns *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "dns: %s: out of memory", host.name);
    }
    self->base.vtable = &dns_vtable;
    self->watch.answer = answered;
    self->watch.error = failed;
    self->sink = args->sink;
    self->runtime = args->runtime;
    self->client = builder->user_data;
    self->host = host;
    self->options = options;
    evener_retry_init(&self->unstarted, args->loop, start_watch, self);
    *resolver = &self->base;
    return EVENER_STATUS_OK;
}

static evener_status_code dns_check(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                    evener_status *status)
{
    if (evener_dns_srv_serves(args->target)) {
        return evener_dns_srv_check(builder, args, status);
    }
    evener_dns_options options;
    evener_dns_host host;
    return read_args(args, &options, &host, status);
}

/* The endpoint; an omitted host becomes "localhost" (grpc: ":80" is localhost:80). */
static evener_status_code dns_authority(const evener_resolver_builder *builder, const evener_target *target,
                                        char *buffer, size_t buffer_bytes, evener_status *status)
{
    if (evener_dns_srv_serves(target)) {
        return evener_dns_srv_authority(builder, target, buffer, buffer_bytes, status);
    }
    const char *endpoint = evener_target_endpoint(target);
    const size_t zone =
        strcspn(endpoint, "%"); /* of an IPv6 address: local to this machine, not part of the authority */
    const char *rest = strchr(endpoint + zone, ']');
    const int bytes = snprintf(buffer, buffer_bytes, "%s%.*s%s", endpoint[0] == ':' ? "localhost" : "", (int)zone,
                               endpoint, rest != NULL && endpoint[zone] != '\0' ? rest : "");
    if (bytes < 0 || (size_t)bytes >= buffer_bytes) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: no room for the authority",
                                 builder->scheme);
    }
    return EVENER_STATUS_OK;
}

const evener_resolver_builder evener_dns_resolver = {
    .size = sizeof evener_dns_resolver,
    .scheme = "dns",
    .build = dns_build,
    .check = dns_check,
    .default_authority = dns_authority,
    .user_data = NULL, /* an evener_dns_client in tests; NULL: c-ares */
};
