/* Output of a bench: JSON to a file, progress and complaints to stderr. */
#ifndef BENCH_SUPPORT_OUTPUT_H
#define BENCH_SUPPORT_OUTPUT_H

#include <stdbool.h>

#include <jansson.h>

#include "bench/support/measure.h"

/* Add `name` (the median) and `name`_min to the row. */
void bench_set_figure(json_t *row, const char *name, const bench_figure *figure);

/* Add `name` (the median), `name`_quarter and `name`_three_quarters to the row: for ratios of paired passes. */
void bench_set_quartiles(json_t *row, const char *name, const bench_figure *figure);

/* Print one line on stderr about the current measurement. */
void bench_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Report a failed check on stderr; bench_finish() then returns 1. */
void bench_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Write the object to the file (NULL: stdout), release it, and return the exit status of the bench. */
int bench_finish(json_t *object, const char *path);

/* Return the value of "--name=value", or NULL if the argument is another one. */
const char *bench_option(const char *argument, const char *name);

/* Parse the arguments of most benches: [--quick] [--output=FILE]. *output is NULL by default. Return false after
 * naming an unknown argument on stderr; the exit status is then 2. */
bool bench_arguments(int argc, char **argv, const char *bench, bool *quick, const char **output);

#endif
