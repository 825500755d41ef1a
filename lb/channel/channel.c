/* The channel as an application holds it: creation, references, states. */
#include <evener/channel.h>
#include <evener/interceptor.h>

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "lb/backend/server_name.h"
#include "lb/backend/shared_transport.h"
#include "lb/backend/transport_choice.h"
#include "lb/base/options.h"
#include "lb/base/printable.h"
#include "lb/channel/channel_internal.h"
#include "lb/channel/update_list.h"
#include "lb/runtime/clock.h"
#include "lb/runtime/rcu.h"
#include "lb/runtime/runtime_internal.h"
#include "lb/runtime/thread.h"
#include "lb/runtime/uncancelled.h"
#include "lb/runtime/work_threads.h"

#define DEFAULT_PORT 443
#define DEFAULT_IDLE_TIMEOUT_MS (30 * 60 * 1000)
#define DEFAULT_CONNECT_TIMEOUT_MS (20 * 1000)
#define DEFAULT_CONNECTIONS_PER_BACKEND_MAX 10 /* A105, connection scaling */
#define DEFAULT_KEEP_MS (5 * 60 * 1000)
#define DEFAULT_CALLS_WAITING_MAX 1000
#define DEFAULT_CALLS_WAIT_MS_MAX UINT64_C(1000)
#define DEFAULT_QUEUED_PICKS_MAX 1000000
#define AUTHORITY_BYTES 4096

/* ---- creation ---- */

static uint64_t ms_to_ns(uint64_t ms, uint64_t default_ms)
{
    if (ms == 0) {
        ms = default_ms;
    }
    return ms <= UINT64_MAX / EVENER_NS_PER_MS ? ms * EVENER_NS_PER_MS : UINT64_MAX;
}

static evener_status_code no_memory(evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "channel: out of memory");
}

/* An array in the options. */
struct option_array {
    const char *one, *many; /* names of an element and of the array; the count's name comes from the former */
    const void *items;
    size_t count;
    bool (*is_complete)(const void *items, size_t index);
    const char *wanted;
};

static bool resolver_is_complete(const void *items, size_t index)
{
    const evener_resolver_builder *builder = ((const evener_resolver_builder *const *)items)[index];
    return builder != NULL && builder->scheme != NULL && builder->build != NULL;
}

static bool policy_is_complete(const void *items, size_t index)
{
    const evener_policy_builder *builder = ((const evener_policy_builder *const *)items)[index];
    return builder != NULL && builder->name != NULL && builder->build != NULL;
}

static bool attribute_is_complete(const void *items, size_t index)
{
    const evener_attribute *attribute = &((const evener_attribute *)items)[index];
    return attribute->key != NULL && attribute->value != NULL;
}

static evener_status_code check_array(const struct option_array *array, evener_status *status)
{
    if (array->count > 0 && array->items == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "channel options: %s_count is %zu, but %s is NULL", array->one, array->count,
                                 array->many);
    }
    for (size_t i = 0; i < array->count; i++) {
        if (!array->is_complete(array->items, i)) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "channel options: %s[%zu]: %s",
                                     array->many, i, array->wanted);
        }
    }
    return EVENER_STATUS_OK;
}

/* Check the interceptors of the options. */
static evener_status_code check_interceptors(const evener_channel_options *options, evener_status *status)
{
    if (options->interceptor_count > EVENER_INTERCEPTORS_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "channel options: interceptor_count is %zu: at most %d are possible",
                                 options->interceptor_count, EVENER_INTERCEPTORS_MAX);
    }
    for (size_t i = 0; i < options->interceptor_count; i++) {
        const evener_interceptor *one = options->interceptors != NULL ? options->interceptors[i] : NULL;
        if (one == NULL || one->size < sizeof *one) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "channel options: interceptors[%zu]: %s",
                                     i, one == NULL ? "it is NULL" : "set size to sizeof(evener_interceptor)");
        }
    }
    return EVENER_STATUS_OK;
}

/* Read the caller's options, of any version, and check them. */
static evener_status_code read_options(const evener_channel_options *given, evener_channel_options *options,
                                       evener_status *status)
{
    const evener_status_code code =
        evener_options_read(options, sizeof *options, given, "channel options", "evener_channel_options", status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    const struct option_array arrays[] = {
        {"resolver", "resolvers", options->resolvers, options->resolver_count, resolver_is_complete,
         "a builder with scheme and build is needed"},
        {"policy", "policies", options->policies, options->policy_count, policy_is_complete,
         "a builder with name and build is needed"},
        {"resolver_option", "resolver_options", options->resolver_options, options->resolver_option_count,
         attribute_is_complete, "key and value are needed"},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        const evener_status_code bad = check_array(&arrays[i], status);
        if (bad != EVENER_STATUS_OK) {
            return bad;
        }
    }
    if (options->user_agent != NULL && !evener_is_header_text(options->user_agent)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "channel options: user_agent holds bytes that cannot be sent in a header");
    }
    const struct {
        const char *name;
        uint32_t value, max;
        const char *wanted;
    } numbers[] = {
        {"default_port", options->default_port, 65535, "1 to 65535 is needed (0: 443)"},
        {"empty_update", (uint32_t)options->empty_update, EVENER_EMPTY_UPDATE_KEEP,
         "a value of evener_empty_update is needed"},
        {"compression", (uint32_t)options->compression, EVENER_COMPRESSION_IDENTITY,
         "a value of evener_compression is needed"},
        {"connections_per_backend_max", options->connections_per_backend_max, EVENER_CONNECTIONS_PER_BACKEND_MAX,
         "1 to 64 is needed (0: 10)"},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (numbers[i].value > numbers[i].max) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "channel options: %s is %u: %s",
                                     numbers[i].name, numbers[i].value, numbers[i].wanted);
        }
    }
    return check_interceptors(options, status);
}

static void *copy_array(const void *array, size_t bytes)
{
    void *copy = malloc(bytes > 0 ? bytes : 1);
    if (copy != NULL && bytes > 0) {
        memcpy(copy, array, bytes);
    }
    return copy;
}

static bool copy_options(evener_channel *channel, const evener_channel_options *options)
{
    channel->settings.resolvers.own =
        copy_array(options->resolvers, options->resolver_count * sizeof(const evener_resolver_builder *));
    channel->settings.resolvers.own_count = options->resolver_count;
    evener_resolver_builders_ref(channel->settings.resolvers.own, channel->settings.resolvers.own_count);
    channel->settings.policies.own =
        copy_array(options->policies, options->policy_count * sizeof(const evener_policy_builder *));
    channel->settings.policies.own_count = options->policy_count;
    channel->settings.resolver_options = calloc(options->resolver_option_count + 1, sizeof(evener_attribute));
    if (channel->settings.resolvers.own == NULL || channel->settings.policies.own == NULL ||
        channel->settings.resolver_options == NULL) {
        return false;
    }
    for (size_t i = 0; i < options->resolver_option_count; i++) {
        evener_attribute *option = &channel->settings.resolver_options[channel->settings.resolver_option_count++];
        option->key = strdup(options->resolver_options[i].key);
        option->value = strdup(options->resolver_options[i].value);
        if (option->key == NULL || option->value == NULL) {
            return false;
        }
    }
    if (options->user_agent != NULL && (channel->settings.user_agent = strdup(options->user_agent)) == NULL) {
        return false;
    }
    channel->hot.wait_for_ready = options->wait_for_ready; /* atomic after creation */
    channel->calls.receive_bytes_max = options->receive_bytes_max;
    channel->calls.send_bytes_max = options->send_bytes_max;
    channel->calls.compression = (uint32_t)options->compression;
    channel->retries.attempts_max = options->attempts_max != 0 ? options->attempts_max : EVENER_ATTEMPTS_MAX_DEFAULT;
    channel->settings.limits = (evener_limit_config){
        .in_flight_max = options->calls_in_flight_max,
        .backend_in_flight_max = options->backend_calls_in_flight_max,
        .waiting_max = options->calls_waiting_max == EVENER_NO_CALLS_WAITING ? 0
                       : options->calls_waiting_max != 0                     ? options->calls_waiting_max
                                                                             : DEFAULT_CALLS_WAITING_MAX,
        .wait_ns_max = (options->calls_wait_ms_max != 0 ? options->calls_wait_ms_max : DEFAULT_CALLS_WAIT_MS_MAX) *
                       EVENER_NS_PER_MS,
    };
    channel->settings.connections_per_backend_max = options->connections_per_backend_max != 0
                                                        ? options->connections_per_backend_max
                                                        : DEFAULT_CONNECTIONS_PER_BACKEND_MAX;
    channel->settings.interceptors =
        copy_array(options->interceptors, options->interceptor_count * sizeof(const evener_interceptor *));
    if (channel->settings.interceptors == NULL) {
        return false;
    }
    channel->calls.interceptor_count = options->interceptor_count;
    channel->settings.ignore_service_config = options->ignore_service_config;
    channel->settings.default_port = options->default_port != 0 ? options->default_port : DEFAULT_PORT;
    channel->settings.empty_update = options->empty_update;
    channel->settings.empty_update_keep_ns = ms_to_ns(options->empty_update_keep_ms, DEFAULT_KEEP_MS);
    channel->settings.idle_timeout_ns = ms_to_ns(options->idle_timeout_ms, DEFAULT_IDLE_TIMEOUT_MS);
    channel->pool.connect_timeout_ns = ms_to_ns(options->connect_timeout_ms, DEFAULT_CONNECT_TIMEOUT_MS);
    channel->pool.backoff = (evener_backoff_options){
        .size = sizeof channel->pool.backoff,
        .initial_ms = options->backoff_initial_ms,
        .max_ms = options->backoff_max_ms,
    };
    return true;
}

/* Write the :authority (grpc: naming.md): the endpoint part of the target, percent-encoded. */
static evener_status_code encode_authority(const char *endpoint, char *buffer, size_t buffer_bytes,
                                           evener_status *status)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t used = 0;
    for (const unsigned char *c = (const unsigned char *)endpoint; *c != '\0'; c++) {
        const bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                           strchr("-._~!$&'()*+,;=:@[]", *c) != NULL;
        if (used + 4 > buffer_bytes) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "target: too long for an :authority; set options.authority");
        }
        if (plain) {
            buffer[used++] = (char)*c;
        } else {
            buffer[used++] = '%';
            buffer[used++] = hex[*c >> 4];
            buffer[used++] = hex[*c & 15];
        }
    }
    buffer[used] = '\0';
    return EVENER_STATUS_OK;
}

static evener_status_code find_authority(evener_channel *channel, const evener_channel_options *options,
                                         evener_status *status)
{
    char buffer[AUTHORITY_BYTES], undotted[AUTHORITY_BYTES];
    const char *authority = options->authority;
    channel->pool.authority_origin = EVENER_AUTHORITY_SET;
    if (authority != NULL && authority[0] == '\0') {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "channel options: authority is empty: leave it NULL for the target's own");
    }
    if (authority != NULL && !evener_is_authority(authority)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "channel options: authority is no host name with or without a port: servers refuse "
                                 "its calls");
    }
    if (authority == NULL) {
        const evener_resolver_builder *builder = channel->settings.resolver_builder;
        const evener_status_code code =
            builder->default_authority != NULL
                ? builder->default_authority(builder, channel->settings.target, buffer, sizeof buffer, status)
                : encode_authority(evener_target_endpoint(channel->settings.target), buffer, sizeof buffer, status);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
        const bool names_host = buffer[0] != '\0' && evener_resolver_server_names(builder, channel->settings.target) ==
                                                         EVENER_SERVER_NAMES_TARGET;
        channel->pool.authority_origin = names_host ? EVENER_AUTHORITY_OF_TARGET : EVENER_AUTHORITY_OF_LIST;
        authority = names_host ? evener_without_last_dot(buffer, undotted, sizeof undotted) : buffer;
    }
    channel->settings.authority = strdup(authority);
    return channel->settings.authority != NULL ? EVENER_STATUS_OK : no_memory(status);
}

static evener_status_code find_policy(evener_channel *channel, const evener_channel_options *options,
                                      evener_status *status)
{
    const char *name = options->policy != NULL ? options->policy : "pick_first";
    channel->settings.policy_builder = evener_policy_find(&channel->settings.policies, name);
    if (channel->settings.policy_builder == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "channel options: policy \"%s\" is not known: register it "
                                 "(evener_policy_register()) or give it in options.policies",
                                 name);
    }
    if (options->default_service_config == NULL) {
        return EVENER_STATUS_OK;
    }
    const evener_status_code code = evener_service_config_parse(
        options->default_service_config, &channel->settings.policies, name, &channel->control.default_config, status);
    if (code != EVENER_STATUS_OK) {
        return evener_status_set(status, code, "channel options: default %s", status != NULL ? status->message : "");
    }
    channel->control.published_config = evener_service_config_ref(channel->control.default_config);
    return EVENER_STATUS_OK;
}

static bool (*takes_calls_of(const evener_transport_vtable *vtable))(const evener_connection *connection)
{
    const size_t end =
        offsetof(evener_transport_vtable, connection_takes_calls) + sizeof vtable->connection_takes_calls;
    return vtable->size >= end ? vtable->connection_takes_calls : NULL;
}

static evener_status_code find_transport(evener_channel *channel, const evener_channel_options *options,
                                         evener_status *status)
{
    channel->settings.transport = options->transport;
    if (channel->settings.transport != NULL && options->transport_name != NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "channel options: transport and transport_name are both set: one is needed");
    }
    if (channel->settings.transport == NULL) {
        const evener_transport_factory *factory = NULL;
        const evener_status_code found = evener_transport_choose(options->transport_name, &factory, status);
        if (found != EVENER_STATUS_OK) {
            return found;
        }
        const evener_transport_args args = {
            .size = sizeof args,
            .runtime = channel->settings.runtime,
            .credentials = options->credentials,
            .user_agent = channel->settings.user_agent,
            .keepalive_time_ms = options->keepalive_time_ms,
            .keepalive_timeout_ms = options->keepalive_timeout_ms,
            .grpc_args = options->grpc_args,
            .target = evener_channel_target(channel),
            .ignore_http_proxy = options->ignore_http_proxy,
            .keepalive_permit_without_calls = options->keepalive_permit_without_calls,
            .header_list_bytes_max = options->header_list_bytes_max,
            .io_threads = options->io_threads,
            .receive_bytes_max = options->receive_bytes_max,
        };
        const evener_status_code code = evener_shared_transport_is_possible(factory)
                                            ? evener_shared_transport_create(factory, &args, options->own_connections,
                                                                             &channel->settings.transport, status)
                                            : factory->create(&args, &channel->settings.transport, status);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
        channel->settings.owns_transport = true;
    }
    const evener_transport_vtable *vtable = channel->settings.transport->vtable;
    channel->pool.has_users = vtable->connection_ref != NULL;
    channel->hot.picks_as_user = channel->pool.has_users;
    channel->hot.users_shortly = channel->pool.has_users;
    channel->hot.takes_calls = takes_calls_of(vtable);
    channel->hot.picks_shortly = !channel->pool.has_users && evener_rcu_may_enter_outermost();
    channel->pool.transport = channel->settings.transport;
    return EVENER_STATUS_OK;
}

/* Refuse a target without a name for TLS at creation; addresses that come later are refused one by one. */
static evener_status_code check_server_names(const evener_channel *channel, evener_status *status)
{
    bool (*const verifies_names)(const evener_transport *transport) =
        channel->settings.transport->vtable->verifies_names;
    if (verifies_names != NULL && verifies_names(channel->settings.transport) &&
        channel->pool.authority_origin == EVENER_AUTHORITY_OF_LIST &&
        evener_resolver_server_names(channel->settings.resolver_builder, channel->settings.target) ==
            EVENER_SERVER_NAMES_MISSING) {
        return evener_status_set(
            status, EVENER_STATUS_INVALID_ARGUMENT,
            "%.200s: TLS has no name to verify a server against: a socket in the file system has "
            "none; set the channel's authority (options.authority; `authority` in a factory file), "
            "or an attribute \"authority\" for each socket of the list",
            evener_target_text(channel->settings.target));
    }
    return EVENER_STATUS_OK;
}

static evener_status_code find_callback_threads(evener_channel *channel, const evener_channel_options *options,
                                                evener_status *status)
{
    const evener_transport_calls *calls = channel->settings.transport->vtable->calls;
    if (!options->callbacks_on_call_threads || calls == NULL || calls->events_may_block) {
        return EVENER_STATUS_OK;
    }
    evener_status reason;
    channel->calls.callback_threads = evener_work_threads_get(channel->settings.runtime, &reason);
    return channel->calls.callback_threads != NULL ? EVENER_STATUS_OK
                                                   : evener_status_set(status, reason.code, "%s", reason.message);
}

static evener_status_code set_up(evener_channel *channel, const char *target, const evener_channel_options *options,
                                 evener_status *status)
{
    evener_status_code code;
    if (!copy_options(channel, options)) {
        return no_memory(status);
    }
    code = evener_resolver_lookup(&channel->settings.resolvers, target, &channel->settings.target,
                                  &channel->settings.resolver_builder, status);
    if (code == EVENER_STATUS_OK && channel->settings.resolver_builder->check != NULL) {
        const evener_resolver_args args = {
            .size = sizeof args,
            .target = channel->settings.target,
            .default_port = channel->settings.default_port,
            .options = channel->settings.resolver_options,
            .option_count = channel->settings.resolver_option_count,
            .resolvers = &channel->settings.resolvers,
        };
        code = channel->settings.resolver_builder->check(channel->settings.resolver_builder, &args, status);
    }
    if (code == EVENER_STATUS_OK) {
        code = find_authority(channel, options, status);
    }
    if (code == EVENER_STATUS_OK) {
        code = find_policy(channel, options, status);
    }
    if (code == EVENER_STATUS_OK && options->runtime != NULL && evener_runtime_is_older_than_fork(options->runtime)) {
        code = evener_fork_refuse(status, "runtime of the channel's options");
    } else if (code == EVENER_STATUS_OK && options->runtime != NULL) {
        channel->settings.runtime = evener_runtime_ref(options->runtime);
    } else if (code == EVENER_STATUS_OK) {
        code = evener_runtime_default(&channel->settings.runtime, status);
    }
    if (code == EVENER_STATUS_OK) {
        code = find_transport(channel, options, status);
    }
    if (code == EVENER_STATUS_OK) {
        code = check_server_names(channel, status);
    }
    if (code == EVENER_STATUS_OK) {
        code = find_callback_threads(channel, options, status);
    }
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    channel->hot.loop = evener_runtime_loop(channel->settings.runtime);
    channel->hot.caller_drives_loop = evener_runtime_is_driven_by_caller(channel->settings.runtime);
    channel->pool.runtime = channel->settings.runtime;
    channel->pool.loop = channel->hot.loop;
    channel->retries.random = evener_loop_now_ns(channel->hot.loop);
    channel->retries.throttle = &channel->retries.own_throttle;
    evener_limits_init(&channel->limits, channel);
    evener_channel_apply_limits(channel); /* before the first pick: all are counted */
    evener_channel_bind_config(channel, channel->control.default_config);
    channel->pool.authority = channel->settings.authority;
    const uint32_t queued_max = options->queued_picks_max != 0 ? options->queued_picks_max : DEFAULT_QUEUED_PICKS_MAX;
    code = evener_channel_cache_init(channel, options, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (!evener_channel_control_init(channel)) {
        return no_memory(status);
    }
    return evener_pick_queue_init(&channel->queue, channel, queued_max, status);
}

evener_status_code evener_channel_create(const char *target, const evener_channel_options *options,
                                         evener_channel **channel, evener_status *status)
{
    if (target == NULL || channel == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "channel: %s is NULL",
                                 target == NULL ? "target" : "the place for the channel");
    }
    evener_channel_options known;
    const evener_status_code bad = read_options(options, &known, status);
    if (bad != EVENER_STATUS_OK) {
        return bad;
    }
    EVENER_UNCANCELLED; /* it may log, and wait for the control thread */
    evener_channel *made = aligned_alloc(64, (sizeof *made + 63) / 64 * 64);
    if (made == NULL) {
        return no_memory(status);
    }
    memset(made, 0, sizeof *made);
    made->references = 1;
    const evener_status_code code = set_up(made, target, &known, status);
    if (code != EVENER_STATUS_OK) {
        evener_channel_free(made);
        return code;
    }
    evener_channel_enlist_for_fork(made);
    *channel = made;
    return evener_status_clear(status);
}

static void destroy_transport(void *arg)
{
    evener_transport *transport = arg;
    if (transport->vtable->destroy != NULL) {
        transport->vtable->destroy(transport);
    }
}

void evener_channel_free(evener_channel *channel)
{
    evener_fork_delist(&channel->fork_object);
    evener_picker_unref(channel->control.policy_picker);
    if (channel->hot.loop != NULL) {
        evener_subchannel_pool_clear(&channel->pool);
    }
    if (channel->queue.channel != NULL) {
        evener_pick_queue_clear(&channel->queue);
    }
    if (channel->settings.owns_transport) {
        evener_runtime_call(channel->settings.runtime, destroy_transport, channel->settings.transport);
    }
    evener_service_config_unref(channel->control.default_config);
    evener_service_config_unref(channel->control.resolver_config);
    evener_service_config_unref(channel->control.published_config);
    evener_method_table_clear(&channel->control.methods);
    evener_throttles_release(channel->settings.runtime, &channel->control.throttles);
    evener_update_list_clear(&channel->control.list);
    evener_channel_cache_clear(&channel->control.cache);
    for (size_t i = 0; i < channel->settings.resolver_option_count; i++) {
        free((char *)channel->settings.resolver_options[i].key);
        free((char *)channel->settings.resolver_options[i].value);
    }
    free(channel->settings.resolver_options);
    evener_resolver_builders_unref(channel->settings.resolvers.own, channel->settings.resolvers.own_count);
    free((void *)channel->settings.resolvers.own);
    free((void *)channel->settings.policies.own);
    free((void *)channel->settings.interceptors);
    free(channel->control.last_resolver_error);
    free(channel->settings.user_agent);
    free(channel->settings.authority);
    evener_target_destroy(channel->settings.target);
    evener_channel_free_former_names(channel);
    evener_runtime *runtime = channel->settings.runtime;
    sem_t *gone = channel->control.gone;
    free(channel);
    if (gone != NULL) {
        evener_runtime_expect_task(runtime); /* perhaps the end of that thread's next channel */
        sem_post(gone);                      /* the waiting thread releases the runtime */
    } else {
        evener_runtime_unref(runtime);
    }
}

/* ---- references ---- */

evener_channel *evener_channel_ref(evener_channel *channel)
{
    (void)__atomic_fetch_add(&channel->references, 1, __ATOMIC_RELAXED);
    return channel;
}

void evener_channel_unref(evener_channel *channel)
{
    if (channel == NULL || __atomic_sub_fetch(&channel->references, 1, __ATOMIC_ACQ_REL) != 0 ||
        evener_channel_is_older_than_fork(channel)) {
        return;
    }
    evener_runtime *runtime = channel->settings.runtime;
    if (channel->hot.caller_drives_loop || evener_runtime_owns_this_thread(runtime)) {
        evener_loop_post(channel->hot.loop, &channel->control.release_task);
        return;
    }
    EVENER_UNCANCELLED;
    sem_t gone;
    sem_init(&gone, 0, 0);
    channel->control.gone = &gone;
    evener_loop_post(channel->hot.loop, &channel->control.release_task);
    evener_thread_wait_for_brief(&gone);
    sem_destroy(&gone);
    evener_runtime_unref(runtime);
}

void evener_channel_close(evener_channel *channel)
{
    if (evener_channel_is_older_than_fork(channel)) {
        return; /* it is as good as closed */
    }
    /* From here on no pick finds a backend, even while the control thread publishes. */
    evener_rcu_assign(channel->hot.picker, &evener_channel_closed_picker);
    evener_loop_post(channel->hot.loop, &channel->control.close_task);
}

/* ---- states ---- */

evener_connectivity_state evener_channel_state(evener_channel *channel, bool try_to_connect)
{
    const evener_connectivity_state state = __atomic_load_n(&channel->hot.state, __ATOMIC_ACQUIRE);
    if (try_to_connect && state == EVENER_IDLE) {
        evener_loop_post(channel->hot.loop, &channel->control.connect_task);
    }
    return state;
}

static bool must_not_wait(const evener_channel *channel)
{
    return channel->hot.caller_drives_loop || evener_loop_on_control_thread(channel->hot.loop);
}

/* Wait for another state until the deadline (NULL: none). Return false when time ran out. The queue's mutex is held. */
static bool wait_for_other_state(evener_channel *channel, evener_connectivity_state last_seen,
                                 const struct timespec *deadline)
{
    evener_pick_queue *queue = &channel->queue;
    while (__atomic_load_n(&channel->hot.state, __ATOMIC_RELAXED) == (uint32_t)last_seen) {
        if (deadline == NULL) {
            pthread_cond_wait(&queue->state_changed, &queue->mutex);
        } else if (pthread_cond_timedwait(&queue->state_changed, &queue->mutex, deadline) == ETIMEDOUT) {
            return __atomic_load_n(&channel->hot.state, __ATOMIC_RELAXED) != (uint32_t)last_seen;
        }
    }
    return true;
}

/* Wait for a notification of the state, even if it is the same again: a channel that went IDLE, CONNECTING, IDLE
 * while this thread slept must be asked to connect again. Return false when time ran out. The queue's mutex is held. */
static bool wait_for_news(evener_channel *channel, evener_connectivity_state last_seen, const struct timespec *deadline)
{
    evener_pick_queue *queue = &channel->queue;
    if (__atomic_load_n(&channel->hot.state, __ATOMIC_RELAXED) != (uint32_t)last_seen) {
        return true;
    }
    if (deadline == NULL) {
        return pthread_cond_wait(&queue->state_changed, &queue->mutex) == 0;
    }
    return pthread_cond_timedwait(&queue->state_changed, &queue->mutex, deadline) != ETIMEDOUT ||
           __atomic_load_n(&channel->hot.state, __ATOMIC_RELAXED) != (uint32_t)last_seen;
}

evener_connectivity_state evener_channel_wait_for_state_change(evener_channel *channel,
                                                               evener_connectivity_state last_seen, uint64_t timeout_ms)
{
    EVENER_UNCANCELLED;
    if (must_not_wait(channel) || evener_channel_is_older_than_fork(channel)) {
        return evener_channel_state(channel, false);
    }
    const struct timespec deadline = evener_clock_deadline(timeout_ms);
    pthread_mutex_lock(&channel->queue.mutex);
    (void)wait_for_other_state(channel, last_seen, timeout_ms != 0 ? &deadline : NULL);
    pthread_mutex_unlock(&channel->queue.mutex);
    return evener_channel_state(channel, false);
}

evener_status_code evener_channel_wait_ready(evener_channel *channel, uint64_t timeout_ms, evener_status *status)
{
    return evener_channel_wait_ready_backends(channel, 1, timeout_ms, status);
}

/* Return the number of READY backends that the picker in force can know: those that it was published with, less those
 * released since. The queue's mutex is held. */
static size_t count_ready_backends(const evener_channel *channel)
{
    const size_t now = __atomic_load_n(&channel->pool.ready_count, __ATOMIC_RELAXED);
    return now < channel->queue.ready_backends ? now : channel->queue.ready_backends;
}

static void report_not_ready(evener_channel *channel, evener_connectivity_state state, size_t count,
                             uint64_t timeout_ms, evener_status *status)
{
    const evener_pick_queue *queue = &channel->queue;
    const char *sep = queue->last_error.message[0] != '\0' ? "; last error: " : "";
    if (count <= 1) {
        evener_status_set(status, EVENER_STATUS_DEADLINE_EXCEEDED, "\"%s\" is %s after %llu ms%s%s",
                          evener_channel_target(channel), evener_connectivity_state_name(state),
                          (unsigned long long)timeout_ms, sep, queue->last_error.message);
    } else {
        evener_status_set(
            status, EVENER_STATUS_DEADLINE_EXCEEDED, "\"%s\" is %s with %zu READY backends of %zu after %llu ms%s%s",
            evener_channel_target(channel), evener_connectivity_state_name(state), count_ready_backends(channel), count,
            (unsigned long long)timeout_ms, sep, queue->last_error.message);
    }
}

evener_status_code evener_channel_wait_ready_backends(evener_channel *channel, size_t count, uint64_t timeout_ms,
                                                      evener_status *status)
{
    EVENER_UNCANCELLED;
    const evener_status_code too_old = evener_channel_check_fork(channel, status);
    if (too_old != EVENER_STATUS_OK) {
        return too_old;
    }
    if (must_not_wait(channel)) {
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                                 "waiting for \"%s\" on the control thread would wait for itself",
                                 evener_channel_target(channel));
    }
    evener_status_code code = EVENER_STATUS_OK;
    const struct timespec deadline = evener_clock_deadline(timeout_ms);
    evener_pick_queue *queue = &channel->queue;
    pthread_mutex_lock(&queue->mutex);
    for (;;) {
        const evener_connectivity_state state = evener_channel_state(channel, true);
        if (state == EVENER_READY && (count <= 1 || count_ready_backends(channel) >= count)) {
            evener_status_clear(status);
            break;
        }
        if (state == EVENER_SHUTDOWN) {
            code = evener_status_set(status, EVENER_STATUS_UNAVAILABLE, "channel closed");
            break;
        }
        if (!wait_for_news(channel, state, timeout_ms != 0 ? &deadline : NULL)) {
            code = EVENER_STATUS_DEADLINE_EXCEEDED;
            report_not_ready(channel, state, count, timeout_ms, status);
            break;
        }
    }
    pthread_mutex_unlock(&queue->mutex);
    return code;
}

/* ---- requests ---- */

void evener_channel_connect(evener_channel *channel)
{
    evener_loop_post(channel->hot.loop, &channel->control.connect_task);
}

void evener_channel_resolve_now(evener_channel *channel)
{
    evener_loop_post(channel->hot.loop, &channel->control.resolve_now_task);
}

void evener_channel_reset_connect_backoff(evener_channel *channel)
{
    evener_loop_post(channel->hot.loop, &channel->control.reset_backoff_task);
}

typedef struct config_change {
    evener_task task;
    evener_channel *channel;
    evener_service_config *config;
} config_change;

static void change_config(void *arg)
{
    config_change *change = arg;
    evener_channel *channel = change->channel;
    evener_channel_replace_default_config(channel, change->config);
    free(change);
    evener_channel_unref(channel);
}

evener_status_code evener_channel_set_default_service_config(evener_channel *channel, const char *json,
                                                             evener_status *status)
{
    evener_service_config *config = NULL;
    const evener_status_code too_old = evener_channel_check_fork(channel, status);
    if (too_old != EVENER_STATUS_OK) {
        return too_old;
    }
    if (json != NULL) {
        const evener_status_code code = evener_service_config_parse(
            json, &channel->settings.policies, channel->settings.policy_builder->name, &config, status);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
    }
    config_change *change = malloc(sizeof *change);
    if (change == NULL) {
        evener_service_config_unref(config);
        return no_memory(status);
    }
    change->task = (evener_task)EVENER_TASK_INIT(change_config, change);
    change->channel = evener_channel_ref(channel);
    change->config = config;
    evener_loop_post(channel->hot.loop, &change->task);
    return evener_status_clear(status);
}

/* ---- properties ---- */

const char *evener_channel_target(const evener_channel *channel)
{
    /* Acquire: pairs with the release of a change, so that the target is seen whole. */
    return evener_target_text(__atomic_load_n(&channel->settings.target, __ATOMIC_ACQUIRE));
}

const char *evener_channel_authority(const evener_channel *channel)
{
    return __atomic_load_n(&channel->settings.authority, __ATOMIC_ACQUIRE); /* as for the target */
}

evener_runtime *evener_channel_runtime(const evener_channel *channel)
{
    return channel->settings.runtime;
}

evener_transport *evener_channel_transport(const evener_channel *channel)
{
    return channel->settings.transport;
}

bool evener_channel_wait_for_ready_default(const evener_channel *channel)
{
    return __atomic_load_n(&channel->hot.wait_for_ready, __ATOMIC_RELAXED);
}
