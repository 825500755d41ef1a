/* The threads that serve asynchronous calls: each has a completion queue of its own, and sleeps outside the core while no
 * call is under way on it. */
#ifndef EVENER_LB_TRANSPORT_GRPC_CALL_THREADS_H
#define EVENER_LB_TRANSPORT_GRPC_CALL_THREADS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grpc/grpc.h>

#include <evener/runtime.h>
#include <evener/status.h>

#include "lb/transport/grpc_tag.h"

typedef struct evener_grpc_call_threads evener_grpc_call_threads;
typedef struct evener_grpc_call_thread evener_grpc_call_thread;

/* With fewer calls under way than these the first thread serves them alone. On the machine tried (2 processors), with 2 to
 * 8 calls in flight, that saves processor time, and the calls a second with 2, 4 and 8 here do not differ beyond noise. */
#define EVENER_GRPC_FEW_CALLS 8

/* NULL and a filled status on failure. Starts no thread yet. `runtime` is borrowed. Any thread. */
evener_grpc_call_threads *evener_grpc_call_threads_create(evener_runtime *runtime, evener_status *status);

/* Joins the threads; no call may be under way, none may start. Not on one of the threads. */
void evener_grpc_call_threads_stop(evener_grpc_call_threads *threads);

/* Ends threads that were stopped. NULL is allowed. */
void evener_grpc_call_threads_destroy(evener_grpc_call_threads *threads);

/* How many there shall be; 0: the default. FAILED_PRECONDITION once they run. Any thread. */
evener_status_code evener_grpc_call_threads_set_count(evener_grpc_call_threads *threads, uint32_t count,
                                                      evener_status *status);

/* The thread that shall serve a call, awake from now on; starts the threads with the first call. Exactly one operation,
 * tagged with an evener_grpc_tag, has to be started on its queue then, or the call dropped. `connections` is how many
 * the calls of this runtime are spread over. NULL and a filled status on failure. Any thread; takes no lock but for the
 * first call. */
evener_grpc_call_thread *evener_grpc_call_threads_take(evener_grpc_call_threads *threads, size_t connections,
                                                       evener_status *status);

/* The call that the thread was taken for has not been started. A thread that waits for it in the core already stays there
 * until its next call is over. Any thread. */
void evener_grpc_call_thread_drop(evener_grpc_call_thread *thread);

grpc_completion_queue *evener_grpc_call_thread_queue(const evener_grpc_call_thread *thread);

/* Whether it sleeps outside the core: for tests. Any thread. */
bool evener_grpc_call_thread_is_parked(const evener_grpc_call_thread *thread);

#endif
