#include "lb/transport/grpc/core_threads.h"

#include <pthread.h>
#include <semaphore.h>

#include <grpc/grpc.h>

#include "lb/runtime/thread.h"
#include "lb/runtime/uncancelled.h"

/* Two executors and a timer's in core 1.51, and the watcher, all of which exist at the same time. */
#define THREADS 4

static void *wait_for_end(void *arg)
{
    while (sem_wait(arg) != 0) { /* EINTR: for example a debugger */
    }
    return NULL;
}

evener_status_code evener_grpc_check_core_threads(evener_status *status)
{
    pthread_t threads[THREADS];
    sem_t end;
    int started = 0;
    evener_status_code code = EVENER_STATUS_OK;
    if (grpc_is_initialized()) {
        return EVENER_STATUS_OK;
    }
    EVENER_UNCANCELLED;         /* the threads use the semaphore on this stack until they are joined */
    (void)sem_init(&end, 0, 0); /* cannot fail: the value is in range */
    while (started < THREADS && code == EVENER_STATUS_OK) {
        code = evener_thread_start(&threads[started], "evener-probe", wait_for_end, &end, status);
        started += code == EVENER_STATUS_OK;
    }
    for (int i = 0; i < started; i++) {
        (void)sem_post(&end);
    }
    for (int i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    (void)sem_destroy(&end);
    return code;
}
