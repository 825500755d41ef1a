/* round_robin: semantics of core's round_robin.cc, by the names of round_robin_test.cc and
 * client_lb_end2end_test.cc. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/support/policy_harness.h"

#define A "10.0.0.1:1"
#define B "10.0.0.2:1"
#define C "10.0.0.3:1"

static policy_harness *ready_harness(const char *list)
{
    policy_harness *h = harness_create("round_robin", NULL);
    h->connect_succeeds = true;
    cr_assert_eq(harness_update(h, list), EVENER_STATUS_OK);
    cr_assert_eq(h->state, EVENER_READY);
    return h;
}

/* core round_robin_test.cc: Basic */
Test(round_robin, basic)
{
    policy_harness *h = harness_create("round_robin", NULL);
    cr_assert_eq(harness_update(h, A "," B "," C), EVENER_STATUS_OK);
    cr_assert_eq(h->state, EVENER_CONNECTING);
    cr_assert_str_eq(harness_connect_log(h), A "@0 " B "@0 " C "@0");
    cr_assert_str_eq(harness_pick_one(h), "queue");
    harness_set(h, A, EVENER_READY);
    cr_assert_eq(h->state, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), A);
    harness_set(h, B "," C, EVENER_READY);
    size_t counts[3];
    harness_count_picks(h, 9, counts);
    cr_assert(counts[0] == 3 && counts[1] == 3 && counts[2] == 3);
    harness_destroy(h);
}

/* Exact: n picks on one picker of n backends give each exactly one, whatever the lane. */
Test(round_robin, n_picks_on_one_picker_give_each_backend_exactly_one)
{
    policy_harness *h = ready_harness(A "," B "," C ",10.0.0.4:1,10.0.0.5:1,10.0.0.6:1,10.0.0.7:1");
    for (uint32_t lane = 0; lane < EVENER_LANES; lane++) {
        h->lane = lane;
        for (size_t round = 0; round < 20; round++) {
            size_t counts[7];
            harness_count_picks(h, 7, counts);
            for (size_t i = 0; i < 7; i++) {
                cr_assert_eq(counts[i], 1, "lane %u, round %zu: %zu", lane, round, counts[i]);
            }
        }
    }
    harness_destroy(h);
}

/* Lanes in step would meet on one backend after the other, and leave the others idle. */
Test(round_robin, lanes_that_meet_on_a_backend_part_with_the_next_pick)
{
    policy_harness *h = ready_harness(A "," B "," C ",10.0.0.4:1,10.0.0.5:1,10.0.0.6:1,10.0.0.7:1");
    char at[6][64]; /* strides 1 to 3, forwards and backwards */
    for (size_t round = 0; round < 50; round++) {
        char before[6][64];
        memcpy(before, at, sizeof before);
        for (uint32_t lane = 0; lane < 6; lane++) {
            h->lane = lane;
            strcpy(at[lane], harness_pick_one(h));
            for (uint32_t other = 0; other < lane && round > 0; other++) {
                cr_assert(strcmp(at[lane], at[other]) != 0 || strcmp(before[lane], before[other]) != 0,
                          "lanes %u and %u are in step at %s", lane, other, at[lane]);
            }
        }
    }
    harness_destroy(h);
}

/* Each lane goes round in steps of its own, as long as the list has numbers that visit all of it. */
Test(round_robin, the_strides_of_the_lanes_are_all_that_visit_every_backend)
{
    static const struct {
        const char *list;
        size_t count, strides[8]; /* of the lanes from 0 on */
    } cases[] = {
        {A "," B, 2, {1, 1, 1, 1, 1, 1, 1, 1}},
        {A "," B "," C, 3, {1, 2, 1, 2, 1, 2, 1, 2}},
        {A "," B "," C ",10.0.0.4:1,10.0.0.5:1", 5, {1, 4, 2, 3, 1, 4, 2, 3}},
        {A "," B "," C ",10.0.0.4:1,10.0.0.5:1,10.0.0.6:1", 6, {1, 5, 1, 5, 1, 5, 1, 5}},
        {A "," B "," C ",10.0.0.4:1,10.0.0.5:1,10.0.0.6:1,10.0.0.7:1", 7, {1, 6, 2, 5, 3, 4, 1, 6}},
        {A "," B "," C ",10.0.0.4:1,10.0.0.5:1,10.0.0.6:1,10.0.0.7:1,10.0.0.8:1", 8, {1, 7, 3, 5, 1, 7, 3, 5}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        policy_harness *h = ready_harness(cases[c].list);
        for (uint32_t lane = 0; lane < 8; lane++) {
            h->lane = lane;
            const size_t from = (size_t)(harness_pick_one(h)[7] - '1'), to = (size_t)(harness_pick_one(h)[7] - '1');
            cr_expect_eq((to + cases[c].count - from) % cases[c].count, cases[c].strides[lane],
                         "%zu, lane %u: %zu, %zu", cases[c].count, lane, from, to);
        }
        harness_destroy(h);
    }
}

/* As the founding scenario has it: one calling thread alternates. */
Test(round_robin, one_lane_goes_round_in_the_same_order_always)
{
    policy_harness *h = ready_harness(A "," B "," C);
    for (uint32_t lane = 0; lane < EVENER_LANES; lane++) {
        h->lane = lane;
        char first[3][64];
        for (size_t i = 0; i < 30; i++) {
            const char *picked = harness_pick_one(h);
            if (i < 3) {
                strcpy(first[i], picked);
            }
            cr_assert_str_eq(picked, first[i % 3], "lane %u, pick %zu", lane, i);
        }
    }
    harness_destroy(h);
}

/* Documented bound: over T threads no backend has more than T picks more than another. */
Test(round_robin, picks_over_all_lanes_differ_by_at_most_one_a_lane)
{
    policy_harness *h = ready_harness(A "," B "," C ",10.0.0.4:1,10.0.0.5:1");
    size_t totals[5] = {0};
    for (size_t round = 0; round < 400; round++) {
        h->lane = (uint32_t)evener_loop_random_below(h->loop, EVENER_LANES);
        size_t counts[5];
        harness_count_picks(h, 1 + evener_loop_random_below(h->loop, 3), counts);
        size_t low = SIZE_MAX, high = 0;
        for (size_t i = 0; i < 5; i++) {
            totals[i] += counts[i];
            low = totals[i] < low ? totals[i] : low;
            high = totals[i] > high ? totals[i] : high;
        }
        cr_assert_leq(high - low, EVENER_LANES);
    }
    harness_destroy(h);
}

/* grpc-java 4462: a start at 0 gave the first backends 3-4 times the load */
Test(round_robin, pickers_start_at_random)
{
    policy_harness *h = ready_harness(A "," B "," C);
    size_t firsts[3] = {0};
    for (size_t i = 0; i < 300; i++) {
        harness_update(h, i % 2 == 0 ? A ";x=1," B "," C : A ";x=2," B "," C); /* a new picker */
        size_t counts[3];
        harness_count_picks(h, 1, counts);
        for (size_t j = 0; j < 3; j++) {
            firsts[j] += counts[j];
        }
    }
    for (size_t j = 0; j < 3; j++) {
        cr_assert(firsts[j] > 60 && firsts[j] < 140, "%zu", firsts[j]);
    }
    harness_destroy(h);
}

/* core round_robin_test.cc: AddressUpdates */
Test(round_robin, address_updates)
{
    policy_harness *h = ready_harness(A "," B "," C);
    /* Goes away: is not picked any more, without a reconnection of the others. */
    harness_connect_log_clear(h);
    cr_assert_eq(harness_update(h, A "," C), EVENER_STATUS_OK);
    size_t counts[3];
    harness_count_picks(h, 8, counts);
    cr_assert(counts[0] == 4 && counts[1] == 4);
    cr_assert_eq(h->connect_count, 0);
    cr_assert_null(harness_find(h, B));
    /* Comes back. */
    cr_assert_eq(harness_update(h, A "," B "," C), EVENER_STATUS_OK);
    harness_count_picks(h, 9, counts);
    cr_assert(counts[0] == 3 && counts[1] == 3 && counts[2] == 3);
    cr_assert_str_eq(harness_connect_log(h), B "@0");
    harness_destroy(h);
}

/* core client_lb_end2end_test.cc: RoundRobin Updates, UpdateInError */
Test(round_robin, update_in_error_serves_on_with_what_is_ready)
{
    policy_harness *h = ready_harness(A);
    h->connect_succeeds = false;
    harness_update(h, A "," B "," C);
    harness_fail(h, B, "no route");
    cr_assert_eq(h->state, EVENER_READY);
    for (int i = 0; i < 10; i++) {
        cr_assert_str_eq(harness_pick_one(h), A);
    }
    harness_destroy(h);
}

/* A new list takes over when it has one READY and all its members have reported. */
Test(round_robin, disjoint_list_takes_over_when_it_serves)
{
    policy_harness *h = ready_harness(A "," B);
    h->connect_succeeds = false;
    cr_assert_eq(harness_update(h, C ",10.0.0.4:1"), EVENER_STATUS_OK);
    cr_assert_eq(h->state, EVENER_READY);
    cr_assert_neq(strcmp(harness_pick_one(h), C), 0);
    cr_assert_not_null(harness_find(h, A));
    harness_set(h, C, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), C);
    cr_assert_null(harness_find(h, A));
    cr_assert_null(harness_find(h, B));
    harness_destroy(h);
}

/* ... or when the old list has no READY. */
Test(round_robin, new_list_takes_over_when_the_old_one_has_no_ready)
{
    policy_harness *h = ready_harness(A);
    h->connect_succeeds = false;
    harness_update(h, B);
    cr_assert_str_eq(harness_pick_one(h), A);
    harness_set(h, A, EVENER_IDLE);
    cr_assert_eq(h->state, EVENER_CONNECTING);
    cr_assert_null(harness_find(h, A));
    harness_set(h, B, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), B);
    harness_destroy(h);
}

/* evener departs from core here: a list of dead backends does not displace one that serves. */
Test(round_robin, new_list_that_only_fails_does_not_displace_one_that_serves)
{
    policy_harness *h = ready_harness(A);
    h->connect_succeeds = false;
    harness_update(h, B "," C);
    harness_set(h, B "," C, EVENER_TRANSIENT_FAILURE);
    cr_assert_eq(h->state, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), A);
    harness_fail(h, A, "gone too");
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    cr_assert_null(harness_find(h, A));
    harness_destroy(h);
}

Test(round_robin, a_newer_list_replaces_one_that_still_waits)
{
    policy_harness *h = ready_harness(A);
    h->connect_succeeds = false;
    harness_update(h, B);
    harness_update(h, A "," C);
    cr_assert_null(harness_find(h, B));
    cr_assert_not_null(harness_find(h, A));
    harness_set(h, C, EVENER_READY);
    size_t counts[2];
    harness_count_picks(h, 4, counts);
    cr_assert(counts[0] == 2 && counts[1] == 2);
    harness_destroy(h);
}

/* READY if any is; else CONNECTING if any is CONNECTING or IDLE; else TRANSIENT_FAILURE. */
Test(round_robin, aggregates_states)
{
    policy_harness *h = harness_create("round_robin", NULL);
    harness_update(h, A "," B);
    harness_fail(h, A, "refused");
    cr_assert_eq(h->state, EVENER_CONNECTING);
    harness_fail(h, B, "refused");
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    cr_assert_str_eq(harness_pick_one(h), "fail");
    harness_set(h, B, EVENER_READY);
    cr_assert_eq(h->state, EVENER_READY);
    harness_set(h, B, EVENER_IDLE);
    cr_assert_eq(h->state, EVENER_CONNECTING);
    harness_destroy(h);
}

/* A62: a failing subchannel stays failing through its retries; core: DoesNotFlapStateWhenAllSubchannelsFail... */
Test(round_robin, transient_failure_is_sticky_until_ready)
{
    policy_harness *h = harness_create("round_robin", NULL);
    harness_update(h, A "," B);
    harness_set(h, A "," B, EVENER_TRANSIENT_FAILURE);
    for (int i = 0; i < 3; i++) {
        harness_set(h, A "," B, EVENER_IDLE);
        cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
        cr_assert_eq(harness_subchannel_state(harness_find(h, A)), EVENER_CONNECTING, "is connected again");
        harness_set(h, A, EVENER_TRANSIENT_FAILURE);
        cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
        harness_set(h, B, EVENER_TRANSIENT_FAILURE);
    }
    harness_set(h, A, EVENER_IDLE);
    harness_set(h, A, EVENER_READY);
    cr_assert_eq(h->state, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), A);
    harness_destroy(h);
}

/* core client_lb_end2end_test.cc: RoundRobin FailsInTransientFailure, latest error */
Test(round_robin, fails_with_the_latest_error)
{
    policy_harness *h = harness_create("round_robin", NULL);
    harness_update(h, A "," B);
    harness_fail(h, A, "first");
    harness_fail(h, B, "second");
    evener_pick pick;
    evener_status status;
    cr_assert_eq(harness_pick(h, NULL, &pick, &status), EVENER_PICK_FAIL);
    cr_assert_eq(status.code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_str_eq(status.message, "connections to all backends failing; last error: " B ": second");
    harness_fail(h, A, "third");
    harness_pick(h, NULL, &pick, &status);
    cr_assert_str_eq(status.message, "connections to all backends failing; last error: " A ": third");
    harness_destroy(h);
}

/* core client_lb_end2end_test.cc: RoundRobin ReresolveOnSubchannelConnectionFailure */
Test(round_robin, asks_for_reresolution_when_a_connection_fails_or_drops)
{
    policy_harness *h = harness_create("round_robin", NULL);
    harness_update(h, A "," B);
    cr_assert_eq(h->reresolutions, 0);
    harness_set(h, A, EVENER_READY);
    cr_assert_eq(h->reresolutions, 0);
    harness_fail(h, B, "refused");
    cr_assert_eq(h->reresolutions, 1);
    harness_set(h, A, EVENER_IDLE);
    cr_assert_eq(h->reresolutions, 2);
    harness_destroy(h);
}

/* core round_robin_test.cc: a subchannel that goes IDLE is reconnected */
Test(round_robin, reconnects_a_subchannel_that_goes_idle)
{
    policy_harness *h = ready_harness(A "," B);
    h->connect_succeeds = false;
    harness_set(h, A, EVENER_IDLE);
    cr_assert_eq(harness_connects(h, A), 2);
    for (int i = 0; i < 4; i++) {
        cr_assert_str_eq(harness_pick_one(h), B);
    }
    harness_set(h, A, EVENER_READY);
    size_t counts[2];
    harness_count_picks(h, 4, counts);
    cr_assert(counts[0] == 2 && counts[1] == 2);
    harness_destroy(h);
}

/* core: empty address list fails at once (grpc: an update without addresses is UNAVAILABLE) */
Test(round_robin, empty_list_fails_and_the_next_one_serves)
{
    policy_harness *h = ready_harness(A);
    evener_status status;
    cr_assert_eq(harness_update_quietly(h, "", &status), EVENER_STATUS_UNAVAILABLE);
    cr_assert_not_null(strstr(status.message, "test:///service"), "%s", status.message);
    harness_run(h);
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    cr_assert_str_eq(harness_pick_one(h), "fail");
    cr_assert_eq(h->subchannel_count, 0);
    harness_update(h, B);
    cr_assert_str_eq(harness_pick_one(h), B);
    harness_destroy(h);
}

Test(round_robin, resolver_error_without_a_list_fails_and_with_one_changes_nothing)
{
    policy_harness *h = harness_create("round_robin", NULL);
    harness_resolver_error(h, "DNS is down");
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    cr_assert_str_eq(h->status.message, "DNS is down");
    h->connect_succeeds = true;
    harness_update(h, A);
    harness_resolver_error(h, "DNS is down");
    cr_assert_eq(h->state, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), A);
    harness_destroy(h);
}

Test(round_robin, duplicates_count_once)
{
    policy_harness *h = ready_harness(A "," B "," A "," A);
    cr_assert_eq(h->subchannel_count, 2);
    size_t counts[4];
    harness_count_picks(h, 10, counts);
    cr_assert(counts[0] == 5 && counts[1] == 5);
    harness_destroy(h);
}

Test(round_robin, calls_under_way_finish_after_their_backend_is_gone)
{
    policy_harness *h = ready_harness(A);
    evener_pick pick;
    cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    harness_update(h, B);
    cr_assert_null(harness_find(h, A));
    cr_assert_str_eq(evener_subchannel_address_text(pick.subchannel), A);
    harness_done(h, &pick, EVENER_STATUS_OK);
    harness_destroy(h);
}

Test(round_robin, closes_while_a_picker_is_about_to_be_published)
{
    policy_harness *h = ready_harness(A "," B);
    evener_status status;
    cr_assert_eq(harness_update_quietly(h, A ";zone=x," B, &status), EVENER_STATUS_OK);
    harness_destroy(h);
}
