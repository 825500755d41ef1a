/* Lane: counters and random numbers of pickers per thread, without contention.
 *
 * Every thread has a lane, a number below EVENER_LANES. A lane below EVENER_LANE_SHARED belongs to one thread at a
 * time, which changes the lane's data with plain (relaxed) loads and stores. EVENER_LANE_SHARED is for all further
 * threads and needs atomic read-modify-write. A pick has its lane in evener_pick_context.lane. A `done` gets the lane
 * of the thread that ends the call. A lane is valid during the pick or the `done` only: a thread that has not picked
 * for a second may lose its lane to another thread, and gets another one with its next pick. Lanes in use have low
 * numbers.
 *
 *     typedef struct mine {
 *         evener_picker base;
 *         evener_lane_random random;
 *         struct {
 *             EVENER_LANE_ALIGNED uint64_t picks;
 *         } lanes[EVENER_LANES];
 *     } mine;
 *
 *     mine *picker = evener_picker_alloc(sizeof *picker);
 *     evener_lane_random_init(&picker->random, helper->loop);
 *     ...
 *     evener_lane_add(&picker->lanes[lane].picks, 1, lane);
 *     const uint32_t index = evener_random_scale((uint32_t)evener_lane_random_next(&picker->random, lane), count);
 *
 * The functions here neither lock, nor allocate, nor make a system call. */
#ifndef EVENER_LANE_H
#define EVENER_LANE_H

#include <stdint.h>

#include <evener/export.h>
#include <evener/loop.h>

EVENER_BEGIN_DECLS

#define EVENER_LANES 65
#define EVENER_LANE_SHARED 64
/* Align the data of each lane to this many bytes. Processors fetch cache lines in pairs (adjacent-line prefetch), which
 * would cause false sharing of two lanes in one pair. */
#define EVENER_LANE_BYTES 128

/* Write this before the first member of a lane's data. Memory with such members comes from evener_picker_alloc() or
 * another allocator that aligns to EVENER_LANE_BYTES. */
#ifdef __cplusplus
#define EVENER_LANE_ALIGNED alignas(EVENER_LANE_BYTES)
#else
#define EVENER_LANE_ALIGNED _Alignas(EVENER_LANE_BYTES)
#endif

/* Add `amount` to a counter of the lane. The sum over all lanes is exact. A reader of another thread uses a relaxed
 * atomic load. The lane's own thread. */
static inline void evener_lane_add(uint64_t *counter, uint64_t amount, uint32_t lane)
{
    if (__builtin_expect(lane != EVENER_LANE_SHARED, 1)) {
        __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + amount, __ATOMIC_RELAXED);
    } else {
        (void)__atomic_fetch_add(counter, amount, __ATOMIC_RELAXED);
    }
}

/* Return where the lane starts among `count` places in turn, so that lanes in use start far apart: lane 0 at 0, then
 * at 1/2, 1/4, 3/4, 1/8 and so on. Any thread. */
static inline uint64_t evener_lane_start(uint32_t lane, uint64_t count)
{
    uint32_t reversed = 0;
    for (uint32_t bit = 1; bit < EVENER_LANE_SHARED; bit <<= 1) {
        reversed = reversed << 1 | ((lane & bit) != 0);
    }
    return reversed * count / EVENER_LANE_SHARED;
}

/* ---- random numbers ---- */

/* The generator of one lane: splitmix64 (Steele, Lea, Flood 2014). Its state only counts up by a constant, which the
 * shared lane does with one atomic add. Not for secrets. */
typedef struct evener_lane_generator {
    uint64_t state;
    uint64_t ahead; /* the next number, for evener_lane_generator_ahead() */
} evener_lane_generator;

/* Draw a number, uniform over 64 bits, from the generator of `lane`. The lane's own thread. */
static inline uint64_t evener_lane_generator_next(evener_lane_generator *random, uint32_t lane)
{
    const uint64_t step = UINT64_C(0x9E3779B97F4A7C15);
    uint64_t *state = &random->state;
    uint64_t z;
    if (__builtin_expect(lane != EVENER_LANE_SHARED, 1)) {
        z = __atomic_load_n(state, __ATOMIC_RELAXED) + step;
        __atomic_store_n(state, z, __ATOMIC_RELAXED);
    } else {
        z = __atomic_add_fetch(state, step, __ATOMIC_RELAXED);
    }
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* Draw a number that the last call computed, so that the pick does not wait for the arithmetic. Store the next one in
 * *to_come, for prefetching what it will choose. On the shared lane the number is computed now and *to_come is 0 (not
 * known, as other threads draw too). The lane's own thread. */
static inline uint64_t evener_lane_generator_ahead(evener_lane_generator *random, uint32_t lane, uint64_t *to_come)
{
    if (__builtin_expect(lane == EVENER_LANE_SHARED, 0)) {
        *to_come = 0;
        return evener_lane_generator_next(random, lane);
    }
    const uint64_t number = __atomic_load_n(&random->ahead, __ATOMIC_RELAXED);
    *to_come = evener_lane_generator_next(random, lane);
    __atomic_store_n(&random->ahead, *to_come, __ATOMIC_RELAXED);
    return number;
}

/* Seed the generator. Before any draw. Control thread. */
static inline void evener_lane_generator_init(evener_lane_generator *random, evener_loop *loop)
{
    random->state = evener_loop_random(loop);
    random->ahead = evener_loop_random(loop);
}

/* One generator per lane, for pickers that keep nothing else per lane. */
typedef struct evener_lane_random {
    struct {
        EVENER_LANE_ALIGNED evener_lane_generator random;
    } lanes[EVENER_LANES];
} evener_lane_random;

/* Seed the generators of all lanes. Control thread. */
static inline void evener_lane_random_init(evener_lane_random *random, evener_loop *loop)
{
    for (uint32_t lane = 0; lane < EVENER_LANES; lane++) {
        evener_lane_generator_init(&random->lanes[lane].random, loop);
    }
}
/* Return the next number of the generator of `lane`: see evener_lane_generator_next(). */
static inline uint64_t evener_lane_random_next(evener_lane_random *random, uint32_t lane)
{
    return evener_lane_generator_next(&random->lanes[lane].random, lane);
}
/* Return the next number of the generator of `lane`, and the one to come: see evener_lane_generator_ahead(). */
static inline uint64_t evener_lane_random_ahead(evener_lane_random *random, uint32_t lane, uint64_t *to_come)
{
    return evener_lane_generator_ahead(&random->lanes[lane].random, lane, to_come);
}

/* Scale 32 random bits to a number below `bound`, without a division. The bias is below bound / 2^32. Any thread. */
static inline uint32_t evener_random_scale(uint32_t random, uint32_t bound)
{
    return (uint32_t)(((uint64_t)random * bound) >> 32);
}

EVENER_END_DECLS

#endif
