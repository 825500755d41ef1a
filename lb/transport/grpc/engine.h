/* The engine: what all gRPC transports of one runtime share: the initialised core, the watcher of connections and the
 * completion queues for calls. Created with the first connection, destroyed with the runtime. */
#ifndef EVENER_LB_TRANSPORT_GRPC_ENGINE_H
#define EVENER_LB_TRANSPORT_GRPC_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/runtime.h>
#include <evener/status.h>

#include "lb/transport/grpc/call_threads.h"
#include "lb/transport/grpc/overdue.h"
#include "lb/transport/grpc/queues.h"
#include "lb/transport/grpc/watcher.h"

typedef struct evener_grpc_engine {
    evener_grpc_watcher *watcher;
    evener_grpc_queues *queues;
    evener_grpc_overdue *overdue;
    evener_grpc_call_threads *call_threads;
    _Atomic size_t connections; /* not freed yet. The control thread writes; calls read it as a hint */
    /* Until then waits for the end of a connection are short: see evener_grpc_connection_await_end(). */
    _Atomic uint64_t patient_from_ns;
    bool runtime_ended; /* control thread */
} evener_grpc_engine;

/* Return the runtime's engine, created on first use; NULL and a filled status on failure. Control thread. */
evener_grpc_engine *evener_grpc_engine_get(evener_runtime *runtime, evener_status *status);

/* Bracket the life of every connection: the engine stays until the last one is freed, which may be a moment after the
 * end of the runtime's channels. Control thread. */
void evener_grpc_engine_connection_begins(evener_grpc_engine *engine);
void evener_grpc_engine_connection_ended(evener_grpc_engine *engine);

#endif
