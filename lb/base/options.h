/* Options structs: convert the struct of a program that was built against another version of evener. They begin with
 * `size_t size`, and zero is the default of every field. They grow only at the end: a new field goes behind the last
 * one, never into padding, and leaves no hole. */
#ifndef EVENER_LB_BASE_OPTIONS_H
#define EVENER_LB_BASE_OPTIONS_H

#include <stddef.h>

#include <evener/picker.h>
#include <evener/status.h>

#include "lb/base/sibling.h"

/* Fill the struct of `bytes` at `own`, including its size, with the caller's fields. Fields beyond the caller's size
 * (an older evener) become zero. `given` may be NULL. Errors: INVALID_ARGUMENT (no size, or a field is set that only
 * a newer evener knows), with a message that begins with `what` and names the struct's `type`; *own is untouched
 * then. */
EVENER_SIBLING evener_status_code evener_options_read(void *own, size_t bytes, const void *given, const char *what,
                                                      const char *type, evener_status *status);

/* The same for evener_pick_args. Only called when the size differs from this evener's own. */
evener_status_code evener_pick_args_read(evener_pick_args *own, const evener_pick_args *given, evener_status *status);

/* The same for evener_done_info, whose end cannot be refused: an impossible size counts as that of the first version,
 * and fields that only a newer evener knows are ignored. `given` NULL: OK. */
EVENER_SIBLING void evener_done_info_read(evener_done_info *own, const evener_done_info *given);

#endif
