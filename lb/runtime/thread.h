/* Threads of the library: named, and with all signals blocked, since signals belong to the program. */
#ifndef EVENER_LB_RUNTIME_THREAD_H
#define EVENER_LB_RUNTIME_THREAD_H

#include <pthread.h>
#include <semaphore.h>

#include <evener/status.h>

#include "lb/base/sibling.h"

/* Start `main(arg)` on a joinable thread with all signals blocked. Only the first 15 characters of `name` are used.
 * Errors: INTERNAL, RESOURCE_EXHAUSTED; the message names the thread, and *thread is untouched. Any thread. */
EVENER_SIBLING evener_status_code evener_thread_start(pthread_t *thread, const char *name, void *(*main)(void *arg),
                                                      void *arg, evener_status *status);

/* Wait for a semaphore that another thread mostly posts within some 30 us: look at it for about that long, as going to
 * sleep and waking up would take another 10, then sleep. Any thread, without a limit; signals do not end it. */
void evener_thread_wait_for_brief(sem_t *semaphore);

#endif
