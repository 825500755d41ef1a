/* A table of texts, printed as Markdown with columns that line up. */
#ifndef BENCH_REPORT_GRID_H
#define BENCH_REPORT_GRID_H

#include <stdbool.h>
#include <stddef.h>

#define GRID_COLUMNS_MAX 16
#define GRID_CELL_BYTES 96

typedef struct grid {
    size_t columns, count, capacity; /* count: of cells, row after row; the first row is the head */
    char (*cells)[GRID_CELL_BYTES];
} grid;

/* Puts the next cell. Aborts without memory. */
void grid_put(grid *g, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints the rows that are complete; the columns from `numbers_from` on to the right. Then empties the grid. */
void grid_print(grid *g, size_t numbers_from);

#endif
