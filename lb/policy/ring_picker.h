/* The picker of ring_hash: from a call's hash to a backend. */
#ifndef EVENER_LB_POLICY_RING_PICKER_H
#define EVENER_LB_POLICY_RING_PICKER_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/policy.h>

#include "lb/policy/hash_ring.h"

#define HEADER_BYTES 128

/* The calls in flight at all backends of one policy, for maxLoadFactor. Lives as long as a subchannel's memory does.
 * References are the control thread's. */
typedef struct ring_load {
    uint32_t references;
    uint32_t in_flight; /* atomic */
} ring_load;

/* What a subchannel's memory holds. */
typedef struct endpoint_data {
    uint32_t wanted;    /* atomic: a pick asks for a connection */
    uint32_t places;    /* on the ring; the control thread's */
    uint32_t in_flight; /* atomic; counted with maxLoadFactor only */
    ring_load *load;    /* a reference */
} endpoint_data;

/* How pickers ask the policy to connect. Outlives the policy as long as a picker does. References are the control
 * thread's; `posted` is atomic. */
typedef struct connect_request {
    evener_task task;
    struct ring_hash *policy; /* NULL: closed */
    uint32_t references;
    uint32_t posted;
} connect_request;

typedef struct target {
    evener_subchannel *subchannel;
    endpoint_data *data;
    evener_connectivity_state state;
} target;

typedef struct ring_picker {
    evener_picker base;
    evener_hash_ring *ring;
    connect_request *request;
    evener_lane_random random;
    evener_status error; /* when all fail */
    uint32_t count;
    uint32_t usable; /* of those with places on the ring: not in TRANSIENT_FAILURE */
    bool any_connecting;
    bool bounded;           /* by load_factor_max */
    double load_factor_max; /* maxLoadFactor; 0: no bound */
    ring_load *load;        /* used with a bound */
    char header[HEADER_BYTES];
    target targets[];
} ring_picker;

extern const evener_picker_vtable ring_picker_vtable;

/* Give back a reference. Control thread. */
void connect_request_unref(connect_request *request);
void ring_load_unref(ring_load *load);

#endif
