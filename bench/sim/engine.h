/* The simulator: any number of clients and servers with queues, in virtual time. A client is a policy of the library
 * (policy_calls.c), or a channel with everything that belongs to it (channel_calls.c): the program links one of them.
 *
 *     sim_scenario scenario = {.clients = 1, .rate_per_s = 1000, .duration_s = 10, .group_count = 1,
 *                              .groups = {{.count = 4, .service_us = 1000}}};
 *     sim_result *result = sim_run(&scenario, &(sim_policy){.name = "p2c_ewma"}, message, sizeof message);
 *     result->windows[0].p99_us ...
 *     sim_result_destroy(result);
 *
 * The same scenario and seed give the same result. Every policy gets the same calls with the same service times. */
#ifndef EVENER_BENCH_SIM_ENGINE_H
#define EVENER_BENCH_SIM_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#include "bench/sim/scenario.h"

/* Results of the calls that start in a period. A call that is over its timeout took as long as that. */
typedef struct sim_slice {
    double from_s, to_s;
    uint64_t calls;
    uint64_t failed; /* not OK, or over the timeout */
    /* Begun in the period; repeated: at a server that the call had tried before. Transparent retries are attempts. */
    uint64_t attempts, repeated;
    double mean_us, p50_us, p99_us, p999_us;
    uint64_t group_calls[SIM_GROUPS_MAX];
} sim_slice;

typedef struct sim_window_result {
    sim_slice slice;
    /* Over the servers present at the end. calls_max_over_mean: the highest count of calls that started in the window,
     * over the mean. load_max_over_mean: the same for load, the mean number of calls in service or queued. busy_share:
     * the part of the window in which a worker of the server had a call, whenever the call started; for a server
     * without limit, the mean number of calls in service. */
    double calls_max_over_mean;
    double load_max_over_mean;
    double busy_share_max, busy_share_mean;
    uint32_t queue_max; /* highest number of calls at one server at a time */
} sim_window_result;

typedef struct sim_result {
    uint32_t window_count;
    sim_window_result windows[SIM_WINDOWS_MAX];
    size_t series_count;
    sim_slice *series;
    uint64_t events;
    double cpu_s;
} sim_result;

/* Run the scenario with the policy. Return NULL with a message for an unknown policy, a bad configuration, a scenario
 * for the other kind of clients, or out of memory. The caller destroys the result. */
sim_result *sim_run(const sim_scenario *scenario, const sim_policy *policy, char *message, size_t message_bytes);
void sim_result_destroy(sim_result *result);

#endif
