/* IMPLEMENTATION NOTES
 *
 *   front       a channel's transport. Its vtable has the real transport's functions for what picks and calls use
 *   shared      the transport behind all fronts with equal arguments; counted by fronts and connections
 *   place       an address: the peers with that address
 *   peer        a backend of a shared transport: its backoff, and the connection that channels join
 *   connection  an attempt to connect and its connection; counted by members
 *   member      what one link of a channel holds
 *
 * The list of shared transports is the process's, under a mutex, as channels are created on any thread. Everything else
 * belongs to the control thread. New settings or credentials of a channel exchange what is behind its front: further
 * attempts go to another shared transport, and the channel's connections stay members of theirs until their successors
 * are READY. */
#include "lb/backend/shared_transport.h"

#include <pthread.h>
#include <stdlib.h>

#include "lb/backend/shared.h"
#include "lb/base/credentials.h"
#include "lb/base/fork.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static evener_shared *all; /* guarded by mutex */

/* The parent's are used by none of the child's runtimes. */
static void forget_all(void)
{
    all = NULL;
}

EVENER_FORK_LOCK(mutex, EVENER_FORK_OBJECTS, forget_all)

/* ---- shared transports ---- */

static bool same_credentials(const evener_credentials *a, const evener_credentials *b)
{
    if (a == b) {
        return true;
    }
    if (a == NULL || b == NULL || evener_credentials_get_kind(a) != evener_credentials_get_kind(b)) {
        return false;
    }
    switch (evener_credentials_get_kind(a)) {
    case EVENER_CREDENTIALS_INSECURE:
        return true;
    case EVENER_CREDENTIALS_TLS: {
        const evener_tls_options *first = evener_credentials_tls(a);
        const evener_tls_options *second = evener_credentials_tls(b);
        return evener_shared_same_text(first->root_certificates, second->root_certificates) &&
               evener_shared_same_text(first->certificate_chain, second->certificate_chain) &&
               evener_shared_same_text(first->private_key, second->private_key);
    }
    case EVENER_CREDENTIALS_FOREIGN:
        break; /* cannot be compared */
    }
    return false;
}

static bool is_for(const evener_shared *self, const evener_transport_factory *factory,
                   const evener_transport_args *args, bool target_matters)
{
    const evener_transport_args *own = &self->args;
    return self->factory == factory && own->runtime == args->runtime && self->target_matters == target_matters &&
           own->keepalive_time_ms == args->keepalive_time_ms &&
           own->keepalive_timeout_ms == args->keepalive_timeout_ms &&
           own->ignore_http_proxy == args->ignore_http_proxy &&
           own->keepalive_permit_without_calls == args->keepalive_permit_without_calls &&
           own->header_list_bytes_max == args->header_list_bytes_max && own->io_threads == args->io_threads &&
           own->receive_bytes_max == args->receive_bytes_max &&
           evener_shared_same_text(own->user_agent, args->user_agent) &&
           (!target_matters || evener_shared_same_text(own->target, args->target)) &&
           same_credentials(own->credentials, args->credentials);
}

static void destroy_real(void *arg)
{
    evener_transport *real = arg;
    if (real->vtable->destroy != NULL) {
        real->vtable->destroy(real);
    }
}

/* All but the real transport. Any thread. */
static void free_shared(evener_shared *self)
{
    evener_address_table_clear(&self->places);
    evener_credentials_destroy((evener_credentials *)self->args.credentials);
    free((char *)self->args.user_agent);
    free((char *)self->args.target);
    free(self);
}

static evener_status_code no_memory(evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "transport: out of memory");
}

static evener_status_code check_real(const evener_transport *real, evener_status *status)
{
    if (real->vtable->connection_ref != NULL) {
        return EVENER_STATUS_OK;
    }
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                             "transport: its factory has shares_connections, which needs connection_ref");
}

static evener_status_code create_shared(const evener_transport_factory *factory, const evener_transport_args *args,
                                        bool target_matters, evener_shared **made, evener_status *status)
{
    evener_shared *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return no_memory(status);
    }
    self->places = (evener_address_table)EVENER_ADDRESS_TABLE_INIT(evener_shared_place, table_next, address, table_tag);
    self->references = 1;
    self->factory = factory;
    self->target_matters = target_matters;
    self->args = *args;
    self->has_grpc_args = args->grpc_args != NULL;
    self->args.grpc_args = NULL;
    self->args.credentials = args->credentials != NULL ? evener_credentials_ref(args->credentials) : NULL;
    self->args.user_agent = args->user_agent != NULL ? strdup(args->user_agent) : NULL;
    self->args.target = args->target != NULL ? strdup(args->target) : NULL;
    const bool copied = (self->args.user_agent != NULL) == (args->user_agent != NULL) &&
                        (self->args.target != NULL) == (args->target != NULL);
    evener_status_code code = copied ? factory->create(args, &self->real, status) : no_memory(status);
    if (code == EVENER_STATUS_OK) {
        code = check_real(self->real, status);
        if (code != EVENER_STATUS_OK) {
            evener_runtime_call(args->runtime, destroy_real, self->real);
        }
    }
    if (code != EVENER_STATUS_OK) {
        free_shared(self);
        return code;
    }
    *made = self;
    return EVENER_STATUS_OK;
}

/* Take a reference of the one in the list. The mutex is held. */
static evener_shared *find_shared(const evener_transport_factory *factory, const evener_transport_args *args,
                                  bool target_matters)
{
    evener_shared *self = all;
    while (self != NULL && !is_for(self, factory, args, target_matters)) {
        self = self->next;
    }
    if (self != NULL) {
        self->references++;
    }
    return self;
}

/* Create the transport without the mutex: that may take long, and other locks. */
static evener_status_code obtain_shared(const evener_transport_factory *factory, const evener_transport_args *args,
                                        bool alone, evener_shared **found, evener_status *status)
{
    const bool target_matters = factory->uses_target == NULL || factory->uses_target(args);
    alone = alone || args->grpc_args != NULL; /* which cannot be compared */
    evener_shared *self = NULL;
    if (!alone) {
        (void)pthread_mutex_lock(&mutex);
        self = find_shared(factory, args, target_matters);
        (void)pthread_mutex_unlock(&mutex);
    }
    if (self != NULL) {
        *found = self;
        return EVENER_STATUS_OK;
    }
    evener_shared *made = NULL;
    const evener_status_code code = create_shared(factory, args, target_matters, &made, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    made->is_alone = alone;
    if (!alone) {
        (void)pthread_mutex_lock(&mutex);
        self = find_shared(factory, args, target_matters); /* which another thread has created meanwhile */
        if (self == NULL) {
            made->next = all;
            all = made;
        }
        (void)pthread_mutex_unlock(&mutex);
    }
    if (self != NULL) {
        evener_runtime_call(args->runtime, destroy_real, made->real);
        free_shared(made);
        made = self;
    }
    *found = made;
    return EVENER_STATUS_OK;
}

void evener_shared_ref(evener_shared *shared)
{
    (void)pthread_mutex_lock(&mutex);
    shared->references++;
    (void)pthread_mutex_unlock(&mutex);
}

void evener_shared_unref(evener_shared *shared)
{
    (void)pthread_mutex_lock(&mutex);
    const bool last = --shared->references == 0;
    if (last && !shared->is_alone) {
        evener_shared **place = &all;
        while (*place != shared) {
            place = &(*place)->next;
        }
        *place = shared->next;
    }
    (void)pthread_mutex_unlock(&mutex);
    if (last) {
        evener_shared_clear_places(shared);
        destroy_real(shared->real);
        free_shared(shared);
    }
}

static void unref_on_control_thread(void *arg)
{
    evener_shared_unref(arg);
}

/* ---- fronts ---- */

static void enlist(evener_shared_front *self)
{
    if (!self->is_listed) {
        LIST_INSERT_HEAD(&self->now->fronts, self, of_shared);
        self->is_listed = true;
    }
}

static void delist(evener_shared_front *self)
{
    if (self->is_listed) {
        LIST_REMOVE(self, of_shared);
        self->is_listed = false;
        if (LIST_EMPTY(&self->now->fronts)) {
            evener_shared_release_kept(self->now);
        }
    }
}

static evener_status_code front_connect(evener_transport *base, const evener_connect_args *args,
                                        evener_connection **made, evener_status *status)
{
    evener_shared_front *self = (evener_shared_front *)base;
    enlist(self);
    evener_shared_member *member = NULL;
    const evener_status_code code =
        evener_shared_connect(self->now, (const evener_shared_connect_args *)args, &member, status);
    if (code == EVENER_STATUS_OK) {
        *made = (evener_connection *)(void *)member;
    }
    return code;
}

static void front_disconnect(evener_transport *base, evener_connection *given)
{
    (void)base;
    evener_shared_disconnect((evener_shared_member *)(void *)given);
}

static evener_status_code front_watch_health(evener_transport *base, evener_connection *given, const char *service,
                                             void (*health_changed)(void *arg, evener_connectivity_state health,
                                                                    const evener_status *status),
                                             void *arg)
{
    (void)base;
    return evener_shared_watch_health((evener_shared_member *)(void *)given, service, health_changed, arg);
}

static void front_destroy(evener_transport *base)
{
    evener_shared_front *self = (evener_shared_front *)base;
    delist(self);
    evener_shared_unref(self->now);
    free(self);
}

/* Let the transport that makes the connections from now on know what servers have asked the former one for. */
static void inherit(const evener_shared *to, const evener_shared *from)
{
    const evener_transport_vtable *vtable = to->real->vtable;
    if (to != from && EVENER_SHARED_HAS(vtable, inherit)) {
        vtable->inherit(to->real, from->real);
    }
}

/* Put a transport in force for the front. */
static void set_now(evener_shared_front *self, evener_shared *now)
{
    const evener_transport *real = now->real;
    self->now = now;
    __atomic_store_n(&self->verifies_names, real->vtable->verifies_names != NULL && real->vtable->verifies_names(real),
                     __ATOMIC_RELAXED);
}

static void front_exchange_settings(evener_transport *a, evener_transport *b)
{
    evener_shared_front *first = (evener_shared_front *)a;
    evener_shared_front *second = (evener_shared_front *)b;
    if (first->now == second->now) {
        return; /* nothing that connections depend on has changed */
    }
    delist(first);
    delist(second);
    evener_shared *now = first->now;
    set_now(first, second->now);
    set_now(second, now);
    inherit(first->now, now);
}

static evener_status_code front_set_credentials(evener_transport *base, const evener_credentials *credentials,
                                                evener_status *status)
{
    evener_shared_front *self = (evener_shared_front *)base;
    evener_shared *before = self->now;
    const evener_transport_vtable *vtable = before->real->vtable;
    if (before->has_grpc_args) {
        if (!EVENER_SHARED_HAS(vtable, set_credentials)) {
            return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                                     "credentials: the transport cannot replace them");
        }
        const evener_status_code code = vtable->set_credentials(before->real, credentials, status);
        if (code == EVENER_STATUS_OK) {
            evener_shared_join_no_more(before);
            set_now(self, before);
        }
        return code;
    }
    evener_transport_args args = before->args;
    args.credentials = credentials;
    evener_shared *after = NULL;
    const evener_status_code code = obtain_shared(before->factory, &args, before->is_alone, &after, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (after != before) {
        delist(self);
        inherit(after, before);
        set_now(self, after);
    }
    evener_shared_unref(before); /* of the two references to the same one it keeps one */
    return code;
}

static bool front_verifies_names(const evener_transport *base)
{
    return __atomic_load_n(&((const evener_shared_front *)base)->verifies_names, __ATOMIC_RELAXED);
}

/* One table per real transport's table, so that equal kinds of transports have equal tables. Kept for the process. */
typedef struct front_table {
    evener_transport_vtable vtable;
    const evener_transport_vtable *real;
    struct front_table *next;
} front_table;

static front_table *tables; /* guarded by mutex */

static void fill_table(front_table *table, const evener_transport_vtable *real)
{
    table->real = real;
    table->vtable = (evener_transport_vtable){
        .size = sizeof table->vtable,
        .connect = front_connect,
        .disconnect = front_disconnect,
        .connection_ref = real->connection_ref,
        .connection_unref = real->connection_unref,
        .watch_health = real->watch_health != NULL ? front_watch_health : NULL,
        .destroy = front_destroy,
        .exchange_settings = front_exchange_settings,
        .verifies_names = front_verifies_names,
        .calls = EVENER_SHARED_HAS(real, calls) ? real->calls : NULL,
        .connection_takes_calls = EVENER_SHARED_HAS(real, connection_takes_calls) ? real->connection_takes_calls : NULL,
        .set_credentials = front_set_credentials,
    };
}

static const evener_transport_vtable *obtain_table(const evener_transport_vtable *real)
{
    (void)pthread_mutex_lock(&mutex);
    front_table *table = tables;
    while (table != NULL && table->real != real) {
        table = table->next;
    }
    if (table == NULL) {
        table = calloc(1, sizeof *table);
        if (table != NULL) {
            fill_table(table, real);
            table->next = tables;
            tables = table;
        }
    }
    (void)pthread_mutex_unlock(&mutex);
    return table != NULL ? &table->vtable : NULL;
}

bool evener_shared_transport_is_front(const evener_transport *transport)
{
    return transport->vtable->connect == front_connect;
}

bool evener_shared_transport_is_possible(const evener_transport_factory *factory)
{
    const size_t end = offsetof(evener_transport_factory, shares_connections) + sizeof factory->shares_connections;
    return factory->size >= end && factory->shares_connections;
}

evener_status_code evener_shared_transport_create(const evener_transport_factory *factory,
                                                  const evener_transport_args *args, bool alone,
                                                  evener_transport **transport, evener_status *status)
{
    evener_shared_front *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return no_memory(status);
    }
    evener_shared *now = NULL;
    const evener_status_code code = obtain_shared(factory, args, alone, &now, status);
    if (code != EVENER_STATUS_OK) {
        free(self);
        return code;
    }
    set_now(self, now);
    self->base.vtable = obtain_table(self->now->real->vtable);
    if (self->base.vtable == NULL) {
        evener_runtime_call(args->runtime, unref_on_control_thread, self->now);
        free(self);
        return no_memory(status);
    }
    *transport = &self->base;
    return evener_status_clear(status);
}

void evener_shared_transport_on_recovery(evener_transport *transport,
                                         void (*recovered)(void *arg, const evener_address *address), void *arg)
{
    if (evener_shared_transport_is_front(transport)) {
        evener_shared_front *self = (evener_shared_front *)transport;
        self->recovered = recovered;
        self->recovered_arg = arg;
    }
}

bool evener_shared_transport_set_connections_max(evener_transport *transport, uint32_t max)
{
    if (!evener_shared_transport_is_front(transport)) {
        return false;
    }
    evener_shared_front *self = (evener_shared_front *)transport;
    if (self->connections_max != max) {
        self->connections_max = max;
        evener_shared_consider_all(self->now);
    }
    return EVENER_SHARED_HAS(self->now->real->vtable, calls_wait);
}

evener_connection *evener_shared_transport_resolve(const evener_transport *transport, evener_connection *connection)
{
    return evener_shared_transport_is_front(transport) ? ((evener_shared_member *)(void *)connection)->connection->real
                                                       : connection;
}
