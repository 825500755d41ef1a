/* Checks the share of picks per backend: a fast pick must also be a correct one. */
#ifndef BENCH_PICKER_SHARES_H
#define BENCH_PICKER_SHARES_H

#include <evener/channel.h>

/* Make many picks on this thread over `backends` equal backends. Complain (see bench_complain) when a share is not
 * what the policy promises: pick_first uses one backend; round_robin and weighted_round_robin give counts within
 * two; policies that draw give counts within a tenth; ring_hash (its ring is uneven) and p2c_ewma (follows measured
 * latency) use every backend. */
void bench_check_shares(evener_channel *channel, const char *policy, size_t backends);

#endif
