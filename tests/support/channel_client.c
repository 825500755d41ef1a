#include "tests/support/channel_client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct channel_client {
    bench_client base;
    evener_channel *channel;
    evener_call_options options;
    pthread_mutex_t mutex;
    char failure[EVENER_STATUS_MESSAGE_BYTES + 32]; /* under mutex */
    char shown[EVENER_STATUS_MESSAGE_BYTES + 32];
} channel_client;

typedef struct pending_call {
    channel_client *client;
    bench_done done;
    void *arg;
} pending_call;

static void call_done(void *arg, const evener_status *status, evener_bytes *response)
{
    const pending_call call = *(pending_call *)arg;
    (void)response;
    free(arg);
    if (status->code != EVENER_STATUS_OK) {
        pthread_mutex_lock(&call.client->mutex);
        snprintf(call.client->failure, sizeof call.client->failure, "%s: %s", evener_status_code_name(status->code),
                 status->message);
        pthread_mutex_unlock(&call.client->mutex);
    }
    call.done(call.arg, status->code == EVENER_STATUS_OK);
}

static void client_start(bench_client *base, bench_done done, void *arg)
{
    channel_client *client = (channel_client *)base;
    pending_call *call = malloc(sizeof *call);
    evener_status status;
    if (call == NULL) {
        abort();
    }
    *call = (pending_call){client, done, arg};
    if (evener_call_start(client->channel, BENCH_METHOD, NULL, &client->options, call_done, call, NULL, &status) !=
        EVENER_STATUS_OK) {
        fprintf(stderr, "channel client: a call does not start: %s\n", status.message);
        abort();
    }
}

static void client_close(bench_client *base)
{
    channel_client *client = (channel_client *)base;
    evener_channel_unref(client->channel);
    pthread_mutex_destroy(&client->mutex);
    free(client);
}

bench_client *channel_client_open(evener_channel *channel, uint64_t timeout_ms)
{
    channel_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        abort();
    }
    client->base = (bench_client){.start = client_start, .close = client_close};
    client->channel = evener_channel_ref(channel);
    client->options = (evener_call_options){.size = sizeof client->options, .timeout_ms = timeout_ms};
    pthread_mutex_init(&client->mutex, NULL);
    return &client->base;
}

const char *channel_client_last_failure(bench_client *base)
{
    channel_client *client = (channel_client *)base;
    pthread_mutex_lock(&client->mutex);
    snprintf(client->shown, sizeof client->shown, "%s", client->failure);
    pthread_mutex_unlock(&client->mutex);
    return client->shown;
}
