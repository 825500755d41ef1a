/* The methods and their answers. */
#include "demo_server/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpcdemo/grpcdemo.pb-c.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void finish_malformed(demo_call *call)
{
    demo_call_finish(call, GRPC_STATUS_INVALID_ARGUMENT, "the request is not the message of this method");
}

static void reply_message(demo_call *call, const ProtobufCMessage *message)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(bytes > 0 ? bytes : 1);
    if (packed == NULL) {
        demo_call_finish(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    protobuf_c_message_pack(message, packed);
    demo_call_reply(call, packed, bytes);
    free(packed);
}

static void answer(demo_call *call, const ProtobufCMessage *message)
{
    reply_message(call, message);
    demo_call_finish(call, GRPC_STATUS_OK, NULL);
}

static void unary_call(demo_call *call, const uint8_t *data, size_t data_bytes)
{
    (void)data;
    (void)data_bytes; /* an empty message; unknown fields are no error */
    Grpcdemo__UnaryCallResp response = GRPCDEMO__UNARY_CALL_RESP__INIT;
    response.username = "demo";
    answer(call, &response.base);
}

static void demo_import(demo_call *call, const uint8_t *data, size_t data_bytes)
{
    Grpcdemo__Folder__ImportedMessage *request = grpcdemo__folder__imported_message__unpack(NULL, data_bytes, data);
    if (request == NULL) {
        finish_malformed(call);
        return;
    }
    grpcdemo__folder__imported_message__free_unpacked(request, NULL);
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)demo_call_port(call));
    Grpcdemo__CustomMessage response = GRPCDEMO__CUSTOM_MESSAGE__INIT;
    response.custom_message = port;
    answer(call, &response.base);
}

static void push_data(demo_call *call, const uint8_t *data, size_t data_bytes)
{
    Grpcdemo__PushDataReq *request = grpcdemo__push_data_req__unpack(NULL, data_bytes, data);
    if (request == NULL) {
        finish_malformed(call);
        return;
    }
    if (!demo_call_append_text(call, request->foo)) {
        demo_call_finish(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    grpcdemo__push_data_req__free_unpacked(request, NULL);
}

static void push_data_end(demo_call *call)
{
    Grpcdemo__PushDataResp response = GRPCDEMO__PUSH_DATA_RESP__INIT;
    response.foo = (char *)demo_call_text(call); /* protobuf-c has no const; packing only reads */
    answer(call, &response.base);
}

static void fetch_data(demo_call *call, const uint8_t *data, size_t data_bytes)
{
    static const char *const books[] = {"Structure and Interpretation of Computer Programs",
                                        "The Practice of Programming", "TCP/IP Illustrated"};
    Grpcdemo__FetchDataReq *request = grpcdemo__fetch_data_req__unpack(NULL, data_bytes, data);
    if (request == NULL) {
        finish_malformed(call);
        return;
    }
    grpcdemo__fetch_data_req__free_unpacked(request, NULL);
    for (size_t i = 0; i < COUNT(books); i++) {
        Grpcdemo__FetchDataResp response = GRPCDEMO__FETCH_DATA_RESP__INIT;
        response.fav_book = (char *)books[i];
        reply_message(call, &response.base);
    }
    demo_call_finish(call, GRPC_STATUS_OK, NULL);
}

/* Answer with a gender only if the request has an age. */
static void exchange(demo_call *call, const uint8_t *data, size_t data_bytes)
{
    Grpcdemo__ExchangeReq *request = grpcdemo__exchange_req__unpack(NULL, data_bytes, data);
    if (request == NULL) {
        finish_malformed(call);
        return;
    }
    char last_name[128];
    snprintf(last_name, sizeof last_name, "%s's family", request->first_name);
    Grpcdemo__ExchangeResp response = GRPCDEMO__EXCHANGE_RESP__INIT;
    response.last_name = last_name;
    if (request->optional_age_case == GRPCDEMO__EXCHANGE_REQ__OPTIONAL_AGE_AGE) {
        response.gender = request->age % 2 == 0 ? GRPCDEMO__GENDER__Female : GRPCDEMO__GENDER__Male;
    }
    reply_message(call, &response.base);
    grpcdemo__exchange_req__free_unpacked(request, NULL);
}

static void call_grpc_gateway(demo_call *call, const uint8_t *data, size_t data_bytes)
{
    Grpcdemo__CallGrpcGatewayReq *request = grpcdemo__call_grpc_gateway_req__unpack(NULL, data_bytes, data);
    if (request == NULL) {
        finish_malformed(call);
        return;
    }
    const char *name = "";
    for (size_t i = 0; i < request->n_config; i++) {
        if (strcmp(request->config[i]->key, "name") == 0) {
            name = request->config[i]->value;
        }
    }
    if (strcmp(name, "zhangsan") == 0) {
        demo_call_finish(call, GRPC_STATUS_NOT_FOUND, "not found");
    } else if (strcmp(name, "lisi") == 0) {
        demo_call_finish(call, GRPC_STATUS_UNKNOWN, "this is custom error");
    } else {
        Grpcdemo__CallGrpcGatewayResp response = GRPCDEMO__CALL_GRPC_GATEWAY_RESP__INIT;
        Grpcdemo__CallGrpcGatewayResp__ConfigEntry *entries = calloc(request->n_config + 1, sizeof *entries);
        Grpcdemo__CallGrpcGatewayResp__ConfigEntry **config = calloc(request->n_config + 1, sizeof(void *));
        if (entries != NULL && config != NULL) {
            for (size_t i = 0; i < request->n_config; i++) {
                grpcdemo__call_grpc_gateway_resp__config_entry__init(&entries[i]);
                entries[i].key = request->config[i]->key;
                entries[i].value = request->config[i]->value;
                config[i] = &entries[i];
            }
            response.n_config = request->n_config;
            response.config = config;
            answer(call, &response.base);
        } else {
            demo_call_finish(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        }
        free(config);
        free(entries);
    }
    grpcdemo__call_grpc_gateway_req__free_unpacked(request, NULL);
}

static void call_grpc_gateway_demo(demo_call *call, const uint8_t *data, size_t data_bytes)
{
    Grpcdemo__CallGrpcGatewayDemoReq *request = grpcdemo__call_grpc_gateway_demo_req__unpack(NULL, data_bytes, data);
    if (request == NULL) {
        finish_malformed(call);
        return;
    }
    Grpcdemo__CallGrpcGatewayDemoResp response = GRPCDEMO__CALL_GRPC_GATEWAY_DEMO_RESP__INIT;
    response.username = request->username;
    response.data = request->data;
    answer(call, &response.base);
    grpcdemo__call_grpc_gateway_demo_req__free_unpacked(request, NULL);
}

static void echo_unary(demo_call *call, const uint8_t *data, size_t data_bytes)
{
    demo_call_reply(call, data, data_bytes);
    demo_call_finish(call, GRPC_STATUS_OK, NULL);
}

static void echo_stream(demo_call *call, const uint8_t *data, size_t data_bytes)
{
    demo_call_reply(call, data, data_bytes);
}

/* grpc/health/v1/health.proto: HealthCheckRequest{string service = 1}, HealthCheckResponse{ServingStatus status =
 * 1}. The two fields are encoded by hand; service names are short here, so the length is one byte. */
static void answer_health(demo_call *call, const uint8_t *data, size_t data_bytes, bool watch)
{
    char service[128] = "";
    if (data_bytes >= 2 && data[0] == 0x0a && data[1] < sizeof service && data_bytes == 2u + data[1]) {
        memcpy(service, data + 2, data[1]);
    } else if (data_bytes > 0) {
        finish_malformed(call);
        return;
    }
    demo_call_answer_health(call, service, watch);
}

static void health_check(demo_call *call, const uint8_t *data, size_t data_bytes)
{
    answer_health(call, data, data_bytes, false);
}

static void health_watch(demo_call *call, const uint8_t *data, size_t data_bytes)
{
    answer_health(call, data, data_bytes, true);
}

/* A watcher sends one message and then closes its side; its call stays open. */
static void health_watch_end(demo_call *call)
{
    (void)call;
}

static void stream_load(demo_call *call, const uint8_t *data, size_t data_bytes)
{
    (void)data;
    (void)data_bytes;
    demo_call_stream_load(call);
}

void demo_reply_health(demo_call *call, demo_server_health health)
{
    const uint8_t response[] = {0x08, (uint8_t)health};
    demo_call_reply(call, response, sizeof response);
}

static const demo_method methods[] = {
    {.path = "/grpcdemo.GrpcDemo/DemoImport", .message = demo_import},
    {.path = "/grpcdemo.GrpcDemo/UnaryCall", .message = unary_call},
    {.path = "/grpcdemo.GrpcDemo/PushData", .message = push_data, .end = push_data_end},
    {.path = "/grpcdemo.GrpcDemo/FetchData", .message = fetch_data},
    {.path = "/grpcdemo.GrpcDemo/Exchange", .message = exchange},
    {.path = "/grpcdemo.GrpcDemo/CallGrpcGateway", .message = call_grpc_gateway},
    {.path = "/grpcdemo.GrpcGatewayDemo/CallGrpcGatewayDemo", .message = call_grpc_gateway_demo},
    {.path = "/evener.demo.Echo/Unary", .message = echo_unary},
    {.path = "/evener.demo.Echo/Stream", .message = echo_stream},
    {.path = "/grpc.health.v1.Health/Check", .message = health_check, .health = true},
    {.path = "/grpc.health.v1.Health/Watch", .message = health_watch, .end = health_watch_end, .health = true},
    {.path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", .message = demo_reflect, .health = true},
    {.path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", .message = demo_reflect, .health = true},
    {.path = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics",
     .message = stream_load,
     .end = health_watch_end,
     .health = true},
};

const demo_method *demo_method_find(const char *path, size_t path_bytes)
{
    for (size_t i = 0; i < COUNT(methods); i++) {
        if (strlen(methods[i].path) == path_bytes && memcmp(methods[i].path, path, path_bytes) == 0) {
            return &methods[i];
        }
    }
    return NULL;
}
