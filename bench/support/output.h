/* What a bench writes: its JSON to a file, its progress and its complaints to stderr. */
#ifndef BENCH_SUPPORT_OUTPUT_H
#define BENCH_SUPPORT_OUTPUT_H

#include <stdbool.h>

#include <jansson.h>

#include "bench/support/measure.h"

/* Puts `name` (the median) and `name`_min into the row. */
void bench_set_figure(json_t *row, const char *name, const bench_figure *figure);

/* Puts `name` (the median), `name`_quarter and `name`_three_quarters into the row: for ratios of passes that were made
 * side by side. */
void bench_set_quartiles(json_t *row, const char *name, const bench_figure *figure);

/* One line that says what is measured now, on stderr. */
void bench_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A check of the bench has failed: says what, and makes bench_finish() return 1. */
void bench_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Writes the object to the file (NULL: to stdout), gives it back, and returns the exit status of the bench. */
int bench_finish(json_t *object, const char *path);

/* "--name=value": the value, or NULL if the argument is another. */
const char *bench_option(const char *argument, const char *name);

/* The arguments of most benches: [--quick] [--output=FILE]; without, *output is NULL. False after saying on stderr what
 * is not known: the exit status is to be 2. */
bool bench_arguments(int argc, char **argv, const char *bench, bool *quick, const char **output);

#endif
