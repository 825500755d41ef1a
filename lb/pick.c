/* Picking: the data plane. No lock, no allocation, no system call. */
#include <evener/channel.h>

#include <evener/log.h>

#include "lb/channel_internal.h"
#include "lb/runtime/lane.h"
#include "lb/runtime/rcu.h"

/* How often a pick is made again when the chosen backend has just lost its connection and the policy does not know it
 * yet; then it waits for the policy. */
#define ATTEMPTS_MAX 8

static const evener_pick_args default_args = {.size = sizeof default_args};

/* A54: codes that the control plane must not give to an application as if its server had said them. */
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
    if (status != NULL) {
        hide_control_plane_code(status);
        if (evener_log_enabled(EVENER_LOG_DEBUG)) {
            evener_log(EVENER_LOG_DEBUG, "pick", "%s: %s%s%s: %s: %s", evener_target_text(channel->target),
                       args->method != NULL ? args->method : "", args->method != NULL ? ": " : "",
                       outcome == EVENER_PICK_DROP ? "dropped" : "failed", evener_status_code_name(status->code),
                       status->message);
        }
    }
    return outcome;
}

static void run_layers(evener_pick *pick, const evener_done_info *info, uint32_t lane)
{
    for (uint32_t i = 0; i < pick->layer_count; i++) {
        pick->layers[i].done(pick->layers[i].data, pick->layers[i].word, info, lane);
    }
}

/* Enters RCU, calls the picker in force, and on success holds a connection, counts, and leaves. Else returns false with
 * the outcome, still inside RCU. Inlined: this is every pick's way. */
static inline __attribute__((always_inline)) bool pick_fast(evener_channel *channel, const evener_pick_context *context,
                                                            evener_pick *pick, evener_pick_outcome *outcome)
{
    evener_rcu_read_lock();
    evener_picker *picker = evener_rcu_dereference(channel->picker);
    pick->layer_count = 0;
    *outcome = picker->vtable->pick(picker, context, pick);
    if (__builtin_expect(*outcome != EVENER_PICK_COMPLETE, 0)) {
        return false;
    }
    evener_subchannel *subchannel = pick->subchannel;
    evener_connection *connection = evener_rcu_dereference(subchannel->connection);
    if (__builtin_expect(connection == NULL, 0)) {
        return false;
    }
    pick->connection = connection;
    if (channel->connection_ref != NULL) {
        channel->connection_ref(connection);
    }
    evener_cell_start(subchannel->cells, context->lane);
    evener_rcu_read_unlock();
    return true;
}

/* What remains when that failed: inside RCU. A backend that was chosen has just lost its connection: what the pickers
 * counted is taken back, and the pick is made again. Kept out of the hot path. */
static __attribute__((noinline)) evener_pick_outcome pick_slow(evener_channel *channel,
                                                               const evener_pick_context *context, evener_pick *pick,
                                                               evener_pick_outcome outcome)
{
    static const evener_done_info unsent = {.size = sizeof unsent, .code = EVENER_STATUS_UNAVAILABLE, .not_sent = true};
    for (int attempt = 1; outcome == EVENER_PICK_COMPLETE; attempt++) {
        run_layers(pick, &unsent, context->lane);
        if (attempt == ATTEMPTS_MAX) {
            outcome = EVENER_PICK_QUEUE;
            break;
        }
        evener_rcu_read_unlock();
        if (pick_fast(channel, context, pick, &outcome)) {
            return EVENER_PICK_COMPLETE;
        }
    }
    evener_rcu_read_unlock();
    return no_backend(channel, context->args, outcome, context->status);
}

static __attribute__((noinline)) evener_pick_outcome pick_slow_and_kick(evener_channel *channel,
                                                                        const evener_pick_context *context,
                                                                        evener_pick *pick, evener_pick_outcome outcome)
{
    outcome = pick_slow(channel, context, pick, outcome);
    if (outcome == EVENER_PICK_QUEUE) {
        evener_channel_kick(channel);
    }
    return outcome;
}

static __attribute__((noinline)) evener_pick_outcome refuse_closed(evener_status *status)
{
    evener_status_set(status, EVENER_STATUS_UNAVAILABLE, "channel closed");
    return EVENER_PICK_DROP;
}

evener_pick_outcome evener_channel_pick_now(evener_channel *channel, const evener_pick_args *args, evener_pick *pick,
                                            evener_status *status)
{
    if (__builtin_expect(__atomic_load_n(&channel->closed, __ATOMIC_RELAXED), 0)) {
        return refuse_closed(status);
    }
    const evener_pick_context context = {args, channel->loop, status, evener_lane_current()};
    evener_pick_outcome outcome;
    return __builtin_expect(pick_fast(channel, &context, pick, &outcome), 1)
               ? EVENER_PICK_COMPLETE
               : pick_slow(channel, &context, pick, outcome);
}

evener_pick_outcome evener_channel_try_pick(evener_channel *channel, const evener_pick_args *args, evener_pick *pick,
                                            evener_status *status)
{
    if (__builtin_expect(__atomic_load_n(&channel->closed, __ATOMIC_RELAXED), 0)) {
        return refuse_closed(status);
    }
    const evener_pick_context context = {args != NULL ? args : &default_args, channel->loop, status,
                                         evener_lane_current()};
    evener_pick_outcome outcome;
    return __builtin_expect(pick_fast(channel, &context, pick, &outcome), 1)
               ? EVENER_PICK_COMPLETE
               : pick_slow_and_kick(channel, &context, pick, outcome);
}

void evener_channel_kick(evener_channel *channel)
{
    if (__atomic_load_n(&channel->state, __ATOMIC_ACQUIRE) == EVENER_IDLE) {
        evener_loop_post(channel->loop, &channel->connect_task);
    }
}

/* Counting comes before the connection goes: then nothing is left to do but that one call. The connection is this
 * pick's own, and its transport lives as long as the channel. */
static inline __attribute__((always_inline)) void let_go(evener_pick *pick, uint32_t lane)
{
    evener_subchannel *subchannel = pick->subchannel;
    void (*const unref)(evener_connection * connection) = subchannel->connection_unref;
    evener_cell_finish(subchannel->cells, lane); /* from here on the subchannel may be gone */
    if (unref != NULL) {
        unref(pick->connection);
    }
}

/* The end of a pick that a policy wants to hear of, or that failed. */
static __attribute__((noinline)) void done_told(evener_pick *pick, const evener_done_info *info, uint32_t lane)
{
    static const evener_done_info ok = {.size = sizeof ok, .code = EVENER_STATUS_OK};
    run_layers(pick, info != NULL ? info : &ok, lane);
    if (info != NULL && info->code != EVENER_STATUS_OK && !info->not_sent) {
        (void)__atomic_fetch_add(&pick->subchannel->failed, 1, __ATOMIC_RELAXED);
    }
    let_go(pick, lane);
}

void evener_pick_done(evener_pick *pick, const evener_done_info *info)
{
    const uint32_t lane = evener_lane_current();
    if (pick->layer_count > 0 || (info != NULL && info->code != EVENER_STATUS_OK)) {
        done_told(pick, info, lane);
        return;
    }
    let_go(pick, lane);
}
