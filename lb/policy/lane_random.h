/* Random numbers for pickers: a state a lane, so that threads do not meet. splitmix64 (Steele, Lea, Flood 2014): its
 * state only counts up by a constant, which the shared lane can do with one atomic add. */
#ifndef EVENER_LB_POLICY_LANE_RANDOM_H
#define EVENER_LB_POLICY_LANE_RANDOM_H

#include <stdint.h>

#include <evener/picker.h>

typedef struct evener_lane_random {
    struct {
        _Alignas(EVENER_LANE_BYTES) uint64_t state;
        uint64_t ahead; /* the number to come, for evener_lane_random_ahead() */
    } lanes[EVENER_LANES];
} evener_lane_random;

static inline void evener_lane_random_init(evener_lane_random *random, evener_loop *loop)
{
    for (uint32_t lane = 0; lane < EVENER_LANES; lane++) {
        random->lanes[lane].state = evener_loop_random(loop);
        random->lanes[lane].ahead = evener_loop_random(loop);
    }
}

/* Uniform over 64 bits; not for secrets. */
static inline uint64_t evener_lane_random_next(evener_lane_random *random, uint32_t lane)
{
    const uint64_t step = UINT64_C(0x9E3779B97F4A7C15);
    uint64_t *state = &random->lanes[lane].state;
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

/* The same, made by the last call already, as its long arithmetic is nothing to wait for; *to_come is what the next one
 * will give. On the shared lane, where others draw meanwhile, the number is made now and nothing is known of the next: 0. */
static inline uint64_t evener_lane_random_ahead(evener_lane_random *random, uint32_t lane, uint64_t *to_come)
{
    if (__builtin_expect(lane == EVENER_LANE_SHARED, 0)) {
        *to_come = 0;
        return evener_lane_random_next(random, lane);
    }
    uint64_t *ahead = &random->lanes[lane].ahead;
    const uint64_t number = __atomic_load_n(ahead, __ATOMIC_RELAXED);
    *to_come = evener_lane_random_next(random, lane);
    __atomic_store_n(ahead, *to_come, __ATOMIC_RELAXED);
    return number;
}

/* Of 32 random bits, a number below `bound`. The bias is below bound / 2^32: nothing beside the noise of a choice. */
static inline uint32_t evener_random_scale(uint32_t random, uint32_t bound)
{
    return (uint32_t)(((uint64_t)random * bound) >> 32);
}

#endif
