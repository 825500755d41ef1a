/* Subchannel pool: a channel's backends.
 *
 * Two levels. A connector is one address (its identity): connectivity state, backoff, the transport's connection and
 * its history. A subchannel is a policy's handle on a connector: listener, the policy's data, the counters of its
 * picks. Two policies of one channel (while one replaces the other) share connectors, so nothing reconnects.
 *
 * A subchannel has two pieces: the handle, in a slot (lb/backend/slots.h) with everything that a pick touches, and
 * the body, which belongs to the control plane. Channels may have very many backends, so members that most backends
 * do not need, or do not need while they are READY, are allocated separately (attempt, extra).
 *
 * Everything on the control thread, except what picks and calls touch: the slot, and a body's `counts`. */
#ifndef EVENER_LB_BACKEND_SUBCHANNEL_POOL_H
#define EVENER_LB_BACKEND_SUBCHANNEL_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/address.h>
#include <evener/backoff.h>
#include <evener/connectivity.h>
#include <evener/loop.h>
#include <evener/policy.h>
#include <evener/runtime.h>
#include <evener/subchannel.h>
#include <evener/transport.h>

#include "lb/backend/server_name.h"
#include "lb/backend/slots.h"
#include "lb/base/address_table.h"
#include "lb/runtime/reclaim.h"
#include "lb/runtime/slab.h"

typedef struct evener_connector evener_connector;
typedef struct evener_link evener_link;
typedef struct evener_attempt evener_attempt;
typedef struct evener_health_watch evener_health_watch;

/* Memory for subchannels whose policies ask for the same number of data bytes. */
typedef struct evener_body_slab {
    evener_slab slab;
    size_t body_offset; /* the policy's data comes first, then perhaps the listener's argument */
    size_t alignment;   /* of the policy's data: the argument alone has the same offset as data of 8 bytes */
    struct evener_body_slab *next;
} evener_body_slab;

/* Memory for the objects of backends. All pools of a runtime share it. Control thread. */
typedef struct evener_pool_memory {
    evener_slab connectors, links, attempts;
    evener_body_slab *bodies; /* few: one per number of data bytes */
} evener_pool_memory;

/* Return the runtime's; NULL on out of memory. Control thread. */
evener_pool_memory *evener_pool_memory_of(evener_runtime *runtime);

/* What all subchannels of one policy share (flyweight). */
typedef struct evener_subchannel_kind {
    struct evener_subchannel_pool *pool;
    evener_body_slab *memory;
    const void *owner; /* the evener_child_maker, the policy that created them; NULL: not named */
    void *arg;         /* the listener's */
    bool has_own_args; /* and not `arg`: each subchannel has its own, in front of its body */
    size_t users;      /* subchannels */
    void (*state_changed)(void *arg, evener_subchannel *subchannel, evener_connectivity_state state,
                          const evener_status *status);
    void (*released)(void *arg, evener_subchannel *subchannel);
    void (*data_destroy)(void *data);
    size_t data_bytes;
    struct evener_subchannel_kind *named; /* the kind that its last subchannel moved to when it was named; or NULL */
    struct evener_subchannel_kind *next;
} evener_subchannel_kind;

typedef struct evener_subchannel_pool {
    evener_runtime *runtime;
    evener_loop *loop;
    evener_transport *transport;
    bool unread;    /* no thread picks any more: nothing has to wait for a grace period */
    bool has_users; /* the transport has connection_ref: connections stay valid for the picks on them */
    const char *authority;
    evener_authority_origin authority_origin;
    uint32_t generation; /* version of authority and transport: connections of an older one are replaced */
    uint64_t connect_timeout_ns;
    evener_backoff_options backoff;
    /* Called after a connector became READY: picks that found no connection may be retried. */
    void (*became_ready)(void *arg);
    /* Called with the address of the longest-running attempt when that changes; "": there is none. */
    void (*connecting_to)(void *arg, const char *address);
    /* Called when the last connection has been given up for good. */
    void (*drained)(void *arg);
    void *arg;

    /* private */
    evener_address_table table;            /* of connectors */
    uint64_t list_ns;                      /* when the list that is being handled arrived; 0: none is being handled */
    size_t link_count;                     /* connections that the transport was not asked to give up yet */
    evener_link *given_up, *given_up_last; /* no grace period has begun for these */
    evener_link *in_grace_period;          /* their grace period is in progress */
    evener_reclaim grace_period;
    evener_subchannel_body *to_notify, **to_notify_tail; /* their listeners are to be notified */
    evener_task notify_task;
    evener_subchannel_kind *kinds;   /* few: one or two per policy that has subchannels */
    evener_pool_memory *memory;      /* the runtime's; NULL until the first backend */
    evener_slot_pool *slots;         /* the runtime's; NULL until the first is taken */
    evener_subchannel_body *retired; /* no references left, but picks in flight */
    evener_link *in_use;             /* connections given up for good, but with picks in flight on them */
    uint64_t retire_poll_ns;
    evener_timer retire_timer;
    evener_timer starved_timer; /* for connectors that had no memory for an attempt */
    /* Attempts in flight, in the order in which they time out. The timer is set to the end of the first one, or of
     * one that was first. */
    evener_attempt *first_to_time_out, *last_to_time_out;
    evener_timer time_out_timer;
    size_t subchannel_count; /* whose memory is not freed yet */
    size_t ready_count;      /* atomic; whose listeners were last notified of READY */
} evener_subchannel_pool;

/* One attempt to connect and, if it succeeds, the connection. Outlives its connector until the transport has released
 * it and no pick is in flight on it. */
struct evener_link {
    uintptr_t owner_or_next; /* evener_link_connector() or evener_link_next() */
    evener_connection *connection;
    /* Slot that counts the picks on the connection, with the connection while a reference to it is held for them. NULL:
     * the transport does not ask for it. */
    evener_subchannel *users;
};

/* One sequence of attempts: from the first until READY, or for the successor of a connection in service; includes its
 * backoffs. */
struct evener_attempt {
    evener_connector *connector;
    evener_link *link;               /* while an attempt is in flight; otherwise NULL */
    evener_attempt *next, *previous; /* in the queue of attempts that time out */
    uint64_t started_ns;
    uint64_t timeout_ns;
    uint64_t retry_at_ns;   /* end of the backoff, where the transport knows it; 0: it does not */
    evener_backoff backoff; /* delay from the start of this attempt to the start of the next one */
    bool wanted;            /* connect() was called during the backoff */
    bool is_queued;         /* in the queue to time out; otherwise `timer` runs for that */
    bool was_reset;         /* the next attempt ends the backoff that other channels share */
    bool failure_logged;    /* its failure to replace the connection in service was logged */
    evener_timer timer;     /* without a link: end of the backoff; with one: times out if not queued */
};

/* Members that few connectors need. */
typedef struct evener_connector_extra {
    char *last_error;                         /* reason of the last failure; NULL if none */
    evener_health_watch *health_watches;      /* over this connection */
    struct evener_load_reports *load_reports; /* out of band; NULL: nobody watches them */
    uint64_t gone_picks, gone_failed;         /* counts of released subchannels */
    uint32_t gone_retries, gone_hedges, gone_transparent_retries;
} evener_connector_extra;

struct evener_connector {
    evener_connector *table_next;
    evener_subchannel_pool *pool;
    evener_address *address;
    const char *authority;               /* the pool's, of `generation` */
    evener_subchannel_body *subchannels; /* linked by connector_next; at least one, except while the first is created */
    evener_link *link;                   /* the connection in service; NULL if not READY */
    evener_attempt *attempt;             /* or NULL */
    evener_connector_extra *extra;       /* or NULL */
    uint64_t state_since_ns;
    uint32_t connects, connect_failures;
    uint32_t generation;
    uint8_t state;       /* an evener_connectivity_state */
    uint8_t short_lived; /* connections in a row that dropped within SHORT_LIVED_NS */
    uint8_t table_tag;
    bool outdated : 1; /* what is in flight, or otherwise in service, is to be replaced as soon as possible */
    uint8_t authority_origin : 2; /* an evener_authority_origin: the pool's, of `generation` */
};

struct evener_subchannel_body {
    evener_subchannel *handle;
    evener_subchannel_kind *kind;
    uint64_t counts;             /* atomic: failed calls, and those in flight that limits count (in_flight.h) */
    evener_connector *connector; /* NULL once released */
    evener_address *address;     /* a reference, unless equal to `identity` */
    evener_address *identity;    /* as created; keeps the text alive when set_address() replaces the attributes */
    evener_subchannel_body *connector_next;
    evener_subchannel_body *queue_next; /* in `to_notify` or `retired` */
    uint32_t references;
    uint8_t reported_state;
    bool to_notify, failure_pending;
    bool idle_pending; /* it became IDLE after the last report */
};

/* Initialise a pool whose public members are set. */
void evener_subchannel_pool_init(evener_subchannel_pool *pool);

/* Free what is left. Every subchannel was released and no pick is in flight (the channel's contract). */
void evener_subchannel_pool_clear(evener_subchannel_pool *pool);

/* See evener_policy_create_subchannel(). */
evener_subchannel *evener_subchannel_pool_create_subchannel(evener_subchannel_pool *pool, const evener_address *address,
                                                            const evener_subchannel_options *given);

/* Return the connector of an address, or NULL. */
evener_connector *evener_subchannel_pool_find(const evener_subchannel_pool *pool, const evener_address *address);

/* Bring the backends of a list to the pool's generation: replace connections and attempts of an older one, with the
 * authority in force. The old ones serve until the new ones are READY, and calls on them finish. Backends that are
 * not in the list stay as they are. */
void evener_subchannel_pool_renew(evener_subchannel_pool *pool, evener_address *const *addresses, size_t count);

/* End every backoff now. */
void evener_subchannel_pool_reset_backoff(evener_subchannel_pool *pool);

/* Sum up picks begun in total and picks in flight, over all subchannels. */
void evener_subchannel_pool_activity(const evener_subchannel_pool *pool, uint64_t *started, uint64_t *in_flight);

/* ---- between attempt_time_outs.c, connector.c, connector_table.c and subchannel.c ---- */

void evener_attempt_time_outs_prepare(evener_subchannel_pool *pool);
/* Start the time-out of an attempt: attempt->timeout_ns after attempt->started_ns evener_attempt_timed_out() is
 * called. */
void evener_attempt_start_time_out(evener_subchannel_pool *pool, evener_attempt *attempt);
/* Stop the time-out, or the backoff. */
void evener_attempt_stop_time_out(evener_subchannel_pool *pool, evener_attempt *attempt);
/* End the attempt `arg`, whose time is up. */
void evener_attempt_timed_out(void *arg);

/* Initialise the pool's slabs for connectors and their members. */
void evener_connector_prepare(evener_subchannel_pool *pool);
/* Return the connector of an address, created if necessary; NULL on out of memory. */
evener_connector *evener_connector_obtain(evener_subchannel_pool *pool, const evener_address *address);
/* Remove a connector that ends from the pool's table. */
void evener_connector_leave_table(evener_subchannel_pool *pool, const evener_connector *connector);
void evener_connector_attach(evener_connector *connector, evener_subchannel_body *subchannel);
/* Detach the subchannel. The last one ends the connector and its connection. */
void evener_connector_detach(evener_connector *connector, evener_subchannel_body *subchannel);
void evener_connector_connect(evener_connector *connector);
void evener_connector_reset_backoff(evener_connector *connector);
/* End the backoff; the next one is the next of the sequence. */
void evener_connector_end_backoff(evener_connector *connector);
/* Return the extra members, allocated if necessary; NULL on out of memory. */
evener_connector_extra *evener_connector_obtain_extra(evener_connector *connector);
/* End all health watches, which go over this connection. */
void evener_health_watches_end(evener_connector *connector, evener_connection *connection);
/* Move all health watches to another connection. What the old one has reported holds until the new one reports. */
void evener_health_watches_move(evener_connector *connector, evener_connection *from, evener_connection *to);
/* See evener_subchannel_watch_health(). */
evener_status_code evener_connector_watch_health(evener_connector *connector, evener_subchannel_body *subchannel,
                                                 const char *service,
                                                 void (*health_changed)(void *arg, evener_subchannel *subchannel,
                                                                        evener_connectivity_state health,
                                                                        const evener_status *status),
                                                 void *arg, evener_status *status);
/* See evener_subchannel_watch_load(). */
evener_status_code evener_connector_watch_load(evener_connector *connector, evener_subchannel_body *subchannel,
                                               uint64_t interval_ms,
                                               void (*load_reported)(void *arg, evener_subchannel *subchannel,
                                                                     const void *report, size_t report_bytes),
                                               void *arg, evener_status *status);
/* Replace the connection in service as soon as its successor is READY, and an attempt in flight when it has ended.
 * End a backoff. */
void evener_connector_reconnect(evener_connector *connector);
/* Return when the backoff ends; 0: there is none. */
uint64_t evener_connector_backoff_end_ns(const evener_connector *connector);
/* Start the attempts that had no memory before. */
void evener_connector_starved_again(evener_subchannel_pool *pool);
/* Name the policy that a subchannel belongs to, for stats. On out of memory it stays unnamed. */
void evener_subchannel_set_owner(evener_subchannel *subchannel, const void *owner);
/* Queue the subchannel's listener for notification of the state. */
void evener_subchannel_notify_later(evener_subchannel_body *body);
/* Poll for the end of the picks on retired subchannels and on connections given up. */
void evener_subchannel_poll_retired(evener_subchannel_pool *pool);

/* ---- link.c ---- */

/* Return a link for an attempt of the connector; NULL on out of memory. */
evener_link *evener_link_create(evener_connector *connector);
/* The lowest bit of owner_or_next: the link was given up. */
#define EVENER_LINK_GIVEN_UP ((uintptr_t)1)
/* Return the connector; NULL after the link was given up. */
static inline evener_connector *evener_link_connector(const evener_link *link)
{
    return (link->owner_or_next & EVENER_LINK_GIVEN_UP) == 0 ? (evener_connector *)link->owner_or_next : NULL;
}
/* Return the next link, of one that was given up: in a list of those that wait for a grace period, or for the end of
 * picks. */
static inline evener_link *evener_link_next(const evener_link *link)
{
    return (evener_link *)(link->owner_or_next & ~EVENER_LINK_GIVEN_UP);
}
/* Set the next link, of one that is, or was, given up. */
static inline void evener_link_set_next(evener_link *link, const evener_link *next)
{
    link->owner_or_next = (uintptr_t)next | EVENER_LINK_GIVEN_UP;
}
/* Return the connection that calls go over, of a link that was held; NULL: it could not be held. */
static inline evener_connection *evener_link_connection(const evener_link *link)
{
    return link->users != NULL ? link->users->connection : link->connection;
}
/* The attempt succeeded: hold the connection for the picks to come. */
void evener_link_hold(evener_subchannel_pool *pool, evener_link *link);
/* Give the connection up: the transport is asked to end it. Free the link when no pick is in flight on it. No new pick
 * can begin. */
void evener_link_disconnect(evener_subchannel_pool *pool, evener_link *link);
/* Free the links given up whose last pick is done. Return whether there are others; `all`: there are none. */
bool evener_link_free_unused(evener_subchannel_pool *pool, bool all);
/* Publish the connection that picks of the subchannel find from now on; link NULL: none. */
void evener_link_publish(const evener_link *link, evener_subchannel *handle);

/* Return the reason of the last failure; NULL: it never failed. */
static inline const char *evener_connector_last_error(const evener_connector *connector)
{
    return connector->extra != NULL ? connector->extra->last_error : NULL;
}

/* While a list is handed to the policy, everything starts at the time when the list arrived: one clock reading
 * instead of one per backend, which gives all its attempts one start time. */
static inline void evener_subchannel_pool_begin_list(evener_subchannel_pool *pool)
{
    pool->list_ns = evener_loop_now_fast_ns(pool->loop);
}

static inline void evener_subchannel_pool_end_list(evener_subchannel_pool *pool)
{
    pool->list_ns = 0;
}

/* Return the start time of what starts now. */
static inline uint64_t evener_connector_time_ns(const evener_subchannel_pool *pool)
{
    return pool->list_ns != 0 ? pool->list_ns : evener_loop_now_fast_ns(pool->loop);
}

/* Use the pool's authority for connections from now on. */
static inline void evener_connector_take_authority(const evener_subchannel_pool *pool, evener_connector *connector)
{
    connector->generation = pool->generation;
    connector->authority = pool->authority;
    connector->authority_origin = (unsigned)pool->authority_origin & 3U;
}

static inline evener_subchannel_pool *evener_connector_pool(const evener_connector *connector)
{
    return connector->pool;
}

/* Run the item once no pick can use what it frees: after a grace period, or soon if the channel has no references left.
 * Control thread. */
static inline void evener_subchannel_pool_reclaim(const evener_subchannel_pool *pool, evener_reclaim *item)
{
    if (pool->unread) {
        evener_runtime_reclaim_unread(pool->runtime, item);
    } else {
        evener_runtime_reclaim(pool->runtime, item);
    }
}

#endif
