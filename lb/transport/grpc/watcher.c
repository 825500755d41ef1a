/* IMPLEMENTATION NOTES
 *
 * The core's sockets are served by one of the threads that wait in completion queues that poll. A watcher that always
 * polls would receive events of threads that wait for their own calls, and each blocking call would pay for a wake-up
 * (the core gives the sockets of all queues to one of the waiting threads at a time). So the watcher waits in two ways:
 *
 *   while something connects   it polls: there may be no other thread to do it
 *   otherwise                  it sleeps outside the core, until it is woken (a call has failed, a connection is new or
 *                              given up) or POLL_INTERVAL_MS have passed; then it takes the completed events, without
 *                              waiting. So on a channel without calls a drop is seen within that interval
 *
 * States of a connection, and what moves it:
 *
 *   NEW         first event, at once       -> CONNECTING
 *   CONNECTING  READY                      -> CONNECTED, reports READY
 *               IDLE (READY came and went) -> OVER, reports READY and DROPPED
 *               any other state            -> FAILED: a trial call, which the core fails at once with the reason;
 *                                             on out of memory OVER, reports FAILED
 *   CONNECTED   any other state            -> OVER, reports DROPPED
 *   FAILED      the trial call has ended   -> OVER, reports FAILED
 *   any         given up                   -> OVER, reports nothing (CONNECTING: when the attempt has ended)
 *
 * At most one event per connection is outstanding.
 *
 * The channel of an attempt to connect that is given up is destroyed only after the attempt has ended (its length is
 * limited by the core's timeout). Otherwise the core up to 1.51 leaks the connection, including its socket, if it was
 * just made but is not in the channel yet (grpc 32071). The end of the runtime waits ATTEMPTS_END_MS for such
 * attempts. */
#include "lb/transport/grpc/watcher.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

#include <evener/log.h>

#include "lb/base/memory.h"
#include "lb/runtime/clock.h"
#include "lb/runtime/thread.h"
#include "lb/transport/grpc/connection.h"

#define POLL_INTERVAL_MS 100
#define ATTEMPTS_END_MS 50
/* The core ends a trial call at once; after this time the connection fails without a reason. */
#define TRIAL_TIMEOUT_MS 1000
/* At the end all events arrive at once. If the core kept one back, the program must not hang. */
#define END_TIMEOUT_MS 5000

struct evener_grpc_watcher {
    grpc_completion_queue *queue;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t woken; /* with `awake` */
    bool awake;           /* under mutex: the thread is to look at the connections */
    /* operations on the queue that have not been taken from it: while there are any, the thread looks now and then */
    _Atomic uint32_t expected;
    /* what else wants polling: see evener_grpc_watcher_attend() */
    _Atomic uint32_t attended;
    _Atomic bool closing; /* wanted by evener_grpc_watcher_stop() */
    /* the thread's */
    uint64_t attempts;                /* connections in CONNECTING or FAILED */
    evener_connection *first_attempt; /* those in CONNECTING */
    uint64_t closing_since_ns;        /* 0: not closing */
    bool shut_down;                   /* the queue was shut down; its end may follow a moment after its last event */
    bool ended;                       /* the queue has ended */
    uint32_t end_waits;               /* waits without an event since the shutdown */
};

/* A call on a channel that cannot connect, made to get its status. */
struct evener_grpc_trial {
    grpc_call *call;
    grpc_metadata_array trailing_metadata;
    grpc_status_code code;
    grpc_slice details;
};

static gpr_timespec after_ms(int64_t ms)
{
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
}

/* ---- why an attempt failed ---- */

/* "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.1:80: Failed to connect to remote host:
 * refused" is the core's message; evener adds the address itself, and "all" would be wrong here. */
static const char *reason_in(const char *message)
{
    static const char *const kinds[] = {"ipv4:", "ipv6:", "unix:", "unix-abstract:", "vsock:"};
    const char *reason = strstr(message, "last error: ");
    reason = reason == NULL ? message : reason + strlen("last error: ");
    size_t code = strspn(reason, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");
    if (code > 0 && strncmp(reason + code, ": ", 2) == 0) {
        reason += code + 2;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strncmp(reason, kinds[i], strlen(kinds[i])) == 0) {
            const char *end = strstr(reason, ": ");
            return end == NULL ? reason : end + 2;
        }
    }
    return reason;
}

static void fail(evener_connection *connection, const char *message)
{
    connection->phase = EVENER_GRPC_PHASE_OVER;
    const char *reason = reason_in(message);
    if (strncmp(connection->address, "vsock:", strlen("vsock:")) == 0 && strstr(reason, "DNS resolution") != NULL) {
        /* A core without a resolver for vsock takes the text for a name of DNS; nothing else says that it has none. */
        reason = "this gRPC core knows no vsock; use the transport \"http2\"";
    }
    evener_status_set(&connection->failure, EVENER_STATUS_UNAVAILABLE, "failed to connect to %s%s%s",
                      connection->address, *reason != '\0' ? ": " : "", reason);
    evener_grpc_connection_post(connection, EVENER_GRPC_EVENT_FAILED);
}

static void trial_destroy(evener_connection *connection)
{
    struct evener_grpc_trial *trial = connection->trial;
    connection->trial = NULL;
    grpc_slice_unref(trial->details);
    grpc_metadata_array_destroy(&trial->trailing_metadata);
    grpc_call_unref(trial->call);
    free(trial);
}

/* Inside the connection. Return whether an event is outstanding. */
static bool trial_start(evener_grpc_watcher *watcher, evener_connection *connection)
{
    struct evener_grpc_trial *trial = calloc(1, sizeof *trial);
    if (trial == NULL) {
        return false;
    }
    trial->details = grpc_empty_slice();
    grpc_metadata_array_init(&trial->trailing_metadata);
    trial->call =
        grpc_channel_create_call(connection->channel, NULL, 0, watcher->queue,
                                 grpc_slice_from_static_string("/evener/why"), NULL, after_ms(TRIAL_TIMEOUT_MS), NULL);
    connection->trial = trial;
    grpc_op operations[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};
    operations[1].data.recv_status_on_client.trailing_metadata = &trial->trailing_metadata;
    operations[1].data.recv_status_on_client.status = &trial->code;
    operations[1].data.recv_status_on_client.status_details = &trial->details;
    EVENER_GRPC_HANDS_OVER(&connection->watch_tag);
    evener_grpc_watcher_expect(watcher);
    if (grpc_call_start_batch(trial->call, operations, 2, &connection->watch_tag, NULL) != GRPC_CALL_OK) {
        evener_grpc_watcher_forget(watcher);
        trial_destroy(connection);
        return false;
    }
    return true;
}

static void trial_ended(evener_connection *connection)
{
    char *message = grpc_slice_to_c_string(connection->trial->details);
    bool answered = connection->trial->code == GRPC_STATUS_UNAVAILABLE;
    fail(connection, answered ? message : "");
    gpr_free(message);
    trial_destroy(connection);
}

/* ---- the state machine ---- */

static void watch(evener_grpc_watcher *watcher, evener_connection *connection, grpc_connectivity_state seen)
{
    EVENER_GRPC_HANDS_OVER(&connection->watch_tag);
    evener_grpc_watcher_expect(watcher);
    grpc_channel_watch_connectivity_state(connection->channel, seen, gpr_inf_future(GPR_CLOCK_MONOTONIC),
                                          watcher->queue, &connection->watch_tag);
}

static void given_up(evener_grpc_watcher *watcher, evener_connection *connection)
{
    watcher->attempts -=
        connection->phase == EVENER_GRPC_PHASE_CONNECTING || connection->phase == EVENER_GRPC_PHASE_FAILED;
    if (connection->phase == EVENER_GRPC_PHASE_FAILED) {
        trial_destroy(connection);
    }
    connection->phase = EVENER_GRPC_PHASE_OVER;
}

/* Handle the state seen while connecting; return whether an event is outstanding. Inside the connection. */
static bool connecting_step(evener_grpc_watcher *watcher, evener_connection *connection, grpc_connectivity_state state,
                            bool first)
{
    switch (state) {
    case GRPC_CHANNEL_READY:
        connection->phase = EVENER_GRPC_PHASE_CONNECTED;
        watcher->attempts--;
        evener_grpc_connection_post(connection, EVENER_GRPC_EVENT_READY);
        watch(watcher, connection, state);
        return true;
    case GRPC_CHANNEL_CONNECTING:
        watch(watcher, connection, state);
        return true;
    case GRPC_CHANNEL_IDLE:
        if (first) {
            watch(watcher, connection, state);
            return true;
        }
        /* It was READY, unseen: the core returns to IDLE from no other state. The connector limits connections that
         * live this short. */
        watcher->attempts--;
        connection->phase = EVENER_GRPC_PHASE_OVER;
        evener_grpc_connection_post(connection, EVENER_GRPC_EVENT_READY | EVENER_GRPC_EVENT_DROPPED);
        return false;
    default:
        connection->phase = EVENER_GRPC_PHASE_FAILED;
        if (trial_start(watcher, connection)) {
            return true;
        }
        watcher->attempts--;
        fail(connection, "");
        return false;
    }
}

static void attempt_begins(evener_grpc_watcher *watcher, evener_connection *connection)
{
    connection->phase = EVENER_GRPC_PHASE_CONNECTING;
    watcher->attempts++;
    connection->next_attempt = watcher->first_attempt;
    if (watcher->first_attempt != NULL) {
        watcher->first_attempt->previous_attempt = connection;
    }
    watcher->first_attempt = connection;
}

/* End the attempt, after its phase has changed. The channel may be destroyed now. */
static void attempt_ends(evener_grpc_watcher *watcher, evener_connection *connection)
{
    if (connection->previous_attempt != NULL) {
        connection->previous_attempt->next_attempt = connection->next_attempt;
    } else {
        watcher->first_attempt = connection->next_attempt;
    }
    if (connection->next_attempt != NULL) {
        connection->next_attempt->previous_attempt = connection->previous_attempt;
    }
    evener_grpc_connection_leave(connection);
}

/* Advance an attempt that may have been given up. Return whether an event is outstanding. */
static bool attempt_step(evener_grpc_watcher *watcher, evener_connection *connection)
{
    const bool first = connection->phase == EVENER_GRPC_PHASE_NEW;
    if (first) {
        attempt_begins(watcher, connection);
    }
    const grpc_connectivity_state state = grpc_channel_check_connectivity_state(connection->channel, first);
    const bool goes_on = state == GRPC_CHANNEL_CONNECTING || (first && state == GRPC_CHANNEL_IDLE);
    const bool wanted = !evener_grpc_connection_is_given_up(connection);
    bool outstanding = false;
    if (wanted) {
        outstanding = connecting_step(watcher, connection, state, first);
    } else if (goes_on && !watcher->shut_down) {
        watch(watcher, connection, state);
        outstanding = true;
    } else {
        given_up(watcher, connection);
    }
    if (connection->phase != EVENER_GRPC_PHASE_CONNECTING) {
        attempt_ends(watcher, connection);
    }
    return outstanding;
}

/* Return whether an event is outstanding. Inside the connection. */
static bool step(evener_grpc_watcher *watcher, evener_connection *connection)
{
    switch (connection->phase) {
    case EVENER_GRPC_PHASE_CONNECTED:
        connection->phase = EVENER_GRPC_PHASE_OVER;
        evener_grpc_connection_post(connection, EVENER_GRPC_EVENT_DROPPED);
        return false;
    case EVENER_GRPC_PHASE_FAILED:
        watcher->attempts--;
        trial_ended(connection);
        return false;
    default: /* OVER, which has no events; NEW and CONNECTING: see attempt_step() */
        break;
    }
    return false;
}

static void happened(evener_grpc_tag *tag, bool ok)
{
    (void)ok; /* unused: the states are read, and a status always arrives */
    evener_connection *connection = EVENER_CONTAINER_OF(tag, evener_connection, watch_tag);
    evener_grpc_watcher *watcher = connection->engine->watcher;
    bool outstanding = false;
    if (connection->phase <= EVENER_GRPC_PHASE_CONNECTING) {
        outstanding = attempt_step(watcher, connection);
    } else if (evener_grpc_connection_enter(connection)) {
        outstanding = step(watcher, connection);
        evener_grpc_connection_leave(connection);
    } else {
        given_up(watcher, connection);
    }
    if (!outstanding) {
        evener_grpc_connection_unref(connection);
    }
}

/* ---- the thread ---- */

/* Take one event, waiting until `deadline`; false if there was none. */
static bool take(evener_grpc_watcher *watcher, gpr_timespec deadline, bool *ended)
{
    grpc_event event = grpc_completion_queue_next(watcher->queue, deadline, NULL);
    if (event.type == GRPC_OP_COMPLETE) {
        atomic_fetch_sub_explicit(&watcher->expected, 1, memory_order_relaxed);
        evener_grpc_tag *tag = event.tag;
        EVENER_GRPC_TAKES_OVER(tag);
        tag->done(tag, event.success != 0);
        return true;
    }
    *ended = event.type == GRPC_QUEUE_SHUTDOWN;
    return false;
}

static void sleep_outside_the_core(evener_grpc_watcher *watcher)
{
    const struct timespec until = evener_clock_deadline(POLL_INTERVAL_MS);
    pthread_mutex_lock(&watcher->mutex);
    int error = 0;
    while (!watcher->awake && error != ETIMEDOUT) {
        error = atomic_load_explicit(&watcher->expected, memory_order_relaxed) > 0
                    ? pthread_cond_timedwait(&watcher->woken, &watcher->mutex, &until)
                    : pthread_cond_wait(&watcher->woken, &watcher->mutex);
    }
    watcher->awake = false;
    pthread_mutex_unlock(&watcher->mutex);
}

static bool wants_polling(evener_grpc_watcher *watcher)
{
    return watcher->attempts > 0 || atomic_load_explicit(&watcher->attended, memory_order_relaxed) > 0 ||
           watcher->shut_down;
}

/* Shut the queue down once the attempts have ended. All connections were given up. */
static void close_when_attempts_are_through(evener_grpc_watcher *watcher)
{
    const uint64_t now_ns = evener_clock_now_ns();
    if (watcher->closing_since_ns == 0) {
        watcher->closing_since_ns = now_ns;
    }
    if (watcher->first_attempt != NULL && now_ns - watcher->closing_since_ns < ATTEMPTS_END_MS * EVENER_NS_PER_MS) {
        return;
    }
    /* Only here, on the watcher's thread, is no step about to start an operation on the queue. */
    watcher->shut_down = true;
    grpc_completion_queue_shutdown(watcher->queue);
    while (watcher->first_attempt != NULL) {
        evener_connection *connection = watcher->first_attempt;
        given_up(watcher, connection);
        attempt_ends(watcher, connection);
    }
}

static void *watcher_main(void *arg)
{
    evener_grpc_watcher *watcher = arg;
    while (!watcher->ended) {
        const bool closing = atomic_load_explicit(&watcher->closing, memory_order_acquire);
        if (closing && !watcher->shut_down) {
            close_when_attempts_are_through(watcher);
        }
        if (watcher->shut_down && watcher->end_waits > END_TIMEOUT_MS / POLL_INTERVAL_MS) {
            evener_log(EVENER_LOG_ERROR, "transport", "the gRPC core keeps back the end of a connection: it is leaked");
            break;
        }
        if (wants_polling(watcher)) {
            const bool waits_for_attempts = closing && !watcher->shut_down;
            const bool took =
                take(watcher, after_ms(waits_for_attempts ? ATTEMPTS_END_MS : POLL_INTERVAL_MS), &watcher->ended);
            watcher->end_waits += watcher->shut_down && !took;
        } else {
            sleep_outside_the_core(watcher);
        }
        while (!watcher->ended && take(watcher, gpr_inf_past(GPR_CLOCK_MONOTONIC), &watcher->ended)) {
        }
    }
    return NULL;
}

void evener_grpc_watcher_wake(evener_grpc_watcher *watcher)
{
    pthread_mutex_lock(&watcher->mutex);
    bool was_awake = watcher->awake;
    watcher->awake = true;
    pthread_mutex_unlock(&watcher->mutex);
    if (!was_awake) {
        pthread_cond_signal(&watcher->woken);
    }
}

void evener_grpc_watcher_expect(evener_grpc_watcher *watcher)
{
    atomic_fetch_add_explicit(&watcher->expected, 1, memory_order_relaxed);
}

void evener_grpc_watcher_forget(evener_grpc_watcher *watcher)
{
    atomic_fetch_sub_explicit(&watcher->expected, 1, memory_order_relaxed);
}

void evener_grpc_watcher_attend(evener_grpc_watcher *watcher)
{
    atomic_fetch_add_explicit(&watcher->attended, 1, memory_order_relaxed);
    evener_grpc_watcher_wake(watcher);
}

void evener_grpc_watcher_release(evener_grpc_watcher *watcher)
{
    atomic_fetch_sub_explicit(&watcher->attended, 1, memory_order_relaxed);
}

grpc_completion_queue *evener_grpc_watcher_queue(const evener_grpc_watcher *watcher)
{
    return watcher->queue;
}

void evener_grpc_watcher_follow(evener_grpc_watcher *watcher, evener_connection *connection)
{
    connection->watch_tag.done = happened;
    evener_grpc_connection_ref(connection);
    (void)evener_grpc_connection_enter(connection); /* until the attempt has ended */
    /* IDLE ends at once, with the attempt or with the channel. (Not SHUTDOWN, from which every state differs: the core
     * owes no event for it to a channel that is destroyed before the watch has begun.) */
    (void)grpc_channel_check_connectivity_state(connection->channel, /*try_to_connect=*/1);
    watch(watcher, connection, GRPC_CHANNEL_IDLE);
    evener_grpc_watcher_wake(watcher);
}

/* ---- life ---- */

static void shut_down(evener_grpc_watcher *watcher)
{
    atomic_store_explicit(&watcher->closing, true, memory_order_release);
    evener_grpc_watcher_wake(watcher);
}

evener_grpc_watcher *evener_grpc_watcher_create(evener_status *status)
{
    evener_grpc_watcher *watcher = calloc(1, sizeof *watcher);
    if (watcher == NULL) {
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "gRPC transport: out of memory");
        return NULL;
    }
    pthread_mutex_init(&watcher->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&watcher->woken, &monotonic);
    pthread_condattr_destroy(&monotonic);
    watcher->queue = grpc_completion_queue_create_for_next(NULL);
    if (evener_thread_start(&watcher->thread, "evener-watch", watcher_main, watcher, status) != EVENER_STATUS_OK) {
        shut_down(watcher);
        (void)watcher_main(watcher); /* drains the queue */
        evener_grpc_watcher_destroy(watcher);
        return NULL;
    }
    return watcher;
}

void evener_grpc_watcher_stop(evener_grpc_watcher *watcher)
{
    shut_down(watcher);
    pthread_join(watcher->thread, NULL);
}

void evener_grpc_watcher_destroy(evener_grpc_watcher *watcher)
{
    if (watcher != NULL && watcher->ended) {
        grpc_completion_queue_destroy(watcher->queue);
        pthread_cond_destroy(&watcher->woken);
        pthread_mutex_destroy(&watcher->mutex);
        free(watcher);
    }
}
