/* The load of bench_rpc: a number of calls always in flight, for some time. */
#ifndef BENCH_RPC_LOAD_H
#define BENCH_RPC_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/rpc/client.h"
#include "bench/support/measure.h"

typedef struct rpc_case {
    unsigned in_flight;
    bool blocking; /* one thread per call in flight */
    bool tls;
    size_t payload_bytes;
    bool also_quick;
} rpc_case;

/* One value per pass. */
typedef struct rpc_outcome {
    bench_figure calls_per_s, p50_us, p99_us, cpu_us_per_call;
    bench_figure system_calls_per_call, hand_overs_per_call, allocations_per_call; /* see support/counts.h */
    uint64_t failed;
} rpc_outcome;

/* Keep rpc->in_flight calls in flight for the duration, and add a value to each figure of the outcome. */
void rpc_run_pass(bench_client *client, const rpc_case *rpc, uint64_t duration_ns, rpc_outcome *outcome);

#endif
