/* The histogram of `evener load`: quantiles are within 1 % at any magnitude. */
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
    cr_expect(distance <= wanted / 100 + 1, "%llu is not near %llu", (unsigned long long)value,
              (unsigned long long)wanted);
}

Test(histogram, an_empty_one_has_no_quantile)
{
    histogram *h = empty();
    cr_expect_eq(histogram_quantile_ns(h, 0.5), 0);
    free(h);
}

Test(histogram, one_value_is_every_quantile_at_any_magnitude)
{
    static const uint64_t values[] = {0,         1, 127, 128, 255, 256, 257, 1000, 999999, 123456789, UINT64_MAX / 3,
                                      UINT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        histogram *h = empty();
        histogram_add(h, values[i]);
        expect_near(histogram_quantile_ns(h, 0), values[i]);
        expect_near(histogram_quantile_ns(h, 0.5), values[i]);
        expect_near(histogram_quantile_ns(h, 1), values[i]);
        cr_expect_eq(h->max_ns, values[i]);
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
    expect_near(histogram_quantile_ns(h, 0.5), 50000000);
    expect_near(histogram_quantile_ns(h, 0.99), 99000000);
    expect_near(histogram_quantile_ns(h, 0.999), 99900000);
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
    expect_near(histogram_quantile_ns(low, 0.9), 1000);
    expect_near(histogram_quantile_ns(low, 0.91), 1000000);
    cr_expect_eq(low->max_ns, 1000000);
    free(low);
    free(high);
}
