/* The transport of simulated channels: a connection is up after one round trip of the network, unless the server refuses;
 * unary calls are attempts at the engine's servers. Everything happens on the virtual loop. */
#ifndef EVENER_BENCH_SIM_TRANSPORT_H
#define EVENER_BENCH_SIM_TRANSPORT_H

#include <evener/transport.h>

#include "bench/sim/engine_internal.h"

/* The metadata of a call: its value is the pointer to a sim_channel_call. */
#define SIM_CALL_KEY "sim-call-bin"
#define SIM_TRIED_MAX 16

/* A call of a simulated channel; valid until it has ended. */
typedef struct sim_channel_call {
    engine *engine;
    uint64_t number;
    uint64_t begun_ns;
    uint32_t attempts;
    uint32_t tried[SIM_TRIED_MAX]; /* the servers of the first attempts */
} sim_channel_call;

typedef struct sim_transport {
    evener_transport base;
    engine *engine;
    evener_connection **connections; /* by server: a list of those that were not given up */
    uint64_t alive;                  /* connections whose memory was not freed */
} sim_transport;

/* Initialise it after the servers. Every connection must have been given up before clear(). */
void sim_transport_init(sim_transport *transport, engine *e);
void sim_transport_clear(sim_transport *transport);

/* Drop all connections to the server. Calls in flight on them stay: the engine ends them. */
void sim_transport_drop(sim_transport *transport, uint32_t server);

/* End an attempt at the client, who waits for it. */
void sim_transport_end(engine *e, uint32_t index, evener_status_code code);

#endif
