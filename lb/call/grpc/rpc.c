#include "lb/call/grpc/rpc.h"
#include "lb/channel/channel_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <grpc/byte_buffer.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

#include "lb/base/options.h"
#include "lb/call/grpc/bytes.h"
#include "lb/call/grpc/details.h"
#include "lb/transport/grpc/fate.h"
#include "lb/transport/grpc/tag.h"
#include "lb/transport/grpc/transport.h"

/* A58. This core keeps the trailer of the standard's name to itself (1.51: call.cc publishes the keys it knows only by a
 * list of its own); a server that wants to be heard through it sends the same bytes under the second name too. */
static const char *const load_report_keys[] = {"endpoint-load-metrics-bin", "x-endpoint-load-metrics-bin"};

/* Pauses between attempts: from 0.1 ms, doubling, to 10 ms. */
#define PAUSE_NS_MIN (EVENER_NS_PER_MS / 10)
#define PAUSE_NS_MAX (10 * EVENER_NS_PER_MS)

/* A longer timeout is none (some 30 years): it could not be added to the clock. */
#define TIMEOUT_MS_MAX (UINT64_C(1) << 40)

/* ---- the part that stays ---- */

evener_status_code evener_grpc_rpc_check(evener_channel *channel, const char *method, const evener_call_options *given,
                                         evener_call_options *options, evener_status *status)
{
    if (channel == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "call of %s: the channel is NULL",
                                 method == NULL ? "(no method)" : method);
    }
    if (method == NULL || method[0] != '/') {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "call: the method is %s%s%s: it is to be \"/package.Service/Method\"",
                                 method == NULL ? "NULL" : "\"", method == NULL ? "" : method,
                                 method == NULL ? "" : "\"");
    }
    evener_status reason;
    if (evener_options_read(options, sizeof *options, given, "options", "evener_call_options", &reason) !=
            EVENER_STATUS_OK ||
        evener_grpc_details_check(options->details, &reason) != EVENER_STATUS_OK) {
        return evener_status_set(status, reason.code, "call of %s: %s", method, reason.message);
    }
    if (options->metadata == NULL && options->metadata_count > 0) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "call of %s: options.metadata is NULL and options.metadata_count is %zu", method,
                                 options->metadata_count);
    }
    if (!evener_transport_is_grpc(evener_channel_transport(channel))) {
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                                 "call of %s: the channel to %s has a transport of its own, and calls need the gRPC "
                                 "core's: use evener_channel_pick() there",
                                 method, evener_channel_target(channel));
    }
    return EVENER_STATUS_OK;
}

/* What the call says, else what the service config says of its method, else what the channel says. */
static bool waits_for_ready(const evener_channel *channel, const evener_call_options *options,
                            const evener_method_settings *settings)
{
    if (options->wait_for_ready != EVENER_WAIT_FOR_READY_DEFAULT) {
        return options->wait_for_ready == EVENER_WAIT_FOR_READY_YES;
    }
    return settings->has_wait_for_ready ? settings->wait_for_ready : evener_channel_wait_for_ready_default(channel);
}

/* 0: none. The service config's timeout is an upper bound (grpc: doc/service_config.md). */
static uint64_t shorter_timeout_ms(uint64_t of_call_ms, uint64_t of_config_ms)
{
    if (of_call_ms == 0 || of_config_ms == 0) {
        return of_call_ms != 0 ? of_call_ms : of_config_ms;
    }
    return of_call_ms < of_config_ms ? of_call_ms : of_config_ms;
}

void evener_grpc_rpc_init(evener_grpc_rpc *rpc, evener_channel *channel, const char *method,
                          const evener_call_options *options)
{
    const evener_method_settings settings = evener_channel_method_settings(channel, method);
    *rpc = (evener_grpc_rpc){
        .channel = channel,
        .pick_args = {.size = sizeof rpc->pick_args,
                      .method = method,
                      .metadata = options->metadata,
                      .metadata_count = options->metadata_count,
                      .hash = options->hash,
                      .has_hash = options->has_hash,
                      .wait_for_ready = waits_for_ready(channel, options, &settings),
                      .trace = options->trace},
        .method = grpc_slice_from_copied_string(method),
    };
    if (options->authority != NULL) {
        rpc->authority = grpc_slice_from_copied_string(options->authority);
        rpc->has_authority = true;
    }
    const uint64_t timeout_ms = shorter_timeout_ms(options->timeout_ms, settings.timeout_ms);
    rpc->has_deadline = timeout_ms > 0 && timeout_ms < TIMEOUT_MS_MAX;
    rpc->timeout_ms = timeout_ms;
    rpc->deadline = rpc->has_deadline ? gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                                     gpr_time_from_millis((int64_t)timeout_ms, GPR_TIMESPAN))
                                      : gpr_inf_future(GPR_CLOCK_MONOTONIC);
}

void evener_grpc_rpc_clear(evener_grpc_rpc *rpc)
{
    grpc_slice_unref(rpc->method);
    if (rpc->has_authority) {
        grpc_slice_unref(rpc->authority);
    }
}

bool evener_grpc_rpc_pick_time(evener_grpc_rpc *rpc)
{
    if (!rpc->has_deadline) {
        return true;
    }
    const gpr_timespec left = gpr_time_sub(rpc->deadline, gpr_now(GPR_CLOCK_MONOTONIC));
    const bool some = left.tv_sec > 0 || (left.tv_sec == 0 && left.tv_nsec > 0);
    const uint64_t nanoseconds_per_ms = EVENER_NS_PER_MS;
    /* Rounded up: messages name it. */
    rpc->pick_args.timeout_ms =
        some ? (uint64_t)left.tv_sec * 1000 + ((uint64_t)left.tv_nsec + nanoseconds_per_ms - 1) / nanoseconds_per_ms
             : 0;
    return some;
}

evener_status_code evener_grpc_rpc_deadline_status(const evener_grpc_rpc *rpc, evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_DEADLINE_EXCEEDED,
                             "deadline exceeded after %llu.%03llu s: waiting for a backend of \"%s\": %u connections "
                             "that were picked had been lost",
                             (unsigned long long)(rpc->timeout_ms / 1000), (unsigned long long)(rpc->timeout_ms % 1000),
                             evener_channel_target(rpc->channel), rpc->attempts);
}

uint64_t evener_grpc_rpc_pause_ns(const evener_grpc_rpc *rpc)
{
    if (rpc->attempts < EVENER_GRPC_ATTEMPTS_AT_ONCE) {
        return 0;
    }
    uint32_t doublings = rpc->attempts - EVENER_GRPC_ATTEMPTS_AT_ONCE;
    uint64_t pause_ns = doublings < 16 ? PAUSE_NS_MIN << doublings : PAUSE_NS_MAX;
    return pause_ns < PAUSE_NS_MAX ? pause_ns : PAUSE_NS_MAX;
}

evener_status_code evener_grpc_rpc_pause(const evener_grpc_rpc *rpc, evener_status *status)
{
    uint64_t ns = evener_grpc_rpc_pause_ns(rpc);
    if (ns == 0) {
        return EVENER_STATUS_OK;
    }
    if (rpc->channel->hot.caller_drives_loop || evener_loop_on_control_thread(rpc->channel->hot.loop)) {
        return evener_status_set(status, EVENER_STATUS_UNAVAILABLE,
                                 "the connection picked for %s is lost, and waiting for another one on the control "
                                 "thread would wait for itself: use evener_call_start()",
                                 rpc->pick_args.method);
    }
    const struct timespec pause = {.tv_sec = (time_t)(ns / EVENER_NS_PER_S), .tv_nsec = (long)(ns % EVENER_NS_PER_S)};
    (void)nanosleep(&pause, NULL);
    return EVENER_STATUS_OK;
}

evener_status_code evener_grpc_rpc_borrow_metadata(evener_grpc_rpc *rpc, const evener_call_options *options,
                                                   evener_grpc_borrowed_metadata *borrowed, evener_status *status)
{
    size_t count = options->metadata_count;
    borrowed->items = borrowed->inlined;
    if (count > EVENER_GRPC_METADATA_INLINE) {
        borrowed->items = calloc(count, sizeof *borrowed->items);
        if (borrowed->items == NULL) {
            return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "call of %s: out of memory",
                                     rpc->pick_args.method);
        }
    }
    for (size_t i = 0; i < count; i++) {
        const evener_metadata *entry = &options->metadata[i];
        borrowed->items[i].key = grpc_slice_from_static_string(entry->key);
        borrowed->items[i].value = grpc_slice_from_static_buffer(entry->value, entry->value_bytes);
    }
    rpc->metadata = borrowed->items;
    rpc->metadata_count = count;
    return EVENER_STATUS_OK;
}

void evener_grpc_rpc_end_borrowing(evener_grpc_rpc *rpc, evener_grpc_borrowed_metadata *borrowed)
{
    if (borrowed->items != borrowed->inlined) {
        free(borrowed->items);
    }
    rpc->metadata = NULL;
    rpc->metadata_count = 0;
}

evener_status_code evener_grpc_rpc_bad_metadata(const evener_grpc_rpc *rpc, evener_status *status)
{
    for (size_t i = 0; i < rpc->metadata_count; i++) {
        const evener_metadata *entry = &rpc->pick_args.metadata[i];
        if (!grpc_header_key_is_legal(rpc->metadata[i].key)) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "call of %s: metadata key \"%s\" is not legal: lower-case letters, digits, '-', "
                                     "'_' and '.'",
                                     rpc->pick_args.method, entry->key);
        }
        if (!grpc_is_binary_header(rpc->metadata[i].key) &&
            !grpc_header_nonbin_value_is_legal(rpc->metadata[i].value)) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "call of %s: the value of metadata key \"%s\" is not printable ASCII: a key that "
                                     "ends in \"-bin\" takes any bytes",
                                     rpc->pick_args.method, entry->key);
        }
    }
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                             "call of %s: the gRPC core refuses it (see its log: GRPC_VERBOSITY=debug)",
                             rpc->pick_args.method);
}

/* ---- an attempt ---- */

grpc_call *evener_grpc_rpc_create_core_call(const evener_grpc_rpc *rpc, const evener_connection *connection,
                                            grpc_completion_queue *queue)
{
    return grpc_channel_create_call(connection->channel, NULL, 0, queue, rpc->method,
                                    rpc->has_authority ? &rpc->authority : NULL, rpc->deadline, NULL);
}

bool evener_grpc_attempt_begin(evener_grpc_attempt *attempt, evener_grpc_rpc *rpc, grpc_completion_queue *queue)
{
    evener_connection *connection = attempt->pick.connection;
    rpc->attempts++;
    if (evener_grpc_connection_is_gone(connection) || !evener_grpc_connection_enter(connection)) {
        evener_grpc_attempt_drop(attempt);
        return false;
    }
    attempt->call = evener_grpc_rpc_create_core_call(rpc, connection, queue);
    grpc_metadata_array_init(&attempt->initial_metadata);
    grpc_metadata_array_init(&attempt->trailing_metadata);
    attempt->request = NULL;
    attempt->response = NULL;
    attempt->code = GRPC_STATUS_UNKNOWN;
    attempt->message = grpc_empty_slice();
    attempt->error_string = NULL;
    attempt->message_received = false;
    attempt->first_message_ns = 0;
    return true;
}

grpc_call_error evener_grpc_attempt_start(evener_grpc_attempt *attempt, const grpc_op *operations, size_t count,
                                          void *tag)
{
    /* The call may be over, and its pick ended, before this returns: a reference of its own. */
    evener_connection *connection = attempt->pick.connection;
    grpc_call *call = attempt->call;
    evener_grpc_connection_ref(connection);
    EVENER_GRPC_HANDS_OVER(tag); /* from here on `attempt` may be another thread's */
    const grpc_call_error error = grpc_call_start_batch(call, operations, count, tag, NULL);
    evener_grpc_connection_leave(connection);
    evener_grpc_connection_unref(connection);
    return error;
}

void evener_grpc_attempt_send_metadata_op(const evener_grpc_rpc *rpc, grpc_op *operation)
{
    operation->op = GRPC_OP_SEND_INITIAL_METADATA;
    operation->data.send_initial_metadata.count = rpc->metadata_count;
    operation->data.send_initial_metadata.metadata = rpc->metadata;
}

void evener_grpc_attempt_status_op(evener_grpc_attempt *attempt, grpc_op *operation)
{
    operation->op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    operation->data.recv_status_on_client.trailing_metadata = &attempt->trailing_metadata;
    operation->data.recv_status_on_client.status = &attempt->code;
    operation->data.recv_status_on_client.status_details = &attempt->message;
    operation->data.recv_status_on_client.error_string = &attempt->error_string;
}

evener_status_code evener_grpc_attempt_start_unary(evener_grpc_attempt *attempt, const evener_grpc_rpc *rpc,
                                                   grpc_slice request, void *tag, evener_status *status)
{
    attempt->request = grpc_raw_byte_buffer_create(&request, 1);
    grpc_op operations[6];
    memset(operations, 0, sizeof operations);
    evener_grpc_attempt_send_metadata_op(rpc, &operations[0]);
    operations[1].op = GRPC_OP_SEND_MESSAGE;
    operations[1].data.send_message.send_message = attempt->request;
    operations[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    operations[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    operations[3].data.recv_initial_metadata.recv_initial_metadata = &attempt->initial_metadata;
    operations[4].op = GRPC_OP_RECV_MESSAGE;
    operations[4].data.recv_message.recv_message = &attempt->response;
    evener_grpc_attempt_status_op(attempt, &operations[5]);
    if (evener_grpc_attempt_start(attempt, operations, 6, tag) != GRPC_CALL_OK) {
        return evener_grpc_rpc_bad_metadata(rpc, status);
    }
    return EVENER_STATUS_OK;
}

static void attempt_free(evener_grpc_attempt *attempt)
{
    if (attempt->call == NULL) {
        return;
    }
    if (attempt->request != NULL) {
        grpc_byte_buffer_destroy(attempt->request);
    }
    if (attempt->response != NULL) {
        grpc_byte_buffer_destroy(attempt->response);
    }
    grpc_metadata_array_destroy(&attempt->initial_metadata);
    grpc_metadata_array_destroy(&attempt->trailing_metadata);
    grpc_slice_unref(attempt->message);
    gpr_free((void *)(uintptr_t)attempt->error_string);
    grpc_call_unref(attempt->call);
    attempt->call = NULL;
}

static void done_not_sent(evener_grpc_attempt *attempt, evener_status_code code)
{
    const evener_done_info info = {.size = sizeof info, .code = code, .not_sent = true};
    evener_pick_done(&attempt->pick, &info);
}

void evener_grpc_attempt_drop(evener_grpc_attempt *attempt)
{
    attempt_free(attempt);
    done_not_sent(attempt, EVENER_STATUS_CANCELLED);
}

/* ---- how it ended ---- */

static bool answered(const evener_grpc_attempt *attempt)
{
    return attempt->initial_metadata.count > 0 || attempt->trailing_metadata.count > 0 || attempt->response != NULL ||
           attempt->message_received;
}

static bool was_not_taken(const evener_grpc_attempt *attempt)
{
    return attempt->code != GRPC_STATUS_OK && evener_grpc_was_not_taken(attempt->error_string, answered(attempt));
}

bool evener_grpc_attempt_pick_again(evener_grpc_attempt *attempt)
{
    if (!was_not_taken(attempt)) {
        return false;
    }
    const evener_status_code code = (evener_status_code)attempt->code;
    evener_grpc_connection_judge(attempt->pick.connection, code, true);
    attempt_free(attempt);
    done_not_sent(attempt, code);
    return true;
}

/* Whether the call's own deadline ended it. The core's words alone would not prove it, as a server can write them; nor
 * would the clock, as a server may have given that status a moment before. */
static bool deadline_passed(const evener_grpc_attempt *attempt, const evener_grpc_rpc *rpc)
{
    return attempt->code == GRPC_STATUS_DEADLINE_EXCEEDED && rpc->has_deadline && !answered(attempt) &&
           grpc_slice_str_cmp(attempt->message, "Deadline Exceeded") == 0 &&
           gpr_time_cmp(gpr_now(GPR_CLOCK_MONOTONIC), rpc->deadline) >= 0;
}

/* What the core calls an answer whose headers were not gRPC's; the status code is already the one of
 * http-grpc-status-mapping.md. The words are put plainly for people, and decide nothing. */
static bool set_http_failure(evener_status_code code, const char *message, int bytes, evener_status *status)
{
    static const char cores_words[] = "Received http2 header with status: ";
    const int prefix = sizeof cores_words - 1;
    if (bytes <= prefix || strncmp(message, cores_words, (size_t)prefix) != 0) {
        return false;
    }
    evener_status_set(status, code, "HTTP status %.*s (%.*s)", bytes - prefix, message + prefix, bytes, message);
    return true;
}

static void set_failure(const evener_grpc_attempt *attempt, const evener_grpc_rpc *rpc, evener_status *status)
{
    if (deadline_passed(attempt, rpc)) {
        evener_status_set(status, EVENER_STATUS_DEADLINE_EXCEEDED, "deadline exceeded after %llu.%03llu s at %s",
                          (unsigned long long)(rpc->timeout_ms / 1000), (unsigned long long)(rpc->timeout_ms % 1000),
                          attempt->pick.connection->address);
        return;
    }
    const evener_status_code code = (evener_status_code)attempt->code;
    const char *message = (const char *)GRPC_SLICE_START_PTR(attempt->message);
    const int bytes = (int)GRPC_SLICE_LENGTH(attempt->message);
    if (!set_http_failure(code, message, bytes, status)) {
        evener_status_set(status, code, "%.*s", bytes, message);
    }
}

static void find_load_report(const evener_grpc_attempt *attempt, evener_done_info *info)
{
    for (size_t i = 0; i < attempt->trailing_metadata.count; i++) {
        const grpc_metadata *entry = &attempt->trailing_metadata.metadata[i];
        if (grpc_slice_str_cmp(entry->key, load_report_keys[0]) == 0 ||
            grpc_slice_str_cmp(entry->key, load_report_keys[1]) == 0) {
            info->load_report = GRPC_SLICE_START_PTR(entry->value);
            info->load_report_bytes = GRPC_SLICE_LENGTH(entry->value);
            return;
        }
    }
}

evener_status_code evener_grpc_attempt_finish(evener_grpc_attempt *attempt, const evener_grpc_rpc *rpc,
                                              evener_call_details *details, evener_bytes *response,
                                              evener_status *status)
{
    evener_status_code code = (evener_status_code)attempt->code;
    evener_done_info info = {.size = sizeof info,
                             .code = code,
                             .first_message_ns = attempt->first_message_ns,
                             .streaming = rpc->pick_args.streaming};
    if (code == EVENER_STATUS_OK) {
        evener_status_clear(status);
        if (response != NULL) {
            evener_grpc_bytes_receive(attempt->response, response);
            attempt->response = NULL;
        }
    } else {
        set_failure(attempt, rpc, status);
        info.not_sent = was_not_taken(attempt);
    }
    evener_grpc_connection_judge(attempt->pick.connection, code, info.not_sent);
    if (code == EVENER_STATUS_UNAVAILABLE && !answered(attempt)) {
        evener_grpc_connection_await_end(attempt->pick.connection);
    }
    if (details != NULL) {
        evener_grpc_details_fill(details, attempt, rpc->attempts);
    }
    find_load_report(attempt, &info);
    evener_pick_done(&attempt->pick, &info);
    attempt_free(attempt);
    return code;
}
