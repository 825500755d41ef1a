/* The wrapping policies on a channel: outlier detection and health checking over the fake transport, with their notes
 * in the channel's statistics. */
#include <criterion/criterion.h>
#include <string.h>

#include <evener/stats.h>

#include "tests/support/channel_fixture.h"

#define A "127.0.0.1:1"
#define B "127.0.0.1:2"
#define C "127.0.0.1:3"
#define LIST A "," B "," C

#define OUTLIERS(child)                                                                                                \
    "{\"loadBalancingConfig\":[{\"outlier_detection\":{\"interval\":\"1s\",\"baseEjectionTime\":\"5s\","               \
    "\"failurePercentageEjection\":{\"threshold\":50,\"minimumHosts\":1,\"requestVolume\":5},"                         \
    "\"childPolicy\":[" child "]}}]}"
#define HEALTH                                                                                                         \
    "{\"loadBalancingConfig\":[{\"health_check\":{\"serviceName\":\"orders\",\"childPolicy\":[{\"round_robin\":{}}]}}" \
    "]}"

static fixture *connected(const char *config)
{
    fixture *f = fixture_create(NULL);
    fixture_push_config(f, LIST, config);
    fixture_connect(f);
    return f;
}

/* Make calls of a millisecond, one after the other. Those on the backend `bad` fail. */
static size_t call_many(fixture *f, size_t calls, const char *bad)
{
    size_t bad_calls = 0;
    for (size_t i = 0; i < calls; i++) {
        evener_pick pick;
        cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
        const bool fails = strcmp(evener_subchannel_address_text(pick.subchannel), bad) == 0;
        const evener_done_info info = {.size = sizeof info, .code = fails ? EVENER_STATUS_INTERNAL : EVENER_STATUS_OK};
        virtual_loop_advance_ms(f->loop, 1);
        evener_pick_done(&pick, &info);
        bad_calls += fails;
    }
    return bad_calls;
}

static void eject_with(const char *config)
{
    fixture *f = connected(config);
    cr_assert_gt(call_many(f, 200, B), 10);
    virtual_loop_advance_ms(f->loop, 1100);
    cr_assert_eq(call_many(f, 200, B), 0);
    const evener_subchannel_stats stats = fixture_stats(f, B);
    cr_assert_eq(stats.state, EVENER_READY, "the connection stays");
    cr_assert_not_null(strstr(stats.note, "ejected"), "%s", stats.note);
    cr_assert_null(strstr(fixture_stats(f, A).note, "ejected"));
    virtual_loop_advance_ms(f->loop, 6000);
    cr_assert_gt(call_many(f, 200, "nobody") + call_many(f, 200, B), 10);
    cr_assert_eq(fake_transport_attempts(f->transport, B), 1);
    fixture_destroy(f);
}

Test(wrappers, outlier_detection_of_round_robin)
{
    eject_with(OUTLIERS("{\"round_robin\":{}}"));
}

Test(wrappers, outlier_detection_of_weighted_round_robin)
{
    eject_with(OUTLIERS("{\"weighted_round_robin\":{}}"));
}

Test(wrappers, outlier_detection_of_least_request)
{
    /* By itself the policy gives a backend that fails next to no calls: too few to judge it by. */
    eject_with(OUTLIERS("{\"least_request\":{\"failureCodes\":[]}}"));
}

/* Parameters of a live channel change: connections, counts and ejections stay. */
Test(wrappers, parameters_of_a_live_channel_may_change)
{
    fixture *f = connected(OUTLIERS("{\"round_robin\":{}}"));
    call_many(f, 200, B);
    virtual_loop_advance_ms(f->loop, 1100);
    fixture_push_config(f, LIST, OUTLIERS("{\"random\":{}}"));
    cr_assert_eq(call_many(f, 200, B), 0);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 1);
    cr_assert_eq(fake_transport_attempts(f->transport, B), 1);
    fixture_destroy(f);
}

/* A17, client-side health checking. */
Test(wrappers, health_check_watches_every_connection)
{
    fixture *f = connected(HEALTH);
    cr_assert_str_eq(fixture_pick(f), "queue", "no server has answered yet");
    cr_assert_str_eq(fake_transport_watched_service(f->transport, A), "orders");
    cr_assert(fake_transport_health(f->transport, A, EVENER_READY));
    cr_assert(fake_transport_health(f->transport, B, EVENER_READY));
    cr_assert(fake_transport_health(f->transport, C, EVENER_TRANSIENT_FAILURE));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(call_many(f, 200, C), 0);
    cr_assert_not_null(strstr(fixture_stats(f, C).note, "unhealthy"));
    cr_assert(fake_transport_health(f->transport, B, EVENER_TRANSIENT_FAILURE));
    cr_assert(fake_transport_health(f->transport, C, EVENER_READY));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(call_many(f, 200, B), 0);
    cr_assert_gt(call_many(f, 200, C), 50);
    /* A new connection is asked again. */
    cr_assert(fake_transport_drop(f->transport, A));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 2);
    cr_assert_eq(call_many(f, 200, A), 0);
    cr_assert(fake_transport_health(f->transport, A, EVENER_READY));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_gt(call_many(f, 200, A), 50);
    fixture_destroy(f);
}

/* From health checking to none and back: nothing reconnects. */
Test(wrappers, health_check_comes_and_goes_with_the_service_config)
{
    fixture *f = connected("{\"loadBalancingConfig\":[{\"round_robin\":{}}]}");
    cr_assert_gt(call_many(f, 30, A), 0);
    fixture_push_config(f, LIST, HEALTH);
    cr_assert_gt(call_many(f, 30, A), 0, "the old policy serves until the new one has an answer");
    (void)fake_transport_health(f->transport, B, EVENER_READY);
    (void)fake_transport_health(f->transport, C, EVENER_READY);
    (void)fake_transport_health(f->transport, A, EVENER_TRANSIENT_FAILURE);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(call_many(f, 30, A), 0);
    fixture_push_config(f, LIST, "{\"loadBalancingConfig\":[{\"round_robin\":{}}]}");
    cr_assert_gt(call_many(f, 30, A), 0);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 1);
    fixture_destroy(f);
}
