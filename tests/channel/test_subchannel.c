/* Subchannels in a channel: states, backoff, identity, draining, the end of their memory. */
#include <criterion/criterion.h>

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <evener/stats.h>

#include "lb/channel/channel_internal.h"
#include "tests/support/channel_fixture.h"

#define A "127.0.0.1:1"
#define B "127.0.0.1:2"

Test(subchannel, connects_and_serves)
{
    fixture *f = fixture_create(NULL);
    fixture_push(f, A);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 0, "nothing is resolved or connected before it is asked");
    cr_assert_str_eq(fixture_pick(f), "queue"); /* wakes the channel */
    virtual_loop_run_until_idle(f->loop);
    cr_assert_str_eq(fixture_pick(f), A);
    cr_assert_eq(fixture_stats(f, A).state, EVENER_READY);
    cr_assert_eq(fixture_stats(f, A).picks, 1);
    fixture_destroy(f);
}

/* core client_lb_end2end: PickFirstBackOffInitialReconnect; connection-backoff.md */
Test(subchannel, backs_off_from_the_start_of_the_attempt)
{
    fixture *f = fixture_create(NULL);
    fake_transport_set_default(f->transport, FAKE_REFUSE, 300 * EVENER_NS_PER_MS);
    fixture_push(f, A);
    fixture_connect(f);
    virtual_loop_advance_ms(f->loop, 300);
    cr_assert_eq(fixture_stats(f, A).state, EVENER_TRANSIENT_FAILURE);
    const uint64_t left_ms = fixture_stats(f, A).backoff_remaining_ms;
    cr_assert(left_ms >= 499 && left_ms <= 900, "1 s +-20 %% less the 300 ms: %llu", (unsigned long long)left_ms);
    fixture_destroy(f);
}

Test(subchannel, backoff_grows_to_its_maximum_and_is_reset_by_success)
{
    const evener_channel_options options = {.policy = "round_robin", .backoff_max_ms = 10000};
    fixture *f = fixture_create(&options);
    fake_transport_set_default(f->transport, FAKE_REFUSE, 0);
    fixture_push(f, A);
    fixture_connect(f);
    double expected_ms = 1000;
    for (uint32_t attempt = 1; attempt < 12; attempt++) {
        cr_assert_eq(fake_transport_attempts(f->transport, A), attempt);
        const uint64_t before = fake_transport_last_attempt_ns(f->transport, A);
        while (fake_transport_attempts(f->transport, A) == attempt) {
            virtual_loop_advance_ms(f->loop, 10);
        }
        const double waited_ms = (double)(fake_transport_last_attempt_ns(f->transport, A) - before) / 1e6;
        cr_assert(waited_ms > expected_ms * 0.79 && waited_ms < expected_ms * 1.21 + 10,
                  "attempt %u came after %.0f ms, expected %.0f", attempt + 1, waited_ms, expected_ms);
        expected_ms = expected_ms * 1.6 < 10000 ? expected_ms * 1.6 : 10000;
    }
    fake_transport_set_default(f->transport, FAKE_ACCEPT, 0);
    virtual_loop_advance_ms(f->loop, 12100);
    cr_assert_eq(fixture_stats(f, A).state, EVENER_READY);
    fake_transport_set_default(f->transport, FAKE_REFUSE, 0);
    fake_transport_drop(f->transport, A);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_leq(fixture_stats(f, A).backoff_remaining_ms, 1200);
    fixture_destroy(f);
}

static void ready_and_dropped(void *arg)
{
    fixture *f = arg;
    cr_assert(fake_transport_ready(f->transport, A));
    cr_assert(fake_transport_drop(f->transport, A));
}

/* A connection that is made and lost within one turn leaves the subchannel in the state that was reported last. */
Test(subchannel, a_connection_lost_before_it_was_reported_is_made_again)
{
    const evener_channel_options options = {.policy = "pick_first"};
    fixture *f = fixture_create(&options);
    fixture_push(f, A);
    fixture_connect(f);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_READY);
    fake_transport_drop(f->transport, A);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_IDLE);
    fake_transport_set_default(f->transport, FAKE_SILENT, 0);
    evener_channel_connect(f->channel);
    evener_task task = EVENER_TASK_INIT(ready_and_dropped, f); /* behind the attempt, before its report */
    cr_assert(evener_loop_post(virtual_loop_loop(f->loop), &task));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 3, "%u attempts", fake_transport_attempts(f->transport, A));
    cr_assert(fake_transport_ready(f->transport, A));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_READY);
    fixture_destroy(f);
}

/* core client_lb_end2end: PickFirstResetConnectionBackoff */
Test(subchannel, reset_connect_backoff)
{
    fixture *f = fixture_create(NULL);
    fake_transport_set_default(f->transport, FAKE_REFUSE, 0);
    fixture_push(f, A);
    fixture_connect(f);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 1);
    fake_transport_set_default(f->transport, FAKE_ACCEPT, 0);
    evener_channel_reset_connect_backoff(f->channel);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 2);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_READY);
    fixture_destroy(f);
}

Test(subchannel, an_attempt_without_answer_is_given_up)
{
    fixture *f = fixture_create(NULL);
    fake_transport_set_default(f->transport, FAKE_SILENT, 0);
    fixture_push(f, A);
    fixture_connect(f);
    virtual_loop_advance_ms(f->loop, 19999);
    cr_assert_eq(fixture_stats(f, A).state, EVENER_CONNECTING);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 1);
    virtual_loop_advance_ms(f->loop, 1);
    cr_assert_eq(fixture_stats(f, A).connect_failures, 1);
    cr_assert_not_null(strstr(fixture_stats(f, A).last_error, "no connection within 20000 ms"));
    fixture_destroy(f);
}

/* connection-backoff.md: an attempt has at least until the backoff would end, even where the connect timeout is less. */
Test(subchannel, an_attempt_may_take_as_long_as_the_backoff)
{
    const evener_channel_options options = {.policy = "round_robin", .connect_timeout_ms = 300};
    fixture *f = fixture_create(&options);
    fake_transport_set_default(f->transport, FAKE_SILENT, 0);
    fixture_push(f, A);
    fixture_connect(f);
    virtual_loop_advance_ms(f->loop, 999);
    cr_assert_eq(fixture_stats(f, A).state, EVENER_CONNECTING);
    virtual_loop_advance_ms(f->loop, 1); /* the initial backoff, 1 s */
    cr_assert_eq(fixture_stats(f, A).connect_failures, 1);
    fixture_destroy(f);
}

/* Backends that failed at once are not tried again at once: the backoff is 1 s +-20 %, by chance. */
Test(subchannel, attempts_that_failed_together_are_spread)
{
    enum { COUNT = 40 };
    char list[COUNT * 16] = "";
    char addresses[COUNT][16];
    fixture *f = fixture_create(NULL);
    fake_transport_set_default(f->transport, FAKE_REFUSE, 0);
    for (int i = 0; i < COUNT; i++) {
        snprintf(addresses[i], sizeof addresses[i], "10.0.0.%d:1", i + 1);
        strcat(strcat(list, i > 0 ? "," : ""), addresses[i]);
    }
    fixture_push(f, list);
    fixture_connect(f);
    const uint64_t first_ns = fake_transport_last_attempt_ns(f->transport, addresses[0]);
    virtual_loop_advance_ms(f->loop, 1210);
    uint64_t least_ns = UINT64_MAX, most_ns = 0;
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(fake_transport_attempts(f->transport, addresses[i]), 2, "%s", addresses[i]);
        const uint64_t waited_ns = fake_transport_last_attempt_ns(f->transport, addresses[i]) - first_ns;
        least_ns = waited_ns < least_ns ? waited_ns : least_ns;
        most_ns = waited_ns > most_ns ? waited_ns : most_ns;
    }
    cr_assert_geq(least_ns, 800 * EVENER_NS_PER_MS);
    cr_assert_leq(most_ns, 1200 * EVENER_NS_PER_MS);
    cr_assert_lt(least_ns, 850 * EVENER_NS_PER_MS, "they use the whole range");
    cr_assert_gt(most_ns, 1150 * EVENER_NS_PER_MS, "they use the whole range");
    fixture_destroy(f);
}

/* A policy was replaced; both had a subchannel of the backend, which stays connected. */
static void expect_that_a_released_subchannel_has_no_connection(fixture *f)
{
    fixture_push_config(f, A, "{\"loadBalancingConfig\":[{\"round_robin\":{}}]}");
    fixture_connect(f);
    evener_pick pick;
    cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    cr_assert(pick.subchannel->connection != NULL || pick.subchannel->users != NULL);
    fixture_push_config(f, A, "{\"loadBalancingConfig\":[{\"random\":{}}]}");
    virtual_loop_advance_ms(f->loop, 1000);
    cr_expect_null(pick.subchannel->connection, "a late pick would use a connection that is not its own any more");
    cr_expect_null(pick.subchannel->users);
    cr_assert_str_eq(fixture_pick(f), A);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 1, "the backend stays connected");
    evener_pick_done(&pick, NULL);
    fixture_destroy(f);
}

Test(subchannel, a_released_one_has_no_connection_though_the_backend_has)
{
    const evener_channel_options options = {.policy = NULL};
    expect_that_a_released_subchannel_has_no_connection(fixture_create(&options));
    expect_that_a_released_subchannel_has_no_connection(fixture_create_uncounted(&options));
}

Test(subchannel, connect_that_fails_at_once)
{
    fixture *f = fixture_create(NULL);
    fake_transport_set_default(f->transport, FAKE_THROW, 0);
    fixture_push(f, A);
    fixture_connect(f);
    cr_assert_eq(fixture_stats(f, A).state, EVENER_TRANSIENT_FAILURE);
    cr_assert_not_null(strstr(fixture_pick(f), "connect failed at once"));
    fixture_destroy(f);
}

/* A server that accepts connections only to drop them is not dialled in a tight loop. */
Test(subchannel, short_lived_connections_end_in_backoff)
{
    fixture *f = fixture_create(NULL);
    fixture_push(f, A);
    fixture_connect(f);
    for (int i = 0; i < 5; i++) {
        cr_assert(fake_transport_drop(f->transport, A), "connection %d", i);
        virtual_loop_run_until_idle(f->loop);
    }
    cr_assert_eq(fixture_stats(f, A).state, EVENER_TRANSIENT_FAILURE);
    virtual_loop_advance_ms(f->loop, 1300);
    cr_assert_eq(fixture_stats(f, A).state, EVENER_READY);
    fixture_destroy(f);
}

/* core client_lb_end2end: RoundRobinUpdates; docs/semantics.md, Subchannels: identity */
Test(subchannel, an_unchanged_address_keeps_its_connection_and_statistics)
{
    fixture *f = fixture_create(NULL);
    fixture_push(f, A "," B);
    fixture_connect(f);
    for (int i = 0; i < 10; i++) {
        fixture_pick(f);
    }
    for (int i = 0; i < 50; i++) {
        char list[128];
        snprintf(list, sizeof list, "%s,127.0.0.1:%d;zone=z%d", i % 2 == 0 ? A ";weight=7" : A, 100 + i, i);
        fixture_push(f, list);
    }
    cr_assert_eq(fake_transport_attempts(f->transport, A), 1);
    cr_assert_geq(fixture_stats(f, A).picks, 5);
    cr_assert_eq(fake_transport_open_count(f->transport, B), 0, "a removed address is let go");
    cr_assert_eq(fake_transport_open_count(f->transport, NULL), 2);
    fixture_destroy(f);
}

Test(subchannel, attributes_of_an_address_may_change)
{
    static const char *const lists[] = {A ";weight=1", A ";weight=5", A ";weight=1", A};
    static const char *const weights[] = {"1", "5", "1", NULL};
    static const char *const names[] = {"round_robin", "p2c_ewma", "pick_first"};
    for (size_t p = 0; p < 3; p++) {
        fixture *f = fixture_create(&(evener_channel_options){.policy = names[p]});
        for (size_t i = 0; i < 4; i++) {
            fixture_push(f, lists[i]);
            fixture_connect(f);
            evener_pick pick;
            cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
            const char *weight = evener_address_attribute(evener_subchannel_address(pick.subchannel), "weight");
            cr_expect(weights[i] == NULL ? weight == NULL : weight != NULL && strcmp(weight, weights[i]) == 0,
                      "%s, list %zu: %s", names[p], i, weight != NULL ? weight : "none");
            evener_pick_done(&pick, NULL);
        }
        cr_expect_eq(fake_transport_attempts(f->transport, A), 1, "it is the same backend");
        fixture_destroy(f);
    }
}

Test(subchannel, another_authority_is_another_backend)
{
    fixture *f = fixture_create(NULL);
    fixture_push(f, A);
    fixture_connect(f);
    cr_assert_str_eq(fake_transport_authority(f->transport, A), "x");
    fixture_push(f, A ";authority=other.example");
    cr_assert_eq(fake_transport_attempts(f->transport, A), 2);
    cr_assert_str_eq(fake_transport_authority(f->transport, A), "other.example");
    fixture_destroy(f);
}

/* Removing an address never ends a call in flight. */
Test(subchannel, a_removed_backend_lives_until_its_picks_are_done)
{
    fixture *f = fixture_create(NULL);
    fixture_push(f, A);
    fixture_connect(f);
    evener_pick pick;
    cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    cr_assert_eq(evener_subchannel_in_flight(pick.subchannel), 1);
    fixture_push(f, B);
    cr_assert_str_eq(fixture_pick(f), B);
    cr_assert_eq(f->channel->pool.subchannel_count, 2);
    cr_assert_str_eq(evener_subchannel_address_text(pick.subchannel), A);
    cr_assert_eq(fake_transport_unfreed(f->transport), 1);
    virtual_loop_advance_ms(f->loop, 60000);
    cr_assert_eq(f->channel->pool.subchannel_count, 2);
    evener_pick_done(&pick, NULL);
    virtual_loop_advance_ms(f->loop, 1000);
    cr_assert_eq(f->channel->pool.subchannel_count, 1, "its memory goes within a second of its last pick");
    fixture_destroy(f);
}

/* A connection that was given up stays valid for the picks on it, however many come and go on its successor. */
Test(subchannel, a_connection_given_up_lives_until_its_own_picks_are_done)
{
    fixture *f = fixture_create(NULL);
    fixture_push(f, A);
    fixture_connect(f);
    evener_pick first, second;
    cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &first, NULL), EVENER_PICK_COMPLETE);
    cr_assert(fake_transport_drop(f->transport, A));
    virtual_loop_advance_ms(f->loop, 2000);
    cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &second, NULL), EVENER_PICK_COMPLETE);
    cr_assert_neq(first.connection, second.connection);
    cr_assert_eq(fake_transport_unfreed(f->transport), 1);
    cr_assert(fake_connection_is_alive(first.connection));
    evener_pick_done(&first, NULL);
    virtual_loop_advance_ms(f->loop, 1000);
    cr_assert_eq(fake_transport_unfreed(f->transport), 0, "though its successor is in use");
    cr_assert(fake_connection_is_alive(second.connection));
    evener_pick_done(&second, NULL);
    fixture_destroy(f);
}

/* A transport knows that a connection takes no further call before the control thread does. */
Test(subchannel, a_connection_that_takes_no_call_is_not_picked)
{
    fixture *f = fixture_create(NULL);
    fixture_push(f, A "," B);
    fixture_connect(f);
    cr_assert(fake_transport_close_to_calls(f->transport, A));
    for (int i = 0; i < 20; i++) {
        cr_assert_str_eq(fixture_pick(f), B);
    }
    cr_assert_eq(fixture_stats(f, A).picks, 0);
    cr_assert(fake_transport_drop(f->transport, A));
    fixture_destroy(f);
}

/* After a drop, before the policy is notified, picks do not go to the dead backend. */
Test(subchannel, a_dropped_connection_is_not_picked)
{
    fixture *f = fixture_create(NULL);
    fake_transport_set(f->transport, B, FAKE_ACCEPT, 0);
    fixture_push(f, A "," B);
    fixture_connect(f);
    fake_transport_set(f->transport, A, FAKE_SILENT, 0);
    cr_assert(fake_transport_drop(f->transport, A)); /* the loop has not run since */
    for (int i = 0; i < 20; i++) {
        cr_assert_str_eq(fixture_pick(f), B);
    }
    fixture_destroy(f);
}

Test(subchannel, failed_calls_are_counted_and_unsent_ones_are_not)
{
    fixture *f = fixture_create(NULL);
    fixture_push(f, A);
    fixture_connect(f);
    fixture_call(f, EVENER_STATUS_OK);
    fixture_call(f, EVENER_STATUS_UNAVAILABLE);
    evener_pick pick;
    evener_channel_try_pick(f->channel, NULL, &pick, NULL);
    const evener_done_info unsent = {.size = sizeof unsent, .code = EVENER_STATUS_UNAVAILABLE, .not_sent = true};
    evener_pick_done(&pick, &unsent);
    cr_assert_eq(fixture_stats(f, A).picks, 3);
    cr_assert_eq(fixture_stats(f, A).failed, 1);
    cr_assert_eq(fixture_stats(f, A).in_flight, 0);
    fixture_destroy(f);
}

/* Act as if threads had taken all lanes: the tests use them without threads. */
static void use_all_lanes(void)
{
    evener_lane_bound = EVENER_LANES;
}

Test(slots, columns_are_their_own_and_come_back_zeroed, .init = use_all_lanes)
{
    enum { SLOTS = 2 * EVENER_SLOT_ROW + 40 };
    evener_slot_pool pool = {NULL};
    static evener_subchannel *handles[SLOTS];
    static int bodies[SLOTS];
    for (size_t i = 0; i < SLOTS; i++) {
        handles[i] = evener_slots_take(&pool, (evener_subchannel_body *)&bodies[i]);
        cr_assert_not_null(handles[i]);
        for (uint32_t lane = 0; lane < EVENER_LANES; lane++) {
            for (size_t n = 0; n <= i % 50; n++) {
                evener_slot_begin(handles[i], lane);
            }
            evener_slot_end(handles[i], lane);
        }
    }
    cr_assert_eq(evener_slot_repeats(handles[17], EVENER_SLOT_TRANSPARENT_RETRIES), 0);
    for (size_t i = 0; i < SLOTS; i++) {
        evener_slot_count_repeat(handles[i], EVENER_SLOT_RETRIES_AND_HEDGES, i + 1);
        evener_slot_count_repeat(handles[i], EVENER_SLOT_TRANSPARENT_RETRIES, 2 * i + 1);
    }
    for (size_t i = 0; i < SLOTS; i++) {
        cr_assert_eq(evener_slot_repeats(handles[i], EVENER_SLOT_RETRIES_AND_HEDGES), i + 1);
        cr_assert_eq(evener_slot_repeats(handles[i], EVENER_SLOT_TRANSPARENT_RETRIES), 2 * i + 1);
        cr_assert_eq(evener_slot_body(handles[i]), (evener_subchannel_body *)&bodies[i]);
        cr_assert_eq(evener_slot_sum(handles[i]).picks, (i % 50 + 1) * EVENER_LANES);
        cr_assert_eq(evener_slot_sum(handles[i]).in_flight, i % 50 * EVENER_LANES);
        cr_assert_eq(evener_slot_all_ended(handles[i]), i % 50 == 0);
    }
    evener_slots_give_back(&pool, handles[17]);
    cr_assert_eq(evener_slots_take(&pool, (evener_subchannel_body *)&bodies[17]), handles[17]);
    cr_assert_eq(evener_slot_sum(handles[17]).picks, 0);
    cr_assert_eq(evener_slot_repeats(handles[17], EVENER_SLOT_RETRIES_AND_HEDGES), 0);
    cr_assert_eq(evener_slot_repeats(handles[17], EVENER_SLOT_TRANSPARENT_RETRIES), 0);
    for (size_t i = 0; i < SLOTS; i++) {
        evener_slots_give_back(&pool, handles[i]);
    }
    cr_assert_not_null(pool.with_room);
    cr_assert_null(pool.with_room->next, "more than one chunk is kept");
    evener_slots_clear(&pool);
    cr_assert_null(pool.with_room);
}

/* Slots taken one after the other are adjacent; one that was given back is the next one taken. */
Test(slots, the_free_one_with_the_lowest_index_is_taken)
{
    enum { SLOTS = 3 * EVENER_SLOT_ROW };
    evener_slot_pool pool = {NULL};
    static evener_subchannel *handles[SLOTS];
    static int body;
    for (size_t i = 0; i < SLOTS; i++) {
        handles[i] = evener_slots_take(&pool, (evener_subchannel_body *)&body);
        const evener_slot_chunk *chunk = evener_slot_chunk_of(handles[i]);
        cr_assert_eq(handles[i], &chunk->handles[i % EVENER_SLOT_ROW], "%zu", i);
        cr_assert_eq(chunk->free_count, EVENER_SLOT_ROW - 1 - i % EVENER_SLOT_ROW);
        if (i % EVENER_SLOT_ROW > 0) {
            cr_assert_eq(handles[i], handles[i - 1] + 1, "%zu", i);
        }
    }
    cr_assert_null(pool.with_room, "all are full");
    static const size_t given[] = {SLOTS - 1, EVENER_SLOT_ROW + 63, EVENER_SLOT_ROW + 64, 5, 3};
    for (size_t i = 0; i < 5; i++) {
        evener_slots_give_back(&pool, handles[given[i]]);
    }
    static const size_t taken[] = {3, 5, EVENER_SLOT_ROW + 63, EVENER_SLOT_ROW + 64, SLOTS - 1};
    for (size_t i = 0; i < 5; i++) {
        cr_assert_eq(evener_slots_take(&pool, (evener_subchannel_body *)&body), handles[taken[i]], "%zu", i);
    }
    cr_assert_null(pool.with_room);
    for (size_t i = 0; i < SLOTS; i += EVENER_SLOT_ROW) {
        evener_slots_give_back(&pool, handles[i]);
    }
    cr_assert_eq(pool.with_room, evener_slot_chunk_of(handles[SLOTS - 1]));
    for (size_t i = SLOTS; i-- > 0;) {
        if (i % EVENER_SLOT_ROW != 0) {
            evener_slots_give_back(&pool, handles[i]);
        }
    }
    cr_assert_not_null(pool.with_room);
    cr_assert_null(pool.with_room->next);
    cr_assert_null(pool.with_room->previous);
    cr_assert_eq(pool.with_room->free_count, EVENER_SLOT_ROW);
    evener_slots_clear(&pool);
    cr_assert_null(pool.with_room);
    evener_slots_clear(&pool);
}

/* Calls begin on one thread and end on another: the sum over the lanes is exact, a single lane's word is not. */
Test(slots, what_begins_on_one_lane_may_end_on_another, .init = use_all_lanes)
{
    evener_slot_pool pool = {NULL};
    int body;
    evener_subchannel *handle = evener_slots_take(&pool, (evener_subchannel_body *)&body);
    for (size_t i = 0; i < EVENER_SLOT_PICK + 5; i++) {
        evener_slot_begin(handle, 1);
        evener_slot_begin(handle, EVENER_LANE_SHARED);
        evener_slot_end(handle, 2);
        evener_slot_end(handle, 3);
    }
    cr_assert(evener_slot_all_ended(handle));
    evener_slot_begin(handle, 4);
    cr_assert_eq(evener_slot_sum(handle).picks, 2 * (EVENER_SLOT_PICK + 5) + 1);
    cr_assert_eq(evener_slot_sum(handle).in_flight, 1);
    cr_assert_not(evener_slot_all_ended(handle));
    evener_slots_give_back(&pool, handle);
    evener_slots_clear(&pool);
}

/* Read 0 from 2,097,152 on before, and 4,194,304 counted as none, whose end would be the end of the memory. */
Test(slots, b10_millions_in_flight_are_counted, .init = use_all_lanes)
{
    evener_slot_pool pool = {NULL};
    int body;
    evener_subchannel *handle = evener_slots_take(&pool, (evener_subchannel_body *)&body);
    for (uint64_t i = 1; i <= EVENER_SLOT_IN_FLIGHT_MAX; i++) {
        evener_slot_begin(handle, i % 2 == 0 ? 1 : EVENER_LANE_SHARED);
        if (i % 2097152 == 0) {
            cr_assert_eq(evener_slot_sum(handle).in_flight, i);
            cr_assert_not(evener_slot_all_ended(handle));
        }
    }
    cr_assert_eq(evener_slot_sum(handle).in_flight, 12582911);
    cr_assert_eq(evener_slot_sum(handle).picks, 12582911);
    evener_slots_give_back(&pool, handle);
    evener_slots_clear(&pool);
}

/* A reader that sees an end without its begin reports 0 in flight instead of 16 million. */
Test(slots, an_end_seen_before_its_begin_is_not_a_number_below_zero, .init = use_all_lanes)
{
    evener_slot_pool pool = {NULL};
    int body;
    evener_subchannel *handle = evener_slots_take(&pool, (evener_subchannel_body *)&body);
    evener_slot_begin(handle, 0);
    evener_slot_end(handle, 1);
    evener_slot_end(handle, 1);
    cr_assert_eq(evener_slot_sum(handle).picks, 1);
    cr_assert_eq(evener_slot_sum(handle).in_flight, 0);
    evener_slots_give_back(&pool, handle);
    evener_slots_clear(&pool);
}

/* ---- health (A17) ---- */

typedef struct health_log {
    int notified;
    evener_connectivity_state last;
} health_log;

static void health_changed(void *arg, evener_subchannel *subchannel, evener_connectivity_state health,
                           const evener_status *status)
{
    (void)subchannel;
    (void)status;
    health_log *log = arg;
    log->notified++;
    log->last = health;
}

Test(subchannel, health_watch_lives_as_long_as_the_connection)
{
    fixture *f = fixture_create(NULL);
    fixture_push(f, A);
    fixture_connect(f);
    evener_pick pick;
    evener_status status;
    health_log log = {0};
    cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    evener_subchannel *subchannel = pick.subchannel;
    cr_assert_eq(evener_subchannel_watch_health(subchannel, "orders", health_changed, &log, &status), EVENER_STATUS_OK);
    cr_assert_eq(log.notified, 0, "never from inside");
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(log.last, EVENER_CONNECTING);
    cr_assert_str_eq(fake_transport_watched_service(f->transport, A), "orders");
    fake_transport_health(f->transport, A, EVENER_READY);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(log.last, EVENER_READY);
    fake_transport_health(f->transport, A, EVENER_TRANSIENT_FAILURE);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(log.last, EVENER_TRANSIENT_FAILURE);
    cr_assert_eq(evener_subchannel_watch_health(subchannel, NULL, NULL, NULL, &status), EVENER_STATUS_OK);
    const int notified = log.notified;
    fake_transport_health(f->transport, A, EVENER_READY);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(log.notified, notified);
    fake_transport_set(f->transport, A, FAKE_SILENT, 0);
    fake_transport_drop(f->transport, A);
    cr_assert_eq(evener_subchannel_watch_health(subchannel, "", health_changed, &log, &status),
                 EVENER_STATUS_FAILED_PRECONDITION);
    evener_pick_done(&pick, NULL);
    fixture_destroy(f);
}

/* ---- policies built against another version of evener ---- */

static void count_release(void *arg, evener_subchannel *subchannel)
{
    (void)subchannel;
    ++*(int *)arg;
}

static void no_state(void *arg, evener_subchannel *subchannel, evener_connectivity_state state,
                     const evener_status *status)
{
    (void)arg, (void)subchannel, (void)state, (void)status;
}

Test(subchannel, an_older_policys_options_are_taken_as_far_as_they_go)
{
    fixture *f = fixture_create(NULL);
    evener_address *address;
    int released = 0;
    cr_assert_eq(evener_address_create(A, NULL, 0, &address, NULL), EVENER_STATUS_OK);
    const evener_subchannel_options older = {
        .size = offsetof(evener_subchannel_options, data_bytes),
        .state_changed = no_state,
        .arg = &released,
        .released = count_release,
        .data_bytes = SIZE_MAX / 2, /* neither is read */
        .data_destroy = (void (*)(void *))(uintptr_t)1,
    };
    evener_subchannel *subchannel = evener_subchannel_pool_create_subchannel(&f->channel->pool, address, &older);
    cr_assert_not_null(subchannel);
    evener_subchannel_release(subchannel);
    cr_assert_eq(released, 1);
    const evener_subchannel_options no_size = {.state_changed = no_state, .arg = &released, .released = count_release};
    cr_assert_null(evener_subchannel_pool_create_subchannel(&f->channel->pool, address, &no_size));
    evener_address_unref(address);
    virtual_loop_run_until_idle(f->loop);
    fixture_destroy(f);
}

/* ---- a listener's wish to connect, and its address ---- */

typedef struct listener {
    unsigned notified, released;
    evener_connectivity_state states[16];
} listener;

static void note_state(void *arg, evener_subchannel *subchannel, evener_connectivity_state state,
                       const evener_status *status)
{
    (void)subchannel;
    (void)status;
    listener *of = arg;
    cr_assert_lt(of->notified, 16);
    of->states[of->notified++] = state;
}

static void note_release(void *arg, evener_subchannel *subchannel)
{
    (void)subchannel;
    ((listener *)arg)->released++;
}

static evener_subchannel *listen_to(fixture *f, const char *text, listener *to)
{
    evener_address *address;
    cr_assert_eq(evener_address_create(text, NULL, 0, &address, NULL), EVENER_STATUS_OK);
    const evener_subchannel_options options = {
        .size = sizeof options, .state_changed = note_state, .arg = to, .released = note_release};
    evener_subchannel *subchannel = evener_subchannel_pool_create_subchannel(&f->channel->pool, address, &options);
    cr_assert_not_null(subchannel);
    evener_address_unref(address);
    return subchannel;
}

/* A request to connect in the backoff is kept until it ends. Without one the subchannel waits in IDLE. */
Test(subchannel, a_connection_asked_for_in_the_backoff_is_made_at_its_end)
{
    for (int asks = 0; asks < 2; asks++) {
        fixture *f = fixture_create(NULL);
        listener l = {0};
        evener_subchannel *subchannel = listen_to(f, B, &l);
        fake_transport_set_default(f->transport, FAKE_REFUSE, 0);
        evener_subchannel_connect(subchannel);
        virtual_loop_run_until_idle(f->loop);
        cr_assert_eq(l.states[l.notified - 1], EVENER_TRANSIENT_FAILURE);
        fake_transport_set_default(f->transport, FAKE_ACCEPT, 0);
        if (asks == 1) {
            evener_subchannel_connect(subchannel);
        }
        virtual_loop_advance_ms(f->loop, 750);
        cr_expect_eq(fake_transport_attempts(f->transport, B), 1);
        virtual_loop_advance_ms(f->loop, 500);
        cr_expect_eq(fake_transport_attempts(f->transport, B), asks == 1 ? 2 : 1);
        cr_expect_eq(l.states[l.notified - 1], asks == 1 ? EVENER_READY : EVENER_IDLE);
        evener_subchannel_release(subchannel);
        virtual_loop_run_until_idle(f->loop);
        cr_expect_eq(l.released, 1);
        fixture_destroy(f);
    }
}

Test(subchannel, the_slot_of_one_that_has_ended_is_used_again)
{
    fixture *f = fixture_create(NULL);
    listener l = {0};
    const evener_subchannel *first = NULL;
    for (unsigned i = 0; i < 5; i++) {
        evener_subchannel *subchannel = listen_to(f, B, &l);
        first = i == 0 ? subchannel : first;
        cr_expect_eq(subchannel, first, "%u", i);
        cr_expect_eq(f->channel->pool.subchannel_count, 1);
        evener_subchannel_release(subchannel);
        virtual_loop_run_until_idle(f->loop);
        cr_expect_eq(f->channel->pool.subchannel_count, 0);
        cr_expect_eq(l.released, i + 1);
    }
    fixture_destroy(f);
}

/* Its attributes may change as often as the list does. */
Test(subchannel, each_address_that_replaces_another_is_given_back)
{
    fixture *f = fixture_create(NULL);
    listener l = {0};
    evener_subchannel *subchannel = listen_to(f, B, &l);
    const evener_address *identity = evener_subchannel_address(subchannel);
    for (int i = 0; i < 3; i++) {
        char weight[2] = {(char)('1' + i), '\0'};
        evener_address *address;
        cr_assert_eq(evener_address_create(B, &(evener_attribute){"weight", weight}, 1, &address, NULL),
                     EVENER_STATUS_OK);
        evener_subchannel_set_address(subchannel, address);
        evener_address_unref(address);
        cr_expect_eq(evener_subchannel_address(subchannel), address);
        cr_expect_str_eq(evener_address_attribute(evener_subchannel_address(subchannel), "weight"), weight);
    }
    evener_subchannel_set_address(subchannel, identity);
    cr_expect_eq(evener_subchannel_address(subchannel), identity);
    evener_subchannel_set_address(subchannel, identity);
    cr_expect_str_eq(evener_address_text(evener_subchannel_address(subchannel)), B);
    evener_subchannel_release(subchannel);
    virtual_loop_run_until_idle(f->loop);
    fixture_destroy(f);
}

/* ---- the listener's argument ---- */

static void note_other_state(void *arg, evener_subchannel *subchannel, evener_connectivity_state state,
                             const evener_status *status)
{
    note_state((listener *)arg + 1, subchannel, state, status);
}

static void note_other_release(void *arg, evener_subchannel *subchannel)
{
    note_release((listener *)arg + 1, subchannel);
}

static unsigned destroyed[2];

static void count_destroyed(void *data)
{
    (void)data;
    destroyed[0]++;
}

static void count_other_destroyed(void *data)
{
    (void)data;
    destroyed[1]++;
}

/* Subchannels with the same argument that differ in one member of their options only: each has its own. */
Test(subchannel, listeners_that_differ_in_one_function_are_kept_apart)
{
    static listener l[2]; /* the second one is notified by the other functions */
    const evener_subchannel_options first = {.size = sizeof first,
                                             .state_changed = note_state,
                                             .arg = l,
                                             .released = note_release,
                                             .data_bytes = 24,
                                             .data_destroy = count_destroyed,
                                             .arg_is_common = true};
    for (unsigned i = 0; i < 5; i++) {
        evener_subchannel_options second = first;
        if (i == 1) {
            second.state_changed = note_other_state;
        } else if (i == 2) {
            second.released = note_other_release;
        } else if (i == 3) {
            second.data_destroy = count_other_destroyed;
        } else if (i == 4) {
            second.data_bytes = 4000;
        }
        for (unsigned other_first = 0; other_first < 2; other_first++) {
            memset(l, 0, sizeof l);
            memset(destroyed, 0, sizeof destroyed);
            fixture *f = fixture_create(NULL);
            evener_address *address;
            cr_assert_eq(evener_address_create(B, NULL, 0, &address, NULL), EVENER_STATUS_OK);
            evener_subchannel *subchannels[2];
            for (unsigned n = 0; n < 2; n++) {
                subchannels[n] = evener_subchannel_pool_create_subchannel(&f->channel->pool, address,
                                                                          n == other_first ? &first : &second);
                cr_assert_not_null(subchannels[n]);
                memset(evener_subchannel_data(subchannels[n]), 0xff,
                       n == other_first ? first.data_bytes : second.data_bytes);
            }
            size_t kinds = 0;
            for (const evener_subchannel_kind *kind = f->channel->pool.kinds; kind != NULL; kind = kind->next) {
                kinds++;
            }
            cr_expect_eq(kinds, i == 0 ? 1 : 2, "%u: %zu kinds", i, kinds);
            fake_transport_set_default(f->transport, FAKE_SILENT, 0);
            evener_subchannel_connect(subchannels[0]);
            virtual_loop_run_until_idle(f->loop);
            cr_expect_eq(l[0].notified, i == 1 ? 1 : 2, "%u", i);
            cr_expect_eq(l[1].notified, i == 1 ? 1 : 0, "%u", i);
            evener_subchannel_release(subchannels[0]);
            evener_subchannel_release(subchannels[1]);
            virtual_loop_run_until_idle(f->loop);
            cr_expect_eq(l[0].released, i == 2 ? 1 : 2, "%u", i);
            cr_expect_eq(l[1].released, i == 2 ? 1 : 0, "%u", i);
            cr_expect_eq(destroyed[0], i == 3 ? 1 : 2, "%u", i);
            cr_expect_eq(destroyed[1], i == 3 ? 1 : 0, "%u", i);
            evener_address_unref(address);
            fixture_destroy(f);
        }
    }
}

/* A policy's few data bytes are aligned, whatever another policy of the runtime has in the same place. */
Test(subchannel, data_is_aligned_beside_listeners_with_arguments_of_their_own)
{
    enum { COUNT = 4 };
    fixture *f = fixture_create(NULL);
    evener_subchannel *subchannels[2 * COUNT];
    evener_address *address;
    int released = 0;
    cr_assert_eq(evener_address_create(A, NULL, 0, &address, NULL), EVENER_STATUS_OK);
    for (int i = 0; i < 2 * COUNT; i++) {
        const evener_subchannel_options options = {.size = sizeof options,
                                                   .state_changed = no_state,
                                                   .arg = &released,
                                                   .released = count_release,
                                                   .data_bytes = i < COUNT ? 0 : 8,
                                                   .arg_is_common = i >= COUNT};
        subchannels[i] = evener_subchannel_pool_create_subchannel(&f->channel->pool, address, &options);
        cr_assert_not_null(subchannels[i]);
        cr_assert_eq((uintptr_t)evener_subchannel_data(subchannels[i]) % 64, 0, "subchannel %d", i);
    }
    for (int i = 0; i < 2 * COUNT; i++) {
        evener_subchannel_release(subchannels[i]);
    }
    cr_assert_eq(released, 2 * COUNT);
    evener_address_unref(address);
    virtual_loop_run_until_idle(f->loop);
    fixture_destroy(f);
}

/* Listeners with one function and many arguments: each subchannel is released with its own, however it is kept. */
Test(subchannel, each_listener_has_its_own_argument)
{
    enum { LISTENERS = 40, ROUNDS = 3 };
    fixture *f = fixture_create(NULL);
    static int released[LISTENERS];
    evener_subchannel *subchannels[LISTENERS];
    evener_address *address;
    cr_assert_eq(evener_address_create(A, NULL, 0, &address, NULL), EVENER_STATUS_OK);
    for (int round = 1; round <= ROUNDS; round++) {
        for (int i = 0; i < LISTENERS; i++) {
            const evener_subchannel_options options = {.size = sizeof options,
                                                       .state_changed = no_state,
                                                       .arg = &released[i * round % LISTENERS],
                                                       .released = count_release,
                                                       .data_bytes = 24,
                                                       .arg_is_common = i % 4 != 3};
            subchannels[i] = evener_subchannel_pool_create_subchannel(&f->channel->pool, address, &options);
            cr_assert_not_null(subchannels[i]);
            memset(evener_subchannel_data(subchannels[i]), 0xff, 24);
            evener_subchannel_set_owner(subchannels[i], i % 2 == 0 ? f : NULL);
        }
        for (int i = 0; i < LISTENERS; i++) {
            const int before = released[i * round % LISTENERS];
            evener_subchannel_release(subchannels[i]);
            cr_assert_eq(released[i * round % LISTENERS], before + 1, "listener %d of round %d", i, round);
        }
    }
    size_t kinds = 0;
    for (const evener_subchannel_kind *kind = f->channel->pool.kinds; kind != NULL; kind = kind->next) {
        kinds++;
    }
    cr_assert_leq(kinds, 12, "%zu kinds: one per argument", kinds);
    evener_address_unref(address);
    virtual_loop_run_until_idle(f->loop);
    fixture_destroy(f);
}
