/* Slots: what a pick touches of its backend, packed close.
 *
 * A block holds 16 backends as rows: their connections, their bodies (the control plane's part), and for each lane one
 * row of counters. All that belongs to one backend lies at fixed distances from its handle, so that a pick finds its
 * counter by adding; rows are two cache lines, so that two lanes never share one, nor a pair that is fetched together.
 * A thread that goes round 10,000 backends walks through 160 KB. Three blocks fill a page, and malloc is asked for pages:
 * 85 bytes a backend is the whole price.
 *
 * A counter says two things in one word: picks begun on the lane, times EVENER_SLOT_PICK, and picks under way: the pick
 * adds both, done takes one of the latter back, on whatever lane it happens to run. A lane's word by itself means little
 * (what began here may end there), but the sum of all lanes' words is exact: 42 bits of picks, 22 bits under way. */
#ifndef EVENER_LB_SLOTS_H
#define EVENER_LB_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/picker.h>

#include "lb/runtime/lane.h"

#define EVENER_SLOT_ROW 16
#define EVENER_SLOT_ROW_BYTES 128
#define EVENER_SLOT_IN_FLIGHT_BITS 22
#define EVENER_SLOT_PICK (UINT64_C(1) << EVENER_SLOT_IN_FLIGHT_BITS)

typedef struct evener_subchannel_body evener_subchannel_body;

/* The handle that policies hold. */
struct evener_subchannel {
    evener_connection *connection; /* atomic; NULL unless READY */
};

typedef struct evener_slot_block {
    evener_subchannel handles[EVENER_SLOT_ROW];
    evener_subchannel_body *bodies[EVENER_SLOT_ROW];
    uint64_t counters[EVENER_LANES][EVENER_SLOT_ROW];
} evener_slot_block;

_Static_assert(sizeof(((evener_slot_block *)NULL)->handles) == EVENER_SLOT_ROW_BYTES, "the strides of all rows agree");
_Static_assert(sizeof(((evener_slot_block *)NULL)->bodies) == EVENER_SLOT_ROW_BYTES, "the strides of all rows agree");

typedef struct evener_slot_page evener_slot_page;

typedef struct evener_slot_pool {
    evener_slot_page *with_room;
} evener_slot_pool;

/* A free slot with its counters at 0, for a body; NULL without memory. Control thread. */
evener_subchannel *evener_slots_take(evener_slot_pool *pool, evener_subchannel_body *body);
void evener_slots_give_back(evener_slot_pool *pool, evener_subchannel *handle);

static inline evener_subchannel_body *evener_slot_body(const evener_subchannel *handle)
{
    const void *body = (const char *)handle + offsetof(evener_slot_block, bodies);
    return *(evener_subchannel_body *const *)body;
}

static inline uint64_t *evener_slot_counter(evener_subchannel *handle, uint32_t lane)
{
    void *counter =
        (char *)handle + offsetof(evener_slot_block, counters) + (size_t)lane * EVENER_SLOT_ROW * sizeof(uint64_t);
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

/* The sum of all lanes' words. */
static inline uint64_t evener_slot_word(const evener_subchannel *handle)
{
    const void *first = (const char *)handle + offsetof(evener_slot_block, counters);
    const uint64_t *counter = first;
    const uint32_t bound = __atomic_load_n(&evener_lane_bound, __ATOMIC_RELAXED);
    uint64_t sum = __atomic_load_n(counter, __ATOMIC_ACQUIRE);
    /* Few threads, or as many as there are: no loop of unknown length in a pick. */
    sum += __atomic_load_n(counter + EVENER_SLOT_ROW, __ATOMIC_ACQUIRE);
    if (bound > 2) {
#pragma GCC unroll 8
        for (uint32_t lane = 2; lane < EVENER_LANES; lane++) {
            sum += __atomic_load_n(counter + (size_t)lane * EVENER_SLOT_ROW, __ATOMIC_ACQUIRE);
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
