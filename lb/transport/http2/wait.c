/* Blocking owners: a caller that waits for its own call serves the connection itself, so that a single call involves no
 * other thread. Further callers sleep on their words; the thread that delivers their `ended` wakes them, and an owner
 * that leaves wakes one of them to serve next.
 *
 * Only while all calls of the connection are blocking ones: events of other calls belong to the I/O thread. And only
 * while they are few. Callers that serve each other change the owner often, and each sends its call by itself; above
 * CROWD calls the I/O thread reads more answers and sends more calls per system call. Measured on two processors with
 * three backends, in CPU per call: 4 calls in flight 22 us, and 29 with the I/O thread; 16 in flight 20 and 15; 64 in
 * flight 16 and 11. */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lb/transport/http2/internal.h"
#include "lb/transport/http2/tls.h"

/* More blocking calls than this at once make a connection crowded; as few as the second number, or fewer, in a whole
 * period end that. Between them nothing changes, so that the owner does not change with every call. */
#define CROWD 4
#define CROWD_OVER 2
#define CROWD_PERIOD_ENDS 64 /* calls ended */
/* No crowd if most calls of the period had a larger message: callers copy on several processors, the I/O thread on one.
 * With 64 KiB at 64 in flight it made a quarter less calls per second on a busy machine. */
#define BULK_BYTES ((size_t)8192)

/* ---- words ---- */

static void futex_wake_one(const uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static struct timespec to_timespec(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / EVENER_NS_PER_S), .tv_nsec = (long)(ns % EVENER_NS_PER_S)};
}

/* Sleep while *word is value | SLEEPING, its value now. */
static void sleep_on(const uint32_t *word, uint32_t value, uint64_t until_ns)
{
    const struct timespec until = to_timespec(until_ns);
    (void)syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value | EVENER_WAIT_SLEEPING,
                  until_ns != UINT64_MAX ? &until : NULL, NULL, FUTEX_BITSET_MATCH_ANY);
}

static bool mark_sleeping(uint32_t *word, uint32_t value)
{
    return __atomic_compare_exchange_n(word, &value, value | EVENER_WAIT_SLEEPING, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_ACQUIRE);
}

/* Clear the mark SLEEPING. False: another thread cleared it, or changed the word. */
static bool unmark_sleeping(uint32_t *word, uint32_t value)
{
    uint32_t expected = value | EVENER_WAIT_SLEEPING;
    return __atomic_compare_exchange_n(word, &expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE);
}

static bool has_changed(const uint32_t *word, uint32_t value)
{
    return (__atomic_load_n(word, __ATOMIC_ACQUIRE) & ~EVENER_WAIT_BITS) != value;
}

/* ---- owning ---- */

static bool must_go_to_io_thread(evener_connection *connection)
{
    return atomic_load(&connection->nonblocking) != 0 || atomic_load(&connection->is_crowded) != 0;
}

void evener_http2_crowd_grows(evener_connection *connection)
{
    if (connection->foreground <= connection->foreground_max) {
        return;
    }
    connection->foreground_max = connection->foreground;
    if (connection->foreground > CROWD && !connection->is_bulky &&
        atomic_load_explicit(&connection->is_crowded, memory_order_relaxed) == 0) {
        atomic_store(&connection->is_crowded, 1);
    }
}

void evener_http2_crowd_shrinks(evener_connection *connection, size_t message_bytes)
{
    connection->ended_count++;
    connection->bulk_ended += message_bytes > BULK_BYTES;
}

void evener_http2_crowd_judge(evener_connection *connection)
{
    const uint64_t ended = connection->ended_count - connection->crowd_judged_ended;
    if (ended < CROWD_PERIOD_ENDS) {
        return;
    }
    const uint32_t before = atomic_load_explicit(&connection->is_crowded, memory_order_relaxed);
    connection->is_bulky = 2 * connection->bulk_ended > ended;
    const uint32_t now = !connection->is_bulky && connection->foreground_max > (before != 0 ? CROWD_OVER : CROWD);
    if (now != before) {
        atomic_store(&connection->is_crowded, now);
    }
    connection->crowd_judged_ended = connection->ended_count;
    connection->bulk_ended = 0;
    connection->foreground_max = connection->foreground;
}

static bool take(evener_connection *connection)
{
    if (must_go_to_io_thread(connection) || !evener_http2_take(connection, EVENER_HTTP2_OWNER_BLOCKING)) {
        return false;
    }
    if (atomic_load_explicit(&connection->seat, memory_order_relaxed) == NULL) {
        evener_http2_seat *seat = evener_http2_seat_take(connection->engine);
        if (seat == NULL) {
            atomic_store(&connection->owner, EVENER_HTTP2_OWNER_FREE);
            evener_http2_schedule(connection); /* without memory or descriptors the I/O thread does it */
            return false;
        }
        atomic_store(&connection->seat, seat);
    }
    (void)atomic_fetch_add_explicit(&connection->blocking_turns, 1, memory_order_relaxed);
    return true;
}

/* Mark a sleeping caller of the list to serve next and return its word; NULL: none sleeps. The newest call comes first:
 * it is answered last, so its caller serves many others. *is_awaited: a caller is in call_wait, awake. */
static uint32_t *next_owner(const evener_http2_link *calls, bool *is_awaited)
{
    for (const evener_http2_link *link = calls->previous; link != calls; link = link->previous) {
        evener_http2_call *call = EVENER_CONTAINER_OF(link, evener_http2_call, link);
        uint32_t *word = atomic_load_explicit(&call->wait_word, memory_order_acquire);
        if (word == NULL) {
            continue;
        }
        *is_awaited = true;
        uint32_t seen = __atomic_load_n(word, __ATOMIC_RELAXED);
        if ((seen & EVENER_WAIT_SLEEPING) != 0 &&
            __atomic_compare_exchange_n(word, &seen, (seen & ~EVENER_WAIT_SLEEPING) | EVENER_WAIT_SERVE, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            return word;
        }
    }
    return NULL;
}

static bool has_io_work(evener_connection *connection)
{
    return connection->phase != EVENER_HTTP2_PHASE_OPEN || connection->unsent_bytes > 0 ||
           evener_http2_tls_has_output(connection) || must_go_to_io_thread(connection) || connection->draining;
}

bool evener_http2_hand_over(evener_connection *connection, bool *is_awaited)
{
    *is_awaited = false;
    if (has_io_work(connection) || atomic_load_explicit(&connection->seat, memory_order_relaxed) == NULL) {
        return false;
    }
    /* Before a caller is marked: it may still be awake and become the owner at once. The connection is not touched
     * after the mark. */
    const uint32_t before = atomic_exchange(&connection->owner, EVENER_HTTP2_OWNER_BLOCKING);
    if (atomic_load(&connection->new_sleeper) != 0) {
        (void)atomic_exchange(&connection->new_sleeper, 0); /* acquires the marks of those who set it */
    }
    uint32_t *word = next_owner(&connection->open, is_awaited);
    if (word == NULL) {
        word = next_owner(&connection->waiting, is_awaited);
    }
    if (word == NULL) {
        atomic_store(&connection->owner, before);
        return false;
    }
    futex_wake_one(word);
    return true;
}

/* Give the word back: to a sleeping caller, or to FREE. */
static void leave(evener_connection *connection)
{
    do {
        bool is_awaited;
        if (evener_http2_hand_over(connection, &is_awaited)) {
            return;
        }
        const bool is_io_work = has_io_work(connection) || (connection->foreground > 0 && !is_awaited);
        atomic_store(&connection->owner, EVENER_HTTP2_OWNER_FREE);
        if (is_io_work || evener_http2_has_operations(connection) || atomic_load(&connection->lingers) == 0) {
            evener_http2_schedule(connection);
            return;
        }
        /* A caller that was awake takes the connection itself, or has gone to sleep before it was FREE.
         * Sequentially consistent: either this sees that it has, or the caller sees FREE. */
    } while (atomic_load(&connection->new_sleeper) != 0 && take(connection));
}

/* ---- polling, and guests meanwhile ---- */

/* Change the word from POLLING to BLOCKING; wait until a guest has left. */
static void stop_polling(evener_connection *connection)
{
    for (;;) {
        uint32_t expected = EVENER_HTTP2_OWNER_POLLING;
        if (atomic_compare_exchange_strong(&connection->owner, &expected, EVENER_HTTP2_OWNER_BLOCKING)) {
            return;
        }
        expected = EVENER_HTTP2_OWNER_GUEST;
        (void)atomic_compare_exchange_strong(&connection->owner, &expected, EVENER_HTTP2_OWNER_GUEST_AWAITED);
        (void)syscall(SYS_futex, &connection->owner, FUTEX_WAIT_PRIVATE, EVENER_HTTP2_OWNER_GUEST_AWAITED, NULL, NULL,
                      0);
    }
}

/* Return whether there is work that only the owner can do. */
static bool needs_owner(evener_connection *connection)
{
    return has_io_work(connection) || evener_http2_next_timer_ns(&connection->timers) < connection->polled_until_ns;
}

/* Run the queued operations for an owner that polls, so that they are sent without waking it. False: the owner does not
 * poll, or must do it itself. */
static bool visit(evener_connection *connection)
{
    uint32_t expected = EVENER_HTTP2_OWNER_POLLING;
    if (must_go_to_io_thread(connection) ||
        !atomic_compare_exchange_strong(&connection->owner, &expected, EVENER_HTTP2_OWNER_GUEST)) {
        return false;
    }
    evener_http2_seat *seat =
        atomic_load_explicit(&connection->seat, memory_order_relaxed); /* the owner does not use it while it polls */
    do {
        const uint64_t ended_before = connection->ended_count;
        if (!must_go_to_io_thread(connection)) { /* again: another call may have begun since */
            evener_http2_connection_work(connection, seat, evener_http2_now_ns(connection));
        }
        /* A call that ended here may be the owner's own, which does not sleep on its word. */
        const bool is_needed = needs_owner(connection) || connection->ended_count != ended_before;
        if (atomic_exchange(&connection->owner, EVENER_HTTP2_OWNER_POLLING) == EVENER_HTTP2_OWNER_GUEST_AWAITED) {
            (void)syscall(SYS_futex, &connection->owner, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        }
        if (is_needed) {
            evener_http2_seat_wake(seat);
            return true;
        }
        /* Sequentially consistent, as is queueing: either this sees the operation, or the thread that queued it sees
         * POLLING. */
        expected = EVENER_HTTP2_OWNER_POLLING;
    } while (evener_http2_has_operations(connection) &&
             atomic_compare_exchange_strong(&connection->owner, &expected, EVENER_HTTP2_OWNER_GUEST));
    return true;
}

/* Wait for the next event of the socket, the next timer, a wake-up or `until_ns`, and receive. */
static void wait_and_receive(evener_connection *connection, evener_http2_seat *seat, uint64_t until_ns)
{
    const uint64_t timer_ns = evener_http2_next_timer_ns(&connection->timers);
    const uint64_t wake_ns = timer_ns < until_ns ? timer_ns : until_ns;
    const bool wants_write = connection->unsent_bytes > 0 || evener_http2_tls_has_output(connection);
    struct pollfd waited[] = {{.fd = connection->fd, .events = (short)(POLLIN | (wants_write ? POLLOUT : 0))},
                              {.fd = seat->event_fd, .events = POLLIN}};
    connection->polled_until_ns = wake_ns;
    /* Sequentially consistent: either this sees what was queued, or the thread that queued it sees POLLING and
     * `asleep`. */
    atomic_store(&seat->asleep, 1);
    atomic_store(&connection->owner, EVENER_HTTP2_OWNER_POLLING);
    int count = 0;
    if (!evener_http2_has_operations(connection) && !must_go_to_io_thread(connection)) {
        const uint64_t now_ns = evener_http2_now_ns(connection);
        const struct timespec timeout = to_timespec(wake_ns > now_ns ? wake_ns - now_ns : 0);
        count = ppoll(waited, 2, wake_ns != UINT64_MAX ? &timeout : NULL, NULL);
    }
    atomic_store(&seat->asleep, 0);
    stop_polling(connection);
    if (count > 0 && waited[1].revents != 0) {
        evener_http2_seat_woken(seat);
    }
    if (count > 0 && (waited[0].revents & ~POLLOUT) != 0 && connection->phase != EVENER_HTTP2_PHASE_CLOSED) {
        evener_http2_connection_receive(connection, seat);
    }
}

/* Serve the connection, which this thread owns, until the word changes. */
static void serve(evener_connection *connection, const uint32_t *word, uint32_t value, uint64_t until_ns)
{
    evener_http2_seat *seat = atomic_load_explicit(&connection->seat, memory_order_relaxed);
    uint64_t now_ns = evener_http2_now_ns(connection);
    /* Before each turn: a call that is not blocking may have begun, whose events are not this thread's. */
    while (!must_go_to_io_thread(connection)) {
        evener_http2_connection_work(connection, seat, now_ns);
        if (has_changed(word, value) || connection->phase == EVENER_HTTP2_PHASE_CLOSED || now_ns >= until_ns) {
            return;
        }
        wait_and_receive(connection, seat, until_ns);
        now_ns = evener_http2_now_ns(connection);
    }
}

/* Return whether this caller was chosen to own the connection, after a sleep or instead of one. */
static bool was_chosen(uint32_t *word)
{
    return (__atomic_load_n(word, __ATOMIC_ACQUIRE) & EVENER_WAIT_SERVE) != 0 &&
           (__atomic_fetch_and(word, ~EVENER_WAIT_SERVE, __ATOMIC_ACQ_REL) & EVENER_WAIT_SERVE) != 0;
}

/* Return whether another thread serves the connection; the caller has marked its word. */
static bool is_served(evener_connection *connection)
{
    if (must_go_to_io_thread(connection)) {
        return true;
    }
    /* Sequentially consistent, before looking: either an owner that leaves sees the mark, or this sees FREE. */
    (void)atomic_exchange(&connection->new_sleeper, 1);
    return atomic_load(&connection->owner) != EVENER_HTTP2_OWNER_FREE;
}

/* Sleep until the word changes or this caller is chosen; return whether it was chosen. */
static bool sleep_or_be_chosen(evener_connection *connection, uint32_t *word, uint32_t value, uint64_t until_ns)
{
    if (!mark_sleeping(word, value)) {
        return was_chosen(word);
    }
    if (is_served(connection)) {
        sleep_on(word, value, until_ns);
    }
    return !unmark_sleeping(word, value) && was_chosen(word);
}

void evener_http2_call_wait(evener_transport_call *base, uint32_t *word, uint32_t value, uint64_t until_ns)
{
    evener_http2_call *call = (evener_http2_call *)base;
    /* The one that the caller has a reference to. If the call is at another one, that is served by its I/O thread. */
    evener_connection *connection = call->picked;
    if (has_changed(word, value)) {
        return;
    }
    /* Before the operation is run, as an owner that leaves reads it. The call may end at any time from here on; its
     * memory then belongs to the caller, and no other thread reads it. */
    atomic_store_explicit(&call->wait_word, word, memory_order_release);
    bool is_owner = false;
    for (;;) {
        if (is_owner || take(connection)) {
            serve(connection, word, value, until_ns);
            leave(connection);
        } else if (evener_http2_has_operations(connection) && !visit(connection)) {
            evener_http2_wake_owner(connection);
        }
        if (has_changed(word, value)) {
            return;
        }
        if (evener_http2_now_ns(connection) >= until_ns) {
            break;
        }
        is_owner = sleep_or_be_chosen(connection, word, value, until_ns);
        if (!is_owner && has_changed(word, value)) {
            return;
        }
    }
    /* The time is over: withdraw from the choice of owners. If an owner has left relying on this caller, another thread
     * must serve. */
    atomic_store(&call->wait_word, NULL);
    if (atomic_load(&connection->owner) == EVENER_HTTP2_OWNER_FREE) {
        evener_http2_schedule(connection);
    }
}
