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

/* Return when the calls in this situation began to wait: now, unless others did so before. */
static uint64_t wait_began_ns(evener_connection *connection, uint64_t now_ns)
{
    uint64_t since_ns = atomic_load_explicit(&connection->end_awaited_ns, memory_order_relaxed);
    if (since_ns != 0 && now_ns - since_ns < EVENER_GRPC_END_INTERVAL_MS * EVENER_NS_PER_MS) {
        return since_ns;
    }
    const bool first = atomic_compare_exchange_strong_explicit(&connection->end_awaited_ns, &since_ns, now_ns,
                                                               memory_order_relaxed, memory_order_relaxed);
    return first ? now_ns : since_ns;
}

/* Return whether no call waits any more in the situation that began then. */
static bool is_settled(const evener_connection *connection, uint64_t since_ns)
{
    return atomic_load_explicit(&connection->end_settled_ns, memory_order_relaxed) == since_ns;
}

static void settle(evener_connection *connection, uint64_t since_ns)
{
    atomic_store_explicit(&connection->end_settled_ns, since_ns, memory_order_relaxed);
}

static bool may_wait(const evener_connection *connection, uint64_t since_ns, uint64_t deadline_ns)
{
    const uint64_t now_ns = evener_loop_now_ns(connection->loop);
    const uint64_t patient_from_ns = atomic_load_explicit(&connection->engine->patient_from_ns, memory_order_relaxed);
    const uint64_t ms = now_ns < patient_from_ns ? EVENER_GRPC_END_MS_MIN : EVENER_GRPC_END_MS;
    return now_ns < deadline_ns && now_ns < since_ns + ms * EVENER_NS_PER_MS;
}

/* Return whether the connection ends within `ms`. With a queue of its own this thread serves the sockets meanwhile. */
static bool ends_within(evener_connection *connection, int64_t ms)
{
    if (!evener_grpc_connection_enter(connection)) {
        return true;
    }
    grpc_completion_queue *queue = grpc_completion_queue_create_for_next(NULL);
    const gpr_timespec until = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
    grpc_channel_watch_connectivity_state(connection->channel, GRPC_CHANNEL_READY, until, queue, NULL);
    evener_grpc_connection_leave(connection);
    const grpc_event event = grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_completion_queue_shutdown(queue);
    (void)grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_completion_queue_destroy(queue);
    return event.success != 0;
}

void evener_grpc_connection_await_end(evener_connection *connection, uint64_t deadline_ns)
{
    if (evener_grpc_connection_is_gone(connection)) {
        return;
    }
    const uint64_t since_ns = wait_began_ns(connection, evener_loop_now_ns(connection->loop));
    while (!is_settled(connection, since_ns) && may_wait(connection, since_ns, deadline_ns)) {
        if (ends_within(connection, EVENER_GRPC_END_MS_MIN)) {
            is_gone(connection);
            return;
        }
    }
    const uint64_t now_ns = evener_loop_now_ns(connection->loop);
    if (!is_settled(connection, since_ns) && now_ns >= since_ns + EVENER_GRPC_END_MS * EVENER_NS_PER_MS) {
        settle(connection, since_ns);
        atomic_store_explicit(&connection->engine->patient_from_ns,
                              now_ns + EVENER_GRPC_END_INTERVAL_MS * EVENER_NS_PER_MS, memory_order_relaxed);
    }
}

void evener_grpc_connection_answered(evener_connection *connection, uint64_t awaited_ns)
{
    if (__builtin_expect(awaited_ns != 0, 0) &&
        awaited_ns == atomic_load_explicit(&connection->end_awaited_ns, memory_order_relaxed) &&
        !is_settled(connection, awaited_ns)) {
        settle(connection, awaited_ns);
    }
}
