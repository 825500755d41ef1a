/* Fate: what is known of a call that ended without OK: whether a transport of the core took it, and what that implies
 * for its connection.
 *
 * Only the core's own words count. What a server can write (the status, its message, metadata) proves nothing, nor does
 * the absence of a peer. With a status that came through a transport, from any source, `error_string` of
 * GRPC_OP_RECV_STATUS_ON_CLIENT begins with "UNKNOWN:Error received from peer" (core 1.51). */
#ifndef EVENER_LB_TRANSPORT_GRPC_FATE_H
#define EVENER_LB_TRANSPORT_GRPC_FATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/status.h>

#include "lb/transport/grpc/connection.h"

/* Attempts in a row that no transport took; then the connection counts as gone, though the core calls it READY. */
#define EVENER_GRPC_NOT_TAKEN_MAX 3

/* What `error_string` begins with when no transport took the call. */
#define EVENER_GRPC_NOT_TAKEN_TEXTS 2
extern const char *const evener_grpc_not_taken_texts[EVENER_GRPC_NOT_TAKEN_TEXTS];

/* Return whether the call certainly reached no transport, and can be made again without harm. `error_string` is the
 * core's, or NULL; `answered`: initial metadata, a message or trailing metadata arrived. Any thread. */
bool evener_grpc_was_not_taken(const char *error_string, bool answered);

/* Judge the connection after a call on it has ended with `code`: it counts as gone when it is known not to be READY any
 * more, or when EVENER_GRPC_NOT_TAKEN_MAX attempts in a row were not taken. Any thread that holds a reference. */
void evener_grpc_connection_judge(evener_connection *connection, evener_status_code code, bool not_taken);

/* After judge(), for a call that ended UNAVAILABLE with nothing of an answer: the core reports to such calls the end of
 * their connection before it publishes that end, and only once the thread that publishes it gets a processor. Wait for
 * that, or the next call of the same thread would be lost on it as well. Decides nothing: the connection counts as gone
 * only when the core says so. The wait is over
 *
 *   when the connection has ended
 *   when a call that began during the wait is answered (evener_grpc_connection_answered()): the connection works
 *   at `deadline_ns`, the call's own
 *   EVENER_GRPC_END_MS after the first such call of the last EVENER_GRPC_END_INTERVAL_MS on this connection; for that
 *   long an interval after a wait in vain on any connection of the engine, already EVENER_GRPC_END_MS_MIN after it, as
 *   servers may refuse all calls in this way
 *
 * Any thread that holds a reference and may wait as long. */
#define EVENER_GRPC_END_MS 50
#define EVENER_GRPC_END_MS_MIN 5
#define EVENER_GRPC_END_INTERVAL_MS 1000
void evener_grpc_connection_await_end(evener_connection *connection, uint64_t deadline_ns);

/* Note that a call is answered that began when end_awaited_ns was `awaited_ns`. Any thread that holds a reference. */
void evener_grpc_connection_answered(evener_connection *connection, uint64_t awaited_ns);

#endif
