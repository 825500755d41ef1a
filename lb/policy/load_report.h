/* Load report: what a backend says of itself in the trailer of a call (A58; xds.data.orca.v3.OrcaLoadReport). */
#ifndef EVENER_LB_POLICY_LOAD_REPORT_H
#define EVENER_LB_POLICY_LOAD_REPORT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct evener_load_report {
    double cpu_utilization;
    double application_utilization;
    double requests_per_second;
    double errors_per_second;
} evener_load_report;

/* Decodes the fields above of the protobuf message; others are skipped, missing ones are 0. False, and nothing stored,
 * when the bytes are no such message or a value is negative or no number. Any thread; allocates nothing. */
bool evener_load_report_parse(const void *bytes, size_t size, evener_load_report *report);

#endif
