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

/* No more names than a service config may have: a further one of the same config has no state. */
Test(method_state, a_name_too_many_has_none)
{
    evener_method_table table = {0};
    evener_method_table_begin(&table);
    for (unsigned i = 0; i < EVENER_METHOD_STATES_MAX; i++) {
        cr_assert_not_null(find(&table, i));
    }
    cr_expect_null(find(&table, EVENER_METHOD_STATES_MAX));
    evener_method_table_begin(&table);
    for (unsigned i = 0; i < EVENER_METHOD_STATES_MAX; i++) {
        cr_assert_not_null(find(&table, i));
    }
    cr_expect_null(find(&table, EVENER_METHOD_STATES_MAX));
    evener_method_table_clear(&table);
    cr_expect_null(table.states);
    cr_expect_eq(table.count, 0);
}

/* A state that another name takes over knows nothing of the former one. */
Test(method_state, a_state_taken_over_begins_anew)
{
    evener_method_table table = {0};
    evener_method_table_begin(&table);
    evener_method_state *former = evener_method_table_find(&table, "/former/");
    for (unsigned i = 1; i < EVENER_METHOD_STATES_MAX; i++) {
        cr_assert_not_null(find(&table, i));
    }
    evener_method_state_want(former, 0.5);
    for (unsigned i = 0; i < 64; i++) {
        evener_method_state_record(former, i << 10);
    }
    cr_assert_neq(former->quantile_ns, 0);
    former->calls = former->attempts = former->retries = former->hedges = former->transparent_retries = 1;
    former->throttled = former->losers = former->breaker.rejections = 1;
    for (unsigned i = 0; i < EVENER_BREAKER_SLICES; i++) {
        former->breaker.slices[i].requests = former->breaker.slices[i].accepts = 1;
    }

    evener_method_table_begin(&table);
    for (unsigned i = 1; i < EVENER_METHOD_STATES_MAX; i++) {
        cr_assert_not_null(find(&table, i));
    }
    evener_method_state *state = evener_method_table_find(&table, "/new/");
    cr_assert_eq(state, former);
    cr_expect_str_eq(state->path, "/new/");
    cr_expect_eq(state->round, table.round);
    const uint64_t counters[] = {state->calls,         state->attempts,          state->retries,
                                 state->hedges,        state->throttled,         state->transparent_retries,
                                 state->losers,        state->quantile_bits,     state->quantile_ns,
                                 state->latency_count, state->breaker.rejections};
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++) {
        cr_expect_eq(counters[i], 0, "counter %zu", i);
    }
    for (unsigned i = 0; i < EVENER_LATENCY_BUCKETS; i++) {
        cr_expect_eq(state->latencies[i], 0, "bucket %u", i);
    }
    for (unsigned i = 0; i < EVENER_BREAKER_SLICES; i++) {
        cr_expect_eq(state->breaker.slices[i].requests, 0, "slice %u", i);
        cr_expect_eq(state->breaker.slices[i].accepts, 0, "slice %u", i);
    }
    evener_method_table_clear(&table);
}

static void record(evener_method_state *state, uint64_t ns, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        evener_method_state_record(state, ns);
    }
}

/* A bucket ends where the next one begins: an eighth of its octave further on. */
Test(method_state, a_quantile_is_the_upper_bound_of_its_bucket)
{
    static const uint64_t latencies[][2] = {/* latency, upper bound */
                                            {0, 1152},
                                            {1024, 1152},
                                            {1151, 1152},
                                            {1152, 1280},
                                            {2047, 2048},
                                            {2048, 2304},
                                            {UINT64_C(9) << 20, UINT64_C(10) << 20},
                                            {(UINT64_C(10) << 20) - 1, UINT64_C(10) << 20},
                                            {UINT64_C(15) << 20, UINT64_C(16) << 20}};
    for (size_t i = 0; i < sizeof latencies / sizeof *latencies; i++) {
        evener_method_state state = {0};
        evener_method_state_want(&state, 0.5);
        record(&state, latencies[i][0], 31);
        cr_expect_eq(state.quantile_ns, 0, "it is computed after 32");
        record(&state, latencies[i][0], 1);
        cr_expect_eq(state.quantile_ns, latencies[i][1], "%lu: %lu", (unsigned long)latencies[i][0],
                     (unsigned long)state.quantile_ns);
    }
    evener_method_state endless = {0};
    evener_method_state_want(&endless, 0.5);
    record(&endless, UINT64_MAX, 32);
    cr_expect_gt(endless.quantile_ns, UINT64_C(60) * 1000000000, "the last bucket has what is above all others");
    cr_expect_eq(endless.latencies[EVENER_LATENCY_BUCKETS - 1], 32);
}

Test(method_state, a_quantile_has_that_part_of_the_latencies_below_it)
{
    evener_method_state state = {0};
    record(&state, 1024, 16);
    record(&state, 4096, 16);
    cr_expect_eq(state.quantile_ns, 0, "nobody asks for one");
    evener_method_state_want(&state, 0.5);
    record(&state, 1024, 16);
    record(&state, 4096, 16);
    cr_expect_eq(state.quantile_ns, 1152, "exactly half of them are below");
    evener_method_state_want(&state, 0.5);
    cr_expect_eq(state.quantile_ns, 1152, "asking for the same again changes nothing");
    evener_method_state_want(&state, 0.75);
    cr_expect_eq(state.quantile_ns, 0, "another one is not known yet");
    record(&state, 1024, 16);
    record(&state, 4096, 16);
    cr_expect_eq(state.quantile_ns, 4608);
}

/* Two latencies have to be above the quantile, and 2,000 in all are always enough. */
Test(method_state, a_high_quantile_needs_many_latencies)
{
    evener_method_state state = {0};
    evener_method_state_want(&state, 0.98);
    record(&state, 1024, 96);
    cr_expect_eq(state.quantile_ns, 0, "100 are needed");
    record(&state, 1024, 32);
    cr_expect_neq(state.quantile_ns, 0);

    evener_method_state other = {0};
    evener_method_state_want(&other, 0.99999);
    record(&other, 1024, 1984);
    cr_expect_eq(other.quantile_ns, 0);
    record(&other, 1024, 32);
    cr_expect_neq(other.quantile_ns, 0);
}

/* At 8,192 latencies all counts are halved: later ones weigh more. */
Test(method_state, old_latencies_fade)
{
    evener_method_state state = {0};
    evener_method_state_want(&state, 0.5);
    record(&state, 1024, 8190);
    record(&state, 4096, 1);
    cr_expect_eq(state.latency_count, 8191);
    record(&state, 4096, 1);
    cr_expect_eq(state.latency_count, 4096);
    cr_expect_eq(state.latencies[0], 4095);
    cr_expect_eq(state.quantile_ns, 1152);
    record(&state, 4096, 4096);
    cr_expect_eq(state.latency_count, 2047 + 2048);
    cr_expect_eq(state.latencies[0], 2047);
    cr_expect_eq(state.quantile_ns, 4608, "4,097 of 8,192 were slower");
}
