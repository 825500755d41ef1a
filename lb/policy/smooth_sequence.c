/* An index with c of the n places should occur at (j + phase) n / c, j = 0 .. c-1; these wishes are sorted by a
 * counting sort. The phases are spread over the indices, so that those of equal weight do not all wish for the same
 * place; equal weights come in the order of their indices, which suits caches. O(n). */
#include "lb/policy/smooth_sequence.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b != 0) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static uint64_t limit_for(uint32_t count, uint64_t least)
{
    const uint64_t wanted = (uint64_t)count * EVENER_SEQUENCE_PLACES_PER_WEIGHT;
    return wanted > least ? wanted : least;
}

/* Store whole weights without their common divisor, if their sum is small enough. Return the sum, or 0. */
static uint64_t exact_places(const double *weights, uint32_t count, uint32_t *places)
{
    uint64_t divisor = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (weights[i] != floor(weights[i]) || weights[i] > UINT32_MAX) {
            return 0;
        }
        divisor = gcd((uint64_t)weights[i], divisor);
    }
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        places[i] = (uint32_t)((uint64_t)weights[i] / divisor);
        sum += places[i];
    }
    return sum <= limit_for(count, EVENER_SEQUENCE_EXACT_MAX) ? sum : 0;
}

static uint64_t rounded_places(const double *weights, uint32_t count, uint32_t *places)
{
    double total = 0;
    for (uint32_t i = 0; i < count; i++) {
        total += weights[i];
    }
    const double scale = (double)limit_for(count, EVENER_SEQUENCE_ROUNDED_MIN) / total;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        const double wanted = floor(weights[i] * scale + 0.5);
        places[i] = wanted >= 1 ? (uint32_t)wanted : 1;
        sum += places[i];
    }
    return sum;
}

static uint32_t wish(double phase, uint32_t j, uint32_t places, uint32_t length)
{
    const double place = ((double)j + phase) * (double)length / (double)places;
    const uint32_t whole = (uint32_t)place;
    return whole < length ? whole : length - 1;
}

/* Sort the wishes into the sequence. `starts` has room for length + 1, zeroed. */
static void sort_wishes(const uint32_t *places, uint32_t count, uint32_t length, uint32_t *starts, uint32_t *sequence)
{
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < places[i]; j++) {
            starts[wish((double)i / count, j, places[i], length) + 1]++;
        }
    }
    for (uint32_t k = 0; k < length; k++) {
        starts[k + 1] += starts[k];
    }
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < places[i]; j++) {
            sequence[starts[wish((double)i / count, j, places[i], length)]++] = i;
        }
    }
}

uint32_t *evener_smooth_sequence(const double *weights, uint32_t count, uint32_t *length)
{
    uint32_t *places = malloc(count * sizeof(uint32_t));
    if (places == NULL) {
        return NULL;
    }
    uint64_t sum = exact_places(weights, count, places);
    if (sum == 0) {
        sum = rounded_places(weights, count, places);
    }
    uint32_t *starts = calloc(sum + 1, sizeof(uint32_t));
    uint32_t *sequence = malloc(sum * sizeof(uint32_t));
    if (starts != NULL && sequence != NULL) {
        sort_wishes(places, count, (uint32_t)sum, starts, sequence);
        *length = (uint32_t)sum;
    } else {
        free(sequence);
        sequence = NULL;
    }
    free(places);
    free(starts);
    return sequence;
}
