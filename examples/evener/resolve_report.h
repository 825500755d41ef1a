/* Output of `evener resolve`: the first list, then changes. */
#ifndef EVENER_CLI_RESOLVE_REPORT_H
#define EVENER_CLI_RESOLVE_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/resolver.h>

typedef struct resolve_report {
    const char *target;
    bool json;
    bool watch; /* print the time with each line */
    /* The last update. */
    bool any;
    evener_address **addresses; /* owned, sorted by text and authority */
    size_t address_count;
    char *service_config; /* or NULL */
    uint64_t changed_ns;  /* of CLOCK_MONOTONIC: of the last change */
} resolve_report;

/* Print an update, or its changes, on stdout; print nothing if nothing changed. False: out of memory. */
bool resolve_report_update(resolve_report *report, const evener_resolver_update *update);

/* Print an error on stderr. */
void resolve_report_error(const resolve_report *report, const evener_status *status);

void resolve_report_clear(resolve_report *report);

#endif
