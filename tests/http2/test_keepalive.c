/* Keepalive (A8): pings that go on while the peer is silent, and a peer that finds them too frequent. */
#include <criterion/criterion.h>

#include <string.h>

#include "http2/raw_scene.h"
#include "lb/transport/http2/factory.h"
#include "lb/transport/http2/internal.h"

static void open_with(bool permit_without_calls, uint64_t timeout_ms)
{
    const evener_http2_transport_options options = {.size = sizeof options,
                                                    .keepalive_time_ms = 30,
                                                    .keepalive_timeout_ms = timeout_ms,
                                                    .keepalive_permit_without_calls = permit_without_calls,
                                                    .keepalive_unrestricted = true};
    h2_open(&fixture, &options);
    raw_listen(&server);
    raw_scene_connect();
}

TestSuite(http2_keepalive, .fini = raw_scene_close, .timeout = 60);

Test(http2_keepalive, a_silent_peer_is_given_up)
{
    open_with(false, 50);
    h2_call *call = h2_call_start(peer, &(h2_call_options){0}, NULL);
    (void)raw_read_call(&raw, &frame);
    const h2_result *result = h2_call_wait(call);
    cr_assert_eq(result->code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_not_null(strstr(result->message, "keepalive"), "%s", result->message);
    cr_assert_eq(result->fate, EVENER_FATE_PERHAPS_PROCESSED);
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
    h2_call_free(call);
}

Test(http2_keepalive, pings_go_on_for_as_long_as_they_are_answered)
{
    open_with(false, 10000);
    h2_call *call = h2_call_start(peer, &(h2_call_options){0}, NULL);
    const uint32_t stream = raw_read_call(&raw, &frame);
    for (unsigned pings = 0; pings < 6;) {
        cr_assert(raw_read(&raw, &frame), "after %u pings: %s", pings, h2_call_wait(call)->message);
        if (frame.type == RAW_PING) {
            raw_send(&raw, RAW_PING, RAW_ACK, 0, frame.payload, frame.bytes);
            pings++;
        }
    }
    raw_answer(&raw, stream, "alive");
    cr_assert_eq(h2_call_wait(call)->code, EVENER_STATUS_OK);
    h2_call_free(call);
}

Test(http2_keepalive, without_calls_there_are_pings_only_if_permitted)
{
    open_with(true, 50);
    cr_assert(raw_read(&raw, &frame));
    cr_assert_eq(frame.type, RAW_PING);
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE); /* it was not answered */
}

Test(http2_keepalive, too_many_pings_doubles_the_time_for_all_connections)
{
    open_with(false, 50);
    evener_http2_transport *transport = (evener_http2_transport *)fixture.transport;
    raw_send_goaway(&raw, 0, 11, "too_many_pings");
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
    cr_assert_eq(transport->keepalive_time_ns, 60 * EVENER_NS_PER_MS);
}

static void exchange(void *arg)
{
    fixture.transport->vtable->exchange_settings(fixture.transport, arg);
}

/* A factory file that changes gives the channel another transport, with settings that may be the same. */
Test(http2_keepalive, the_doubled_time_outlives_a_change_of_other_settings)
{
    raw_scene_open();
    fixture.transport->vtable->destroy(fixture.transport);
    evener_credentials *insecure;
    evener_transport *changed;
    cr_assert_eq(evener_credentials_create_insecure(&insecure, NULL), EVENER_STATUS_OK);
    evener_transport_args args = {
        .size = sizeof args, .runtime = fixture.runtime, .credentials = insecure, .keepalive_time_ms = 20000};
    cr_assert_eq(evener_http2_transport_factory.create(&args, &fixture.transport, NULL), EVENER_STATUS_OK);
    args.user_agent = "changed/1";
    cr_assert_eq(evener_http2_transport_factory.create(&args, &changed, NULL), EVENER_STATUS_OK);
    evener_credentials_destroy(insecure);
    raw_scene_connect();
    raw_send_goaway(&raw, 0, 11, "too_many_pings");
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
    evener_runtime_call(fixture.runtime, exchange, changed);
    h2_forget(peer);
    raw_close(&raw);
    raw_scene_connect();
    cr_expect_eq(peer->connection->transport->keepalive_time_ns, 40 * EVENER_NS_PER_S);
    changed->vtable->destroy(changed);
}

Test(http2_keepalive, another_goaway_leaves_the_time)
{
    open_with(false, 50);
    evener_http2_transport *transport = (evener_http2_transport *)fixture.transport;
    raw_send_goaway(&raw, 0, 11, "calm");
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
    cr_assert_eq(transport->keepalive_time_ns, 30 * EVENER_NS_PER_MS);
}
