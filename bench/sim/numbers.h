/* Random numbers and a time histogram for the simulator. */
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

/* Counts by time. A bucket is 1/64 of its power of two wide, so a quantile is exact within 1 %. */
#define SIM_BUCKETS (64 * 40)

typedef struct sim_histogram {
    uint32_t counts[SIM_BUCKETS];
    uint64_t total;
    double sum_ns;
} sim_histogram;

static inline uint32_t sim_bucket(uint64_t ns)
{
    if (ns < 64) {
        return (uint32_t)ns;
    }
    const uint32_t exponent = 63 - (uint32_t)__builtin_clzll(ns);
    const uint32_t bucket = (exponent - 5) * 64 + (uint32_t)(ns >> (exponent - 6) & 63);
    return bucket < SIM_BUCKETS ? bucket : SIM_BUCKETS - 1;
}

static inline void sim_record(sim_histogram *h, uint64_t ns)
{
    h->counts[sim_bucket(ns)]++;
    h->total++;
    h->sum_ns += (double)ns;
}

/* Return the upper end of the quantile's bucket in microseconds; 0 if the histogram is empty. */
static inline double sim_quantile_us(const sim_histogram *h, double quantile)
{
    const double wanted = quantile * (double)h->total;
    double seen = 0;
    for (uint32_t bucket = 0; bucket < SIM_BUCKETS && h->total > 0; bucket++) {
        seen += h->counts[bucket];
        if (seen >= wanted) {
            const uint32_t exponent = bucket / 64 + 5;
            return bucket < 64 ? bucket * 1e-3 : ldexp(64 + bucket % 64 + 1, (int)exponent - 6) * 1e-3;
        }
    }
    return 0;
}

#endif
