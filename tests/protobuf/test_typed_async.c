/* Generated streams without waiting, to real servers. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <grpcdemo/grpcdemo.evener.h>

#include "grpc/call_fixture.h"

#define MESSAGES 1000

/* What the callbacks of one stream have seen. Under the mutex. */
typedef struct record {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned headers, written, messages, ended;
    bool in_order;
    evener_status status;
    char *answer; /* of a client stream; "" for none */
    grpcdemo_grpc_demo_exchange_async exchange;
} record;

static void record_init(record *r)
{
    *r = (record){.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .in_order = true};
}

static void count_one(record *r, unsigned *count)
{
    pthread_mutex_lock(&r->mutex);
    (*count)++;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
}

static void wait_for(record *r, const unsigned *count, unsigned wanted)
{
    pthread_mutex_lock(&r->mutex);
    while (*count < wanted) {
        pthread_cond_wait(&r->changed, &r->mutex);
    }
    pthread_mutex_unlock(&r->mutex);
}

static void on_headers(void *arg, const evener_metadata *metadata, size_t count)
{
    (void)metadata;
    (void)count;
    record *r = arg;
    r->in_order = r->in_order && r->messages == 0 && r->ended == 0;
    count_one(r, &r->headers);
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

/* ---- streams both ways ---- */

/* Take an answer and ask for the next one, here and now. */
static void on_exchanged(void *arg, Grpcdemo__ExchangeResp *message)
{
    record *r = arg;
    char expected[32];
    snprintf(expected, sizeof expected, "%u's family", r->messages);
    r->in_order = r->in_order && r->ended == 0 && strcmp(message->last_name, expected) == 0;
    grpcdemo__exchange_resp__free_unpacked(message, NULL);
    count_one(r, &r->messages);
    (void)grpcdemo_grpc_demo_exchange_ask(&r->exchange);
}

static const grpcdemo_grpc_demo_exchange_callbacks exchange_callbacks = {
    .headers = on_headers, .written = on_written, .message = on_exchanged, .ended = on_ended};

Test(typed_async, a_thousand_messages_each_way, .timeout = 120)
{
    call_fixture f;
    record r;
    evener_status status;
    call_fixture_open(&f, 1, NULL);
    record_init(&r);
    cr_assert_eq(grpcdemo_grpc_demo_exchange_start(f.channel, NULL, &exchange_callbacks, &r, &r.exchange, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    cr_expect(grpcdemo_grpc_demo_exchange_ask(&r.exchange));
    for (unsigned i = 0; i < MESSAGES; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", i);
        Grpcdemo__ExchangeReq request = GRPCDEMO__EXCHANGE_REQ__INIT;
        request.first_name = name;
        cr_assert(grpcdemo_grpc_demo_exchange_send(&r.exchange, &request));
        wait_for(&r, &r.written, i + 1);
    }
    cr_expect(grpcdemo_grpc_demo_exchange_send_done(&r.exchange));
    cr_expect_not(grpcdemo_grpc_demo_exchange_send(&r.exchange, NULL), "writing has ended");
    wait_for(&r, &r.ended, 1);
    cr_expect_eq(r.status.code, EVENER_STATUS_OK, "%s", r.status.message);
    cr_expect_eq(r.messages, MESSAGES);
    cr_expect_eq(r.headers, 1);
    cr_expect(r.in_order);
    cr_expect_not(grpcdemo_grpc_demo_exchange_ask(&r.exchange), "it has ended");
    cr_expect_neq(evener_stream_peer(evener_protobuf_c_async_stream(r.exchange.base))[0], '\0');
    grpcdemo_grpc_demo_exchange_async_unref(&r.exchange);
    cr_expect_null(r.exchange.base);
    call_fixture_close(&f);
}

Test(typed_async, a_cancelled_stream_reports_its_end_also_when_nobody_holds_it, .timeout = 60)
{
    call_fixture f;
    record r;
    evener_status status;
    call_fixture_open(&f, 1, NULL);
    demo_server_set_delay_ms(f.servers[0], DEMO_SERVER_NEVER_MS);
    record_init(&r);
    cr_assert_eq(grpcdemo_grpc_demo_exchange_start(f.channel, NULL, &exchange_callbacks, &r, &r.exchange, &status),
                 EVENER_STATUS_OK);
    cr_expect(grpcdemo_grpc_demo_exchange_ask(&r.exchange));
    grpcdemo_grpc_demo_exchange_async_cancel(&r.exchange);
    grpcdemo_grpc_demo_exchange_async_unref(&r.exchange);
    wait_for(&r, &r.ended, 1);
    cr_expect_eq(r.status.code, EVENER_STATUS_CANCELLED);
    cr_expect_eq(r.messages, 0);
    call_fixture_close(&f);
}

/* ---- server streams ---- */

static void on_book(void *arg, Grpcdemo__FetchDataResp *book)
{
    record *r = arg;
    r->in_order = r->in_order && book->fav_book[0] != '\0';
    grpcdemo__fetch_data_resp__free_unpacked(book, NULL);
    count_one(r, &r->messages);
}

Test(typed_async, a_server_stream_delivers_only_what_was_asked_for, .timeout = 60)
{
    static const grpcdemo_grpc_demo_fetch_data_callbacks callbacks = {.message = on_book, .ended = on_ended};
    call_fixture f;
    record r;
    evener_status status;
    call_fixture_open(&f, 1, NULL);
    record_init(&r);
    Grpcdemo__FetchDataReq request = GRPCDEMO__FETCH_DATA_REQ__INIT;
    request.msg = (char *)"books";
    grpcdemo_grpc_demo_fetch_data_async stream;
    cr_assert_eq(grpcdemo_grpc_demo_fetch_data_start(f.channel, &request, NULL, &callbacks, &r, &stream, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    for (unsigned i = 1; i <= 3; i++) {
        cr_expect(grpcdemo_grpc_demo_fetch_data_ask(&stream));
        wait_for(&r, &r.messages, i);
        cr_expect_eq(r.messages, i);
        cr_expect(r.in_order);
    }
    (void)grpcdemo_grpc_demo_fetch_data_ask(&stream); /* false if the end has come already */
    wait_for(&r, &r.ended, 1);
    cr_expect_eq(r.status.code, EVENER_STATUS_OK, "%s", r.status.message);
    cr_expect_eq(r.messages, 3);
    grpcdemo_grpc_demo_fetch_data_async_unref(&stream);
    call_fixture_close(&f);
}

/* ---- client streams ---- */

static void on_pushed(void *arg, const evener_status *status, Grpcdemo__PushDataResp *response)
{
    record *r = arg;
    r->answer = strdup(response != NULL ? response->foo : "");
    r->in_order = r->in_order && (response != NULL) == (status->code == EVENER_STATUS_OK);
    grpcdemo__push_data_resp__free_unpacked(response, NULL);
    on_ended(arg, status);
}

static const grpcdemo_grpc_demo_push_data_callbacks push_callbacks = {.written = on_written, .answered = on_pushed};

Test(typed_async, a_client_stream_is_answered_once, .timeout = 60)
{
    call_fixture f;
    record r;
    evener_status status;
    call_fixture_open(&f, 1, NULL);
    record_init(&r);
    grpcdemo_grpc_demo_push_data_async stream;
    cr_assert_eq(grpcdemo_grpc_demo_push_data_start(f.channel, NULL, &push_callbacks, &r, &stream, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    for (unsigned i = 0; i < 3; i++) {
        char text[16];
        snprintf(text, sizeof text, "%u,", i);
        Grpcdemo__PushDataReq part = GRPCDEMO__PUSH_DATA_REQ__INIT;
        part.foo = text;
        cr_assert(grpcdemo_grpc_demo_push_data_send(&stream, &part));
        wait_for(&r, &r.written, i + 1);
    }
    cr_expect_not(evener_protobuf_c_async_ask(stream.base), "it asks by itself");
    cr_expect(grpcdemo_grpc_demo_push_data_send_done(&stream));
    wait_for(&r, &r.ended, 1);
    cr_expect_eq(r.status.code, EVENER_STATUS_OK, "%s", r.status.message);
    cr_expect_str_eq(r.answer, "0,1,2,");
    cr_expect(r.in_order);
    grpcdemo_grpc_demo_push_data_async_unref(&stream);
    free(r.answer);
    call_fixture_close(&f);
}

Test(typed_async, a_client_stream_that_the_server_fails_has_no_answer, .timeout = 60)
{
    call_fixture f;
    record r;
    evener_status status;
    call_fixture_open(&f, 1, NULL);
    demo_server_set_failure(f.servers[0], GRPC_STATUS_PERMISSION_DENIED, "no");
    record_init(&r);
    grpcdemo_grpc_demo_push_data_async stream;
    cr_assert_eq(grpcdemo_grpc_demo_push_data_start(f.channel, NULL, &push_callbacks, &r, &stream, &status),
                 EVENER_STATUS_OK);
    (void)grpcdemo_grpc_demo_push_data_send_done(&stream);
    wait_for(&r, &r.ended, 1);
    cr_expect_eq(r.status.code, EVENER_STATUS_PERMISSION_DENIED);
    cr_expect_str_eq(r.status.message, "no");
    cr_expect_str_eq(r.answer, "");
    cr_expect(r.in_order);
    grpcdemo_grpc_demo_push_data_async_unref(&stream);
    free(r.answer);
    call_fixture_close(&f);
}

/* ---- answers of another type, wrong arguments ---- */

static void deliver_any(evener_protobuf_c_callback callback, void *arg, const evener_status *status,
                        ProtobufCMessage *response)
{
    (void)callback;
    record *r = arg;
    r->in_order = r->in_order && (response != NULL) == (status == NULL || status->code == EVENER_STATUS_OK);
    protobuf_c_message_free_unpacked(response, NULL);
    if (status != NULL) {
        on_ended(arg, status);
    } else {
        count_one(r, &r->messages);
    }
}

static void nothing(void)
{
}

/* The echo method answers with the bytes of the request: an answer of the wrong type. */
Test(typed_async, an_answer_of_another_type_ends_the_stream_with_an_internal_error, .timeout = 60)
{
    static const char expected[] =
        "/evener.demo.Echo/Stream: the answer of 5 bytes is not a grpcdemo.CallGrpcGatewayResp";
    const evener_protobuf_c_method method = {ECHO_STREAM, &grpcdemo__folder__imported_message__descriptor,
                                             &grpcdemo__call_grpc_gateway_resp__descriptor, deliver_any};
    const evener_protobuf_c_stream_callbacks kinds[] = {
        {.size = sizeof kinds[0], .message = nothing, .ended = on_ended},
        {.size = sizeof kinds[0], .answered = nothing},
    };
    Grpcdemo__Folder__ImportedMessage request = GRPCDEMO__FOLDER__IMPORTED_MESSAGE__INIT;
    request.imported_message = (char *)"\xff\xff\xff";
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    for (size_t i = 0; i < 2; i++) {
        record r;
        evener_status status;
        evener_protobuf_c_async *stream;
        record_init(&r);
        cr_assert_eq(
            evener_protobuf_c_stream_start(f.channel, &method, false, NULL, NULL, &kinds[i], &r, &stream, &status),
            EVENER_STATUS_OK, "%s", status.message);
        cr_expect(evener_protobuf_c_async_send(stream, &request.base));
        cr_expect_eq(evener_protobuf_c_async_ask(stream), i == 0);
        wait_for(&r, &r.ended, 1);
        cr_expect_eq(r.status.code, EVENER_STATUS_INTERNAL);
        cr_expect_str_eq(r.status.message, expected);
        cr_expect_eq(r.messages, 0);
        evener_protobuf_c_async_unref(stream);
    }
    call_fixture_close(&f);
}

/* The echo method with no message ends with OK and without an answer. */
Test(typed_async, an_end_without_the_one_answer_is_an_internal_error, .timeout = 60)
{
    const evener_protobuf_c_method method = {ECHO_STREAM, &grpcdemo__folder__imported_message__descriptor,
                                             &grpcdemo__folder__imported_message__descriptor, deliver_any};
    const evener_protobuf_c_stream_callbacks callbacks = {.size = sizeof callbacks, .answered = nothing};
    call_fixture f;
    record r;
    evener_status status;
    evener_protobuf_c_async *stream;
    call_fixture_open(&f, 1, NULL);
    record_init(&r);
    cr_assert_eq(
        evener_protobuf_c_stream_start(f.channel, &method, false, NULL, NULL, &callbacks, &r, &stream, &status),
        EVENER_STATUS_OK);
    (void)evener_protobuf_c_async_send_done(stream);
    wait_for(&r, &r.ended, 1);
    cr_expect_eq(r.status.code, EVENER_STATUS_INTERNAL);
    cr_expect_str_eq(r.status.message, "/evener.demo.Echo/Stream: the server ended the call without an answer");
    evener_protobuf_c_async_unref(stream);
    evener_protobuf_c_async_unref(NULL);
    call_fixture_close(&f);
}

/* The echo method answers each message. */
Test(typed_async, a_second_answer_to_a_client_stream_is_an_internal_error, .timeout = 60)
{
    static const char *const seconds[] = {NULL, "\n\1b", "\xff"}; /* none, a message, malformed bytes */
    const evener_protobuf_c_method method = {ECHO_STREAM, &grpcdemo__folder__imported_message__descriptor,
                                             &grpcdemo__folder__imported_message__descriptor, deliver_any};
    const evener_protobuf_c_stream_callbacks callbacks = {
        .size = sizeof callbacks, .written = on_written, .answered = nothing};
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        record r;
        evener_status status;
        evener_protobuf_c_async *stream;
        record_init(&r);
        cr_assert_eq(
            evener_protobuf_c_stream_start(f.channel, &method, false, NULL, NULL, &callbacks, &r, &stream, &status),
            EVENER_STATUS_OK, "%s", status.message);
        evener_stream *plain = evener_protobuf_c_async_stream(stream);
        evener_bytes message = bytes_of("\n\1a");
        cr_assert(evener_stream_send(plain, &message));
        wait_for(&r, &r.written, 1);
        if (seconds[i] != NULL) {
            message = bytes_of(seconds[i]);
            cr_assert(evener_stream_send(plain, &message));
        }
        (void)evener_protobuf_c_async_send_done(stream); /* false: the second answer has ended it */
        wait_for(&r, &r.ended, 1);
        if (seconds[i] == NULL) {
            cr_expect_eq(r.status.code, EVENER_STATUS_OK, "%s", r.status.message);
        } else {
            cr_expect_eq(r.status.code, EVENER_STATUS_INTERNAL);
            cr_expect_str_eq(r.status.message, "/evener.demo.Echo/Stream: the server sent more than one answer");
        }
        cr_expect(r.in_order, "an answer only with OK");
        cr_expect_eq(r.messages, 0);
        evener_protobuf_c_async_unref(stream);
    }
    call_fixture_close(&f);
}

Test(typed_async, what_is_missing_is_refused_and_nothing_is_called, .timeout = 60)
{
    const evener_protobuf_c_method method = {ECHO_STREAM, &grpcdemo__folder__imported_message__descriptor,
                                             &grpcdemo__folder__imported_message__descriptor, deliver_any};
    evener_protobuf_c_method undelivered = method;
    undelivered.deliver = NULL;
    const evener_protobuf_c_stream_callbacks wrong[] = {
        {.size = sizeof wrong[0]},
        {.size = sizeof wrong[0], .message = nothing},
        {.size = sizeof wrong[0], .ended = on_ended},
        {.size = sizeof wrong[0], .ended = on_ended, .answered = nothing},
        {.message = nothing, .ended = on_ended},
    };
    const evener_protobuf_c_stream_callbacks right = {.size = sizeof right, .message = nothing, .ended = on_ended};
    const evener_call_options malformed = {.size = sizeof malformed, .metadata_count = 1}; /* and no metadata */
    call_fixture f;
    record r;
    evener_status status;
    evener_protobuf_c_async *stream = NULL;
    call_fixture_open(&f, 1, NULL);
    record_init(&r);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_expect_eq(
            evener_protobuf_c_stream_start(f.channel, &method, false, NULL, NULL, &wrong[i], &r, &stream, &status),
            EVENER_STATUS_INVALID_ARGUMENT, "%zu", i);
    }
    cr_expect_eq(
        evener_protobuf_c_stream_start(f.channel, &undelivered, false, NULL, NULL, &right, &r, &stream, &status),
        EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(
        evener_protobuf_c_stream_start(f.channel, &method, false, NULL, &malformed, &right, &r, &stream, &status),
        EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_null(stream);
    cr_expect_eq(evener_protobuf_c_stream_start(f.channel, &method, false, NULL, NULL, &right, &r, NULL, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(r.ended, 0);
    call_fixture_close(&f);
}
