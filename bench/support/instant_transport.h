/* A transport whose connections are ready as soon as they are asked for, and carry nothing: what is left to measure is
 * evener. Connections come from chunks that are kept until the end, and all that were asked for in a turn are told READY
 * by one task, as a real transport's watcher tells what it has found: a connection costs the transport some nanoseconds
 * and no allocation. */
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
    atomic_uint_fast64_t ready; /* connections that are ready now */
    atomic_uint_fast64_t made;  /* connections that have become ready, ever */
    atomic_uint_fast64_t alive; /* connections that were not given up yet */

    /* The control thread's. */
    evener_task ready_task;
    struct instant_connection *asked_for, **asked_for_tail; /* since the task ran last */
    struct instant_connection *unused;
    struct instant_chunk *chunks;
    size_t bytes;
} instant_transport;

/* `loop` is the runtime's. The transport must outlive the channels. */
void instant_transport_init(instant_transport *transport, evener_loop *loop);

/* Frees all connections: nothing uses them any more. Nothing to do for one that was zeroed and never begun. */
void instant_transport_clear(instant_transport *transport);

/* Bytes that the connections hold, as malloc counts them. */
size_t instant_transport_bytes(const instant_transport *transport);

#endif
