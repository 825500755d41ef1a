/* Address table: finds what belongs to an address by the address's identity (text and "authority").
 *
 *     struct peer { struct peer *next; evener_address *address; uint8_t tag; ... };      // `next` and `tag`: the table's
 *     evener_address_table peers = EVENER_ADDRESS_TABLE_INIT(struct peer, next, address, tag);
 *     if (!evener_address_table_reserve(&peers, 1)) ...       // out of memory
 *     evener_address_table_enter(&peers, peer);
 *     struct peer *found = evener_address_table_find(&peers, address);
 *     evener_address_table_leave(&peers, peer);
 *     evener_address_table_clear(&peers);
 *
 * Chains through the items, so an entry costs 5 to 10 bytes besides its members. Most lookups of a new list are misses,
 * and of 10,000 items none is in a cache: behind the buckets lie 16 bits per bucket that say which tags (8 bits of the
 * hash) its items have, so that a miss mostly looks at no item. Without them a list of 10,000 other backends takes 20 to
 * 30 % longer; linear probing over hashes takes 12 % longer and 38 bytes more per backend.
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
    size_t count;
    size_t bucket_count; /* a power of two; 0: no memory yet */
    void **buckets;      /* first items; behind them the buckets' tags */
} evener_address_table;

#define EVENER_ADDRESS_TABLE_INIT(type, next, address, tag)                                                            \
    {                                                                                                                  \
        offsetof(type, next), offsetof(type, address), offsetof(type, tag), 0, 0, NULL                                 \
    }

/* Make room for `count` more items. False: out of memory for the first ones; later ones then make longer chains. */
bool evener_address_table_reserve(evener_address_table *table, size_t count);

/* Enter an item after a reserve; no item of the same backend may be in the table. Its address may be replaced by one of
 * the same backend while it is. */
void evener_address_table_enter(evener_address_table *table, void *item);

/* Return the item of the same backend, or NULL. O(1). */
void *evener_address_table_find(const evener_address_table *table, const evener_address *address);

/* Take an item out, which must be in the table. O(1). */
void evener_address_table_leave(evener_address_table *table, const void *item);

/* Return the first item, and the one behind an item; NULL at the end. Nothing may be entered during an iteration; an item
 * may leave once the one behind it is known. */
void *evener_address_table_first(const evener_address_table *table);
void *evener_address_table_next(const evener_address_table *table, const void *item);

/* Free the table's memory; it is empty then and may be used again. */
void evener_address_table_clear(evener_address_table *table);

#endif
