/* Connecting a channel whose policy connects on demand: ring_hash starts IDLE, and evener_channel_connect() makes it
 * connect one backend whenever the request comes, while calls ask for their own backends. */
#include <criterion/criterion.h>

#include "tests/support/channel_fixture.h"

#define A "127.0.0.1:1"
#define B "127.0.0.1:2"
#define C "127.0.0.1:3"
#define OUTLIERS                                                                                                       \
    "{\"loadBalancingConfig\": [{\"outlier_detection\": {\"childPolicy\": [{\"ring_hash\": {}}], "                     \
    "\"consecutiveFailureEjection\": {}}}]}"

static fixture *open_channel(void)
{
    return fixture_create(&(evener_channel_options){.policy = "ring_hash"});
}

static uint32_t attempts(const fixture *f)
{
    return fake_transport_attempts(f->transport, A) + fake_transport_attempts(f->transport, B) +
           fake_transport_attempts(f->transport, C);
}

static void expect_one_connection(fixture *f)
{
    cr_assert_eq(attempts(f), 1);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_READY);
    fixture_destroy(f);
}

Test(connect_on_demand, b9_connect_of_a_fresh_channel_connects_one_backend)
{
    fixture *f = open_channel();
    fixture_push(f, A "," B "," C);
    fixture_connect(f);
    expect_one_connection(f);
}

Test(connect_on_demand, b9_the_state_with_try_to_connect_does_the_same)
{
    fixture *f = open_channel();
    fixture_push(f, A "," B "," C);
    cr_assert_eq(evener_channel_state(f->channel, true), EVENER_IDLE);
    virtual_loop_run_until_idle(f->loop);
    expect_one_connection(f);
}

Test(connect_on_demand, b9_a_request_waits_for_the_list)
{
    fixture *f = open_channel();
    fixture_connect(f);
    virtual_loop_advance_ms(f->loop, 60000);
    fixture_push(f, A "," B "," C);
    expect_one_connection(f);
}

Test(connect_on_demand, b9_a_request_under_another_policy_holds_too)
{
    fixture *f = fixture_create(&(evener_channel_options){.default_service_config = OUTLIERS});
    fixture_push(f, A "," B "," C);
    fixture_connect(f);
    expect_one_connection(f);
}

/* Asked twice while it connects, or once it is connected, it connects no further one. */
Test(connect_on_demand, further_requests_connect_nothing)
{
    fixture *f = open_channel();
    fake_transport_set_default(f->transport, FAKE_SILENT, 0);
    fixture_push(f, A "," B "," C);
    fixture_connect(f);
    fixture_connect(f);
    cr_assert_eq(attempts(f), 1);
    cr_assert(fake_transport_ready(f->transport, A) || fake_transport_ready(f->transport, B) ||
              fake_transport_ready(f->transport, C));
    virtual_loop_run_until_idle(f->loop);
    fixture_connect(f);
    expect_one_connection(f);
}

static void end_pick(void *arg, evener_status_code code, const evener_status *status)
{
    (void)status;
    cr_assert_eq(code, EVENER_STATUS_OK);
    evener_pick_done(arg, NULL);
}

/* A call that made the channel leave IDLE has its own backend connected, and no other one. */
Test(connect_on_demand, a_waiting_call_connects_its_own_backend_only)
{
    fixture *f = open_channel();
    fixture_push(f, A "," B "," C);
    const evener_pick_args args = {.size = sizeof args, .has_hash = true, .hash = 77};
    evener_pick pick;
    evener_pick_request request = {.size = sizeof request, .pick = &pick, .callback = end_pick, .arg = &pick};
    cr_assert_eq(evener_channel_pick_async(f->channel, &args, &request, NULL), EVENER_PICK_QUEUE);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(attempts(f), 1);
    cr_assert_eq(evener_channel_try_pick(f->channel, &args, &pick, NULL), EVENER_PICK_COMPLETE);
    evener_pick_done(&pick, NULL);
    cr_assert_eq(attempts(f), 1);
    fixture_destroy(f);
}

/* One request is one connection: once it is lost, nothing is connected until it is asked for again. */
Test(connect_on_demand, a_request_is_not_repeated)
{
    fixture *f = open_channel();
    fixture_push(f, A);
    fixture_connect(f);
    cr_assert(fake_transport_drop(f->transport, A));
    virtual_loop_advance_ms(f->loop, 60000);
    cr_assert_eq(attempts(f), 1);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_IDLE);
    fixture_connect(f);
    cr_assert_eq(attempts(f), 2);
    fixture_destroy(f);
}

/* A request that has not led to a connection yet holds under the policy that a service config brings meanwhile. */
Test(connect_on_demand, a_request_outlives_a_change_of_the_policy)
{
    fixture *f = fixture_create(NULL);
    fake_transport_set_default(f->transport, FAKE_SILENT, 0);
    fixture_push(f, A);
    fixture_connect(f);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_CONNECTING);
    fixture_push_config(f, B "," C, "{\"loadBalancingConfig\": [{\"ring_hash\": {}}]}");
    virtual_loop_advance_ms(f->loop, 1);
    cr_assert_eq(fake_transport_attempts(f->transport, B) + fake_transport_attempts(f->transport, C), 1);
    cr_assert(fake_transport_ready(f->transport, B) || fake_transport_ready(f->transport, C));
    virtual_loop_advance_ms(f->loop, 1);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_READY);
    cr_assert(fake_transport_drop(f->transport, B) || fake_transport_drop(f->transport, C));
    virtual_loop_advance_ms(f->loop, 60000);
    cr_assert_eq(attempts(f), 2, "then it is over");
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_IDLE);
    fixture_destroy(f);
}
