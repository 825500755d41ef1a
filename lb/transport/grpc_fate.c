#include "lb/transport/grpc_fate.h"

#include <string.h>

#include "lb/transport/grpc_watcher.h"

/* Each seen on core 1.51, and provoked by tests/grpc/test_fate.c, which fails when the core's words change. The texts go
 * on (with the last error, and that may quote others): only what they begin with is the core's alone. Other ends without
 * a transport ("UNKNOWN:Deadline Exceeded", "CANCELLED", call credentials that fail) are none that another attempt
 * would mend. */
const char *const evener_grpc_not_taken_texts[EVENER_GRPC_NOT_TAKEN_TEXTS] = {
    "UNKNOWN:failed to connect to all addresses", /* the connection was lost before, and the core could not make another */
    "UNKNOWN:Channel Destroyed",                  /* the connection was given up while the call waited in the core */
};

bool evener_grpc_was_not_taken(const char *error_string, bool answered)
{
    if (error_string == NULL || answered) {
        return false;
    }
    for (size_t i = 0; i < EVENER_GRPC_NOT_TAKEN_TEXTS; i++) {
        if (strncmp(error_string, evener_grpc_not_taken_texts[i], strlen(evener_grpc_not_taken_texts[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* READY as far as the core knows at this moment. */
static bool is_ready(evener_connection *connection)
{
    if (!evener_grpc_connection_enter(connection)) {
        return false;
    }
    const grpc_connectivity_state state = grpc_channel_check_connectivity_state(connection->channel, 0);
    evener_grpc_connection_leave(connection);
    return state == GRPC_CHANNEL_READY;
}

/* A connection was READY before it was picked, and is so only once: not READY means the end. */
static void is_gone(evener_connection *connection)
{
    if (!atomic_exchange_explicit(&connection->gone, true, memory_order_relaxed)) {
        evener_grpc_connection_tell(connection, EVENER_GRPC_EVENT_DROPPED);
    }
}

void evener_grpc_connection_judge(evener_connection *connection, evener_status_code code, bool not_taken)
{
    if (!not_taken && atomic_load_explicit(&connection->not_taken, memory_order_relaxed) != 0) {
        atomic_store_explicit(&connection->not_taken, 0, memory_order_relaxed);
    }
    if (code == EVENER_STATUS_OK || evener_grpc_connection_is_gone(connection)) {
        return;
    }
    const bool too_often = not_taken && atomic_fetch_add_explicit(&connection->not_taken, 1, memory_order_relaxed) + 1 >=
                                            EVENER_GRPC_NOT_TAKEN_MAX;
    if (too_often || !is_ready(connection)) {
        is_gone(connection);
    } else if (code == EVENER_STATUS_UNAVAILABLE || code == EVENER_STATUS_UNKNOWN) {
        /* The end of the connection may come behind the calls that it ended, and the watcher be asleep. */
        evener_grpc_watcher_wake(connection->engine->watcher);
    }
}
