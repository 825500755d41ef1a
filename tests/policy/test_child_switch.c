/* What the switch of policies promises: the policy in force keeps its list and its configuration until it is replaced.
 * Source: core and grpc-go, graceful switch. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include <evener/child_policy.h>

#include "tests/support/policy_harness.h"

#define A "10.0.0.1:1"
#define B "10.0.0.2:1"
#define C "10.0.0.3:1"
#define ALL A "," B "," C

#define RING "{\"ring_hash_experimental\":{\"requestHashHeader\":\"user\"}}"

/* The backend that one user's calls go to, if all of them go to one; else "several". */
static const char *backend_of(policy_harness *h, const char *user)
{
    static char text[64];
    const evener_metadata metadata = {"user", user, strlen(user)};
    const evener_pick_args args = {.size = sizeof args, .metadata = &metadata, .metadata_count = 1};
    text[0] = '\0';
    for (size_t i = 0; i < 300; i++) {
        evener_pick pick;
        cr_assert_eq(harness_pick(h, &args, &pick, NULL), EVENER_PICK_COMPLETE);
        const char *backend = evener_subchannel_address_text(pick.subchannel);
        const bool same = i == 0 || strcmp(text, backend) == 0;
        snprintf(text, sizeof text, "%s", backend);
        harness_done(h, &pick, EVENER_STATUS_OK);
        if (!same) {
            return "several";
        }
    }
    return text;
}

/* A successor that stays CONNECTING: no server answers its health watch. */
#define WAITING "{\"health_check\":{\"childPolicy\":[{\"round_robin\":{}}]}}"

static policy_harness *harness_with(const char *child)
{
    char config[512];
    snprintf(config, sizeof config, "{\"childPolicy\":[%s]}", child);
    policy_harness *h = harness_create("outlier_detection", config);
    h->connect_succeeds = true;
    cr_assert_eq(harness_update(h, ALL), EVENER_STATUS_OK);
    for (size_t i = 0; i < 3; i++) {
        evener_subchannel_connect(harness_at(h, i));
    }
    harness_run(h);
    cr_assert_eq(h->state, EVENER_READY);
    return h;
}

static void anna_stays(const char *child)
{
    policy_harness *h = harness_with(child);
    char before[64];
    snprintf(before, sizeof before, "%s", backend_of(h, "anna"));
    cr_assert_str_neq(before, "several");
    harness_configure(h, "{\"childPolicy\":[" WAITING "]}");
    cr_assert_eq(h->state, EVENER_READY, "the ring is in force until its successor is ready");
    cr_assert_eq(h->subchannel_count, 6, "of both");
    cr_assert_str_eq(backend_of(h, "anna"), before);
    cr_assert_eq(harness_update(h, B "," C "," A), EVENER_STATUS_OK, "the successor's list, not the ring's");
    cr_assert_str_eq(backend_of(h, "anna"), before);
    harness_configure(h, "{\"childPolicy\":[{\"outlier_detection\":{\"childPolicy\":[" WAITING "]}}]}");
    cr_assert_str_eq(backend_of(h, "anna"), before, "a successor that never took over is replaced itself");
    harness_configure(h, "{\"childPolicy\":[{\"round_robin\":{}}]}");
    cr_assert_str_eq(backend_of(h, "anna"), "several", "this successor is ready at once");
    cr_assert_eq(h->subchannel_count, 3, "the others are closed");
    harness_destroy(h);
}

Test(child_switch, a_users_calls_stay_on_one_backend_while_a_successor_connects)
{
    anna_stays(RING);
}

Test(child_switch, the_configuration_of_a_wrapper_in_a_wrapper_is_kept)
{
    anna_stays("{\"outlier_detection\":{\"childPolicy\":[" RING "]}}");
}

/* grpc: a policy in force keeps its own list; only the newest one has the new list. */
Test(child_switch, the_policy_in_force_keeps_its_list)
{
    policy_harness *h = harness_with("{\"round_robin\":{}}");
    harness_configure(h, "{\"childPolicy\":[" WAITING "]}");
    cr_assert_eq(harness_update(h, A), EVENER_STATUS_OK);
    size_t used = 0;
    for (size_t i = 0; i < 3; i++) {
        used |= (size_t)1 << (harness_pick_one(h)[7] - '0');
    }
    cr_assert_eq(used, 0x0E, "all three, %zx", used);
    harness_health(h, A, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), A);
    cr_assert_eq(h->subchannel_count, 1);
    harness_destroy(h);
}

/* ---- whose subchannel is it? ---- */

static const char *description(evener_child_policy *child, evener_child_maker maker, evener_subchannel *subchannel)
{
    static char text[256];
    strcpy(text, "untouched");
    evener_child_policy_describe(child, maker, subchannel, text, sizeof text);
    return text;
}

static evener_policy_choice chosen(const char *json)
{
    evener_policy_choice choice = {0};
    evener_status status;
    cr_assert_eq(evener_policy_choose(NULL, json, "test", &choice, &status), EVENER_STATUS_OK, "%s", status.message);
    return choice;
}

/* A policy reads its own memory in a subchannel: it is not asked about another policy's. Without a maker that is sure
 * only while there is one policy. */
Test(child_switch, a_policy_describes_no_subchannel_that_may_be_anothers)
{
    policy_harness *h = harness_create("round_robin", NULL);
    evener_child_policy *child =
        evener_child_policy_create(&h->helper, &(evener_child_hooks){.size = sizeof(evener_child_hooks)}, NULL);
    cr_assert_not_null(child);
    cr_assert_str_eq(evener_child_policy_name(child), "");
    evener_policy_choice one = chosen("[{\"weighted_round_robin\":{}}]"), other = chosen("[{\"least_request\":{}}]"),
                         waiting = chosen("[" WAITING "]");
    evener_address *address;
    cr_assert_eq(evener_address_create(A, NULL, 0, &address, NULL), EVENER_STATUS_OK);
    const evener_policy_update update = {.size = sizeof update, .addresses = &address, .address_count = 1};
    cr_assert_eq(evener_child_policy_update(child, &one, &update, NULL), EVENER_STATUS_OK);
    harness_run(h);
    evener_subchannel *first = harness_at(h, 0);
    cr_assert_str_eq(description(child, NULL, first), "weight=1", "there is no other");
    cr_assert_str_eq(description(child, h, first), "", "made by another");
    /* In the turn in which another one takes over, the old one is still there. */
    cr_assert_eq(evener_child_policy_update(child, &other, &update, NULL), EVENER_STATUS_OK);
    cr_assert_str_eq(evener_child_policy_name(child), "least_request");
    cr_assert_not(harness_is_released(first));
    cr_assert_str_eq(description(child, NULL, first), "");
    harness_run(h);
    cr_assert_eq(h->subchannel_count, 1);
    cr_assert_str_eq(description(child, NULL, harness_at(h, 0)), "weight=1 under_way=0");
    /* A successor waits. */
    harness_set(h, A, EVENER_READY);
    cr_assert_eq(evener_child_policy_update(child, &waiting, &update, NULL), EVENER_STATUS_OK);
    harness_run(h);
    cr_assert_str_eq(evener_child_policy_name(child), "least_request");
    cr_assert_eq(h->subchannel_count, 2);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_str_eq(description(child, NULL, harness_at(h, i)), "");
    }
    evener_child_policy_destroy(child);
    evener_address_unref(address);
    evener_policy_choice_clear(&one);
    evener_policy_choice_clear(&other);
    evener_policy_choice_clear(&waiting);
    harness_destroy(h);
}

/* The policy that was replaced in this turn is closed with the others. */
Test(child_switch, closes_in_the_turn_of_a_switch)
{
    policy_harness *h = harness_create("outlier_detection", "{\"childPolicy\":[{\"round_robin\":{}}]}");
    harness_update(h, ALL);
    evener_policy_choice other = chosen("[{\"outlier_detection\":{\"childPolicy\":[{\"least_request\":{}}]}}]");
    const evener_policy_update update = {
        .size = sizeof update, .addresses = h->addresses, .address_count = h->address_count, .config = other.config};
    cr_assert_eq(h->policy->vtable->update(h->policy, &update, NULL), EVENER_STATUS_OK);
    cr_assert_eq(h->subchannel_count, 6, "of both");
    harness_destroy(h);
    evener_policy_choice_clear(&other);
}
