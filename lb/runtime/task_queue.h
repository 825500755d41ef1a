/* Task queue: any thread posts tasks, one thread runs them. Intrusive: allocates nothing and cannot fail. */
#ifndef EVENER_LB_RUNTIME_TASK_QUEUE_H
#define EVENER_LB_RUNTIME_TASK_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/loop.h>

typedef struct evener_task_queue {
    evener_task *newest; /* atomic; linked through `next` to the oldest */
} evener_task_queue;
#define EVENER_TASK_QUEUE_INIT                                                                                         \
    {                                                                                                                  \
        NULL                                                                                                           \
    }

typedef enum evener_task_posted {
    EVENER_TASK_WAS_PENDING, /* already queued; it runs once for both posts */
    EVENER_TASK_QUEUED,      /* queued behind others */
    EVENER_TASK_QUEUED_FIRST /* the queue was empty: wake the thread that runs it */
} evener_task_posted;

/* Queue a task unless it is queued already. Any thread. */
evener_task_posted evener_task_queue_post(evener_task_queue *queue, evener_task *task);

/* Run the tasks queued now, in the order of posting. Tasks posted meanwhile wait for the next call. Return how many
 * ran. One thread at a time. */
size_t evener_task_queue_run(evener_task_queue *queue);

/* Return whether no task waits. Any thread. */
bool evener_task_queue_is_empty(const evener_task_queue *queue);

#endif
