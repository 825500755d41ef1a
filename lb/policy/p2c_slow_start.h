/* Slow start of p2c_ewma: how a backend that joins others reaches its share.
 *
 * A newcomer starts from the mean latency of its peers. It is considered in a tenth of its draws at first, rising to
 * all of them within the window of `slowStartConfig`. Where half of the backends or more are new, above all at the
 * start, there is no slow start: they share the rush of calls. */
#ifndef EVENER_LB_POLICY_P2C_SLOW_START_H
#define EVENER_LB_POLICY_P2C_SLOW_START_H

#include <stdbool.h>
#include <stdint.h>

#include "lb/policy/p2c_choice.h"

/* Return whether slow start lets a pick consider the backend; `random` is uniform over 64 bits. Any thread. */
bool p2c_passes_slow_start(const p2c_stats *stats, const evener_slow_start *slow_start, uint64_t now_ns,
                           uint64_t random);

/* Let the picker's backends with the indices `newcomers` join. `peers_latency_ns` is the mean latency of the others; 0:
 * not known. Control thread. */
void p2c_let_join(p2c_picker *picker, const evener_base_ready *ready, const p2c_config *config,
                  const uint32_t *newcomers, uint32_t newcomer_count, float peers_latency_ns);

#endif
