/* Wrapping policies of a program's own, with public headers only: examples/limit_policy.c, and one that listens to its
 * child's subchannels, keeps memory in them and has lanes. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include <evener/evener.h>

#include "examples/limit_policy.h"
#include "tests/support/policy_harness.h"

#define A "10.0.0.1:1"
#define B "10.0.0.2:1"
#define ALL A "," B

/* ---- limit ---- */

static policy_harness *limited(const char *config)
{
    static const evener_policy_builder *const own[] = {&limit_builder};
    static const evener_policy_set set = {own, 1};
    policy_harness *h = harness_create_with(&set, "limit", config);
    h->connect_succeeds = true;
    cr_assert_eq(harness_update(h, ALL), EVENER_STATUS_OK);
    cr_assert_eq(h->state, EVENER_READY);
    return h;
}

Test(wrapping, drops_the_call_that_is_one_too_many)
{
    policy_harness *h = limited("{\"maxPerBackend\":2,\"childPolicy\":[{\"least_request\":{}}]}");
    evener_pick picks[5];
    evener_status status;
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(harness_pick(h, NULL, &picks[i], NULL), EVENER_PICK_COMPLETE);
    }
    cr_assert_eq(harness_pick(h, NULL, &picks[4], &status), EVENER_PICK_DROP);
    cr_assert_eq(status.code, EVENER_STATUS_RESOURCE_EXHAUSTED);
    cr_assert_not_null(strstr(status.message, "maxPerBackend"));
    /* What the child counted for a dropped call is taken back: it finds the one free place every time. */
    for (size_t i = 0; i < 50; i++) {
        harness_advance_ms(h, 1); /* least_request does not count calls that take no time */
        const char *free_place = evener_subchannel_address_text(picks[i % 4].subchannel);
        harness_done(h, &picks[i % 4], EVENER_STATUS_OK);
        cr_assert_eq(harness_pick(h, NULL, &picks[i % 4], NULL), EVENER_PICK_COMPLETE, "call %zu", i);
        cr_assert_str_eq(evener_subchannel_address_text(picks[i % 4].subchannel), free_place);
        cr_assert_eq(harness_pick(h, NULL, &picks[4], &status), EVENER_PICK_DROP);
    }
    for (size_t i = 0; i < 4; i++) {
        harness_done(h, &picks[i], EVENER_STATUS_OK);
    }
    harness_destroy(h);
}

Test(wrapping, a_new_configuration_counts_for_the_next_pick)
{
    policy_harness *h = limited("{\"maxPerBackend\":1,\"childPolicy\":[{\"round_robin\":{}}]}");
    evener_pick picks[3];
    cr_assert_eq(harness_pick(h, NULL, &picks[0], NULL), EVENER_PICK_COMPLETE);
    cr_assert_eq(harness_pick(h, NULL, &picks[1], NULL), EVENER_PICK_COMPLETE);
    cr_assert_eq(harness_pick(h, NULL, &picks[2], NULL), EVENER_PICK_DROP);
    harness_configure(h, "{\"maxPerBackend\":2,\"childPolicy\":[{\"round_robin\":{}}]}");
    cr_assert_eq(harness_pick(h, NULL, &picks[2], NULL), EVENER_PICK_COMPLETE, "the calls under way are known still");
    for (size_t i = 0; i < 3; i++) {
        harness_done(h, &picks[i], EVENER_STATUS_OK);
    }
    harness_destroy(h);
}

static void expect_bad_config(const char *json, const char *message)
{
    evener_status status;
    evener_policy_config *config = NULL;
    cr_assert_eq(limit_builder.parse_config(&limit_builder, NULL, json, &config, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(status.message, message);
    cr_assert_null(config);
}

Test(wrapping, a_bad_configuration_names_the_place)
{
    expect_bad_config("{\"childPolicy\":[{\"round_robin\":{}}],\"maxPerBackend\":0}",
                      "maxPerBackend: a whole number from 1 to 1000000 is needed");
    expect_bad_config("{}", "childPolicy: a list like [{\"round_robin\": {}}] is needed");
    expect_bad_config("{\"childPolicy\":[{\"least_request\":{\"choiceCount\":1}}]}",
                      "childPolicy: least_request: choiceCount: a whole number from 2 to 4294967295 is needed");
    expect_bad_config("{\"childPolicy\":[{\"no_such\":{}}]}",
                      "childPolicy: no known policy among \"no_such\"; register it first");
}

/* ---- one with everything ---- */

/* A backend that the test marks is TRANSIENT_FAILURE to the child; picks are counted per lane in the subchannel. */
typedef struct seen {
    evener_wrapped_subchannel *wrapped;
    struct seen *next;
} seen;

typedef struct hider {
    seen *all;
} hider;

typedef struct counts {
    struct {
        uint64_t picks;
        uint64_t padding[7];
    } lanes[EVENER_LANES];
} counts;

static hider *the_hider; /* the last one built */
static uint64_t done_calls;

static void hider_released(evener_wrapped_subchannel *wrapped)
{
    const seen *gone = evener_wrapped_subchannel_data(wrapped);
    seen **link = &the_hider->all;
    while (*link != gone) {
        link = &(*link)->next;
    }
    *link = gone->next;
}

static evener_subchannel *hider_create(evener_wrapping *wrapping, evener_child_maker maker,
                                       const evener_address *address, const evener_subchannel_options *options)
{
    static const evener_wrapped_hooks hooks = {
        .size = sizeof hooks, .data_bytes = sizeof(seen), .released = hider_released};
    evener_wrapped_subchannel *wrapped =
        evener_wrapped_subchannel_create(wrapping->helper, maker, address, options, &hooks);
    cr_assert_not_null(wrapped);
    the_hider = wrapping->state;
    seen *s = evener_wrapped_subchannel_data(wrapped);
    s->wrapped = wrapped;
    s->next = the_hider->all;
    the_hider->all = s;
    return evener_wrapped_subchannel_get(wrapped);
}

static void count_done(void *data, uint64_t word, const evener_done_info *info, uint32_t lane)
{
    (void)info;
    cr_assert_eq(word, 7);
    cr_assert_neq(((counts *)data)->lanes[lane].picks, 0);
    done_calls++;
}

static evener_pick_outcome hider_pick(evener_picker *base, const evener_pick_context *context, evener_pick *pick)
{
    const evener_wrapping_picker *picker = (const evener_wrapping_picker *)base;
    const evener_pick_outcome outcome = evener_wrapping_picker_pick(picker, context, pick);
    if (outcome == EVENER_PICK_COMPLETE) {
        counts *c = evener_wrapping_picker_data(picker, pick);
        evener_pick_layer *layer = evener_pick_add_layer(pick, count_done, c);
        cr_assert_not_null(layer);
        layer->word = 7;
        evener_lane_add(&c->lanes[context->lane].picks, 1, context->lane);
    }
    return outcome;
}

static evener_picker *hider_wrap(evener_wrapping *wrapping, evener_picker *child, size_t data_offset)
{
    static const evener_picker_vtable vtable = {
        .size = sizeof vtable, .pick = hider_pick, .destroy = evener_wrapping_picker_destroy};
    (void)wrapping;
    return evener_wrapping_picker_create(&vtable, child, data_offset, 0);
}

static evener_child_maker hider_maker_of(evener_wrapping *wrapping, evener_subchannel *subchannel)
{
    const seen *s = ((const hider *)wrapping->state)->all;
    while (s != NULL && evener_wrapped_subchannel_get(s->wrapped) != subchannel) {
        s = s->next;
    }
    return s != NULL ? evener_wrapped_subchannel_maker(s->wrapped) : NULL;
}

static const evener_wrapping_policy hider_kind = {.size = sizeof hider_kind,
                                                  .state_bytes = sizeof(hider),
                                                  .wrap_picker = hider_wrap,
                                                  .create_subchannel = hider_create,
                                                  .subchannel_data_bytes = sizeof(counts),
                                                  .maker_of = hider_maker_of};
static const evener_policy_builder hider_builder = {.size = sizeof hider_builder,
                                                    .name = "hider",
                                                    .build = evener_wrapping_policy_build,
                                                    .parse_config = evener_wrapping_policy_parse_config,
                                                    .config_destroy = evener_wrapping_policy_config_destroy,
                                                    .user_data = (void *)&hider_kind};

static policy_harness *hiding(const char *child)
{
    static const evener_policy_builder *const own[] = {&hider_builder, &limit_builder};
    static const evener_policy_set set = {own, 2};
    policy_harness *h = harness_create_with(&set, "hider", child);
    h->connect_succeeds = true;
    cr_assert_eq(harness_update(h, ALL), EVENER_STATUS_OK);
    cr_assert_eq(h->state, EVENER_READY);
    return h;
}

Test(wrapping, shows_its_child_what_it_wants_of_a_connection)
{
    done_calls = 0;
    policy_harness *h = hiding("{\"childPolicy\":[{\"limit\":{\"childPolicy\":[{\"round_robin\":{}}]}}]}");
    seen *s = the_hider->all;
    while (strcmp(evener_subchannel_address_text(evener_wrapped_subchannel_get(s->wrapped)), B) != 0) {
        s = s->next;
    }
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "hidden");
    evener_wrapped_subchannel_notify(s->wrapped, EVENER_TRANSIENT_FAILURE, &status);
    harness_run(h);
    cr_assert_eq(evener_wrapped_subchannel_state(s->wrapped), EVENER_READY, "the connection is as it was");
    for (size_t i = 0; i < 20; i++) {
        cr_assert_str_eq(harness_pick_one(h), A);
    }
    cr_assert_eq(done_calls, 20);
    evener_wrapped_subchannel_notify(s->wrapped, EVENER_READY, NULL);
    harness_run(h);
    size_t picks[2];
    harness_count_picks_on_any_lane(h, 200, picks);
    cr_assert(picks[0] > 50 && picks[1] > 50, "%zu, %zu", picks[0], picks[1]);
    harness_destroy(h);
    cr_assert_eq(done_calls, 220);
}

Test(wrapping, describes_the_subchannels_of_the_policy_in_force)
{
    policy_harness *h = hiding("{\"childPolicy\":[{\"least_request\":{}}]}");
    evener_subchannel *old = harness_find(h, A);
    char note[64];
    h->policy->vtable->describe(h->policy, old, note, sizeof note);
    cr_assert_not_null(strstr(note, "weight=1"), "%s", note);
    harness_configure(h, "{\"childPolicy\":[{\"health_check\":{\"childPolicy\":[{\"round_robin\":{}}]}}]}");
    cr_assert_eq(h->subchannel_count, 4, "one policy waits to replace the other");
    h->policy->vtable->describe(h->policy, old, note, sizeof note);
    cr_assert_not_null(strstr(note, "weight=1"), "%s", note);
    for (const seen *s = the_hider->all; s != NULL; s = s->next) {
        evener_subchannel *subchannel = evener_wrapped_subchannel_get(s->wrapped);
        h->policy->vtable->describe(h->policy, subchannel, note, sizeof note);
        cr_assert_eq(note[0] != '\0', s->next == NULL || s->next->next == NULL, "the first two are the old policy's");
    }
    harness_destroy(h);
}

/* ---- growth ---- */

/* A helper is copied between two versions of evener in both directions. */
Test(wrapping, a_helper_is_made_from_one_of_another_size)
{
    struct {
        evener_policy_helper helper;
        void *added;
    } newer = {.helper = {.size = sizeof newer, .target = "t", .authority = "a"}, .added = &newer};
    static const evener_policy_helper_vtable vtable = {.size = sizeof vtable};
    evener_policy_helper made;
    evener_policy_helper_init(&made, &newer.helper, &vtable);
    cr_assert_eq(made.size, sizeof made);
    cr_assert_eq(made.vtable, &vtable);
    cr_assert_str_eq(made.target, "t");
    cr_assert_str_eq(made.authority, "a");
    evener_policy_helper older = {
        .size = offsetof(evener_policy_helper, authority), .target = "t", .authority = "past"};
    evener_policy_helper_init(&made, &older, &vtable);
    cr_assert_eq(made.size, sizeof made);
    cr_assert_str_eq(made.target, "t");
    cr_assert_null(made.authority, "what is past an older helper's end is not read");
}

Test(wrapping, hooks_without_a_size_are_refused)
{
    policy_harness *h = hiding("{\"childPolicy\":[{\"round_robin\":{}}]}");
    const evener_child_hooks none = {.size = 0};
    cr_assert_null(evener_child_policy_create(&h->helper, &none, NULL));
    const evener_wrapping_policy no_size = {.size = 0};
    evener_policy_builder builder = hider_builder;
    builder.user_data = (void *)&no_size;
    cr_assert_null(builder.build(&builder, &h->helper));
    evener_status status;
    evener_policy_config *config;
    cr_assert_eq(builder.parse_config(&builder, NULL, "{}", &config, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(status.message, "sizeof(evener_wrapping_policy)"), "%s", status.message);
    harness_destroy(h);
}
