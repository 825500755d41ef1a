/* The schedule of `evener load --rate`, on a virtual clock with a service that stops once: latency counts from the time
 * when a call was due, so that neither the calls in the queue nor those that could not start are left out. */
#include <criterion/criterion.h>

#include <stdint.h>
#include <stdlib.h>

#include "examples/evener/histogram.h"
#include "examples/evener/load_schedule.h"
#include "tests/support/virtual_loop.h"

#define MS EVENER_NS_PER_MS
#define SERVICE_NS (100 * EVENER_NS_PER_US)
#define CALLS_MAX 1000

typedef struct run run;

typedef struct one_call {
    run *of;
    evener_timer answered;
    uint64_t due_ns;
    bool in_flight;
} one_call;

/* A load generator with `limit` calls in flight at most, and a service. Each call takes SERVICE_NS, but a service that is
 * stopped answers only after it goes on. */
struct run {
    virtual_loop *vl;
    evener_loop *loop;
    load_schedule schedule;
    evener_timer due, stop, go_on;
    bool stopped;
    uint32_t limit, in_flight;
    one_call calls[CALLS_MAX];
    histogram latencies;
    uint64_t waited; /* calls that took longer than 1 ms more than the service */
};

static void start_due(void *arg);

static void answered(void *arg)
{
    one_call *call = arg;
    run *r = call->of;
    if (r->stopped) {
        return;
    }
    const uint64_t latency_ns = virtual_loop_now_ns(r->vl) - call->due_ns;
    histogram_add(&r->latencies, latency_ns);
    r->waited += latency_ns > SERVICE_NS + MS;
    call->in_flight = false;
    r->in_flight--;
    start_due(r);
}

static void stop(void *arg)
{
    ((run *)arg)->stopped = true;
}

static void go_on(void *arg)
{
    run *r = arg;
    r->stopped = false;
    for (uint32_t i = 0; i < r->limit; i++) {
        if (r->calls[i].in_flight) {
            evener_timer_start(r->loop, &r->calls[i].answered, SERVICE_NS);
        }
    }
}

static one_call *free_call(run *r)
{
    for (uint32_t i = 0; i < r->limit; i++) {
        if (!r->calls[i].in_flight) {
            return &r->calls[i];
        }
    }
    return NULL;
}

/* As drive_open() of load.c: start what is due while fewer than `limit` are in flight. */
static void start_due(void *arg)
{
    run *r = arg;
    const uint64_t now_ns = virtual_loop_now_ns(r->vl);
    while (r->in_flight < r->limit && load_schedule_next_ns(&r->schedule) <= now_ns) {
        const uint64_t due_ns = load_schedule_start(&r->schedule, now_ns);
        if (due_ns == UINT64_MAX) {
            return;
        }
        one_call *call = free_call(r);
        *call = (one_call){.of = r, .due_ns = due_ns, .in_flight = true};
        call->answered = (evener_timer)EVENER_TIMER_INIT(answered, call);
        r->in_flight++;
        evener_timer_start(r->loop, &call->answered, SERVICE_NS);
    }
    const uint64_t next_ns = load_schedule_next_ns(&r->schedule);
    if (r->in_flight < r->limit && next_ns != UINT64_MAX) {
        evener_timer_start(r->loop, &r->due, next_ns - now_ns);
    }
}

/* Run `rate` calls per second for 10 s with a service that is stopped from stop_ms on, for for_ms. */
static run *run_stopped(double rate, uint32_t limit, uint64_t stop_ms, uint64_t for_ms)
{
    run *r = calloc(1, sizeof *r);
    cr_assert_not_null(r);
    r->vl = virtual_loop_create(1);
    r->loop = virtual_loop_loop(r->vl);
    r->limit = limit;
    r->due = (evener_timer)EVENER_TIMER_INIT(start_due, r);
    r->stop = (evener_timer)EVENER_TIMER_INIT(stop, r);
    r->go_on = (evener_timer)EVENER_TIMER_INIT(go_on, r);
    const uint64_t now_ns = virtual_loop_now_ns(r->vl);
    r->schedule = load_schedule_begin(rate, now_ns, now_ns + 10000 * MS, 0);
    evener_timer_start(r->loop, &r->stop, stop_ms * MS);
    evener_timer_start(r->loop, &r->go_on, (stop_ms + for_ms) * MS);
    evener_timer_start(r->loop, &r->due, 0);
    (void)virtual_loop_advance_ms(r->vl, 20000);
    return r;
}

static void run_destroy(run *r)
{
    virtual_loop_destroy(r->vl);
    free(r);
}

/* 500 of the 10,000 calls wait, evenly from 500 ms down to 0: the hundredth of them waits 400 ms. */
static void expect_p99_of_400_ms(uint32_t limit)
{
    run *r = run_stopped(1000, limit, 5000, 500);
    cr_expect_eq(r->schedule.started, 10000);
    cr_expect_eq(r->latencies.count, 10000);
    cr_expect_eq(load_schedule_not_started(&r->schedule), 0);
    const double p99_ms = (double)histogram_quantile(&r->latencies, 0.99) / 1e6;
    const double p50_ms = (double)histogram_quantile(&r->latencies, 0.5) / 1e6;
    cr_expect(p99_ms > 400 * 0.99 && p99_ms < 400 * 1.01, "p99 %f ms", p99_ms);
    cr_expect(p50_ms > 0.099 && p50_ms < 0.101, "p50 %f ms", p50_ms);
    cr_expect(r->waited >= 495 && r->waited <= 505, "%llu waited", (unsigned long long)r->waited);
    cr_expect(r->latencies.max >= 500 * MS && r->latencies.max <= 501 * MS);
    run_destroy(r);
}

Test(load_schedule, a_stop_of_500_ms_shows_in_the_p99_of_10_s)
{
    expect_p99_of_400_ms(1000);
}

Test(load_schedule, a_stop_shows_as_well_where_the_limit_makes_calls_start_late)
{
    expect_p99_of_400_ms(16);
}

/* A service that does not go on before the end: what is in flight is all that starts. */
Test(load_schedule, what_is_due_and_cannot_start_before_the_end_is_counted)
{
    run *r = run_stopped(1000, 16, 5000, 8000);
    cr_expect_eq(r->schedule.due, 10000);
    cr_expect_eq(r->schedule.started, 5000 + 16);
    cr_expect_eq(load_schedule_not_started(&r->schedule), 10000 - 5000 - 16);
    cr_expect_eq(r->latencies.count, 5000 + 16);
    cr_expect_float_eq(load_schedule_spread_s(&r->schedule), 10, 1e-9);
    run_destroy(r);
}

Test(load_schedule, calls_are_due_at_even_times_before_the_end)
{
    load_schedule s = load_schedule_begin(300000, 7, 7 + 2000 * MS, 0);
    cr_expect_eq(s.due, 600000);
    for (uint64_t i = 0; i < s.due; i++) {
        const uint64_t wanted_ns = 7 + i * 10000 / 3;
        const uint64_t due_ns = load_schedule_start(&s, 7 + MS);
        cr_assert(due_ns >= wanted_ns - 1 && due_ns <= wanted_ns + 1, "call %llu", (unsigned long long)i);
    }
    cr_expect_eq(load_schedule_next_ns(&s), UINT64_MAX);
    cr_expect_eq(load_schedule_start(&s, 7 + MS), UINT64_MAX);
    cr_expect_eq(s.started, 600000);
}

Test(load_schedule, nothing_starts_at_the_end_or_after_it)
{
    load_schedule s = load_schedule_begin(10, 0, 1000 * MS, 0);
    cr_expect_eq(s.due, 10);
    cr_expect_eq(load_schedule_start(&s, 1000 * MS - 1), 0);
    cr_expect_eq(load_schedule_start(&s, 1000 * MS), UINT64_MAX);
    cr_expect_eq(s.started, 1);
    cr_expect_eq(s.last_start_ns, 1000 * MS - 1);
    cr_expect_eq(load_schedule_not_started(&s), 9);
}

/* A call in 11.6 days, for ten years. A double holds such times to less than a microsecond. */
Test(load_schedule, at_the_least_rate_times_are_far_from_their_limit)
{
    const uint64_t gap_ns = UINT64_C(1000000000000000);
    load_schedule s = load_schedule_begin(LOAD_RATE_MIN, MS, UINT64_MAX, 320);
    for (uint64_t i = 0; i < 320; i++) {
        const uint64_t due_ns = load_schedule_start(&s, MS + i * gap_ns);
        cr_assert(due_ns + EVENER_NS_PER_US > MS + i * gap_ns && due_ns < MS + i * gap_ns + EVENER_NS_PER_US,
                  "call %llu", (unsigned long long)i);
    }
    cr_expect_eq(load_schedule_next_ns(&s), UINT64_MAX);
    s = load_schedule_begin(LOAD_RATE_MIN, MS, MS + 31 * gap_ns + MS, 0);
    cr_expect_eq(s.due, 32);
}

/* The spread is then until the last start. */
Test(load_schedule, without_an_end_all_calls_start_however_late)
{
    load_schedule s = load_schedule_begin(1000, 0, UINT64_MAX, 100);
    for (uint64_t i = 0; i < 100; i++) {
        cr_expect_eq(load_schedule_start(&s, 3000 * MS), i * MS);
    }
    cr_expect_eq(load_schedule_not_started(&s), 0);
    cr_expect_float_eq(load_schedule_spread_s(&s), 3, 1e-9);
}

Test(load_schedule, an_interrupt_ends_what_is_due)
{
    load_schedule s = load_schedule_begin(1000, 0, 10000 * MS, 0);
    (void)load_schedule_start(&s, 0);
    load_schedule_interrupt(&s, 5 * MS + 1);
    cr_expect_eq(s.due, 6);
    cr_expect_eq(load_schedule_not_started(&s), 5);
    while (load_schedule_start(&s, 5 * MS + 1) != UINT64_MAX) {
    }
    load_schedule_interrupt(&s, 2 * MS); /* those that have started were due */
    cr_expect_eq(s.due, 6);
    cr_expect_eq(load_schedule_not_started(&s), 0);
}
