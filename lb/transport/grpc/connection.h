/* A connection of the gRPC transport: one grpc_channel, from the attempt to connect to its end.
 *
 * Life: three things hold a connection: whoever made it until disconnect(), the watcher while one of its events is
 * outstanding, and every pick until it is done. The grpc_channel inside goes earlier: at disconnect(), so that the core
 * ends calls that never left it ("Channel Destroyed") while calls on the wire finish. A thread that is about to use the
 * channel must not meet that: it says so with enter() and leave(), and so does an attempt to connect until it is
 * through. The last one to leave destroys the channel itself, and does not ask the control thread to: that may be
 * waiting for the watcher to end, which waits for what the channel still owes it. */
#ifndef EVENER_LB_TRANSPORT_GRPC_CONNECTION_H
#define EVENER_LB_TRANSPORT_GRPC_CONNECTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <grpc/grpc.h>

#include <evener/loop.h>
#include <evener/transport.h>

#include "lb/transport/grpc/engine.h"

/* The use word: references below, threads inside the channel above them, and the flag that nobody may enter any
 * more. */
#define EVENER_GRPC_USE_REFERENCE UINT64_C(1)
#define EVENER_GRPC_USE_INSIDE (UINT64_C(1) << 32)
#define EVENER_GRPC_USE_GIVEN_UP (UINT64_C(1) << 63)

/* What the watcher knows; only its thread reads and writes it. */
typedef enum evener_grpc_phase {
    EVENER_GRPC_PHASE_NEW = 0,        /* not looked at yet; in this phase and the next the attempt is inside */
    EVENER_GRPC_PHASE_CONNECTING = 1, /* the core tries */
    EVENER_GRPC_PHASE_CONNECTED = 2,  /* READY was reported */
    EVENER_GRPC_PHASE_FAILED = 3,     /* a trial call asks the core for the reason */
    EVENER_GRPC_PHASE_OVER = 4        /* the last event was reported */
} evener_grpc_phase;

/* Events on their way to the control thread, as bits. */
enum { EVENER_GRPC_EVENT_READY = 1, EVENER_GRPC_EVENT_FAILED = 2, EVENER_GRPC_EVENT_DROPPED = 4 };

struct evener_grpc_trial;
struct evener_grpc_health;

struct evener_connection {
    _Atomic uint64_t use;
    atomic_flag closed;    /* the channel is destroyed, or about to be */
    grpc_channel *channel; /* set before anybody sees the connection; not to be used outside of it */
    char *peer;            /* evener_call_details.peer of its calls */
    evener_grpc_engine *engine;
    evener_loop *loop;
    /* A call saw that the core's channel is not READY any more, of which the control thread hears a moment later: no
     * call is to begin meanwhile. See grpc_fate.h. */
    _Atomic bool gone;
    _Atomic uint32_t not_taken;      /* attempts in a row that no transport took */
    _Atomic uint64_t end_awaited_ns; /* since when calls wait to hear of its end, or waited last; 0: never */

    /* the watcher's */
    evener_grpc_phase phase;
    evener_connection *next_attempt, *previous_attempt; /* among those in CONNECTING */
    evener_grpc_tag watch_tag;
    struct evener_grpc_trial *trial;

    /* from the watcher to the control thread: `failure` is written before its event bit */
    _Atomic uint32_t events;
    evener_status failure;
    evener_task events_task;

    /* the control thread's */
    char *address; /* read by all */
    bool given_up;
    bool ended; /* its last event was reported */
    void (*state_changed)(void *arg, evener_connectivity_state state, const evener_status *status);
    void *arg;
    struct evener_grpc_health *health;
    evener_task free_task;
};

/* Another reference; who calls this has one, or reads the connection under RCU. Any thread. */
static inline void evener_grpc_connection_ref(evener_connection *connection)
{
    atomic_fetch_add_explicit(&connection->use, EVENER_GRPC_USE_REFERENCE, memory_order_relaxed);
}

/* Never frees on the calling thread: the last one hands the connection to the control thread. Any thread. */
void evener_grpc_connection_unref(evener_connection *connection);

/* Destroy the channel, unless that was done. Nobody is inside any more, or can enter. Any thread. */
void evener_grpc_connection_close(evener_connection *connection);

static inline uint64_t evener_grpc_use_inside(uint64_t use)
{
    return (use & ~EVENER_GRPC_USE_GIVEN_UP) / EVENER_GRPC_USE_INSIDE;
}

/* Any thread that holds a reference. */
static inline bool evener_grpc_connection_is_given_up(evener_connection *connection)
{
    return (atomic_load_explicit(&connection->use, memory_order_acquire) & EVENER_GRPC_USE_GIVEN_UP) != 0;
}

/* The caller still holds its reference. */
static inline void evener_grpc_connection_leave(evener_connection *connection)
{
    uint64_t before = atomic_fetch_sub_explicit(&connection->use, EVENER_GRPC_USE_INSIDE, memory_order_acq_rel);
    if ((before & EVENER_GRPC_USE_GIVEN_UP) != 0 && evener_grpc_use_inside(before) == 1) {
        evener_grpc_connection_close(connection);
    }
}

/* Before `channel` is used: false when it is given up. Any thread that holds a reference. */
static inline bool evener_grpc_connection_enter(evener_connection *connection)
{
    /* Acquire pairs with the release of disconnect(): true means that the channel cannot go before leave(). */
    uint64_t before = atomic_fetch_add_explicit(&connection->use, EVENER_GRPC_USE_INSIDE, memory_order_acq_rel);
    if ((before & EVENER_GRPC_USE_GIVEN_UP) == 0) {
        return true;
    }
    evener_grpc_connection_leave(connection);
    return false;
}

/* Any thread that holds a reference. A call that misses it meets the same end on the core's channel. */
static inline bool evener_grpc_connection_is_gone(evener_connection *connection)
{
    return __builtin_expect(atomic_load_explicit(&connection->gone, memory_order_relaxed), 0);
}

/* Hand an event over to the control thread. FAILED: the watcher's thread, as the only one that writes `failure`; any
 * thread that holds a reference otherwise. */
void evener_grpc_connection_post(evener_connection *connection, uint32_t event);

#endif
