/* IMPLEMENTATION NOTES
 *
 * All threads that wait in the core, on whatever queue, take turns in polling the sockets of all calls. A thread that
 * waits there without a call of its own is therefore not idle: the core makes it the one that polls, it reads the answer
 * to another thread's call and has to wake that thread. With one call in flight and two threads that costs three context
 * switches a call; with one thread, less than one. So:
 *
 * Parking. `load` counts the calls under way on a thread's queue, with a flag on top while the thread sleeps outside the
 * core. A call is counted before its operation is started and until its callback has returned, so that a callback which
 * starts the next call does not let the count fall to zero. Nobody is forgotten, because every change of `load` is an
 * atomic read-modify-write of one word, and these have one order: either the thread's 0 -> PARKED comes first, then the
 * one that counts up from exactly PARKED posts the semaphore (all others find a count there, and one post is enough); or
 * the count comes first, then 0 -> PARKED fails and the thread goes to its queue. The thread takes the flag away itself
 * once it is awake. (If the call that woke it is dropped before that and another one comes, there is a post too many: the
 * next sleep ends at once, the thread finds nothing to do and parks again.) Stopping counts as a call that never ends: the
 * same argument wakes the thread to find that its queue is shut down.
 *
 * The first thread parks only after LINGER_MS without a call, as the calls of a program that makes one after the other
 * would pay for its waking up. It does park, as a blocking call would pay for its polling. The others park at once.
 *
 * Choosing. Calls go to the first thread while it has few; a call that is started in a callback stays on its thread if
 * that has more. Connections are what threads can work on side by side: on one connection they only get in each other's
 * way, so no more threads are used than there are connections.
 *
 * Callbacks that take their time. A thread that has been busy with one completion for longer than LATE_NS is passed over
 * by new calls, its own included, for any other thread: so callbacks that compute run on all threads. */
#include "lb/transport/grpc_call_threads.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include <evener/loop.h>

#include "lb/runtime/clock.h"
#include "lb/runtime/memory.h"
#include "lb/runtime/thread.h"

/* More threads than this do not make calls faster on machines tried; a program that knows better says so. */
#define CALL_THREADS_DEFAULT_MAX 4

#define LINGER_MS 10
/* Several times what evener and the core need for a completion and the start of the next call. */
#define LATE_NS (50 * EVENER_NS_PER_US)

#define PARKED (UINT32_C(1) << 31)

struct evener_grpc_call_thread {
    _Alignas(EVENER_CACHE_LINE_BYTES) _Atomic uint32_t load; /* see above */
    /* When it took the completion that it is busy with; 0: it is not. Its own to write. */
    _Atomic uint64_t busy_since_ns;
    grpc_completion_queue *queue;
    evener_grpc_call_threads *owner;
    uint32_t index;
    pthread_t thread;
    sem_t wake;
};

struct evener_grpc_call_threads {
    evener_runtime *runtime;
    pthread_mutex_t mutex; /* for starting */
    uint32_t count_wanted; /* under mutex */
    uint32_t count;        /* written before `running`, read after it */
    evener_grpc_call_thread *all;
    _Atomic bool running;
    _Atomic uint32_t next;
};

/* The call thread that this thread is. */
static _Thread_local evener_grpc_call_thread *current_thread;

/* ---- a thread ---- */

static uint32_t calls_on(const evener_grpc_call_thread *thread)
{
    return atomic_load_explicit(&thread->load, memory_order_relaxed) & ~PARKED;
}

/* Counts a call in, and wakes the thread if it sleeps. */
static void load_add(evener_grpc_call_thread *thread)
{
    if (atomic_fetch_add_explicit(&thread->load, 1, memory_order_acq_rel) == PARKED) {
        sem_post(&thread->wake);
    }
}

static void load_subtract(evener_grpc_call_thread *thread)
{
    atomic_fetch_sub_explicit(&thread->load, 1, memory_order_acq_rel);
}

/* Sleeps until there is a call; not at all if there is one. */
static void park(evener_grpc_call_thread *thread)
{
    uint32_t none = 0;
    if (!atomic_compare_exchange_strong_explicit(&thread->load, &none, PARKED, memory_order_acq_rel,
                                                 memory_order_acquire)) {
        return;
    }
    while (sem_wait(&thread->wake) != 0) {
        /* A signal: a debugger's, as the thread blocks all others. */
    }
    atomic_fetch_and_explicit(&thread->load, ~PARKED, memory_order_acq_rel);
}

static gpr_timespec patience(const evener_grpc_call_thread *thread)
{
    return calls_on(thread) > 0
               ? gpr_inf_future(GPR_CLOCK_MONOTONIC)
               : gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(LINGER_MS, GPR_TIMESPAN));
}

static void serve(evener_grpc_call_thread *thread, const grpc_event *event)
{
    evener_grpc_tag *tag = event->tag;
    EVENER_GRPC_TAKES_OVER(tag);
    atomic_store_explicit(&thread->busy_since_ns, evener_clock_now_fast_ns(), memory_order_relaxed);
    tag->done(tag, event->success != 0);
    atomic_store_explicit(&thread->busy_since_ns, 0, memory_order_relaxed);
    load_subtract(thread);
}

static void *call_thread_main(void *arg)
{
    evener_grpc_call_thread *thread = arg;
    current_thread = thread;
    /* A callback may give the last reference to the runtime back: that must not wait for this thread. */
    evener_runtime_adopt_thread(thread->owner->runtime);
    for (;;) {
        if (thread->index > 0) {
            park(thread);
        }
        grpc_event event = grpc_completion_queue_next(thread->queue, patience(thread), NULL);
        switch (event.type) {
        case GRPC_OP_COMPLETE:
            serve(thread, &event);
            break;
        case GRPC_QUEUE_TIMEOUT:
            park(thread);
            break;
        case GRPC_QUEUE_SHUTDOWN:
            return NULL;
        }
    }
}

/* Whether it has been busy with one completion for long. */
static bool is_late(const evener_grpc_call_thread *thread)
{
    uint64_t since_ns = atomic_load_explicit(&thread->busy_since_ns, memory_order_relaxed);
    return since_ns != 0 && evener_clock_now_fast_ns() > since_ns + LATE_NS;
}

grpc_completion_queue *evener_grpc_call_thread_queue(const evener_grpc_call_thread *thread)
{
    return thread->queue;
}

void evener_grpc_call_thread_drop(evener_grpc_call_thread *thread)
{
    load_subtract(thread);
}

bool evener_grpc_call_thread_is_parked(const evener_grpc_call_thread *thread)
{
    return (atomic_load_explicit(&thread->load, memory_order_relaxed) & PARKED) != 0;
}

/* ---- choosing one ---- */

static evener_grpc_call_thread *choose(evener_grpc_call_threads *threads, size_t connections)
{
    evener_grpc_call_thread *first = &threads->all[0];
    evener_grpc_call_thread *own = current_thread;
    uint32_t width = connections < threads->count ? (uint32_t)connections : threads->count;
    if (own != NULL && own->owner == threads && own->index < width && !is_late(own)) {
        /* Its count includes the call whose callback this is. */
        if (own == first || calls_on(own) > 1 || calls_on(first) >= EVENER_GRPC_FEW_CALLS) {
            return own;
        }
    }
    if (is_late(first)) {
        width = threads->count;
    } else if (width <= 1 || calls_on(first) < EVENER_GRPC_FEW_CALLS) {
        return first;
    }
    evener_grpc_call_thread *candidate = first;
    for (uint32_t i = 0; i < width; i++) {
        uint32_t turn = atomic_fetch_add_explicit(&threads->next, 1, memory_order_relaxed);
        candidate = &threads->all[turn % width];
        if (!is_late(candidate)) {
            break;
        }
    }
    return candidate;
}

/* ---- starting and stopping ---- */

static uint32_t default_count(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (processors < 1) {
        return 1;
    }
    return processors > CALL_THREADS_DEFAULT_MAX ? CALL_THREADS_DEFAULT_MAX : (uint32_t)processors;
}

void evener_grpc_call_threads_stop(evener_grpc_call_threads *threads)
{
    for (uint32_t i = 0; i < threads->count; i++) {
        grpc_completion_queue_shutdown(threads->all[i].queue);
        load_add(&threads->all[i]);
    }
    for (uint32_t i = 0; i < threads->count; i++) {
        pthread_join(threads->all[i].thread, NULL);
        grpc_completion_queue_destroy(threads->all[i].queue);
        sem_destroy(&threads->all[i].wake);
    }
    free(threads->all);
    threads->all = NULL;
    threads->count = 0;
}

static evener_status_code start_one(evener_grpc_call_threads *threads, evener_status *status)
{
    evener_grpc_call_thread *thread = &threads->all[threads->count];
    thread->owner = threads;
    thread->index = threads->count;
    thread->queue = grpc_completion_queue_create_for_next(NULL);
    sem_init(&thread->wake, 0, 0);
    evener_status_code code = evener_thread_start(&thread->thread, "evener-calls", call_thread_main, thread, status);
    if (code == EVENER_STATUS_OK) {
        threads->count++;
    } else {
        sem_destroy(&thread->wake);
        grpc_completion_queue_shutdown(thread->queue);
        (void)grpc_completion_queue_next(thread->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        grpc_completion_queue_destroy(thread->queue);
    }
    return code;
}

/* Under the mutex. */
static evener_status_code start(evener_grpc_call_threads *threads, evener_status *status)
{
    uint32_t wanted = threads->count_wanted != 0 ? threads->count_wanted : default_count();
    threads->all = evener_cache_aligned_calloc(wanted * sizeof *threads->all);
    if (threads->all == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "asynchronous calls: out of memory");
    }
    while (threads->count < wanted) {
        evener_status_code code = start_one(threads, status);
        if (code != EVENER_STATUS_OK) {
            evener_grpc_call_threads_stop(threads);
            return code;
        }
    }
    /* Release: who sees `running` sees the threads. */
    atomic_store_explicit(&threads->running, true, memory_order_release);
    return EVENER_STATUS_OK;
}

evener_grpc_call_thread *evener_grpc_call_threads_take(evener_grpc_call_threads *threads, size_t connections,
                                                       evener_status *status)
{
    if (!atomic_load_explicit(&threads->running, memory_order_acquire)) {
        pthread_mutex_lock(&threads->mutex);
        evener_status_code code = EVENER_STATUS_OK;
        if (!atomic_load_explicit(&threads->running, memory_order_relaxed)) {
            code = start(threads, status);
        }
        pthread_mutex_unlock(&threads->mutex);
        if (code != EVENER_STATUS_OK) {
            return NULL;
        }
    }
    evener_grpc_call_thread *thread = choose(threads, connections);
    load_add(thread);
    return thread;
}

evener_status_code evener_grpc_call_threads_set_count(evener_grpc_call_threads *threads, uint32_t count,
                                                      evener_status *status)
{
    evener_status_code code;
    pthread_mutex_lock(&threads->mutex);
    if (atomic_load_explicit(&threads->running, memory_order_relaxed)) {
        code = evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                                 "the runtime's %u call threads run already: set their number before the first "
                                 "asynchronous call",
                                 threads->count);
    } else {
        threads->count_wanted = count;
        code = evener_status_clear(status);
    }
    pthread_mutex_unlock(&threads->mutex);
    return code;
}

/* ---- life ---- */

evener_grpc_call_threads *evener_grpc_call_threads_create(evener_runtime *runtime, evener_status *status)
{
    evener_grpc_call_threads *threads = calloc(1, sizeof *threads);
    if (threads == NULL) {
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "gRPC transport: out of memory");
        return NULL;
    }
    threads->runtime = runtime;
    pthread_mutex_init(&threads->mutex, NULL);
    return threads;
}

void evener_grpc_call_threads_destroy(evener_grpc_call_threads *threads)
{
    if (threads == NULL) {
        return;
    }
    pthread_mutex_destroy(&threads->mutex);
    free(threads);
}
