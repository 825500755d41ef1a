/* Task queue: work posted by any thread, taken by one. Intrusive: allocates nothing and cannot fail. */
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
    EVENER_TASK_WAS_PENDING, /* it is queued already and will run once for both */
    EVENER_TASK_QUEUED,      /* others wait before it */
    EVENER_TASK_QUEUED_FIRST /* the queue was empty: whoever runs it must be woken */
} evener_task_posted;

/* Any thread. */
evener_task_posted evener_task_queue_post(evener_task_queue *queue, evener_task *task);

/* Runs what is queued now, in the order of posting; what is posted meanwhile waits for the next call. Returns how many
 * ran. One thread at a time. */
size_t evener_task_queue_run(evener_task_queue *queue);

/* Whether nothing waits. */
bool evener_task_queue_is_empty(const evener_task_queue *queue);

#endif
