/* Late metadata: what a call waits for before its first attempt, because an interceptor or credentials answer later
 * (evener_new_call_defer()). One object per call that has any; the call and each handle hold a reference. */
#ifndef EVENER_LB_CALL_LATE_METADATA_H
#define EVENER_LB_CALL_LATE_METADATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/interceptor.h>

typedef struct evener_late evener_late;

/* Create an object without handles, with one reference. NULL: out of memory. */
evener_late *evener_late_create(void);
/* NULL is allowed. Any thread. */
evener_late *evener_late_ref(evener_late *late);
void evener_late_unref(evener_late *late);

/* Add a handle. NULL: out of memory. Before any wait, but others may have been answered already. */
evener_late_metadata *evener_late_add_handle(evener_late *late, const char *method);

/* Return whether all handles were answered, or one with a failure. Any thread. */
bool evener_late_is_ready(evener_late *late);

/* Have resume(arg) called once it is ready, exactly once, on the thread of the answer. True: it is ready now, and
 * nothing will be called. Once per object. */
bool evener_late_on_ready(evener_late *late, void (*resume)(void *arg), void *arg);

/* Wait until it is ready or `until_ns` of CLOCK_MONOTONIC has passed (UINT64_MAX: never). False: the time is over. */
bool evener_late_wait(evener_late *late, uint64_t until_ns);

/* When ready: return the failure that a handle was answered with, or store the metadata given followed by what came, in
 * memory of the object. Errors: the failure, RESOURCE_EXHAUSTED. */
evener_status_code evener_late_take(evener_late *late, const evener_metadata **metadata, size_t *count,
                                    evener_status *status);

#endif
