/* health_check: A17; by the names of core's client_lb_end2end_test.cc RoundRobinWithHealthChecking cases. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include <evener/child_policy.h>

#include "tests/support/policy_harness.h"

#define A "10.0.0.1:1"
#define B "10.0.0.2:1"
#define CONFIG "{\"serviceName\":\"orders\",\"childPolicy\":[{\"round_robin\":{}}]}"

/* Wrapped by the linker: counts the subchannels that a search looks at. */
evener_subchannel *__real_evener_wrapped_subchannel_get(const evener_wrapped_subchannel *wrapped);
evener_subchannel *__wrap_evener_wrapped_subchannel_get(const evener_wrapped_subchannel *wrapped);
static size_t visits;

evener_subchannel *__wrap_evener_wrapped_subchannel_get(const evener_wrapped_subchannel *wrapped)
{
    visits++;
    return __real_evener_wrapped_subchannel_get(wrapped);
}

static policy_harness *connected_harness(const char *config)
{
    policy_harness *h = harness_create("health_check", config);
    h->connect_succeeds = true;
    cr_assert_eq(harness_update(h, A "," B), EVENER_STATUS_OK);
    return h;
}

/* core: RoundRobinWithHealthChecking "WithHealthChecking": CONNECTING until the first answer, unhealthy ones are left
 * out, and all unhealthy is TRANSIENT_FAILURE */
Test(health_check, with_health_checking)
{
    policy_harness *h = connected_harness(CONFIG);
    cr_assert_eq(h->state, EVENER_CONNECTING);
    cr_assert_str_eq(harness_pick_one(h), "queue");
    cr_assert_str_eq(harness_watched_service(h, A), "orders");
    harness_health(h, A, EVENER_READY);
    cr_assert_eq(h->state, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), A);
    cr_assert_str_eq(harness_pick_one(h), A);
    harness_health(h, B, EVENER_READY);
    size_t counts[2];
    harness_count_picks(h, 4, counts);
    cr_assert(counts[0] == 2 && counts[1] == 2);
    harness_health(h, A, EVENER_TRANSIENT_FAILURE);
    cr_assert_str_eq(harness_pick_one(h), B);
    cr_assert_str_eq(harness_pick_one(h), B);
    harness_health(h, B, EVENER_TRANSIENT_FAILURE);
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    evener_pick pick;
    evener_status status;
    cr_assert_eq(harness_pick(h, NULL, &pick, &status), EVENER_PICK_FAIL);
    cr_assert_str_eq(status.message, "connections to all backends failing; last error: " B ": unhealthy: NOT_SERVING");
    harness_health(h, A, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), A);
    cr_assert_eq(h->connect_count, 2, "the connections stay");
    harness_destroy(h);
}

/* core: WithHealthCheckingHandlesSubchannelFailure */
Test(health_check, handles_subchannel_failure)
{
    policy_harness *h = connected_harness(CONFIG);
    harness_health(h, A, EVENER_READY);
    harness_health(h, B, EVENER_READY);
    h->connect_succeeds = false;
    harness_set(h, A, EVENER_IDLE);
    cr_assert_str_eq(harness_pick_one(h), B);
    cr_assert_eq(harness_connects(h, A), 2);
    harness_set(h, A, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), B, "the new connection has not answered yet");
    cr_assert_str_eq(harness_pick_one(h), B);
    harness_health(h, A, EVENER_READY);
    size_t counts[2];
    harness_count_picks(h, 4, counts);
    cr_assert(counts[0] == 2 && counts[1] == 2);
    harness_destroy(h);
}

/* core: RoundRobin WithHealthCheckingServiceNameChangesAfterSubchannelsCreated */
Test(health_check, service_name_changes_after_subchannels_created)
{
    policy_harness *h = connected_harness(CONFIG);
    harness_health(h, A, EVENER_READY);
    harness_health(h, B, EVENER_READY);
    harness_configure(h, "{\"serviceName\":\"other\",\"childPolicy\":[{\"round_robin\":{}}]}");
    cr_assert_str_eq(harness_watched_service(h, A), "other");
    cr_assert_eq(h->state, EVENER_READY, "a change of the parameter alone takes no backend out");
    harness_health(h, A, EVENER_TRANSIENT_FAILURE);
    cr_assert_str_eq(harness_pick_one(h), B);
    cr_assert_str_eq(harness_pick_one(h), B);
    cr_assert_eq(h->connect_count, 2);
    harness_destroy(h);
}

/* A17: no health checking with pick_first */
Test(health_check, pick_first_is_not_watched)
{
    policy_harness *h = connected_harness("{\"childPolicy\":[{\"pick_first\":{}}]}");
    cr_assert_eq(h->state, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), A);
    cr_assert_null(harness_watched_service(h, A));
    harness_destroy(h);
}

Test(health_check, transport_without_it_counts_as_healthy)
{
    policy_harness *h = harness_create("health_check", CONFIG);
    h->no_health = true;
    h->connect_succeeds = true;
    harness_update(h, A "," B);
    size_t counts[2];
    harness_count_picks(h, 4, counts);
    cr_assert(counts[0] == 2 && counts[1] == 2);
    harness_destroy(h);
}

Test(health_check, says_who_is_unhealthy)
{
    policy_harness *h = connected_harness(CONFIG);
    char text[64] = "";
    h->policy->vtable->describe(h->policy, harness_find(h, A), text, sizeof text);
    cr_assert_str_eq(text, "health unknown");
    harness_health(h, A, EVENER_TRANSIENT_FAILURE);
    text[0] = '\0';
    h->policy->vtable->describe(h->policy, harness_find(h, A), text, sizeof text);
    cr_assert_str_eq(text, "unhealthy");
    harness_destroy(h);
}

static void assert_described(policy_harness *h, evener_subchannel *subchannel, const char *expected)
{
    char text[64] = "";
    h->policy->vtable->describe(h->policy, subchannel, text, sizeof text);
    cr_assert_str_eq(text, expected, "%s: %s", evener_subchannel_address_text(subchannel), text);
}

static void use_child(policy_harness *h, const char *child)
{
    char config[128];
    (void)snprintf(config, sizeof config, "{\"serviceName\":\"orders\",\"childPolicy\":[{\"%s\":{}}]}", child);
    harness_configure(h, config);
}

/* While a child waits for the health of its backends, each address has a subchannel of it and one of the child in
 * force. */
Test(health_check, tells_the_subchannels_of_an_address_apart)
{
    policy_harness *h =
        connected_harness("{\"serviceName\":\"orders\",\"childPolicy\":[{\"weighted_round_robin\":{}}]}");
    harness_health(h, A, EVENER_READY);
    harness_health(h, B, EVENER_READY);
    evener_subchannel *old_a = harness_find(h, A), *old_b = harness_find(h, B);
    use_child(h, "random");
    use_child(h, "round_robin"); /* and the first successor is closed */
    cr_assert_eq(h->subchannel_count, 4);
    cr_assert(harness_find(h, A) != old_a && harness_find(h, B) != old_b);
    assert_described(h, old_a, "weight=1");
    assert_described(h, old_b, "weight=1");
    assert_described(h, harness_find(h, A), "health unknown");
    assert_described(h, harness_find(h, B), "health unknown");
    harness_update(h, B);
    cr_assert_eq(h->subchannel_count, 3, "the new child has released its own of A");
    assert_described(h, old_a, "weight=1");
    harness_health(h, B, EVENER_READY);
    cr_assert_eq(h->subchannel_count, 1, "the new child has taken over");
    assert_described(h, harness_find(h, B), "");
    harness_destroy(h);
}

/* Statistics describe every backend, on the control thread: none of them may search through all. */
Test(health_check, describing_all_visits_each_once)
{
    enum { BACKENDS = 1000 };
    policy_harness *h = harness_create("health_check", CONFIG);
    h->connect_succeeds = true;
    cr_assert_eq(harness_update_range(h, 0, BACKENDS), EVENER_STATUS_OK);
    harness_run(h);
    visits = 0;
    for (size_t i = 0; i < BACKENDS; i++) {
        assert_described(h, harness_find(h, evener_address_text(h->addresses[i])), "health unknown");
    }
    cr_assert_leq(visits, 10 * BACKENDS, "%zu", visits);
    harness_destroy(h);
}

/* Around outlier detection: both wrappers listen, each in its place. */
Test(health_check, goes_around_outlier_detection)
{
    policy_harness *h = connected_harness(
        "{\"childPolicy\":[{\"outlier_detection\":{\"interval\":\"1s\",\"failurePercentageEjection\":{\"threshold\":0,"
        "\"minimumHosts\":1,\"requestVolume\":1},\"childPolicy\":[{\"weighted_round_robin\":{}}]}}]}");
    harness_health(h, A, EVENER_READY);
    harness_health(h, B, EVENER_READY);
    for (int i = 0; i < 20; i++) {
        evener_pick pick;
        harness_pick(h, NULL, &pick, NULL);
        harness_done(h, &pick,
                     strcmp(evener_subchannel_address_text(pick.subchannel), A) == 0 ? EVENER_STATUS_INTERNAL
                                                                                     : EVENER_STATUS_OK);
    }
    harness_advance_ms(h, 1000);
    for (int i = 0; i < 4; i++) {
        cr_assert_str_eq(harness_pick_one(h), B);
    }
    harness_health(h, B, EVENER_TRANSIENT_FAILURE);
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    harness_destroy(h);
}

Test(health_check, bad_configuration_names_the_field)
{
    evener_policy_choice choice = {0};
    evener_status status;
    cr_assert_eq(evener_policy_choose(NULL, "[{\"health_check\":{\"serviceName\":7}}]", "lb", &choice, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(status.message, "lb: health_check: serviceName: a string is needed");
    cr_assert_eq(evener_policy_choose(NULL, "[{\"health_check\":{}}]", "lb", &choice, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(status.message, "childPolicy"));
    cr_assert_eq(evener_policy_choose(NULL,
                                      "[{\"health_check\":{\"childPolicy\":[{\"random\":{}}],"
                                      "\"childPolicy\":[{\"pick_first\":{}}]}}]",
                                      "lb", &choice, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(status.message, "duplicate object key near '\"childPolicy\"'"), "%s", status.message);
}

/* A plug-in may hand a configuration to the builder itself. */
Test(health_check, a_builder_refuses_a_field_given_twice)
{
    const char *const names[] = {"health_check", "outlier_detection"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const evener_policy_builder *builder = evener_policy_find(NULL, names[i]);
        evener_policy_config *config = NULL;
        evener_status status;
        cr_assert_eq(builder->parse_config(builder, NULL,
                                           "{\"childPolicy\":[{\"random\":{}}],\"childPolicy\":[{\"random\":{}}]}",
                                           &config, &status),
                     EVENER_STATUS_INVALID_ARGUMENT);
        cr_assert_null(config);
        cr_assert_not_null(strstr(status.message, "childPolicy"), "%s: %s", names[i], status.message);
    }
}
