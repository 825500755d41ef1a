/* The summary of the results: ten lines that say what matters. */
#ifndef BENCH_REPORT_SUMMARY_H
#define BENCH_REPORT_SUMMARY_H

#include <jansson.h>

/* Print the section "In short". A figure that the results do not have is "?". */
void summary_print(const json_t *results);

#endif
