/* Connection scaling (A105) against a scripted server: the test is the server, so that it knows which call came over
 * which connection. */
#include <criterion/criterion.h>

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <evener/evener.h>

#include "http2/raw_server.h"
#include "lb/channel/reconfigure.h"

#define ECHO "/evener.demo.Echo/Unary"
#define SETTINGS_MAX_CONCURRENT_STREAMS 3
#define CALLS_MAX 100

typedef struct scene {
    raw_server server;
    evener_credentials *insecure;
    evener_runtime *runtime;
    evener_channel *channel;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned ok, failed;
} scene;

/* A connection at the server, and the calls on it that were not answered. */
typedef struct server_end {
    raw_peer peer;
    uint32_t streams[CALLS_MAX];
    size_t count;
} server_end;

static raw_frame frame; /* Criterion runs each test in a process of its own */

static void config_of(char config[128], unsigned max)
{
    snprintf(config, 128, "{\"connectionScaling\":{\"maxConnectionsPerSubchannel\":%u}}", max);
}

/* 0: the default */
static uint32_t limit_of_channels;
static const char *user_agent_of_channels;

static evener_channel *open_channel(const scene *s, unsigned max)
{
    char config[128], target[64];
    evener_status status;
    evener_channel *channel = NULL;
    config_of(config, max);
    snprintf(target, sizeof target, "static:127.0.0.1:%u", s->server.port);
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = s->runtime,
                                            .credentials = s->insecure,
                                            .transport_name = "http2",
                                            .backoff_initial_ms = 50,
                                            .user_agent = user_agent_of_channels,
                                            .default_service_config = config,
                                            .connections_per_backend_max = limit_of_channels};
    cr_assert_eq(evener_channel_create(target, &options, &channel, &status), EVENER_STATUS_OK, "%s", status.message);
    return channel;
}

static void open_scene(scene *s, unsigned max)
{
    evener_status status;
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->changed, NULL);
    raw_listen(&s->server);
    cr_assert_eq(evener_credentials_create_insecure(&s->insecure, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_runtime_create(NULL, &s->runtime, &status), EVENER_STATUS_OK);
    s->channel = open_channel(s, max);
}

static void close_scene(scene *s)
{
    evener_channel_unref(s->channel);
    evener_runtime_unref(s->runtime);
    evener_credentials_destroy(s->insecure);
    raw_stop(&s->server);
}

static void on_done(void *arg, const evener_status *status, evener_bytes *response)
{
    scene *s = arg;
    (void)response;
    pthread_mutex_lock(&s->mutex);
    if (status->code == EVENER_STATUS_OK) {
        s->ok++;
    } else {
        s->failed++;
        fprintf(stderr, "scaling: %s: %s\n", evener_status_code_name(status->code), status->message);
    }
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->mutex);
}

static void start_on(scene *s, evener_channel *channel, unsigned count)
{
    const evener_call_options options = {.size = sizeof options, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(evener_call_start(channel, ECHO, NULL, &options, on_done, s, NULL, NULL), EVENER_STATUS_OK);
    }
}

static void start(scene *s, unsigned count)
{
    start_on(s, s->channel, count);
}

static void await_ended(scene *s, unsigned count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    pthread_mutex_lock(&s->mutex);
    while (s->ok + s->failed < count) {
        cr_assert_eq(pthread_cond_timedwait(&s->changed, &s->mutex, &until), 0, "%u of %u calls have ended",
                     s->ok + s->failed, count);
    }
    pthread_mutex_unlock(&s->mutex);
}

static void accept_connection(scene *s, server_end *end, uint32_t streams_max)
{
    const uint32_t settings[][2] = {{SETTINGS_MAX_CONCURRENT_STREAMS, streams_max}};
    end->count = 0;
    raw_accept(&s->server, &end->peer);
    raw_handshake(&end->peer, settings, 1);
}

static void read_calls(server_end *end, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        end->streams[end->count++] = raw_read_call(&end->peer, &frame);
    }
}

static void answer_oldest(server_end *end)
{
    raw_answer(&end->peer, end->streams[0], "x");
    end->count--;
    memmove(end->streams, end->streams + 1, end->count * sizeof end->streams[0]);
}

static void answer_all(server_end *end)
{
    while (end->count > 0) {
        answer_oldest(end);
    }
}

/* Return whether something can be read or accepted within a moment. */
static bool has_news(int fd)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    return poll(&polled, 1, 100) > 0;
}

Test(scaling, a_hundred_calls_run_forty_at_a_time_over_four_connections)
{
    enum { CALLS = 100, CONNECTIONS = 4, STREAMS = 10 };
    static server_end ends[CONNECTIONS];
    scene s;
    open_scene(&s, CONNECTIONS);
    start(&s, CALLS);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        accept_connection(&s, &ends[i], STREAMS);
        read_calls(&ends[i], STREAMS);
    }
    cr_expect_not(has_news(s.server.fd), "no fifth connection");
    for (size_t started = (size_t)CONNECTIONS * STREAMS; started < CALLS; started++) {
        server_end *end = &ends[started % CONNECTIONS];
        answer_oldest(end);
        read_calls(end, 1); /* whatever connection has room gets the next call that waits */
    }
    for (size_t i = 0; i < CONNECTIONS; i++) {
        answer_all(&ends[i]);
    }
    await_ended(&s, CALLS);
    cr_expect_eq(s.ok, CALLS);
    evener_channel_close(s.channel);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        cr_expect(raw_read_to_end(&ends[i].peer));
        raw_close(&ends[i].peer);
    }
    close_scene(&s);
}

static void *call_blocking(void *arg)
{
    scene *s = arg;
    const evener_call_options options = {.size = sizeof options, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
    evener_status status;
    (void)evener_unary_call(s->channel, ECHO, NULL, &options, NULL, &status);
    on_done(s, &status, NULL);
    return NULL;
}

Test(scaling, blocking_callers_use_all_connections)
{
    enum { CONNECTIONS = 3, CALLERS = 8 };
    static server_end ends[CONNECTIONS];
    scene s;
    open_scene(&s, CONNECTIONS);
    pthread_t threads[CALLERS];
    for (size_t i = 0; i < CALLERS; i++) {
        pthread_create(&threads[i], NULL, call_blocking, &s);
    }
    for (size_t i = 0; i < CONNECTIONS; i++) {
        accept_connection(&s, &ends[i], 2);
        read_calls(&ends[i], 2);
    }
    answer_oldest(&ends[2]);
    read_calls(&ends[2], 1);
    answer_oldest(&ends[1]);
    read_calls(&ends[1], 1);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        answer_all(&ends[i]);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
    }
    cr_expect_eq(s.ok, CALLERS);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        raw_close(&ends[i].peer);
    }
    close_scene(&s);
}

Test(scaling, no_connection_is_added_while_one_has_room_or_by_default)
{
    static server_end end;
    scene s;
    open_scene(&s, 4);
    start(&s, 10);
    accept_connection(&s, &end, 10);
    read_calls(&end, 10);
    cr_expect_not(has_news(s.server.fd));
    answer_all(&end);
    await_ended(&s, 10);
    raw_close(&end.peer);
    close_scene(&s);
    open_scene(&s, 1);
    start(&s, 3);
    accept_connection(&s, &end, 2);
    read_calls(&end, 2);
    cr_expect_not(has_news(s.server.fd));
    answer_oldest(&end);
    read_calls(&end, 1);
    answer_all(&end);
    await_ended(&s, 3);
    cr_expect_eq(s.ok, 3);
    raw_close(&end.peer);
    close_scene(&s);
}

Test(scaling, a_call_goes_to_the_oldest_connection_with_room)
{
    static server_end ends[2];
    scene s;
    open_scene(&s, 2);
    start(&s, 4);
    for (size_t i = 0; i < 2; i++) {
        accept_connection(&s, &ends[i], 2);
        read_calls(&ends[i], 2);
    }
    answer_all(&ends[1]);
    answer_all(&ends[0]);
    await_ended(&s, 4);
    for (int i = 0; i < 2; i++) {
        start(&s, 1);
        read_calls(&ends[0], 1);
    }
    start(&s, 1);
    read_calls(&ends[1], 1);
    answer_all(&ends[0]);
    answer_all(&ends[1]);
    await_ended(&s, 7);
    cr_expect_eq(s.ok, 7);
    raw_close(&ends[0].peer);
    raw_close(&ends[1].peer);
    close_scene(&s);
}

Test(scaling, a_raised_limit_runs_the_queue)
{
    static const uint8_t three_streams[] = {0, SETTINGS_MAX_CONCURRENT_STREAMS, 0, 0, 0, 3};
    static server_end ends[2];
    scene s;
    open_scene(&s, 2);
    start(&s, 4);
    for (size_t i = 0; i < 2; i++) {
        accept_connection(&s, &ends[i], 1);
        read_calls(&ends[i], 1);
    }
    raw_send(&ends[1].peer, RAW_SETTINGS, 0, 0, three_streams, sizeof three_streams);
    read_calls(&ends[1], 2);
    answer_all(&ends[0]);
    answer_all(&ends[1]);
    await_ended(&s, 4);
    cr_expect_eq(s.ok, 4);
    raw_close(&ends[0].peer);
    raw_close(&ends[1].peer);
    close_scene(&s);
}

Test(scaling, when_the_oldest_connection_is_lost_the_next_one_serves)
{
    static server_end ends[2];
    scene s;
    open_scene(&s, 2);
    start(&s, 2);
    for (size_t i = 0; i < 2; i++) {
        accept_connection(&s, &ends[i], 1);
        read_calls(&ends[i], 1);
    }
    answer_all(&ends[0]);
    answer_all(&ends[1]);
    await_ended(&s, 2);
    raw_send_goaway(&ends[0].peer, 1, 0, "");
    cr_expect(raw_read_to_end(&ends[0].peer));
    start(&s, 1);
    read_calls(&ends[1], 1); /* not over a new connection */
    answer_all(&ends[1]);
    await_ended(&s, 3);
    cr_expect_eq(s.ok, 3);
    cr_expect_not(has_news(s.server.fd));
    start(&s, 2); /* and it is the one that others are added to */
    read_calls(&ends[1], 1);
    raw_close(&ends[0].peer);
    accept_connection(&s, &ends[0], 1);
    read_calls(&ends[0], 1);
    answer_all(&ends[0]);
    answer_all(&ends[1]);
    await_ended(&s, 5);
    cr_expect_eq(s.ok, 5);
    raw_close(&ends[0].peer);
    raw_close(&ends[1].peer);
    close_scene(&s);
}

Test(scaling, a_lost_further_connection_is_replaced_if_calls_wait)
{
    static server_end ends[3];
    scene s;
    open_scene(&s, 2);
    start(&s, 3);
    for (size_t i = 0; i < 2; i++) {
        accept_connection(&s, &ends[i], 1);
        read_calls(&ends[i], 1);
    }
    raw_send_goaway(&ends[1].peer, ends[1].streams[0], 0, "");
    accept_connection(&s, &ends[2], 1);
    read_calls(&ends[2], 1);
    for (size_t i = 0; i < 3; i++) {
        answer_all(&ends[i]);
    }
    await_ended(&s, 3);
    cr_expect_eq(s.ok, 3, "the call on the connection that drains has finished too");
    for (size_t i = 0; i < 3; i++) {
        raw_close(&ends[i].peer);
    }
    close_scene(&s);
}

Test(scaling, a_failed_attempt_is_followed_after_the_backoff)
{
    static server_end ends[2];
    raw_peer refused;
    scene s;
    open_scene(&s, 2);
    start(&s, 2);
    accept_connection(&s, &ends[0], 1);
    read_calls(&ends[0], 1);
    for (int i = 0; i < 2; i++) {
        raw_accept(&s.server, &refused);
        raw_reset(&refused);
    }
    accept_connection(&s, &ends[1], 1);
    read_calls(&ends[1], 1);
    answer_all(&ends[0]);
    answer_all(&ends[1]);
    await_ended(&s, 2);
    cr_expect_eq(s.ok, 2);
    raw_close(&ends[0].peer);
    raw_close(&ends[1].peer);
    close_scene(&s);
}

Test(scaling, a_changed_maximum_holds_at_once_and_closes_nothing)
{
    static server_end ends[2];
    char config[128];
    evener_status status;
    scene s;
    open_scene(&s, 1);
    start(&s, 2);
    accept_connection(&s, &ends[0], 1);
    read_calls(&ends[0], 1);
    cr_expect_not(has_news(s.server.fd));
    config_of(config, 2);
    cr_assert_eq(evener_channel_set_default_service_config(s.channel, config, &status), EVENER_STATUS_OK);
    accept_connection(&s, &ends[1], 1);
    read_calls(&ends[1], 1);
    config_of(config, 1);
    cr_assert_eq(evener_channel_set_default_service_config(s.channel, config, &status), EVENER_STATUS_OK);
    answer_all(&ends[1]);
    await_ended(&s, 1);
    start(&s, 1);
    read_calls(&ends[1], 1);
    answer_all(&ends[0]);
    answer_all(&ends[1]);
    await_ended(&s, 3);
    cr_expect_eq(s.ok, 3);
    raw_close(&ends[0].peer);
    raw_close(&ends[1].peer);
    close_scene(&s);
}

/* Each call fills a connection, so calls beyond the limit wait, and no further connection is attempted. */
static void expect_connections(uint32_t limit, unsigned expected)
{
    static server_end ends[EVENER_CONNECTIONS_PER_BACKEND_MAX];
    scene s;
    limit_of_channels = limit;
    open_scene(&s, 1000);
    start(&s, expected + 2);
    for (unsigned i = 0; i < expected; i++) {
        accept_connection(&s, &ends[i], 1);
        read_calls(&ends[i], 1);
    }
    cr_expect_not(has_news(s.server.fd));
    /* One has room at a time: answers on two connections are not read in order. */
    for (unsigned i = 0; i < 2; i++) {
        answer_all(&ends[i]);
        read_calls(&ends[i], 1);
    }
    for (unsigned i = 0; i < expected; i++) {
        answer_all(&ends[i]);
    }
    await_ended(&s, expected + 2);
    cr_expect_eq(s.ok, expected + 2);
    for (unsigned i = 0; i < expected; i++) {
        raw_close(&ends[i].peer);
    }
    close_scene(&s);
}

/* ---- a factory that reloads its file ---- */

typedef struct reload {
    evener_channel *live, *prepared;
    bool reconnect;
} reload;

static void reconfigure(void *arg)
{
    const reload *self = arg;
    evener_status status;
    cr_assert_eq(evener_channel_reconfigure(self->live, self->prepared, false, self->reconnect, &status),
                 EVENER_STATUS_OK, "%s", status.message);
}

/* Give the channel the settings of a new one, as a factory does. */
static void reload_with(scene *s, unsigned max, const char *user_agent)
{
    user_agent_of_channels = user_agent;
    reload self = {s->channel, open_channel(s, max), user_agent != NULL};
    evener_runtime_call(s->runtime, reconfigure, &self);
    evener_channel_unref(self.prepared);
}

/* Open a channel of at most three connections, two of which are busy with a call each. */
static void open_with_two(scene *s, server_end ends[2])
{
    open_scene(s, 3);
    start(s, 2);
    for (size_t i = 0; i < 2; i++) {
        accept_connection(s, &ends[i], 1);
        read_calls(&ends[i], 1);
    }
}

Test(scaling, goes_on_after_a_reload_that_concerns_no_connection)
{
    static server_end ends[3];
    scene s;
    open_with_two(&s, ends);
    reload_with(&s, 3, NULL);
    start(&s, 1);
    accept_connection(&s, &ends[2], 1);
    read_calls(&ends[2], 1);
    for (size_t i = 0; i < 3; i++) {
        answer_all(&ends[i]);
    }
    await_ended(&s, 3);
    start(&s, 3); /* on the same three */
    for (size_t i = 0; i < 3; i++) {
        read_calls(&ends[i], 1);
        answer_all(&ends[i]);
    }
    await_ended(&s, 6);
    cr_expect_eq(s.ok, 6);
    for (size_t i = 0; i < 3; i++) {
        raw_close(&ends[i].peer);
    }
    close_scene(&s);
}

/* No connection that works is closed before the one that replaces it is READY. */
Test(scaling, all_connections_serve_until_a_successor_is_ready)
{
    static server_end ends[3];
    scene s;
    open_with_two(&s, ends);
    answer_all(&ends[0]);
    answer_all(&ends[1]);
    await_ended(&s, 2);
    reload_with(&s, 3, "other/1");
    raw_accept(&s.server, &ends[2].peer); /* the successor, which is not READY yet */
    start(&s, 2);
    read_calls(&ends[0], 1);
    read_calls(&ends[1], 1);
    answer_all(&ends[0]);
    answer_all(&ends[1]);
    await_ended(&s, 4);
    const uint32_t settings[][2] = {{SETTINGS_MAX_CONCURRENT_STREAMS, 10}};
    raw_handshake(&ends[2].peer, settings, 1);
    for (size_t i = 0; i < 2; i++) { /* now they end */
        cr_expect(raw_read_to_end(&ends[i].peer), "%zu", i);
    }
    start(&s, 1);
    read_calls(&ends[2], 1);
    answer_all(&ends[2]);
    await_ended(&s, 5);
    cr_expect_eq(s.ok, 5);
    for (size_t i = 0; i < 3; i++) {
        raw_close(&ends[i].peer);
    }
    close_scene(&s);
}

Test(scaling, the_channels_limit_bounds_the_maximum)
{
    expect_connections(3, 3);
}

Test(scaling, without_a_limit_ten_connections_are_made_at_most)
{
    expect_connections(0, 10);
}

Test(scaling, a_limit_above_ten_is_followed)
{
    expect_connections(12, 12);
}

Test(scaling, a_limit_out_of_range_is_refused)
{
    evener_status status;
    evener_channel *channel = NULL;
    evener_credentials *insecure;
    cr_assert_eq(evener_credentials_create_insecure(&insecure, &status), EVENER_STATUS_OK);
    const evener_channel_options options = {.size = sizeof options,
                                            .credentials = insecure,
                                            .transport_name = "http2",
                                            .connections_per_backend_max = EVENER_CONNECTIONS_PER_BACKEND_MAX + 1};
    cr_expect_eq(evener_channel_create("static:127.0.0.1:1", &options, &channel, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(status.message, "channel options: connections_per_backend_max is 65: 1 to 64 is needed (0: 10)");
    evener_credentials_destroy(insecure);
}

Test(scaling, of_channels_that_share_a_backend_the_largest_maximum_holds)
{
    static server_end ends[2];
    scene s;
    open_scene(&s, 1);
    evener_channel *larger = open_channel(&s, 2);
    start(&s, 1);
    accept_connection(&s, &ends[0], 1);
    read_calls(&ends[0], 1);
    start_on(&s, larger, 1);
    accept_connection(&s, &ends[1], 1);
    read_calls(&ends[1], 1);
    answer_all(&ends[0]);
    answer_all(&ends[1]);
    await_ended(&s, 2);
    cr_expect_eq(s.ok, 2);
    evener_channel_unref(larger);
    raw_close(&ends[0].peer);
    raw_close(&ends[1].peer);
    close_scene(&s);
}

Test(scaling, calls_that_wait_can_be_cancelled_and_time_out)
{
    static server_end ends[2];
    scene s;
    open_scene(&s, 2);
    start(&s, 2);
    for (size_t i = 0; i < 2; i++) {
        accept_connection(&s, &ends[i], 1);
        read_calls(&ends[i], 1);
    }
    evener_call *call = NULL;
    const evener_call_options short_one = {.size = sizeof short_one, .timeout_ms = 50};
    cr_assert_eq(evener_call_start(s.channel, ECHO, NULL, &short_one, on_done, &s, NULL, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_call_start(s.channel, ECHO, NULL, NULL, on_done, &s, &call, NULL), EVENER_STATUS_OK);
    evener_call_cancel(call);
    evener_call_unref(call);
    await_ended(&s, 2);
    cr_expect_eq(s.failed, 2);
    answer_all(&ends[0]);
    answer_all(&ends[1]);
    await_ended(&s, 4);
    cr_expect_eq(s.ok, 2);
    raw_close(&ends[0].peer);
    raw_close(&ends[1].peer);
    close_scene(&s);
}

/* ---- on the gRPC core ---- */

static _Atomic unsigned warnings;

static void count_scaling(void *arg, evener_log_level level, const char *component, const char *message)
{
    (void)arg;
    (void)component;
    warnings += level == EVENER_LOG_WARNING && strstr(message, "connectionScaling") != NULL;
}

Test(scaling, the_core_ignores_it_with_one_warning_per_channel)
{
    static server_end end;
    char config[128];
    char target[64];
    evener_status status;
    scene s;
    open_scene(&s, 1);
    evener_log_set_sink(count_scaling, NULL, EVENER_LOG_WARNING);
    config_of(config, 4);
    snprintf(target, sizeof target, "static:127.0.0.1:%u", s.server.port);
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = s.runtime,
                                            .credentials = s.insecure,
                                            .transport_name = "grpc",
                                            .default_service_config = config};
    evener_channel *channel = NULL;
    cr_assert_eq(evener_channel_create(target, &options, &channel, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_channel_connect(channel);
    accept_connection(&s, &end, 10);
    cr_assert_eq(evener_channel_wait_ready(channel, 60000, &status), EVENER_STATUS_OK, "%s", status.message);
    config_of(config, 3);
    cr_assert_eq(evener_channel_set_default_service_config(channel, config, &status), EVENER_STATUS_OK);
    start_on(&s, channel, 1);
    read_calls(&end, 1);
    answer_all(&end);
    await_ended(&s, 1);
    cr_expect_eq(s.ok, 1);
    evener_channel_unref(channel);
    cr_expect_eq(warnings, 1);
    evener_log_set_sink(NULL, NULL, EVENER_LOG_NONE);
    raw_close(&end.peer);
    close_scene(&s);
}

Test(scaling, a_bad_maximum_refuses_the_config)
{
    static const char *const bad[] = {"[]", "\"x\"", "{\"maxConnectionsPerSubchannel\":-1}",
                                      "{\"maxConnectionsPerSubchannel\":1.5}",
                                      "{\"maxConnectionsPerSubchannel\":\"x\"}"};
    scene s;
    open_scene(&s, 1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char config[128];
        evener_status status;
        snprintf(config, sizeof config, "{\"connectionScaling\":%s}", bad[i]);
        cr_expect_eq(evener_channel_set_default_service_config(s.channel, config, &status),
                     EVENER_STATUS_INVALID_ARGUMENT, "%s", bad[i]);
        cr_expect_neq(strstr(status.message, "connectionScaling"), NULL, "%s", status.message);
    }
    close_scene(&s);
}
