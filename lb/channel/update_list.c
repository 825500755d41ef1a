#include "lb/channel/update_list.h"

#include <stdlib.h>
#include <string.h>

#include <evener/log.h>

#include "lb/base/address_table.h"

/* Up to this number of changed addresses, each is looked for among the others' hashes; more go through a table. */
#define FEW 64

/* One address of an update, during the search for duplicates. */
struct member {
    struct member *next;
    evener_address *address;
    uint8_t tag;
};

static uint32_t hash_of(const evener_address *address)
{
    const uint64_t hash = evener_address_identity_hash(address);
    return (uint32_t)(hash ^ hash >> 32);
}

/* The beginning and the end that are the same objects as in the list. */
static void find_same(const evener_update_list *list, const evener_resolver_update *update, evener_update_plan *plan)
{
    const size_t shorter = list->count < update->address_count ? list->count : update->address_count;
    size_t first = 0, last = 0;
    while (first < shorter && list->addresses[first] == update->addresses[first]) {
        first++;
    }
    while (last < shorter - first &&
           list->addresses[list->count - last - 1] == update->addresses[update->address_count - last - 1]) {
        last++;
    }
    plan->first = first;
    plan->last = last;
}

static bool has_twin(const evener_update_plan *plan, size_t index)
{
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->hashes[i] == plan->hashes[index] && i != index &&
            evener_address_same_backend(plan->addresses[i], plan->addresses[index])) {
            return true;
        }
    }
    return false;
}

/* Take the update's list as it is, if no address in the middle has a twin. */
static bool take_change(const evener_update_list *list, const evener_resolver_update *update, evener_update_plan *plan)
{
    const size_t end = update->address_count - plan->last;
    plan->count = update->address_count;
    if (plan->count > 0) {
        memcpy(plan->addresses, update->addresses, plan->count * sizeof(evener_address *));
    }
    if (list->count > 0) { /* otherwise its arrays are NULL */
        memcpy(plan->hashes, list->hashes, plan->first * sizeof *plan->hashes);
        memcpy(plan->hashes + end, list->hashes + list->count - plan->last, plan->last * sizeof *plan->hashes);
    }
    for (size_t i = plan->first; i < end; i++) {
        plan->hashes[i] = hash_of(plan->addresses[i]);
    }
    for (size_t i = plan->first; i < end; i++) {
        if (has_twin(plan, i)) {
            return false;
        }
    }
    for (size_t i = plan->first; i < end; i++) {
        (void)evener_address_ref(plan->addresses[i]);
    }
    return true;
}

/* Most long updates keep the positions of most addresses. Those at their position in the known list, which has no
 * duplicates, cannot be duplicates of each other. Return whether no address can be a duplicate, as few have moved. */
static bool is_unique(const evener_update_list *list, const evener_resolver_update *update)
{
    size_t moved[8];
    size_t moved_count = 0;
    for (size_t i = 0; i < update->address_count; i++) {
        const evener_address *address = update->addresses[i];
        if (i < list->count &&
            (list->addresses[i] == address || evener_address_same_backend(list->addresses[i], address))) {
            continue;
        }
        if (moved_count == sizeof moved / sizeof *moved) {
            return false;
        }
        moved[moved_count++] = i;
    }
    for (size_t m = 0; m < moved_count; m++) {
        for (size_t i = 0; i < update->address_count; i++) {
            if (i != moved[m] && evener_address_same_backend(update->addresses[i], update->addresses[moved[m]])) {
                return false;
            }
        }
    }
    return true;
}

static void take(evener_update_plan *plan, evener_address *address)
{
    plan->hashes[plan->count] = hash_of(address);
    plan->addresses[plan->count++] = evener_address_ref(address);
}

/* Return false on out of memory. */
static bool take_all(const evener_update_list *list, const evener_resolver_update *update, evener_update_plan *plan)
{
    const size_t count = update->address_count;
    plan->count = plan->first = plan->last = 0;
    if (is_unique(list, update)) {
        for (size_t i = 0; i < count; i++) {
            take(plan, update->addresses[i]);
        }
        return true;
    }
    evener_address_table table = EVENER_ADDRESS_TABLE_INIT(struct member, next, address, tag);
    struct member *members = malloc(count * sizeof *members);
    if (members == NULL || !evener_address_table_reserve(&table, count)) {
        free(members);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (evener_address_table_find(&table, update->addresses[i]) == NULL) {
            members[i].address = update->addresses[i];
            evener_address_table_enter(&table, &members[i]);
            take(plan, update->addresses[i]);
        }
    }
    evener_address_table_clear(&table);
    free(members);
    return true;
}

evener_status_code evener_update_list_prepare(const evener_update_list *list, const evener_resolver_update *update,
                                              evener_update_plan *plan, evener_status *status)
{
    const size_t count = update->address_count;
    *plan = (evener_update_plan){0};
    if (count > EVENER_RESOLVER_ADDRESSES_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "the resolver pushed %zu addresses; at most %d are taken", count,
                                 EVENER_RESOLVER_ADDRESSES_MAX);
    }
    if (count > 0 && update->addresses == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "the resolver pushed %zu addresses, but no list of them", count);
    }
    find_same(list, update, plan);
    for (size_t i = plan->first; i < count - plan->last; i++) {
        if (update->addresses[i] == NULL) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "the resolver pushed a list whose entry %zu of %zu is NULL", i, count);
        }
    }
    const bool few = count - plan->last - plan->first <= FEW;
    plan->addresses = malloc((count > 0 ? count : 1) * sizeof *plan->addresses);
    plan->hashes = malloc((count > 0 ? count : 1) * sizeof *plan->hashes);
    if (plan->addresses == NULL || plan->hashes == NULL ||
        (!(few && take_change(list, update, plan)) && !take_all(list, update, plan))) {
        free(plan->addresses);
        free(plan->hashes);
        *plan = (evener_update_plan){0};
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "no memory for %zu addresses", count);
    }
    if (plan->count < count) {
        evener_log(EVENER_LOG_DEBUG, "resolver", "%zu duplicates among %zu addresses were dropped", count - plan->count,
                   count);
    }
    return EVENER_STATUS_OK;
}

void evener_update_list_commit(evener_update_list *list, evener_update_plan *plan)
{
    for (size_t i = plan->first; i < list->count - plan->last; i++) {
        evener_address_unref(list->addresses[i]);
    }
    free(list->addresses);
    free(list->hashes);
    *list = (evener_update_list){.addresses = plan->addresses,
                                 .hashes = plan->hashes,
                                 .count = plan->count,
                                 .id = list->id + 1,
                                 .previous_id = list->id,
                                 .same_first = plan->first,
                                 .same_last = plan->last};
    *plan = (evener_update_plan){0};
}

void evener_update_plan_discard(evener_update_plan *plan)
{
    for (size_t i = plan->first; i < plan->count - plan->last; i++) {
        evener_address_unref(plan->addresses[i]);
    }
    free(plan->addresses);
    free(plan->hashes);
    *plan = (evener_update_plan){0};
}

void evener_update_list_clear(evener_update_list *list)
{
    evener_update_plan nothing = {0};
    evener_update_list_commit(list, &nothing);
}
