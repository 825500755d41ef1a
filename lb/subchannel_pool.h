/* Subchannel pool: a channel's backends.
 *
 * Two levels. A connector is one address (its identity): connectivity state, backoff, the transport's connection and
 * what is known of it. A subchannel is a policy's handle on a connector: listener, the policy's data, the counters of
 * its picks. Two policies of one channel (while one replaces the other) share connectors, so that nothing reconnects.
 *
 * All on the control thread, but for what picks touch: a subchannel's `connection`, `cells` and `failed`. */
#ifndef EVENER_LB_SUBCHANNEL_POOL_H
#define EVENER_LB_SUBCHANNEL_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/address.h>
#include <evener/connectivity.h>
#include <evener/loop.h>
#include <evener/policy.h>
#include <evener/runtime.h>
#include <evener/subchannel.h>
#include <evener/transport.h>

#include "lb/cells.h"

typedef struct evener_connector evener_connector;
typedef struct evener_link evener_link;

typedef struct evener_subchannel_pool {
    evener_runtime *runtime;
    evener_loop *loop;
    evener_transport *transport;
    void (*connection_unref)(evener_connection *connection); /* the transport's; or NULL. Any thread */
    const char *authority;
    uint32_t generation; /* of authority and transport: what was connected under another one connects anew */
    uint64_t connect_timeout_ns, backoff_initial_ns, backoff_max_ns;
    /* Told after a connector got READY, when picks that found no connection may be tried again. */
    void (*became_ready)(void *arg);
    /* Told when the last connection has been given up for good. */
    void (*drained)(void *arg);
    void *arg;

    /* the pool's own */
    evener_connector **buckets;
    size_t bucket_count, connector_count;
    size_t link_count;                        /* connections that the transport was not asked to give up yet */
    evener_subchannel *untold, **untold_tail; /* whose listeners are to be told */
    evener_task tell_task;
    evener_cell_pool cells;
    evener_subchannel *retired; /* without references, with picks under way */
    uint64_t retire_poll_ns;
    evener_timer retire_timer;
    size_t subchannel_count; /* memory not freed yet */
} evener_subchannel_pool;

struct evener_connector {
    evener_subchannel_pool *pool;
    evener_connector *bucket_next;
    evener_address *address;
    const char *authority; /* the pool's, of the generation */
    uint32_t generation;
    evener_subchannel *subchannels;    /* by connector_next; at least one */
    evener_link *link;                 /* the attempt or connection; NULL if none */
    evener_subchannel *health_watcher; /* who watches the health over the connection; or NULL */
    char *last_error;                  /* of the last failure; NULL if none */
    evener_timer timer;                /* CONNECTING: gives up; TRANSIENT_FAILURE: the end of the backoff */
    uint64_t state_since_ns;
    uint64_t backoff_ns;      /* for the next failure; 0: the initial one */
    uint64_t next_attempt_ns; /* not before */
    uint64_t connects, connect_failures;
    uint64_t gone_picks, gone_failed; /* of subchannels that were released */
    evener_connectivity_state state;
    uint16_t short_lived; /* connections in a row that dropped at once */
    bool wanted;          /* connect() was called during the backoff */
};

struct evener_subchannel {
    /* the data plane's: read by every pick */
    evener_connection *connection; /* atomic; NULL unless READY */
    evener_cell *cells;
    void *data;
    void (*connection_unref)(evener_connection *connection); /* the transport's; or NULL */
    evener_subchannel_pool *pool;
    uint64_t failed; /* atomic */
    const char *text;
    /* the control plane's */
    evener_connector *connector; /* NULL once released */
    evener_address *address;
    evener_address *identity; /* keeps `text` alive through set_address */
    const void *owner;        /* the policy, as the graceful switch names it */
    evener_subchannel *connector_next;
    evener_subchannel *queue_next; /* in `untold` or `retired` */
    void (*state_changed)(void *arg, evener_subchannel *subchannel, evener_connectivity_state state,
                          const evener_status *status);
    void *arg;
    void (*health_changed)(void *arg, evener_subchannel *subchannel, evener_connectivity_state health,
                           const evener_status *status);
    void *health_arg;
    void (*released)(void *arg, evener_subchannel *subchannel);
    void (*data_destroy)(void *data);
    evener_cell_block *cell_block;
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
                                                            const evener_subchannel_options *options);

/* The connector of an address, or NULL. */
evener_connector *evener_subchannel_pool_find(const evener_subchannel_pool *pool, const evener_address *address);

/* Brings the backends of a list to the pool's generation: connections and attempts of an older one are replaced, with
 * the authority in force; calls on them finish. Those that the list does not name stay as they are. */
void evener_subchannel_pool_renew(evener_subchannel_pool *pool, evener_address *const *addresses, size_t count);

/* Ends every backoff now. */
void evener_subchannel_pool_reset_backoff(evener_subchannel_pool *pool);

/* Picks begun since ever and now under way, over all subchannels. */
void evener_subchannel_pool_activity(const evener_subchannel_pool *pool, uint64_t *started, uint64_t *in_flight);

/* ---- between connector.c and subchannel.c ---- */

/* The connector of an address, made if there is none; NULL without memory. */
evener_connector *evener_connector_obtain(evener_subchannel_pool *pool, const evener_address *address);
void evener_connector_attach(evener_connector *connector, evener_subchannel *subchannel);
/* Takes the subchannel off; the last one ends the connector and its connection. */
void evener_connector_detach(evener_connector *connector, evener_subchannel *subchannel);
void evener_connector_connect(evener_connector *connector);
void evener_connector_reset_backoff(evener_connector *connector);
/* See evener_subchannel_watch_health(); the listener is in the subchannel. */
evener_status_code evener_connector_watch_health(evener_connector *connector, evener_subchannel *subchannel,
                                                 const char *service, evener_status *status);
/* READY goes IDLE, as when the server drops the connection; an attempt begins anew; a backoff ends. */
void evener_connector_reconnect(evener_connector *connector);
/* Queues the subchannel's listener to be told of the state. */
void evener_subchannel_tell_later(evener_subchannel *subchannel);

#endif
