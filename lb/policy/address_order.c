#include "lb/policy/address_order.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lb/policy/address_index.h"
#include "lb/policy/weights.h"

typedef struct ticket {
    evener_address *address;
    double time; /* until it is drawn */
} ticket;

static int compare_tickets(const void *a, const void *b)
{
    const double x = ((const ticket *)a)->time;
    const double y = ((const ticket *)b)->time;
    return (x > y) - (x < y);
}

/* A113, weighted random shuffling: each address waits for an exponential time whose rate is its weight, so that each
 * comes next among those left with a chance in proportion to it (Efraimidis, Spirakis 2006). Weight 0 comes last.
 * Return false if out of memory. */
static bool shuffle_addresses(evener_address **addresses, size_t count, evener_loop *loop)
{
    ticket *tickets = malloc(count * sizeof *tickets);
    if (tickets == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const double unit = ((double)(evener_loop_random(loop) >> 11) + 1) * 0x1p-53; /* in (0, 1] */
        const double weight = evener_is_drained(addresses[i]) ? 1e-12 : (double)evener_static_weight_of(addresses[i]);
        tickets[i] = (ticket){addresses[i], -log(unit) / weight};
    }
    qsort(tickets, count, sizeof *tickets, compare_tickets);
    for (size_t i = 0; i < count; i++) {
        addresses[i] = tickets[i].address;
    }
    free(tickets);
    return true;
}

/* Copy the first of each backend, in order; return how many. */
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

/* The next address of one family. */
typedef struct family_cursor {
    evener_address_family family;
    size_t next;
} family_cursor;

/* Return how many families there can be in the list: one more than the greatest one in it. */
static size_t families_max(evener_address *const *addresses, size_t count)
{
    size_t most = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t number = (size_t)evener_address_get_family(addresses[i]) + 1;
        most = number > most ? number : most;
    }
    return most;
}

/* Note the families in the order of their first addresses; return how many there are. */
static size_t find_families(evener_address *const *addresses, size_t count, family_cursor *cursors)
{
    size_t families = 0;
    for (size_t i = 0; i < count; i++) {
        const evener_address_family family = evener_address_get_family(addresses[i]);
        size_t f = 0;
        while (f < families && cursors[f].family != family) {
            f++;
        }
        if (f == families) {
            cursors[families++] = (family_cursor){family, i};
        }
    }
    return families;
}

/* RFC 8305 section 4: one address of each family in turn, beginning with the first one's. Return false if out of
 * memory. */
static bool interleave(evener_address **addresses, size_t count, evener_address **scratch)
{
    family_cursor *cursors = malloc(families_max(addresses, count) * sizeof *cursors);
    if (cursors == NULL) {
        return false;
    }
    const size_t families = find_families(addresses, count, cursors);
    for (size_t taken = 0, turn = 0; taken < count; turn++) {
        family_cursor *cursor = &cursors[turn % families];
        while (cursor->next < count && evener_address_get_family(addresses[cursor->next]) != cursor->family) {
            cursor->next++;
        }
        if (cursor->next < count) {
            scratch[taken++] = addresses[cursor->next++];
        }
    }
    memcpy(addresses, scratch, count * sizeof *addresses);
    free(cursors);
    return true;
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
    if ((shuffle && !shuffle_addresses(ordered, *ordered_count, loop)) ||
        !interleave(ordered, *ordered_count, ordered + count)) {
        free(ordered);
        return NULL;
    }
    return ordered;
}
