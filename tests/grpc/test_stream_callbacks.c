/* Streams without waiting (evener_stream_start()) and the headers of a stream that lives, over real connections. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "grpc/call_fixture.h"
#include "grpc/transport_fixture.h"
#include "tests/support/transport_choice.h"

#define WAIT_S 30
#define MESSAGES 1000

/* What the callbacks have seen. Under the mutex. */
typedef struct record {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned headers, messages, written, ended;
    bool in_order, has_own_header;
    evener_status status;
} record;

static void record_init(record *r)
{
    *r = (record){.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .in_order = true};
}

/* Wait until *count is at least `wanted`. */
static bool wait_for(record *r, const unsigned *count, unsigned wanted)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&r->mutex);
    int error = 0;
    while (*count < wanted && error == 0) {
        error = pthread_cond_timedwait(&r->changed, &r->mutex, &until);
    }
    const bool reached = *count >= wanted;
    pthread_mutex_unlock(&r->mutex);
    return reached;
}

static void count_one(record *r, unsigned *count)
{
    pthread_mutex_lock(&r->mutex);
    (*count)++;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
}

static void on_headers(void *arg, const evener_metadata *metadata, size_t count)
{
    record *r = arg;
    r->in_order = r->in_order && r->messages == 0 && r->ended == 0;
    r->has_own_header = evener_metadata_find(metadata, count, "echo-order") != NULL;
    count_one(r, &r->headers);
}

static void on_message(void *arg, evener_bytes *message)
{
    record *r = arg;
    char expected[32];
    snprintf(expected, sizeof expected, "message %u", r->messages);
    r->in_order = r->in_order && bytes_equal(message, expected) && r->ended == 0;
    evener_bytes_clear(message);
    count_one(r, &r->messages);
}

static void on_written(void *arg)
{
    record *r = arg;
    count_one(r, &r->written);
}

static void on_ended(void *arg, const evener_status *status)
{
    record *r = arg;
    r->status = *status;
    count_one(r, &r->ended);
}

static const evener_stream_callbacks callbacks = {
    .size = sizeof callbacks, .headers = on_headers, .message = on_message, .written = on_written, .ended = on_ended};

static evener_stream *start(const call_fixture *f, const evener_call_options *options, record *r)
{
    evener_status status;
    evener_stream *stream;
    record_init(r);
    cr_assert_eq(evener_stream_start(f->channel, ECHO_STREAM, NULL, options, &callbacks, r, &stream, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    return stream;
}

Test(stream_callbacks, a_thousand_messages_each_way, .timeout = 60)
{
    call_fixture f;
    record r;
    call_fixture_open(&f, 1, NULL);
    evener_call_details details = {.size = sizeof details};
    const evener_metadata metadata = {"echo-order", "7", 1};
    const evener_call_options options = {
        .size = sizeof options, .metadata = &metadata, .metadata_count = 1, .details = &details};
    evener_stream *stream = start(&f, &options, &r);
    for (unsigned i = 0; i < MESSAGES; i++) {
        char text[32];
        snprintf(text, sizeof text, "message %u", i);
        const evener_bytes message = bytes_of(text); /* without an owner: it is copied */
        cr_assert(evener_stream_send(stream, &message));
        cr_assert(evener_stream_ask(stream));
        cr_assert(wait_for(&r, &r.written, i + 1));
        cr_assert(wait_for(&r, &r.messages, i + 1));
    }
    cr_expect_eq(r.headers, 1);
    cr_expect(r.has_own_header);
    cr_expect(r.in_order);
    cr_expect_eq(r.ended, 0);
    cr_expect(evener_stream_send_done(stream));
    cr_expect_not(evener_stream_send(stream, &(evener_bytes){0}), "writing has ended");
    (void)evener_stream_ask(stream);
    cr_assert(wait_for(&r, &r.ended, 1));
    cr_expect_eq(r.status.code, EVENER_STATUS_OK, "%s", r.status.message);
    cr_expect_not_null(evener_metadata_find(details.trailing_metadata, details.trailing_metadata_count, "echo-order"));
    cr_expect_eq(details.attempts, 1);
    cr_expect_not(evener_stream_ask(stream));
    evener_stream_unref(stream);
    evener_call_details_clear(&details);
    call_fixture_close(&f);
}

/* One message at a time each way, and nothing is delivered that was not asked for. */
/* Over the core they are completions of their own, which two call threads may take at once. */
Test(stream_callbacks, headers_come_before_the_first_message, .timeout = 120)
{
    call_fixture f;
    static record records[64];
    evener_stream *streams[64];
    const evener_bytes text = {.data = (const uint8_t *)"message 0", .length = 9};
    call_fixture_open(&f, 4, NULL);
    for (unsigned round = 0; round < 40; round++) {
        for (unsigned i = 0; i < 64; i++) {
            streams[i] = start(&f, NULL, &records[i]);
            cr_assert(evener_stream_ask(streams[i]));
            cr_assert(evener_stream_send(streams[i], &text));
        }
        for (unsigned i = 0; i < 64; i++) {
            cr_assert(wait_for(&records[i], &records[i].messages, 1));
            cr_assert(evener_stream_ask(streams[i])); /* for the end */
            cr_assert(evener_stream_send_done(streams[i]));
            cr_assert(wait_for(&records[i], &records[i].ended, 1));
            cr_assert_eq(records[i].headers, 1);
            cr_assert(records[i].in_order, "stream %u of round %u", i, round);
            evener_stream_unref(streams[i]);
        }
    }
    call_fixture_close(&f);
}

Test(stream_callbacks, nothing_comes_unasked)
{
    call_fixture f;
    record r;
    call_fixture_open(&f, 1, NULL);
    evener_stream *stream = start(&f, NULL, &r);
    for (unsigned i = 0; i < 3; i++) {
        char text[32];
        snprintf(text, sizeof text, "message %u", i);
        const evener_bytes message = bytes_of(text);
        cr_assert(evener_stream_send(stream, &message));
        cr_assert(wait_for(&r, &r.written, i + 1));
    }
    cr_assert(wait_for(&r, &r.headers, 1));
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_eq(r.messages, i);
        cr_assert(evener_stream_ask(stream));
        cr_assert(wait_for(&r, &r.messages, i + 1));
    }
    cr_assert(evener_stream_ask(stream));
    cr_expect_not(evener_stream_ask(stream), "one was asked for already");
    cr_expect(r.in_order);
    evener_stream_cancel(stream);
    cr_assert(wait_for(&r, &r.ended, 1));
    cr_expect_eq(r.status.code, EVENER_STATUS_CANCELLED);
    cr_expect_eq(r.messages, 3);
    evener_stream_unref(stream);
    call_fixture_close(&f);
}

/* Requests made before there is a backend are executed when there is one. */
Test(stream_callbacks, may_be_used_before_there_is_a_backend)
{
    call_fixture f;
    record r;
    call_fixture_open(&f, 1, NULL);
    evener_stream *stream = start(&f, NULL, &r); /* connects now */
    const evener_bytes message = bytes_of("message 0");
    cr_expect(evener_stream_send(stream, &message));
    cr_expect(evener_stream_send_done(stream));
    cr_expect(evener_stream_ask(stream));
    cr_assert(wait_for(&r, &r.messages, 1));
    (void)evener_stream_ask(stream);
    cr_assert(wait_for(&r, &r.ended, 1));
    cr_expect_eq(r.status.code, EVENER_STATUS_OK, "%s", r.status.message);
    cr_expect(r.in_order);
    evener_stream_unref(stream);
    call_fixture_close(&f);
}

Test(stream_callbacks, end_with_the_channel_while_they_wait_for_a_backend)
{
    call_fixture f;
    record r;
    evener_status status;
    evener_stream *stream;
    call_fixture_open(&f, 0, NULL);
    char target[64];
    snprintf(target, sizeof target, "ipv4:%s", address_of_port(free_port()));
    evener_channel *channel = call_fixture_channel(&f, target);
    const evener_call_options waits = {.size = sizeof waits, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
    record_init(&r);
    cr_assert_eq(evener_stream_start(channel, ECHO_STREAM, NULL, &waits, &callbacks, &r, &stream, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    evener_channel_close(channel);
    cr_assert(wait_for(&r, &r.ended, 1));
    cr_expect_eq(r.status.code, EVENER_STATUS_UNAVAILABLE, "%s", r.status.message);
    evener_stream_unref(stream);
    record_init(&r);
    evener_channel *second = call_fixture_channel(&f, target);
    cr_assert_eq(evener_stream_start(second, ECHO_STREAM, NULL, &waits, &callbacks, &r, &stream, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    evener_stream_cancel(stream);
    cr_assert(wait_for(&r, &r.ended, 1));
    cr_expect_eq(r.status.code, EVENER_STATUS_CANCELLED, "%s", r.status.message);
    evener_stream_unref(stream);
    evener_channel_unref(second);
    evener_channel_unref(channel);
    call_fixture_close(&f);
}

Test(stream_callbacks, deadline_ends_a_stream_that_asks)
{
    call_fixture f;
    record r;
    call_fixture_open(&f, 1, NULL);
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 100};
    evener_stream *stream = start(&f, &options, &r);
    (void)evener_stream_ask(stream);
    cr_assert(wait_for(&r, &r.ended, 1));
    cr_expect_eq(r.status.code, EVENER_STATUS_DEADLINE_EXCEEDED, "%s", r.status.message);
    cr_expect_not_null(strstr(r.status.message, "deadline exceeded after 0.100 s"), "%s", r.status.message);
    evener_stream_unref(stream);
    call_fixture_close(&f);
}

Test(stream_callbacks, wrong_arguments_are_named)
{
    call_fixture f;
    evener_status status;
    evener_stream *stream;
    const evener_stream_callbacks no_end = {.size = sizeof no_end, .message = on_message};
    const evener_stream_callbacks no_message = {.size = sizeof no_message, .ended = on_ended};
    call_fixture_open(&f, 1, NULL);
    cr_expect_eq(evener_stream_start(f.channel, ECHO_STREAM, NULL, NULL, &no_end, NULL, &stream, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, "callbacks->ended"), "%s", status.message);
    cr_expect_eq(evener_stream_start(f.channel, ECHO_STREAM, NULL, NULL, &no_message, NULL, &stream, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, "callbacks->message"), "%s", status.message);
    cr_expect_eq(evener_stream_start(f.channel, ECHO_STREAM, NULL, NULL, &callbacks, NULL, NULL, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    call_fixture_close(&f);
}

/* ---- headers of a stream that waits ---- */

Test(stream_headers, are_readable_while_the_stream_lives)
{
    call_fixture f;
    evener_status status;
    evener_stream *stream;
    const evener_metadata *headers;
    size_t count;
    call_fixture_open(&f, 1, NULL);
    const evener_metadata metadata = {"echo-order", "7", 1};
    const evener_call_options options = {.size = sizeof options, .metadata = &metadata, .metadata_count = 1};
    cr_assert_eq(evener_stream_open(f.channel, ECHO_STREAM, NULL, &options, &stream, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    const evener_bytes message = bytes_of("hello");
    cr_assert(evener_stream_write(stream, &message));
    cr_assert(evener_stream_headers(stream, &headers, &count));
    const evener_metadata *order = evener_metadata_find(headers, count, "echo-order");
    cr_assert_not_null(order);
    cr_expect_str_eq(order->value, "7");
    evener_bytes answer;
    cr_assert(evener_stream_read(stream, &answer));
    evener_bytes_clear(&answer);
    cr_expect_eq(evener_stream_finish(stream, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_str_eq(order->value, "7", "they live as long as the stream");
    evener_stream_unref(stream);
    call_fixture_close(&f);
}

Test(stream_headers, of_a_stream_that_fails_without_any)
{
    call_fixture f;
    evener_stream *stream;
    evener_status status;
    const evener_metadata *headers;
    size_t count;
    call_fixture_open(&f, 1, NULL);
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 20000};
    cr_assert_eq(evener_stream_open(f.channel, "/no.Such/Method", NULL, &options, &stream, &status), EVENER_STATUS_OK,
                 "%s", status.message);
    /* The core does not distinguish an answer of trailers only from one whose headers have no metadata. */
    const bool has_headers = evener_stream_headers(stream, &headers, &count);
    cr_expect(!has_headers || (on_core() && count == 0));
    cr_expect_eq(evener_stream_finish(stream, &status), EVENER_STATUS_UNIMPLEMENTED, "%s", status.message);
    evener_stream_unref(stream);
    call_fixture_close(&f);
}
