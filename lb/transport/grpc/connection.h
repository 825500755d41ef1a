/* A connection of the gRPC transport: one connection of a grpc_channel, from the attempt to connect to its end. The
 * channel may serve the next connection as well: kept.h.
 *
 * Life: references to a connection are held by its creator until disconnect(), by the watcher while one of its events
 * is outstanding, and by every pick until it is done. The grpc_channel inside is destroyed earlier: at disconnect(), so
 * that the core ends calls that never left it ("Channel Destroyed") while calls on the wire finish. A thread brackets
 * each use of the channel with enter() and leave(), and so does an attempt to connect, so that the channel is not
 * destroyed meanwhile. The last one to leave destroys the channel itself. It cannot leave that to the control thread,
 * which may be waiting for the watcher to end, which waits for the channel's outstanding events. */
#ifndef EVENER_LB_TRANSPORT_GRPC_CONNECTION_H
#define EVENER_LB_TRANSPORT_GRPC_CONNECTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <grpc/grpc.h>

#include <evener/loop.h>
#include <evener/transport.h>

#include "lb/transport/grpc/engine.h"

/* The use word: references in the low bits, above them the threads inside the channel, and the flag that forbids
 * entering. */
#define EVENER_GRPC_USE_REFERENCE UINT64_C(1)
#define EVENER_GRPC_USE_INSIDE (UINT64_C(1) << 32)
#define EVENER_GRPC_USE_GIVEN_UP (UINT64_C(1) << 63)

/* The watcher's state of a connection; only its thread reads and writes it. */
typedef enum evener_grpc_phase {
    EVENER_GRPC_PHASE_NEW = 0, /* no event yet; in this phase and the next the attempt has entered the connection */
    EVENER_GRPC_PHASE_CONNECTING = 1, /* the core connects */
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
    grpc_channel *channel; /* set before other threads see the connection; used between enter() and leave() only */
    struct evener_grpc_core_channel *shared; /* what holds it */
    char *peer;                              /* evener_call_details.peer of its calls */
    evener_grpc_engine *engine;
    evener_loop *loop;
    /* A call saw that the core's channel is not READY any more. The control thread is notified a moment later; no call
     * begins meanwhile. See fate.h. */
    _Atomic bool gone;
    _Atomic uint32_t calls;          /* that have not been freed */
    _Atomic uint32_t not_taken;      /* attempts in a row that no transport took */
    _Atomic uint64_t end_awaited_ns; /* when calls began to wait for the report of its end, last time; 0: never */
    _Atomic uint64_t end_settled_ns; /* the end_awaited_ns whose wait is over: a call was answered, or time was */

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
    struct evener_grpc_kept *kept; /* the transport's; not after given_up */
    bool ended;                    /* its last event was reported */
    void (*state_changed)(void *arg, evener_connectivity_state state, const evener_status *status);
    void *arg;
    struct evener_grpc_health *health;
    evener_task free_task;
};

/* Take a reference. The caller has one, or reads the connection under RCU. Any thread. */
static inline void evener_grpc_connection_ref(evener_connection *connection)
{
    atomic_fetch_add_explicit(&connection->use, EVENER_GRPC_USE_REFERENCE, memory_order_relaxed);
}

/* Give back a reference. The last one hands the connection to the control thread, which frees it. Any thread. */
void evener_grpc_connection_unref(evener_connection *connection);

/* Destroy the channel, unless that was done. No thread is inside any more, or can enter. Any thread. */
void evener_grpc_connection_close(evener_connection *connection);

static inline uint64_t evener_grpc_use_inside(uint64_t use)
{
    return (use & ~EVENER_GRPC_USE_GIVEN_UP) / EVENER_GRPC_USE_INSIDE;
}

/* Return whether the connection was given up. Any thread that holds a reference. */
static inline bool evener_grpc_connection_is_given_up(evener_connection *connection)
{
    return (atomic_load_explicit(&connection->use, memory_order_acquire) & EVENER_GRPC_USE_GIVEN_UP) != 0;
}

/* Leave the channel. The caller still holds its reference. */
static inline void evener_grpc_connection_leave(evener_connection *connection)
{
    uint64_t before = atomic_fetch_sub_explicit(&connection->use, EVENER_GRPC_USE_INSIDE, memory_order_acq_rel);
    if ((before & EVENER_GRPC_USE_GIVEN_UP) != 0 && evener_grpc_use_inside(before) == 1) {
        evener_grpc_connection_close(connection);
    }
}

/* Enter the channel, before any use of `channel`. False: it was given up. Any thread that holds a reference. */
static inline bool evener_grpc_connection_enter(evener_connection *connection)
{
    /* Acquire pairs with the release of disconnect(): true means that the channel is not destroyed before leave(). */
    uint64_t before = atomic_fetch_add_explicit(&connection->use, EVENER_GRPC_USE_INSIDE, memory_order_acq_rel);
    if ((before & EVENER_GRPC_USE_GIVEN_UP) == 0) {
        return true;
    }
    evener_grpc_connection_leave(connection);
    return false;
}

/* Return whether the connection has ended, as far as calls know. A call that reads an old value fails on the core's
 * channel. Any thread that holds a reference. */
static inline bool evener_grpc_connection_is_gone(const evener_connection *connection)
{
    return __builtin_expect(atomic_load_explicit(&connection->gone, memory_order_relaxed), 0);
}

/* Hand an event over to the control thread. FAILED: the watcher's thread, as the only one that writes `failure`; any
 * thread that holds a reference otherwise. */
void evener_grpc_connection_post(evener_connection *connection, uint32_t event);

#endif
