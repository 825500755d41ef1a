#include "lb/policy/address_order.h"

#include <stdlib.h>
#include <string.h>

#include "lb/policy/address_index.h"

#define FAMILIES 4

static void shuffle_addresses(evener_address **addresses, size_t count, evener_loop *loop)
{
    for (size_t i = count; i > 1; i--) {
        const size_t j = (size_t)evener_loop_random_below(loop, i);
        evener_address *address = addresses[i - 1];
        addresses[i - 1] = addresses[j];
        addresses[j] = address;
    }
}

/* Copies the first of each backend, in order; returns how many. */
static size_t copy_unique(evener_address *const *addresses, size_t count, const evener_address_index *index,
                          evener_address **unique)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (evener_address_index_find(index, addresses[i]) == i) {
            unique[kept++] = addresses[i];
        }
    }
    return kept;
}

/* RFC 8305 section 4: one address of each family in turn, beginning with the first one's. */
static void interleave(evener_address **addresses, size_t count, evener_address **scratch)
{
    size_t cursors[FAMILIES] = {0};
    evener_address_family order[FAMILIES];
    size_t families = 0;
    for (size_t i = 0; i < count; i++) {
        const evener_address_family family = evener_address_get_family(addresses[i]);
        bool known = false;
        for (size_t f = 0; f < families; f++) {
            known |= order[f] == family;
        }
        if (!known) {
            order[families++] = family;
        }
    }
    for (size_t taken = 0, turn = 0; taken < count; turn++) {
        const size_t f = turn % families;
        while (cursors[f] < count && evener_address_get_family(addresses[cursors[f]]) != order[f]) {
            cursors[f]++;
        }
        if (cursors[f] < count) {
            scratch[taken++] = addresses[cursors[f]++];
        }
    }
    memcpy(addresses, scratch, count * sizeof *addresses);
}

evener_address **evener_address_order(evener_address *const *addresses, size_t count, bool shuffle, evener_loop *loop,
                                      size_t *ordered_count)
{
    evener_address **ordered = malloc(2 * count * sizeof(evener_address *)); /* the second half is scratch */
    evener_address_index index;
    if (!evener_address_index_init(&index, count) || ordered == NULL) {
        evener_address_index_clear(&index);
        free(ordered);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        evener_address_index_add(&index, addresses[i], i);
    }
    *ordered_count = copy_unique(addresses, count, &index, ordered);
    evener_address_index_clear(&index);
    if (shuffle) {
        shuffle_addresses(ordered, *ordered_count, loop);
    }
    interleave(ordered, *ordered_count, ordered + count);
    return ordered;
}
