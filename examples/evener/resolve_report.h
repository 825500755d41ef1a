/* What `evener resolve` prints: a first list, then what changed. */
#ifndef EXAMPLES_EVENER_RESOLVE_REPORT_H
#define EXAMPLES_EVENER_RESOLVE_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/resolver.h>

typedef struct resolve_report {
    const char *target;
    bool json;
    bool watch; /* lines carry the time of day */
    /* The last update. */
    bool any;
    evener_address **addresses; /* owned, sorted by text and authority */
    size_t address_count;
    char *service_config; /* or NULL */
} resolve_report;

/* Prints an update on stdout, or what it changed; nothing when it changed nothing. False without memory. */
bool resolve_report_update(resolve_report *report, const evener_resolver_update *update);

/* Prints an error on stderr. */
void resolve_report_error(const resolve_report *report, const evener_status *status);

void resolve_report_clear(resolve_report *report);

#endif
