/* The channel's inside, for the files that make it: channel.c (opening, references), channel_control.c (resolver,
 * policy and states, on the control thread), pick.c and pick_queue.c (the data plane), stats.c. */
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

struct evener_channel {
    /* Read by every pick, changed seldom: one cache line. */
    evener_picker *picker; /* RCU; never NULL: the policy's, or that of a closed channel */
    evener_loop *loop;
    void (*connection_ref)(evener_connection *connection); /* NULL: the transport has none */
    uint32_t state;                                        /* atomic, an evener_connectivity_state */
    bool picks_shortly;                                    /* connections are not counted, and RCU has its short way */
    bool wait_for_ready;
    bool caller_drives_loop; /* waiting would be waiting for oneself */

    /* Fixed at opening. */
    _Alignas(64) uint64_t references; /* atomic */
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

    /* The control thread's. */
    evener_subchannel_pool pool;
    evener_policy_helper helper;             /* as the policies see the channel */
    evener_resolver_sink sink;               /* as the resolver sees it */
    evener_picker *policy_picker;            /* the last that was published; the channel holds its reference */
    evener_child_policy *lb;                 /* NULL while idle */
    evener_resolver *resolver;               /* NULL while idle */
    evener_service_config *default_config;   /* or NULL */
    evener_service_config *resolver_config;  /* last good one of the resolver; or NULL */
    evener_service_config *published_config; /* RCU: the one in force, for calls; or NULL */
    uint32_t warned_fields;                  /* of evener_service_config_unbuilt(): each is warned of once */
    evener_address **addresses;              /* the list in force */
    size_t address_count;
    bool renew_with_update; /* the next list brings its backends to the pool's generation */
    bool has_update;        /* a list was given to the policy since the channel left IDLE */
    evener_backoff build_backoff;
    evener_timer build_timer; /* tries again to build the resolver */
    evener_timer stale_timer; /* the end of an empty update's grace */
    evener_timer idle_timer;
    uint64_t idle_last_started;
    uint32_t idle_quiet_checks;
    size_t retired_count; /* pickers and configs that wait for a grace period */
    uint64_t resolver_updates, resolver_errors;
    char *last_resolver_error;
    bool shut_down; /* the control plane has ended */
    bool released;  /* the last reference is gone, and who gave it back has let go of the memory */
    sem_t *gone;    /* told when the channel is no more, by who then does not give the runtime back; or NULL */
    struct evener_former_name *former_names; /* targets and authorities that were given out before a change */
    evener_task connect_task, resolve_now_task, reset_backoff_task, close_task, release_task;

    evener_pick_queue queue;
};

/* ---- channel_control.c ---- */

/* Sets up tasks, timers, helper and sink, and the first picker. False without memory. Any thread, before any use. */
bool evener_channel_control_init(evener_channel *channel);

/* A default service config for a live channel; takes over the reference (or NULL). Control thread. */
void evener_channel_replace_default_config(evener_channel *channel, evener_service_config *config);

/* Frees what evener_channel_create() made. The control plane was never started, or has ended. */
void evener_channel_free(evener_channel *channel);

/* Ends the resolver and starts one for the target in force; the last list serves until it has an answer. Nothing while
 * the channel is idle. Between the two the target and its options may be replaced. Control thread. */
void evener_channel_close_resolver(evener_channel *channel);
void evener_channel_open_resolver(evener_channel *channel);

/* Starts to count the idle timeout anew. Control thread. */
void evener_channel_restart_idle_timeout(evener_channel *channel);

/* ---- channel_reconfigure.c ---- */

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
