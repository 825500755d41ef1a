/* Completion queues for calls that wait: blocking calls and streams.
 *
 * A blocking call plucks its result from a queue of its thread's own, so that the waiting thread is also the polling
 * thread and no other thread needs to wake up. */
#ifndef EVENER_LB_TRANSPORT_GRPC_QUEUES_H
#define EVENER_LB_TRANSPORT_GRPC_QUEUES_H

#include <grpc/grpc.h>

#include <evener/status.h>

typedef struct evener_grpc_queues evener_grpc_queues;

/* Create the queues. NULL and a filled status on failure. The core must be initialised. Any thread. */
evener_grpc_queues *evener_grpc_queues_create(evener_status *status);

/* Destroy the queues. No call may be in flight except abandoned ones, none may start. NULL is allowed. */
void evener_grpc_queues_destroy(evener_grpc_queues *queues);

/* Return the calling thread's pluck queue: for one blocking call at a time; it stays the thread's until it exits or
 * `queues` ends. NULL if out of memory. Any thread. */
grpc_completion_queue *evener_grpc_queues_of_thread(evener_grpc_queues *queues);

/* Keep an operation on one of the queues whose caller does not wait any more. `completed(tag)` is called once it has
 * completed, on any thread. Any thread. */
void evener_grpc_queues_abandon(evener_grpc_queues *queues, grpc_completion_queue *queue, void *tag,
                                void (*completed)(void *tag));

/* Look for abandoned operations that have completed meanwhile. Costs nothing while there are none. Any thread. */
void evener_grpc_queues_sweep(evener_grpc_queues *queues);

/* Wait for all abandoned operations; their calls were cancelled. Any thread. */
void evener_grpc_queues_drain(evener_grpc_queues *queues);

#endif
