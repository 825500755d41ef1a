/* Merges the benches' JSON, checks its shape, and writes Markdown to stdout and data for gnuplot to a folder.
 *
 *     bench_report --output=latest.json [--data=FOLDER] [--published=FILE] [--plots=FOLDER] [--summary]
 *                  [--measured | --simulated] PART.json...
 *
 * With --summary only the ten lines at the head of docs/performance.md are printed; with --measured only the sections of
 * the benches, with --simulated only that of the simulator.
 * --plots is the folder for links to pictures; without it there are none. Fails if the shape is wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report/plot_data.h"
#include "bench/report/sections.h"
#include "bench/report/shape.h"
#include "bench/report/summary.h"
#include "bench/support/output.h"

static json_t *load(const char *path)
{
    json_error_t error;
    json_t *part = json_load_file(path, 0, &error);
    if (!json_is_object(part)) {
        bench_complain("%s:%d: %s", path, error.line, error.text);
        json_decref(part);
        return NULL;
    }
    return part;
}

/* Merge `part` into `all`. Arrays and objects of the same name are joined, so that a bench can run in pieces. */
static void merge(json_t *all, const json_t *part)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)part, key, value)
    {
        json_t *there = json_object_get(all, key);
        if (json_is_array(there) && json_is_array(value)) {
            json_array_extend(there, value);
        } else if (json_is_object(there) && json_is_object(value)) {
            json_object_update(there, value);
        } else {
            json_object_set(all, key, value);
        }
    }
}

int main(int argc, char **argv)
{
    const char *output = NULL, *data = NULL, *plots = NULL, *value;
    bool only_summary = false, measured = true, simulated = true;
    json_t *published = NULL, *part;
    json_t *all = json_pack("{s:{}, s:[], s:[], s:[], s:[], s:[], s:[]}", "machine", "picker", "update", "memory",
                            "rpc", "tail", "sim");
    for (int i = 1; i < argc; i++) {
        if ((value = bench_option(argv[i], "--output")) != NULL) {
            output = value;
        } else if ((value = bench_option(argv[i], "--data")) != NULL) {
            data = value;
        } else if ((value = bench_option(argv[i], "--plots")) != NULL) {
            plots = value;
        } else if ((value = bench_option(argv[i], "--published")) != NULL) {
            json_decref(published);
            published = load(value);
        } else if (strcmp(argv[i], "--summary") == 0) {
            only_summary = true;
        } else if (strcmp(argv[i], "--measured") == 0) {
            simulated = false;
        } else if (strcmp(argv[i], "--simulated") == 0) {
            measured = false;
        } else if ((part = load(argv[i])) != NULL) {
            merge(all, part);
            json_decref(part);
        }
    }
    shape_check(all, measured, simulated);
    if (only_summary) {
        summary_print(all);
    } else {
        if (measured) {
            sections_print_measured(all, published, plots);
        }
        if (simulated) {
            sections_print_simulated(all, published, plots);
        }
    }
    fflush(stdout);
    if (data != NULL && !bench_write_plot_data(all, data)) {
        bench_complain("cannot write to %s", data);
    }
    json_decref(published);
    return bench_finish(all, output);
}
