#include "bench/report/shape.h"

#include <string.h>

#include "bench/support/output.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

typedef struct array_shape {
    const char *array;
    const char *texts[4];
    const char *numbers[8];
    const char *zero; /* a count that has to be 0 */
} array_shape;

static const array_shape shapes[] = {
    {"picker",
     {"policy"},
     {"backends", "threads", "pick_ns", "pick_ns_min", "pick_done_ns", "pick_done_ns_min", "pick_done_ns_p99"},
     "allocations"},
    {"picker_speedup",
     {"policy"},
     {"backends", "threads", "speedup", "speedup_quarter", "speedup_three_quarters", "passes", "passes_left_out"},
     NULL},
    {"floor", {"what"}, {"threads", "ns", "ns_min"}, NULL},
    {"update", {"policy", "what"}, {"backends", "changed", "us", "us_min"}, NULL},
    {"connected_picks", {"policy", "transport"}, {"one_thread_ns", "two_threads_ns", "speedup", "over_bare"}, NULL},
    {"scale", {"what", "client"}, {"size", "wall_us", "cpu_us", "close_us", "kib", "connections"}, NULL},
    {"memory", {"policy"}, {"backends", "bytes_per_backend"}, NULL},
    {"resolver", {"what"}, {"endpoints", "ms", "ms_min"}, NULL},
    {"rpc",
     {"client", "policy", "mode"},
     {"backends", "in_flight", "calls_per_s", "p50_us", "p50_us_min", "p99_us", "cpu_us_per_call"},
     "failed"},
    {"rpc_transports",
     {"client", "policy", "mode"},
     {"in_flight", "calls_per_s", "p50_us", "cpu_us_per_call", "system_calls_per_call", "hand_overs_per_call"},
     "failed"},
    {"tail", {"scenario", "client", "policy"}, {"p50_us", "p50_us_min", "p99_us", "p999_us", "failed"}, NULL},
    {"sim",
     {"scenario", "policy", "window"},
     {"seeds", "calls", "p50_us", "p99_us", "p99_us_least", "p99_us_greatest", "p999_us", "ok_percent"},
     NULL},
};

static void check_row(const array_shape *shape, size_t index, const json_t *row)
{
    for (size_t i = 0; i < COUNT(shape->texts) && shape->texts[i] != NULL; i++) {
        if (!json_is_string(json_object_get(row, shape->texts[i]))) {
            bench_complain("%s[%zu]: no text \"%s\"", shape->array, index, shape->texts[i]);
        }
    }
    for (size_t i = 0; i < COUNT(shape->numbers) && shape->numbers[i] != NULL; i++) {
        const json_t *value = json_object_get(row, shape->numbers[i]);
        if (!json_is_number(value) || !(json_number_value(value) >= 0)) {
            bench_complain("%s[%zu]: no number \"%s\"", shape->array, index, shape->numbers[i]);
        }
    }
    if (shape->zero != NULL && json_integer_value(json_object_get(row, shape->zero)) != 0) {
        bench_complain("%s[%zu]: \"%s\" is not 0", shape->array, index, shape->zero);
    }
}

void shape_check(const json_t *results, bool measured, bool simulated)
{
    if (measured && json_object_size(json_object_get(results, "machine")) == 0) {
        bench_complain("machine: no description");
    }
    for (size_t i = 0; i < COUNT(shapes); i++) {
        if (strcmp(shapes[i].array, "sim") == 0 ? !simulated : !measured) {
            continue;
        }
        const json_t *rows = json_object_get(results, shapes[i].array), *row;
        size_t index;
        if (json_array_size(rows) == 0) {
            bench_complain("%s: no results", shapes[i].array);
        }
        json_array_foreach(rows, index, row)
        {
            check_row(&shapes[i], index, row);
        }
    }
}
