/* The turns of an I/O thread: when it lets other threads run before it reads, and how long it waits for events. This
 * program's sched_yield() counts, and takes as long as the test says; its epoll_wait() notes how long a thread waits.
 * The loop's time passes when the test says so. */
#include <criterion/criterion.h>

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>

#include "http2/bare_connection.h"
#include "http2/fixture.h"
#include "http2/raw_server.h"
#include "tests/support/virtual_loop.h"

/* As in io_thread.c. */
#define ENDS 4
#define SLOW_NS (2 * EVENER_NS_PER_MS)
#define PAUSE_FIRST 4
#define PAUSE_MAX 256

static _Atomic unsigned yields;
static _Atomic uint64_t yield_takes_ns, passed_ns;

__attribute__((visibility("default"))) int sched_yield(void)
{
    atomic_fetch_add(&passed_ns, atomic_load(&yield_takes_ns));
    atomic_fetch_add(&yields, 1);
    return 0;
}

#define NO_WAIT (-2)
static _Atomic int last_wait_ms = NO_WAIT; /* -1: without end */
static _Atomic int first_wait_ms = NO_WAIT;

/* The test framework's thread calls it as well. */
static bool is_io_thread(void)
{
    char name[16];
    return pthread_getname_np(pthread_self(), name, sizeof name) == 0 && strncmp(name, "evener-h2-", 10) == 0;
}

__attribute__((visibility("default"))) int epoll_wait(int descriptor, struct epoll_event *found, int count, int ms)
{
    int (*next)(int, struct epoll_event *, int, int);
    void *symbol = dlsym(RTLD_NEXT, "epoll_wait");
    int none = NO_WAIT;
    memcpy(&next, &symbol, sizeof next);
    if (is_io_thread()) {
        atomic_compare_exchange_strong(&first_wait_ms, &none, ms);
        atomic_store(&last_wait_ms, ms);
    }
    return next(descriptor, found, count, ms);
}

/* ---- a loop whose time is the test's ---- */

static virtual_loop *loop;
static evener_loop_vtable vtable;
static uint64_t (*loop_now_ns)(evener_loop *loop);

static uint64_t now_ns(evener_loop *base)
{
    return loop_now_ns(base) + atomic_load(&passed_ns);
}

/* ---- the scene ---- */

static h2_fixture fixture;
static raw_server server;
static raw_peer raw;
static h2_peer *peer;
static raw_frame frame;

static void open_all(void)
{
    evener_status status;
    loop = virtual_loop_create(1);
    evener_loop *base = virtual_loop_loop(loop);
    vtable = *base->vtable;
    loop_now_ns = vtable.now_ns;
    vtable.now_ns = now_ns;
    base->vtable = &vtable;
    const evener_runtime_options runtime_options = {.size = sizeof runtime_options, .loop = base};
    cr_assert_eq(evener_runtime_create(&runtime_options, &fixture.runtime, &status), EVENER_STATUS_OK);
    const evener_http2_transport_options options = {.size = sizeof options};
    cr_assert_eq(evener_http2_transport_create(fixture.runtime, &options, &fixture.transport, &status),
                 EVENER_STATUS_OK);
    raw_listen(&server);
    peer = h2_connect_port(&fixture, server.port);
    raw_accept(&server, &raw);
    raw_handshake(&raw, NULL, 0);
    while (h2_state_count(peer) == 0) { /* the suite's timeout ends this */
        virtual_loop_run_until_idle(loop);
    }
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_READY);
}

static void close_all(void)
{
    h2_forget(peer);
    raw_close(&raw);
    raw_stop(&server);
    h2_close(&fixture);
    virtual_loop_destroy(loop);
}

TestSuite(http2_yield, .init = open_all, .fini = close_all, .timeout = 120);

static void exchange_pings(void)
{
    raw_send(&raw, RAW_PING, 0, 0, "12345678", 8);
    do {
        cr_assert(raw_read_any(&raw, &frame));
    } while (frame.type != RAW_PING || frame.flags != RAW_ACK);
}

/* Let this many calls end by what the I/O thread reads at once, then let it read something more. Return the yields. */
static unsigned yields_after(unsigned count)
{
    /* :status 200 (static 8); content-type (static 31) and grpc-status as literals */
    static const char block[] = "\x88\x0f\x10\x10"
                                "application/grpc"
                                "\0\x0b"
                                "grpc-status"
                                "\x01"
                                "8";
    const unsigned before = atomic_load(&yields);
    uint8_t answers[16 * 64] = {0}, *to = answers;
    h2_call *calls[16];
    for (unsigned i = 0; i < count; i++) {
        calls[i] = h2_call_start(peer, &(h2_call_options){0}, NULL);
    }
    for (unsigned i = 0; i < count; i++) {
        bare_put_frame(&to, RAW_HEADERS, RAW_END_HEADERS | RAW_END_STREAM, raw_read_call(&raw, &frame), block,
                       sizeof block - 1);
    }
    raw_send_bytes(&raw, answers, (size_t)(to - answers));
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(h2_call_wait(calls[i])->code, EVENER_STATUS_RESOURCE_EXHAUSTED);
        h2_call_free(calls[i]);
    }
    exchange_pings();
    return atomic_load(&yields) - before;
}

/* The rounds that go by until the next yield. */
static unsigned rounds_without_yield(void)
{
    unsigned rounds = 0;
    while (yields_after(ENDS) == 0) {
        rounds++;
    }
    return rounds;
}

Test(http2_yield, a_turn_in_which_several_calls_end_is_followed_by_one)
{
    cr_assert_eq(yields_after(ENDS - 1), 0);
    cr_assert_eq(yields_after(ENDS), 1);
    cr_assert_eq(yields_after(ENDS + 1), 1);
    cr_assert_eq(yields_after(0), 0);
}

Test(http2_yield, one_that_returns_in_time_is_followed_by_others)
{
    atomic_store(&yield_takes_ns, SLOW_NS - 1);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(yields_after(ENDS), 1);
    }
}

Test(http2_yield, after_slow_ones_more_and_more_turns_leave_it_out)
{
    atomic_store(&yield_takes_ns, SLOW_NS);
    cr_assert_eq(rounds_without_yield(), 0);
    for (unsigned pause = PAUSE_FIRST; pause < PAUSE_MAX; pause *= 2) {
        cr_assert_eq(rounds_without_yield(), pause);
    }
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(rounds_without_yield(), PAUSE_MAX, "not more");
    }
}

Test(http2_yield, a_quick_one_ends_the_growth)
{
    atomic_store(&yield_takes_ns, SLOW_NS);
    cr_assert_eq(rounds_without_yield(), 0);
    cr_assert_eq(rounds_without_yield(), PAUSE_FIRST);
    cr_assert_eq(rounds_without_yield(), 2 * PAUSE_FIRST);
    atomic_store(&yield_takes_ns, 0);
    cr_assert_eq(rounds_without_yield(), 4 * PAUSE_FIRST);
    cr_assert_eq(rounds_without_yield(), 0);
    atomic_store(&yield_takes_ns, SLOW_NS);
    cr_assert_eq(rounds_without_yield(), 0);
    cr_assert_eq(rounds_without_yield(), PAUSE_FIRST);
    cr_assert_eq(rounds_without_yield(), 2 * PAUSE_FIRST);
}

/* ---- waiting ---- */

#define HOUR_MS 3600000

TestSuite(http2_wait, .init = open_all, .fini = close_all, .timeout = 60);

/* Return when the thread has come to wait for so long. */
static void await_wait_ms(int ms)
{
    while (atomic_load(&last_wait_ms) != ms) { /* the suite's timeout ends this */
        virtual_loop_run_until_idle(loop);
    }
}

static void pass_ns(uint64_t ns)
{
    atomic_fetch_add(&passed_ns, ns);
    exchange_pings(); /* wakes the thread, which looks at the time */
}

Test(http2_wait, lasts_until_the_first_timer_and_is_never_too_short)
{
    await_wait_ms(-1);
    h2_call *late = h2_call_start(peer, &(h2_call_options){.timeout_ms = HOUR_MS + 1000}, NULL);
    await_wait_ms(HOUR_MS); /* the longest */
    h2_call *one = h2_call_start(peer, &(h2_call_options){.timeout_ms = HOUR_MS - 1000}, NULL);
    await_wait_ms(HOUR_MS - 1000);
    pass_ns(1);
    await_wait_ms(HOUR_MS - 1000);
    pass_ns(EVENER_NS_PER_MS - 1);
    await_wait_ms(HOUR_MS - 1001);
    pass_ns((HOUR_MS - 1002) * EVENER_NS_PER_MS);
    await_wait_ms(1);
    pass_ns(EVENER_NS_PER_MS - 1);
    await_wait_ms(1);
    cr_assert_not(h2_call_has_ended(one));
    pass_ns(1);
    cr_assert_eq(h2_call_wait(one)->code, EVENER_STATUS_DEADLINE_EXCEEDED);
    await_wait_ms(2000); /* until the other's */
    cr_assert_not(h2_call_has_ended(late));
    h2_call_cancel(late, EVENER_STATUS_CANCELLED, "the end");
    (void)h2_call_wait(late);
    h2_call_free(one);
    h2_call_free(late);
}

/* A callback that takes two seconds. */
static void take_time(void *arg)
{
    (void)arg;
    atomic_fetch_add(&passed_ns, 2 * EVENER_NS_PER_S);
    atomic_store(&first_wait_ms, NO_WAIT);
}

Test(http2_wait, is_none_for_a_timer_that_is_due)
{
    h2_call *one = h2_call_start(peer, &(h2_call_options){.timeout_ms = 1000}, NULL);
    h2_call *slow = h2_call_start(peer, &(h2_call_options){.ended = take_time}, NULL);
    (void)raw_read_call(&raw, &frame);
    raw_send_reset(&raw, raw_read_call(&raw, &frame), 8);
    cr_assert_eq(h2_call_wait(slow)->code, EVENER_STATUS_CANCELLED);
    cr_assert_eq(h2_call_wait(one)->code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_assert_eq(atomic_load(&first_wait_ms), 0);
    h2_call_free(one);
    h2_call_free(slow);
}

/* The timer finds the connection in the thread's hands. */
Test(http2_wait, a_timer_may_ring_in_the_turn_of_an_event)
{
    h2_call *late = h2_call_start(peer, &(h2_call_options){.timeout_ms = 2 * HOUR_MS}, NULL);
    h2_call *one = h2_call_start(peer, &(h2_call_options){.timeout_ms = HOUR_MS - 1}, NULL);
    await_wait_ms(HOUR_MS - 1);
    pass_ns((HOUR_MS - 1) * EVENER_NS_PER_MS);
    cr_assert_eq(h2_call_wait(one)->code, EVENER_STATUS_DEADLINE_EXCEEDED);
    await_wait_ms(HOUR_MS);
    cr_assert_not(h2_call_has_ended(late));
    h2_call_cancel(late, EVENER_STATUS_CANCELLED, "the end");
    (void)h2_call_wait(late);
    h2_call_free(one);
    h2_call_free(late);
}
