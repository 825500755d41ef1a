/* The channel's inside, for the files that make it: channel.c (opening, references), control.c (resolver, policy and
 * states, on the control thread), reconfigure.c, pick.c and pick_queue.c (the data plane), stats.c. */
#ifndef EVENER_LB_CHANNEL_CHANNEL_INTERNAL_H
#define EVENER_LB_CHANNEL_CHANNEL_INTERNAL_H

#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/backoff.h>
#include <evener/channel.h>
#include <evener/child_policy.h>
#include <evener/stats.h>

#include "lb/backend/subchannel_pool.h"
#include "lb/channel/pick_queue.h"
#include "lb/channel/service_config.h"

/* What the control plane is doing.
 *
 *     phase       resolver  policy has a list  leaves for
 *     IDLE        no        no                 BUILDING (a pick, connect())
 *     BUILDING    no        no                 RESOLVING (built)
 *     RESOLVING   yes       no                 SERVING (first list), BUILDING (reconfigured)
 *     SERVING     yes       yes                REBUILDING (reconfigured)
 *     REBUILDING  no        yes                SERVING (built)
 *     CLOSED      no        no                 RELEASED (last reference)
 *     RELEASED    no        no                 the end, when nothing that was started is left
 *
 * BUILDING, RESOLVING, SERVING and REBUILDING also leave for IDLE (idle timeout); these and IDLE for CLOSED. While
 * BUILDING or REBUILDING lasts longer than a call, build_timer runs. */
typedef enum evener_channel_phase {
    EVENER_CHANNEL_IDLE,
    EVENER_CHANNEL_BUILDING,
    EVENER_CHANNEL_RESOLVING,
    EVENER_CHANNEL_SERVING,
    EVENER_CHANNEL_REBUILDING,
    EVENER_CHANNEL_CLOSED,
    EVENER_CHANNEL_RELEASED,
} evener_channel_phase;

/* Read by every pick, changed seldom: one cache line. */
typedef struct evener_channel_hot {
    evener_picker *picker; /* RCU; never NULL: the policy's, or that of a closed channel */
    evener_loop *loop;
    void (*connection_ref)(evener_connection *connection); /* NULL: the transport has none */
    uint32_t state;                                        /* atomic, an evener_connectivity_state */
    bool picks_shortly;                                    /* connections are not counted, and RCU has its short way */
    bool wait_for_ready;                                   /* atomic */
    bool caller_drives_loop;                               /* waiting would be waiting for oneself */
} evener_channel_hot;

_Static_assert(sizeof(evener_channel_hot) <= 64, "a pick reads one cache line of its channel");

/* Fixed at creation. Only evener_channel_reconfigure() changes some of it later, on the control thread; `target` and
 * `authority` are read by any thread and therefore stored with release. */
typedef struct evener_channel_settings {
    evener_runtime *runtime;
    evener_target *target;
    const evener_resolver_builder *resolver_builder;
    const evener_policy_builder *policy_builder; /* when no service config names one */
    char *authority;
    char *user_agent;
    evener_resolver_set resolvers;      /* its array is owned */
    evener_policy_set policies;         /* likewise */
    evener_attribute *resolver_options; /* owned, with the strings */
    size_t resolver_option_count;
    uint32_t default_port;
    bool ignore_service_config;
    evener_empty_update empty_update;
    uint64_t empty_update_keep_ns, idle_timeout_ns;
    evener_transport *transport;
    bool owns_transport;
} evener_channel_settings;

/* The control thread's. */
typedef struct evener_channel_control {
    evener_channel_phase phase;              /* changed by enter_phase() in control.c only */
    evener_policy_helper helper;             /* as the policies see the channel */
    evener_resolver_sink sink;               /* as the resolver sees it */
    evener_picker *policy_picker;            /* the last that was published; the channel holds its reference */
    evener_child_policy *lb;                 /* NULL: the phase has none, or there is no memory for one (BUILDING) */
    evener_resolver *resolver;               /* NULL: the phase has none */
    evener_service_config *default_config;   /* or NULL */
    evener_service_config *resolver_config;  /* last good one of the resolver; or NULL */
    evener_service_config *published_config; /* RCU: the one in force, for calls; or NULL */
    uint32_t warned_fields;                  /* of evener_service_config_unbuilt(): each is warned of once */
    evener_address **addresses;              /* the list in force */
    size_t address_count;
    bool renew_with_update; /* the next list brings its backends to the pool's generation */
    evener_backoff build_backoff;
    evener_timer build_timer; /* tries again to build the resolver */
    evener_timer stale_timer; /* the end of an empty update's grace */
    evener_timer idle_timer;
    uint64_t idle_last_started;
    uint32_t idle_quiet_checks;
    size_t retired_count; /* pickers and configs that wait for a grace period */
    uint64_t resolver_updates, resolver_errors;
    char *last_resolver_error;
    sem_t *gone; /* posted when the channel is no more, for who then gives the runtime back; or NULL */
    struct evener_former_name *former_names; /* targets and authorities that were given out before a change */
    evener_task connect_task, resolve_now_task, reset_backoff_task, close_task, release_task;
} evener_channel_control;

struct evener_channel {
    evener_channel_hot hot;
    _Alignas(64) uint64_t references; /* atomic */
    evener_channel_settings settings;
    evener_channel_control control;
    evener_subchannel_pool pool; /* the control thread's */
    evener_pick_queue queue;
};

/* The channel has a resolver or builds one: anything between IDLE and CLOSED. */
static inline bool evener_channel_is_active(const evener_channel *channel)
{
    return channel->control.phase >= EVENER_CHANNEL_BUILDING && channel->control.phase <= EVENER_CHANNEL_REBUILDING;
}

/* The policy was given a list since the channel left IDLE. */
static inline bool evener_channel_has_list(const evener_channel *channel)
{
    return channel->control.phase == EVENER_CHANNEL_SERVING || channel->control.phase == EVENER_CHANNEL_REBUILDING;
}

/* Closed for good. */
static inline bool evener_channel_is_closed(const evener_channel *channel)
{
    return channel->control.phase >= EVENER_CHANNEL_CLOSED;
}

/* ---- control.c ---- */

/* Sets up tasks, timers, helper and sink, and the first picker. False without memory. Any thread, before any use. */
bool evener_channel_control_init(evener_channel *channel);

/* A default service config for a live channel; takes over the reference (or NULL). Control thread. */
void evener_channel_replace_default_config(evener_channel *channel, evener_service_config *config);

/* Frees what evener_channel_create() made. The control plane was never started, or has ended. */
void evener_channel_free(evener_channel *channel);

/* Ends the resolver of an active channel, and starts one for the target in force; the last list serves until it has an
 * answer. Between the two the target and its options may be replaced. Control thread. */
void evener_channel_close_resolver(evener_channel *channel);
void evener_channel_open_resolver(evener_channel *channel);

/* Starts to count the idle timeout anew. Control thread. */
void evener_channel_restart_idle_timeout(evener_channel *channel);

/* ---- reconfigure.c ---- */

/* What channel_reconfigure() has kept alive. */
void evener_channel_free_former_names(evener_channel *channel);

/* ---- pick.c ---- */

/* What evener_channel_close() puts in force for good. */
extern evener_picker evener_channel_closed_picker;

/* One pick, now. QUEUE also for FAIL of a wait-for-ready pick. `args` is not NULL. */
evener_pick_outcome evener_channel_pick_now(evener_channel *channel, const evener_pick_args *args, evener_pick *pick,
                                            evener_status *status);

/* Starts connecting if the channel is IDLE: a pick waits. */
void evener_channel_kick(evener_channel *channel);

/* ---- for calls ---- */

/* What the service config in force says of a method. Any thread; no lock. */
evener_method_settings evener_channel_method_settings(evener_channel *channel, const char *method);

#endif
