/* The channel factory: channels by name, and the file that configures them.
 *
 * A reload has two steps. First it creates a fresh channel for each name that is new or changed; that checks target,
 * credentials, policy and service config as for any channel. Only when all of them succeeded does it change anything: a
 * new name gets its fresh channel, and the live channel of a known name takes over the inside of the fresh one
 * (lb/channel/reconfigure.h). So a file takes effect as a whole or not at all.
 *
 * Reloads run on the control thread, one at a time. The lock guards the table against evener_factory_channel() and
 * evener_factory_visit() on other threads. */
#include <evener/factory.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <evener/log.h>

#include "lb/base/absolute_path.h"
#include "lb/base/credentials.h"
#include "lb/base/fork.h"
#include "lb/base/options.h"
#include "lb/channel/reconfigure.h"
#include "lb/factory/config.h"
#include "lb/factory/warning.h"
#include "lb/factory/watch.h"
#include "lb/runtime/runtime_internal.h"

#define WATCH_INTERVAL_MS 1000

struct evener_factory {
    evener_runtime *runtime;
    evener_factory_options options;
    char *path;                /* absolute: chdir() changes no file of the factory */
    uint64_t reloads, refused; /* atomic */

    pthread_mutex_t lock;
    evener_factory_config config; /* in force; changed under the lock */
    evener_channel **channels;    /* parallel to config.channels; changed under the lock */

    /* control thread only */
    evener_factory_files watched; /* of the config in force, and of the last read if that failed */
    evener_factory_watch watch;
    evener_factory_warning warning; /* of a failure that may pass, which each interval repeats */
};

static evener_status_code no_memory(evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "factory: out of memory");
}

/* ---- one channel ---- */

static evener_status_code make_credentials(const evener_factory_settings *settings, evener_credentials **credentials,
                                           evener_status *status)
{
    if (settings->security == EVENER_FACTORY_INSECURE) {
        return evener_credentials_create_insecure(credentials, status);
    }
    const evener_tls_options tls = {.size = sizeof tls,
                                    .root_certificates = settings->roots,
                                    .certificate_chain = settings->certificate,
                                    .private_key = settings->key};
    return evener_credentials_create_tls_checked(&tls, credentials, status); /* settings.c has checked the PEM texts */
}

static evener_attribute *make_resolver_options(const evener_factory_settings *settings, size_t *count)
{
    evener_attribute *options = calloc(json_object_size(settings->resolver) + 1, sizeof *options);
    const char *key;
    json_t *value;
    *count = 0;
    if (options != NULL) {
        json_object_foreach(settings->resolver, key, value)
        {
            options[(*count)++] = (evener_attribute){.key = key, .value = json_string_value(value)};
        }
    }
    return options;
}

static size_t limit(uint64_t bytes)
{
    return bytes < SIZE_MAX ? (size_t)bytes : SIZE_MAX;
}

static evener_status_code create_channel(const evener_factory *factory, const evener_factory_channel_config *config,
                                         evener_channel **channel, evener_status *status)
{
    const evener_factory_settings *settings = &config->settings;
    evener_credentials *credentials = NULL;
    evener_channel_options options = {
        .size = sizeof options,
        .runtime = factory->runtime,
        .transport = factory->options.transport,
        .transport_name = factory->options.transport == NULL ? settings->transport : NULL,
        .resolvers = factory->options.resolvers,
        .resolver_count = factory->options.resolver_count,
        .policies = factory->options.policies,
        .policy_count = factory->options.policy_count,
        .default_service_config = config->full_service_config,
        .ignore_service_config = settings->ignore_service_config,
        .authority = settings->authority,
        .user_agent = settings->user_agent,
        .default_port = (uint32_t)settings->default_port,
        .idle_timeout_ms = settings->idle_timeout_ms,
        .connect_timeout_ms = settings->connect_timeout_ms,
        .backoff_initial_ms = settings->backoff_initial_ms,
        .backoff_max_ms = settings->backoff_max_ms,
        .empty_update = settings->empty_update,
        .empty_update_keep_ms = settings->empty_update_keep_ms,
        .keepalive_time_ms = settings->keepalive_time_ms,
        .keepalive_timeout_ms = settings->keepalive_timeout_ms,
        .keepalive_permit_without_calls = settings->keepalive_permit_without_calls,
        .ignore_http_proxy = settings->ignore_http_proxy,
        .header_list_bytes_max = (uint32_t)settings->header_list_bytes_max,
        .receive_bytes_max = limit(settings->receive_bytes_max),
        .send_bytes_max = limit(settings->send_bytes_max),
        .compression = settings->compression,
        .io_threads = (uint32_t)settings->io_threads,
        .attempts_max = (uint32_t)settings->attempts_max,
        .calls_in_flight_max = (uint32_t)settings->calls_in_flight_max,
        .backend_calls_in_flight_max = (uint32_t)settings->backend_calls_in_flight_max,
        .calls_waiting_max = (uint32_t)settings->calls_waiting_max,
        .calls_wait_ms_max = (uint32_t)settings->calls_wait_ms_max,
        .connections_per_backend_max = (uint32_t)settings->connections_per_backend_max,
        .callbacks_on_call_threads = settings->callbacks_on_call_threads,
        .own_connections = settings->own_connections,
        .queued_picks_max = (uint32_t)settings->queued_picks_max,
        .wait_for_ready = settings->wait_for_ready,
        .cache_file = settings->cache_file,
        .cache_max_age_ms = settings->cache_max_age_ms,
    };
    evener_attribute *resolver_options = make_resolver_options(settings, &options.resolver_option_count);
    if (resolver_options == NULL) {
        return no_memory(status);
    }
    options.resolver_options = resolver_options;
    evener_status_code code = make_credentials(settings, &credentials, status);
    options.credentials = credentials;
    if (code == EVENER_STATUS_OK) {
        code = evener_channel_create(settings->target, &options, channel, status);
    }
    evener_credentials_destroy(credentials);
    free(resolver_options);
    return code;
}

/* ---- reload ---- */

static const evener_factory_channel_config *find(const evener_factory_config *config, const char *name, size_t *index)
{
    size_t low = 0;
    size_t high = config->channel_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(name, config->channels[middle].name);
        if (order == 0) {
            *index = middle;
            return &config->channels[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

static void unref_all(evener_channel **channels, size_t count)
{
    for (size_t i = 0; channels != NULL && i < count; i++) {
        evener_channel_unref(channels[i]);
    }
    free(channels);
}

/* Create a fresh channel for each name that is new or changed; fresh[i] stays NULL for the others. */
static evener_status_code prepare(evener_factory *factory, const evener_factory_config *next, evener_channel **fresh,
                                  evener_status *status)
{
    for (size_t i = 0; i < next->channel_count; i++) {
        const evener_factory_channel_config *channel = &next->channels[i];
        size_t index;
        const evener_factory_channel_config *old = find(&factory->config, channel->name, &index);
        if (old != NULL && evener_factory_settings_equal(&old->settings, &channel->settings)) {
            continue;
        }
        evener_status reason;
        const evener_status_code code = create_channel(factory, channel, &fresh[i], &reason);
        if (code != EVENER_STATUS_OK) {
            return evener_status_set(status, code, "%s:%u: channels.%s: %s", channel->file, channel->line,
                                     channel->name, reason.message);
        }
        if (old != NULL &&
            evener_channel_transport(fresh[i])->vtable != evener_channel_transport(factory->channels[index])->vtable) {
            return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                                     "%s:%u: channels.%s: the transport of a channel cannot change while the program "
                                     "runs: give the new one another name, or restart the program",
                                     channel->file, channel->line, channel->name);
        }
    }
    return EVENER_STATUS_OK;
}

/* Apply the prepared channels. Fails only on out of memory; the affected channels then keep their old settings, which the
 * next reload finds to differ. */
static evener_status_code put_in_force(evener_factory *factory, evener_factory_config *next, evener_channel **fresh,
                                       evener_status *status)
{
    evener_status_clear(status);
    evener_factory_config old_config = factory->config;
    evener_channel **old_channels = factory->channels;
    for (size_t i = 0; i < next->channel_count; i++) {
        size_t index;
        const evener_factory_channel_config *now = &next->channels[i];
        const evener_factory_channel_config *old = find(&old_config, now->name, &index);
        if (old == NULL) {
            continue; /* the fresh channel is the channel */
        }
        evener_channel *live = old_channels[index];
        if (fresh[i] != NULL) {
            evener_status reason;
            const evener_status_code code = evener_channel_reconfigure(
                live, fresh[i], !evener_factory_settings_same_resolver(&old->settings, &now->settings),
                !evener_factory_settings_same_connection(&old->settings, &now->settings), &reason);
            if (code != EVENER_STATUS_OK) {
                evener_status_set(status, code, "%s: channel %s keeps its settings: %s", factory->path, now->name,
                                  reason.message);
                const evener_factory_channel_config refused = next->channels[i];
                next->channels[i] = old_config.channels[index];
                old_config.channels[index] = refused;
            }
            evener_channel_unref(fresh[i]);
        }
        fresh[i] = live;
    }
    pthread_mutex_lock(&factory->lock);
    factory->config = *next;
    factory->channels = fresh;
    pthread_mutex_unlock(&factory->lock);
    for (size_t i = 0; i < old_config.channel_count; i++) {
        size_t index;
        if (find(&factory->config, old_config.channels[i].name, &index) == NULL) {
            evener_channel_unref(old_channels[i]); /* its name was removed from the file */
        }
    }
    free(old_channels);
    evener_factory_config_clear(&old_config);
    return status->code;
}

static bool add_files(evener_factory_files *files, const evener_factory_files *more)
{
    bool ok = true;
    for (size_t i = 0; ok && i < more->count; i++) {
        ok = evener_factory_files_add(files, more->names[i]) != NULL;
    }
    return ok;
}

static bool same_files(const evener_factory_files *a, const evener_factory_files *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        same = strcmp(a->names[i], b->names[i]) == 0;
    }
    return same;
}

/* Watch the files that were read, and store whether they are others than before. After a failure these may be only the
 * first ones, and the repair may be in any: then those in force are watched too. Return false on out of memory. */
static bool watch_files(evener_factory *factory, const evener_factory_config *config, bool is_read, bool *are_others)
{
    evener_factory_files files = {0};
    if ((!is_read && !add_files(&files, &factory->config.files)) || !add_files(&files, &config->files)) {
        evener_factory_files_clear(&files);
        return false;
    }
    *are_others = !same_files(&files, &factory->watched);
    if (*are_others) {
        evener_factory_files old = factory->watched;
        factory->watched = files;
        files = old;
        evener_factory_watch_set_files(&factory->watch, factory->watched.names, factory->watched.count);
    }
    evener_factory_files_clear(&files);
    return true;
}

#define READS_MAX 3 /* while each reading finds other includes */

/* Read the files, and watch them from a moment before: a file that is an include only now may have changed between the
 * reading and the first look at it, so all are read once more. */
static evener_status_code read_watched(evener_factory *factory, evener_factory_config *config, evener_status *status)
{
    for (int reads = 1;; reads++) {
        bool are_others = false;
        evener_factory_watch_mark(&factory->watch);
        const evener_status_code code = evener_factory_config_read(factory->path, config, status);
        if (!watch_files(factory, config, code == EVENER_STATUS_OK, &are_others)) {
            return no_memory(status);
        }
        if (!are_others || reads == READS_MAX) {
            return code;
        }
        evener_factory_config_clear(config);
    }
}

static evener_status_code read_and_apply(evener_factory *factory, evener_status *status)
{
    evener_factory_config next;
    evener_status_code code = read_watched(factory, &next, status);
    evener_channel **fresh = NULL;
    if (code == EVENER_STATUS_OK) {
        fresh = calloc(next.channel_count + 1, sizeof(evener_channel *));
        code = fresh != NULL ? prepare(factory, &next, fresh, status) : no_memory(status);
    }
    if (code != EVENER_STATUS_OK || fresh == NULL) {
        unref_all(fresh, next.channel_count);
        evener_factory_config_clear(&next);
        return code;
    }
    return put_in_force(factory, &next, fresh, status);
}

static evener_status_code reload(evener_factory *factory, evener_status *status)
{
    const evener_status_code code = read_and_apply(factory, status);
    evener_factory_watch_note_result(&factory->watch, code);
    return code;
}

/* Log why a reload was refused. What passes without a change of the files is tried with each interval, but not logged
 * with each. */
static void warn(evener_factory *factory, const char *reason)
{
    if (!factory->watch.unread ||
        evener_factory_warning_is_due(&factory->warning, reason, evener_loop_now_ns(factory->watch.loop))) {
        evener_log(EVENER_LOG_WARNING, "factory", "%s; the configuration read before stays in force", reason);
    }
}

/* Reload an open factory; count, log and report the result. */
static evener_status_code reload_and_report(evener_factory *factory, evener_status *status)
{
    const evener_status_code code = reload(factory, status);
    (void)__atomic_fetch_add(code == EVENER_STATUS_OK ? &factory->reloads : &factory->refused, 1, __ATOMIC_RELAXED);
    if (code == EVENER_STATUS_OK) {
        evener_factory_warning_clear(&factory->warning);
        evener_log(EVENER_LOG_INFO, "factory", "%s: read again, in force", factory->path);
    } else {
        warn(factory, status->message);
    }
    if (factory->options.reloaded != NULL) {
        factory->options.reloaded(factory->options.arg, status);
    }
    return code;
}

static void files_changed(void *arg)
{
    evener_status status;
    reload_and_report(arg, &status);
}

/* ---- life ---- */

typedef struct turn {
    evener_factory *factory;
    evener_status status;
} turn;

static void first_load(void *arg)
{
    turn *t = arg;
    t->factory->watch.loop = evener_runtime_loop(t->factory->runtime);
    if (reload(t->factory, &t->status) == EVENER_STATUS_OK) {
        evener_factory_watch_start(&t->factory->watch);
    }
}

static void load_again(void *arg)
{
    turn *t = arg;
    evener_factory_warning_clear(&t->factory->warning); /* who asks gets an answer each time */
    reload_and_report(t->factory, &t->status);
}

static void stop_watching(void *arg)
{
    evener_factory *factory = arg;
    if (factory->watch.timer.fn != NULL) {
        evener_factory_watch_stop(&factory->watch);
    }
}

static void *copy_array(const void *array, size_t bytes)
{
    void *copy = malloc(bytes + 1);
    if (copy != NULL && bytes > 0) {
        memcpy(copy, array, bytes);
    }
    return copy;
}

static evener_status_code take_options(evener_factory *factory, const evener_factory_options *options,
                                       evener_status *status)
{
    evener_factory_options *own = &factory->options;
    const evener_status_code code =
        evener_options_read(own, sizeof *own, options, "factory options", "evener_factory_options", status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if ((own->resolver_count > 0 && own->resolvers == NULL) || (own->policy_count > 0 && own->policies == NULL)) {
        const evener_status_code bad =
            evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "factory options: %s is not 0, but %s is NULL",
                              own->resolvers == NULL && own->resolver_count > 0 ? "resolver_count" : "policy_count",
                              own->resolvers == NULL && own->resolver_count > 0 ? "resolvers" : "policies");
        *own = (evener_factory_options){.size = sizeof *own};
        return bad;
    }
    /* Copy the arrays, which may be on the caller's stack; the builders are borrowed. */
    own->resolvers = copy_array(own->resolvers, own->resolver_count * sizeof own->resolvers[0]);
    evener_resolver_builders_ref(own->resolvers, own->resolver_count);
    own->policies = copy_array(own->policies, own->policy_count * sizeof own->policies[0]);
    return own->resolvers != NULL && own->policies != NULL ? EVENER_STATUS_OK : no_memory(status);
}

evener_status_code evener_factory_open(const char *path, const evener_factory_options *options,
                                       evener_factory **factory, evener_status *status)
{
    if (path == NULL || path[0] == '\0' || factory == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "factory: %s",
                                 factory == NULL ? "the place for the factory is NULL" : "no file is named");
    }
    evener_factory *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return no_memory(status);
    }
    pthread_mutex_init(&made->lock, NULL);
    made->path = evener_absolute_path(path);
    evener_status_code code =
        made->path != NULL ? take_options(made, options, status)
                           : evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                                               "factory: %.200s: no memory for its path, or no working folder", path);
    if (code == EVENER_STATUS_OK && made->options.runtime != NULL &&
        evener_runtime_is_older_than_fork(made->options.runtime)) {
        code = evener_fork_refuse(status, "runtime of the factory's options");
    } else if (code == EVENER_STATUS_OK && made->options.runtime != NULL) {
        made->runtime = evener_runtime_ref(made->options.runtime);
    } else if (code == EVENER_STATUS_OK) {
        code = evener_runtime_default(&made->runtime, status);
    }
    if (code == EVENER_STATUS_OK) {
        const uint64_t interval_ms =
            made->options.watch_interval_ms != 0 ? made->options.watch_interval_ms : WATCH_INTERVAL_MS;
        made->watch.interval_ns =
            interval_ms <= UINT64_MAX / EVENER_NS_PER_MS ? interval_ms * EVENER_NS_PER_MS : UINT64_MAX;
        made->watch.changed = files_changed;
        made->watch.arg = made;
        turn t = {.factory = made};
        evener_runtime_call(made->runtime, first_load, &t);
        code = evener_status_set(status, t.status.code, "%s", t.status.message);
    }
    if (code != EVENER_STATUS_OK) {
        evener_factory_close(made);
        return code;
    }
    *factory = made;
    return EVENER_STATUS_OK;
}

evener_status_code evener_factory_reload(evener_factory *factory, evener_status *status)
{
    if (evener_runtime_is_older_than_fork(factory->runtime)) {
        return evener_fork_refuse(status, "factory");
    }
    turn t = {.factory = factory};
    evener_runtime_call(factory->runtime, load_again, &t);
    return evener_status_set(status, t.status.code, "%s", t.status.message);
}

void evener_factory_close(evener_factory *factory)
{
    if (factory == NULL || (factory->runtime != NULL && evener_runtime_is_older_than_fork(factory->runtime))) {
        return;
    }
    if (factory->runtime != NULL) {
        evener_runtime_call(factory->runtime, stop_watching, factory);
    }
    unref_all(factory->channels, factory->config.channel_count);
    evener_factory_config_clear(&factory->config);
    evener_factory_files_clear(&factory->watched);
    evener_resolver_builders_unref(factory->options.resolvers, factory->options.resolver_count);
    free((void *)factory->options.resolvers);
    free((void *)factory->options.policies);
    free(factory->path);
    pthread_mutex_destroy(&factory->lock);
    evener_runtime *runtime = factory->runtime;
    free(factory);
    evener_runtime_unref(runtime);
}

/* ---- lookup ---- */

evener_status_code evener_factory_channel(evener_factory *factory, const char *name, evener_channel **channel,
                                          evener_status *status)
{
    size_t index;
    evener_channel *found = NULL;
    if (evener_runtime_is_older_than_fork(factory->runtime)) {
        return evener_fork_refuse(status, "factory");
    }
    pthread_mutex_lock(&factory->lock);
    if (name != NULL && find(&factory->config, name, &index) != NULL) {
        found = evener_channel_ref(factory->channels[index]);
    }
    pthread_mutex_unlock(&factory->lock);
    if (found == NULL) {
        return evener_status_set(status, EVENER_STATUS_NOT_FOUND, "%s: no channel \"%s\": add it to \"channels\"",
                                 factory->path, name != NULL ? name : "(NULL)");
    }
    *channel = found;
    return evener_status_clear(status);
}

void evener_factory_visit(evener_factory *factory, void (*visit)(void *arg, const evener_factory_entry *entry),
                          void *arg)
{
    if (evener_runtime_is_older_than_fork(factory->runtime)) {
        return;
    }
    pthread_mutex_lock(&factory->lock);
    for (size_t i = 0; i < factory->config.channel_count; i++) {
        const evener_factory_channel_config *config = &factory->config.channels[i];
        const evener_factory_entry entry = {
            .size = sizeof entry,
            .name = config->name,
            .target = config->settings.target,
            .authority = evener_channel_authority(factory->channels[i]),
            .credentials = config->settings.security == EVENER_FACTORY_INSECURE ? "insecure"
                           : config->settings.certificate != NULL               ? "mtls"
                                                                                : "tls",
            .service_config = config->full_service_config,
            .file = config->file,
            .line = config->line,
            .verifies_addresses = config->settings.security == EVENER_FACTORY_TLS &&
                                  !evener_channel_target_names_servers(factory->channels[i]),
        };
        visit(arg, &entry);
    }
    pthread_mutex_unlock(&factory->lock);
}

uint64_t evener_factory_reload_count(const evener_factory *factory)
{
    return __atomic_load_n(&factory->reloads, __ATOMIC_RELAXED);
}

uint64_t evener_factory_refused_count(const evener_factory *factory)
{
    return __atomic_load_n(&factory->refused, __ATOMIC_RELAXED);
}
