/* Calls of the HTTP/2 transport against a scripted server, frame by frame: requests, answers and statuses. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http2/raw_scene.h"

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

TestSuite(http2_wire, .init = raw_scene_open, .fini = raw_scene_close, .timeout = 60);

/* ---- requests ---- */

Test(http2_wire, a_request_has_the_headers_of_the_protocol)
{
    raw_scene_connect();
    /* What follows the entries is not theirs: a NULL key would end the program. */
    const evener_metadata metadata[] = {{"x-text", "abc", 3}, {"x-data-bin", "\0\1\2\3", 4}, {NULL, NULL, 0}};
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
    raw_scene_connect();
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
    raw_scene_connect();
    h2_result result = call(&(h2_call_options){HELLO, .wants_metadata = true}, trailers_only);
    cr_assert_eq(result.code, EVENER_STATUS_NOT_FOUND);
    cr_assert_str_eq(result.message, "no \"such\" thing: 100%");
    cr_assert_null(result.headers);
    cr_assert_str_eq(result.trailers, "x-why=because\nx-list-bin=\1\nx-list-bin=\2\n");
    h2_result_clear(&result);
}

/* A list of 40 values of a byte each. */
#define TEN "AQ,AQ,AQ,AQ,AQ,AQ,AQ,AQ,AQ,AQ"
#define FORTY TEN "," TEN "," TEN "," TEN

static void much_metadata(uint32_t stream)
{
    raw_send_headers(&raw, 0, stream, ":status", "200", "content-type", "application/grpc", "x-a-bin", FORTY, "x-b-bin",
                     FORTY, "x-c-bin", FORTY, NULL);
    raw_send_message(&raw, stream, "hello", 5);
    raw_send_headers(&raw, RAW_END_STREAM, stream, "grpc-status", "0", "x-d-bin", FORTY, "x-e-bin", FORTY, "x-f-bin",
                     FORTY, NULL);
}

/* Count the lines of a text, all of which begin with "x-". */
static unsigned count_entries(const char *text)
{
    unsigned count = 0;
    for (; text != NULL && *text != '\0'; text = strchr(text, '\n') + 1) {
        cr_assert_eq(strncmp(text, "x-", 2), 0, "%s", text);
        count++;
    }
    return count;
}

Test(http2_wire, many_entries_of_metadata_arrive_all)
{
    raw_scene_connect();
    h2_result result = call(&(h2_call_options){HELLO, .wants_metadata = true}, much_metadata);
    cr_assert_eq(result.code, EVENER_STATUS_OK, "%s", result.message);
    cr_assert_eq(count_entries(result.headers), 120);
    cr_assert_eq(count_entries(result.trailers), 120);
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
    raw_scene_connect();
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
    raw_scene_connect();
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
    raw_scene_connect();
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
    raw_scene_connect();
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
    raw_scene_connect();
    h2_result result = call(&(h2_call_options){HELLO}, compressed_garbage);
    cr_assert_eq(result.code, EVENER_STATUS_INTERNAL);
    cr_assert_str_eq(result.message, "a compressed message of 4 bytes cannot be decompressed");
    h2_result_clear(&result);
}

static const char *encoding;

static void flagged_as_compressed(uint32_t stream)
{
    raw_send_headers(&raw, 0, stream, ":status", "200", "content-type", "application/grpc",
                     encoding != NULL ? "grpc-encoding" : "x-nothing", encoding != NULL ? encoding : "1", NULL);
    raw_send(&raw, RAW_DATA, 0, stream, "\1\0\0\0\4junk", 9);
}

static void plain_with_unknown_encoding(uint32_t stream)
{
    raw_send_headers(&raw, 0, stream, ":status", "200", "content-type", "application/grpc", "grpc-encoding", "snappy",
                     NULL);
    raw_send_message(&raw, stream, "plain", 5);
    raw_send_trailers(&raw, stream, "0");
}

Test(http2_wire, a_compressed_message_without_a_known_encoding_is_named)
{
    static const struct {
        const char *encoding, *message;
    } all[] = {{"snappy", "a message of 4 bytes is compressed with an unknown grpc-encoding"},
               {"gzi", "a message of 4 bytes is compressed with an unknown grpc-encoding"},
               {"identity", "a message of 4 bytes is compressed, but there is no grpc-encoding"},
               {NULL, "a message of 4 bytes is compressed, but there is no grpc-encoding"}};
    raw_scene_connect();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        encoding = all[i].encoding;
        h2_result result = call(&(h2_call_options){HELLO}, flagged_as_compressed);
        cr_expect_eq(result.code, EVENER_STATUS_INTERNAL);
        cr_expect_str_eq(result.message, all[i].message);
        h2_result_clear(&result);
    }
    h2_result result = call(&(h2_call_options){HELLO}, plain_with_unknown_encoding);
    cr_expect_eq(result.code, EVENER_STATUS_OK, "%s", result.message);
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
    raw_scene_connect();
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
    raw_scene_connect();
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
    raw_scene_connect_with(window, 1);
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

static void *write_more_than_the_window(void *arg)
{
    static char text[1000];
    static bool is_written;
    is_written = h2_stream_write(arg, text, sizeof text, false);
    return &is_written;
}

/* A stream whose writer waits for the window, and nobody reads, is answered. */
static void answer_a_blocked_writer(bool with_reset)
{
    const uint32_t window[][2] = {{4, 10}};
    raw_scene_connect_with(window, 1);
    h2_call *stream = h2_call_start(peer, &(h2_call_options){.stream = true}, NULL);
    pthread_t writer;
    void *is_written;
    cr_assert_eq(pthread_create(&writer, NULL, write_more_than_the_window, stream), 0);
    const uint32_t id = raw_read_call(&raw, &frame);
    cr_assert(raw_read(&raw, &frame));
    cr_assert_eq(frame.type, RAW_DATA);
    cr_assert_eq(frame.bytes, 10);
    raw_answer(&raw, id, "early");
    if (with_reset) {
        raw_send_reset(&raw, id, 0 /* NO_ERROR */);
    }
    pthread_join(writer, &is_written);
    cr_assert(*(const bool *)is_written);
    if (!with_reset) {
        cr_assert(raw_read(&raw, &frame));
        cr_assert_eq(frame.type, RAW_RST_STREAM);
        cr_assert_eq(memcmp(frame.payload, "\0\0\0\0", 4), 0);
    }
    cr_assert(h2_stream_write(stream, "more", 4, true), "the next message is let go at once");
    char *message = h2_stream_read(stream, NULL);
    cr_assert_str_eq(message, "early");
    free(message);
    cr_assert_null(h2_stream_read(stream, NULL));
    cr_assert_eq(h2_call_wait(stream)->code, EVENER_STATUS_OK);
    h2_call_free(stream);
}

Test(http2_wire, an_answer_that_waits_to_be_read_lets_a_blocked_writer_go)
{
    answer_a_blocked_writer(false);
}

Test(http2_wire, an_answer_with_a_reset_that_waits_to_be_read_lets_a_blocked_writer_go)
{
    answer_a_blocked_writer(true);
}
