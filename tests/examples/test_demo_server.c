/* The demo server, called by a client on the C core without evener. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include <grpcdemo/grpcdemo.pb-c.h>

#include "demo_server/server.h"
#include "tests/support/raw_client.h"

static demo_server *server;
static char target[64];

static void start_server(void)
{
    char error[DEMO_SERVER_ERROR_BYTES];
    demo_server_options options = {.port = 0};
    server = demo_server_start(&options, error);
    cr_assert_not_null(server, "%s", error);
    cr_assert_neq(demo_server_port(server), 0);
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u", (unsigned)demo_server_port(server));
}

static void stop_server(void)
{
    demo_server_stop(server, 0);
}

TestSuite(demo_server, .init = start_server, .fini = stop_server);

static raw_message pack(const void *message)
{
    raw_message packed = {.bytes = protobuf_c_message_get_packed_size(message)};
    cr_assert_leq(packed.bytes, sizeof packed.data);
    protobuf_c_message_pack(message, packed.data);
    return packed;
}

static raw_result call(const char *method, const raw_message *requests, size_t request_count)
{
    raw_result result;
    raw_call_run(&(raw_call){.target = target, .method = method, .requests = requests, .request_count = request_count},
                 &result);
    return result;
}

static raw_result call_import(void)
{
    Grpcdemo__Folder__ImportedMessage request = GRPCDEMO__FOLDER__IMPORTED_MESSAGE__INIT;
    request.imported_message = "who?";
    raw_message packed = pack(&request);
    return call("/grpcdemo.GrpcDemo/DemoImport", &packed, 1);
}

Test(demo_server, unary_call_answers_a_username)
{
    raw_message empty = {0};
    raw_result result = call("/grpcdemo.GrpcDemo/UnaryCall", &empty, 1);
    cr_assert_eq(result.code, GRPC_STATUS_OK, "%s", result.message);
    cr_assert_eq(result.response_count, 1);
    Grpcdemo__UnaryCallResp *response =
        grpcdemo__unary_call_resp__unpack(NULL, result.responses[0].bytes, result.responses[0].data);
    cr_assert_str_eq(response->username, "demo");
    grpcdemo__unary_call_resp__free_unpacked(response, NULL);
}

Test(demo_server, import_answers_the_port)
{
    raw_result result = call_import();
    cr_assert_eq(result.code, GRPC_STATUS_OK, "%s", result.message);
    Grpcdemo__CustomMessage *response =
        grpcdemo__custom_message__unpack(NULL, result.responses[0].bytes, result.responses[0].data);
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)demo_server_port(server));
    cr_assert_str_eq(response->custom_message, port);
    grpcdemo__custom_message__free_unpacked(response, NULL);
    cr_assert_eq(demo_server_calls(server), 1);
}

Test(demo_server, client_stream_is_answered_with_all_that_was_pushed)
{
    raw_message requests[3];
    for (int i = 0; i < 3; i++) {
        char text[2] = {(char)('a' + i), '\0'};
        Grpcdemo__PushDataReq request = GRPCDEMO__PUSH_DATA_REQ__INIT;
        request.foo = text;
        requests[i] = pack(&request);
    }
    raw_result result = call("/grpcdemo.GrpcDemo/PushData", requests, 3);
    cr_assert_eq(result.code, GRPC_STATUS_OK, "%s", result.message);
    cr_assert_eq(result.response_count, 1);
    Grpcdemo__PushDataResp *response =
        grpcdemo__push_data_resp__unpack(NULL, result.responses[0].bytes, result.responses[0].data);
    cr_assert_str_eq(response->foo, "abc");
    grpcdemo__push_data_resp__free_unpacked(response, NULL);
}

Test(demo_server, server_stream_answers_books)
{
    Grpcdemo__FetchDataReq request = GRPCDEMO__FETCH_DATA_REQ__INIT;
    request.notice_way_case = GRPCDEMO__FETCH_DATA_REQ__NOTICE_WAY_EMAIL;
    request.email = "reader@example.org";
    raw_message packed = pack(&request);
    raw_result result = call("/grpcdemo.GrpcDemo/FetchData", &packed, 1);
    cr_assert_eq(result.code, GRPC_STATUS_OK, "%s", result.message);
    cr_assert_eq(result.response_count, 3);
}

Test(demo_server, exchange_answers_each_message_and_knows_an_absent_age)
{
    raw_message requests[2];
    Grpcdemo__ExchangeReq request = GRPCDEMO__EXCHANGE_REQ__INIT;
    request.first_name = "Ada";
    requests[0] = pack(&request);
    request.optional_age_case = GRPCDEMO__EXCHANGE_REQ__OPTIONAL_AGE_AGE;
    request.age = 0; /* present, although 0 is the default */
    requests[1] = pack(&request);
    raw_result result = call("/grpcdemo.GrpcDemo/Exchange", requests, 2);
    cr_assert_eq(result.code, GRPC_STATUS_OK, "%s", result.message);
    cr_assert_eq(result.response_count, 2);
    const Grpcdemo__Gender genders[] = {GRPCDEMO__GENDER__Unknown, GRPCDEMO__GENDER__Female};
    for (int i = 0; i < 2; i++) {
        Grpcdemo__ExchangeResp *response =
            grpcdemo__exchange_resp__unpack(NULL, result.responses[i].bytes, result.responses[i].data);
        cr_assert_str_eq(response->last_name, "Ada's family");
        cr_assert_eq(response->gender, genders[i]);
        grpcdemo__exchange_resp__free_unpacked(response, NULL);
    }
}

static raw_result call_gateway(char *name)
{
    Grpcdemo__CallGrpcGatewayReq__ConfigEntry entry = GRPCDEMO__CALL_GRPC_GATEWAY_REQ__CONFIG_ENTRY__INIT;
    entry.key = "name";
    entry.value = name;
    Grpcdemo__CallGrpcGatewayReq__ConfigEntry *entries[] = {&entry};
    Grpcdemo__CallGrpcGatewayReq request = GRPCDEMO__CALL_GRPC_GATEWAY_REQ__INIT;
    request.n_config = 1;
    request.config = entries;
    raw_message packed = pack(&request);
    return call("/grpcdemo.GrpcDemo/CallGrpcGateway", &packed, 1);
}

Test(demo_server, gateway_answers_the_same_map_and_fails_for_two_names)
{
    raw_result result = call_gateway("wangwu");
    cr_assert_eq(result.code, GRPC_STATUS_OK, "%s", result.message);
    Grpcdemo__CallGrpcGatewayResp *response =
        grpcdemo__call_grpc_gateway_resp__unpack(NULL, result.responses[0].bytes, result.responses[0].data);
    cr_assert_eq(response->n_config, 1);
    cr_assert_str_eq(response->config[0]->key, "name");
    cr_assert_str_eq(response->config[0]->value, "wangwu");
    grpcdemo__call_grpc_gateway_resp__free_unpacked(response, NULL);

    result = call_gateway("zhangsan");
    cr_assert_eq(result.code, GRPC_STATUS_NOT_FOUND);
    cr_assert_str_eq(result.message, "not found");
    result = call_gateway("lisi");
    cr_assert_eq(result.code, GRPC_STATUS_UNKNOWN);
    cr_assert_str_eq(result.message, "this is custom error");
}

Test(demo_server, second_service_answers_user_and_data)
{
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
    any.type_url = "type.googleapis.com/grpcdemo.CustomMessage";
    any.value = (ProtobufCBinaryData){.len = 2, .data = (uint8_t *)"\x0a"};
    Grpcdemo__CallGrpcGatewayDemoReq request = GRPCDEMO__CALL_GRPC_GATEWAY_DEMO_REQ__INIT;
    request.username = "user";
    request.password = "secret";
    request.data = &any;
    raw_message packed = pack(&request);
    raw_result result = call("/grpcdemo.GrpcGatewayDemo/CallGrpcGatewayDemo", &packed, 1);
    cr_assert_eq(result.code, GRPC_STATUS_OK, "%s", result.message);
    Grpcdemo__CallGrpcGatewayDemoResp *response =
        grpcdemo__call_grpc_gateway_demo_resp__unpack(NULL, result.responses[0].bytes, result.responses[0].data);
    cr_assert_str_eq(response->username, "user");
    cr_assert_str_eq(response->data->type_url, any.type_url);
    cr_assert_eq(response->data->value.len, 2);
    grpcdemo__call_grpc_gateway_demo_resp__free_unpacked(response, NULL);
}

Test(demo_server, unknown_method_is_unimplemented_and_nonsense_is_an_invalid_argument)
{
    raw_message nonsense = {.bytes = 3, .data = {0x0a, 0x7f, 0x00}};
    cr_assert_eq(call("/grpcdemo.GrpcDemo/None", &nonsense, 1).code, GRPC_STATUS_UNIMPLEMENTED);
    cr_assert_eq(call("/grpcdemo.GrpcDemo/DemoImport", &nonsense, 1).code, GRPC_STATUS_INVALID_ARGUMENT);
}

Test(demo_server, echo_gives_messages_headers_and_authority_back)
{
    raw_message requests[] = {{.bytes = 3, .data = "one"}, {.bytes = 3, .data = "two"}};
    raw_result result;
    raw_call_run(&(raw_call){.target = target,
                             .authority = "orders.prod",
                             .method = "/evener.demo.Echo/Stream",
                             .requests = requests,
                             .request_count = 2,
                             .header = "echo-id",
                             .header_value = "7"},
                 &result);
    cr_assert_eq(result.code, GRPC_STATUS_OK, "%s", result.message);
    cr_assert_eq(result.response_count, 2);
    cr_assert_arr_eq(result.responses[1].data, "two", 3);
    cr_assert_str_eq(result.host_seen, "orders.prod");
    cr_assert_eq(result.trailer_count, 1);
}

Test(demo_server, fails_calls_while_a_failure_is_set)
{
    demo_server_set_failure(server, GRPC_STATUS_RESOURCE_EXHAUSTED, "overloaded");
    raw_result result = call_import();
    cr_assert_eq(result.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
    cr_assert_str_eq(result.message, "overloaded");
    demo_server_set_failure(server, GRPC_STATUS_OK, NULL);
    cr_assert_eq(call_import().code, GRPC_STATUS_OK);
}

Test(demo_server, a_delayed_call_is_answered_and_one_that_never_is_runs_into_its_deadline)
{
    demo_server_set_delay_ms(server, 20);
    cr_assert_eq(call_import().code, GRPC_STATUS_OK);
    demo_server_set_delay_ms(server, DEMO_SERVER_NEVER_MS);
    raw_result result;
    raw_call_run(&(raw_call){.target = target,
                             .method = "/grpcdemo.GrpcDemo/UnaryCall",
                             .requests = &(raw_message){0},
                             .request_count = 1,
                             .timeout_ms = 50},
                 &result);
    cr_assert_eq(result.code, GRPC_STATUS_DEADLINE_EXCEEDED);
}

/* A17 (client-side health checking) */
Test(demo_server, health_check_returns_the_status_that_was_set)
{
    raw_message all = {0};
    raw_message orders = {.bytes = 8, .data = "\x0a\x06orders"};
    raw_result result = call("/grpc.health.v1.Health/Check", &all, 1);
    cr_assert_eq(result.code, GRPC_STATUS_OK);
    cr_assert_arr_eq(result.responses[0].data, "\x08\x01", 2);
    cr_assert_eq(call("/grpc.health.v1.Health/Check", &orders, 1).code, GRPC_STATUS_NOT_FOUND);
    demo_server_set_health(server, "orders", DEMO_SERVER_NOT_SERVING);
    result = call("/grpc.health.v1.Health/Check", &orders, 1);
    cr_assert_eq(result.code, GRPC_STATUS_OK);
    cr_assert_arr_eq(result.responses[0].data, "\x08\x02", 2);
}

Test(demo_server, health_watch_reports_the_state_at_once_and_stays_open)
{
    raw_message all = {0};
    raw_result result;
    raw_call_run(&(raw_call){.target = target,
                             .method = "/grpc.health.v1.Health/Watch",
                             .requests = &all,
                             .request_count = 1,
                             .timeout_ms = 1000},
                 &result);
    cr_assert_eq(result.code, GRPC_STATUS_DEADLINE_EXCEEDED);
    cr_assert_eq(result.response_count, 1);
    cr_assert_arr_eq(result.responses[0].data, "\x08\x01", 2);
    cr_assert_eq(demo_server_calls(server), 0);
}

Test(demo_server, a_port_that_is_taken_is_an_error_that_names_it)
{
    char error[DEMO_SERVER_ERROR_BYTES];
    demo_server_options options = {.port = demo_server_port(server)};
    cr_assert_null(demo_server_start(&options, error));
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)demo_server_port(server));
    cr_assert_not_null(strstr(error, port), "%s", error);
}
