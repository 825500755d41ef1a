/* The arithmetic of p2c_ewma (lb/policy/p2c_load.h, p2c_done.c), one rule per test, on one backend's statistics and the
 * virtual loop. What it does under load: test_p2c_sim.c and test_p2c_capture.c. */
#include <criterion/criterion.h>

#include "lb/policy/p2c_load.h"
#include "tests/support/virtual_loop.h"

#define MS EVENER_NS_PER_MS
#define DECAY_MS 10000
#define LANE 0

static virtual_loop *vl;
static p2c_common common;
static p2c_stats stats;
static const p2c_usual usual = {.latency_ns = 1e6F, .crowding = 1};

/* A backend that answered a moment ago, and takes `latency_ms` on average. */
static void backend(double latency_ms)
{
    if (vl == NULL) {
        vl = virtual_loop_create(1);
        virtual_loop_advance_ms(vl, 100000);
    }
    common = (p2c_common){.loop = virtual_loop_loop(vl),
                          .decay_ns = (float)DECAY_MS * 1e6F,
                          .failure_codes = 1U << EVENER_STATUS_UNAVAILABLE};
    stats = (p2c_stats){.common = &common,
                        .progress_ns = virtual_loop_now_ns(vl),
                        .updated_ns = virtual_loop_now_ns(vl),
                        .latency_ns = (float)(latency_ms * 1e6),
                        .spread_ns = 1e5F,
                        .success = 1,
                        .weight_inverse = 1};
}

static void tear_down(void)
{
    if (vl != NULL) {
        virtual_loop_destroy(vl);
    }
}

TestSuite(p2c_load, .fini = tear_down);

static uint64_t now_ns(void)
{
    return virtual_loop_now_ns(vl);
}

static void expect_near(float value, double expected, const char *what)
{
    cr_expect_float_eq(value, expected, expected * 1e-4, "%s: %g instead of %g", what, (double)value, expected);
}

/* End a unary call that began at `started_ns`, now. It was counted in flight. */
static void end(uint64_t started_ns, evener_status_code code)
{
    const evener_done_info info = {.size = sizeof info, .code = code};
    stats.in_flight++;
    p2c_done(&stats, started_ns & ~P2C_KIND, &info, LANE);
}

Test(p2c_load, a_cost_is_latency_times_calls_over_the_fourth_power_of_success)
{
    backend(2);
    expect_near(p2c_cost(&stats, NULL, now_ns(), &usual), 2e6, "idle");
    stats.in_flight = stats.answered_around = 3;
    expect_near(p2c_cost(&stats, NULL, now_ns(), &usual), 2e6 * 4, "three calls in flight");
    stats.weight_inverse = 0.5F;
    expect_near(p2c_cost(&stats, NULL, now_ns(), &usual), 2e6 * 2.5, "of twice the mean weight");
    stats.in_flight = stats.answered_around = 0;
    stats.success = 0.5F;
    expect_near(p2c_cost(&stats, NULL, now_ns(), &usual), 2e6 * 16, "half of the calls fail");
    stats.success = 0;
    expect_near(p2c_cost(&stats, NULL, now_ns(), &usual), 2e6 / 1e-8, "the floor of success");
}

Test(p2c_load, failures_fade_with_the_square_of_the_silence)
{
    backend(1);
    expect_near(p2c_relaxed_success(0.2F, 0, common.decay_ns), 0.2, "at once");
    expect_near(p2c_relaxed_success(0.2F, common.decay_ns, common.decay_ns), 1 - 0.8 / 4, "after the decay");
    expect_near(p2c_relaxed_success(0.2F, 3 * common.decay_ns, common.decay_ns), 1 - 0.8 / 16, "after three of it");
}

Test(p2c_load, a_latency_older_than_the_decay_is_drawn_to_the_usual_one)
{
    backend(9);
    virtual_loop_advance_ms(vl, DECAY_MS);
    expect_near(p2c_cost(&stats, NULL, now_ns(), &usual), 9e6, "as old as the decay");
    virtual_loop_advance_ms(vl, DECAY_MS * 3);
    expect_near(p2c_cost(&stats, NULL, now_ns(), &usual), 1e6 + 8e6 / 4, "four times as old");
}

Test(p2c_load, half_of_the_age_of_an_unanswered_call_stands_for_the_latency)
{
    backend(1);
    stats.in_flight = 1; /* begun at progress_ns */
    virtual_loop_advance_ms(vl, 100);
    expect_near(p2c_cost(&stats, NULL, now_ns(), &usual), 50e6 * 2, "one call without an answer for 100 ms");
    stats.answered_around = 1; /* it was in flight at the last answer: no sign of a hang */
    expect_near(p2c_cost(&stats, NULL, now_ns(), &usual), 1e6 * 2, "in flight when the backend last answered");
}

Test(p2c_load, a_slow_answer_weighs_a_quarter_and_an_echo_of_it_little)
{
    backend(1);
    const uint64_t begun_ns = now_ns();
    virtual_loop_advance_ms(vl, 101);
    end(begun_ns, EVENER_STATUS_OK);
    expect_near(stats.latency_ns, 1e6 + 100e6 / 4, "news: the call began after the last answer");
    const float before_ns = stats.latency_ns;
    end(begun_ns - 900 * MS, EVENER_STATUS_OK); /* took 1,001 ms, and overlaps the answer before */
    expect_near(stats.latency_ns, (double)before_ns * (1 + 1.0 / 32), "an echo counts at most twice the average");
}

Test(p2c_load, a_fast_answer_relieves_by_a_sixteenth_and_after_a_silence_by_the_geometric_mean)
{
    backend(16);
    virtual_loop_advance_ms(vl, 1);
    end(now_ns() - MS, EVENER_STATUS_OK);
    expect_near(stats.latency_ns, 15.0625e6, "16 ms less a sixteenth of 15 ms");
    backend(16);
    virtual_loop_advance_ms(vl, DECAY_MS / 8);
    end(now_ns() - MS, EVENER_STATUS_OK);
    expect_near(stats.latency_ns, 4e6, "the geometric mean of 16 and 1");
    backend(16);
    virtual_loop_advance_ms(vl, 9 * DECAY_MS);
    end(now_ns() - MS, EVENER_STATUS_OK);
    expect_near(stats.latency_ns, 2.5e6, "by nine tenths after nine times the decay, which is less");
}

/* A caller that cancels says nothing good about the backend, and no failure of it. */
Test(p2c_load, a_cancelled_call_is_neither_a_success_nor_a_fast_answer)
{
    backend(10);
    stats.success = 0.5F;
    const uint64_t updated_ns = stats.updated_ns, progress_ns = stats.progress_ns;
    virtual_loop_advance_ms(vl, 1);
    end(now_ns() - MS / 2, EVENER_STATUS_CANCELLED);
    expect_near(stats.latency_ns, 10e6, "the average");
    expect_near(stats.success, 0.5, "success");
    cr_expect_eq(stats.updated_ns, updated_ns, "a cancelled call is no answer");
    cr_expect_eq(stats.progress_ns == progress_ns || stats.progress_ns == (now_ns() - MS / 2), true);
    cr_expect_eq(stats.in_flight, 0);
    /* Cancelled later than usual: it remains unanswered, so its age counts. */
    backend(10);
    stats.in_flight = 1;
    stats.picked_ns = now_ns();
    const uint64_t begun_ns = now_ns();
    virtual_loop_advance_ms(vl, 100);
    stats.in_flight = 0;
    end(begun_ns, EVENER_STATUS_CANCELLED);
    cr_expect_gt(p2c_unanswered(&stats, stats.in_flight), 0);
    cr_expect_geq(stats.latency_ns, 10e6F);
}

Test(p2c_load, an_early_end_that_is_not_ok_lowers_nothing_and_holds_its_place)
{
    backend(10);
    virtual_loop_advance_ms(vl, 20);
    end(now_ns() - MS, EVENER_STATUS_UNAVAILABLE);
    expect_near(stats.latency_ns, 10e6, "the average");
    expect_near(stats.success, 1 - 1.0 / 8, "success");
    expect_near(evener_held_now(&stats.held, now_ns(), 10e6F), 1.75 * 0.9, "the place of nine tenths of a call");
    cr_expect_eq(stats.early_ends, 1);
    cr_expect_eq(stats.updated_ns, now_ns(), "it is an answer");
}

Test(p2c_load, a_late_end_that_is_not_ok_raises_the_average)
{
    backend(10);
    const uint64_t begun_ns = now_ns();
    virtual_loop_advance_ms(vl, 50);
    end(begun_ns, EVENER_STATUS_UNAVAILABLE);
    expect_near(stats.latency_ns, 10e6 + 40e6 / 4, "the average");
}

Test(p2c_load, what_was_not_sent_says_nothing)
{
    backend(10);
    const evener_done_info unsent = {.size = sizeof unsent, .code = EVENER_STATUS_UNAVAILABLE, .not_sent = true};
    stats.in_flight = 1;
    virtual_loop_advance_ms(vl, 50);
    p2c_done(&stats, now_ns() - 50 * MS, &unsent, LANE);
    expect_near(stats.latency_ns, 10e6, "the average");
    expect_near(stats.success, 1, "success");
    cr_expect_eq(stats.in_flight, 0);
    cr_expect_leq(p2c_unanswered(&stats, 0), 0);
}

/* Each condition of a glance by itself. */
Test(p2c_load, a_glance_is_brief_known_recent_healthy_and_the_only_one_of_its_lane)
{
    backend(0.05);
    cr_expect(p2c_may_glance(&stats, now_ns(), LANE));
    cr_expect_not(p2c_may_glance(&stats, now_ns(), EVENER_LANE_SHARED), "the shared lane");
    cr_expect(p2c_may_glance(&stats, now_ns() + P2C_BRIEF_NS - 1, LANE));
    cr_expect_not(p2c_may_glance(&stats, now_ns() + P2C_BRIEF_NS, LANE), "no answer within the time of a glance");
    stats.latency_ns = (float)P2C_BRIEF_NS;
    cr_expect_not(p2c_may_glance(&stats, now_ns(), LANE), "answers take too long");
    stats.latency_ns = 0;
    cr_expect_not(p2c_may_glance(&stats, now_ns(), LANE), "no latency is known");
    stats.latency_ns = 5e4F;
    stats.success = P2C_NEARLY_ONE;
    cr_expect_not(p2c_may_glance(&stats, now_ns(), LANE), "calls have failed");
    stats.success = 1;
    const uint64_t word = p2c_start(&stats, now_ns(), LANE);
    cr_expect_eq(word & P2C_GLANCE, P2C_GLANCE);
    cr_expect_eq(stats.in_flight, 0, "a glance is not counted");
    cr_expect_not(p2c_may_glance(&stats, now_ns(), LANE), "the lane has one in flight");
    cr_expect_eq(p2c_start(&stats, now_ns(), LANE) & P2C_GLANCE, 0);
    cr_expect_eq(stats.in_flight, 1, "a second call is counted");
    const evener_done_info ok = {.size = sizeof ok, .code = EVENER_STATUS_OK};
    p2c_done(&stats, word, &ok, LANE);
    cr_expect(p2c_may_glance(&stats, now_ns(), LANE), "the glance has ended");
}

Test(p2c_load, a_glance_that_fails_counts)
{
    backend(0.05);
    const uint64_t word = p2c_start(&stats, now_ns(), LANE);
    const evener_done_info failed = {.size = sizeof failed, .code = EVENER_STATUS_UNAVAILABLE};
    p2c_done(&stats, word, &failed, LANE);
    cr_expect_lt(stats.success, 1.0F);
    cr_expect_eq(stats.in_flight, 0, "it was not counted when it began");
}

Test(p2c_load, a_higher_average_is_noise_within_its_spread_and_less_so_after_an_answer)
{
    backend(10);
    stats.spread_ns = 1e6F;
    cr_expect(p2c_is_noise(&stats, 1.8e6F, now_ns()), "just confirmed: three quarters");
    cr_expect_not(p2c_is_noise(&stats, 1.9e6F, now_ns()));
    virtual_loop_advance_ms(vl, 225);
    cr_expect(p2c_is_noise(&stats, 2.2e6F, now_ns()), "nine tenths as uncertain after 225 ms");
    cr_expect_not(p2c_is_noise(&stats, 2.3e6F, now_ns()));
    virtual_loop_advance_ms(vl, 10000);
    cr_expect(p2c_is_noise(&stats, 2.4e6F, now_ns()));
    cr_expect_not(p2c_is_noise(&stats, 2.6e6F, now_ns()));
}

/* ---- the averages, one answer at a time ---- */

/* End a unary call that took `ms`, now; it began after the last answer. */
static void answer(double ms, evener_status_code code)
{
    virtual_loop_advance_ns(vl, (uint64_t)(ms * 1e6));
    end(now_ns() - (uint64_t)(ms * 1e6), code);
}

Test(p2c_load, the_first_answer_is_taken_whole)
{
    backend(0);
    stats.usual_ns = stats.other_ns = 7;
    answer(20, EVENER_STATUS_OK);
    expect_near(stats.latency_ns, 20e6, "the average");
    expect_near(stats.spread_ns, 10e6, "the spread");
    cr_expect_eq(stats.usual_ns, 0.0F);
    cr_expect_eq(stats.other_ns, 0.0F);
}

Test(p2c_load, the_spread_takes_an_eighth_of_a_deviation_and_no_more_than_the_average)
{
    backend(10);
    answer(12, EVENER_STATUS_OK);
    expect_near(stats.spread_ns, 1e5 + (2e6 - 1e5) / 8, "slower");
    backend(10);
    answer(7, EVENER_STATUS_OK);
    expect_near(stats.spread_ns, 1e5 + (3e6 - 1e5) / 8, "faster");
    backend(10);
    answer(90, EVENER_STATUS_OK);
    expect_near(stats.spread_ns, 1e5 + (10e6 - 1e5) / 8, "a pause counts as the average");
}

static void expect_success(double before, double dt_ms, evener_status_code code, double after)
{
    backend(0.001);
    stats.success = (float)before;
    stats.early_ends = 3;
    virtual_loop_advance_ns(vl, (uint64_t)(dt_ms * 1e6));
    end(now_ns() - 2000, code); /* no earlier than usual: no place is held */
    cr_expect_float_eq(stats.success, after, 1e-4, "%f, %f ms, code %d: %f instead of %f", before, dt_ms, (int)code,
                       (double)stats.success, after);
    cr_expect_eq(stats.early_ends, code == EVENER_STATUS_OK ? 0 : 3);
}

Test(p2c_load, success_moves_by_time_and_by_least_weights)
{
    expect_success(0.5, 0, EVENER_STATUS_OK, 0.5 + 0.5 / 16);
    expect_success(0.5, 0, EVENER_STATUS_UNAVAILABLE, 0.5 - 0.5 / 8);
    expect_success(0.5, 0, EVENER_STATUS_NOT_FOUND, 0.5);
    expect_success(0.5, DECAY_MS, EVENER_STATUS_OK, 0.875 + 0.125 / 2);
    expect_success(0.5, DECAY_MS, EVENER_STATUS_UNAVAILABLE, 0.875 - 0.875 / 2);
    expect_success(0.5, DECAY_MS, EVENER_STATUS_NOT_FOUND, 0.875);
    expect_success(1, 0, EVENER_STATUS_UNAVAILABLE, 0.875);
}

/* Exactly 1 lets picks take their short way: only when nothing is left of ends not OK. */
Test(p2c_load, success_is_complete_when_nothing_is_left_of_ends_not_ok)
{
    backend(10);
    stats.success = 0.99995F;
    answer(10, EVENER_STATUS_OK);
    cr_expect_eq(stats.success, 1.0F);
    backend(10);
    stats.success = 0.99995F;
    evener_held_add(&stats.held, now_ns(), 10e6F, 2);
    answer(10, EVENER_STATUS_OK);
    cr_expect_eq(stats.success, P2C_NEARLY_ONE, "places are held");
    backend(10);
    stats.success = 0.99995F;
    stats.other_ns = 1e6F;
    answer(10, EVENER_STATUS_OK);
    cr_expect_eq(stats.success, P2C_NEARLY_ONE, "the average is raised");
}

/* An end that says nothing of the backend's health raises the average, and others of its kind take that back. */
Test(p2c_load, what_slow_ends_not_ok_add_is_taken_back_by_fast_ones)
{
    backend(10);
    answer(30, EVENER_STATUS_NOT_FOUND);
    expect_near(stats.latency_ns, 15e6, "the average");
    expect_near(stats.other_ns, 10e6, "what it would be");
    cr_expect_eq(stats.success, P2C_NEARLY_ONE);
    answer(31, EVENER_STATUS_NOT_FOUND);
    expect_near(stats.latency_ns, 19e6, "the average");
    expect_near(stats.other_ns, 10e6, "what it would be");
    answer(3, EVENER_STATUS_UNAVAILABLE);
    expect_near(stats.latency_ns, 19e6, "a failure takes nothing back");
    answer(3, EVENER_STATUS_NOT_FOUND);
    expect_near(stats.latency_ns, 18e6, "a sixteenth less");
    stats.latency_ns = 10.1e6F;
    answer(1, EVENER_STATUS_NOT_FOUND);
    expect_near(stats.latency_ns, 10e6, "not below what it would be");
    answer(1, EVENER_STATUS_NOT_FOUND);
    expect_near(stats.latency_ns, 10e6, "nothing is left to be taken back");
    backend(10);
    answer(1, EVENER_STATUS_NOT_FOUND);
    expect_near(stats.latency_ns, 10e6, "nothing was added");
}

Test(p2c_load, what_the_average_would_be_follows_the_answers_with_ok)
{
    backend(15);
    stats.other_ns = 10e6F;
    stats.success = P2C_NEARLY_ONE;
    answer(20, EVENER_STATUS_OK);
    expect_near(stats.latency_ns, 16.25e6, "the average");
    expect_near(stats.other_ns, 12.5e6, "what it would be");
    stats.latency_ns = 12.6e6F;
    answer(30, EVENER_STATUS_OK);
    cr_expect_gt(stats.other_ns, 0.0F);
    stats.other_ns = stats.latency_ns;
    answer(30, EVENER_STATUS_OK);
    cr_expect_eq(stats.other_ns, 0.0F, "both are the same: nothing is added any more");
    cr_expect_eq(stats.success, 1.0F);
}

/* Of a backend that never answered with OK, while others usually take 10 ms. */
Test(p2c_load, ends_not_ok_before_the_first_answer_make_an_average_of_their_own)
{
    backend(0);
    stats.usual_ns = 10e6F;
    answer(30, EVENER_STATUS_NOT_FOUND);
    cr_expect_eq(stats.latency_ns, 0.0F);
    expect_near(stats.other_ns, 15e6, "above what is usual");
    answer(31, EVENER_STATUS_NOT_FOUND);
    expect_near(stats.other_ns, 19e6, "above itself");
    answer(3, EVENER_STATUS_NOT_FOUND);
    expect_near(stats.other_ns, 18e6, "a sixteenth less");
    answer(3, EVENER_STATUS_CANCELLED);
    expect_near(stats.other_ns, 18e6, "a cancelled call takes nothing back");
    cr_expect_eq(stats.latency_ns, 0.0F);
}

/* ---- answered or not ---- */

Test(p2c_load, an_answer_is_noted_whatever_its_code)
{
    static const evener_status_code codes[] = {EVENER_STATUS_OK, EVENER_STATUS_NOT_FOUND, EVENER_STATUS_UNAVAILABLE,
                                               EVENER_STATUS_CANCELLED};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        backend(10);
        stats.in_flight = 3;
        const uint64_t before_ns = now_ns();
        answer(1, codes[i]);
        const bool answered = codes[i] != EVENER_STATUS_CANCELLED;
        cr_expect_eq(stats.in_flight, 3);
        cr_expect_eq(stats.progress_ns, answered ? now_ns() : before_ns, "code %d", (int)codes[i]);
        cr_expect_eq(stats.answered_around, answered ? 3 : 0, "code %d", (int)codes[i]);
        cr_expect_eq(stats.updated_ns, answered ? now_ns() : before_ns, "code %d", (int)codes[i]);
    }
}

Test(p2c_load, a_call_that_was_not_sent_leaves_the_others_unanswered_as_they_are)
{
    const evener_done_info unsent = {.size = sizeof unsent, .code = EVENER_STATUS_UNAVAILABLE, .not_sent = true};
    backend(10);
    stats.in_flight = 4;
    stats.answered_around = 2;
    p2c_done(&stats, (now_ns() - MS) & ~P2C_KIND, &unsent, LANE);
    cr_expect_eq(stats.answered_around, 1, "it began before the last answer");
    cr_expect_eq(stats.progress_ns, now_ns());
    const uint64_t progress_ns = stats.progress_ns;
    virtual_loop_advance_ms(vl, 5);
    p2c_done(&stats, (progress_ns + MS) & ~P2C_KIND, &unsent, LANE);
    cr_expect_eq(stats.answered_around, 1, "it began after it");
    cr_expect_eq(stats.progress_ns, (progress_ns + MS) & ~P2C_KIND, "the others are taken to have begun later");
    cr_expect_eq(stats.in_flight, 2);
}

Test(p2c_load, cancelled_calls_wait_until_the_last_one_began)
{
    backend(10);
    virtual_loop_advance_ms(vl, 50);
    stats.picked_ns = now_ns() - 20 * MS;
    expect_near(p2c_waited_ns(&stats, 1, now_ns()), 50e6, "one is in flight");
    expect_near(p2c_waited_ns(&stats, 0, now_ns()), 30e6, "none is in flight");
    stats.answered_around = (uint32_t)-1; /* one that was cancelled late */
    expect_near(p2c_cost(&stats, NULL, now_ns(), &usual), 15e6, "half of that stands for the latency");
}
