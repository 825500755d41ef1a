/* Shared by the engine's files: engine.c runs the events, engine_setup.c builds the scene and the result. What makes the
 * calls is behind sim_driver_*(). */
#ifndef EVENER_BENCH_SIM_ENGINE_INTERNAL_H
#define EVENER_BENCH_SIM_ENGINE_INTERNAL_H

#include "bench/sim/client.h"
#include "bench/sim/engine.h"
#include "bench/sim/event_heap.h"
#include "bench/sim/numbers.h"
#include "examples/evener/histogram.h"

#define NONE UINT32_MAX
#define SIM_CACHE_LINE 64

enum { EVENT_SCRIPT, EVENT_ANTAGONIST, EVENT_SERVED, EVENT_ANSWERED, EVENT_TIMEOUT };

/* An attempt of a call: with policies alone, the call. What every event reads is in the first cache line. */
typedef struct sim_attempt {
    _Alignas(SIM_CACHE_LINE) uint64_t stamp; /* the attempt's number; 0: free */
    uint64_t begun_ns;
    uint64_t deadline_ns; /* UINT64_MAX: none */
    uint64_t service_ns;
    uint64_t serving; /* the number of its start at the server; 0: queued there */
    uint32_t server;
    uint32_t next;             /* link in the server's queue, or in the free list */
    evener_status_code code;   /* the status it will end with */
    bool at_server, at_client; /* where it still exists */
    bool hangs, timeout_set;
    void *owner; /* the driver's, as `pick` */
    evener_pick pick;
} sim_attempt;

typedef struct call_list {
    uint32_t first, last;
} call_list;

typedef struct sim_server {
    _Alignas(SIM_CACHE_LINE) const sim_group *group;
    uint64_t accounted_ns;             /* until when its time is in the windows */
    uint32_t running_count, calls_now; /* change only after sim_account() */
    call_list waiting;
    double factor; /* the server's own factor from the group's spread */
    double slowdown, extra_ns;
    double fail_share;
    evener_status_code fail_code;
    bool present, hung, antagonist;
} sim_server;

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

/* What makes the calls: policies, or channels. */
typedef struct sim_driver sim_driver;

typedef struct engine {
    const sim_scenario *scenario;
    const sim_policy *policy;
    sim_driver *driver; /* NULL: not open */
    /* The loop's timers begin attempts, so they are run one by one; set by the driver. `open_calls`: for which they are
     * run after the last event. */
    bool loop_begins_attempts;
    uint64_t open_calls;
    sim_world world;
    uint32_t server_count;
    sim_server *servers;
    bool *refusing;
    uint32_t group_first[SIM_GROUPS_MAX];
    uint32_t *lists; /* each client's servers, concatenated; without subsets one list for all */
    uint32_t list_length;
    uint32_t *scratch;
    sim_attempt *calls;
    uint32_t call_capacity, free_call;
    uint64_t stamps, servings; /* attempts sent and begun by a server, so far */
    sim_agenda agenda;
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

/* ---- the driver: policy_calls.c or channel_calls.c ---- */

/* Open the clients, with empty lists. Return false with a message. Call sim_driver_close() in either case. */
bool sim_driver_open(engine *e, char *message, size_t message_bytes);
void sim_driver_close(engine *e);
/* Pass a client its list of servers. */
void sim_driver_update(engine *e, uint32_t client, const uint32_t *servers, uint32_t count);
/* Drop all connections to a server. */
void sim_driver_drop(engine *e, uint32_t server);
/* Begin a call of a client. */
void sim_driver_call(engine *e, uint32_t client);
/* End an attempt that the client still waits for: take it (sim_forget()), and report it. */
void sim_driver_end(engine *e, uint32_t index, evener_status_code code);
/* Fetch what the end of an attempt will read into the cache. */
void sim_driver_prefetch(const sim_attempt *attempt);
/* Fetch what the calls of the next client and of the one after it will read. */
void sim_driver_prefetch_client(const engine *e, uint32_t client, uint32_t after);

/* ---- engine.c, for the driver ---- */

typedef struct sim_sending {
    uint32_t server;
    uint64_t begun_ns;    /* of what the deadline began with */
    uint64_t deadline_ns; /* UINT64_MAX: none */
    uint64_t draw;        /* decides on the service time: the same number draws the same */
    bool repeated;        /* the call has tried this server before */
} sim_sending;

/* Take an attempt, of which the driver sets `pick` and `owner`; then send it to a server, or forget it. Attempts move in
 * memory when another one is taken. */
uint32_t sim_take(engine *e);
void sim_send(engine *e, uint32_t index, const sim_sending *sending);
/* The client does not wait for the attempt any more. A server that has begun it ends it. */
void sim_forget(engine *e, uint32_t index);

/* Count a call by the time of its begin. */
void sim_collect_call(engine *e, uint64_t begun_ns);
void sim_collect_end(engine *e, uint64_t begun_ns, uint64_t took_ns, evener_status_code code);

/* ---- between the engine's files ---- */

/* engine.c: add the time since the last change of a server's calls to the windows; pass every client its list;
 * set the time of the next arrival. */
void sim_account(engine *e, uint32_t index);
void sim_update_clients(engine *e);
void sim_set_arrival(engine *e);

/* engine_setup.c: build and free the scene. sim_set_up() returns false with a message if the clients cannot be opened;
 * call sim_tear_down() in either case. */
bool sim_set_up(engine *e, char *message, size_t message_bytes);
void sim_tear_down(engine *e);
sim_result *sim_make_result(const engine *e);

#endif
