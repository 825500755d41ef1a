/* The data files that plots.gp draws. */
#ifndef BENCH_REPORT_PLOT_DATA_H
#define BENCH_REPORT_PLOT_DATA_H

#include <stdbool.h>

#include <jansson.h>

/* Write the .dat files into the folder. A file holds one block per line of the plot: the line's name, then its
 * points, with two blank lines between blocks (gnuplot's `index`). Return false if a file cannot be written. */
bool bench_write_plot_data(const json_t *all, const char *folder);

#endif
