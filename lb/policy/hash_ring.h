/* Hash ring (A42): the endpoints' places on the circle of 64-bit hashes, in proportion to their weights.
 * Immutable and counted; references are changed on the control thread only. */
#ifndef EVENER_LB_POLICY_HASH_RING_H
#define EVENER_LB_POLICY_HASH_RING_H

#include <stdint.h>

typedef struct evener_ring_entry {
    uint64_t hash;
    uint32_t endpoint;
} evener_ring_entry;

typedef struct evener_hash_ring {
    uint32_t references;
    uint32_t size; /* at least 1 */
    /* Hashes are spread evenly, so the first bits of a hash give its place on the ring up to an entry or two: the
     * entries whose hashes begin with the bits b are starts[b] to starts[b + 1]. */
    uint32_t start_shift;
    uint32_t *starts;
    evener_ring_entry entries[]; /* by hash, then endpoint; behind them, the starts */
} evener_hash_ring;

/* Every endpoint with a weight has at least this many places while the largest size allows it for all of them, however
 * uneven the weights: with one each, the shares of equal endpoints would differ by a factor of 10. */
#define EVENER_RING_PLACES_MIN 6

/* Create the ring of `count` endpoints with their hash keys and weights (0: no place). The places depend on the keys
 * and weights only, not on the order of the endpoints, which have distinct keys. The ring has about `size_min` entries,
 * or as many as EVENER_RING_PLACES_MIN needs, up to `size_max`. Where that is too few for EVENER_RING_PLACES_MIN each,
 * every endpoint with a weight has at least one, while there is room for one each. Those above this floor share the
 * places that remain in proportion to their weights. Store the number of endpoints that got no place though they have a
 * weight in *without_place. NULL: out of memory. */
evener_hash_ring *evener_hash_ring_create(const char *const *keys, const uint32_t *weights, uint32_t count,
                                          uint32_t size_min, uint32_t size_max, uint32_t *without_place);

evener_hash_ring *evener_hash_ring_ref(evener_hash_ring *ring);
void evener_hash_ring_unref(evener_hash_ring *ring); /* NULL is allowed */

/* Up to this many entries are compared in turn. */
#define EVENER_RING_SCAN_MAX 4

/* Return the index of the first entry at or after the hash, going round. Any thread while a reference is held. */
static inline uint32_t evener_hash_ring_find(const evener_hash_ring *ring, uint64_t hash)
{
    const uint64_t start = hash >> ring->start_shift;
    uint32_t low = ring->starts[start];
    uint32_t high = ring->starts[start + 1];
    while (__builtin_expect(high - low > EVENER_RING_SCAN_MAX, 0)) { /* close by chance or choice */
        const uint32_t middle = low + (high - low) / 2;
        if (ring->entries[middle].hash < hash) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    while (low < high && ring->entries[low].hash < hash) {
        low++;
    }
    return low < ring->size ? low : 0;
}

#endif
