/* Work threads: run what may block, away from threads that must not.
 *
 * Two groups per runtime, each started with its first use and ended with the runtime: one for callbacks of programs,
 * and a single thread for the disk, so that a file system that hangs holds no callback up. Work is run in the order in
 * which it was put in, by whichever thread of the group is free; two pieces of work may run at the same time. */
#ifndef EVENER_LB_RUNTIME_WORK_THREADS_H
#define EVENER_LB_RUNTIME_WORK_THREADS_H

#include <evener/runtime.h>
#include <evener/status.h>

typedef struct evener_work_threads evener_work_threads;

/* A piece of work, in its owner's memory. Free to be put in again, or freed, as soon as `run` was called. */
typedef struct evener_work {
    struct evener_work *next;
    void (*run)(struct evener_work *work);
} evener_work;

/* Return the runtime's threads for callbacks, started on first use: one per processor, at least 2, at most 4. They live
 * as long as the runtime. NULL with a filled status when they cannot be started. Any thread that may wait for the
 * control thread. */
evener_work_threads *evener_work_threads_get(evener_runtime *runtime, evener_status *status);

/* Return the runtime's thread for the disk; otherwise as evener_work_threads_get(). */
evener_work_threads *evener_work_threads_get_disk(evener_runtime *runtime, evener_status *status);

/* Have the work run. Takes a lock for a moment and allocates nothing. Not after the runtime's last channel has gone.
 * Any thread. */
void evener_work_threads_put(evener_work_threads *threads, evener_work *work);

#endif
