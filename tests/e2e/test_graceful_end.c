/* Servers that end connections as RFC 9113 asks for, with a GOAWAY that names the last stream (grpc-go's do, when they
 * stop and at MAX_CONNECTION_AGE), and servers that allow one stream at a time: over "http2" no call fails, and none is
 * executed twice. */
#include <criterion/criterion.h>

#include <stdio.h>

#include <evener/evener.h>

#include "tests/support/call_load.h"
#include "tests/support/channel_client.h"
#include "tests/support/h2_script_server.h"

#define TIMEOUT_MS 20000
/* Between two GOAWAYs. Fewer would pass within the 100 ms in which a connection counts as dropped right after it was
 * made. */
#define CALLS_PER_CONNECTION 6000

#define OK_ANSWER                                                                                                      \
    {.kind = H2_AWAIT_END_STREAM},                                                                                     \
        {.kind = H2_HEADERS, .headers = {{":status", "200"}, {"content-type", "application/grpc"}}},                   \
        {.kind = H2_DATA, .data = "\0\0\0\0", .data_bytes = 5},                                                        \
    {                                                                                                                  \
        .kind = H2_HEADERS, .headers = {{"grpc-status", "0"}}, .end_stream = true                                      \
    }

static const h2_step ok[] = {OK_ANSWER, {.kind = H2_END}};
/* What has come behind this stream is refused by the GOAWAY. */
static const h2_step ok_and_goaway[] = {
    OK_ANSWER, {.kind = H2_GOAWAY, .last_stream = H2_THIS_STREAM}, {.kind = H2_CLOSE}, {.kind = H2_END}};
/* The first of two GOAWAYs lets all streams in; the second one comes with the connection's end. */
static const h2_step ok_and_two_goaways[] = {OK_ANSWER,
                                             {.kind = H2_GOAWAY, .last_stream = H2_ALL_STREAMS},
                                             {.kind = H2_PAUSE, .pause_ms = 1},
                                             {.kind = H2_GOAWAY, .last_stream = H2_THIS_STREAM},
                                             {.kind = H2_CLOSE},
                                             {.kind = H2_END}};

typedef struct scene {
    h2_script_server *server;
    evener_channel *channel;
    bench_client *client;
} scene;

static void open_scene(scene *s, const h2_script_server_options *server_options)
{
    char target[64];
    evener_status status;
    evener_credentials *insecure;
    s->server = h2_script_server_start(server_options);
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u", (unsigned)h2_script_server_port(s->server));
    cr_assert_eq(evener_credentials_create_insecure(&insecure, &status), EVENER_STATUS_OK);
    const evener_channel_options options = {.size = sizeof options,
                                            .credentials = insecure,
                                            .policy = "round_robin",
                                            .transport_name = "http2",
                                            .backoff_initial_ms = 50};
    cr_assert_eq(evener_channel_create(target, &options, &s->channel, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_credentials_destroy(insecure);
    s->client = channel_client_open(s->channel, TIMEOUT_MS);
}

static void close_scene(scene *s)
{
    s->client->close(s->client);
    evener_channel_unref(s->channel);
    h2_script_server_stop(s->server);
}

static void expect_no_failure(scene *s, unsigned in_flight, uint64_t calls)
{
    const call_load_figures figures = call_load_run(s->client, in_flight, calls);
    cr_expect_eq(figures.failed, 0, "%llu of %llu calls failed; the last: %s", (unsigned long long)figures.failed,
                 (unsigned long long)calls, channel_client_last_failure(s->client));
}

static void expect_goaways_fail_nothing(const h2_step *last)
{
    scene s;
    const h2_script scripts[] = {{.steps = ok, .plays = CALLS_PER_CONNECTION - 1}, {.steps = last, .plays = 1}};
    open_scene(&s, &(h2_script_server_options){.scripts = scripts, .count = 2, .cycle = true});
    expect_no_failure(&s, 16, 5 * CALLS_PER_CONNECTION);
    /* Each GOAWAY, or pair of them, has made one connection. The calls that it refused were sent again, and count as
     * requests: with few of them the last script is played once per CALLS_PER_CONNECTION calls. */
    const uint64_t goaways = h2_script_server_count(s.server, H2_REQUESTS_OF_SCRIPT + 1);
    const uint64_t connections = h2_script_server_count(s.server, H2_CONNECTIONS);
    cr_expect_geq(goaways, 5);
    cr_expect(connections == goaways || connections == goaways + 1, "%llu connections for %llu GOAWAYs",
              (unsigned long long)connections, (unsigned long long)goaways);
    close_scene(&s);
}

TestSuite(graceful_end, .timeout = 280);

Test(graceful_end, a_goaway_with_the_last_stream_fails_nothing)
{
    expect_goaways_fail_nothing(ok_and_goaway);
}

Test(graceful_end, two_goaways_fail_nothing)
{
    expect_goaways_fail_nothing(ok_and_two_goaways);
}

Test(graceful_end, one_stream_at_a_time_serves_a_hundred_callers)
{
    scene s;
    const h2_script script = {.steps = ok};
    /* SETTINGS_MAX_CONCURRENT_STREAMS */
    open_scene(&s, &(h2_script_server_options){.scripts = &script, .count = 1, .settings = {{3, 1}}});
    expect_no_failure(&s, 100, 5000);
    cr_expect_eq(h2_script_server_count(s.server, H2_REQUESTS), 5000, "each call was executed once");
    cr_expect_eq(h2_script_server_count(s.server, H2_CONNECTIONS), 1);
    close_scene(&s);
}
