/* What comes after a refusal (REFUSED_STREAM, or a GOAWAY whose last stream comes before the call's; RFC 9113 sections
 * 8.7 and 6.8). Through the C core it cannot be distinguished from a status that a server wrote: the call is reported,
 * and is not sent again. Over "http2" it is made again once (A6), and the caller does not notice. */
#include <criterion/criterion.h>

#include <stdio.h>

#include "grpc/call_fixture.h"
#include "grpc/transport_fixture.h"
#include "tests/support/h2_script_server.h"
#include "tests/support/transport_choice.h"

#define METHOD "/any.Service/Method"

static const h2_step refused_stream[] = {
    {.kind = H2_AWAIT_END_STREAM}, {.kind = H2_RST_STREAM, .code = H2_REFUSED_STREAM}, {.kind = H2_END}};
static const h2_step refused_goaway[] = {{.kind = H2_AWAIT_END_STREAM},
                                         {.kind = H2_GOAWAY, .last_stream = H2_NO_STREAM},
                                         {.kind = H2_CLOSE},
                                         {.kind = H2_END}};
static const h2_step ok[] = {
    {.kind = H2_AWAIT_END_STREAM},
    {.kind = H2_HEADERS, .headers = {{":status", "200"}, {"content-type", "application/grpc"}}},
    {.kind = H2_DATA, .data = "\0\0\0\0", .data_bytes = 5},
    {.kind = H2_HEADERS, .headers = {{"grpc-status", "0"}}, .end_stream = true},
    {.kind = H2_END}};
/* A server that refuses the first request in that way and answers all others, and a channel to it. */
typedef struct scene {
    h2_script scripts[2];
    h2_script_server *server;
    call_fixture fixture;
    evener_channel *channel;
} scene;

static void open_scene(scene *s, const h2_step *refusal)
{
    char target[64];
    s->scripts[0] = (h2_script){.steps = refusal, .plays = 1};
    s->scripts[1] = (h2_script){.steps = ok};
    s->server = h2_script_server_start(&(h2_script_server_options){.scripts = s->scripts, .count = 2});
    call_fixture_open(&s->fixture, 0, NULL);
    snprintf(target, sizeof target, "ipv4:%s", address_of_port(h2_script_server_port(s->server)));
    s->channel = call_fixture_channel(&s->fixture, target);
}

static void close_scene(scene *s)
{
    evener_channel_unref(s->channel);
    call_fixture_close(&s->fixture);
    h2_script_server_stop(s->server);
}

static evener_status_code make_call(scene *s, evener_status *status)
{
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 20000};
    return evener_unary_call(s->channel, METHOD, NULL, &options, NULL, status);
}

/* Make the call that is refused. Return the requests that came of it. */
static uint64_t make_refused_call(scene *s)
{
    evener_status status;
    const uint64_t requests = on_core() ? 1 : 2;
    cr_expect_eq(make_call(s, &status), on_core() ? EVENER_STATUS_UNAVAILABLE : EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(h2_script_server_count(s->server, H2_REQUESTS), requests);
    return requests;
}

/* REFUSED_STREAM says nothing of the connection. */
Test(after_refusal, of_a_stream_the_connection_stays)
{
    scene s;
    evener_status status;
    open_scene(&s, refused_stream);
    for (uint64_t i = make_refused_call(&s) + 1; i < 10; i++) {
        cr_expect_eq(make_call(&s, &status), EVENER_STATUS_OK, "%s", status.message);
        cr_expect_eq(h2_script_server_count(s.server, H2_REQUESTS), i);
    }
    cr_expect_eq(h2_script_server_count(s.server, H2_CONNECTIONS), 1);
    close_scene(&s);
}

Test(after_refusal, by_a_goaway_the_next_call_connects_anew)
{
    scene s;
    evener_status status;
    open_scene(&s, refused_goaway);
    const uint64_t requests = make_refused_call(&s) + 1;
    cr_expect_eq(make_call(&s, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(h2_script_server_count(s.server, H2_REQUESTS), requests);
    cr_expect_eq(h2_script_server_count(s.server, H2_CONNECTIONS), 2);
    close_scene(&s);
}
