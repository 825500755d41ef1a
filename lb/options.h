/* Options structs, brought from a caller's version of evener to this one: they begin with `size_t size`, zero is the
 * default of every field, and they only ever grow at the end (a new field goes behind the last one, never into padding,
 * and leaves no hole). */
#ifndef EVENER_LB_OPTIONS_H
#define EVENER_LB_OPTIONS_H

#include <stddef.h>

#include <evener/status.h>

/* Fills the struct of `bytes` at `own`, its size included, with what the caller gave; what is past the caller's size,
 * of an older evener, is zero; `given` may be NULL. INVALID_ARGUMENT, with a message that begins with `what` and names
 * the struct's `type`: no size, or something is set in fields that only a newer evener knows. Then *own is untouched. */
evener_status_code evener_options_read(void *own, size_t bytes, const void *given, const char *what, const char *type,
                                       evener_status *status);

#endif
