/* Completion queues for calls.
 *
 * A blocking call plucks its result from a queue of its thread's own, so that the thread that waits is the thread that
 * polls and no other one needs to wake up. Asynchronous calls go to `next` queues with one thread each. */
#ifndef EVENER_LB_TRANSPORT_GRPC_QUEUES_H
#define EVENER_LB_TRANSPORT_GRPC_QUEUES_H

#include <stdbool.h>
#include <stdint.h>

#include <grpc/grpc.h>

#include <evener/runtime.h>
#include <evener/status.h>

#include "lb/transport/grpc_tag.h"

typedef struct evener_grpc_queues evener_grpc_queues;

/* NULL and a filled status on failure. The core must be initialised. `runtime` is borrowed. Any thread. */
evener_grpc_queues *evener_grpc_queues_create(evener_runtime *runtime, evener_status *status);

/* Joins the threads; no call may be under way, none may start. Not on one of the threads. */
void evener_grpc_queues_stop(evener_grpc_queues *queues);

/* Ends queues that were stopped. NULL is allowed. */
void evener_grpc_queues_destroy(evener_grpc_queues *queues);

/* The calling thread's pluck queue: for one blocking call at a time; it stays the thread's until it exits or `queues`
 * ends. NULL without memory. Any thread. */
grpc_completion_queue *evener_grpc_queues_of_thread(evener_grpc_queues *queues);

/* A pluck queue for a stream's life, which several threads share; given back empty. NULL without memory. Any thread. */
typedef struct evener_grpc_pluck_queue evener_grpc_pluck_queue;
evener_grpc_pluck_queue *evener_grpc_queues_borrow(evener_grpc_queues *queues);
grpc_completion_queue *evener_grpc_pluck_queue_core(const evener_grpc_pluck_queue *queue);
void evener_grpc_queues_give_back(evener_grpc_queues *queues, evener_grpc_pluck_queue *queue);

/* A queue for an asynchronous call, whose operations are tagged with an evener_grpc_tag; starts the threads with the first. NULL and a filled status on failure. Any
 * thread. */
grpc_completion_queue *evener_grpc_queues_async(evener_grpc_queues *queues, evener_status *status);

/* 0: the default. FAILED_PRECONDITION once the threads run. Any thread. */
evener_status_code evener_grpc_queues_set_thread_count(evener_grpc_queues *queues, uint32_t count,
                                                       evener_status *status);

#endif
