#include "lb/transport/grpc/queues.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <grpc/support/time.h>

#include "lb/base/fork.h"

typedef struct thread_slot thread_slot;

typedef struct pluck_queue {
    grpc_completion_queue *core;
    struct pluck_queue *next; /* of all */
    struct pluck_queue *next_free;
    thread_slot *slot; /* the thread that owns it; or NULL */
} pluck_queue;

typedef struct abandoned {
    struct abandoned *next;
    grpc_completion_queue *queue;
    void *tag;
    void (*completed)(void *tag);
} abandoned;

/* A thread's own queue. `owner` is also cleared by the end of the queues, on another thread; all other members belong
 * to the thread, or are changed under slots_mutex. */
struct thread_slot {
    _Atomic(evener_grpc_queues *) owner;
    pluck_queue *queue;
};

struct evener_grpc_queues {
    pluck_queue *all;  /* under slots_mutex */
    pluck_queue *free; /* under slots_mutex */
    pthread_mutex_t abandoned_mutex;
    abandoned *first_abandoned; /* under abandoned_mutex */
    _Atomic uint32_t abandoned_count;
};

/* One for the process: a thread that exits must find out whether its queues still exist. */
static pthread_mutex_t slots_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t slots_once = PTHREAD_ONCE_INIT;
static pthread_key_t slots_key;
static bool slots_key_made;
static _Thread_local thread_slot slot_of_thread;

/* The queue that this thread borrowed is the parent's: the core there is not to be touched. */
static void forget_slot(void)
{
    atomic_store_explicit(&slot_of_thread.owner, NULL, memory_order_relaxed);
}

EVENER_FORK_LOCK(slots_mutex, EVENER_FORK_OBJECTS, forget_slot)

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

static pluck_queue *borrow(evener_grpc_queues *queues)
{
    pthread_mutex_lock(&slots_mutex);
    pluck_queue *queue = queues->free;
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

grpc_completion_queue *evener_grpc_queues_of_thread(evener_grpc_queues *queues)
{
    thread_slot *slot = &slot_of_thread;
    /* Relaxed: while its value is `queues`, only this thread changes it; `queues` ends after all calls. */
    if (atomic_load_explicit(&slot->owner, memory_order_relaxed) == queues) {
        return slot->queue->core;
    }
    slot_release(slot);
    pthread_once(&slots_once, slots_key_create);
    pluck_queue *queue = borrow(queues);
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
    for (pluck_queue *queue = queues->all; queue != NULL; queue = queue->next) {
        if (queue->slot != NULL) {
            atomic_store_explicit(&queue->slot->owner, NULL, memory_order_relaxed);
        }
    }
    pthread_mutex_unlock(&slots_mutex);
    while (queues->all != NULL) {
        pluck_queue *queue = queues->all;
        queues->all = queue->next;
        grpc_completion_queue_shutdown(queue->core);
        (void)grpc_completion_queue_pluck(queue->core, NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        grpc_completion_queue_destroy(queue->core);
        free(queue);
    }
}

/* ---- abandoned operations ---- */

void evener_grpc_queues_abandon(evener_grpc_queues *queues, grpc_completion_queue *queue, void *tag,
                                void (*completed)(void *tag))
{
    abandoned *entry = malloc(sizeof *entry);
    if (entry == NULL) { /* no memory to wait with: wait here */
        (void)grpc_completion_queue_pluck(queue, tag, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        completed(tag);
        return;
    }
    *entry = (abandoned){.queue = queue, .tag = tag, .completed = completed};
    pthread_mutex_lock(&queues->abandoned_mutex);
    entry->next = queues->first_abandoned;
    queues->first_abandoned = entry;
    atomic_fetch_add_explicit(&queues->abandoned_count, 1, memory_order_relaxed);
    pthread_mutex_unlock(&queues->abandoned_mutex);
}

static void finish_abandoned(evener_grpc_queues *queues, gpr_timespec until)
{
    pthread_mutex_lock(&queues->abandoned_mutex);
    for (abandoned **at = &queues->first_abandoned; *at != NULL;) {
        abandoned *entry = *at;
        if (grpc_completion_queue_pluck(entry->queue, entry->tag, until, NULL).type == GRPC_QUEUE_TIMEOUT) {
            at = &entry->next;
            continue;
        }
        *at = entry->next;
        atomic_fetch_sub_explicit(&queues->abandoned_count, 1, memory_order_relaxed);
        entry->completed(entry->tag);
        free(entry);
    }
    pthread_mutex_unlock(&queues->abandoned_mutex);
}

void evener_grpc_queues_sweep(evener_grpc_queues *queues)
{
    if (atomic_load_explicit(&queues->abandoned_count, memory_order_relaxed) != 0) {
        finish_abandoned(queues, gpr_time_0(GPR_CLOCK_MONOTONIC));
    }
}

void evener_grpc_queues_drain(evener_grpc_queues *queues)
{
    finish_abandoned(queues, gpr_inf_future(GPR_CLOCK_MONOTONIC));
}

/* ---- life ---- */

evener_grpc_queues *evener_grpc_queues_create(evener_status *status)
{
    evener_grpc_queues *queues = calloc(1, sizeof *queues);
    if (queues == NULL) {
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "gRPC transport: out of memory");
        return NULL;
    }
    pthread_mutex_init(&queues->abandoned_mutex, NULL);
    return queues;
}

void evener_grpc_queues_destroy(evener_grpc_queues *queues)
{
    if (queues == NULL) {
        return;
    }
    evener_grpc_queues_drain(queues);
    pluck_queues_destroy(queues);
    pthread_mutex_destroy(&queues->abandoned_mutex);
    free(queues);
}
