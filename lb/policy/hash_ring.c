#include "lb/policy/hash_ring.h"

#include <math.h>
#include <stdbool.h>
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

/* Return the size at which the least weight has a whole number of places (A42), at least EVENER_RING_PLACES_MIN. */
static double scale_of(const uint32_t *weights, uint32_t count, double sum, uint32_t size_min, uint32_t size_max)
{
    double least = 1;
    for (uint32_t i = 0; i < count; i++) {
        const double share = (double)weights[i] / sum;
        least = share > 0 && share < least ? share : least;
    }
    double places = ceil(least * (double)size_min);
    places = places > EVENER_RING_PLACES_MIN ? places : EVENER_RING_PLACES_MIN;
    const double scale = places / least;
    return scale < (double)size_max ? scale : (double)size_max;
}

/* Return the bits of a hash that select a start: there are about as many starts as entries, 2^bits. */
static uint32_t start_bits_for(uint32_t entries)
{
    uint32_t bits = 1;
    while (bits < 31 && UINT32_C(1) << bits < entries) {
        bits++;
    }
    return bits;
}

static void fill_starts(evener_hash_ring *ring, uint32_t bits)
{
    uint32_t entry = 0;
    ring->start_shift = 64 - bits;
    for (uint32_t start = 0; start < UINT32_C(1) << bits; start++) {
        while (entry < ring->size && ring->entries[entry].hash >> ring->start_shift < start) {
            entry++;
        }
        ring->starts[start] = entry;
    }
    ring->starts[UINT32_C(1) << bits] = ring->size;
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

/* An endpoint's part of the ring. */
typedef struct part {
    uint64_t hash; /* of its key: an order that all clients share */
    double rest;   /* of a place; negative: gets no place beyond those it has */
    uint32_t endpoint, weight, places;
} part;

static int compare_weights(const void *a, const void *b)
{
    const part *x = a;
    const part *y = b;
    if (x->weight != y->weight) {
        return x->weight < y->weight ? -1 : 1;
    }
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static int compare_rests(const void *a, const void *b)
{
    const part *x = a;
    const part *y = b;
    if (x->rest != y->rest) {
        return x->rest > y->rest ? -1 : 1;
    }
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* Return the places that each endpoint with a weight has at least. */
static uint32_t floor_for(uint32_t weighted, uint32_t size_max)
{
    if ((uint64_t)weighted * EVENER_RING_PLACES_MIN <= size_max) {
        return EVENER_RING_PLACES_MIN;
    }
    return weighted <= size_max ? 1 : 0;
}

/* Give each endpoint the whole places of its share, but not less than the floor: the lightest come first, and what the
 * floor adds to them is missing from the shares of those after them. Parts are in the order of weights. Return the
 * number of places given. */
static uint32_t give_whole_places(part *parts, uint32_t count, double sum, double scale, uint32_t floor)
{
    uint32_t given = 0;
    bool bound = true;
    for (uint32_t i = 0; i < count; i++) {
        part *p = &parts[i];
        const double wanted = scale * ((double)p->weight / sum) + 1e-9; /* 5.999... counts as 6 */
        bound = p->weight == 0 || (bound && wanted < floor);
        p->places = !bound ? (uint32_t)wanted : p->weight > 0 ? floor : 0;
        p->rest = bound ? -1 : wanted - p->places;
        if (bound) {
            scale -= p->places;
            sum -= p->weight;
        }
        given += p->places;
    }
    return given;
}

/* Give each endpoint its whole places, and the places that remain to the largest rests; of equal rests, in the order of
 * the keys' hashes. Return the number of endpoints with a weight and without a place. */
static uint32_t share_out(part *parts, const char *const *keys, const uint32_t *weights, uint32_t count, double sum,
                          double scale, uint32_t size_max)
{
    uint32_t weighted = 0;
    uint32_t without = 0;
    for (uint32_t i = 0; i < count; i++) {
        parts[i] = (part){.hash = evener_xxh64(keys[i], strlen(keys[i]), 0), .endpoint = i, .weight = weights[i]};
        weighted += weights[i] > 0;
    }
    qsort(parts, count, sizeof *parts, compare_weights);
    uint32_t given = give_whole_places(parts, count, sum, scale, floor_for(weighted, size_max));
    qsort(parts, count, sizeof *parts, compare_rests);
    const uint32_t size = (uint32_t)(scale + 0.5);
    for (uint32_t i = 0; i < count && given < size && parts[i].rest >= 0; i++, given++) {
        parts[i].places++;
    }
    for (uint32_t i = 0; i < count; i++) {
        without += parts[i].places == 0 && parts[i].weight > 0;
    }
    return without;
}

static void place(evener_hash_ring *ring, char *text, const char *key, const part *p)
{
    const size_t key_bytes = strlen(key);
    memcpy(text, key, key_bytes); /* NOLINT(bugprone-not-null-terminated-result): the number ends the text */
    for (uint32_t j = 0; j < p->places; j++) {
        const int digits = snprintf(text + key_bytes, NUMBER_BYTES, "_%u", j);
        ring->entries[ring->size++] =
            (evener_ring_entry){evener_xxh64(text, key_bytes + (size_t)digits, 0), p->endpoint};
    }
}

evener_hash_ring *evener_hash_ring_create(const char *const *keys, const uint32_t *weights, uint32_t count,
                                          uint32_t size_min, uint32_t size_max, uint32_t *without_place)
{
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += (double)weights[i];
    }
    const double scale = scale_of(weights, count, sum, size_min, size_max);
    const size_t capacity = (size_t)ceil(scale) + count;
    const uint32_t bits = start_bits_for((uint32_t)ceil(scale));
    const size_t start_bytes = (((size_t)1 << bits) + 1) * sizeof(uint32_t);
    evener_hash_ring *ring = malloc(sizeof *ring + capacity * sizeof(evener_ring_entry) + start_bytes);
    char *text = malloc(longest(keys, count) + NUMBER_BYTES);
    part *parts = malloc(count * sizeof *parts);
    if (ring == NULL || text == NULL || parts == NULL) {
        free(ring);
        free(text);
        free(parts);
        return NULL;
    }
    ring->references = 1;
    ring->size = 0;
    ring->starts = (uint32_t *)(void *)&ring->entries[capacity];
    *without_place = share_out(parts, keys, weights, count, sum, scale, size_max);
    for (uint32_t i = 0; i < count; i++) {
        place(ring, text, keys[parts[i].endpoint], &parts[i]);
    }
    free(text);
    free(parts);
    qsort(ring->entries, ring->size, sizeof ring->entries[0], compare_entries);
    fill_starts(ring, bits);
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
