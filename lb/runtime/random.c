/* xoshiro256++ 1.0, seeded through SplitMix64 as its authors recommend (Blackman, Vigna: "Scrambled linear
 * pseudorandom number generators", ACM TOMS 47, 2021; Steele, Lea, Flood: "Fast splittable pseudorandom number
 * generators", 2014). */
#include "lb/runtime/random.h"

#include <sys/random.h>
#include <time.h>

#include <evener/lane.h>
#include <evener/loop.h>

static uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static uint64_t system_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed)) {
        /* The kernel's pool is not ready (early boot). These numbers are not for secrets, so the clock and an
         * address are enough. */
        struct timespec now;
        (void)clock_gettime(CLOCK_REALTIME, &now);
        seed = (uint64_t)now.tv_nsec ^ ((uint64_t)now.tv_sec << 30) ^ (uint64_t)(uintptr_t)&now;
    }
    return seed;
}

void evener_random_seed(evener_random *random, uint64_t seed)
{
    evener_lane_generator splitmix64 = {.state = seed != 0 ? seed : system_seed()};
    for (size_t i = 0; i < 4; i++) {
        random->state[i] = evener_lane_generator_next(&splitmix64, 0);
    }
}

uint64_t evener_random_next(evener_random *random)
{
    uint64_t *s = random->state;
    const uint64_t result = rotate_left(s[0] + s[3], 23) + s[0];
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* Lemire: "Fast random integer generation in an interval", ACM TOMACS 29, 2019. The result is the upper half of a
 * 128-bit product. A lower half below 2^64 mod bound would bias the result, so it is drawn again. */
uint64_t evener_loop_random_below(evener_loop *loop, uint64_t bound)
{
    __extension__ typedef unsigned __int128 uint128;
    if (bound == 0) {
        return 0;
    }
    uint128 product = (uint128)evener_loop_random(loop) * bound;
    if ((uint64_t)product < bound) {
        const uint64_t excess = (0 - bound) % bound;
        while ((uint64_t)product < excess) {
            product = (uint128)evener_loop_random(loop) * bound;
        }
    }
    return (uint64_t)(product >> 64);
}

double evener_loop_random_unit(evener_loop *loop)
{
    /* A double holds 53 bits. */
    return (double)(evener_loop_random(loop) >> 11) * 0x1.0p-53;
}
