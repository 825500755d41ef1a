/* An I/O thread: waits for its connections' sockets, for timers and for requests of other threads, and gives each
 * connection that has work one turn: read all, then run operations, then write once. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lb/base/fork.h"
#include "lb/runtime/thread.h"
#include "lb/transport/http2/internal.h"
#include "lb/transport/http2/tls.h"
#include "lb/transport/http2/tunnel.h"

#define EVENTS_MAX 64
/* After a turn that ended this many calls, threads that are ready to run get the processor before the sockets are read:
 * on a busy machine more answers are then read, and more calls sent, per system call. On an idle one it returns at
 * once. Where other programs keep the processors busy it can return after milliseconds (Linux 6.18 charges a whole time
 * slice for it; callbacks at 16 in flight then made a third of the calls per second). After one that took YIELD_NS_MAX
 * some turns leave it out, twice the number each time, up to YIELD_PAUSE_MAX. A limit that servers on the same machine
 * reach would cost more system calls than it saves: 0.5 per call at 64 in flight with 0.1 ms. */
#define YIELD_ENDS 4
#define YIELD_NS_MAX (2 * EVENER_NS_PER_MS)
#define YIELD_PAUSE_FIRST 4
#define YIELD_PAUSE_MAX 256
#define WAIT_MS_MAX 3600000

/* ---- the ready queue ---- */

void evener_http2_schedule(evener_connection *connection)
{
    if (atomic_exchange(&connection->scheduled, 1) != 0) {
        return;
    }
    evener_http2_connection_ref(connection); /* the queue's */
    evener_http2_io_thread *thread = connection->thread;
    evener_http2_queue_put(&thread->ready, &connection->ready_node);
    evener_http2_seat_wake(thread->seat);
}

static evener_connection *next_ready(evener_http2_io_thread *thread)
{
    evener_http2_queue_node *node = evener_http2_queue_take(&thread->ready);
    return node != NULL ? EVENER_CONTAINER_OF(node, evener_connection, ready_node) : NULL;
}

/* ---- sockets ---- */

static void set_armed(evener_connection *connection, uint32_t events)
{
    if (connection->armed == events) {
        return;
    }
    struct epoll_event event = {.events = events, .data.ptr = connection};
    (void)epoll_ctl(connection->thread->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
    connection->armed = events;
}

/* Return the events that the connection waits for. Owner and I/O thread. */
static uint32_t events_wanted(const evener_connection *connection)
{
    switch (connection->phase) {
    case EVENER_HTTP2_PHASE_CONNECTING:
        return EPOLLOUT;
    default:
        return (uint32_t)EPOLLIN |
               (connection->unsent_bytes > 0 || evener_http2_tls_has_output(connection) ? (uint32_t)EPOLLOUT : 0);
    }
}

static void add_socket(evener_connection *connection)
{
    connection->is_watched = true;
    connection->armed = events_wanted(connection);
    struct epoll_event event = {.events = connection->armed, .data.ptr = connection};
    if (epoll_ctl(connection->thread->epoll_fd, EPOLL_CTL_ADD, connection->fd, &event) != 0) {
        evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE, "the socket cannot be watched: error %d",
                                      errno);
    }
}

/* ---- turns ---- */

/* Take the connection for this turn. False: a blocking caller owns it, and does its work. */
static bool touch(evener_http2_io_thread *thread, evener_connection *connection)
{
    if (connection->is_dirty) {
        return true;
    }
    if (!evener_http2_take(connection, EVENER_HTTP2_OWNER_IO)) {
        return false;
    }
    connection->is_dirty = true;
    evener_http2_link_append(&thread->dirty, &connection->dirty_link);
    return true;
}

static void attach(evener_http2_io_thread *thread, evener_connection *connection)
{
    connection->is_attached = true;
    evener_http2_connection_ref(connection);
    evener_http2_link_append(&thread->attached, &connection->thread_link);
    evener_http2_connect_start(connection);
}

/* Take the socket out of epoll. Closing it would not do: a copy in a child of a fork that has not yet run exec() keeps
 * it there, and its events would come for a connection that is freed. */
static void remove_socket(evener_connection *connection)
{
    if (connection->is_watched) {
        connection->is_watched = false;
        (void)epoll_ctl(connection->thread->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL);
    }
}

static void start_linger_timer(evener_http2_io_thread *thread, evener_connection *connection)
{
    connection->blocking_turns_seen = atomic_load_explicit(&connection->blocking_turns, memory_order_relaxed);
    evener_timer_heap_start(&thread->timers, &connection->linger_timer, thread->now_ns + EVENER_HTTP2_LINGER_NS);
    atomic_store_explicit(&connection->lingers, 1, memory_order_relaxed);
}

static void stop_linger_timer(evener_connection *connection)
{
    evener_timer_heap_stop(&connection->thread->timers, &connection->linger_timer);
    atomic_store_explicit(&connection->lingers, 0, memory_order_relaxed);
}

/* Release everything of a closed connection, except its memory and the thread's reference. False: complete answers wait
 * to be read, and the thread goes on to run the deadlines of their calls. Owner. */
static bool detach(evener_http2_io_thread *thread, evener_connection *connection)
{
    stop_linger_timer(connection);
    connection->is_disarmed = false;
    remove_socket(connection);
    evener_http2_connection_close(connection);
    evener_http2_seat_release(connection);
    if (evener_http2_has_calls(connection) && atomic_load(&thread->stopping) == 0) {
        return false;
    }
    connection->is_attached = false;
    evener_http2_link_remove(&connection->thread_link);
    evener_timer_heap_stop(&thread->timers, &connection->wake_timer);
    return true;
}

static void watch_again(evener_connection *connection)
{
    connection->is_disarmed = false;
    stop_linger_timer(connection);
    evener_http2_seat_release(connection);
}

/* Start what looks after the connection until its next turn, and after its blocking owners. */
static void start_timers(evener_http2_io_thread *thread, evener_connection *connection)
{
    const uint64_t next_ns = evener_http2_next_timer_ns(&connection->timers);
    if (next_ns != UINT64_MAX && (!connection->wake_timer.active || connection->wake_timer.deadline_ns > next_ns)) {
        evener_timer_heap_start(&thread->timers, &connection->wake_timer, next_ns);
    }
    /* A caller may have come and left while the socket was watched: its seat is to be given back, too. */
    if (!connection->linger_timer.active &&
        (connection->is_disarmed || atomic_load_explicit(&connection->seat, memory_order_relaxed) != NULL)) {
        start_linger_timer(thread, connection);
    }
}

/* End the turn: work, then the word is given back. Operations that come meanwhile get a turn at once. */
static void finish_turn(evener_http2_io_thread *thread, evener_connection *connection)
{
    bool is_detached = false;
    do {
        if (connection->is_attached) {
            evener_http2_connection_work(connection, thread->seat, thread->now_ns);
        } else {
            evener_http2_connection_operate(connection);
        }
        if (connection->is_attached && connection->fd >= 0 && !connection->is_watched) {
            add_socket(connection);
        }
        if (connection->phase == EVENER_HTTP2_PHASE_CLOSED && connection->is_attached) {
            is_detached = detach(thread, connection);
        }
        if (connection->is_attached) {
            start_timers(thread, connection);
            bool is_awaited;
            if (connection->is_disarmed && evener_http2_hand_over(connection, &is_awaited)) {
                return; /* another blocking caller serves it */
            }
            if (connection->is_disarmed && connection->foreground > 0) {
                watch_again(connection);
            }
            if (!connection->is_disarmed && connection->is_watched) {
                set_armed(connection, events_wanted(connection));
            }
        }
        atomic_store(&connection->owner, EVENER_HTTP2_OWNER_FREE);
        /* Sequentially consistent, as is queueing: either this sees the operation, or the thread that queued it sees
         * FREE. */
    } while (evener_http2_has_operations(connection) && evener_http2_take(connection, EVENER_HTTP2_OWNER_IO));
    if (is_detached) {
        evener_http2_connection_unref(connection); /* not before the last look at it */
    }
}

/* Stop watching the socket of a connection that blocking callers own, or just owned: they poll it themselves. It is
 * watched again when no such caller has come for a while. */
static void linger(evener_http2_io_thread *thread, evener_connection *connection)
{
    set_armed(connection, 0);
    connection->is_disarmed = true;
    start_linger_timer(thread, connection);
}

void evener_http2_linger_rings(void *arg)
{
    evener_connection *connection = arg;
    evener_http2_io_thread *thread = connection->thread;
    if (connection->blocking_turns_seen != atomic_load_explicit(&connection->blocking_turns, memory_order_relaxed)) {
        start_linger_timer(thread, connection);
        return;
    }
    /* A caller that serves for long schedules the connection when it leaves. */
    atomic_store_explicit(&connection->lingers, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* either it sees that, or this sees FREE */
    if (touch(thread, connection)) {
        watch_again(connection);
    }
}

void evener_http2_wake_rings(void *arg)
{
    evener_connection *connection = arg;
    (void)touch(connection->thread, connection); /* a caller that owns the connection runs the timers */
}

static void socket_event(evener_http2_io_thread *thread, evener_connection *connection)
{
    if (!touch(thread, connection)) {
        linger(thread, connection);
        return;
    }
    if (connection->phase == EVENER_HTTP2_PHASE_CLOSED) {
        return;
    }
    if (connection->phase < EVENER_HTTP2_PHASE_SETTINGS) {
        evener_http2_connect_continue(connection);
    } else {
        const uint64_t before = connection->ended_count;
        evener_http2_connection_receive(connection, thread->seat);
        thread->ended_in_turn += connection->ended_count - before;
    }
}

static void run_ready(evener_http2_io_thread *thread)
{
    evener_connection *connection;
    while ((connection = next_ready(thread)) != NULL) {
        atomic_store(&connection->scheduled, 0);
        if (touch(thread, connection)) {
            if (!connection->is_attached && connection->phase == EVENER_HTTP2_PHASE_NEW) {
                attach(thread, connection);
            }
            /* In the turn, not at its end: the queue's reference may be the last. */
            evener_http2_link_remove(&connection->dirty_link);
            connection->is_dirty = false;
            finish_turn(thread, connection);
        }
        evener_http2_connection_unref(connection);
    }
}

static void run_dirty(evener_http2_io_thread *thread)
{
    while (!evener_http2_link_is_empty(&thread->dirty)) {
        evener_connection *connection = EVENER_CONTAINER_OF(thread->dirty.next, evener_connection, dirty_link);
        evener_http2_link_remove(&connection->dirty_link);
        connection->is_dirty = false;
        finish_turn(thread, connection);
    }
}

static int wait_ms(const evener_http2_io_thread *thread)
{
    const uint64_t next_ns = evener_http2_next_timer_ns(&thread->timers);
    if (next_ns == UINT64_MAX) {
        return -1;
    }
    const uint64_t now_ns = evener_loop_now_ns(thread->engine->loop);
    if (next_ns <= now_ns) {
        return 0;
    }
    const uint64_t wait = (next_ns - now_ns + EVENER_NS_PER_MS - 1) / EVENER_NS_PER_MS; /* never early */
    return wait > WAIT_MS_MAX ? WAIT_MS_MAX : (int)wait;
}

/* Let other threads run before the sockets are read. Set `now_ns`. */
static void yield(evener_http2_io_thread *thread)
{
    const uint64_t from_ns = evener_loop_now_ns(thread->engine->loop);
    thread->now_ns = from_ns;
    if (thread->yields_left_out > 0) {
        thread->yields_left_out--;
        return;
    }
    (void)sched_yield();
    thread->now_ns = evener_loop_now_ns(thread->engine->loop);
    if (thread->now_ns - from_ns < YIELD_NS_MAX) {
        thread->yield_pause = YIELD_PAUSE_FIRST;
        return;
    }
    thread->yields_left_out = thread->yield_pause;
    thread->yield_pause = thread->yield_pause < YIELD_PAUSE_MAX ? 2 * thread->yield_pause : YIELD_PAUSE_MAX;
}

static void turn(evener_http2_io_thread *thread)
{
    struct epoll_event events[EVENTS_MAX];
    int timeout_ms = wait_ms(thread);
    /* Sequentially consistent: either this sees what was queued, or the thread that queued it sees `asleep`. */
    atomic_store(&thread->seat->asleep, 1);
    atomic_thread_fence(memory_order_seq_cst);
    if (!evener_http2_queue_is_empty(&thread->ready) || atomic_load(&thread->stopping) != 0) {
        timeout_ms = 0;
    }
    int count = epoll_wait(thread->epoll_fd, events, EVENTS_MAX, timeout_ms);
    atomic_store(&thread->seat->asleep, 0);
    if (thread->ended_in_turn >= YIELD_ENDS && count > 0) {
        yield(thread);
    } else {
        thread->now_ns = evener_loop_now_ns(thread->engine->loop);
    }
    thread->ended_in_turn = 0;
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr != NULL) { /* otherwise a wake-up, which needs no handling */
            socket_event(thread, events[i].data.ptr);
        }
    }
    evener_http2_run_timers(&thread->timers, thread->now_ns);
    run_dirty(thread);
    run_ready(thread);
}

/* Release all connections at the end of the runtime: no call is under way, and every connection was given up. */
static void end_all(evener_http2_io_thread *thread)
{
    while (!evener_http2_link_is_empty(&thread->attached)) {
        evener_connection *connection = EVENER_CONTAINER_OF(thread->attached.next, evener_connection, thread_link);
        if (touch(thread, connection)) {
            evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE, "the runtime ends");
        }
        run_dirty(thread);
        run_ready(thread);
    }
    run_ready(thread);
}

static void *io_main(void *arg)
{
    evener_http2_io_thread *thread = arg;
    evener_runtime_adopt_thread(thread->engine->runtime);
    while (atomic_load(&thread->stopping) == 0) {
        turn(thread);
    }
    end_all(thread);
    return NULL;
}

/* ---- life ---- */

void evener_http2_io_thread_init(evener_http2_io_thread *thread, evener_http2_engine *engine)
{
    thread->engine = engine;
    thread->epoll_fd = -1;
    evener_http2_queue_init(&thread->ready);
    evener_http2_link_init(&thread->attached);
    evener_http2_link_init(&thread->dirty);
    thread->timers = (evener_timer_heap)EVENER_TIMER_HEAP_INIT;
    thread->yield_pause = YIELD_PAUSE_FIRST;
}

/* Make what the thread needs. What was made before an error is kept for the next attempt. */
static evener_status_code prepare(evener_http2_io_thread *thread, evener_status *status)
{
    if (thread->seat == NULL) {
        thread->seat = evener_http2_seat_create();
        if (thread->seat == NULL) {
            return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                                     "http2 transport: no memory or no descriptor for an I/O thread (check ulimit -n)");
        }
    }
    if (thread->epoll_fd < 0) {
        const int made = epoll_create1(EPOLL_CLOEXEC);
        /* Edge-triggered: each wake-up arrives once and need not be read. */
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
        if (made < 0 || epoll_ctl(made, EPOLL_CTL_ADD, thread->seat->event_fd, &event) != 0) {
            const int error = errno;
            if (made >= 0) {
                (void)close(made);
            }
            return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                                     "http2 transport: no epoll descriptor: error %d (check ulimit -n)", error);
        }
        thread->epoll_fd = made;
        evener_fork_close_in_child(made);
    }
    return EVENER_STATUS_OK;
}

static evener_status_code start(evener_http2_io_thread *thread, evener_status *status)
{
    char name[16];
    snprintf(name, sizeof name, "evener-h2-%u", (unsigned)(thread - thread->engine->threads));
    const evener_status_code code = evener_thread_start(&thread->pthread, name, io_main, thread, status);
    thread->is_running = code == EVENER_STATUS_OK;
    return code;
}

/* Undo attach() without the thread. */
static void take_back(evener_http2_io_thread *thread, evener_connection *connection)
{
    connection->given_up = true;
    detach(thread, connection);
    run_ready(thread); /* a look-up of a proxy's name that has ended meanwhile */
    evener_http2_connection_unref(connection);
}

/* Start the thread with its first connection. Nobody else knows the connection; starting the thread hands it over. */
static evener_status_code start_with(evener_http2_io_thread *thread, evener_connection *connection,
                                     evener_status *status)
{
    /* First of all, so that the server answers meanwhile. But a look-up of a proxy's name wakes the thread when it
     * ends, which needs the thread's seat. */
    const bool first = !evener_http2_tunnel_is_wanted(connection);
    if (first) {
        attach(thread, connection);
    }
    evener_status_code code = prepare(thread, status);
    if (code == EVENER_STATUS_OK) {
        if (!first) {
            attach(thread, connection);
        }
        code = start(thread, status);
    }
    if (code != EVENER_STATUS_OK && connection->is_attached) {
        take_back(thread, connection);
    }
    return code;
}

evener_status_code evener_http2_io_thread_connect(evener_http2_io_thread *thread, evener_connection *connection,
                                                  evener_status *status)
{
    if (!thread->is_running) {
        const evener_status_code code = start_with(thread, connection, status);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
        evener_http2_seat_spare(thread->engine); /* while the server answers: the first blocking call takes it */
    }
    evener_http2_schedule(connection); /* in phase NEW the turn connects */
    return EVENER_STATUS_OK;
}

void evener_http2_io_thread_stop(evener_http2_io_thread *thread)
{
    if (!thread->is_running) {
        return;
    }
    atomic_store(&thread->stopping, 1);
    evener_http2_seat_wake(thread->seat);
    (void)pthread_join(thread->pthread, NULL);
    thread->is_running = false;
}
