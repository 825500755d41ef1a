/* The shape of latest.json: its arrays and what each row holds. */
#ifndef BENCH_REPORT_SHAPE_H
#define BENCH_REPORT_SHAPE_H

#include <stdbool.h>

#include <jansson.h>

/* Complain (see bench_complain) about missing or empty arrays, missing keys, values of the wrong type, and counts
 * that are not zero but must be: in the measured results, the simulated ones, or both. */
void shape_check(const json_t *results, bool measured, bool simulated);

#endif
