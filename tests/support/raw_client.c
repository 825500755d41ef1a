#include "tests/support/raw_client.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>

static void copy_slice(grpc_slice slice, char *text, size_t text_bytes)
{
    snprintf(text, text_bytes, "%.*s", (int)GRPC_SLICE_LENGTH(slice), (const char *)GRPC_SLICE_START_PTR(slice));
}

/* Run a batch and wait until it ends. */
static bool run_batch(grpc_call *call, grpc_completion_queue *queue, const grpc_op *ops, size_t op_count)
{
    if (grpc_call_start_batch(call, ops, op_count, (void *)ops, NULL) != GRPC_CALL_OK) {
        abort();
    }
    return grpc_completion_queue_pluck(queue, (void *)ops, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).success != 0;
}

static void send_requests(const raw_call *call, grpc_call *core, grpc_completion_queue *queue)
{
    bool ok = true;
    for (size_t i = 0; i < call->request_count && ok; i++) {
        grpc_slice slice = grpc_slice_from_copied_buffer((const char *)call->requests[i].data, call->requests[i].bytes);
        grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
        grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = buffer};
        ok = run_batch(core, queue, &op, 1);
        grpc_byte_buffer_destroy(buffer);
        grpc_slice_unref(slice);
    }
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    run_batch(core, queue, &op, 1);
}

static void read_responses(grpc_call *core, grpc_completion_queue *queue, raw_result *result)
{
    for (;;) {
        grpc_byte_buffer *buffer = NULL;
        grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &buffer};
        if (!run_batch(core, queue, &op, 1) || buffer == NULL) {
            return;
        }
        grpc_byte_buffer_reader reader;
        grpc_byte_buffer_reader_init(&reader, buffer);
        grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
        if (result->response_count < RAW_MESSAGES_MAX && GRPC_SLICE_LENGTH(slice) <= RAW_MESSAGE_BYTES_MAX) {
            raw_message *response = &result->responses[result->response_count++];
            response->bytes = GRPC_SLICE_LENGTH(slice);
            memcpy(response->data, GRPC_SLICE_START_PTR(slice), response->bytes);
        }
        grpc_slice_unref(slice);
        grpc_byte_buffer_reader_destroy(&reader);
        grpc_byte_buffer_destroy(buffer);
    }
}

static void run_call(const raw_call *call, grpc_channel *channel, grpc_completion_queue *queue, raw_result *result)
{
    gpr_timespec deadline =
        gpr_time_add(gpr_now(GPR_CLOCK_REALTIME),
                     gpr_time_from_millis((int64_t)(call->timeout_ms > 0 ? call->timeout_ms : 10000), GPR_TIMESPAN));
    grpc_slice method = grpc_slice_from_copied_string(call->method);
    grpc_call *core =
        grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue, method, NULL, deadline, NULL);
    grpc_metadata header = {.key = grpc_empty_slice(), .value = grpc_empty_slice()};
    if (call->header != NULL) {
        header.key = grpc_slice_from_copied_string(call->header);
        header.value = grpc_slice_from_copied_string(call->header_value);
    }
    grpc_metadata_array headers, trailers;
    grpc_metadata_array_init(&headers);
    grpc_metadata_array_init(&trailers);
    grpc_slice details = grpc_empty_slice();
    grpc_op start = {.op = GRPC_OP_SEND_INITIAL_METADATA,
                     .data.send_initial_metadata = {.count = call->header != NULL, .metadata = &header}};
    run_batch(core, queue, &start, 1);
    send_requests(call, core, queue);
    grpc_op receive = {.op = GRPC_OP_RECV_INITIAL_METADATA,
                       .data.recv_initial_metadata.recv_initial_metadata = &headers};
    run_batch(core, queue, &receive, 1);
    read_responses(core, queue, result);
    grpc_op end = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                   .data.recv_status_on_client = {
                       .status = &result->code, .status_details = &details, .trailing_metadata = &trailers}};
    run_batch(core, queue, &end, 1);

    copy_slice(details, result->message, sizeof result->message);
    for (size_t i = 0; i < headers.count; i++) {
        if (grpc_slice_str_cmp(headers.metadata[i].key, "host-seen") == 0) {
            copy_slice(headers.metadata[i].value, result->host_seen, sizeof result->host_seen);
        }
    }
    result->trailer_count = trailers.count;
    grpc_slice_unref(details);
    grpc_metadata_array_destroy(&headers);
    grpc_metadata_array_destroy(&trailers);
    grpc_slice_unref(header.key);
    grpc_slice_unref(header.value);
    grpc_slice_unref(method);
    grpc_call_unref(core);
}

void raw_call_run(const raw_call *call, raw_result *result)
{
    memset(result, 0, sizeof *result);
    grpc_init();
    grpc_arg args[2] = {
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, .value.integer = 1},
        {.type = GRPC_ARG_STRING, .key = (char *)GRPC_ARG_DEFAULT_AUTHORITY, .value.string = (char *)call->authority}};
    grpc_channel_args list = {.num_args = call->authority != NULL ? 2 : 1, .args = args};
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(call->target, credentials, &list);
    grpc_channel_credentials_release(credentials);
    grpc_completion_queue *queue = grpc_completion_queue_create_for_pluck(NULL);
    run_call(call, channel, queue, result);
    grpc_completion_queue_shutdown(queue);
    grpc_completion_queue_destroy(queue);
    grpc_channel_destroy(channel);
    grpc_shutdown();
}
