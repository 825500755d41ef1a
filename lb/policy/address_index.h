/* Address index: where in a list an address is, by its identity. For policies that match a new list with the old
 * one. */
#ifndef EVENER_LB_POLICY_ADDRESS_INDEX_H
#define EVENER_LB_POLICY_ADDRESS_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/address.h>

#include "lb/base/address_table.h"

#define EVENER_NO_INDEX SIZE_MAX

typedef struct evener_address_place {
    struct evener_address_place *table_next;
    evener_address *address; /* a reference */
    size_t position;
    uint8_t table_tag;
} evener_address_place;

typedef struct evener_address_index {
    evener_address_place *places;
    size_t count;
    evener_address_table table; /* of places */
} evener_address_index;

/* Make room for `capacity` addresses. Return false on out of memory. */
bool evener_address_index_init(evener_address_index *index, size_t capacity);

/* End what init has made; also after an init that failed. */
void evener_address_index_clear(evener_address_index *index);

/* Add the address that is at `position` of the list; of two for the same backend the first one added counts. */
void evener_address_index_add(evener_address_index *index, const evener_address *address, size_t position);

/* Return the position of the same backend, or EVENER_NO_INDEX. O(1). */
size_t evener_address_index_find(const evener_address_index *index, const evener_address *address);

#endif
