/* Connections are replaced because authority or credentials changed: the old ones serve until the new ones are READY,
 * however often that changes. */
#include <criterion/criterion.h>

#include <string.h>

#include <evener/log.h>
#include <evener/stats.h>

#include "lb/channel/channel_internal.h"
#include "tests/support/channel_fixture.h"

#define A "127.0.0.1:1"
#define B "127.0.0.1:2"

/* Change the authority as a reconfiguration does. */
static void renew(fixture *f, const char *authority)
{
    evener_subchannel_pool *pool = &f->channel->pool;
    pool->authority = authority;
    pool->generation++;
    evener_subchannel_pool_renew(pool, f->channel->control.list.addresses, f->channel->control.list.count);
    virtual_loop_run_until_idle(f->loop);
}

/* The backoff ends within 120 s + 20 %. */
static void await_attempt(fixture *f, uint32_t number)
{
    for (unsigned second = 0; second < 144 && fake_transport_attempts(f->transport, A) < number; second++) {
        virtual_loop_advance_ms(f->loop, 1000);
    }
    cr_assert_eq(fake_transport_attempts(f->transport, A), number);
}

typedef struct log_counts {
    const char *text; /* a part of the counted lines */
    unsigned warnings;
} log_counts;

static void count_warnings(void *arg, evener_log_level level, const char *component, const char *message)
{
    log_counts *counts = arg;
    (void)component;
    counts->warnings += level == EVENER_LOG_WARNING && strstr(message, counts->text) != NULL;
}

static fixture *connected(void)
{
    fixture *f = fixture_create(NULL);
    fixture_push(f, A);
    fixture_connect(f);
    cr_assert_str_eq(fixture_pick(f), A);
    fake_transport_set_default(f->transport, FAKE_SILENT, 0);
    return f;
}

Test(renewal, the_old_connection_serves_until_the_new_one_does)
{
    fixture *f = connected();
    evener_pick held;
    cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &held, NULL), EVENER_PICK_COMPLETE);
    const uint64_t since_ms = fixture_stats(f, A).state_age_ms;
    renew(f, "two");
    virtual_loop_advance_ms(f->loop, 5000);
    cr_assert_str_eq(fake_transport_authority(f->transport, A), "two");
    cr_assert_eq(fake_transport_open_count(f->transport, A), 2);
    cr_assert_str_eq(fixture_pick(f), A);
    cr_assert(fake_transport_ready(f->transport, A));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_str_eq(fixture_pick(f), A);
    cr_assert_eq(fake_transport_open_count(f->transport, A), 1, "the old one has gone");
    cr_assert_eq(fake_transport_unfreed(f->transport), 1, "only the call on it");
    cr_assert_eq(fixture_stats(f, A).state_age_ms, since_ms + 5000, "it was READY all the while");
    cr_assert_eq(fixture_stats(f, A).connects, 2);
    evener_pick_done(&held, NULL);
    virtual_loop_advance_ms(f->loop, 60000);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 2, "nothing more is due");
    fixture_destroy(f);
}

/* Changes that come faster than connections do not starve the backend. */
Test(renewal, an_attempt_under_way_comes_to_its_end)
{
    fixture *f = fixture_create(NULL);
    fake_transport_set_default(f->transport, FAKE_SILENT, 0);
    fixture_push(f, A);
    fixture_connect(f);
    renew(f, "two");
    renew(f, "three");
    cr_assert_eq(fake_transport_attempts(f->transport, A), 1);
    cr_assert(fake_transport_ready(f->transport, A));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_str_eq(fixture_pick(f), A);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 2, "its successor");
    cr_assert_str_eq(fake_transport_authority(f->transport, A), "three");
    renew(f, "four");
    renew(f, "five");
    cr_assert_eq(fake_transport_attempts(f->transport, A), 2);
    cr_assert(fake_transport_ready(f->transport, A));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 3);
    cr_assert_str_eq(fake_transport_authority(f->transport, A), "five");
    cr_assert(fake_transport_ready(f->transport, A));
    virtual_loop_advance_ms(f->loop, 60000);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 3);
    cr_assert_eq(fake_transport_open_count(f->transport, A), 1);
    cr_assert_str_eq(fixture_pick(f), A);
    fixture_destroy(f);
}

Test(renewal, an_outdated_attempt_that_fails_is_followed_at_once)
{
    fixture *f = fixture_create(NULL);
    fake_transport_set_default(f->transport, FAKE_SILENT, 0);
    fixture_push(f, A);
    fixture_connect(f);
    renew(f, "two");
    cr_assert(fake_transport_fail(f->transport, A, "wrong certificate"));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 2);
    cr_assert_str_eq(fake_transport_authority(f->transport, A), "two");
    cr_assert_eq(fixture_stats(f, A).state, EVENER_CONNECTING);
    cr_assert_eq(fixture_stats(f, A).connect_failures, 0, "what failed is not asked for any more");
    cr_assert(fake_transport_fail(f->transport, A, "wrong certificate"));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(fixture_stats(f, A).state, EVENER_TRANSIENT_FAILURE);
    cr_assert_leq(fixture_stats(f, A).backoff_remaining_ms, 1200, "the first failure");
    fixture_destroy(f);
}

/* C7: a connection that works is never closed because its replacement failed. */
Test(renewal, a_successor_that_fails_is_tried_again_while_the_old_connection_serves)
{
    fixture *f = connected();
    renew(f, "two");
    for (unsigned failures = 1; failures <= 50; failures++) {
        cr_assert_str_eq(fixture_pick(f), A);
        cr_assert_eq(fake_transport_attempts(f->transport, A), 1 + failures);
        cr_assert(fake_transport_fail(f->transport, A, "wrong certificate"));
        virtual_loop_run_until_idle(f->loop);
        cr_assert_str_eq(fixture_pick(f), A);
        cr_assert_eq(fixture_stats(f, A).state, EVENER_READY);
        cr_assert_eq(fixture_stats(f, A).connect_failures, failures);
        cr_assert_not_null(strstr(fixture_stats(f, A).last_error, "wrong certificate"));
        cr_assert_eq(fake_transport_attempts(f->transport, A), 1 + failures, "not before the backoff is over");
        await_attempt(f, 2 + failures);
    }
    cr_assert_eq(fake_transport_open_count(f->transport, A), 2, "the old one and the successor's attempt");
    cr_assert(fake_transport_ready(f->transport, A));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_str_eq(fixture_pick(f), A);
    cr_assert_eq(fake_transport_open_count(f->transport, A), 1);
    cr_assert_eq(fixture_stats(f, A).connects, 2);
    virtual_loop_advance_ms(f->loop, 600000);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 52, "nothing more is due");
    fixture_destroy(f);
}

Test(renewal, a_successor_that_takes_no_calls_replaces_nothing)
{
    fixture *f = connected();
    renew(f, "two");
    cr_assert(fake_transport_ready_too_late(f->transport, A));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_str_eq(fixture_pick(f), A);
    cr_assert_eq(fixture_stats(f, A).state, EVENER_READY);
    cr_assert_eq(fixture_stats(f, A).connect_failures, 1);
    cr_assert_not_null(strstr(fixture_stats(f, A).last_error, "right after it was made"));
    cr_assert_eq(fake_transport_open_count(f->transport, A), 1, "the old one");
    await_attempt(f, 3);
    cr_assert(fake_transport_ready(f->transport, A));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_str_eq(fixture_pick(f), A);
    cr_assert_str_eq(fake_transport_authority(f->transport, A), "two");
    cr_assert_eq(fake_transport_open_count(f->transport, A), 1);
    fixture_destroy(f);
}

Test(renewal, the_backoff_of_a_successor_grows)
{
    fixture *f = connected();
    fake_transport_set_default(f->transport, FAKE_REFUSE, 0);
    renew(f, "two");
    virtual_loop_advance_ms(f->loop, 799);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 2);
    virtual_loop_advance_ms(f->loop, 100000);
    const unsigned attempts = fake_transport_attempts(f->transport, A);
    cr_assert(attempts >= 8 && attempts <= 13, "1 s x 1.6, +-20 %%: %u attempts", attempts);
    cr_assert_str_eq(fixture_pick(f), A);
    fixture_destroy(f);
}

Test(renewal, the_failures_of_a_successor_are_one_warning)
{
    fixture *f = connected();
    log_counts counts = {.text = "127.0.0.1:1: the connection that is to replace"};
    evener_log_set_sink(count_warnings, &counts, EVENER_LOG_WARNING);
    fake_transport_set_default(f->transport, FAKE_REFUSE, 0);
    renew(f, "two");
    virtual_loop_advance_ms(f->loop, 60000);
    cr_assert_gt(fake_transport_attempts(f->transport, A), 5);
    cr_assert_eq(counts.warnings, 1);
    renew(f, "three");
    virtual_loop_advance_ms(f->loop, 60000);
    cr_assert_eq(counts.warnings, 2, "a change begins a new row");
    evener_log_set_sink(NULL, NULL, EVENER_LOG_NONE);
    fixture_destroy(f);
}

Test(renewal, a_change_ends_the_backoff_of_a_successor)
{
    fixture *f = connected();
    fake_transport_set_default(f->transport, FAKE_REFUSE, 0);
    renew(f, "two");
    virtual_loop_advance_ms(f->loop, 60000);
    const unsigned attempts = fake_transport_attempts(f->transport, A);
    fake_transport_set_default(f->transport, FAKE_ACCEPT, 0);
    renew(f, "three");
    cr_assert_eq(fake_transport_attempts(f->transport, A), attempts + 1);
    cr_assert_str_eq(fake_transport_authority(f->transport, A), "three");
    cr_assert_eq(fake_transport_open_count(f->transport, A), 1);
    cr_assert_str_eq(fixture_pick(f), A);
    fixture_destroy(f);
}

Test(renewal, resetting_the_backoff_holds_for_a_successor_too)
{
    fixture *f = connected();
    fake_transport_set_default(f->transport, FAKE_REFUSE, 0);
    renew(f, "two");
    virtual_loop_advance_ms(f->loop, 60000);
    const unsigned attempts = fake_transport_attempts(f->transport, A);
    fake_transport_set_default(f->transport, FAKE_ACCEPT, 0);
    evener_channel_reset_connect_backoff(f->channel);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(fake_transport_attempts(f->transport, A), attempts + 1);
    cr_assert_eq(fake_transport_open_count(f->transport, A), 1);
    fixture_destroy(f);
}

Test(renewal, a_connection_that_drops_while_its_successor_waits_is_a_failure)
{
    fixture *f = connected();
    renew(f, "two");
    cr_assert(fake_transport_fail(f->transport, A, "wrong certificate"));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_str_eq(fixture_pick(f), A);
    cr_assert(fake_transport_drop(f->transport, A));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(fixture_stats(f, A).state, EVENER_TRANSIENT_FAILURE);
    cr_assert_not_null(strstr(fixture_pick(f), "wrong certificate"));
    cr_assert_eq(fake_transport_attempts(f->transport, A), 2);
    fake_transport_set_default(f->transport, FAKE_ACCEPT, 0);
    virtual_loop_advance_ms(f->loop, 1200);
    cr_assert_str_eq(fixture_pick(f), A);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 3);
    fixture_destroy(f);
}

Test(renewal, a_successor_without_answer_is_given_up)
{
    fixture *f = connected();
    virtual_loop_advance_ms(f->loop, 100000);
    renew(f, "two");
    virtual_loop_advance_ms(f->loop, 19999);
    cr_assert_str_eq(fixture_pick(f), A);
    virtual_loop_advance_ms(f->loop, 1);
    cr_assert_eq(fixture_stats(f, A).connect_failures, 1);
    cr_assert_not_null(strstr(fixture_stats(f, A).last_error, "no connection within 20000 ms"), "%s",
                       fixture_stats(f, A).last_error);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 3, "the backoff ran from the start of the attempt");
    cr_assert_eq(fake_transport_open_count(f->transport, A), 2, "the old one and the next attempt");
    cr_assert_str_eq(fixture_pick(f), A);
    fixture_destroy(f);
}

Test(renewal, a_connection_that_drops_waits_for_its_successor)
{
    fixture *f = connected();
    renew(f, "two");
    cr_assert(fake_transport_drop(f->transport, A));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_str_eq(fixture_pick(f), "queue");
    cr_assert_eq(fixture_stats(f, A).state, EVENER_CONNECTING);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 2);
    cr_assert(fake_transport_ready(f->transport, A));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_str_eq(fixture_pick(f), A);
    fixture_destroy(f);
}

Test(renewal, may_be_cut_short_by_the_end_of_a_backend_and_of_the_channel)
{
    fixture *f = connected();
    renew(f, "two");
    fake_transport_set(f->transport, B, FAKE_ACCEPT, 0);
    fixture_push(f, B);
    cr_assert_str_eq(fixture_pick(f), B);
    cr_assert_eq(fake_transport_open_count(f->transport, A), 0);
    fake_transport_set(f->transport, B, FAKE_SILENT, 0);
    renew(f, "three");
    cr_assert_eq(fake_transport_open_count(f->transport, B), 2);
    fixture_destroy(f);
}

/* A17 (client-side health checking): a new connection is asked again; until it answers, the health of the old one
 * holds. */
Test(renewal, a_health_watch_goes_over_to_the_new_connection)
{
    fixture *f = fixture_create(NULL);
    fixture_push_config(f, A "," B,
                        "{\"loadBalancingConfig\":[{\"health_check\":{\"serviceName\":\"orders\",\"childPolicy\":"
                        "[{\"round_robin\":{}}]}}]}");
    fixture_connect(f);
    cr_assert(fake_transport_health(f->transport, A, EVENER_READY));
    cr_assert(fake_transport_health(f->transport, B, EVENER_TRANSIENT_FAILURE));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_str_eq(fixture_pick(f), A);
    renew(f, "two");
    cr_assert_eq(fake_transport_attempts(f->transport, A), 2);
    cr_assert_eq(fake_transport_open_count(f->transport, A), 1);
    cr_assert_str_eq(fake_transport_watched_service(f->transport, A), "orders");
    cr_assert_str_eq(fixture_pick(f), A);
    cr_assert(fake_transport_health(f->transport, A, EVENER_TRANSIENT_FAILURE));
    cr_assert(fake_transport_health(f->transport, B, EVENER_READY));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_str_eq(fixture_pick(f), B);
    cr_assert_str_eq(fixture_pick(f), B);
    fixture_destroy(f);
}
