/* What the library asks of a runtime beside its public functions. */
#ifndef EVENER_LB_RUNTIME_RUNTIME_INTERNAL_H
#define EVENER_LB_RUNTIME_RUNTIME_INTERNAL_H

#include <stdbool.h>

#include <evener/runtime.h>

/* Whether it runs on a loop of the caller's: waiting for it would be waiting for oneself. Any thread. */
bool evener_runtime_is_driven_by_caller(const evener_runtime *runtime);

/* Whether the calling thread is one of the runtime's own: its control thread, or one that was adopted. Such a thread must
 * not wait for the runtime. Any thread. */
bool evener_runtime_owns_this_thread(const evener_runtime *runtime);

#endif
