/* Subchannel pool: a channel's backends.
 *
 * Two levels. A connector is one address (its identity): connectivity state, backoff, the transport's connection and
 * what is known of it. A subchannel is a policy's handle on a connector: listener, the policy's data, the counters of
 * its picks. Two policies of one channel (while one replaces the other) share connectors, so that nothing reconnects.
 *
 * A subchannel is two pieces: the handle, which lies in a slot (lb/backend/slots.h) with all that a pick touches, and the body,
 * which is the control plane's. Memory counts here, as there are many of them: what most backends do not need, or not
 * while they are READY, is in pieces of its own (attempt, extra).
 *
 * All on the control thread, but for what picks touch: the slot, and a body's `failed`. */
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

/* Memory for subchannels with so much data of their policies. */
typedef struct evener_body_slab {
    evener_slab slab;
    size_t body_offset; /* the policy's data comes first */
    struct evener_body_slab *next;
} evener_body_slab;

/* What all subchannels of a policy have in common. */
typedef struct evener_subchannel_kind {
    struct evener_subchannel_pool *pool;
    evener_body_slab *memory;
    const void *owner; /* evener_child_maker, the policy that made them; NULL: not named */
    size_t users;      /* subchannels */
    void (*state_changed)(void *arg, evener_subchannel *subchannel, evener_connectivity_state state,
                          const evener_status *status);
    void (*released)(void *arg, evener_subchannel *subchannel);
    void (*data_destroy)(void *data);
    size_t data_bytes;
    struct evener_subchannel_kind *named; /* the one that its last subchannel came to when it was named; or NULL */
    struct evener_subchannel_kind *next;
} evener_subchannel_kind;

typedef struct evener_subchannel_pool {
    evener_runtime *runtime;
    evener_loop *loop;
    evener_transport *transport;
    void (*connection_unref)(evener_connection *connection); /* the transport's; or NULL. Any thread */
    const char *authority;
    evener_authority_origin authority_origin;
    uint32_t generation; /* of authority and transport: what was connected under another one connects anew */
    uint64_t connect_timeout_ns;
    evener_backoff_options backoff;
    /* Told after a connector got READY, when picks that found no connection may be tried again. */
    void (*became_ready)(void *arg);
    /* Told the address of the attempt that has gone on longest, when another one becomes that; "": there is none. */
    void (*connecting_to)(void *arg, const char *address);
    /* Told when the last connection has been given up for good. */
    void (*drained)(void *arg);
    void *arg;

    /* the pool's own */
    evener_address_table table;             /* of connectors */
    uint64_t list_ns;                       /* when the list came that is handled now; 0: none is */
    size_t link_count;                      /* connections that the transport was not asked to give up yet */
    evener_link *given_up, **given_up_tail; /* for which no grace period has begun */
    evener_link *passing;                   /* whose grace period is under way */
    evener_reclaim grace_period;
    evener_subchannel_body *untold, **untold_tail; /* whose listeners are to be told */
    evener_task tell_task;
    evener_subchannel_kind *kinds; /* few: one or two a policy that has subchannels */
    evener_body_slab *body_slabs;  /* few: by the bytes that policies ask for */
    evener_slab connectors, links, attempts;
    evener_slot_pool *slots;         /* the runtime's; NULL until the first is taken */
    evener_subchannel_body *retired; /* without references, with picks under way */
    uint64_t retire_poll_ns;
    evener_timer retire_timer;
    evener_timer starved_timer; /* for connectors that had no memory for an attempt */
    /* Attempts under way whose time ends one after the other; the timer is set to the end of one that is first, or was. */
    evener_attempt *first_to_time_out, *last_to_time_out;
    evener_timer time_out_timer;
    size_t subchannel_count; /* memory not freed yet */
} evener_subchannel_pool;

/* From the first attempt until READY; and while a connection's successor is made, its backoffs included. */
struct evener_attempt {
    evener_connector *connector;
    evener_link *link;               /* while it is under way; else NULL */
    evener_attempt *next, *previous; /* among those whose time ends one after the other */
    uint64_t started_ns;
    uint64_t timeout_ns;
    evener_backoff backoff; /* delay from its start to that of the next one */
    bool wanted;            /* connect() was called during the backoff */
    bool is_queued;         /* to time out; else `timer` runs for that */
    bool failure_logged;    /* that it failed to replace the connection in service */
    evener_timer timer;     /* without a link: the end of the backoff; with one: if not queued, gives up */
};

/* What few connectors have. */
typedef struct evener_connector_extra {
    char *last_error;                       /* of the last failure; NULL if none */
    evener_subchannel_body *health_watcher; /* who watches the health over the connection; or NULL */
    char *health_service;
    bool health_moved; /* to a connection that has not answered yet */
    void (*health_changed)(void *arg, evener_subchannel *subchannel, evener_connectivity_state health,
                           const evener_status *status);
    void *health_arg;
    uint64_t gone_picks, gone_failed; /* of subchannels that were released */
} evener_connector_extra;

struct evener_connector {
    evener_connector *table_next;
    evener_subchannel_pool *pool;
    evener_address *address;
    const char *authority;               /* the pool's, of the generation */
    evener_subchannel_body *subchannels; /* by connector_next; at least one, but while the first is made */
    evener_link *link;                   /* the connection in service; NULL if not READY */
    evener_attempt *attempt;             /* or NULL */
    evener_connector_extra *extra;       /* or NULL */
    uint64_t state_since_ns;
    uint32_t connects, connect_failures;
    uint32_t generation;
    uint8_t state;                /* an evener_connectivity_state */
    uint8_t short_lived;          /* connections in a row that dropped at once */
    uint8_t table_tag;
    bool outdated : 1;            /* what is under way, or else in service, is to be replaced as soon as it is READY */
    uint8_t authority_origin : 2; /* an evener_authority_origin: the pool's, of the generation */
};

struct evener_subchannel_body {
    evener_subchannel *handle;
    evener_subchannel_kind *kind;
    uint64_t failed;             /* atomic */
    evener_connector *connector; /* NULL once released */
    evener_address *address;     /* a reference, if it is not `identity` */
    evener_address *identity;    /* as created: keeps its text alive through set_address */
    void *arg;                   /* the listener's */
    evener_subchannel_body *connector_next;
    evener_subchannel_body *queue_next; /* in `untold` or `retired` */
    uint32_t references;
    uint8_t told_state;
    bool untold, failure_untold;
};

/* Prepares a pool whose first members are set. */
void evener_subchannel_pool_init(evener_subchannel_pool *pool);

/* Frees what is left; every subchannel was released and no pick is under way (the channel's contract). */
void evener_subchannel_pool_clear(evener_subchannel_pool *pool);

/* See evener_policy_create_subchannel(). */
evener_subchannel *evener_subchannel_pool_create_subchannel(evener_subchannel_pool *pool, const evener_address *address,
                                                            const evener_subchannel_options *given);

/* The connector of an address, or NULL. */
evener_connector *evener_subchannel_pool_find(const evener_subchannel_pool *pool, const evener_address *address);

/* Brings the backends of a list to the pool's generation: connections and attempts of an older one are replaced, with
 * the authority in force. The old ones serve until the new ones do, and calls on them finish. Those that the list does
 * not name stay as they are. */
void evener_subchannel_pool_renew(evener_subchannel_pool *pool, evener_address *const *addresses, size_t count);

/* Ends every backoff now. */
void evener_subchannel_pool_reset_backoff(evener_subchannel_pool *pool);

/* Picks begun since ever and now under way, over all subchannels. */
void evener_subchannel_pool_activity(const evener_subchannel_pool *pool, uint64_t *started, uint64_t *in_flight);

/* ---- between attempt_time_outs.c, connector.c, connector_table.c and subchannel.c ---- */

void evener_attempt_time_outs_prepare(evener_subchannel_pool *pool);
/* From attempt->started_ns on, for attempt->timeout_ns; then evener_attempt_timed_out() is called. */
void evener_attempt_start_time_out(evener_subchannel_pool *pool, evener_attempt *attempt);
/* Stops a backoff as well. */
void evener_attempt_stop_time_out(evener_subchannel_pool *pool, evener_attempt *attempt);
/* `arg` is the attempt. */
void evener_attempt_timed_out(void *arg);

/* Sets up the pool's memory for connectors and what belongs to them. */
void evener_connector_prepare(evener_subchannel_pool *pool);
/* The connector of an address, made if there is none; NULL without memory. */
evener_connector *evener_connector_obtain(evener_subchannel_pool *pool, const evener_address *address);
/* For a connector that ends. */
void evener_connector_leave_table(evener_subchannel_pool *pool, const evener_connector *connector);
void evener_connector_attach(evener_connector *connector, evener_subchannel_body *subchannel);
/* Takes the subchannel off; the last one ends the connector and its connection. */
void evener_connector_detach(evener_connector *connector, evener_subchannel_body *subchannel);
void evener_connector_connect(evener_connector *connector);
void evener_connector_reset_backoff(evener_connector *connector);
/* See evener_subchannel_watch_health(). */
evener_status_code evener_connector_watch_health(evener_connector *connector, evener_subchannel_body *subchannel,
                                                 const char *service,
                                                 void (*health_changed)(void *arg, evener_subchannel *subchannel,
                                                                        evener_connectivity_state health,
                                                                        const evener_status *status),
                                                 void *arg, evener_status *status);
/* Replace the connection in service as soon as there is another one, and an attempt under way when it has ended; end a
 * backoff. */
void evener_connector_reconnect(evener_connector *connector);
/* When the backoff is over; 0: there is none. */
uint64_t evener_connector_backoff_end_ns(const evener_connector *connector);
/* Attempts again where there was no memory for it. */
void evener_connector_starved_again(evener_subchannel_pool *pool);
/* Names the policy that a subchannel belongs to, for stats; without memory it stays unnamed. */
void evener_subchannel_set_owner(evener_subchannel *subchannel, const void *owner);
/* Queues the subchannel's listener to be told of the state. */
void evener_subchannel_tell_later(evener_subchannel_body *body);

/* NULL: it never failed. */
static inline const char *evener_connector_last_error(const evener_connector *connector)
{
    return connector->extra != NULL ? connector->extra->last_error : NULL;
}

/* While a list is handed to the policy, all that starts starts when the list came: one look at the clock instead of one
 * per backend, which saves 3 to 10 % of the time of a list of 10,000 new backends. */
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

/* For connections from now on. */
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

#endif
