/* The sections of docs/performance.md. */
#ifndef BENCH_REPORT_SECTIONS_H
#define BENCH_REPORT_SECTIONS_H

#include <jansson.h>

/* Prints them all as Markdown on stdout; `published` (may be NULL) is published.json. `plots` is the folder that
 * pictures are linked from (NULL: none are). */
void sections_print(const json_t *results, const json_t *published, const char *plots);

#endif
