/* A6, transparent retry: a call that a server refused without looking at it is made again, once. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "grpc/call_fixture.h"
#include "grpc/h2_server.h"
#include "grpc/transport_fixture.h"

static evener_status_code call_a_refusing_server(h2_refusal refusal, unsigned refuse_count, unsigned *streams,
                                                 evener_status *status)
{
    h2_server *server = h2_server_start(refusal, refuse_count, "0");
    call_fixture f;
    call_fixture_open(&f, 0, NULL);
    char target[64];
    snprintf(target, sizeof target, "ipv4:%s", address_of_port(h2_server_port(server)));
    evener_channel *channel = call_fixture_channel(&f, target);
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 20000};
    evener_status_code code = evener_unary_call(channel, "/any.Service/Method", NULL, &options, NULL, status);
    *streams = h2_server_streams(server);
    evener_channel_unref(channel);
    call_fixture_close(&f);
    h2_server_stop(server);
    return code;
}

Test(refused, refused_stream_is_made_again)
{
    unsigned streams;
    evener_status status;
    cr_expect_eq(call_a_refusing_server(H2_RST_STREAM, 1, &streams, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(streams, 2);
}

Test(refused, only_once)
{
    unsigned streams;
    evener_status status;
    cr_expect_eq(call_a_refusing_server(H2_RST_STREAM, 10, &streams, &status), EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(streams, 2);
}

Test(refused, stream_beyond_the_goaway_is_made_again)
{
    unsigned streams;
    evener_status status;
    cr_expect_eq(call_a_refusing_server(H2_GOAWAY, 1, &streams, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(streams, 2);
}

/* A server of the core that shuts down cancels what it did not look at; its GOAWAY may come behind. */
Test(refused, cancelled_by_a_server_that_drains_is_made_again)
{
    unsigned streams;
    evener_status status;
    cr_expect_eq(call_a_refusing_server(H2_CANCEL_AND_DRAIN, 1, &streams, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    cr_expect_eq(streams, 2);
}

/* Without a GOAWAY the server may have done anything before. */
Test(refused, cancelled_by_a_server_that_stays_is_told)
{
    unsigned streams;
    evener_status status;
    cr_expect_eq(call_a_refusing_server(H2_CANCEL, 1, &streams, &status), EVENER_STATUS_CANCELLED, "%s",
                 status.message);
    cr_expect_eq(streams, 1);
}

/* A17: a server without the health service is taken as healthy. */
Test(refused, health_unimplemented_means_healthy)
{
    h2_server *server = h2_server_start(H2_RST_STREAM, 0, "12");
    evener_credentials *insecure;
    cr_assert_eq(evener_credentials_create_insecure(&insecure, NULL), EVENER_STATUS_OK);
    transport_fixture fixture;
    fixture_open(&fixture, &(evener_grpc_transport_options){.credentials = insecure});
    followed *connection = fixture_connect(&fixture, address_of_port(h2_server_port(server)), "localhost");
    cr_expect_eq(followed_wait(connection, 1), EVENER_READY);
    followed_watch_health(connection, "orders");
    cr_expect_eq(followed_wait_health(connection, 1), EVENER_READY);
    followed_forget(connection);
    fixture_close(&fixture);
    evener_credentials_destroy(insecure);
    h2_server_stop(server);
}
