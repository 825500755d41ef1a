/* Shared by the engine's files: engine.c runs the events, engine_setup.c builds the scene and the result. */
#ifndef EVENER_BENCH_SIM_ENGINE_INTERNAL_H
#define EVENER_BENCH_SIM_ENGINE_INTERNAL_H

#include "bench/sim/client.h"
#include "bench/sim/engine.h"
#include "bench/sim/event_heap.h"
#include "bench/sim/numbers.h"
#include "examples/evener/histogram.h"

#define NONE UINT32_MAX

enum { EVENT_SCRIPT, EVENT_ANTAGONIST, EVENT_SERVED, EVENT_ANSWERED, EVENT_TIMEOUT };

typedef struct call {
    evener_pick pick;
    uint64_t stamp; /* the call's number; 0: free */
    uint64_t begun_ns;
    uint64_t service_ns;
    uint32_t server;
    uint32_t next, previous;   /* links in the server's list; `next` also in the free list */
    evener_status_code code;   /* the status it will end with */
    bool at_server, at_client; /* where it still exists */
    bool hangs, timeout_set;
} call;

typedef struct call_list {
    uint32_t first, last;
} call_list;

typedef struct server {
    const sim_group *group;
    double factor; /* the server's own factor from the group's spread */
    double extra_ns, slowdown, fail_share;
    evener_status_code fail_code;
    bool present, hung, antagonist;
    uint32_t running_count, calls_now; /* change only after sim_account() */
    uint64_t accounted_ns;             /* until when its time is in the windows */
    call_list running, waiting;
} server;

/* Data collected for a period. */
typedef struct span {
    sim_slice slice;
    uint64_t from_ns, to_ns;
    histogram *times;
    uint32_t queue_max;
} span;

/* Data collected of a server inside a window. */
typedef struct server_share {
    double busy_ns; /* time of its workers with a call */
    double load_ns; /* time of the calls in service or queued */
    uint32_t calls; /* begun */
} server_share;

typedef struct engine {
    const sim_scenario *scenario;
    sim_world world;
    uint32_t server_count;
    server *servers;
    bool *refusing;
    uint32_t group_first[SIM_GROUPS_MAX];
    sim_client *clients;
    uint32_t *lists; /* each client's servers, concatenated; without subsets one list for all */
    uint32_t list_length;
    uint32_t *scratch;
    call *calls;
    uint32_t call_capacity, free_call;
    uint64_t call_number;
    sim_heap heap;
    sim_queue timeouts;       /* of calls whose timeout was set when they began */
    uint64_t next_arrival_ns; /* UINT64_MAX: none */
    uint64_t start_ns, end_ns, timeout_ns, network_ns, events;
    double rate_factor;
    uint64_t arrivals, antagonists, services; /* random number streams */
    span *windows, *series;
    server_share *shares; /* by server, then by window: those of a server together, as they change together */
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

/* engine.c: add the time since the last change of a server's calls to the windows; pass every client its list;
 * set the time of the next arrival. */
void sim_account(engine *e, uint32_t index);
void sim_update_clients(engine *e);
void sim_set_arrival(engine *e);

/* engine_setup.c: build and free the scene. sim_set_up() returns false if the policy cannot be created; call
 * sim_tear_down() in either case. */
bool sim_set_up(engine *e);
void sim_tear_down(engine *e);
sim_result *sim_make_result(const engine *e);

#endif
