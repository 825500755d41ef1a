/* The promise about latest.json: which arrays it has and what is in each row. */
#ifndef BENCH_REPORT_SHAPE_H
#define BENCH_REPORT_SHAPE_H

#include <jansson.h>

/* Complains (see bench_complain) of each array that is missing or empty, of rows without a key or with one of another
 * type, and of counts that have to be zero. */
void shape_check(const json_t *results);

#endif
