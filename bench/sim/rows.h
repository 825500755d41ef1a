/* Rows of results, by scenario. */
#ifndef EVENER_BENCH_SIM_ROWS_H
#define EVENER_BENCH_SIM_ROWS_H

#include <jansson.h>

/* Return the results with the rows of an earlier output before and after them, in its order; those of a scenario that the
 * results have are left out. `earlier` NULL: none. The arrays' rows are shared. */
json_t *sim_rows_with_earlier(const json_t *results, const json_t *earlier);

#endif
