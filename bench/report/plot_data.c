#include "bench/report/plot_data.h"

#include <stdio.h>
#include <string.h>

/* A plot: rows of one array, a line for each combination of `lines`, over `x`. */
typedef struct plot_spec {
    const char *file;
    const char *array;
    const char *lines[2];
    const char *x;
    const char *y, *y_low;
    struct {
        const char *key;
        long value;
    } only[3];
} plot_spec;

static const plot_spec plots[] = {
    {"picker.dat",
     "picker",
     {"policy"},
     "backends",
     "pick_done_ns",
     "pick_done_ns_min",
     {{"threads", 1}, {"updates_per_s", 0}}},
    {"threads.dat",
     "picker",
     {"policy"},
     "threads",
     "pick_done_ns",
     "pick_done_ns_min",
     {{"backends", 10}, {"updates_per_s", 0}}},
    {"rpc.dat", "rpc", {"client", "policy"}, "in_flight", "calls_per_s", "calls_per_s_min", {{"payload_bytes", 10}}},
    {"tail.dat", "tail", {"client", "policy"}, "scenario", "p99_us", "p99_us_min", {{NULL, 0}}},
};

static bool is_wanted(const plot_spec *plot, const json_t *row)
{
    for (size_t i = 0; i < 3 && plot->only[i].key != NULL; i++) {
        if (json_integer_value(json_object_get(row, plot->only[i].key)) != plot->only[i].value) {
            return false;
        }
    }
    /* One line of calls: those that do not block. */
    const char *mode = json_string_value(json_object_get(row, "mode"));
    return mode == NULL || strcmp(mode, "asynchronous") == 0;
}

static void line_name(const plot_spec *plot, const json_t *row, char *name, size_t name_bytes)
{
    const char *first = json_string_value(json_object_get(row, plot->lines[0]));
    const char *second = plot->lines[1] != NULL ? json_string_value(json_object_get(row, plot->lines[1])) : NULL;
    snprintf(name, name_bytes, "%s%s%s", first != NULL ? first : "", second != NULL ? " " : "",
             second != NULL ? second : "");
}

static void write_point(FILE *file, const plot_spec *plot, const json_t *row)
{
    const json_t *x = json_object_get(row, plot->x);
    if (json_is_string(x)) {
        fprintf(file, "\"%s\"", json_string_value(x));
    } else {
        fprintf(file, "%g", json_number_value(x));
    }
    fprintf(file, " %g %g\n", json_number_value(json_object_get(row, plot->y)),
            json_number_value(json_object_get(row, plot->y_low)));
}

static void write_plot(FILE *file, const plot_spec *plot, const json_t *rows)
{
    size_t i, j, lines = 0;
    const json_t *row, *other;
    char name[64], other_name[64];
    json_array_foreach(rows, i, row)
    {
        if (!is_wanted(plot, row)) {
            continue;
        }
        line_name(plot, row, name, sizeof name);
        bool seen = false;
        json_array_foreach(rows, j, other)
        {
            line_name(plot, other, other_name, sizeof other_name);
            seen = seen || (j < i && is_wanted(plot, other) && strcmp(name, other_name) == 0);
        }
        if (seen) {
            continue;
        }
        fprintf(file, "%s\"%s\"\n", lines++ > 0 ? "\n\n" : "", name);
        json_array_foreach(rows, j, other)
        {
            line_name(plot, other, other_name, sizeof other_name);
            if (is_wanted(plot, other) && strcmp(name, other_name) == 0) {
                write_point(file, plot, other);
            }
        }
    }
}

bool bench_write_plot_data(const json_t *all, const char *folder)
{
    for (size_t i = 0; i < sizeof plots / sizeof *plots; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", folder, plots[i].file);
        FILE *file = fopen(path, "w");
        if (file == NULL) {
            return false;
        }
        write_plot(file, &plots[i], json_object_get(all, plots[i].array));
        if (fclose(file) != 0) {
            return false;
        }
    }
    return true;
}
