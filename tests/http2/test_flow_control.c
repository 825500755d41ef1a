/* Flow control to the byte: a connection on a virtual loop, whose owner and whose server the test is. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http2/bare_connection.h"
#include "lb/transport/http2/flow_control.h"

#define FRAME_HEADER_BYTES 9
#define PREFACE_BYTES 24
#define FRAMES_MAX 64
enum { DATA = 0, HEADERS = 1, SETTINGS = 4, PING = 6, WINDOW_UPDATE = 8 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };
enum { INITIAL_WINDOW_SIZE = 4 };

typedef struct sent_frame {
    uint8_t type, flags;
    uint32_t stream;
    size_t bytes;
    uint8_t payload[16384];
} sent_frame;

static bare_connection bare;
static int server = -1; /* the other end of the connection's socket */
static sent_frame sent[FRAMES_MAX];
static unsigned sent_count;

/* ---- what the connection sends ---- */

/* Read the frames that the connection has written; all of them are whole. */
static void take_sent(void)
{
    static uint8_t bytes[1 << 20];
    size_t got = 0;
    ssize_t one;
    while ((one = recv(server, bytes + got, sizeof bytes - got, 0)) > 0) {
        got += (size_t)one;
    }
    size_t at = got >= PREFACE_BYTES && memcmp(bytes, "PRI ", 4) == 0 ? PREFACE_BYTES : 0;
    for (sent_count = 0; at < got; sent_count++) {
        cr_assert_lt(sent_count, FRAMES_MAX);
        cr_assert_leq(at + FRAME_HEADER_BYTES, got);
        sent_frame *frame = &sent[sent_count];
        const uint8_t *p = bytes + at;
        frame->bytes = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
        frame->type = p[3];
        frame->flags = p[4];
        frame->stream = (uint32_t)p[5] << 24 | (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8];
        cr_assert_leq(at + FRAME_HEADER_BYTES + frame->bytes, got);
        memcpy(frame->payload, p + FRAME_HEADER_BYTES, frame->bytes);
        at += FRAME_HEADER_BYTES + frame->bytes;
    }
}

static void work(void)
{
    bare_connection_work(&bare);
    take_sent();
}

static uint32_t number_at(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Return the PINGs among the frames taken last that are no answers. */
static unsigned pings(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < sent_count; i++) {
        count += sent[i].type == PING && (sent[i].flags & ACK) == 0;
    }
    return count;
}

/* Return the bytes of DATA among them. */
static size_t data_bytes(void)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < sent_count; i++) {
        bytes += sent[i].type == DATA ? sent[i].bytes : 0;
    }
    return bytes;
}

/* Return what the WINDOW_UPDATEs of the connection among them add up to. */
static uint32_t connection_window_opened(void)
{
    uint32_t bytes = 0;
    for (unsigned i = 0; i < sent_count; i++) {
        bytes += sent[i].type == WINDOW_UPDATE && sent[i].stream == 0 ? number_at(sent[i].payload) : 0;
    }
    return bytes;
}

/* Return the window of a stream that SETTINGS among them announce; 0: none. */
static uint32_t window_announced(void)
{
    uint32_t window = 0;
    for (unsigned i = 0; i < sent_count; i++) {
        for (size_t at = 0; sent[i].type == SETTINGS && at + 6 <= sent[i].bytes; at += 6) {
            const uint8_t *p = sent[i].payload + at;
            window = p[0] == 0 && p[1] == INITIAL_WINDOW_SIZE ? number_at(p + 2) : window;
        }
    }
    return window;
}

/* ---- the scene ---- */

static void open_with_window(uint32_t window_bytes)
{
    int ends[2];
    const int room = 1 << 20;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    cr_assert_eq(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
    server = ends[1];
    bare.transport = (evener_http2_transport){.window_bytes = window_bytes};
    bare_connection_open(&bare, ends[0]);
    take_sent();
}

static void close_all(void)
{
    bare_connection_close(&bare);
    if (server >= 0) {
        close(server);
        server = -1;
    }
}

TestSuite(http2_flow_control, .fini = close_all);

/* ---- receiving: the window follows the bandwidth-delay product ---- */

Test(http2_flow_control, the_first_windows_are_announced_with_the_preface)
{
    static const struct {
        uint32_t stream, connection;
    } all[] = {
        {10000, 65535},           /* not below HTTP/2's own */
        {16383, 65535},           /* 65532 */
        {16384, 65536},           /**/
        {20000, 80000},           /* four streams' */
        {2 << 20, 8 << 20},       /* as large as it gets */
        {(2 << 20) + 1, 8 << 20}, /**/
        {EVENER_HTTP2_WINDOW_BYTES_MAX, 8 << 20},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (server >= 0) {
            close_all();
        }
        open_with_window(all[i].stream);
        cr_expect_eq(window_announced(), all[i].stream, "%u: %u", all[i].stream, window_announced());
        cr_expect_eq(connection_window_opened(), all[i].connection - 65535, "%u: %u", all[i].stream,
                     connection_window_opened());
    }
}

Test(http2_flow_control, more_than_half_a_window_of_data_is_worth_a_ping)
{
    open_with_window(60000);
    evener_http2_flow_received(bare.connection, 10000);
    evener_http2_flow_received(bare.connection, 20000);
    work();
    cr_assert_eq(pings(), 0);
    evener_http2_flow_received(bare.connection, 1);
    work();
    cr_assert_eq(pings(), 1);
    evener_http2_flow_received(bare.connection, 60000);
    work();
    cr_assert_eq(pings(), 0, "one at a time");
}

/* Receive more than half a window, so that a PING is sent, then `more` while it is out; return the mark of the PING. */
static const uint8_t *ping_then_receive(size_t more)
{
    static uint8_t mark[8];
    evener_http2_flow_received(bare.connection, bare.connection->window_bytes / 2 + 1);
    work();
    cr_assert_eq(pings(), 1);
    for (unsigned i = 0; i < sent_count; i++) {
        if (sent[i].type == PING) {
            memcpy(mark, sent[i].payload, sizeof mark);
        }
    }
    evener_http2_flow_received(bare.connection, more);
    return mark;
}

static void answer(const uint8_t *mark)
{
    bare_connection_feed(&bare, PING, ACK, 0, mark, 8);
    work();
}

Test(http2_flow_control, two_thirds_of_a_window_while_the_ping_is_out_double_it)
{
    open_with_window(60000);
    answer(ping_then_receive(39999));
    cr_assert_eq(window_announced(), 0);
    cr_assert_eq(bare.connection->window_bytes, 60000);
    answer(ping_then_receive(40000));
    cr_assert_eq(window_announced(), 120000);
    cr_assert_eq(connection_window_opened(), 480000 - 240000);
    cr_assert_eq(bare.connection->window_bytes, 120000);
    answer(ping_then_receive(79999)); /* what came before does not count again */
    cr_assert_eq(window_announced(), 0);
    evener_http2_flow_received(bare.connection, 60000);
    work();
    cr_assert_eq(pings(), 0, "nor for the next PING");
    evener_http2_flow_received(bare.connection, 1);
    work();
    cr_assert_eq(pings(), 1);
}

Test(http2_flow_control, a_window_doubles_up_to_the_largest)
{
    static const struct {
        uint32_t before, after;
    } all[] = {{(4 << 20) - 1, (8 << 20) - 2}, {4 << 20, 8 << 20}, {(4 << 20) + 1, 8 << 20}, {(8 << 20) - 1, 8 << 20}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (server >= 0) {
            close_all();
        }
        open_with_window(all[i].before);
        answer(ping_then_receive(all[i].before));
        cr_expect_eq(window_announced(), all[i].after, "%u: %u", all[i].before, window_announced());
    }
    evener_http2_flow_received(bare.connection, 8 << 20);
    work();
    cr_assert_eq(pings(), 0, "it grows no more");
}

Test(http2_flow_control, only_its_own_ping_is_an_answer)
{
    open_with_window(60000);
    uint8_t mark[8], other[8];
    cr_assert_not(evener_http2_flow_ping_answered(bare.connection, (const uint8_t *)"evenrbdp"), "none is out");
    memcpy(mark, ping_then_receive(60000), sizeof mark);
    memcpy(other, mark, sizeof other);
    other[7] ^= 1;
    cr_assert_not(evener_http2_flow_ping_answered(bare.connection, other));
    cr_assert_eq(bare.connection->window_bytes, 60000);
    cr_assert(evener_http2_flow_ping_answered(bare.connection, mark));
    cr_assert_eq(bare.connection->window_bytes, 120000);
    cr_assert_not(evener_http2_flow_ping_answered(bare.connection, mark), "once");
}

/* ---- sending through narrow windows ---- */

static evener_http2_call call;
static unsigned ended;
static evener_status_code end_code;
static evener_fate end_fate;
static char end_message[EVENER_STATUS_MESSAGE_BYTES];

static void on_ended(evener_transport_call *base, const evener_call_end *end)
{
    (void)base;
    ended++;
    end_code = end->code;
    end_fate = end->fate;
    strncpy(end_message, end->message, sizeof end_message - 1);
}

static const evener_call_events events = {.size = sizeof events, .ended = on_ended};

static void put_number(uint8_t *to, uint32_t number)
{
    const uint8_t bytes[] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number};
    memcpy(to, bytes, sizeof bytes);
}

static void set_first_window(uint32_t window)
{
    uint8_t entry[6] = {0, INITIAL_WINDOW_SIZE};
    put_number(entry + 2, window);
    bare_connection_feed(&bare, SETTINGS, 0, 0, entry, sizeof entry);
}

static void open_window(uint32_t stream, uint32_t bytes)
{
    uint8_t payload[4];
    put_number(payload, bytes);
    bare_connection_feed(&bare, WINDOW_UPDATE, 0, stream, payload, sizeof payload);
}

/* Begin a call with a message of this length (without its prefix), while the window of a stream has this size. */
static void begin_with_window(uint32_t window, size_t message_bytes)
{
    static uint8_t text[8000];
    static evener_bytes request;
    request = (evener_bytes){.data = text, .length = message_bytes};
    open_with_window(0);
    set_first_window(window);
    bare_connection_begin(&bare, &call, &events, &request);
    work();
}

static void advance_ns(uint64_t ns)
{
    virtual_loop_advance_ns(bare.loop, ns);
    work();
}

Test(http2_flow_control, a_kibibyte_is_sent_at_once_and_less_waits)
{
    begin_with_window(1024, 2000);
    cr_assert_eq(data_bytes(), 1024);
    cr_assert_eq(bare.connection->narrow_timer.active, false);
    open_window(1, 900);
    work();
    cr_assert_eq(data_bytes(), 0, "of 981 bytes 900 may go");
    advance_ns(EVENER_HTTP2_NARROW_WAIT_NS - 1);
    cr_assert_eq(data_bytes(), 0);
    advance_ns(1);
    cr_assert_eq(data_bytes(), 900);
    open_window(1, 80);
    work();
    cr_assert_eq(data_bytes(), 0, "the next one waits again");
    open_window(1, 1);
    work();
    cr_assert_eq(data_bytes(), 81, "all that is left");
    cr_assert_neq(sent[sent_count - 1].flags & END_STREAM, 0);
}

Test(http2_flow_control, a_window_of_a_byte_less_waits)
{
    begin_with_window(1023, 2000);
    cr_assert_eq(data_bytes(), 0);
    advance_ns(EVENER_HTTP2_NARROW_WAIT_NS / 2);
    open_window(1, 1);
    work();
    cr_assert_eq(data_bytes(), 1024);
    advance_ns(EVENER_HTTP2_NARROW_WAIT_NS); /* the timer finds nothing that waits */
    cr_assert_eq(data_bytes(), 0);
    cr_assert_eq(evener_http2_link_is_empty(&bare.connection->narrow), true);
}

/* The waiting begins with the first call that waits. */
Test(http2_flow_control, two_calls_wait_for_one_timer)
{
    static evener_http2_call second;
    static const evener_bytes text = {.data = (const uint8_t *)"0123456789", .length = 10};
    begin_with_window(10, 2000);
    advance_ns(EVENER_HTTP2_NARROW_WAIT_NS - 1);
    bare_connection_begin(&bare, &second, &events, &text);
    work();
    cr_assert_eq(data_bytes(), 0);
    advance_ns(1);
    cr_assert_eq(data_bytes(), 20);
}

Test(http2_flow_control, a_message_that_fits_is_sent_through_any_window)
{
    begin_with_window(10, 5);
    cr_assert_eq(data_bytes(), 10);
    cr_assert_neq(sent[sent_count - 1].flags & END_STREAM, 0);
}

Test(http2_flow_control, a_larger_first_window_lets_what_waits_go)
{
    begin_with_window(10, 2000);
    cr_assert_eq(data_bytes(), 0);
    set_first_window(5000);
    work();
    cr_assert_eq(data_bytes(), 2005);
}

Test(http2_flow_control, a_call_that_waits_may_end)
{
    begin_with_window(10, 2000);
    evener_http2_calls.call_cancel(&call.base, EVENER_STATUS_CANCELLED, "enough");
    work();
    cr_assert_eq(ended, 1);
    cr_assert_eq(evener_http2_link_is_empty(&bare.connection->narrow), true);
    memset(&call, 0x55, sizeof call); /* its memory is the test's again */
    advance_ns(EVENER_HTTP2_NARROW_WAIT_NS);
    cr_assert_eq(data_bytes(), 0);
}

/* ---- a socket that is full ---- */

#define LARGE_BYTES ((size_t)3 << 20)
static uint8_t *large;

static void fill_socket(void)
{
    static evener_bytes request;
    large = malloc(LARGE_BYTES);
    for (size_t i = 0; i < LARGE_BYTES; i++) {
        large[i] = (uint8_t)(i * 31 + i / 251);
    }
    request = (evener_bytes){.data = large, .length = LARGE_BYTES};
    open_with_window(0);
    set_first_window(0x7fffffff);
    open_window(0, 0x7fffffff - 65535);
    bare_connection_begin(&bare, &call, &events, &request);
    bare_connection_work(&bare);
    cr_assert_gt(bare.connection->unsent_bytes, 0);
}

Test(http2_flow_control, what_a_full_socket_does_not_take_follows_in_order)
{
    static uint8_t bytes[LARGE_BYTES + (1 << 16)];
    size_t got = 0, at = 0, message = 0, whole = 0;
    fill_socket();
    while (bare.connection->unsent_bytes > 0 || !call.end_stream_sent) {
        const ssize_t one = recv(server, bytes + got, sizeof bytes - got < 9973 ? sizeof bytes - got : 9973, 0);
        cr_assert_gt(one, 0);
        got += (size_t)one;
        bare_connection_work(&bare);
    }
    for (ssize_t one; (one = recv(server, bytes + got, sizeof bytes - got, 0)) > 0;) {
        got += (size_t)one;
    }
    cr_expect_null(bare.connection->unsent);
    cr_expect_eq(bare.connection->written_total, bare.connection->output_total);
    while (at < got) {
        const size_t length = (size_t)bytes[at] << 16 | (size_t)bytes[at + 1] << 8 | bytes[at + 2];
        const uint8_t *payload = bytes + at + FRAME_HEADER_BYTES;
        if (bytes[at + 3] == DATA) {
            for (size_t i = 0; i < length; i++, whole++) {
                if (whole >= 5) {
                    cr_assert_eq(payload[i], large[message++]);
                }
            }
        }
        at += FRAME_HEADER_BYTES + length;
    }
    cr_assert_eq(at, got);
    cr_assert_eq(message, LARGE_BYTES);
    cr_assert_eq(ended, 0);
    free(large);
}

static void send_to_client(uint8_t type, uint8_t flags, uint32_t stream, const void *payload, uint8_t bytes)
{
    uint8_t frame[FRAME_HEADER_BYTES + 255], *to = frame;
    bare_put_frame(&to, type, flags, stream, payload, bytes);
    cr_assert_eq(send(server, frame, (size_t)(to - frame), 0), to - frame);
}

static void close_server(void)
{
    close(server);
    server = -1;
}

Test(http2_flow_control, what_cannot_be_written_breaks_the_connection)
{
    fill_socket();
    close_server();
    bare_connection_work(&bare);
    cr_assert_eq(bare.connection->phase, EVENER_HTTP2_PHASE_CLOSED);
    cr_assert_eq(bare.connection->unsent_bytes, 0);
    cr_assert_eq(ended, 1);
    cr_assert_eq(end_code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_eq(end_fate, EVENER_FATE_PERHAPS_PROCESSED);
    free(large);
}

/* :status 200 (static 8); content-type (static 31) and grpc-status as literals */
#define ANSWER                                                                                                         \
    "\x88\x0f\x10\x10"                                                                                                 \
    "application/grpc"                                                                                                 \
    "\0\x0b"                                                                                                           \
    "grpc-status"                                                                                                      \
    "\x01"                                                                                                             \
    "8"

Test(http2_flow_control, what_came_before_decides_if_the_rest_cannot_be_written)
{
    fill_socket();
    send_to_client(HEADERS, END_HEADERS | END_STREAM, 1, ANSWER, sizeof ANSWER - 1);
    close_server();
    bare_connection_work(&bare);
    cr_assert_eq(bare.connection->phase, EVENER_HTTP2_PHASE_CLOSED);
    cr_assert_eq(ended, 1);
    cr_assert_eq(end_code, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s", end_message);
    free(large);
}

Test(http2_flow_control, a_first_write_that_fails_breaks_the_connection)
{
    static const evener_bytes text = {.data = (const uint8_t *)"0123456789", .length = 10};
    open_with_window(0);
    close_server();
    bare_connection_begin(&bare, &call, &events, &text);
    bare_connection_work(&bare);
    cr_assert_eq(bare.connection->phase, EVENER_HTTP2_PHASE_CLOSED);
    cr_assert_eq(ended, 1);
    cr_assert_eq(end_code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_eq(end_fate, EVENER_FATE_NEVER_LEFT, "no byte of its headers did");
}
