#include "lb/runtime/thread.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <urcu/arch.h>

#include "lb/base/c_locale.h"

/* Linux: TASK_COMM_LEN. */
#define NAME_BYTES 16

typedef struct thread_start {
    void *(*main)(void *arg);
    void *arg;
    char name[NAME_BYTES];
} thread_start;

/* The new thread sets its own name, with one system call: naming another thread goes through a file of /proc, while
 * the first call of the process waits. */
static void *start_main(void *arg)
{
    const thread_start start = *(thread_start *)arg;
    free(arg);
    (void)prctl(PR_SET_NAME, start.name, 0, 0, 0); /* only for tools such as top and gdb */
    return start.main(start.arg);
}

evener_status_code evener_thread_start(pthread_t *thread, const char *name, void *(*main)(void *arg), void *arg,
                                       evener_status *status)
{
    thread_start *start = malloc(sizeof *start);
    if (start == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "the thread %s did not start: no memory",
                                 name);
    }
    *start = (thread_start){.main = main, .arg = arg};
    (void)snprintf(start->name, sizeof start->name, "%s", name);
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    /* A thread inherits the mask, so no signal can arrive before its first instruction. */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t started;
    const int error = pthread_create(&started, NULL, start_main, start);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        free(start);
        return evener_status_set(status, EVENER_STATUS_INTERNAL,
                                 "the thread %s did not start: %s (check the thread limit, ulimit -u)", name,
                                 strerror_l(error, evener_c_locale()));
    }
    *thread = started;
    return EVENER_STATUS_OK;
}

#define LOOKS_BEFORE_SLEEP 4000

void evener_thread_wait_for_brief(sem_t *semaphore)
{
    for (int look = 0; look < LOOKS_BEFORE_SLEEP; look++) {
        if (sem_trywait(semaphore) == 0) {
            return;
        }
        caa_cpu_relax();
    }
    while (sem_wait(semaphore) != 0) { /* EINTR: a signal of the program */
    }
}
