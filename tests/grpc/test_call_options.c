/* Compression, message limits and whole status messages of calls, on both transports: against a server that the test
 * plays frame by frame, and against real servers. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grpc/call_fixture.h"
#include "http2/raw_server.h"
#include "tests/support/transport_choice.h"

/* ---- a call to a server that the test plays ---- */

typedef struct scene {
    call_fixture fixture;
    raw_server server;
    raw_peer raw;
    evener_channel *channel;
    pthread_t caller;
    const evener_call_options *options;
    const evener_bytes *request;
    evener_status status;
    evener_bytes response;
} scene;

static raw_frame frame;

static void *call_main(void *arg)
{
    scene *s = arg;
    (void)evener_unary_call(s->channel, ECHO_UNARY, s->request, s->options, &s->response, &s->status);
    return NULL;
}

static evener_channel *open_channel(const call_fixture *f, uint16_t port, evener_channel_options options)
{
    char target[64];
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u", (unsigned)port);
    options.size = sizeof options;
    options.runtime = f->runtime;
    options.credentials = f->insecure;
    evener_channel *channel;
    evener_status status;
    cr_assert_eq(evener_channel_create(target, &options, &channel, &status), EVENER_STATUS_OK, "%s", status.message);
    return channel;
}

static void open_scene(scene *s, const evener_channel_options *options)
{
    *s = (scene){.raw = {.fd = -1}};
    raw_listen(&s->server);
    call_fixture_open(&s->fixture, 0, NULL);
    s->channel = open_channel(&s->fixture, s->server.port, *options);
}

/* Start the call, and read its headers into `frame`. Return its stream. */
static uint32_t begin(scene *s, const evener_call_options *options, const evener_bytes *request)
{
    s->options = options;
    s->request = request;
    cr_assert_eq(pthread_create(&s->caller, NULL, call_main, s), 0);
    if (s->raw.fd < 0) {
        raw_accept(&s->server, &s->raw);
        raw_handshake(&s->raw, NULL, 0);
    }
    return raw_read_call(&s->raw, &frame);
}

static void end(scene *s)
{
    pthread_join(s->caller, NULL);
}

static void close_scene(scene *s)
{
    raw_close(&s->raw);
    raw_stop(&s->server);
    evener_channel_unref(s->channel);
    call_fixture_close(&s->fixture);
}

/* ---- compression ---- */

/* Make a call whose message shrinks when it is compressed, and return whether it was sent compressed, under the
 * encoding; `encoding` NULL: expect none. */
static void expect_sent(scene *s, evener_compression of_call, const char *encoding, const char *what)
{
    static uint8_t zeros[2000];
    const evener_bytes request = {.data = zeros, .length = sizeof zeros};
    const evener_call_options options = {.size = sizeof options, .compression = of_call, .timeout_ms = 20000};
    const uint32_t stream = begin(s, &options, &request);
    char header[64];
    snprintf(header, sizeof header, "grpc-encoding: %s\n", encoding != NULL ? encoding : "");
    cr_expect_eq(strstr(frame.headers, "grpc-encoding: ") != NULL &&
                     strstr(frame.headers, "grpc-encoding: identity\n") == NULL,
                 encoding != NULL, "%s: %s", what, frame.headers);
    cr_expect(encoding == NULL || strstr(frame.headers, header) != NULL, "%s: %s", what, frame.headers);
    while (raw_read(&s->raw, &frame) && (frame.type != RAW_DATA || frame.bytes == 0)) {
    }
    cr_expect_eq(frame.payload[0], encoding != NULL, "%s: the compressed flag", what);
    cr_expect_eq(frame.bytes < sizeof zeros, encoding != NULL, "%s: %zu bytes", what, frame.bytes);
    raw_answer(&s->raw, stream, "answer");
    end(s);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s: %s", what, s->status.message);
    cr_expect(bytes_equal(&s->response, "answer"), "%s", what);
    evener_bytes_clear(&s->response);
}

Test(call_options, a_call_compresses_as_it_says_else_as_its_channel_says, .timeout = 60)
{
    scene s;
    open_scene(&s, &(evener_channel_options){.compression = EVENER_COMPRESSION_GZIP});
    expect_sent(&s, EVENER_COMPRESSION_NONE, "gzip", "the channel's");
    expect_sent(&s, EVENER_COMPRESSION_IDENTITY, NULL, "none");
    expect_sent(&s, EVENER_COMPRESSION_DEFLATE, "deflate", "the call's");
    close_scene(&s);
}

Test(call_options, without_compression_nothing_is_compressed, .timeout = 60)
{
    scene s;
    open_scene(&s, &(evener_channel_options){0});
    expect_sent(&s, EVENER_COMPRESSION_NONE, NULL, "neither");
    expect_sent(&s, EVENER_COMPRESSION_GZIP, "gzip", "the call's");
    close_scene(&s);
}

Test(call_options, an_unknown_compression_is_named)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_status status;
    const evener_call_options options = {.size = sizeof options, .compression = (evener_compression)9};
    cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, &options, NULL, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect(strstr(status.message, "options.compression is 9") != NULL, "%s", status.message);
    evener_channel *channel = NULL;
    const evener_channel_options of_channel = {
        .size = sizeof of_channel, .credentials = f.insecure, .compression = (evener_compression)9};
    cr_expect_eq(evener_channel_create("ipv4:127.0.0.1:1", &of_channel, &channel, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect(strstr(status.message, "compression is 9") != NULL, "%s", status.message);
    call_fixture_close(&f);
}

/* ---- limits ---- */

static evener_bytes message_of(size_t bytes)
{
    evener_bytes message;
    memset(evener_bytes_create(bytes, &message), 'x', bytes);
    return message;
}

/* Make a unary call and a stream of one message of that length. */
static void expect_echo(evener_channel *channel, size_t bytes, evener_status_code code, const char *words)
{
    evener_bytes request = message_of(bytes);
    evener_bytes response = {0};
    evener_status status;
    cr_expect_eq(evener_unary_call(channel, ECHO_UNARY, &request, NULL, &response, &status), code, "%zu bytes: %s",
                 bytes, status.message);
    cr_expect(code == EVENER_STATUS_OK || strstr(status.message, words) != NULL, "%s", status.message);
    cr_expect_eq(response.length, code == EVENER_STATUS_OK ? bytes : 0);
    evener_bytes_clear(&response);

    evener_stream *stream;
    cr_assert_eq(evener_stream_open(channel, ECHO_STREAM, NULL, NULL, &stream, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    (void)evener_stream_write(stream, &request);
    (void)evener_stream_writes_done(stream);
    const bool got = evener_stream_read(stream, &response);
    cr_expect_eq(got, code == EVENER_STATUS_OK, "%zu bytes", bytes);
    if (got) {
        evener_bytes_clear(&response);
    }
    cr_expect_eq(evener_stream_finish(stream, &status), code, "stream, %zu bytes: %s", bytes, status.message);
    cr_expect(code == EVENER_STATUS_OK || strstr(status.message, words) != NULL, "%s", status.message);
    evener_stream_unref(stream);
    evener_bytes_clear(&request);
}

static evener_channel *channel_to_server(const call_fixture *f, evener_channel_options options)
{
    return open_channel(f, demo_server_port(f->servers[0]), options);
}

#define RECEIVED_TOO_LARGE "larger than"
#define SENT_TOO_LARGE "sent message of"

/* The core words its own limit as "Received message larger than max". */
Test(call_options, a_received_message_up_to_the_channels_limit_is_read, .timeout = 60)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_channel *channel = channel_to_server(&f, (evener_channel_options){.receive_bytes_max = 1000});
    expect_echo(channel, 1000, EVENER_STATUS_OK, NULL);
    expect_echo(channel, 1001, EVENER_STATUS_RESOURCE_EXHAUSTED, RECEIVED_TOO_LARGE);
    evener_channel_unref(channel);
    call_fixture_close(&f);
}

Test(call_options, a_message_above_the_channels_limit_is_not_sent, .timeout = 60)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_channel *channel = channel_to_server(&f, (evener_channel_options){.send_bytes_max = 1000});
    expect_echo(channel, 1000, EVENER_STATUS_OK, NULL);
    const uint64_t calls = demo_server_calls(f.servers[0]);
    evener_bytes request = message_of(1001);
    evener_status status;
    cr_expect_eq(evener_unary_call(channel, ECHO_UNARY, &request, NULL, NULL, &status),
                 EVENER_STATUS_RESOURCE_EXHAUSTED);
    cr_expect(strstr(status.message, SENT_TOO_LARGE) != NULL, "%s", status.message);
    cr_expect_eq(demo_server_calls(f.servers[0]), calls, "the server has seen it");
    evener_bytes_clear(&request);
    expect_echo(channel, 1001, EVENER_STATUS_RESOURCE_EXHAUSTED, SENT_TOO_LARGE);
    evener_channel_unref(channel);
    call_fixture_close(&f);
}

#define LIMITS(request, response)                                                                                      \
    "{\"methodConfig\": [{\"name\": [{\"service\": \"evener.demo.Echo\"}], \"maxRequestMessageBytes\": " request       \
    ", \"maxResponseMessageBytes\": " response "}]}"

Test(call_options, the_service_config_limits_a_methods_messages, .timeout = 60)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_channel *channel =
        channel_to_server(&f, (evener_channel_options){.default_service_config = LIMITS("2000", "1000")});
    expect_echo(channel, 1000, EVENER_STATUS_OK, NULL);
    expect_echo(channel, 1001, EVENER_STATUS_RESOURCE_EXHAUSTED, RECEIVED_TOO_LARGE);
    expect_echo(channel, 2001, EVENER_STATUS_RESOURCE_EXHAUSTED, SENT_TOO_LARGE);
    evener_channel_unref(channel);
    call_fixture_close(&f);
}

Test(call_options, the_smaller_of_two_limits_holds, .timeout = 60)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_channel *channel = channel_to_server(
        &f, (evener_channel_options){
                .receive_bytes_max = 500, .send_bytes_max = 3000, .default_service_config = LIMITS("2000", "1000")});
    expect_echo(channel, 500, EVENER_STATUS_OK, NULL);
    expect_echo(channel, 501, EVENER_STATUS_RESOURCE_EXHAUSTED, RECEIVED_TOO_LARGE);
    expect_echo(channel, 2001, EVENER_STATUS_RESOURCE_EXHAUSTED, SENT_TOO_LARGE);
    evener_channel_unref(channel);
    call_fixture_close(&f);
}

Test(call_options, without_a_limit_large_messages_are_received, .timeout = 60)
{
    call_fixture f;
    const demo_server_options large = {.message_bytes_max = 8 * 1024 * 1024};
    call_fixture_open(&f, 1, &large);
    enum { BYTES = 4 * 1024 * 1024 + 1 };
    evener_channel *plain = channel_to_server(&f, (evener_channel_options){0});
    evener_channel *unlimited = channel_to_server(&f, (evener_channel_options){.receive_bytes_max = SIZE_MAX});
    expect_echo(plain, BYTES, EVENER_STATUS_RESOURCE_EXHAUSTED, RECEIVED_TOO_LARGE);
    expect_echo(unlimited, BYTES, EVENER_STATUS_OK, NULL);
    evener_channel_unref(plain);
    evener_channel_unref(unlimited);
    call_fixture_close(&f);
}

/* ---- headers ---- */

/* Answer a call with a header of that many bytes. Return the call's status. */
static evener_status_code answer_with_header(scene *s, size_t bytes)
{
    char value[4096];
    memset(value, 'x', bytes);
    value[bytes] = '\0';
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 20000};
    const evener_bytes request = bytes_of("hello");
    const uint32_t stream = begin(s, &options, &request);
    if (stream == 1) {
        raw_send(&s->raw, RAW_SETTINGS, RAW_ACK, 0, NULL, 0); /* the core's limit holds from here on */
    }
    raw_send_headers(&s->raw, 0, stream, ":status", "200", "content-type", "application/grpc", "x-long", value, NULL);
    raw_send_message(&s->raw, stream, "answer", strlen("answer"));
    raw_send_trailers(&s->raw, stream, "0");
    end(s);
    evener_bytes_clear(&s->response);
    return s->status.code;
}

/* RFC 9113 section 6.5.2: an entry counts 32 bytes more than its name and its value. */
Test(call_options, headers_above_the_channels_limit_end_the_call, .timeout = 60)
{
    scene s;
    open_scene(&s, &(evener_channel_options){.header_list_bytes_max = 2000});
    evener_status_code code = answer_with_header(&s, 1500);
    cr_expect_eq(code, EVENER_STATUS_OK, "%s", s.status.message);
    code = answer_with_header(&s, 2000);
    cr_expect_eq(code, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s", s.status.message);
    if (!on_core()) { /* which ends the connection */
        code = answer_with_header(&s, 1500);
        cr_expect_eq(code, EVENER_STATUS_OK, "the connection lives: %s", s.status.message);
    }
    close_scene(&s);
}

/* ---- status messages ---- */

/* evener_status keeps 511 bytes; the details have all. */
Test(call_options, details_have_the_whole_status_message, .timeout = 60)
{
    enum { BYTES = 3000 };
    static char message[BYTES + 1];
    for (size_t i = 0; i < BYTES; i++) {
        message[i] = (char)('a' + i % 26);
    }
    scene s;
    open_scene(&s, &(evener_channel_options){0});
    evener_call_details details = {.size = sizeof details};
    const evener_call_options options = {.size = sizeof options, .details = &details, .timeout_ms = 20000};
    const evener_bytes request = bytes_of("hello");
    const uint32_t stream = begin(&s, &options, &request);
    raw_send_headers(&s.raw, RAW_END_STREAM, stream, ":status", "200", "content-type", "application/grpc",
                     "grpc-status", "5", "grpc-message", message, NULL);
    end(&s);
    cr_expect_eq(s.status.code, EVENER_STATUS_NOT_FOUND);
    cr_expect_eq(strlen(s.status.message), EVENER_STATUS_MESSAGE_BYTES - 1);
    cr_expect_eq(details.status_message_bytes, BYTES);
    cr_expect_str_eq(details.status_message, message);
    evener_call_details_clear(&details);
    cr_expect_str_eq(details.status_message, "");
    close_scene(&s);
}

/* C11: a number that would be another one in 32 bits, a sign, a base, what follows: no code, so UNKNOWN. */
Test(call_options, a_status_that_is_no_code_is_unknown, .timeout = 60)
{
    static const char *const texts[] = {"17", "99", "-1", "4294967301", "18446744073709551621", "5x", "0x5"};
    scene s;
    open_scene(&s, &(evener_channel_options){0});
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 20000};
    const evener_bytes request = bytes_of("hello");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const uint32_t stream = begin(&s, &options, &request);
        raw_send_headers(&s.raw, RAW_END_STREAM, stream, ":status", "200", "content-type", "application/grpc",
                         "grpc-status", texts[i], "grpc-message", "why", NULL);
        end(&s);
        cr_expect_eq(s.status.code, EVENER_STATUS_UNKNOWN, "%s: %s %s", texts[i],
                     evener_status_code_name(s.status.code), s.status.message);
    }
    close_scene(&s);
}

/* C8: what is no percent-encoding stays as it is. */
Test(call_options, a_status_message_is_decoded_as_far_as_it_is_encoded, .timeout = 60)
{
    static const struct {
        const char *sent, *message;
        size_t bytes;
    } rows[] = {{"50%25 of it", "50% of it", 9}, {"50% of it", "50% of it", 9}, {"%zz%4", "%zz%4", 5},
                {"%1b%5B2J", "\x1b[2J", 4},      {"%c3%a9", "\xc3\xa9", 2},     {"a%00b", "a\0b", 3}};
    scene s;
    open_scene(&s, &(evener_channel_options){0});
    evener_call_details details = {.size = sizeof details};
    const evener_call_options options = {.size = sizeof options, .details = &details, .timeout_ms = 20000};
    const evener_bytes request = bytes_of("hello");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const uint32_t stream = begin(&s, &options, &request);
        raw_send_headers(&s.raw, RAW_END_STREAM, stream, ":status", "200", "content-type", "application/grpc",
                         "grpc-status", "5", "grpc-message", rows[i].sent, NULL);
        end(&s);
        cr_expect_eq(details.status_message_bytes, rows[i].bytes, "%s: %zu bytes", rows[i].sent,
                     details.status_message_bytes);
        cr_expect(details.status_message_bytes == rows[i].bytes &&
                      memcmp(details.status_message, rows[i].message, rows[i].bytes) == 0,
                  "%s: %s", rows[i].sent, details.status_message);
        evener_call_details_clear(&details);
    }
    close_scene(&s);
}
