/* Groups: connections to one server that share their calls (A105, connection scaling).
 *
 * A group begins when a further connection is made beside one whose calls wait for room below the peer's
 * MAX_CONCURRENT_STREAMS. A call that begins on a member goes to the oldest one with room, otherwise to the oldest one,
 * where it waits in order; it is moved when another member has room. Members leave when they take no further call. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_GROUP_H
#define EVENER_LB_TRANSPORT_HTTP2_GROUP_H

#include <stdbool.h>

#include <evener/channel.h>

#include "lb/transport/http2/internal.h"

/* The most that a channel's option allows. */
#define EVENER_HTTP2_GROUP_MAX EVENER_CONNECTIONS_PER_BACKEND_MAX

/* Let `connection`, which is new, enter the group of `beside` when it opens. False: out of memory. Control thread. */
bool evener_http2_group_join(evener_connection *connection, evener_connection *beside);

/* The connection has opened: it is the youngest member from now on. Owner. */
void evener_http2_group_opened(evener_connection *connection);

/* The connection takes no further call. May be called twice. Owner. */
void evener_http2_group_leave(evener_connection *connection);

/* The peer's limit of streams has changed. Owner. */
void evener_http2_group_limit_changed(evener_connection *connection);

/* Return the member that a call that begins on `connection` goes to, with a reference, and count the call there;
 * `connection` itself if no member takes calls. Any thread. */
evener_connection *evener_http2_group_choose(evener_connection *connection);

/* A counted call has ended: give the room and the reference back, which may be the last one. Any thread. */
void evener_http2_group_release(evener_connection *carrier);

/* At the end of a turn: move calls that wait to members with room, and report when calls begin to wait. Owner. */
void evener_http2_group_turn(evener_connection *connection);

/* The connection is freed. Control thread. */
void evener_http2_group_unref(struct evener_http2_group *self);

static inline struct evener_http2_group *evener_http2_group_of(evener_connection *connection)
{
    return atomic_load_explicit(&connection->group, memory_order_acquire);
}

#endif
