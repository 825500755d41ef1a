/* Who serves a connection: a blocking caller, or with many of them the I/O thread. The thread that delivers `ended` is
 * the one that served. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "http2/bare_connection.h"
#include "http2/raw_scene.h"
#include "lb/transport/http2/internal.h"
#include "tests/support/own_sockets.h"

#define MANY 5
#define LARGE_BYTES 9000
#define ROUNDS_MAX 300 /* far more than a change of the owner needs */

TestSuite(http2_owner, .init = raw_scene_open, .fini = raw_scene_close, .timeout = 60);

static const char *answer = "done";

typedef struct caller {
    pthread_t thread, server;
    evener_status_code code;
} caller;

static void note_thread(void *arg)
{
    ((caller *)arg)->server = pthread_self();
}

static void *call_once(void *arg)
{
    caller *self = arg;
    h2_result result;
    self->code = h2_call_blocking(peer, &(h2_call_options){HELLO, .ended = note_thread, .arg = self}, &result);
    h2_result_clear(&result);
    return NULL;
}

/* Make that many calls at once, answer them when all of them have arrived, and return how many were served by a thread
 * that made one of them. */
static unsigned served_by_callers(unsigned count)
{
    caller callers[MANY];
    uint32_t streams[MANY];
    unsigned served = 0;
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(pthread_create(&callers[i].thread, NULL, call_once, &callers[i]), 0);
    }
    for (unsigned i = 0; i < count; i++) {
        streams[i] = raw_read_call(&raw, &frame);
    }
    for (unsigned i = 0; i < count; i++) {
        raw_answer(&raw, streams[i], answer);
    }
    for (unsigned i = 0; i < count; i++) {
        pthread_join(callers[i].thread, NULL);
        cr_assert_eq(callers[i].code, EVENER_STATUS_OK);
    }
    for (unsigned i = 0; i < count; i++) {
        for (unsigned j = 0; j < count; j++) {
            served += pthread_equal(callers[i].server, callers[j].thread) != 0;
        }
    }
    return served;
}

static bool comes_to_be_served_by_callers(unsigned in_flight, unsigned served)
{
    for (unsigned i = 0; i < ROUNDS_MAX; i++) {
        if (served_by_callers(in_flight) == served) {
            return true;
        }
    }
    return false;
}

Test(http2_owner, a_few_blocking_calls_are_served_by_a_caller)
{
    raw_scene_connect();
    cr_assert(comes_to_be_served_by_callers(1, 1));
    cr_assert(comes_to_be_served_by_callers(2, 2));
}

Test(http2_owner, many_blocking_calls_are_served_by_the_io_thread_and_few_by_a_caller_again)
{
    raw_scene_connect();
    cr_assert(comes_to_be_served_by_callers(1, 1));
    cr_assert(comes_to_be_served_by_callers(MANY, 0));
    for (int i = 0; i < 5; i++) { /* and remain so */
        cr_assert_eq(served_by_callers(MANY), 0);
    }
    cr_assert(comes_to_be_served_by_callers(1, 1));
}

Test(http2_owner, many_calls_with_large_messages_are_served_by_callers)
{
    static char large[LARGE_BYTES + 1];
    memset(large, 'x', LARGE_BYTES);
    raw_scene_connect();
    cr_assert(comes_to_be_served_by_callers(MANY, 0));
    answer = large;
    cr_assert(comes_to_be_served_by_callers(MANY, MANY));
    answer = "done";
    cr_assert(comes_to_be_served_by_callers(MANY, 0));
}

/* ---- one caller that serves for long ---- */

static void end_long_call(caller *self, uint32_t stream)
{
    raw_answer(&raw, stream, answer);
    pthread_join(self->thread, NULL);
    cr_assert_eq(self->code, EVENER_STATUS_OK);
}

static bool comes_to_poll(void)
{
    for (unsigned i = 0; i < 100; i++) {
        if (atomic_load(&peer->connection->owner) == EVENER_HTTP2_OWNER_POLLING) {
            return true;
        }
        usleep(100);
    }
    return false;
}

/* Let a caller begin a call, and return when it waits for the socket. If the I/O thread had the connection when the call
 * began, that serves it: then another call is made. */
static uint32_t begin_long_call(caller *self)
{
    for (;;) {
        uint32_t stream;
        cr_assert_eq(pthread_create(&self->thread, NULL, call_once, self), 0);
        do {
            stream = raw_read_call(&raw, &frame);
        } while (strstr(frame.headers, H2_ECHO "\n") == NULL); /* one of those is another call of the test */
        if (comes_to_poll()) {
            return stream;
        }
        end_long_call(self, stream);
    }
}

typedef struct other_call {
    evener_http2_call call;
    pthread_t written_by, ended_by;
    _Atomic unsigned written, ended;
} other_call;

static void on_other_written(evener_transport_call *call)
{
    other_call *self = call->arg;
    self->written_by = pthread_self();
    (void)atomic_fetch_add(&self->written, 1);
}

static void on_other_ended(evener_transport_call *call, const evener_call_end *end)
{
    other_call *self = call->arg;
    (void)end;
    self->ended_by = pthread_self();
    (void)atomic_fetch_add(&self->ended, 1);
}

/* A caller that waits for its own call never runs the events of others: what they wait for may need this caller. */
Test(http2_owner, events_of_other_calls_come_on_the_io_thread)
{
    static const evener_call_events events = {
        .size = sizeof events, .written = on_other_written, .ended = on_other_ended};
    static const evener_bytes message = {.data = (const uint8_t *)"hello", .length = 5};
    raw_scene_connect();
    for (unsigned round = 0; round < 50; round++) {
        static other_call other;
        caller blocking;
        const uint32_t stream = begin_long_call(&blocking);
        other = (other_call){.call.base.arg = &other};
        const evener_call_begin_args args = {
            .size = sizeof args, .events = &events, .method = H2_ECHO_STREAM, .deadline_ns = UINT64_MAX};
        evener_status status;
        cr_assert_eq(evener_http2_calls.call_begin(peer->connection, &other.call.base, &args, &status),
                     EVENER_STATUS_OK);
        if (round % 2 == 0) {
            evener_http2_calls.call_write(&other.call.base, &message, false);
            while (atomic_load(&other.written) == 0) {
                usleep(100);
            }
            cr_assert_not(pthread_equal(other.written_by, blocking.thread));
        }
        evener_http2_calls.call_cancel(&other.call.base, EVENER_STATUS_CANCELLED, "given up");
        while (atomic_load(&other.ended) == 0) {
            usleep(100);
        }
        cr_assert_not(pthread_equal(other.ended_by, blocking.thread));
        end_long_call(&blocking, stream);
    }
}

/* The same, step by step, for a call that begins when the owner has begun its turn. */
Test(http2_turns, a_callers_turn_leaves_the_operations_of_other_calls, .timeout = 60)
{
    static const evener_call_events events = {.size = sizeof events, .ended = on_other_ended};
    static const uint32_t callers[] = {EVENER_HTTP2_OWNER_BLOCKING, EVENER_HTTP2_OWNER_GUEST,
                                       EVENER_HTTP2_OWNER_GUEST_AWAITED};
    static other_call others[2];
    static evener_http2_call own;
    static bare_connection bare;
    bare_connection_open(&bare, -1);
    evener_connection *connection = bare.connection;
    own.base.arg = &others[0];
    for (size_t i = 0; i < 2; i++) {
        others[i].call.base.arg = &others[i];
        evener_call_begin_args args = {
            .size = sizeof args, .events = &events, .method = "/a.B/C", .deadline_ns = UINT64_MAX};
        evener_status status;
        cr_assert_eq(evener_http2_calls.call_begin(connection, &others[i].call.base, &args, &status), EVENER_STATUS_OK);
    }
    for (size_t i = 0; i < sizeof callers / sizeof *callers; i++) {
        atomic_store(&connection->owner, callers[i]);
        bare_connection_work(&bare);
        cr_assert_eq(others[0].call.phase, EVENER_HTTP2_CALL_NONE);
        cr_assert_eq(others[1].call.phase, EVENER_HTTP2_CALL_NONE);
    }
    bare_connection_begin(&bare, &own, &events, NULL);
    atomic_store(&connection->owner, EVENER_HTTP2_OWNER_IO);
    bare_connection_work(&bare);
    cr_assert_eq(others[0].call.phase, EVENER_HTTP2_CALL_OPEN);
    cr_assert_eq(others[1].call.phase, EVENER_HTTP2_CALL_OPEN);
    cr_assert_eq(own.phase, EVENER_HTTP2_CALL_OPEN);
    bare_connection_close(&bare);
}

/* Let the I/O thread find that a caller has the connection: it looks before the caller has read one of the PINGs. Return
 * whether that was seen; it lasts 2 ms. */
static bool io_thread_comes_to_linger(void)
{
    for (unsigned i = 0; i < 100; i++) {
        if (atomic_load(&peer->connection->lingers) != 0) {
            return true;
        }
        raw_send(&raw, RAW_PING, 0, 0, "12345678", 8);
        usleep(300);
    }
    return false;
}

/* The I/O thread leaves the connection to the caller until that has done. Then it gives the caller's seat back. */
Test(http2_owner, the_io_thread_sleeps_until_a_long_call_is_over)
{
    raw_scene_connect();
    for (bool seen = false; !seen;) {
        caller blocking;
        const uint32_t stream = begin_long_call(&blocking);
        seen = io_thread_comes_to_linger();
        while (atomic_load(&peer->connection->lingers) != 0) {
            usleep(100);
        }
        end_long_call(&blocking, stream);
        while (atomic_load(&peer->connection->seat) != NULL || atomic_load(&peer->connection->lingers) != 0) {
            usleep(100);
        }
    }
}

Test(http2_one_processor, seats_are_given_back_whoever_came_first, .timeout = 60)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0); /* then the I/O thread often comes after the caller */
    raw_scene_open();
    raw_scene_connect();
    for (unsigned i = 0; i < 40; i++) {
        caller blocking;
        cr_assert_eq(pthread_create(&blocking.thread, NULL, call_once, &blocking), 0);
        end_long_call(&blocking, raw_read_call(&raw, &frame));
        while (atomic_load(&peer->connection->seat) != NULL) {
            usleep(100);
        }
    }
    raw_scene_close();
}

/* ---- a caller that takes a connection after its end ---- */

static void on_late_ended(evener_transport_call *call, const evener_call_end *end)
{
    (void)end;
    (void)atomic_fetch_add((_Atomic unsigned *)call->arg, 1);
}

/* A blocking caller may begin its wait before the end of the connection, and look who owns it afterwards. Here its word
 * does not change, so that it takes the connection each time. */
static void wait_until_taken(evener_http2_call *call)
{
    uint32_t word = 0;
    while (atomic_load(&peer->connection->seat) == NULL) {
        evener_http2_calls.call_wait(&call->base, &word, word, 0);
        usleep(100);
    }
}

Test(http2_late_owner, gives_back_what_it_took, .timeout = 60)
{
    static const evener_call_events events = {.size = sizeof events, .ended = on_late_ended};
    static evener_http2_call call;
    static _Atomic unsigned ended;
    const unsigned before = own_descriptors_count("anon_inode:[eventfd]");
    raw_scene_open();
    raw_scene_connect();
    call.base.arg = &ended;
    const evener_call_begin_args args = {.size = sizeof args,
                                         .events = &events,
                                         .method = H2_ECHO,
                                         .deadline_ns = UINT64_MAX,
                                         .unary = true,
                                         .blocking = true};
    evener_status status;
    cr_assert_eq(evener_http2_calls.call_begin(peer->connection, &call.base, &args, &status), EVENER_STATUS_OK);
    raw_close(&raw);
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
    wait_until_taken(&call);
    cr_assert_eq(atomic_load(&ended), 1);
    raw_scene_close();
    cr_assert_eq(own_descriptors_count("anon_inode:[eventfd]"), before);
}
