/* The watcher: one thread per runtime that follows the connectivity of all gRPC connections. */
#ifndef EVENER_LB_TRANSPORT_GRPC_WATCHER_H
#define EVENER_LB_TRANSPORT_GRPC_WATCHER_H

#include <grpc/grpc.h>

#include <evener/picker.h>
#include <evener/status.h>

typedef struct evener_grpc_watcher evener_grpc_watcher;

/* Start the thread; NULL and a filled status on failure. Any thread. */
evener_grpc_watcher *evener_grpc_watcher_create(evener_status *status);

/* Join the thread; every connection it was given must have been given up. Not on its thread. */
void evener_grpc_watcher_stop(evener_grpc_watcher *watcher);

/* Free a watcher that was stopped. NULL is allowed. */
void evener_grpc_watcher_destroy(evener_grpc_watcher *watcher);

/* Make the connection's channel connect, and report its events until it fails, drops or is given up. Holds a reference
 * meanwhile. Control thread. */
void evener_grpc_watcher_follow(evener_grpc_watcher *watcher, evener_connection *connection);

/* Make the thread look at the connections now, after an event that it may not have seen. Any thread; takes a short
 * lock. */
void evener_grpc_watcher_wake(evener_grpc_watcher *watcher);

/* Return the queue that the thread serves, for other operations that concern a connection and not a call. They are
 * tagged with an evener_grpc_tag, whose `done` must not block. Call expect before each is started, and forget if it is
 * then not started. Between attend and release the thread polls, so that such an operation proceeds at once even when
 * no other thread is in the core. Any thread. */
grpc_completion_queue *evener_grpc_watcher_queue(const evener_grpc_watcher *watcher);
void evener_grpc_watcher_expect(evener_grpc_watcher *watcher);
void evener_grpc_watcher_forget(evener_grpc_watcher *watcher);
void evener_grpc_watcher_attend(evener_grpc_watcher *watcher);
void evener_grpc_watcher_release(evener_grpc_watcher *watcher);

#endif
