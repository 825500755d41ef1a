/* The sections of docs/performance.md. */
#ifndef BENCH_REPORT_SECTIONS_H
#define BENCH_REPORT_SECTIONS_H

#include <jansson.h>

/* Print sections as Markdown on stdout: those of the benches, or that of the simulator. `published` (may be NULL) is
 * published.json. `plots` is the folder for links to pictures; NULL: no pictures. */
void sections_print_measured(const json_t *results, const json_t *published, const char *plots);
void sections_print_simulated(const json_t *results, const json_t *published, const char *plots);

#endif
