/* Queue: liburcu's wait-free queue. Any number of threads put in, one at a time takes out.
 *
 * Taking out never waits. NULL may also mean that a thread is about to put in; that thread looks for a sleeper
 * afterwards. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_QUEUE_H
#define EVENER_LB_TRANSPORT_HTTP2_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include <urcu/wfcqueue.h>

/* liburcu is not instrumented: these annotations state that putting in happens before taking out. */
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define EVENER_HTTP2_QUEUE_PUT_IN(queue) __tsan_release(queue)
#define EVENER_HTTP2_QUEUE_TAKEN_OUT(queue) __tsan_acquire(queue)
#else
#define EVENER_HTTP2_QUEUE_PUT_IN(queue) ((void)(queue))
#define EVENER_HTTP2_QUEUE_TAKEN_OUT(queue) ((void)(queue))
#endif

/* Both ends are on separate cache lines: one thread takes, others put. */
typedef struct evener_http2_queue {
    _Alignas(64) struct cds_wfcq_tail tail;
    _Alignas(64) struct cds_wfcq_head head;
} evener_http2_queue;

typedef struct cds_wfcq_node evener_http2_queue_node;

static inline void evener_http2_queue_init(evener_http2_queue *queue)
{
    cds_wfcq_init(&queue->head, &queue->tail);
}

/* Put a node in. A full memory barrier. Any thread. */
static inline void evener_http2_queue_put(evener_http2_queue *queue, evener_http2_queue_node *node)
{
    cds_wfcq_node_init(node);
    EVENER_HTTP2_QUEUE_PUT_IN(queue);
    (void)cds_wfcq_enqueue(&queue->head, &queue->tail, node);
}

/* Take the oldest node out. One thread at a time. */
static inline evener_http2_queue_node *evener_http2_queue_take(evener_http2_queue *queue)
{
    evener_http2_queue_node *node = __cds_wfcq_dequeue_nonblocking(&queue->head, &queue->tail);
    if (node == NULL || node == CDS_WFCQ_WOULDBLOCK) {
        return NULL;
    }
    EVENER_HTTP2_QUEUE_TAKEN_OUT(queue);
    return node;
}

/* Return whether the queue is empty. Any thread. */
static inline bool evener_http2_queue_is_empty(evener_http2_queue *queue)
{
    return cds_wfcq_empty(&queue->head, &queue->tail);
}

#endif
