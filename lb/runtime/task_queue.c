#include "lb/runtime/task_queue.h"

evener_task_posted evener_task_queue_post(evener_task_queue *queue, evener_task *task)
{
    /* Acquire and release, here and where the flag is cleared: if the flag is already set here, the run that clears
     * it sees what this thread wrote before. */
    if (__atomic_exchange_n(&task->pending, 1, __ATOMIC_ACQ_REL) != 0) {
        return EVENER_TASK_WAS_PENDING;
    }
    evener_task *newest = __atomic_load_n(&queue->newest, __ATOMIC_RELAXED);
    do {
        task->next = newest;
        /* Release: pairs with the exchange in evener_task_queue_run(). */
    } while (!__atomic_compare_exchange_n(&queue->newest, &newest, task, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    return newest == NULL ? EVENER_TASK_QUEUED_FIRST : EVENER_TASK_QUEUED;
}

size_t evener_task_queue_run(evener_task_queue *queue)
{
    evener_task *newest = __atomic_exchange_n(&queue->newest, NULL, __ATOMIC_ACQUIRE);
    evener_task *oldest = NULL;
    while (newest != NULL) {
        evener_task *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    size_t count = 0;
    while (oldest != NULL) {
        evener_task *task = oldest;
        oldest = task->next;
        /* Once the flag is clear, another thread may post the task again; once the task runs, its memory may be
         * freed. */
        const evener_task_fn fn = task->fn;
        void *arg = task->arg;
        (void)__atomic_exchange_n(&task->pending, 0, __ATOMIC_ACQ_REL);
        fn(arg);
        count++;
    }
    return count;
}

bool evener_task_queue_is_empty(const evener_task_queue *queue)
{
    return __atomic_load_n(&queue->newest, __ATOMIC_ACQUIRE) == NULL;
}
