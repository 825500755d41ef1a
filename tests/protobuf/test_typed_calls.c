/* Typed calls to real servers: generated functions and protobuf-c's stubs give what the bytes of the same calls
 * give. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include <grpcdemo/grpcdemo.evener.h>

#include "grpc/call_fixture.h"

#define MESSAGES 1000

/* ---- unary ---- */

/* Pack the answer and compare it with that of the same call with bytes. */
static void expect_same_bytes(evener_channel *channel, const char *path, const ProtobufCMessage *request,
                              const ProtobufCMessage *answer)
{
    evener_bytes packed_request;
    evener_bytes packed_answer;
    evener_bytes plain;
    evener_status status;
    cr_assert_not_null(answer);
    cr_assert_eq(evener_protobuf_c_pack(request, &packed_request, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_protobuf_c_pack(answer, &packed_answer, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_unary_call(channel, path, &packed_request, NULL, &plain, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    cr_expect_eq(plain.length, packed_answer.length);
    cr_expect_eq(memcmp(plain.data, packed_answer.data, plain.length), 0);
    evener_bytes_clear(&packed_request);
    evener_bytes_clear(&packed_answer);
    evener_bytes_clear(&plain);
}

typedef struct stub_answer {
    sem_t came;
    evener_bytes packed;
    bool is_null;
    evener_status status;
} stub_answer;

static void closure(const ProtobufCMessage *message, void *data)
{
    stub_answer *answer = data;
    answer->is_null = message == NULL;
    answer->status = *evener_protobuf_c_status();
    if (message != NULL) {
        evener_protobuf_c_pack(message, &answer->packed, NULL);
    }
    sem_post(&answer->came);
}

static stub_answer wait_for(stub_answer *answer)
{
    sem_wait(&answer->came);
    sem_destroy(&answer->came);
    return *answer;
}

static void expect_stub(stub_answer *answer, const ProtobufCMessage *expected)
{
    evener_bytes packed;
    cr_assert_eq(evener_protobuf_c_pack(expected, &packed, NULL), EVENER_STATUS_OK);
    wait_for(answer);
    cr_assert_not(answer->is_null, "%s", answer->status.message);
    cr_expect_eq(answer->status.code, EVENER_STATUS_OK);
    cr_expect_eq(answer->packed.length, packed.length);
    cr_expect_eq(memcmp(answer->packed.data, packed.data, packed.length), 0);
    evener_bytes_clear(&answer->packed);
    evener_bytes_clear(&packed);
}

#define STUB_ANSWER(name)                                                                                              \
    stub_answer name = {.is_null = false};                                                                             \
    sem_init(&name.came, 0, 0)

Test(typed_calls, all_unary_methods_give_the_same_by_functions_by_stubs_and_by_bytes)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_status status;
    ProtobufCService *demo = evener_protobuf_c_service(f.channel, &grpcdemo__grpc_demo__descriptor);
    ProtobufCService *gateway = evener_protobuf_c_service(f.channel, &grpcdemo__grpc_gateway_demo__descriptor);
    cr_assert(demo != NULL && gateway != NULL);

    Grpcdemo__UnaryCallResp *unary;
    Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
    cr_assert_eq(grpcdemo_grpc_demo_unary_call(f.channel, NULL, NULL, &unary, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    cr_expect_str_eq(unary->username, "demo");
    expect_same_bytes(f.channel, "/grpcdemo.GrpcDemo/UnaryCall", NULL, &unary->base);
    STUB_ANSWER(of_unary);
    grpcdemo__grpc_demo__unary_call(demo, &empty, (Grpcdemo__UnaryCallResp_Closure)closure, &of_unary);
    expect_stub(&of_unary, &unary->base);
    grpcdemo__unary_call_resp__free_unpacked(unary, NULL);

    Grpcdemo__Folder__ImportedMessage import = GRPCDEMO__FOLDER__IMPORTED_MESSAGE__INIT;
    import.imported_message = (char *)"who";
    Grpcdemo__CustomMessage *custom;
    cr_assert_eq(grpcdemo_grpc_demo_demo_import(f.channel, &import, NULL, &custom, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)demo_server_port(f.servers[0]));
    cr_expect_str_eq(custom->custom_message, port);
    expect_same_bytes(f.channel, "/grpcdemo.GrpcDemo/DemoImport", &import.base, &custom->base);
    STUB_ANSWER(of_import);
    grpcdemo__grpc_demo__demo_import(demo, &import, (Grpcdemo__CustomMessage_Closure)closure, &of_import);
    expect_stub(&of_import, &custom->base);
    grpcdemo__custom_message__free_unpacked(custom, NULL);

    Grpcdemo__CallGrpcGatewayReq__ConfigEntry entry = GRPCDEMO__CALL_GRPC_GATEWAY_REQ__CONFIG_ENTRY__INIT;
    entry.key = (char *)"name";
    entry.value = (char *)"wangwu";
    Grpcdemo__CallGrpcGatewayReq__ConfigEntry *entries[] = {&entry};
    Grpcdemo__CallGrpcGatewayReq config = GRPCDEMO__CALL_GRPC_GATEWAY_REQ__INIT;
    config.n_config = 1;
    config.config = entries;
    Grpcdemo__CallGrpcGatewayResp *echoed;
    cr_assert_eq(grpcdemo_grpc_demo_call_grpc_gateway(f.channel, &config, NULL, &echoed, &status), EVENER_STATUS_OK,
                 "%s", status.message);
    cr_assert_eq(echoed->n_config, 1);
    cr_expect_str_eq(echoed->config[0]->value, "wangwu");
    expect_same_bytes(f.channel, "/grpcdemo.GrpcDemo/CallGrpcGateway", &config.base, &echoed->base);
    STUB_ANSWER(of_config);
    grpcdemo__grpc_demo__call_grpc_gateway(demo, &config, (Grpcdemo__CallGrpcGatewayResp_Closure)closure, &of_config);
    expect_stub(&of_config, &echoed->base);
    grpcdemo__call_grpc_gateway_resp__free_unpacked(echoed, NULL);

    Google__Protobuf__Any data = GOOGLE__PROTOBUF__ANY__INIT;
    data.type_url = (char *)"type.googleapis.com/grpcdemo.CustomMessage";
    data.value = (ProtobufCBinaryData){2, (uint8_t *)"\x0a"}; /* an empty custom_message */
    Grpcdemo__CallGrpcGatewayDemoReq user = GRPCDEMO__CALL_GRPC_GATEWAY_DEMO_REQ__INIT;
    user.username = (char *)"user";
    user.data = &data;
    Grpcdemo__CallGrpcGatewayDemoResp *same;
    cr_assert_eq(grpcdemo_grpc_gateway_demo_call_grpc_gateway_demo(f.channel, &user, NULL, &same, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    cr_expect_str_eq(same->username, "user");
    cr_expect_str_eq(same->data->type_url, data.type_url);
    expect_same_bytes(f.channel, "/grpcdemo.GrpcGatewayDemo/CallGrpcGatewayDemo", &user.base, &same->base);
    STUB_ANSWER(of_user);
    grpcdemo__grpc_gateway_demo__call_grpc_gateway_demo(gateway, &user,
                                                        (Grpcdemo__CallGrpcGatewayDemoResp_Closure)closure, &of_user);
    expect_stub(&of_user, &same->base);
    grpcdemo__call_grpc_gateway_demo_resp__free_unpacked(same, NULL);

    protobuf_c_service_destroy(demo);
    protobuf_c_service_destroy(gateway);
    call_fixture_close(&f);
}

Test(typed_calls, a_failure_leaves_the_answer_untouched_and_reports_the_servers_status)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    demo_server_set_failure(f.servers[0], GRPC_STATUS_NOT_FOUND, "no such order");
    Grpcdemo__UnaryCallResp *response = (Grpcdemo__UnaryCallResp *)&f;
    evener_status status;
    cr_expect_eq(grpcdemo_grpc_demo_unary_call(f.channel, NULL, NULL, &response, &status), EVENER_STATUS_NOT_FOUND);
    cr_expect_eq((void *)response, (void *)&f);
    cr_expect_str_eq(status.message, "no such order");

    ProtobufCService *demo = evener_protobuf_c_service(f.channel, &grpcdemo__grpc_demo__descriptor);
    Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
    STUB_ANSWER(answer);
    grpcdemo__grpc_demo__unary_call(demo, &empty, (Grpcdemo__UnaryCallResp_Closure)closure, &answer);
    wait_for(&answer);
    cr_expect(answer.is_null);
    cr_expect_eq(answer.status.code, EVENER_STATUS_NOT_FOUND);
    cr_expect_str_eq(answer.status.message, "no such order");
    cr_expect_null(evener_protobuf_c_status());
    protobuf_c_service_destroy(demo);
    call_fixture_close(&f);
}

/* The echo method answers with the bytes of the request: an answer of the wrong type. */
Test(typed_calls, an_answer_of_another_type_is_an_internal_error)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    const evener_protobuf_c_method method = {
        .path = ECHO_UNARY,
        .request = &grpcdemo__folder__imported_message__descriptor,
        .response = &grpcdemo__call_grpc_gateway_resp__descriptor,
    };
    const evener_protobuf_c_method stream_method = {ECHO_STREAM, method.request, method.response, NULL};
    Grpcdemo__Folder__ImportedMessage request = GRPCDEMO__FOLDER__IMPORTED_MESSAGE__INIT;
    request.imported_message = (char *)"\xff\xff\xff";
    ProtobufCMessage *response = NULL;
    evener_status status;
    cr_expect_eq(evener_protobuf_c_call(f.channel, &method, &request.base, NULL, &response, &status),
                 EVENER_STATUS_INTERNAL);
    cr_expect_null(response);
    cr_expect_str_eq(status.message,
                     "/evener.demo.Echo/Unary: the answer of 5 bytes is not a grpcdemo.CallGrpcGatewayResp");

    evener_protobuf_c_stream stream;
    cr_assert_eq(evener_protobuf_c_stream_open(f.channel, &stream_method, false, NULL, NULL, &stream, &status),
                 EVENER_STATUS_OK);
    cr_expect(evener_protobuf_c_stream_write(&stream, &request.base));
    cr_expect_null(evener_protobuf_c_stream_read(&stream));
    cr_expect_eq(evener_protobuf_c_stream_finish(&stream, &status), EVENER_STATUS_INTERNAL);
    cr_expect_str_eq(status.message, "/evener.demo.Echo/Stream: an answer is not a grpcdemo.CallGrpcGatewayResp");
    cr_expect_eq(evener_protobuf_c_stream_finish(&stream, &status), EVENER_STATUS_FAILED_PRECONDITION);
    call_fixture_close(&f);
}

/* ---- asynchronous ---- */

typedef struct count {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned ended, ok, inconsistent;
} count;

static void counted(void *arg, const evener_status *status, Grpcdemo__CustomMessage *response)
{
    count *self = arg;
    pthread_mutex_lock(&self->mutex);
    self->ended++;
    self->ok += status->code == EVENER_STATUS_OK;
    self->inconsistent += (status->code == EVENER_STATUS_OK) != (response != NULL);
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->mutex);
    grpcdemo__custom_message__free_unpacked(response, NULL);
}

static void wait_for_count(count *self, unsigned wanted)
{
    pthread_mutex_lock(&self->mutex);
    while (self->ended < wanted) {
        pthread_cond_wait(&self->changed, &self->mutex);
    }
    pthread_mutex_unlock(&self->mutex);
}

Test(typed_calls, asynchronous_calls_each_call_their_callback_once)
{
    call_fixture f;
    call_fixture_open(&f, 2, NULL);
    count counts = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    evener_status status;
    for (unsigned i = 0; i < 200; i++) {
        cr_assert_eq(grpcdemo_grpc_demo_demo_import_start(f.channel, NULL, NULL, counted, &counts, NULL, &status),
                     EVENER_STATUS_OK, "%s", status.message);
    }
    wait_for_count(&counts, 200);
    cr_expect_eq(counts.ok, 200);

    evener_call *call;
    demo_server_set_delay_ms(f.servers[0], DEMO_SERVER_NEVER_MS);
    demo_server_set_delay_ms(f.servers[1], DEMO_SERVER_NEVER_MS);
    cr_assert_eq(grpcdemo_grpc_demo_demo_import_start(f.channel, NULL, NULL, counted, &counts, &call, &status),
                 EVENER_STATUS_OK);
    evener_call_cancel(call);
    evener_call_unref(call);
    wait_for_count(&counts, 201);
    cr_expect_eq(counts.ok, 200);
    cr_expect_eq(counts.inconsistent, 0, "an answer comes with OK, and only then");
    cr_expect_eq(grpcdemo_grpc_demo_demo_import_start(f.channel, NULL, NULL, NULL, NULL, NULL, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    call_fixture_close(&f);
}

/* ---- stubs ---- */

Test(typed_calls, a_stub_whose_call_cannot_start_calls_its_closure_before_it_returns)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    ProtobufCService *demo = evener_protobuf_c_service(f.channel, &grpcdemo__grpc_demo__descriptor);
    evener_status status;
    const evener_call_options options = {.size = sizeof options, .metadata_count = 1}; /* and no metadata */
    cr_assert_eq(evener_protobuf_c_service_set_options(demo, &options, &status), EVENER_STATUS_OK);
    Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
    STUB_ANSWER(answer);
    grpcdemo__grpc_demo__unary_call(demo, &empty, (Grpcdemo__UnaryCallResp_Closure)closure, &answer);
    cr_expect_eq(sem_trywait(&answer.came), 0);
    cr_expect_null(evener_protobuf_c_status(), "of a closure that is over");
    cr_expect(answer.is_null);
    cr_expect_eq(answer.status.code, EVENER_STATUS_INVALID_ARGUMENT);
    protobuf_c_service_destroy(demo);
    call_fixture_close(&f);
}

Test(typed_calls, a_service_has_options_and_may_be_destroyed_with_calls_under_way)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    demo_server_set_delay_ms(f.servers[0], DEMO_SERVER_NEVER_MS);
    ProtobufCService *demo = evener_protobuf_c_service(f.channel, &grpcdemo__grpc_demo__descriptor);
    evener_status status;
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 50};
    cr_assert_eq(evener_protobuf_c_service_set_options(demo, &options, &status), EVENER_STATUS_OK);
    Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
    STUB_ANSWER(answer);
    grpcdemo__grpc_demo__unary_call(demo, &empty, (Grpcdemo__UnaryCallResp_Closure)closure, &answer);
    protobuf_c_service_destroy(demo);
    wait_for(&answer);
    cr_expect(answer.is_null);
    cr_expect_eq(answer.status.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    call_fixture_close(&f);
}

Test(typed_calls, a_service_refuses_what_it_cannot_do)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    cr_expect_null(evener_protobuf_c_service(NULL, &grpcdemo__grpc_demo__descriptor));
    cr_expect_null(evener_protobuf_c_service(f.channel, NULL));
    ProtobufCService *demo = evener_protobuf_c_service(f.channel, &grpcdemo__grpc_demo__descriptor);
    evener_call_details details = {.size = sizeof details};
    const evener_call_options options = {.size = sizeof options, .details = &details};
    evener_status status;
    cr_expect_eq(evener_protobuf_c_service_set_options(demo, &options, &status), EVENER_STATUS_INVALID_ARGUMENT);
    ProtobufCService other = {0};
    cr_expect_eq(evener_protobuf_c_service_set_options(&other, NULL, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(evener_protobuf_c_service_set_options(demo, NULL, &status), EVENER_STATUS_OK);
    protobuf_c_service_destroy(demo);
    call_fixture_close(&f);
}

Test(typed_calls, a_stub_sends_one_message_and_expects_one_answer_also_for_streams)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    ProtobufCService *demo = evener_protobuf_c_service(f.channel, &grpcdemo__grpc_demo__descriptor);
    Grpcdemo__PushDataReq part = GRPCDEMO__PUSH_DATA_REQ__INIT;
    part.foo = (char *)"one";
    Grpcdemo__PushDataResp pushed = GRPCDEMO__PUSH_DATA_RESP__INIT;
    pushed.foo = (char *)"one";
    STUB_ANSWER(of_push);
    grpcdemo__grpc_demo__push_data(demo, &part, (Grpcdemo__PushDataResp_Closure)closure, &of_push);
    expect_stub(&of_push, &pushed.base);

    Grpcdemo__ExchangeReq request = GRPCDEMO__EXCHANGE_REQ__INIT;
    request.first_name = (char *)"Ada";
    Grpcdemo__ExchangeResp exchanged = GRPCDEMO__EXCHANGE_RESP__INIT;
    exchanged.last_name = (char *)"Ada's family";
    STUB_ANSWER(of_exchange);
    grpcdemo__grpc_demo__exchange(demo, &request, (Grpcdemo__ExchangeResp_Closure)closure, &of_exchange);
    expect_stub(&of_exchange, &exchanged.base);

    /* Three answers are too many for a stub. The C core does not end such a call before its deadline. */
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 200};
    cr_assert_eq(evener_protobuf_c_service_set_options(demo, &options, NULL), EVENER_STATUS_OK);
    Grpcdemo__FetchDataReq wanted = GRPCDEMO__FETCH_DATA_REQ__INIT;
    STUB_ANSWER(of_fetch);
    grpcdemo__grpc_demo__fetch_data(demo, &wanted, (Grpcdemo__FetchDataResp_Closure)closure, &of_fetch);
    wait_for(&of_fetch);
    cr_expect(of_fetch.is_null);
    cr_expect_neq(of_fetch.status.code, EVENER_STATUS_OK);
    protobuf_c_service_destroy(demo);
    call_fixture_close(&f);
}

/* ---- streams ---- */

Test(typed_calls, a_client_stream_of_a_thousand_messages)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    grpcdemo_grpc_demo_push_data_stream stream;
    evener_status status;
    cr_assert_eq(grpcdemo_grpc_demo_push_data_open(f.channel, NULL, &stream, &status), EVENER_STATUS_OK);
    for (unsigned i = 0; i < MESSAGES; i++) {
        char text[16];
        snprintf(text, sizeof text, "%u,", i);
        Grpcdemo__PushDataReq part = GRPCDEMO__PUSH_DATA_REQ__INIT;
        part.foo = text;
        cr_assert(grpcdemo_grpc_demo_push_data_write(&stream, &part));
    }
    Grpcdemo__PushDataResp *response;
    cr_assert_eq(grpcdemo_grpc_demo_push_data_finish(&stream, &response, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    const char *at = response->foo;
    for (unsigned i = 0; i < MESSAGES; i++) {
        char *end;
        cr_assert_eq(strtoul(at, &end, 10), i);
        cr_assert_eq(*end, ',');
        at = end + 1;
    }
    cr_expect_eq(*at, '\0');
    grpcdemo__push_data_resp__free_unpacked(response, NULL);
    call_fixture_close(&f);
}

Test(typed_calls, a_server_stream_is_read_to_its_end)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    Grpcdemo__FetchDataReq request = GRPCDEMO__FETCH_DATA_REQ__INIT;
    request.msg = (char *)"books";
    grpcdemo_grpc_demo_fetch_data_stream stream;
    evener_status status;
    cr_assert_eq(grpcdemo_grpc_demo_fetch_data_open(f.channel, &request, NULL, &stream, &status), EVENER_STATUS_OK);
    /* The same call with bytes gives the same messages. */
    evener_bytes packed;
    evener_stream *plain;
    cr_assert_eq(evener_protobuf_c_pack(&request.base, &packed, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_stream_open(f.channel, "/grpcdemo.GrpcDemo/FetchData", &packed, NULL, &plain, &status),
                 EVENER_STATUS_OK);
    evener_bytes_clear(&packed);
    unsigned books = 0;
    for (Grpcdemo__FetchDataResp *book; (book = grpcdemo_grpc_demo_fetch_data_read(&stream)) != NULL; books++) {
        evener_bytes of_typed;
        evener_bytes of_bytes;
        cr_assert_eq(evener_protobuf_c_pack(&book->base, &of_typed, NULL), EVENER_STATUS_OK);
        cr_assert(evener_stream_read(plain, &of_bytes));
        cr_expect_eq(of_typed.length, of_bytes.length);
        cr_expect_eq(memcmp(of_typed.data, of_bytes.data, of_typed.length), 0);
        evener_bytes_clear(&of_typed);
        evener_bytes_clear(&of_bytes);
        grpcdemo__fetch_data_resp__free_unpacked(book, NULL);
    }
    cr_expect_eq(books, 3);
    cr_expect_not(evener_stream_read(plain, &packed));
    cr_expect_eq(evener_stream_finish(plain, &status), EVENER_STATUS_OK);
    evener_stream_unref(plain);
    cr_expect_eq(grpcdemo_grpc_demo_fetch_data_finish(&stream, &status), EVENER_STATUS_OK, "%s", status.message);
    call_fixture_close(&f);
}

static void *write_all(void *arg)
{
    grpcdemo_grpc_demo_exchange_stream *stream = arg;
    for (int i = 0; i < MESSAGES; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        Grpcdemo__ExchangeReq request = GRPCDEMO__EXCHANGE_REQ__INIT;
        request.first_name = name;
        if (!grpcdemo_grpc_demo_exchange_write(stream, &request)) {
            return NULL;
        }
    }
    return grpcdemo_grpc_demo_exchange_writes_done(stream) ? stream : NULL;
}

Test(typed_calls, a_stream_both_ways_of_a_thousand_messages_each)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    grpcdemo_grpc_demo_exchange_stream stream;
    evener_status status;
    cr_assert_eq(grpcdemo_grpc_demo_exchange_open(f.channel, NULL, &stream, &status), EVENER_STATUS_OK);
    pthread_t writer;
    cr_assert_eq(pthread_create(&writer, NULL, write_all, &stream), 0);
    int answers = 0;
    for (Grpcdemo__ExchangeResp *answer; (answer = grpcdemo_grpc_demo_exchange_read(&stream)) != NULL; answers++) {
        char expected[32];
        snprintf(expected, sizeof expected, "%d's family", answers);
        cr_expect_str_eq(answer->last_name, expected);
        grpcdemo__exchange_resp__free_unpacked(answer, NULL);
    }
    void *written;
    pthread_join(writer, &written);
    cr_expect_not_null(written);
    cr_expect_eq(answers, MESSAGES);
    cr_expect_eq(grpcdemo_grpc_demo_exchange_finish(&stream, &status), EVENER_STATUS_OK, "%s", status.message);
    call_fixture_close(&f);
}

Test(typed_calls, a_cancelled_stream_ends_reads_and_writes_and_is_still_finished)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    demo_server_set_delay_ms(f.servers[0], DEMO_SERVER_NEVER_MS);
    grpcdemo_grpc_demo_exchange_stream stream;
    evener_status status;
    cr_assert_eq(grpcdemo_grpc_demo_exchange_open(f.channel, NULL, &stream, &status), EVENER_STATUS_OK);
    grpcdemo_grpc_demo_exchange_cancel(&stream);
    cr_expect_null(grpcdemo_grpc_demo_exchange_read(&stream));
    cr_expect_eq(grpcdemo_grpc_demo_exchange_finish(&stream, &status), EVENER_STATUS_CANCELLED);
    cr_expect_null(stream.base.stream);
    call_fixture_close(&f);
}

/* A client stream that fails has no answer, but the server's status. */
Test(typed_calls, a_client_stream_that_the_server_fails)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    demo_server_set_failure(f.servers[0], GRPC_STATUS_PERMISSION_DENIED, "no");
    grpcdemo_grpc_demo_push_data_stream stream;
    evener_status status;
    cr_assert_eq(grpcdemo_grpc_demo_push_data_open(f.channel, NULL, &stream, &status), EVENER_STATUS_OK);
    cr_expect_eq(grpcdemo_grpc_demo_push_data_finish(&stream, NULL, &status), EVENER_STATUS_PERMISSION_DENIED);
    cr_expect_str_eq(status.message, "no");
    call_fixture_close(&f);
}

/* The echo method answers each message. */
Test(typed_calls, a_second_answer_to_a_client_stream_is_an_internal_error)
{
    static const char *const seconds[] = {NULL, "\n\1b", "\xff"}; /* none, a message, malformed bytes */
    const evener_protobuf_c_method method = {ECHO_STREAM, &grpcdemo__folder__imported_message__descriptor,
                                             &grpcdemo__folder__imported_message__descriptor, NULL};
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    for (size_t i = 0; i < 2 * (sizeof seconds / sizeof seconds[0]); i++) {
        const char *second = seconds[i / 2];
        const bool is_wanted = i % 2 == 0;
        evener_protobuf_c_stream stream;
        ProtobufCMessage *response = NULL;
        evener_status status;
        cr_assert_eq(evener_protobuf_c_stream_open(f.channel, &method, false, NULL, NULL, &stream, &status),
                     EVENER_STATUS_OK, "%s", status.message);
        evener_bytes message = bytes_of("\n\1a");
        cr_assert(evener_stream_write(stream.stream, &message));
        if (second != NULL) {
            message = bytes_of(second);
            cr_assert(evener_stream_write(stream.stream, &message));
        }
        const evener_status_code code =
            evener_protobuf_c_stream_finish_one(&stream, is_wanted ? &response : NULL, &status);
        cr_expect_eq(status.code, code);
        if (second == NULL) {
            cr_expect_eq(code, EVENER_STATUS_OK, "%s", status.message);
        } else {
            cr_expect_eq(code, EVENER_STATUS_INTERNAL);
            cr_expect_str_eq(status.message, "/evener.demo.Echo/Stream: the server sent more than one answer");
        }
        cr_expect_eq(response != NULL, second == NULL && is_wanted);
        cr_expect_null(stream.stream);
        protobuf_c_message_free_unpacked(response, NULL);
    }
    call_fixture_close(&f);
}
