#include "lb/call/attempts.h"

#include "lb/base/memory.h"
#include "lb/call/details.h"

/* Limit of attempts in a row on one stack; the next one starts in a turn of the control thread. */
#define ATTEMPTS_AT_ONCE 8

static void pick(evener_attempts *attempts);

static evener_status_code was_cancelled(evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_CANCELLED, "the call was cancelled");
}

/* Return whether the caller of the RPC has cancelled it. */
static bool move(evener_attempts *attempts, evener_attempts_place place)
{
    pthread_mutex_lock(&attempts->mutex);
    attempts->place = place;
    const bool cancelled = attempts->cancelled;
    pthread_mutex_unlock(&attempts->mutex);
    return cancelled;
}

static void finish_without_backend(evener_attempts *attempts, const evener_status *status)
{
    (void)move(attempts, EVENER_ATTEMPTS_FINISHED);
    attempts->hooks->finished(attempts, status, NULL);
}

/* ---- an attempt ---- */

static void again_on_control_thread(void *arg)
{
    evener_attempts *attempts = arg;
    attempts->at_once = 0;
    pick(attempts);
}

/* Attempt again on the control thread: evener_attempts_start() must not finish the RPC, and the stack must not grow. */
static void again_later(evener_attempts *attempts)
{
    evener_loop_post(evener_runtime_loop(evener_channel_runtime(attempts->rpc.channel)), &attempts->again_task);
}

void evener_attempts_ended(evener_transport_call *wire, const evener_call_end *end)
{
    evener_attempts *attempts = wire->arg;
    const bool cancelled = move(attempts, EVENER_ATTEMPTS_NOWHERE);
    const bool may_repeat = attempts->hooks->may_repeat == NULL || attempts->hooks->may_repeat(attempts);
    if (may_repeat && evener_rpc_goes_again(&attempts->rpc, end, cancelled)) {
        evener_rpc_end_pick(&attempts->rpc, &attempts->pick, end);
        if (++attempts->at_once < ATTEMPTS_AT_ONCE) {
            pick(attempts);
        } else {
            again_later(attempts);
        }
        return;
    }
    evener_status status;
    evener_rpc_set_status(&attempts->rpc, &attempts->pick, end, &status);
    evener_rpc_fill_details(&attempts->pick, end, &status, attempts->details);
    (void)move(attempts, EVENER_ATTEMPTS_FINISHED);
    evener_rpc_end_pick(&attempts->rpc, &attempts->pick, end);
    attempts->hooks->finished(attempts, &status, end); /* the RPC may be gone */
}

/* Begin on the connection picked. Not OK: the RPC cannot go on, and the pick is ended. OK also when the connection
 * takes no further call: then the pick is made again. */
static evener_status_code begin(evener_attempts *attempts, evener_status *status)
{
    evener_rpc *rpc = &attempts->rpc;
    rpc->attempts++;
    rpc->first_message_ns = 0;
    evener_details_begin(attempts->details, rpc->attempts);
    evener_call_begin_args args = attempts->begin;
    evener_rpc_fill_begin_args(rpc, &args);
    args.events = attempts->hooks->events;
    args.wants_metadata = args.wants_metadata || attempts->details != NULL;
    evener_status refusal;
    /* Held over call_begin: evener_attempts_cancel() must find the call either not begun or begun. `ended` may come on
     * another thread before this returns, and waits for the lock. */
    pthread_mutex_lock(&attempts->mutex);
    evener_status_code code = EVENER_STATUS_CANCELLED;
    if (!attempts->cancelled) {
        code = rpc->calls->call_begin(attempts->pick.connection, attempts->wire, &args, &refusal);
        if (code == EVENER_STATUS_OK) {
            attempts->place = EVENER_ATTEMPTS_WIRE;
            if (attempts->hooks->begun != NULL) {
                attempts->hooks->begun(attempts);
            }
        }
    }
    pthread_mutex_unlock(&attempts->mutex);
    if (code == EVENER_STATUS_OK) {
        return code; /* the RPC may be gone */
    }
    evener_rpc_drop_pick(&attempts->pick, code);
    if (code == EVENER_STATUS_CANCELLED) {
        return was_cancelled(status);
    }
    if (code == EVENER_STATUS_UNAVAILABLE) {
        again_later(attempts);
        return EVENER_STATUS_OK;
    }
    return evener_status_set(status, code, "call of %s: %s", rpc->pick_args.method, refusal.message);
}

/* ---- the pick ---- */

static void pick_settled(void *arg, evener_status_code code, const evener_status *status)
{
    evener_attempts *attempts = arg;
    (void)move(attempts, EVENER_ATTEMPTS_NOWHERE);
    evener_status failure;
    if (code == EVENER_STATUS_OK && begin(attempts, &failure) == EVENER_STATUS_OK) {
        return;
    }
    finish_without_backend(attempts, code == EVENER_STATUS_OK ? &failure : status);
}

/* Note that the pick is in the queue. Its callback may have run already: then the place or the round has changed. */
static void queued(evener_attempts *attempts, uint32_t round)
{
    pthread_mutex_lock(&attempts->mutex);
    if (attempts->place == EVENER_ATTEMPTS_PICK_ASKED && attempts->pick_round == round) {
        attempts->place = EVENER_ATTEMPTS_QUEUED;
        if (attempts->cancelled) {
            evener_pick_request_cancel(&attempts->pick_request);
        }
    }
    pthread_mutex_unlock(&attempts->mutex);
}

static evener_pick_outcome ask_for_pick(evener_attempts *attempts, bool may_wait, evener_status *status)
{
    const evener_pick_args *args = &attempts->rpc.pick_args;
    if (may_wait) {
        attempts->pick_request = (evener_pick_request){
            .size = sizeof(evener_pick_request), .pick = &attempts->pick, .callback = pick_settled, .arg = attempts};
        return evener_channel_pick_async(attempts->rpc.channel, args, &attempts->pick_request, status);
    }
    const evener_pick_outcome outcome = evener_channel_try_pick(attempts->rpc.channel, args, &attempts->pick, status);
    if (outcome != EVENER_PICK_QUEUE) {
        return outcome;
    }
    evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                      "no backend now, and waiting for one on the control thread would wait for itself: use the "
                      "asynchronous functions");
    return EVENER_PICK_FAIL;
}

evener_status_code evener_attempts_start(evener_attempts *attempts, bool may_wait, evener_status *status)
{
    if (!evener_rpc_set_pick_timeout(&attempts->rpc)) {
        return evener_rpc_deadline_status(&attempts->rpc, status);
    }
    pthread_mutex_lock(&attempts->mutex);
    const bool cancelled = attempts->cancelled;
    attempts->place = cancelled ? EVENER_ATTEMPTS_NOWHERE : EVENER_ATTEMPTS_PICK_ASKED;
    const uint32_t round = ++attempts->pick_round;
    pthread_mutex_unlock(&attempts->mutex);
    if (cancelled) {
        return was_cancelled(status);
    }
    attempts->hooks->ref(attempts); /* after QUEUE the callback may end the RPC before it is looked at again here */
    evener_status_code code = EVENER_STATUS_OK;
    switch (ask_for_pick(attempts, may_wait, status)) {
    case EVENER_PICK_COMPLETE:
        code = begin(attempts, status);
        break;
    case EVENER_PICK_QUEUE:
        queued(attempts, round);
        break;
    default:
        code = status->code;
        break;
    }
    attempts->hooks->unref(attempts);
    return code;
}

static void pick(evener_attempts *attempts)
{
    evener_status status;
    if (evener_attempts_start(attempts, true, &status) != EVENER_STATUS_OK) {
        finish_without_backend(attempts, &status);
    }
}

/* ---- from outside ---- */

void evener_attempts_cancel(evener_attempts *attempts)
{
    pthread_mutex_lock(&attempts->mutex);
    const bool first = !attempts->cancelled;
    attempts->cancelled = true;
    if (first && attempts->place == EVENER_ATTEMPTS_QUEUED) {
        evener_pick_request_cancel(&attempts->pick_request);
    } else if (first && attempts->place == EVENER_ATTEMPTS_WIRE) {
        attempts->rpc.calls->call_cancel(attempts->wire, EVENER_STATUS_CANCELLED, "the call was cancelled");
    }
    pthread_mutex_unlock(&attempts->mutex);
}

void evener_attempts_init(evener_attempts *attempts)
{
    pthread_mutex_init(&attempts->mutex, NULL);
    attempts->again_task = (evener_task)EVENER_TASK_INIT(again_on_control_thread, attempts);
    attempts->wire->arg = attempts;
    evener_details_begin(attempts->details, 0);
}

void evener_attempts_clear(evener_attempts *attempts)
{
    pthread_mutex_destroy(&attempts->mutex);
}
