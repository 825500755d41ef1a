#include "grpc/call_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(evener_status_code code, const evener_status *status)
{
    if (code != EVENER_STATUS_OK) {
        fprintf(stderr, "call fixture: %s\n", status->message);
        abort();
    }
}

bool call_fixture_has_call_threads(void)
{
    return getenv("EVENER_TEST_CALL_THREADS") != NULL;
}

evener_channel *call_fixture_channel(const call_fixture *fixture, const char *target)
{
    evener_channel *channel;
    evener_status status;
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = fixture->runtime,
                                            .credentials = fixture->insecure,
                                            .backoff_initial_ms = 50,
                                            .callbacks_on_call_threads = call_fixture_has_call_threads(),
                                            .default_service_config = "{\"loadBalancingPolicy\":\"round_robin\"}"};
    check(evener_channel_create(target, &options, &channel, &status), &status);
    return channel;
}

void call_fixture_open(call_fixture *fixture, size_t server_count, const demo_server_options *server_options)
{
    static const demo_server_options defaults = {0};
    char target[256] = "ipv4:";
    *fixture = (call_fixture){.server_count = server_count};
    for (size_t i = 0; i < server_count; i++) {
        char error[DEMO_SERVER_ERROR_BYTES];
        fixture->servers[i] = demo_server_start(server_options != NULL ? server_options : &defaults, error);
        if (fixture->servers[i] == NULL) {
            fprintf(stderr, "call fixture: %s\n", error);
            abort();
        }
        size_t used = strlen(target);
        snprintf(target + used, sizeof target - used, "%s127.0.0.1:%u", i > 0 ? "," : "",
                 (unsigned)demo_server_port(fixture->servers[i]));
    }
    evener_status status;
    check(evener_credentials_create_insecure(&fixture->insecure, &status), &status);
    check(evener_runtime_create(NULL, &fixture->runtime, &status), &status);
    fixture->channel = server_count > 0 ? call_fixture_channel(fixture, target) : NULL;
}

void call_fixture_close(call_fixture *fixture)
{
    evener_channel_unref(fixture->channel);
    evener_runtime_unref(fixture->runtime);
    evener_credentials_destroy(fixture->insecure);
    for (size_t i = 0; i < fixture->server_count; i++) {
        demo_server_stop(fixture->servers[i], 0);
    }
}

evener_bytes bytes_of(const char *text)
{
    return (evener_bytes){.data = (const uint8_t *)text, .length = strlen(text)};
}

bool bytes_equal(const evener_bytes *bytes, const char *text)
{
    return bytes->length == strlen(text) && memcmp(bytes->data, text, bytes->length) == 0;
}
