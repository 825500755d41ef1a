/* Histogram of latencies: log-linear, within 1 % of each value, in constant memory (58 KiB).
 *
 * Every power of two of nanoseconds is cut into 128 equal steps. Adding is a few instructions; two histograms are
 * merged by adding their counts. Not thread-safe. */
#ifndef EVENER_CLI_HISTOGRAM_H
#define EVENER_CLI_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEP_BITS 7
#define HISTOGRAM_STEPS (1u << HISTOGRAM_STEP_BITS)
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_STEP_BITS + 1) * HISTOGRAM_STEPS)

/* Zeroed, it is empty. */
typedef struct histogram {
    uint64_t count;
    uint64_t max_ns;
    uint64_t buckets[HISTOGRAM_BUCKETS];
} histogram;

void histogram_add(histogram *h, uint64_t value_ns);
void histogram_merge(histogram *into, const histogram *from);

/* The value that a share of all values, 0 to 1, does not exceed; 0 when empty. */
uint64_t histogram_quantile_ns(const histogram *h, double share);

#endif
