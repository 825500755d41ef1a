/* Alias table: weighted draws in constant time (Walker 1977; Vose 1991).
 *
 * The table has a column per member, each of the mean weight. A column is the member's own up to `threshold`; the rest
 * belongs to the member `other`. A draw takes a column and a height in it. Immutable once filled. */
#ifndef EVENER_LB_POLICY_ALIAS_TABLE_H
#define EVENER_LB_POLICY_ALIAS_TABLE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct evener_alias {
    uint32_t threshold; /* heights below it, of 2^32, are the column's own */
    uint32_t other;
} evener_alias;

/* Fill `table` with `count` columns for `weights` (not below 0, at least one above 0). A member of weight 0 is never
 * drawn. Return false if out of memory. */
bool evener_alias_fill(evener_alias *table, const double *weights, uint32_t count);

/* Draw a member in proportion to the weights, from 32 random bits. Times the number of columns they give the column
 * and, behind the point, the height in it. Any thread. */
static inline uint32_t evener_alias_draw(const evener_alias *table, uint32_t count, uint32_t random)
{
    const uint64_t product = (uint64_t)random * count;
    const uint32_t column = (uint32_t)(product >> 32);
    return (uint32_t)product < table[column].threshold ? column : table[column].other;
}

#endif
