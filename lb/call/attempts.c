#include "lb/call/attempts.h"

#include "lb/base/memory.h"
#include "lb/call/details.h"
#include "lb/call/retry.h"
#include "lb/channel/channel_internal.h"

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

static void post_step(evener_attempts *attempts);

/* Handle the end of the RPC. A timer of an attempt may run: the step stops it, and runs before anything that the owner
 * posts when it gives the channel back. */
static void finish(evener_attempts *attempts, const evener_status *status, const evener_call_end *end)
{
    if (__builtin_expect(attempts->attempt_ends_ns != 0, 0)) {
        post_step(attempts);
    }
    attempts->hooks->finished(attempts, status, end); /* the RPC may be gone */
}

static void finish_without_backend(evener_attempts *attempts, const evener_status *status)
{
    (void)move(attempts, EVENER_ATTEMPTS_FINISHED);
    finish(attempts, status, NULL);
}

/* ---- steps on the control thread ---- */

bool evener_attempts_is_cancelled(evener_attempts *attempts)
{
    pthread_mutex_lock(&attempts->mutex);
    const bool cancelled = attempts->cancelled;
    pthread_mutex_unlock(&attempts->mutex);
    return cancelled;
}

static void finish_cancelled(evener_attempts *attempts)
{
    evener_status status;
    was_cancelled(&status);
    finish_without_backend(attempts, &status);
}

/* ---- metadata that comes later ---- */

static evener_status_code late_status(const evener_attempts *attempts, evener_status *status)
{
    const uint64_t timeout_ms = attempts->rpc.timeout_ms;
    return evener_status_set(status, EVENER_STATUS_DEADLINE_EXCEEDED,
                             "deadline exceeded after %llu.%03llu s: waiting for metadata of the call, which an "
                             "interceptor or its credentials answer later",
                             (unsigned long long)(timeout_ms / 1000), (unsigned long long)(timeout_ms % 1000));
}

/* End the wait if the call is cancelled or late, otherwise start the timer of the deadline. Control thread. */
static void wait_for_metadata(evener_attempts *attempts)
{
    evener_loop *loop = attempts->rpc.channel->hot.loop;
    const uint64_t deadline_ns = attempts->rpc.deadline_ns;
    const uint64_t now_ns = evener_loop_now_ns(loop);
    pthread_mutex_lock(&attempts->mutex);
    const bool waits = attempts->place == EVENER_ATTEMPTS_METADATA;
    const bool cancelled = attempts->cancelled;
    const bool ends = waits && (cancelled || now_ns >= deadline_ns);
    if (ends) {
        attempts->place = EVENER_ATTEMPTS_NOWHERE; /* an answer changes nothing any more */
    }
    pthread_mutex_unlock(&attempts->mutex);
    if (ends) {
        evener_timer_stop(loop, &attempts->backoff_timer);
        evener_status status;
        (void)(cancelled ? was_cancelled(&status) : late_status(attempts, &status));
        finish_without_backend(attempts, &status);
    } else if (waits && deadline_ns != UINT64_MAX && !attempts->backoff_timer.active) {
        evener_timer_start(loop, &attempts->backoff_timer, deadline_ns - now_ns);
    }
}

/* Go on with the metadata that came. Control thread. */
static void go_on(evener_attempts *attempts)
{
    evener_timer_stop(attempts->rpc.channel->hot.loop, &attempts->backoff_timer);
    evener_pick_args *args = &attempts->rpc.pick_args;
    evener_status status;
    if (move(attempts, EVENER_ATTEMPTS_NOWHERE)) {
        finish_cancelled(attempts);
    } else if (evener_late_take(attempts->late, &args->metadata, &args->metadata_count, &status) != EVENER_STATUS_OK) {
        finish_without_backend(attempts, &status);
    } else if (attempts->hooks->resumed != NULL) {
        attempts->hooks->resumed(attempts);
    } else {
        pick(attempts);
    }
}

/* ---- the timeout of a stream's attempt ---- */

/* Stop the timer of an attempt. The caller holds a reference. Control thread, as the next functions. */
static void stop_timing(evener_attempts *attempts)
{
    if (attempts->times_attempt) {
        attempts->times_attempt = false;
        evener_timer_stop(attempts->rpc.channel->hot.loop, &attempts->backoff_timer);
        attempts->hooks->unref(attempts);
    }
}

/* Cancel the attempt under way if its time is over and nothing of an answer has come, otherwise start the timer. */
static void time_attempt(evener_attempts *attempts)
{
    evener_loop *loop = attempts->rpc.channel->hot.loop;
    const uint64_t now_ns = evener_loop_now_ns(loop);
    stop_timing(attempts);
    pthread_mutex_lock(&attempts->mutex);
    const bool runs = attempts->place == EVENER_ATTEMPTS_WIRE && !attempts->is_answered && !attempts->cancelled;
    const uint64_t ends_ns = attempts->attempt_ends_ns;
    if (runs && now_ns >= ends_ns && !attempts->rpc.attempt_timed_out) {
        attempts->rpc.attempt_timed_out = true;
        attempts->rpc.calls->call_cancel(attempts->wire, EVENER_STATUS_DEADLINE_EXCEEDED, "the attempt timed out");
    }
    pthread_mutex_unlock(&attempts->mutex);
    if (runs && now_ns < ends_ns) {
        attempts->times_attempt = true;
        attempts->hooks->ref(attempts);
        evener_timer_start(loop, &attempts->backoff_timer, ends_ns - now_ns);
    }
}

/* The delay has passed, or a deadline has come. */
static void backoff_ended(void *arg)
{
    evener_attempts *attempts = arg;
    if (attempts->times_attempt) {
        attempts->times_attempt = false;
        time_attempt(attempts);
        attempts->hooks->unref(attempts);
        return;
    }
    pthread_mutex_lock(&attempts->mutex);
    const bool backs_off = attempts->place == EVENER_ATTEMPTS_BACKOFF;
    pthread_mutex_unlock(&attempts->mutex);
    if (!backs_off) {
        wait_for_metadata(attempts);
    } else if (move(attempts, EVENER_ATTEMPTS_NOWHERE)) {
        finish_cancelled(attempts);
    } else {
        pick(attempts);
    }
}

/* Do what the place asks for. The place may be a later one than the task was posted for, or none that needs it. */
static void step(void *arg)
{
    evener_attempts *attempts = arg;
    evener_loop *loop = attempts->rpc.channel->hot.loop;
    pthread_mutex_lock(&attempts->mutex);
    const evener_attempts_place place = attempts->place;
    const bool cancelled = attempts->cancelled;
    pthread_mutex_unlock(&attempts->mutex);
    if (place != EVENER_ATTEMPTS_WIRE) {
        stop_timing(attempts);
    }
    /* Only this thread leaves these two places. */
    if (place == EVENER_ATTEMPTS_AGAIN) {
        attempts->at_once = 0;
        pick(attempts);
    } else if (place == EVENER_ATTEMPTS_BACKOFF && cancelled) {
        evener_timer_stop(loop, &attempts->backoff_timer);
        finish_cancelled(attempts);
    } else if (place == EVENER_ATTEMPTS_BACKOFF && !attempts->backoff_timer.active) {
        const uint64_t now_ns = evener_loop_now_ns(loop);
        const uint64_t at_ns = attempts->again_at_ns;
        evener_timer_start(loop, &attempts->backoff_timer, at_ns > now_ns ? at_ns - now_ns : 0);
    } else if (place == EVENER_ATTEMPTS_WIRE && attempts->attempt_ends_ns != 0) {
        time_attempt(attempts);
    } else if (place == EVENER_ATTEMPTS_METADATA) {
        wait_for_metadata(attempts);
    } else if (place == EVENER_ATTEMPTS_RESUMED) {
        go_on(attempts);
    }
    attempts->hooks->unref(attempts);
}

static void post_step(evener_attempts *attempts)
{
    attempts->hooks->ref(attempts);
    if (!evener_loop_post(attempts->rpc.channel->hot.loop, &attempts->task)) {
        attempts->hooks->unref(attempts); /* the pending one has a reference */
    }
}

/* Set the place and post the step for it. In one hold of the mutex: with the place set, a cancellation posts it as
 * well, and the step that ends the RPC, after which the channel may be gone, must wait for this. */
static void move_and_post(evener_attempts *attempts, evener_attempts_place place)
{
    attempts->hooks->ref(attempts); /* the step may end the RPC before this returns */
    pthread_mutex_lock(&attempts->mutex);
    attempts->place = place;
    post_step(attempts);
    pthread_mutex_unlock(&attempts->mutex);
    attempts->hooks->unref(attempts);
}

/* Attempt again on the control thread: evener_attempts_start() must not finish the RPC, and the stack must not grow. */
static void again_later(evener_attempts *attempts)
{
    move_and_post(attempts, EVENER_ATTEMPTS_AGAIN);
}

/* Attempt again when the delay has passed; at the deadline the pick fails with its status. */
static void back_off(evener_attempts *attempts, uint64_t delay_ns)
{
    const uint64_t now_ns = evener_loop_now_ns(attempts->rpc.channel->hot.loop);
    const uint64_t deadline_ns = attempts->rpc.deadline_ns;
    attempts->again_at_ns = deadline_ns > now_ns && delay_ns < deadline_ns - now_ns ? now_ns + delay_ns : deadline_ns;
    attempts->at_once = 0;
    move_and_post(attempts, EVENER_ATTEMPTS_BACKOFF);
}

/* ---- an attempt ---- */

static evener_retry_facts facts_of(evener_attempts *attempts, bool cancelled)
{
    const evener_bytes *request = attempts->begin.request;
    const bool may_repeat = attempts->hooks->may_repeat == NULL || attempts->hooks->may_repeat(attempts);
    const bool has_turn = attempts->may_wait || attempts->at_once + 1 < ATTEMPTS_AT_ONCE;
    return (evener_retry_facts){
        .cancelled = cancelled,
        .may_repeat = may_repeat && has_turn,
        .committed = attempts->is_committed || (request != NULL && request->length > EVENER_RETRY_BUFFER_BYTES),
    };
}

/* Judge an attempt that has ended, and make the next one if there is to be one. */
static bool repeats(evener_attempts *attempts, const evener_call_end *end, bool cancelled)
{
    uint64_t delay_ns;
    const evener_retry_step step =
        evener_retry_after_attempt(&attempts->rpc, &attempts->pick, end, facts_of(attempts, cancelled), &delay_ns);
    if (step == EVENER_RETRY_FINISH) {
        return false;
    }
    evener_rpc_end_pick(&attempts->rpc, &attempts->pick, end);
    if (step == EVENER_RETRY_LATER) {
        back_off(attempts, delay_ns);
    } else if (++attempts->at_once < ATTEMPTS_AT_ONCE) {
        pick(attempts);
    } else {
        again_later(attempts);
    }
    return true;
}

void evener_attempts_ended(evener_transport_call *wire, const evener_call_end *end)
{
    evener_attempts *attempts = wire->arg;
    const bool cancelled = move(attempts, EVENER_ATTEMPTS_NOWHERE);
    if (!evener_retry_is_over(&attempts->rpc, end) && repeats(attempts, end, cancelled)) {
        return;
    }
    evener_status status;
    if (cancelled && attempts->rpc.attempt_timed_out && end->code != EVENER_STATUS_OK) {
        (void)was_cancelled(&status); /* the transport had been asked to end the attempt already */
    } else {
        evener_rpc_set_status(&attempts->rpc, &attempts->pick, end, &status);
    }
    evener_rpc_fill_details(&attempts->pick, end, &status, attempts->details);
    (void)move(attempts, EVENER_ATTEMPTS_FINISHED);
    evener_rpc_end_pick(&attempts->rpc, &attempts->pick, end);
    finish(attempts, &status, end);
}

/* Fill and return the status of an RPC that would have to wait for a backend and may not. */
static evener_status_code cannot_wait(evener_attempts *attempts, evener_status *status)
{
    evener_channel_cannot_wait(attempts->rpc.channel, &attempts->pick, "the asynchronous functions", status);
    return status->code;
}

/* Begin on the connection picked. Not OK: the RPC cannot go on, and the pick is ended. OK also when the connection
 * takes no further call, and the RPC may wait: then the pick is made again. */
static evener_status_code begin(evener_attempts *attempts, evener_status *status)
{
    evener_rpc *rpc = &attempts->rpc;
    rpc->attempts++;
    rpc->first_message_ns = 0;
    rpc->attempt_timed_out = false;
    evener_details_begin(attempts->details, rpc->attempts);
    evener_call_begin_args args = attempts->begin;
    evener_rpc_fill_begin_args(rpc, &attempts->pick, &args);
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
            attempts->is_answered = false;
            if (__builtin_expect(rpc->policy.attempt_timeout_ns > 0, 0) && !args.unary) {
                attempts->attempt_ends_ns = evener_loop_now_ns(rpc->channel->hot.loop) + rpc->policy.attempt_timeout_ns;
                post_step(attempts); /* starts the timer */
            }
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
    if (code == EVENER_STATUS_UNAVAILABLE && attempts->may_wait) {
        again_later(attempts);
        return EVENER_STATUS_OK;
    }
    if (code == EVENER_STATUS_UNAVAILABLE) {
        return cannot_wait(attempts, status);
    }
    return evener_status_set(status, code, "call of %s: %s", rpc->pick_args.method, refusal.message);
}

/* ---- the pick ---- */

/* Judge a pick that found no backend. True: it is made again later. */
static bool picks_again(evener_attempts *attempts, const evener_status *status)
{
    uint64_t delay_ns;
    const bool later = evener_retry_after_pick(&attempts->rpc, &attempts->pick, status,
                                               facts_of(attempts, evener_attempts_is_cancelled(attempts)),
                                               &delay_ns) == EVENER_RETRY_LATER;
    if (later) {
        back_off(attempts, delay_ns);
    }
    return later;
}

static void pick_settled(void *arg, evener_status_code code, const evener_status *status)
{
    evener_attempts *attempts = arg;
    (void)move(attempts, EVENER_ATTEMPTS_NOWHERE);
    evener_status failure;
    if (code == EVENER_STATUS_OK && begin(attempts, &failure) == EVENER_STATUS_OK) {
        return;
    }
    const evener_status *found = code == EVENER_STATUS_OK ? &failure : status;
    if (code == EVENER_STATUS_OK || !picks_again(attempts, found)) {
        finish_without_backend(attempts, found);
    }
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

static evener_pick_outcome ask_for_pick(evener_attempts *attempts, evener_status *status)
{
    const evener_pick_args *args = &attempts->rpc.pick_args;
    attempts->pick.layer_count = 0;
    if (attempts->may_wait) {
        attempts->pick_request = (evener_pick_request){
            .size = sizeof(evener_pick_request), .pick = &attempts->pick, .callback = pick_settled, .arg = attempts};
        return evener_channel_pick_async(attempts->rpc.channel, args, &attempts->pick_request, status);
    }
    const evener_pick_outcome outcome = evener_channel_try_pick(attempts->rpc.channel, args, &attempts->pick, status);
    if (outcome != EVENER_PICK_QUEUE) {
        return outcome;
    }
    (void)cannot_wait(attempts, status);
    return EVENER_PICK_FAIL;
}

evener_status_code evener_attempts_start(evener_attempts *attempts, bool may_wait, evener_status *status)
{
    attempts->may_wait = may_wait;
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
    switch (ask_for_pick(attempts, status)) {
    case EVENER_PICK_COMPLETE:
        code = begin(attempts, status);
        break;
    case EVENER_PICK_QUEUE:
        queued(attempts, round);
        break;
    default:
        code = may_wait && picks_again(attempts, status) ? EVENER_STATUS_OK : status->code;
        break;
    }
    attempts->hooks->unref(attempts);
    return code;
}

static void pick(evener_attempts *attempts)
{
    evener_status status;
    if (evener_attempts_start(attempts, attempts->may_wait, &status) != EVENER_STATUS_OK) {
        finish_without_backend(attempts, &status);
    }
}

/* All metadata has come. The call may have ended meanwhile; its memory is held. */
static void metadata_came(void *arg)
{
    evener_attempts *attempts = arg;
    pthread_mutex_lock(&attempts->mutex);
    if (attempts->place == EVENER_ATTEMPTS_METADATA) {
        attempts->place = EVENER_ATTEMPTS_RESUMED;
        post_step(attempts);
    }
    pthread_mutex_unlock(&attempts->mutex);
    attempts->hooks->unref(attempts);
}

evener_status_code evener_attempts_begin_late(evener_attempts *attempts, bool may_wait, evener_status *status)
{
    evener_pick_args *args = &attempts->rpc.pick_args;
    attempts->may_wait = may_wait;
    if (!may_wait && !evener_late_is_ready(attempts->late)) {
        return evener_status_set(
            status, EVENER_STATUS_FAILED_PRECONDITION,
            "metadata of the call comes later, and waiting for it on the control thread would wait "
            "for itself: use the asynchronous functions");
    }
    if (!may_wait) {
        const evener_status_code code =
            evener_late_take(attempts->late, &args->metadata, &args->metadata_count, status);
        return code == EVENER_STATUS_OK ? evener_attempts_start(attempts, false, status) : code;
    }
    attempts->hooks->ref(attempts); /* until metadata_came() */
    attempts->hooks->ref(attempts); /* the call may end before this returns */
    pthread_mutex_lock(&attempts->mutex);
    attempts->place = EVENER_ATTEMPTS_METADATA;
    post_step(attempts); /* starts the timer of the deadline */
    pthread_mutex_unlock(&attempts->mutex);
    if (evener_late_on_ready(attempts->late, metadata_came, attempts)) {
        metadata_came(attempts);
    }
    attempts->hooks->unref(attempts);
    return EVENER_STATUS_OK;
}

void evener_attempts_fail(evener_attempts *attempts, const evener_status *status)
{
    finish_without_backend(attempts, status);
}

/* ---- from outside ---- */

void evener_attempts_cancel(evener_attempts *attempts)
{
    pthread_mutex_lock(&attempts->mutex);
    const bool first = !attempts->cancelled;
    attempts->cancelled = true;
    if (first && attempts->place == EVENER_ATTEMPTS_QUEUED) {
        evener_pick_request_cancel(&attempts->pick_request);
    } else if (first && attempts->place == EVENER_ATTEMPTS_WIRE && !attempts->rpc.attempt_timed_out) {
        attempts->rpc.calls->call_cancel(attempts->wire, EVENER_STATUS_CANCELLED, "the call was cancelled");
    } else if (first && (attempts->place == EVENER_ATTEMPTS_BACKOFF || attempts->place == EVENER_ATTEMPTS_METADATA)) {
        post_step(attempts);
    }
    pthread_mutex_unlock(&attempts->mutex);
}

void evener_attempts_init(evener_attempts *attempts)
{
    pthread_mutex_init(&attempts->mutex, NULL);
    attempts->task = (evener_task)EVENER_TASK_INIT(step, attempts);
    attempts->backoff_timer = (evener_timer)EVENER_TIMER_INIT(backoff_ended, attempts);
    attempts->wire->arg = attempts;
    evener_details_begin(attempts->details, 0);
}

void evener_attempts_clear(evener_attempts *attempts)
{
    evener_retry_clear(&attempts->rpc);
    evener_late_unref(attempts->late);
    pthread_mutex_destroy(&attempts->mutex);
}
