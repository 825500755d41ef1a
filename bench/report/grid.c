#include "bench/report/grid.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void grid_put(grid *g, const char *format, ...)
{
    if (g->count == g->capacity) {
        g->capacity = g->capacity == 0 ? 256 : g->capacity * 2;
        g->cells = realloc(g->cells, g->capacity * sizeof *g->cells);
        if (g->cells == NULL) {
            abort();
        }
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(g->cells[g->count++], GRID_CELL_BYTES, format, arguments);
    va_end(arguments);
}

static void print_rule(const size_t *widths, size_t columns, size_t numbers_from)
{
    printf("|");
    for (size_t c = 0; c < columns; c++) {
        printf(" ");
        for (size_t i = 1; i < widths[c]; i++) {
            printf("-");
        }
        printf("%s |", c >= numbers_from ? ":" : "-");
    }
    printf("\n");
}

void grid_print(grid *g, size_t numbers_from)
{
    size_t widths[GRID_COLUMNS_MAX] = {0};
    const size_t rows = g->columns > 0 ? g->count / g->columns : 0;
    for (size_t i = 0; i < rows * g->columns; i++) {
        size_t *width = &widths[i % g->columns];
        const size_t length = strlen(g->cells[i]);
        *width = length > *width ? length : *width;
    }
    printf("\n");
    for (size_t r = 0; r < rows; r++) {
        printf("|");
        for (size_t c = 0; c < g->columns; c++) {
            printf(c >= numbers_from ? " %*s |" : " %-*s |", (int)widths[c], g->cells[r * g->columns + c]);
        }
        printf("\n");
        if (r == 0) {
            print_rule(widths, g->columns, numbers_from);
        }
    }
    free(g->cells);
    memset(g, 0, sizeof *g);
}
