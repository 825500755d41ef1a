/* Subchannel: one backend from a policy's point of view: connectivity state, and memory for the policy's own data.
 *
 * A policy creates a subchannel for an address through its helper, asks it to connect, is notified of every change of
 * its state, puts READY ones into pickers, and releases it when the address is gone. Behind subchannels the channel
 * keeps one connection per address with its backoff and statistics, as long as any policy of the channel uses the
 * address. So a change of policy reconnects nothing.
 *
 * The memory lives while the policy, a picker (evener_subchannel_ref()) or a pick that is not done uses it. */
#ifndef EVENER_SUBCHANNEL_H
#define EVENER_SUBCHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/address.h>
#include <evener/connectivity.h>
#include <evener/status.h>

EVENER_BEGIN_DECLS

typedef struct evener_subchannel evener_subchannel;

typedef struct evener_subchannel_options {
    size_t size; /* sizeof(evener_subchannel_options) */
    /* Called for every change of state, on the control thread, never from inside a call of the policy into the
     * subchannel, never after evener_subchannel_release(). The first call reports the current state, if it is not
     * IDLE (the address may be connected already). `status` is the reason for TRANSIENT_FAILURE, otherwise OK. */
    void (*state_changed)(void *arg, evener_subchannel *subchannel, evener_connectivity_state state,
                          const evener_status *status);
    void *arg;
    /* Called once, from inside evener_subchannel_release(), for a wrapping policy that listens in place of the
     * wrapped one. It must not use the subchannel any more. NULL: not called. */
    void (*released)(void *arg, evener_subchannel *subchannel);
    /* Size of zeroed, 64-byte aligned memory for the policy, which lives as long as the subchannel's. A policy asks
     * for the same size for all its subchannels: a wrapping policy puts its own data behind it. */
    size_t data_bytes;
    void (*data_destroy)(void *data); /* destroys that memory's contents, on the control thread; or NULL */
    /* `arg` is the same for all subchannels of the policy, which saves its memory per backend. A wrapping policy that
     * replaces `arg` by one per subchannel sets this to false. */
    bool arg_is_common;
} evener_subchannel_options;

/* Take or give back a reference, for a picker or anything else that outlives the policy's current function. A picker
 * holds one for each subchannel that it can pick. Control thread. NULL is allowed for unref. */
EVENER_API evener_subchannel *evener_subchannel_ref(evener_subchannel *subchannel);
EVENER_API void evener_subchannel_unref(evener_subchannel *subchannel);

/* Connect if IDLE; during backoff, connect when it ends; otherwise do nothing. Control thread. */
EVENER_API void evener_subchannel_connect(evener_subchannel *subchannel);

/* Release the policy's subchannel. No state change is reported any more, and no picker published from now on may pick
 * it. The connection closes gracefully (calls in flight finish) unless another policy of the channel uses it. Gives
 * back the reference that create gave. Control thread. */
EVENER_API void evener_subchannel_release(evener_subchannel *subchannel);

/* Watch the health of `service` ("": the server as a whole; A17, client-side health checking) over the READY
 * connection, until it drops, the subchannel is released, or another watch replaces this one. `service` NULL ends the
 * watch. Reports READY (serving), TRANSIENT_FAILURE (not serving, with the reason) or CONNECTING (not known yet), on
 * the control thread, never from inside this call. A backend has one watch: of two policies that share it, the last
 * one that asked. Errors: FAILED_PRECONDITION (not READY), UNIMPLEMENTED (the transport has no health). Control
 * thread. */
EVENER_API evener_status_code evener_subchannel_watch_health(evener_subchannel *subchannel, const char *service,
                                                             void (*health_changed)(void *arg,
                                                                                    evener_subchannel *subchannel,
                                                                                    evener_connectivity_state health,
                                                                                    const evener_status *status),
                                                             void *arg, evener_status *status);

/* Watch the load that the backend reports by itself (A51, out-of-band load reports: the stream
 * /xds.service.orca.v3.OpenRcaService/StreamCoreMetrics), over all its connections, until the subchannel is released or
 * another watch replaces this one. `interval_ms` is asked of the server: of several policies that share the backend the
 * shortest counts. 0 ends the watch. Each report is passed as it came, for evener_load_report_parse(), on the control
 * thread, never from inside this call; it is borrowed. A server without the service answers UNIMPLEMENTED: it is asked
 * again over the next connection only. A stream that ends otherwise is opened again after a backoff. Errors:
 * UNIMPLEMENTED (the transport carries no calls), FAILED_PRECONDITION (released), RESOURCE_EXHAUSTED. Control
 * thread. */
EVENER_API evener_status_code evener_subchannel_watch_load(
    evener_subchannel *subchannel, uint64_t interval_ms,
    void (*load_reported)(void *arg, evener_subchannel *subchannel, const void *report, size_t report_bytes), void *arg,
    evener_status *status);

/* Return the state. Control thread. */
EVENER_API evener_connectivity_state evener_subchannel_state(const evener_subchannel *subchannel);

/* Return the address with its attributes as last set. Valid until they are set again. Control thread. */
EVENER_API const evener_address *evener_subchannel_address(const evener_subchannel *subchannel);

/* Set other attributes of the same backend. Never reconnects. Control thread. */
EVENER_API void evener_subchannel_set_address(evener_subchannel *subchannel, const evener_address *address);

/* Return the policy's memory (options.data_bytes); NULL if none. Any thread that holds a pick or a picker's
 * reference. */
EVENER_API void *evener_subchannel_data(evener_subchannel *subchannel);

/* Return the backend's address as text. Immutable. Any thread that holds a pick or a picker's reference. */
EVENER_API const char *evener_subchannel_address_text(const evener_subchannel *subchannel);

/* Return the number of calls in flight, counted by the channel. Exact while no pick runs. Any thread that holds a
 * pick or a reference. */
EVENER_API uint64_t evener_subchannel_in_flight(const evener_subchannel *subchannel);

/* Return whether each pick starts a call that takes microseconds, as over gRPC: the transport counts the users of a
 * connection. Then the cost of the pick itself is negligible, and a policy may write to memory that all threads share
 * in order to balance better. Constant, and the same for all subchannels of a channel. Any thread that holds a pick
 * or a reference. */
EVENER_API bool evener_subchannel_carries_calls(const evener_subchannel *subchannel);

EVENER_END_DECLS

#endif
