/* Keepalive (A8) to the nanosecond: a connection on a virtual loop, whose owner and whose server the test is. */
#include <criterion/criterion.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http2/bare_connection.h"

#define TIME_NS (20 * EVENER_NS_PER_S)
#define TIMEOUT_NS (5 * EVENER_NS_PER_S)
#define HOUR_NS (3600 * EVENER_NS_PER_S)
#define FRAME_HEADER_BYTES 9
#define PING 6
#define PING_BYTES 8
#define ACK 1

static bare_connection bare;
static int server; /* the other end of the connection's socket */
static evener_http2_call call;
static unsigned ended;
static evener_status_code end_code;
static char end_message[EVENER_STATUS_MESSAGE_BYTES];

static void on_ended(evener_transport_call *base, const evener_call_end *end)
{
    (void)base;
    ended++;
    end_code = end->code;
    strncpy(end_message, end->message, sizeof end_message - 1);
}

static const evener_call_events events = {.size = sizeof events, .ended = on_ended};
static const evener_bytes request = {.data = (const uint8_t *)"hello", .length = 5};

static void open_with(bool permit_without_calls)
{
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    server = ends[1];
    bare.transport = (evener_http2_transport){.keepalive_timeout_ns = TIMEOUT_NS,
                                              .keepalive_permit_without_calls = permit_without_calls};
    atomic_init(&bare.transport.keepalive_time_ns, TIME_NS);
    bare_connection_open(&bare, ends[0]);
}

static void close_all(void)
{
    bare_connection_close(&bare);
    close(server);
}

TestSuite(http2_keepalive_time, .fini = close_all);

static void begin_call(void)
{
    bare_connection_begin(&bare, &call, &events, &request);
    bare_connection_work(&bare);
}

/* Read what the connection has written; return the PINGs in it. */
static unsigned take_pings(void)
{
    uint8_t bytes[65536];
    const ssize_t got = recv(server, bytes, sizeof bytes, 0);
    unsigned pings = 0;
    size_t at = got > 24 && memcmp(bytes, "PRI ", 4) == 0 ? 24 : 0; /* the client's preface */
    while (got > 0 && at + FRAME_HEADER_BYTES <= (size_t)got) {
        pings += bytes[at + 3] == PING && (bytes[at + 4] & ACK) == 0;
        at += FRAME_HEADER_BYTES + ((size_t)bytes[at] << 16 | (size_t)bytes[at + 1] << 8 | bytes[at + 2]);
    }
    return pings;
}

static void answer_ping(void)
{
    uint8_t frame[FRAME_HEADER_BYTES + PING_BYTES], *to = frame;
    bare_put_frame(&to, PING, ACK, 0, "evenralv", PING_BYTES);
    evener_http2_connection_feed(bare.connection, frame, sizeof frame);
    bare_connection_work(&bare);
}

static uint64_t now_ns(void)
{
    return virtual_loop_now_ns(bare.loop);
}

/* Take the turn that the owner is due to take next, if that is before `until_ns`; otherwise advance until then. */
static bool next_turn(uint64_t until_ns)
{
    const uint64_t next_ns = evener_http2_next_timer_ns(&bare.connection->timers);
    const bool is_due = next_ns < until_ns;
    virtual_loop_advance_ns(bare.loop, (is_due ? next_ns : until_ns) - now_ns());
    bare_connection_work(&bare);
    return is_due;
}

/* Take all turns until then. Return the PINGs that were sent. */
static unsigned work_until(uint64_t until_ns)
{
    unsigned pings = 0;
    while (next_turn(until_ns)) {
        pings += take_pings();
    }
    return pings + take_pings();
}

Test(http2_keepalive_time, a_silent_peer_is_noticed_after_the_time_and_the_timeout)
{
    open_with(false);
    const uint64_t heard_ns = now_ns();
    begin_call();
    cr_assert_eq(work_until(heard_ns + TIME_NS - 1), 0);
    cr_assert_eq(work_until(heard_ns + TIME_NS), 1);
    cr_assert_eq(work_until(heard_ns + TIME_NS + TIMEOUT_NS - 1), 0);
    cr_assert_eq(ended, 0);
    cr_assert(!next_turn(heard_ns + TIME_NS + TIMEOUT_NS));
    cr_assert_eq(ended, 1);
    cr_assert_eq(end_code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_not_null(strstr(end_message, "keepalive"), "%s", end_message);
    cr_assert_eq(bare.connection->phase, EVENER_HTTP2_PHASE_CLOSED);
}

/* EVENER_NEVER_MS, and every other time beyond the clock's range: nothing is given up. */
Test(http2_keepalive_time, a_timeout_of_never_is_never_over)
{
    open_with(false);
    bare.transport.keepalive_timeout_ns = UINT64_MAX;
    const uint64_t heard_ns = now_ns();
    begin_call();
    cr_assert_eq(work_until(heard_ns + TIME_NS), 1);
    cr_assert_eq(work_until(heard_ns + 1000 * HOUR_NS), 0);
    cr_assert_eq(ended, 0);
    cr_assert_eq(bare.connection->phase, EVENER_HTTP2_PHASE_OPEN);
}

/* On a silent connection too: a peer that answered for an hour is still noticed when it falls silent. */
Test(http2_keepalive_time, pings_go_on_for_as_long_as_they_are_answered)
{
    open_with(false);
    begin_call();
    for (unsigned pings = 1; pings <= HOUR_NS / TIME_NS; pings++) {
        cr_assert_eq(work_until(now_ns() + TIME_NS), 1, "after %u pings", pings);
        answer_ping();
    }
    cr_assert_eq(work_until(now_ns() + TIME_NS + TIMEOUT_NS), 1);
    cr_assert_eq(ended, 1);
}

/* An answer that comes with the last nanosecond of the timeout keeps the connection; the time begins with it. */
Test(http2_keepalive_time, the_time_begins_with_the_last_byte_received)
{
    open_with(false);
    begin_call();
    (void)work_until(now_ns() + TIME_NS + TIMEOUT_NS - 1);
    answer_ping();
    cr_assert_eq(work_until(now_ns() + TIME_NS - 1), 0);
    cr_assert_eq(work_until(now_ns() + 1), 1);
    cr_assert_eq(ended, 0);
}

Test(http2_keepalive_time, without_calls_nothing_is_sent_until_one_begins)
{
    open_with(false);
    cr_assert_eq(work_until(now_ns() + HOUR_NS), 0);
    begin_call();
    cr_assert_eq(work_until(now_ns() + TIME_NS - 1), 0);
    cr_assert_eq(work_until(now_ns() + 1), 1);
}

Test(http2_keepalive_time, with_permission_there_are_pings_without_calls)
{
    open_with(true);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(work_until(now_ns() + TIME_NS), 1);
        answer_ping();
    }
    cr_assert_eq(work_until(now_ns() + TIME_NS + TIMEOUT_NS), 1);
    cr_assert_eq(bare.connection->phase, EVENER_HTTP2_PHASE_CLOSED);
}
