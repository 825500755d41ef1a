#include "lb/update_list.h"

#include <stdlib.h>

#include <evener/log.h>

static size_t power_of_two_above(size_t count)
{
    size_t power = 16;
    while (power < count) {
        power *= 2;
    }
    return power;
}

/* Whether the address is new to the open-addressed table; enters it. */
static bool enter(evener_address **table, size_t table_size, evener_address *address)
{
    size_t at = evener_address_identity_hash(address) & (table_size - 1);
    while (table[at] != NULL) {
        if (evener_address_same_backend(table[at], address)) {
            return false;
        }
        at = (at + 1) & (table_size - 1);
    }
    table[at] = address;
    return true;
}

evener_status_code evener_update_list_copy(const evener_resolver_update *update, evener_address ***addresses,
                                           size_t *address_count, evener_status *status)
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
    const size_t table_size = power_of_two_above(count * 2);
    evener_address **table = calloc(table_size, sizeof *table);
    evener_address **list = malloc((count > 0 ? count : 1) * sizeof *list);
    if (table == NULL || list == NULL) {
        free(table);
        free(list);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "no memory for %zu addresses", count);
    }
    size_t unique = 0;
    for (size_t i = 0; i < count; i++) {
        if (enter(table, table_size, update->addresses[i])) {
            list[unique++] = evener_address_ref(update->addresses[i]);
        }
    }
    free(table);
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
