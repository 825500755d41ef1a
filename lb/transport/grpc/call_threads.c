/* IMPLEMENTATION NOTES
 *
 * All threads that wait in the core, on whatever queue, take turns in polling the sockets of all calls. A thread that
 * waits there without a call of its own is therefore not idle: the core makes it the one that polls, it reads the
 * answer to another thread's call and has to wake that thread. With one call in flight and two threads that costs three
 * context switches per call; with one thread, less than one. So:
 *
 * One queue. The thread that reads an answer finds its completion in the queue that it serves itself, and wakes no
 * other thread; with one queue per thread, the completion may belong to another thread.
 *
 * Parking. `owed` counts the operations that the core owes the queue: from before they are started until a thread has
 * taken their completion. The first `awake` threads are awake, the others sleep outside the core. No wake-up is lost: a
 * thread that starts an operation first raises `owed`, then reads `awake`; a thread that falls asleep first lowers
 * `awake`, then reads `owed`. All four accesses are sequentially consistent, so at least one of the two sees the other.
 * Only the last thread that is awake may fall asleep, and the thread that raises `awake` from an index wakes the thread
 * of that index: each wake-up has one post of its semaphore. Stopping counts as operations that are owed for ever: no
 * thread sleeps any more, and all find that the queue is shut down.
 *
 * How many. One thread per EVENER_GRPC_FEW_CALLS owed operations; it parks when half of these are left, so that it does
 * not wake and park with each call. Threads work in parallel on different connections only: on one connection they
 * contend, so no more threads are used than there are connections. The first thread parks only after LINGER_MS without
 * a call, as each call of a program that makes one after the other would pay for its wake-up. It does park, as blocking
 * calls would pay for its polling.
 *
 * Slow callbacks. A thread that has been busy with one completion for longer than LATE_NS is late. A call that begins
 * while all awake threads are late, perhaps inside one of their callbacks, wakes a further one, which stays awake while
 * they are late. */
#include "lb/transport/grpc/call_threads.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include <evener/loop.h>

#include "lb/base/memory.h"
#include "lb/runtime/clock.h"
#include "lb/runtime/thread.h"

/* More threads did not make calls faster on the machines measured; a program may set another number. */
#define CALL_THREADS_DEFAULT_MAX 4

#define LINGER_MS 10
/* How long a thread waits in the core before it looks for overdue calls, and checks whether it is still needed: other
 * threads may have taken all owed operations. */
#define LOOK_MS 50
/* A multiple of the time that a completion and the start of the next call take. */
#define LATE_NS (50 * EVENER_NS_PER_US)

/* What stopping adds to `owed`. */
#define STOPPING (UINT32_C(1) << 30)

typedef struct call_thread {
    /* When it took the completion that it is busy with; 0: it is not busy. Written by this thread only. */
    _Alignas(EVENER_CACHE_LINE_BYTES) _Atomic uint64_t busy_since_ns;
    evener_grpc_call_threads *owner;
    uint32_t index;
    pthread_t thread;
    sem_t wake;
} call_thread;

struct evener_grpc_call_threads {
    evener_runtime *runtime;
    evener_grpc_overdue *overdue; /* the threads look at it */
    pthread_mutex_t mutex;        /* for starting */
    uint32_t count_wanted;        /* under mutex */
    /* written before `running`, read after it */
    uint32_t count;
    call_thread *all;
    grpc_completion_queue *queue;
    _Atomic bool running;
    _Alignas(EVENER_CACHE_LINE_BYTES) _Atomic uint32_t owed;
    _Alignas(EVENER_CACHE_LINE_BYTES) _Atomic uint32_t awake;
};

/* ---- waking and falling asleep ---- */

/* Return whether the thread has been busy with one completion for long. */
static bool is_late(const call_thread *thread, uint64_t now_ns)
{
    const uint64_t since_ns = atomic_load_explicit(&thread->busy_since_ns, memory_order_relaxed);
    return since_ns != 0 && now_ns > since_ns + LATE_NS;
}

/* Return whether the first `count` threads all are late. */
static bool are_late(const evener_grpc_call_threads *threads, uint32_t count)
{
    bool late = true;
    for (uint32_t i = 0; i < count && late; i++) {
        late = is_late(&threads->all[i], evener_clock_now_fast_ns());
    }
    return late;
}

/* Wake the first sleeping thread if it has this index. */
static void wake(evener_grpc_call_threads *threads, uint32_t index)
{
    uint32_t expected = index;
    if (atomic_compare_exchange_strong(&threads->awake, &expected, index + 1)) {
        sem_post(&threads->all[index].wake);
    }
}

/* Return whether an awake thread is not needed. */
static bool may_sleep(const call_thread *thread)
{
    const uint32_t owed = atomic_load(&thread->owner->owed);
    return owed == 0 || (owed <= thread->index * EVENER_GRPC_FEW_CALLS / 2 && !are_late(thread->owner, thread->index));
}

/* Sleep outside the core until woken; return at once if a thread of a higher index is awake, or work has arrived. */
static void park(call_thread *thread)
{
    evener_grpc_call_threads *threads = thread->owner;
    uint32_t awake = thread->index + 1;
    if (!atomic_compare_exchange_strong(&threads->awake, &awake, thread->index)) {
        return;
    }
    while (!may_sleep(thread)) {
        awake = thread->index;
        if (atomic_compare_exchange_strong(&threads->awake, &awake, thread->index + 1)) {
            return;
        }
        if (awake > thread->index) {
            break; /* it was woken just now: its semaphore has the post */
        }
        wake(threads, awake); /* the thread before it has fallen asleep meanwhile: threads are woken in order */
    }
    while (sem_wait(&thread->wake) != 0) {
        /* EINTR: a debugger's signal, as the thread blocks all others */
    }
}

/* ---- a thread ---- */

static gpr_timespec patience(const call_thread *thread)
{
    const bool is_idle = atomic_load_explicit(&thread->owner->owed, memory_order_relaxed) == 0;
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_millis(is_idle ? LINGER_MS : LOOK_MS, GPR_TIMESPAN));
}

static void serve(call_thread *thread, const grpc_event *event)
{
    evener_grpc_tag *tag = event->tag;
    EVENER_GRPC_TAKES_OVER(tag);
    atomic_store_explicit(&thread->busy_since_ns, evener_clock_now_fast_ns(), memory_order_relaxed);
    atomic_fetch_sub_explicit(&thread->owner->owed, 1, memory_order_relaxed);
    tag->done(tag, event->success != 0);
    atomic_store_explicit(&thread->busy_since_ns, 0, memory_order_relaxed);
}

static void *call_thread_main(void *arg)
{
    call_thread *thread = arg;
    /* A callback may give the last reference to the runtime back: that must not wait for this thread. */
    evener_runtime_adopt_thread(thread->owner->runtime);
    for (;;) {
        const grpc_event event = grpc_completion_queue_next(thread->owner->queue, patience(thread), NULL);
        switch (event.type) {
        case GRPC_OP_COMPLETE:
            serve(thread, &event);
            evener_grpc_overdue_look(thread->owner->overdue);
            if (thread->index > 0 && may_sleep(thread)) {
                park(thread);
            }
            break;
        case GRPC_QUEUE_TIMEOUT:
            evener_grpc_overdue_look(thread->owner->overdue);
            if (may_sleep(thread)) {
                park(thread);
            }
            break;
        case GRPC_QUEUE_SHUTDOWN:
            return NULL;
        }
    }
}

grpc_completion_queue *evener_grpc_call_threads_queue(const evener_grpc_call_threads *threads)
{
    return threads->queue;
}

uint32_t evener_grpc_call_threads_awake(const evener_grpc_call_threads *threads)
{
    return atomic_load_explicit(&threads->awake, memory_order_relaxed);
}

void evener_grpc_call_threads_drop(evener_grpc_call_threads *threads)
{
    atomic_fetch_sub_explicit(&threads->owed, 1, memory_order_relaxed);
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
    if (threads->queue == NULL) {
        return;
    }
    grpc_completion_queue_shutdown(threads->queue);
    atomic_fetch_add(&threads->owed, STOPPING);
    /* Until all are awake: a thread that was about to fall asleep lowers `awake`, then finds that it must not sleep. */
    for (uint32_t awake; (awake = atomic_load(&threads->awake)) < threads->count;) {
        wake(threads, awake);
    }
    for (uint32_t i = 0; i < threads->count; i++) {
        pthread_join(threads->all[i].thread, NULL);
        sem_destroy(&threads->all[i].wake);
    }
    if (threads->count == 0) {
        (void)grpc_completion_queue_next(threads->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    }
    grpc_completion_queue_destroy(threads->queue);
    free(threads->all);
    threads->queue = NULL;
    threads->all = NULL;
    threads->count = 0;
}

static evener_status_code start_one(evener_grpc_call_threads *threads, evener_status *status)
{
    call_thread *thread = &threads->all[threads->count];
    thread->owner = threads;
    thread->index = threads->count;
    sem_init(&thread->wake, 0, 0);
    const evener_status_code code =
        evener_thread_start(&thread->thread, "evener-calls", call_thread_main, thread, status);
    if (code == EVENER_STATUS_OK) {
        threads->count++;
    } else {
        sem_destroy(&thread->wake);
    }
    return code;
}

/* Start the threads. Under the mutex. */
static evener_status_code start(evener_grpc_call_threads *threads, evener_status *status)
{
    const uint32_t wanted = threads->count_wanted != 0 ? threads->count_wanted : default_count();
    threads->all = evener_cache_aligned_calloc(wanted * sizeof *threads->all);
    if (threads->all == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "asynchronous calls: out of memory");
    }
    threads->queue = grpc_completion_queue_create_for_next(NULL);
    atomic_store(&threads->owed, 0);
    atomic_store(&threads->awake, wanted); /* they park once they find no work */
    while (threads->count < wanted) {
        const evener_status_code code = start_one(threads, status);
        if (code != EVENER_STATUS_OK) {
            evener_grpc_call_threads_stop(threads);
            return code;
        }
    }
    /* Release: a thread that sees `running` sees the threads. */
    atomic_store_explicit(&threads->running, true, memory_order_release);
    return EVENER_STATUS_OK;
}

evener_status_code evener_grpc_call_threads_take(evener_grpc_call_threads *threads, size_t connections,
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
            return code;
        }
    }
    const uint32_t owed = atomic_fetch_add(&threads->owed, 1) + 1;
    const uint32_t awake = atomic_load(&threads->awake);
    if (awake == threads->count) {
        return EVENER_STATUS_OK;
    }
    const uint32_t width = connections < threads->count ? (uint32_t)connections : threads->count;
    if ((awake < width && owed > awake * EVENER_GRPC_FEW_CALLS) ||
        are_late(threads, awake)) { /* also when no thread is awake */
        wake(threads, awake);
    }
    return EVENER_STATUS_OK;
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

evener_grpc_call_threads *evener_grpc_call_threads_create(evener_runtime *runtime, evener_grpc_overdue *overdue,
                                                          evener_status *status)
{
    evener_grpc_call_threads *threads = evener_cache_aligned_calloc(sizeof *threads);
    if (threads == NULL) {
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "gRPC transport: out of memory");
        return NULL;
    }
    threads->runtime = runtime;
    threads->overdue = overdue;
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
