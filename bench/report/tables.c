#include "bench/report/tables.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/report/grid.h"

#define LABEL_BYTES 96

static const json_t *value_at(const json_t *row, const char *key)
{
    const char *dot = strchr(key, '.');
    char first[TABLE_TEXT_BYTES];
    if (dot == NULL) {
        return json_object_get(row, key);
    }
    snprintf(first, sizeof first, "%.*s", (int)(dot - key), key);
    return json_object_get(json_object_get(row, first), dot + 1);
}

static void real_text(double value, char text[TABLE_TEXT_BYTES])
{
    const double size = fabs(value);
    snprintf(text, TABLE_TEXT_BYTES, "%.*f", size < 10 ? 2 : size < 100 ? 1 : 0, value);
}

void table_text(const json_t *row, const char *key, char text[TABLE_TEXT_BYTES])
{
    const json_t *value = value_at(row, key);
    text[0] = '\0';
    if (json_is_string(value)) {
        snprintf(text, TABLE_TEXT_BYTES, "%s", json_string_value(value));
    } else if (json_is_integer(value)) {
        snprintf(text, TABLE_TEXT_BYTES, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value) && strstr(key, "percent") != NULL) {
        snprintf(text, TABLE_TEXT_BYTES, "%.2f", json_real_value(value));
        if (strcmp(text, "100.00") == 0 && json_real_value(value) < 100) { /* nearly all is not all */
            snprintf(text, TABLE_TEXT_BYTES, "%.4f", json_real_value(value));
        }
    } else if (json_is_real(value)) {
        real_text(json_real_value(value), text);
    }
}

/* Return the cell for a value, with the range over the seeds in brackets if it is not just the value; without a range and
 * with `with_best`, with the best pass in brackets. */
static void cell_text(const json_t *row, const char *key, bool with_best, char cell[GRID_CELL_BYTES])
{
    char value[TABLE_TEXT_BYTES] = "", other[TABLE_TEXT_BYTES], more[3][TABLE_TEXT_BYTES] = {""};
    static const char *const suffixes[] = {"least", "greatest", "min"};
    table_text(row, key, value);
    for (size_t i = 0; i < 3; i++) {
        snprintf(other, sizeof other, "%s_%s", key, suffixes[i]);
        table_text(row, other, more[i]);
    }
    if (more[1][0] != '\0' && (strcmp(value, more[0]) != 0 || strcmp(value, more[1]) != 0)) {
        snprintf(cell, GRID_CELL_BYTES, "%.30s (%.30s-%.30s)", value, more[0], more[1]);
    } else if (with_best && more[2][0] != '\0') {
        snprintf(cell, GRID_CELL_BYTES, "%s (%.30s)", value, more[2]);
    } else {
        snprintf(cell, GRID_CELL_BYTES, "%s", value);
    }
}

static bool is_wanted(const json_t *row, const table_only *only, size_t count)
{
    char text[TABLE_TEXT_BYTES];
    for (size_t i = 0; i < count && only[i].key != NULL; i++) {
        table_text(row, only[i].key, text);
        if (strcmp(text, only[i].value) != 0) {
            return false;
        }
    }
    return true;
}

const json_t *table_find(const json_t *rows, const table_only *only, size_t count)
{
    size_t index;
    const json_t *row;
    json_array_foreach(rows, index, row)
    {
        if (is_wanted(row, only, count)) {
            return row;
        }
    }
    return NULL;
}

void table_print_rows(const json_t *rows, const char *const keys[TABLE_KEYS_MAX], const table_only only[TABLE_ONLY_MAX])
{
    grid g = {.columns = 0};
    size_t index, texts = 0;
    const json_t *row;
    while (g.columns < TABLE_KEYS_MAX && keys[g.columns] != NULL) {
        const char *dot = strchr(keys[g.columns], '.');
        texts += json_is_string(value_at(json_array_get(rows, 0), keys[g.columns])) && texts == g.columns;
        grid_put(&g, "%s", dot != NULL ? dot + 1 : keys[g.columns]);
        g.columns++;
    }
    json_array_foreach(rows, index, row)
    {
        char cell[GRID_CELL_BYTES];
        for (size_t c = 0; c < g.columns && is_wanted(row, only, TABLE_ONLY_MAX); c++) {
            cell_text(row, keys[c], false, cell);
            grid_put(&g, "%s", cell);
        }
    }
    grid_print(&g, texts);
}

/* ---- pivots ---- */

static void label_of(const json_t *row, const char *const *keys, size_t count, char label[LABEL_BYTES])
{
    size_t length = 0;
    label[0] = '\0';
    for (size_t i = 0; i < count && keys[i] != NULL && length < LABEL_BYTES; i++) {
        char text[TABLE_TEXT_BYTES];
        table_text(row, keys[i], text);
        length += (size_t)snprintf(label + length, LABEL_BYTES - length, "%s%s", i > 0 ? " " : "", text);
    }
}

typedef struct labels {
    size_t count;
    char texts[128][LABEL_BYTES];
} labels;

static void add_label(labels *all, size_t max, const char *label)
{
    for (size_t i = 0; i < all->count; i++) {
        if (strcmp(all->texts[i], label) == 0) {
            return;
        }
    }
    if (all->count < max) {
        snprintf(all->texts[all->count++], LABEL_BYTES, "%s", label);
    }
}

static const json_t *row_at(const json_t *rows, const pivot_spec *spec, const char *line, const char *column)
{
    size_t index;
    const json_t *row;
    char label[LABEL_BYTES];
    json_array_foreach(rows, index, row)
    {
        label_of(row, spec->lines, 3, label);
        if (strcmp(label, line) != 0 || !is_wanted(row, spec->only, TABLE_ONLY_MAX)) {
            continue;
        }
        label_of(row, spec->columns, 2, label);
        if (strcmp(label, column) == 0 && value_at(row, spec->value) != NULL) {
            return row;
        }
    }
    return NULL;
}

static void put_value(grid *g, const json_t *row, const char *key)
{
    char cell[GRID_CELL_BYTES] = "";
    if (row != NULL) {
        cell_text(row, key, true, cell);
    }
    grid_put(g, "%s", cell);
}

static size_t values_in(const json_t *rows, const pivot_spec *spec, const char *line, const labels *columns)
{
    size_t values = 0;
    for (size_t c = 0; c < columns->count; c++) {
        values += row_at(rows, spec, line, columns->texts[c]) != NULL;
    }
    return values;
}

void table_print_pivot(const json_t *rows, const pivot_spec *spec)
{
    static labels lines, columns;
    size_t index;
    const json_t *row;
    char label[LABEL_BYTES];
    lines.count = columns.count = 0;
    json_array_foreach(rows, index, row)
    {
        if (is_wanted(row, spec->only, TABLE_ONLY_MAX) && value_at(row, spec->value) != NULL) {
            label_of(row, spec->lines, 3, label);
            add_label(&lines, 128, label);
            label_of(row, spec->columns, 2, label);
            add_label(&columns, GRID_COLUMNS_MAX - 1, label);
        }
    }
    grid g = {.columns = columns.count + 1};
    grid_put(&g, "%s%s%s%s%s", spec->lines[0], spec->lines[1] != NULL ? ", " : "",
             spec->lines[1] != NULL ? spec->lines[1] : "", spec->lines[2] != NULL ? ", " : "",
             spec->lines[2] != NULL ? spec->lines[2] : "");
    for (size_t c = 0; c < columns.count; c++) {
        grid_put(&g, "%s", columns.texts[c]);
    }
    for (size_t l = 0; l < lines.count; l++) {
        if (spec->several_columns && values_in(rows, spec, lines.texts[l], &columns) < 2) {
            continue;
        }
        grid_put(&g, "%s", lines.texts[l]);
        for (size_t c = 0; c < columns.count; c++) {
            put_value(&g, row_at(rows, spec, lines.texts[l], columns.texts[c]), spec->value);
        }
    }
    grid_print(&g, 1);
}
