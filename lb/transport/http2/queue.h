/* Queue: liburcu's wait-free queue, of any number of threads that put in and one at a time that takes out.
 *
 * Taking out never waits: NULL may also mean that somebody is about to put in; who puts in looks for a sleeper
 * afterwards. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_QUEUE_H
#define EVENER_LB_TRANSPORT_HTTP2_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include <urcu/wfcqueue.h>

/* liburcu is not instrumented: ThreadSanitizer has to be shown that what was put in happened before it is taken out. */
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define EVENER_HTTP2_QUEUE_PUT_IN(queue) __tsan_release(queue)
#define EVENER_HTTP2_QUEUE_TAKEN_OUT(queue) __tsan_acquire(queue)
#else
#define EVENER_HTTP2_QUEUE_PUT_IN(queue) ((void)(queue))
#define EVENER_HTTP2_QUEUE_TAKEN_OUT(queue) ((void)(queue))
#endif

/* Both ends on lines of their own: one thread takes, others put. */
typedef struct evener_http2_queue {
    _Alignas(64) struct cds_wfcq_tail tail;
    _Alignas(64) struct cds_wfcq_head head;
} evener_http2_queue;

typedef struct cds_wfcq_node evener_http2_queue_node;

static inline void evener_http2_queue_init(evener_http2_queue *queue)
{
    cds_wfcq_init(&queue->head, &queue->tail);
}

/* Any thread. A full memory barrier. */
static inline void evener_http2_queue_put(evener_http2_queue *queue, evener_http2_queue_node *node)
{
    cds_wfcq_node_init(node);
    EVENER_HTTP2_QUEUE_PUT_IN(queue);
    (void)cds_wfcq_enqueue(&queue->head, &queue->tail, node);
}

/* One thread at a time. */
static inline evener_http2_queue_node *evener_http2_queue_take(evener_http2_queue *queue)
{
    evener_http2_queue_node *node = __cds_wfcq_dequeue_nonblocking(&queue->head, &queue->tail);
    if (node == NULL || node == CDS_WFCQ_WOULDBLOCK) {
        return NULL;
    }
    EVENER_HTTP2_QUEUE_TAKEN_OUT(queue);
    return node;
}

/* Any thread. */
static inline bool evener_http2_queue_is_empty(evener_http2_queue *queue)
{
    return cds_wfcq_empty(&queue->head, &queue->tail);
}

#endif
