#include "lb/policy/address_index.h"

#include <stdlib.h>

bool evener_address_index_init(evener_address_index *index, size_t capacity)
{
    index->count = 0;
    index->slots = malloc((capacity > 0 ? capacity : 1) * sizeof(evener_address_slot));
    return index->slots != NULL;
}

void evener_address_index_clear(evener_address_index *index)
{
    for (size_t i = 0; i < index->count; i++) {
        evener_address_unref(index->slots[i].address);
    }
    free(index->slots);
    index->slots = NULL;
    index->count = 0;
}

void evener_address_index_add(evener_address_index *index, const evener_address *address, size_t position)
{
    index->slots[index->count++] =
        (evener_address_slot){evener_address_identity_hash(address), evener_address_ref(address), position};
}

static int compare_slots(const void *a, const void *b)
{
    const evener_address_slot *x = a;
    const evener_address_slot *y = b;
    if (x->hash != y->hash) {
        return x->hash < y->hash ? -1 : 1;
    }
    return x->index < y->index ? -1 : x->index > y->index;
}

void evener_address_index_sort(evener_address_index *index)
{
    qsort(index->slots, index->count, sizeof index->slots[0], compare_slots);
}

size_t evener_address_index_find(const evener_address_index *index, const evener_address *address)
{
    const uint64_t hash = evener_address_identity_hash(address);
    size_t low = 0;
    for (size_t high = index->count; low < high;) {
        const size_t middle = low + (high - low) / 2;
        if (index->slots[middle].hash < hash) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < index->count && index->slots[low].hash == hash; low++) {
        if (evener_address_same_backend(index->slots[low].address, address)) {
            return index->slots[low].index;
        }
    }
    return EVENER_NO_INDEX;
}
