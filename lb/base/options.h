/* Options structs, brought from a caller's version of evener to this one: they begin with `size_t size`, zero is the
 * default of every field, and they only ever grow at the end (a new field goes behind the last one, never into padding,
 * and leaves no hole). */
#ifndef EVENER_LB_BASE_OPTIONS_H
#define EVENER_LB_BASE_OPTIONS_H

#include <stddef.h>

#include <evener/picker.h>
#include <evener/status.h>

/* Fills the struct of `bytes` at `own`, its size included, with what the caller gave; what is past the caller's size,
 * of an older evener, is zero; `given` may be NULL. INVALID_ARGUMENT, with a message that begins with `what` and names
 * the struct's `type`: no size, or something is set in fields that only a newer evener knows. Then *own is untouched. */
evener_status_code evener_options_read(void *own, size_t bytes, const void *given, const char *what, const char *type,
                                       evener_status *status);

/* The same for the two structs of a pick, which are only read so when their size is not this evener's own. */
evener_status_code evener_pick_args_read(evener_pick_args *own, const evener_pick_args *given, evener_status *status);

/* An end cannot be refused: without a size that can be, the info is taken for the first version's; what only a newer
 * evener knows is left out. NULL: OK. */
void evener_done_info_read(evener_done_info *own, const evener_done_info *given);

#endif
