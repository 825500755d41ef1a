#include "lb/policy/hash_ring.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/policy/xxh64.h"

#define NUMBER_BYTES 16 /* "_4294967295" with its NUL */

static int compare_entries(const void *a, const void *b)
{
    const evener_ring_entry *x = a;
    const evener_ring_entry *y = b;
    if (x->hash != y->hash) {
        return x->hash < y->hash ? -1 : 1;
    }
    return x->endpoint < y->endpoint ? -1 : x->endpoint > y->endpoint;
}

/* A42: every endpoint has at least one place for the smallest weight, unless that makes the ring too large. */
static double scale_of(const uint32_t *weights, uint32_t count, double sum, uint32_t size_min, uint32_t size_max)
{
    double least = 1;
    for (uint32_t i = 0; i < count; i++) {
        const double share = (double)weights[i] / sum;
        least = share < least ? share : least;
    }
    const double scale = ceil(least * (double)size_min) / least;
    return scale < (double)size_max ? scale : (double)size_max;
}

static size_t longest(const char *const *keys, uint32_t count)
{
    size_t most = 0;
    for (uint32_t i = 0; i < count; i++) {
        const size_t bytes = strlen(keys[i]);
        most = bytes > most ? bytes : most;
    }
    return most;
}

evener_hash_ring *evener_hash_ring_create(const char *const *keys, const uint32_t *weights, uint32_t count,
                                          uint32_t size_min, uint32_t size_max)
{
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += (double)weights[i];
    }
    const double scale = scale_of(weights, count, sum, size_min, size_max);
    const uint32_t capacity = (uint32_t)ceil(scale) + 1;
    evener_hash_ring *ring = malloc(sizeof *ring + capacity * sizeof(evener_ring_entry));
    char *text = malloc(longest(keys, count) + NUMBER_BYTES);
    if (ring == NULL || text == NULL) {
        free(ring);
        free(text);
        return NULL;
    }
    ring->references = 1;
    ring->size = 0;
    double target = 0;
    for (uint32_t i = 0; i < count; i++) {
        const size_t key_bytes = strlen(keys[i]);
        memcpy(text, keys[i], key_bytes);
        target += scale * (double)weights[i] / sum;
        for (uint32_t j = 0; (double)ring->size < target && ring->size < capacity; j++) {
            const int digits = snprintf(text + key_bytes, NUMBER_BYTES, "_%u", j);
            ring->entries[ring->size++] = (evener_ring_entry){evener_xxh64(text, key_bytes + (size_t)digits, 0), i};
        }
    }
    free(text);
    qsort(ring->entries, ring->size, sizeof ring->entries[0], compare_entries);
    return ring;
}

evener_hash_ring *evener_hash_ring_ref(evener_hash_ring *ring)
{
    ring->references++;
    return ring;
}

void evener_hash_ring_unref(evener_hash_ring *ring)
{
    if (ring != NULL && --ring->references == 0) {
        free(ring);
    }
}

uint32_t evener_hash_ring_find(const evener_hash_ring *ring, uint64_t hash)
{
    uint32_t low = 0;
    for (uint32_t high = ring->size; low < high;) {
        const uint32_t middle = low + (high - low) / 2;
        if (ring->entries[middle].hash < hash) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < ring->size ? low : 0;
}
