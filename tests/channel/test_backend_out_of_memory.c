/* Allocations of the backend layer fail in turn: of an attempt to connect, of connections that channels share, of
 * health watches, of load reports. Each failure is reported or tried again, and leaves nothing behind. */
#include <criterion/criterion.h>

#include <string.h>

#include <evener/evener.h>
#include <evener/transport.h>

#include "lb/backend/shared_transport.h"
#include "lb/channel/channel_internal.h"
#include "tests/support/channel_fixture.h"
#include "tests/support/failing_memory.h"

#define A "127.0.0.1:1"

static void expect_exhausted(evener_status_code code, const evener_status *status)
{
    cr_expect_eq(code, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s", evener_status_code_name(code));
    cr_expect_eq(status->code, EVENER_STATUS_RESOURCE_EXHAUSTED);
    cr_expect_not_null(strstr(status->message, "out of memory"), "%s", status->message);
}

/* ---- a transport that needs no memory ---- */

#define CONNECTIONS 8

struct evener_connection {
    evener_task task;
    void (*state_changed)(void *arg, evener_connectivity_state state, const evener_status *status);
    void *arg;
    bool is_used;
    unsigned watches;
};

static evener_connection connections[CONNECTIONS];
static evener_loop *steady_loop;
static evener_status_code watch_code;   /* of each health watch */
static evener_status_code connect_code; /* of each attempt */

static void report_ready(void *arg)
{
    const evener_connection *connection = arg;
    if (connection->is_used) {
        connection->state_changed(connection->arg, EVENER_READY, NULL);
    }
}

static evener_status_code steady_connect(evener_transport *transport, const evener_connect_args *args,
                                         evener_connection **connection, evener_status *status)
{
    (void)transport;
    if (connect_code != EVENER_STATUS_OK) {
        return evener_status_set(status, connect_code, "refused");
    }
    for (size_t i = 0; i < CONNECTIONS; i++) {
        evener_connection *c = &connections[i];
        if (!c->is_used && c->task.pending == 0) {
            *c = (evener_connection){EVENER_TASK_INIT(report_ready, c), args->state_changed, args->arg, true, 0};
            evener_loop_post(steady_loop, &c->task);
            *connection = c;
            return EVENER_STATUS_OK;
        }
    }
    return evener_status_set(status, EVENER_STATUS_INTERNAL, "all connections are in use");
}

static void steady_disconnect(evener_transport *transport, evener_connection *connection)
{
    (void)transport;
    cr_assert(connection->is_used);
    connection->is_used = false;
}

static bool steady_ref(evener_connection *connection)
{
    (void)connection;
    return true;
}

static void steady_unref(evener_connection *connection)
{
    (void)connection;
}

static evener_status_code steady_watch_health(
    evener_transport *transport, evener_connection *connection, const char *service,
    void (*health_changed)(void *arg, evener_connectivity_state health, const evener_status *status), void *arg)
{
    (void)transport, (void)health_changed, (void)arg;
    if (service == NULL) {
        cr_assert_gt(connection->watches, 0);
        connection->watches--;
        return EVENER_STATUS_OK;
    }
    cr_assert_str_eq(service, "orders");
    connection->watches += watch_code == EVENER_STATUS_OK;
    return watch_code;
}

static const evener_transport_vtable steady_vtable = {.size = sizeof steady_vtable,
                                                      .connect = steady_connect,
                                                      .disconnect = steady_disconnect,
                                                      .connection_ref = steady_ref,
                                                      .connection_unref = steady_unref,
                                                      .watch_health = steady_watch_health};
static evener_transport steady = {&steady_vtable};

static evener_status_code create_steady(const evener_transport_args *args, evener_transport **transport,
                                        evener_status *status)
{
    (void)args;
    *transport = &steady;
    return evener_status_clear(status);
}

static const evener_transport_factory sharing = {
    .size = sizeof sharing, .create = create_steady, .shares_connections = true};

static size_t in_use(void)
{
    size_t count = 0;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        count += connections[i].is_used;
    }
    return count;
}

/* ---- what channels share ---- */

typedef struct scene {
    virtual_loop *loop;
    evener_runtime *runtime;
    evener_transport *front;
    evener_address *address;
} scene;

static scene scene_create(void)
{
    scene s = {.loop = virtual_loop_create(1)};
    steady_loop = virtual_loop_loop(s.loop);
    watch_code = EVENER_STATUS_OK;
    connect_code = EVENER_STATUS_OK;
    const evener_runtime_options options = {.size = sizeof options, .loop = steady_loop};
    cr_assert_eq(evener_runtime_create(&options, &s.runtime, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_address_create(A, NULL, 0, &s.address, NULL), EVENER_STATUS_OK);
    return s;
}

static evener_status_code open_front(scene *s, evener_status *status)
{
    const evener_transport_args args = {
        .size = sizeof args, .runtime = s->runtime, .user_agent = "me/1", .target = "orders:///x"};
    return evener_shared_transport_create(&sharing, &args, false, &s->front, status);
}

static void scene_destroy(scene *s)
{
    virtual_loop_run_until_idle(s->loop);
    if (s->front != NULL) {
        s->front->vtable->destroy(s->front);
    }
    cr_expect_eq(in_use(), 0);
    evener_address_unref(s->address);
    evener_runtime_unref(s->runtime);
    virtual_loop_destroy(s->loop);
}

static void note_state(void *arg, evener_connectivity_state state, const evener_status *status)
{
    (void)status;
    *(evener_connectivity_state *)arg = state;
}

static uint64_t retry_at_ns; /* as the last connect_front() has stored it */
static bool keeps_backoff;

static evener_status_code connect_front(scene *s, evener_connectivity_state *state, evener_connection **connection,
                                        evener_status *status)
{
    static const evener_backoff_options backoff = {.size = sizeof backoff};
    retry_at_ns = 0;
    const evener_shared_connect_args args = {.base = {.size = sizeof args.base,
                                                      .address = s->address,
                                                      .authority = "orders",
                                                      .server_name = "orders.test",
                                                      .timeout_ms = 1000,
                                                      .state_changed = note_state,
                                                      .arg = state,
                                                      .loop = virtual_loop_loop(s->loop)},
                                             .connect_timeout_ns = EVENER_NS_PER_S,
                                             .backoff = &backoff,
                                             .retry_at_ns = &retry_at_ns,
                                             .end_backoff = !keeps_backoff};
    return s->front->vtable->connect(s->front, &args.base, connection, status);
}

Test(backend_out_of_memory, a_shared_transport_is_made_whole_or_not_at_all)
{
    uint64_t fail_at = 0;
    for (bool came = true; came;) {
        scene s = scene_create();
        evener_status status;
        failing_memory_arm(++fail_at, false);
        const evener_status_code code = open_front(&s, &status);
        came = failing_memory_disarm() >= fail_at;
        if (came) {
            expect_exhausted(code, &status);
            cr_expect_null(s.front);
            cr_expect_eq(open_front(&s, &status), EVENER_STATUS_OK, "memory is back: %s", status.message);
        }
        scene_destroy(&s);
    }
    cr_expect_gt(fail_at, 4, "front, shared transport, user agent, target: %u", (unsigned)fail_at);
}

Test(backend_out_of_memory, a_shared_connection_is_made_or_nothing_stays)
{
    uint64_t fail_at = 0;
    for (bool came = true; came;) {
        scene s = scene_create();
        evener_status status;
        evener_connection *connection = NULL;
        evener_connectivity_state state = EVENER_IDLE;
        cr_assert_eq(open_front(&s, &status), EVENER_STATUS_OK);
        failing_memory_arm(++fail_at, false);
        const evener_status_code code = connect_front(&s, &state, &connection, &status);
        came = failing_memory_disarm() >= fail_at;
        virtual_loop_run_until_idle(s.loop);
        if (came) {
            expect_exhausted(code, &status);
            cr_expect_null(connection);
            cr_expect_eq(in_use(), 0);
            cr_assert_eq(connect_front(&s, &state, &connection, &status), EVENER_STATUS_OK, "%s", status.message);
            virtual_loop_run_until_idle(s.loop);
        }
        cr_expect_eq(state, EVENER_READY);
        cr_expect_eq(in_use(), 1);
        s.front->vtable->disconnect(s.front, connection);
        virtual_loop_advance_ms(s.loop, 200000); /* failures are forgotten */
        scene_destroy(&s);
    }
    cr_expect_gt(fail_at, 6, "peer, its two names, place, table, connection, member: %u", (unsigned)fail_at);
}

/* Lack of memory is no failure of the backend, and the time of an older one has passed: the connector waits. */
Test(backend_out_of_memory, an_attempt_without_memory_has_no_time_of_an_older_failure)
{
    scene s = scene_create();
    evener_status status;
    evener_connection *connection = NULL;
    evener_connectivity_state state = EVENER_IDLE;
    keeps_backoff = true;
    cr_assert_eq(open_front(&s, &status), EVENER_STATUS_OK);
    connect_code = EVENER_STATUS_UNAVAILABLE;
    cr_assert_eq(connect_front(&s, &state, &connection, &status), EVENER_STATUS_UNAVAILABLE);
    cr_expect_gt(retry_at_ns, evener_loop_now_ns(steady_loop));
    virtual_loop_advance_ms(s.loop, 2000);
    failing_memory_arm(1, false);
    const evener_status_code code = connect_front(&s, &state, &connection, &status);
    (void)failing_memory_disarm();
    expect_exhausted(code, &status);
    cr_expect_eq(retry_at_ns, 0);
    virtual_loop_advance_ms(s.loop, 200000); /* failures are forgotten */
    scene_destroy(&s);
}

static void note_health(void *arg, evener_connectivity_state health, const evener_status *status)
{
    (void)status;
    *(evener_connectivity_state *)arg = health;
}

Test(backend_out_of_memory, a_shared_health_watch_is_made_or_nothing_stays)
{
    scene s = scene_create();
    evener_status status;
    evener_connection *connection = NULL;
    evener_connectivity_state state = EVENER_IDLE, health = EVENER_IDLE;
    cr_assert_eq(open_front(&s, &status), EVENER_STATUS_OK);
    cr_assert_eq(connect_front(&s, &state, &connection, &status), EVENER_STATUS_OK);
    virtual_loop_run_until_idle(s.loop);
    const evener_transport_vtable *vtable = s.front->vtable;
    uint64_t fail_at = 0;
    for (bool came = true; came;) {
        failing_memory_arm(++fail_at, false);
        const evener_status_code code = vtable->watch_health(s.front, connection, "orders", note_health, &health);
        came = failing_memory_disarm() >= fail_at;
        cr_expect_eq(code, came ? EVENER_STATUS_RESOURCE_EXHAUSTED : EVENER_STATUS_OK, "%u", (unsigned)fail_at);
        cr_expect_eq(connections[0].watches, came ? 0 : 1);
    }
    cr_expect_eq(fail_at, 4, "subscription, watch, service");
    failing_memory_arm(1, false); /* the one there is, of the same argument, ends as well */
    cr_expect_eq(vtable->watch_health(s.front, connection, "orders", note_health, &health),
                 EVENER_STATUS_RESOURCE_EXHAUSTED);
    (void)failing_memory_disarm();
    cr_expect_eq(connections[0].watches, 0);
    watch_code = EVENER_STATUS_UNAVAILABLE;
    cr_expect_eq(vtable->watch_health(s.front, connection, "orders", note_health, &health), EVENER_STATUS_UNAVAILABLE);
    watch_code = EVENER_STATUS_OK;
    cr_expect_eq(vtable->watch_health(s.front, connection, "orders", note_health, &health), EVENER_STATUS_OK);
    cr_expect_eq(vtable->watch_health(s.front, connection, "orders", note_health, &state), EVENER_STATUS_OK);
    cr_expect_eq(connections[0].watches, 1, "one per service");
    cr_expect_eq(vtable->watch_health(s.front, connection, NULL, NULL, &health), EVENER_STATUS_OK);
    cr_expect_eq(connections[0].watches, 1);
    vtable->disconnect(s.front, connection);
    cr_expect_eq(connections[0].watches, 0);
    scene_destroy(&s);
}

/* ---- attempts of a channel ---- */

/* What had no memory for an attempt is in failure for a second, or for a backoff if there was memory for that. A channel
 * that ends meanwhile leaves no timer. */
Test(backend_out_of_memory, an_attempt_without_memory_is_made_a_second_later)
{
    unsigned starved = 0;
    for (int i = 0; i < 4; i++) {
        const bool closes = i % 2 == 1, for_good = i / 2 == 1;
        uint64_t fail_at = 0;
        for (bool came = true; came;) {
            scene s = scene_create();
            evener_channel *channel = NULL;
            evener_status status;
            const evener_channel_options options = {
                .size = sizeof options, .runtime = s.runtime, .transport = &steady, .policy = "round_robin"};
            cr_assert_eq(evener_channel_create("static:" A, &options, &channel, &status), EVENER_STATUS_OK, "%s",
                         status.message);
            failing_memory_arm(++fail_at, for_good);
            evener_channel_connect(channel);
            virtual_loop_run_until_idle(s.loop);
            came = failing_memory_disarm() >= fail_at;
            const bool is_starved = channel->pool.starved_timer.active;
            starved += is_starved;
            if (is_starved && !closes) {
                /* Without subchannels the policy had no memory for the list, which the resolver pushes again. */
                const bool for_attempt = for_good && channel->pool.subchannel_count > 0;
                virtual_loop_advance_ns(s.loop, (for_attempt ? EVENER_NS_PER_S : 800 * EVENER_NS_PER_MS) - 1);
                cr_expect_eq(in_use(), 0);
                virtual_loop_advance_ms(s.loop, 401);
                cr_expect_eq(in_use(), 1, "%u", (unsigned)fail_at);
                cr_expect_eq(evener_channel_state(channel, false), EVENER_READY);
            }
            evener_channel_unref(channel);
            virtual_loop_run_until_idle(s.loop);
            cr_expect_eq(virtual_loop_next_deadline_ns(s.loop), UINT64_MAX, "a timer is left");
            scene_destroy(&s);
            cr_assert_lt(fail_at, 200);
        }
    }
    cr_expect_gt(starved, 0);
}

/* ---- health and load of a channel's backend ---- */

static void health_changed(void *arg, evener_subchannel *subchannel, evener_connectivity_state health,
                           const evener_status *status)
{
    (void)subchannel, (void)status;
    *(evener_connectivity_state *)arg = health;
}

Test(backend_out_of_memory, a_health_watch_without_memory_leaves_the_one_there_is)
{
    for (int has_one = 0; has_one < 2; has_one++) {
        uint64_t fail_at = 0;
        for (bool came = true; came;) {
            fixture *f = fixture_create(NULL);
            evener_pick pick;
            evener_status status;
            evener_connectivity_state first = EVENER_IDLE, second = EVENER_IDLE;
            fixture_push(f, A);
            fixture_connect(f);
            cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
            if (has_one == 1) {
                cr_assert_eq(evener_subchannel_watch_health(pick.subchannel, "first", health_changed, &first, &status),
                             EVENER_STATUS_OK);
            }
            failing_memory_arm(++fail_at, false);
            const evener_status_code code =
                evener_subchannel_watch_health(pick.subchannel, "orders", health_changed, &second, &status);
            (void)failing_memory_disarm();
            came = code != EVENER_STATUS_OK;
            if (came) {
                expect_exhausted(code, &status);
            }
            fake_transport_health(f->transport, A, EVENER_READY);
            virtual_loop_run_until_idle(f->loop);
            cr_expect_eq(first, has_one == 1 && came ? EVENER_READY : EVENER_IDLE);
            cr_expect_eq(second, came ? EVENER_IDLE : EVENER_READY);
            evener_pick_done(&pick, NULL);
            fixture_destroy(f);
        }
        cr_expect_eq(fail_at, has_one == 1 ? 3 : 4, "%u", (unsigned)fail_at);
    }
}

static fake_call_outcome stay_silent(void *arg, const char *address, const evener_call_begin_args *args)
{
    (void)address, (void)args;
    ++*(unsigned *)arg;
    return (fake_call_outcome){.kind = FAKE_CALL_SILENT};
}

static void load_reported(void *arg, evener_subchannel *subchannel, const void *report, size_t report_bytes)
{
    (void)arg, (void)subchannel, (void)report, (void)report_bytes;
}

/* Without memory for the watch it is refused; without memory for its stream that is opened after a backoff. */
Test(backend_out_of_memory, a_watch_of_load_reports_is_refused_or_opened_later)
{
    unsigned later = 0, refused = 0;
    uint64_t fail_at = 0;
    for (bool came = true; came;) {
        unsigned streams = 0;
        fixture *f = fixture_create_calling(NULL, stay_silent, &streams);
        evener_pick pick;
        evener_status status;
        fixture_push(f, A);
        fixture_connect(f);
        cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
        failing_memory_arm(++fail_at, false);
        const evener_status_code code =
            evener_subchannel_watch_load(pick.subchannel, 1000, load_reported, NULL, &status);
        came = failing_memory_disarm() >= fail_at;
        if (code != EVENER_STATUS_OK) {
            cr_assert(came);
            expect_exhausted(code, &status);
            refused++;
            cr_assert_eq(evener_subchannel_watch_load(pick.subchannel, 1000, load_reported, NULL, &status),
                         EVENER_STATUS_OK);
        } else if (came) {
            cr_expect_eq(streams, 0);
            later++;
            virtual_loop_advance_ms(f->loop, 799);
            cr_expect_eq(streams, 0);
            virtual_loop_advance_ms(f->loop, 402);
        }
        cr_expect_eq(streams, 1, "allocation %u", (unsigned)fail_at);
        cr_expect_eq(fake_transport_calls_under_way(f->transport), 1);
        evener_pick_done(&pick, NULL);
        fixture_destroy(f);
    }
    cr_expect_eq(refused, 3, "%u", refused);
    cr_expect_eq(later, 2, "%u", later);
}
