#include "lb/runtime/thread.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "lb/base/c_locale.h"

/* Linux: TASK_COMM_LEN. */
#define NAME_BYTES 16

evener_status_code evener_thread_start(pthread_t *thread, const char *name, void *(*main)(void *arg), void *arg,
                                       evener_status *status)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    /* A thread inherits the mask, so no signal can arrive before its first instruction. */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t started;
    const int error = pthread_create(&started, NULL, main, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        return evener_status_set(status, EVENER_STATUS_INTERNAL,
                                 "the thread %s did not start: %s (check the thread limit, ulimit -u)", name,
                                 strerror_l(error, evener_c_locale()));
    }
    char short_name[NAME_BYTES];
    snprintf(short_name, sizeof(short_name), "%s", name);
    (void)pthread_setname_np(started, short_name); /* only for tools such as top and gdb */
    *thread = started;
    return EVENER_STATUS_OK;
}
