/* Picking: the data plane. No lock, no allocation, no system call. */
#include <evener/channel.h>

#include <evener/log.h>

#include "lb/backend/in_flight.h"
#include "lb/base/options.h"
#include "lb/channel/channel_internal.h"
#include "lb/policy/avoided.h"
#include "lb/runtime/lane.h"
#include "lb/runtime/rcu.h"
#include "lb/runtime/runtime_internal.h"

/* Retries of a pick whose chosen backend has just lost its connection, before the policy has been notified. Then the
 * pick waits for the policy. */
#define ATTEMPTS_MAX 8

/* Bit of a pick's layer_count: the pick is counted as a user of its connection. In one word with the count, so that
 * done tests both at once. */
#define IS_USER (UINT32_C(1) << 31)

/* A pick's layer_count after the picker has answered FAIL; after a limit has stopped it; within limits, after the backends
 * that were picked took no calls any more. */
#define WAS_FAILED (UINT32_C(1) << 30)
#define WAS_FULL (UINT32_C(1) << 29)
#define WAS_LOST (UINT32_C(1) << 28)

/* Backends that a limited pick can avoid, besides those that are full. */
#define TRIED_MAX 16

/* Arguments of a pick's slow paths. */
typedef struct ordinary_pick {
    evener_pick_context context;
    evener_channel *channel;
} ordinary_pick;

static const evener_pick_args default_args = {.size = sizeof default_args};

/* A54 (restrict control plane status codes): codes that an application would take for its server's become INTERNAL. */
static void hide_control_plane_code(evener_status *status)
{
    switch (status->code) {
    case EVENER_STATUS_OK:
    case EVENER_STATUS_INVALID_ARGUMENT:
    case EVENER_STATUS_NOT_FOUND:
    case EVENER_STATUS_ALREADY_EXISTS:
    case EVENER_STATUS_FAILED_PRECONDITION:
    case EVENER_STATUS_ABORTED:
    case EVENER_STATUS_OUT_OF_RANGE:
    case EVENER_STATUS_DATA_LOSS:
        evener_status_set(status, EVENER_STATUS_INTERNAL, "%s from the load-balancing policy: %s",
                          evener_status_code_name(status->code), status->message);
        break;
    default:
        break;
    }
}

static evener_pick_outcome no_backend(evener_channel *channel, const evener_pick_args *args,
                                      evener_pick_outcome outcome, evener_status *status)
{
    if (outcome == EVENER_PICK_QUEUE || (outcome == EVENER_PICK_FAIL && args->wait_for_ready)) {
        return EVENER_PICK_QUEUE;
    }
    if (evener_channel_is_older_than_fork(channel)) {
        return outcome; /* its status is evener's own */
    }
    if (status != NULL) {
        hide_control_plane_code(status);
        if (evener_log_enabled(EVENER_LOG_DEBUG)) {
            evener_log(EVENER_LOG_DEBUG, "pick", "%s: %s%s%s: %s: %s", evener_target_text(channel->settings.target),
                       args->method != NULL ? args->method : "", args->method != NULL ? ": " : "",
                       outcome == EVENER_PICK_DROP ? "dropped" : "failed", evener_status_code_name(status->code),
                       status->message);
        }
    }
    return outcome;
}

static void run_layers(evener_pick *pick, const evener_done_info *info, uint32_t lane)
{
    const uint32_t count = pick->layer_count & ~IS_USER;
    for (uint32_t i = 0; i < count; i++) {
        pick->layers[i].done(pick->layers[i].data, pick->layers[i].word, info, lane);
    }
}

/* Undo what the pickers counted: the chosen backend has just lost its connection, and the policy has not been
 * notified yet. Inside an RCU section. */
static __attribute__((noinline)) void lost_connection(evener_pick *pick, uint32_t lane)
{
    static const evener_done_info unsent = {.size = sizeof unsent, .code = EVENER_STATUS_UNAVAILABLE, .not_sent = true};
    run_layers(pick, &unsent, lane);
}

/* ---- closed channels ---- */

static evener_pick_outcome closed_pick(evener_picker *picker, const evener_pick_context *context, evener_pick *pick)
{
    (void)picker;
    (void)pick;
    evener_status_set(context->status, EVENER_STATUS_UNAVAILABLE, "channel closed");
    return EVENER_PICK_DROP;
}

static void closed_destroy(evener_picker *picker)
{
    (void)picker;
}

static const evener_picker_vtable closed_vtable = {
    .size = sizeof closed_vtable, .pick = closed_pick, .destroy = closed_destroy};

evener_picker evener_channel_closed_picker = {.vtable = &closed_vtable, .references = 1};

/* ---- picks ---- */

/* Find the connection of the chosen backend, and count the pick as its user where connections have users. False: it has
 * none that takes calls. Inside an RCU section: see lb/backend/link.c. */
static inline __attribute__((always_inline)) bool use_connection(const evener_channel *channel, evener_pick *pick,
                                                                 evener_subchannel *subchannel, bool as_user,
                                                                 uint32_t lane)
{
    if (!as_user) {
        evener_connection *found = evener_rcu_dereference(subchannel->connection);
        if (__builtin_expect(found == NULL, 0)) {
            return false;
        }
        pick->connection = found;
        return true;
    }
    evener_subchannel *users = evener_rcu_dereference(subchannel->users);
    if (__builtin_expect(users == NULL, 0)) {
        return false;
    }
    evener_connection *connection = users->connection;
    bool (*const takes_calls)(const evener_connection *) = channel->hot.takes_calls;
    if (takes_calls != NULL && __builtin_expect(!takes_calls(connection), 0)) {
        return false;
    }
    pick->connection = connection;
    pick->users = users;
    pick->layer_count |= IS_USER;
    evener_slot_begin(users, lane);
    return true;
}

/* Enter RCU, call the picker in force, count the pick on success, and leave. `lost`: the pick failed because the chosen
 * backend has no connection any more. */
static evener_pick_outcome attempt(evener_channel *channel, const evener_pick_context *context, evener_pick *pick,
                                   bool *lost)
{
    *lost = false;
    const evener_rcu_section section = evener_rcu_enter();
    evener_picker *picker = evener_rcu_dereference(channel->hot.picker);
    pick->layer_count = 0;
    evener_pick_outcome outcome = picker->vtable->pick(picker, context, pick);
    if (outcome == EVENER_PICK_COMPLETE) {
        if (use_connection(channel, pick, pick->subchannel, channel->hot.picks_as_user, context->lane)) {
            evener_slot_begin(pick->subchannel, context->lane);
        } else {
            lost_connection(pick, context->lane);
            *lost = true;
            outcome = EVENER_PICK_QUEUE;
        }
    }
    evener_rcu_leave(section);
    return outcome;
}

/* Retry while the chosen backends are lost. */
static evener_pick_outcome pick_again(evener_channel *channel, const evener_pick_context *context, evener_pick *pick,
                                      evener_pick_outcome outcome, bool lost)
{
    for (int attempts = 1; lost && attempts < ATTEMPTS_MAX; attempts++) {
        outcome = attempt(channel, context, pick, &lost);
    }
    if (outcome == EVENER_PICK_COMPLETE) {
        return outcome;
    }
    outcome = no_backend(channel, context->args, outcome, context->status);
    pick->layer_count = outcome == EVENER_PICK_FAIL ? WAS_FAILED : 0;
    return outcome;
}

bool evener_pick_was_failed(const evener_pick *pick)
{
    return pick->layer_count == WAS_FAILED;
}

bool evener_pick_was_full(const evener_pick *pick)
{
    return pick->layer_count == WAS_FULL;
}

bool evener_pick_was_lost(const evener_pick *pick)
{
    return pick->layer_count == WAS_LOST;
}

/* ---- picks within limits ---- */

/* What comes of one attempt besides a pick. */
typedef enum limited_attempt { FOUND, LOST, FULL } limited_attempt;

/* As attempt(); counts a pick for the limits, and gives it the layer that ends the count. */
static evener_pick_outcome attempt_limited(evener_channel *channel, const evener_pick_context *context,
                                           evener_pick *pick, limited_attempt *result)
{
    *result = FOUND;
    evener_limits *limits = &channel->limits;
    const evener_rcu_section section = evener_rcu_enter();
    evener_picker *picker = evener_rcu_dereference(channel->hot.picker);
    pick->layer_count = 0;
    evener_pick_outcome outcome = picker->vtable->pick(picker, context, pick);
    evener_subchannel *subchannel = pick->subchannel;
    if (outcome == EVENER_PICK_COMPLETE && pick->layer_count == EVENER_PICK_LAYERS_MAX) {
        lost_connection(pick, context->lane);
        evener_status_set(context->status, EVENER_STATUS_FAILED_PRECONDITION,
                          "limits of calls in flight need one of the %d layers of a pick: nest fewer policies",
                          EVENER_PICK_LAYERS_MAX);
        outcome = EVENER_PICK_DROP;
    } else if (outcome == EVENER_PICK_COMPLETE && evener_limits_begin(limits, subchannel) != EVENER_LIMIT_COUNTED) {
        lost_connection(pick, context->lane);
        *result = FULL;
        outcome = EVENER_PICK_QUEUE;
    } else if (outcome == EVENER_PICK_COMPLETE) {
        (void)evener_pick_on_done(pick, evener_limits_ended, limits, (uint64_t)(uintptr_t)subchannel);
        if (use_connection(channel, pick, subchannel, channel->hot.picks_as_user, context->lane)) {
            evener_slot_begin(subchannel, context->lane);
        } else {
            lost_connection(pick, context->lane);
            *result = LOST;
            outcome = EVENER_PICK_QUEUE;
        }
    }
    evener_rcu_leave(section);
    return outcome;
}

static evener_pick_outcome attempts_limited(evener_channel *channel, const evener_pick_context *context,
                                            evener_pick *pick, limited_attempt *result)
{
    *result = LOST;
    evener_pick_outcome outcome = EVENER_PICK_QUEUE;
    for (int attempts = 0; *result == LOST && attempts < ATTEMPTS_MAX; attempts++) {
        outcome = attempt_limited(channel, context, pick, result);
    }
    return outcome;
}

typedef struct full_backends {
    evener_avoided base; /* first: the channel finds the whole from it */
    uint32_t max;
} full_backends;

static bool is_full_backend(const evener_avoided *avoided, const evener_subchannel *subchannel)
{
    return evener_in_flight(subchannel) >= ((const full_backends *)avoided)->max;
}

/* Pick a backend that is not full and was not tried, otherwise one that is not full. */
static evener_pick_outcome pick_around_full(evener_channel *channel, const evener_pick_context *context,
                                            evener_pick *pick, limited_attempt *result)
{
    const full_backends full = {.base = {.text = {EVENER_AVOIDED_MARK}, .applies = is_full_backend},
                                .max = __atomic_load_n(&channel->limits.backend_in_flight_max, __ATOMIC_RELAXED)};
    const char *tried[TRIED_MAX + 1] = {full.base.text};
    evener_pick_args args = *context->args;
    evener_pick_context again = *context;
    again.args = &args;
    args.tried = tried;
    args.tried_count = 1;
    for (size_t i = 0; i < context->args->tried_count && i < TRIED_MAX; i++) {
        tried[args.tried_count++] = context->args->tried[i];
    }
    evener_pick_outcome outcome = attempts_limited(channel, &again, pick, result);
    if (*result == FULL && args.tried_count > 1) {
        args.tried_count = 1;
        outcome = attempts_limited(channel, &again, pick, result);
    }
    return outcome;
}

static __attribute__((noinline)) evener_pick_outcome pick_within_limits(evener_channel *channel,
                                                                        const evener_pick_context *context,
                                                                        evener_pick *pick, bool overtakes)
{
    limited_attempt result = evener_limits_is_full(&channel->limits, overtakes) ? FULL : FOUND;
    evener_pick_outcome outcome = EVENER_PICK_QUEUE;
    if (result != FULL) {
        outcome = attempts_limited(channel, context, pick, &result);
        if (result == FULL && __atomic_load_n(&channel->limits.backend_in_flight_max, __ATOMIC_RELAXED) != 0) {
            outcome = pick_around_full(channel, context, pick, &result);
        }
    }
    if (outcome == EVENER_PICK_COMPLETE) {
        return outcome;
    }
    if (result == FULL) {
        pick->layer_count = WAS_FULL;
        return outcome;
    }
    outcome = no_backend(channel, context->args, outcome, context->status);
    pick->layer_count = outcome == EVENER_PICK_FAIL ? WAS_FAILED : result == LOST ? WAS_LOST : 0;
    return outcome;
}

/* ---- one pick without waiting ---- */

evener_pick_outcome evener_channel_pick_now(evener_channel *channel, const evener_pick_args *args, bool overtakes,
                                            evener_pick *pick, evener_status *status)
{
    evener_lane_use_begin();
    const evener_pick_context context = {args, channel->hot.loop, status, evener_lane_current()};
    if (context.lane == EVENER_LANE_SHARED) {
        evener_runtime_ask_for_lanes(channel->settings.runtime);
    }
    evener_pick_outcome outcome;
    if (__builtin_expect(__atomic_load_n(&channel->hot.is_limited, __ATOMIC_RELAXED), 0)) {
        outcome = pick_within_limits(channel, &context, pick, overtakes);
    } else {
        bool lost;
        outcome = attempt(channel, &context, pick, &lost);
        outcome = pick_again(channel, &context, pick, outcome, lost);
    }
    evener_lane_use_end();
    return outcome;
}

static evener_pick_outcome kick_if_queued(evener_channel *channel, evener_pick_outcome outcome)
{
    if (outcome == EVENER_PICK_QUEUE) {
        evener_channel_kick(channel);
    }
    return outcome;
}

/* Pick in the general case: arguments of a program that was built against another evener, a thread's first pick or a
 * pick on the shared lane, a pick inside an RCU section. */
static __attribute__((noinline)) evener_pick_outcome try_pick_in_full(evener_channel *channel,
                                                                      const evener_pick_args *given, evener_pick *pick,
                                                                      evener_status *status)
{
    evener_pick_args args;
    if (given->size != sizeof args) {
        if (evener_pick_args_read(&args, given, status) != EVENER_STATUS_OK) {
            return EVENER_PICK_FAIL;
        }
        given = &args;
    }
    return kick_if_queued(channel, evener_channel_pick_now(channel, given, false, pick, status));
}

/* Handle a pick that has no backend, or a lost one. */
static __attribute__((noinline)) evener_pick_outcome not_at_once(const ordinary_pick *ordinary, evener_pick *pick,
                                                                 evener_pick_outcome outcome, evener_rcu_reader *reader)
{
    const bool lost = outcome == EVENER_PICK_COMPLETE;
    if (lost) {
        lost_connection(pick, ordinary->context.lane);
        outcome = EVENER_PICK_QUEUE;
    }
    evener_lane_use_begin(); /* before the section ends, in which the lane was loaded */
    evener_rcu_leave_outermost(reader);
    evener_channel *channel = ordinary->channel;
    outcome = pick_again(channel, &ordinary->context, pick, outcome, lost);
    evener_lane_use_end();
    return kick_if_queued(channel, outcome);
}

/* The fast path without a taken branch. It calls nothing but the picker and, for a user, the transport's
 * connection_takes_calls. Of the bare variant only the pick and RCU's reader are kept over a call: including done,
 * round_robin takes 116 instructions instead of 128, and 7.2 ns instead of 8.1. */
static inline __attribute__((always_inline)) evener_pick_outcome pick_shortly(evener_channel *channel,
                                                                              const evener_pick_args *args,
                                                                              evener_pick *pick, evener_status *status,
                                                                              bool as_user)
{
    evener_rcu_reader *reader = evener_rcu_enter_outermost();
    if (__builtin_expect(reader == NULL, 0)) {
        return try_pick_in_full(channel, args, pick, status);
    }
    const uint32_t lane = evener_lane_own(); /* inside the section, see lane.h */
    if (__builtin_expect(lane == EVENER_LANE_SHARED, 0)) {
        evener_rcu_leave_outermost(reader);
        return try_pick_in_full(channel, args, pick, status);
    }
    const ordinary_pick ordinary = {{args, channel->hot.loop, status, lane}, channel};
    evener_picker *picker = evener_rcu_dereference(channel->hot.picker);
    pick->layer_count = 0;
    const evener_pick_outcome outcome = picker->vtable->pick(picker, &ordinary.context, pick);
    if (__builtin_expect(outcome != EVENER_PICK_COMPLETE, 0)) {
        return not_at_once(&ordinary, pick, outcome, reader);
    }
    evener_subchannel *subchannel = pick->subchannel;
    if (__builtin_expect(!use_connection(ordinary.channel, pick, subchannel, as_user, ordinary.context.lane), 0)) {
        return not_at_once(&ordinary, pick, EVENER_PICK_COMPLETE, reader);
    }
    evener_slot_begin_own(subchannel, ordinary.context.lane);
    evener_rcu_leave_outermost(reader);
    return EVENER_PICK_COMPLETE;
}

/* Pick as a user of the connection, or in the general case. */
static __attribute__((noinline)) evener_pick_outcome try_pick_otherwise(evener_channel *channel,
                                                                        const evener_pick_args *args, evener_pick *pick,
                                                                        evener_status *status)
{
    if (__atomic_load_n(&channel->hot.users_shortly, __ATOMIC_RELAXED) && evener_rcu_may_enter_outermost() &&
        args->size == sizeof *args) {
        return pick_shortly(channel, args, pick, status, true);
    }
    return try_pick_in_full(channel, args, pick, status);
}

evener_pick_outcome evener_channel_try_pick(evener_channel *channel, const evener_pick_args *args, evener_pick *pick,
                                            evener_status *status)
{
    args = args != NULL ? args : &default_args;
    if (__builtin_expect(!__atomic_load_n(&channel->hot.picks_shortly, __ATOMIC_RELAXED) || args->size != sizeof *args,
                         0)) {
        return try_pick_otherwise(channel, args, pick, status);
    }
    return pick_shortly(channel, args, pick, status, false);
}

void evener_channel_kick(evener_channel *channel)
{
    if (__atomic_load_n(&channel->hot.state, __ATOMIC_ACQUIRE) == EVENER_IDLE) {
        evener_loop_post(channel->hot.loop, &channel->control.connect_task);
    }
}

static const evener_done_info went_well = {.size = sizeof went_well, .code = EVENER_STATUS_OK};

/* End a pick that has several callbacks of policies, or failed. Inside a use of the lane, which this and the next
 * functions end. */
static __attribute__((noinline)) void done_notify(evener_pick *pick, const evener_done_info *info)
{
    evener_done_info whole;
    if (info != NULL && info->size < sizeof *info) {
        evener_done_info_read(&whole, info);
        info = &whole;
    }
    const uint32_t lane = evener_lane_current();
    run_layers(pick, info != NULL ? info : &went_well, lane);
    evener_subchannel *subchannel = pick->subchannel;
    if (info != NULL && info->code != EVENER_STATUS_OK && !info->not_sent) {
        evener_count_failed(subchannel);
    }
    if ((pick->layer_count & IS_USER) != 0) {
        evener_slot_end(pick->users, lane); /* the connection may be freed from here on */
    }
    evener_slot_end(subchannel, lane); /* the subchannel may be freed from here on */
    evener_lane_use_end();
}

/* End a pick with exactly one callback and nothing else: the usual case of policies that measure. */
static __attribute__((noinline)) void done_notify_one(evener_pick *pick, const evener_done_info *info, uint32_t lane)
{
    const evener_pick_layer *layer = &pick->layers[0];
    layer->done(layer->data, layer->word, info != NULL ? info : &went_well, lane);
    evener_slot_end(pick->subchannel, lane);
    evener_lane_use_end();
}

evener_subchannel *evener_pick_keep_connection(const evener_pick *pick)
{
    evener_lane_use_begin();
    evener_slot_begin(pick->users, evener_lane_current());
    evener_lane_use_end();
    return pick->users;
}

void evener_connection_let_go(evener_subchannel *users)
{
    evener_lane_use_begin();
    evener_slot_end(users, evener_lane_current());
    evener_lane_use_end();
}

/* The same of a pick that is a user of its connection, with one callback at most. */
static __attribute__((noinline)) void done_as_user(evener_pick *pick, const evener_done_info *info, uint32_t lane)
{
    if (pick->layer_count != IS_USER) {
        const evener_pick_layer *layer = &pick->layers[0];
        layer->done(layer->data, layer->word, info != NULL ? info : &went_well, lane);
    }
    evener_slot_end(pick->users, lane);
    evener_slot_end(pick->subchannel, lane);
    evener_lane_use_end();
}

/* Return whether nothing but the end is to be counted and no field is to be filled in for callbacks. */
static inline bool went_as_usual(const evener_done_info *info)
{
    return info == NULL || (info->code == EVENER_STATUS_OK && info->size >= sizeof *info);
}

void evener_pick_done(evener_pick *pick, const evener_done_info *info)
{
    evener_lane_use_begin();
    const uint32_t lane = evener_lane_own(); /* a thread without a lane takes one on the slow path */
    const bool usual = lane != EVENER_LANE_SHARED && went_as_usual(info);
    if (__builtin_expect(usual && pick->layer_count == 0, 1)) {
        evener_slot_end(pick->subchannel, lane);
        evener_lane_use_end();
        return;
    }
    if (usual && pick->layer_count == 1) { /* implies that IS_USER is not set */
        done_notify_one(pick, info, lane);
        return;
    }
    if (usual && (pick->layer_count | 1) == (IS_USER | 1)) {
        done_as_user(pick, info, lane);
        return;
    }
    done_notify(pick, info);
}
