/* What the files of the engine share: engine.c makes things happen, engine_setup.c builds the scene and tells the result. */
#ifndef EVENER_BENCH_SIM_ENGINE_INTERNAL_H
#define EVENER_BENCH_SIM_ENGINE_INTERNAL_H

#include "bench/sim/client.h"
#include "bench/sim/engine.h"
#include "bench/sim/event_heap.h"
#include "bench/sim/numbers.h"

#define NONE UINT32_MAX

enum { EVENT_ARRIVAL, EVENT_SCRIPT, EVENT_ANTAGONIST, EVENT_SERVED, EVENT_ANSWERED, EVENT_TIMEOUT };

typedef struct call {
    evener_pick pick;
    uint64_t stamp; /* number of the call; 0: free */
    uint64_t begun_ns;
    uint64_t service_ns;
    uint32_t server;
    uint32_t next, previous;   /* in the server's list, or the next free one */
    evener_status_code code;   /* how it will end */
    bool at_server, at_client; /* who still has it */
    bool hangs, timeout_set;
} call;

typedef struct call_list {
    uint32_t first, last;
} call_list;

typedef struct server {
    const sim_group *group;
    double factor; /* its own, of the group's spread */
    double extra_ns, slowdown, fail_share;
    bool present, hung, antagonist;
    uint32_t running_count, calls_now;
    call_list running, waiting;
} server;

/* What is collected of a span of time. */
typedef struct span {
    sim_slice slice;
    sim_histogram *times;
    uint32_t *calls; /* by server; NULL in the series */
    double *work_ns; /* by server: time of service begun */
    double *stay_ns; /* by server: time that calls spent there */
    uint32_t queue_max;
} span;

typedef struct engine {
    const sim_scenario *scenario;
    sim_world world;
    uint32_t server_count;
    server *servers;
    bool *refusing;
    uint32_t group_first[SIM_GROUPS_MAX];
    sim_client *clients;
    uint32_t *lists; /* each client's servers, one after the other; of all together without subsets */
    uint32_t list_length;
    uint32_t *scratch;
    call *calls;
    uint32_t call_capacity, free_call;
    uint64_t call_number;
    sim_heap heap;
    uint64_t start_ns, end_ns, timeout_ns, network_ns, events;
    double rate_factor;
    uint64_t arrivals, antagonists; /* streams of random numbers */
    span *windows, *series;
    uint32_t window_count;
    size_t series_count;
} engine;

static inline uint64_t sim_now_ns(const engine *e)
{
    return virtual_loop_now_ns(e->world.vl);
}

static inline uint64_t sim_after_s(const engine *e, double seconds)
{
    return e->start_ns + (uint64_t)(seconds * 1e9);
}

/* engine.c: tells every client its list; pushes the next call's arrival. */
void sim_update_clients(engine *e);
void sim_push_arrival(engine *e);

/* engine_setup.c. set_up is false when the policy could not be made; tear_down is for either case. */
bool sim_set_up(engine *e);
void sim_tear_down(engine *e);
sim_result *sim_make_result(const engine *e);

#endif
