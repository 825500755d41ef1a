/* The handle holds the last update, and the last error if it is newer. Every push gets a number, and each channel's
 * resolver remembers the number delivered last: its task delivers whatever is newer, in the order of the numbers.
 * Therefore pushes never wait, are superseded only by newer ones, and need no queue. What a channel refuses is
 * delivered again after a while, with what is newer. */
#include <evener/manual_resolver.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <evener/loop.h>

#include "lb/base/fork.h"
#include "lb/base/options.h"
#include "resolver/list.h"
#include "resolver/retry.h"

/* A pushed update: immutable, reference counted. */
struct snapshot {
    _Atomic uint32_t references;
    evener_resolver_update update;
    evener_status service_config_error; /* update.service_config_error points here */
};

/* One channel's resolver. `base` is the first member. Freed by close(), or by the task if it was posted. */
struct instance {
    evener_resolver base;
    evener_manual_resolver *manual; /* a reference */
    evener_resolver_sink *sink;
    evener_loop *loop;
    evener_task task;
    uint64_t delivered;            /* control thread: number of the last push that the channel saw */
    evener_retry refused;          /* control thread: gives the channel again what it did not accept */
    bool posted;                   /* under the lock: the task is posted */
    bool closed;                   /* under the lock */
    struct instance *next, **link; /* under the lock: list of started instances */
};

struct evener_manual_resolver {
    _Atomic uint32_t references; /* the application's, one per resolver, one per holder of the builder */
    _Atomic uint64_t resolve_now_count;
    pthread_mutex_t lock; /* protects the following members */
    struct instance *instances;
    uint64_t pushes;
    uint32_t fork_generation;
    struct snapshot *snapshot; /* NULL: none yet */
    uint64_t snapshot_number;
    evener_status error;
    uint64_t error_number; /* 0: none, or a later update has replaced it */
    evener_resolver_builder builder;
    char scheme[];
};

/* ---- snapshots ---- */

static void snapshot_unref(struct snapshot *snapshot)
{
    /* Release and acquire: all reads by other threads happen before the free. */
    if (snapshot == NULL || atomic_fetch_sub_explicit(&snapshot->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < snapshot->update.address_count; i++) {
        evener_address_unref(snapshot->update.addresses[i]);
    }
    free((void *)(uintptr_t)snapshot->update.addresses);
    free((void *)(uintptr_t)snapshot->update.service_config);
    free((void *)(uintptr_t)snapshot->update.source);
    free(snapshot);
}

static struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
    if (snapshot != NULL) {
        /* relaxed: the lock protects the pointer */
        atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);
    }
    return snapshot;
}

static bool copy_text(const char *text, const char **copy)
{
    *copy = text != NULL ? strdup(text) : NULL;
    return text == NULL || *copy != NULL;
}

static struct snapshot *snapshot_create(const evener_resolver_update *update)
{
    struct snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (snapshot == NULL) {
        return NULL;
    }
    atomic_init(&snapshot->references, 1);
    snapshot->update.size = sizeof snapshot->update;
    snapshot->update.ttl_ms = update->ttl_ms;
    if (update->service_config_error != NULL) {
        snapshot->service_config_error = *update->service_config_error;
        snapshot->update.service_config_error = &snapshot->service_config_error;
    }
    evener_address **addresses = malloc((update->address_count > 0 ? update->address_count : 1) * sizeof *addresses);
    snapshot->update.addresses = addresses;
    if (addresses != NULL) {
        snapshot->update.address_count = update->address_count;
        for (size_t i = 0; i < update->address_count; i++) {
            addresses[i] = evener_address_ref(update->addresses[i]);
        }
    }
    const bool texts = copy_text(update->service_config, &snapshot->update.service_config) &&
                       copy_text(update->source, &snapshot->update.source);
    if (addresses == NULL || !texts) {
        snapshot_unref(snapshot);
        return NULL;
    }
    return snapshot;
}

/* ---- the handle ---- */

static void manual_ref(evener_manual_resolver *manual)
{
    /* relaxed: the caller holds a reference */
    atomic_fetch_add_explicit(&manual->references, 1, memory_order_relaxed);
}

static void manual_unref(evener_manual_resolver *manual)
{
    /* Release and acquire: accesses through other references happen before the free. */
    if (manual != NULL && atomic_fetch_sub_explicit(&manual->references, 1, memory_order_acq_rel) == 1) {
        snapshot_unref(manual->snapshot);
        pthread_mutex_destroy(&manual->lock);
        free(manual);
    }
}

/* Post the task of every channel's resolver. The caller holds the lock. */
static void notify(evener_manual_resolver *manual)
{
    for (struct instance *instance = manual->instances; instance != NULL; instance = instance->next) {
        if (!instance->posted) {
            instance->posted = true;
            (void)evener_loop_post(instance->loop, &instance->task);
        }
    }
}

/* ---- one channel's resolver ---- */

static struct instance *instance_of(evener_resolver *resolver)
{
    return (struct instance *)resolver;
}

static void deliver(struct instance *instance)
{
    evener_manual_resolver *manual = instance->manual;
    struct snapshot *snapshot = NULL;
    bool failed = false;
    evener_status error;

    pthread_mutex_lock(&manual->lock);
    if (manual->snapshot_number > instance->delivered) {
        snapshot = snapshot_ref(manual->snapshot);
    }
    if (manual->error_number > instance->delivered) {
        failed = true;
        error = manual->error;
    }
    instance->delivered = manual->pushes;
    pthread_mutex_unlock(&manual->lock);

    if (snapshot != NULL) {
        if (evener_resolver_sink_update(instance->sink, &snapshot->update)) {
            evener_retry_end(&instance->refused);
        } else {
            evener_retry_later(&instance->refused);
        }
        snapshot_unref(snapshot);
    }
    if (failed) {
        evener_resolver_sink_error(instance->sink, &error);
    }
}

static void deliver_again(void *arg)
{
    struct instance *instance = arg;
    instance->delivered = 0;
    deliver(instance);
}

static void instance_free(struct instance *instance)
{
    manual_unref(instance->manual);
    free(instance);
}

static void instance_run(void *arg)
{
    struct instance *instance = arg;
    pthread_mutex_lock(&instance->manual->lock);
    instance->posted = false;
    const bool closed = instance->closed;
    pthread_mutex_unlock(&instance->manual->lock);
    if (closed) {
        instance_free(instance);
    } else {
        deliver(instance);
    }
}

static void manual_start(evener_resolver *resolver)
{
    struct instance *instance = instance_of(resolver);
    evener_manual_resolver *manual = instance->manual;
    pthread_mutex_lock(&manual->lock);
    instance->next = manual->instances;
    instance->link = &manual->instances;
    if (instance->next != NULL) {
        instance->next->link = &instance->next;
    }
    manual->instances = instance;
    pthread_mutex_unlock(&manual->lock);
    deliver(instance);
}

static void manual_resolve_now(evener_resolver *resolver)
{
    struct instance *instance = instance_of(resolver);
    /* relaxed: a counter */
    atomic_fetch_add_explicit(&instance->manual->resolve_now_count, 1, memory_order_relaxed);
    evener_retry_soon(&instance->refused);
}

static void manual_reset_backoff(evener_resolver *resolver)
{
    evener_retry_reset(&instance_of(resolver)->refused);
}

static void manual_close(evener_resolver *resolver)
{
    struct instance *instance = instance_of(resolver);
    evener_manual_resolver *manual = instance->manual;
    pthread_mutex_lock(&manual->lock);
    if (instance->link != NULL) {
        *instance->link = instance->next;
        if (instance->next != NULL) {
            instance->next->link = instance->link;
        }
    }
    instance->closed = true;
    const bool posted = instance->posted;
    pthread_mutex_unlock(&manual->lock);
    evener_retry_end(&instance->refused);
    if (!posted) {
        instance_free(instance);
    }
}

static const evener_resolver_vtable manual_vtable = {
    .size = sizeof manual_vtable,
    .start = manual_start,
    .resolve_now = manual_resolve_now,
    .close = manual_close,
    .reset_backoff = manual_reset_backoff,
};

static evener_status_code manual_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                       evener_resolver **resolver, evener_status *status)
{
    evener_manual_resolver *manual = builder->user_data;
    if (evener_fork_is_older(manual->fork_generation)) {
        return evener_fork_refuse(status, "manual resolver");
    }
    struct instance *instance = calloc(1, sizeof *instance);
    if (instance == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "manual resolver: out of memory");
    }
    instance->base.vtable = &manual_vtable;
    instance->manual = manual;
    instance->sink = args->sink;
    instance->loop = args->loop;
    instance->task = (evener_task)EVENER_TASK_INIT(instance_run, instance);
    evener_retry_init(&instance->refused, args->loop, deliver_again, instance);
    manual_ref(manual);
    *resolver = &instance->base;
    return EVENER_STATUS_OK;
}

static void builder_ref(const evener_resolver_builder *builder)
{
    manual_ref(builder->user_data);
}

static void builder_unref(const evener_resolver_builder *builder)
{
    manual_unref(builder->user_data);
}

/* ---- public functions ---- */

static evener_status_code check_scheme(const char *scheme, evener_status *status)
{
    if (scheme == NULL || scheme[0] < 'a' || scheme[0] > 'z' ||
        scheme[strspn(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.")] != '\0') {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "manual resolver: \"%.40s\" is no scheme; take a letter, then letters, digits, '+', "
                                 "'-' and '.', all in lower case",
                                 scheme != NULL ? scheme : "(null)");
    }
    return EVENER_STATUS_OK;
}

evener_status_code evener_manual_resolver_create(const char *scheme, evener_manual_resolver **out,
                                                 evener_status *status)
{
    const evener_status_code code = check_scheme(scheme, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (out == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "manual resolver: where to store the handle is NULL");
    }
    evener_manual_resolver *manual = calloc(1, sizeof *manual + strlen(scheme) + 1);
    if (manual == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "manual resolver: out of memory");
    }
    pthread_mutex_init(&manual->lock, NULL); /* default attributes: cannot fail in glibc */
    atomic_init(&manual->references, 1);
    manual->fork_generation = evener_fork_generation;
    memcpy(manual->scheme, scheme, strlen(scheme) + 1);
    manual->builder = (evener_resolver_builder){
        .size = sizeof manual->builder,
        .scheme = manual->scheme,
        .build = manual_build,
        .user_data = manual,
        .ref = builder_ref,
        .unref = builder_unref,
    };
    *out = manual;
    return EVENER_STATUS_OK;
}

const evener_resolver_builder *evener_manual_resolver_builder(evener_manual_resolver *manual)
{
    return &manual->builder;
}

static evener_status_code check_update(const evener_manual_resolver *manual, const evener_resolver_update *given,
                                       evener_resolver_update *update, evener_status *status)
{
    if (manual == NULL || given == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "manual resolver: the %s is NULL",
                                 manual == NULL ? "handle" : "update");
    }
    if (evener_fork_is_older(manual->fork_generation)) {
        return evener_fork_refuse(status, "manual resolver");
    }
    const evener_status_code code =
        evener_options_read(update, sizeof *update, given, "manual resolver: update", "evener_resolver_update", status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (update->address_count > EVENER_RESOLVER_ADDRESSES_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "manual resolver: %zu addresses; at most %d",
                                 update->address_count, EVENER_RESOLVER_ADDRESSES_MAX);
    }
    if (update->address_count > 0 && update->addresses == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "manual resolver: %zu addresses, but the list of them is NULL", update->address_count);
    }
    for (size_t i = 0; i < update->address_count; i++) {
        if (update->addresses[i] == NULL) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "manual resolver: address %zu of %zu is NULL", i + 1, update->address_count);
        }
    }
    return EVENER_STATUS_OK;
}

evener_status_code evener_manual_resolver_update(evener_manual_resolver *manual, const evener_resolver_update *given,
                                                 evener_status *status)
{
    evener_resolver_update update = {0};
    const evener_status_code code = check_update(manual, given, &update, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    struct snapshot *snapshot = snapshot_create(&update);
    if (snapshot == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                                 "manual resolver: out of memory for %zu addresses", update.address_count);
    }
    pthread_mutex_lock(&manual->lock);
    struct snapshot *replaced = manual->snapshot;
    manual->snapshot = snapshot;
    manual->snapshot_number = ++manual->pushes;
    manual->error_number = 0;
    notify(manual);
    pthread_mutex_unlock(&manual->lock);
    snapshot_unref(replaced);
    return EVENER_STATUS_OK;
}

evener_status_code evener_manual_resolver_set(evener_manual_resolver *manual, const char *addresses,
                                              const char *service_config, evener_status *status)
{
    if (manual == NULL || addresses == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "manual resolver: the %s is NULL",
                                 manual == NULL ? "handle" : "list");
    }
    evener_list list = EVENER_LIST_INIT;
    evener_status_code code = evener_list_parse(&list, "manual resolver", addresses, status);
    if (code == EVENER_STATUS_OK) {
        const evener_resolver_update update = {
            .size = sizeof update,
            .addresses = list.addresses,
            .address_count = list.count,
            .service_config = service_config,
            .source = "manual",
        };
        code = evener_manual_resolver_update(manual, &update, status);
    }
    evener_list_clear(&list);
    return code;
}

void evener_manual_resolver_error(evener_manual_resolver *manual, const evener_status *error)
{
    if (manual == NULL || error == NULL || evener_fork_is_older(manual->fork_generation)) {
        return;
    }
    pthread_mutex_lock(&manual->lock);
    manual->error = *error;
    manual->error_number = ++manual->pushes;
    notify(manual);
    pthread_mutex_unlock(&manual->lock);
}

uint64_t evener_manual_resolver_resolve_now_count(const evener_manual_resolver *manual)
{
    return atomic_load_explicit(&manual->resolve_now_count, memory_order_relaxed); /* a counter */
}

void evener_manual_resolver_destroy(evener_manual_resolver *manual)
{
    manual_unref(manual);
}
