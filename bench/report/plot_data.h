/* The columns that plots.gp draws. */
#ifndef BENCH_REPORT_PLOT_DATA_H
#define BENCH_REPORT_PLOT_DATA_H

#include <stdbool.h>

#include <jansson.h>

/* Writes the .dat files into the folder: blocks, one a line of the plot, each under its
 * name, two blank lines between them, as gnuplot's `index` wants it. False: a file could not be written. */
bool bench_write_plot_data(const json_t *all, const char *folder);

#endif
