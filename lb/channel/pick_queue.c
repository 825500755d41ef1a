#include "lb/channel/pick_queue.h"

#include <errno.h>

#include "lb/base/options.h"
#include "lb/channel/channel_internal.h"
#include "lb/runtime/clock.h"
#include "lb/runtime/uncancelled.h"

/* Bits of request->state, changed with the mutex held (TIMER_SET: on the control thread):
 *
 *     0          in the ring `requests`
 *     TRYING     likewise, and in the task's batch: it may not leave the ring
 *     LEAVING    a blocking pick whose deadline passed during TRYING; its thread waits for the end of the batch
 *     CANCELLED  an asynchronous one, in the ring `cancelled`, or TRYING and on its way there
 *     ENDED      in no ring; a blocking pick's thread returns, the callback of an asynchronous one is next */
enum { ENDED = 1, TIMER_SET = 2, CANCELLED = 4, TRYING = 8, LEAVING = 16 };

/* Requests that the task takes at once; they share the control thread's stack with their status. */
#define BATCH 32
/* Requests after which the task lets other work run: with its last batch at most 544 of some 710 instructions each,
 * callback and end of the pick included (bench/instructions: queued_pick), so 0.1 to 0.4 ms. */
#define TURN_REQUESTS_MAX 512

/* Where a blocking pick waits: its `request->waiter`. */
typedef struct waiter {
    pthread_cond_t ended;
    evener_status *status;
} waiter;

/* Change the count. With the mutex held; atomic for readers without it (statistics, idle timeout). */
static void count_add(evener_pick_queue *queue, int32_t by)
{
    __atomic_store_n(&queue->count, queue->count + (uint32_t)by, __ATOMIC_RELAXED);
}

static uint32_t state_of(const evener_pick_request *request)
{
    return __atomic_load_n(&request->state, __ATOMIC_RELAXED);
}

static void state_add(evener_pick_request *request, uint32_t bits)
{
    (void)__atomic_fetch_or(&request->state, bits, __ATOMIC_RELAXED);
}

/* ---- the ring ---- */

/* Size of the first version's request; no request is as large as the maximum. */
#define REQUEST_BYTES_MIN                                                                                              \
    (offsetof(evener_pick_request, args) + offsetof(evener_pick_args, trace) + sizeof(const evener_pick_trace *))
#define REQUEST_BYTES_MAX 65536

static void ring_init(evener_pick_request *ring)
{
    ring->next = ring;
    ring->previous = ring;
}

static void ring_append(evener_pick_request *ring, evener_pick_request *request)
{
    request->previous = ring->previous;
    request->next = ring;
    ring->previous->next = request;
    ring->previous = request;
}

/* Remove a request from its ring. */
static void ring_remove(evener_pick_request *request)
{
    request->previous->next = request->next;
    request->next->previous = request->previous;
}

static bool ring_is_empty(const evener_pick_request *ring)
{
    return ring->next == ring;
}

/* Enter the queue at its end. The mutex is held. */
static void enter(evener_pick_queue *queue, evener_pick_request *request)
{
    ring_append(&queue->requests, request);
    count_add(queue, 1);
    if (queue->untimed == &queue->requests) {
        queue->untimed = request;
    }
}

/* Note that a request does not wait because of a limit any more. The mutex is held. */
static void end_limited_wait(evener_pick_queue *queue, evener_pick_request *request)
{
    request->full_at_ns = 0;
    evener_limits_leave(&queue->channel->limits);
}

/* Leave the queue. The mutex is held. */
static void leave(evener_pick_queue *queue, evener_pick_request *request)
{
    if (request->full_at_ns != 0) {
        end_limited_wait(queue, request);
    }
    if (queue->to_try == request) {
        queue->to_try = request->next;
    }
    if (queue->untimed == request) {
        queue->untimed = request->next;
    }
    ring_remove(request);
    count_add(queue, -1);
}

/* Return the number of requests that wait because of a limit. The mutex is held. */
static uint32_t waits_for_limits(const evener_pick_queue *queue)
{
    return __atomic_load_n(&queue->channel->limits.waiting, __ATOMIC_RELAXED);
}

/* Note that a request, which is counted, waits because of a limit from now on. `is_last`: it is the last of the queue.
 * The mutex is held. */
static void begin_limited_wait(evener_pick_queue *queue, evener_pick_request *request, bool is_last)
{
    request->full_at_ns = evener_loop_now_ns(queue->channel->hot.loop);
    queue->expires_in_order = waits_for_limits(queue) == 1 || (queue->expires_in_order && is_last);
}

/* Retry all, as one has ceased to wait because of a limit: others may have queued up behind it. The mutex is held. */
static void wake_after(evener_pick_queue *queue, bool was_limited)
{
    if (was_limited && queue->count > 0) {
        __atomic_store_n(&queue->generation, queue->generation + 1, __ATOMIC_RELEASE);
        evener_loop_post(queue->channel->hot.loop, &queue->task);
    }
}

/* ---- end of a request ---- */

/* Call an asynchronous request's callback, which gives its memory back to the caller. Control thread, without the
 * mutex. */
static void call_back(evener_pick_request *request, evener_status_code code, const evener_status *status)
{
    evener_channel *channel = request->channel;
    if ((state_of(request) & TIMER_SET) != 0) {
        evener_timer_stop(channel->hot.loop, &request->timer);
    }
    request->callback(request->arg, code, status);
    evener_channel_unref(channel);
}

/* Return the status of a passed deadline. The mutex is held. */
static evener_status_code deadline_status(const evener_pick_queue *queue, uint64_t timeout_ms, evener_status *status)
{
    const char *reason = queue->last_error.message;
    const bool connecting = queue->connecting_to[0] != '\0';
    return evener_status_set(status, EVENER_STATUS_DEADLINE_EXCEEDED,
                             "deadline exceeded after %llu.%03llu s: waiting for a backend of \"%s\"%s%s%s%s",
                             (unsigned long long)(timeout_ms / 1000), (unsigned long long)(timeout_ms % 1000),
                             evener_target_text(queue->channel->settings.target), connecting ? ": connecting to " : "",
                             queue->connecting_to, reason[0] != '\0' ? "; last error: " : "", reason);
}

static void request_timed_out(void *arg)
{
    evener_pick_request *request = arg;
    evener_pick_queue *queue = &request->channel->queue;
    evener_status status;
    pthread_mutex_lock(&queue->mutex);
    if ((state_of(request) & CANCELLED) != 0) {
        pthread_mutex_unlock(&queue->mutex);
        return; /* the task calls back */
    }
    const bool was_limited = request->full_at_ns != 0;
    leave(queue, request);
    wake_after(queue, was_limited);
    state_add(request, ENDED);
    deadline_status(queue, request->args.timeout_ms, &status);
    pthread_mutex_unlock(&queue->mutex);
    call_back(request, EVENER_STATUS_DEADLINE_EXCEEDED, &status);
}

/* Pick with the request's own copy of its arguments. If the program was built against another evener, the copy has
 * only the members that the program knows. */
static evener_pick_outcome pick_for(evener_channel *channel, evener_pick_request *request, bool overtakes,
                                    evener_status *status)
{
    if (__builtin_expect(request->args.size == sizeof request->args, 1)) {
        return evener_channel_pick_now(channel, &request->args, overtakes, request->pick, status);
    }
    evener_pick_args args;
    if (evener_pick_args_read(&args, &request->args, status) != EVENER_STATUS_OK) {
        return EVENER_PICK_FAIL; /* cannot happen: it was read before */
    }
    return evener_channel_pick_now(channel, &args, overtakes, request->pick, status);
}

/* ---- the task ---- */

/* Each of the next three does one batch and returns the number of its requests. Control thread, without the mutex. */

static size_t end_cancelled(evener_pick_queue *queue)
{
    evener_pick_request *batch[BATCH];
    size_t count = 0;
    pthread_mutex_lock(&queue->mutex);
    while (count < BATCH && !ring_is_empty(&queue->cancelled)) {
        evener_pick_request *request = queue->cancelled.next;
        ring_remove(request);
        state_add(request, ENDED);
        batch[count++] = request;
    }
    pthread_mutex_unlock(&queue->mutex);
    for (size_t i = 0; i < count; i++) {
        evener_status status;
        evener_status_set(&status, EVENER_STATUS_CANCELLED, "cancelled while waiting for a backend");
        call_back(batch[i], status.code, &status);
    }
    return count;
}

static size_t start_timers(evener_pick_queue *queue)
{
    evener_pick_request *batch[BATCH];
    size_t count = 0;
    size_t seen = 0;
    pthread_mutex_lock(&queue->mutex);
    for (; seen < BATCH && queue->untimed != &queue->requests; seen++) {
        evener_pick_request *request = queue->untimed;
        queue->untimed = request->next;
        if (request->waiter == NULL && request->args.timeout_ms != 0) {
            batch[count++] = request;
        }
    }
    pthread_mutex_unlock(&queue->mutex);
    /* Asynchronous requests live until their callback, which only this thread calls. */
    for (size_t i = 0; i < count; i++) {
        const uint64_t timeout_ms = batch[i]->args.timeout_ms;
        state_add(batch[i], TIMER_SET);
        evener_timer_start(queue->channel->hot.loop, &batch[i]->timer,
                           timeout_ms < UINT64_MAX / EVENER_NS_PER_MS ? timeout_ms * EVENER_NS_PER_MS : UINT64_MAX / 2);
    }
    return seen;
}

/* Start a pass if the generation has advanced, or start the one in progress again. The mutex is held. */
static void begin_pass(evener_pick_queue *queue)
{
    const uint32_t generation = __atomic_load_n(&queue->generation, __ATOMIC_RELAXED);
    if (generation == queue->tried_generation || (queue->in_pass && queue->restarted)) {
        return;
    }
    queue->restarted = queue->in_pass;
    queue->in_pass = true;
    queue->pass_is_full = false;
    queue->tried_generation = generation;
    queue->to_try = queue->requests.next;
}

static size_t take_batch(evener_pick_queue *queue, evener_pick_request **batch)
{
    size_t count = 0;
    pthread_mutex_lock(&queue->mutex);
    begin_pass(queue);
    if (queue->in_pass && queue->to_try == &queue->requests) { /* its end */
        queue->in_pass = false;
        begin_pass(queue);
    }
    if (queue->pass_is_full && waits_for_limits(queue) == queue->count) {
        queue->to_try = &queue->requests; /* there is no room for any of them */
    }
    while (count < BATCH && queue->in_pass && queue->to_try != &queue->requests) {
        evener_pick_request *request = queue->to_try;
        queue->to_try = request->next;
        if (queue->pass_is_full && request->full_at_ns != 0) {
            continue; /* there is no room for it either */
        }
        state_add(request, TRYING);
        batch[count++] = request;
    }
    pthread_mutex_unlock(&queue->mutex);
    return count;
}

/* Note that a limit has stopped a retry. Return DROP if the request may not wait for that. The mutex is held. */
static evener_pick_outcome found_full(evener_pick_queue *queue, evener_pick_request *request, evener_status *status)
{
    evener_limits *limits = &queue->channel->limits;
    queue->pass_is_full = true;
    if (request->full_at_ns == 0) {
        if (!evener_limits_wait(limits)) {
            evener_limits_refuse(limits, false, status);
            return EVENER_PICK_DROP;
        }
        begin_limited_wait(queue, request, false);
    }
    return EVENER_PICK_QUEUE;
}

/* Store the result of a retry. Return whether the request's callback is due. The mutex is held. */
static bool store_result(evener_pick_queue *queue, evener_pick_request *request, evener_pick_outcome outcome,
                         evener_status *status)
{
    waiter *w = request->waiter;
    if (outcome == EVENER_PICK_QUEUE && evener_pick_was_full(request->pick)) {
        outcome = found_full(queue, request, status);
    }
    const uint32_t state = __atomic_and_fetch(&request->state, ~(uint32_t)TRYING, __ATOMIC_RELAXED);
    if (outcome == EVENER_PICK_QUEUE) {
        if (request->full_at_ns != 0 && !evener_pick_was_full(request->pick) && !evener_pick_was_lost(request->pick)) {
            /* It waits for a backend now. */
            end_limited_wait(queue, request);
            wake_after(queue, true);
        }
        if ((state & CANCELLED) != 0) {
            const bool was_limited = request->full_at_ns != 0;
            leave(queue, request);
            wake_after(queue, was_limited);
            ring_append(&queue->cancelled, request);
        } else if ((state & LEAVING) != 0) {
            pthread_cond_signal(&w->ended);
        }
        return false;
    }
    if (outcome == EVENER_PICK_COMPLETE) {
        evener_status_clear(status); /* pickers may leave something in it */
    }
    const bool was_limited = request->full_at_ns != 0;
    leave(queue, request);
    /* Others may have queued up behind it since the batch was taken, too late for this pass. */
    wake_after(queue, was_limited && queue->to_try == &queue->requests);
    state_add(request, ENDED);
    request->result = status->code;
    if (w == NULL) {
        return true;
    }
    *w->status = *status;
    pthread_cond_signal(&w->ended);
    return false;
}

static size_t try_batch(evener_pick_queue *queue)
{
    evener_pick_request *batch[BATCH];
    evener_pick_outcome outcomes[BATCH];
    evener_status statuses[BATCH];
    bool calls_back[BATCH];
    const size_t count = take_batch(queue, batch);
    const uint32_t ends = evener_limits_ends(&queue->channel->limits);
    for (size_t i = 0; i < count; i++) {
        evener_status_clear(&statuses[i]);
        outcomes[i] = pick_for(queue->channel, batch[i], true, &statuses[i]);
    }
    pthread_mutex_lock(&queue->mutex);
    for (size_t i = 0; i < count; i++) {
        calls_back[i] = store_result(queue, batch[i], outcomes[i], &statuses[i]);
    }
    /* A call that ended before these requests were counted as waiting has woken nobody. */
    wake_after(queue, queue->pass_is_full && ends != evener_limits_ends(&queue->channel->limits));
    pthread_mutex_unlock(&queue->mutex);
    for (size_t i = 0; i < count; i++) {
        if (calls_back[i]) {
            call_back(batch[i], statuses[i].code, &statuses[i]);
        }
    }
    return count;
}

/* ---- waits because of a limit ---- */

/* End requests that have waited too long, and start the timer for the next one. Let other work run after
 * TURN_REQUESTS_MAX. Control thread, without the mutex. */
static void end_expired(void *arg)
{
    evener_pick_queue *queue = arg;
    evener_limits *limits = &queue->channel->limits;
    evener_loop *loop = queue->channel->hot.loop;
    const uint64_t wait_ns = __atomic_load_n(&limits->wait_ns_max, __ATOMIC_RELAXED);
    for (size_t total = 0;;) {
        evener_pick_request *batch[BATCH];
        evener_status statuses[BATCH];
        uint64_t next_ns = UINT64_MAX;
        const uint64_t now_ns = evener_loop_now_ns(loop);
        size_t count = 0;
        size_t expired = 0;
        pthread_mutex_lock(&queue->mutex);
        for (evener_pick_request *r = queue->requests.next; r != &queue->requests && expired < BATCH;) {
            evener_pick_request *request = r;
            r = r->next;
            const uint64_t at_ns = request->full_at_ns != 0 ? request->full_at_ns + wait_ns : UINT64_MAX;
            if (at_ns > now_ns) {
                next_ns = at_ns < next_ns ? at_ns : next_ns;
                if (queue->expires_in_order && at_ns != UINT64_MAX) {
                    break;
                }
                continue;
            }
            expired++;
            leave(queue, request);
            wake_after(queue, true);
            state_add(request, ENDED);
            request->result = evener_limits_refuse(limits, true, &statuses[count]);
            waiter *w = request->waiter;
            if (w != NULL) {
                *w->status = statuses[count];
                pthread_cond_signal(&w->ended);
            } else {
                batch[count++] = request;
            }
        }
        pthread_mutex_unlock(&queue->mutex);
        for (size_t i = 0; i < count; i++) {
            call_back(batch[i], statuses[i].code, &statuses[i]);
        }
        total += expired;
        if (expired < BATCH && next_ns == UINT64_MAX) {
            return;
        }
        if (expired < BATCH || total >= TURN_REQUESTS_MAX) {
            evener_timer_start(loop, &queue->limit_timer, expired < BATCH ? next_ns - now_ns : 0);
            return;
        }
    }
}

/* Start the timer of requests that wait because of a limit: new ones, and those that a retry found to be such. */
static void watch_expiry(evener_pick_queue *queue)
{
    if (__atomic_load_n(&queue->channel->limits.waiting, __ATOMIC_RELAXED) > 0 && !queue->limit_timer.active) {
        end_expired(queue);
    }
}

static void run(void *arg)
{
    evener_pick_queue *queue = arg;
    for (size_t total = 0; total < TURN_REQUESTS_MAX;) {
        const size_t count = end_cancelled(queue) + start_timers(queue) + try_batch(queue);
        if (count == 0) {
            watch_expiry(queue);
            if (__atomic_load_n(&queue->count, __ATOMIC_RELAXED) > 0) {
                evener_channel_kick(queue->channel); /* the channel may have become IDLE while they waited */
            }
            return;
        }
        total += count;
    }
    watch_expiry(queue);
    evener_loop_post(queue->channel->hot.loop, &queue->task);
}

void evener_pick_queue_limits_changed(evener_pick_queue *queue)
{
    evener_timer_stop(queue->channel->hot.loop, &queue->limit_timer); /* the task starts it for the time in force */
    evener_pick_queue_wake(queue);
}

/* ---- the queue ---- */

evener_status_code evener_pick_queue_init(evener_pick_queue *queue, evener_channel *channel, uint32_t count_max,
                                          evener_status *status)
{
    pthread_condattr_t monotonic;
    if (pthread_condattr_init(&monotonic) != 0) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "channel: out of memory");
    }
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&queue->mutex, NULL);
    pthread_cond_init(&queue->state_changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    queue->channel = channel;
    queue->count_max = count_max;
    queue->connecting_to = "";
    ring_init(&queue->requests);
    ring_init(&queue->cancelled);
    queue->to_try = &queue->requests;
    queue->untimed = &queue->requests;
    queue->task = (evener_task)EVENER_TASK_INIT(run, queue);
    queue->limit_timer = (evener_timer)EVENER_TIMER_INIT(end_expired, queue);
    return EVENER_STATUS_OK;
}

void evener_pick_queue_clear(evener_pick_queue *queue)
{
    pthread_cond_destroy(&queue->state_changed);
    pthread_mutex_destroy(&queue->mutex);
}

void evener_pick_queue_wake(evener_pick_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    __atomic_store_n(&queue->generation, queue->generation + 1, __ATOMIC_RELEASE);
    const bool anybody = queue->count > 0;
    pthread_mutex_unlock(&queue->mutex);
    if (anybody) {
        evener_loop_post(queue->channel->hot.loop, &queue->task);
    }
}

void evener_pick_queue_set_state(evener_pick_queue *queue, evener_connectivity_state state, size_t ready_backends,
                                 const evener_status *status)
{
    pthread_mutex_lock(&queue->mutex);
    queue->ready_backends = ready_backends;
    if (status != NULL) {
        queue->last_error = *status;
    }
    __atomic_store_n(&queue->channel->hot.state, (uint32_t)state, __ATOMIC_RELEASE);
    pthread_cond_broadcast(&queue->state_changed);
    pthread_mutex_unlock(&queue->mutex);
}

void evener_pick_queue_set_connecting(evener_pick_queue *queue, const char *address)
{
    pthread_mutex_lock(&queue->mutex);
    queue->connecting_to = address;
    pthread_mutex_unlock(&queue->mutex);
}

/* Try, and enter the queue if there is no backend. Return QUEUE with the mutex held. */
static evener_pick_outcome try_or_enter(evener_pick_queue *queue, evener_pick_request *request, evener_status *status)
{
    evener_limits *limits = &queue->channel->limits;
    for (;;) {
        const uint32_t generation = __atomic_load_n(&queue->generation, __ATOMIC_ACQUIRE);
        const uint32_t ends = evener_limits_ends(limits);
        const evener_pick_outcome outcome = pick_for(queue->channel, request, false, status);
        if (outcome != EVENER_PICK_QUEUE) {
            return outcome;
        }
        const bool is_full = evener_pick_was_full(request->pick);
        pthread_mutex_lock(&queue->mutex);
        if (queue->generation != generation) {
            pthread_mutex_unlock(&queue->mutex);
            continue;
        }
        if (is_full && !evener_limits_wait(limits)) {
            pthread_mutex_unlock(&queue->mutex);
            evener_limits_refuse(limits, false, status);
            return EVENER_PICK_DROP;
        }
        if (is_full && evener_limits_ends(limits) != ends) { /* see limits.h */
            evener_limits_leave(limits);
            wake_after(queue, true);
            pthread_mutex_unlock(&queue->mutex);
            continue;
        }
        if (queue->count >= queue->count_max) {
            if (is_full) {
                evener_limits_leave(limits);
                wake_after(queue, true);
            }
            pthread_mutex_unlock(&queue->mutex);
            evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                              "%u calls wait for a backend of \"%s\" already (queued_picks_max)", queue->count_max,
                              evener_target_text(queue->channel->settings.target));
            return EVENER_PICK_DROP;
        }
        enter(queue, request);
        if (is_full) {
            begin_limited_wait(queue, request, true);
            evener_loop_post(queue->channel->hot.loop, &queue->task); /* the task starts the timer */
        }
        return EVENER_PICK_QUEUE;
    }
}

static evener_status_code request_init(evener_pick_request *request, evener_channel *channel,
                                       const evener_pick_args *args, evener_status *status)
{
    if (__builtin_expect(args != NULL && args->size == sizeof *args && request->size == sizeof *request, 1)) {
        request->args = *args;
    } else {
        if (request->size < REQUEST_BYTES_MIN || request->size > REQUEST_BYTES_MAX) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "pick request: size is %zu: set it to sizeof(evener_pick_request)", request->size);
        }
        const size_t room = request->size - offsetof(evener_pick_request, args);
        const evener_status_code code =
            evener_options_read(&request->args, room < sizeof request->args ? room : sizeof request->args, args,
                                "pick args", "evener_pick_args", status);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
    }
    request->channel = channel;
    request->timer = (evener_timer)EVENER_TIMER_INIT(request_timed_out, request);
    request->state = 0;
    request->waiter = NULL;
    request->full_at_ns = 0;
    return EVENER_STATUS_OK;
}

evener_pick_outcome evener_channel_pick_async(evener_channel *channel, const evener_pick_args *args,
                                              evener_pick_request *request, evener_status *status)
{
    evener_pick_queue *queue = &channel->queue;
    if (request_init(request, channel, args, status) != EVENER_STATUS_OK) {
        return EVENER_PICK_FAIL;
    }
    const evener_pick_outcome outcome = try_or_enter(queue, request, status);
    if (outcome != EVENER_PICK_QUEUE) {
        return outcome;
    }
    evener_channel_ref(channel);
    const bool with_timer = request->args.timeout_ms != 0;
    pthread_mutex_unlock(&queue->mutex);
    evener_channel_kick(channel);
    if (with_timer) {
        evener_loop_post(channel->hot.loop, &queue->task); /* the task starts the timer */
    }
    return EVENER_PICK_QUEUE;
}

void evener_pick_request_cancel(evener_pick_request *request)
{
    evener_channel *channel = request->channel;
    evener_pick_queue *queue = &channel->queue;
    if (evener_channel_is_older_than_fork(channel)) {
        return; /* no thread of this process has its callback */
    }
    pthread_mutex_lock(&queue->mutex);
    const uint32_t state = state_of(request);
    const bool waits = (state & (ENDED | CANCELLED)) == 0;
    if (waits) {
        state_add(request, CANCELLED);
        if ((state & TRYING) == 0) {
            const bool was_limited = request->full_at_ns != 0;
            leave(queue, request);
            wake_after(queue, was_limited);
            ring_append(&queue->cancelled, request);
        }
        evener_loop_post(channel->hot.loop, &queue->task);
    }
    pthread_mutex_unlock(&queue->mutex);
}

/* Wait for the end of a queued request; releases the mutex. */
static evener_status_code wait_for_end(evener_pick_queue *queue, evener_pick_request *request, waiter *w)
{
    const uint64_t timeout_ms = request->args.timeout_ms;
    const struct timespec deadline = evener_clock_deadline(timeout_ms);
    while ((state_of(request) & ENDED) == 0) {
        const bool in_time = timeout_ms != 0 && (state_of(request) & LEAVING) == 0;
        const int error = in_time ? pthread_cond_timedwait(&w->ended, &queue->mutex, &deadline)
                                  : pthread_cond_wait(&w->ended, &queue->mutex);
        if (error == ETIMEDOUT && (state_of(request) & (ENDED | TRYING)) == TRYING) {
            state_add(request, LEAVING);
        }
        const bool leaves = error == ETIMEDOUT || (state_of(request) & LEAVING) != 0;
        if (leaves && (state_of(request) & (ENDED | TRYING)) == 0) {
            const bool was_limited = request->full_at_ns != 0;
            leave(queue, request);
            wake_after(queue, was_limited);
            request->result = deadline_status(queue, timeout_ms, w->status);
            break;
        }
    }
    pthread_mutex_unlock(&queue->mutex);
    return request->result;
}

evener_status_code evener_channel_cannot_wait(evener_channel *channel, const evener_pick *pick, const char *advice,
                                              evener_status *status)
{
    if (evener_pick_was_full(pick)) {
        return evener_limits_refuse(&channel->limits, false, status);
    }
    return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                             "no backend now, and waiting for one on the control thread would wait for itself: use %s",
                             advice);
}

evener_status_code evener_channel_pick(evener_channel *channel, const evener_pick_args *args, evener_pick *pick,
                                       evener_status *status)
{
    evener_pick_queue *queue = &channel->queue;
    evener_pick_request request = {.size = sizeof request, .pick = pick};
    evener_status own_status;
    evener_status *filled = status != NULL ? status : &own_status;
    const evener_status_code args_code = request_init(&request, channel, args, status);
    if (args_code != EVENER_STATUS_OK) {
        return args_code;
    }
    if (channel->hot.caller_drives_loop || evener_loop_on_control_thread(channel->hot.loop)) {
        const evener_pick_outcome outcome = evener_channel_try_pick(channel, args, pick, filled);
        if (outcome == EVENER_PICK_COMPLETE) {
            return evener_status_clear(status);
        }
        if (outcome != EVENER_PICK_QUEUE) {
            return filled->code;
        }
        return evener_channel_cannot_wait(channel, pick, "evener_channel_pick_async()", status);
    }
    EVENER_UNCANCELLED;
    waiter w = {.status = filled};
    evener_pick_outcome outcome = try_or_enter(queue, &request, filled);
    if (outcome == EVENER_PICK_COMPLETE) {
        return evener_status_clear(status);
    }
    if (outcome != EVENER_PICK_QUEUE) {
        return filled->code;
    }
    /* Initialised with the mutex held, before any thread can signal it. */
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w.ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    request.waiter = &w;
    evener_channel_kick(channel);
    const evener_status_code code = wait_for_end(queue, &request, &w);
    pthread_cond_destroy(&w.ended);
    return code;
}
