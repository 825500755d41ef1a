/* List change: what an update says of the difference to the list before it. */
#ifndef EVENER_LB_POLICY_LIST_CHANGE_H
#define EVENER_LB_POLICY_LIST_CHANGE_H

#include <stddef.h>
#include <stdint.h>

#include <evener/policy.h>

/* More than this part of a list changed: the whole list is as fast, and simpler. */
#define EVENER_LIST_CHANGE_PART 8

/* The addresses [first, count - last) of the new list take the place of [first, old_count - last) of the old one. */
typedef struct evener_list_change {
    uint64_t list_id; /* of the new list; 0: it has none */
    size_t first, last;
    bool is_small; /* the rest is valid, and few addresses changed */
} evener_list_change;

/* Compare the update with the list of `old_count` addresses that the update `old_id` brought. */
static inline evener_list_change evener_list_change_of(const evener_policy_update *update, uint64_t old_id,
                                                       size_t old_count)
{
    evener_list_change change = {0, 0, 0, false};
    if (update->size < offsetof(evener_policy_update, same_last) + sizeof(size_t)) {
        return change; /* of a plug-in that knows no difference */
    }
    change.list_id = update->list_id;
    if (old_id != 0 && old_id == update->list_id && old_count == update->address_count) {
        change.first = old_count; /* the list as it was, for another configuration */
        change.is_small = true;
        return change;
    }
    change.first = update->same_first;
    change.last = update->same_last;
    const size_t count = update->address_count, same = change.first + change.last;
    change.is_small = old_id != 0 && update->previous_list_id == old_id && same <= count && same <= old_count &&
                      count - same + old_count - same <= count / EVENER_LIST_CHANGE_PART;
    return change;
}

#endif
