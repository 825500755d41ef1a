/* Address table: finds what belongs to an address by the address's identity (text and "authority").
 *
 *     struct peer { evener_address *address; ... };
 *     evener_address_table peers = {.address_offset = offsetof(struct peer, address)};
 *     if (!evener_address_table_reserve(&peers, 1)) ...       // out of memory
 *     evener_address_table_enter(&peers, peer);
 *     struct peer *found = evener_address_table_find(&peers, address);
 *     evener_address_table_leave(&peers, peer);
 *     evener_address_table_clear(&peers);
 *
 * Open addressing with linear probing over 32-bit hashes, which lie apart from the items: a miss, a removal and growth
 * touch no item. That matters, as of 10,000 items none is in a cache: a table that looks at items takes 30 % longer for
 * a list of 10,000 new backends. An entry costs 12 bytes per slot, 15 to 24 bytes on average.
 *
 * The table owns no item. One thread at a time. */
#ifndef EVENER_LB_BASE_ADDRESS_TABLE_H
#define EVENER_LB_BASE_ADDRESS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/address.h>

typedef struct evener_address_table {
    size_t address_offset; /* of the `evener_address *` in an item */
    size_t count;
    size_t slot_count; /* a power of two; 0: no memory yet */
    void **items;      /* NULL: an empty slot */
    uint32_t *hashes;  /* of the items; 0: an empty slot; in the same block */
} evener_address_table;

/* Make room for `count` more items. False: out of memory; the table is unchanged. O(1) amortised. */
bool evener_address_table_reserve(evener_address_table *table, size_t count);

/* Enter an item after a reserve; no item of the same backend may be in the table. Its address must stay while it is. */
void evener_address_table_enter(evener_address_table *table, void *item);

/* Return the item of the same backend, or NULL. O(1). */
void *evener_address_table_find(const evener_address_table *table, const evener_address *address);

/* Take an item out, which must be in the table. O(1). */
void evener_address_table_leave(evener_address_table *table, const void *item);

/* Return the first item at or behind slot `*slot`, and store its slot there; NULL at the end. Add 1 to `*slot` for the next
 * one; do not if the item has left the table meanwhile, as another one may then have moved there. Nothing may be entered
 * during an iteration. */
void *evener_address_table_at(const evener_address_table *table, size_t *slot);

/* Free the table's memory; it is empty then and may be used again. */
void evener_address_table_clear(evener_address_table *table);

#endif
