/* What is known of a call that ended, and what that implies for its connection. */
#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <grpc/byte_buffer.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

#include "grpc/call_fixture.h"
#include "grpc/transport_fixture.h"
#include "lb/transport/grpc/fate.h"
#include "lb/transport/grpc/watcher.h"
#include "tests/support/h2_script_server.h"
#include "tests/support/virtual_loop.h"

/* ---- the core's words, each provoked ---- */

typedef struct plain_call {
    grpc_channel *channel;
    grpc_completion_queue *queue;
    grpc_call *call;
    grpc_byte_buffer *response;
    grpc_metadata_array headers, trailers;
    grpc_status_code code;
    grpc_slice message;
    const char *error_string;
} plain_call;

static void plain_call_start(plain_call *c, uint16_t port)
{
    char target[64];
    snprintf(target, sizeof target, "ipv4:%s", address_of_port(port));
    grpc_init();
    grpc_arg no_retries = {.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_ENABLE_RETRIES};
    const grpc_channel_args args = {.num_args = 1, .args = &no_retries};
    grpc_channel_credentials *insecure = grpc_insecure_credentials_create();
    *c = (plain_call){.channel = grpc_channel_create(target, insecure, &args),
                      .queue = grpc_completion_queue_create_for_next(NULL),
                      .message = grpc_empty_slice()};
    grpc_channel_credentials_release(insecure);
    grpc_metadata_array_init(&c->headers);
    grpc_metadata_array_init(&c->trailers);
    c->call = grpc_channel_create_call(
        c->channel, NULL, 0, c->queue, grpc_slice_from_static_string("/a.B/C"), NULL,
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(20, GPR_TIMESPAN)), NULL);
    grpc_op operations[5] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                             {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
                             {.op = GRPC_OP_RECV_INITIAL_METADATA},
                             {.op = GRPC_OP_RECV_MESSAGE},
                             {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};
    operations[2].data.recv_initial_metadata.recv_initial_metadata = &c->headers;
    operations[3].data.recv_message.recv_message = &c->response;
    operations[4].data.recv_status_on_client.trailing_metadata = &c->trailers;
    operations[4].data.recv_status_on_client.status = &c->code;
    operations[4].data.recv_status_on_client.status_details = &c->message;
    operations[4].data.recv_status_on_client.error_string = &c->error_string;
    cr_assert_eq(grpc_call_start_batch(c->call, operations, 5, c, NULL), GRPC_CALL_OK);
}

/* Wait for the call's end, which gives its error string. */
static const char *plain_call_end(plain_call *c)
{
    cr_assert_eq(grpc_completion_queue_next(c->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type,
                 GRPC_OP_COMPLETE);
    cr_assert_neq(c->code, GRPC_STATUS_DEADLINE_EXCEEDED);
    return c->error_string;
}

static void plain_call_clear(plain_call *c)
{
    gpr_free((void *)(uintptr_t)c->error_string);
    grpc_slice_unref(c->message);
    grpc_byte_buffer_destroy(c->response);
    grpc_metadata_array_destroy(&c->headers);
    grpc_metadata_array_destroy(&c->trailers);
    grpc_call_unref(c->call);
    if (c->channel != NULL) {
        grpc_channel_destroy(c->channel);
    }
    grpc_completion_queue_shutdown(c->queue);
    (void)grpc_completion_queue_next(c->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_completion_queue_destroy(c->queue);
    grpc_shutdown();
}

static void expect_begins(const char *text, const char *beginning)
{
    cr_assert_not_null(text);
    cr_expect(strncmp(text, beginning, strlen(beginning)) == 0, "%s", text);
}

Test(fate, a_backend_that_cannot_be_reached)
{
    plain_call c;
    plain_call_start(&c, free_port());
    expect_begins(plain_call_end(&c), evener_grpc_not_taken_texts[0]);
    cr_expect(evener_grpc_was_not_taken(c.error_string, false));
    cr_expect_not(evener_grpc_was_not_taken(c.error_string, true), "whatever came of an answer came from a server");
    plain_call_clear(&c);
}

/* A socket that connects, and whose peer stays silent. */
static int listen_only(uint16_t *port)
{
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, bytes), 0);
    cr_assert_eq(listen(listener, 8), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &bytes), 0);
    *port = ntohs(address.sin_port);
    return listener;
}

/* The channel must have its addresses, or the call would never end (see evener_grpc_attempt_start()). */
static void wait_until_connecting(plain_call *c)
{
    while (grpc_channel_check_connectivity_state(c->channel, 0) != GRPC_CHANNEL_CONNECTING) {
        const grpc_event event = grpc_completion_queue_next(
            c->queue, gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(1, GPR_TIMESPAN)), NULL);
        cr_assert_eq(event.type, GRPC_QUEUE_TIMEOUT);
    }
}

Test(fate, a_channel_that_is_destroyed_under_a_waiting_call)
{
    plain_call c;
    uint16_t port;
    const int listener = listen_only(&port);
    plain_call_start(&c, port);
    wait_until_connecting(&c);
    grpc_channel_destroy(c.channel);
    c.channel = NULL;
    expect_begins(plain_call_end(&c), evener_grpc_not_taken_texts[1]);
    cr_expect(evener_grpc_was_not_taken(c.error_string, false));
    plain_call_clear(&c);
    close(listener);
}

static void ends_at_the_server(const h2_step *how)
{
    const h2_script script = {.steps = how};
    h2_script_server *server = h2_script_server_start(&(h2_script_server_options){.scripts = &script, .count = 1});
    plain_call c;
    plain_call_start(&c, h2_script_server_port(server));
    expect_begins(plain_call_end(&c), "UNKNOWN:Error received from peer");
    cr_expect_not(evener_grpc_was_not_taken(c.error_string, false));
    plain_call_clear(&c);
    h2_script_server_stop(server);
}

Test(fate, what_came_by_a_transport)
{
    static const h2_step refused_stream[] = {{.kind = H2_RST_STREAM, .code = H2_REFUSED_STREAM}, {.kind = H2_END}};
    static const h2_step refused_goaway[] = {
        {.kind = H2_GOAWAY, .last_stream = H2_NO_STREAM}, {.kind = H2_CLOSE}, {.kind = H2_END}};
    static const h2_step cancelled[] = {{.kind = H2_HEADERS,
                                         .headers = {{":status", "200"},
                                                     {"content-type", "application/grpc"},
                                                     {"grpc-status", "1"},
                                                     {"grpc-message", "CANCELLED"}},
                                         .end_stream = true},
                                        {.kind = H2_END}};
    static const h2_step like_no_connection[] = {
        {.kind = H2_HEADERS,
         .headers = {{":status", "200"},
                     {"content-type", "application/grpc"},
                     {"grpc-status", "14"},
                     {"grpc-message", "failed to connect to all addresses; last error: UNKNOWN: refused"}},
         .end_stream = true},
        {.kind = H2_END}};
    static const h2_step http_503[] = {
        {.kind = H2_HEADERS, .headers = {{":status", "503"}, {"content-type", "text/html"}}},
        {.kind = H2_DATA, .data = "no", .data_bytes = 2, .end_stream = true},
        {.kind = H2_END}};
    ends_at_the_server(refused_stream);
    ends_at_the_server(refused_goaway);
    ends_at_the_server(cancelled);
    ends_at_the_server(like_no_connection);
    ends_at_the_server(http_503);
}

Test(fate, only_the_beginning_counts)
{
    cr_expect_not(evener_grpc_was_not_taken(NULL, false));
    cr_expect_not(evener_grpc_was_not_taken("", false));
    cr_expect_not(evener_grpc_was_not_taken(
        "UNKNOWN:Error received from peer {grpc_message:\"UNKNOWN:Channel Destroyed\"}", false));
    cr_expect_not(evener_grpc_was_not_taken("UNKNOWN:Deadline Exceeded {grpc_status:4}", false));
    cr_expect_not(evener_grpc_was_not_taken("CANCELLED", false));
}

/* ---- the connection ---- */

/* Servers here never answer a call. */
static const h2_step silence[] = {{.kind = H2_END}};
static const h2_script silent_script = {.steps = silence};

static h2_script_server *start_silent_server(void)
{
    return h2_script_server_start(&(h2_script_server_options){.scripts = &silent_script, .count = 1});
}

typedef struct scene {
    h2_script_server *server;
    evener_credentials *insecure;
    transport_fixture fixture;
    followed *connection;
} scene;

static void scene_open(scene *s)
{
    s->server = start_silent_server();
    cr_assert_eq(evener_credentials_create_insecure(&s->insecure, NULL), EVENER_STATUS_OK);
    fixture_open(&s->fixture, s->insecure);
    s->connection = fixture_connect(&s->fixture, address_of_port(h2_script_server_port(s->server)), "localhost");
    cr_assert_eq(followed_wait(s->connection, 1), EVENER_READY);
}

static void scene_close(scene *s)
{
    followed_forget(s->connection);
    fixture_close(&s->fixture);
    evener_credentials_destroy(s->insecure);
    h2_script_server_stop(s->server);
}

/* RFC 9113 section 8.7: REFUSED_STREAM says nothing of the connection. */
Test(fate, failures_do_not_end_a_connection_that_is_ready)
{
    scene s;
    scene_open(&s);
    evener_connection *connection = s.connection->connection;
    for (int i = 0; i < 100; i++) {
        evener_grpc_connection_judge(connection, EVENER_STATUS_UNAVAILABLE, false);
        evener_grpc_connection_judge(connection, EVENER_STATUS_CANCELLED, false);
        evener_grpc_connection_judge(connection, EVENER_STATUS_DEADLINE_EXCEEDED, false);
    }
    cr_expect_not(evener_grpc_connection_is_gone(connection));
    scene_close(&s);
}

Test(fate, attempts_in_a_row_that_no_transport_took_end_it)
{
    scene s;
    scene_open(&s);
    evener_connection *connection = s.connection->connection;
    for (int i = 1; i < EVENER_GRPC_NOT_TAKEN_MAX; i++) {
        evener_grpc_connection_judge(connection, EVENER_STATUS_UNAVAILABLE, true);
    }
    evener_grpc_connection_judge(connection, EVENER_STATUS_OK, false); /* not in a row */
    for (int i = 1; i < EVENER_GRPC_NOT_TAKEN_MAX; i++) {
        evener_grpc_connection_judge(connection, EVENER_STATUS_UNAVAILABLE, true);
    }
    cr_expect_not(evener_grpc_connection_is_gone(connection));
    evener_grpc_connection_judge(connection, EVENER_STATUS_UNAVAILABLE, true);
    cr_expect(evener_grpc_connection_is_gone(connection));
    cr_expect_eq(followed_wait(s.connection, 2), EVENER_IDLE);
    scene_close(&s);
}

/* Seen by a call first, then by the watcher. */
Test(fate, the_end_of_a_connection_is_reported_once)
{
    scene s;
    scene_open(&s);
    evener_connection *connection = s.connection->connection;
    for (int i = 0; i < EVENER_GRPC_NOT_TAKEN_MAX; i++) {
        evener_grpc_connection_judge(connection, EVENER_STATUS_UNAVAILABLE, true);
    }
    cr_expect_eq(followed_wait(s.connection, 2), EVENER_IDLE);
    h2_script_server_hang_up(s.server);
    while (grpc_channel_check_connectivity_state(connection->channel, 0) == GRPC_CHANNEL_READY) {
        evener_grpc_watcher_wake(connection->engine->watcher);
        usleep(1000);
    }
    /* The watcher's event comes before those of a second connection, which the same thread reports. */
    followed *second = fixture_connect(&s.fixture, address_of_port(h2_script_server_port(s.server)), "localhost");
    cr_expect_eq(followed_wait(second, 1), EVENER_READY);
    cr_expect_eq(followed_count(s.connection), 2);
    followed_forget(second);
    scene_close(&s);
}

/* ---- waiting for the end of a connection, on a clock that stands still ---- */

typedef struct still_scene {
    scene base;
    virtual_loop *loop;
} still_scene;

static followed *connect_still(still_scene *s)
{
    followed *made =
        fixture_connect(&s->base.fixture, address_of_port(h2_script_server_port(s->base.server)), "localhost");
    while (followed_count(made) == 0) {
        virtual_loop_run_until_idle(s->loop);
        usleep(1000);
    }
    cr_assert_eq(followed_wait(made, 1), EVENER_READY);
    return made;
}

static void still_scene_open(still_scene *s)
{
    s->loop = virtual_loop_create(1);
    s->base.server = start_silent_server();
    cr_assert_eq(evener_credentials_create_insecure(&s->base.insecure, NULL), EVENER_STATUS_OK);
    fixture_open_on(&s->base.fixture, s->base.insecure, virtual_loop_loop(s->loop));
    s->base.connection = connect_still(s);
}

static void still_scene_close(still_scene *s)
{
    scene_close(&s->base);
    virtual_loop_destroy(s->loop);
}

static void *hang_up_later(void *arg)
{
    usleep(20000); /* longer than the core takes on an idle machine */
    h2_script_server_hang_up(arg);
    return NULL;
}

Test(fate, a_failed_call_waits_for_the_end_of_its_connection_however_long_the_core_takes)
{
    still_scene s;
    still_scene_open(&s);
    evener_connection *connection = s.base.connection->connection;
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, hang_up_later, s.base.server), 0);
    evener_grpc_connection_await_end(connection, UINT64_MAX);
    cr_expect(evener_grpc_connection_is_gone(connection));
    pthread_join(thread, NULL);
    still_scene_close(&s);
}

static void *await_end(void *arg)
{
    evener_grpc_connection_await_end(arg, UINT64_MAX);
    return NULL;
}

/* Let another thread wait for the end, and the clock advance by `ms` meanwhile. Return when the wait is over. */
static void wait_for_ms(still_scene *s, evener_connection *connection, uint64_t ms)
{
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, await_end, connection), 0);
    while (atomic_load(&connection->end_awaited_ns) == 0) {
        usleep(1000);
    }
    virtual_loop_advance_ms(s->loop, ms);
    pthread_join(thread, NULL);
}

Test(fate, a_wait_in_vain_is_limited_and_makes_the_next_ones_short, .timeout = 60)
{
    still_scene s;
    still_scene_open(&s);
    evener_connection *connection = s.base.connection->connection;
    evener_grpc_connection_await_end(connection, virtual_loop_now_ns(s.loop)); /* a deadline that has passed */
    wait_for_ms(&s, connection, EVENER_GRPC_END_MS);
    evener_grpc_connection_await_end(connection, UINT64_MAX); /* in the same second it does not wait again */
    followed *second = connect_still(&s);
    wait_for_ms(&s, second->connection, EVENER_GRPC_END_MS_MIN);
    cr_expect_not(evener_grpc_connection_is_gone(connection));
    cr_expect_not(evener_grpc_connection_is_gone(second->connection));
    followed_forget(second);
    still_scene_close(&s);
}

typedef struct blocking_caller {
    evener_channel *channel;
    evener_status status;
    pthread_t thread;
    atomic_bool ended;
} blocking_caller;

static void *make_call(void *arg)
{
    blocking_caller *caller = arg;
    (void)evener_unary_call(caller->channel, "/any.Service/Method", NULL, NULL, NULL, &caller->status);
    atomic_store(&caller->ended, true);
    return NULL;
}

static void start_caller(blocking_caller *caller)
{
    atomic_store(&caller->ended, false);
    cr_assert_eq(pthread_create(&caller->thread, NULL, make_call, caller), 0);
}

static void join_caller(blocking_caller *caller, virtual_loop *loop)
{
    while (!atomic_load(&caller->ended)) {
        virtual_loop_run_until_idle(loop);
        usleep(1000);
    }
    pthread_join(caller->thread, NULL);
}

/* Time does not pass here: only the answer to the second call ends the wait of the first one. */
Test(fate, a_refused_call_waits_no_longer_than_until_another_one_is_answered, .timeout = 60)
{
    static const h2_step unavailable[] = {
        {.kind = H2_AWAIT_END_STREAM},
        {.kind = H2_HEADERS,
         .headers = {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "14"}},
         .end_stream = true},
        {.kind = H2_END}};
    static const h2_step ok[] = {
        {.kind = H2_AWAIT_END_STREAM},
        {.kind = H2_HEADERS, .headers = {{":status", "200"}, {"content-type", "application/grpc"}}},
        {.kind = H2_DATA, .data = "\0\0\0\0", .data_bytes = 5},
        {.kind = H2_HEADERS, .headers = {{"grpc-status", "0"}}, .end_stream = true},
        {.kind = H2_END}};
    static const h2_script scripts[] = {{.steps = unavailable, .plays = 1}, {.steps = ok}};
    h2_script_server *server = h2_script_server_start(&(h2_script_server_options){.scripts = scripts, .count = 2});
    virtual_loop *loop = virtual_loop_create(1);
    evener_runtime *runtime;
    evener_credentials *insecure;
    evener_status status;
    const evener_runtime_options runtime_options = {.size = sizeof runtime_options, .loop = virtual_loop_loop(loop)};
    cr_assert_eq(evener_runtime_create(&runtime_options, &runtime, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_credentials_create_insecure(&insecure, NULL), EVENER_STATUS_OK);
    char target[64];
    snprintf(target, sizeof target, "ipv4:%s", address_of_port(h2_script_server_port(server)));
    const evener_channel_options options = {.size = sizeof options, .credentials = insecure, .runtime = runtime};
    blocking_caller callers[2] = {0};
    cr_assert_eq(evener_channel_create(target, &options, &callers[0].channel, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    callers[1].channel = callers[0].channel;
    while (evener_channel_state(callers[0].channel, true) != EVENER_READY) {
        virtual_loop_run_until_idle(loop);
        usleep(1000);
    }
    start_caller(&callers[0]);
    cr_assert(h2_script_server_wait(server, H2_REQUESTS, 1));
    /* A call that began before the wait proves nothing: make calls until one began during it. */
    for (int i = 0; i == 0 || !atomic_load(&callers[0].ended); i++) {
        start_caller(&callers[1]);
        join_caller(&callers[1], loop);
        cr_assert_eq(callers[1].status.code, EVENER_STATUS_OK, "%s", callers[1].status.message);
        usleep(10000);
    }
    join_caller(&callers[0], loop);
    cr_expect_eq(callers[0].status.code, EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(h2_script_server_count(server, H2_CONNECTIONS), 1);
    evener_channel_unref(callers[0].channel);
    evener_credentials_destroy(insecure);
    evener_runtime_unref(runtime);
    virtual_loop_destroy(loop);
    h2_script_server_stop(server);
}

/* ---- keepalive ---- */

static evener_channel *open_with_keepalive(const h2_script_server *server, bool permit_without_calls)
{
    evener_credentials *insecure;
    cr_assert_eq(evener_credentials_create_insecure(&insecure, NULL), EVENER_STATUS_OK);
    char target[64];
    snprintf(target, sizeof target, "ipv4:%s", address_of_port(h2_script_server_port(server)));
    const evener_channel_options options = {.size = sizeof options,
                                            .credentials = insecure,
                                            .keepalive_time_ms = 100,
                                            .keepalive_timeout_ms = 20000,
                                            .keepalive_permit_without_calls = permit_without_calls};
    evener_channel *channel;
    evener_status status;
    cr_assert_eq(evener_channel_create(target, &options, &channel, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_credentials_destroy(insecure);
    return channel;
}

static void expect_pings(h2_script_server *server)
{
    for (int i = 0; i < 4000 && h2_script_server_count(server, H2_PINGS) < 4; i++) {
        usleep(10000);
    }
    cr_expect_geq(h2_script_server_count(server, H2_PINGS), 4);
}

/* The core stops after two pings without data, unless it is asked not to; pings are a second apart. */
Test(fate, keepalive_goes_on_over_a_silent_connection, .timeout = 60)
{
    h2_script_server *server = start_silent_server();
    evener_channel *channel = open_with_keepalive(server, false);
    evener_stream *stream;
    evener_status status;
    cr_assert_eq(evener_stream_open(channel, "/any.Service/Method", NULL, NULL, &stream, &status), EVENER_STATUS_OK,
                 "%s", status.message);
    expect_pings(server);
    evener_stream_unref(stream);
    evener_channel_unref(channel);
    h2_script_server_stop(server);
}

/* (Of http2: tests/http2/test_keepalive_time.c.) */
Test(fate, keepalive_without_calls_goes_on_if_the_channel_permits_it, .timeout = 60)
{
    h2_script_server *server = start_silent_server();
    evener_channel *channel = open_with_keepalive(server, true);
    evener_channel_connect(channel);
    expect_pings(server);
    evener_channel_unref(channel);
    h2_script_server_stop(server);
}
