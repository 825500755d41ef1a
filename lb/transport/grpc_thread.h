/* Threads of the engine: named, and deaf to signals, which are the program's. */
#ifndef EVENER_LB_TRANSPORT_GRPC_THREAD_H
#define EVENER_LB_TRANSPORT_GRPC_THREAD_H

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include <evener/status.h>

/* `name` has at most 15 characters. Errors: INTERNAL. Any thread. */
static inline evener_status_code evener_grpc_thread_start(pthread_t *thread, const char *name, void *(*run)(void *),
                                                          void *arg, evener_status *status)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        return evener_status_set(status, EVENER_STATUS_INTERNAL, "cannot start the thread %s: %s", name,
                                 strerror(error));
    }
    pthread_setname_np(*thread, name);
    return EVENER_STATUS_OK;
}

#endif
