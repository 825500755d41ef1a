/* Completion queues for calls that wait: blocking calls and streams.
 *
 * A blocking call plucks its result from a queue of its thread's own, so that the thread that waits is the thread that
 * polls and no other one needs to wake up. */
#ifndef EVENER_LB_TRANSPORT_GRPC_QUEUES_H
#define EVENER_LB_TRANSPORT_GRPC_QUEUES_H

#include <grpc/grpc.h>

#include <evener/status.h>

typedef struct evener_grpc_queues evener_grpc_queues;

/* NULL and a filled status on failure. The core must be initialised. Any thread. */
evener_grpc_queues *evener_grpc_queues_create(evener_status *status);

/* No call may be under way, none may start. NULL is allowed. */
void evener_grpc_queues_destroy(evener_grpc_queues *queues);

/* The calling thread's pluck queue: for one blocking call at a time; it stays the thread's until it exits or `queues`
 * ends. NULL without memory. Any thread. */
grpc_completion_queue *evener_grpc_queues_of_thread(evener_grpc_queues *queues);

/* A pluck queue for a stream's life, which several threads share; given back empty. NULL without memory. Any thread. */
typedef struct evener_grpc_pluck_queue evener_grpc_pluck_queue;
evener_grpc_pluck_queue *evener_grpc_queues_borrow(evener_grpc_queues *queues);
grpc_completion_queue *evener_grpc_pluck_queue_core(const evener_grpc_pluck_queue *queue);
void evener_grpc_queues_give_back(evener_grpc_queues *queues, evener_grpc_pluck_queue *queue);

#endif
