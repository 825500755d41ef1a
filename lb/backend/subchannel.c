/* Subchannel: a policy's handle on a backend. Notification of states, references, and the end of its memory. */
#include <evener/subchannel.h>

#include <stdlib.h>

#include <evener/log.h>

#include "lb/backend/shared_transport.h"
#include "lb/backend/subchannel_pool.h"
#include "lb/base/options.h"
#include "lb/runtime/rcu.h"

#define DATA_ALIGNMENT 64 /* evener_subchannel_options.data_bytes */
/* Arguments that are kept with their kind, per listener: kinds are searched one by one. */
#define COMMON_ARGS_MAX 8
#define RETIRE_POLL_MIN_NS (20 * EVENER_NS_PER_MS)
#define RETIRE_POLL_MAX_NS EVENER_NS_PER_S

/* ---- kinds and memory ---- */

/* Return where a body's memory begins. */
static void *memory_of(evener_subchannel_body *body)
{
    return (char *)body - body->kind->memory->body_offset;
}

/* Return where the own argument of a subchannel's listener is. */
static void **own_arg(evener_subchannel_body *body)
{
    return (void **)(void *)((char *)body - sizeof(void *));
}

/* Return the argument of the listener. */
static void *arg_of(evener_subchannel_body *body)
{
    return body->kind->has_own_args ? *own_arg(body) : body->kind->arg;
}

/* Return the slab for bodies with `data_bytes`, created if necessary; NULL on out of memory. The policy's data
 * is aligned, and the body fills the last of its cache lines. */
static evener_body_slab *body_slab_for(evener_subchannel_pool *pool, size_t data_bytes, bool has_own_args)
{
    pool->memory = pool->memory != NULL ? pool->memory : evener_pool_memory_of(pool->runtime);
    if (pool->memory == NULL) {
        return NULL;
    }
    const size_t alignment = data_bytes > 0 ? DATA_ALIGNMENT : _Alignof(evener_subchannel_body);
    const size_t body_offset =
        ((data_bytes + _Alignof(evener_subchannel_body) - 1) & ~(_Alignof(evener_subchannel_body) - 1)) +
        (has_own_args ? sizeof(void *) : 0);
    for (evener_body_slab *s = pool->memory->bodies; s != NULL; s = s->next) {
        if (s->body_offset == body_offset && s->alignment == alignment) {
            return s;
        }
    }
    evener_body_slab *made = malloc(sizeof *made);
    if (made == NULL) {
        return NULL;
    }
    *made = (evener_body_slab){
        .slab = evener_slab_for(body_offset + sizeof(evener_subchannel_body), alignment),
        .body_offset = body_offset,
        .alignment = alignment,
        .next = pool->memory->bodies,
    };
    pool->memory->bodies = made;
    return made;
}

/* Return whether two kinds differ in nothing but the listener's argument. */
static bool is_alike(const evener_subchannel_kind *a, const evener_subchannel_kind *b)
{
    return a->owner == b->owner && a->state_changed == b->state_changed && a->released == b->released &&
           a->data_destroy == b->data_destroy && a->data_bytes == b->data_bytes && a->has_own_args == b->has_own_args;
}

/* Return the kind with the members of `like`, created if necessary; NULL on out of memory. A channel has few kinds:
 * they differ by functions of a program, by policies, and by named policies. */
static evener_subchannel_kind *kind_like(const evener_subchannel_kind *like)
{
    evener_subchannel_pool *pool = like->pool;
    evener_subchannel_kind *unused = NULL;
    size_t alike = 0;
    for (evener_subchannel_kind *kind = pool->kinds; kind != NULL; kind = kind->next) {
        if (!is_alike(kind, like)) {
            continue;
        }
        if (kind->arg == like->arg) {
            return kind;
        }
        unused = kind->users == 0 ? kind : unused;
        alike++;
    }
    if (unused != NULL) { /* of a policy that ended, or whose subchannels are all named by now */
        unused->arg = like->arg;
        unused->named = NULL;
        return unused;
    }
    if (alike >= COMMON_ARGS_MAX && like->owner == NULL) {
        evener_subchannel_kind own = *like;
        own.arg = NULL;
        own.has_own_args = true;
        return kind_like(&own);
    }
    evener_body_slab *memory = body_slab_for(pool, like->data_bytes, like->has_own_args);
    evener_subchannel_kind *kind = memory != NULL ? malloc(sizeof *kind) : NULL;
    if (kind == NULL) {
        return NULL;
    }
    *kind = *like;
    kind->memory = memory;
    kind->users = 0;
    kind->named = NULL;
    kind->next = pool->kinds;
    pool->kinds = kind;
    return kind;
}

/* Give up a kind. Unnamed kinds stay, as every subchannel starts with one of them. */
static void leave_kind(evener_subchannel_kind *kind)
{
    if (--kind->users > 0 || kind->owner == NULL) {
        return;
    }
    evener_subchannel_kind **link = &kind->pool->kinds;
    while (*link != kind) {
        link = &(*link)->next;
    }
    *link = kind->next;
    for (evener_subchannel_kind *other = kind->pool->kinds; other != NULL; other = other->next) {
        other->named = other->named == kind ? NULL : other->named;
    }
    free(kind);
}

void evener_subchannel_set_owner(evener_subchannel *subchannel, const void *owner)
{
    evener_subchannel_body *body = evener_slot_body(subchannel);
    evener_subchannel_kind *kind = body->kind->named;
    if (kind == NULL || kind->owner != owner) {
        evener_subchannel_kind like = *body->kind;
        like.owner = owner;
        kind = kind_like(&like);
        body->kind->named = kind;
    }
    if (kind != NULL) {
        kind->users++;
        leave_kind(body->kind);
        body->kind = kind;
    }
}

static void destroy(evener_subchannel_body *body)
{
    evener_subchannel_kind *kind = body->kind;
    evener_subchannel_pool *pool = kind->pool;
    if (kind->data_destroy != NULL) {
        kind->data_destroy(evener_subchannel_data(body->handle));
    }
    evener_slots_give_back(pool->slots, body->handle);
    if (body->address != body->identity) {
        evener_address_unref(body->address);
    }
    evener_address_unref(body->identity);
    evener_slab_give_back(&body->kind->memory->slab, memory_of(body));
    leave_kind(kind);
    pool->subchannel_count--;
}

static void retire_poll(void *arg)
{
    evener_subchannel_pool *pool = arg;
    evener_subchannel_body **link = &pool->retired;
    while (*link != NULL) {
        evener_subchannel_body *body = *link;
        if (evener_slot_all_ended(body->handle)) {
            *link = body->queue_next;
            destroy(body);
        } else {
            link = &body->queue_next;
        }
    }
    if (evener_link_free_unused(pool, false) || pool->retired != NULL) {
        pool->retire_poll_ns *= 2;
        if (pool->retire_poll_ns > RETIRE_POLL_MAX_NS) {
            pool->retire_poll_ns = RETIRE_POLL_MAX_NS;
        }
        evener_timer_start(pool->loop, &pool->retire_timer, pool->retire_poll_ns);
    }
}

void evener_subchannel_poll_retired(evener_subchannel_pool *pool)
{
    pool->retire_poll_ns = RETIRE_POLL_MIN_NS;
    evener_timer_start(pool->loop, &pool->retire_timer, pool->retire_poll_ns);
}

static void unref(evener_subchannel_body *body)
{
    if (--body->references > 0) {
        return;
    }
    /* No picker can give it out any more, so no pick can begin. */
    if (evener_slot_all_ended(body->handle)) {
        destroy(body);
        return;
    }
    /* A done does not notify the control thread (that would be a system call), so the control thread polls. */
    evener_subchannel_pool *pool = body->kind->pool;
    body->queue_next = pool->retired;
    pool->retired = body;
    evener_subchannel_poll_retired(pool);
}

evener_subchannel *evener_subchannel_ref(evener_subchannel *subchannel)
{
    evener_slot_body(subchannel)->references++;
    return subchannel;
}

void evener_subchannel_unref(evener_subchannel *subchannel)
{
    if (subchannel != NULL) {
        unref(evener_slot_body(subchannel));
    }
}

/* ---- notification ---- */

void evener_subchannel_notify_later(evener_subchannel_body *body)
{
    if (body->to_notify) {
        return;
    }
    evener_subchannel_pool *pool = body->kind->pool;
    body->to_notify = true;
    body->references++;
    body->queue_next = NULL;
    if (pool->to_notify == NULL) {
        evener_loop_post(pool->loop, &pool->notify_task);
    }
    *pool->to_notify_tail = body;
    pool->to_notify_tail = &body->queue_next;
}

/* Store the state of which the listener is notified next. */
static void set_reported_state(evener_subchannel_body *body, evener_connectivity_state state)
{
    size_t *ready_count = &body->kind->pool->ready_count;
    const size_t others = __atomic_load_n(ready_count, __ATOMIC_RELAXED) - (body->reported_state == EVENER_READY);
    body->reported_state = (uint8_t)state;
    __atomic_store_n(ready_count, others + (state == EVENER_READY), __ATOMIC_RELAXED);
}

static void notify_one(evener_subchannel_body *body)
{
    evener_status status;
    if (body->failure_pending && body->connector != NULL) {
        body->failure_pending = false;
        const char *reason = evener_connector_last_error(body->connector);
        evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "%s: %s", evener_address_text(body->identity),
                          reason != NULL ? reason : "connection failed");
        set_reported_state(body, EVENER_TRANSIENT_FAILURE);
        body->kind->state_changed(arg_of(body), body->handle, EVENER_TRANSIENT_FAILURE, &status);
    }
    /* The listener may have released the subchannel. */
    if (body->connector == NULL) {
        return;
    }
    /* From IDLE to IDLE there was an attempt: the listener, which asked for it, has to ask again. */
    const bool is_news =
        body->connector->state != body->reported_state || (body->idle_pending && body->connector->state == EVENER_IDLE);
    body->idle_pending = false;
    if (!is_news) {
        return;
    }
    evener_status_clear(&status);
    set_reported_state(body, (evener_connectivity_state)body->connector->state);
    body->kind->state_changed(arg_of(body), body->handle, (evener_connectivity_state)body->reported_state, &status);
}

static void notify_all(void *arg)
{
    evener_subchannel_pool *pool = arg;
    evener_subchannel_body *list = pool->to_notify;
    pool->to_notify = NULL;
    pool->to_notify_tail = &pool->to_notify;
    while (list != NULL) {
        evener_subchannel_body *body = list;
        list = body->queue_next;
        body->to_notify = false;
        notify_one(body);
        unref(body);
    }
}

/* ---- the policy's functions ---- */

static evener_subchannel *take_slot(evener_subchannel_pool *pool, evener_subchannel_body *body)
{
    if (pool->slots == NULL) {
        pool->slots = evener_slots_of(pool->runtime);
    }
    return pool->slots != NULL ? evener_slots_take(pool->slots, body) : NULL;
}

evener_subchannel *evener_subchannel_pool_create_subchannel(evener_subchannel_pool *pool, const evener_address *address,
                                                            const evener_subchannel_options *given)
{
    evener_subchannel_options options;
    evener_status status;
    if (evener_options_read(&options, sizeof options, given, "subchannel options", "evener_subchannel_options",
                            &status) != EVENER_STATUS_OK) {
        evener_log(EVENER_LOG_ERROR, "policy", "%s: %s", evener_address_text(address), status.message);
        return NULL;
    }
    evener_subchannel_kind *kind = kind_like(&(evener_subchannel_kind){
        .pool = pool,
        .state_changed = options.state_changed,
        .released = options.released,
        .data_destroy = options.data_destroy,
        .data_bytes = options.data_bytes,
        .arg = options.arg_is_common ? options.arg : NULL,
        .has_own_args = !options.arg_is_common,
    });
    char *memory = kind != NULL ? evener_slab_take(&kind->memory->slab) : NULL;
    if (memory == NULL) {
        return NULL;
    }
    evener_subchannel_body *body = (evener_subchannel_body *)(void *)(memory + kind->memory->body_offset);
    evener_subchannel *handle = take_slot(pool, body);
    evener_connector *connector = handle != NULL ? evener_connector_obtain(pool, address) : NULL;
    if (connector == NULL) {
        if (handle != NULL) {
            evener_slots_give_back(pool->slots, handle);
        }
        evener_slab_give_back(&kind->memory->slab, memory);
        return NULL;
    }
    kind->users++;
    body->handle = handle;
    body->kind = kind;
    body->identity = evener_address_ref(address);
    body->address = body->identity;
    if (kind->has_own_args) {
        *own_arg(body) = options.arg;
    }
    body->references = 1;
    pool->subchannel_count++;
    evener_connector_attach(connector, body);
    return handle;
}

void evener_subchannel_connect(evener_subchannel *subchannel)
{
    evener_connector *connector = evener_slot_body(subchannel)->connector;
    if (connector != NULL) {
        evener_connector_connect(connector);
    }
}

void evener_subchannel_release(evener_subchannel *subchannel)
{
    evener_subchannel_body *body = evener_slot_body(subchannel);
    evener_connector_detach(body->connector, body);
    body->connector = NULL;
    set_reported_state(body, EVENER_SHUTDOWN);
    if (body->kind->released != NULL) {
        body->kind->released(arg_of(body), subchannel);
    }
    unref(body);
}

evener_status_code evener_subchannel_watch_health(evener_subchannel *subchannel, const char *service,
                                                  void (*health_changed)(void *arg, evener_subchannel *subchannel,
                                                                         evener_connectivity_state health,
                                                                         const evener_status *status),
                                                  void *arg, evener_status *status)
{
    evener_subchannel_body *body = evener_slot_body(subchannel);
    if (body->connector == NULL) {
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION, "%s: released",
                                 evener_address_text(body->identity));
    }
    return evener_connector_watch_health(body->connector, body, service, health_changed, arg, status);
}

evener_status_code evener_subchannel_watch_load(evener_subchannel *subchannel, uint64_t interval_ms,
                                                void (*load_reported)(void *arg, evener_subchannel *subchannel,
                                                                      const void *report, size_t report_bytes),
                                                void *arg, evener_status *status)
{
    evener_subchannel_body *body = evener_slot_body(subchannel);
    if (body->connector == NULL) {
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION, "%s: released",
                                 evener_address_text(body->identity));
    }
    return evener_connector_watch_load(body->connector, body, interval_ms, load_reported, arg, status);
}

evener_connectivity_state evener_subchannel_state(const evener_subchannel *subchannel)
{
    const evener_connector *connector = evener_slot_body(subchannel)->connector;
    return connector != NULL ? (evener_connectivity_state)connector->state : EVENER_SHUTDOWN;
}

const evener_address *evener_subchannel_address(const evener_subchannel *subchannel)
{
    return evener_slot_body(subchannel)->address;
}

void evener_subchannel_set_address(evener_subchannel *subchannel, const evener_address *address)
{
    evener_subchannel_body *body = evener_slot_body(subchannel);
    evener_address *old = body->address;
    body->address = address == body->identity ? body->identity : evener_address_ref(address);
    if (old != body->identity) {
        evener_address_unref(old);
    }
}

void *evener_subchannel_data(evener_subchannel *subchannel)
{
    evener_subchannel_body *body = evener_slot_body(subchannel);
    return body->kind->data_bytes > 0 ? memory_of(body) : NULL;
}

const char *evener_subchannel_address_text(const evener_subchannel *subchannel)
{
    return evener_address_text(evener_slot_body(subchannel)->identity);
}

bool evener_subchannel_carries_calls(const evener_subchannel *subchannel)
{
    return evener_slot_body(subchannel)->kind->pool->has_users;
}

uint64_t evener_subchannel_in_flight(const evener_subchannel *subchannel)
{
    return evener_slot_word_in_flight(evener_slot_word(subchannel));
}

/* ---- the pool ---- */

static void starved_again(void *arg)
{
    evener_connector_starved_again(arg);
}

/* Another channel's attempt has shown that the backend takes connections again: end its backoff. */
static void recovered(void *arg, const evener_address *address)
{
    const evener_subchannel_pool *pool = arg;
    evener_connector *connector = evener_subchannel_pool_find(pool, address);
    if (connector != NULL) {
        evener_connector_end_backoff(connector);
    }
}

void evener_subchannel_pool_init(evener_subchannel_pool *pool)
{
    evener_shared_transport_on_recovery(pool->transport, recovered, pool);
    pool->to_notify_tail = &pool->to_notify;
    evener_connector_prepare(pool);
    pool->notify_task = (evener_task)EVENER_TASK_INIT(notify_all, pool);
    pool->retire_timer = (evener_timer)EVENER_TIMER_INIT(retire_poll, pool);
    pool->starved_timer = (evener_timer)EVENER_TIMER_INIT(starved_again, pool);
}

void evener_subchannel_pool_clear(evener_subchannel_pool *pool)
{
    evener_timer_stop(pool->loop, &pool->retire_timer);
    evener_timer_stop(pool->loop, &pool->starved_timer);
    evener_timer_stop(pool->loop, &pool->time_out_timer);
    while (pool->retired != NULL) {
        evener_subchannel_body *body = pool->retired;
        pool->retired = body->queue_next;
        destroy(body);
    }
    (void)evener_link_free_unused(pool, true);
    while (pool->kinds != NULL) {
        evener_subchannel_kind *kind = pool->kinds;
        pool->kinds = kind->next;
        free(kind);
    }
    evener_address_table_clear(&pool->table);
}

void evener_subchannel_pool_reset_backoff(evener_subchannel_pool *pool)
{
    for (evener_connector *c = evener_address_table_first(&pool->table); c != NULL;
         c = evener_address_table_next(&pool->table, c)) {
        evener_connector_reset_backoff(c);
    }
}

void evener_subchannel_pool_renew(evener_subchannel_pool *pool, evener_address *const *addresses, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        evener_connector *connector = evener_subchannel_pool_find(pool, addresses[i]);
        if (connector != NULL && connector->generation != pool->generation) {
            evener_connector_take_authority(pool, connector);
            evener_connector_reconnect(connector);
        }
    }
}

void evener_subchannel_pool_activity(const evener_subchannel_pool *pool, uint64_t *started, uint64_t *in_flight)
{
    *started = 0;
    *in_flight = 0;
    for (const evener_subchannel_body *s = pool->retired; s != NULL; s = s->queue_next) {
        *in_flight += evener_slot_sum(s->handle).in_flight;
    }
    for (const evener_connector *c = evener_address_table_first(&pool->table); c != NULL;
         c = evener_address_table_next(&pool->table, c)) {
        for (const evener_subchannel_body *s = c->subchannels; s != NULL; s = s->connector_next) {
            const evener_slot_counts counts = evener_slot_sum(s->handle);
            *started += counts.picks;
            *in_flight += counts.in_flight;
        }
    }
}
