/* Rest: evener_prefork() and its ends.
 *
 *     evener_prefork()                          control thread of each channel
 *     wanted = true, post rest_task ----------> hold picks back, wait until no call is in flight, report
 *     wait until no channel is busy
 *     post a parked_runtime per runtime ------> report, sleep until `wanted` is false
 *     wait until none is running
 *
 * evener_postfork_parent(): wanted = false, wake the control threads, post rest_task: the policy's picker is in force
 * again. Held picks get a picker of their own, so that picks of all other channels cost nothing for it. */
#include <evener/fork.h>

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "lb/base/fork.h"
#include "lb/base/memory.h"
#include "lb/channel/channel_internal.h"
#include "lb/runtime/rcu.h"
#include "lb/runtime/runtime_internal.h"
#include "lb/runtime/uncancelled.h"

#define POLL_NS EVENER_NS_PER_MS /* of the calls in flight: the end of a call notifies nobody */

/* A runtime whose control thread is to stop. Owns itself once its task is posted. */
typedef struct parked_runtime {
    evener_runtime *runtime; /* a reference */
    evener_task task;
    uint64_t round;
    struct parked_runtime *next;
} parked_runtime;

/* `mutex` guards the rest, and each channel's `rest_round` and `rest_ends`. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed; /* on the monotonic clock */
static bool wanted;
static uint64_t round_now;       /* the number of evener_prefork() */
static size_t busy;              /* channels that were asked and have not reported */
static size_t running;           /* control threads likewise */
static bool no_memory;           /* for a runtime of the list */
static parked_runtime *runtimes; /* of the channels that reported; not posted yet */

static void init_condition(void)
{
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes); /* these three cannot fail with glibc */
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

static __attribute__((constructor)) void init(void)
{
    init_condition();
}

/* The child begins without rest; records of the parent's runtimes are never freed there, as the runtimes are not. */
static void forget(void)
{
    wanted = false;
    busy = 0;
    running = 0;
    runtimes = NULL;
    init_condition(); /* threads that slept on it are gone */
}

EVENER_FORK_LOCK(mutex, EVENER_FORK_REST, forget)

/* ---- a channel ---- */

static evener_pick_outcome resting_pick(evener_picker *picker, const evener_pick_context *context, evener_pick *pick)
{
    (void)picker;
    (void)context;
    (void)pick;
    return EVENER_PICK_QUEUE;
}

static void resting_destroy(evener_picker *picker)
{
    (void)picker;
}

static const evener_picker_vtable resting_vtable = {
    .size = sizeof resting_vtable, .pick = resting_pick, .destroy = resting_destroy};

static evener_picker resting_picker = {.vtable = &resting_vtable, .references = 1};

/* Put `next` in force if `expected` is: a closed channel keeps its own picker. */
static void exchange_picker(evener_channel *channel, evener_picker *expected, evener_picker *next)
{
    (void)__atomic_compare_exchange_n(&channel->hot.picker, &expected, next, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* Add the runtime to those whose control thread is to stop. With the mutex held. */
static void enlist_runtime(evener_runtime *runtime)
{
    for (const parked_runtime *p = runtimes; p != NULL; p = p->next) {
        if (p->runtime == runtime) {
            return;
        }
    }
    parked_runtime *made = calloc(1, sizeof *made);
    if (made == NULL) {
        no_memory = true;
        return;
    }
    made->runtime = evener_runtime_ref(runtime);
    made->round = round_now;
    made->next = runtimes;
    runtimes = made;
}

/* Report, once per round, that the channel has no call in flight, or ends. */
static void report(evener_channel *channel, bool ends)
{
    pthread_mutex_lock(&mutex);
    if (wanted && channel->control.rest_round == round_now) {
        channel->control.rest_round = 0;
        busy--;
        if (!ends) {
            enlist_runtime(channel->settings.runtime);
        }
        pthread_cond_broadcast(&changed);
    }
    channel->control.rest_ends |= ends;
    pthread_mutex_unlock(&mutex);
}

static void look_for_calls(void *arg)
{
    evener_channel *channel = arg;
    uint64_t started;
    uint64_t in_flight;
    evener_subchannel_pool_activity(&channel->pool, &started, &in_flight);
    if (in_flight == 0) {
        report(channel, false);
    } else {
        evener_timer_start(channel->hot.loop, &channel->control.rest_timer, POLL_NS);
    }
}

static void follow_wish(void *arg)
{
    evener_channel *channel = arg;
    pthread_mutex_lock(&mutex);
    const bool hold = wanted;
    pthread_mutex_unlock(&mutex);
    if (hold) {
        exchange_picker(channel, channel->control.policy_picker, &resting_picker);
        evener_rcu_synchronize(); /* from here on no pick begins that is not counted yet */
        look_for_calls(channel);
    } else {
        evener_timer_stop(channel->hot.loop, &channel->control.rest_timer);
        exchange_picker(channel, &resting_picker, channel->control.policy_picker);
        evener_pick_queue_wake(&channel->queue);
    }
}

void evener_channel_rest_init(evener_channel *channel)
{
    channel->control.rest_task = (evener_task)EVENER_TASK_INIT(follow_wish, channel);
    channel->control.rest_timer = (evener_timer)EVENER_TIMER_INIT(look_for_calls, channel);
}

void evener_channel_rest_end(evener_channel *channel)
{
    evener_timer_stop(channel->hot.loop, &channel->control.rest_timer);
    report(channel, true);
}

/* Ask a channel to follow `wanted`. */
static void ask(evener_channel *channel, void *counted)
{
    if (evener_runtime_is_driven_by_caller(channel->settings.runtime)) {
        return;
    }
    pthread_mutex_lock(&mutex);
    if (!channel->control.rest_ends) {
        if (counted != NULL) {
            channel->control.rest_round = round_now;
            busy++;
        }
        (void)evener_loop_post(channel->hot.loop, &channel->control.rest_task);
    }
    pthread_mutex_unlock(&mutex);
}

/* ---- the process ---- */

static void park(void *arg)
{
    parked_runtime *parked = arg;
    pthread_mutex_lock(&mutex);
    if (wanted && parked->round == round_now) {
        running--;
        pthread_cond_broadcast(&changed);
    }
    while (wanted && parked->round == round_now) {
        pthread_cond_wait(&changed, &mutex);
    }
    pthread_mutex_unlock(&mutex);
    evener_runtime_unref(parked->runtime);
    free(parked);
}

/* Have the control threads stop. With the mutex held. */
static void park_runtimes(void)
{
    while (runtimes != NULL) {
        parked_runtime *parked = runtimes;
        runtimes = parked->next;
        running++;
        parked->task = (evener_task)EVENER_TASK_INIT(park, parked);
        (void)evener_loop_post(evener_runtime_loop(parked->runtime), &parked->task);
    }
}

static struct timespec deadline_after(uint64_t timeout_ms)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    const uint64_t s = timeout_ms / 1000 < INT32_MAX ? timeout_ms / 1000 : INT32_MAX;
    at.tv_sec += (time_t)s;
    at.tv_nsec += (long)(timeout_ms % 1000) * (long)EVENER_NS_PER_MS;
    if (at.tv_nsec >= (long)EVENER_NS_PER_S) {
        at.tv_nsec -= (long)EVENER_NS_PER_S;
        at.tv_sec++;
    }
    return at;
}

/* Wait until *count is 0. Return false when time ran out. With the mutex held. */
static bool wait_for_none(const size_t *count, const struct timespec *deadline)
{
    while (*count > 0) {
        if (pthread_cond_timedwait(&changed, &mutex, deadline) != 0) {
            return *count == 0;
        }
    }
    return true;
}

/* End the rest, whole or not. */
static void go_on(void)
{
    pthread_mutex_lock(&mutex);
    const bool rested = wanted;
    parked_runtime *left = runtimes;
    wanted = false;
    runtimes = NULL;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
    while (left != NULL) {
        parked_runtime *parked = left;
        left = left->next;
        evener_runtime_unref(parked->runtime);
        free(parked);
    }
    if (rested) {
        evener_channels_for_each(ask, NULL);
    }
}

static evener_status_code begin(evener_status *status)
{
    if (evener_runtime_has_this_thread()) {
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                                 "prefork: called on a thread of evener's, which would wait for itself");
    }
    pthread_mutex_lock(&mutex);
    const bool twice = wanted;
    wanted = true;
    if (!twice) {
        round_now++;
        busy = 0;
        running = 0;
        no_memory = false;
    }
    pthread_mutex_unlock(&mutex);
    return twice ? evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                                     "prefork: called twice without evener_postfork_parent()")
                 : EVENER_STATUS_OK;
}

evener_status_code evener_prefork(uint64_t timeout_ms, evener_status *status)
{
    EVENER_UNCANCELLED;
    const struct timespec deadline = deadline_after(timeout_ms);
    evener_status_code code = begin(status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    bool all = true;
    evener_channels_for_each(ask, &all);
    pthread_mutex_lock(&mutex);
    const bool quiet = wait_for_none(&busy, &deadline);
    const size_t still_busy = busy;
    bool stopped = false;
    if (quiet && !no_memory) {
        park_runtimes();
        stopped = wait_for_none(&running, &deadline);
    }
    const bool out_of_memory = no_memory;
    pthread_mutex_unlock(&mutex);
    if (stopped) {
        return evener_status_clear(status);
    }
    go_on();
    if (out_of_memory) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "prefork: out of memory");
    }
    return quiet ? evener_status_set(status, EVENER_STATUS_DEADLINE_EXCEEDED,
                                     "prefork: a function on a control thread has not returned after %llu ms",
                                     (unsigned long long)timeout_ms)
                 : evener_status_set(status, EVENER_STATUS_DEADLINE_EXCEEDED,
                                     "prefork: %zu channels still have calls in flight after %llu ms", still_busy,
                                     (unsigned long long)timeout_ms);
}

void evener_postfork_parent(void)
{
    go_on();
}

void evener_postfork_child(void)
{
    go_on();
}
