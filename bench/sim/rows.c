#include "bench/sim/rows.h"

#include <stdbool.h>
#include <string.h>

static const char *scenario_of(const json_t *row)
{
    const char *name = json_string_value(json_object_get(row, "scenario"));
    return name != NULL ? name : "";
}

static bool has_scenario(const json_t *rows, const char *scenario)
{
    size_t index;
    const json_t *row;
    json_array_foreach(rows, index, row)
    {
        if (strcmp(scenario_of(row), scenario) == 0) {
            return true;
        }
    }
    return false;
}

/* Append the rows of a scenario, if `into` has none of it yet. */
static void append_scenario(json_t *into, const json_t *rows, const char *scenario)
{
    size_t index;
    json_t *row;
    if (has_scenario(into, scenario)) {
        return;
    }
    json_array_foreach(rows, index, row)
    {
        if (strcmp(scenario_of(row), scenario) == 0) {
            json_array_append(into, row);
        }
    }
}

json_t *sim_rows_with_earlier(const json_t *results, const json_t *earlier)
{
    json_t *all = json_object();
    const char *key;
    json_t *rows;
    json_object_foreach((json_t *)results, key, rows)
    {
        json_t *into = json_array();
        const json_t *before = json_object_get(earlier, key);
        size_t index;
        const json_t *row;
        json_array_foreach(before, index, row)
        {
            const char *scenario = scenario_of(row);
            append_scenario(into, has_scenario(rows, scenario) ? rows : before, scenario);
        }
        json_array_foreach(rows, index, row)
        {
            append_scenario(into, rows, scenario_of(row));
        }
        json_object_set_new(all, key, into);
    }
    return all;
}
