/* Slots: what a pick touches of its backend, packed close.
 *
 * A chunk holds 504 backends as rows: their handles with the connections, their bodies (the control plane's part), and
 * for each lane one row of counters. Each row has a page of 4 KiB, so that all that belongs to one backend lies at fixed
 * distances from its handle, and a pick finds its counter by adding. A thread that goes round 10,000 backends walks
 * through 160 KB.
 *
 * Lanes are a page apart, as processors fetch ahead what follows in a page, and fetch cache lines in pairs. With rows of
 * two lines side by side threads took each other's counters away again and again: two on 10,000 backends did 1.24 times
 * what one did with round_robin, and now do 1.95 times as much. Handles begin a line later in their page than counters: a
 * load waits for a store under way to the same place in another page.
 *
 * Few channels fill a chunk: all channels of a runtime share them. 82 bytes a backend is the whole price.
 *
 * A counter says two things in one word: picks begun on the lane, times EVENER_SLOT_PICK, and picks under way: the pick
 * adds both, done takes one of the latter back, on whatever lane it happens to run. A lane's word by itself means little
 * (what began here may end there), but the sum of all lanes' words is exact: 42 bits of picks, 22 bits under way. */
#ifndef EVENER_LB_BACKEND_SLOTS_H
#define EVENER_LB_BACKEND_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/picker.h>
#include <evener/runtime.h>

#include "lb/runtime/lane.h"

#define EVENER_SLOT_PAGE_BYTES 4096
#define EVENER_SLOT_GAP_BYTES 64
#define EVENER_SLOT_ROW ((EVENER_SLOT_PAGE_BYTES - EVENER_SLOT_GAP_BYTES) / 8)
#define EVENER_SLOT_IN_FLIGHT_BITS 22
#define EVENER_SLOT_PICK (UINT64_C(1) << EVENER_SLOT_IN_FLIGHT_BITS)

typedef struct evener_subchannel_body evener_subchannel_body;

/* The handle that policies hold. */
struct evener_subchannel {
    evener_connection *connection; /* atomic; NULL unless READY */
};

typedef struct evener_slot_lane {
    uint64_t counters[EVENER_SLOT_ROW];
    char gap[EVENER_SLOT_GAP_BYTES];
} evener_slot_lane;

/* Begins at a multiple of a page. */
typedef struct evener_slot_chunk {
    struct evener_slot_chunk *next, *previous; /* among those with room */
    uint64_t free_count;
    char gap[EVENER_SLOT_GAP_BYTES - 2 * sizeof(void *) - sizeof(uint64_t)];
    evener_subchannel handles[EVENER_SLOT_ROW];
    evener_subchannel_body *bodies[EVENER_SLOT_ROW];
    uint64_t free_slots[EVENER_SLOT_GAP_BYTES / 8]; /* bit n % 64 of word n / 64: slot n */
    evener_slot_lane lanes[EVENER_LANES];
} evener_slot_chunk;

/* From a handle to what belongs to it. */
#define EVENER_SLOT_TO_BODY (offsetof(evener_slot_chunk, bodies) - offsetof(evener_slot_chunk, handles))
#define EVENER_SLOT_TO_COUNTERS (offsetof(evener_slot_chunk, lanes) - offsetof(evener_slot_chunk, handles))

_Static_assert(sizeof(evener_subchannel) == sizeof(evener_subchannel_body *), "the strides of all rows agree");
_Static_assert(sizeof(evener_subchannel) == sizeof(uint64_t), "the strides of all rows agree");
_Static_assert(sizeof(evener_slot_lane) == EVENER_SLOT_PAGE_BYTES, "a lane, a page");
_Static_assert(offsetof(evener_slot_chunk, bodies) == EVENER_SLOT_PAGE_BYTES, "handles in the first page");
_Static_assert(offsetof(evener_slot_chunk, lanes) == (size_t)2 * EVENER_SLOT_PAGE_BYTES, "bodies in the second");
_Static_assert(EVENER_SLOT_ROW <= EVENER_SLOT_GAP_BYTES * 8, "a bit for each slot");

/* Of one control thread. */
typedef struct evener_slot_pool {
    evener_slot_chunk *with_room; /* one that is empty is kept */
} evener_slot_pool;

/* The runtime's; NULL without memory. Control thread. */
evener_slot_pool *evener_slots_of(evener_runtime *runtime);

/* All on the control thread. A free slot with its counters at 0, for a body; NULL without memory. */
evener_subchannel *evener_slots_take(evener_slot_pool *pool, evener_subchannel_body *body);
void evener_slots_give_back(evener_slot_pool *pool, evener_subchannel *handle);
/* Frees what is kept; all slots were given back. */
void evener_slots_clear(evener_slot_pool *pool);

static inline evener_subchannel_body *evener_slot_body(const evener_subchannel *handle)
{
    const void *body = (const char *)handle + EVENER_SLOT_TO_BODY;
    return *(evener_subchannel_body *const *)body;
}

static inline uint64_t *evener_slot_counter(evener_subchannel *handle, uint32_t lane)
{
    void *counter = (char *)handle + EVENER_SLOT_TO_COUNTERS + (size_t)lane * EVENER_SLOT_PAGE_BYTES;
    return counter;
}

/* Release, here and below: whoever sees all picks ended may free what they used, and the last word of a lane may be that
 * of a later pick. */
static inline void evener_slot_add_own(evener_subchannel *handle, uint32_t lane, uint64_t n)
{
    uint64_t *counter = evener_slot_counter(handle, lane);
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELEASE);
}

static inline void evener_slot_add(evener_subchannel *handle, uint32_t lane, uint64_t n)
{
    if (__builtin_expect(lane != EVENER_LANE_SHARED, 1)) {
        evener_slot_add_own(handle, lane, n);
    } else {
        (void)__atomic_fetch_add(evener_slot_counter(handle, lane), n, __ATOMIC_RELEASE);
    }
}

static inline void evener_slot_begin(evener_subchannel *handle, uint32_t lane)
{
    evener_slot_add(handle, lane, EVENER_SLOT_PICK + 1);
}

/* On a lane that is the calling thread's alone. */
static inline void evener_slot_begin_own(evener_subchannel *handle, uint32_t lane)
{
    evener_slot_add_own(handle, lane, EVENER_SLOT_PICK + 1);
}

/* The last touch of a pick. */
static inline void evener_slot_end(evener_subchannel *handle, uint32_t lane)
{
    evener_slot_add(handle, lane, UINT64_MAX);
}

static inline uint64_t evener_slot_load(const char *first, uint32_t lane)
{
    const void *counter = first + (size_t)lane * EVENER_SLOT_PAGE_BYTES;
    return __atomic_load_n((const uint64_t *)counter, __ATOMIC_ACQUIRE);
}

/* The sum of all lanes' words. */
static inline uint64_t evener_slot_word(const evener_subchannel *handle)
{
    const char *first = (const char *)handle + EVENER_SLOT_TO_COUNTERS;
    const uint32_t bound = __atomic_load_n(&evener_lane_bound, __ATOMIC_RELAXED);
    uint64_t sum = evener_slot_load(first, 0) + evener_slot_load(first, 1);
    /* Few threads, or as many as there are: no loop of unknown length in a pick. */
    if (bound > 2) {
#pragma GCC unroll 8
        for (uint32_t lane = 2; lane < EVENER_LANES; lane++) {
            sum += evener_slot_load(first, lane);
        }
    }
    return sum;
}

/* What a word says of picks under way. While some begin and end, an end may be seen whose begin is not: a number below
 * 0, which is the upper half of the range, counts as 0. */
static inline uint64_t evener_slot_word_in_flight(uint64_t word)
{
    const uint64_t in_flight = word & (EVENER_SLOT_PICK - 1);
    return in_flight < EVENER_SLOT_PICK / 2 ? in_flight : 0;
}

typedef struct evener_slot_counts {
    uint64_t picks;     /* begun since ever, modulo 2^42 */
    uint64_t in_flight; /* under way */
} evener_slot_counts;

/* Any thread that keeps the slot alive. Exact when nobody picks; while some do, an end may be seen whose begin is not,
 * and then fewer are told, never less than 0. */
evener_slot_counts evener_slot_sum(const evener_subchannel *handle);

/* All picks have ended; for when none can begin any more. */
bool evener_slot_all_ended(const evener_subchannel *handle);

#endif
