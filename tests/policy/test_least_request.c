/* least_request (A48): whom it picks, what it counts, and what it may leave out. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lb/policy/least_request_load.h"
#include "tests/support/policy_harness.h"

#define A "10.0.0.1:1"
#define B "10.0.0.2:1"
#define C "10.0.0.3:1"
#define WEIGHTED A ";weight=6," B ";weight=3," C ";weight=1"

static policy_harness *ready_harness(const char *config, const char *list)
{
    policy_harness *h = harness_create("least_request", config);
    h->connect_succeeds = true;
    cr_assert_eq(harness_update(h, list), EVENER_STATUS_OK);
    cr_assert_eq(h->state, EVENER_READY);
    return h;
}

/* A48: of the choices, the one with the fewest calls under way */
Test(least_request, picks_the_one_with_fewest_calls)
{
    policy_harness *h = ready_harness("{\"choiceCount\":3}", A "," B "," C);
    evener_pick picks[30];
    for (size_t i = 0; i < 30; i++) {
        cr_assert_eq(harness_pick(h, NULL, &picks[i], NULL), EVENER_PICK_COMPLETE);
    }
    cr_assert_eq(evener_subchannel_in_flight(harness_find(h, A)), 10);
    cr_assert_eq(evener_subchannel_in_flight(harness_find(h, B)), 10);
    cr_assert_eq(evener_subchannel_in_flight(harness_find(h, C)), 10);
    for (size_t i = 0; i < 30; i++) {
        if (picks[i].subchannel == harness_find(h, B)) {
            harness_done(h, &picks[i], EVENER_STATUS_OK);
        } else {
            picks[i].layer_count = UINT32_MAX;
        }
    }
    for (size_t i = 0; i < 10; i++) {
        cr_assert_str_eq(harness_pick_one(h), B);
    }
    for (size_t i = 0; i < 30; i++) {
        if (picks[i].layer_count == UINT32_MAX) {
            picks[i].layer_count = 0;
            harness_done(h, &picks[i], EVENER_STATUS_OK);
        }
    }
    harness_destroy(h);
}

/* A48: counters survive updates */
Test(least_request, counters_survive_updates)
{
    policy_harness *h = ready_harness(NULL, A "," B);
    evener_pick pick;
    harness_pick(h, NULL, &pick, NULL);
    const bool on_a = pick.subchannel == harness_find(h, A);
    harness_update(h, B ";x=1," A ";x=1");
    for (int i = 0; i < 20; i++) {
        cr_assert_str_eq(harness_pick_one(h), on_a ? B : A);
    }
    harness_done(h, &pick, EVENER_STATUS_OK);
    harness_destroy(h);
}

/* Loads are compared by weight: with calls outstanding, 6:3:1. */
Test(least_request, respects_weights)
{
    policy_harness *h = ready_harness("{\"choiceCount\":10}", WEIGHTED);
    evener_pick picks[100];
    for (size_t i = 0; i < 100; i++) {
        harness_pick(h, NULL, &picks[i], NULL);
    }
    const double in_flight[] = {(double)evener_subchannel_in_flight(harness_find(h, A)),
                                (double)evener_subchannel_in_flight(harness_find(h, B)),
                                (double)evener_subchannel_in_flight(harness_find(h, C))};
    cr_assert_float_eq(in_flight[0], 60, 6, "%g", in_flight[0]);
    cr_assert_float_eq(in_flight[1], 30, 4, "%g", in_flight[1]);
    cr_assert_float_eq(in_flight[2], 10, 3, "%g", in_flight[2]);
    for (size_t i = 0; i < 100; i++) {
        harness_done(h, &picks[i], EVENER_STATUS_OK);
    }
    harness_destroy(h);
}

Test(least_request, two_choices_of_many_avoid_the_busy_one)
{
    policy_harness *h = ready_harness(NULL, A "," B "," C ",10.0.0.4:1,10.0.0.5:1,10.0.0.6:1,10.0.0.7:1,10.0.0.8:1");
    evener_pick busy;
    do {
        harness_pick(h, NULL, &busy, NULL);
        if (busy.subchannel != harness_find(h, A)) {
            harness_done(h, &busy, EVENER_STATUS_OK);
        }
    } while (busy.subchannel != harness_find(h, A));
    size_t counts[8];
    harness_count_picks(h, 8000, counts);
    cr_assert_eq(counts[0], 0, "two distinct choices never end at the only busy one");
    for (size_t i = 1; i < 8; i++) {
        cr_assert_float_eq((double)counts[i], 8000 / 7.0, 150);
    }
    harness_done(h, &busy, EVENER_STATUS_OK);
    harness_destroy(h);
}

/* One that has more calls than chance explains is compared with another one, if a few draws find any. */
Test(least_request, a_pick_ends_however_uneven_the_weights)
{
    policy_harness *h = ready_harness(NULL, A ";weight=4294967295," B ";weight=1," C ";weight=1");
    evener_pick picks[16];
    for (size_t i = 0; i < 16; i++) {
        cr_assert_eq(harness_pick(h, NULL, &picks[i], NULL), EVENER_PICK_COMPLETE);
        cr_assert_eq(picks[i].subchannel, harness_find(h, A), "%zu", i);
    }
    for (size_t i = 0; i < 16; i++) {
        harness_done(h, &picks[i], EVENER_STATUS_OK);
    }
    harness_destroy(h);
}

/* Hold calls until these are in flight at A and B. */
static size_t hold(policy_harness *h, evener_pick *held, uint64_t at_a, uint64_t at_b)
{
    size_t count = 0, tries = 0;
    while (evener_subchannel_in_flight(harness_find(h, A)) + evener_subchannel_in_flight(harness_find(h, B)) <
           at_a + at_b) {
        cr_assert_lt(tries++, 10000, "%zu calls are held", count);
        cr_assert_eq(harness_pick(h, NULL, &held[count], NULL), EVENER_PICK_COMPLETE);
        const bool on_a = held[count].subchannel == harness_find(h, A);
        const uint64_t now = evener_subchannel_in_flight(held[count].subchannel);
        if (now > (on_a ? at_a : at_b)) {
            const evener_done_info unsent = {.size = sizeof unsent, .code = EVENER_STATUS_OK, .not_sent = true};
            harness_done_with(h, &held[count], &unsent);
        } else {
            count++;
        }
    }
    return count;
}

/* Of weights 2 and 1, the first one has two thirds of the calls, 3 more and two deviations by chance: of 34 calls
 * 22.7 + 3 + 5.5, of 35 23.3 + 3 + 5.6. */
Test(least_request, more_calls_than_chance_explains_are_an_overload)
{
    static const struct {
        uint64_t at_a, at_b;
        bool overloaded;
    } cases[] = {{6, 3, false}, {31, 3, false}, {32, 3, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        policy_harness *h = ready_harness(NULL, A ";weight=2," B ";weight=1");
        static evener_pick held[64];
        const size_t count = hold(h, held, cases[i].at_a, cases[i].at_b);
        size_t picks[2];
        harness_count_picks(h, 1000, picks);
        cr_expect(cases[i].overloaded ? picks[0] == 0 : picks[0] > 300, "%zu: %zu", i, picks[0]);
        for (size_t k = 0; k < count; k++) {
            harness_done(h, &held[k], EVENER_STATUS_OK);
        }
        harness_destroy(h);
    }
}

/* A48: choiceCount below 2 is refused, above 10 it counts as 10 */
Test(least_request, choice_count_has_bounds)
{
    evener_policy_choice choice = {0};
    evener_status status;
    cr_assert_eq(evener_policy_choose(NULL, "[{\"least_request\":{\"choiceCount\":1}}]", "lb", &choice, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(status.message, "choiceCount"), "%s", status.message);
    cr_assert_eq(
        evener_policy_choose(NULL, "[{\"least_request_experimental\":{\"choiceCount\":1000}}]", "lb", &choice, &status),
        EVENER_STATUS_OK);
    evener_policy_choice_clear(&choice);
}

/* ---- calls that are over at once ---- */

static void pick_on_any_lane(policy_harness *h, evener_pick *picks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        h->lane = (uint32_t)evener_loop_random_below(h->loop, EVENER_LANES);
        cr_assert_eq(harness_pick(h, NULL, &picks[i], NULL), EVENER_PICK_COMPLETE);
    }
}

static void done_on_any_lane(policy_harness *h, evener_pick *picks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        h->lane = (uint32_t)evener_loop_random_below(h->loop, EVENER_LANES);
        harness_done(h, &picks[i], EVENER_STATUS_OK);
    }
}

/* Of three backends, each always gets a third of the calls under way. */
static void assert_exact_over_all_lanes(policy_harness *h)
{
    static evener_pick picks[30];
    for (int round = 0; round < 20; round++) {
        pick_on_any_lane(h, picks, 30);
        cr_assert_eq(evener_subchannel_in_flight(harness_find(h, A)), 10);
        cr_assert_eq(evener_subchannel_in_flight(harness_find(h, B)), 10);
        harness_advance_ms(h, 1);
        done_on_any_lane(h, picks, 30);
    }
}

/* Calls that take their time are counted for all lanes to see, on whichever they begin and end. */
Test(least_request, counts_are_exact_over_all_lanes)
{
    policy_harness *h = ready_harness("{\"choiceCount\":3}", A "," B "," C);
    assert_exact_over_all_lanes(h);
    harness_destroy(h);
}

/* Where calls are over at once each lane leaves one out: no more. */
Test(least_request, of_brief_calls_each_lane_leaves_one_out)
{
    policy_harness *h = ready_harness("{\"choiceCount\":2}", A "," B);
    enum { MANY = 8 * EVENER_LANES };
    static evener_pick picks[MANY];
    for (int round = 0; round < 50; round++) {
        for (h->lane = 0; h->lane < EVENER_LANES; h->lane++) {
            for (int i = 0; i < 4; i++) { /* also ends what is left of glances that ended on another lane */
                (void)harness_pick_one(h);
            }
        }
        pick_on_any_lane(h, picks, MANY);
        const uint64_t on_a = evener_subchannel_in_flight(harness_find(h, A));
        cr_assert_geq(on_a, MANY / 2 - EVENER_LANES, "%llu", (unsigned long long)on_a);
        cr_assert_leq(on_a, MANY / 2 + EVENER_LANES, "%llu", (unsigned long long)on_a);
        done_on_any_lane(h, picks, MANY);
    }
    harness_destroy(h);
}

/* A lane whose one call that was left out hangs counts all others. */
Test(least_request, a_brief_backend_that_hangs_is_avoided_from_the_second_call_on)
{
    policy_harness *h = ready_harness("{\"choiceCount\":2}", A "," B);
    size_t counts[2];
    harness_count_picks(h, 1000, counts);
    evener_pick hung[2];
    size_t count = 0;
    while (count < 2) {
        harness_pick(h, NULL, &hung[count], NULL);
        if (hung[count].subchannel == harness_find(h, A)) {
            count++;
        } else {
            harness_done(h, &hung[count], EVENER_STATUS_OK);
        }
    }
    harness_count_picks(h, 1000, counts);
    cr_assert_eq(counts[0], 0, "%zu", counts[0]);
    for (h->lane = 1; h->lane < EVENER_LANES; h->lane++) {
        harness_count_picks(h, 1000, counts);
        cr_assert_eq(counts[0], 0, "lane %u: %zu", h->lane, counts[0]);
    }
    h->lane = 0;
    harness_done(h, &hung[0], EVENER_STATUS_OK);
    harness_done(h, &hung[1], EVENER_STATUS_OK);
    harness_destroy(h);
}

/* Calls that were brief and take their time now are counted again, all of them. */
Test(least_request, calls_that_got_longer_are_counted_again)
{
    enum { MANY = 9000 };
    policy_harness *h = ready_harness("{\"choiceCount\":3}", A "," B "," C);
    static evener_pick picks[MANY];
    size_t counts[3];
    harness_count_picks(h, 1000, counts);
    pick_on_any_lane(h, picks, MANY);
    harness_advance_ms(h, 1);
    done_on_any_lane(h, picks, MANY);
    assert_exact_over_all_lanes(h);
    harness_destroy(h);
}

static void call_us(policy_harness *h, uint64_t us, evener_status_code code)
{
    evener_pick pick;
    cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    virtual_loop_advance_ns(h->vl, us * EVENER_NS_PER_US);
    harness_done(h, &pick, code);
}

/* Calls are brief below 10 us, by the last one and on average; a failure ends it, and an OK after failures. */
Test(least_request, which_calls_are_brief)
{
    policy_harness *h = ready_harness(NULL, A);
    const least_request_backend *backend = evener_subchannel_data(harness_find(h, A));
    virtual_loop_advance_ns(h->vl, 1000);
    cr_expect_not(backend->brief, "nothing is known");
    call_us(h, 9, EVENER_STATUS_OK);
    cr_expect(backend->brief);
    cr_expect_float_eq(backend->usual_ns, 9000, 10);
    call_us(h, 1, EVENER_STATUS_INTERNAL);
    cr_expect_not(backend->brief);
    call_us(h, 1, EVENER_STATUS_OK);
    cr_expect_not(backend->brief, "it failed a moment ago");
    call_us(h, 1, EVENER_STATUS_OK);
    cr_expect(backend->brief);
    harness_destroy(h);
    h = ready_harness(NULL, A);
    backend = evener_subchannel_data(harness_find(h, A));
    virtual_loop_advance_ns(h->vl, 1000);
    call_us(h, 20, EVENER_STATUS_OK);
    cr_expect_not(backend->brief);
    call_us(h, 1, EVENER_STATUS_OK);
    cr_expect_not(backend->brief, "the average is not");
    harness_destroy(h);
}

/* Of several backends that are alike, and were not tried, each gets the same share of the picks. */
Test(least_request, untried_backends_share_the_picks)
{
    policy_harness *h = ready_harness(NULL, "10.0.0.1:1,10.0.0.2:1,10.0.0.3:1,10.0.0.4:1");
    const char *const tried[] = {"10.0.0.2:1"};
    const evener_pick_args args = {.size = sizeof args, .tried = tried, .tried_count = 1};
    size_t counts[4] = {0};
    for (int i = 0; i < 4000; i++) {
        evener_pick pick;
        cr_assert_eq(harness_pick(h, &args, &pick, NULL), EVENER_PICK_COMPLETE);
        counts[evener_subchannel_address_text(pick.subchannel)[7] - '1']++;
        harness_done(h, &pick, EVENER_STATUS_OK);
    }
    cr_expect_eq(counts[1], 0);
    for (int b = 0; b < 4; b++) {
        cr_expect(b == 1 || (counts[b] > 1200 && counts[b] < 1470), "backend %d: %zu", b, counts[b]);
    }
    harness_destroy(h);
}

/* ---- why this backend? ---- */

typedef struct heard {
    size_t candidates;
    double least;
    char reason[32];
} heard;

static void hear_candidate(void *arg, const char *address, double load, const char *note)
{
    heard *seen = arg;
    (void)note;
    cr_assert_eq(strncmp(address, "10.0.0.", 7), 0);
    seen->least = seen->candidates++ == 0 || load < seen->least ? load : seen->least;
}

static void hear_reason(void *arg, const char *reason)
{
    snprintf(((heard *)arg)->reason, sizeof((heard *)arg)->reason, "%s", reason);
}

Test(least_request, tells_what_it_weighed)
{
    policy_harness *h = ready_harness("{\"choiceCount\":3}", WEIGHTED);
    heard seen = {0};
    const evener_pick_trace trace = {
        .size = sizeof trace, .arg = &seen, .candidate = hear_candidate, .reason = hear_reason};
    const evener_pick_args args = {.size = sizeof args, .trace = &trace};
    evener_pick pick;
    cr_assert_eq(harness_pick(h, &args, &pick, NULL), EVENER_PICK_COMPLETE);
    cr_assert_eq(seen.candidates, 3);
    cr_assert_float_eq(seen.least, 1 / 6.0, 1e-9);
    cr_assert_str_eq(seen.reason, "fewest calls");
    cr_assert_eq(pick.subchannel, harness_find(h, A));
    harness_done(h, &pick, EVENER_STATUS_OK);
    harness_destroy(h);
}
