/* Slots: the data of a backend that a pick touches, packed densely.
 *
 * A chunk holds 504 backends as rows: their handles with the connections, their bodies (the control plane's part),
 * and one row of counters per lane. Each row has a page of 4 KiB, so all data of one backend lies at fixed distances
 * from its handle, and a pick finds its counter by an addition. A thread that picks from 10,000 backends in turn
 * touches 160 KB.
 *
 * Each lane has its own page: hardware prefetchers (adjacent line, streams within a page) otherwise cause false
 * sharing. With counters of different lanes on adjacent lines, two threads on 10,000 backends picked 1.24 times as
 * often as one with round_robin; with a page per lane it is 1.95 times. Handles are offset by one line from counters
 * to avoid 4K aliasing (a load stalls behind a store whose low 12 address bits match).
 *
 * A chunk is mapped memory, and a lane's page becomes resident with the lane's first pick: a backend costs 16 bytes and
 * 8 per lane in use. Few channels fill a chunk, so all channels of a runtime share them.
 *
 * Two further pages count the attempts that calls make again. They become resident with the first one of the chunk, so
 * that backends without any cost nothing for it.
 *
 * A connection that picks keep valid has a slot too. A pick on it counts in both words, so no two threads write to the
 * same memory for it, and the connection's memory is given back when the sum of its word shows no pick in flight.
 *
 * A counter combines two numbers in one word: picks begun on the lane, times EVENER_SLOT_PICK, and picks in flight. A
 * pick adds both; done subtracts one from the latter, on whatever lane it runs. So the word of a single lane means
 * little (a pick that began on it may end on another), but the sum over all lanes is exact: 40 bits of picks, 24 bits
 * in flight: up to EVENER_SLOT_IN_FLIGHT_MAX calls in flight to one backend are counted. */
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
#define EVENER_SLOT_FEW_LANES 8
#define EVENER_SLOT_IN_FLIGHT_BITS 24
#define EVENER_SLOT_PICK (UINT64_C(1) << EVENER_SLOT_IN_FLIGHT_BITS)
/* A quarter of the range stands for numbers below 0: ends that a reader sees without their begins. */
#define EVENER_SLOT_IN_FLIGHT_MAX (EVENER_SLOT_PICK / 4 * 3 - 1)

typedef struct evener_subchannel_body evener_subchannel_body;

/* A policy's handle on a backend; or, over a transport that keeps connections valid for their picks
 * (connection_ref), the slot of a connection, which counts the picks on it. */
struct evener_subchannel {
    union {
        evener_connection *connection; /* atomic; NULL unless READY. Of a connection's slot: that connection */
        evener_subchannel *users;      /* the same, where connections have slots: the connection's */
    };
};

/* Attempts of calls after the first one, by kind. */
typedef enum evener_slot_repeat {
    EVENER_SLOT_RETRIES_AND_HEDGES, /* retries, and hedges times 2^32 */
    EVENER_SLOT_TRANSPARENT_RETRIES /* attempts that the backend did not process and that were made again */
} evener_slot_repeat;
#define EVENER_SLOT_REPEAT_ROWS 2

typedef struct evener_slot_lane {
    uint64_t counters[EVENER_SLOT_ROW];
    char gap[EVENER_SLOT_GAP_BYTES];
} evener_slot_lane;

/* Aligned to a page. */
typedef struct evener_slot_chunk {
    struct evener_slot_chunk *next, *previous; /* in the list of chunks with room */
    uint64_t free_count;
    uint64_t has_repeats; /* atomic; not 0: rows of `repeats` may hold counts */
    char gap[EVENER_SLOT_GAP_BYTES - 2 * sizeof(void *) - 2 * sizeof(uint64_t)];
    evener_subchannel handles[EVENER_SLOT_ROW];
    evener_subchannel_body *bodies[EVENER_SLOT_ROW];
    uint64_t free_slots[EVENER_SLOT_GAP_BYTES / 8]; /* bit n % 64 of word n / 64: slot n is free */
    evener_slot_lane lanes[EVENER_LANES];
    evener_slot_lane repeats[EVENER_SLOT_REPEAT_ROWS]; /* per evener_slot_repeat */
} evener_slot_chunk;

/* Distances from a handle to the other data of its slot. */
#define EVENER_SLOT_TO_BODY (offsetof(evener_slot_chunk, bodies) - offsetof(evener_slot_chunk, handles))
#define EVENER_SLOT_TO_COUNTERS (offsetof(evener_slot_chunk, lanes) - offsetof(evener_slot_chunk, handles))
#define EVENER_SLOT_TO_REPEATS (offsetof(evener_slot_chunk, repeats) - offsetof(evener_slot_chunk, handles))

_Static_assert(sizeof(evener_subchannel) == sizeof(evener_subchannel_body *), "the strides of all rows agree");
_Static_assert(sizeof(evener_subchannel) == sizeof(uint64_t), "the strides of all rows agree");
_Static_assert(sizeof(evener_slot_lane) == EVENER_SLOT_PAGE_BYTES, "a lane, a page");
_Static_assert(offsetof(evener_slot_chunk, bodies) == EVENER_SLOT_PAGE_BYTES, "handles in the first page");
_Static_assert(offsetof(evener_slot_chunk, lanes) == (size_t)2 * EVENER_SLOT_PAGE_BYTES, "bodies in the second");
_Static_assert(EVENER_SLOT_ROW <= EVENER_SLOT_GAP_BYTES * 8, "a bit for each slot");

/* Belongs to one control thread. */
typedef struct evener_slot_pool {
    evener_slot_chunk *with_room; /* chunks with room; one empty chunk is kept */
} evener_slot_pool;

/* Return the runtime's pool; NULL on out of memory. Control thread. */
evener_slot_pool *evener_slots_of(evener_runtime *runtime);

/* Take a free slot for a body, with its counters at 0. NULL on out of memory. Control thread, as the next two. */
evener_subchannel *evener_slots_take(evener_slot_pool *pool, evener_subchannel_body *body);
void evener_slots_give_back(evener_slot_pool *pool, evener_subchannel *handle);
/* Free the kept chunk. All slots were given back. */
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

/* Return the chunk of a slot: its handle lies in the first page. */
static inline evener_slot_chunk *evener_slot_chunk_of(const evener_subchannel *handle)
{
    const char *page = (const char *)handle - (uintptr_t)handle % EVENER_SLOT_PAGE_BYTES;
    return (evener_slot_chunk *)(uintptr_t)page;
}

static inline uint64_t *evener_slot_repeats_counter(const evener_subchannel *handle, evener_slot_repeat kind)
{
    const char *counter = (const char *)handle + EVENER_SLOT_TO_REPEATS + (size_t)kind * EVENER_SLOT_PAGE_BYTES;
    return (uint64_t *)(uintptr_t)counter;
}

/* Count `n` attempts more. Any thread that keeps the slot alive, as the next one. */
static inline void evener_slot_count_repeat(evener_subchannel *handle, evener_slot_repeat kind, uint64_t n)
{
    uint64_t *has_repeats = &evener_slot_chunk_of(handle)->has_repeats;
    if (__atomic_load_n(has_repeats, __ATOMIC_RELAXED) == 0) { /* 504 backends share it: do not write each time */
        __atomic_store_n(has_repeats, 1, __ATOMIC_RELAXED);
    }
    (void)__atomic_fetch_add(evener_slot_repeats_counter(handle, kind), n, __ATOMIC_RELAXED);
}

/* Return the attempts that were counted. */
static inline uint64_t evener_slot_repeats(const evener_subchannel *handle, evener_slot_repeat kind)
{
    return __atomic_load_n(&evener_slot_chunk_of(handle)->has_repeats, __ATOMIC_RELAXED) != 0
               ? __atomic_load_n(evener_slot_repeats_counter(handle, kind), __ATOMIC_RELAXED)
               : 0;
}

/* Release, here and below: a thread that sees all picks ended may free what they used. The last word of a lane may be
 * that of a later pick. */
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

/* Begin a pick on a lane that the calling thread owns. */
static inline void evener_slot_begin_own(evener_subchannel *handle, uint32_t lane)
{
    evener_slot_add_own(handle, lane, EVENER_SLOT_PICK + 1);
}

/* End a pick: its last access to the slot. */
static inline void evener_slot_end(evener_subchannel *handle, uint32_t lane)
{
    evener_slot_add(handle, lane, UINT64_MAX);
}

static inline uint64_t evener_slot_load(const char *first, uint32_t lane)
{
    const void *counter = first + (size_t)lane * EVENER_SLOT_PAGE_BYTES;
    return __atomic_load_n((const uint64_t *)counter, __ATOMIC_ACQUIRE);
}

/* Return the sum of the words of all lanes. */
static inline uint64_t evener_slot_word(const evener_subchannel *handle)
{
    const char *first = (const char *)handle + EVENER_SLOT_TO_COUNTERS;
    const uint32_t bound = __atomic_load_n(&evener_lane_bound, __ATOMIC_RELAXED);
    uint64_t sum = evener_slot_load(first, 0) + evener_slot_load(first, 1);
    /* Two lanes, eight, or as many as were ever taken: no loop of variable length for few threads. */
    if (bound > 2) {
#pragma GCC unroll 8
        for (uint32_t lane = 2; lane < EVENER_SLOT_FEW_LANES; lane++) {
            sum += evener_slot_load(first, lane);
        }
        for (uint32_t lane = EVENER_SLOT_FEW_LANES; __builtin_expect(lane < bound, 0); lane++) {
            sum += evener_slot_load(first, lane);
        }
    }
    return sum;
}

/* Return the picks in flight of a word. While picks begin and end, a reader may see an end without its begin. The
 * number is then below 0, which is the upper quarter of its range, and counts as 0. */
static inline uint64_t evener_slot_word_in_flight(uint64_t word)
{
    const uint64_t in_flight = word & (EVENER_SLOT_PICK - 1);
    return in_flight <= EVENER_SLOT_IN_FLIGHT_MAX ? in_flight : 0;
}

typedef struct evener_slot_counts {
    uint64_t picks;     /* begun in total, modulo 2^40 */
    uint64_t in_flight; /* begun and not ended */
} evener_slot_counts;

/* Return the sums over all lanes. Exact while no pick runs. While picks begin and end, `in_flight` may be too small,
 * but is never below 0. Any thread that keeps the slot alive. */
evener_slot_counts evener_slot_sum(const evener_subchannel *handle);

/* Return whether all picks have ended, when no new pick can begin. */
bool evener_slot_all_ended(const evener_subchannel *handle);

#endif
