#include "lb/transport/grpc/fate.h"

#include <string.h>

#include <grpc/support/time.h>

#include "lb/transport/grpc/watcher.h"

/* Observed on core 1.51, and provoked by tests/grpc/test_fate.c, which fails when the core's words change. Only the
 * beginning of a text is certainly the core's: the rest may quote others (the last error). Other ends without a
 * transport ("UNKNOWN:Deadline Exceeded", "CANCELLED", call credentials that fail) would not be cured by another
 * attempt. */
const char *const evener_grpc_not_taken_texts[EVENER_GRPC_NOT_TAKEN_TEXTS] = {
    "UNKNOWN:failed to connect to all addresses", /* the connection was lost, and the core could not make another */
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

/* Return whether the core's channel is READY at this moment. */
static bool is_ready(evener_connection *connection)
{
    if (!evener_grpc_connection_enter(connection)) {
        return false;
    }
    const grpc_connectivity_state state = grpc_channel_check_connectivity_state(connection->channel, 0);
    evener_grpc_connection_leave(connection);
    return state == GRPC_CHANNEL_READY;
}

/* Mark the connection as ended. It was READY before it was picked, and is READY only once, so not READY means the
 * end. */
static void is_gone(evener_connection *connection)
{
    if (!atomic_exchange_explicit(&connection->gone, true, memory_order_relaxed)) {
        evener_grpc_connection_post(connection, EVENER_GRPC_EVENT_DROPPED);
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
    const bool too_often =
        not_taken &&
        atomic_fetch_add_explicit(&connection->not_taken, 1, memory_order_relaxed) + 1 >= EVENER_GRPC_NOT_TAKEN_MAX;
    if (too_often || !is_ready(connection)) {
        is_gone(connection);
    } else if (code == EVENER_STATUS_UNAVAILABLE || code == EVENER_STATUS_UNKNOWN) {
        /* The connection's end may be published after the end of its calls, and the watcher may be asleep. */
        evener_grpc_watcher_wake(connection->engine->watcher);
    }
}

/* Return how long this call may wait: the rest of its connection's time. */
static uint64_t time_to_wait_ns(evener_connection *connection)
{
    const uint64_t now_ns = evener_loop_now_ns(connection->loop);
    uint64_t since_ns = atomic_load_explicit(&connection->end_awaited_ns, memory_order_relaxed);
    if (since_ns == 0 || now_ns - since_ns >= EVENER_GRPC_END_INTERVAL_MS * EVENER_NS_PER_MS) {
        (void)atomic_compare_exchange_strong_explicit(&connection->end_awaited_ns, &since_ns, now_ns,
                                                      memory_order_relaxed, memory_order_relaxed);
        return EVENER_GRPC_END_MS * EVENER_NS_PER_MS;
    }
    const uint64_t waited_ns = now_ns - since_ns;
    return waited_ns < EVENER_GRPC_END_MS * EVENER_NS_PER_MS ? EVENER_GRPC_END_MS * EVENER_NS_PER_MS - waited_ns : 0;
}

/* Return whether the connection ends within `ns`. With a queue of its own this thread serves the sockets meanwhile. */
static bool ends_within(evener_connection *connection, uint64_t ns)
{
    if (!evener_grpc_connection_enter(connection)) {
        return true;
    }
    grpc_completion_queue *queue = grpc_completion_queue_create_for_next(NULL);
    const gpr_timespec until =
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos((int64_t)ns, GPR_TIMESPAN));
    grpc_channel_watch_connectivity_state(connection->channel, GRPC_CHANNEL_READY, until, queue, NULL);
    evener_grpc_connection_leave(connection);
    const grpc_event event = grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_completion_queue_shutdown(queue);
    (void)grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_completion_queue_destroy(queue);
    return event.success != 0;
}

void evener_grpc_connection_await_end(evener_connection *connection)
{
    if (evener_grpc_connection_is_gone(connection)) {
        return;
    }
    const uint64_t ns = time_to_wait_ns(connection);
    if (ns > 0 && ends_within(connection, ns)) {
        is_gone(connection);
    }
}
