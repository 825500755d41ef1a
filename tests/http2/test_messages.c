/* Received messages of a stream, byte by byte: cut anywhere, and kept until they are asked for. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "http2/bare_connection.h"

enum { DATA = 0, HEADERS = 1 };
enum { END_STREAM = 1, END_HEADERS = 4 };
#define MESSAGES_MAX 16

static bare_connection bare;
static evener_http2_call call;
static char messages[MESSAGES_MAX][64];
static size_t lengths[MESSAGES_MAX];
static unsigned message_count, ended;
static evener_status_code end_code;

static void on_message(evener_transport_call *base, evener_bytes *message)
{
    (void)base;
    cr_assert_lt(message_count, MESSAGES_MAX);
    cr_assert_leq(message->length, sizeof messages[0]);
    memcpy(messages[message_count], message->data, message->length);
    lengths[message_count++] = message->length;
    evener_bytes_clear(message);
}

static void on_written(evener_transport_call *base)
{
    (void)base;
}

static void on_ended(evener_transport_call *base, const evener_call_end *end)
{
    (void)base;
    ended++;
    end_code = end->code;
}

static const evener_call_events events = {
    .size = sizeof events, .message = on_message, .written = on_written, .ended = on_ended};

/* 0: without a deadline */
static void open_stream_for(uint64_t timeout_ns)
{
    bare_connection_open(&bare, -1);
    const evener_call_begin_args args = {.size = sizeof args,
                                         .events = &events,
                                         .method = "/a.B/C",
                                         .deadline_ns =
                                             timeout_ns > 0 ? virtual_loop_now_ns(bare.loop) + timeout_ns : UINT64_MAX,
                                         .blocking = true};
    evener_status status;
    cr_assert_eq(evener_http2_calls.call_begin(bare.connection, &call.base, &args, &status), EVENER_STATUS_OK);
    bare_connection_work(&bare);
    static const char block[] = "\x88\x0f\x10\x10"
                                "application/grpc";
    bare_connection_feed(&bare, HEADERS, END_HEADERS, 1, block, sizeof block - 1);
    message_count = 0;
    ended = 0;
}

static void open_stream(void)
{
    open_stream_for(0);
}

static void close_stream(void)
{
    bare_connection_close(&bare);
}

TestSuite(http2_messages, .fini = close_stream);

static void receive(const void *bytes, size_t count)
{
    bare_connection_feed(&bare, DATA, 0, 1, bytes, (uint8_t)count);
}

static void end_stream(void)
{
    static const char block[] = "\0\x0b"
                                "grpc-status"
                                "\x01"
                                "0";
    bare_connection_feed(&bare, HEADERS, END_HEADERS | END_STREAM, 1, block, sizeof block - 1);
}

static void ask(void)
{
    evener_http2_calls.call_read(&call.base);
    bare_connection_work(&bare);
}

static void expect(unsigned index, const char *text)
{
    cr_assert_eq(message_count, index + 1, "%u messages", message_count);
    cr_assert_eq(lengths[index], strlen(text));
    cr_assert_eq(memcmp(messages[index], text, strlen(text)), 0);
}

static const char three[] = "\0\0\0\0\1a"
                            "\0\0\0\0\0"
                            "\0\0\0\0\4word";
#define THREE_BYTES (sizeof three - 1)

Test(http2_messages, that_come_together_are_given_one_by_one)
{
    open_stream();
    receive(three, THREE_BYTES);
    cr_assert_eq(message_count, 0);
    cr_assert_eq(call.held_bytes, THREE_BYTES);
    ask();
    expect(0, "a");
    ask();
    expect(1, "");
    ask();
    expect(2, "word");
    cr_expect_eq(call.held_bytes, 0);
    cr_expect_null(call.held, "the memory goes with the last one");
    ask();
    cr_assert_eq(message_count, 3);
    receive("\0\0\0\0\2no", 7);
    expect(3, "no");
    cr_assert_eq(ended, 0);
}

/* In two pieces, of which the second comes before, or after, a message is asked for. */
static void cut_at(size_t cut, bool before)
{
    open_stream();
    ask();
    receive(three, cut);
    if (before) {
        receive(three + cut, THREE_BYTES - cut);
    }
    for (unsigned i = 0; i < 3; i++) {
        if (message_count > i) {
            ask();
        }
        if (!before && i == 0) {
            receive(three + cut, THREE_BYTES - cut);
        }
        if (message_count == i + 1) {
            ask();
        }
    }
    expect(2, "word");
    cr_assert(lengths[0] == 1 && messages[0][0] == 'a');
    cr_assert_eq(lengths[1], 0);
    end_stream();
    cr_assert_eq(ended, 1);
    cr_assert_eq(end_code, EVENER_STATUS_OK);
}

Test(http2_messages, are_whole_wherever_they_are_cut)
{
    for (size_t cut = 1; cut < THREE_BYTES; cut++) {
        for (int before = 0; before < 2; before++) {
            if (bare.connection != NULL) {
                close_stream();
            }
            cut_at(cut, before);
        }
    }
}

Test(http2_messages, come_before_the_end_of_their_stream)
{
    open_stream();
    receive(three, THREE_BYTES);
    end_stream();
    cr_assert_eq(ended, 0, "they wait to be read");
    ask();
    ask();
    ask();
    expect(2, "word");
    cr_assert_eq(ended, 0, "the end is reported to the next read only");
    ask();
    cr_assert_eq(message_count, 3);
    cr_assert_eq(ended, 1);
    cr_assert_eq(end_code, EVENER_STATUS_OK);
}

/* What is held lies behind what was read; it moves to the front when more comes. */
Test(http2_messages, that_are_held_grow_and_shrink)
{
    static char text[250];
    open_stream();
    memset(text, 'x', sizeof text);
    text[0] = text[1] = text[2] = text[3] = 0;
    text[4] = 20;
    size_t received = 0, asked = 0;
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 3; i++, received++) {
            memset(text + 5, 'a' + (int)(received % 26), 20);
            receive(text, 25);
        }
        for (int i = 0; i < 2; i++, asked++) {
            message_count = 0;
            ask();
            cr_assert_eq(message_count, 1);
            cr_assert_eq(lengths[0], 20);
            cr_assert_eq(messages[0][0], (char)('a' + (int)(asked % 26)));
            cr_assert_eq(messages[0][19], messages[0][0]);
        }
        cr_assert_eq(call.held_bytes, (received - asked) * 25);
    }
    end_stream();
    for (; asked < received; asked++) {
        message_count = 0;
        ask();
        cr_assert_eq(messages[0][0], (char)('a' + (int)(asked % 26)));
    }
    ask();
    cr_assert_eq(ended, 1);
}

Test(http2_messages, a_stream_that_ends_inside_one_has_failed)
{
    for (size_t cut = 1; cut < 6; cut++) {
        if (bare.connection != NULL) {
            close_stream();
        }
        open_stream();
        ask();
        receive("\0\0\0\0\1a", cut);
        end_stream();
        cr_assert_eq(message_count, 0);
        cr_assert_eq(ended, 1);
        cr_assert_eq(end_code, EVENER_STATUS_INTERNAL, "cut at %zu", cut);
    }
}

/* ---- after the end of the connection ---- */

#define TIMEOUT_NS EVENER_NS_PER_S

static void receive_all_and_break(void)
{
    open_stream_for(TIMEOUT_NS);
    receive(three, THREE_BYTES);
    end_stream();
    evener_http2_connection_break(bare.connection, EVENER_STATUS_UNAVAILABLE, "closed");
    bare_connection_work(&bare);
    cr_assert_eq(ended, 0);
}

Test(http2_messages, of_a_complete_answer_outlive_the_connection)
{
    receive_all_and_break();
    evener_http2_connection_close(bare.connection); /* as its I/O thread does */
    ask();
    expect(0, "a");
    ask();
    expect(1, "");
    ask();
    expect(2, "word");
    ask();
    cr_assert_eq(message_count, 3);
    cr_assert_eq(ended, 1);
    cr_assert_eq(end_code, EVENER_STATUS_OK);
    bare_connection_work(&bare);
    cr_assert_eq(ended, 1);
}

Test(http2_messages, that_were_all_read_leave_the_servers_status_after_the_connection)
{
    open_stream();
    receive("\0\0\0\0\1a", 6);
    end_stream();
    ask();
    expect(0, "a");
    evener_http2_connection_break(bare.connection, EVENER_STATUS_UNAVAILABLE, "closed");
    cr_assert_eq(ended, 0);
    ask();
    cr_assert_eq(ended, 1);
    cr_assert_eq(end_code, EVENER_STATUS_OK);
}

Test(http2_messages, of_an_incomplete_answer_end_with_the_connection)
{
    open_stream();
    receive(three, THREE_BYTES);
    evener_http2_connection_break(bare.connection, EVENER_STATUS_UNAVAILABLE, "closed");
    cr_assert_eq(ended, 1);
    cr_assert_eq(end_code, EVENER_STATUS_UNAVAILABLE);
}

Test(http2_messages, that_nobody_reads_end_with_the_deadline_after_the_connection)
{
    receive_all_and_break();
    virtual_loop_advance_ns(bare.loop, TIMEOUT_NS - 1);
    bare_connection_work(&bare);
    cr_assert_eq(ended, 0);
    virtual_loop_advance_ns(bare.loop, 1);
    bare_connection_work(&bare);
    cr_assert_eq(ended, 1);
    cr_assert_eq(end_code, EVENER_STATUS_DEADLINE_EXCEEDED);
}

Test(http2_messages, that_nobody_reads_can_be_given_up_after_the_connection)
{
    receive_all_and_break();
    evener_http2_calls.call_cancel(&call.base, EVENER_STATUS_CANCELLED, "no longer wanted");
    bare_connection_work(&bare);
    cr_assert_eq(ended, 1);
    cr_assert_eq(end_code, EVENER_STATUS_CANCELLED);
    bare_connection_work(&bare);
}
