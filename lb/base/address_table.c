#include "lb/base/address_table.h"

#include <assert.h>
#include <stdlib.h>

#define BUCKETS_MIN 16
#define ITEMS_PER_BUCKET 2 /* more make the table grow */

static void **next_of(const evener_address_table *table, const void *item)
{
    return (void **)(uintptr_t)((const char *)item + table->next_offset);
}

static const evener_address *address_of(const evener_address_table *table, const void *item)
{
    return table->address_of != NULL
               ? table->address_of(item)
               : *(evener_address *const *)(const void *)((const char *)item + table->address_offset);
}

static uint8_t *tag_of(const evener_address_table *table, const void *item)
{
    return (uint8_t *)(uintptr_t)((const char *)item + table->tag_offset);
}

/* Return a tag: bits above those that choose the bucket. */
static uint8_t tag_from(uint64_t hash)
{
    return (uint8_t)(hash >> 24);
}

static uint16_t bit_of(uint8_t tag)
{
    return (uint16_t)(1U << (tag & 15));
}

static size_t bucket_from(const evener_address_table *table, uint64_t hash)
{
    return hash & (table->bucket_count - 1);
}

static uint16_t *tags_at(const evener_address_table *table, size_t bucket)
{
    return (uint16_t *)(void *)(table->buckets + table->bucket_count) + bucket;
}

static void put(evener_address_table *table, void *item)
{
    const size_t bucket = bucket_from(table, evener_address_identity_hash(address_of(table, item)));
    *next_of(table, item) = table->buckets[bucket];
    table->buckets[bucket] = item;
    *tags_at(table, bucket) |= bit_of(*tag_of(table, item));
}

bool evener_address_table_reserve(evener_address_table *table, size_t count)
{
    size_t buckets = table->bucket_count > 0 ? table->bucket_count : BUCKETS_MIN;
    while (buckets * ITEMS_PER_BUCKET < table->count + count) {
        buckets *= 2;
    }
    if (buckets == table->bucket_count) {
        return true;
    }
    void **memory = calloc(buckets, sizeof *memory + sizeof(uint16_t));
    if (memory == NULL) {
        return table->bucket_count > 0;
    }
    const evener_address_table old = *table;
    table->buckets = memory;
    table->bucket_count = buckets;
    for (size_t i = 0; i < old.bucket_count; i++) {
        for (void *item = old.buckets[i], *next; item != NULL; item = next) {
            next = *next_of(table, item);
            put(table, item);
        }
    }
    free(old.buckets);
    return true;
}

void evener_address_table_enter(evener_address_table *table, void *item)
{
    assert(table->bucket_count > 0);
    *tag_of(table, item) = tag_from(evener_address_identity_hash(address_of(table, item)));
    put(table, item);
    table->count++;
}

void *evener_address_table_find(const evener_address_table *table, const evener_address *address)
{
    if (table->count == 0) {
        return NULL;
    }
    const uint64_t hash = evener_address_identity_hash(address);
    const uint8_t tag = tag_from(hash);
    const size_t bucket = bucket_from(table, hash);
    if ((*tags_at(table, bucket) & bit_of(tag)) == 0) {
        return NULL;
    }
    void *item = table->buckets[bucket];
    while (item != NULL &&
           (*tag_of(table, item) != tag || !evener_address_same_backend(address_of(table, item), address))) {
        item = *next_of(table, item);
    }
    return item;
}

void evener_address_table_leave(evener_address_table *table, const void *item)
{
    const size_t bucket = bucket_from(table, evener_address_identity_hash(address_of(table, item)));
    uint16_t tags = 0;
    for (void **link = &table->buckets[bucket]; *link != NULL;) {
        if (*link == item) {
            *link = *next_of(table, item);
        } else {
            tags |= bit_of(*tag_of(table, *link));
            link = next_of(table, *link);
        }
    }
    *tags_at(table, bucket) = tags;
    table->count--;
}

static void *first_from(const evener_address_table *table, size_t bucket)
{
    while (bucket < table->bucket_count && table->buckets[bucket] == NULL) {
        bucket++;
    }
    return bucket < table->bucket_count ? table->buckets[bucket] : NULL;
}

void *evener_address_table_first(const evener_address_table *table)
{
    return first_from(table, 0);
}

void *evener_address_table_next(const evener_address_table *table, const void *item)
{
    void *next = *next_of(table, item);
    return next != NULL
               ? next
               : first_from(table, bucket_from(table, evener_address_identity_hash(address_of(table, item))) + 1);
}

void evener_address_table_clear(evener_address_table *table)
{
    free(table->buckets);
    table->buckets = NULL;
    table->bucket_count = 0;
    table->count = 0;
}
