/* A transport whose connections are ready at once and carry nothing, so that a bench measures evener alone.
 * Connections come from chunks that are kept until the end. One task reports all connections requested in a turn as
 * READY, as a real transport's watcher does. A connection costs the transport a few nanoseconds and no allocation. */
#ifndef BENCH_SUPPORT_INSTANT_TRANSPORT_H
#define BENCH_SUPPORT_INSTANT_TRANSPORT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/loop.h>
#include <evener/transport.h>

typedef struct instant_transport {
    evener_transport base;
    evener_loop *loop;
    atomic_uint_fast64_t ready; /* connections that are READY */
    atomic_uint_fast64_t made;  /* connections that have become READY since the start */
    atomic_uint_fast64_t alive; /* connections that were not released */

    /* Control thread only. */
    evener_task ready_task;
    struct instant_connection *requested, **requested_tail; /* since the task last ran */
    struct instant_connection *unused;
    struct instant_chunk *chunks;
    size_t bytes;
} instant_transport;

/* Initialise the transport. `loop` is the runtime's. The transport must outlive the channels. */
void instant_transport_init(instant_transport *transport, evener_loop *loop);

/* Free all connections; none may be in use. A zeroed transport is allowed. */
void instant_transport_clear(instant_transport *transport);

/* Return the bytes that the connections hold, as counted by malloc. */
size_t instant_transport_bytes(const instant_transport *transport);

#endif
