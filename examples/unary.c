/* unary PORT [NAME]: a blocking call with metadata, a deadline and details of how it ended.
 *
 *     $ unary 8898
 *     name: example, served by ipv4:127.0.0.1:8898
 *     $ unary 8898 zhangsan
 *     NOT_FOUND: not found */
#include <stdio.h>

#include <evener/evener.h>

#include "grpcdemo/grpcdemo.evener.h"

static int call(evener_channel *channel, const char *name)
{
    Grpcdemo__CallGrpcGatewayReq__ConfigEntry entry = GRPCDEMO__CALL_GRPC_GATEWAY_REQ__CONFIG_ENTRY__INIT;
    entry.key = (char *)"name";
    entry.value = (char *)name;
    Grpcdemo__CallGrpcGatewayReq__ConfigEntry *entries[] = {&entry};
    Grpcdemo__CallGrpcGatewayReq request = GRPCDEMO__CALL_GRPC_GATEWAY_REQ__INIT;
    request.n_config = 1;
    request.config = entries;

    const evener_metadata metadata[] = {{"user", "example", 7}};
    evener_call_details details = {.size = sizeof details};
    const evener_call_options options = {
        .size = sizeof options, .timeout_ms = 1000, .metadata = metadata, .metadata_count = 1, .details = &details};
    Grpcdemo__CallGrpcGatewayResp *response;
    evener_status status;
    if (grpcdemo_grpc_demo_call_grpc_gateway(channel, &request, &options, &response, &status) == EVENER_STATUS_OK) {
        for (size_t i = 0; i < response->n_config; i++) {
            printf("%s: %s, served by %s\n", response->config[i]->key, response->config[i]->value, details.peer);
        }
        grpcdemo__call_grpc_gateway_resp__free_unpacked(response, NULL);
    } else {
        printf("%s: %s\n", evener_status_code_name(status.code), status.message);
    }
    evener_call_details_clear(&details);
    return status.code == EVENER_STATUS_OK ? 0 : 1;
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
