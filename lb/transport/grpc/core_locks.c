#include "lb/transport/grpc/core_locks.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

#include <grpc/support/sync.h>

#include "lb/runtime/clock.h"
#include "lb/runtime/thread.h"
#include "lb/runtime/uncancelled.h"

/* The waiting thread needs microseconds, unless it gets no processor. */
#define WAIT_NS_MAX 1000000000

#ifdef GPR_ABSEIL_SYNC

static void *wait_for_lock(void *mutex)
{
    gpr_mu_lock(mutex);
    gpr_mu_unlock(mutex);
    return NULL;
}

static void settle(void)
{
    gpr_mu mutex;
    pthread_t thread;
    EVENER_UNCANCELLED; /* the thread uses the mutex on this stack until it is joined */
    gpr_mu_init(&mutex);
    gpr_mu_lock(&mutex);
    /* The word of a lock changes when a thread begins to wait for it. */
    const gpr_mu held = atomic_load((_Atomic gpr_mu *)&mutex);
    if (evener_thread_start(&thread, "evener-locks", wait_for_lock, &mutex, NULL) == EVENER_STATUS_OK) {
        const uint64_t began = evener_clock_now_ns();
        while (atomic_load((_Atomic gpr_mu *)&mutex) == held && evener_clock_now_ns() - began < WAIT_NS_MAX) {
            (void)sched_yield();
        }
        gpr_mu_unlock(&mutex);
        (void)pthread_join(thread, NULL);
    } else {
        gpr_mu_unlock(&mutex);
    }
    gpr_mu_destroy(&mutex);
}

#else

static void settle(void)
{
}

#endif

void evener_grpc_settle_locks(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, settle);
}
