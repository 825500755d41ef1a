/* Puts the benches' JSON together, and shows it: tables in Markdown on stdout, columns for gnuplot in a folder.
 *
 *     bench_report --output=latest.json [--data=FOLDER] PART.json... */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report/plot_data.h"
#include "bench/support/output.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define COLUMNS_MAX 12
#define CELL_BYTES 64

typedef struct table_spec {
    const char *array; /* top-level key */
    const char *title;
    const char *note;
    const char *keys[COLUMNS_MAX];
} table_spec;

static const table_spec tables[] = {
    {"floor",
     "What the machine takes for the pieces of a pick",
     "Nanoseconds, of all threads together.",
     {"what", "threads", "ns", "ns_min"}},
    {"picker",
     "Picker latency",
     "Nanoseconds of all threads together (elapsed time over operations): median and minimum of all passes. "
     "`outstanding_ns` is pick + done with 64 picks of each thread under way; the percentiles are those of single "
     "pick + done pairs, each with a read of the time stamp counter in it.",
     {"policy", "backends", "threads", "updates_per_s", "pick_ns", "pick_done_ns", "pick_done_ns_min", "outstanding_ns",
      "pick_done_ns_p50", "pick_done_ns_p99", "pick_done_ns_p999", "allocations"}},
    {"instructions",
     "Instructions for pick + done",
     "Counted by callgrind: does not depend on the machine's speed.",
     {"policy", "backends", "instructions"}},
    {"update",
     "Updates",
     "From the push of a list until its picker is in force and nothing is left to do on the control thread; the "
     "transport takes no time.",
     {"policy", "backends", "changed", "what", "us", "us_min"}},
    {"memory",
     "Memory",
     "Without a transport named: of evener alone.",
     {"transport", "policy", "backends", "bytes_per_backend", "connect_us_per_backend"}},
    {"resolver",
     "Lists and files of endpoints",
     "Parsing in processor time; a change from the renaming of the new file until the update, settling time included.",
     {"what", "form", "endpoints", "ms", "ms_min"}},
    {"rpc",
     "Calls over loopback",
     "evener and the C core's own policy take turns in one run; CPU time is the client's.",
     {"client", "policy", "backends", "in_flight", "mode", "payload_bytes", "calls_per_s", "p50_us", "p99_us",
      "cpu_us_per_call", "failed"}},
    {"tail",
     "Tail latency",
     "Four servers that answer after 1 ms; calls come at a fixed rate and are timed from when they should have been "
     "sent; deadline 1 s.",
     {"scenario", "client", "policy", "rate_per_s", "calls", "p50_us", "p99_us", "p999_us", "failed"}},
    {"sim",
     "Simulation",
     "The policies' own object code in virtual time; the scenarios and what others published stand in bench/sim. "
     "`utilization_max`: of the busiest backend, work over capacity.",
     {"scenario", "window", "policy", "calls", "failed", "p50_us", "p99_us", "p999_us", "utilization_max",
      "load_max_over_mean"}},
};

static void cell_text(const json_t *row, const char *key, char text[CELL_BYTES])
{
    const json_t *value = json_object_get(row, key);
    if (json_is_string(value)) {
        snprintf(text, CELL_BYTES, "%s", json_string_value(value));
    } else if (json_is_integer(value)) {
        snprintf(text, CELL_BYTES, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        double real = json_real_value(value);
        snprintf(text, CELL_BYTES, real < 100 ? "%.1f" : "%.0f", real);
    } else {
        text[0] = '\0';
    }
}

static void print_cell(const char *text, size_t width, bool is_number)
{
    printf(is_number ? " %*s |" : " %-*s |", (int)width, text);
}

static void print_table(const table_spec *table, const json_t *rows)
{
    size_t widths[COLUMNS_MAX], index;
    bool is_number[COLUMNS_MAX];
    char text[CELL_BYTES];
    const json_t *row;
    size_t columns = 0;
    while (columns < COLUMNS_MAX && table->keys[columns] != NULL) {
        widths[columns] = strlen(table->keys[columns]);
        is_number[columns] = json_is_number(json_object_get(json_array_get(rows, 0), table->keys[columns]));
        json_array_foreach(rows, index, row)
        {
            cell_text(row, table->keys[columns], text);
            widths[columns] = strlen(text) > widths[columns] ? strlen(text) : widths[columns];
        }
        columns++;
    }
    printf("\n## %s\n\n%s\n\n|", table->title, table->note);
    for (size_t c = 0; c < columns; c++) {
        print_cell(table->keys[c], widths[c], is_number[c]);
    }
    printf("\n|");
    for (size_t c = 0; c < columns; c++) {
        printf(" %.*s%s |", (int)widths[c] - 1,
               "----------------------------------------------------------------------", is_number[c] ? ":" : "-");
    }
    printf("\n");
    json_array_foreach(rows, index, row)
    {
        printf("|");
        for (size_t c = 0; c < columns; c++) {
            cell_text(row, table->keys[c], text);
            print_cell(text, widths[c], is_number[c]);
        }
        printf("\n");
    }
}

static void print_machine(const json_t *machine)
{
    const char *key;
    json_t *value;
    printf("\n## The machine\n\n");
    json_object_foreach((json_t *)machine, key, value)
    {
        char text[256];
        if (json_is_string(value)) {
            snprintf(text, sizeof text, "%s", json_string_value(value));
        } else if (json_is_boolean(value)) {
            snprintf(text, sizeof text, "%s", json_is_true(value) ? "yes" : "no");
        } else {
            snprintf(text, sizeof text, "%g", json_number_value(value));
        }
        printf("- %s: %s\n", key, text);
    }
    if (json_number_value(json_object_get(machine, "noise_percent")) > 5) {
        printf("- The machine was not quiet: the same work took more than 5 %% longer at the median than at best. "
               "Minima are worth more than medians here.\n");
    }
}

/* Arrays of one name are joined, so that a bench may be run in pieces. */
static void merge(json_t *all, json_t *part)
{
    const char *key;
    json_t *value;
    json_object_foreach(part, key, value)
    {
        json_t *there = json_object_get(all, key);
        if (json_is_array(there) && json_is_array(value)) {
            json_array_extend(there, value);
        } else {
            json_object_set(all, key, value);
        }
    }
}

int main(int argc, char **argv)
{
    const char *output = NULL, *data = NULL, *value;
    json_t *all = json_pack("{s:{}, s:[], s:[], s:[], s:[], s:[], s:[]}", "machine", "picker", "update", "memory",
                            "rpc", "tail", "sim");
    for (int i = 1; i < argc; i++) {
        if ((value = bench_option(argv[i], "--output")) != NULL) {
            output = value;
        } else if ((value = bench_option(argv[i], "--data")) != NULL) {
            data = value;
        } else {
            json_error_t error;
            json_t *part = json_load_file(argv[i], 0, &error);
            if (!json_is_object(part)) {
                bench_complain("%s:%d: %s", argv[i], error.line, error.text);
            } else {
                merge(all, part);
            }
            json_decref(part);
        }
    }
    print_machine(json_object_get(all, "machine"));
    for (size_t i = 0; i < COUNT(tables); i++) {
        const json_t *rows = json_object_get(all, tables[i].array);
        if (json_array_size(rows) > 0) {
            print_table(&tables[i], rows);
        }
    }
    fflush(stdout);
    if (data != NULL && !bench_write_plot_data(all, data)) {
        bench_complain("%s cannot be written to", data);
    }
    return bench_finish(all, output);
}
