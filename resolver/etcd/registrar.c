/* Registration of a server: a key with a lease.
 *
 *     phase      what is under way             leaves for
 *     GRANTING   LeaseGrant                    PUTTING, WAITING (failed)
 *     PUTTING    Put                           ALIVE, WAITING (failed)
 *     ALIVE      keep-alives, each third of    PUTTING (the key is gone), GRANTING (the lease is gone)
 *                the TTL; a look at the key
 *     WAITING    retry_timer                   GRANTING, PUTTING (there is a lease)
 *     STOPPING   LeaseRevoke                   the end
 *
 * A stream of keep-alives that ends, or whose member is silent for half of the TTL, is opened again, at another member
 * if there is one; the lease counts as lost when etcd says so, or has confirmed it
 * for the last time longer ago than the TTL. Then the key is put with a new lease. A key that somebody has deleted is
 * put again with the same lease (as go-zero does). Everything runs on the control thread. */
#include <evener/etcd.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <evener/backoff.h>
#include <evener/log.h>

#include "lb/base/fork.h"
#include "lb/base/memory.h"
#include "lb/base/options.h"
#include "lb/runtime/clock.h"
#include "lb/runtime/runtime_internal.h"
#include "lb/runtime/uncancelled.h"
#include "resolver/etcd/client.h"

#define DEFAULT_TTL_S 10
#define TTL_S_MAX 3600
#define DEFAULT_UNREGISTER_MS 3000
#define BACKOFF_INITIAL_MS 200

typedef enum phase {
    GRANTING,
    PUTTING,
    ALIVE,
    WAITING,
    STOPPING,
} phase;

/* The stream of keep-alives. */
typedef struct keep_alives {
    evener_etcd_stream stream;
    evener_etcd_registration *owner;
    evener_etcd_lease_response response;
    bool good;
} keep_alives;

struct evener_etcd_registration {
    evener_etcd_shared_options *shared;
    evener_runtime *runtime;
    evener_loop *loop;
    evener_etcd_client *client;
    char *address, *id;
    evener_attribute *attributes;
    size_t attribute_count;
    int64_t ttl_s;
    void (*changed)(void *arg, evener_etcd_state state, const evener_status *status);
    void *arg;
    _Atomic uint32_t state;
    _Atomic(char *) key;
    char **former_keys; /* go-zero: of former leases; kept until the end, as the program may hold them */
    size_t former_count;
    char *value;

    phase phase;
    evener_etcd_operation operation; /* one at a time */
    bool busy;
    evener_etcd_lease_response response; /* of the operation */
    uint64_t key_count;
    bool is_look;          /* the operation looks whether the key is there */
    int64_t lease;         /* the last one, to be revoked in the end; 0: none */
    bool lease_is_good;    /* nothing says that it has ended */
    uint64_t confirmed_ns; /* etcd confirmed the lease for the last time */
    keep_alives *keep_alives;
    evener_timer tick_timer, retry_timer;
    evener_backoff backoff;
    evener_status last;
    pthread_mutex_t stop_mutex;
    pthread_cond_t stop_changed; /* waits by CLOCK_MONOTONIC */
    bool is_stopped;             /* under stop_mutex */
    bool frees_itself;           /* nobody waits for the end */
    bool gave_up;                /* the time to unregister is over: no further operation starts, nothing is reported */
};

static const char *members_of(const evener_etcd_registration *self)
{
    return self->shared->options.members;
}

static void notify(evener_etcd_registration *self, evener_etcd_state state, const evener_status *status)
{
    atomic_store_explicit(&self->state, state, memory_order_release); /* pairs with the acquire of the getter */
    self->last = *status;
    evener_log(status->code == EVENER_STATUS_OK ? EVENER_LOG_INFO : EVENER_LOG_WARNING, "etcd",
               "%s: registration of %s in %s: %s%s%s", members_of(self), self->address,
               self->shared->options.layout.prefix,
               state == EVENER_ETCD_REGISTERED ? "done"
               : state == EVENER_ETCD_REMOVED  ? "removed"
                                               : "under way",
               status->code == EVENER_STATUS_OK ? "" : ": ", status->message);
    if (self->changed != NULL) {
        self->changed(self->arg, state, status);
    }
}

/* ---- operations ---- */

static void operation_done(evener_etcd_operation *operation);
static void grant(evener_etcd_registration *self);

static evener_status_code decode_lease(evener_etcd_operation *operation, const evener_bytes *response,
                                       evener_status *status)
{
    evener_etcd_registration *self = EVENER_CONTAINER_OF(operation, evener_etcd_registration, operation);
    return evener_etcd_lease_parse(response, &self->response) && self->response.lease != 0
               ? EVENER_STATUS_OK
               : evener_status_set(status, EVENER_STATUS_INTERNAL, "the answer has no lease");
}

static bool visit_key(void *arg, const evener_etcd_key_value *kv)
{
    (void)kv;
    ++*(uint64_t *)arg;
    return true;
}

static evener_status_code decode_look(evener_etcd_operation *operation, const evener_bytes *response,
                                      evener_status *status)
{
    evener_etcd_registration *self = EVENER_CONTAINER_OF(operation, evener_etcd_registration, operation);
    evener_etcd_range_response range;
    self->key_count = 0;
    return evener_etcd_range_parse(response, &range, visit_key, &self->key_count)
               ? EVENER_STATUS_OK
               : evener_status_set(status, EVENER_STATUS_INTERNAL, "the answer is malformed");
}

static void start_operation(evener_etcd_registration *self, const char *method, evener_bytes *request,
                            evener_status_code (*decode)(evener_etcd_operation *, const evener_bytes *,
                                                         evener_status *))
{
    self->operation =
        (evener_etcd_operation){.method = method, .request = *request, .decode = decode, .done = operation_done};
    self->busy = true;
    evener_etcd_client_start(self->client, &self->operation);
}

static void stop_keep_alives(evener_etcd_registration *self)
{
    evener_timer_stop(self->loop, &self->tick_timer);
    if (self->keep_alives != NULL) {
        evener_etcd_stream_detach(&self->keep_alives->stream);
        self->keep_alives = NULL;
    }
}

static void failed(evener_etcd_registration *self, const evener_status *status)
{
    const evener_backoff_options backoff = {
        .size = sizeof backoff, .initial_ms = BACKOFF_INITIAL_MS, .max_ms = self->shared->options.backoff_max_ms};
    stop_keep_alives(self);
    self->phase = WAITING;
    evener_timer_start(self->loop, &self->retry_timer, evener_backoff_next_ns(&self->backoff, &backoff, self->loop));
    notify(self, EVENER_ETCD_REGISTERING, status);
}

static void no_memory(evener_etcd_registration *self)
{
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    failed(self, &status);
}

/* ---- the key ---- */

/* Make key and value for the lease. False: it has failed. */
static bool make_entry(evener_etcd_registration *self)
{
    char lease_id[24];
    char *key = NULL;
    char *value = NULL;
    evener_status status;
    snprintf(lease_id, sizeof lease_id, "%" PRId64, self->lease);
    const bool of_lease = self->id == NULL && self->shared->options.layout.kind == EVENER_ETCD_LAYOUT_GO_ZERO;
    char *old = atomic_load_explicit(&self->key, memory_order_relaxed);
    if (old != NULL && !of_lease) {
        return true;
    }
    if (evener_etcd_layout_write(&self->shared->options.layout,
                                 of_lease           ? lease_id
                                 : self->id != NULL ? self->id
                                                    : self->address,
                                 self->address, self->attributes, self->attribute_count, &key, &value,
                                 &status) != EVENER_STATUS_OK) {
        failed(self, &status);
        return false;
    }
    if (old != NULL && strcmp(old, key) == 0) { /* the same lease */
        free(key);
        free(value);
        return true;
    }
    if (old != NULL) {
        char **grown = realloc(self->former_keys, (self->former_count + 1) * sizeof *grown);
        if (grown == NULL) {
            free(key);
            free(value);
            no_memory(self);
            return false;
        }
        grown[self->former_count++] = old;
        self->former_keys = grown;
    }
    atomic_store_explicit(&self->key, key, memory_order_release); /* pairs with the acquire of the getter */
    free(self->value);
    self->value = value;
    return true;
}

static evener_etcd_span span_of(const char *text)
{
    return (evener_etcd_span){(const uint8_t *)text, strlen(text)};
}

static void put(evener_etcd_registration *self)
{
    evener_bytes request;
    self->phase = PUTTING;
    if (!make_entry(self)) {
        return;
    }
    const char *key = atomic_load_explicit(&self->key, memory_order_relaxed);
    if (!evener_etcd_put_request(span_of(key), span_of(self->value), self->lease, &request)) {
        no_memory(self);
        return;
    }
    start_operation(self, EVENER_ETCD_PUT, &request, NULL);
}

static void grant(evener_etcd_registration *self)
{
    evener_bytes request;
    stop_keep_alives(self);
    self->phase = GRANTING;
    self->lease_is_good = false;
    if (!evener_etcd_lease_grant_request(self->ttl_s, &request)) {
        no_memory(self);
        return;
    }
    start_operation(self, EVENER_ETCD_LEASE_GRANT, &request, decode_lease);
}

/* Try again after a failure; with the lease that there is, as each further one would live for its TTL. */
static void try_again(evener_etcd_registration *self)
{
    if (self->lease_is_good) {
        put(self);
    } else {
        grant(self);
    }
}

static void retry(void *arg)
{
    evener_etcd_registration *self = arg;
    if (!self->busy) { /* otherwise operation_done() goes on */
        try_again(self);
    }
}

/* ---- keep-alives ---- */

static void lease_is_lost(evener_etcd_registration *self, const char *reason)
{
    evener_status status;
    self->lease_is_good = false;
    evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "the lease is lost: %s", reason);
    failed(self, &status);
}

static void decode_keep_alive(evener_etcd_stream *stream, const evener_bytes *message)
{
    keep_alives *alive = EVENER_CONTAINER_OF(stream, keep_alives, stream);
    alive->good = evener_etcd_lease_parse(message, &alive->response);
}

static void keep_alive_answered(evener_etcd_stream *stream)
{
    keep_alives *alive = EVENER_CONTAINER_OF(stream, keep_alives, stream);
    evener_etcd_registration *self = alive->owner;
    if (alive->good && alive->response.ttl_s > 0) {
        self->confirmed_ns = evener_loop_now_ns(self->loop);
        evener_backoff_reset(&self->backoff);
        evener_etcd_stream_next(stream);
    } else {
        lease_is_lost(self, alive->good ? "etcd does not know it any more" : "an answer is malformed");
    }
}

static void keep_alives_ended(evener_etcd_stream *stream)
{
    keep_alives *alive = EVENER_CONTAINER_OF(stream, keep_alives, stream);
    evener_log(EVENER_LOG_DEBUG, "etcd", "%s: keep-alives have ended: %s", members_of(alive->owner),
               stream->status.message);
    if (stream->status.code == EVENER_STATUS_PERMISSION_DENIED || evener_etcd_is_token_refused(&stream->status)) {
        evener_etcd_client_drop_token(alive->owner->client);
    }
    alive->owner->keep_alives = NULL; /* the next tick opens another one */
    evener_timer_start(alive->owner->loop, &alive->owner->tick_timer, BACKOFF_INITIAL_MS * EVENER_NS_PER_MS);
}

static void keep_alives_release(evener_etcd_stream *stream)
{
    free(EVENER_CONTAINER_OF(stream, keep_alives, stream));
}

static void send_keep_alive(evener_etcd_registration *self)
{
    evener_bytes request;
    evener_status status;
    if (!evener_etcd_lease_request(self->lease, &request)) {
        return; /* the next tick tries again */
    }
    if (self->keep_alives != NULL) {
        (void)evener_etcd_stream_send(&self->keep_alives->stream, &request); /* false: it ends, or is slow */
        return;
    }
    keep_alives *alive = calloc(1, sizeof *alive);
    if (alive == NULL) {
        evener_bytes_clear(&request);
        return;
    }
    alive->owner = self;
    alive->stream.decode = decode_keep_alive;
    alive->stream.message = keep_alive_answered;
    alive->stream.ended = keep_alives_ended;
    alive->stream.release = keep_alives_release;
    if (evener_etcd_client_open(self->client, EVENER_ETCD_LEASE_KEEP_ALIVE, &alive->stream, &request, &status) !=
        EVENER_STATUS_OK) {
        free(alive);
        return;
    }
    self->keep_alives = alive;
}

static void look(evener_etcd_registration *self)
{
    evener_bytes request;
    const evener_etcd_range range = {
        .key = span_of(atomic_load_explicit(&self->key, memory_order_relaxed)), .limit = 1, .keys_only = true};
    if (!self->busy && evener_etcd_range_request(&range, &request)) {
        self->is_look = true;
        start_operation(self, EVENER_ETCD_RANGE, &request, decode_look);
    }
}

static void tick(void *arg)
{
    evener_etcd_registration *self = arg;
    const uint64_t silent_ns = evener_loop_now_ns(self->loop) - self->confirmed_ns;
    if (silent_ns > (uint64_t)self->ttl_s * EVENER_NS_PER_S) {
        lease_is_lost(self, "etcd has not confirmed it in time");
        return;
    }
    if (self->keep_alives != NULL && silent_ns > (uint64_t)self->ttl_s * EVENER_NS_PER_S / 2) {
        /* The member has not answered since the last tick: another one may, while the lease lives. */
        evener_etcd_stream_detach(&self->keep_alives->stream);
        self->keep_alives = NULL;
    }
    send_keep_alive(self);
    look(self);
    evener_timer_start(self->loop, &self->tick_timer, (uint64_t)self->ttl_s * EVENER_NS_PER_S / 3);
}

static void is_put(evener_etcd_registration *self)
{
    evener_status good;
    evener_status_clear(&good);
    self->phase = ALIVE;
    self->confirmed_ns = evener_loop_now_ns(self->loop);
    notify(self, EVENER_ETCD_REGISTERED, &good);
    if (self->phase == ALIVE) {
        tick(self);
    }
}

/* ---- the end ---- */

static void free_registration(evener_etcd_registration *self)
{
    for (size_t i = 0; i < self->attribute_count; i++) {
        free((char *)self->attributes[i].key);
        free((char *)self->attributes[i].value);
    }
    free(self->attributes);
    free(self->address);
    free(self->id);
    free(atomic_load_explicit(&self->key, memory_order_relaxed));
    for (size_t i = 0; i < self->former_count; i++) {
        free(self->former_keys[i]);
    }
    free(self->former_keys);
    free(self->value);
    pthread_cond_destroy(&self->stop_changed);
    pthread_mutex_destroy(&self->stop_mutex);
    evener_runtime_unref(self->runtime);
    free(self);
}

/* Everything under way has ended. */
static void finish(evener_etcd_registration *self)
{
    evener_status status = self->last;
    evener_etcd_client_destroy(self->client);
    self->client = NULL;
    if (!self->gave_up) {
        notify(self, EVENER_ETCD_REMOVED, &status);
    }
    evener_etcd_shared_options_unref(self->shared);
    self->shared = NULL;
    if (self->frees_itself) {
        free_registration(self);
    } else {
        pthread_mutex_lock(&self->stop_mutex);
        self->is_stopped = true;
        pthread_cond_signal(&self->stop_changed);
        pthread_mutex_unlock(&self->stop_mutex); /* the thread that waits frees it */
    }
}

static void revoke(evener_etcd_registration *self)
{
    evener_bytes request;
    evener_status_clear(&self->last);
    if (self->lease == 0 || self->gave_up) {
        finish(self);
    } else if (evener_etcd_lease_request(self->lease, &request)) {
        self->lease = 0;
        start_operation(self, EVENER_ETCD_LEASE_REVOKE, &request, NULL);
    } else {
        evener_status_set(&self->last, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        finish(self);
    }
}

static void operation_done(evener_etcd_operation *operation)
{
    evener_etcd_registration *self = EVENER_CONTAINER_OF(operation, evener_etcd_registration, operation);
    const evener_status status = operation->status;
    const bool was_look = self->is_look;
    const bool was_revoke = strcmp(operation->method, EVENER_ETCD_LEASE_REVOKE) == 0;
    const bool was_grant = strcmp(operation->method, EVENER_ETCD_LEASE_GRANT) == 0;
    self->busy = self->is_look = false;
    if (was_grant && status.code == EVENER_STATUS_OK) {
        self->lease = self->response.lease; /* also while stopping: it is to be revoked */
        self->lease_is_good = true;
    }
    if (self->phase == STOPPING) {
        if (was_revoke) {
            self->last = status;
            if (status.code == EVENER_STATUS_NOT_FOUND) {
                evener_status_clear(&self->last); /* the lease has ended by itself */
            }
            finish(self);
        } else {
            revoke(self);
        }
    } else if (was_look) {
        if (self->phase == WAITING && !self->retry_timer.active) {
            try_again(self);
        } else if (self->phase == ALIVE && status.code == EVENER_STATUS_OK && self->key_count == 0) {
            evener_log(EVENER_LOG_WARNING, "etcd", "%s: the key of %s was deleted: it is put again", members_of(self),
                       self->address);
            evener_timer_stop(self->loop, &self->tick_timer);
            put(self);
        }
    } else if (status.code != EVENER_STATUS_OK) {
        if (status.code == EVENER_STATUS_NOT_FOUND) {
            self->lease_is_good = false; /* a Put whose lease etcd does not know */
        }
        failed(self, &status);
    } else if (self->phase == GRANTING) {
        put(self);
    } else {
        is_put(self);
    }
}

/* ---- the program's side ---- */

static void start_on_control_thread(void *arg)
{
    grant(arg);
}

static void stop_on_control_thread(void *arg)
{
    evener_etcd_registration *self = arg;
    stop_keep_alives(self);
    evener_timer_stop(self->loop, &self->retry_timer);
    self->phase = STOPPING;
    if (self->busy) {
        evener_etcd_operation_cancel(&self->operation); /* its end goes on */
    } else {
        revoke(self);
    }
}

/* What unregister() does when its time is over. */
typedef struct giving_up {
    evener_etcd_registration *registration;
    evener_status status;
} giving_up;

/* The end comes without anybody who waits, as it may take any time: the threads that it needs may all be blocked. */
static void give_up_on_control_thread(void *arg)
{
    giving_up *given = arg;
    evener_etcd_registration *self = given->registration;
    if (self->is_stopped) {
        given->status = self->last;
        free_registration(self);
        return;
    }
    evener_status_set(&given->status, EVENER_STATUS_DEADLINE_EXCEEDED,
                      "%s: not confirmed in time: the entry may stay until its lease ends, after %" PRId64 " s",
                      members_of(self), self->ttl_s);
    notify(self, EVENER_ETCD_REMOVED, &given->status);
    self->gave_up = true;
    self->frees_itself = true;
    evener_etcd_operation_cancel(&self->operation); /* it is busy, as it would have stopped otherwise */
}

static bool copy_attributes(evener_etcd_registration *self, const evener_etcd_registration_options *options)
{
    self->attributes = calloc(options->attribute_count + 1, sizeof *self->attributes);
    for (size_t i = 0; self->attributes != NULL && i < options->attribute_count; i++) {
        evener_attribute *to = &self->attributes[self->attribute_count++];
        to->key = strdup(options->attributes[i].key);
        to->value = strdup(options->attributes[i].value);
        if (to->key == NULL || to->value == NULL) {
            return false;
        }
    }
    return self->attributes != NULL;
}

static evener_status_code check_entry(const evener_etcd_registration_options *options, evener_status *status)
{
    const char *wrong = options->target == NULL    ? "target is NULL"
                        : options->address == NULL ? "address is NULL"
                        : options->id != NULL && (options->id[0] == '\0' || strchr(options->id, '/') != NULL)
                            ? "id is empty or has a '/'"
                        : options->ttl_s > TTL_S_MAX                                  ? "ttl_s is above 3600"
                        : options->attribute_count > 0 && options->attributes == NULL ? "attributes is NULL"
                        : options->resolver_option_count > 0 && options->resolver_options == NULL
                            ? "resolver_options is NULL"
                            : NULL;
    if (wrong != NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "etcd registration: %s", wrong);
    }
    evener_address *address = NULL;
    evener_status reason;
    const evener_status_code code =
        evener_address_create(options->address, options->attributes, options->attribute_count, &address, &reason);
    evener_address_unref(address);
    return code == EVENER_STATUS_OK ? code
                                    : evener_status_set(status, code, "etcd registration: address: %s", reason.message);
}

static evener_status_code read_target(const evener_etcd_registration_options *options,
                                      evener_etcd_shared_options **shared, evener_status *status)
{
    evener_target *target = NULL;
    evener_etcd_options read;
    evener_status_code code = evener_target_parse(options->target, &target, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    const evener_resolver_args args = {.size = sizeof args,
                                       .target = target,
                                       .options = options->resolver_options,
                                       .option_count = options->resolver_option_count};
    if (strcmp(evener_target_scheme(target), "etcd") != 0) {
        code = evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "etcd registration: target: \"etcd://host:2379/service\" is needed");
    } else {
        code = evener_etcd_options_read(&args, &read, status);
    }
    evener_target_destroy(target);
    if (code == EVENER_STATUS_OK && (*shared = evener_etcd_shared_options_create(&read)) == NULL) {
        evener_etcd_options_clear(&read);
        code = evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "etcd registration: out of memory");
    }
    return code;
}

/* Check that the layout can express the entry, whose lease is not known yet. */
static evener_status_code check_written(const evener_etcd_registration *self, evener_status *status)
{
    char *key = NULL;
    char *value = NULL;
    evener_status reason;
    const evener_status_code code =
        evener_etcd_layout_write(&self->shared->options.layout, self->id != NULL ? self->id : self->address,
                                 self->address, self->attributes, self->attribute_count, &key, &value, &reason);
    free(key);
    free(value);
    return code == EVENER_STATUS_OK ? code : evener_status_set(status, code, "etcd registration: %s", reason.message);
}

static evener_status_code set_up(evener_etcd_registration *self, const evener_etcd_registration_options *options,
                                 evener_status *status)
{
    evener_status_code code = read_target(options, &self->shared, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    self->address = strdup(options->address);
    self->id = options->id != NULL ? strdup(options->id) : NULL;
    if (self->address == NULL || (options->id != NULL && self->id == NULL) || !copy_attributes(self, options)) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "etcd registration: out of memory");
    }
    code = check_written(self, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (options->runtime != NULL) {
        self->runtime = evener_runtime_ref(options->runtime);
    } else {
        code = evener_runtime_default(&self->runtime, status);
    }
    if (code == EVENER_STATUS_OK) {
        self->loop = evener_runtime_loop(self->runtime);
        code = evener_etcd_client_create(&self->shared->options, self->runtime, false, &self->client, status);
    }
    return code;
}

evener_status_code evener_etcd_register(const evener_etcd_registration_options *options,
                                        evener_etcd_registration **registration, evener_status *status)
{
    evener_etcd_registration_options known;
    evener_status_code code = evener_options_read(&known, sizeof known, options, "etcd registration options",
                                                  "evener_etcd_registration_options", status);
    if (code == EVENER_STATUS_OK) {
        code = check_entry(&known, status);
    }
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    evener_etcd_registration *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "etcd registration: out of memory");
    }
    pthread_condattr_t monotonic;
    if (pthread_condattr_init(&monotonic) != 0) {
        free(self);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "etcd registration: out of memory");
    }
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&self->stop_changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&self->stop_mutex, NULL);
    self->ttl_s = known.ttl_s != 0 ? (int64_t)known.ttl_s : DEFAULT_TTL_S;
    self->changed = known.changed;
    self->arg = known.arg;
    self->tick_timer = (evener_timer)EVENER_TIMER_INIT(tick, self);
    self->retry_timer = (evener_timer)EVENER_TIMER_INIT(retry, self);
    code = set_up(self, &known, status);
    if (code != EVENER_STATUS_OK) {
        evener_etcd_shared_options_unref(self->shared);
        free_registration(self);
        return code;
    }
    *registration = self;
    evener_runtime_call(self->runtime, start_on_control_thread, self);
    return evener_status_clear(status);
}

evener_etcd_state evener_etcd_registration_state(const evener_etcd_registration *registration)
{
    return (evener_etcd_state)atomic_load_explicit(&registration->state, memory_order_acquire); /* see notify() */
}

const char *evener_etcd_registration_key(const evener_etcd_registration *registration)
{
    return atomic_load_explicit(&registration->key, memory_order_acquire); /* see make_entry() */
}

/* Wait until everything has ended, at most until `deadline` (CLOCK_MONOTONIC). Return whether it has. */
static bool wait_for_stop(evener_etcd_registration *self, const struct timespec *deadline)
{
    pthread_mutex_lock(&self->stop_mutex);
    int error = 0;
    while (!self->is_stopped && error == 0) {
        error = pthread_cond_timedwait(&self->stop_changed, &self->stop_mutex, deadline);
    }
    const bool stopped = self->is_stopped;
    pthread_mutex_unlock(&self->stop_mutex);
    return stopped;
}

evener_status_code evener_etcd_unregister(evener_etcd_registration *registration, uint64_t timeout_ms,
                                          evener_status *status)
{
    if (registration == NULL) {
        return evener_status_clear(status);
    }
    if (evener_runtime_is_older_than_fork(registration->runtime)) {
        return evener_fork_refuse(status, "etcd registration"); /* whose threads are the parent's; its memory stays */
    }
    if (evener_loop_on_control_thread(registration->loop)) {
        registration->frees_itself = true;
        stop_on_control_thread(registration);
        return evener_status_clear(status);
    }
    EVENER_UNCANCELLED; /* a thread that ended in wait_for_stop() would keep the mutex, and the control thread wait */
    const struct timespec deadline = evener_clock_deadline(timeout_ms != 0 ? timeout_ms : DEFAULT_UNREGISTER_MS);
    evener_runtime *runtime = evener_runtime_ref(registration->runtime);
    giving_up given = {.registration = registration};
    evener_runtime_call(runtime, stop_on_control_thread, registration);
    if (wait_for_stop(registration, &deadline)) {
        given.status = registration->last;
        free_registration(registration);
    } else {
        evener_runtime_call(runtime, give_up_on_control_thread, &given);
    }
    evener_runtime_unref(runtime);
    return evener_status_set(status, given.status.code, "%s", given.status.message);
}
