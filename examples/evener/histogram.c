#include "examples/evener/histogram.h"

#include <math.h>

/* Values below 2 * STEPS have a bucket each; of larger ones the highest STEP_BITS + 1 bits select the bucket. */
static unsigned bucket_of(uint64_t value)
{
    if (value < 2 * HISTOGRAM_STEPS) {
        return (unsigned)value;
    }
    const unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;
    return (shift << HISTOGRAM_STEP_BITS) + (unsigned)(value >> shift);
}

/* Return the smallest value of a bucket, and store the number of its values. */
static uint64_t lowest_of(unsigned bucket, uint64_t *width)
{
    if (bucket < 2 * HISTOGRAM_STEPS) {
        *width = 1;
        return bucket;
    }
    const unsigned shift = (bucket >> HISTOGRAM_STEP_BITS) - 1;
    *width = UINT64_C(1) << shift;
    return ((uint64_t)(bucket & (HISTOGRAM_STEPS - 1)) + HISTOGRAM_STEPS) << shift;
}

/* Return the middle of a bucket. */
static uint64_t value_of(unsigned bucket)
{
    uint64_t width;
    const uint64_t lowest = lowest_of(bucket, &width);
    return lowest + width / 2;
}

void histogram_add(histogram *h, uint64_t value)
{
    h->buckets[bucket_of(value)]++;
    h->count++;
    h->sum += value;
    if (value > h->max) {
        h->max = value;
    }
}

void histogram_merge(histogram *into, const histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        into->buckets[i] += from->buckets[i];
    }
    into->count += from->count;
    into->sum += from->sum;
    if (from->max > into->max) {
        into->max = from->max;
    }
}

uint64_t histogram_quantile(const histogram *h, double share)
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
            return value < h->max ? value : h->max;
        }
    }
    return h->max;
}

double histogram_mean(const histogram *h)
{
    return h->count > 0 ? (double)h->sum / (double)h->count : 0;
}

void histogram_visit(const histogram *h, void (*visit)(void *arg, uint64_t up_to, uint64_t count), void *arg)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (h->buckets[i] > 0) {
            uint64_t width;
            const uint64_t lowest = lowest_of(i, &width);
            visit(arg, lowest + (width - 1), h->buckets[i]);
        }
    }
}
