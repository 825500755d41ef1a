/* The channel's control plane: resolver -> policy -> picker, states, idleness and the end. Everything on the control
 * thread. */
#include "lb/channel/channel_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/log.h>

#include "lb/backend/shared_transport.h"
#include "lb/base/memory.h"
#include "lb/base/options.h"
#include "lb/channel/update_list.h"
#include "lb/runtime/rcu.h"
#include "lb/runtime/reclaim.h"

#define IDLE_CHECKS 4 /* this many quiet checks in a row make a channel idle: polled, as calls must not notify */

static const char *name_of(const evener_channel *channel)
{
    /* NULL: the target has moved to another channel (reconfigure.c). */
    return channel->settings.target != NULL ? evener_target_text(channel->settings.target) : "";
}

/* ---- phases ---- */

static const char *phase_name(evener_channel_phase phase)
{
    static const char *const names[] = {
        [EVENER_CHANNEL_IDLE] = "idle",
        [EVENER_CHANNEL_BUILDING] = "building the resolver",
        [EVENER_CHANNEL_RESOLVING] = "resolving",
        [EVENER_CHANNEL_SERVING] = "serving",
        [EVENER_CHANNEL_REBUILDING] = "serving, building another resolver",
        [EVENER_CHANNEL_CLOSED] = "closed",
        [EVENER_CHANNEL_RELEASED] = "released",
    };
    return names[phase];
}

/* Return whether the table in channel_internal.h has this edge. */
static bool may_enter(evener_channel_phase from, evener_channel_phase to)
{
    enum {
        ENDS = 1U << EVENER_CHANNEL_IDLE | 1U << EVENER_CHANNEL_CLOSED,
    };
    static const uint32_t edges[] = {
        [EVENER_CHANNEL_IDLE] = 1U << EVENER_CHANNEL_BUILDING | 1U << EVENER_CHANNEL_CLOSED,
        [EVENER_CHANNEL_BUILDING] = ENDS | 1U << EVENER_CHANNEL_RESOLVING | 1U << EVENER_CHANNEL_REBUILDING,
        [EVENER_CHANNEL_RESOLVING] = ENDS | 1U << EVENER_CHANNEL_BUILDING | 1U << EVENER_CHANNEL_SERVING,
        [EVENER_CHANNEL_SERVING] = ENDS | 1U << EVENER_CHANNEL_REBUILDING,
        [EVENER_CHANNEL_REBUILDING] = ENDS | 1U << EVENER_CHANNEL_SERVING,
        [EVENER_CHANNEL_CLOSED] = 1U << EVENER_CHANNEL_RELEASED,
        [EVENER_CHANNEL_RELEASED] = 0,
    };
    return (edges[from] & 1U << to) != 0;
}

static void enter_phase(evener_channel *channel, evener_channel_phase next)
{
    assert(may_enter(channel->control.phase, next));
    (void)may_enter; /* unused in builds without assertions */
    evener_log(EVENER_LOG_DEBUG, "channel", "%s: %s -> %s", name_of(channel), phase_name(channel->control.phase),
               phase_name(next));
    channel->control.phase = next;
}

/* ---- retire what readers may still see ---- */

typedef struct retired {
    evener_reclaim reclaim;
    evener_channel *channel;
    evener_picker *picker;
    evener_service_config *config;
} retired;

static void retired_over(void *arg)
{
    retired *r = arg;
    evener_channel *channel = r->channel;
    evener_picker_unref(r->picker);
    evener_service_config_unref(r->config);
    free(r);
    channel->control.retired_count--;
    evener_channel_free_if_over(channel);
}

/* Give the references back after a grace period; in a task if the channel has no references left, as then nobody picks. */
static void retire(evener_channel *channel, evener_picker *picker, evener_service_config *config)
{
    if (picker == NULL && config == NULL) {
        return;
    }
    retired *r = calloc(1, sizeof *r);
    if (r == NULL) { /* no memory: wait for the grace period here */
        evener_rcu_synchronize();
        evener_picker_unref(picker);
        evener_service_config_unref(config);
        return;
    }
    r->channel = channel;
    r->picker = picker;
    r->config = config;
    r->reclaim.fn = retired_over;
    r->reclaim.arg = r;
    channel->control.retired_count++;
    evener_subchannel_pool_reclaim(&channel->pool, &r->reclaim);
}

/* ---- publishing ---- */

/* Publish a state and a picker. Takes over the picker's reference; NULL keeps the last one. */
static void publish(evener_channel *channel, evener_connectivity_state state, const evener_status *status,
                    evener_picker *picker)
{
    const evener_connectivity_state old = __atomic_load_n(&channel->hot.state, __ATOMIC_RELAXED);
    if (old != state) {
        const bool failed = state == EVENER_TRANSIENT_FAILURE && status != NULL;
        evener_log(EVENER_LOG_DEBUG, "channel", "%s: %s -> %s%s%s", name_of(channel),
                   evener_connectivity_state_name(old), evener_connectivity_state_name(state), failed ? ": " : "",
                   failed ? status->message : "");
    }
    if (picker != NULL) {
        evener_picker *replaced = channel->control.policy_picker;
        channel->control.policy_picker = picker;
        evener_picker *expected = replaced; /* if another picker is in force, it is the closed channel's, which stays */
        (void)__atomic_compare_exchange_n(&channel->hot.picker, &expected, picker, false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_RELAXED);
        retire(channel, replaced, NULL);
    }
    evener_pick_queue_set_state(&channel->queue, state, __atomic_load_n(&channel->pool.ready_count, __ATOMIC_RELAXED),
                                state == EVENER_TRANSIENT_FAILURE ? status : NULL);
    evener_pick_queue_wake(&channel->queue);
}

static evener_channel *channel_of_helper(evener_policy_helper *helper)
{
    return EVENER_CONTAINER_OF(helper, evener_channel, control.helper);
}

static evener_subchannel *helper_create_subchannel(evener_policy_helper *helper, const evener_address *address,
                                                   const evener_subchannel_options *options)
{
    return evener_subchannel_pool_create_subchannel(&channel_of_helper(helper)->pool, address, options);
}

static void helper_publish(evener_policy_helper *helper, evener_connectivity_state state, const evener_status *status,
                           evener_picker *picker)
{
    evener_channel *channel = channel_of_helper(helper);
    if (!evener_channel_is_active(channel)) { /* a policy may publish while it is closed */
        evener_picker_unref(picker);
        return;
    }
    publish(channel, state, status, picker);
    if (state == EVENER_IDLE && channel->control.connect_wanted) {
        /* After the waiting picks, which ask a policy that connects on demand for backends of their own. */
        evener_loop_post(channel->hot.loop, &channel->control.connect_task);
    }
    channel->control.connect_wanted &= state != EVENER_IDLE && state != EVENER_READY;
}

static void helper_request_reresolution(evener_policy_helper *helper)
{
    evener_channel *channel = channel_of_helper(helper);
    if (channel->control.resolver != NULL) {
        /* A task: the resolver may push at once, and the policy is on the stack. */
        evener_loop_post(channel->hot.loop, &channel->control.resolve_now_task);
    }
}

/* Create a subchannel and name its policy, for stats. */
static evener_subchannel *create_named_subchannel(void *owner, evener_child_maker maker, const evener_address *address,
                                                  const evener_subchannel_options *options)
{
    evener_channel *channel = owner;
    evener_subchannel *subchannel = evener_policy_create_subchannel(&channel->control.helper, address, options);
    if (subchannel != NULL) {
        evener_subchannel_set_owner(subchannel, maker);
    }
    return subchannel;
}

static const evener_child_hooks lb_hooks = {.size = sizeof lb_hooks, .create_subchannel = create_named_subchannel};

static const evener_policy_helper_vtable helper_vtable = {
    .size = sizeof helper_vtable,
    .create_subchannel = helper_create_subchannel,
    .publish = helper_publish,
    .request_reresolution = helper_request_reresolution,
};

static void pool_became_ready(void *arg)
{
    evener_channel *channel = arg;
    evener_pick_queue_wake(&channel->queue);
}

static void pool_connecting_to(void *arg, const char *address)
{
    evener_channel *channel = arg;
    evener_pick_queue_set_connecting(&channel->queue, address);
}

static void pool_drained(void *arg)
{
    evener_channel_free_if_over(arg);
}

/* ---- service config ---- */

static evener_method_state *method_state_of(void *arg, const char *path)
{
    evener_channel *channel = arg;
    return evener_method_table_find(&channel->control.methods, path);
}

void evener_channel_bind_config(evener_channel *channel, evener_service_config *config)
{
    static const evener_retry_budget_config no_budget = {0};
    evener_retry_budget_configure(&channel->retries.budget,
                                  config != NULL ? evener_service_config_retry_budget(config) : &no_budget,
                                  evener_loop_now_ns(channel->hot.loop));
    if (config != NULL) {
        evener_method_table_begin(&channel->control.methods);
        evener_service_config_bind(config, method_state_of, channel);
    }
}

void evener_channel_apply_throttling(evener_channel *channel)
{
    static const evener_throttle_config none = {0};
    const evener_service_config *published = channel->control.published_config;
    const evener_throttle_config *config = published != NULL ? evener_service_config_throttle(published) : &none;
    evener_throttle *throttle =
        config->max_milli != 0
            ? evener_throttle_hold(channel->settings.runtime, channel->settings.authority, &channel->control.throttles)
            : NULL;
    throttle = throttle != NULL ? throttle : &channel->retries.own_throttle;
    evener_throttle_configure(throttle, config);
    __atomic_store_n(&channel->retries.throttle, throttle, __ATOMIC_RELEASE); /* see evener_channel_throttle() */
}

void evener_channel_apply_limits(evener_channel *channel)
{
    evener_limit_config config = {0};
    if (!evener_channel_is_closed(channel)) { /* then picks fail at once */
        config = channel->settings.limits;
    }
    if (channel->control.published_config != NULL && !evener_channel_is_closed(channel)) {
        evener_limit_config_narrow(&config, evener_service_config_limits(channel->control.published_config));
    }
    const bool is_limited = evener_limits_configure(&channel->limits, &config);
    const bool shortly = !is_limited && evener_rcu_may_enter_outermost();
    __atomic_store_n(&channel->hot.is_limited, is_limited, __ATOMIC_RELAXED);
    __atomic_store_n(&channel->hot.picks_shortly, shortly && !channel->pool.has_users, __ATOMIC_RELAXED);
    __atomic_store_n(&channel->hot.users_shortly, !is_limited && channel->pool.has_users, __ATOMIC_RELAXED);
    if (channel->queue.channel != NULL) {
        evener_pick_queue_limits_changed(&channel->queue);
    }
}

static void publish_config(evener_channel *channel)
{
    evener_service_config *config =
        channel->control.resolver_config != NULL ? channel->control.resolver_config : channel->control.default_config;
    evener_service_config *old = channel->control.published_config;
    if (config != old) {
        evener_channel_bind_config(channel, config);
        evener_rcu_assign(channel->control.published_config, evener_service_config_ref(config));
        evener_channel_apply_throttling(channel);
        evener_channel_apply_limits(channel);
        retire(channel, NULL, old);
    }
}

evener_method_settings evener_channel_method_settings(evener_channel *channel, const char *method)
{
    evener_method_settings settings = {0};
    if (__atomic_load_n(&channel->control.published_config, __ATOMIC_RELAXED) == NULL) {
        return settings;
    }
    evener_rcu_read_lock();
    const evener_service_config *config = evener_rcu_dereference(channel->control.published_config);
    if (config != NULL) {
        settings = evener_service_config_method(config, method);
    }
    evener_rcu_read_unlock();
    return settings;
}

/* Take over the update's service config. Return false if it cannot be used; then the last good one stays. */
static bool take_service_config(evener_channel *channel, const evener_resolver_update *update, evener_status *status)
{
    if (channel->settings.ignore_service_config) {
        return true;
    }
    if (update->service_config_error != NULL && update->service_config_error->code != EVENER_STATUS_OK) {
        *status = *update->service_config_error;
        return false;
    }
    evener_service_config *old = channel->control.resolver_config;
    evener_service_config *parsed = NULL;
    if (update->service_config != NULL) {
        if (old != NULL && strcmp(evener_service_config_text(old), update->service_config) == 0) {
            return true;
        }
        if (evener_service_config_parse(update->service_config, &channel->settings.policies,
                                        channel->settings.policy_builder->name, &parsed, status) != EVENER_STATUS_OK) {
            return false;
        }
    }
    channel->control.resolver_config = parsed;
    publish_config(channel);
    evener_service_config_unref(old);
    return true;
}

/* ---- from the resolver to the policy ---- */

static void note_resolver_error(evener_channel *channel, const evener_status *status)
{
    channel->control.resolver_errors++;
    char *copy = strdup(status->message);
    if (copy != NULL) {
        free(channel->control.last_resolver_error);
        channel->control.last_resolver_error = copy;
    }
}

void evener_channel_report_resolver_failure(evener_channel *channel, const evener_status *status)
{
    evener_log(EVENER_LOG_WARNING, "resolver", "%s: %s; there are no addresses", name_of(channel), status->message);
    if (evener_channel_has_list(channel)) {
        evener_child_policy_resolver_error(channel->control.lb, status);
        return;
    }
    evener_status unavailable;
    evener_status_set(&unavailable, EVENER_STATUS_UNAVAILABLE, "name resolution of \"%s\" failed: %s", name_of(channel),
                      status->message);
    publish(channel, EVENER_TRANSIENT_FAILURE, &unavailable, evener_picker_create_fail(&unavailable));
}

static void resolver_failed(evener_channel *channel, const evener_status *status)
{
    note_resolver_error(channel, status);
    if (channel->control.list.count > 0) {
        evener_channel_cache_unconfirmed(&channel->control.cache);
        evener_log(EVENER_LOG_WARNING, "resolver", "%s: %s; the last %zu addresses serve on", name_of(channel),
                   status->message, channel->control.list.count);
        return;
    }
    if (!evener_channel_cache_resolver_failed(&channel->control.cache, status)) {
        evener_channel_report_resolver_failure(channel, status);
    }
}

static evener_service_config *config_in_force(const evener_channel *channel)
{
    return channel->control.resolver_config != NULL ? channel->control.resolver_config
                                                    : channel->control.default_config;
}

/* A105, connection scaling. A service config is for all clients of a service, so one that this transport cannot follow is
 * no error. */
void evener_channel_take_connections_max(evener_channel *channel)
{
    const evener_service_config *config = config_in_force(channel);
    const uint32_t max = config != NULL ? evener_service_config_connections_max(config) : 1;
    const uint32_t limit = channel->settings.connections_per_backend_max;
    const bool scales =
        evener_shared_transport_set_connections_max(channel->settings.transport, max < limit ? max : limit);
    if (max > 1 && !scales && !channel->control.warned_of_scaling) {
        channel->control.warned_of_scaling = true;
        evener_log(EVENER_LOG_WARNING, "channel",
                   "%s: the service config sets connectionScaling, which the channel's transport ignores: \"http2\" "
                   "follows it",
                   name_of(channel));
    }
}

/* Give list and configuration in force to the policy. */
static bool apply(evener_channel *channel)
{
    evener_service_config *config = config_in_force(channel);
    evener_channel_take_connections_max(channel);
    const evener_policy_choice fallback = {.builder = channel->settings.policy_builder};
    const evener_policy_choice *choice = config != NULL ? evener_service_config_policy(config) : &fallback;
    choice = choice->builder != NULL ? choice : &fallback;
    const evener_policy_update update = {.size = sizeof update,
                                         .addresses = channel->control.list.addresses,
                                         .address_count = channel->control.list.count,
                                         .list_id = channel->control.list.id,
                                         .previous_list_id = channel->control.list.previous_id,
                                         .same_first = channel->control.list.same_first,
                                         .same_last = channel->control.list.same_last};
    evener_status status;
    evener_status_clear(&status);
    if (channel->control.phase == EVENER_CHANNEL_RESOLVING) {
        enter_phase(channel, EVENER_CHANNEL_SERVING);
    } else if (channel->control.phase == EVENER_CHANNEL_BUILDING) {
        enter_phase(channel, EVENER_CHANNEL_REBUILDING); /* a saved list */
    }
    evener_subchannel_pool_begin_list(&channel->pool);
    const evener_status_code code = evener_child_policy_update(channel->control.lb, choice, &update, &status);
    evener_subchannel_pool_end_list(&channel->pool);
    if (code != EVENER_STATUS_OK) {
        note_resolver_error(channel, &status);
        evener_log(EVENER_LOG_WARNING, "channel", "%s: policy %s refused the update: %s", name_of(channel),
                   choice->builder->name, status.message);
        return false;
    }
    return true;
}

static void empty_list_is_true(void *arg)
{
    evener_channel *channel = arg;
    evener_log(EVENER_LOG_ERROR, "resolver", "%s: the list has been empty for %llu ms; the last addresses are dropped",
               name_of(channel), (unsigned long long)(channel->settings.empty_update_keep_ns / EVENER_NS_PER_MS));
    evener_update_list_clear(&channel->control.list);
    apply(channel);
    evener_channel_cache_list_is_empty(&channel->control.cache);
}

/* Return whether the last list serves on after an empty one, which may be correct or a mistake (go-zero 4941, grpc-go
 * 8398). */
static bool keep_over_empty(evener_channel *channel)
{
    if (channel->settings.empty_update == EVENER_EMPTY_UPDATE_FAIL || channel->control.list.count == 0) {
        return false;
    }
    if (!channel->control.stale_timer.active && channel->settings.empty_update_keep_ns != UINT64_MAX) {
        evener_timer_start(channel->hot.loop, &channel->control.stale_timer, channel->settings.empty_update_keep_ns);
    }
    evener_log(EVENER_LOG_WARNING, "resolver", "%s: an empty list; the last %zu addresses serve on", name_of(channel),
               channel->control.list.count);
    return true;
}

static bool sink_update(evener_resolver_sink *sink, const evener_resolver_update *given)
{
    evener_channel *channel = EVENER_CONTAINER_OF(sink, evener_channel, control.sink);
    evener_resolver_update whole;
    const evener_resolver_update *const update = &whole;
    evener_update_plan plan;
    evener_status status;
    evener_status_clear(&status);
    channel->control.resolver_updates++;
    if (evener_options_read(&whole, sizeof whole, given, "update", "evener_resolver_update", &status) !=
            EVENER_STATUS_OK ||
        evener_update_list_prepare(&channel->control.list, update, &plan, &status) != EVENER_STATUS_OK) {
        resolver_failed(channel, &status);
        return false;
    }
    evener_log(EVENER_LOG_DEBUG, "resolver", "%s: %zu addresses%s%s%s%s", name_of(channel), plan.count,
               update->source != NULL ? " from " : "", update->source != NULL ? update->source : "",
               update->service_config != NULL ? ", service config " : "",
               update->service_config != NULL ? update->service_config : "");
    snprintf(channel->control.list_source, sizeof channel->control.list_source, "%s",
             update->source != NULL ? update->source : "");
    if (plan.count > 0) { /* whether it can be followed or not, the resolver's list is not empty any more */
        evener_timer_stop(channel->hot.loop, &channel->control.stale_timer);
    }
    const bool good_config = take_service_config(channel, update, &status);
    if (!good_config && channel->control.resolver_config == NULL) {
        evener_update_plan_discard(&plan);
        resolver_failed(channel, &status);
        return false;
    }
    if (!good_config) {
        note_resolver_error(channel, &status);
        evener_log(EVENER_LOG_WARNING, "resolver", "%s: %s; the last service config stays", name_of(channel),
                   status.message);
    }
    if (plan.count == 0 && keep_over_empty(channel)) {
        evener_update_plan_discard(&plan);
        return apply(channel) && good_config;
    }
    evener_timer_stop(channel->hot.loop, &channel->control.stale_timer);
    evener_update_list_commit(&channel->control.list, &plan);
    if (channel->control.list.count > 0) {
        evener_channel_cache_answered(&channel->control.cache);
    }
    const bool applied = apply(channel);
    if (channel->control.renew_with_update) {
        channel->control.renew_with_update = false;
        evener_subchannel_pool_renew(&channel->pool, channel->control.list.addresses, channel->control.list.count);
    }
    if (channel->control.list.count == 0) {
        evener_channel_cache_list_is_empty(&channel->control.cache);
    } else if (applied && good_config) {
        evener_channel_cache_accepted(&channel->control.cache);
    }
    return applied && good_config;
}

bool evener_channel_take_saved_list(evener_channel *channel, const evener_saved_list *list, const char *source,
                                    evener_status *status)
{
    const evener_resolver_update update = {.size = sizeof update,
                                           .addresses = list->addresses,
                                           .address_count = list->count,
                                           .service_config = list->service_config,
                                           .source = source};
    evener_update_plan plan;
    if (channel->control.lb == NULL) {
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "the channel has no policy: out of memory");
        return false;
    }
    if (evener_update_list_prepare(&channel->control.list, &update, &plan, status) != EVENER_STATUS_OK) {
        return false;
    }
    if (!take_service_config(channel, &update, status)) {
        evener_update_plan_discard(&plan);
        return false;
    }
    snprintf(channel->control.list_source, sizeof channel->control.list_source, "%s", source);
    const bool is_after_empty_list = evener_channel_has_list(channel);
    evener_update_list_commit(&channel->control.list, &plan);
    (void)apply(channel);
    if (is_after_empty_list) {
        (void)keep_over_empty(channel);
    }
    return true;
}

static void sink_error(evener_resolver_sink *sink, const evener_status *status)
{
    resolver_failed(EVENER_CONTAINER_OF(sink, evener_channel, control.sink), status);
}

static const evener_resolver_sink_vtable sink_vtable = {
    .size = sizeof sink_vtable, .update = sink_update, .error = sink_error};

void evener_channel_replace_default_config(evener_channel *channel, evener_service_config *config)
{
    evener_service_config *old = channel->control.default_config;
    channel->control.default_config = config;
    publish_config(channel);
    if (evener_channel_has_list(channel) && channel->control.resolver_config == NULL) {
        apply(channel);
    }
    evener_service_config_unref(old);
}

/* ---- becoming idle and leaving it ---- */

static void idle_check_later(evener_channel *channel)
{
    if (channel->settings.idle_timeout_ns != UINT64_MAX) {
        evener_timer_start(channel->hot.loop, &channel->control.idle_timer,
                           channel->settings.idle_timeout_ns / IDLE_CHECKS + 1);
    }
}

static void drop_resolver(evener_channel *channel)
{
    evener_timer_stop(channel->hot.loop, &channel->control.build_timer);
    evener_resolver *resolver = channel->control.resolver;
    channel->control.resolver = NULL;
    if (resolver != NULL) {
        resolver->vtable->close(resolver);
    }
}

/* Enter IDLE or CLOSED: end resolver, policy and timers. */
static void stop_serving(evener_channel *channel, evener_channel_phase next)
{
    enter_phase(channel, next);
    channel->control.connect_wanted = false;
    evener_timer_stop(channel->hot.loop, &channel->control.stale_timer);
    evener_timer_stop(channel->hot.loop, &channel->control.idle_timer);
    drop_resolver(channel);
    evener_channel_cache_stop(&channel->control.cache);
    evener_child_policy *lb = channel->control.lb;
    channel->control.lb = NULL;
    evener_child_policy_destroy(lb);
    evener_update_list_clear(&channel->control.list);
}

static void idle_check(void *arg)
{
    evener_channel *channel = arg;
    uint64_t started;
    uint64_t in_flight;
    evener_subchannel_pool_activity(&channel->pool, &started, &in_flight);
    const bool quiet = started == channel->control.idle_last_started && in_flight == 0 &&
                       __atomic_load_n(&channel->queue.count, __ATOMIC_RELAXED) == 0;
    channel->control.idle_last_started = started;
    channel->control.idle_quiet_checks = quiet ? channel->control.idle_quiet_checks + 1 : 0;
    if (channel->control.idle_quiet_checks < IDLE_CHECKS) {
        idle_check_later(channel);
        return;
    }
    evener_log(EVENER_LOG_INFO, "channel", "%s: no calls for %llu ms: goes idle", name_of(channel),
               (unsigned long long)(channel->settings.idle_timeout_ns / EVENER_NS_PER_MS));
    stop_serving(channel, EVENER_CHANNEL_IDLE);
    publish(channel, EVENER_IDLE, NULL, evener_picker_create_queue());
}

static void build_resolver(evener_channel *channel);

static void build_again(void *arg)
{
    evener_channel *channel = arg;
    if (channel->control.phase == EVENER_CHANNEL_REBUILDING) {
        evener_channel_open_resolver(channel); /* the last list serves on meanwhile */
    } else {
        build_resolver(channel);
    }
}

static void start_failed(evener_channel *channel, const evener_status *status)
{
    resolver_failed(channel, status);
    evener_timer_start(channel->hot.loop, &channel->control.build_timer,
                       evener_backoff_next_ns(&channel->control.build_backoff, NULL, channel->hot.loop));
}

void evener_channel_open_resolver(evener_channel *channel)
{
    const evener_resolver_args args = {
        .size = sizeof args,
        .target = channel->settings.target,
        .sink = &channel->control.sink,
        .runtime = channel->settings.runtime,
        .loop = channel->hot.loop,
        .default_port = channel->settings.default_port,
        .options = channel->settings.resolver_options,
        .option_count = channel->settings.resolver_option_count,
        .resolvers = &channel->settings.resolvers,
    };
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    evener_resolver *resolver = NULL;
    if (channel->control.lb == NULL ||
        channel->settings.resolver_builder->build(channel->settings.resolver_builder, &args, &resolver, &status) !=
            EVENER_STATUS_OK) {
        start_failed(channel, &status);
        return;
    }
    evener_backoff_reset(&channel->control.build_backoff);
    channel->control.resolver = resolver;
    enter_phase(channel, channel->control.phase == EVENER_CHANNEL_REBUILDING ? EVENER_CHANNEL_SERVING
                                                                             : EVENER_CHANNEL_RESOLVING);
    resolver->vtable->start(resolver);
}

void evener_channel_close_resolver(evener_channel *channel)
{
    if (channel->control.phase == EVENER_CHANNEL_RESOLVING) {
        enter_phase(channel, EVENER_CHANNEL_BUILDING);
    } else if (channel->control.phase == EVENER_CHANNEL_SERVING) {
        enter_phase(channel, EVENER_CHANNEL_REBUILDING);
    }
    drop_resolver(channel);
}

void evener_channel_restart_idle_timeout(evener_channel *channel)
{
    uint64_t in_flight; /* counts of the subchannels that there are now: those of former ones are no measure */
    evener_subchannel_pool_activity(&channel->pool, &channel->control.idle_last_started, &in_flight);
    channel->control.idle_quiet_checks = 0;
    evener_timer_stop(channel->hot.loop, &channel->control.idle_timer);
    idle_check_later(channel);
}

/* Build the resolver, in BUILDING or REBUILDING. */
static void build_resolver(evener_channel *channel)
{
    publish(channel, EVENER_CONNECTING, NULL, evener_picker_create_queue());
    evener_channel_apply_throttling(channel);
    evener_channel_apply_limits(channel);
    if (channel->control.lb == NULL) {
        channel->control.lb = evener_child_policy_create(&channel->control.helper, &lb_hooks, channel);
    }
    evener_channel_restart_idle_timeout(channel);
    evener_channel_cache_start(&channel->control.cache);
    evener_channel_open_resolver(channel);
}

static void connect_now(void *arg)
{
    evener_channel *channel = arg;
    if (channel->control.phase == EVENER_CHANNEL_IDLE) {
        enter_phase(channel, EVENER_CHANNEL_BUILDING);
        channel->control.connect_wanted = true;
        build_resolver(channel);
    } else if (evener_channel_has_list(channel) &&
               __atomic_load_n(&channel->hot.state, __ATOMIC_RELAXED) == EVENER_IDLE) {
        evener_child_policy_exit_idle(channel->control.lb); /* the policy is idle, the channel is not */
    }
}

static void resolve_again(void *arg)
{
    evener_channel *channel = arg;
    if (channel->control.resolver != NULL && channel->control.resolver->vtable->resolve_now != NULL) {
        channel->control.resolver->vtable->resolve_now(channel->control.resolver);
    }
}

static void reset_backoff(void *arg)
{
    evener_channel *channel = arg;
    evener_subchannel_pool_reset_backoff(&channel->pool);
    if (channel->control.resolver != NULL) {
        evener_resolver_reset_backoff(channel->control.resolver);
    }
    if (channel->control.build_timer.active) {
        evener_backoff_reset(&channel->control.build_backoff);
        evener_timer_start(channel->hot.loop, &channel->control.build_timer, 0);
    }
}

/* ---- the end ---- */

static void shut_down(void *arg)
{
    evener_channel *channel = arg;
    if (evener_channel_is_closed(channel)) {
        return;
    }
    stop_serving(channel, EVENER_CHANNEL_CLOSED);
    evener_channel_apply_limits(channel);
    /* Release the policy's last picker. If the closed channel's picker is in force, it stays. */
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "channel closed");
    publish(channel, EVENER_SHUTDOWN, &status, evener_picker_create_drop(&status));
}

static bool task_pending(const evener_task *task)
{
    return __atomic_load_n(&task->pending, __ATOMIC_ACQUIRE) != 0;
}

/* Free the channel when it has no references and everything that it started has ended. A reference count of 0 is not
 * enough: the thread that dropped the last one still has to post release_task. */
void evener_channel_free_if_over(evener_channel *channel)
{
    if (channel->control.phase != EVENER_CHANNEL_RELEASED || channel->pool.link_count != 0 ||
        channel->control.retired_count != 0 || channel->control.cache.jobs != 0) {
        return;
    }
    if (!task_pending(&channel->control.release_task)) {
        evener_loop_post(channel->hot.loop, &channel->control.release_task);
    }
}

static void release(void *arg)
{
    evener_channel *channel = arg;
    channel->pool.unread = true; /* a thread that picks has a reference */
    shut_down(channel);
    if (channel->control.phase != EVENER_CHANNEL_RELEASED) {
        enter_phase(channel, EVENER_CHANNEL_RELEASED);
        evener_channel_rest_end(channel);
    }
    if (channel->pool.link_count != 0 || channel->control.retired_count != 0 || channel->control.cache.jobs != 0) {
        evener_runtime_reclaim_hurry(channel->settings.runtime); /* a thread may wait for the end */
        return; /* evener_channel_free_if_over() is called again then */
    }
    if (channel->pool.to_notify != NULL || task_pending(&channel->pool.notify_task) ||
        task_pending(&channel->queue.task) || task_pending(&channel->limits.task) ||
        task_pending(&channel->control.connect_task) || task_pending(&channel->control.resolve_now_task) ||
        task_pending(&channel->control.reset_backoff_task) || task_pending(&channel->control.close_task) ||
        task_pending(&channel->control.rest_task)) {
        evener_loop_post(channel->hot.loop, &channel->control.release_task); /* runs after these */
        return;
    }
    evener_timer_stop(channel->hot.loop, &channel->queue.limit_timer);
    evener_channel_free(channel);
}

bool evener_channel_control_init(evener_channel *channel)
{
    channel->control.connect_task = (evener_task)EVENER_TASK_INIT(connect_now, channel);
    channel->control.resolve_now_task = (evener_task)EVENER_TASK_INIT(resolve_again, channel);
    channel->control.reset_backoff_task = (evener_task)EVENER_TASK_INIT(reset_backoff, channel);
    channel->control.close_task = (evener_task)EVENER_TASK_INIT(shut_down, channel);
    channel->control.release_task = (evener_task)EVENER_TASK_INIT(release, channel);
    evener_channel_rest_init(channel);
    channel->control.build_timer = (evener_timer)EVENER_TIMER_INIT(build_again, channel);
    channel->control.stale_timer = (evener_timer)EVENER_TIMER_INIT(empty_list_is_true, channel);
    channel->control.idle_timer = (evener_timer)EVENER_TIMER_INIT(idle_check, channel);
    channel->control.sink.vtable = &sink_vtable;
    channel->control.helper = (evener_policy_helper){
        .size = sizeof channel->control.helper,
        .vtable = &helper_vtable,
        .loop = channel->hot.loop,
        .policies = &channel->settings.policies,
        .target = evener_target_text(channel->settings.target),
        .authority = channel->settings.authority,
        .list_source = channel->control.list_source,
    };
    channel->pool.became_ready = pool_became_ready;
    channel->pool.connecting_to = pool_connecting_to;
    channel->pool.drained = pool_drained;
    channel->pool.arg = channel;
    evener_subchannel_pool_init(&channel->pool);
    channel->control.policy_picker = evener_picker_create_queue();
    channel->hot.picker = channel->control.policy_picker;
    return channel->hot.picker != NULL;
}
