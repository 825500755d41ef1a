/* Overdue: calls whose deadline has passed although the core has not ended them.
 *
 * The core completes the operations of a call only when the write that carries them has ended, so that its own timer
 * does not help against a peer that does not read (1.51). Calls without a thread that plucks are in these lists from
 * their beginning to their end; the call threads check them. */
#ifndef EVENER_LB_TRANSPORT_GRPC_OVERDUE_H
#define EVENER_LB_TRANSPORT_GRPC_OVERDUE_H

#include <evener/status.h>

typedef struct evener_grpc_overdue evener_grpc_overdue;
struct evener_grpc_core_call;

/* The core's own timer gets this much longer than the deadline, as its status has more details. */
#define EVENER_GRPC_CORE_GRACE_MS 20

/* Create the lists. NULL and a filled status on failure. Any thread. */
evener_grpc_overdue *evener_grpc_overdue_create(evener_status *status);
/* Destroy the lists, which are empty. NULL is allowed. */
void evener_grpc_overdue_destroy(evener_grpc_overdue *overdue);

/* Add a call that has a deadline, before it is started. Any thread. */
void evener_grpc_overdue_add(evener_grpc_overdue *overdue, struct evener_grpc_core_call *call);
/* Remove a call, if it is in a list. Any thread that holds a reference. */
void evener_grpc_overdue_remove(evener_grpc_overdue *overdue, struct evener_grpc_core_call *call);

/* Cancel each call whose deadline passed EVENER_GRPC_CORE_GRACE_MS ago, and deliver its end. Returns at once if
 * it was called less than 50 ms ago. Delivers events: a call thread. */
void evener_grpc_overdue_look(evener_grpc_overdue *overdue);

#endif
