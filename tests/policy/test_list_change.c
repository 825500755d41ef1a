/* What an update says of the difference to the list before it, and when a policy may rely on it. */
#include <criterion/criterion.h>

#include <stddef.h>

#include "lb/policy/list_change.h"

#define OLD_ID 7
#define OLD_COUNT 100

/* An update that follows the list OLD_ID: of `count` addresses all but those between are the same. */
static evener_policy_update update_of(size_t count, size_t same_first, size_t same_last)
{
    return (evener_policy_update){.size = sizeof(evener_policy_update),
                                  .address_count = count,
                                  .list_id = OLD_ID + 1,
                                  .previous_list_id = OLD_ID,
                                  .same_first = same_first,
                                  .same_last = same_last};
}

static bool is_small(evener_policy_update update)
{
    return evener_list_change_of(&update, OLD_ID, OLD_COUNT).is_small;
}

Test(list_change, few_changes_are_small)
{
    const evener_policy_update update = update_of(100, 60, 38);
    const evener_list_change change = evener_list_change_of(&update, OLD_ID, OLD_COUNT);
    cr_expect(change.is_small);
    cr_expect_eq(change.list_id, OLD_ID + 1);
    cr_expect_eq(change.first, 60);
    cr_expect_eq(change.last, 38);
    /* Those that left and those that are new, together: at most an eighth of the new list. */
    cr_expect(is_small(update_of(100, 94, 0)), "6 for 6: 12 of 100");
    cr_expect_not(is_small(update_of(100, 93, 0)), "7 for 7");
    cr_expect(is_small(update_of(114, 60, 40)), "14 more: 14 of 114");
    cr_expect_not(is_small(update_of(115, 60, 40)), "15 more: 14 are an eighth of 115");
    cr_expect(is_small(update_of(89, 80, 9)), "11 less: 11 of 89");
    cr_expect_not(is_small(update_of(88, 80, 8)), "12 less");
    cr_expect_not(is_small(update_of(0, 0, 0)));
}

Test(list_change, what_cannot_be_is_not_relied_on)
{
    cr_expect_not(is_small(update_of(95, 60, 36)), "more are the same than there are now");
    cr_expect_not(is_small(update_of(108, 60, 41)), "or were before");
    evener_policy_update update = update_of(100, 60, 40);
    cr_expect(is_small(update));
    update.previous_list_id = OLD_ID - 1;
    cr_expect_not(is_small(update), "it follows another list");
    update.previous_list_id = 0;
    cr_expect_not(evener_list_change_of(&update, 0, OLD_COUNT).is_small, "there was none before");
}

Test(list_change, the_same_list_again_is_no_change)
{
    evener_policy_update update = update_of(OLD_COUNT, 1, 1);
    update.list_id = OLD_ID;
    const evener_list_change change = evener_list_change_of(&update, OLD_ID, OLD_COUNT);
    cr_expect(change.is_small);
    cr_expect_eq(change.first, OLD_COUNT);
    cr_expect_eq(change.last, 0);
    cr_expect_not(evener_list_change_of(&update, OLD_ID, OLD_COUNT - 1).is_small);
    update.list_id = update.previous_list_id = 0;
    cr_expect_not(evener_list_change_of(&update, 0, OLD_COUNT).is_small, "lists without an id are not compared");
}

Test(list_change, an_update_of_an_older_plug_in_says_nothing)
{
    evener_policy_update update = update_of(100, 60, 40);
    update.size = offsetof(evener_policy_update, same_last) + sizeof update.same_last;
    cr_expect(is_small(update));
    update.size--;
    const evener_list_change change = evener_list_change_of(&update, OLD_ID, OLD_COUNT);
    cr_expect_not(change.is_small);
    cr_expect_eq(change.list_id, 0);
    cr_expect_eq(change.first, 0);
    cr_expect_eq(change.last, 0);
}
