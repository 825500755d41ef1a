/* The gRPC C core by itself. A scale_channel is a grpc_channel. */
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include "bench/scale/client.h"

#define ROUND_ROBIN "{\"loadBalancingConfig\":[{\"round_robin\":{}}]}"

const char *const scale_target_prefix = "ipv4:";

static grpc_completion_queue *turns; /* not before the first scale_turn() */

void scale_client_start(void)
{
    grpc_init();
}

scale_channel *scale_open(const char *target)
{
    grpc_arg arg = {
        .type = GRPC_ARG_STRING, .key = (char *)GRPC_ARG_SERVICE_CONFIG, .value = {.string = (char *)ROUND_ROBIN}};
    const grpc_channel_args args = {1, &arg};
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(target, credentials, &args);
    grpc_channel_credentials_release(credentials);
    return (scale_channel *)channel;
}

void scale_connect(scale_channel *channel)
{
    (void)grpc_channel_check_connectivity_state((grpc_channel *)channel, 1);
}

bool scale_wait_ready(scale_channel *channel)
{
    for (int i = 0; i < 60000; i++) {
        if (grpc_channel_check_connectivity_state((grpc_channel *)channel, 1) == GRPC_CHANNEL_READY) {
            return true;
        }
        scale_turn(1);
    }
    return false;
}

void scale_close(scale_channel *channel)
{
    grpc_channel_destroy((grpc_channel *)channel);
}

void scale_turn(long ms)
{
    if (turns == NULL) {
        turns = grpc_completion_queue_create_for_next(NULL);
    }
    (void)grpc_completion_queue_next(
        turns, gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN)), NULL);
}

bool scale_call(scale_channel *channel)
{
    grpc_completion_queue *queue = grpc_completion_queue_create_for_pluck(NULL);
    grpc_slice payload = grpc_slice_from_static_string("x");
    grpc_byte_buffer *request = grpc_raw_byte_buffer_create(&payload, 1);
    grpc_byte_buffer *response = NULL;
    grpc_metadata_array initial, trailing;
    grpc_status_code code = GRPC_STATUS_UNKNOWN;
    grpc_slice details = grpc_empty_slice();
    grpc_metadata_array_init(&initial);
    grpc_metadata_array_init(&trailing);
    grpc_call *call = grpc_channel_create_call((grpc_channel *)channel, NULL, 0, queue,
                                               grpc_slice_from_static_string("/evener.demo.Echo/Unary"), NULL,
                                               gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    const grpc_op operations[] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA, .flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = request},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata.recv_initial_metadata = &initial},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &response},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
         .data.recv_status_on_client = {.trailing_metadata = &trailing, .status = &code, .status_details = &details}}};
    if (grpc_call_start_batch(call, operations, sizeof operations / sizeof *operations, &code, NULL) == GRPC_CALL_OK) {
        (void)grpc_completion_queue_pluck(queue, &code, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    }
    grpc_byte_buffer_destroy(request);
    grpc_byte_buffer_destroy(response);
    grpc_metadata_array_destroy(&initial);
    grpc_metadata_array_destroy(&trailing);
    grpc_slice_unref(details);
    grpc_call_unref(call);
    grpc_completion_queue_shutdown(queue);
    grpc_completion_queue_destroy(queue);
    return code == GRPC_STATUS_OK;
}
