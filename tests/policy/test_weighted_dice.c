/* A user's policy on the base, as it stands in examples/: shares by weight. */
#include <criterion/criterion.h>

#include "examples/weighted_random_policy.h"
#include "tests/support/policy_harness.h"

static const evener_policy_builder *const own[] = {&weighted_dice};
static const evener_policy_set set = {own, 1};

Test(weighted_dice, backends_of_weights_6_3_and_1_get_their_shares)
{
    policy_harness *h = harness_create_with(&set, "weighted_dice", NULL);
    h->connect_succeeds = true;
    harness_update(h, "10.0.0.1:1;weight=6,10.0.0.2:1;weight=3,10.0.0.3:1;weight=1");
    size_t counts[3];
    harness_count_picks(h, 100000, counts);
    cr_assert_float_eq((double)counts[0], 60000, 1200);
    cr_assert_float_eq((double)counts[1], 30000, 1200);
    cr_assert_float_eq((double)counts[2], 10000, 800);
    harness_destroy(h);
}

Test(weighted_dice, follows_the_list_and_its_weights)
{
    policy_harness *h = harness_create_with(&set, "weighted_dice", NULL);
    h->connect_succeeds = true;
    harness_update(h, "10.0.0.1:1;weight=6,10.0.0.2:1");
    harness_update(h, "10.0.0.1:1,10.0.0.3:1;weight=3");
    size_t counts[2];
    harness_count_picks(h, 40000, counts);
    cr_assert_float_eq((double)counts[0], 10000, 800);
    cr_assert_float_eq((double)counts[1], 30000, 800);
    harness_destroy(h);
}
