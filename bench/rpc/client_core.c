/* The C core as applications use it: one channel, its own policy, registered methods as in generated stubs. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>

#include "bench/rpc/client.h"

#define THREADS_MAX 16
#define CONNECT_S 20

typedef struct core_client {
    bench_client base;
    grpc_channel *channel;
    void *method;
    grpc_slice payload;
    uint64_t timeout_ms;
    grpc_completion_queue *queue; /* for the asynchronous calls */
    pthread_t threads[THREADS_MAX];
    unsigned thread_count;
} core_client;

typedef struct core_call {
    grpc_call *call;
    grpc_op ops[6];
    grpc_byte_buffer *request, *response;
    grpc_metadata_array headers, trailers;
    grpc_status_code status;
    grpc_slice details;
    bench_done done;
    void *arg;
} core_call;

static void begin(core_client *client, core_call *call, grpc_completion_queue *queue)
{
    gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (client->timeout_ms > 0) {
        deadline =
            gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis((int64_t)client->timeout_ms, GPR_TIMESPAN));
    }
    call->call = grpc_channel_create_registered_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue,
                                                     client->method, deadline, NULL);
    call->request = grpc_raw_byte_buffer_create(&client->payload, 1);
    call->response = NULL;
    call->status = GRPC_STATUS_UNKNOWN;
    grpc_metadata_array_init(&call->headers);
    grpc_metadata_array_init(&call->trailers);
    call->details = grpc_empty_slice();
    memset(call->ops, 0, sizeof call->ops);
    call->ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    call->ops[1].op = GRPC_OP_SEND_MESSAGE;
    call->ops[1].data.send_message.send_message = call->request;
    call->ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    call->ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    call->ops[3].data.recv_initial_metadata.recv_initial_metadata = &call->headers;
    call->ops[4].op = GRPC_OP_RECV_MESSAGE;
    call->ops[4].data.recv_message.recv_message = &call->response;
    call->ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    call->ops[5].data.recv_status_on_client.status = &call->status;
    call->ops[5].data.recv_status_on_client.status_details = &call->details;
    call->ops[5].data.recv_status_on_client.trailing_metadata = &call->trailers;
    if (grpc_call_start_batch(call->call, call->ops, 6, call, NULL) != GRPC_CALL_OK) {
        abort();
    }
}

/* Read the response as one contiguous buffer, as protobuf-c needs it and evener returns it. Copy it only if it came
 * in several slices. */
static bool read_response(grpc_byte_buffer *response)
{
    grpc_byte_buffer_reader reader;
    grpc_slice *first;
    if (!grpc_byte_buffer_reader_init(&reader, response)) {
        return false;
    }
    const size_t bytes = grpc_byte_buffer_length(response);
    size_t bytes_read;
    if (grpc_byte_buffer_reader_peek(&reader, &first) && GRPC_SLICE_LENGTH(*first) == bytes) {
        bytes_read = bytes;
    } else {
        grpc_byte_buffer_reader_destroy(&reader);
        (void)grpc_byte_buffer_reader_init(&reader, response);
        const grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
        bytes_read = GRPC_SLICE_LENGTH(whole);
        grpc_slice_unref(whole);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    return bytes_read == bytes;
}

static bool end(core_call *call)
{
    const bool ok = call->status == GRPC_STATUS_OK && call->response != NULL && read_response(call->response);
    grpc_byte_buffer_destroy(call->request);
    grpc_byte_buffer_destroy(call->response);
    grpc_metadata_array_destroy(&call->headers);
    grpc_metadata_array_destroy(&call->trailers);
    grpc_slice_unref(call->details);
    grpc_call_unref(call->call);
    return ok;
}

static bool core_call_blocking(bench_client *base)
{
    /* One completion queue per thread, reused: creating one per call would slow the core down. */
    static _Thread_local grpc_completion_queue *queue;
    if (queue == NULL) {
        queue = grpc_completion_queue_create_for_pluck(NULL);
    }
    core_call call;
    begin((core_client *)base, &call, queue);
    grpc_completion_queue_pluck(queue, &call, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    return end(&call);
}

static void core_start(bench_client *base, bench_done done, void *arg)
{
    core_client *client = (core_client *)base;
    core_call *call = malloc(sizeof *call);
    if (call == NULL) {
        abort();
    }
    call->done = done;
    call->arg = arg;
    begin(client, call, client->queue);
}

static void *run(void *arg)
{
    core_client *client = arg;
    for (;;) {
        grpc_event event = grpc_completion_queue_next(client->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN) {
            return NULL;
        }
        core_call *call = event.tag;
        bool ok = end(call);
        bench_done done = call->done;
        void *done_arg = call->arg;
        free(call);
        done(done_arg, ok);
    }
}

static void core_close(bench_client *base)
{
    core_client *client = (core_client *)base;
    grpc_completion_queue_shutdown(client->queue);
    for (unsigned i = 0; i < client->thread_count; i++) {
        pthread_join(client->threads[i], NULL);
    }
    grpc_completion_queue_destroy(client->queue);
    grpc_channel_destroy(client->channel);
    grpc_slice_unref(client->payload);
    free(client);
    grpc_shutdown();
}

static bool connect_channel(grpc_channel *channel)
{
    grpc_completion_queue *queue = grpc_completion_queue_create_for_next(NULL);
    gpr_timespec end_time = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(CONNECT_S, GPR_TIMESPAN));
    grpc_connectivity_state state = grpc_channel_check_connectivity_state(channel, 1);
    bool in_time = true;
    while (state != GRPC_CHANNEL_READY && in_time) {
        grpc_channel_watch_connectivity_state(channel, state, end_time, queue, NULL);
        in_time = grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).success != 0;
        state = grpc_channel_check_connectivity_state(channel, 1);
    }
    grpc_completion_queue_shutdown(queue);
    grpc_completion_queue_destroy(queue);
    return state == GRPC_CHANNEL_READY;
}

bench_client *bench_client_open_core(const bench_client_options *options)
{
    core_client *client = calloc(1, sizeof *client);
    char target[1024], config[128];
    if (client == NULL) {
        return NULL;
    }
    grpc_init();
    client->base = (bench_client){core_call_blocking, core_start, NULL, core_close};
    client->timeout_ms = options->timeout_ms;
    client->payload = grpc_slice_from_copied_buffer(options->payload, options->payload_bytes);
    snprintf(target, sizeof target, "ipv4:%s", options->servers);
    snprintf(config, sizeof config, "{\"loadBalancingConfig\":[{\"%s\":{}}]}", options->policy);
    grpc_arg args[] = {
        {.type = GRPC_ARG_STRING, .key = (char *)GRPC_ARG_SERVICE_CONFIG, .value.string = config},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, .value.integer = 1},
        {.type = GRPC_ARG_STRING,
         .key = (char *)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG,
         .value.string = (char *)BENCH_SERVER_NAME},
    };
    grpc_channel_args list = {.num_args = sizeof args / sizeof *args, .args = args};
    grpc_channel_credentials *credentials =
        options->root_certificates != NULL ? grpc_ssl_credentials_create(options->root_certificates, NULL, NULL, NULL)
                                           : grpc_insecure_credentials_create();
    client->channel = grpc_channel_create(target, credentials, &list);
    grpc_channel_credentials_release(credentials);
    client->method = grpc_channel_register_call(client->channel, BENCH_METHOD, NULL, NULL);
    client->queue = grpc_completion_queue_create_for_next(NULL);
    while (client->thread_count < options->threads && client->thread_count < THREADS_MAX &&
           pthread_create(&client->threads[client->thread_count], NULL, run, client) == 0) {
        client->thread_count++;
    }
    if (!connect_channel(client->channel)) {
        fprintf(stderr, "bench: the core's channel did not connect to %s\n", options->servers);
        core_close(&client->base);
        return NULL;
    }
    return &client->base;
}
