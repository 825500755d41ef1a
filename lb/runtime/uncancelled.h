/* Uncancelled: pthread_cancel() acts after a function of evener's, not inside it.
 *
 * A blocked function has a call, a lock or a place in a queue on its thread's stack. So it disables cancellation while
 * it runs; a thread that was cancelled meanwhile ends at its next cancellation point. */
#ifndef EVENER_LB_RUNTIME_UNCANCELLED_H
#define EVENER_LB_RUNTIME_UNCANCELLED_H

#include <pthread.h>

static inline int evener_cancel_disable(void)
{
    int before = PTHREAD_CANCEL_ENABLE;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

static inline void evener_cancel_restore(const int *before)
{
    (void)pthread_setcancelstate(*before, NULL);
}

/* A declaration: from here to the end of the block the thread is not cancelled. */
#define EVENER_UNCANCELLED                                                                                             \
    __attribute__((cleanup(evener_cancel_restore), unused)) const int cancel_state_before = evener_cancel_disable()

#endif
