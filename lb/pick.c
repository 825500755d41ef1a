/* Picking: the data plane. No lock, no allocation, no system call. */
#include <evener/channel.h>

#include <evener/log.h>

#include "lb/channel_internal.h"
#include "lb/options.h"
#include "lb/runtime/lane.h"
#include "lb/runtime/rcu.h"

/* How often a pick is made again when the chosen backend has just lost its connection and the policy does not know it
 * yet; then it waits for the policy. */
#define ATTEMPTS_MAX 8

/* In a pick's layer_count: its connection is counted. One word, so that done looks once. */
#define HELD (UINT32_C(1) << 31)

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
    const uint32_t count = pick->layer_count & ~HELD;
    for (uint32_t i = 0; i < count; i++) {
        pick->layers[i].done(pick->layers[i].data, pick->layers[i].word, info, lane);
    }
}

/* A backend that was chosen has just lost its connection, and the policy does not know it yet: what the pickers counted is
 * taken back. Inside RCU. */
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

/* The end of a successful pick where connections are counted by their transport. Inside RCU; leaves it. */
static __attribute__((noinline)) void hold_connection(const evener_channel *channel, evener_pick *pick,
                                                      evener_rcu_section section)
{
    channel->connection_ref(pick->connection);
    pick->layer_count |= HELD;
    evener_rcu_leave(section);
}

/* Enters RCU, calls the picker in force, on success counts and holds a connection, and leaves. `lost`: not COMPLETE, as
 * the backend that was chosen has no connection any more. Inlined: this is every pick's way, and nothing is called on it but
 * the picker. */
static inline __attribute__((always_inline)) evener_pick_outcome attempt(evener_channel *channel,
                                                                         const evener_pick_context *context,
                                                                         evener_pick *pick, bool *lost)
{
    *lost = false;
    const evener_rcu_section section = evener_rcu_enter();
    evener_picker *picker = evener_rcu_dereference(channel->picker);
    pick->layer_count = 0;
    const evener_pick_outcome outcome = picker->vtable->pick(picker, context, pick);
    if (__builtin_expect(outcome != EVENER_PICK_COMPLETE, 0)) {
        evener_rcu_leave(section);
        return outcome;
    }
    evener_subchannel *subchannel = pick->subchannel;
    evener_connection *connection = evener_rcu_dereference(subchannel->connection);
    if (__builtin_expect(connection == NULL, 0)) {
        lost_connection(pick, context->lane);
        evener_rcu_leave(section);
        *lost = true;
        return EVENER_PICK_QUEUE;
    }
    pick->connection = connection;
    evener_slot_begin(subchannel, context->lane);
    if (__builtin_expect(channel->connection_ref != NULL, 0)) { /* a call follows that costs a thousand times as much */
        hold_connection(channel, pick, section);
        return EVENER_PICK_COMPLETE;
    }
    evener_rcu_leave(section);
    return EVENER_PICK_COMPLETE;
}

/* What remains when the first attempt failed: the pick is made again while the backends that are chosen are lost. Kept
 * out of the hot path. */
static __attribute__((noinline)) evener_pick_outcome pick_slow(evener_channel *channel,
                                                               const evener_pick_context *context, evener_pick *pick,
                                                               evener_pick_outcome outcome, bool lost)
{
    for (int attempts = 1; lost && attempts < ATTEMPTS_MAX; attempts++) {
        outcome = attempt(channel, context, pick, &lost);
    }
    return outcome == EVENER_PICK_COMPLETE ? outcome : no_backend(channel, context->args, outcome, context->status);
}

static inline __attribute__((always_inline)) evener_pick_outcome pick_now(evener_channel *channel,
                                                                          const evener_pick_args *args,
                                                                          evener_pick *pick, evener_status *status)
{
    const evener_pick_context context = {args, channel->loop, status, evener_lane_current()};
    bool lost;
    const evener_pick_outcome outcome = attempt(channel, &context, pick, &lost);
    return __builtin_expect(outcome == EVENER_PICK_COMPLETE, 1) ? EVENER_PICK_COMPLETE
                                                                : pick_slow(channel, &context, pick, outcome, lost);
}

evener_pick_outcome evener_channel_pick_now(evener_channel *channel, const evener_pick_args *args, evener_pick *pick,
                                            evener_status *status)
{
    return pick_now(channel, args, pick, status);
}

static __attribute__((noinline)) evener_pick_outcome kick(evener_channel *channel, evener_pick_outcome outcome)
{
    if (outcome == EVENER_PICK_QUEUE) {
        evener_channel_kick(channel);
    }
    return outcome;
}

/* The arguments of a program that was built against another evener. */
static __attribute__((noinline)) evener_pick_outcome try_pick_foreign(evener_channel *channel,
                                                                      const evener_pick_args *given, evener_pick *pick,
                                                                      evener_status *status)
{
    evener_pick_args args;
    if (evener_pick_args_read(&args, given, status) != EVENER_STATUS_OK) {
        return EVENER_PICK_FAIL;
    }
    return evener_channel_try_pick(channel, &args, pick, status);
}

evener_pick_outcome evener_channel_try_pick(evener_channel *channel, const evener_pick_args *args, evener_pick *pick,
                                            evener_status *status)
{
    args = args != NULL ? args : &default_args;
    if (__builtin_expect(args->size != sizeof *args, 0)) {
        return try_pick_foreign(channel, args, pick, status);
    }
    const evener_pick_outcome outcome = pick_now(channel, args, pick, status);
    return __builtin_expect(outcome == EVENER_PICK_COMPLETE, 1) ? EVENER_PICK_COMPLETE : kick(channel, outcome);
}

void evener_channel_kick(evener_channel *channel)
{
    if (__atomic_load_n(&channel->state, __ATOMIC_ACQUIRE) == EVENER_IDLE) {
        evener_loop_post(channel->loop, &channel->connect_task);
    }
}

static const evener_done_info went_well = {.size = sizeof went_well, .code = EVENER_STATUS_OK};

/* The end of a pick that a policy wants to hear of, that holds a connection, or that failed. */
static __attribute__((noinline)) void done_told(evener_pick *pick, const evener_done_info *info)
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
        (void)__atomic_fetch_add(&evener_slot_body(subchannel)->failed, 1, __ATOMIC_RELAXED);
    }
    if ((pick->layer_count & HELD) == 0) {
        evener_slot_end(subchannel, lane);
        return;
    }
    /* Counting comes before the connection goes: then nothing is left to do but that one call. The connection is this
     * pick's own, and its transport lives as long as the channel. */
    void (*const unref)(evener_connection * connection) = evener_slot_body(subchannel)->kind->pool->connection_unref;
    evener_slot_end(subchannel, lane); /* from here on the subchannel may be gone */
    unref(pick->connection);
}

/* The usual end of a pick that one policy wants to hear of. */
static __attribute__((noinline)) void done_one_told(evener_pick *pick, const evener_done_info *info, uint32_t lane)
{
    const evener_pick_layer *layer = &pick->layers[0];
    layer->done(layer->data, layer->word, info != NULL ? info : &went_well, lane);
    evener_slot_end(pick->subchannel, lane);
}

/* Nothing to be counted but its end, and nothing to be filled in for those who hear of it. */
static inline bool went_as_usual(const evener_done_info *info)
{
    return info == NULL || (info->code == EVENER_STATUS_OK && info->size >= sizeof *info);
}

void evener_pick_done(evener_pick *pick, const evener_done_info *info)
{
    const uint32_t lane = evener_lane_own; /* a thread without one gets it on the slow way */
    const bool usual = lane != EVENER_LANE_SHARED && went_as_usual(info);
    if (__builtin_expect(usual && pick->layer_count == 0, 1)) {
        evener_slot_end(pick->subchannel, lane);
        return;
    }
    if (usual && pick->layer_count == 1) { /* and no HELD */
        done_one_told(pick, info, lane);
        return;
    }
    done_told(pick, info);
}
