/* Histogram of latencies: log-linear, within 1 % of each value, in constant memory (58 KiB).
 *
 * Each power of two of nanoseconds is divided into 128 equal buckets. Adding a value takes a few instructions. Not
 * thread-safe. */
#ifndef EVENER_CLI_HISTOGRAM_H
#define EVENER_CLI_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEP_BITS 7
#define HISTOGRAM_STEPS (1u << HISTOGRAM_STEP_BITS)
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_STEP_BITS + 1) * HISTOGRAM_STEPS)

/* Zeroed: empty. */
typedef struct histogram {
    uint64_t count;
    uint64_t max_ns;
    uint64_t buckets[HISTOGRAM_BUCKETS];
} histogram;

void histogram_add(histogram *h, uint64_t value_ns);
void histogram_merge(histogram *into, const histogram *from);

/* Return the value that a share of all values, 0 to 1, does not exceed; 0 when empty. */
uint64_t histogram_quantile_ns(const histogram *h, double share);

/* Call `visit` for each bucket with values, in ascending order. `up_to_ns` is the largest value of the bucket. */
void histogram_visit(const histogram *h, void (*visit)(void *arg, uint64_t up_to_ns, uint64_t count), void *arg);

#endif
