/* A transport whose connections are ready as soon as they are asked for, and carry nothing: what is left to measure is
 * evener. */
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
    atomic_uint_fast64_t alive; /* connections whose memory is not free yet */
} instant_transport;

/* `loop` is the runtime's. The transport must outlive the channels. */
void instant_transport_init(instant_transport *transport, evener_loop *loop);

/* Bytes of all connections that are alive, as malloc counts them. */
size_t instant_transport_bytes(const instant_transport *transport);

#endif
