#include "lb/base/address_table.h"

#include <assert.h>
#include <stdlib.h>

#define SLOTS_MIN 16
/* At most 4 of 5 slots are taken: an unsuccessful search then looks at 13 hashes on average, one cache line. */
#define LOAD_NUMERATOR 4
#define LOAD_DENOMINATOR 5

static const evener_address *address_of(const evener_address_table *table, const void *item)
{
    return *(evener_address *const *)(const void *)((const char *)item + table->address_offset);
}

/* Never 0, which marks an empty slot. */
static uint32_t hash_of(const evener_address *address)
{
    const uint32_t hash = (uint32_t)evener_address_identity_hash(address);
    return hash != 0 ? hash : 1;
}

static size_t next_slot(const evener_address_table *table, size_t slot)
{
    return (slot + 1) & (table->slot_count - 1);
}

static size_t home_of(const evener_address_table *table, uint32_t hash)
{
    return hash & (table->slot_count - 1);
}

static void put(evener_address_table *table, uint32_t hash, void *item)
{
    size_t slot = home_of(table, hash);
    while (table->hashes[slot] != 0) {
        slot = next_slot(table, slot);
    }
    table->hashes[slot] = hash;
    table->items[slot] = item;
}

bool evener_address_table_reserve(evener_address_table *table, size_t count)
{
    const size_t wanted = table->count + count;
    size_t slots = table->slot_count > 0 ? table->slot_count : SLOTS_MIN;
    while (slots * LOAD_NUMERATOR / LOAD_DENOMINATOR < wanted) {
        slots *= 2;
    }
    if (slots == table->slot_count) {
        return true;
    }
    void **items = calloc(slots, sizeof *items + sizeof *table->hashes);
    if (items == NULL) {
        return false;
    }
    const evener_address_table old = *table;
    table->items = items;
    table->hashes = (uint32_t *)(void *)(items + slots);
    table->slot_count = slots;
    for (size_t i = 0; i < old.slot_count; i++) {
        if (old.hashes[i] != 0) {
            put(table, old.hashes[i], old.items[i]);
        }
    }
    free(old.items);
    return true;
}

void evener_address_table_enter(evener_address_table *table, void *item)
{
    assert((table->count + 1) * LOAD_DENOMINATOR <= table->slot_count * LOAD_NUMERATOR);
    put(table, hash_of(address_of(table, item)), item);
    table->count++;
}

void *evener_address_table_find(const evener_address_table *table, const evener_address *address)
{
    if (table->count == 0) {
        return NULL;
    }
    const uint32_t hash = hash_of(address);
    for (size_t slot = home_of(table, hash); table->hashes[slot] != 0; slot = next_slot(table, slot)) {
        if (table->hashes[slot] == hash &&
            evener_address_same_backend(address_of(table, table->items[slot]), address)) {
            return table->items[slot];
        }
    }
    return NULL;
}

void evener_address_table_leave(evener_address_table *table, const void *item)
{
    const size_t mask = table->slot_count - 1;
    size_t hole = home_of(table, hash_of(address_of(table, item)));
    while (table->items[hole] != item) {
        assert(table->hashes[hole] != 0); /* the item is in the table */
        hole = next_slot(table, hole);
    }
    table->count--;
    /* Move back those behind that could not get nearer to their homes. */
    for (size_t slot = next_slot(table, hole); table->hashes[slot] != 0; slot = next_slot(table, slot)) {
        const size_t distance = (slot - home_of(table, table->hashes[slot])) & mask;
        if (distance >= ((slot - hole) & mask)) {
            table->hashes[hole] = table->hashes[slot];
            table->items[hole] = table->items[slot];
            hole = slot;
        }
    }
    table->hashes[hole] = 0;
    table->items[hole] = NULL;
}

void *evener_address_table_at(const evener_address_table *table, size_t *slot)
{
    while (*slot < table->slot_count && table->items[*slot] == NULL) {
        ++*slot;
    }
    return *slot < table->slot_count ? table->items[*slot] : NULL;
}

void evener_address_table_clear(evener_address_table *table)
{
    free(table->items);
    *table = (evener_address_table){.address_offset = table->address_offset};
}
