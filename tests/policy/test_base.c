/* The base policy: what a user's policy of fifty lines can rely on. */
#include <criterion/criterion.h>
#include <evener/base_policy.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/policy_harness.h"

#define A "10.0.0.1:1"
#define B "10.0.0.2:1"
#define C "10.0.0.3:1"

/* A policy that picks the first READY one, and counts what the base asks of it. */
typedef struct spy_picker {
    evener_picker base;
    evener_subchannel *first; /* a reference, unless there is a hold */
    evener_base_hold *hold;
} spy_picker;

typedef struct spy_state {
    size_t marker;
} spy_state;

static struct {
    unsigned built, created, destroyed_data, destroyed_state;
    size_t last_count, last_peers;
    bool no_memory, by_hold, wants_rebuild;
} spy;

static evener_pick_outcome spy_pick(evener_picker *base, const evener_pick_context *context, evener_pick *pick)
{
    (void)context;
    pick->subchannel = ((spy_picker *)base)->first;
    return EVENER_PICK_COMPLETE;
}

static void spy_destroy(evener_picker *base)
{
    const spy_picker *picker = (spy_picker *)base;
    if (picker->hold == NULL) {
        evener_subchannel_unref(picker->first);
    }
    evener_base_hold_unref(picker->hold);
    free(base);
}

static const evener_picker_vtable spy_vtable = {.size = sizeof spy_vtable, .pick = spy_pick, .destroy = spy_destroy};

static evener_picker *spy_build_picker(const evener_base_ready *ready)
{
    cr_assert_gt(ready->count, 0);
    ((spy_state *)ready->state)->marker++;
    spy.built++;
    spy.last_count = ready->count;
    if (spy.no_memory) {
        return NULL;
    }
    spy_picker *picker = malloc(sizeof *picker);
    cr_assert_not_null(picker);
    evener_picker_init(&picker->base, &spy_vtable);
    picker->first = ready->subchannels[0];
    picker->hold = spy.by_hold ? evener_base_hold_ref(ready->hold) : NULL;
    if (!spy.by_hold) {
        (void)evener_subchannel_ref(picker->first);
    }
    return &picker->base;
}

static void spy_created(const evener_base_ready *peers, evener_subchannel *subchannel)
{
    spy.created++;
    spy.last_peers = peers->count;
    cr_assert_eq(evener_subchannel_state(subchannel), EVENER_IDLE, "reported before it connects");
    cr_assert(spy.wants_rebuild || *peers->rebuild_after_ns == 0);
    *peers->rebuild_after_ns = spy.wants_rebuild ? EVENER_NS_PER_MS : 0;
    char *data = evener_subchannel_data(subchannel);
    cr_assert_eq((uintptr_t)data % 64, 0);
    cr_assert(data[0] == 0 && data[99] == 0);
    data[0] = 1;
}

static void spy_data_destroy(void *data)
{
    cr_assert_eq(*(char *)data, 1);
    spy.destroyed_data++;
}

static void spy_state_destroy(void *state)
{
    cr_assert_eq(((spy_state *)state)->marker, spy.built);
    spy.destroyed_state++;
}

static void spy_describe(void *state, evener_subchannel *subchannel, char *buffer, size_t buffer_bytes)
{
    snprintf(buffer, buffer_bytes, "built=%zu %s", ((spy_state *)state)->marker,
             evener_subchannel_address_text(subchannel));
}

static const evener_base_policy spy_base = {.size = sizeof spy_base,
                                            .build_picker = spy_build_picker,
                                            .subchannel_data_bytes = 100,
                                            .subchannel_data_destroy = spy_data_destroy,
                                            .state_bytes = sizeof(spy_state),
                                            .state_destroy = spy_state_destroy,
                                            .subchannel_created = spy_created,
                                            .describe = spy_describe};
static const evener_policy_builder spy_builder = {
    .size = sizeof spy_builder, .name = "spy", .build = evener_base_policy_build, .user_data = (void *)&spy_base};
static const evener_policy_builder *const own[] = {&spy_builder};
static const evener_policy_set set = {own, 1};

static policy_harness *spy_harness(void)
{
    return harness_create_with(&set, "spy", NULL);
}

Test(base, gives_each_subchannel_its_memory_and_each_policy_its_state)
{
    policy_harness *h = spy_harness();
    h->connect_succeeds = true;
    harness_update(h, A "," B);
    cr_assert_eq(spy.created, 2);
    cr_assert_eq(spy.last_peers, 0);
    harness_update(h, A "," C);
    cr_assert_eq(spy.created, 3);
    cr_assert_eq(spy.last_peers, 2);
    cr_assert_eq(spy.destroyed_data, 1);
    char text[64] = "";
    h->policy->vtable->describe(h->policy, harness_find(h, A), text, sizeof text);
    cr_assert_not_null(strstr(text, A));
    harness_destroy(h);
    cr_assert_eq(spy.destroyed_data, 3);
    cr_assert_eq(spy.destroyed_state, 1);
}

/* Make `address` the only backend, and return the picker, with a reference. */
static evener_picker *picker_of(policy_harness *h, const char *address)
{
    harness_update(h, address);
    harness_run(h);
    cr_assert_str_eq(harness_pick_one(h), address);
    return evener_picker_ref(h->picker);
}

Test(base, a_hold_keeps_the_subchannels_of_its_picker_and_of_no_other)
{
    spy.by_hold = true;
    policy_harness *h = spy_harness();
    h->connect_succeeds = true;
    evener_picker *a = picker_of(h, A);
    evener_picker *b = picker_of(h, B);
    evener_picker *c = picker_of(h, C);
    evener_picker *d = picker_of(h, A);
    cr_assert_eq(spy.destroyed_data, 0, "each has a picker that may give it out");
    evener_picker_unref(c);
    cr_assert_eq(spy.destroyed_data, 0, "what left last may be in older pickers");
    evener_picker_unref(a);
    cr_assert_eq(spy.destroyed_data, 1, "the first A");
    evener_picker_unref(d);
    cr_assert_eq(spy.destroyed_data, 1, "it is in force");
    evener_picker_unref(b);
    cr_assert_eq(spy.destroyed_data, 3);
    harness_destroy(h);
    cr_assert_eq(spy.destroyed_data, 4);
}

Test(base, the_ready_ones_come_in_the_order_of_the_list)
{
    policy_harness *h = spy_harness();
    harness_update(h, C "," A "," B);
    harness_set(h, A "," B, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), A);
    harness_set(h, C, EVENER_READY);
    cr_assert_str_eq(harness_pick_one(h), C);
    harness_update(h, B "," C "," A);
    cr_assert_str_eq(harness_pick_one(h), B);
    harness_destroy(h);
}

Test(base, changed_attributes_reach_the_subchannel_and_make_a_picker_but_no_connection)
{
    policy_harness *h = spy_harness();
    h->connect_succeeds = true;
    harness_update(h, A ";weight=1," B);
    const unsigned built = spy.built;
    evener_subchannel *a = harness_find(h, A);
    harness_update(h, A ";weight=2," B);
    cr_assert_eq(harness_find(h, A), a);
    cr_assert_str_eq(evener_address_attribute(evener_subchannel_address(a), "weight"), "2");
    cr_assert_gt(spy.built, built);
    cr_assert_eq(h->connect_count, 2);
    harness_destroy(h);
}

/* "authority" is part of the identity: another one is another connection. */
Test(base, another_authority_is_another_subchannel)
{
    policy_harness *h = spy_harness();
    h->connect_succeeds = true;
    harness_update(h, A);
    harness_update(h, A ";authority=other");
    cr_assert_eq(harness_connects(h, A), 2);
    cr_assert_eq(h->subchannel_count, 1);
    harness_destroy(h);
}

Test(base, changes_within_a_turn_are_joined_but_the_first_ready_is_published_at_once)
{
    policy_harness *h = spy_harness();
    harness_update_range(h, 0, 10000);
    harness_run(h);
    cr_assert_eq(spy.built, 0);
    harness_set_all(h, EVENER_READY);
    cr_assert_eq(spy.built, 2);
    cr_assert_eq(spy.last_count, 10000);
    harness_set_all(h, EVENER_IDLE); /* all are reconnected */
    cr_assert_eq(h->state, EVENER_CONNECTING);
    cr_assert_eq(spy.built, 2);
    harness_destroy(h);
}

Test(base, without_memory_for_a_picker_the_last_one_stays_and_the_base_tries_again)
{
    policy_harness *h = spy_harness();
    h->connect_succeeds = true;
    harness_update(h, A "," B);
    spy.no_memory = true;
    harness_update(h, B);
    cr_assert_str_eq(harness_pick_one(h), A);
    spy.no_memory = false;
    harness_advance_ms(h, 100);
    cr_assert_str_eq(harness_pick_one(h), B);
    harness_destroy(h);
}

Test(base, without_memory_for_subchannels_the_update_says_so_and_serves_with_the_others)
{
    policy_harness *h = spy_harness();
    h->connect_succeeds = true;
    harness_update(h, A);
    h->create_fails = true;
    evener_status status;
    cr_assert_eq(harness_update_quietly(h, A "," B, &status), EVENER_STATUS_RESOURCE_EXHAUSTED);
    harness_run(h);
    cr_assert_str_eq(harness_pick_one(h), A);
    h->create_fails = false;
    cr_assert_eq(harness_update(h, A "," B), EVENER_STATUS_OK);
    cr_assert_eq(spy.last_count, 2);
    harness_destroy(h);
}

/* An update must not cost a comparison of all with all: 100,000 addresses within the time that ctest gives. */
Test(base, keeps_the_subchannels_of_a_large_list_that_moves)
{
    policy_harness *h = spy_harness();
    h->connect_succeeds = true;
    harness_update_range(h, 0, 100000);
    harness_run(h);
    const size_t created = h->created;
    harness_update_range(h, 1, 100000); /* all have moved by one, one is new */
    harness_run(h);
    cr_assert_eq(h->created, created + 1);
    cr_assert_eq(h->subchannel_count, 100000);
    cr_assert_eq(spy.last_count, 100000);
    harness_destroy(h);
}

/* Connections are made turn by turn: with many READY already, a picker is not built for each further one. */
Test(base, with_many_ready_the_next_ones_wait_for_others_a_little)
{
    policy_harness *h = spy_harness();
    harness_update_range(h, 0, 3000);
    harness_run(h);
    for (size_t i = 0; i < 3000; i++) {
        harness_set_quietly(harness_at(h, 2999 - i), EVENER_READY); /* a turn each */
        harness_run(h);
    }
    cr_assert_leq(spy.built, 1001);
    harness_advance_ms(h, 3);
    cr_assert_leq(spy.built, 1002);
    cr_assert_eq(spy.last_count, 3000);
    /* One that is lost is not waited for. */
    harness_set_quietly(harness_at(h, 5), EVENER_IDLE);
    harness_run(h);
    cr_assert_eq(spy.last_count, 2999);
    harness_destroy(h);
}

/* No picker is built for a new subchannel, so none is built again: what a policy writes there is ignored. */
Test(base, a_new_subchannel_causes_no_rebuild)
{
    policy_harness *h = spy_harness();
    spy.wants_rebuild = true;
    harness_update(h, A "," B);
    harness_advance_ms(h, 1000);
    cr_assert_eq(spy.created, 2);
    cr_assert_eq(spy.built, 0);
    harness_set(h, A "," B, EVENER_READY);
    const unsigned built = spy.built;
    harness_advance_ms(h, 1000);
    cr_assert_eq(spy.built, built);
    harness_destroy(h);
}

/* Each further picker costs a copy of all READY ones. */
Test(base, only_a_change_of_the_ready_ones_in_force_makes_a_picker)
{
    policy_harness *h = spy_harness();
    harness_update(h, A "," B);
    harness_set(h, A, EVENER_READY);
    harness_run(h);
    const unsigned published = h->published;
    harness_fail(h, B, "refused");
    cr_assert_eq(h->published, published, "B was not READY before either");
    harness_set(h, B, EVENER_IDLE);
    harness_set(h, B, EVENER_CONNECTING);
    cr_assert_eq(h->published, published);
    harness_set(h, B, EVENER_READY);
    cr_assert_eq(h->published, published + 1);
    cr_assert_eq(spy.last_count, 2);
    harness_set(h, B, EVENER_IDLE);
    cr_assert_eq(h->published, published + 2);
    cr_assert_eq(spy.last_count, 1);
    /* C is READY before its list takes over, with the report of the last one. */
    h->connect_succeeds = true;
    harness_update(h, A "," C ",10.0.0.4:1");
    cr_assert_eq(h->published, published + 3);
    cr_assert_eq(spy.last_count, 3);
    harness_destroy(h);
}

/* What a list leaves behind stays until the end of the turn; a policy that is closed before releases it, too. */
Test(base, closes_in_the_turn_in_which_a_list_takes_over)
{
    policy_harness *h = spy_harness();
    harness_update(h, A "," B);
    evener_status status;
    cr_assert_eq(harness_update_quietly(h, B "," C, &status), EVENER_STATUS_OK);
    cr_assert_not_null(harness_find(h, A), "it leaves with the turn");
    cr_assert_eq(h->subchannel_count, 3);
    harness_destroy(h);
    cr_assert_eq(spy.created, 3);
    cr_assert_eq(spy.destroyed_data, 3);
}

/* The resolver says where an empty list comes from, unless the helper is of an older evener. */
Test(base, an_empty_list_names_its_source)
{
    static const struct {
        const char *source, *message;
        bool older;
    } cases[] = {{NULL, "the address list of test:///service is empty", false},
                 {"", "the address list of test:///service is empty", false},
                 {"dns 10.0.0.53:53 (NXDOMAIN)",
                  "the address list of test:///service is empty, says dns 10.0.0.53:53 (NXDOMAIN)", false},
                 {"past the end", "the address list of test:///service is empty", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        policy_harness *h = spy_harness();
        h->helper.list_source = cases[i].source;
        h->helper.size = cases[i].older ? offsetof(evener_policy_helper, list_source) : sizeof h->helper;
        evener_status status;
        cr_assert_eq(harness_update_quietly(h, "", &status), EVENER_STATUS_UNAVAILABLE);
        cr_expect_str_eq(status.message, cases[i].message);
        cr_expect_str_eq(h->status.message, cases[i].message);
        cr_expect_eq(h->state, EVENER_TRANSIENT_FAILURE);
        cr_expect_str_eq(harness_pick_one(h), "fail");
        harness_destroy(h);
    }
}
