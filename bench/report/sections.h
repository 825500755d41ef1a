/* The sections of docs/performance.md. */
#ifndef BENCH_REPORT_SECTIONS_H
#define BENCH_REPORT_SECTIONS_H

#include <jansson.h>

/* Print all sections as Markdown on stdout. `published` (may be NULL) is published.json. `plots` is the folder for
 * links to pictures; NULL: no pictures. */
void sections_print(const json_t *results, const json_t *published, const char *plots);

#endif
