/* Tables out of the rows of the results. */
#ifndef BENCH_REPORT_TABLES_H
#define BENCH_REPORT_TABLES_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#define TABLE_KEYS_MAX 12
#define TABLE_ONLY_MAX 4

/* Which rows: those whose integer or text at `key` is this. */
typedef struct table_only {
    const char *key;
    const char *value;
} table_only;

/* One line for each row; a column for each key ("a.b" reaches into an object). */
void table_print_rows(const json_t *rows, const char *const keys[TABLE_KEYS_MAX],
                      const table_only only[TABLE_ONLY_MAX]);

/* A line for each combination of `lines`, a column for each of `columns`, in the order of their coming; in a cell the
 * value, and behind it in brackets that of `value`_min where there is one. */
typedef struct pivot_spec {
    const char *lines[3];
    const char *columns[2];
    const char *value;
    table_only only[TABLE_ONLY_MAX];
    bool several_columns; /* leaves out lines with one value */
} pivot_spec;

void table_print_pivot(const json_t *rows, const pivot_spec *spec);

/* The row's value as text; "" if there is none. Figures with as many digits as they are good for. */
#define TABLE_TEXT_BYTES 64
void table_text(const json_t *row, const char *key, char text[TABLE_TEXT_BYTES]);

/* The first row that fits, or NULL. */
const json_t *table_find(const json_t *rows, const table_only *only, size_t count);

#endif
