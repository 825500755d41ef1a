/* The table of method states by itself. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lb/channel/method_state.h"

static evener_method_state *find(evener_method_table *table, unsigned number)
{
    char path[32];
    (void)snprintf(path, sizeof path, "/pkg.Service/M%08u", number);
    return evener_method_table_find(table, path);
}

Test(method_state, a_name_keeps_its_state_over_configs)
{
    evener_method_table table = {0};
    evener_method_table_begin(&table);
    evener_method_state *a = evener_method_table_find(&table, "/a/");
    evener_method_state *b = evener_method_table_find(&table, "/b/");
    EVENER_METHOD_ADD(a, calls, 3);
    cr_expect_neq(a, b);
    evener_method_table_begin(&table);
    evener_method_state *of_default = evener_method_table_find(&table, "");
    cr_expect(of_default != a && of_default != b, "the default has a state of its own");
    cr_expect_eq(evener_method_table_find(&table, "/a/"), a);
    cr_expect_eq(evener_method_table_find(&table, "/b/"), b);
    cr_expect_eq(a->calls, 3);
    cr_expect_str_eq(b->path, "/b/");
    evener_method_table_clear(&table);
}

/* A resolver whose configs bring ever new names. */
Test(method_state, new_names_do_not_make_the_table_grow_without_end)
{
    evener_method_table table = {0};
    evener_method_state *kept = NULL;
    for (unsigned config = 0; config < 30; config++) {
        evener_method_table_begin(&table);
        evener_method_state *default_state = evener_method_table_find(&table, "");
        kept = kept == NULL ? default_state : kept;
        EVENER_METHOD_COUNT(default_state, calls);
        for (unsigned i = 0; i < 1000; i++) {
            evener_method_state *state = find(&table, config * 1000 + i);
            cr_assert_not_null(state);
            cr_assert_eq(state->calls, 0, "a new name begins anew");
            EVENER_METHOD_ADD(state, calls, 7);
        }
    }
    cr_expect_eq(table.count, EVENER_METHOD_STATES_MAX);
    cr_expect_eq(kept->calls, 30, "a name of all configs keeps its state");
    cr_expect_str_eq(kept->path, "");
    evener_method_table_begin(&table);
    for (unsigned i = 1; i < table.count; i++) {
        cr_assert_lt(strcmp(table.states[i - 1]->path, table.states[i]->path), 0, "each name once");
    }
    cr_expect_eq(find(&table, 29999)->calls, 7);
    evener_method_table_clear(&table);
}

/* The largest config after another one: all names have a state. */
Test(method_state, a_config_of_the_largest_size_fits)
{
    evener_method_table table = {0};
    for (unsigned config = 0; config < 2; config++) {
        evener_method_table_begin(&table);
        for (unsigned i = 0; i < EVENER_METHOD_STATES_MAX; i++) {
            evener_method_state *state = find(&table, config * EVENER_METHOD_STATES_MAX + i);
            cr_assert_not_null(state);
            cr_assert_eq(state->calls, 0, "no state serves two names of a config");
            EVENER_METHOD_COUNT(state, calls);
        }
    }
    cr_expect_eq(table.count, EVENER_METHOD_STATES_MAX);
    evener_method_table_clear(&table);
}
