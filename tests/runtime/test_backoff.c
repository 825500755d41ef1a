/* Backoff: grpc's doc/connection-backoff.md by default; edges of the options. */
#include <math.h>
#include <stddef.h>

#include <criterion/criterion.h>

#include <evener/backoff.h>

#include "tests/support/virtual_loop.h"

static void expect_ms(uint64_t delay_ns, double expected_ms)
{
    const double delay_ms = (double)delay_ns / (double)EVENER_NS_PER_MS;
    cr_assert(fabs(delay_ms - expected_ms) < 0.01, "%f ms instead of %f", delay_ms, expected_ms);
}

Test(backoff, grows_by_1_6_up_to_the_maximum_and_starts_again_after_reset)
{
    evener_backoff backoff = {0};
    double expected_ms = 1000;
    for (int i = 0; i < 15; i++) {
        expect_ms(evener_backoff_advance_ns(&backoff, NULL), expected_ms);
        expected_ms = expected_ms * 1.6 < 120000 ? expected_ms * 1.6 : 120000;
    }
    expect_ms(backoff.delay_ns, 120000);
    evener_backoff_reset(&backoff);
    expect_ms(evener_backoff_advance_ns(&backoff, NULL), 1000);
}

/* Both ends of +-20 % are reached, and nothing beyond. */
Test(backoff, next_spreads_by_the_jitter)
{
    virtual_loop *loop = virtual_loop_create(7);
    double lowest = 1.0;
    double highest = 1.0;
    for (int i = 0; i < 10000; i++) {
        evener_backoff backoff = {0};
        const double share =
            (double)evener_backoff_next_ns(&backoff, NULL, virtual_loop_loop(loop)) / (double)EVENER_NS_PER_S;
        expect_ms(backoff.delay_ns, 1000); /* without jitter, so that it does not accumulate */
        lowest = share < lowest ? share : lowest;
        highest = share > highest ? share : highest;
    }
    cr_assert(lowest >= 0.8 && lowest < 0.801, "%f", lowest);
    cr_assert(highest <= 1.2 && highest > 1.199, "%f", highest);
    virtual_loop_destroy(loop);
}

Test(backoff, options_replace_the_defaults)
{
    const evener_backoff_options options = {
        .size = sizeof options, .initial_ms = 10, .max_ms = 70, .multiplier = 3, .jitter = -1};
    virtual_loop *loop = virtual_loop_create(1);
    evener_backoff backoff = {0};
    expect_ms(evener_backoff_next_ns(&backoff, &options, virtual_loop_loop(loop)), 10);
    expect_ms(evener_backoff_next_ns(&backoff, &options, virtual_loop_loop(loop)), 30);
    expect_ms(evener_backoff_next_ns(&backoff, &options, virtual_loop_loop(loop)), 70);
    expect_ms(evener_backoff_next_ns(&backoff, &options, virtual_loop_loop(loop)), 70);
    virtual_loop_destroy(loop);
}

Test(backoff, members_beyond_the_size_are_defaults)
{
    const evener_backoff_options options = {
        .size = offsetof(evener_backoff_options, multiplier), .initial_ms = 10, .max_ms = 70, .multiplier = 3};
    evener_backoff backoff = {0};
    expect_ms(evener_backoff_advance_ns(&backoff, &options), 10);
    expect_ms(evener_backoff_advance_ns(&backoff, &options), 16);
}

Test(backoff, options_without_a_size_are_those_of_the_first_version)
{
    const evener_backoff_options options = {.initial_ms = 10, .max_ms = 70, .multiplier = 3, .jitter = -1};
    virtual_loop *loop = virtual_loop_create(1);
    evener_backoff backoff = {0};
    expect_ms(evener_backoff_next_ns(&backoff, &options, virtual_loop_loop(loop)), 10);
    expect_ms(evener_backoff_next_ns(&backoff, &options, virtual_loop_loop(loop)), 30);
    expect_ms(evener_backoff_spread_ns(EVENER_NS_PER_S, &options, virtual_loop_loop(loop)), 1000);
    virtual_loop_destroy(loop);
}

Test(backoff, a_maximum_below_the_first_delay_is_the_first_delay)
{
    const evener_backoff_options options = {.size = sizeof options, .initial_ms = 500, .max_ms = 100};
    evener_backoff backoff = {0};
    expect_ms(evener_backoff_advance_ns(&backoff, &options), 500);
    expect_ms(evener_backoff_advance_ns(&backoff, &options), 500);
}

/* A multiplier below 1 would shrink the delays down to a tight loop; a jitter above 1 would make negative ones. */
Test(backoff, multiplier_and_jitter_are_bounded)
{
    const double multipliers[] = {0.5, -3, (double)NAN};
    for (size_t i = 0; i < sizeof multipliers / sizeof multipliers[0]; i++) {
        const evener_backoff_options options = {.size = sizeof options, .multiplier = multipliers[i]};
        evener_backoff backoff = {0};
        expect_ms(evener_backoff_advance_ns(&backoff, &options), 1000);
        cr_assert_geq(evener_backoff_advance_ns(&backoff, &options), EVENER_NS_PER_S);
    }
    const evener_backoff_options wide = {.size = sizeof wide, .jitter = 50};
    virtual_loop *loop = virtual_loop_create(3);
    for (int i = 0; i < 1000; i++) {
        cr_assert_leq(evener_backoff_spread_ns(EVENER_NS_PER_S, &wide, virtual_loop_loop(loop)), 2 * EVENER_NS_PER_S);
    }
    virtual_loop_destroy(loop);
}

/* Delays of centuries neither wrap around nor overflow when a deadline is made of them. */
Test(backoff, the_longest_delays_do_not_overflow)
{
    const evener_backoff_options options = {
        .size = sizeof options, .initial_ms = UINT64_MAX, .max_ms = UINT64_MAX, .multiplier = 1e300};
    virtual_loop *loop = virtual_loop_create(5);
    evener_backoff backoff = {0};
    for (int i = 0; i < 100; i++) {
        const uint64_t delay_ns = evener_backoff_next_ns(&backoff, &options, virtual_loop_loop(loop));
        cr_assert(delay_ns > UINT64_C(1) << 60 && delay_ns < UINT64_C(1) << 62, "%llu", (unsigned long long)delay_ns);
    }
    cr_assert_lt(evener_backoff_spread_ns(UINT64_MAX, NULL, virtual_loop_loop(loop)), UINT64_C(1) << 62);
    virtual_loop_destroy(loop);
}
