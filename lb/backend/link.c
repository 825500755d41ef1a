/* Link: one attempt to connect and the connection that it becomes, and how long picks keep that connection valid.
 *
 * Over a transport with connection_ref a link has a slot, in which each pick counts itself on the lane of its thread.
 * A handle then points to that slot, and the slot to the connection: a pick finds both by one load that cannot mix two
 * connections. The link holds one reference of the transport for all picks. A connection is given up in this order:
 *
 *   1. it is removed from the handles (evener_link_publish)
 *   2. a grace period of RCU passes: every pick that has loaded the pointer has counted itself
 *   3. the transport is asked to disconnect; calls in flight finish
 *   4. the sum of the slot's word shows no pick in flight: the reference is given back
 *
 * From 2 on no pick can begin, so a sum of zero is final. Its loads acquire what the ends of picks release. */
#include "lb/backend/shared_transport.h"
#include "lb/backend/subchannel_pool.h"
#include "lb/runtime/rcu.h"

evener_link *evener_link_create(evener_connector *connector)
{
    evener_subchannel_pool *pool = evener_connector_pool(connector);
    evener_link *link = evener_slab_take(&pool->memory->links);
    if (link == NULL) {
        return NULL;
    }
    if (pool->has_users) {
        link->users = evener_slots_take(pool->slots, NULL);
        if (link->users == NULL) {
            evener_slab_give_back(&pool->memory->links, link);
            return NULL;
        }
    }
    link->owner_or_next = (uintptr_t)connector;
    pool->link_count++;
    return link;
}

void evener_link_hold(evener_subchannel_pool *pool, evener_link *link)
{
    if (link->users != NULL) {
        evener_connection *connection = evener_shared_transport_resolve(pool->transport, link->connection);
        link->users->connection = pool->transport->vtable->connection_ref(connection) ? connection : NULL;
    }
}

/* Return whether a reference to the connection is held for the picks on it. */
static bool is_held(const evener_link *link)
{
    return link->users != NULL && link->users->connection != NULL;
}

void evener_link_publish(const evener_link *link, evener_subchannel *handle)
{
    if (link == NULL || (link->users != NULL && !is_held(link))) {
        evener_rcu_assign(handle->connection, NULL);
    } else if (link->users != NULL) {
        evener_rcu_assign(handle->users, link->users);
    } else {
        evener_rcu_assign(handle->connection, link->connection);
    }
}

static void free_link(evener_subchannel_pool *pool, evener_link *link)
{
    if (is_held(link)) {
        pool->transport->vtable->connection_unref(link->users->connection);
    }
    if (link->users != NULL) {
        evener_slots_give_back(pool->slots, link->users);
    }
    evener_slab_give_back(&pool->memory->links, link);
}

void evener_link_disconnect(evener_subchannel_pool *pool, evener_link *link)
{
    if (link->connection != NULL) {
        pool->transport->vtable->disconnect(pool->transport, link->connection);
    }
    if (is_held(link) && !evener_slot_all_ended(link->users)) {
        evener_link_set_next(link, pool->in_use);
        pool->in_use = link;
        evener_subchannel_poll_retired(pool);
    } else {
        free_link(pool, link);
    }
    if (--pool->link_count == 0) {
        pool->drained(pool->arg);
    }
}

bool evener_link_free_unused(evener_subchannel_pool *pool, bool all)
{
    evener_link *previous = NULL;
    for (evener_link *link = pool->in_use, *next; link != NULL; link = next) {
        next = evener_link_next(link);
        if (!all && !evener_slot_all_ended(link->users)) {
            previous = link;
            continue;
        }
        if (previous != NULL) {
            evener_link_set_next(previous, next);
        } else {
            pool->in_use = next;
        }
        free_link(pool, link);
    }
    return pool->in_use != NULL;
}
