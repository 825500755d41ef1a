/* The threads that serve asynchronous calls: they share one completion queue, and sleep outside the core while there
 * are too few calls in flight for them. */
#ifndef EVENER_LB_TRANSPORT_GRPC_CALL_THREADS_H
#define EVENER_LB_TRANSPORT_GRPC_CALL_THREADS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grpc/grpc.h>

#include <evener/runtime.h>
#include <evener/status.h>

#include "lb/transport/grpc/overdue.h"
#include "lb/transport/grpc/tag.h"

typedef struct evener_grpc_call_threads evener_grpc_call_threads;

/* Up to this number of calls in flight are served by one thread, twice as many by two. On the machine measured (2
 * processors), with 2 to 8 calls in flight, that saves processor time; the calls per second with values of 2, 4 and 8
 * differ by no more than noise. */
#define EVENER_GRPC_FEW_CALLS 8

/* Create the set of threads, without starting one. NULL and a filled status on failure. `runtime` is borrowed. Any
 * thread. */
evener_grpc_call_threads *evener_grpc_call_threads_create(evener_runtime *runtime, evener_grpc_overdue *overdue,
                                                          evener_status *status);

/* Join the threads; no call may be under way, none may start. Not on one of the threads. */
void evener_grpc_call_threads_stop(evener_grpc_call_threads *threads);

/* End threads that were stopped. NULL is allowed. */
void evener_grpc_call_threads_destroy(evener_grpc_call_threads *threads);

/* Set the number of threads; 0: the default. Errors: FAILED_PRECONDITION once they run. Any thread. */
evener_status_code evener_grpc_call_threads_set_count(evener_grpc_call_threads *threads, uint32_t count,
                                                      evener_status *status);

/* Ensure that a thread is awake for a call, before it begins; start the threads with the first call. Exactly one
 * operation, tagged with an evener_grpc_tag, has to be started on the queue then, or the call dropped. `connections` is
 * how many the calls of this runtime are spread over. Not OK: a filled status. Any thread; takes no lock after the
 * first call. */
evener_status_code evener_grpc_call_threads_take(evener_grpc_call_threads *threads, size_t connections,
                                                 evener_status *status);

/* Take back evener_grpc_call_threads_take(): the call was not started. Any thread. */
void evener_grpc_call_threads_drop(evener_grpc_call_threads *threads);

/* Return the queue that all threads serve; after the first evener_grpc_call_threads_take(). */
grpc_completion_queue *evener_grpc_call_threads_queue(const evener_grpc_call_threads *threads);

/* Return the number of awake threads: for tests. Any thread. */
uint32_t evener_grpc_call_threads_awake(const evener_grpc_call_threads *threads);

#endif
