/* evener as applications use it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/evener.h>

#include "bench/rpc/client.h"

#define CONNECT_MS 20000

typedef struct evener_client {
    bench_client base;
    evener_runtime *runtime;
    evener_channel *channel;
    evener_bytes payload;
    evener_call_options options;
} evener_client;

typedef struct pending_call {
    bench_done done;
    void *arg;
} pending_call;

static bool evener_client_call(bench_client *base)
{
    evener_client *client = (evener_client *)base;
    evener_bytes response;
    if (evener_unary_call(client->channel, BENCH_METHOD, &client->payload, &client->options, &response, NULL) !=
        EVENER_STATUS_OK) {
        return false;
    }
    evener_bytes_clear(&response);
    return true;
}

static void call_done(void *arg, const evener_status *status, evener_bytes *response)
{
    (void)response; /* evener clears it */
    pending_call call = *(pending_call *)arg;
    free(arg);
    call.done(call.arg, status->code == EVENER_STATUS_OK);
}

static void evener_client_start(bench_client *base, bench_done done, void *arg)
{
    evener_client *client = (evener_client *)base;
    pending_call *call = malloc(sizeof *call);
    if (call == NULL) {
        abort();
    }
    *call = (pending_call){done, arg};
    if (evener_call_start(client->channel, BENCH_METHOD, &client->payload, &client->options, call_done, call, NULL,
                          NULL) != EVENER_STATUS_OK) {
        free(call);
        done(arg, false);
    }
}

static uint64_t evener_client_calls_to(bench_client *base, const char *server)
{
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    uint64_t calls = 0;
    if (evener_channel_get_stats(((evener_client *)base)->channel, &stats, NULL) != EVENER_STATUS_OK) {
        return 0;
    }
    for (size_t i = 0; i < stats.subchannel_count; i++) {
        calls += strcmp(stats.subchannels[i].address, server) == 0 ? stats.subchannels[i].picks : 0;
    }
    evener_channel_stats_clear(&stats);
    return calls;
}

static void evener_client_close(bench_client *base)
{
    evener_client *client = (evener_client *)base;
    evener_channel_unref(client->channel);
    evener_runtime_unref(client->runtime);
    evener_bytes_clear(&client->payload);
    free(client);
}

static evener_status_code create_credentials(const bench_client_options *options, evener_credentials **credentials,
                                             evener_status *status)
{
    if (options->root_certificates == NULL) {
        return evener_credentials_create_insecure(credentials, status);
    }
    const evener_tls_options tls = {.size = sizeof tls, .root_certificates = options->root_certificates};
    return evener_credentials_create_tls(&tls, credentials, status);
}

static bool open_channel(evener_client *client, const bench_client_options *options, evener_status *status)
{
    char target[1024];
    evener_credentials *credentials = NULL;
    snprintf(target, sizeof target, "static:%s", options->servers);
    if (evener_runtime_create(NULL, &client->runtime, status) != EVENER_STATUS_OK ||
        evener_runtime_set_call_threads(client->runtime, options->threads, status) != EVENER_STATUS_OK ||
        create_credentials(options, &credentials, status) != EVENER_STATUS_OK) {
        return false;
    }
    evener_channel_options channel_options = {
        .size = sizeof channel_options,
        .runtime = client->runtime,
        .credentials = credentials,
        .policy = options->policy,
        .default_service_config = options->service_config,
        .transport_name = options->transport,
        .authority = options->root_certificates != NULL ? BENCH_SERVER_NAME : NULL,
    };
    evener_status_code code = evener_channel_create(target, &channel_options, &client->channel, status);
    evener_credentials_destroy(credentials);
    return code == EVENER_STATUS_OK &&
           evener_channel_wait_ready(client->channel, CONNECT_MS, status) == EVENER_STATUS_OK;
}

bench_client *bench_client_open_evener(const bench_client_options *options)
{
    evener_client *client = calloc(1, sizeof *client);
    evener_status status;
    if (client == NULL) {
        return NULL;
    }
    client->base = (bench_client){evener_client_call, evener_client_start, evener_client_calls_to, evener_client_close};
    /* One owned message that is sent many times, as an application with a constant request would do. */
    uint8_t *data = evener_bytes_create(options->payload_bytes, &client->payload);
    for (size_t i = 0; i < options->payload_bytes; i++) {
        data[i] = ((const uint8_t *)options->payload)[i];
    }
    client->options = (evener_call_options){.size = sizeof client->options, .timeout_ms = options->timeout_ms};
    if (!open_channel(client, options, &status)) {
        fprintf(stderr, "bench: evener's channel to %s: %s\n", options->servers, status.message);
        evener_client_close(&client->base);
        return NULL;
    }
    return &client->base;
}
