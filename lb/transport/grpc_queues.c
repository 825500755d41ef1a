#include "lb/transport/grpc_queues.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "lb/runtime/thread.h"

/* More threads than this do not make calls faster on machines tried; a program that knows better says so. */
#define CALL_THREADS_DEFAULT_MAX 4

typedef struct thread_slot thread_slot;

struct evener_grpc_pluck_queue {
    grpc_completion_queue *core;
    evener_grpc_pluck_queue *next; /* of all */
    evener_grpc_pluck_queue *next_free;
    thread_slot *slot; /* the thread that keeps it; or NULL */
};

/* What a thread keeps. `owner` is also cleared by the end of the queues, on another thread; all else is the thread's,
 * or changed under slots_mutex. */
struct thread_slot {
    _Atomic(evener_grpc_queues *) owner;
    evener_grpc_pluck_queue *queue;
};

typedef struct call_thread {
    pthread_t thread;
    evener_grpc_queues *owner;
    grpc_completion_queue *queue;
} call_thread;

struct evener_grpc_queues {
    evener_runtime *runtime;
    evener_grpc_pluck_queue *all;  /* under slots_mutex */
    evener_grpc_pluck_queue *free; /* under slots_mutex */
    pthread_mutex_t threads_mutex; /* for starting */
    uint32_t thread_count_wanted;  /* under threads_mutex */
    uint32_t thread_count;         /* written before `running`, read after it */
    call_thread *threads;
    _Atomic bool running;
    _Atomic uint32_t next_thread;
};

/* One for the process: a thread that exits must find out whether the queues it borrowed from are still there. */
static pthread_mutex_t slots_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t slots_once = PTHREAD_ONCE_INIT;
static pthread_key_t slots_key;
static bool slots_key_made;
static _Thread_local thread_slot slot_of_thread;

/* The queue of the call thread that runs on this thread: a call started in a callback stays with it. */
static _Thread_local call_thread *call_thread_current;

/* ---- pluck queues ---- */

static void slot_release(thread_slot *slot)
{
    pthread_mutex_lock(&slots_mutex);
    evener_grpc_queues *owner = atomic_load_explicit(&slot->owner, memory_order_relaxed);
    if (owner != NULL) {
        slot->queue->slot = NULL;
        slot->queue->next_free = owner->free;
        owner->free = slot->queue;
        atomic_store_explicit(&slot->owner, NULL, memory_order_relaxed);
    }
    pthread_mutex_unlock(&slots_mutex);
}

static void slot_thread_exits(void *slot)
{
    slot_release(slot);
}

static void slots_key_create(void)
{
    slots_key_made = pthread_key_create(&slots_key, slot_thread_exits) == 0;
}

evener_grpc_pluck_queue *evener_grpc_queues_borrow(evener_grpc_queues *queues)
{
    pthread_mutex_lock(&slots_mutex);
    evener_grpc_pluck_queue *queue = queues->free;
    if (queue != NULL) {
        queues->free = queue->next_free;
    }
    pthread_mutex_unlock(&slots_mutex);
    if (queue != NULL) {
        return queue;
    }
    queue = calloc(1, sizeof *queue);
    if (queue == NULL) {
        return NULL;
    }
    queue->core = grpc_completion_queue_create_for_pluck(NULL);
    pthread_mutex_lock(&slots_mutex);
    queue->next = queues->all;
    queues->all = queue;
    pthread_mutex_unlock(&slots_mutex);
    return queue;
}

grpc_completion_queue *evener_grpc_pluck_queue_core(const evener_grpc_pluck_queue *queue)
{
    return queue->core;
}

void evener_grpc_queues_give_back(evener_grpc_queues *queues, evener_grpc_pluck_queue *queue)
{
    pthread_mutex_lock(&slots_mutex);
    queue->next_free = queues->free;
    queues->free = queue;
    pthread_mutex_unlock(&slots_mutex);
}

grpc_completion_queue *evener_grpc_queues_of_thread(evener_grpc_queues *queues)
{
    thread_slot *slot = &slot_of_thread;
    /* Relaxed: while it says `queues`, only this thread changes it; the end of `queues` comes after all calls. */
    if (atomic_load_explicit(&slot->owner, memory_order_relaxed) == queues) {
        return slot->queue->core;
    }
    slot_release(slot);
    pthread_once(&slots_once, slots_key_create);
    evener_grpc_pluck_queue *queue = evener_grpc_queues_borrow(queues);
    if (queue == NULL) {
        return NULL;
    }
    /* Without a key nothing gives the queue back when the thread exits; the end of `queues` still frees it. */
    if (slots_key_made) {
        pthread_setspecific(slots_key, slot);
    }
    pthread_mutex_lock(&slots_mutex);
    queue->slot = slots_key_made ? slot : NULL;
    slot->queue = queue;
    atomic_store_explicit(&slot->owner, queues, memory_order_relaxed);
    pthread_mutex_unlock(&slots_mutex);
    return queue->core;
}

static void pluck_queues_destroy(evener_grpc_queues *queues)
{
    pthread_mutex_lock(&slots_mutex);
    for (evener_grpc_pluck_queue *queue = queues->all; queue != NULL; queue = queue->next) {
        if (queue->slot != NULL) {
            atomic_store_explicit(&queue->slot->owner, NULL, memory_order_relaxed);
        }
    }
    pthread_mutex_unlock(&slots_mutex);
    while (queues->all != NULL) {
        evener_grpc_pluck_queue *queue = queues->all;
        queues->all = queue->next;
        grpc_completion_queue_shutdown(queue->core);
        (void)grpc_completion_queue_pluck(queue->core, NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        grpc_completion_queue_destroy(queue->core);
        free(queue);
    }
}

/* ---- queues with threads ---- */

static void *call_thread_main(void *arg)
{
    call_thread_current = arg;
    /* A callback may give the last reference to the runtime back: that must not wait for this thread. */
    evener_runtime_adopt_thread(call_thread_current->owner->runtime);
    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(call_thread_current->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN) {
            return NULL;
        }
        if (event.type == GRPC_OP_COMPLETE) {
            evener_grpc_tag *tag = event.tag;
            EVENER_GRPC_TAKES_OVER(tag);
            tag->done(tag, event.success != 0);
        }
    }
}

static uint32_t default_thread_count(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (processors < 1) {
        return 1;
    }
    return processors > CALL_THREADS_DEFAULT_MAX ? CALL_THREADS_DEFAULT_MAX : (uint32_t)processors;
}

void evener_grpc_queues_stop(evener_grpc_queues *queues)
{
    for (uint32_t i = 0; i < queues->thread_count; i++) {
        grpc_completion_queue_shutdown(queues->threads[i].queue);
    }
    for (uint32_t i = 0; i < queues->thread_count; i++) {
        pthread_join(queues->threads[i].thread, NULL);
        grpc_completion_queue_destroy(queues->threads[i].queue);
    }
    free(queues->threads);
    queues->threads = NULL;
    queues->thread_count = 0;
}

/* Under threads_mutex. */
static evener_status_code call_threads_start(evener_grpc_queues *queues, evener_status *status)
{
    uint32_t wanted = queues->thread_count_wanted != 0 ? queues->thread_count_wanted : default_thread_count();
    queues->threads = calloc(wanted, sizeof *queues->threads);
    if (queues->threads == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "asynchronous calls: out of memory");
    }
    while (queues->thread_count < wanted) {
        call_thread *thread = &queues->threads[queues->thread_count];
        thread->owner = queues;
        thread->queue = grpc_completion_queue_create_for_next(NULL);
        if (evener_thread_start(&thread->thread, "evener-calls", call_thread_main, thread, status) !=
            EVENER_STATUS_OK) {
            grpc_completion_queue_shutdown(thread->queue);
            (void)grpc_completion_queue_next(thread->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
            grpc_completion_queue_destroy(thread->queue);
            evener_grpc_queues_stop(queues);
            return EVENER_STATUS_INTERNAL;
        }
        queues->thread_count++;
    }
    /* Release: who sees `running` sees the threads. */
    atomic_store_explicit(&queues->running, true, memory_order_release);
    return EVENER_STATUS_OK;
}

grpc_completion_queue *evener_grpc_queues_async(evener_grpc_queues *queues, evener_status *status)
{
    if (!atomic_load_explicit(&queues->running, memory_order_acquire)) {
        pthread_mutex_lock(&queues->threads_mutex);
        evener_status_code code = EVENER_STATUS_OK;
        if (!atomic_load_explicit(&queues->running, memory_order_relaxed)) {
            code = call_threads_start(queues, status);
        }
        pthread_mutex_unlock(&queues->threads_mutex);
        if (code != EVENER_STATUS_OK) {
            return NULL;
        }
    }
    call_thread *current = call_thread_current;
    if (current != NULL && current->owner == queues) {
        return current->queue;
    }
    uint32_t index = atomic_fetch_add_explicit(&queues->next_thread, 1, memory_order_relaxed);
    return queues->threads[index % queues->thread_count].queue;
}

evener_status_code evener_grpc_queues_set_thread_count(evener_grpc_queues *queues, uint32_t count,
                                                       evener_status *status)
{
    evener_status_code code;
    pthread_mutex_lock(&queues->threads_mutex);
    if (atomic_load_explicit(&queues->running, memory_order_relaxed)) {
        code = evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                                 "the runtime's %u call threads run already: set their number before the first "
                                 "asynchronous call",
                                 queues->thread_count);
    } else {
        queues->thread_count_wanted = count;
        code = evener_status_clear(status);
    }
    pthread_mutex_unlock(&queues->threads_mutex);
    return code;
}

/* ---- life ---- */

evener_grpc_queues *evener_grpc_queues_create(evener_runtime *runtime, evener_status *status)
{
    evener_grpc_queues *queues = calloc(1, sizeof *queues);
    if (queues == NULL) {
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "gRPC transport: out of memory");
        return NULL;
    }
    queues->runtime = runtime;
    pthread_mutex_init(&queues->threads_mutex, NULL);
    return queues;
}

void evener_grpc_queues_destroy(evener_grpc_queues *queues)
{
    if (queues == NULL) {
        return;
    }
    pluck_queues_destroy(queues);
    pthread_mutex_destroy(&queues->threads_mutex);
    free(queues);
}
