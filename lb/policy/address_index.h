/* Address index: where in a list an address is, by its identity. For policies that match a new list with the old one. */
#ifndef EVENER_LB_POLICY_ADDRESS_INDEX_H
#define EVENER_LB_POLICY_ADDRESS_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/address.h>

#define EVENER_NO_INDEX SIZE_MAX

typedef struct evener_address_slot {
    uint64_t hash;
    evener_address *address; /* a reference */
    size_t index;
} evener_address_slot;

typedef struct evener_address_index {
    evener_address_slot *slots;
    size_t count;
} evener_address_index;

/* Room for `capacity` addresses. False without memory. */
bool evener_address_index_init(evener_address_index *index, size_t capacity);

/* Ends what init has made; also after an init that failed. */
void evener_address_index_clear(evener_address_index *index);

/* Adds the address that is at `position` of the list; after the last one, sort. */
void evener_address_index_add(evener_address_index *index, const evener_address *address, size_t position);
void evener_address_index_sort(evener_address_index *index);

/* The lowest position of the same backend, or EVENER_NO_INDEX. O(log n). */
size_t evener_address_index_find(const evener_address_index *index, const evener_address *address);

#endif
