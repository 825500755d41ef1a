/* unary PORT [NAME]: a blocking call with metadata, a deadline and details of how it ended.
 *
 *     $ unary 8898
 *     name: example, served by ipv4:127.0.0.1:8898
 *     $ unary 8898 zhangsan
 *     NOT_FOUND: not found */
#include <stdio.h>

#include <evener/evener.h>

#include "grpcdemo/grpcdemo.pb-c.h"

static int call(evener_channel *channel, const char *name)
{
    Grpcdemo__CallGrpcGatewayReq__ConfigEntry entry = GRPCDEMO__CALL_GRPC_GATEWAY_REQ__CONFIG_ENTRY__INIT;
    entry.key = (char *)"name";
    entry.value = (char *)name;
    Grpcdemo__CallGrpcGatewayReq__ConfigEntry *entries[] = {&entry};
    Grpcdemo__CallGrpcGatewayReq message = GRPCDEMO__CALL_GRPC_GATEWAY_REQ__INIT;
    message.n_config = 1;
    message.config = entries;

    evener_bytes request;
    grpcdemo__call_grpc_gateway_req__pack(
        &message, evener_bytes_create(grpcdemo__call_grpc_gateway_req__get_packed_size(&message), &request));
    const evener_metadata metadata[] = {{"user", "example", 7}};
    evener_call_details details = {.size = sizeof details};
    const evener_call_options options = {
        .size = sizeof options, .timeout_ms = 1000, .metadata = metadata, .metadata_count = 1, .details = &details};
    evener_bytes response;
    evener_status status;
    evener_status_code code =
        evener_unary_call(channel, "/grpcdemo.GrpcDemo/CallGrpcGateway", &request, &options, &response, &status);
    evener_bytes_clear(&request);
    if (code == EVENER_STATUS_OK) {
        Grpcdemo__CallGrpcGatewayResp *answer =
            grpcdemo__call_grpc_gateway_resp__unpack(NULL, response.length, response.data);
        for (size_t i = 0; answer != NULL && i < answer->n_config; i++) {
            printf("%s: %s, served by %s\n", answer->config[i]->key, answer->config[i]->value, details.peer);
        }
        grpcdemo__call_grpc_gateway_resp__free_unpacked(answer, NULL);
        evener_bytes_clear(&response);
    } else {
        printf("%s: %s\n", evener_status_code_name(code), status.message);
    }
    evener_call_details_clear(&details);
    return code == EVENER_STATUS_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: unary PORT [NAME]\n");
        return 2;
    }
    char target[64];
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%s", argv[1]);
    evener_credentials *insecure;
    evener_channel *channel;
    evener_status status;
    evener_credentials_create_insecure(&insecure, NULL);
    const evener_channel_options options = {.size = sizeof options, .credentials = insecure};
    if (evener_channel_create(target, &options, &channel, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "%s\n", status.message);
        return 1;
    }
    int result = call(channel, argc > 2 ? argv[2] : "example");
    evener_channel_unref(channel);
    evener_credentials_destroy(insecure);
    return result;
}
