/* Histogram of latencies for `evener load`, the benches and the simulator: log-linear, in constant memory (58 KiB).
 *
 * Each power of two is divided into 128 equal buckets, so a quantile is within 0.4 % of a value that was added (1/256 of
 * it), and exact below 256. It is never above the greatest value added. The unit is the caller's: nanoseconds, ticks.
 * Adding a value takes a few instructions. Not thread-safe. */
#ifndef EVENER_CLI_HISTOGRAM_H
#define EVENER_CLI_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEP_BITS 7
#define HISTOGRAM_STEPS (1u << HISTOGRAM_STEP_BITS)
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_STEP_BITS + 1) * HISTOGRAM_STEPS)

/* Zeroed: empty. */
typedef struct histogram {
    uint64_t count;
    uint64_t max;
    uint64_t sum; /* modulo 2^64: 584 years of nanoseconds */
    uint64_t buckets[HISTOGRAM_BUCKETS];
} histogram;

void histogram_add(histogram *h, uint64_t value);
void histogram_merge(histogram *into, const histogram *from);

/* Return the least value that a share of all values, 0 to 1, does not exceed (nearest rank); 0 when empty. */
uint64_t histogram_quantile(const histogram *h, double share);

/* Return the exact mean; 0 when empty. */
double histogram_mean(const histogram *h);

/* Call `visit` for each bucket with values, in ascending order. `up_to` is the largest value of the bucket. */
void histogram_visit(const histogram *h, void (*visit)(void *arg, uint64_t up_to, uint64_t count), void *arg);

#endif
