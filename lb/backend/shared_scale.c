/* Connection scaling (A105): further connections of a peer, made beside the one that its members share, while calls wait
 * for room below the server's MAX_CONCURRENT_STREAMS.
 *
 *   a further connection is made if    calls wait, none has room, there are fewer than the maximum, no attempt is in
 *                                      flight, no backoff runs, and the last one was not dropped soon (then an interval
 *                                      later, so that a server which does not want it is not dialled without pause)
 *   that is looked at when             calls begin to wait or still wait, an attempt ends, the backoff or that interval
 *                                      ends, a connection is lost, the maximum changes
 *
 * The transport spreads the calls. When the shared connection is lost, the oldest further one takes its place: members
 * hear of the loss, connect again, and find it. The peer keeps it meanwhile, for KEPT_NS. The maximum is the largest of
 * the channels that share the transport; lowering it closes nothing. */
#include <stdlib.h>

#include "lb/backend/shared.h"

/* Members that lost their connection connect again within this time, or want none. */
#define KEPT_NS EVENER_NS_PER_S
/* An attempt that memory was missing for is no failure of the backend: tried again after this time. */
#define WITHOUT_MEMORY_NS EVENER_NS_PER_S

static uint32_t connections_max(const evener_shared *shared)
{
    uint32_t max = 1;
    const evener_shared_front *front;
    LIST_FOREACH(front, &shared->fronts, of_shared)
    {
        max = front->connections_max > max ? front->connections_max : max;
    }
    return max;
}

static void end_further(evener_shared_connection *self)
{
    TAILQ_REMOVE(&self->further_of->further, self, of_further);
    self->further_of->further_count--;
    self->further_of = NULL;
    evener_shared_connection_unref(self);
}

static void further_changed(void *arg, evener_connectivity_state state, const evener_status *status)
{
    evener_shared_connection *self = arg;
    evener_shared_peer *peer = self->further_of;
    if (peer == NULL) { /* it is the shared one now */
        evener_shared_on_state(self, state, status);
        return;
    }
    if (state == EVENER_CONNECTING || self->state == EVENER_IDLE || self->state == EVENER_TRANSIENT_FAILURE) {
        return;
    }
    const bool was_connecting = self->state == EVENER_CONNECTING;
    const uint64_t now_ns = evener_loop_now_ns(self->loop);
    self->state = state;
    if (was_connecting) {
        peer->is_adding = false;
        evener_timer_stop(self->loop, &self->time_out);
    }
    if (state == EVENER_READY) {
        self->since_ns = now_ns;
        evener_shared_attempt_succeeded(peer);
    } else if (was_connecting) {
        evener_shared_attempt_failed(peer, status);
    } else if (now_ns - self->since_ns < EVENER_SHARED_SHORT_LIVED_NS) {
        evener_backoff first = {0};
        peer->add_at_ns = now_ns + evener_backoff_next_ns(&first, &peer->backoff_options, peer->loop);
    }
    if (state != EVENER_READY) {
        end_further(self);
    }
    evener_shared_consider(peer);
}

static void further_timed_out(void *arg)
{
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "no further connection in time");
    further_changed(arg, EVENER_TRANSIENT_FAILURE, &status);
}

void evener_shared_more_wanted(void *arg)
{
    const evener_shared_connection *self = arg;
    evener_shared_peer *peer = self->further_of != NULL ? self->further_of : self->peer;
    if (peer != NULL) {
        evener_shared_consider(peer);
    }
}

/* Return false if there is none now: the backoff has begun, or memory is out. */
static bool add_connection(evener_shared_peer *peer)
{
    const evener_connect_args args = {.size = sizeof args,
                                      .address = peer->place->address,
                                      .authority = peer->authority,
                                      .server_name = peer->server_name,
                                      .loop = peer->loop,
                                      .state_changed = further_changed,
                                      .more_wanted = evener_shared_more_wanted,
                                      .beside = peer->current->real};
    evener_status status;
    evener_shared_connection *made = evener_shared_start_attempt(peer, &args, further_timed_out, &status);
    if (made == NULL) {
        return false;
    }
    made->references = 1; /* the peer's */
    made->further_of = peer;
    TAILQ_INSERT_TAIL(&peer->further, made, of_further);
    peer->further_count++;
    peer->is_adding = true;
    return true;
}

static bool may_add(evener_shared_peer *peer)
{
    const evener_transport_vtable *vtable = peer->shared->real->vtable;
    return peer->current != NULL && peer->current->state == EVENER_READY && !peer->is_adding &&
           EVENER_SHARED_HAS(vtable, calls_wait) && 1 + peer->further_count < connections_max(peer->shared) &&
           vtable->calls_wait(peer->current->real);
}

/* Return when a connection may be added; after an attempt that failed at once, the next one. */
static uint64_t due_ns(const evener_shared_peer *peer)
{
    return peer->retry_at_ns > peer->add_at_ns ? peer->retry_at_ns : peer->add_at_ns;
}

static void wait_is_over(void *arg)
{
    evener_shared_consider(arg);
}

void evener_shared_consider(evener_shared_peer *peer)
{
    const uint64_t now_ns = evener_loop_now_ns(peer->loop);
    if (!may_add(peer) || (due_ns(peer) <= now_ns && add_connection(peer))) {
        return;
    }
    const uint64_t wait_ns = due_ns(peer) > now_ns ? due_ns(peer) - now_ns : WITHOUT_MEMORY_NS;
    peer->add_again.fn = wait_is_over;
    peer->add_again.arg = peer;
    evener_timer_start(peer->loop, &peer->add_again, wait_ns);
}

void evener_shared_consider_all(evener_shared *shared)
{
    for (evener_shared_place *place = evener_address_table_first(&shared->places); place != NULL;
         place = evener_address_table_next(&shared->places, place)) {
        evener_shared_peer *peer;
        LIST_FOREACH(peer, &place->peers, of_place)
        {
            evener_shared_consider(peer);
        }
    }
}

static void kept_long_enough(void *arg)
{
    evener_shared_connection *self = arg;
    self->is_kept = false;
    evener_shared_connection_unref(self);
}

bool evener_shared_promote(evener_shared_peer *peer)
{
    evener_shared_connection *oldest;
    TAILQ_FOREACH(oldest, &peer->further, of_further)
    {
        if (oldest->state == EVENER_READY) {
            break;
        }
    }
    if (oldest == NULL) {
        return false;
    }
    TAILQ_REMOVE(&peer->further, oldest, of_further);
    peer->further_count--;
    oldest->further_of = NULL;
    oldest->peer = peer;
    peer->current = oldest;
    evener_timer_stop(peer->loop, &peer->forget); /* as it is not vacant any more */
    oldest->is_kept = true;                       /* the peer's reference */
    oldest->time_out = (evener_timer)EVENER_TIMER_INIT(kept_long_enough, oldest);
    evener_timer_start(oldest->loop, &oldest->time_out, KEPT_NS);
    return true;
}

void evener_shared_end_further(evener_shared_peer *peer)
{
    evener_timer_stop(peer->loop, &peer->add_again);
    while (!TAILQ_EMPTY(&peer->further)) {
        end_further(TAILQ_FIRST(&peer->further));
    }
    peer->is_adding = false;
}
