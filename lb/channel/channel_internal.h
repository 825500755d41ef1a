/* The inside of a channel, for the files that implement it: channel.c (creation, references), control.c (resolver,
 * policy and states, on the control thread), reconfigure.c, pick.c and pick_queue.c (the data plane), stats.c. */
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
#include "lb/base/fork.h"
#include "lb/channel/cache.h"
#include "lb/channel/limits.h"
#include "lb/channel/method_state.h"
#include "lb/channel/pick_queue.h"
#include "lb/channel/retry_budget.h"
#include "lb/channel/service_config.h"
#include "lb/channel/shared_throttle.h"
#include "lb/channel/throttle.h"
#include "lb/channel/update_list.h"
#include "lb/runtime/runtime_internal.h"

/* Phase of the control plane.
 *
 *     phase       resolver  policy has a list  leaves for
 *     IDLE        no        no                 BUILDING (a pick, connect())
 *     BUILDING    no        no                 RESOLVING (built), REBUILDING (list of the cache file)
 *     RESOLVING   yes       no                 SERVING (first list), BUILDING (reconfigured)
 *     SERVING     yes       yes                REBUILDING (reconfigured)
 *     REBUILDING  no        yes                SERVING (built)
 *     CLOSED      no        no                 RELEASED (last reference)
 *     RELEASED    no        no                 freed, when nothing that was started is left
 *
 * BUILDING, RESOLVING, SERVING and REBUILDING also leave for IDLE (idle timeout); these and IDLE for CLOSED. While
 * BUILDING or REBUILDING lasts longer than one call of a function, build_timer runs. */
typedef enum evener_channel_phase {
    EVENER_CHANNEL_IDLE,
    EVENER_CHANNEL_BUILDING,
    EVENER_CHANNEL_RESOLVING,
    EVENER_CHANNEL_SERVING,
    EVENER_CHANNEL_REBUILDING,
    EVENER_CHANNEL_CLOSED,
    EVENER_CHANNEL_RELEASED,
} evener_channel_phase;

/* Read by every pick, seldom changed: one cache line. */
typedef struct evener_channel_hot {
    evener_picker *picker; /* RCU; never NULL: the policy's, or that of a closed channel */
    evener_loop *loop;
    bool (*takes_calls)(const evener_connection *connection); /* the transport's connection_takes_calls, or NULL */
    uint32_t state;                                           /* atomic, an evener_connectivity_state */
    bool picks_shortly;      /* atomic: connections have no users, RCU has its fast variant, and there is no limit */
    bool picks_as_user;      /* connections have users: see lb/backend/link.c */
    bool users_shortly;      /* atomic: likewise, and there is no limit */
    bool is_limited;         /* atomic */
    bool wait_for_ready;     /* atomic */
    bool caller_drives_loop; /* waiting would deadlock */
} evener_channel_hot;

/* What calls take from the channel. Changed by evener_channel_reconfigure() only; each field is atomic by itself. */
typedef struct evener_channel_calls {
    size_t receive_bytes_max;                     /* 0: the default, 4 MiB; SIZE_MAX: none */
    size_t send_bytes_max;                        /* 0 or SIZE_MAX: none */
    uint32_t compression;                         /* an evener_compression */
    size_t interceptor_count;                     /* fixed at creation */
    struct evener_work_threads *callback_threads; /* NULL: callbacks run where the transport's events come */
} evener_channel_calls;

/* What retries share. Only calls that fail write to it, or any call while there are tokens to be given back. */
typedef struct evener_channel_retries {
    evener_throttle *throttle;    /* atomic; never NULL: `own_throttle`, or that of the server name */
    evener_throttle own_throttle; /* without retryThrottling, or before the channel has started */
    evener_retry_budget budget;
    uint32_t attempts_max; /* atomic: limit of every policy's maxAttempts */
    uint64_t random;       /* atomic: state of the backoffs' random numbers */
} evener_channel_retries;

_Static_assert(sizeof(evener_channel_hot) <= 64, "a pick reads one cache line of its channel");

/* Fixed at creation. Only evener_channel_reconfigure() changes some of it later, on the control thread. `target` and
 * `authority` are read by any thread and therefore stored with release. */
typedef struct evener_channel_settings {
    evener_runtime *runtime;
    evener_target *target;
    const evener_resolver_builder *resolver_builder;
    const evener_policy_builder *policy_builder; /* used when no service config names a policy */
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
    evener_limit_config limits;                     /* of the options; the service config's apply on top */
    uint32_t connections_per_backend_max;           /* limit of the service config's connectionScaling */
    const struct evener_interceptor **interceptors; /* the array is owned */
    evener_transport *transport;
    bool owns_transport;
} evener_channel_settings;

/* Belongs to the control thread. */
typedef struct evener_channel_control {
    evener_channel_phase phase;              /* changed by enter_phase() in control.c only */
    evener_policy_helper helper;             /* how policies see the channel */
    evener_resolver_sink sink;               /* how the resolver sees the channel */
    evener_picker *policy_picker;            /* the last published one, or NULL; the channel holds its reference */
    evener_child_policy *lb;                 /* NULL: not in this phase, or no memory for one (BUILDING) */
    evener_resolver *resolver;               /* NULL: not in this phase */
    evener_service_config *default_config;   /* or NULL */
    evener_service_config *resolver_config;  /* the resolver's last good one; or NULL */
    evener_service_config *published_config; /* RCU: the one in force, for calls; or NULL */
    bool warned_of_scaling;                  /* the transport ignores connectionScaling */
    evener_method_table methods;             /* of the names that have or had a policy */
    evener_held_throttle *throttles;         /* of the server name, and of former ones */
    evener_update_list list;                 /* the one in force */
    char list_source[128];                   /* of the resolver's last update; policies read it through `helper` */
    bool renew_with_update;                  /* the next list brings its backends to the pool's generation */
    bool connect_wanted; /* asked to connect before there was a list: a policy that starts IDLE is asked then */
    evener_backoff build_backoff;
    evener_timer build_timer; /* next attempt to build the resolver */
    evener_timer stale_timer; /* end of the grace time of an empty update */
    evener_timer idle_timer;
    uint64_t idle_last_started;
    uint32_t idle_quiet_checks;
    size_t retired_count; /* pickers and configs that wait for a grace period */
    evener_channel_cache cache;
    uint64_t resolver_updates, resolver_errors;
    char *last_resolver_error;
    sem_t *gone; /* posted when the channel is freed, for the thread that then releases the runtime; or NULL */
    struct evener_former_name *former_names; /* targets and authorities that may have been returned before a change */
    evener_task rest_task;                   /* the next four: see rest.c */
    evener_timer rest_timer;
    uint64_t rest_round; /* that it has not reported to; 0: none */
    bool rest_ends;
    evener_task connect_task, resolve_now_task, reset_backoff_task, close_task, release_task;
} evener_channel_control;

struct evener_channel {
    evener_channel_hot hot;
    _Alignas(64) uint64_t references; /* atomic */
    _Alignas(64) evener_channel_calls calls;
    _Alignas(64) evener_channel_retries retries;
    _Alignas(64) evener_limits limits;
    evener_channel_settings settings;
    evener_channel_control control;
    evener_subchannel_pool pool; /* belongs to the control thread */
    evener_pick_queue queue;
    evener_fork_object fork_object;
};

/* Return whether the channel belongs to a parent of this process: it was made before a fork(). Then nothing of it may
 * be changed or waited for. Any thread. */
static inline bool evener_channel_is_older_than_fork(const evener_channel *channel)
{
    return evener_runtime_is_older_than_fork(channel->settings.runtime);
}

/* Return whether the channel has a resolver or builds one. */
static inline bool evener_channel_is_active(const evener_channel *channel)
{
    return channel->control.phase >= EVENER_CHANNEL_BUILDING && channel->control.phase <= EVENER_CHANNEL_REBUILDING;
}

/* Return whether the policy was given a list since the channel left IDLE. */
static inline bool evener_channel_has_list(const evener_channel *channel)
{
    return channel->control.phase == EVENER_CHANNEL_SERVING || channel->control.phase == EVENER_CHANNEL_REBUILDING;
}

/* Return whether the channel is closed for good. */
static inline bool evener_channel_is_closed(const evener_channel *channel)
{
    return channel->control.phase >= EVENER_CHANNEL_CLOSED;
}

/* ---- control.c ---- */

/* Initialise tasks, timers, helper and sink, and the first picker. Return false on out of memory. Any thread, before
 * any other use. */
bool evener_channel_control_init(evener_channel *channel);

/* Apply the channel's limit and the service config in force to the connections per backend (A105). Control thread. */
void evener_channel_take_connections_max(evener_channel *channel);

/* Replace the default service config of a live channel. Takes over the reference (or NULL). Control thread. */
void evener_channel_replace_default_config(evener_channel *channel, evener_service_config *config);

/* Give the names of a config their states, and its retry budget to the channel, before calls see it. NULL: no config.
 * Control thread, or before any other use. */
void evener_channel_bind_config(evener_channel *channel, evener_service_config *config);

/* Put the limits of options and service config in force. Control thread, or before any other use. */
void evener_channel_apply_limits(evener_channel *channel);

/* Put the retryThrottling of the config in force, with the tokens that the server name has. Control thread. */
void evener_channel_apply_throttling(evener_channel *channel);

/* Free what evener_channel_create() made. The control plane was never started, or has ended. */
void evener_channel_free(evener_channel *channel);

/* Close the resolver of an active channel; open one for the target in force. The last list serves until the new
 * resolver pushes one. Between the two calls, target and options may be replaced. Control thread. */
void evener_channel_close_resolver(evener_channel *channel);
void evener_channel_open_resolver(evener_channel *channel);

/* Restart the idle timeout. Control thread. */
void evener_channel_restart_idle_timeout(evener_channel *channel);

/* Put a list of the cache file in force, in BUILDING, RESOLVING, or after an empty list. Errors: of its service config; nothing has changed
 * then. Control thread. */
bool evener_channel_take_saved_list(evener_channel *channel, const evener_saved_list *list, const char *source,
                                    evener_status *status);

/* Fail calls with the resolver's error, as there is no list. Control thread. */
void evener_channel_report_resolver_failure(evener_channel *channel, const evener_status *status);

/* Free the channel if it was released and everything that it started has ended. Control thread. */
void evener_channel_free_if_over(evener_channel *channel);

/* ---- fork.c ---- */

/* Have later children of fork() cut the channel off from the parent's threads and connections. */
void evener_channel_enlist_for_fork(evener_channel *channel);

/* Call fn(channel, arg) for each channel of the process, under a lock: `fn` creates and frees none. Any thread. */
void evener_channels_for_each(void (*fn)(evener_channel *channel, void *arg), void *arg);

/* Set FAILED_PRECONDITION if the channel is older than this process. Any thread. */
evener_status_code evener_channel_check_fork(const evener_channel *channel, evener_status *status);

/* ---- rest.c ---- */

void evener_channel_rest_init(evener_channel *channel);

/* The channel ends: evener_prefork() does not ask it any more. rest_task may still be pending. Control thread. */
void evener_channel_rest_end(evener_channel *channel);

/* ---- reconfigure.c ---- */

/* Free the names that evener_channel_reconfigure() has kept. */
void evener_channel_free_former_names(evener_channel *channel);

/* ---- pick.c ---- */

/* The picker that evener_channel_close() puts in force for good. */
extern evener_picker evener_channel_closed_picker;

/* Return whether a pick's outcome was FAIL, and not DROP, of the picker. For a pick that ended without a backend and
 * whose layer_count was 0 before; false also when it ended otherwise, as by its deadline. */
bool evener_pick_was_failed(const evener_pick *pick);

/* Return whether a pick's outcome was QUEUE because of a limit. As evener_pick_was_failed(). */
bool evener_pick_was_full(const evener_pick *pick);

/* Return whether a pick's outcome was QUEUE because the backends that were picked within limits took no calls any more: the
 * policy is about to hear that. As evener_pick_was_failed(). */
bool evener_pick_was_lost(const evener_pick *pick);

/* Pick once, without waiting. Return QUEUE also for a FAIL of a wait-for-ready pick. `overtakes`: the pick does not
 * queue up behind those that wait for the end of another call, as it is one of them. `args` is not NULL. */
evener_pick_outcome evener_channel_pick_now(evener_channel *channel, const evener_pick_args *args, bool overtakes,
                                            evener_pick *pick, evener_status *status);

/* Fill and return the status of a pick that may not wait on this thread, and found no backend or no room. */
evener_status_code evener_channel_cannot_wait(evener_channel *channel, const evener_pick *pick, const char *advice,
                                              evener_status *status);

/* Keep the connection of a pick valid beyond the end of the pick, until evener_connection_let_go() with the result.
 * Over a transport with connection_ref. Any thread that holds the pick; the other may be called on another thread. */
evener_subchannel *evener_pick_keep_connection(const evener_pick *pick);
void evener_connection_let_go(evener_subchannel *users);

/* Start connecting if the channel is IDLE, for a pick that waits. */
void evener_channel_kick(evener_channel *channel);

/* ---- for calls ---- */

/* Return what throttles retries and hedges. Lives as long as the channel. Any thread. */
static inline evener_throttle *evener_channel_throttle(const evener_channel *channel)
{
    /* Acquire pairs with evener_channel_apply_throttling(). */
    return __atomic_load_n(&channel->retries.throttle, __ATOMIC_ACQUIRE);
}

/* Return a method's settings in the service config in force. Any thread; no lock. */
evener_method_settings evener_channel_method_settings(evener_channel *channel, const char *method);

#endif
