#include "bench/report/compare.h"

#include <stdio.h>
#include <string.h>

#include "bench/report/grid.h"
#include "bench/report/tables.h"

static double number(const json_t *row, const char *key)
{
    return json_number_value(json_object_get(row, key));
}

/* Return the core's row of the same case, with the policy that `ours` was compared with; NULL if there is none. */
static const json_t *core_row(const json_t *rpc, const json_t *ours)
{
    static const char *const keys[] = {"mode", "in_flight", "payload_bytes", "tls"};
    const char *policy = json_string_value(json_object_get(ours, "core_policy"));
    size_t index;
    const json_t *row;
    json_array_foreach(rpc, index, row)
    {
        bool is_same = policy != NULL && strcmp(json_string_value(json_object_get(row, "client")), "core") == 0 &&
                       strcmp(json_string_value(json_object_get(row, "policy")), policy) == 0;
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            is_same = is_same && json_equal(json_object_get(row, keys[i]), json_object_get(ours, keys[i]));
        }
        if (is_same) {
            return row;
        }
    }
    return NULL;
}

static void put_pair(grid *g, const json_t *ours, const json_t *core, const char *key, int digits)
{
    grid_put(g, "%.*f", digits, number(ours, key));
    if (core != NULL) {
        grid_put(g, "%.*f", digits, number(core, key));
    } else {
        grid_put(g, "%s", "");
    }
}

/* Put the median ratio of the pairs of passes, and in brackets the middle half. */
static void put_ratio(grid *g, const json_t *ours, const char *key)
{
    char quarter[64], three_quarters[64];
    if (json_object_get(ours, key) == NULL) {
        grid_put(g, "%s", "");
        return;
    }
    snprintf(quarter, sizeof quarter, "%s_quarter", key);
    snprintf(three_quarters, sizeof three_quarters, "%s_three_quarters", key);
    grid_put(g, "%.2f (%.2f-%.2f)", number(ours, key), number(ours, quarter), number(ours, three_quarters));
}

static grid grid_with_head(const char *const *head, size_t columns)
{
    grid g = {.columns = columns};
    for (size_t i = 0; i < columns; i++) {
        grid_put(&g, "%s", head[i]);
    }
    return g;
}

void compare_print_rpc(const json_t *rpc)
{
    static const char *const head[] = {
        "client",     "policy",    "calls",       "in flight", "bytes",        "CPU us per call",
        "core",       "over core", "calls/s",     "core",      "over core",    "p50 us",
        "core",       "over core", "p99 us",      "core",      "system calls", "core",
        "hand-overs", "core",      "allocations", "core"};
    grid g = grid_with_head(head, sizeof head / sizeof *head);
    size_t index;
    const json_t *row;
    json_array_foreach(rpc, index, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "client")), "core") == 0) {
            continue;
        }
        const json_t *core = core_row(rpc, row);
        grid_put(&g, "%s", json_string_value(json_object_get(row, "client")));
        grid_put(&g, "%s", json_string_value(json_object_get(row, "policy")));
        grid_put(&g, "%s%s", json_string_value(json_object_get(row, "mode")),
                 json_is_true(json_object_get(row, "tls")) ? ", TLS" : "");
        grid_put(&g, "%.0f", number(row, "in_flight"));
        grid_put(&g, "%.0f", number(row, "payload_bytes"));
        put_pair(&g, row, core, "cpu_us_per_call", 1);
        put_ratio(&g, row, "cpu_ratio");
        put_pair(&g, row, core, "calls_per_s", 0);
        put_ratio(&g, row, "calls_ratio");
        put_pair(&g, row, core, "p50_us", 0);
        put_ratio(&g, row, "p50_ratio");
        put_pair(&g, row, core, "p99_us", 0);
        put_pair(&g, row, core, "system_calls_per_call", 2);
        put_pair(&g, row, core, "hand_overs_per_call", 2);
        put_pair(&g, row, core, "allocations_per_call", 2);
    }
    grid_print(&g, 3);
}

static void put_ours(grid *g, const json_t *picker, const char *policy, const char *backends, const char *threads,
                     const char *key)
{
    const table_only only[] = {
        {"policy", policy}, {"backends", backends}, {"threads", threads}, {"updates_per_s", "0"}};
    const json_t *row = table_find(picker, only, 4);
    char least_key[TABLE_TEXT_BYTES], least[TABLE_TEXT_BYTES], median[TABLE_TEXT_BYTES];
    snprintf(least_key, sizeof least_key, "%s_min", key);
    if (row == NULL) {
        grid_put(g, "%s", "");
        return;
    }
    table_text(row, least_key, least);
    table_text(row, key, median);
    grid_put(g, "%s/%s", least, median);
}

void compare_print_peers(const json_t *peers, const json_t *picker)
{
    static const char *const keys[] = {"system", "pick, 10", "pick + done, 10", "pick + done, 10,000",
                                       "pick + done, 100, 2 threads"};
    static const char *const ours[] = {"p2c_ewma", "least_request", "weighted_round_robin", "round_robin"};
    grid g = grid_with_head(keys, sizeof keys / sizeof *keys);
    size_t index;
    const json_t *row;
    json_array_foreach(peers, index, row)
    {
        for (size_t i = 0; i < g.columns; i++) {
            const char *text = json_string_value(json_object_get(row, keys[i]));
            grid_put(&g, "%s", text != NULL ? text : "");
        }
    }
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        grid_put(&g, "**evener `%s`**", ours[i]);
        put_ours(&g, picker, ours[i], "10", "1", "pick_ns");
        put_ours(&g, picker, ours[i], "10", "1", "pick_done_ns");
        put_ours(&g, picker, ours[i], "10000", "1", "pick_done_ns");
        put_ours(&g, picker, ours[i], "100", "2", "pick_done_ns");
    }
    grid_print(&g, 1);
}
