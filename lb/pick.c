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

/* The chosen backend has no connection any more: what the pickers counted is taken back. */
static void undo_pick(evener_pick *pick, uint32_t lane)
{
    const evener_done_info info = {
        .size = sizeof info, .code = EVENER_STATUS_UNAVAILABLE, .not_sent = true};
    run_layers(pick, &info, lane);
}

evener_pick_outcome evener_channel_pick_now(evener_channel *channel, const evener_pick_args *args, evener_pick *pick,
                                            evener_status *status)
{
    const uint32_t lane = evener_lane_current();
    const evener_pick_context context = {.args = args, .loop = channel->loop, .status = status, .lane = lane};
    if (__builtin_expect(__atomic_load_n(&channel->closed, __ATOMIC_RELAXED), 0)) {
        evener_status_set(status, EVENER_STATUS_UNAVAILABLE, "channel closed");
        return EVENER_PICK_DROP;
    }
    for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        evener_rcu_read_lock();
        evener_picker *picker = evener_rcu_dereference(channel->picker);
        pick->layer_count = 0;
        const evener_pick_outcome outcome = picker->vtable->pick(picker, &context, pick);
        if (__builtin_expect(outcome != EVENER_PICK_COMPLETE, 0)) {
            evener_rcu_read_unlock();
            return no_backend(channel, args, outcome, status);
        }
        evener_subchannel *subchannel = pick->subchannel;
        evener_connection *connection = evener_rcu_dereference(subchannel->connection);
        if (__builtin_expect(connection != NULL, 1)) {
            if (channel->connection_ref != NULL) {
                channel->connection_ref(connection);
            }
            evener_cell_start(subchannel->cells, lane);
            evener_rcu_read_unlock();
            pick->connection = connection;
            pick->flags = 0;
            return EVENER_PICK_COMPLETE;
        }
        undo_pick(pick, lane);
        evener_rcu_read_unlock();
    }
    return EVENER_PICK_QUEUE;
}

evener_pick_outcome evener_channel_try_pick(evener_channel *channel, const evener_pick_args *args, evener_pick *pick,
                                            evener_status *status)
{
    const evener_pick_outcome outcome =
        evener_channel_pick_now(channel, args != NULL ? args : &default_args, pick, status);
    if (__builtin_expect(outcome == EVENER_PICK_QUEUE, 0)) {
        evener_channel_kick(channel);
    }
    return outcome;
}

void evener_channel_kick(evener_channel *channel)
{
    if (__atomic_load_n(&channel->state, __ATOMIC_ACQUIRE) == EVENER_IDLE) {
        evener_loop_post(channel->loop, &channel->connect_task);
    }
}

void evener_pick_done(evener_pick *pick, const evener_done_info *info)
{
    static const evener_done_info ok = {.size = sizeof ok, .code = EVENER_STATUS_OK};
    evener_subchannel *subchannel = pick->subchannel;
    const uint32_t lane = evener_lane_current();
    if (pick->layer_count > 0) {
        run_layers(pick, info != NULL ? info : &ok, lane);
    }
    if (info != NULL && info->code != EVENER_STATUS_OK && !info->not_sent) {
        (void)__atomic_fetch_add(&subchannel->failed, 1, __ATOMIC_RELAXED);
    }
    if (subchannel->pool->connection_unref != NULL) {
        subchannel->pool->connection_unref(pick->connection);
    }
    evener_cell_finish(subchannel->cells, lane);
}
