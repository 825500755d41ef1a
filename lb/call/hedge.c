#include "lb/call/hedge.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "lb/base/memory.h"
#include "lb/call/details.h"
#include "lb/call/retry.h"
#include "lb/channel/channel_internal.h"
#include "lb/runtime/object_pool.h"

/* One attempt. Its memory: this struct, then the transport's part. Lives as long as the hedge. */
typedef struct child {
    evener_attempts attempts;
    evener_hedge *hedge;
    evener_attempts_hooks hooks;
    evener_line line;            /* of a stream; under its mutex */
    evener_call_details details; /* with details asked for */
    evener_status status;        /* when it has ended without a decision */
    uint64_t started_ns;
    size_t bytes;
    bool has_address; /* under the hedge's mutex, as the next */
    char address[EVENER_ADDRESS_BYTES_MAX];
    const char *tried[EVENER_TRIED_MAX]; /* into `tried_texts`; set before the start */
    char tried_texts[EVENER_TRIED_MAX][EVENER_ADDRESS_BYTES_MAX];
} child;

struct evener_hedge {
    _Atomic uint32_t references; /* one per child under way, one while `task` is pending, the driver's */
    bool is_retired;             /* the driver's was given back: the timer does not run any more. Control thread */
    evener_attempts *call;       /* a reference of its hooks */
    evener_channel *channel; /* counted by each child under way and by advance(); the call has its own until its end */
    evener_loop *loop;
    evener_task task;
    evener_timer timer; /* the control thread's */

    pthread_mutex_t mutex; /* protects the rest; taken after a child's, never the other way round */
    bool cancelled;
    bool is_over; /* `finished` was, or is being called */
    bool no_more; /* a pushback, the throttle or a commitment forbids further attempts */
    bool cancels; /* the control thread has to cancel all children but `winner` */
    uint32_t started, running;
    uint64_t next_at_ns; /* when the next attempt is due */
    child *latest;       /* the last one that ended without a decision */
    child *winner;       /* the one that a stream is committed to */
    child *children[EVENER_HEDGES_MAX];
};

static void child_ended(evener_attempts *attempts, const evener_status *status, const evener_call_end *end);
static void child_begun(evener_attempts *attempts);

bool evener_hedge_is_wanted(const evener_rpc *rpc)
{
    return rpc->policy.kind == EVENER_CALL_POLICY_HEDGE && rpc->attempts_max > 1;
}

/* ---- life ---- */

static void hedge_ref(evener_hedge *hedge)
{
    atomic_fetch_add_explicit(&hedge->references, 1, memory_order_relaxed);
}

static void hedge_unref(evener_hedge *hedge)
{
    /* acq_rel: the last one sees what the others did. */
    if (atomic_fetch_sub_explicit(&hedge->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (uint32_t i = 0; i < hedge->started; i++) {
        child *c = hedge->children[i];
        evener_bytes_clear(&c->line.out);
        evener_call_details_clear(&c->details);
        evener_attempts_clear(&c->attempts);
        evener_pool_give_back(c, c->bytes);
    }
    hedge->call->hooks->unref(hedge->call); /* frees the hedge, if the program has given the call back */
}

void evener_hedge_free(evener_hedge *hedge)
{
    if (hedge != NULL) {
        pthread_mutex_destroy(&hedge->mutex);
        evener_pool_give_back(hedge, sizeof *hedge);
    }
}

evener_attempts *evener_hedge_call_of(evener_attempts *attempts)
{
    return EVENER_CONTAINER_OF(attempts, child, attempts)->hedge->call;
}

evener_line *evener_hedge_line_of(evener_attempts *attempts)
{
    return &EVENER_CONTAINER_OF(attempts, child, attempts)->line;
}

static evener_hedge *hedge_of(evener_attempts *attempts)
{
    return EVENER_CONTAINER_OF(attempts, child, attempts)->hedge;
}

static void child_ref(evener_attempts *attempts)
{
    hedge_ref(hedge_of(attempts));
}

static void child_unref(evener_attempts *attempts)
{
    hedge_unref(hedge_of(attempts));
}

static void child_headers(evener_transport_call *wire, const evener_metadata *metadata, size_t count)
{
    const evener_attempts *attempts = wire->arg;
    evener_details_headers(attempts->details, metadata, count);
}

static const evener_call_events child_events = {
    .size = sizeof child_events, .headers = child_headers, .ended = evener_attempts_ended};

static const evener_attempts_hooks child_hooks = {
    .events = &child_events, .begun = child_begun, .finished = child_ended, .ref = child_ref, .unref = child_unref};

/* ---- the control thread's part ---- */

static void post(evener_hedge *hedge)
{
    hedge_ref(hedge);
    if (!evener_loop_post(hedge->loop, &hedge->task)) {
        hedge_unref(hedge); /* the pending one has a reference */
    }
}

/* Return whether there may be a further attempt. The mutex is held. */
static bool has_more(const evener_hedge *hedge)
{
    const uint32_t max = hedge->call->rpc.attempts_max;
    return !hedge->is_over && !hedge->cancelled && !hedge->no_more &&
           hedge->started < (max < EVENER_HEDGES_MAX ? max : EVENER_HEDGES_MAX);
}

/* End the call. `from` is the attempt whose details are given out; NULL: none. The caller has set is_over. */
static void finish(evener_hedge *hedge, child *from, const evener_status *status, const evener_call_end *end)
{
    evener_attempts *call = hedge->call;
    pthread_mutex_lock(&hedge->mutex);
    const uint32_t started = hedge->started;
    const bool gave_up = hedge->cancelled || (end != NULL && end->timed_out); /* no attempt has decided */
    const uint32_t losers = gave_up || hedge->winner != NULL ? 0 : hedge->running;
    pthread_mutex_unlock(&hedge->mutex);
    EVENER_METHOD_ADD(call->rpc.state, losers, losers);
    if (call->hooks->hedged != NULL && from != NULL) {
        call->hooks->hedged->chosen(&from->attempts);
    }
    for (uint32_t i = 0; i < started; i++) {
        if (hedge->children[i] != from) {
            evener_attempts_cancel(&hedge->children[i]->attempts);
        }
    }
    if (call->details != NULL && from != NULL) {
        from->details.attempts = started;
        evener_details_move(&from->details, call->details);
    }
    /* Stops the timer. Before the end, after which the program may give channel and runtime back: the task runs before
     * what that posts. */
    post(hedge);
    call->hooks->finished(call, status, end);
}

/* ---- attempts ---- */

/* Under the mutex of the child. */
static void child_begun(evener_attempts *attempts)
{
    child *c = EVENER_CONTAINER_OF(attempts, child, attempts);
    pthread_mutex_lock(&c->hedge->mutex);
    (void)snprintf(c->address, sizeof c->address, "%s", evener_subchannel_address_text(attempts->pick.subchannel));
    c->has_address = true;
    pthread_mutex_unlock(&c->hedge->mutex);
    const evener_hedge_hooks *hedged = c->hedge->call->hooks->hedged;
    if (hedged != NULL) {
        hedged->begun(attempts);
    }
    attempts->rpc.pick_args.trace = NULL; /* a transparent retry may pick while another attempt ends the call */
}

/* Make the next child, which avoids the backends of the others. NULL: out of memory. The mutex is held. */
static child *child_create(evener_hedge *hedge)
{
    const evener_attempts *call = hedge->call;
    const size_t wire_at = (sizeof(child) + 63) & ~(size_t)63;
    const size_t bytes = wire_at + evener_rpc_call_bytes(call->rpc.calls);
    bool is_new;
    child *c = evener_pool_take(bytes, &is_new);
    if (c == NULL) {
        return NULL;
    }
    if (!is_new) {
        memset(c, 0, bytes);
    }
    c->hedge = hedge;
    c->bytes = bytes;
    evener_attempts *attempts = &c->attempts;
    c->hooks = child_hooks;
    if (call->hooks->hedged != NULL) {
        c->hooks.events = call->hooks->hedged->events;
        c->hooks.may_repeat = call->hooks->hedged->may_repeat;
    }
    c->line.attempts = attempts;
    attempts->hooks = &c->hooks;
    attempts->rpc = call->rpc;
    attempts->rpc.retries = hedge->started; /* grpc-previous-rpc-attempts */
    attempts->rpc.policy.kind = EVENER_CALL_POLICY_NONE;
    attempts->wire = (evener_transport_call *)(void *)((char *)c + wire_at);
    attempts->begin = call->begin;
    if (call->details != NULL) {
        c->details.size = sizeof c->details;
        attempts->details = &c->details;
    }
    size_t count = 0;
    for (uint32_t i = 0; i < hedge->started && count < EVENER_TRIED_MAX; i++) {
        if (hedge->children[i]->has_address) {
            memcpy(c->tried_texts[count], hedge->children[i]->address, sizeof c->tried_texts[0]);
            c->tried[count] = c->tried_texts[count];
            count++;
        }
    }
    if (hedge->started > 0) {
        attempts->rpc.pick_args.trace = NULL; /* its functions are called by one pick at a time */
    }
    attempts->rpc.pick_args.tried = c->tried;
    attempts->rpc.pick_args.tried_count = count;
    evener_attempts_init(attempts);
    hedge->children[hedge->started++] = c;
    hedge->running++;
    return c;
}

/* Return the hedging delay: the quantile of the method's own latencies once it is known, otherwise the configured one,
 * which also bounds the quantile: it would follow a share of hung calls without end. */
static uint64_t delay_ns(const evener_rpc *rpc)
{
    const uint64_t configured_ns = rpc->policy.hedging_delay_ns;
    const uint64_t learnt_ns = rpc->policy.hedging_quantile > 0 && rpc->state != NULL
                                   ? __atomic_load_n(&rpc->state->quantile_ns, __ATOMIC_RELAXED)
                                   : 0;
    return learnt_ns > 0 && (configured_ns == 0 || learnt_ns < configured_ns) ? learnt_ns : configured_ns;
}

/* Learn from the first attempt, also when a later one has overtaken it: otherwise the quantile would sink with every
 * call that it hedges. The latency of a stream is the time until its answer begins. The mutex is held. */
static void learn(const evener_hedge *hedge, const child *c, bool has_latency)
{
    const evener_rpc *rpc = &hedge->call->rpc;
    if (rpc->policy.hedging_quantile > 0 && rpc->state != NULL && c == hedge->children[0] && !hedge->cancelled &&
        has_latency) {
        evener_method_state_record(rpc->state, evener_loop_now_ns(hedge->channel->hot.loop) - c->started_ns);
    }
}

/* Start the next attempt. Not OK: it could not start, and has no result. *started NULL: there is none, as memory is
 * out, or as the call has ended, was committed or cancelled since it was decided that an attempt is due. */
static evener_status_code start_next(evener_hedge *hedge, child **started, evener_status *status)
{
    *started = NULL;
    pthread_mutex_lock(&hedge->mutex);
    if (hedge->is_over || hedge->cancelled || hedge->winner != NULL) {
        pthread_mutex_unlock(&hedge->mutex);
        return evener_status_set(status, EVENER_STATUS_CANCELLED, "the call was cancelled");
    }
    child *c = child_create(hedge);
    hedge->no_more = hedge->no_more || c == NULL;
    const uint64_t now_ns = evener_loop_now_ns(hedge->channel->hot.loop);
    hedge->next_at_ns = now_ns + delay_ns(&hedge->call->rpc);
    if (c != NULL) {
        c->started_ns = now_ns;
    }
    pthread_mutex_unlock(&hedge->mutex);
    *started = c;
    if (c == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "call of %s: out of memory",
                                 hedge->call->rpc.pick_args.method);
    }
    hedge_ref(hedge); /* until child_ended(), as this one: */
    (void)evener_channel_ref(hedge->channel);
    return evener_attempts_start(&c->attempts, true, status);
}

/* Decide what the end of an attempt means. */
static void child_ended(evener_attempts *attempts, const evener_status *status, const evener_call_end *end)
{
    child *c = EVENER_CONTAINER_OF(attempts, child, attempts);
    evener_hedge *hedge = c->hedge;
    const evener_call_policy *policy = &hedge->call->rpc.policy;
    evener_throttle *throttle = evener_channel_throttle(hedge->channel);
    int32_t pushback_ms = 0;
    const bool has_pushback = end != NULL && evener_retry_pushback(end, &pushback_ms);
    const bool forbids = has_pushback && pushback_ms < 0;
    /* Without a backend: only the picker's own failure is one that the policy knows. */
    const bool is_judged =
        end != NULL ? !end->timed_out && !evener_retry_headers_came(end) : evener_pick_was_failed(&attempts->pick);
    const bool is_fatal = !is_judged || (policy->codes >> ((uint32_t)status->code & 31U) & 1U) == 0;
    pthread_mutex_lock(&hedge->mutex);
    const bool is_winner = hedge->winner == c; /* set by an event before */
    const bool is_loser = hedge->winner != NULL && !is_winner;
    learn(hedge, c, !is_winner && (status->code == EVENER_STATUS_OK || hedge->is_over || is_loser));
    const bool counts = !hedge->is_over && !hedge->cancelled && !is_loser;
    pthread_mutex_unlock(&hedge->mutex);
    if (counts && status->code != EVENER_STATUS_OK && (!is_fatal || forbids)) {
        evener_throttle_failed(throttle);
    }
    pthread_mutex_lock(&hedge->mutex);
    hedge->running--; /* in one hold of the mutex with the decision: the control thread ends a call without children */
    /* Without a backend, for a reason of the channel's: an attempt under way may still answer. */
    const bool is_spare = end == NULL && !is_judged && hedge->running > 0;
    hedge->no_more = hedge->no_more || forbids || is_spare || !evener_throttle_allows(throttle);
    const bool has_others = hedge->running > 0 || has_more(hedge);
    const bool goes_on =
        hedge->winner != NULL ? hedge->winner != c : (!is_fatal || is_spare) && !hedge->cancelled && has_others;
    const bool decides = !hedge->is_over && !goes_on;
    const bool next = !hedge->is_over && goes_on && has_more(hedge);
    if (!hedge->is_over && goes_on) {
        c->status = *status;
        hedge->latest = c;
        if (next) {
            const uint64_t now_ns = evener_loop_now_ns(hedge->channel->hot.loop);
            hedge->next_at_ns = now_ns + (has_pushback ? (uint64_t)pushback_ms * EVENER_NS_PER_MS : 0);
        }
    }
    hedge->is_over = hedge->is_over || decides;
    pthread_mutex_unlock(&hedge->mutex);
    /* With the last child the channel is only the call's, as at the end of any call: then the program's last unref of the
     * channel waits for everything. */
    if (next) {
        post(hedge);
    }
    evener_channel_unref(hedge->channel);
    if (decides) {
        finish(hedge, c, status, end);
    }
    hedge_unref(hedge); /* the child's */
}

/* End a call for which nothing is under way: it was cancelled, its deadline has passed, or no further attempt may be
 * made. */
static void end_waiting(evener_hedge *hedge, bool cancelled, bool is_late)
{
    child *latest = hedge->latest;
    evener_status status;
    if (cancelled) {
        evener_status_set(&status, EVENER_STATUS_CANCELLED, "the call was cancelled");
    } else if (is_late) {
        (void)evener_rpc_deadline_status(&hedge->call->rpc, &status);
    } else {
        status = latest->status;
    }
    finish(hedge, latest, &status, NULL);
}

/* Stop the timer. When the call is over give the driver's reference back. Control thread, with another reference. */
static void rest(evener_hedge *hedge, bool is_over)
{
    evener_timer_stop(hedge->loop, &hedge->timer);
    if (is_over && !hedge->is_retired) {
        hedge->is_retired = true;
        hedge_unref(hedge);
    }
}

bool evener_hedge_commit(evener_attempts *attempts, bool has_answer)
{
    child *c = EVENER_CONTAINER_OF(attempts, child, attempts);
    evener_hedge *hedge = c->hedge;
    uint32_t losers = 0;
    pthread_mutex_lock(&hedge->mutex);
    const bool is_first = !hedge->is_over && hedge->winner == NULL;
    const bool may_wait = has_more(hedge); /* then the timer runs */
    if (is_first) {
        learn(hedge, c, has_answer);
        hedge->winner = c;
        hedge->no_more = true;
        hedge->cancels = hedge->running > 1;
        losers = hedge->cancelled ? 0 : hedge->running - 1;
    }
    const bool has_task = is_first && (hedge->cancels || may_wait);
    pthread_mutex_unlock(&hedge->mutex);
    EVENER_METHOD_ADD(hedge->call->rpc.state, losers, losers);
    if (has_task) {
        post(hedge);
    }
    return is_first;
}

/* Cancel the children that a committed stream does not need. */
static void cancel_losers(evener_hedge *hedge)
{
    pthread_mutex_lock(&hedge->mutex);
    const bool cancels = hedge->cancels;
    const child *winner = hedge->winner;
    hedge->cancels = false;
    pthread_mutex_unlock(&hedge->mutex);
    for (uint32_t i = 0; cancels && i < hedge->started; i++) { /* none starts any more */
        if (hedge->children[i] != winner) {
            evener_attempts_cancel(&hedge->children[i]->attempts);
        }
    }
}

/* Start the attempts that are due, and the timer for the next one. Control thread, with a reference of the caller's. */
static void advance_inside(evener_hedge *hedge)
{
    evener_loop *loop = hedge->loop;
    cancel_losers(hedge);
    for (;;) {
        pthread_mutex_lock(&hedge->mutex);
        const uint64_t now_ns = evener_loop_now_ns(loop);
        const uint64_t deadline_ns = hedge->call->rpc.deadline_ns;
        hedge->no_more = hedge->no_more || !evener_throttle_allows(evener_channel_throttle(hedge->channel));
        bool more = has_more(hedge);
        bool due = more && hedge->next_at_ns <= now_ns && now_ns < deadline_ns;
        if (due && !evener_retry_budget_take(&hedge->channel->retries.budget, now_ns)) {
            EVENER_METHOD_COUNT(hedge->call->rpc.state, throttled);
            hedge->no_more = true;
            more = due = false;
        }
        const bool ends = !hedge->is_over && hedge->running == 0 && !due && (!more || now_ns >= deadline_ns);
        const bool cancelled = hedge->cancelled;
        hedge->is_over = hedge->is_over || ends;
        const bool is_over = hedge->is_over;
        const uint64_t at_ns = hedge->next_at_ns < deadline_ns ? hedge->next_at_ns : deadline_ns;
        pthread_mutex_unlock(&hedge->mutex);
        if (ends) {
            end_waiting(hedge, cancelled, more);
        }
        if (is_over || !more || now_ns >= deadline_ns) {
            rest(hedge, is_over);
            return;
        }
        if (!due) {
            evener_timer_start(loop, &hedge->timer, at_ns - now_ns);
            return;
        }
        child *c;
        evener_status status;
        const evener_status_code code = start_next(hedge, &c, &status);
        if (c != NULL) {
            EVENER_METHOD_COUNT(hedge->call->rpc.state, hedges);
        }
        if (code != EVENER_STATUS_OK && c != NULL) {
            child_ended(&c->attempts, &status, NULL);
        } /* without an attempt the next round rests, or ends the call */
    }
}

static void advance(evener_hedge *hedge)
{
    evener_channel *channel = hedge->channel;
    pthread_mutex_lock(&hedge->mutex);
    const bool is_over = hedge->is_over;
    if (!is_over) {
        (void)evener_channel_ref(channel); /* the call's own is given back after is_over was set */
    }
    pthread_mutex_unlock(&hedge->mutex);
    if (is_over) {
        rest(hedge, true);
        return;
    }
    advance_inside(hedge);
    evener_channel_unref(channel);
}

static void step(void *arg)
{
    evener_hedge *hedge = arg;
    advance(hedge);
    hedge_unref(hedge);
}

/* The driver's reference is there while the timer runs. */
static void delay_passed(void *arg)
{
    evener_hedge *hedge = arg;
    hedge_ref(hedge);
    advance(hedge);
    hedge_unref(hedge);
}

/* ---- from outside ---- */

void evener_hedge_cancel(evener_hedge *hedge)
{
    pthread_mutex_lock(&hedge->mutex);
    hedge->cancelled = true;
    const bool is_over = hedge->is_over;
    const uint32_t started = hedge->started;
    if (!is_over) {
        hedge_ref(hedge); /* the driver's is there */
        post(hedge);      /* nothing may be under way. Under the mutex: once the call is over the loop may be gone */
    }
    pthread_mutex_unlock(&hedge->mutex);
    if (is_over) {
        return; /* the attempts may be gone */
    }
    for (uint32_t i = 0; i < started; i++) {
        evener_attempts_cancel(&hedge->children[i]->attempts);
    }
    hedge_unref(hedge);
}

/* Return whether the policy's rules for the status apply to an attempt that found no backend. */
static bool is_non_fatal_pick(const evener_hedge *hedge, const child *c, evener_status_code code)
{
    return evener_pick_was_failed(&c->attempts.pick) &&
           (hedge->call->rpc.policy.codes >> ((uint32_t)code & 31U) & 1U) != 0;
}

evener_status_code evener_hedge_start(evener_attempts *call, evener_hedge **hedge, evener_status *status)
{
    bool is_new;
    evener_hedge *made = evener_pool_take(sizeof *made, &is_new);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "call of %s: out of memory",
                                 call->rpc.pick_args.method);
    }
    memset(made, 0, sizeof *made);
    pthread_mutex_init(&made->mutex, NULL);
    atomic_init(&made->references, 2); /* the driver's, and this function's: the call may end before it returns */
    made->call = call;
    made->channel = call->rpc.channel;
    made->loop = made->channel->hot.loop;
    made->task = (evener_task)EVENER_TASK_INIT(step, made);
    made->timer = (evener_timer)EVENER_TIMER_INIT(delay_passed, made);
    call->hooks->ref(call);
    *hedge = made;
    child *first;
    const evener_status_code code = start_next(made, &first, status);
    if (code != EVENER_STATUS_OK && (first == NULL || !is_non_fatal_pick(made, first, code))) {
        /* Nothing else was started, so this is the whole call's result. */
        made->is_over = true;
        if (first != NULL) {
            evener_channel_unref(made->channel);
            hedge_unref(made);
        }
        hedge_unref(made);
        hedge_unref(made);
        return code;
    }
    if (code != EVENER_STATUS_OK) { /* the pick failed; `finished` must not be called from here */
        evener_throttle_failed(evener_channel_throttle(made->channel));
        pthread_mutex_lock(&made->mutex);
        first->status = *status;
        made->latest = first;
        made->running--;
        made->next_at_ns = evener_loop_now_ns(made->channel->hot.loop);
        pthread_mutex_unlock(&made->mutex);
        evener_channel_unref(made->channel);
        hedge_unref(made); /* the child's; the driver's is there */
    }
    post(made); /* starts the timer, or the next attempt */
    hedge_unref(made);
    return EVENER_STATUS_OK;
}
