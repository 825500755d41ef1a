#include "lb/transport/grpc/engine.h"

#include <stdlib.h>

#include <grpc/grpc.h>

#include <evener/grpc.h>

#include "lb/base/fork.h"
#include "lb/runtime/runtime_internal.h"

static void engine_free(evener_grpc_engine *engine)
{
    evener_grpc_watcher_destroy(engine->watcher);
    evener_grpc_call_threads_destroy(engine->call_threads);
    evener_grpc_overdue_destroy(engine->overdue);
    evener_grpc_queues_destroy(engine->queues);
    free(engine);
    /* All objects of the core have been destroyed. If nothing else uses the core, this waits for its threads to end. */
    grpc_shutdown();
}

void evener_grpc_engine_connection_begins(evener_grpc_engine *engine)
{
    atomic_fetch_add_explicit(&engine->connections, 1, memory_order_relaxed);
}

void evener_grpc_engine_connection_ended(evener_grpc_engine *engine)
{
    if (atomic_fetch_sub_explicit(&engine->connections, 1, memory_order_relaxed) == 1 && engine->runtime_ended) {
        engine_free(engine);
    }
}

/* Destroy the engine. All channels have closed, so every connection was given up. Tasks that the joined threads have
 * posted free the remaining ones before the runtime ends. */
static void engine_destroy(void *object)
{
    evener_grpc_engine *engine = object;
    engine->runtime_ended = true;
    evener_grpc_call_threads_stop(engine->call_threads);
    evener_grpc_queues_drain(engine->queues); /* abandoned calls hold connections */
    evener_grpc_watcher_stop(engine->watcher);
    if (atomic_load_explicit(&engine->connections, memory_order_relaxed) == 0) {
        engine_free(engine);
    }
}

static void *engine_create(evener_runtime *runtime, evener_status *status)
{
    evener_grpc_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "gRPC transport: out of memory");
        return NULL;
    }
    grpc_init();
    engine->queues = evener_grpc_queues_create(status);
    if (engine->queues != NULL) {
        engine->overdue = evener_grpc_overdue_create(status);
    }
    if (engine->overdue != NULL) {
        engine->call_threads = evener_grpc_call_threads_create(runtime, engine->overdue, status);
    }
    if (engine->call_threads != NULL) {
        engine->watcher = evener_grpc_watcher_create(status);
    }
    if (engine->watcher == NULL) {
        engine_free(engine);
        return NULL;
    }
    return engine;
}

static const evener_shared_key engine_key = {.name = "grpc engine", .create = engine_create, .destroy = engine_destroy};

evener_grpc_engine *evener_grpc_engine_get(evener_runtime *runtime, evener_status *status)
{
    return evener_runtime_shared(runtime, &engine_key, status);
}

typedef struct set_call_threads {
    evener_runtime *runtime;
    uint32_t count;
    evener_status *status;
    evener_status_code code;
} set_call_threads;

static void set_call_threads_on_control_thread(void *arg)
{
    set_call_threads *request = arg;
    evener_grpc_engine *engine = evener_grpc_engine_get(request->runtime, request->status);
    request->code = engine == NULL
                        ? request->status->code
                        : evener_grpc_call_threads_set_count(engine->call_threads, request->count, request->status);
}

evener_status_code evener_runtime_set_call_threads(evener_runtime *runtime, uint32_t count, evener_status *status)
{
    if (runtime == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "evener_runtime_set_call_threads: `runtime` is NULL");
    }
    if (count > EVENER_CALL_THREADS_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "evener_runtime_set_call_threads: %u threads: at most %d are allowed", count,
                                 EVENER_CALL_THREADS_MAX);
    }
    if (evener_runtime_is_older_than_fork(runtime)) {
        return evener_fork_refuse(status, "runtime");
    }
    evener_status found;
    set_call_threads request = {.runtime = runtime, .count = count, .status = &found};
    evener_runtime_call(runtime, set_call_threads_on_control_thread, &request);
    return request.code == EVENER_STATUS_OK ? evener_status_clear(status)
                                            : evener_status_set(status, request.code, "%s", found.message);
}
