/* Figures over several seeds of a scenario: the median and the range of each. */
#ifndef EVENER_BENCH_SIM_SEEDS_H
#define EVENER_BENCH_SIM_SEEDS_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

/* Return the figures of `rows` (objects with the same members, one per seed) as one object. A number KEY becomes its
 * median (of an even count: the mean of the two in the middle, of integers rounded), with its range as KEY_least and
 * KEY_greatest; an object becomes an object of the same kind. Other members are those of the first row. The caller
 * releases the result. */
json_t *sim_over_seeds(const json_t *rows);

/* Return how many figures of `row` have a median outside of the range that `published` has for them, both as made by
 * sim_over_seeds(). Each is passed to `outside`; a figure that `published` lacks counts, too. */
size_t sim_outside(const json_t *row, const json_t *published,
                   void (*outside)(void *arg, const char *figure, double median, double least, double greatest),
                   void *arg);

#endif
