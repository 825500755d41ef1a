/* Threads of the library: named, and without signals, which are the program's own business. */
#ifndef EVENER_LB_RUNTIME_THREAD_H
#define EVENER_LB_RUNTIME_THREAD_H

#include <pthread.h>

#include <evener/status.h>

/* Starts `main(arg)` on a joinable thread with all signals blocked. At most 15 characters of `name` are used. Errors:
 * INTERNAL, the message names the thread and *thread is untouched. Any thread. */
evener_status_code evener_thread_start(pthread_t *thread, const char *name, void *(*main)(void *arg), void *arg,
                                       evener_status *status);

#endif
