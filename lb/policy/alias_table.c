#include "lb/policy/alias_table.h"

#include <stdlib.h>

/* Fill low columns up from high ones (Vose). `heights` are the weights over their mean and are used up. `order` is
 * scratch: low columns from the front, high ones from the back. */
static void fill_columns(evener_alias *table, double *heights, uint32_t *order, uint32_t count)
{
    uint32_t low = 0;
    uint32_t high = count;
    for (uint32_t i = 0; i < count; i++) {
        order[heights[i] < 1 ? low++ : --high] = i;
        table[i] = (evener_alias){UINT32_MAX, i};
    }
    while (low > 0 && high < count) {
        const uint32_t needy = order[--low];
        const uint32_t giver = order[high];
        table[needy] = (evener_alias){(uint32_t)(heights[needy] * 4294967295.0), giver};
        heights[giver] -= 1 - heights[needy];
        if (heights[giver] < 1) {
            high++;
            order[low++] = giver;
        }
    }
    /* The columns that remain are full, up to rounding errors. */
}

bool evener_alias_fill(evener_alias *table, const double *weights, uint32_t count)
{
    double *heights = malloc(count * sizeof *heights);
    uint32_t *order = malloc(count * sizeof *order);
    const bool enough = heights != NULL && order != NULL;
    double sum = 0;
    uint32_t heaviest = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += weights[i];
        heaviest = weights[i] > weights[heaviest] ? i : heaviest;
    }
    for (uint32_t i = 0; enough && i < count; i++) {
        heights[i] = weights[i] * count / sum;
    }
    if (enough) {
        fill_columns(table, heights, order, count);
        for (uint32_t i = 0; i < count; i++) {
            if (weights[i] == 0 && table[i].other == i) { /* left over by rounding */
                table[i] = (evener_alias){0, heaviest};
            }
        }
    }
    free(heights);
    free(order);
    return enough;
}
