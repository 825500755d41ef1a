/* The HTTP/2 transport against a scripted server, frame by frame: what goes on the wire, statuses and fates. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http2/fixture.h"
#include "http2/raw_server.h"

#define HELLO .request = "hello", .request_bytes = 5

static h2_fixture fixture;
static raw_server server;
static raw_peer raw;
static h2_peer *peer;
static raw_frame frame;

static void open_all(void)
{
    h2_open(&fixture, NULL);
    raw_listen(&server);
}

static void close_all(void)
{
    h2_forget(peer);
    raw_close(&raw);
    raw_stop(&server);
    h2_close(&fixture);
}

static void connect_with(const uint32_t (*settings)[2], size_t count)
{
    peer = h2_connect_port(&fixture, server.port);
    raw_accept(&server, &raw);
    raw_handshake(&raw, settings, count);
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_READY, "%s", h2_state_message(peer, 1));
}

static void connect_plainly(void)
{
    connect_with(NULL, 0);
}

/* A call to a server that does what `serve` says; the result is the test's to clear. */
static h2_result call(const h2_call_options *options, void (*serve)(uint32_t stream))
{
    h2_call *one = h2_call_start(peer, options, NULL);
    cr_assert_not_null(one);
    serve(raw_read_call(&raw, &frame));
    h2_result result = *h2_call_wait(one);
    result.message = strdup(result.message);
    result.headers = result.headers != NULL ? strdup(result.headers) : NULL;
    result.trailers = result.trailers != NULL ? strdup(result.trailers) : NULL;
    result.response = NULL;
    h2_call_free(one);
    return result;
}

TestSuite(http2_wire, .init = open_all, .fini = close_all, .timeout = 60);

/* ---- requests ---- */

Test(http2_wire, a_request_has_the_headers_of_the_protocol)
{
    connect_plainly();
    const evener_metadata metadata[] = {{"x-text", "abc", 3}, {"x-data-bin", "\0\1\2\3", 4}};
    const h2_call_options options = {HELLO, .timeout_ms = 20000, .metadata = metadata, .metadata_count = 2,
                                     .previous_attempts = 2};
    h2_call *one = h2_call_start(peer, &options, NULL);
    const uint32_t stream = raw_read_call(&raw, &frame);
    static const char *const wanted[] = {":method: POST\n",
                                         ":scheme: http\n",
                                         ":path: /evener.demo.Echo/Unary\n",
                                         ":authority: orders.test\n",
                                         "te: trailers\n",
                                         "content-type: application/grpc\n",
                                         "grpc-timeout: ",
                                         "user-agent: grpc-c-evener/",
                                         "grpc-accept-encoding: identity,deflate,gzip\n",
                                         "x-text: abc\n",
                                         "x-data-bin: AAECAw\n",
                                         "grpc-previous-rpc-attempts: 2\n"};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        cr_assert_not_null(strstr(frame.headers, wanted[i]), "%s in:\n%s", wanted[i], frame.headers);
    }
    unsigned timeout;
    char unit;
    cr_assert_eq(sscanf(strstr(frame.headers, "grpc-timeout: "), "grpc-timeout: %8u%c\n", &timeout, &unit), 2);
    cr_assert_eq(unit, 'u');
    cr_assert(timeout <= 20000000 && timeout > 10000000);
    cr_assert(raw_read(&raw, &frame));
    cr_assert_eq(frame.type, RAW_DATA);
    cr_assert_eq(frame.flags, RAW_END_STREAM);
    cr_assert_eq(frame.bytes, 10);
    cr_assert_eq(memcmp(frame.payload, "\0\0\0\0\5hello", 10), 0);
    raw_answer(&raw, stream, "bye");
    const h2_result *result = h2_call_wait(one);
    cr_assert_eq(result->code, EVENER_STATUS_OK, "%s", result->message);
    cr_assert_eq(memcmp(result->response, "bye", 3), 0);
    h2_call_free(one);
}

/* ---- answers ---- */

static const char *status_text;
static int with_body;

static void answer_http(uint32_t stream)
{
    raw_send_headers(&raw, with_body ? 0 : RAW_END_STREAM, stream, ":status", status_text, "content-type", "text/html",
                     NULL);
    if (with_body) {
        raw_send(&raw, RAW_DATA, RAW_END_STREAM, stream, "<html>", 6);
    }
}

Test(http2_wire, an_http_status_maps_once_with_and_without_a_body)
{
    static const struct {
        const char *http;
        evener_status_code code;
    } all[] = {{"400", EVENER_STATUS_INTERNAL},          {"401", EVENER_STATUS_UNAUTHENTICATED},
               {"403", EVENER_STATUS_PERMISSION_DENIED}, {"404", EVENER_STATUS_UNIMPLEMENTED},
               {"429", EVENER_STATUS_UNAVAILABLE},       {"502", EVENER_STATUS_UNAVAILABLE},
               {"503", EVENER_STATUS_UNAVAILABLE},       {"504", EVENER_STATUS_UNAVAILABLE},
               {"500", EVENER_STATUS_UNKNOWN},           {"418", EVENER_STATUS_UNKNOWN}};
    connect_plainly();
    for (size_t i = 0; i < sizeof all / sizeof *all * 2; i++) {
        status_text = all[i / 2].http;
        with_body = i % 2;
        h2_result result = call(&(h2_call_options){HELLO}, answer_http);
        char message[32];
        snprintf(message, sizeof message, "HTTP status %s", status_text);
        cr_assert_eq(result.code, all[i / 2].code, "%s: %d", status_text, result.code);
        cr_assert_str_eq(result.message, message);
        cr_assert_eq(result.fate, EVENER_FATE_PERHAPS_PROCESSED);
        h2_result_clear(&result);
    }
    status_text = "200";
    h2_result result = call(&(h2_call_options){HELLO}, answer_http);
    cr_assert_eq(result.code, EVENER_STATUS_UNKNOWN);
    h2_result_clear(&result);
}

static void trailers_only(uint32_t stream)
{
    raw_send_headers(&raw, RAW_END_STREAM, stream, ":status", "200", "content-type", "application/grpc", "grpc-status",
                     "5", "grpc-message", "no %22such%22 thing: 100%", "x-why", "because", "x-list-bin", "AQ==,Ag",
                     NULL);
}

Test(http2_wire, trailers_only_has_status_message_and_metadata)
{
    connect_plainly();
    h2_result result = call(&(h2_call_options){HELLO, .wants_metadata = true}, trailers_only);
    cr_assert_eq(result.code, EVENER_STATUS_NOT_FOUND);
    cr_assert_str_eq(result.message, "no \"such\" thing: 100%");
    cr_assert_null(result.headers);
    cr_assert_str_eq(result.trailers, "x-why=because\nx-list-bin=\1\nx-list-bin=\2\n");
    h2_result_clear(&result);
}

static void informational_first(uint32_t stream)
{
    raw_send_headers(&raw, 0, stream, ":status", "103", "link", "x", NULL);
    raw_send_headers(&raw, 0, stream, ":status", "100", NULL);
    raw_answer(&raw, stream, "late");
}

Test(http2_wire, informational_headers_are_passed_over)
{
    connect_plainly();
    h2_result result = call(&(h2_call_options){HELLO, .wants_metadata = true}, informational_first);
    cr_assert_eq(result.code, EVENER_STATUS_OK, "%s", result.message);
    cr_assert_null(result.headers, "%s", result.headers);
    h2_result_clear(&result);
}

static const char *grpc_status_text;

static void end_with_status(uint32_t stream)
{
    raw_send_grpc_headers(&raw, stream);
    if (grpc_status_text != NULL) {
        raw_send_headers(&raw, RAW_END_STREAM, stream, "grpc-status", grpc_status_text, "grpc-retry-pushback-ms", "17",
                         NULL);
    } else {
        raw_send_headers(&raw, RAW_END_STREAM, stream, "x-nothing", "1", NULL);
    }
}

Test(http2_wire, statuses_that_are_none_are_unknown)
{
    static const struct {
        const char *text;
        evener_status_code code;
    } all[] = {{"14", EVENER_STATUS_UNAVAILABLE}, {"17", EVENER_STATUS_UNKNOWN}, {"4294967296", EVENER_STATUS_UNKNOWN},
               {"-1", EVENER_STATUS_UNKNOWN},     {"ok", EVENER_STATUS_UNKNOWN}, {"", EVENER_STATUS_UNKNOWN},
               {NULL, EVENER_STATUS_UNKNOWN},     {"0", EVENER_STATUS_INTERNAL} /* OK without a message */};
    connect_plainly();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        grpc_status_text = all[i].text;
        h2_result result = call(&(h2_call_options){HELLO}, end_with_status);
        cr_assert_eq(result.code, all[i].code, "grpc-status \"%s\": %d", all[i].text, result.code);
        if (all[i].text != NULL) {
            cr_assert_str_eq(result.trailers, "grpc-retry-pushback-ms=17\n");
        }
        h2_result_clear(&result);
    }
}

static uint32_t reset_code;

static void reset_it(uint32_t stream)
{
    raw_send_reset(&raw, stream, reset_code);
}

static void reset_after_headers(uint32_t stream)
{
    raw_send_grpc_headers(&raw, stream);
    raw_send_reset(&raw, stream, reset_code);
}

Test(http2_wire, reset_codes_map_and_only_refused_stream_is_refused)
{
    static const evener_status_code codes[] = {EVENER_STATUS_INTERNAL /* NO_ERROR */,
                                               EVENER_STATUS_INTERNAL /* PROTOCOL_ERROR */,
                                               EVENER_STATUS_INTERNAL /* INTERNAL_ERROR */,
                                               EVENER_STATUS_INTERNAL /* FLOW_CONTROL_ERROR */,
                                               EVENER_STATUS_INTERNAL /* SETTINGS_TIMEOUT */,
                                               EVENER_STATUS_UNKNOWN /* STREAM_CLOSED */,
                                               EVENER_STATUS_INTERNAL /* FRAME_SIZE_ERROR */,
                                               EVENER_STATUS_UNAVAILABLE /* REFUSED_STREAM */,
                                               EVENER_STATUS_CANCELLED /* CANCEL */,
                                               EVENER_STATUS_INTERNAL /* COMPRESSION_ERROR */,
                                               EVENER_STATUS_INTERNAL /* CONNECT_ERROR */,
                                               EVENER_STATUS_RESOURCE_EXHAUSTED /* ENHANCE_YOUR_CALM */,
                                               EVENER_STATUS_PERMISSION_DENIED /* INADEQUATE_SECURITY */};
    connect_plainly();
    for (uint32_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        reset_code = i;
        h2_result result = call(&(h2_call_options){HELLO}, reset_it);
        cr_assert_eq(result.code, codes[i], "code %u: %d", i, result.code);
        cr_assert_eq(result.fate, i == 7 ? EVENER_FATE_REFUSED : EVENER_FATE_PERHAPS_PROCESSED);
        cr_assert_not(result.connection_gone);
        h2_result_clear(&result);
    }
    reset_code = 7;
    h2_result result = call(&(h2_call_options){HELLO}, reset_after_headers);
    cr_assert_eq(result.code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_eq(result.fate, EVENER_FATE_PERHAPS_PROCESSED, "an answered call was not refused");
    h2_result_clear(&result);
}

static const void *garbage;
static size_t garbage_bytes;

static void send_garbage_message(uint32_t stream)
{
    raw_send_grpc_headers(&raw, stream);
    raw_send(&raw, RAW_DATA, 0, stream, garbage, garbage_bytes);
    raw_send_trailers(&raw, stream, "0");
}

Test(http2_wire, malformed_messages_end_the_call)
{
    static const struct {
        const char *bytes;
        size_t count;
        evener_status_code code;
    } all[] = {{"\2\0\0\0\1x", 6, EVENER_STATUS_INTERNAL},
               {"\1\0\0\0\1x", 6, EVENER_STATUS_INTERNAL}, /* compressed, but with what? */
               {"\0\0\0\0\5x", 6, EVENER_STATUS_INTERNAL}, /* ends inside */
               {"\0\0", 2, EVENER_STATUS_INTERNAL},
               {"\0\0\0\0\1x\0\0\0\0\1y", 12, EVENER_STATUS_INTERNAL}, /* two */
               {"\0\xff\xff\xff\xffx", 6, EVENER_STATUS_RESOURCE_EXHAUSTED}};
    connect_plainly();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        garbage = all[i].bytes;
        garbage_bytes = all[i].count;
        h2_result result = call(&(h2_call_options){HELLO}, send_garbage_message);
        cr_assert_eq(result.code, all[i].code, "%zu: %d %s", i, result.code, result.message);
        h2_result_clear(&result);
    }
}

static void compressed_garbage(uint32_t stream)
{
    raw_send_headers(&raw, 0, stream, ":status", "200", "content-type", "application/grpc+proto", "grpc-encoding",
                     "gzip", NULL);
    raw_send(&raw, RAW_DATA, 0, stream, "\1\0\0\0\4junk", 9);
}

Test(http2_wire, a_compressed_message_that_is_none_ends_the_call)
{
    connect_plainly();
    h2_result result = call(&(h2_call_options){HELLO}, compressed_garbage);
    cr_assert_eq(result.code, EVENER_STATUS_INTERNAL);
    cr_assert_str_eq(result.message, "a compressed message of 4 bytes cannot be decompressed");
    h2_result_clear(&result);
}

static void huge_headers(uint32_t stream)
{
    char *value = malloc(60001);
    memset(value, 'a', 60000);
    value[60000] = '\0';
    raw_send_headers(&raw, 0, stream, ":status", "200", "content-type", "application/grpc", "x-a", value, "x-b", value,
                     NULL);
    free(value);
}

static void long_message(uint32_t stream)
{
    char *value = malloc(60001);
    memset(value, 'm', 60000);
    value[60000] = '\0';
    raw_send_headers(&raw, RAW_END_STREAM, stream, ":status", "200", "content-type", "application/grpc", "grpc-status",
                     "9", "grpc-message", value, NULL);
    free(value);
}

Test(http2_wire, headers_up_to_the_limit_are_read_and_above_it_end_the_call)
{
    connect_plainly();
    h2_result result = call(&(h2_call_options){HELLO}, long_message);
    cr_assert_eq(result.code, EVENER_STATUS_FAILED_PRECONDITION);
    cr_assert_eq(strlen(result.message), 60000);
    h2_result_clear(&result);
    result = call(&(h2_call_options){HELLO}, huge_headers);
    cr_assert_eq(result.code, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s", result.message);
    h2_result_clear(&result);
    /* The connection lives. */
    grpc_status_text = "5";
    result = call(&(h2_call_options){HELLO}, end_with_status);
    cr_assert_eq(result.code, EVENER_STATUS_NOT_FOUND);
    h2_result_clear(&result);
}

static void undecodable_metadata(uint32_t stream)
{
    raw_send_headers(&raw, RAW_END_STREAM, stream, ":status", "200", "content-type", "application/grpc", "grpc-status",
                     "3", "grpc-status-details-bin", "!!!", "x-good", "1", NULL);
}

Test(http2_wire, undecodable_binary_metadata_is_left_out)
{
    connect_plainly();
    h2_result result = call(&(h2_call_options){HELLO, .wants_metadata = true}, undecodable_metadata);
    cr_assert_eq(result.code, EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(result.trailers, "x-good=1\n");
    h2_result_clear(&result);
}

static void early_answer(uint32_t stream)
{
    raw_send_headers(&raw, RAW_END_STREAM, stream, ":status", "200", "content-type", "application/grpc", "grpc-status",
                     "8", NULL);
}

Test(http2_wire, an_answer_before_the_request_is_through_ends_the_call)
{
    const uint32_t window[][2] = {{4, 10}};
    connect_with(window, 1);
    static char text[1000];
    h2_result result = call(&(h2_call_options){.request = text, .request_bytes = sizeof text}, early_answer);
    cr_assert_eq(result.code, EVENER_STATUS_RESOURCE_EXHAUSTED);
    h2_result_clear(&result);
    do {
        cr_assert(raw_read(&raw, &frame));
    } while (frame.type == RAW_DATA);
    cr_assert_eq(frame.type, RAW_RST_STREAM);
    cr_assert_eq(memcmp(frame.payload, "\0\0\0\0", 4), 0);
}

/* ---- the end of the connection ---- */

Test(http2_wire, goaway_refuses_what_is_above_its_last_id_and_lets_the_rest_finish)
{
    connect_plainly();
    h2_call *calls[10];
    for (int i = 0; i < 10; i++) {
        calls[i] = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
        cr_assert_eq(raw_read_call(&raw, &frame), (uint32_t)(2 * i + 1));
    }
    raw_send_goaway(&raw, 9, 0, NULL);
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
    for (int i = 5; i < 10; i++) {
        const h2_result *result = h2_call_wait(calls[i]);
        cr_assert_eq(result->code, EVENER_STATUS_UNAVAILABLE);
        cr_assert_eq(result->fate, EVENER_FATE_REFUSED);
        cr_assert(result->connection_gone);
    }
    for (int i = 0; i < 5; i++) {
        cr_assert_not(h2_call_has_ended(calls[i]));
        raw_answer(&raw, (uint32_t)(2 * i + 1), "done");
        cr_assert_eq(h2_call_wait(calls[i])->code, EVENER_STATUS_OK);
    }
    cr_assert(raw_read_to_end(&raw), "the client closes after its last call");
    cr_assert_eq(h2_state_count(peer), 2);
    for (int i = 0; i < 10; i++) {
        h2_call_free(calls[i]);
    }
}

Test(http2_wire, a_graceful_goaway_ends_new_calls_and_keeps_the_others)
{
    connect_plainly();
    h2_call *one = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
    const uint32_t stream = raw_read_call(&raw, &frame);
    raw_send_goaway(&raw, 0x7fffffff, 0, NULL);
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
    evener_status status;
    cr_assert_null(h2_call_start(peer, &(h2_call_options){HELLO}, &status));
    cr_assert_eq(status.code, EVENER_STATUS_UNAVAILABLE);
    raw_send_goaway(&raw, stream, 0, NULL);
    raw_answer(&raw, stream, "done");
    cr_assert_eq(h2_call_wait(one)->code, EVENER_STATUS_OK);
    h2_call_free(one);
    cr_assert(raw_read_to_end(&raw));
    cr_assert_eq(h2_state_count(peer), 2, "one replacement is made, not two");
}

Test(http2_wire, a_lost_connection_may_have_processed_what_left)
{
    connect_plainly();
    h2_call *one = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
    (void)raw_read_call(&raw, &frame);
    raw_reset(&raw);
    const h2_result *result = h2_call_wait(one);
    cr_assert_eq(result->code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_eq(result->fate, EVENER_FATE_PERHAPS_PROCESSED);
    cr_assert(result->connection_gone);
    h2_call_free(one);
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
}

Test(http2_wire, calls_beyond_the_peers_limit_wait_and_never_left)
{
    const uint32_t one_stream[][2] = {{3, 1}};
    connect_with(one_stream, 1);
    h2_call *calls[4];
    for (int i = 0; i < 3; i++) {
        calls[i] = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
    }
    calls[3] = h2_call_start(peer, &(h2_call_options){HELLO, .timeout_ms = 30}, NULL);
    cr_assert_eq(raw_read_call(&raw, &frame), 1);
    const h2_result *result = h2_call_wait(calls[3]);
    cr_assert_eq(result->code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_assert_eq(result->fate, EVENER_FATE_NEVER_LEFT);
    raw_answer(&raw, 1, "first");
    cr_assert_eq(h2_call_wait(calls[0])->code, EVENER_STATUS_OK);
    cr_assert_eq(raw_read_call(&raw, &frame), 3);
    cr_assert_not(h2_call_has_ended(calls[2]));
    raw_reset(&raw);
    result = h2_call_wait(calls[1]);
    cr_assert_eq(result->fate, EVENER_FATE_PERHAPS_PROCESSED);
    result = h2_call_wait(calls[2]);
    cr_assert_eq(result->code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_eq(result->fate, EVENER_FATE_NEVER_LEFT);
    for (int i = 0; i < 4; i++) {
        h2_call_free(calls[i]);
    }
}

Test(http2_wire, goaway_ends_waiting_calls_at_once_as_never_left)
{
    const uint32_t one_stream[][2] = {{3, 1}};
    connect_with(one_stream, 1);
    h2_call *first = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
    const uint32_t stream = raw_read_call(&raw, &frame);
    h2_call *second = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
    raw_send_goaway(&raw, stream, 0, NULL);
    const h2_result *result = h2_call_wait(second);
    cr_assert_eq(result->code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_eq(result->fate, EVENER_FATE_NEVER_LEFT);
    cr_assert(result->connection_gone);
    raw_answer(&raw, stream, "done");
    cr_assert_eq(h2_call_wait(first)->code, EVENER_STATUS_OK);
    h2_call_free(first);
    h2_call_free(second);
}

/* How many HEADERS frames have begun in what the client sent until it closed. */
static unsigned headers_begun(void)
{
    size_t room = 64u << 20, bytes = 0;
    uint8_t *all = malloc(room);
    ssize_t got;
    while ((got = read(raw.fd, all + bytes, room - bytes)) > 0) {
        bytes += (size_t)got;
    }
    unsigned count = 0;
    for (size_t at = 0; at < bytes;) {
        const size_t left = bytes - at;
        if (left < 4) { /* a frame of which not even the type has arrived: only HEADERS follow here */
            count++;
            break;
        }
        count += all[at + 3] == RAW_HEADERS;
        at += 9 + ((size_t)all[at] << 16 | (size_t)all[at + 1] << 8 | all[at + 2]);
    }
    free(all);
    return count;
}

#define MANY 30000

Test(http2_wire, a_call_never_left_exactly_when_no_byte_of_its_headers_did)
{
    connect_plainly();
    static char value[400];
    static h2_call *calls[MANY];
    memset(value, 'a', sizeof value);
    /* nghttp2 keeps an etag out of HPACK's table, so that each frame is as large again. */
    const evener_metadata metadata = {"etag", value, sizeof value};
    for (int i = 0; i < MANY; i++) {
        /* Streams: HEADERS frames and nothing else. */
        calls[i] =
            h2_call_start(peer, &(h2_call_options){.stream = true, .metadata = &metadata, .metadata_count = 1}, NULL);
        if (i == 0) {
            cr_assert_eq(raw_read_call(&raw, &frame), 1); /* then the server reads no more */
        }
    }
    /* The socket is full: what the client still has is in its own buffer, or no frame yet. */
    raw_send_goaway(&raw, 0x7fffffff, 0, NULL);
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
    shutdown(raw.fd, SHUT_WR);
    unsigned left = 0, never_left = 0;
    for (int i = 0; i < MANY; i++) {
        const h2_result *result = h2_call_wait(calls[i]);
        cr_assert_eq(result->code, EVENER_STATUS_UNAVAILABLE);
        left += result->fate == EVENER_FATE_PERHAPS_PROCESSED;
        never_left += result->fate == EVENER_FATE_NEVER_LEFT;
    }
    cr_assert_eq(left + never_left, MANY);
    cr_assert_gt(never_left, 0u);
    cr_assert_eq(left, headers_begun() + 1, "the first was read before");
    for (int i = 0; i < MANY; i++) {
        h2_call_free(calls[i]);
    }
}

Test(http2_wire, a_raised_limit_lets_waiting_calls_go)
{
    const uint32_t no_stream[][2] = {{3, 0}};
    connect_with(no_stream, 1);
    h2_call *one = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
    raw_send(&raw, RAW_SETTINGS, 0, 0, "\0\3\0\0\0\1", 6);
    cr_assert_eq(raw_read_call(&raw, &frame), 1);
    raw_answer(&raw, 1, "now");
    cr_assert_eq(h2_call_wait(one)->code, EVENER_STATUS_OK);
    h2_call_free(one);
}

Test(http2_wire, windows_that_open_in_steps_let_the_message_through)
{
    const uint32_t no_window[][2] = {{4, 0}};
    connect_with(no_window, 1);
    static char text[5000];
    h2_call *one = h2_call_start(peer, &(h2_call_options){.request = text, .request_bytes = sizeof text}, NULL);
    const uint32_t stream = raw_read_call(&raw, &frame);
    size_t got = 0;
    while (got < sizeof text + 5) {
        raw_send(&raw, RAW_WINDOW_UPDATE, 0, stream, "\0\0\4\0", 4); /* 1024 */
        cr_assert(raw_read(&raw, &frame));
        cr_assert_eq(frame.type, RAW_DATA);
        cr_assert_leq(frame.bytes, 1024);
        got += frame.bytes;
    }
    cr_assert_eq(frame.flags, RAW_END_STREAM);
    raw_answer(&raw, stream, "whole");
    cr_assert_eq(h2_call_wait(one)->code, EVENER_STATUS_OK);
    h2_call_free(one);
}

Test(http2_wire, a_window_that_opens_byte_by_byte_makes_no_frames_of_a_byte)
{
    const uint32_t no_window[][2] = {{4, 0}};
    connect_with(no_window, 1);
    static char text[3000];
    h2_call *one = h2_call_start(peer, &(h2_call_options){.request = text, .request_bytes = sizeof text}, NULL);
    const uint32_t stream = raw_read_call(&raw, &frame);
    for (size_t i = 0; i < sizeof text + 5; i++) {
        raw_send(&raw, RAW_WINDOW_UPDATE, 0, stream, "\0\0\0\1", 4);
    }
    size_t got = 0;
    unsigned frames = 0;
    while (got < sizeof text + 5) {
        cr_assert(raw_read(&raw, &frame));
        cr_assert_eq(frame.type, RAW_DATA);
        got += frame.bytes;
        frames++;
    }
    cr_assert_leq(frames, 100u, "%u frames for %zu bytes", frames, got);
    raw_answer(&raw, stream, "whole");
    cr_assert_eq(h2_call_wait(one)->code, EVENER_STATUS_OK);
    h2_call_free(one);
}

Test(http2_wire, a_narrow_window_that_stays_is_used_all_the_same)
{
    const uint32_t narrow[][2] = {{4, 10}};
    connect_with(narrow, 1);
    static char text[15];
    h2_call *one = h2_call_start(peer, &(h2_call_options){.request = text, .request_bytes = sizeof text}, NULL);
    const uint32_t stream = raw_read_call(&raw, &frame);
    cr_assert(raw_read(&raw, &frame));
    cr_assert_eq(frame.bytes, 10);
    raw_send(&raw, RAW_WINDOW_UPDATE, 0, stream, "\0\0\0\12", 4);
    cr_assert(raw_read(&raw, &frame));
    cr_assert_eq(frame.bytes, 10);
    raw_answer(&raw, stream, "whole");
    cr_assert_eq(h2_call_wait(one)->code, EVENER_STATUS_OK);
    h2_call_free(one);
}

/* ---- peers that never were HTTP/2 ---- */

static void fails_with(const char *bytes, size_t count, const char *message)
{
    peer = h2_connect_port(&fixture, server.port);
    raw_accept(&server, &raw);
    raw_send_bytes(&raw, bytes, count);
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_TRANSIENT_FAILURE);
    cr_assert_not_null(strstr(h2_state_message(peer, 1), message), "%s", h2_state_message(peer, 1));
}

Test(http2_wire, a_server_of_http_1_is_named)
{
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    fails_with(answer, sizeof answer - 1, "the server speaks HTTP/1.1");
    cr_assert_null(strstr(h2_state_message(peer, 1), "127.0.0.1"), "policies say the address: %s",
                   h2_state_message(peer, 1));
}

Test(http2_wire, a_server_of_tls_is_named)
{
    fails_with("\x15\x03\x01\0\2\2\x46", 7, "the server speaks TLS");
}

Test(http2_wire, a_server_that_closes_fails_the_attempt)
{
    peer = h2_connect_port(&fixture, server.port);
    raw_accept(&server, &raw);
    raw_close(&raw);
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_TRANSIENT_FAILURE);
}

Test(http2_wire, a_refused_connection_is_named)
{
    raw_server closed;
    raw_listen(&closed);
    raw_stop(&closed);
    raw.fd = -1;
    peer = h2_connect_port(&fixture, closed.port);
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_TRANSIENT_FAILURE);
    cr_assert_not_null(strstr(h2_state_message(peer, 1), "Connection refused"), "%s", h2_state_message(peer, 1));
}

Test(http2_wire, garbage_after_the_settings_breaks_the_connection)
{
    connect_plainly();
    h2_call *one = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
    (void)raw_read_call(&raw, &frame);
    raw_send_bytes(&raw, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
    const h2_result *result = h2_call_wait(one);
    cr_assert_eq(result->code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_eq(result->fate, EVENER_FATE_PERHAPS_PROCESSED);
    h2_call_free(one);
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
}

/* ---- floods, and a peer that does not read ---- */

Test(http2_wire, a_flood_of_pings_to_a_peer_that_does_not_read_breaks_the_connection)
{
    connect_plainly();
    h2_call *one = h2_call_start(peer, &(h2_call_options){HELLO, .timeout_ms = 15000}, NULL);
    (void)raw_read_call(&raw, &frame);
    while (h2_state_count(peer) < 2 && !h2_call_has_ended(one)) {
        raw_send(&raw, RAW_PING, 0, 0, "12345678", 8);
    }
    const h2_result *result = h2_call_wait(one);
    cr_assert_eq(result->code, EVENER_STATUS_UNAVAILABLE, "%d %s", result->code, result->message);
    h2_call_free(one);
}

Test(http2_wire, a_deadline_holds_against_a_peer_that_does_not_read)
{
    const uint32_t wide[][2] = {{4, 0x7fffffff}};
    connect_with(wide, 1);
    raw_send(&raw, RAW_WINDOW_UPDATE, 0, 0, "\x7f\xff\0\0", 4);
    const size_t bytes = 64 << 20;
    char *text = calloc(1, bytes);
    h2_call *one =
        h2_call_start(peer, &(h2_call_options){.request = text, .request_bytes = bytes, .timeout_ms = 100}, NULL);
    /* One that comes behind what the socket does not take. */
    h2_call *two = h2_call_start(peer, &(h2_call_options){HELLO, .timeout_ms = 200}, NULL);
    cr_assert_eq(h2_call_wait(one)->code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_assert_eq(h2_call_wait(one)->fate, EVENER_FATE_PERHAPS_PROCESSED);
    cr_assert_eq(h2_call_wait(two)->code, EVENER_STATUS_DEADLINE_EXCEEDED);
    h2_call_free(one);
    h2_call_free(two);
    free(text);
}
