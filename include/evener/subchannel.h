/* Subchannel: one backend as a policy sees it: connectivity state, and a place for the policy's own data.
 *
 * A policy creates a subchannel for an address through its helper, asks it to connect, is told of every change of its
 * state, puts READY ones into pickers, and releases it when the address is gone. Behind it the channel keeps one
 * connection an address with its backoff and statistics, which live on while any policy of the channel uses the address
 * (so that changing the policy reconnects nothing).
 *
 * Life: memory lives while the policy, a picker (evener_subchannel_ref()) or a pick that is not done uses it. */
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
    /* Told every change of state, on the control thread, never from inside a call of the policy into the subchannel,
     * never after evener_subchannel_release(). The first call tells a state other than IDLE, if it has one (the address
     * may be connected already). `status` is the reason with TRANSIENT_FAILURE, else OK. */
    void (*state_changed)(void *arg, evener_subchannel *subchannel, evener_connectivity_state state,
                          const evener_status *status);
    void *arg;
    /* Told once, from inside evener_subchannel_release(): for a policy that wraps another and listens in its place. It
     * must not use the subchannel any more. NULL: nobody asks. */
    void (*released)(void *arg, evener_subchannel *subchannel);
    /* Zeroed, 64-byte aligned memory for the policy that lives as long as the subchannel's. A policy asks for the same
     * size for all its subchannels: a wrapping policy puts its own behind it. */
    size_t data_bytes;
    void (*data_destroy)(void *data); /* ends that memory's contents, on the control thread; or NULL */
} evener_subchannel_options;

/* Takes, gives back a reference for a picker (or anything else that outlives the policy's turn). A picker that can pick
 * a subchannel holds one. Control thread. NULL is allowed for unref. */
EVENER_API evener_subchannel *evener_subchannel_ref(evener_subchannel *subchannel);
EVENER_API void evener_subchannel_unref(evener_subchannel *subchannel);

/* Connects if it is IDLE; in backoff, connects as soon as that is over; else nothing. Control thread. */
EVENER_API void evener_subchannel_connect(evener_subchannel *subchannel);

/* The policy lets go: no state change is told any more, it must not be picked by any picker published from now on, and
 * the connection closes gracefully (calls under way finish) unless another policy of the channel uses it. Gives back
 * the reference that create gave. Control thread. */
EVENER_API void evener_subchannel_release(evener_subchannel *subchannel);

/* A17. Watches the health of `service` ("": the server as a whole) over the READY connection of the subchannel, until it
 * drops, the subchannel is released, or another watch takes its place; `service` NULL ends the watch. Tells READY
 * (serving), TRANSIENT_FAILURE (not serving, with the reason) or CONNECTING (not known yet), on the control thread, never
 * from inside. A backend has one watch: of two policies that share it the last one has it. Errors: FAILED_PRECONDITION
 * (not READY), UNIMPLEMENTED (the transport has no health). Control thread. */
EVENER_API evener_status_code evener_subchannel_watch_health(evener_subchannel *subchannel, const char *service,
                                                             void (*health_changed)(void *arg,
                                                                                    evener_subchannel *subchannel,
                                                                                    evener_connectivity_state health,
                                                                                    const evener_status *status),
                                                             void *arg, evener_status *status);

/* State now. Control thread. */
EVENER_API evener_connectivity_state evener_subchannel_state(const evener_subchannel *subchannel);

/* The address with its attributes as last set; valid until they are set again. Control thread. */
EVENER_API const evener_address *evener_subchannel_address(const evener_subchannel *subchannel);

/* Takes over other attributes of the same backend; never reconnects. Control thread. */
EVENER_API void evener_subchannel_set_address(evener_subchannel *subchannel, const evener_address *address);

/* The policy's memory (options.data_bytes); NULL if none. Any thread that holds a pick or a picker's reference. */
EVENER_API void *evener_subchannel_data(evener_subchannel *subchannel);

/* The backend's address as text; immutable, so readable on any thread that holds a pick. */
EVENER_API const char *evener_subchannel_address_text(const evener_subchannel *subchannel);

/* Calls under way, counted by the channel: exact when nobody picks at the moment. Any thread that holds a pick or a
 * reference. */
EVENER_API uint64_t evener_subchannel_in_flight(const evener_subchannel *subchannel);

/* Whether a pick of it is the beginning of a call that takes microseconds, as over gRPC: its transport counts who uses a
 * connection. Then what the pick itself takes does not matter, and a policy may well write to memory that all threads share
 * for the sake of a better order. The same for all subchannels of a channel, for good. Any thread that holds a pick or a
 * reference. */
EVENER_API bool evener_subchannel_carries_calls(const evener_subchannel *subchannel);

EVENER_END_DECLS

#endif
