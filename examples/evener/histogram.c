#include "examples/evener/histogram.h"

#include <math.h>

/* Values below 2 * STEPS have a bucket each; above, the highest STEP_BITS + 1 bits choose. */
static unsigned bucket_of(uint64_t value)
{
    if (value < 2 * HISTOGRAM_STEPS) {
        return (unsigned)value;
    }
    const unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;
    return (shift << HISTOGRAM_STEP_BITS) + (unsigned)(value >> shift);
}

/* The middle of a bucket. */
static uint64_t value_of(unsigned bucket)
{
    if (bucket < 2 * HISTOGRAM_STEPS) {
        return bucket;
    }
    const unsigned shift = (bucket >> HISTOGRAM_STEP_BITS) - 1;
    const uint64_t lowest = ((uint64_t)(bucket & (HISTOGRAM_STEPS - 1)) + HISTOGRAM_STEPS) << shift;
    return lowest + (UINT64_C(1) << shift) / 2;
}

void histogram_add(histogram *h, uint64_t value_ns)
{
    h->buckets[bucket_of(value_ns)]++;
    h->count++;
    if (value_ns > h->max_ns) {
        h->max_ns = value_ns;
    }
}

void histogram_merge(histogram *into, const histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        into->buckets[i] += from->buckets[i];
    }
    into->count += from->count;
    if (from->max_ns > into->max_ns) {
        into->max_ns = from->max_ns;
    }
}

uint64_t histogram_quantile_ns(const histogram *h, double share)
{
    if (h->count == 0) {
        return 0;
    }
    const double wanted = ceil(share * (double)h->count);
    const uint64_t rank = wanted < 1 ? 1 : (uint64_t)wanted;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= rank) {
            const uint64_t value = value_of(i);
            return value < h->max_ns ? value : h->max_ns;
        }
    }
    return h->max_ns;
}
