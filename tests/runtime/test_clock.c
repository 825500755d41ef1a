/* The clock: deadlines of blocking waits, and the fast clock. Of the real clocks only the order is asserted; how the
 * fast clock measures and extrapolates is tested with a machine whose time the test advances. */
#include <criterion/criterion.h>

#include <time.h>

#include <evener/loop.h>

#include "lb/runtime/clock.h"
#include "lb/runtime/fast_clock.h"

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

/* ---- the fast clock of a machine in the test's hands ---- */

#define MS EVENER_NS_PER_MS
#define CYCLES_PER_NS 2.5

typedef struct machine {
    double counter;
    double cycles_per_ns;
    uint64_t now_ns;
    uint64_t rate; /* published: of all threads */
} machine;

static machine booted(void)
{
    return (machine){.counter = 1e12, .cycles_per_ns = CYCLES_PER_NS, .now_ns = 5 * EVENER_NS_PER_S};
}

static void advance(machine *m, uint64_t ns)
{
    m->now_ns += ns;
    m->counter += (double)ns * m->cycles_per_ns;
}

/* The counter goes on, the exact clock does not. */
static void suspend(machine *m, uint64_t ns)
{
    m->counter += (double)ns * m->cycles_per_ns;
}

/* Read a thread's clock, and return how wrong it is. */
static uint64_t error_of(machine *m, evener_fast_clock *clock)
{
    uint64_t fast_ns = 0;
    const uint64_t last_ns = clock->last_ns;
    if (!evener_fast_clock_read(clock, (uint64_t)m->counter, &fast_ns)) {
        fast_ns = evener_fast_clock_anchor(clock, &m->rate, (uint64_t)m->counter, m->now_ns);
    }
    cr_assert_geq(fast_ns, last_ns);
    return fast_ns > m->now_ns ? fast_ns - m->now_ns : m->now_ns - fast_ns;
}

/* Read the clock each 10 us, and return the largest error. */
static uint64_t run(machine *m, evener_fast_clock *clock, uint64_t ns)
{
    uint64_t worst_ns = 0;
    for (uint64_t i = 0; i < ns / 10000; i++) {
        advance(m, 10000);
        const uint64_t error_ns = error_of(m, clock);
        worst_ns = error_ns > worst_ns ? error_ns : worst_ns;
    }
    return worst_ns;
}

static bool is_rate(const machine *m)
{
    const double rate = 0x1.0p32 / m->cycles_per_ns;
    return (double)m->rate > 0.999 * rate && (double)m->rate < 1.001 * rate;
}

Test(fast_clock, the_rate_is_known_after_two_windows_of_10_ms)
{
    machine m = booted();
    evener_fast_clock clock = {0};
    cr_expect_eq(error_of(&m, &clock), 0);
    cr_expect_eq(run(&m, &clock, 20 * MS - 10000), 0);
    cr_expect_eq(m.rate, 0);
    cr_expect_eq(run(&m, &clock, 10000), 0);
    cr_expect(is_rate(&m), "%llu", (unsigned long long)m.rate);
    cr_expect_leq(run(&m, &clock, 100 * MS), 100);
    cr_expect_leq(m.now_ns - clock.anchor_ns, MS, "the anchor is renewed");
    advance(&m, MS / 2);
    cr_expect_leq(error_of(&m, &clock), 100);
    evener_fast_clock other = {0};
    cr_expect_eq(error_of(&m, &other), 0);
    cr_expect_eq(other.rate, m.rate, "it is the rate of all threads");
}

Test(fast_clock, a_long_window_gives_no_rate)
{
    machine m = booted();
    evener_fast_clock clock = {0};
    static const uint64_t windows_ns[] = {EVENER_NS_PER_S + 1, 3600 * EVENER_NS_PER_S};
    for (size_t i = 0; i < sizeof windows_ns / sizeof windows_ns[0]; i++) {
        for (int n = 0; n < 5; n++) {
            advance(&m, windows_ns[i]);
            cr_expect_eq(error_of(&m, &clock), 0);
        }
        cr_expect_eq(m.rate, 0);
    }
    for (int n = 0; n < 3; n++) {
        advance(&m, EVENER_NS_PER_S);
        cr_expect_eq(error_of(&m, &clock), 0);
    }
    cr_expect(is_rate(&m));
}

/* Suspended at any moment of the measurement, or after it. */
Test(fast_clock, a_suspension_is_no_rate)
{
    static const uint64_t lengths_ns[] = {MS / 2, 20 * MS, EVENER_NS_PER_S, 3600 * EVENER_NS_PER_S};
    for (size_t i = 0; i < sizeof lengths_ns / sizeof lengths_ns[0]; i++) {
        for (uint64_t after_ms = 0; after_ms < 40; after_ms++) {
            machine m = booted();
            evener_fast_clock clock = {0};
            cr_expect_eq(error_of(&m, &clock), 0);
            cr_expect_leq(run(&m, &clock, after_ms * MS), 100);
            suspend(&m, lengths_ns[i]);
            cr_expect_lt(run(&m, &clock, 200 * MS), MS, "%zu: after %u ms", i, (unsigned)after_ms);
            cr_expect(is_rate(&m), "%zu: after %u ms: %llu", i, (unsigned)after_ms, (unsigned long long)m.rate);
        }
    }
}

/* The thread lost its processor between the two halves of a reading. */
Test(fast_clock, a_torn_reading_is_no_rate)
{
    for (int torn = 0; torn < 4; torn++) {
        machine m = booted();
        evener_fast_clock clock = {0};
        for (int i = 0; i < 10; i++) {
            const uint64_t counter = (uint64_t)m.counter;
            advance(&m, i == torn ? 3 * MS : 0);
            evener_fast_clock_anchor(&clock, &m.rate, counter, m.now_ns);
            advance(&m, 10 * MS);
        }
        cr_expect(is_rate(&m), "%d: %llu", torn, (unsigned long long)m.rate);
    }
}

/* A virtual machine moves to a processor with another counter. */
Test(fast_clock, a_rate_that_holds_no_more_is_measured_anew)
{
    static const double factors[] = {0.05, 0.4, 0.8, 1.2, 2.5, 61};
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
        machine m = booted();
        evener_fast_clock clock = {0};
        (void)error_of(&m, &clock);
        (void)run(&m, &clock, 50 * MS);
        cr_assert(is_rate(&m));
        m.cycles_per_ns *= factors[i];
        (void)run(&m, &clock,
                  factors[i] < 1 ? (uint64_t)(MS / factors[i]) + MS : 2 * MS); /* until the anchor expires */
        cr_expect_leq(run(&m, &clock, 100 * MS), 100, "%zu", i);
        cr_expect(is_rate(&m), "%zu: %llu", i, (unsigned long long)m.rate);
    }
}

Test(fast_clock, a_thread_that_slept_gives_up_no_newer_rate)
{
    machine m = booted();
    evener_fast_clock clock = {0};
    evener_fast_clock sleeper = {0};
    (void)error_of(&m, &clock);
    (void)run(&m, &clock, 50 * MS);
    (void)error_of(&m, &sleeper);
    m.cycles_per_ns *= 2;
    (void)run(&m, &clock, 50 * MS);
    const uint64_t rate = m.rate;
    cr_assert(is_rate(&m));
    cr_expect_eq(error_of(&m, &sleeper), 0);
    cr_expect_eq(m.rate, rate);
    cr_expect_eq(sleeper.rate, rate);
}

Test(fast_clock, a_counter_that_goes_back_costs_one_exact_reading)
{
    machine m = booted();
    evener_fast_clock clock = {0};
    (void)error_of(&m, &clock);
    (void)run(&m, &clock, 50 * MS);
    const uint64_t rate = m.rate;
    m.counter -= 1e6;
    advance(&m, 1000);
    cr_expect_eq(error_of(&m, &clock), 0);
    cr_expect_eq(m.rate, rate);
    cr_expect_leq(run(&m, &clock, 10 * MS), 100);
}
