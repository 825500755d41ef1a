/* The weight that a backend's load report gives (A58, weighted round robin; A114, its custom backend metrics), and the
 * names of the metrics that a configuration asks for. */
#ifndef EVENER_LB_POLICY_WRR_REPORT_H
#define EVENER_LB_POLICY_WRR_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENER_METRIC_NAMES_BYTES_MAX 1024

/* Metric names, one after another, each with a terminating NUL; in the order of the configuration. */
typedef struct evener_metric_names {
    size_t count, bytes;
    char texts[EVENER_METRIC_NAMES_BYTES_MAX];
} evener_metric_names;

/* A list of names in use. Ends of calls read it on any thread, and a call may end long after its list was replaced. So
 * each list keeps the ones before it: who holds a reference to the newest may read all. Equal lists are kept once. */
typedef struct evener_metric_names_in_use {
    struct evener_metric_names_in_use *previous; /* a reference */
    uint32_t references;
    evener_metric_names names;
} evener_metric_names_in_use;

/* Take a reference, or give one back. NULL is allowed. Control thread. */
evener_metric_names_in_use *evener_metric_names_ref(evener_metric_names_in_use *list);
void evener_metric_names_unref(evener_metric_names_in_use *list);

/* Return the list among `*newest` and those before it that equals `names`; otherwise make one, which replaces *newest
 * and takes over its reference. NULL: out of memory. Control thread. */
const evener_metric_names *evener_metric_names_use(evener_metric_names_in_use **newest,
                                                   const evener_metric_names *names);

/* What a report says. */
typedef struct evener_wrr_report {
    double weight;
    double requests_per_second;
    double errors; /* their share of the requests */
} evener_wrr_report;

typedef enum evener_wrr_verdict {
    EVENER_WRR_MALFORMED = 0,
    EVENER_WRR_SAYS_NOTHING = 1, /* a report, without requests or utilization, or with a weight that is not sane */
    EVENER_WRR_WEIGHT = 2
} evener_wrr_verdict;

/* Read a report. `names` may be NULL. The utilization is the application's; if that is 0 the highest of the named
 * metrics; if none is there the CPU's. Any thread; allocates nothing. */
evener_wrr_verdict evener_wrr_report_read(const void *bytes, size_t byte_count, const evener_metric_names *names,
                                          double error_penalty, evener_wrr_report *report);

#endif
