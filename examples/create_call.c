/* create_call PORT: for programs with their own event loop on a completion queue of the gRPC core. evener picks the
 * backend and creates the call; the program runs it like any other call of the core. */
#include <stdio.h>
#include <string.h>

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/support/alloc.h>

#include <evener/evener.h>

/* Run the call's one batch on the queue, as the program's loop would. Store how it ended; the error string is the
 * core's, to be freed with gpr_free(). */
static void run(grpc_completion_queue *queue, grpc_call *call, evener_done_info *info)
{
    grpc_metadata_array headers, trailers;
    grpc_metadata_array_init(&headers);
    grpc_metadata_array_init(&trailers);
    grpc_slice empty = grpc_empty_slice();
    grpc_byte_buffer *request = grpc_raw_byte_buffer_create(&empty, 1);
    grpc_byte_buffer *response = NULL;
    grpc_status_code code = GRPC_STATUS_UNKNOWN;
    grpc_slice details = grpc_empty_slice();
    grpc_op operations[6];
    memset(operations, 0, sizeof operations);
    operations[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    operations[1].op = GRPC_OP_SEND_MESSAGE;
    operations[1].data.send_message.send_message = request;
    operations[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    operations[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    operations[3].data.recv_initial_metadata.recv_initial_metadata = &headers;
    operations[4].op = GRPC_OP_RECV_MESSAGE;
    operations[4].data.recv_message.recv_message = &response;
    operations[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    operations[5].data.recv_status_on_client.trailing_metadata = &trailers;
    operations[5].data.recv_status_on_client.status = &code;
    operations[5].data.recv_status_on_client.status_details = &details;
    operations[5].data.recv_status_on_client.error_string = &info->error_string;
    if (grpc_call_start_batch(call, operations, 6, call, NULL) == GRPC_CALL_OK) {
        (void)grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    }
    printf("status %d, %zu bytes\n", (int)code, response == NULL ? (size_t)0 : grpc_byte_buffer_length(response));
    info->code = (evener_status_code)code;
    info->answered = headers.count > 0 || trailers.count > 0 || response != NULL;
    grpc_byte_buffer_destroy(request);
    if (response != NULL) {
        grpc_byte_buffer_destroy(response);
    }
    grpc_slice_unref(details);
    grpc_metadata_array_destroy(&headers);
    grpc_metadata_array_destroy(&trailers);
}

static int call(evener_channel *channel, grpc_completion_queue *queue)
{
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 5000};
    for (;;) {
        evener_pick pick;
        grpc_call *core_call;
        evener_status status;
        if (evener_channel_create_call(channel, queue, "/grpcdemo.GrpcDemo/DemoImport", &options, &pick, &core_call,
                                       &status) != EVENER_STATUS_OK) {
            fprintf(stderr, "%s\n", status.message);
            return 1;
        }
        evener_done_info info = {.size = sizeof info};
        run(queue, core_call, &info);
        /* Report the result to the policy. True: the call certainly was not sent and may be made again. */
        const bool again = evener_call_done(channel, &pick, core_call, &info);
        gpr_free((void *)(uintptr_t)info.error_string);
        grpc_call_unref(core_call);
        if (!again) {
            return info.code == EVENER_STATUS_OK ? 0 : 1;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: create_call PORT\n");
        return 2;
    }
    char target[64];
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%s", argv[1]);
    grpc_init();
    evener_credentials *insecure;
    evener_channel *channel;
    evener_status status;
    evener_credentials_create_insecure(&insecure, NULL);
    const evener_channel_options options = {
        .size = sizeof options, .credentials = insecure, .transport_name = "grpc" /* whose calls these are */};
    if (evener_channel_create(target, &options, &channel, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "%s\n", status.message);
        return 1;
    }
    grpc_completion_queue *queue = grpc_completion_queue_create_for_next(NULL);
    int result = call(channel, queue);
    grpc_completion_queue_shutdown(queue);
    while (grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type != GRPC_QUEUE_SHUTDOWN) {
    }
    grpc_completion_queue_destroy(queue);
    evener_channel_unref(channel);
    evener_credentials_destroy(insecure);
    grpc_shutdown();
    return result;
}
