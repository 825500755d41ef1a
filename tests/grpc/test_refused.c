/* A call that a server has seen is sent once, whatever the server says of it: its words could be anybody's. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <stdio.h>
#include <string.h>

#include "grpc/call_fixture.h"
#include "grpc/h2_server.h"
#include "grpc/transport_fixture.h"

typedef struct refusal {
    h2_refusal how;
    evener_status_code code;
    char message[80]; /* what it begins with */
} refusal;

static void check_details(const evener_call_details *details, const evener_subchannel_stats *stats, uint16_t port)
{
    char peer[64];
    snprintf(peer, sizeof peer, "ipv4:127.0.0.1:%u", (unsigned)port);
    cr_expect_str_eq(details->peer, peer);
    cr_expect_eq(details->attempts, 1);
    cr_expect_eq(stats->failed, 1, "the backend is charged");
}

ParameterizedTestParameters(refused, is_reported_once)
{
    static refusal refusals[] = {
        {H2_RST_STREAM, EVENER_STATUS_UNAVAILABLE, "Received RST_STREAM with error code 7"},
        {H2_GOAWAY, EVENER_STATUS_UNAVAILABLE, "GOAWAY received"},
        {H2_CANCEL, EVENER_STATUS_CANCELLED, "CANCELLED"},
        {H2_CANCEL_AND_DRAIN, EVENER_STATUS_CANCELLED, "CANCELLED"},
        {H2_LIKE_A_GOAWAY, EVENER_STATUS_UNAVAILABLE, "GOAWAY received"},
        {H2_LIKE_NO_CONNECTION, EVENER_STATUS_UNAVAILABLE, "failed to connect to all addresses; last error: UNKNOWN"},
        /* grpc: doc/http-grpc-status-mapping.md */
        {H2_HTTP_503, EVENER_STATUS_UNAVAILABLE, "HTTP status 503"},
    };
    return cr_make_param_array(refusal, refusals, sizeof refusals / sizeof refusals[0]);
}

ParameterizedTest(refusal *r, refused, is_reported_once)
{
    h2_server *server = h2_server_start(r->how, 10, "0");
    call_fixture f;
    call_fixture_open(&f, 0, NULL);
    char target[64];
    snprintf(target, sizeof target, "ipv4:%s", address_of_port(h2_server_port(server)));
    evener_channel *channel = call_fixture_channel(&f, target);
    evener_call_details details = {.size = sizeof details};
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 20000, .details = &details};
    evener_status status;
    cr_expect_eq(evener_unary_call(channel, "/any.Service/Method", NULL, &options, NULL, &status), r->code, "%s",
                 status.message);
    cr_expect(strncmp(status.message, r->message, strlen(r->message)) == 0, "%s", status.message);
    cr_expect_eq(h2_server_streams(server), 1);
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof(evener_subchannel_stats)};
    cr_assert_eq(evener_channel_get_stats(channel, &stats, &status), EVENER_STATUS_OK, "%s", status.message);
    check_details(&details, &stats.subchannels[0], h2_server_port(server));
    evener_channel_stats_clear(&stats);
    evener_call_details_clear(&details);
    evener_channel_unref(channel);
    call_fixture_close(&f);
    h2_server_stop(server);
}

/* A17: a server without the health service is taken as healthy. */
Test(refused, health_unimplemented_means_healthy)
{
    h2_server *server = h2_server_start(H2_RST_STREAM, 0, "12");
    evener_credentials *insecure;
    cr_assert_eq(evener_credentials_create_insecure(&insecure, NULL), EVENER_STATUS_OK);
    transport_fixture fixture;
    fixture_open(&fixture, insecure);
    followed *connection = fixture_connect(&fixture, address_of_port(h2_server_port(server)), "localhost");
    cr_expect_eq(followed_wait(connection, 1), EVENER_READY);
    followed_watch_health(connection, "orders");
    cr_expect_eq(followed_wait_health(connection, 1), EVENER_READY);
    followed_forget(connection);
    fixture_close(&fixture);
    evener_credentials_destroy(insecure);
    h2_server_stop(server);
}
