/* Factory warning: the same warning is not repeated for a while, which doubles each time. Control thread only. */
#ifndef EVENER_LB_FACTORY_WARNING_H
#define EVENER_LB_FACTORY_WARNING_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/status.h>

/* Zeroed: nothing was warned of. */
typedef struct evener_factory_warning {
    uint64_t warned_ns, pause_ns; /* of the last warning */
    char warned_of[EVENER_STATUS_MESSAGE_BYTES];
} evener_factory_warning;

/* Return whether to log the reason now: it is another one than last time, or the pause is over (1 minute, then 2, 4,
 * ... up to 1 hour). Then it counts as logged. */
bool evener_factory_warning_is_due(evener_factory_warning *warning, const char *reason, uint64_t now_ns);

/* Forget the last warning: the next one is due. */
void evener_factory_warning_clear(evener_factory_warning *warning);

#endif
