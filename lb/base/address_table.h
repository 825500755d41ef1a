/* Address table: finds the item of an address by the address's identity (text and "authority").
 *
 *     struct peer { struct peer *next; evener_address *address; uint8_t tag; ... };  // `next` and `tag`: the table's
 *     evener_address_table peers = EVENER_ADDRESS_TABLE_INIT(struct peer, next, address, tag);
 *     if (!evener_address_table_reserve(&peers, 1)) ...       // out of memory
 *     evener_address_table_enter(&peers, peer);
 *     struct peer *found = evener_address_table_find(&peers, address);
 *     evener_address_table_leave(&peers, peer);
 *     evener_address_table_clear(&peers);
 *
 * Items are chained through a member of their own, so an entry costs 5 to 10 bytes besides its members. Most lookups
 * of a new list are misses, and with 10,000 items none of them is in a cache. Behind the buckets lie 16 bits per
 * bucket, a filter over the tags (8 bits of the hash) of its items, so that most misses read no item.
 * docs/architecture.md has the measurements of this filter and of the alternatives.
 *
 * The table owns no item. One thread at a time. */
#ifndef EVENER_LB_BASE_ADDRESS_TABLE_H
#define EVENER_LB_BASE_ADDRESS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/address.h>

typedef struct evener_address_table {
    size_t next_offset, address_offset, tag_offset; /* in an item */
    /* Returns the address of an item that has no pointer to it; NULL: address_offset is that of a pointer. */
    const evener_address *(*address_of)(const void *item);
    size_t count;
    size_t bucket_count; /* a power of two; 0: no memory yet */
    void **buckets;      /* first items; the buckets' filters follow */
} evener_address_table;

#define EVENER_ADDRESS_TABLE_INIT(type, next, address, tag)                                                            \
    {                                                                                                                  \
        offsetof(type, next), offsetof(type, address), offsetof(type, tag), NULL, 0, 0, NULL                           \
    }

/* Make room for `count` more items. Return false on out of memory while the table is empty; a table that has buckets
 * keeps them and its chains become longer. */
bool evener_address_table_reserve(evener_address_table *table, size_t count);

/* Enter an item after a reserve. No item of the same backend may be in the table. While the item is in the table, its
 * address may be replaced by another one of the same backend. */
void evener_address_table_enter(evener_address_table *table, void *item);

/* Return the item of the same backend, or NULL. O(1). */
void *evener_address_table_find(const evener_address_table *table, const evener_address *address);

/* Remove an item, which must be in the table. O(1). */
void evener_address_table_leave(evener_address_table *table, const void *item);

/* Return the first item, and the next item after an item; NULL at the end. Enter nothing during an iteration. An item
 * may leave once its next item is known. */
void *evener_address_table_first(const evener_address_table *table);
void *evener_address_table_next(const evener_address_table *table, const void *item);

/* Free the table's memory. The table is empty then and may be used again. */
void evener_address_table_clear(evener_address_table *table);

#endif
