/* Threads of the library: named, and without signals, which are the program's own business. */
#ifndef EVENER_LB_RUNTIME_THREAD_H
#define EVENER_LB_RUNTIME_THREAD_H

#include <pthread.h>

/* Starts `main(arg)` on a joinable thread with all signals blocked. At most 15 characters of `name` are used. Returns 0
 * or an errno value, with *thread untouched. Any thread. */
int evener_thread_start(pthread_t *thread, const char *name, void *(*main)(void *arg), void *arg);

#endif
