#include "lb/slots.h"

#include <stdlib.h>
#include <string.h>

/* A page begins at a multiple of its size, so that a handle's address tells its page and its place there. What is left of
 * the size is malloc's own, so that pages lie side by side. */
#define PAGE_BYTES 4096
#define PAGE_BLOCKS 3
#define PAGE_SLOTS (PAGE_BLOCKS * EVENER_SLOT_ROW)
#define ALL_FREE ((UINT64_C(1) << PAGE_SLOTS) - 1)

struct evener_slot_page {
    evener_slot_block blocks[PAGE_BLOCKS];
    uint64_t free_slots;               /* bit n: slot n % EVENER_SLOT_ROW of block n / EVENER_SLOT_ROW */
    evener_slot_page *next, *previous; /* among those with room */
};

_Static_assert(sizeof(evener_slot_page) <= PAGE_BYTES - 16, "malloc needs some bytes, too");

static void link_page(evener_slot_pool *pool, evener_slot_page *page)
{
    page->previous = NULL;
    page->next = pool->with_room;
    if (pool->with_room != NULL) {
        pool->with_room->previous = page;
    }
    pool->with_room = page;
}

static void unlink_page(evener_slot_pool *pool, evener_slot_page *page)
{
    if (page->previous != NULL) {
        page->previous->next = page->next;
    } else {
        pool->with_room = page->next;
    }
    if (page->next != NULL) {
        page->next->previous = page->previous;
    }
}

static evener_slot_page *create_page(void)
{
    void *memory;
    if (posix_memalign(&memory, PAGE_BYTES, PAGE_BYTES - 16) != 0) {
        return NULL;
    }
    evener_slot_page *page = memset(memory, 0, sizeof *page);
    page->free_slots = ALL_FREE;
    return page;
}

evener_subchannel *evener_slots_take(evener_slot_pool *pool, evener_subchannel_body *body)
{
    evener_slot_page *page = pool->with_room;
    if (page == NULL) {
        page = create_page();
        if (page == NULL) {
            return NULL;
        }
        link_page(pool, page);
    }
    const uint32_t slot = (uint32_t)__builtin_ctzll(page->free_slots);
    page->free_slots &= ~(UINT64_C(1) << slot);
    if (page->free_slots == 0) {
        unlink_page(pool, page);
    }
    evener_slot_block *block = &page->blocks[slot / EVENER_SLOT_ROW];
    const uint32_t column = slot % EVENER_SLOT_ROW;
    block->handles[column].connection = NULL;
    block->bodies[column] = body;
    for (uint32_t lane = 0; lane < EVENER_LANES; lane++) {
        block->counters[lane][column] = 0;
    }
    return &block->handles[column];
}

void evener_slots_give_back(evener_slot_pool *pool, evener_subchannel *handle)
{
    const size_t place = (uintptr_t)handle % PAGE_BYTES;
    evener_slot_page *page = (evener_slot_page *)(void *)((char *)handle - place);
    const size_t slot = place / sizeof(evener_slot_block) * EVENER_SLOT_ROW +
                        place % sizeof(evener_slot_block) / sizeof(evener_subchannel);
    if (page->free_slots == 0) {
        link_page(pool, page);
    }
    page->free_slots |= UINT64_C(1) << slot;
    if (page->free_slots == ALL_FREE) {
        unlink_page(pool, page);
        free(page);
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
