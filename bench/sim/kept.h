/* Figures of single seeds, kept in a file of JSON lines so that a long run can be stopped, continued, or made in parts.
 * The file is of one version of the program and of the scenarios: nothing in it says so. */
#ifndef EVENER_BENCH_SIM_KEPT_H
#define EVENER_BENCH_SIM_KEPT_H

#include <jansson.h>

#include "bench/sim/scenario.h"

/* Read the lines of a file into an object. An unfinished last line is left out. Return an empty object if there is no
 * such file. */
json_t *sim_kept_read(const char *path);

/* Return the figures of a policy with a seed (borrowed), or NULL. */
json_t *sim_kept_find(const json_t *kept, const sim_scenario *scenario, const sim_policy *policy, uint64_t seed);

/* Append figures to the file. Return false if it cannot be written. */
bool sim_kept_add(const char *path, const sim_scenario *scenario, const sim_policy *policy, uint64_t seed,
                  json_t *figures);

#endif
