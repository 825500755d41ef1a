#include "lb/channel/reconfigure.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <evener/log.h>

#include "lb/channel/channel_internal.h"

/* A name that evener_channel_target() or _authority() may have returned: it lives as long as the channel. A name that
 * comes back is used again, so that a file that alternates between two names does not make the list grow. */
typedef struct evener_former_name {
    struct evener_former_name *next;
    evener_target *target; /* either of the two */
    char *authority;
} evener_former_name;

void evener_channel_free_former_names(evener_channel *channel)
{
    evener_former_name *next;
    for (evener_former_name *name = channel->control.former_names; name != NULL; name = next) {
        next = name->next;
        evener_target_destroy(name->target);
        free(name->authority);
        free(name);
    }
}

static evener_former_name *find_target(evener_channel *channel, const char *text)
{
    evener_former_name *name = channel->control.former_names;
    while (name != NULL && (name->target == NULL || strcmp(evener_target_text(name->target), text) != 0)) {
        name = name->next;
    }
    return name;
}

static evener_former_name *find_authority(evener_channel *channel, const char *text)
{
    evener_former_name *name = channel->control.former_names;
    while (name != NULL && (name->authority == NULL || strcmp(name->authority, text) != 0)) {
        name = name->next;
    }
    return name;
}

/* Release in these two: readers on other threads follow the pointer. */
static void exchange_target(evener_channel *channel, evener_channel *prepared, evener_former_name *fresh)
{
    evener_former_name *name = find_target(channel, evener_target_text(prepared->settings.target));
    evener_target *target = prepared->settings.target;
    const evener_resolver_builder *builder = prepared->settings.resolver_builder;
    if (name != NULL) {
        target = name->target;
        free(fresh);
    } else {
        name = fresh;
        name->next = channel->control.former_names;
        channel->control.former_names = name;
        prepared->settings.target = NULL;
    }
    name->target = channel->settings.target;
    channel->settings.resolver_builder = builder;
    __atomic_store_n(&channel->settings.target, target, __ATOMIC_RELEASE);
    channel->control.helper.target = evener_target_text(target);
}

static void exchange_authority(evener_channel *channel, evener_channel *prepared, evener_former_name *fresh)
{
    evener_former_name *name = find_authority(channel, prepared->settings.authority);
    char *authority = prepared->settings.authority;
    if (name != NULL) {
        authority = name->authority;
        free(fresh);
    } else {
        name = fresh;
        name->next = channel->control.former_names;
        channel->control.former_names = name;
        prepared->settings.authority = NULL;
    }
    name->authority = channel->settings.authority;
    __atomic_store_n(&channel->settings.authority, authority, __ATOMIC_RELEASE);
    channel->control.helper.authority = authority;
    channel->pool.authority = authority;
}

static void take_limits(evener_channel *channel, const evener_channel *prepared)
{
    __atomic_store_n(&channel->hot.wait_for_ready, prepared->hot.wait_for_ready, __ATOMIC_RELAXED);
    __atomic_store_n(&channel->calls.receive_bytes_max, prepared->calls.receive_bytes_max, __ATOMIC_RELAXED);
    __atomic_store_n(&channel->calls.send_bytes_max, prepared->calls.send_bytes_max, __ATOMIC_RELAXED);
    __atomic_store_n(&channel->calls.compression, prepared->calls.compression, __ATOMIC_RELAXED);
    __atomic_store_n(&channel->retries.attempts_max, prepared->retries.attempts_max, __ATOMIC_RELAXED);
    __atomic_store_n(&channel->calls.callback_threads, prepared->calls.callback_threads, __ATOMIC_RELEASE);
    channel->settings.limits = prepared->settings.limits;
    channel->settings.empty_update = prepared->settings.empty_update;
    channel->settings.empty_update_keep_ns = prepared->settings.empty_update_keep_ns;
    channel->pool.connect_timeout_ns = prepared->pool.connect_timeout_ns;
    channel->pool.backoff = prepared->pool.backoff;
    channel->settings.connections_per_backend_max = prepared->settings.connections_per_backend_max;
    pthread_mutex_lock(&channel->queue.mutex);
    channel->queue.count_max = prepared->queue.count_max;
    pthread_mutex_unlock(&channel->queue.mutex);
    if (channel->settings.idle_timeout_ns != prepared->settings.idle_timeout_ns) {
        channel->settings.idle_timeout_ns = prepared->settings.idle_timeout_ns;
        if (evener_channel_is_active(channel)) {
            evener_channel_restart_idle_timeout(channel);
        }
    }
}

static void take_resolver_options(evener_channel *channel, evener_channel *prepared)
{
    evener_attribute *options = channel->settings.resolver_options;
    const size_t count = channel->settings.resolver_option_count;
    channel->settings.resolver_options = prepared->settings.resolver_options;
    channel->settings.resolver_option_count = prepared->settings.resolver_option_count;
    prepared->settings.resolver_options = options;
    prepared->settings.resolver_option_count = count;
    channel->settings.default_port = prepared->settings.default_port;
}

static void take_service_config(evener_channel *channel, const evener_channel *prepared)
{
    evener_service_config *resolvers_own = NULL;
    channel->settings.ignore_service_config = prepared->settings.ignore_service_config;
    if (channel->settings.ignore_service_config) {
        resolvers_own = channel->control.resolver_config;
        channel->control.resolver_config = NULL;
    }
    const char *old =
        channel->control.default_config != NULL ? evener_service_config_text(channel->control.default_config) : "";
    const char *now =
        prepared->control.default_config != NULL ? evener_service_config_text(prepared->control.default_config) : "";
    if (resolvers_own != NULL || strcmp(old, now) != 0) {
        evener_channel_replace_default_config(channel, evener_service_config_ref(prepared->control.default_config));
    }
    evener_service_config_unref(resolvers_own);
}

static void take_transport(evener_channel *channel, evener_channel *prepared)
{
    if (channel->settings.owns_transport && prepared->settings.owns_transport) {
        char *user_agent = channel->settings.user_agent;
        channel->settings.user_agent = prepared->settings.user_agent;
        prepared->settings.user_agent = user_agent;
        channel->settings.transport->vtable->exchange_settings(channel->settings.transport,
                                                               prepared->settings.transport);
    }
}

bool evener_channel_target_names_servers(const evener_channel *channel)
{
    return __atomic_load_n(&channel->pool.authority_origin, __ATOMIC_RELAXED) != EVENER_AUTHORITY_OF_LIST;
}

evener_status_code evener_channel_reconfigure(evener_channel *channel, evener_channel *prepared, bool restart_resolver,
                                              bool reconnect, evener_status *status)
{
    evener_former_name *target = calloc(1, sizeof *target);
    evener_former_name *authority = calloc(1, sizeof *authority);
    if (target == NULL || authority == NULL) {
        free(target);
        free(authority);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "channel: out of memory");
    }
    if (evener_channel_is_closed(channel)) {
        free(target);
        free(authority);
        return evener_status_clear(status); /* closed by a holder: nothing to change */
    }
    restart_resolver =
        restart_resolver || (channel->settings.ignore_service_config && !prepared->settings.ignore_service_config);
    reconnect = reconnect || strcmp(channel->settings.authority, prepared->settings.authority) != 0 ||
                channel->pool.authority_origin != prepared->pool.authority_origin;
    __atomic_store_n(&channel->pool.authority_origin, prepared->pool.authority_origin, __ATOMIC_RELAXED);

    take_limits(channel, prepared);
    evener_channel_cache_exchange_settings(&channel->control.cache, &prepared->control.cache);
    take_transport(channel, prepared);
    const bool active = evener_channel_is_active(channel);
    if (restart_resolver) {
        evener_channel_close_resolver(channel);
        take_resolver_options(channel, prepared);
    }
    if (strcmp(evener_target_text(channel->settings.target), evener_target_text(prepared->settings.target)) != 0) {
        exchange_target(channel, prepared, target);
    } else {
        free(target);
    }
    if (strcmp(channel->settings.authority, prepared->settings.authority) != 0) {
        exchange_authority(channel, prepared, authority);
    } else {
        free(authority);
    }
    take_service_config(channel, prepared);
    evener_channel_apply_throttling(channel); /* the server name may be another one */
    evener_channel_apply_limits(channel);
    evener_channel_take_connections_max(channel);
    if (reconnect) {
        channel->pool.generation++;
    }
    if (reconnect && !restart_resolver) {
        evener_subchannel_pool_renew(&channel->pool, channel->control.list.addresses, channel->control.list.count);
    } else if (
        reconnect) { /* the old target's backends were connected correctly, and serve until the new list arrives */
        channel->control.renew_with_update = active;
    }
    if (restart_resolver && active) {
        evener_channel_open_resolver(channel);
    }
    evener_log(EVENER_LOG_INFO, "channel", "%s: reconfigured%s%s", evener_target_text(channel->settings.target),
               restart_resolver ? ", resolves anew" : "", reconnect ? ", connects anew" : "");
    return evener_status_clear(status);
}

/* ---- credentials ---- */

typedef struct new_credentials {
    evener_channel *channel;
    const evener_credentials *credentials;
    evener_status status;
} new_credentials;

static void set_credentials(void *arg)
{
    new_credentials *given = arg;
    evener_channel *channel = given->channel;
    evener_transport *transport = channel->settings.transport;
    const evener_transport_vtable *vtable = transport->vtable;
    if (evener_channel_is_closed(channel)) {
        evener_status_set(&given->status, EVENER_STATUS_UNAVAILABLE, "channel closed");
        return;
    }
    const bool can =
        vtable->size >= offsetof(evener_transport_vtable, set_credentials) + sizeof vtable->set_credentials &&
        vtable->set_credentials != NULL;
    if (!can) {
        evener_status_set(&given->status, EVENER_STATUS_FAILED_PRECONDITION,
                          "credentials of \"%s\": its transport cannot replace them",
                          evener_target_text(channel->settings.target));
        return;
    }
    if (vtable->set_credentials(transport, given->credentials, &given->status) != EVENER_STATUS_OK) {
        return;
    }
    channel->pool.generation++;
    evener_subchannel_pool_renew(&channel->pool, channel->control.list.addresses, channel->control.list.count);
    evener_log(EVENER_LOG_INFO, "channel", "%s: new credentials, connects anew",
               evener_target_text(channel->settings.target));
}

evener_status_code evener_channel_set_credentials(evener_channel *channel, const evener_credentials *credentials,
                                                  evener_status *status)
{
    if (channel == NULL || credentials == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "evener_channel_set_credentials: `%s` is NULL",
                                 channel == NULL ? "channel" : "credentials");
    }
    const evener_status_code too_old = evener_channel_check_fork(channel, status);
    if (too_old != EVENER_STATUS_OK) {
        return too_old;
    }
    new_credentials given = {.channel = channel, .credentials = credentials};
    evener_status_clear(&given.status);
    evener_runtime_call(channel->settings.runtime, set_credentials, &given);
    return evener_status_set(status, given.status.code, "%s", given.status.message);
}
