#include "lb/slots.h"

#include <stdlib.h>
#include <string.h>

#define ALL_FREE UINT32_C(0xffffffff)

static void link_block(evener_slot_pool *pool, evener_slot_block *block)
{
    block->previous = NULL;
    block->next = pool->with_room;
    if (pool->with_room != NULL) {
        pool->with_room->previous = block;
    }
    pool->with_room = block;
}

static void unlink_block(evener_slot_pool *pool, evener_slot_block *block)
{
    if (block->previous != NULL) {
        block->previous->next = block->next;
    } else {
        pool->with_room = block->next;
    }
    if (block->next != NULL) {
        block->next->previous = block->previous;
    }
}

static evener_slot_block *create_block(void)
{
    void *memory;
    if (posix_memalign(&memory, EVENER_SLOT_ROW_BYTES, sizeof(evener_slot_block)) != 0) {
        return NULL;
    }
    evener_slot_block *block = memset(memory, 0, sizeof *block);
    block->free_columns = ALL_FREE;
    return block;
}

evener_subchannel *evener_slots_take(evener_slot_pool *pool, evener_subchannel_body *body)
{
    evener_slot_block *block = pool->with_room;
    if (block == NULL) {
        block = create_block();
        if (block == NULL) {
            return NULL;
        }
        link_block(pool, block);
    }
    const uint32_t column = (uint32_t)__builtin_ctz(block->free_columns);
    block->free_columns &= ~(UINT32_C(1) << column);
    if (block->free_columns == 0) {
        unlink_block(pool, block);
    }
    block->handles[column].connection = NULL;
    block->bodies[column] = body;
    for (uint32_t lane = 0; lane < EVENER_LANES; lane++) {
        block->counters[lane][column] = 0;
    }
    return &block->handles[column];
}

/* Blocks are aligned to their first row: where a handle lies in that row says which it is. */
static uint32_t column_of(const evener_subchannel *handle)
{
    return (uint32_t)((uintptr_t)handle % EVENER_SLOT_ROW_BYTES / sizeof *handle);
}

void evener_slots_give_back(evener_slot_pool *pool, evener_subchannel *handle)
{
    const uint32_t column = column_of(handle);
    evener_slot_block *block = (evener_slot_block *)(void *)(handle - column);
    if (block->free_columns == 0) {
        link_block(pool, block);
    }
    block->free_columns |= UINT32_C(1) << column;
    if (block->free_columns == ALL_FREE) {
        unlink_block(pool, block);
        free(block);
    }
}

evener_slot_counts evener_slot_sum(const evener_subchannel *handle)
{
    const uint64_t word = evener_slot_word(handle);
    /* With more ends than begins the number below 0 has borrowed one of the picks: rounding gives it back. */
    return (evener_slot_counts){.picks = (word + EVENER_SLOT_PICK / 2) >> EVENER_SLOT_IN_FLIGHT_BITS,
                                .in_flight = evener_slot_word_in_flight(word)};
}

bool evener_slot_all_ended(const evener_subchannel *handle)
{
    return (evener_slot_word(handle) & (EVENER_SLOT_PICK - 1)) == 0;
}
