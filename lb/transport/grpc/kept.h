/* Channels of the core that outlive their connection, so that the next connection to the same address uses them again.
 *
 * The core connects a channel again by itself when a call begins on it between the end of its connection and evener's
 * notice of that end. And a channel remembers what the server asked for: after "too many pings" it doubles its
 * keepalive time (A8). So the channel of a connection that has ended is kept for a moment, if
 *
 *     it is READY again                        the connection is there: another one would be one too many
 *     it is IDLE, and has no calls             nothing waits in it. Otherwise it is destroyed, so that calls that wait
 *                                              there for a backend that may be away are picked elsewhere at once
 *
 * Functions are for the control thread, except where they say otherwise. */
#ifndef EVENER_LB_TRANSPORT_GRPC_KEPT_H
#define EVENER_LB_TRANSPORT_GRPC_KEPT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <grpc/grpc.h>

#include <evener/loop.h>

/* A channel of the core, shared by the connections that use it one after the other. */
typedef struct evener_grpc_core_channel {
    grpc_channel *channel;
    _Atomic uint32_t references;
    /* what it was made for */
    char *address;
    char *authority;
    uint64_t timeout_ms;
    uint64_t settings; /* evener_grpc_kept.settings */
} evener_grpc_core_channel;

/* The kept channels of a transport. */
typedef struct evener_grpc_kept {
    struct evener_grpc_kept_channel *first;
    evener_loop *loop;
    uint64_t settings; /* changes with the transport's credentials and arguments: older channels are not kept */
} evener_grpc_kept;

/* Take over `channel`, with one reference. Return NULL, and destroy it, if out of memory. */
evener_grpc_core_channel *evener_grpc_core_channel_create(grpc_channel *channel, const char *address,
                                                          const char *authority, uint64_t timeout_ms,
                                                          const evener_grpc_kept *kept);

/* Give back a reference; the last one destroys the channel. Any thread. */
void evener_grpc_core_channel_unref(evener_grpc_core_channel *self);

/* Keep the channel of a connection that has ended, if it is of use: see above. `has_calls`: calls of
 * it have not ended. Without memory it is not kept. */
void evener_grpc_kept_add(evener_grpc_kept *kept, evener_grpc_core_channel *channel, bool has_calls);

/* Return a kept channel with its reference, or NULL. */
evener_grpc_core_channel *evener_grpc_kept_take(evener_grpc_kept *kept, const char *address, const char *authority,
                                                uint64_t timeout_ms);

/* Give all up, at the end of the transport or when its settings change. */
void evener_grpc_kept_clear(evener_grpc_kept *kept);

#endif
