/* The threads that serve asynchronous calls: they share one completion queue, and sleep outside the core while there
 * are fewer calls under way than they are good for. */
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

/* Up to this many calls under way are served by one thread, twice as many by two. On the machine tried (2 processors),
 * with 2 to 8 calls in flight, that saves processor time, and the calls a second with 2, 4 and 8 here do not differ
 * beyond noise. */
#define EVENER_GRPC_FEW_CALLS 8

/* NULL and a filled status on failure. Starts no thread yet. `runtime` is borrowed. Any thread. */
evener_grpc_call_threads *evener_grpc_call_threads_create(evener_runtime *runtime, evener_grpc_overdue *overdue,
                                                          evener_status *status);

/* Join the threads; no call may be under way, none may start. Not on one of the threads. */
void evener_grpc_call_threads_stop(evener_grpc_call_threads *threads);

/* End threads that were stopped. NULL is allowed. */
void evener_grpc_call_threads_destroy(evener_grpc_call_threads *threads);

/* How many there shall be; 0: the default. FAILED_PRECONDITION once they run. Any thread. */
evener_status_code evener_grpc_call_threads_set_count(evener_grpc_call_threads *threads, uint32_t count,
                                                      evener_status *status);

/* Ensure that a thread is awake for a call, before it begins; start the threads with the first call. Exactly one
 * operation, tagged with an evener_grpc_tag, has to be started on the queue then, or the call dropped. `connections` is
 * how many the calls of this runtime are spread over. Not OK: a filled status. Any thread; takes no lock after the
 * first call. */
evener_status_code evener_grpc_call_threads_take(evener_grpc_call_threads *threads, size_t connections,
                                                 evener_status *status);

/* The call has not been started. Any thread. */
void evener_grpc_call_threads_drop(evener_grpc_call_threads *threads);

/* The queue that all of them serve; once a call was taken. */
grpc_completion_queue *evener_grpc_call_threads_queue(const evener_grpc_call_threads *threads);

/* How many do not sleep outside the core: for tests. Any thread. */
uint32_t evener_grpc_call_threads_awake(const evener_grpc_call_threads *threads);

#endif
