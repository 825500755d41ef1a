#include "lb/base/unknown_field.h"

#include <stdbool.h>
#include <stdint.h>

#include <evener/log.h>

/* A bit per hash of a field: two fields with one hash share a warning. */
#define BITS 4096

static uint64_t warned[BITS / 64]; /* atomic */

static uint32_t hash_of(const char *text, uint32_t hash)
{
    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * UINT32_C(16777619); /* FNV-1a */
    }
    return hash;
}

void evener_warn_of_unknown_field(const char *what, const char *place)
{
    const uint32_t hash = hash_of(place, hash_of(what, UINT32_C(2166136261))) % BITS;
    const uint64_t bit = UINT64_C(1) << hash % 64;
    const bool is_first = (__atomic_fetch_or(&warned[hash / 64], bit, __ATOMIC_RELAXED) & bit) == 0;
    if (is_first) {
        evener_log(EVENER_LOG_WARNING, "config",
                   "a %s has the field \"%s\", which evener does not know: it has no effect", what, place);
    }
}
