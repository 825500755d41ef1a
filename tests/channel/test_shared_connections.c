/* Connections shared by the channels of a runtime, over the fake transport, registered as a factory that shares. */
#include <stddef.h>
#include <string.h>

#include <criterion/criterion.h>

#include <evener/evener.h>
#include <evener/transport.h>

#include "lb/backend/shared_transport.h"
#include "tests/support/fake_transport.h"
#include "tests/support/virtual_loop.h"

#define A "127.0.0.1:1"
#define B "127.0.0.1:2"

static fake_transport *fake; /* Criterion runs each test in a process of its own */
static unsigned creates;
static virtual_loop *loop;
static evener_runtime *runtime;
static evener_manual_resolver *resolver;

static evener_status_code create(const evener_transport_args *args, evener_transport **transport, evener_status *status)
{
    (void)args;
    creates++;
    *transport = fake_transport_transport(fake);
    return evener_status_clear(status);
}

static const evener_transport_factory factory = {.size = sizeof factory, .create = create, .shares_connections = true};

static bool no_target(const evener_transport_args *args)
{
    (void)args;
    return false;
}

static const evener_transport_factory whatever_target = {
    .size = sizeof whatever_target, .create = create, .uses_target = no_target, .shares_connections = true};

static void set_up(void)
{
    evener_status status;
    loop = virtual_loop_create(1);
    const evener_runtime_options options = {.size = sizeof options, .loop = virtual_loop_loop(loop)};
    cr_assert_eq(evener_runtime_create(&options, &runtime, &status), EVENER_STATUS_OK);
    fake = fake_transport_create(virtual_loop_loop(loop), true);
    cr_assert_eq(evener_transport_register("shared", &factory, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_manual_resolver_create("orders", &resolver, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_manual_resolver_set(resolver, A "," B, NULL, &status), EVENER_STATUS_OK);
}

static void tear_down(void)
{
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(fake_transport_open_count(fake, NULL), 0);
    cr_expect_eq(fake_transport_unfreed(fake), 0);
    fake_transport_destroy(fake);
    evener_manual_resolver_destroy(resolver);
    evener_runtime_unref(runtime);
    virtual_loop_destroy(loop);
}

static evener_channel *open_target(const char *target, evener_channel_options options)
{
    evener_channel *channel = NULL;
    evener_status status;
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(resolver)};
    options.size = sizeof options;
    options.runtime = runtime;
    options.transport_name = options.transport_name != NULL ? options.transport_name : "shared";
    options.policy = options.policy != NULL ? options.policy : "round_robin";
    options.resolvers = resolvers;
    options.resolver_count = 1;
    cr_assert_eq(evener_channel_create(target, &options, &channel, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_channel_connect(channel);
    return channel;
}

static evener_channel *open_with(evener_channel_options options)
{
    return open_target("orders:///x", options);
}

static evener_channel *open_channel(void)
{
    return open_with((evener_channel_options){0});
}

static bool picks(evener_channel *channel)
{
    evener_pick pick;
    evener_status status;
    if (evener_channel_try_pick(channel, NULL, &pick, &status) != EVENER_PICK_COMPLETE) {
        return false;
    }
    cr_expect(fake_connection_is_alive(pick.connection));
    evener_pick_done(&pick, NULL);
    return true;
}

Test(shared_connections, equal_channels_share_them_and_the_last_one_closes_them, .init = set_up, .fini = tear_down)
{
    evener_channel *channels[20];
    for (size_t i = 0; i < 20; i++) {
        channels[i] = open_channel();
        if (i % 2 == 0) {
            virtual_loop_run_until_idle(loop); /* every other one joins attempts, the rest connections */
        }
    }
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(creates, 1);
    cr_expect_eq(fake_transport_attempts(fake, A), 1);
    cr_expect_eq(fake_transport_open_count(fake, NULL), 2);
    for (size_t i = 0; i < 20; i++) {
        cr_expect(picks(channels[i]));
    }
    for (size_t i = 0; i < 20; i++) {
        cr_expect_eq(fake_transport_open_count(fake, NULL), 2);
        evener_channel_unref(channels[i]);
        virtual_loop_run_until_idle(loop);
    }
    cr_expect_eq(fake_transport_open_count(fake, NULL), 0);
}

Test(shared_connections, a_channel_keeps_apart_by_its_option_or_by_what_differs, .init = set_up, .fini = tear_down)
{
    evener_channel *channels[] = {open_channel(), open_with((evener_channel_options){.own_connections = true}),
                                  open_with((evener_channel_options){.user_agent = "other/1"}),
                                  open_with((evener_channel_options){.keepalive_time_ms = 1000}),
                                  open_with((evener_channel_options){.authority = "other.test"})};
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(fake_transport_open_count(fake, A), 5);
    cr_expect_eq(creates, 4, "another authority needs no other transport");
    for (size_t i = 0; i < sizeof channels / sizeof channels[0]; i++) {
        evener_channel_unref(channels[i]);
    }
}

Test(shared_connections, a_drop_and_a_failure_reach_every_channel, .init = set_up, .fini = tear_down)
{
    evener_channel *first = open_channel();
    evener_channel *second = open_channel();
    virtual_loop_run_until_idle(loop);
    fake_transport_set_default(fake, FAKE_REFUSE, 0);
    cr_assert(fake_transport_drop(fake, A));
    cr_assert(fake_transport_drop(fake, B));
    virtual_loop_run_until_idle(loop);
    cr_expect_not(picks(first));
    cr_expect_not(picks(second));
    fake_transport_set_default(fake, FAKE_ACCEPT, 0);
    virtual_loop_advance_ms(loop, 10000);
    cr_expect(picks(first));
    cr_expect(picks(second));
    cr_expect_eq(fake_transport_open_count(fake, NULL), 2);
    evener_channel_unref(first);
    evener_channel_unref(second);
}

Test(shared_connections, one_that_joins_as_the_connection_drops_connects_anew, .init = set_up, .fini = tear_down)
{
    evener_channel *first = open_channel();
    virtual_loop_run_until_idle(loop);
    evener_channel *second = open_channel();
    cr_assert(fake_transport_drop(fake, A)); /* before the second one was notified of READY, or has joined */
    virtual_loop_run_until_idle(loop);
    cr_expect(picks(first));
    cr_expect(picks(second));
    cr_expect_eq(fake_transport_open_count(fake, A), 1);
    evener_channel_unref(first);
    evener_channel_unref(second);
}

Test(shared_connections, a_connection_that_takes_no_call_is_not_joined, .init = set_up, .fini = tear_down)
{
    evener_channel *first = open_channel();
    virtual_loop_run_until_idle(loop);
    cr_assert(fake_transport_close_to_calls(fake, A));
    evener_channel *second = open_channel();
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(fake_transport_open_count(fake, A), 2);
    evener_channel_unref(first);
    evener_channel_unref(second);
}

Test(shared_connections, a_pick_outlives_its_channel_and_the_connection, .init = set_up, .fini = tear_down)
{
    evener_channel *first = open_channel();
    evener_channel *second = open_channel();
    virtual_loop_run_until_idle(loop);
    evener_pick pick;
    evener_status status;
    cr_assert_eq(evener_channel_try_pick(first, NULL, &pick, &status), EVENER_PICK_COMPLETE);
    evener_channel_unref(second);
    fake_transport_drop(fake, A);
    fake_transport_drop(fake, B);
    virtual_loop_run_until_idle(loop);
    cr_expect(fake_connection_is_alive(pick.connection));
    evener_pick_done(&pick, NULL);
    evener_channel_unref(first);
}

Test(shared_connections, all_channels_watch_the_health_of_one_connection, .init = set_up, .fini = tear_down)
{
    static const char config[] = "{\"loadBalancingConfig\":[{\"round_robin\":{}}],"
                                 "\"healthCheckConfig\":{\"serviceName\":\"orders\"}}";
    evener_status status;
    cr_assert_eq(evener_manual_resolver_set(resolver, A, config, &status), EVENER_STATUS_OK);
    evener_channel *first = open_channel();
    virtual_loop_run_until_idle(loop);
    cr_assert_str_eq(fake_transport_watched_service(fake, A), "orders");
    cr_expect_not(picks(first), "its health is not known yet");
    fake_transport_health(fake, A, EVENER_READY);
    virtual_loop_run_until_idle(loop);
    evener_channel *second = open_channel(); /* learns what was reported before */
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(fake_transport_open_count(fake, A), 1);
    cr_expect(picks(first));
    cr_expect(picks(second));
    fake_transport_health(fake, A, EVENER_TRANSIENT_FAILURE);
    virtual_loop_run_until_idle(loop);
    cr_expect_not(picks(first));
    cr_expect_not(picks(second));
    evener_channel_unref(first);
    virtual_loop_run_until_idle(loop);
    fake_transport_health(fake, A, EVENER_READY);
    virtual_loop_run_until_idle(loop);
    cr_expect(picks(second), "its watch goes on without the first");
    evener_channel_unref(second);
}

Test(shared_connections, targets_keep_apart_only_where_the_transport_uses_them, .init = set_up, .fini = tear_down)
{
    evener_status status;
    cr_assert_eq(evener_transport_register("whatever", &whatever_target, &status), EVENER_STATUS_OK);
    const evener_channel_options by_name = {.authority = "orders.test"};
    const evener_channel_options by_address = {.authority = "orders.test", .transport_name = "whatever"};
    evener_channel *channels[] = {open_target("orders:///x", by_name), open_target("orders:///y", by_name),
                                  open_target("orders:///x", by_address), open_target("orders:///y", by_address)};
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(creates, 3);
    cr_expect_eq(fake_transport_open_count(fake, A), 3);
    for (size_t i = 0; i < sizeof channels / sizeof channels[0]; i++) {
        cr_expect(picks(channels[i]));
        evener_channel_unref(channels[i]);
    }
}

Test(shared_connections, a_factory_that_shares_needs_references, .init = set_up, .fini = tear_down)
{
    fake_transport *uncounted = fake_transport_create(virtual_loop_loop(loop), false);
    fake_transport *counted = fake;
    fake = uncounted;
    evener_channel *channel = NULL;
    evener_status status;
    const evener_channel_options options = {.size = sizeof options, .runtime = runtime, .transport_name = "shared"};
    cr_expect_eq(evener_channel_create("static:" A, &options, &channel, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_neq(strstr(status.message, "connection_ref"), NULL, "%s", status.message);
    fake = counted;
    fake_transport_destroy(uncounted);
}

Test(shared_connections, channels_share_one_backoff, .init = set_up, .fini = tear_down)
{
    evener_channel *channels[10];
    fake_transport_set_default(fake, FAKE_REFUSE, EVENER_NS_PER_MS);
    for (size_t i = 0; i < 10; i++) {
        channels[i] = open_channel();
        virtual_loop_advance_ms(loop, i == 5 ? 20 : 0); /* the rest come during the backoff */
    }
    virtual_loop_advance_ms(loop, 100);
    cr_expect_eq(fake_transport_attempts(fake, A), 1);
    virtual_loop_advance_ms(loop, 1200); /* the first backoff is 1 s +- 20 % */
    cr_expect_eq(fake_transport_attempts(fake, A), 2);
    virtual_loop_advance_ms(loop, 60000);
    const uint32_t attempts = fake_transport_attempts(fake, A); /* 1, 1.6, 2.56, ...: 7 +- 1 within a minute */
    cr_expect(attempts >= 6 && attempts <= 10, "%u attempts", attempts);
    fake_transport_set_default(fake, FAKE_ACCEPT, 0);
    virtual_loop_advance_ms(loop, 120000);
    for (size_t i = 0; i < 10; i++) {
        cr_expect(picks(channels[i]));
        evener_channel_unref(channels[i]);
    }
    cr_expect_eq(fake_transport_attempts(fake, A), attempts + 1);
}

/* Open a channel to A alone, over the factory that takes every target as one. */
static evener_channel *open_to_a(const char *policy)
{
    return open_target("static:" A, (evener_channel_options){
                                        .transport_name = "whatever", .policy = policy, .authority = "orders.test"});
}

/* Failures are forgotten 2 minutes after the end of the backoff if nobody tries again; until then, a channel that comes
 * back goes on with the backoff that had grown. */
Test(shared_connections, a_backend_that_nobody_wants_is_forgotten_after_2_minutes, .init = set_up, .fini = tear_down)
{
    evener_status status;
    cr_assert_eq(evener_transport_register("whatever", &whatever_target, &status), EVENER_STATUS_OK);
    /* keeps what is shared, but not the backend */
    evener_channel *other = open_target(
        "static:127.0.0.1:9", (evener_channel_options){.transport_name = "whatever", .authority = "orders.test"});
    fake_transport_set_default(fake, FAKE_REFUSE, 0);
    static const unsigned away_ms[] = {119900, 120100};
    for (size_t i = 0; i < 2; i++) {
        evener_channel *channel = open_to_a("round_robin");
        virtual_loop_advance_ms(loop, 600000); /* the backoff has grown to 2 minutes, more or less */
        const uint32_t before = fake_transport_attempts(fake, A);
        evener_channel_unref(channel);
        virtual_loop_run_until_idle(loop);
        channel = open_to_a("round_robin");
        virtual_loop_run_until_idle(loop);
        cr_expect_eq(fake_transport_attempts(fake, A), before, "in the backoff, also for a channel that comes then");
        uint32_t attempts = before;
        for (uint64_t ms = 0; ms < 200000 && attempts == before; ms++) {
            virtual_loop_advance_ms(loop, 1);
            attempts = fake_transport_attempts(fake, A);
        }
        cr_assert_eq(attempts, before + 1);
        const evener_channel_stats none = {.size = sizeof none, .subchannel_bytes = sizeof *none.subchannels};
        evener_channel_stats stats = none;
        virtual_loop_run_until_idle(loop);
        cr_assert_eq(evener_channel_get_stats(channel, &stats, &status), EVENER_STATUS_OK);
        const uint64_t backoff_ms = stats.subchannels[0].backoff_remaining_ms;
        evener_channel_stats_clear(&stats);
        cr_expect(backoff_ms > 90000 && backoff_ms < 145000, "%llu ms", (unsigned long long)backoff_ms);
        evener_channel_unref(channel);
        virtual_loop_advance_ms(loop, backoff_ms + away_ms[i]);
        channel = open_to_a("round_robin");
        virtual_loop_advance_ms(loop, 1300); /* a first backoff is 1 s +- 20 % */
        cr_expect_eq(fake_transport_attempts(fake, A), attempts + 1 + (uint32_t)i, "%zu", i);
        evener_channel_unref(channel);
        virtual_loop_advance_ms(loop, 400000);
    }
    evener_channel_unref(other);
}

/* Also what a server did that dropped its connections. pick_first does not connect again by itself. */
Test(shared_connections, dropped_connections_are_counted_over_channels_that_come_and_go, .init = set_up,
     .fini = tear_down)
{
    evener_status status;
    cr_assert_eq(evener_transport_register("whatever", &whatever_target, &status), EVENER_STATUS_OK);
    evener_channel *other = open_target(
        "static:127.0.0.1:9", (evener_channel_options){.transport_name = "whatever", .authority = "orders.test"});
    for (uint32_t i = 1; i <= 5; i++) {
        evener_channel *channel = open_to_a("pick_first");
        virtual_loop_run_until_idle(loop);
        cr_expect(picks(channel));
        virtual_loop_advance_ns(loop, 100 * EVENER_NS_PER_MS - 1);
        cr_assert(fake_transport_drop(fake, A));
        evener_channel_unref(channel);
        virtual_loop_run_until_idle(loop);
        cr_expect_eq(fake_transport_attempts(fake, A), i);
    }
    evener_channel *channel = open_to_a("pick_first");
    virtual_loop_advance_ms(loop, 750);
    cr_expect_eq(fake_transport_attempts(fake, A), 5, "five in a row are a failure");
    virtual_loop_advance_ms(loop, 500);
    cr_expect_eq(fake_transport_attempts(fake, A), 6);
    evener_channel_unref(channel);
    for (uint32_t i = 0; i < 10; i++) { /* one that lasted 100 ms begins a new row */
        channel = open_to_a("pick_first");
        virtual_loop_advance_ms(loop, i % 4 == 3 ? 100 : 99);
        cr_assert(fake_transport_drop(fake, A), "%u", i);
        evener_channel_unref(channel);
        virtual_loop_run_until_idle(loop);
    }
    evener_channel_unref(other);
}

Test(shared_connections, a_factory_says_that_it_shares_and_is_new_enough_to_say_so)
{
    const size_t end = offsetof(evener_transport_factory, shares_connections) + sizeof(bool);
    const evener_transport_factory sharing = {.size = end, .create = create, .shares_connections = true};
    evener_transport_factory other = sharing;
    cr_expect(evener_shared_transport_is_possible(&sharing));
    other.shares_connections = false;
    cr_expect_not(evener_shared_transport_is_possible(&other));
    other = sharing;
    other.size = end - 1;
    cr_expect_not(evener_shared_transport_is_possible(&other));
}

Test(shared_connections, a_reset_of_one_channels_backoff_brings_all_channels_back, .init = set_up, .fini = tear_down)
{
    fake_transport_set_default(fake, FAKE_REFUSE, 0);
    evener_channel *first = open_channel();
    evener_channel *second = open_channel();
    virtual_loop_advance_ms(loop, 30000);
    const uint32_t attempts = fake_transport_attempts(fake, A);
    evener_channel_reset_connect_backoff(first);
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(fake_transport_attempts(fake, A), attempts + 1, "refused again");
    fake_transport_set_default(fake, FAKE_ACCEPT, 0);
    evener_channel_reset_connect_backoff(first);
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(fake_transport_attempts(fake, A), attempts + 2);
    cr_expect(picks(first));
    cr_expect(picks(second), "it joins without waiting for the end of its backoff");
    evener_channel_unref(first);
    evener_channel_unref(second);
}

Test(shared_connections, a_server_that_drops_connections_meets_one_backoff, .init = set_up, .fini = tear_down)
{
    evener_channel *channels[4];
    for (size_t i = 0; i < 4; i++) {
        channels[i] = open_channel();
    }
    virtual_loop_run_until_idle(loop);
    for (int i = 0; i < 50; i++) {
        fake_transport_drop(fake, A);
        virtual_loop_run_until_idle(loop);
    }
    cr_expect_eq(fake_transport_attempts(fake, A), 5);
    virtual_loop_advance_ms(loop, 1300);
    cr_expect_eq(fake_transport_attempts(fake, A), 6);
    for (size_t i = 0; i < 4; i++) {
        evener_channel_unref(channels[i]);
    }
}

/* ---- several connections to a backend (A105) ---- */

static evener_transport_vtable scaling_vtable; /* the fake transport's, and what further connections need */
static const evener_transport_vtable *fake_vtable;
static void (*more_wanted)(void *arg); /* of the last connection */
static void *more_wanted_arg;

static bool calls_wait(const evener_connection *connection)
{
    (void)connection;
    return true;
}

static evener_status_code connect_scaling(evener_transport *transport, const evener_connect_args *args,
                                          evener_connection **connection, evener_status *status)
{
    more_wanted = args->more_wanted;
    more_wanted_arg = args->arg;
    return fake_vtable->connect(transport, args, connection, status);
}

/* A server may not want a second connection, and end each one right after it was made. */
Test(shared_connections, a_further_connection_that_was_dropped_soon_is_followed_after_a_while, .init = set_up,
     .fini = tear_down)
{
    fake_vtable = fake_transport_transport(fake)->vtable;
    scaling_vtable = *fake_vtable;
    scaling_vtable.connect = connect_scaling;
    scaling_vtable.calls_wait = calls_wait;
    fake_transport_transport(fake)->vtable = &scaling_vtable;
    cr_assert_eq(evener_manual_resolver_set(resolver, A, NULL, NULL), EVENER_STATUS_OK);
    evener_channel *channel = open_with((evener_channel_options){
        .default_service_config = "{\"connectionScaling\":{\"maxConnectionsPerSubchannel\":2}}"});
    virtual_loop_run_until_idle(loop);
    cr_assert_eq(fake_transport_attempts(fake, A), 1);
    more_wanted(more_wanted_arg);
    virtual_loop_run_until_idle(loop);
    cr_assert_eq(fake_transport_open_count(fake, A), 2);
    cr_assert(fake_transport_drop(fake, A));
    virtual_loop_advance_ms(loop, 700);
    cr_expect_eq(fake_transport_attempts(fake, A), 2);
    virtual_loop_advance_ms(loop, 600);
    cr_expect_eq(fake_transport_attempts(fake, A), 3);
    cr_assert_eq(fake_transport_open_count(fake, A), 2);
    virtual_loop_advance_ms(loop, 100);
    cr_assert(fake_transport_drop(fake, A));
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(fake_transport_attempts(fake, A), 4, "this one has lived long enough");
    cr_expect(picks(channel));
    evener_channel_unref(channel);
}

Test(shared_connections, a_channel_closes_while_another_connects, .init = set_up, .fini = tear_down)
{
    fake_transport_set_default(fake, FAKE_SILENT, 0);
    evener_channel *first = open_channel();
    virtual_loop_run_until_idle(loop);
    evener_channel *second = open_channel();
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(fake_transport_attempts(fake, A), 1);
    evener_channel_unref(first);
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(fake_transport_open_count(fake, A), 1);
    cr_assert(fake_transport_ready(fake, A));
    virtual_loop_run_until_idle(loop);
    cr_expect(picks(second));
    evener_channel_unref(second);
}

Test(shared_connections, an_attempt_that_nobody_waits_for_ends, .init = set_up, .fini = tear_down)
{
    fake_transport_set_default(fake, FAKE_SILENT, 0);
    evener_channel *only = open_channel();
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(fake_transport_open_count(fake, A), 1);
    evener_channel_unref(only);
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(fake_transport_open_count(fake, A), 0);
    evener_channel *next = open_channel(); /* the attempt did not fail */
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(fake_transport_open_count(fake, A), 1);
    evener_channel_unref(next);
}

Test(shared_connections, an_attempt_times_out_however_late_channels_join, .init = set_up, .fini = tear_down)
{
    fake_transport_set_default(fake, FAKE_SILENT, 0);
    evener_channel *channels[5];
    for (size_t i = 0; i < 5; i++) {
        channels[i] = open_channel();
        virtual_loop_advance_ms(loop, 4500);
    }
    cr_expect_eq(fake_transport_attempts(fake, A), 2, "the first ended after 20 s, which is later than its backoff");
    for (size_t i = 0; i < 5; i++) {
        evener_channel_unref(channels[i]);
    }
}

Test(shared_connections, idleness_of_a_channel_disconnects_no_other, .init = set_up, .fini = tear_down)
{
    evener_channel *idle = open_with((evener_channel_options){.idle_timeout_ms = 1000});
    evener_channel *busy = open_channel();
    virtual_loop_run_until_idle(loop);
    virtual_loop_advance_ms(loop, 2000);
    cr_expect_eq(evener_channel_state(idle, false), EVENER_IDLE);
    cr_expect_eq(fake_transport_open_count(fake, A), 1);
    cr_expect(picks(busy));
    evener_channel_unref(busy);
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(fake_transport_open_count(fake, A), 0, "the idle channel holds no connection");
    evener_channel_unref(idle);
}

Test(shared_connections, new_credentials_move_one_channel_and_disturb_no_other, .init = set_up, .fini = tear_down)
{
    evener_credentials *insecure = NULL;
    evener_credentials *tls = NULL;
    evener_status status;
    cr_assert_eq(evener_credentials_create_insecure(&insecure, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_credentials_create_tls(NULL, &tls, &status), EVENER_STATUS_OK, "%s", status.message);
    const evener_channel_options options = {.credentials = insecure};
    evener_channel *stays = open_with(options);
    evener_channel *moves = open_with(options);
    virtual_loop_run_until_idle(loop);
    fake_transport_set_default(fake, FAKE_SILENT, 0);
    cr_assert_eq(evener_channel_set_credentials(moves, tls, &status), EVENER_STATUS_OK, "%s", status.message);
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(fake_transport_open_count(fake, A), 2, "one in service, one on its way");
    cr_expect(picks(stays));
    cr_expect(picks(moves), "the shared connection serves it until its successor is READY");
    cr_assert(fake_transport_ready(fake, A));
    virtual_loop_run_until_idle(loop);
    evener_channel_unref(stays);
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(fake_transport_open_count(fake, A), 1, "the other one was its own");
    cr_expect(picks(moves));
    evener_channel *joins = open_with((evener_channel_options){.credentials = tls});
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(fake_transport_open_count(fake, A), 1, "equal credentials");
    cr_expect(picks(joins));
    evener_channel_unref(moves);
    evener_channel_unref(joins);
    evener_credentials_destroy(insecure);
    evener_credentials_destroy(tls);
}

Test(shared_connections, new_credentials_of_a_channel_with_own_connections_replace_them, .init = set_up,
     .fini = tear_down)
{
    evener_credentials *insecure = NULL;
    evener_status status;
    cr_assert_eq(evener_credentials_create_insecure(&insecure, &status), EVENER_STATUS_OK);
    evener_channel *own = open_with((evener_channel_options){.credentials = insecure, .own_connections = true});
    virtual_loop_run_until_idle(loop);
    cr_assert_eq(evener_channel_set_credentials(own, insecure, &status), EVENER_STATUS_OK, "%s", status.message);
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(fake_transport_attempts(fake, A), 2);
    cr_expect_eq(fake_transport_open_count(fake, A), 1);
    cr_expect(picks(own));
    evener_channel_unref(own);
    evener_credentials_destroy(insecure);
}

/* ---- several watches over one connection of one channel ---- */

static void note_ready(void *arg, evener_connectivity_state state, const evener_status *status)
{
    (void)status;
    *(bool *)arg = state == EVENER_READY;
}

typedef struct watcher {
    int reports;
    evener_connectivity_state last;
} watcher;

static void note_health(void *arg, evener_connectivity_state health, const evener_status *status)
{
    watcher *self = arg;
    (void)status;
    self->reports++;
    self->last = health;
}

Test(shared_connections, one_channel_may_watch_the_health_of_a_connection_several_times, .init = set_up,
     .fini = tear_down)
{
    evener_status status;
    evener_transport *transport = NULL;
    evener_connection *connection = NULL;
    const evener_transport_args transport_args = {.size = sizeof transport_args, .runtime = runtime};
    cr_assert_eq(evener_shared_transport_create(&factory, &transport_args, false, &transport, &status),
                 EVENER_STATUS_OK);
    evener_address *address = NULL;
    cr_assert_eq(evener_address_create(A, NULL, 0, &address, &status), EVENER_STATUS_OK);
    const evener_backoff_options backoff = {.size = sizeof backoff};
    bool is_ready = false;
    uint64_t retry_at_ns = 0;
    const evener_shared_connect_args args = {.base = {.size = sizeof args.base,
                                                      .address = address,
                                                      .authority = "orders",
                                                      .timeout_ms = 1000,
                                                      .state_changed = note_ready,
                                                      .arg = &is_ready,
                                                      .loop = virtual_loop_loop(loop)},
                                             .connect_timeout_ns = EVENER_NS_PER_S,
                                             .backoff = &backoff,
                                             .retry_at_ns = &retry_at_ns};
    const evener_transport_vtable *vtable = transport->vtable;
    cr_assert_eq(vtable->connect(transport, &args.base, &connection, &status), EVENER_STATUS_OK);
    virtual_loop_run_until_idle(loop);
    cr_assert(is_ready);
    watcher first = {0}, second = {0}, late = {0};
    cr_assert_eq(vtable->watch_health(transport, connection, "orders", note_health, &first), EVENER_STATUS_OK);
    cr_assert_eq(vtable->watch_health(transport, connection, "orders", note_health, &second), EVENER_STATUS_OK);
    fake_transport_health(fake, A, EVENER_READY);
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(first.last, EVENER_READY);
    cr_expect_eq(second.last, EVENER_READY);
    cr_assert_eq(vtable->watch_health(transport, connection, "orders", note_health, &late), EVENER_STATUS_OK);
    cr_expect_eq(late.reports, 0, "never from inside");
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(late.last, EVENER_READY, "it learns what was reported before");
    cr_assert_eq(vtable->watch_health(transport, connection, NULL, NULL, &first), EVENER_STATUS_OK);
    const int reports = first.reports;
    fake_transport_health(fake, A, EVENER_TRANSIENT_FAILURE);
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(first.reports, reports);
    cr_expect_eq(second.last, EVENER_TRANSIENT_FAILURE);
    cr_expect_eq(late.last, EVENER_TRANSIENT_FAILURE);
    vtable->disconnect(transport, connection);
    vtable->destroy(transport);
    evener_address_unref(address);
}
