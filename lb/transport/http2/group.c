/* IMPLEMENTATION NOTES
 *
 * `assigned` of a member is the number of calls that were counted for it and have not ended. It is changed under the
 * group's mutex when a call is assigned, and without it when one ends. Calls from before the group are not counted: the
 * connection that they run on then seems to have more room than it has, and calls wait there until they are moved.
 *
 * A thread that ends a call lowers `assigned`, then reads `waits` of the members; the owner of a connection with waiting
 * calls sets `waits`, then reads `assigned` of the others. Both read under the mutex, so that one of them sees the
 * other: no call waits while a member has room.
 *
 * A call is moved only from the connection that its pick holds: other threads may be about to queue an operation there.
 * That operation is passed on to the call's new connection when it comes out of the old one's queue. The reference that
 * a counted call holds keeps the new one alive until the call has ended: other threads touch it only with an operation
 * that holds up the end, and a blocking caller not at all.
 *
 * Members are served by their I/O threads only (`nonblocking` is never 0): a blocking caller that serves one connection
 * could not serve the one that its call is moved to. */
#include "lb/transport/http2/group.h"

#include <stdlib.h>

struct evener_http2_group {
    _Atomic uint32_t references; /* of connections */
    pthread_mutex_t mutex;
    evener_connection *members[EVENER_HTTP2_GROUP_MAX]; /* guarded by mutex, with references; the oldest first */
    size_t count;                                       /* guarded by mutex */
};

typedef struct evener_http2_group group;

static bool has_room(const evener_connection *member)
{
    return atomic_load_explicit(&member->closed_to_calls, memory_order_relaxed) == 0 &&
           atomic_load(&member->waits) == 0 &&
           atomic_load(&member->assigned) < atomic_load_explicit(&member->streams_limit, memory_order_relaxed);
}

/* ---- members ---- */

/* Let the members' owners look for room again. */
static void nudge(group *self)
{
    pthread_mutex_lock(&self->mutex);
    for (size_t i = 0; i < self->count; i++) {
        evener_connection *member = self->members[i];
        if (atomic_load(&member->waits) != 0) {
            evener_http2_submit(member, &member->op, EVENER_HTTP2_OP_DISPATCH, true);
        }
    }
    pthread_mutex_unlock(&self->mutex);
}

static void enter(group *self, evener_connection *connection)
{
    pthread_mutex_lock(&self->mutex);
    if (self->count < EVENER_HTTP2_GROUP_MAX) {
        evener_http2_connection_ref(connection);
        self->members[self->count++] = connection;
    }
    pthread_mutex_unlock(&self->mutex);
}

static void leave(group *self, evener_connection *connection)
{
    bool found = false;
    pthread_mutex_lock(&self->mutex);
    for (size_t i = 0; i < self->count; i++) {
        found = found || self->members[i] == connection;
        if (found && i + 1 < self->count) {
            self->members[i] = self->members[i + 1];
        }
    }
    self->count -= found;
    pthread_mutex_unlock(&self->mutex);
    if (found) {
        evener_http2_connection_unref(connection);
    }
}

static group *create(evener_connection *first)
{
    group *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    atomic_init(&self->references, 1);
    pthread_mutex_init(&self->mutex, NULL);
    (void)atomic_fetch_add(&first->nonblocking, 1);
    enter(self, first);
    atomic_store(&first->group, self);
    /* Sequentially consistent: either this sees that it takes no calls any more, or its owner sees the group. */
    if (atomic_load(&first->closed_to_calls) != 0) {
        leave(self, first);
    }
    evener_http2_wake_owner(first);
    return self;
}

bool evener_http2_group_join(evener_connection *connection, evener_connection *beside)
{
    group *self = evener_http2_group_of(beside);
    if (self == NULL) {
        self = create(beside);
    }
    if (self == NULL) {
        return false;
    }
    (void)atomic_fetch_add(&self->references, 1);
    (void)atomic_fetch_add(&connection->nonblocking, 1);
    atomic_store(&connection->group, self);
    return true;
}

void evener_http2_group_opened(evener_connection *connection)
{
    group *self = evener_http2_group_of(connection);
    if (self != NULL) {
        enter(self, connection);
        nudge(self);
    }
}

void evener_http2_group_leave(evener_connection *connection)
{
    group *self = atomic_load(&connection->group);
    if (self != NULL) {
        leave(self, connection);
    }
}

void evener_http2_group_limit_changed(evener_connection *connection)
{
    group *self = evener_http2_group_of(connection);
    if (self != NULL) {
        nudge(self);
    }
}

void evener_http2_group_unref(group *self)
{
    if (self != NULL && atomic_fetch_sub(&self->references, 1) == 1) {
        pthread_mutex_destroy(&self->mutex);
        free(self);
    }
}

/* ---- calls ---- */

/* Return the oldest member with room; NULL: there is none. The mutex is held. */
static evener_connection *oldest_with_room(const group *self)
{
    for (size_t i = 0; i < self->count; i++) {
        if (has_room(self->members[i])) {
            return self->members[i];
        }
    }
    return NULL;
}

/* Return the oldest member that takes calls, whose queue is the group's; NULL: there is none. The mutex is held. */
static evener_connection *head_of(const group *self)
{
    for (size_t i = 0; i < self->count; i++) {
        if (atomic_load_explicit(&self->members[i]->closed_to_calls, memory_order_relaxed) == 0) {
            return self->members[i];
        }
    }
    return NULL;
}

static void assign(evener_connection *carrier)
{
    evener_http2_connection_ref(carrier);
    (void)atomic_fetch_add(&carrier->assigned, 1);
}

evener_connection *evener_http2_group_choose(evener_connection *connection)
{
    group *self = evener_http2_group_of(connection);
    pthread_mutex_lock(&self->mutex);
    evener_connection *head = head_of(self);
    /* Calls that wait come first. */
    const bool in_order = head != NULL && atomic_load(&head->waits) != 0;
    evener_connection *chosen = in_order ? head : oldest_with_room(self);
    chosen = chosen != NULL ? chosen : head;
    chosen = chosen != NULL ? chosen : connection;
    assign(chosen);
    pthread_mutex_unlock(&self->mutex);
    return chosen;
}

void evener_http2_group_release(evener_connection *carrier)
{
    group *self = evener_http2_group_of(carrier);
    (void)atomic_fetch_sub(&carrier->assigned, 1);
    nudge(self);
    evener_http2_connection_unref(carrier);
}

/* Move a waiting call. It may have ended when this returns. */
static void move(evener_connection *from, evener_http2_call *call, evener_connection *to)
{
    const bool was_assigned = call->is_assigned;
    evener_http2_link_remove(&call->link);
    from->foreground -= !call->is_background;
    if (call->timer.active) {
        evener_timer_heap_stop(&from->timers, &call->timer);
    }
    if (!call->blocking) {
        (void)atomic_fetch_add(&to->nonblocking, 1);
        (void)atomic_fetch_sub(&from->nonblocking, 1);
    }
    call->phase = EVENER_HTTP2_CALL_NONE;
    call->is_assigned = true;
    evener_http2_call_begin_at(call, to);
    if (was_assigned) {
        (void)atomic_fetch_sub(&from->assigned, 1);
        evener_http2_connection_unref(from); /* the turn has a reference */
    }
}

/* Return a member other than `from` with room, with the call counted; NULL: there is none. `is_last`: no other call waits
 * at `from`. Whoever sees the room gone sees no call waiting for it either. */
static evener_connection *take_room(group *self, evener_connection *from, bool is_last)
{
    pthread_mutex_lock(&self->mutex);
    evener_connection *to = NULL;
    for (size_t i = 0; to == NULL && i < self->count; i++) {
        to = self->members[i] != from && has_room(self->members[i]) ? self->members[i] : NULL;
    }
    if (to != NULL) {
        assign(to);
        if (is_last) {
            atomic_store(&from->waits, 0);
        }
    }
    pthread_mutex_unlock(&self->mutex);
    return to;
}

/* Move as many calls as there is room for elsewhere. Return whether one was moved. */
static bool move_calls(evener_connection *connection, group *self)
{
    bool moved = false;
    evener_http2_link *link = self != NULL ? connection->waiting.next : &connection->waiting;
    while (link != &connection->waiting) {
        evener_http2_call *call = EVENER_CONTAINER_OF(link, evener_http2_call, link);
        link = link->next;
        if (call->picked != connection) {
            continue;
        }
        const bool is_last = link == &connection->waiting && call->link.previous == &connection->waiting;
        evener_connection *to = take_room(self, connection, is_last);
        if (to == NULL) {
            break;
        }
        move(connection, call, to);
        moved = true;
    }
    return moved;
}

void evener_http2_group_turn(evener_connection *connection)
{
    group *self = evener_http2_group_of(connection);
    bool waited = atomic_load(&connection->waits) != 0;
    bool is_news = move_calls(connection, self);
    if (!evener_http2_link_is_empty(&connection->waiting)) {
        waited = true;
        is_news = atomic_exchange(&connection->waits, 1) == 0 || is_news;
        is_news = move_calls(connection, self) || is_news; /* room that was given back before `waits` was set */
    }
    if (evener_http2_link_is_empty(&connection->waiting)) {
        atomic_store(&connection->waits, 0);
        if (waited && self != NULL) {
            nudge(self); /* it had no room for the calls of others while its own waited */
        }
    } else if (is_news && connection->more_wanted != NULL) {
        evener_http2_connection_report(connection, EVENER_HTTP2_EVENT_MORE_WANTED);
    }
}

bool evener_http2_connection_calls_wait(const evener_connection *connection)
{
    if (atomic_load(&connection->waits) == 0) {
        return false;
    }
    group *self = atomic_load_explicit(&connection->group, memory_order_acquire);
    if (self == NULL) {
        return true;
    }
    pthread_mutex_lock(&self->mutex);
    const bool is_full = atomic_load(&connection->waits) != 0 && oldest_with_room(self) == NULL;
    pthread_mutex_unlock(&self->mutex);
    return is_full;
}
