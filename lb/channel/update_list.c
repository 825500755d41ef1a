#include "lb/channel/update_list.h"

#include <stdlib.h>

#include <evener/log.h>

#include "lb/base/address_table.h"

#define FEW 8

/* One address of an update, during the search for duplicates. */
struct member {
    struct member *next;
    evener_address *address;
    uint8_t tag;
};

/* Find the addresses that moved. Most updates change a few addresses of many and keep the positions of the others.
 * Addresses at their position in the known list, which has no duplicates, cannot be duplicates of each other, so only
 * the moved ones are compared. Return false if more than FEW moved. */
static bool few_have_moved(const evener_resolver_update *update, evener_address *const *known, size_t known_count,
                           size_t *moved, size_t *moved_count)
{
    *moved_count = 0;
    for (size_t i = 0; i < update->address_count; i++) {
        const evener_address *address = update->addresses[i];
        if (i < known_count && (known[i] == address || evener_address_same_backend(known[i], address))) {
            continue;
        }
        if (*moved_count == FEW) {
            return false;
        }
        moved[(*moved_count)++] = i;
    }
    return true;
}

static bool has_twin(const evener_resolver_update *update, size_t index)
{
    for (size_t i = 0; i < update->address_count; i++) {
        if (i != index && evener_address_same_backend(update->addresses[i], update->addresses[index])) {
            return true;
        }
    }
    return false;
}

/* Fill `list`, which has room for all. Return false on out of memory. */
static bool take_unique(const evener_resolver_update *update, evener_address *const *known, size_t known_count,
                        evener_address **list, size_t *unique)
{
    const size_t count = update->address_count;
    size_t moved[FEW];
    size_t moved_count;
    bool twins = !few_have_moved(update, known, known_count, moved, &moved_count);
    for (size_t i = 0; !twins && i < moved_count; i++) {
        twins = has_twin(update, moved[i]);
    }
    *unique = 0;
    if (!twins) {
        for (size_t i = 0; i < count; i++) {
            list[(*unique)++] = evener_address_ref(update->addresses[i]);
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
            list[(*unique)++] = evener_address_ref(update->addresses[i]);
        }
    }
    evener_address_table_clear(&table);
    free(members);
    return true;
}

evener_status_code evener_update_list_copy(const evener_resolver_update *update, evener_address *const *known,
                                           size_t known_count, evener_address ***addresses, size_t *address_count,
                                           evener_status *status)
{
    const size_t count = update->address_count;
    if (count > EVENER_RESOLVER_ADDRESSES_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "the resolver pushed %zu addresses; at most %d are taken", count,
                                 EVENER_RESOLVER_ADDRESSES_MAX);
    }
    if (count > 0 && update->addresses == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "the resolver pushed %zu addresses, but no list of them", count);
    }
    for (size_t i = 0; i < count; i++) {
        if (update->addresses[i] == NULL) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "the resolver pushed a list whose entry %zu of %zu is NULL", i, count);
        }
    }
    evener_address **list = malloc((count > 0 ? count : 1) * sizeof *list);
    size_t unique = 0;
    if (list == NULL || !take_unique(update, known, known_count, list, &unique)) {
        free(list);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "no memory for %zu addresses", count);
    }
    if (unique < count) {
        evener_log(EVENER_LOG_DEBUG, "resolver", "%zu duplicates among %zu addresses were dropped", count - unique,
                   count);
    }
    *addresses = list;
    *address_count = unique;
    return EVENER_STATUS_OK;
}

void evener_update_list_free(evener_address **addresses, size_t address_count)
{
    for (size_t i = 0; i < address_count; i++) {
        evener_address_unref(addresses[i]);
    }
    free(addresses);
}
