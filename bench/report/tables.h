/* Tables made from the rows of the results. */
#ifndef BENCH_REPORT_TABLES_H
#define BENCH_REPORT_TABLES_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#define TABLE_KEYS_MAX 12
#define TABLE_ONLY_MAX 4

/* A filter: rows whose integer or text at `key` equals `value`. */
typedef struct table_only {
    const char *key;
    const char *value;
} table_only;

/* Print one line per row and one column per key ("a.b" reaches into an object), with ranges as in a pivot table. */
void table_print_rows(const json_t *rows, const char *const keys[TABLE_KEYS_MAX],
                      const table_only only[TABLE_ONLY_MAX]);

/* A pivot table: one line per combination of `lines`, one column per value of `columns`, both in order of
 * appearance. A cell holds `value`, and in brackets `value`_least-`value`_greatest or else `value`_min if the row has
 * them. */
typedef struct pivot_spec {
    const char *lines[3];
    const char *columns[2];
    const char *value;
    table_only only[TABLE_ONLY_MAX];
    bool several_columns; /* omit lines that have a single value */
} pivot_spec;

void table_print_pivot(const json_t *rows, const pivot_spec *spec);

/* Return the row's value as text, with as many digits as are significant; "" if there is no value. */
#define TABLE_TEXT_BYTES 64
void table_text(const json_t *row, const char *key, char text[TABLE_TEXT_BYTES]);

/* Return the first matching row, or NULL. */
const json_t *table_find(const json_t *rows, const table_only *only, size_t count);

#endif
