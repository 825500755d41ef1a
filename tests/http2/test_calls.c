/* Calls over the HTTP/2 transport against a server of the gRPC core. */
#include <criterion/criterion.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo_server/server.h"
#include "http2/fixture.h"

static demo_server *server;
static h2_fixture fixture;
static h2_peer *peer;

static void open_all(void)
{
    char error[DEMO_SERVER_ERROR_BYTES];
    server = demo_server_start(&(demo_server_options){.port = 0}, error);
    cr_assert_not_null(server, "%s", error);
    h2_open(&fixture, NULL);
    peer = h2_connect_port(&fixture, demo_server_port(server));
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_READY, "%s", h2_state_message(peer, 1));
}

static void close_all(void)
{
    h2_forget(peer);
    h2_close(&fixture);
    demo_server_stop(server, 0);
}

TestSuite(http2_calls, .init = open_all, .fini = close_all, .timeout = 60);

Test(http2_calls, a_blocking_call_is_answered)
{
    h2_result result;
    cr_assert_eq(h2_call_blocking(peer, &(h2_call_options){.request = "hello", .request_bytes = 5}, &result),
                 EVENER_STATUS_OK, "%s", result.message);
    cr_assert_eq(result.response_bytes, 5);
    cr_assert_eq(memcmp(result.response, "hello", 5), 0);
    h2_result_clear(&result);
}

Test(http2_calls, an_asynchronous_call_is_answered)
{
    h2_call *call = h2_call_start(peer, &(h2_call_options){.request = "hello", .request_bytes = 5}, NULL);
    const h2_result *result = h2_call_wait(call);
    cr_assert_eq(result->code, EVENER_STATUS_OK, "%s", result->message);
    cr_assert_eq(result->response_bytes, 5);
    h2_call_free(call);
}

/* A system call that succeeds leaves errno as it was. */
Test(http2_calls, what_errno_was_before_a_blocking_call_does_not_matter)
{
    for (int i = 0; i < 10; i++) {
        h2_result result;
        errno = EINTR;
        cr_assert_eq(h2_call_blocking(peer, &(h2_call_options){.request = "hello", .request_bytes = 5}, &result),
                     EVENER_STATUS_OK, "%s", result.message);
        h2_result_clear(&result);
    }
}

Test(http2_calls, an_empty_message_is_answered_with_one)
{
    h2_result result;
    cr_assert_eq(h2_call_blocking(peer, &(h2_call_options){0}, &result), EVENER_STATUS_OK, "%s", result.message);
    cr_assert_eq(result.response_bytes, 0);
    cr_assert_not_null(result.response);
    h2_result_clear(&result);
}

Test(http2_calls, a_large_message_goes_and_comes_whole)
{
    const size_t bytes = 3 * 1024 * 1024 + 7;
    uint8_t *request = malloc(bytes);
    for (size_t i = 0; i < bytes; i++) {
        request[i] = (uint8_t)(i * 31 + i / 251);
    }
    for (int blocking = 0; blocking < 2; blocking++) {
        const h2_call_options options = {.request = request, .request_bytes = bytes};
        h2_result blocked;
        h2_call *call = NULL;
        const h2_result *result = &blocked;
        if (blocking) {
            (void)h2_call_blocking(peer, &options, &blocked);
        } else {
            call = h2_call_start(peer, &options, NULL);
            result = h2_call_wait(call);
        }
        cr_assert_eq(result->code, EVENER_STATUS_OK, "%s", result->message);
        cr_assert_eq(result->response_bytes, bytes);
        cr_assert_eq(memcmp(result->response, request, bytes), 0);
        if (blocking) {
            h2_result_clear(&blocked);
        }
        h2_call_free(call);
    }
    free(request);
}

Test(http2_calls, a_status_of_the_server_arrives_with_its_message)
{
    demo_server_set_failure(server, GRPC_STATUS_NOT_FOUND, "no such order: 100 % gone, \xc3\xa4\n");
    h2_result result;
    cr_assert_eq(h2_call_blocking(peer, &(h2_call_options){0}, &result), EVENER_STATUS_NOT_FOUND);
    cr_assert_str_eq(result.message, "no such order: 100 % gone, \xc3\xa4\n");
    cr_assert_eq(result.fate, EVENER_FATE_PERHAPS_PROCESSED);
    cr_assert_not(result.connection_gone);
    h2_result_clear(&result);
}

Test(http2_calls, an_unknown_method_is_unimplemented)
{
    h2_result result;
    cr_assert_eq(h2_call_blocking(peer, &(h2_call_options){.method = "/no.Such/Method"}, &result),
                 EVENER_STATUS_UNIMPLEMENTED);
    h2_result_clear(&result);
}

Test(http2_calls, a_deadline_ends_a_call_that_is_not_answered)
{
    demo_server_set_delay_ms(server, DEMO_SERVER_NEVER_MS);
    h2_result result;
    cr_assert_eq(h2_call_blocking(peer, &(h2_call_options){.timeout_ms = 1000}, &result),
                 EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_assert_eq(result.fate, EVENER_FATE_PERHAPS_PROCESSED);
    h2_result_clear(&result);
    h2_call *call = h2_call_start(peer, &(h2_call_options){.timeout_ms = 50}, NULL);
    cr_assert_eq(h2_call_wait(call)->code, EVENER_STATUS_DEADLINE_EXCEEDED);
    h2_call_free(call);
    /* The connection serves on. */
    demo_server_set_delay_ms(server, 0);
    cr_assert_eq(h2_call_blocking(peer, &(h2_call_options){0}, &result), EVENER_STATUS_OK, "%s", result.message);
    h2_result_clear(&result);
}

Test(http2_calls, a_cancelled_call_ends_with_the_status_given)
{
    demo_server_set_delay_ms(server, DEMO_SERVER_NEVER_MS);
    h2_call *call = h2_call_start(peer, &(h2_call_options){0}, NULL);
    h2_call_cancel(call, EVENER_STATUS_CANCELLED, "changed my mind");
    const h2_result *result = h2_call_wait(call);
    cr_assert_eq(result->code, EVENER_STATUS_CANCELLED);
    cr_assert_str_eq(result->message, "changed my mind");
    /* After the end it does nothing. */
    h2_call_cancel(call, EVENER_STATUS_CANCELLED, "again");
    h2_call_free(call);
}

Test(http2_calls, metadata_goes_both_ways)
{
    static const char binary[] = {0, 1, 2, (char)0xff, ','};
    const evener_metadata metadata[] = {{"echo-text", "some text", 9}, {"echo-data-bin", binary, sizeof binary}};
    h2_result result;
    cr_assert_eq(h2_call_blocking(peer,
                                  &(h2_call_options){.metadata = metadata, .metadata_count = 2, .wants_metadata = true},
                                  &result),
                 EVENER_STATUS_OK, "%s", result.message);
    cr_assert_not_null(result.headers);
    cr_assert_not_null(strstr(result.headers, "echo-text=some text\n"));
    cr_assert_not_null(strstr(result.headers, "host-seen=orders.test\n"));
    cr_assert_not_null(strstr(result.trailers, "echo-text=some text\n"));
    cr_assert_not_null(strstr(result.trailers, "echo-data-bin="));
    cr_assert_null(strstr(result.trailers, "grpc-status"));
    h2_result_clear(&result);
}

Test(http2_calls, the_load_report_arrives)
{
    demo_server_set_load_report(server, "\x09load", 5);
    h2_result result;
    cr_assert_eq(h2_call_blocking(peer, &(h2_call_options){0}, &result), EVENER_STATUS_OK);
    cr_assert_eq(result.load_report_bytes, 5);
    cr_assert_eq(memcmp(result.load_report, "\x09load", 5), 0);
    h2_result_clear(&result);
}

Test(http2_calls, what_cannot_be_sent_is_refused_at_once)
{
    evener_status status;
    const evener_metadata bad_key = {"Upper", "x", 1}, bad_value = {"key", "a\nb", 3}, reserved = {"te", "x", 1};
    const evener_metadata *const all[] = {&bad_key, &bad_value, &reserved};
    for (size_t i = 0; i < 3; i++) {
        const h2_call_options options = {.metadata = all[i], .metadata_count = 1};
        cr_assert_null(h2_call_start(peer, &options, &status));
        cr_assert_eq(status.code, EVENER_STATUS_INVALID_ARGUMENT);
    }
    cr_assert_null(h2_call_start(peer, &(h2_call_options){.method = "no slash"}, &status));
    cr_assert_eq(status.code, EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_null(
        h2_call_start(peer, &(h2_call_options){.request = "12345", .request_bytes = 5, .send_bytes_max = 4}, &status));
    cr_assert_eq(status.code, EVENER_STATUS_RESOURCE_EXHAUSTED);
}

Test(http2_calls, a_received_message_above_the_limit_ends_the_call)
{
    h2_result result;
    cr_assert_eq(h2_call_blocking(
                     peer, &(h2_call_options){.request = "12345", .request_bytes = 5, .receive_bytes_max = 4}, &result),
                 EVENER_STATUS_RESOURCE_EXHAUSTED);
    cr_assert_str_eq(result.message, "received message of 5 bytes is larger than the limit of 4");
    h2_result_clear(&result);
    cr_assert_eq(h2_call_blocking(
                     peer, &(h2_call_options){.request = "1234", .request_bytes = 4, .receive_bytes_max = 4}, &result),
                 EVENER_STATUS_OK);
    h2_result_clear(&result);
}

Test(http2_calls, compressed_messages_are_read_by_the_server)
{
    char text[2000];
    memset(text, 'a', sizeof text);
    const evener_compression kinds[] = {EVENER_COMPRESSION_GZIP, EVENER_COMPRESSION_DEFLATE};
    for (size_t i = 0; i < 2; i++) {
        h2_result result;
        cr_assert_eq(
            h2_call_blocking(peer,
                             &(h2_call_options){.request = text, .request_bytes = sizeof text, .compression = kinds[i]},
                             &result),
            EVENER_STATUS_OK, "%s", result.message);
        cr_assert_eq(result.response_bytes, sizeof text);
        cr_assert_eq(memcmp(result.response, text, sizeof text), 0);
        h2_result_clear(&result);
    }
}

Test(http2_calls, a_stream_echoes_each_message)
{
    h2_call *call = h2_call_start(peer, &(h2_call_options){.stream = true}, NULL);
    for (int i = 0; i < 100; i++) {
        char text[16];
        size_t bytes;
        snprintf(text, sizeof text, "message %d", i);
        cr_assert(h2_stream_write(call, text, strlen(text), false));
        char *answer = h2_stream_read(call, &bytes);
        cr_assert_str_eq(answer, text);
        free(answer);
    }
    h2_stream_half_close(call);
    cr_assert_null(h2_stream_read(call, NULL));
    cr_assert_eq(h2_call_wait(call)->code, EVENER_STATUS_OK);
    h2_call_free(call);
}

Test(http2_calls, large_stream_messages_pass_the_windows)
{
    const size_t bytes = 1024 * 1024;
    char *text = malloc(bytes);
    memset(text, 'x', bytes);
    h2_call *call = h2_call_start(peer, &(h2_call_options){.stream = true}, NULL);
    for (int i = 0; i < 5; i++) {
        h2_stream_read_start(call);
        cr_assert(h2_stream_write(call, text, bytes, i == 4));
        size_t got;
        char *answer = h2_stream_read_wait(call, &got);
        cr_assert_eq(got, bytes);
        free(answer);
    }
    cr_assert_null(h2_stream_read(call, NULL));
    cr_assert_eq(h2_call_wait(call)->code, EVENER_STATUS_OK);
    h2_call_free(call);
    free(text);
}

Test(http2_calls, what_nobody_reads_is_bounded_by_the_window)
{
    /* The echo writes back what it reads: when this side does not read, it must stop, and its window for us closes. */
    const size_t bytes = 64 * 1024;
    char *text = malloc(bytes);
    memset(text, 'x', bytes);
    h2_call *call = h2_call_start(peer, &(h2_call_options){.stream = true, .timeout_ms = 700}, NULL);
    unsigned count = 0;
    while (count < 1000 && h2_stream_write(call, text, bytes, false)) {
        count++;
    }
    cr_assert_lt(count, 1000u, "%u messages of 64 KiB went and none was read", count);
    cr_assert_eq(h2_call_wait(call)->code, EVENER_STATUS_DEADLINE_EXCEEDED);
    h2_call_free(call);
    free(text);
}

static void *call_many(void *arg)
{
    for (int i = 0; i < 300; i++) {
        h2_result result;
        if (h2_call_blocking(peer, &(h2_call_options){.request = "0123456789", .request_bytes = 10}, &result) !=
                EVENER_STATUS_OK ||
            result.response_bytes != 10) {
            *(bool *)arg = true;
        }
        h2_result_clear(&result);
    }
    return NULL;
}

Test(http2_calls, many_blocking_callers_share_a_connection)
{
    pthread_t threads[16];
    bool failed[16] = {false};
    for (int i = 0; i < 16; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, call_many, &failed[i]), 0);
    }
    for (int i = 0; i < 16; i++) {
        pthread_join(threads[i], NULL);
        cr_assert_not(failed[i]);
    }
}

Test(http2_calls, blocking_and_asynchronous_callers_share_a_connection)
{
    pthread_t threads[4];
    bool failed[4] = {false};
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, call_many, &failed[i]), 0);
    }
    for (int i = 0; i < 300; i++) {
        h2_call *call = h2_call_start(peer, &(h2_call_options){.request = "hello", .request_bytes = 5}, NULL);
        cr_assert_eq(h2_call_wait(call)->code, EVENER_STATUS_OK);
        h2_call_free(call);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        cr_assert_not(failed[i]);
    }
}

Test(http2_calls, a_killed_server_drops_the_connection_and_ends_its_calls)
{
    demo_server_set_delay_ms(server, DEMO_SERVER_NEVER_MS);
    h2_call *call = h2_call_start(peer, &(h2_call_options){0}, NULL);
    while (demo_server_calls_in_flight(server) == 0) {
    }
    demo_server_stop(server, 0);
    const h2_result *result = h2_call_wait(call);
    cr_assert_neq(result->code, EVENER_STATUS_OK);
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
    evener_status status;
    cr_assert_null(h2_call_start(peer, &(h2_call_options){0}, &status));
    cr_assert_eq(status.code, EVENER_STATUS_UNAVAILABLE);
    h2_call_free(call);
    char error[DEMO_SERVER_ERROR_BYTES];
    server = demo_server_start(&(demo_server_options){.port = 0}, error);
}

Test(http2_calls, disconnect_lets_calls_under_way_finish)
{
    demo_server_set_delay_ms(server, 100);
    h2_call *call = h2_call_start(peer, &(h2_call_options){.request = "late", .request_bytes = 4}, NULL);
    while (demo_server_calls_in_flight(server) == 0) {
    }
    evener_connection *connection = peer->connection;
    fixture.transport->vtable->connection_ref(connection); /* as a pick holds one */
    h2_disconnect(peer);
    evener_status status;
    cr_assert_null(h2_call_start(peer, &(h2_call_options){0}, &status));
    cr_assert_eq(h2_call_wait(call)->code, EVENER_STATUS_OK);
    fixture.transport->vtable->connection_unref(connection);
    h2_call_free(call);
}
