/* How calls end, turn by turn: the test is the owner of the connection, and its server. */
#include <criterion/criterion.h>

#include <string.h>

#include "http2/bare_connection.h"

enum { RST_STREAM = 3 };
#define TIMEOUT_NS (250 * EVENER_NS_PER_MS)

static bare_connection bare;
static evener_http2_call call;
static unsigned ended;
static evener_status_code end_code;
static bool timed_out;
static char end_message[EVENER_STATUS_MESSAGE_BYTES];

static void on_ended(evener_transport_call *base, const evener_call_end *end)
{
    (void)base;
    ended++;
    end_code = end->code;
    timed_out = end->timed_out;
    cr_assert_eq(strlen(end->message), end->message_bytes, "\"%s\": %zu bytes", end->message, end->message_bytes);
    strncpy(end_message, end->message, sizeof end_message - 1);
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
    cr_assert_str_eq(end_message, "Deadline Exceeded");
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
