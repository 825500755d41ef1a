/* A call that a server may have processed is sent once, whatever the server says of it: its words could be anybody's.
 * Over "http2" a stream that was refused by the frames of RFC 9113 is made again once; the C core does not show
 * those. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <stdio.h>
#include <string.h>

#include "grpc/call_fixture.h"
#include "grpc/transport_fixture.h"
#include "tests/support/h2_script_server.h"
#include "tests/support/transport_choice.h"

static const h2_step refused_stream[] = {
    {.kind = H2_AWAIT_END_STREAM}, {.kind = H2_RST_STREAM, .code = H2_REFUSED_STREAM}, {.kind = H2_END}};
static const h2_step refused_goaway[] = {{.kind = H2_AWAIT_END_STREAM},
                                         {.kind = H2_GOAWAY, .last_stream = H2_NO_STREAM},
                                         {.kind = H2_CLOSE},
                                         {.kind = H2_END}};

#define TRAILERS_ONLY(status, message)                                                                                 \
    {                                                                                                                  \
        .kind = H2_HEADERS, .end_stream = true, .headers = {                                                           \
            {":status", "200"},                                                                                        \
            {"content-type", "application/grpc"},                                                                      \
            {"grpc-status", status},                                                                                   \
            {"grpc-message", message}                                                                                  \
        }                                                                                                              \
    }
/* As a server of the core does that shuts down. */
static const h2_step cancel[] = {{.kind = H2_AWAIT_END_STREAM}, TRAILERS_ONLY("1", "CANCELLED"), {.kind = H2_END}};
static const h2_step cancel_and_drain[] = {{.kind = H2_AWAIT_END_STREAM},
                                           TRAILERS_ONLY("1", "CANCELLED"),
                                           {.kind = H2_PAUSE, .pause_ms = 50},
                                           {.kind = H2_GOAWAY, .last_stream = H2_ALL_STREAMS},
                                           {.kind = H2_END}};
/* The core's words for a GOAWAY, and for a backend that cannot be reached. */
static const h2_step like_a_goaway[] = {
    {.kind = H2_AWAIT_END_STREAM}, TRAILERS_ONLY("14", "GOAWAY received"), {.kind = H2_END}};
#define NO_CONNECTION "failed to connect to all addresses; last error: UNKNOWN"
static const h2_step like_no_connection[] = {
    {.kind = H2_AWAIT_END_STREAM}, TRAILERS_ONLY("14", NO_CONNECTION ": refused"), {.kind = H2_END}};
static const h2_step http_503[] = {{.kind = H2_AWAIT_END_STREAM},
                                   {.kind = H2_HEADERS, .headers = {{":status", "503"}, {"content-type", "text/html"}}},
                                   {.kind = H2_DATA, .data = "<html>no</html>", .data_bytes = 15, .end_stream = true},
                                   {.kind = H2_END}};

typedef struct refusal {
    const h2_step *how;
    evener_status_code code;
    const char *message;       /* what it begins with over the core */
    const char *http2_message; /* part of it over "http2" */
    bool unprocessed;          /* the server says so: "http2" makes the call once more (A6) */
} refusal;

static const refusal refusals[] = {
    {refused_stream, EVENER_STATUS_UNAVAILABLE, "Received RST_STREAM with error code 7", "REFUSED_STREAM", true},
    {refused_goaway, EVENER_STATUS_UNAVAILABLE, "GOAWAY received", "GOAWAY", true},
    {cancel, EVENER_STATUS_CANCELLED, "CANCELLED", "CANCELLED", false},
    {cancel_and_drain, EVENER_STATUS_CANCELLED, "CANCELLED", "CANCELLED", false},
    {like_a_goaway, EVENER_STATUS_UNAVAILABLE, "GOAWAY received", "GOAWAY received", false},
    {like_no_connection, EVENER_STATUS_UNAVAILABLE, NO_CONNECTION, NO_CONNECTION, false},
    /* grpc: doc/http-grpc-status-mapping.md */
    {http_503, EVENER_STATUS_UNAVAILABLE, "HTTP status 503", "HTTP status 503", false},
};

static void expect_details(const evener_call_details *details, const h2_script_server *server, uint32_t attempts)
{
    char peer[64];
    snprintf(peer, sizeof peer, "ipv4:127.0.0.1:%u", (unsigned)h2_script_server_port(server));
    cr_expect_str_eq(details->peer, peer);
    cr_expect_eq(details->attempts, attempts, "%u attempts", details->attempts);
}

/* Refusals say nothing of the backend's health: only what may have been processed is charged to it. */
static void expect_charged(evener_channel *channel, uint64_t failed)
{
    evener_status status;
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof(evener_subchannel_stats)};
    cr_assert_eq(evener_channel_get_stats(channel, &stats, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(stats.subchannels[0].failed, failed);
    evener_channel_stats_clear(&stats);
}

ParameterizedTestParameters(refused, is_reported_once)
{
    static size_t all[sizeof refusals / sizeof refusals[0]];
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        all[i] = i;
    }
    return cr_make_param_array(size_t, all, sizeof all / sizeof all[0]);
}

ParameterizedTest(size_t *row, refused, is_reported_once)
{
    const refusal *r = &refusals[*row];
    const bool again = r->unprocessed && !on_core();
    const h2_script script = {.steps = r->how};
    h2_script_server *server = h2_script_server_start(&(h2_script_server_options){.scripts = &script, .count = 1});
    call_fixture f;
    call_fixture_open(&f, 0, NULL);
    char target[64];
    snprintf(target, sizeof target, "ipv4:%s", address_of_port(h2_script_server_port(server)));
    evener_channel *channel = call_fixture_channel(&f, target);
    evener_call_details details = {.size = sizeof details};
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 20000, .details = &details};
    evener_status status;
    cr_expect_eq(evener_unary_call(channel, "/any.Service/Method", NULL, &options, NULL, &status), r->code, "%s",
                 status.message);
    if (on_core()) {
        cr_expect(strncmp(status.message, r->message, strlen(r->message)) == 0, "%s", status.message);
    } else {
        cr_expect_not_null(strstr(status.message, r->http2_message), "%s", status.message);
    }
    cr_expect_eq(h2_script_server_count(server, H2_REQUESTS), again ? 2 : 1);
    expect_details(&details, server, again ? 2 : 1);
    expect_charged(channel, again ? 0 : 1);
    evener_call_details_clear(&details);
    evener_channel_unref(channel);
    call_fixture_close(&f);
    h2_script_server_stop(server);
}

/* A17: a server without the health service is taken as healthy. */
Test(refused, health_unimplemented_means_healthy)
{
    static const h2_step unimplemented[] = {TRAILERS_ONLY("12", "no health service"), {.kind = H2_END}};
    const h2_script script = {.steps = unimplemented};
    h2_script_server *server = h2_script_server_start(&(h2_script_server_options){.scripts = &script, .count = 1});
    evener_credentials *insecure;
    cr_assert_eq(evener_credentials_create_insecure(&insecure, NULL), EVENER_STATUS_OK);
    transport_fixture fixture;
    fixture_open(&fixture, insecure);
    followed *connection = fixture_connect(&fixture, address_of_port(h2_script_server_port(server)), "localhost");
    cr_expect_eq(followed_wait(connection, 1), EVENER_READY);
    followed_watch_health(connection, "orders");
    cr_expect_eq(followed_wait_health(connection, 1), EVENER_READY);
    followed_forget(connection);
    fixture_close(&fixture);
    evener_credentials_destroy(insecure);
    h2_script_server_stop(server);
}
