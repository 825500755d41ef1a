/* A connection: references, the queue of operations, and the turn of its owner.
 *
 * References are held by its creator until disconnect(), by its I/O thread while the socket is watched, by the ready
 * queue, by each event on the way to the control thread, and by each pick. After the last one the control thread frees
 * the memory. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lb/base/c_locale.h"
#include "lb/base/fork.h"
#include "lb/transport/http2/flow_control.h"
#include "lb/transport/http2/group.h"
#include "lb/transport/http2/internal.h"
#include "lb/transport/http2/keepalive.h"
#include "lb/transport/http2/tls.h"
#include "lb/transport/http2/tunnel.h"

/* Reads per turn: a peer that never stops sending must not keep the others waiting. */
#define READS_PER_TURN 4

void evener_http2_connection_ref(evener_connection *connection)
{
    (void)atomic_fetch_add_explicit(&connection->references, 1, memory_order_relaxed);
}

void evener_http2_connection_unref(evener_connection *connection)
{
    /* acq_rel: the last one sees all changes of the others. */
    if (atomic_fetch_sub_explicit(&connection->references, 1, memory_order_acq_rel) == 1) {
        evener_loop_post(connection->loop, &connection->free_task);
    }
}

void evener_http2_connection_init(evener_connection *connection, evener_http2_transport *transport,
                                  evener_http2_engine *engine)
{
    connection->transport = transport;
    connection->engine = engine;
    connection->loop = engine->loop;
    connection->fd = -1;
    connection->streams_max = UINT32_MAX;
    atomic_init(&connection->streams_limit, UINT32_MAX);
    atomic_init(&connection->references, 1);
    evener_http2_queue_init(&connection->operations);
    atomic_init(&connection->op.bits, EVENER_HTTP2_OP_LIVE);
    connection->timers = (evener_timer_heap)EVENER_TIMER_HEAP_INIT;
    evener_http2_link_init(&connection->waiting);
    evener_http2_link_init(&connection->open);
    evener_http2_link_init(&connection->ending);
    evener_http2_link_init(&connection->written);
    evener_http2_link_init(&connection->narrow);
    evener_http2_link_init(&connection->thread_link);
    evener_http2_link_init(&connection->dirty_link);
    connection->keepalive = (evener_timer)EVENER_TIMER_INIT(evener_http2_keepalive_rings, connection);
    connection->narrow_timer = (evener_timer)EVENER_TIMER_INIT(evener_http2_narrow_rings, connection);
    connection->wake_timer = (evener_timer)EVENER_TIMER_INIT(evener_http2_wake_rings, connection);
    connection->linger_timer = (evener_timer)EVENER_TIMER_INIT(evener_http2_linger_rings, connection);
}

/* ---- operations ---- */

bool evener_http2_has_operations(evener_connection *connection)
{
    atomic_thread_fence(memory_order_seq_cst);
    return !evener_http2_queue_is_empty(&connection->operations);
}

void evener_http2_wake_owner(evener_connection *connection)
{
    atomic_thread_fence(memory_order_seq_cst); /* after queueing, before looking */
    switch (atomic_load(&connection->owner)) {
    case EVENER_HTTP2_OWNER_FREE:
        evener_http2_schedule(connection);
        return;
    case EVENER_HTTP2_OWNER_POLLING: {
        evener_http2_seat *seat = atomic_load(&connection->seat);
        if (seat != NULL) {
            evener_http2_seat_wake(seat);
        } else {
            evener_http2_schedule(connection); /* its owner has just changed */
        }
        return;
    }
    default:
        return; /* the owner reads the queue before it polls or gives the word back */
    }
}

/* Set bits of an operation if it is live. True: this thread has to queue it. Until it has left the queue its call does
 * not end. */
static bool mark(evener_http2_op *op, uint32_t bits)
{
    uint32_t before = atomic_load_explicit(&op->bits, memory_order_relaxed);
    do {
        if ((before & EVENER_HTTP2_OP_LIVE) == 0) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&op->bits, &before, before | bits, memory_order_acq_rel,
                                                    memory_order_relaxed));
    return before == EVENER_HTTP2_OP_LIVE;
}

static void queue_and_wake(evener_connection *connection, evener_http2_op *op)
{
    /* As soon as it is queued the call may run and end, and with it its reference. */
    evener_http2_connection_ref(connection);
    evener_http2_queue_put(&connection->operations, &op->node);
    evener_http2_wake_owner(connection);
    evener_http2_connection_unref(connection);
}

void evener_http2_submit(evener_connection *connection, evener_http2_op *op, uint32_t bits, bool wake)
{
    if (!mark(op, bits)) {
        return;
    }
    if (wake) {
        queue_and_wake(connection, op);
    } else {
        evener_http2_queue_put(&connection->operations, &op->node);
    }
}

void evener_http2_call_submit(evener_http2_call *call, uint32_t bits)
{
    if (mark(&call->op, bits)) {
        /* Not before the mark: the call could end, and with it the reference to a connection other than `picked`. */
        queue_and_wake(__atomic_load_n(&call->base.connection, __ATOMIC_ACQUIRE), &call->op);
    }
}

void evener_http2_call_begin_at(evener_http2_call *call, evener_connection *connection)
{
    /* Marked first: with an operation of another thread it could end as soon as it is at the new connection. */
    const bool is_to_be_queued = mark(&call->op, EVENER_HTTP2_OP_BEGIN);
    __atomic_store_n(&call->base.connection, connection, __ATOMIC_RELEASE);
    if (is_to_be_queued) {
        queue_and_wake(connection, &call->op);
    }
}

static void operate_connection(evener_connection *connection, uint32_t bits)
{
    if ((bits & EVENER_HTTP2_OP_CONNECT) != 0) {
        evener_http2_tunnel_looked_up(connection);
    }
    if ((bits & EVENER_HTTP2_OP_DISCONNECT) != 0) {
        if (connection->phase == EVENER_HTTP2_PHASE_OPEN) {
            evener_http2_connection_drain(connection, false);
        } else {
            evener_http2_connection_break(connection, EVENER_STATUS_CANCELLED, "given up");
        }
    }
}

/* Pass the operation on to the connection that the call has moved to meanwhile. False: it has not moved. */
static bool pass_on(const evener_connection *connection, evener_http2_op *op)
{
    const evener_http2_call *call = EVENER_CONTAINER_OF(op, evener_http2_call, op);
    evener_connection *now = __atomic_load_n(&call->base.connection, __ATOMIC_ACQUIRE);
    if (now == connection) {
        return false;
    }
    queue_and_wake(now, op);
    return true;
}

/* Return whether a caller that waits for its own call is the owner, or its guest. */
static bool is_owned_by_caller(const evener_connection *connection)
{
    const uint32_t owner = atomic_load_explicit(&connection->owner, memory_order_relaxed);
    return owner == EVENER_HTTP2_OWNER_BLOCKING || owner == EVENER_HTTP2_OWNER_GUEST ||
           owner == EVENER_HTTP2_OWNER_GUEST_AWAITED;
}

void evener_http2_connection_operate(evener_connection *connection)
{
    const bool is_callers_turn = is_owned_by_caller(connection);
    for (;;) {
        evener_http2_queue_node *node = evener_http2_queue_take(&connection->operations);
        if (node == NULL) {
            return; /* a thread that is about to queue one reads the owner afterwards */
        }
        evener_http2_op *op = EVENER_CONTAINER_OF(node, evener_http2_op, node);
        if (op->is_call && pass_on(connection, op)) {
            continue;
        }
        if (op->is_call && is_callers_turn && !EVENER_CONTAINER_OF(op, evener_http2_call, op)->blocking) {
            /* Its events are the I/O thread's, to which this owner gives way: the call was counted before it was queued. */
            evener_http2_queue_put(&connection->operations, node);
            return;
        }
        /* Acquire: pairs with the release of evener_http2_submit(). From here on the operation may be queued again. */
        const uint32_t bits = atomic_fetch_and_explicit(&op->bits, EVENER_HTTP2_OP_LIVE, memory_order_acq_rel) &
                              ~(uint32_t)EVENER_HTTP2_OP_LIVE;
        if (op->is_call) {
            evener_http2_call_operate(connection, EVENER_CONTAINER_OF(op, evener_http2_call, op), bits);
        } else {
            operate_connection(connection, bits);
        }
    }
}

/* ---- the owner's turn ---- */

void evener_http2_run_timers(evener_timer_heap *heap, uint64_t now_ns)
{
    const uint64_t sequence_end = heap->next_sequence;
    evener_timer *timer;
    while (heap->first != NULL && (timer = evener_timer_heap_take_due(heap, now_ns, sequence_end)) != NULL) {
        timer->fn(timer->arg);
    }
}

/* Close a draining connection without calls. Where the socket takes nothing at the moment that is not waited for: what is
 * unsent concerns calls that have ended, and the connection itself (answers to PINGs, the GOAWAY). */
static void close_if_over(evener_connection *connection)
{
    if (connection->phase != EVENER_HTTP2_PHASE_OPEN && connection->phase != EVENER_HTTP2_PHASE_SETTINGS) {
        return;
    }
    const bool session_is_over =
        nghttp2_session_want_read(connection->session) == 0 && nghttp2_session_want_write(connection->session) == 0;
    const bool is_left = connection->draining && !evener_http2_has_calls(connection);
    const bool is_stuck = is_left && connection->unsent_bytes > 0;
    const bool is_drained = is_left && connection->streams == 0;
    if (is_stuck || (connection->unsent_bytes == 0 && (session_is_over || is_drained))) {
        evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE,
                                      connection->goaway_received ? "the server ended the connection (GOAWAY)"
                                                                  : "the connection was ended");
    }
}

void evener_http2_connection_work(evener_connection *connection, evener_http2_seat *seat, uint64_t now_ns)
{
    evener_http2_connection_operate(connection);
    if (evener_http2_next_timer_ns(&connection->timers) <= now_ns) {
        evener_http2_run_timers(&connection->timers, now_ns);
    }
    if (connection->phase == EVENER_HTTP2_PHASE_OPEN || connection->phase == EVENER_HTTP2_PHASE_SETTINGS) {
        if (connection->draining && !evener_http2_has_calls(connection) && !connection->is_stalled) {
            (void)nghttp2_session_terminate_session(connection->session, NGHTTP2_NO_ERROR);
        }
        evener_http2_flush(connection, seat);
        if (!evener_http2_link_is_empty(&connection->waiting) ||
            atomic_load_explicit(&connection->waits, memory_order_relaxed) != 0) {
            evener_http2_group_turn(connection);
        }
        evener_http2_crowd_judge(connection);
        close_if_over(connection);
    }
}

void evener_http2_connection_feed(evener_connection *connection, const uint8_t *data, size_t bytes)
{
    connection->last_received_ns = evener_http2_now_ns(connection);
    if (connection->phase == EVENER_HTTP2_PHASE_SETTINGS && evener_http2_connect_judge(connection, data, bytes)) {
        return;
    }
    const evener_nghttp2_length used = evener_nghttp2_receive(connection->session, data, bytes);
    if (used < 0 && connection->phase != EVENER_HTTP2_PHASE_CLOSED) {
        evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE, "HTTP/2 session failed: %s",
                                      nghttp2_strerror((int)used));
    }
}

void evener_http2_connection_receive(evener_connection *connection, evener_http2_seat *seat)
{
    for (int i = 0; connection->phase != EVENER_HTTP2_PHASE_CLOSED &&
                    (i < READS_PER_TURN || evener_http2_tls_has_input(connection));
         i++) {
        char what[128];
        const ssize_t bytes = evener_http2_wire_read(connection, seat->input, sizeof seat->input, what);
        if (bytes < 0) {
            evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE, "%s", what);
            return;
        }
        if (bytes == 0) {
            return;
        }
        evener_http2_connection_feed(connection, seat->input, (size_t)bytes);
        if ((size_t)bytes < sizeof seat->input && connection->tls == NULL) {
            return; /* everything was read */
        }
    }
}

/* ---- the end ---- */

/* Stands where there is no memory for a failure. */
static evener_status out_of_memory = {.code = EVENER_STATUS_RESOURCE_EXHAUSTED, .message = "out of memory"};

static void free_failure(evener_status *failure)
{
    if (failure != &out_of_memory) {
        free(failure);
    }
}

void evener_http2_connection_free_failure(evener_connection *connection)
{
    free_failure(connection->failure);
    free_failure(connection->drain_failure);
    connection->failure = NULL;
    connection->drain_failure = NULL;
}

/* Return a status that stays unchanged until the connection is freed: ends of calls refer to its text. */
static evener_status *make_failure(const evener_connection *connection, evener_status_code code, const char *what)
{
    evener_status *made = malloc(sizeof *made);
    if (made == NULL) {
        return &out_of_memory;
    }
    evener_status_set(made, code, "%s: %s", connection->address, what);
    return made;
}

/* End the calls of the list, except those whose answer is complete and waits to be read. */
static void end_calls(evener_connection *connection, evener_http2_link *calls)
{
    for (evener_http2_link *link = calls->next; link != calls;) {
        evener_http2_call *call = EVENER_CONTAINER_OF(link, evener_http2_call, link);
        link = link->next;
        if (call->remote_ended) {
            evener_http2_call_leave_stream(connection, call);
        } else {
            evener_http2_call_end(connection, call, EVENER_STATUS_UNAVAILABLE, evener_http2_call_fate(connection, call),
                                  connection->failure->message, strlen(connection->failure->message));
        }
    }
}

void evener_http2_connection_break(evener_connection *connection, evener_status_code code, const char *format, ...)
{
    if (connection->phase == EVENER_HTTP2_PHASE_CLOSED) {
        return;
    }
    const bool was_open = connection->phase == EVENER_HTTP2_PHASE_OPEN;
    char what[sizeof connection->failure->message];
    va_list arguments;
    va_start(arguments, format);
    (void)evener_vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    connection->drain_failure = connection->failure;
    connection->failure = make_failure(connection, code, what);
    connection->phase = EVENER_HTTP2_PHASE_CLOSED;
    atomic_store(&connection->closed_to_calls, 1);
    evener_http2_group_leave(connection);
    end_calls(connection, &connection->open);
    end_calls(connection, &connection->waiting);
    if (!was_open) {
        evener_http2_connection_report(connection, EVENER_HTTP2_EVENT_FAILED);
    } else if (!connection->reported_dropped) {
        connection->reported_dropped = true;
        evener_http2_connection_report(connection, EVENER_HTTP2_EVENT_DROPPED);
    }
}

void evener_http2_connection_drain(evener_connection *connection, bool report)
{
    atomic_store(&connection->closed_to_calls, 1);
    evener_http2_group_leave(connection);
    connection->draining = true;
    if (connection->failure == NULL) {
        connection->failure = make_failure(connection, EVENER_STATUS_UNAVAILABLE,
                                           connection->goaway_received ? "the server ends the connection (GOAWAY)"
                                                                       : "the connection was given up");
    }
    end_calls(connection, &connection->waiting); /* none of them was sent */
    if (report && !connection->reported_dropped) {
        connection->reported_dropped = true;
        evener_http2_connection_report(connection, EVENER_HTTP2_EVENT_DROPPED);
    }
}

void evener_http2_connection_report(evener_connection *connection, uint32_t event)
{
    /* Release: `failure` is written before. Pairs with the exchange on the control thread. */
    (void)atomic_fetch_or_explicit(&connection->events, event, memory_order_release);
    evener_http2_connection_ref(connection);
    if (!evener_loop_post(connection->loop, &connection->events_task)) {
        evener_http2_connection_unref(connection);
    }
}

void evener_http2_connection_close(evener_connection *connection)
{
    evener_timer_heap_stop(&connection->timers, &connection->keepalive);
    evener_timer_heap_stop(&connection->timers, &connection->narrow_timer);
    nghttp2_session_del(connection->session);
    connection->session = NULL;
    evener_http2_memory_pool_clear(&connection->pool);
    evener_http2_tls_close(connection);
    if (connection->fd >= 0) {
        evener_fork_close(connection->fd);
        connection->fd = -1;
    }
    free(connection->unsent);
    connection->unsent = NULL;
    connection->unsent_bytes = 0;
    evener_http2_tunnel_close(connection);
    free(connection->early);
    connection->early = NULL;
    connection->early_bytes = 0;
}
