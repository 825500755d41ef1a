/* How calls end, turn by turn: the test is the owner of the connection, and its server. */
#include <criterion/criterion.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http2/bare_connection.h"

enum { RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7 };
enum { MAX_CONCURRENT_STREAMS = 3 };
#define TIMEOUT_NS (250 * EVENER_NS_PER_MS)

static bare_connection bare;
static evener_http2_call call;
static unsigned ended;
static evener_status_code end_code;
static bool timed_out;
static char messages[2][EVENER_STATUS_MESSAGE_BYTES];

static void on_ended(evener_transport_call *base, const evener_call_end *end)
{
    (void)base;
    end_code = end->code;
    timed_out = end->timed_out;
    cr_assert_eq(strlen(end->message), end->message_bytes, "\"%s\": %zu bytes", end->message, end->message_bytes);
    cr_assert_lt(ended, 2);
    strncpy(messages[ended++], end->message, sizeof messages[0] - 1);
}

static const evener_call_events events = {.size = sizeof events, .ended = on_ended};

static void begin(evener_http2_call *one, uint64_t deadline_ns)
{
    const evener_call_begin_args args = {.size = sizeof args,
                                         .events = &events,
                                         .method = "/a.B/C",
                                         .deadline_ns = deadline_ns,
                                         .unary = true,
                                         .blocking = true};
    evener_status status;
    cr_assert_eq(evener_http2_calls.call_begin(bare.connection, &one->base, &args, &status), EVENER_STATUS_OK);
    bare_connection_work(&bare);
}

static void close_all(void)
{
    bare_connection_close(&bare);
}

TestSuite(http2_ends, .fini = close_all);

/* ---- a reset at the deadline ---- */

/* Let the server reset a call at that time after its begin; the reset is read before the timers run. */
static void reset_after(uint64_t ns, uint8_t error_code)
{
    bare_connection_open(&bare, -1);
    begin(&call, virtual_loop_now_ns(bare.loop) + TIMEOUT_NS);
    virtual_loop_advance_ns(bare.loop, ns);
    const uint8_t payload[] = {0, 0, 0, error_code};
    bare_connection_feed(&bare, RST_STREAM, 0, 1, payload, sizeof payload);
    bare_connection_work(&bare);
    cr_assert_eq(ended, 1);
}

Test(http2_ends, a_cancelling_reset_at_the_deadline_is_the_deadlines)
{
    reset_after(TIMEOUT_NS, NGHTTP2_CANCEL);
    cr_assert_eq(end_code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_assert(timed_out);
    cr_assert_str_eq(messages[0], "Deadline Exceeded");
}

Test(http2_ends, a_cancelling_reset_before_the_deadline_is_the_servers)
{
    reset_after(TIMEOUT_NS - 1, NGHTTP2_CANCEL);
    cr_assert_eq(end_code, EVENER_STATUS_CANCELLED);
    cr_assert_not(timed_out);
}

Test(http2_ends, any_other_reset_at_the_deadline_is_the_servers)
{
    reset_after(TIMEOUT_NS, NGHTTP2_INTERNAL_ERROR);
    cr_assert_eq(end_code, EVENER_STATUS_INTERNAL);
    cr_assert_not(timed_out);
}

/* ---- a connection that cannot be written to ---- */

Test(http2_ends, an_unread_goaway_gives_the_calls_that_wait_their_message)
{
    static evener_http2_call waiting;
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    bare_connection_open(&bare, ends[0]);
    const uint8_t one_stream[] = {0, MAX_CONCURRENT_STREAMS, 0, 0, 0, 1};
    bare_connection_feed(&bare, SETTINGS, 0, 0, one_stream, sizeof one_stream);
    begin(&call, UINT64_MAX);
    begin(&waiting, UINT64_MAX);
    cr_assert_eq(waiting.phase, EVENER_HTTP2_CALL_WAITING);
    uint8_t bytes[64], *to = bytes;
    const uint8_t last_stream[] = {0, 0, 0, 1, 0, 0, 0, 0};
    bare_put_frame(&to, GOAWAY, 0, 0, last_stream, sizeof last_stream);
    cr_assert_eq(write(ends[1], bytes, (size_t)(to - bytes)), to - bytes);
    close(ends[1]);
    bare_connection_feed(&bare, PING, 0, 0, "12345678", 8); /* the answer cannot be written */
    bare_connection_work(&bare);
    cr_assert_eq(ended, 2);
    cr_assert_not_null(strstr(messages[0], "GOAWAY"), "%s", messages[0]);
    cr_assert_not_null(strstr(messages[1], "cannot write"), "%s", messages[1]);
}
