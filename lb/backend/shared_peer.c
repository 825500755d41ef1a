/* IMPLEMENTATION NOTES
 *
 * A connection's states: CONNECTING -> READY -> IDLE (dropped, or draining after GOAWAY), or CONNECTING ->
 * TRANSIENT_FAILURE. Only one that is CONNECTING or READY is its peer's `current`, which channels join. One that READY
 * channels still use may outlive that: its peer then has another one, or none.
 *
 *   a member joins CONNECTING   the report of the attempt reaches all members
 *   a member joins READY        its own timer reports READY to it, and IDLE after that if the connection dropped
 *                               meanwhile
 *   connect() in the backoff    fails at once with the last reason and the end of the backoff, so that all channels try
 *                               again at the same time: the first one starts the attempt, the others join it
 *   READY after failures        channels in backoff are notified, and join
 *   the last member leaves      the transport disconnects. If the time of the attempt was over it has failed
 *
 * Connectors keep their own state, and their own backoff for failures that are not the backend's (no memory). */
#include <stdlib.h>

#include "lb/backend/shared.h"

/* As in connector.c: a server that drops every connection soon counts as one that fails. */
#define SHORT_LIVED_MAX 5
/* Failures are forgotten if no attempt has started this long after the end of the backoff: no channel wants the backend
 * any more. */
#define REMEMBERED_NS (120 * EVENER_NS_PER_S)
/* The time-outs of connectors begin with the list that they come from, so they may end this much earlier. */
#define EARLY_NS (100 * EVENER_NS_PER_MS)

/* ---- peers ---- */

static bool same_backoff(const evener_backoff_options *a, const evener_backoff_options *b)
{
    return a->initial_ms == b->initial_ms && a->max_ms == b->max_ms && a->multiplier == b->multiplier &&
           a->jitter == b->jitter;
}

static evener_shared_peer *find_peer(const evener_shared *shared, const evener_shared_connect_args *args)
{
    const evener_shared_place *place = evener_address_table_find(&shared->places, args->base.address);
    evener_shared_peer *peer = place != NULL ? LIST_FIRST(&place->peers) : NULL;
    while (peer != NULL && !(evener_shared_same_text(peer->authority, args->base.authority) &&
                             evener_shared_same_text(peer->server_name, args->base.server_name) &&
                             peer->connect_timeout_ns == args->connect_timeout_ns &&
                             same_backoff(&peer->backoff_options, args->backoff))) {
        peer = LIST_NEXT(peer, of_place);
    }
    return peer;
}

static void leave_place(evener_shared_peer *peer)
{
    evener_shared_place *place = peer->place;
    LIST_REMOVE(peer, of_place);
    if (LIST_EMPTY(&place->peers)) {
        evener_address_table_leave(&peer->shared->places, place);
        evener_address_unref(place->address);
        free(place);
    }
}

static void free_peer(evener_shared_peer *peer)
{
    evener_timer_stop(peer->loop, &peer->forget);
    evener_shared_end_further(peer);
    if (peer->place != NULL) {
        leave_place(peer);
    }
    free(peer->authority);
    free(peer->server_name);
    free(peer);
}

static void forget_peer(void *arg)
{
    free_peer(arg);
}

static evener_shared_place *obtain_place(evener_shared *shared, const evener_address *address)
{
    evener_shared_place *place = evener_address_table_find(&shared->places, address);
    if (place != NULL) {
        return place;
    }
    place = calloc(1, sizeof *place);
    if (place == NULL || !evener_address_table_reserve(&shared->places, 1)) {
        free(place);
        return NULL;
    }
    place->address = evener_address_ref(address);
    evener_address_table_enter(&shared->places, place);
    return place;
}

static evener_shared_peer *create_peer(evener_shared *shared, const evener_shared_connect_args *args)
{
    evener_shared_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL) {
        return NULL;
    }
    peer->shared = shared;
    peer->loop = args->base.loop;
    peer->connect_timeout_ns = args->connect_timeout_ns;
    peer->backoff_options = *args->backoff;
    peer->forget = (evener_timer)EVENER_TIMER_INIT(forget_peer, peer);
    TAILQ_INIT(&peer->further);
    peer->authority = strdup(args->base.authority);
    peer->server_name = args->base.server_name != NULL ? strdup(args->base.server_name) : NULL;
    const bool complete = peer->authority != NULL && (peer->server_name != NULL) == (args->base.server_name != NULL);
    peer->place = complete ? obtain_place(shared, args->base.address) : NULL;
    if (peer->place == NULL) {
        free_peer(peer);
        return NULL;
    }
    LIST_INSERT_HEAD(&peer->place->peers, peer, of_place);
    return peer;
}

/* The peer has no connection to join any more. */
static void peer_is_vacant(evener_shared_peer *peer)
{
    if (!peer->has_failed && peer->short_lived == 0) {
        free_peer(peer);
        return;
    }
    const uint64_t now_ns = evener_loop_now_ns(peer->loop);
    const uint64_t end_ns = peer->retry_at_ns > now_ns ? peer->retry_at_ns : now_ns;
    evener_timer_start(peer->loop, &peer->forget, end_ns - now_ns + REMEMBERED_NS);
}

static void peer_failed(evener_shared_peer *peer, uint64_t retry_at_ns, const evener_status *status)
{
    peer->has_failed = true;
    peer->failure = *status;
    peer->retry_at_ns = retry_at_ns;
}

/* The backoff counts from the start of the attempt (grpc: connection-backoff.md). */
void evener_shared_attempt_failed(evener_shared_peer *peer, const evener_status *status)
{
    peer_failed(peer,
                peer->started_ns + evener_backoff_spread_ns(peer->backoff.delay_ns, &peer->backoff_options, peer->loop),
                status);
}

static void connection_dropped(evener_shared_peer *peer, uint64_t age_ns)
{
    peer->short_lived = age_ns < EVENER_SHARED_SHORT_LIVED_NS ? (uint8_t)(peer->short_lived + 1) : 0;
    if (peer->short_lived >= SHORT_LIVED_MAX) {
        peer->short_lived = 0;
        evener_backoff first = {0};
        evener_status status;
        evener_status_set(&status, EVENER_STATUS_UNAVAILABLE,
                          "the server drops every connection right after it was made");
        peer_failed(peer,
                    evener_loop_now_ns(peer->loop) + evener_backoff_next_ns(&first, &peer->backoff_options, peer->loop),
                    &status);
    }
}

void evener_shared_attempt_succeeded(evener_shared_peer *peer)
{
    const bool has_failed = peer->has_failed;
    peer->has_failed = false;
    peer->retry_at_ns = 0;
    evener_backoff_reset(&peer->backoff);
    evener_shared_front *front;
    if (has_failed) {
        LIST_FOREACH(front, &peer->shared->fronts, of_shared)
        {
            if (front->recovered != NULL) {
                front->recovered(front->recovered_arg, peer->place->address);
            }
        }
    }
}

/* ---- connections ---- */

/* Give back the reference that was kept for members to come. */
static void keep_no_longer(evener_shared_connection *self)
{
    if (self->is_kept) {
        self->is_kept = false;
        evener_timer_stop(self->loop, &self->time_out);
        evener_shared_connection_unref(self);
    }
}

/* Let nobody join the current connection. The peer stays. */
static void part_from_current(evener_shared_peer *peer)
{
    evener_shared_connection *current = peer->current;
    if (current != NULL) {
        current->peer = NULL;
        peer->current = NULL;
        keep_no_longer(current);
    }
}

/* Let nobody join any more. With `is_lost` a further connection takes its place; otherwise nobody needs one. */
static void leave_peer(evener_shared_connection *self, bool is_lost)
{
    evener_shared_peer *peer = self->peer;
    if (peer == NULL) {
        return;
    }
    self->peer = NULL;
    peer->current = NULL;
    if (!is_lost || !evener_shared_promote(peer)) {
        evener_shared_end_further(peer);
        peer_is_vacant(peer);
    }
}

static uint64_t age_ns(const evener_shared_connection *self)
{
    return evener_loop_now_ns(self->loop) - self->since_ns;
}

/* Note in the peer that the attempt was abandoned: a failure if its time was over. */
static void note_abandoned(const evener_shared_connection *self)
{
    evener_shared_peer *peer = self->peer;
    if (self->state == EVENER_CONNECTING && peer != NULL &&
        evener_loop_now_ns(peer->loop) + EARLY_NS >= self->time_out.deadline_ns) {
        evener_status status;
        evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "no connection within %llu ms",
                          (unsigned long long)(age_ns(self) / EVENER_NS_PER_MS));
        evener_shared_attempt_failed(peer, &status);
    }
}

void evener_shared_connection_unref(evener_shared_connection *self)
{
    if (--self->references > 0) {
        return;
    }
    evener_transport *real = self->shared->real;
    real->vtable->disconnect(real, self->real);
    evener_timer_stop(self->loop, &self->time_out);
    leave_peer(self, false);
    evener_shared_unref(self->shared);
    free(self);
}

static void report_to(evener_shared_member *member, evener_connectivity_state state, uint64_t retry_at_ns,
                      const evener_status *status)
{
    if (member->ready_due) { /* it joined late: its timer reports READY first */
        member->idle_due = state == EVENER_IDLE;
        return;
    }
    if (state == EVENER_TRANSIENT_FAILURE) {
        *member->retry_at_ns = retry_at_ns;
    }
    member->state_changed(member->arg, state, status);
}

void evener_shared_on_state(void *arg, evener_connectivity_state state, const evener_status *status)
{
    evener_shared_connection *self = arg;
    evener_shared_peer *peer = self->peer;
    if (state == EVENER_CONNECTING || self->state == EVENER_IDLE || self->state == EVENER_TRANSIENT_FAILURE) {
        return;
    }
    const bool was_ready = self->state == EVENER_READY;
    uint64_t retry_at_ns = 0;
    self->state = state;
    self->references++;
    keep_no_longer(self);
    evener_timer_stop(self->loop, &self->time_out);
    if (state == EVENER_READY) {
        self->since_ns = evener_loop_now_ns(self->loop);
    } else if (was_ready && peer != NULL) {
        connection_dropped(peer, age_ns(self));
    } else if (peer != NULL) {
        evener_shared_attempt_failed(peer, status);
        retry_at_ns = peer->retry_at_ns;
    }
    if (state != EVENER_READY) {
        leave_peer(self, true);
    }
    evener_shared_member_list waiting;
    EVENER_SHARED_TAKE_ALL(&self->members, &waiting, of_connection);
    while (!LIST_EMPTY(&waiting)) {
        evener_shared_member *next = LIST_FIRST(&waiting);
        LIST_REMOVE(next, of_connection);
        LIST_INSERT_HEAD(&self->members, next, of_connection);
        report_to(next, state, retry_at_ns, status); /* may give this one and others up */
    }
    if (state == EVENER_READY && self->peer != NULL && self->state == EVENER_READY) {
        evener_shared_attempt_succeeded(self->peer);
    }
    evener_shared_connection_unref(self);
}

static void attempt_timed_out(void *arg)
{
    evener_shared_connection *self = arg;
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "no connection within %llu ms",
                      (unsigned long long)(age_ns(self) / EVENER_NS_PER_MS));
    evener_shared_on_state(self, EVENER_TRANSIENT_FAILURE, &status);
}

void evener_shared_join_no_more(evener_shared *shared)
{
    evener_shared_place *place;
    while ((place = evener_address_table_first(&shared->places)) != NULL) {
        evener_shared_peer *peer = LIST_FIRST(&place->peers);
        part_from_current(peer);
        free_peer(peer); /* the last one frees the place */
    }
}

/* Return whether the peer has further connections that nobody needs. While the shared one has members they are of use, as
 * it serves until its successor is READY; they end with its last member. */
static bool has_idle_further(const evener_shared_peer *peer)
{
    return peer->further_count > 0 && (peer->current == NULL || LIST_EMPTY(&peer->current->members));
}

static bool is_kept(const evener_shared_peer *peer)
{
    return peer->current != NULL && peer->current->is_kept;
}

void evener_shared_release_kept(evener_shared *shared)
{
    /* A place may go with its last peer, and a peer with its last connection: each change begins anew. */
    evener_shared_place *place = evener_address_table_first(&shared->places);
    while (place != NULL) {
        evener_shared_peer *peer = LIST_FIRST(&place->peers);
        while (peer != NULL && !has_idle_further(peer) && !is_kept(peer)) {
            peer = LIST_NEXT(peer, of_place);
        }
        if (peer == NULL) {
            place = evener_address_table_next(&shared->places, place);
            continue;
        }
        if (has_idle_further(peer)) {
            evener_shared_end_further(peer);
        }
        if (peer->current != NULL) {
            keep_no_longer(peer->current);
        }
        place = evener_address_table_first(&shared->places);
    }
}

void evener_shared_clear_places(evener_shared *shared)
{
    evener_shared_join_no_more(shared);
    evener_address_table_clear(&shared->places);
}

/* Return the connection that a further member joins; NULL: there is none. */
static evener_shared_connection *find_joinable(const evener_shared_peer *peer)
{
    evener_shared_connection *found = peer->current;
    const evener_transport_vtable *vtable = peer->shared->real->vtable;
    if (found != NULL && found->state == EVENER_READY && EVENER_SHARED_HAS(vtable, connection_takes_calls) &&
        !vtable->connection_takes_calls(found->real)) {
        return NULL; /* it has ended, which is reported soon */
    }
    return found;
}

/* Set the times of an attempt that starts now. */
static void set_times(evener_shared_peer *peer, evener_shared_connection *self, evener_connect_args *args)
{
    const uint64_t delay_ns = evener_backoff_advance_ns(&peer->backoff, &peer->backoff_options);
    const uint64_t timeout_ns = delay_ns > peer->connect_timeout_ns ? delay_ns : peer->connect_timeout_ns;
    peer->started_ns = evener_loop_now_ns(peer->loop);
    self->since_ns = peer->started_ns;
    evener_timer_start(peer->loop, &self->time_out, timeout_ns);
    args->timeout_ms = timeout_ns / EVENER_NS_PER_MS;
}

evener_shared_connection *evener_shared_start_attempt(evener_shared_peer *peer, const evener_connect_args *args,
                                                      evener_task_fn timed_out, evener_status *status)
{
    evener_shared_connection *self = calloc(1, sizeof *self);
    if (self == NULL) {
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "connection to %s: out of memory",
                          evener_address_text(args->address));
        return NULL;
    }
    self->shared = peer->shared;
    self->loop = peer->loop;
    self->state = EVENER_CONNECTING;
    self->time_out = (evener_timer)EVENER_TIMER_INIT(timed_out, self);
    evener_connect_args own = *args;
    own.arg = self;
    set_times(peer, self, &own);
    evener_timer_stop(peer->loop, &peer->forget);
    evener_transport *real = peer->shared->real;
    evener_status_clear(status);
    if (real->vtable->connect(real, &own, &self->real, status) != EVENER_STATUS_OK) {
        evener_timer_stop(peer->loop, &self->time_out);
        evener_shared_attempt_failed(peer, status);
        free(self);
        return NULL;
    }
    evener_shared_ref(self->shared);
    return self;
}

static evener_status_code open_connection(evener_shared_peer *peer, const evener_shared_connect_args *given,
                                          evener_shared_connection **opened, evener_status *status)
{
    evener_connect_args args = given->base;
    args.state_changed = evener_shared_on_state;
    args.more_wanted = evener_shared_more_wanted;
    evener_status reason;
    evener_shared_connection *self = evener_shared_start_attempt(peer, &args, attempt_timed_out, &reason);
    if (self == NULL) {
        return evener_status_set(status, reason.code != EVENER_STATUS_OK ? reason.code : EVENER_STATUS_UNAVAILABLE,
                                 "%s", reason.message);
    }
    self->peer = peer;
    peer->current = self;
    *opened = self;
    return EVENER_STATUS_OK;
}

/* ---- members ---- */

/* Report what the member has missed, one event at a time: each may give it up. */
static void report_late(void *arg)
{
    evener_shared_member *self = arg;
    evener_status ok;
    evener_status_clear(&ok);
    const bool ready = self->ready_due;
    const bool idle = !ready && self->idle_due;
    self->ready_due = false;
    self->idle_due = ready && self->idle_due;
    if (self->idle_due || evener_shared_health_is_due(self)) {
        evener_timer_start(self->loop, &self->late, 0); /* again, if nothing is due then */
    }
    if (ready || idle) {
        self->state_changed(self->arg, ready ? EVENER_READY : EVENER_IDLE, &ok);
    } else {
        evener_shared_report_health(self);
    }
}

static evener_shared_member *create_member(evener_shared_connection *of, const evener_shared_connect_args *args)
{
    evener_shared_member *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->connection = of;
    self->state_changed = args->base.state_changed;
    self->arg = args->base.arg;
    self->retry_at_ns = args->retry_at_ns;
    self->loop = args->base.loop;
    self->late = (evener_timer)EVENER_TIMER_INIT(report_late, self);
    of->references++;
    LIST_INSERT_HEAD(&of->members, self, of_connection);
    if (of->state == EVENER_READY) {
        self->ready_due = true;
        evener_timer_start(self->loop, &self->late, 0);
    }
    return self;
}

/* The current connection, if there is one, takes no calls any more. */
static evener_status_code replace_current(evener_shared_peer *peer, const evener_shared_connect_args *args,
                                          evener_shared_connection **opened, evener_status *status)
{
    part_from_current(peer);
    if (evener_shared_promote(peer)) {
        *opened = peer->current;
        return EVENER_STATUS_OK;
    }
    return open_connection(peer, args, opened, status);
}

/* Start an attempt, unless the backoff forbids it. */
static evener_status_code attempt(evener_shared_peer *peer, const evener_shared_connect_args *args,
                                  evener_shared_connection **opened, evener_status *status)
{
    if (args->end_backoff) {
        evener_backoff_reset(&peer->backoff);
        peer->retry_at_ns = 0;
    }
    evener_status_code code;
    if (peer->retry_at_ns > evener_loop_now_ns(peer->loop)) {
        code = evener_status_set(status, EVENER_STATUS_UNAVAILABLE, "%s", peer->failure.message);
    } else {
        code = replace_current(peer, args, opened, status);
    }
    if (code != EVENER_STATUS_OK && peer->retry_at_ns > evener_loop_now_ns(peer->loop)) {
        *args->retry_at_ns = peer->retry_at_ns; /* otherwise memory was missing, for which the connector waits itself */
    }
    return code;
}

evener_status_code evener_shared_connect(evener_shared *shared, const evener_shared_connect_args *args,
                                         evener_shared_member **member, evener_status *status)
{
    evener_shared_peer *peer = find_peer(shared, args);
    if (peer == NULL) {
        peer = create_peer(shared, args);
    }
    if (peer == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "connection to %s: out of memory",
                                 evener_address_text(args->base.address));
    }
    evener_shared_connection *joined = find_joinable(peer);
    if (joined == NULL) {
        const evener_status_code code = attempt(peer, args, &joined, status);
        if (code != EVENER_STATUS_OK) {
            if (peer->current == NULL) {
                peer_is_vacant(peer);
            }
            return code;
        }
        joined->references++; /* while it has no member */
    } else {
        joined->references++;
    }
    evener_shared_member *made = create_member(joined, args);
    evener_shared_connection_unref(joined);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "connection to %s: out of memory",
                                 evener_address_text(args->base.address));
    }
    *member = made;
    return evener_status_clear(status);
}

void evener_shared_disconnect(evener_shared_member *member)
{
    evener_shared_connection *of = member->connection;
    evener_shared_end_watches(member);
    evener_timer_stop(member->loop, &member->late);
    LIST_REMOVE(member, of_connection);
    if (of->references == 1 && of->state == EVENER_CONNECTING && of->peer != NULL) {
        note_abandoned(of);
        *member->retry_at_ns = of->peer->retry_at_ns;
    }
    evener_shared_connection_unref(of);
    free(member);
}
