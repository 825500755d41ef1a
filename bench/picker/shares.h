/* Whether a policy gives its backends what they are due: the check that a fast pick is a right one. */
#ifndef BENCH_PICKER_SHARES_H
#define BENCH_PICKER_SHARES_H

#include <evener/channel.h>

/* Picks and ends many times on this thread over `backends` alike ones, and complains (see bench_complain) when a share
 * is not what the policy promises: pick_first one backend; round_robin and weighted_round_robin the same count within
 * two; those that draw, within a tenth of it; ring_hash, whose ring is uneven, and p2c_ewma, which goes by the
 * latency that it sees, each one some. */
void bench_check_shares(evener_channel *channel, const char *policy, size_t backends);

#endif
