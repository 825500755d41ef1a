/* A runtime's functions for the rest of the library. */
#ifndef EVENER_LB_RUNTIME_RUNTIME_INTERNAL_H
#define EVENER_LB_RUNTIME_RUNTIME_INTERNAL_H

#include <stdbool.h>

#include <evener/runtime.h>

#include "lb/base/sibling.h"

/* Return whether the runtime uses the caller's loop: a thread that waits for it would wait for itself. Any thread. */
bool evener_runtime_is_driven_by_caller(const evener_runtime *runtime);

/* Return whether the calling thread belongs to the runtime: its control thread or an adopted thread. Such a thread
 * must not block on the runtime. Any thread. */
bool evener_runtime_owns_this_thread(const evener_runtime *runtime);

/* Return whether the calling thread belongs to any runtime. */
bool evener_runtime_has_this_thread(void);

/* Return whether the runtime belongs to a parent of this process: it was created before a fork(). Any thread. */
EVENER_SIBLING bool evener_runtime_is_older_than_fork(const evener_runtime *runtime);

/* Let the control thread look for a further task for some 5 us before it sleeps: a thread that waited for the end of
 * something often posts the next end at once, and to wake up takes longer than that. Does nothing on the caller's loop.
 * Control thread. */
void evener_runtime_expect_task(evener_runtime *runtime);

/* Ask for lanes of idle threads, for threads on the shared lane (lb/runtime/lane.h). A system call only if no control
 * thread looks for lanes at the moment. Any thread. */
void evener_runtime_ask_for_lanes(evener_runtime *runtime);

#endif
