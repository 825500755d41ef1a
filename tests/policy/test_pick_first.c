/* pick_first: A62, A61, RFC 8305; by the names of core's pick_first_test.cc and client_lb_end2end_test.cc and of
 * grpc-go's pickfirst_ext_test.go. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/policy_harness.h"

#define A "10.0.0.1:1"
#define B "10.0.0.2:1"
#define C "10.0.0.3:1"
#define D "10.0.0.4:1"

static policy_harness *harness_with(const char *list)
{
    policy_harness *h = harness_create("pick_first", NULL);
    cr_assert_eq(harness_update(h, list), EVENER_STATUS_OK);
    return h;
}

static policy_harness *ready_harness(const char *list, const char *ready)
{
    policy_harness *h = harness_with(list);
    for (size_t i = 0; i < 10 && strcmp(harness_pick_one(h), ready) != 0; i++) {
        if (harness_connects(h, ready) > 0) {
            harness_set(h, ready, EVENER_READY);
        } else {
            harness_advance_ms(h, 250);
        }
    }
    cr_assert_str_eq(harness_pick_one(h), ready);
    return h;
}

static void assert_fails_with(policy_harness *h, const char *message)
{
    evener_pick pick;
    evener_status status;
    cr_assert_eq(harness_pick(h, NULL, &pick, &status), EVENER_PICK_FAIL);
    cr_assert_eq(status.code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_str_eq(status.message, message);
}

/* core pick_first_test.cc: FirstAddressWorks; grpc-go: PickFirst_OneBackend */
Test(pick_first, first_address_works)
{
    policy_harness *h = harness_with(A "," B);
    cr_assert_eq(h->state, EVENER_CONNECTING);
    cr_assert_str_eq(harness_pick_one(h), "queue");
    cr_assert_str_eq(harness_connect_log(h), A "@0");
    harness_set(h, A, EVENER_READY);
    cr_assert_eq(h->state, EVENER_READY);
    for (int i = 0; i < 5; i++) {
        cr_assert_str_eq(harness_pick_one(h), A);
    }
    cr_assert_null(harness_find(h, B), "the others are dropped");
    harness_advance_ms(h, 10000);
    cr_assert_eq(h->connect_count, 1);
    harness_destroy(h);
}

/* core pick_first_test.cc: FirstAddressFails; grpc-go: PickFirst_MultipleBackends */
Test(pick_first, first_address_fails)
{
    policy_harness *h = harness_with(A "," B);
    harness_fail(h, A, "refused");
    cr_assert_str_eq(harness_connect_log(h), A "@0 " B "@0");
    cr_assert_eq(h->state, EVENER_CONNECTING);
    cr_assert_eq(h->reresolutions, 0);
    harness_set(h, B, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), B);
    harness_destroy(h);
}

/* A61, RFC 8305 section 5: the next attempt starts after 250 ms; core: HappyEyeballs */
Test(pick_first, happy_eyeballs)
{
    policy_harness *h = harness_with(A "," B "," C);
    harness_advance_ms(h, 249);
    cr_assert_eq(h->connect_count, 1);
    harness_advance_ms(h, 1);
    cr_assert_str_eq(harness_connect_log(h), A "@0 " B "@250");
    harness_advance_ms(h, 250);
    cr_assert_str_eq(harness_connect_log(h), A "@0 " B "@250 " C "@500");
    /* No timer after the last address. */
    cr_assert_eq(virtual_loop_next_deadline_ns(h->vl), UINT64_MAX);
    harness_set(h, B, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), B);
    cr_assert_eq(h->subchannel_count, 1);
    harness_destroy(h);
}

/* core pick_first_test.cc: HappyEyeballsCompletesWithoutSuccess */
Test(pick_first, happy_eyeballs_completes_without_success)
{
    policy_harness *h = harness_with(A "," B "," C);
    harness_advance_ms(h, 250);
    harness_fail(h, B, "two"); /* the newest attempt: the next one starts at once */
    cr_assert_str_eq(harness_connect_log(h), A "@0 " B "@250 " C "@250");
    harness_fail(h, C, "three");
    cr_assert_eq(h->state, EVENER_CONNECTING, "A is still under way");
    cr_assert_eq(h->reresolutions, 0);
    harness_fail(h, A, "one");
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    cr_assert_eq(h->reresolutions, 1);
    assert_fails_with(h, "failed to connect to all addresses; last error: " A ": one");
    harness_destroy(h);
}

/* core pick_first_test.cc: HappyEyeballsLastSubchannelFailsWhileAnotherIsStillPending */
Test(pick_first, happy_eyeballs_last_subchannel_fails_while_another_is_still_pending)
{
    policy_harness *h = harness_with(A "," B);
    harness_advance_ms(h, 250);
    harness_fail(h, B, "two");
    cr_assert_eq(h->state, EVENER_CONNECTING);
    harness_set(h, A, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), A);
    harness_destroy(h);
}

/* core pick_first_test.cc: HappyEyeballsAddressInTransientFailureWhenWeStartTryingToConnect: an attempt that is not the
 * newest fails: the timer goes on */
Test(pick_first, failure_of_an_older_attempt_starts_nothing)
{
    policy_harness *h = harness_with(A "," B "," C);
    harness_advance_ms(h, 250);
    harness_fail(h, A, "one");
    cr_assert_str_eq(harness_connect_log(h), A "@0 " B "@250");
    harness_advance_ms(h, 250);
    cr_assert_eq(harness_connects(h, C), 1);
    harness_destroy(h);
}

/* A61: the delay is configurable, 100 ms to 2 s */
Test(pick_first, attempt_delay_is_configurable)
{
    policy_harness *h = harness_create("pick_first", "{\"connectionAttemptDelay\":\"0.1s\"}");
    harness_update(h, A "," B);
    harness_advance_ms(h, 100);
    cr_assert_str_eq(harness_connect_log(h), A "@0 " B "@100");
    harness_destroy(h);
}

/* A62: sticky TRANSIENT_FAILURE, every subchannel is tried again as it leaves its backoff; core: GoesIdle...,
 * StaysTransientFailureOnFailedConnectionAttemptUntilReady */
Test(pick_first, stays_in_transient_failure_until_ready)
{
    policy_harness *h = harness_with(A "," B);
    harness_fail(h, A, "one");
    harness_fail(h, B, "two");
    const unsigned published = h->published;
    for (int i = 0; i < 3; i++) {
        harness_set(h, A, EVENER_IDLE);
        harness_set(h, B, EVENER_IDLE);
        cr_assert_eq(harness_connects(h, A), (size_t)i + 2);
        cr_assert_eq(harness_connects(h, B), (size_t)i + 2);
        cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
        harness_fail(h, B, "b again");
        cr_assert_eq(h->reresolutions, (unsigned)i + 1);
        harness_fail(h, A, "a again");
        /* A62: again after each round of failures */
        cr_assert_eq(h->reresolutions, (unsigned)i + 2);
        assert_fails_with(h, "failed to connect to all addresses; last error: " A ": a again");
    }
    cr_assert_eq(h->published, published + 3);
    harness_set(h, B, EVENER_IDLE);
    harness_set(h, B, EVENER_READY);
    cr_assert_eq(h->state, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), B);
    harness_destroy(h);
}

/* Backoffs that end while the pass is under way: the address is tried again when the pass is over. */
Test(pick_first, backoff_that_ends_within_the_pass_waits_for_its_end)
{
    policy_harness *h = harness_with(A "," B);
    harness_fail(h, A, "one");
    harness_set(h, A, EVENER_IDLE);
    cr_assert_eq(harness_connects(h, A), 1);
    harness_fail(h, B, "two");
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    cr_assert_eq(harness_connects(h, A), 2);
    harness_destroy(h);
}

/* core pick_first_test.cc: GoesIdleWhenConnectionFailsThenCanReconnect */
Test(pick_first, goes_idle_when_connection_fails_then_can_reconnect)
{
    policy_harness *h = ready_harness(A "," B, A);
    harness_set(h, A, EVENER_IDLE);
    cr_assert_eq(h->state, EVENER_IDLE);
    cr_assert_eq(h->reresolutions, 1);
    cr_assert_str_eq(harness_pick_one(h), "queue");
    cr_assert_eq(h->subchannel_count, 1, "the lost one stays, with its statistics");
    cr_assert_eq(h->connect_count, 1, "nothing is connected before a call");
    harness_exit_idle(h);
    cr_assert_eq(h->state, EVENER_CONNECTING);
    harness_fail(h, A, "refused");
    harness_set(h, B, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), B);
    harness_destroy(h);
}

/* A wrapper that ejects the selected backend reports a failure of it; core: GoesIdleWhenConnectionFails... */
Test(pick_first, goes_idle_when_the_selected_one_fails)
{
    policy_harness *h = ready_harness(A, A);
    const unsigned published = h->published;
    harness_fail(h, A, "ejected");
    cr_assert_eq(h->state, EVENER_IDLE);
    cr_assert_eq(h->published, published + 1);
    cr_assert_eq(h->reresolutions, 1, "asked for once");
    cr_assert_str_eq(harness_pick_one(h), "queue");
    harness_destroy(h);
}

/* A server that drops every connection: the selected backend is in its backoff when the next pass begins. */
Test(pick_first, the_failure_of_the_selected_one_is_the_reason_of_the_next_pass)
{
    policy_harness *h = ready_harness(A, A);
    harness_fail(h, A, "drops every connection");
    cr_assert_eq(h->state, EVENER_IDLE);
    harness_exit_idle(h);
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    assert_fails_with(h, "failed to connect to all addresses; last error: " A ": drops every connection");
    harness_set(h, A, EVENER_IDLE);
    harness_set(h, A, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), A);
    harness_destroy(h);
}

/* core client_lb_end2end_test.cc: PickFirst IdleOnDisconnect; an update of an idle policy connects nothing */
Test(pick_first, update_while_idle_waits_for_a_call)
{
    policy_harness *h = ready_harness(A, A);
    harness_set(h, A, EVENER_IDLE);
    harness_update(h, B);
    cr_assert_eq(h->state, EVENER_IDLE);
    cr_assert_eq(h->subchannel_count, 0);
    harness_exit_idle(h);
    harness_set(h, B, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), B);
    harness_destroy(h);
}

/* core client_lb_end2end_test.cc: PickFirst UpdateSuperset; grpc-go: selected address stays */
Test(pick_first, update_that_holds_the_selected_address_changes_nothing)
{
    policy_harness *h = ready_harness(A "," B, B);
    const unsigned published = h->published;
    const size_t connects = h->connect_count;
    harness_update(h, C "," A "," B ";weight=2," D);
    cr_assert_eq(h->published, published);
    cr_assert_eq(h->connect_count, connects);
    cr_assert_str_eq(harness_pick_one(h), B);
    cr_assert_str_eq(evener_address_attribute(evener_subchannel_address(harness_find(h, B)), "weight"), "2");
    /* The new list counts from the next connection on. */
    harness_set(h, B, EVENER_IDLE);
    harness_connect_log_clear(h);
    harness_exit_idle(h);
    cr_assert_eq(harness_connects(h, C), 1);
    harness_destroy(h);
}

/* Attributes of the addresses that are not connected count from the next connection on. */
Test(pick_first, attributes_of_the_others_change_while_one_is_selected)
{
    policy_harness *h = ready_harness(A "," B, A);
    harness_update(h, A "," B ";weight=2");
    cr_assert_str_eq(harness_pick_one(h), A);
    harness_set(h, A, EVENER_IDLE);
    harness_exit_idle(h);
    cr_assert_str_eq(evener_address_attribute(evener_subchannel_address(harness_find(h, B)), "weight"), "2");
    harness_destroy(h);
}

/* core client_lb_end2end_test.cc: PickFirst Updates, UpdateToUnconnected */
Test(pick_first, update_without_the_selected_address_drops_it)
{
    policy_harness *h = ready_harness(A, A);
    evener_pick pick;
    cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    harness_update(h, B "," C);
    cr_assert_eq(h->state, EVENER_IDLE);
    cr_assert_eq(h->subchannel_count, 0);
    harness_done(h, &pick, EVENER_STATUS_OK);
    harness_exit_idle(h);
    harness_set(h, B, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), B);
    harness_destroy(h);
}

/* core client_lb_end2end_test.cc: PickFirst ManyUpdates */
Test(pick_first, many_updates_of_the_same_addresses_never_reconnect)
{
    policy_harness *h = ready_harness(A "," B "," C, A);
    const size_t connects = h->connect_count;
    for (int i = 0; i < 1000; i++) {
        harness_update(h, i % 3 == 0 ? B "," C "," A : i % 3 == 1 ? C "," A : A "," B);
        cr_assert_str_eq(harness_pick_one(h), A);
    }
    cr_assert_eq(h->connect_count, connects);
    harness_destroy(h);
}

/* core pick_first_test.cc: UpdateDuringConnecting: the pass starts again with the new list, attempts that it has too go
 * on */
Test(pick_first, update_while_connecting_starts_again_and_keeps_what_is_under_way)
{
    policy_harness *h = harness_with(A "," B);
    harness_update(h, C "," A);
    cr_assert_str_eq(harness_connect_log(h), A "@0 " C "@0");
    cr_assert_null(harness_find(h, B));
    harness_set(h, A, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), A);
    harness_destroy(h);
}

/* core pick_first_test.cc: StaysInTransientFailureAfterUpdate... (sticky over updates) */
Test(pick_first, update_in_transient_failure_stays_there_until_ready)
{
    policy_harness *h = harness_with(A);
    harness_fail(h, A, "one");
    harness_update(h, A "," B);
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    cr_assert_eq(harness_connects(h, A), 1, "A is in its backoff");
    cr_assert_eq(harness_connects(h, B), 1);
    harness_set(h, B, EVENER_READY);
    cr_assert_eq(h->state, EVENER_READY);
    harness_destroy(h);
}

/* core client_lb_end2end_test.cc: PickFirst ReresolutionNoSelected / grpc-go: EmptyAddressList */
Test(pick_first, empty_list_fails_and_the_next_one_connects)
{
    policy_harness *h = ready_harness(A, A);
    evener_status status;
    cr_assert_eq(harness_update_quietly(h, "", &status), EVENER_STATUS_UNAVAILABLE);
    harness_run(h);
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    cr_assert_str_eq(harness_pick_one(h), "fail");
    cr_assert_eq(h->subchannel_count, 0);
    harness_exit_idle(h);
    harness_update(h, B);
    cr_assert_eq(h->state, EVENER_CONNECTING);
    harness_set(h, B, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), B);
    harness_destroy(h);
}

/* grpc-go: PickFirst_ResolverError_NoPreviousUpdate, _WithPreviousUpdate_Ready, _Connecting */
Test(pick_first, resolver_error)
{
    policy_harness *h = harness_create("pick_first", NULL);
    harness_resolver_error(h, "no DNS");
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    assert_fails_with(h, "no DNS");
    harness_update(h, A);
    cr_assert_eq(h->state, EVENER_CONNECTING);
    harness_resolver_error(h, "no DNS");
    cr_assert_eq(h->state, EVENER_CONNECTING);
    harness_set(h, A, EVENER_READY);
    harness_resolver_error(h, "no DNS");
    cr_assert_str_eq(harness_pick_one(h), A);
    harness_destroy(h);
}

/* A61: families are interleaved, beginning with the first address's; core: FirstAddressFamily... */
Test(pick_first, families_are_interleaved)
{
    policy_harness *h = harness_with("[::1]:1,[::2]:1,[::3]:1," A "," B);
    harness_advance_ms(h, 10000);
    cr_assert_str_eq(harness_connect_log(h), "[::1]:1@0 " A "@250 [::2]:1@500 " B "@750 [::3]:1@1000");
    harness_destroy(h);
}

Test(pick_first, families_are_interleaved_ipv4_first)
{
    policy_harness *h = harness_with(A "," B "," C ",[::1]:1,unix:/s");
    harness_advance_ms(h, 10000);
    cr_assert_str_eq(harness_connect_log(h), A "@0 [::1]:1@250 unix:/s@500 " B "@750 " C "@1000");
    harness_destroy(h);
}

Test(pick_first, all_families_are_interleaved)
{
    policy_harness *h = harness_with(A "," B ",[::1]:80,unix:/a,unix-abstract:b,vsock:2:1,vsock:2:2");
    harness_advance_ms(h, 10000);
    cr_assert_str_eq(harness_connect_log(h),
                     A "@0 [::1]:80@250 unix:/a@500 unix-abstract:b@750 vsock:2:1@1000 " B "@1250 vsock:2:2@1500");
    harness_destroy(h);
}

/* A61: duplicates out */
Test(pick_first, duplicates_are_tried_once)
{
    policy_harness *h = harness_with(A "," A "," B "," A);
    cr_assert_eq(h->subchannel_count, 2);
    harness_advance_ms(h, 10000);
    cr_assert_str_eq(harness_connect_log(h), A "@0 " B "@250");
    harness_destroy(h);
}

/* A61: duplicates of one family leave the order of the others as it is, and a family that is used up is passed over. */
Test(pick_first, duplicates_of_several_families_are_tried_once)
{
    policy_harness *h = harness_with("[::1]:1," A "," A "," B "," A ",[::1]:1," C);
    cr_assert_eq(h->subchannel_count, 4);
    harness_advance_ms(h, 10000);
    cr_assert_str_eq(harness_connect_log(h), "[::1]:1@0 " A "@250 " B "@500 " C "@750");
    harness_destroy(h);
}

/* A62: shuffleAddressList; core: WithShuffle; grpc-go: PickFirst_ShuffleAddressList */
Test(pick_first, shuffles_if_configured)
{
    size_t firsts[4] = {0};
    policy_harness *h = harness_create("pick_first", "{\"shuffleAddressList\":true}");
    static const char *const addresses[] = {A, B, C, D};
    for (int i = 0; i < 400; i++) {
        harness_connect_log_clear(h);
        harness_update(h, A "," B "," C "," D);
        harness_update(h, "10.9.9.9:1");
        harness_set_all(h, EVENER_TRANSIENT_FAILURE);
        for (size_t j = 0; j < 4; j++) {
            firsts[j] += strcmp(h->connect_log[0].text, addresses[j]) == 0;
        }
    }
    for (size_t j = 0; j < 4; j++) {
        cr_assert(firsts[j] > 60 && firsts[j] < 140, "%zu", firsts[j]);
    }
    harness_destroy(h);
}

/* core: WithShuffleDisabled */
Test(pick_first, keeps_the_order_if_not)
{
    policy_harness *h = harness_create("pick_first", "{\"shuffleAddressList\":false}");
    harness_update(h, C "," A "," B);
    cr_assert_eq(harness_connects(h, C), 1);
    harness_destroy(h);
}

/* A21 */
Test(pick_first, bad_configuration_names_the_field)
{
    evener_policy_choice choice = {0};
    evener_status status;
    cr_assert_eq(evener_policy_choose(NULL, "[{\"pick_first\":{\"shuffleAddressList\":1}}]", "lb", &choice, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(status.message, "lb: pick_first: shuffleAddressList: true or false is needed");
    cr_assert_eq(
        evener_policy_choose(NULL, "[{\"pick_first\":{\"connectionAttemptDelay\":\"3s\"}}]", "lb", &choice, &status),
        EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(status.message, "connectionAttemptDelay"));
    cr_assert_eq(evener_policy_choose(NULL, "[{\"pick_first\":{\"later\":1}}]", "lb", &choice, &status),
                 EVENER_STATUS_OK);
    evener_policy_choice_clear(&choice);
}

/* core pick_first_test.cc: PicksUpSubchannelThatIsAlreadyReady: a change of policy reconnects nothing */
Test(pick_first, takes_a_connection_that_another_policy_has_made)
{
    policy_harness *h = ready_harness(A "," B, B);
    evener_policy_choice choice = {0};
    cr_assert_eq(evener_policy_choose(NULL, "[{\"pick_first\":{}}]", "lb", &choice, NULL), EVENER_STATUS_OK);
    evener_policy *other = choice.builder->build(choice.builder, &h->helper);
    const size_t connects = h->connect_count;
    const evener_policy_update update = {
        .size = sizeof update, .addresses = h->addresses, .address_count = h->address_count, .config = choice.config};
    cr_assert_eq(other->vtable->update(other, &update, NULL), EVENER_STATUS_OK);
    harness_run(h);
    cr_assert_eq(h->connect_count, connects);
    cr_assert_eq(h->state, EVENER_READY);
    other->vtable->close(other);
    evener_policy_choice_clear(&choice);
    harness_destroy(h);
}

static void assert_update_lacks_memory(policy_harness *h, const char *list, const char *message)
{
    evener_status status;
    cr_assert_eq(harness_update_quietly(h, list, &status), EVENER_STATUS_RESOURCE_EXHAUSTED);
    cr_assert_str_eq(status.message, message);
    harness_run(h);
}

Test(pick_first, without_memory_for_subchannels_fails_and_the_next_update_serves)
{
    policy_harness *h = harness_create("pick_first", NULL);
    h->create_fails = true;
    assert_update_lacks_memory(h, A "," B, "out of memory for 2 of 2 addresses");
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    assert_fails_with(h, "failed to connect to all addresses; last error: " B ": out of memory");
    cr_assert_eq(h->reresolutions, 0, "the refused update is given again");
    h->create_fails = false;
    cr_assert_eq(harness_update(h, A "," B), EVENER_STATUS_OK);
    harness_set(h, A, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), A);
    harness_destroy(h);
}

Test(pick_first, without_memory_for_some_the_others_serve)
{
    policy_harness *h = harness_with(A);
    h->create_fails = true;
    assert_update_lacks_memory(h, A "," B, "out of memory for 1 of 2 addresses");
    cr_assert_eq(h->state, EVENER_CONNECTING);
    harness_set(h, A, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), A);
    cr_assert_eq(harness_update(h, B "," A), EVENER_STATUS_OK, "the selected one needs no more memory");
    harness_destroy(h);
}

/* A call starts the pass: no update can be refused, and a fixed list is given once. */
Test(pick_first, a_pass_without_memory_is_repeated)
{
    policy_harness *h = ready_harness(A "," B, A);
    harness_set(h, A, EVENER_IDLE);
    h->create_fails = true;
    harness_exit_idle(h);
    harness_fail(h, A, "refused");
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    harness_advance_ms(h, 5000);
    cr_assert_eq(harness_connects(h, B), 0);
    h->create_fails = false;
    harness_advance_ms(h, 1000);
    cr_assert_eq(harness_connects(h, B), 1);
    harness_set(h, B, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), B);
    harness_advance_ms(h, 5000);
    cr_assert_eq(harness_connects(h, B), 1);
    harness_destroy(h);
}

Test(pick_first, a_list_of_100000_addresses_is_no_trouble)
{
    policy_harness *h = harness_create("pick_first", NULL);
    harness_update_range(h, 0, 100000);
    harness_update_range(h, 50000, 100000);
    harness_run(h);
    cr_assert_eq(h->subchannel_count, 100000);
    harness_destroy(h);
}

/* ---- long lists, of which an update says what changed (lb/policy/list_change.h) ---- */

#define LONG 1200

typedef struct long_list {
    evener_address *addresses[LONG + 1];
    size_t count;
    uint64_t id;
} long_list;

static evener_address *number(size_t i, const char *weight)
{
    char text[32];
    evener_address *address;
    const evener_attribute attribute = {"weight", weight};
    (void)snprintf(text, sizeof text, "10.0.%zu.%zu:1", i / 250, i % 250);
    cr_assert_eq(evener_address_create(text, &attribute, weight != NULL, &address, NULL), EVENER_STATUS_OK);
    return address;
}

static void put(long_list *list, size_t at, evener_address *address)
{
    evener_address_unref(list->addresses[at]);
    list->addresses[at] = address;
}

/* Pass on the list, of which all but those at `from` up to `to` are as before; `first`: there was none. */
static void update_long(policy_harness *h, long_list *list, bool first, size_t from, size_t to)
{
    const evener_policy_update update = {.size = sizeof update,
                                         .addresses = list->addresses,
                                         .address_count = list->count,
                                         .list_id = list->id + 1,
                                         .previous_list_id = first ? 0 : list->id,
                                         .same_first = first ? 0 : from,
                                         .same_last = first ? 0 : list->count - to};
    list->id++;
    cr_assert_eq(h->policy->vtable->update(h->policy, &update, NULL), EVENER_STATUS_OK);
    harness_run(h);
}

/* A policy that has selected the address `selected` of a list of LONG. */
static policy_harness *long_harness(long_list *list, size_t selected)
{
    policy_harness *h = harness_create("pick_first", "{\"connectionAttemptDelay\":\"0.1s\"}");
    *list = (long_list){.count = LONG};
    for (size_t i = 0; i < LONG; i++) {
        list->addresses[i] = number(i, NULL);
    }
    update_long(h, list, true, 0, LONG);
    harness_advance_ms(h, 100 * selected);
    harness_set(h, evener_address_text(list->addresses[selected]), EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), evener_address_text(list->addresses[selected]));
    harness_connect_log_clear(h);
    return h;
}

static void long_destroy(policy_harness *h, long_list *list)
{
    harness_destroy(h);
    for (size_t i = 0; i < list->count; i++) {
        evener_address_unref(list->addresses[i]);
    }
}

Test(pick_first, a_change_of_a_long_list_reaches_the_selected_subchannel)
{
    long_list list;
    policy_harness *h = long_harness(&list, 3);
    const unsigned published = h->published;
    put(&list, 3, number(3, "7"));
    put(&list, 4, number(4, "9"));
    update_long(h, &list, false, 2, 5);
    const evener_subchannel *selected = harness_find(h, "10.0.0.3:1");
    cr_assert_str_eq(evener_address_attribute(evener_subchannel_address(selected), "weight"), "7");
    cr_assert_eq(h->published, published);
    cr_assert_eq(h->connect_count, 0);
    /* It moved within the part that changed, and changed again. */
    put(&list, 2, number(3, "8"));
    put(&list, 3, number(2, NULL));
    update_long(h, &list, false, 2, 4);
    cr_assert_str_eq(evener_address_attribute(evener_subchannel_address(selected), "weight"), "8");
    cr_assert_eq(h->state, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), "10.0.0.3:1");
    long_destroy(h, &list);
}

Test(pick_first, a_change_of_a_long_list_elsewhere_leaves_the_selected_one)
{
    long_list list;
    policy_harness *h = long_harness(&list, 1);
    const unsigned published = h->published;
    put(&list, 0, number(LONG, NULL));
    update_long(h, &list, false, 0, 1);
    put(&list, LONG - 1, number(LONG + 1, NULL));
    update_long(h, &list, false, LONG - 1, LONG);
    cr_assert_eq(h->published, published);
    cr_assert_str_eq(harness_pick_one(h), "10.0.0.1:1");
    /* The next pass is over the new list. */
    harness_set(h, "10.0.0.1:1", EVENER_IDLE);
    cr_assert_eq(h->state, EVENER_IDLE);
    harness_exit_idle(h);
    cr_assert_str_eq(harness_connect_log(h), "10.0.4.200:1@100");
    cr_assert_eq(h->subchannel_count, LONG);
    cr_assert_not_null(harness_find(h, "10.0.4.201:1"));
    cr_assert_null(harness_find(h, "10.0.0.0:1"));
    long_destroy(h, &list);
}

Test(pick_first, a_change_of_a_long_list_without_the_selected_address_drops_it)
{
    long_list list;
    policy_harness *h = long_harness(&list, 2);
    put(&list, 2, number(LONG, NULL));
    update_long(h, &list, false, 2, 3);
    cr_assert_eq(h->state, EVENER_IDLE);
    cr_assert_eq(h->subchannel_count, 0);
    cr_assert_eq(h->connect_count, 0, "nothing is connected before a call");
    harness_exit_idle(h);
    cr_assert_eq(h->state, EVENER_CONNECTING);
    cr_assert_str_eq(harness_connect_log(h), "10.0.0.0:1@200");
    long_destroy(h, &list);
}

/* A113: which address is first after a shuffle follows the weights; weight 0 comes last. */
Test(pick_first, a113_weighted_shuffle)
{
    size_t heavy = 0;
    policy_harness *h = harness_create("pick_first", "{\"shuffleAddressList\":true}");
    h->connect_succeeds = true;
    for (size_t i = 0; i < 4000; i++) {
        harness_update(h, "");
        harness_update(h, "10.0.0.1:1;weight=3,10.0.0.2:1;weight=1,10.0.0.3:1;weight=0");
        const char *first = harness_pick_one(h);
        if (strcmp(first, "queue") == 0) {
            harness_exit_idle(h);
            first = harness_pick_one(h);
        }
        cr_assert_str_neq(first, "10.0.0.3:1");
        heavy += strcmp(first, "10.0.0.1:1") == 0;
    }
    cr_assert_float_eq((double)heavy / 4000, 0.75, 0.035, "%zu", heavy);
    harness_destroy(h);
}

/* B9: the statistics are the subchannel's, which stays over a lost connection. */
Test(pick_first, b9_statistics_stay_over_reconnects)
{
    policy_harness *h = harness_with(A);
    harness_set(h, A, EVENER_READY);
    const evener_subchannel *before = harness_find(h, A);
    for (size_t i = 0; i < 3; i++) {
        harness_set(h, A, EVENER_IDLE);
        cr_assert_eq(h->state, EVENER_IDLE);
        harness_exit_idle(h);
        harness_set(h, A, EVENER_READY);
        cr_assert_str_eq(harness_pick_one(h), A);
        cr_assert_eq(harness_find(h, A), before);
    }
    cr_assert_eq(h->created, 1);
    harness_destroy(h);
}
