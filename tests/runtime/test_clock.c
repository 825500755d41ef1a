/* The clock: deadlines of blocking waits, and the fast clock. No time is asserted, only order. */
#include <criterion/criterion.h>

#include <time.h>

#include <evener/loop.h>

#include "lb/runtime/clock.h"

static uint64_t ns_of(struct timespec time)
{
    return (uint64_t)time.tv_sec * EVENER_NS_PER_S + (uint64_t)time.tv_nsec;
}

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    cr_assert_eq(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return ns_of(now);
}

Test(clock, a_deadline_is_as_far_away_as_its_timeout)
{
    static const uint64_t timeouts_ms[] = {0, 1, 999, 1000, 1001, 123456, 1000000, 3600999, 1000000000999};
    for (size_t i = 0; i < sizeof timeouts_ms / sizeof *timeouts_ms; i++) {
        const uint64_t ns = timeouts_ms[i] * EVENER_NS_PER_MS;
        for (int n = 0; n < 100; n++) { /* the nanoseconds of the clock differ */
            const uint64_t before_ns = monotonic_ns();
            const struct timespec deadline = evener_clock_deadline(timeouts_ms[i]);
            const uint64_t after_ns = monotonic_ns();
            cr_assert_geq(ns_of(deadline), before_ns + ns, "%zu", i);
            cr_assert_leq(ns_of(deadline), after_ns + ns, "%zu", i);
            cr_assert(deadline.tv_nsec >= 0 && deadline.tv_nsec < 1000000000);
        }
    }
}

/* It is at most 1,000,000,000 seconds away, which no time_t overflows. */
Test(clock, a_deadline_has_a_maximum)
{
    const uint64_t before_ns = monotonic_ns();
    const struct timespec deadline = evener_clock_deadline(UINT64_MAX);
    const uint64_t after_ns = monotonic_ns();
    const uint64_t max_ns = UINT64_C(1000000000) * EVENER_NS_PER_S + UINT64_MAX % 1000 * EVENER_NS_PER_MS;
    cr_assert_geq(ns_of(deadline), before_ns + max_ns);
    cr_assert_leq(ns_of(deadline), after_ns + max_ns);
}

Test(clock, the_fast_clock_does_not_go_back)
{
    uint64_t last_ns = 0;
    for (int i = 0; i < 100000; i++) {
        const uint64_t now_ns = evener_clock_now_fast_ns();
        cr_assert_geq(now_ns, last_ns);
        last_ns = now_ns;
    }
}
