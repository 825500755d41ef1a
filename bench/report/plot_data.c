#include "bench/report/plot_data.h"

#include <stdio.h>
#include <string.h>

/* A plot: the rows of one array, one line per combination of `lines`, over `x`. */
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
    /* Of the calls only the asynchronous ones are drawn. */
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

/* ---- other plots ---- */

static const char *text(const json_t *row, const char *key)
{
    const char *value = json_string_value(json_object_get(row, key));
    return value != NULL ? value : "";
}

static double number(const json_t *row, const char *key)
{
    return json_number_value(json_object_get(row, key));
}

/* Write the percentiles of single picks; x is -log10(1 - percentile). */
static void write_latency(FILE *file, const json_t *all)
{
    static const struct {
        const char *key;
        double nines;
    } places[] = {{"p50", 0.301}, {"p75", 0.602}, {"p90", 1}, {"p99", 2}, {"p999", 3}, {"p9999", 4}, {"p99999", 5}};
    size_t index, blocks = 0;
    const json_t *row;
    json_array_foreach(json_object_get(all, "picker"), index, row)
    {
        const json_t *distribution = json_object_get(row, "distribution_ns");
        if (number(row, "threads") == 1 && number(row, "backends") == 10 && number(row, "updates_per_s") == 0) {
            fprintf(file, "%s\"%s\"\n", blocks++ > 0 ? "\n\n" : "", text(row, "policy"));
            for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
                fprintf(file, "%g %g\n", places[i].nines, number(distribution, places[i].key));
            }
        }
    }
}

/* Write the range of a figure over the seeds. */
static void write_range(FILE *file, const json_t *row, const char *key)
{
    static const char *const suffixes[] = {"least", "greatest"};
    for (size_t i = 0; i < 2; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s_%s", key, suffixes[i]);
        fprintf(file, " %g", number(row, json_object_get(row, name) != NULL ? name : key));
    }
}

/* Write percentiles over load, and their ranges; the load is part of the window's name. */
static void write_ramp(FILE *file, const json_t *all)
{
    size_t index, blocks = 0;
    const json_t *row;
    const char *last = "";
    json_array_foreach(json_object_get(all, "sim"), index, row)
    {
        double load;
        if (strcmp(text(row, "scenario"), "prequal_ramp") != 0 || sscanf(text(row, "window"), "load %lf", &load) != 1) {
            continue;
        }
        if (strcmp(last, text(row, "policy")) != 0) {
            last = text(row, "policy");
            fprintf(file, "%s\"%s\"\n", blocks++ > 0 ? "\n\n" : "", last);
        }
        fprintf(file, "%g %g %g %g", load, number(row, "p50_us"), number(row, "p99_us"), number(row, "p999_us"));
        write_range(file, row, "p50_us");
        write_range(file, row, "p99_us");
        write_range(file, row, "p999_us");
        fputc('\n', file);
    }
}

/* Write a scenario over time: the 99th percentile, the share of calls of a group of servers, and their ranges. */
static void write_series(FILE *file, const json_t *all, const char *scenario, const char *group)
{
    size_t index, i, blocks = 0;
    const json_t *one, *slice;
    json_array_foreach(json_object_get(all, "sim_series"), index, one)
    {
        if (strcmp(text(one, "scenario"), scenario) != 0) {
            continue;
        }
        fprintf(file, "%s\"%s\"\n", blocks++ > 0 ? "\n\n" : "", text(one, "policy"));
        json_array_foreach(json_object_get(one, "slices"), i, slice)
        {
            const json_t *shares = json_object_get(slice, "shares");
            fprintf(file, "%g %g %g", number(slice, "from_s"), number(slice, "p99_us"), number(shares, group));
            write_range(file, slice, "p99_us");
            write_range(file, shares, group);
            fputc('\n', file);
        }
    }
}

static void write_slow(FILE *file, const json_t *all)
{
    write_series(file, all, "slow_of_four", "first");
}

static void write_joining(FILE *file, const json_t *all)
{
    write_series(file, all, "joining", "joining");
}

static const struct {
    const char *file;
    void (*write)(FILE *file, const json_t *all);
} others[] = {
    {"latency.dat", write_latency}, {"ramp.dat", write_ramp}, {"slow.dat", write_slow}, {"joining.dat", write_joining}};

static FILE *open_in(const char *folder, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return fopen(path, "w");
}

bool bench_write_plot_data(const json_t *all, const char *folder)
{
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        FILE *file = open_in(folder, others[i].file);
        if (file == NULL) {
            return false;
        }
        others[i].write(file, all);
        if (fclose(file) != 0) {
            return false;
        }
    }
    for (size_t i = 0; i < sizeof plots / sizeof *plots; i++) {
        FILE *file = open_in(folder, plots[i].file);
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
