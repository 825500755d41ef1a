/* The policy registry, the choice out of a loadBalancingConfig, and the pickers that always say the same. */
#include <criterion/criterion.h>
#include <evener/policy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static evener_policy *build_nothing(const evener_policy_builder *builder, evener_policy_helper *helper)
{
    (void)builder;
    (void)helper;
    return NULL;
}

static evener_status_code parse_number(const evener_policy_builder *builder, const evener_policy_set *policies,
                                       const char *json, evener_policy_config **config, evener_status *status)
{
    (void)builder;
    (void)policies;
    int number;
    if (sscanf(json, "{\"number\":%d}", &number) != 1) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "number: a number is needed");
    }
    int *made = malloc(sizeof *made);
    cr_assert_not_null(made);
    *made = number;
    *config = made;
    return EVENER_STATUS_OK;
}

static const evener_policy_builder numbered = {.size = sizeof numbered,
                                               .name = "numbered",
                                               .build = build_nothing,
                                               .parse_config = parse_number,
                                               .config_destroy = free};
static const evener_policy_builder own_round_robin = {
    .size = sizeof own_round_robin, .name = "round_robin", .build = build_nothing};

Test(registry, knows_the_built_in_policies)
{
    cr_assert_str_eq(evener_policy_find(NULL, "pick_first")->name, "pick_first");
    cr_assert_str_eq(evener_policy_find(NULL, "round_robin")->name, "round_robin");
    cr_assert_null(evener_policy_find(NULL, "no_such_policy"));
    cr_assert_null(evener_policy_find(NULL, NULL));
}

Test(registry, refuses_a_builder_that_cannot_be_used)
{
    evener_status status;
    const evener_policy_builder nameless = {.size = sizeof nameless, .build = build_nothing};
    const evener_policy_builder useless = {.size = sizeof useless, .name = "useless"};
    cr_assert_eq(evener_policy_register(NULL, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(evener_policy_register(&nameless, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(evener_policy_register(&useless, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(status.message, "useless"));
}

Test(registry, a_registered_policy_replaces_that_of_its_name_and_the_channels_own_wins)
{
    cr_assert_eq(evener_policy_register(&own_round_robin, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_policy_find(NULL, "round_robin"), &own_round_robin);
    static const evener_policy_builder mine = {.size = sizeof mine, .name = "round_robin", .build = build_nothing};
    const evener_policy_builder *const own[] = {&mine};
    const evener_policy_set set = {own, 1};
    cr_assert_eq(evener_policy_find(&set, "round_robin"), &mine);
    cr_assert_eq(evener_policy_find(&set, "pick_first"), evener_policy_find(NULL, "pick_first"));
}

/* ---- choosing ---- */

static const evener_policy_builder *const own_builders[] = {&numbered};
static const evener_policy_set own_set = {own_builders, 1};

static evener_status_code choose(const char *json, evener_policy_choice *choice, evener_status *status)
{
    memset(choice, 0, sizeof *choice);
    return evener_policy_choose(&own_set, json, "loadBalancingConfig", choice, status);
}

/* A24: the first supported entry wins */
Test(choose, the_first_known_policy_wins)
{
    evener_policy_choice choice;
    evener_status status;
    cr_assert_eq(
        choose("[{\"future\":{\"x\":1}},{\"numbered\":{\"number\":7}},{\"round_robin\":{}}]", &choice, &status),
        EVENER_STATUS_OK);
    cr_assert_eq(choice.builder, &numbered);
    cr_assert_eq(*(int *)choice.config, 7);
    evener_policy_choice_clear(&choice);
    cr_assert_null(choice.builder);
    evener_policy_choice_clear(&choice);
    evener_policy_choice_clear(NULL);
}

/* A24: none supported is an error */
Test(choose, no_known_policy_is_an_error_that_names_them)
{
    evener_policy_choice choice;
    evener_status status;
    cr_assert_eq(choose("[{\"future\":{}},{\"other\":{}}]", &choice, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(status.message, "\"future\", \"other\""), "%s", status.message);
    cr_assert_eq(choose("[]", &choice, &status), EVENER_STATUS_INVALID_ARGUMENT);
}

Test(choose, a_bad_configuration_of_the_first_known_policy_is_an_error_that_names_the_place)
{
    evener_policy_choice choice;
    evener_status status;
    cr_assert_eq(choose("[{\"numbered\":{\"number\":\"x\"}},{\"round_robin\":{}}]", &choice, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(status.message, "loadBalancingConfig: numbered: number: a number is needed");
}

Test(choose, refuses_what_is_no_list_of_single_policies)
{
    const char *const bad[] = {"",
                               "{",
                               "{\"round_robin\":{}}",
                               "7",
                               "[7]",
                               "[{}]",
                               "[{\"round_robin\":{},\"pick_first\":{}}]",
                               "[{\"round_robin\":7}]",
                               "[{\"pick_first\":null}]"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        evener_policy_choice choice;
        evener_status status;
        cr_assert_eq(choose(bad[i], &choice, &status), EVENER_STATUS_INVALID_ARGUMENT, "%s", bad[i]);
        cr_assert_eq(strncmp(status.message, "loadBalancingConfig", 19), 0, "%s", status.message);
        cr_assert_null(choice.builder);
    }
}

/* A policy that holds itself, as deep as the text says. */
static evener_status_code parse_child(const evener_policy_builder *builder, const evener_policy_set *policies,
                                      const char *json, evener_policy_config **config, evener_status *status)
{
    (void)builder;
    (void)config;
    const char *child = strchr(json, '[');
    if (child == NULL) {
        return EVENER_STATUS_OK;
    }
    char *text = strndup(child, strlen(child) - 1);
    evener_policy_choice choice = {0};
    const evener_status_code code = evener_policy_choose(policies, text, "child", &choice, status);
    free(text);
    evener_policy_choice_clear(&choice);
    return code;
}

Test(choose, bounds_the_depth_of_policies_in_policies)
{
    static const evener_policy_builder nest = {
        .size = sizeof nest, .name = "nest", .build = build_nothing, .parse_config = parse_child};
    const evener_policy_builder *const own[] = {&nest};
    const evener_policy_set set = {own, 1};
    for (size_t depth = 1; depth <= 40; depth++) {
        char json[2048] = "";
        for (size_t i = 0; i < depth; i++) {
            strcat(json, "[{\"nest\":{\"child\":");
        }
        strcat(json, "1");
        for (size_t i = 0; i < depth; i++) {
            strcat(json, "}}]");
        }
        evener_policy_choice choice = {0};
        evener_status status;
        cr_assert_eq(evener_policy_choose(&set, json, "here", &choice, &status) == EVENER_STATUS_OK, depth <= 16,
                     "depth %zu: %s", depth, status.message);
    }
}

/* ---- pickers ---- */

static evener_pick_outcome pick_from(evener_picker *picker, evener_status *status)
{
    const evener_pick_args args = {.size = sizeof args};
    const evener_pick_context context = {.args = &args, .status = status};
    evener_pick pick = {0};
    return picker->vtable->pick(picker, &context, &pick);
}

Test(picker, constant_pickers_say_what_they_are)
{
    evener_status why, status;
    evener_status_set(&why, EVENER_STATUS_UNAVAILABLE, "no backend");
    evener_picker *queue = evener_picker_create_queue();
    evener_picker *fail = evener_picker_create_fail(&why);
    evener_picker *drop = evener_picker_create_drop(&why);
    cr_assert_eq(pick_from(queue, &status), EVENER_PICK_QUEUE);
    cr_assert_eq(pick_from(fail, &status), EVENER_PICK_FAIL);
    cr_assert_str_eq(status.message, "no backend");
    cr_assert_eq(status.code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_eq(pick_from(drop, NULL), EVENER_PICK_DROP);
    evener_picker_unref(queue);
    evener_picker_unref(fail);
    evener_picker_unref(evener_picker_ref(drop));
    evener_picker_unref(drop);
    evener_picker_unref(NULL);
}
