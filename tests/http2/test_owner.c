/* Who serves a connection: a blocking caller, or with many of them the I/O thread. The thread that delivers `ended` is
 * the one that served. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "http2/raw_scene.h"
#include "lb/transport/http2/internal.h"

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

/* ---- a caller that takes a connection after its end ---- */

static unsigned count_eventfds(void)
{
    unsigned count = 0;
    for (int descriptor = 0; descriptor < 1024; descriptor++) {
        char path[64], what[64] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
        count += readlink(path, what, sizeof what - 1) > 0 && strcmp(what, "anon_inode:[eventfd]") == 0;
    }
    return count;
}

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
    const unsigned before = count_eventfds();
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
    cr_assert_eq(count_eventfds(), before);
}
