#include "tests/grpc/core_client.h"

#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

#include "lb/transport/grpc/tag.h"

struct core_client {
    grpc_channel *channel;
    grpc_completion_queue *queue;
    pthread_t thread;
};

typedef struct core_call {
    call_load *load;
    grpc_call *call;
    grpc_byte_buffer *request, *response;
    grpc_metadata_array headers, trailers;
    grpc_status_code code;
    grpc_slice message;
} core_call;

static void call_ended(core_call *c)
{
    call_load *load = c->load;
    char *message = grpc_slice_to_c_string(c->message);
    grpc_slice response = grpc_empty_slice();
    grpc_byte_buffer_reader reader;
    if (c->response != NULL && grpc_byte_buffer_reader_init(&reader, c->response)) {
        response = grpc_byte_buffer_reader_readall(&reader);
        grpc_byte_buffer_reader_destroy(&reader);
    }
    const evener_status_code code = (evener_status_code)c->code;
    grpc_byte_buffer_destroy(c->request);
    grpc_byte_buffer_destroy(c->response);
    grpc_metadata_array_destroy(&c->headers);
    grpc_metadata_array_destroy(&c->trailers);
    grpc_slice_unref(c->message);
    grpc_call_unref(c->call);
    free(c);
    call_load_ended(load, code, message, GRPC_SLICE_START_PTR(response), GRPC_SLICE_LENGTH(response));
    grpc_slice_unref(response);
    gpr_free(message);
}

static void *serve(void *arg)
{
    core_client *client = arg;
    for (;;) {
        const grpc_event event = grpc_completion_queue_next(client->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN) {
            return NULL;
        }
        EVENER_GRPC_TAKES_OVER(event.tag);
        call_ended(event.tag);
    }
}

core_client *core_client_create(const char *target, const char *policy)
{
    core_client *client = calloc(1, sizeof *client);
    CHECK(client != NULL, "out of memory");
    grpc_init();
    grpc_arg args[] = {{.type = GRPC_ARG_STRING, .key = GRPC_ARG_LB_POLICY_NAME},
                       {.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS},
                       {.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_MAX_RECONNECT_BACKOFF_MS}};
    args[0].value.string = (char *)(uintptr_t)policy;
    args[1].value.integer = 100;
    args[2].value.integer = 500;
    const grpc_channel_args core_args = {.num_args = 3, .args = args};
    grpc_channel_credentials *insecure = grpc_insecure_credentials_create();
    client->channel = grpc_channel_create(target, insecure, &core_args);
    grpc_channel_credentials_release(insecure);
    client->queue = grpc_completion_queue_create_for_next(NULL);
    CHECK(client->channel != NULL && pthread_create(&client->thread, NULL, serve, client) == 0, "core client");
    return client;
}

void core_client_start_call(call_load *load)
{
    core_client *client = load->client;
    core_call *c = calloc(1, sizeof *c);
    CHECK(c != NULL, "out of memory");
    c->load = load;
    grpc_slice empty = grpc_empty_slice();
    c->request = grpc_raw_byte_buffer_create(&empty, 1);
    grpc_metadata_array_init(&c->headers);
    grpc_metadata_array_init(&c->trailers);
    c->message = grpc_empty_slice();
    const gpr_timespec deadline =
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(CALL_LOAD_TIMEOUT_MS, GPR_TIMESPAN));
    c->call = grpc_channel_create_call(client->channel, NULL, 0, client->queue,
                                       grpc_slice_from_static_string(CALL_LOAD_METHOD), NULL, deadline, NULL);
    grpc_op operations[6];
    memset(operations, 0, sizeof operations);
    operations[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    operations[1].op = GRPC_OP_SEND_MESSAGE;
    operations[1].data.send_message.send_message = c->request;
    operations[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    operations[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    operations[3].data.recv_initial_metadata.recv_initial_metadata = &c->headers;
    operations[4].op = GRPC_OP_RECV_MESSAGE;
    operations[4].data.recv_message.recv_message = &c->response;
    operations[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    operations[5].data.recv_status_on_client.trailing_metadata = &c->trailers;
    operations[5].data.recv_status_on_client.status = &c->code;
    operations[5].data.recv_status_on_client.status_details = &c->message;
    grpc_call *call = c->call; /* `c` may be another thread's as soon as it is started */
    EVENER_GRPC_HANDS_OVER(c);
    CHECK(grpc_call_start_batch(call, operations, 6, c, NULL) == GRPC_CALL_OK, "the core takes no call");
}

void core_client_destroy(core_client *client)
{
    grpc_completion_queue_shutdown(client->queue);
    pthread_join(client->thread, NULL);
    grpc_completion_queue_destroy(client->queue);
    grpc_channel_destroy(client->channel);
    grpc_shutdown();
    free(client);
}
