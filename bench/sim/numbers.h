/* Random numbers for the simulator. */
#ifndef EVENER_BENCH_SIM_NUMBERS_H
#define EVENER_BENCH_SIM_NUMBERS_H

#include <math.h>
#include <stdint.h>

/* splitmix64; any value is a good seed. */
static inline uint64_t sim_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* Return the seed of one of a scenario's streams of random numbers. Seeds that follow each other share none. */
static inline uint64_t sim_stream(uint64_t seed, uint64_t stream)
{
    return sim_mix(sim_mix(seed * UINT64_C(0x9E3779B97F4A7C15) + 1) + stream);
}

static inline uint64_t sim_random(uint64_t *state)
{
    *state += UINT64_C(0x9E3779B97F4A7C15);
    return sim_mix(*state);
}

/* Return a random number in (0, 1]. */
static inline double sim_unit(uint64_t *state)
{
    return ((double)(sim_random(state) >> 11) + 1) * 0x1p-53;
}

static inline uint32_t sim_below(uint64_t *state, uint32_t bound)
{
    return (uint32_t)((sim_random(state) >> 32) * bound >> 32);
}

static inline double sim_exponential(uint64_t *state)
{
    return -log(sim_unit(state));
}

static inline double sim_normal(uint64_t *state)
{
    const double radius = sqrt(-2 * log(sim_unit(state)));
    return radius * cos(6.283185307179586 * sim_unit(state));
}

#endif
