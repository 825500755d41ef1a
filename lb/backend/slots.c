#include "lb/backend/slots.h"

#include <stdlib.h>
#include <sys/mman.h>

/* LeakSanitizer looks into the heap only. A released subchannel that a picker still holds is found through its slot: at
 * the end of a process, while a channel is being freed on the control thread, it would be reported. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_register_root_region(begin, size) ((void)(begin), (void)(size))
#define __lsan_unregister_root_region(begin, size) ((void)(begin), (void)(size))
#endif

static void link_chunk(evener_slot_pool *pool, evener_slot_chunk *chunk)
{
    chunk->previous = NULL;
    chunk->next = pool->with_room;
    if (pool->with_room != NULL) {
        pool->with_room->previous = chunk;
    }
    pool->with_room = chunk;
}

static void unlink_chunk(evener_slot_pool *pool, evener_slot_chunk *chunk)
{
    if (chunk->previous != NULL) {
        chunk->previous->next = chunk->next;
    } else {
        pool->with_room = chunk->next;
    }
    if (chunk->next != NULL) {
        chunk->next->previous = chunk->previous;
    }
}

static evener_slot_chunk *create_chunk(void)
{
    /* Zeroed pages that become resident when they are first written. */
    void *memory = mmap(NULL, sizeof(evener_slot_chunk), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return NULL;
    }
    evener_slot_chunk *chunk = memory;
    __lsan_register_root_region(chunk, sizeof *chunk);
    for (uint32_t slot = 0; slot < EVENER_SLOT_ROW; slot++) {
        chunk->free_slots[slot / 64] |= UINT64_C(1) << slot % 64;
    }
    chunk->free_count = EVENER_SLOT_ROW;
    return chunk;
}

static void destroy_chunk(evener_slot_chunk *chunk)
{
    __lsan_unregister_root_region(chunk, sizeof *chunk);
    (void)munmap(chunk, sizeof *chunk);
}

/* Take the free slot with the lowest index: slots taken one after the other are adjacent. */
static uint32_t take_first(evener_slot_chunk *chunk)
{
    size_t word = 0;
    while (chunk->free_slots[word] == 0) {
        word++;
    }
    const uint32_t bit = (uint32_t)__builtin_ctzll(chunk->free_slots[word]);
    chunk->free_slots[word] &= ~(UINT64_C(1) << bit);
    chunk->free_count--;
    return (uint32_t)word * 64 + bit;
}

evener_subchannel *evener_slots_take(evener_slot_pool *pool, evener_subchannel_body *body)
{
    evener_slot_chunk *chunk = pool->with_room;
    if (chunk == NULL) {
        chunk = create_chunk();
        if (chunk == NULL) {
            return NULL;
        }
        link_chunk(pool, chunk);
    }
    const uint32_t slot = take_first(chunk);
    if (chunk->free_count == 0) {
        unlink_chunk(pool, chunk);
    }
    chunk->handles[slot].connection = NULL;
    chunk->bodies[slot] = body;
    /* Lanes that were never taken have never counted: their pages stay untouched. */
    const uint32_t bound = __atomic_load_n(&evener_lane_bound, __ATOMIC_RELAXED);
    for (uint32_t lane = 0; lane < bound; lane++) {
        chunk->lanes[lane].counters[slot] = 0;
    }
    for (uint32_t row = 0; __atomic_load_n(&chunk->has_repeats, __ATOMIC_RELAXED) != 0 && row < EVENER_SLOT_REPEAT_ROWS;
         row++) {
        chunk->repeats[row].counters[slot] = 0;
    }
    return &chunk->handles[slot];
}

void evener_slots_give_back(evener_slot_pool *pool, evener_subchannel *handle)
{
    evener_slot_chunk *chunk = evener_slot_chunk_of(handle);
    const size_t slot = (size_t)(handle - chunk->handles);
    if (chunk->free_count == 0) {
        link_chunk(pool, chunk);
    }
    chunk->free_slots[slot / 64] |= UINT64_C(1) << slot % 64;
    chunk->free_count++;
    /* Keep one empty chunk: otherwise a single backend that comes and goes allocates a chunk each time. */
    if (chunk->free_count == EVENER_SLOT_ROW && (chunk->next != NULL || chunk->previous != NULL)) {
        unlink_chunk(pool, chunk);
        destroy_chunk(chunk);
    }
}

void evener_slots_clear(evener_slot_pool *pool)
{
    if (pool->with_room != NULL) {
        destroy_chunk(pool->with_room);
    }
    pool->with_room = NULL;
}

/* ---- the runtime's pool ---- */

static void *create_shared(evener_runtime *runtime, evener_status *status)
{
    (void)runtime;
    evener_slot_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) {
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory for backends");
    }
    return pool;
}

static void destroy_shared(void *object)
{
    evener_slots_clear(object);
    free(object);
}

evener_slot_pool *evener_slots_of(evener_runtime *runtime)
{
    static const evener_shared_key key = {.name = "slots", .create = create_shared, .destroy = destroy_shared};
    return evener_runtime_shared(runtime, &key, NULL);
}

evener_slot_counts evener_slot_sum(const evener_subchannel *handle)
{
    const uint64_t word = evener_slot_word(handle);
    /* More ends than begins: the in-flight part is below 0 and has borrowed from the picks. Rounding repays that. */
    return (evener_slot_counts){.picks = (word + EVENER_SLOT_PICK / 4) >> EVENER_SLOT_IN_FLIGHT_BITS,
                                .in_flight = evener_slot_word_in_flight(word)};
}

bool evener_slot_all_ended(const evener_subchannel *handle)
{
    return (evener_slot_word(handle) & (EVENER_SLOT_PICK - 1)) == 0;
}
