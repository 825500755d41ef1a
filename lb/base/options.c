#include "lb/base/options.h"

#include <string.h>

/* No options struct is this large: such a size was never initialised. */
#define OPTIONS_BYTES_MAX 65536

evener_status_code evener_options_read(void *own, size_t bytes, const void *given, const char *what, const char *type,
                                       evener_status *status)
{
    size_t given_bytes = sizeof(size_t);
    if (given != NULL) {
        memcpy(&given_bytes, given, sizeof given_bytes);
        if (given_bytes < sizeof(size_t) || given_bytes > OPTIONS_BYTES_MAX) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: size is %zu: set it to sizeof(%s)",
                                     what, given_bytes, type);
        }
    }
    for (size_t i = bytes; i < given_bytes; i++) {
        if (((const unsigned char *)given)[i] != 0) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "%s: byte %zu is set, but this evener's %s has %zu bytes: the program was built "
                                     "for a newer evener, leave that field zero or install the newer one",
                                     what, i, type, bytes);
        }
    }
    memset(own, 0, bytes);
    if (given != NULL) {
        memcpy(own, given, given_bytes < bytes ? given_bytes : bytes);
    }
    memcpy(own, &bytes, sizeof bytes);
    return EVENER_STATUS_OK;
}

evener_status_code evener_pick_args_read(evener_pick_args *own, const evener_pick_args *given, evener_status *status)
{
    return evener_options_read(own, sizeof *own, given, "pick args", "evener_pick_args", status);
}

void evener_done_info_read(evener_done_info *own, const evener_done_info *given)
{
    /* the size of the first version */
    const size_t first_bytes = offsetof(evener_done_info, load_report_bytes) + sizeof own->load_report_bytes;
    *own = (evener_done_info){.size = sizeof *own};
    if (given != NULL) {
        size_t bytes = given->size >= offsetof(evener_done_info, load_report) ? given->size : first_bytes;
        bytes = bytes < sizeof *own ? bytes : sizeof *own;
        memcpy(own, given, bytes);
        own->size = sizeof *own;
    }
}
