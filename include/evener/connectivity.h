/* Connectivity state of a channel or of a subchannel (grpc: doc/connectivity-semantics-and-api.md). */
#ifndef EVENER_CONNECTIVITY_H
#define EVENER_CONNECTIVITY_H

#include <evener/export.h>

EVENER_BEGIN_DECLS

/* gRPC's states with gRPC's numbers. */
typedef enum evener_connectivity_state {
    EVENER_IDLE = 0,              /* not connected, not trying */
    EVENER_CONNECTING = 1,        /* connecting */
    EVENER_READY = 2,             /* connected: calls go here */
    EVENER_TRANSIENT_FAILURE = 3, /* failed; retries after the backoff */
    EVENER_SHUTDOWN = 4           /* closed for good */
} evener_connectivity_state;

/* Return "IDLE", "CONNECTING", ...; "?" for a number that is no state. A static string. */
EVENER_API const char *evener_connectivity_state_name(evener_connectivity_state state);

EVENER_END_DECLS

#endif
