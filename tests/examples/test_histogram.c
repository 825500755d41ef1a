/* The histogram of `evener load`, the benches and the simulator: quantiles are within 0.5 % at any magnitude, and none is
 * above the greatest value. */
#include <criterion/criterion.h>

#include <stdint.h>
#include <stdlib.h>

#include "examples/evener/histogram.h"

static histogram *empty(void)
{
    histogram *h = calloc(1, sizeof *h);
    cr_assert_not_null(h);
    return h;
}

static void expect_near(uint64_t value, uint64_t wanted)
{
    const uint64_t distance = value > wanted ? value - wanted : wanted - value;
    cr_expect((double)distance <= (double)wanted * 0.005, "%llu is not near %llu", (unsigned long long)value,
              (unsigned long long)wanted);
}

Test(histogram, an_empty_one_has_no_quantile)
{
    histogram *h = empty();
    cr_expect_eq(histogram_quantile(h, 0.5), 0);
    free(h);
}

Test(histogram, one_value_is_every_quantile_at_any_magnitude)
{
    static const uint64_t values[] = {0,         1, 127, 128, 255, 256, 257, 1000, 999999, 123456789, UINT64_MAX / 3,
                                      UINT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        histogram *h = empty();
        histogram_add(h, values[i]);
        expect_near(histogram_quantile(h, 0), values[i]);
        expect_near(histogram_quantile(h, 0.5), values[i]);
        expect_near(histogram_quantile(h, 1), values[i]);
        cr_expect_eq(h->max, values[i]);
        free(h);
    }
}

Test(histogram, quantiles_of_an_even_spread)
{
    histogram *h = empty();
    for (uint64_t us = 1; us <= 100000; us++) {
        histogram_add(h, us * 1000);
    }
    cr_expect_eq(h->count, 100000);
    expect_near(histogram_quantile(h, 0.5), 50000000);
    expect_near(histogram_quantile(h, 0.99), 99000000);
    expect_near(histogram_quantile(h, 0.999), 99900000);
    free(h);
}

/* A bucket is wider than the distance to its greatest value: calls that end with their timeout do not exceed it. */
Test(histogram, no_quantile_is_above_the_greatest_value)
{
    histogram *h = empty();
    for (unsigned i = 0; i < 1000; i++) {
        histogram_add(h, 1000000000);
    }
    cr_expect_eq(histogram_quantile(h, 0.5), 1000000000);
    cr_expect_eq(histogram_quantile(h, 0.999), 1000000000);
    cr_expect_eq(histogram_quantile(h, 1), 1000000000);
    free(h);
}

/* The least value that 99 of 100 do not exceed is the 99th, that 99.1 % do not exceed the 100th. */
Test(histogram, a_quantile_is_by_nearest_rank)
{
    histogram *h = empty();
    for (uint64_t i = 1; i <= 100; i++) {
        histogram_add(h, i);
    }
    cr_expect_eq(histogram_quantile(h, 0), 1);
    cr_expect_eq(histogram_quantile(h, 0.01), 1);
    cr_expect_eq(histogram_quantile(h, 0.011), 2);
    cr_expect_eq(histogram_quantile(h, 0.99), 99);
    cr_expect_eq(histogram_quantile(h, 0.991), 100);
    free(h);
}

Test(histogram, the_mean_is_exact)
{
    histogram *h = empty();
    cr_expect_eq(histogram_mean(h), 0);
    histogram_add(h, 1000001);
    histogram_add(h, 3000002);
    cr_expect_eq(histogram_mean(h), 2000001.5);
    free(h);
}

Test(histogram, merging_is_adding_both)
{
    histogram *low = empty();
    histogram *high = empty();
    for (unsigned i = 0; i < 90; i++) {
        histogram_add(low, 1000);
    }
    for (unsigned i = 0; i < 10; i++) {
        histogram_add(high, 1000000);
    }
    histogram_merge(low, high);
    cr_expect_eq(low->count, 100);
    expect_near(histogram_quantile(low, 0.9), 1000);
    expect_near(histogram_quantile(low, 0.91), 1000000);
    cr_expect_eq(low->max, 1000000);
    cr_expect_eq(histogram_mean(low), 0.9 * 1000 + 0.1 * 1000000);
    free(low);
    free(high);
}
