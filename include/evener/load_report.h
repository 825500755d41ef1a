/* Load report: what a backend reports of itself (the message xds.data.orca.v3.OrcaLoadReport), in the trailer of a call
 * (gRFC A58, weighted round robin) or out of band (A51, custom backend metrics). A policy decodes with it
 * evener_done_info.load_report and what evener_subchannel_watch_load() passes. */
#ifndef EVENER_LOAD_REPORT_H
#define EVENER_LOAD_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/export.h>

EVENER_BEGIN_DECLS

typedef struct evener_load_report {
    size_t size; /* sizeof(evener_load_report), set by the caller */
    double cpu_utilization;
    double application_utilization;
    double requests_per_second;
    double errors_per_second;
} evener_load_report;

/* Decode the members above from the protobuf message. Other fields are skipped; missing ones are 0. Return false, and
 * stores nothing, if the bytes are no such message, if a value is negative or not a number, or if report->size is not
 * set. Allocates nothing. Any thread. */
EVENER_API bool evener_load_report_parse(const void *bytes, size_t byte_count, evener_load_report *report);

/* Find one metric by its name (A114, custom backend metrics of weighted round robin): "cpu_utilization",
 * "mem_utilization", "application_utilization", "rps_fractional" or "eps"; or MAP.KEY with the map "request_cost",
 * "utilization" or "named_metrics", as "named_metrics.queue". Return true and store its value if the message has it and
 * it is a number that is not negative. Allocates nothing. Any thread. */
EVENER_API bool evener_load_report_find(const void *bytes, size_t byte_count, const char *name, double *value);

EVENER_END_DECLS

#endif
