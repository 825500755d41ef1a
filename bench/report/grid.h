/* A table of texts, printed as Markdown with aligned columns. */
#ifndef BENCH_REPORT_GRID_H
#define BENCH_REPORT_GRID_H

#include <stdbool.h>
#include <stddef.h>

#define GRID_COLUMNS_MAX 24
#define GRID_CELL_BYTES 96

typedef struct grid {
    size_t columns, count, capacity; /* count: number of cells, row by row; the first row is the head */
    char (*cells)[GRID_CELL_BYTES];
} grid;

/* Append a cell. Aborts on out of memory. */
void grid_put(grid *g, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Print the complete rows, columns from `numbers_from` on right-aligned, then empty the grid. */
void grid_print(grid *g, size_t numbers_from);

#endif
