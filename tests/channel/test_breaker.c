/* The breaker of a method by itself, at times of its own. */
#include <criterion/criterion.h>

#include <evener/loop.h>

#include "lb/channel/breaker.h"

#define SLICE_NS (250 * EVENER_NS_PER_MS)
#define NOW_NS (1000 * EVENER_NS_PER_S)

/* Count calls that all end with this code. */
static void call(evener_breaker *breaker, uint64_t now_ns, evener_status_code code, unsigned calls)
{
    for (unsigned i = 0; i < calls; i++) {
        cr_assert(evener_breaker_admit(breaker, 2, now_ns, 1));
        evener_breaker_ended(breaker, code, now_ns);
    }
}

/* Expect that calls are rejected with this probability: (requests - k * accepts) / (requests + 1). Counts two calls. */
static void expect_probability(evener_breaker *breaker, double k, uint64_t now_ns, double requests, double accepts)
{
    const double first = (requests - k * accepts) / (requests + 1);
    const double second = (requests + 1 - k * accepts) / (requests + 2);
    const uint64_t rejections = breaker->rejections;
    cr_expect(evener_breaker_admit(breaker, k, now_ns, first), "exactly at it a call is made");
    cr_expect_eq(breaker->rejections, rejections);
    cr_expect_not(evener_breaker_admit(breaker, k, now_ns, second - 1e-9));
    cr_expect_eq(breaker->rejections, rejections + 1);
}

Test(breaker, rejects_as_the_share_of_failures_demands)
{
    evener_breaker breaker = {0};
    cr_expect(evener_breaker_admit(&breaker, 2, NOW_NS, 0), "without a call before nothing is rejected");
    breaker = (evener_breaker){0};
    call(&breaker, NOW_NS, EVENER_STATUS_OK, 10);
    cr_expect(evener_breaker_admit(&breaker, 2, NOW_NS, 0), "nor while all succeed");
    breaker = (evener_breaker){0};
    call(&breaker, NOW_NS, EVENER_STATUS_UNAVAILABLE, 80);
    call(&breaker, NOW_NS, EVENER_STATUS_OK, 20);
    expect_probability(&breaker, 2, NOW_NS, 100, 20);
    expect_probability(&breaker, 1.5, NOW_NS, 102, 20);
}

Test(breaker, judges_by_the_codes_of_overload_and_defects)
{
    static const bool is_failure[17] = {
        [EVENER_STATUS_DEADLINE_EXCEEDED] = true, [EVENER_STATUS_RESOURCE_EXHAUSTED] = true,
        [EVENER_STATUS_UNIMPLEMENTED] = true,     [EVENER_STATUS_INTERNAL] = true,
        [EVENER_STATUS_UNAVAILABLE] = true,       [EVENER_STATUS_DATA_LOSS] = true,
    };
    for (uint32_t code = 0; code < 17; code++) {
        evener_breaker breaker = {0};
        call(&breaker, NOW_NS, (evener_status_code)code, 100);
        cr_expect_eq(evener_breaker_admit(&breaker, 1, NOW_NS, 0.001), !is_failure[code], "code %u", code);
    }
}

Test(breaker, forgets_a_call_after_ten_seconds)
{
    evener_breaker breaker = {0};
    call(&breaker, NOW_NS, EVENER_STATUS_UNAVAILABLE, 50);
    call(&breaker, NOW_NS + SLICE_NS, EVENER_STATUS_UNAVAILABLE, 30);
    call(&breaker, NOW_NS + SLICE_NS, EVENER_STATUS_OK, 20);
    expect_probability(&breaker, 2, NOW_NS + EVENER_BREAKER_SLICES * SLICE_NS - 1, 100, 20);
    expect_probability(&breaker, 2, NOW_NS + EVENER_BREAKER_SLICES * SLICE_NS, 52, 20);
    expect_probability(&breaker, 2, NOW_NS + (EVENER_BREAKER_SLICES + 1) * SLICE_NS, 4, 0);
}

Test(breaker, a_long_time_without_calls_empties_it)
{
    static const unsigned slices[] = {EVENER_BREAKER_SLICES, EVENER_BREAKER_SLICES + 1, 2 * EVENER_BREAKER_SLICES,
                                      1000 * EVENER_BREAKER_SLICES + 7};
    for (size_t i = 0; i < sizeof slices / sizeof *slices; i++) {
        evener_breaker breaker = {0};
        for (unsigned slice = 0; slice < EVENER_BREAKER_SLICES; slice++) {
            call(&breaker, NOW_NS + slice * SLICE_NS, EVENER_STATUS_UNAVAILABLE, 1);
        }
        cr_expect(evener_breaker_admit(&breaker, 2, NOW_NS + (EVENER_BREAKER_SLICES - 1 + slices[i]) * SLICE_NS, 0),
                  "%u slices later", slices[i]);
    }
}

/* Threads read the clock before they count. */
Test(breaker, an_earlier_time_counts_in_its_own_slice)
{
    evener_breaker breaker = {0};
    call(&breaker, NOW_NS, EVENER_STATUS_UNAVAILABLE, 10);
    call(&breaker, NOW_NS + 4 * SLICE_NS, EVENER_STATUS_UNAVAILABLE, 10);
    call(&breaker, NOW_NS + SLICE_NS, EVENER_STATUS_UNAVAILABLE, 10);
    expect_probability(&breaker, 2, NOW_NS + 4 * SLICE_NS, 30, 0);
    expect_probability(&breaker, 2, NOW_NS + EVENER_BREAKER_SLICES * SLICE_NS, 22, 0);
    expect_probability(&breaker, 2, NOW_NS + (EVENER_BREAKER_SLICES + 1) * SLICE_NS, 14, 0);
}
