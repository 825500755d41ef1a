/* The engine: what all gRPC transports of one runtime share: the core kept initialised, the watcher of connections and
 * the completion queues for calls. Made with the first connection, ended with the runtime. */
#ifndef EVENER_LB_TRANSPORT_GRPC_ENGINE_H
#define EVENER_LB_TRANSPORT_GRPC_ENGINE_H

#include <evener/runtime.h>
#include <evener/status.h>

#include "lb/transport/grpc_queues.h"
#include "lb/transport/grpc_watcher.h"

typedef struct evener_grpc_engine {
    evener_grpc_watcher *watcher;
    evener_grpc_queues *queues;
} evener_grpc_engine;

/* The runtime's engine, made on first use; NULL and a filled status on failure. Control thread. */
evener_grpc_engine *evener_grpc_engine_get(evener_runtime *runtime, evener_status *status);

#endif
