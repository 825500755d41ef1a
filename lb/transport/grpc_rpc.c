#include "lb/transport/grpc_rpc.h"
#include "lb/channel_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <grpc/byte_buffer.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

#include "lb/options.h"
#include "lb/transport/grpc_bytes.h"
#include "lb/transport/grpc_details.h"
#include "lb/transport/grpc_tag.h"
#include "lb/transport/grpc_transport.h"

/* A58. This core keeps the trailer of the standard's name to itself (1.51: call.cc publishes the keys it knows only by a
 * list of its own); a server that wants to be heard through it sends the same bytes under the second name too. */
static const char *const load_report_keys[] = {"endpoint-load-metrics-bin", "x-endpoint-load-metrics-bin"};

/* Pauses between attempts: from 0.1 ms, doubling, to 10 ms. */
#define PAUSE_NS_MIN (EVENER_NS_PER_MS / 10)
#define PAUSE_NS_MAX (10 * EVENER_NS_PER_MS)
/* How long a GOAWAY may come behind the answers that it explains: a server on a machine under load has taken 20 ms. */
#define DRAIN_WAIT_MS 200

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
    int32_t left_ms = gpr_time_to_millis(gpr_time_sub(rpc->deadline, gpr_now(GPR_CLOCK_MONOTONIC)));
    rpc->pick_args.timeout_ms = left_ms > 0 ? (uint64_t)left_ms : 0;
    return left_ms > 0;
}

evener_status_code evener_grpc_rpc_deadline_status(const evener_grpc_rpc *rpc, evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_DEADLINE_EXCEEDED,
                             "deadline exceeded after %u attempts, none of which reached a backend of %s",
                             rpc->attempts, evener_channel_target(rpc->channel));
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

void evener_grpc_rpc_pause(const evener_grpc_rpc *rpc)
{
    uint64_t ns = evener_grpc_rpc_pause_ns(rpc);
    if (ns > 0) {
        const struct timespec pause = {.tv_sec = (time_t)(ns / EVENER_NS_PER_S),
                                       .tv_nsec = (long)(ns % EVENER_NS_PER_S)};
        (void)nanosleep(&pause, NULL);
    }
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
    if (evener_grpc_connection_is_shunned(connection) || !evener_grpc_connection_enter(connection)) {
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

bool evener_grpc_call_never_left(grpc_call *call, const evener_connection *connection)
{
    /* Until a transport takes the call, the core names the target as its peer; ours is spelt as no peer is. */
    char *peer = grpc_call_get_peer(call);
    bool never = strcmp(peer, connection->target) == 0;
    gpr_free(peer);
    return never;
}

static bool message_begins(const evener_grpc_attempt *attempt, const char *text)
{
    size_t bytes = strlen(text);
    return GRPC_SLICE_LENGTH(attempt->message) >= bytes &&
           memcmp(GRPC_SLICE_START_PTR(attempt->message), text, bytes) == 0;
}

/* What the core says of a call that it could not put on a connection. Anything else that ended before a transport took
 * the call (call credentials that fail, a message over the limit) would only fail again. */
static bool lacked_a_connection(const evener_grpc_attempt *attempt)
{
    switch (attempt->code) {
    case GRPC_STATUS_UNAVAILABLE:
        return !message_begins(attempt, "Getting metadata from plugin failed");
    case GRPC_STATUS_UNKNOWN:
        return message_begins(attempt, "Channel Destroyed");
    default:
        return false;
    }
}

/* A server that has not looked at a call says so with REFUSED_STREAM, or with a GOAWAY whose last stream comes before it
 * (RFC 9113 sections 8.7 and 6.8). The core tells the two by these messages, and by no others. */
static bool refused_by_server(const evener_grpc_attempt *attempt)
{
    return attempt->code == GRPC_STATUS_UNAVAILABLE && attempt->initial_metadata.count == 0 &&
           attempt->trailing_metadata.count == 0 &&
           (message_begins(attempt, "Received RST_STREAM with error code 7") ||
            message_begins(attempt, "GOAWAY received"));
}

/* The connection died under the call: the core's words for how it learnt that, with nothing from the server. */
static bool connection_died(const evener_grpc_attempt *attempt)
{
    static const char *const causes[] = {"Broken pipe",
                                         "Connection reset by peer",
                                         "Connection timed out",
                                         "Endpoint",
                                         "Socket closed",
                                         "Transport closed",
                                         "keepalive",
                                         "recvmsg:",
                                         "sendmsg:"};
    if (attempt->code != GRPC_STATUS_UNAVAILABLE || attempt->initial_metadata.count > 0 ||
        attempt->trailing_metadata.count > 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof causes / sizeof causes[0]; i++) {
        if (message_begins(attempt, causes[i])) {
            return true;
        }
    }
    return false;
}

/* Whether the connection is on its way out, as far as the core knows. */
static bool drains_now(evener_connection *connection)
{
    if (!evener_grpc_connection_enter(connection)) {
        return true;
    }
    grpc_connectivity_state state = grpc_channel_check_connectivity_state(connection->channel, 0);
    evener_grpc_connection_leave(connection);
    return state != GRPC_CHANNEL_READY;
}

/* Waits until the connection is on its way out, or time is over. A queue of its own makes this thread one of those that
 * serve the sockets meanwhile: when all call threads wait here, nobody else might read the GOAWAY in time. */
static bool drains_within(evener_connection *connection, int64_t ms)
{
    if (!evener_grpc_connection_enter(connection)) {
        return true;
    }
    grpc_completion_queue *queue = grpc_completion_queue_create_for_next(NULL);
    const gpr_timespec until = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
    grpc_channel_watch_connectivity_state(connection->channel, GRPC_CHANNEL_READY, until, queue, NULL);
    evener_grpc_connection_leave(connection);
    const grpc_event event = grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_completion_queue_shutdown(queue);
    (void)grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_completion_queue_destroy(queue);
    return event.success != 0;
}

/* Whether the connection is on its way out, where the answer to a call may have overtaken the GOAWAY: waits for that a
 * little, though not again and again where a server cancels calls as a habit. */
static bool drains(evener_connection *connection)
{
    if (drains_now(connection)) {
        return true;
    }
    const uint64_t stayed_ns = atomic_load_explicit(&connection->stayed_ns, memory_order_relaxed);
    if (stayed_ns != 0 && evener_loop_now_ns(connection->loop) - stayed_ns <= EVENER_NS_PER_S) {
        return false;
    }
    if (drains_within(connection, DRAIN_WAIT_MS)) {
        return true;
    }
    atomic_store_explicit(&connection->stayed_ns, evener_loop_now_ns(connection->loop), memory_order_relaxed);
    return false;
}

/* A server of the core that shuts down cancels calls that it never gave to its application: those that arrive between
 * the begin of the shutdown and the client's reading of the GOAWAY. Nothing but "CANCELLED" comes then. */
static bool cancelled_by_shutdown(const evener_grpc_attempt *attempt)
{
    return attempt->code == GRPC_STATUS_CANCELLED && attempt->initial_metadata.count == 0 &&
           attempt->trailing_metadata.count == 0 && grpc_slice_str_cmp(attempt->message, "CANCELLED") == 0 &&
           drains(attempt->pick.connection);
}

/* For good if the core knows that it ends: on a machine under load the watcher may come later than a while. */
static void shun(evener_connection *connection)
{
    evener_grpc_connection_shun(connection, drains_now(connection));
}

bool evener_grpc_attempt_pick_again(evener_grpc_attempt *attempt, evener_grpc_rpc *rpc, bool cancelled)
{
    if (attempt->code == GRPC_STATUS_OK || cancelled) {
        return false;
    }
    if (attempt->code == GRPC_STATUS_UNAVAILABLE || attempt->code == GRPC_STATUS_UNKNOWN) {
        /* The connection may be gone, and the watcher asleep. */
        evener_grpc_watcher_wake(attempt->pick.connection->engine->watcher);
    }
    bool again = false;
    if (lacked_a_connection(attempt)) {
        again = evener_grpc_call_never_left(attempt->call, attempt->pick.connection);
    }
    if (!again && !rpc->refused_once && (refused_by_server(attempt) || cancelled_by_shutdown(attempt))) {
        shun(attempt->pick.connection);
        rpc->refused_once = true;
        again = true;
    }
    if (!again && connection_died(attempt)) {
        shun(attempt->pick.connection);
    }
    if (again) {
        evener_status_code code = (evener_status_code)attempt->code;
        attempt_free(attempt);
        done_not_sent(attempt, code);
    }
    return again;
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
    evener_done_info info = {.size = sizeof info, .code = code};
    if (code == EVENER_STATUS_OK) {
        evener_status_clear(status);
        if (response != NULL) {
            evener_grpc_bytes_receive(attempt->response, response);
            attempt->response = NULL;
        }
    } else {
        evener_status_set(status, code, "%.*s", (int)GRPC_SLICE_LENGTH(attempt->message),
                          (const char *)GRPC_SLICE_START_PTR(attempt->message));
        /* A call that a backend with a live connection let pass its deadline has no peer either (tried with a paused
         * server): that does speak of the backend. */
        info.not_sent = code != EVENER_STATUS_DEADLINE_EXCEEDED &&
                        evener_grpc_call_never_left(attempt->call, attempt->pick.connection);
    }
    if (details != NULL) {
        evener_grpc_details_fill(details, attempt, rpc->attempts);
    }
    find_load_report(attempt, &info);
    evener_pick_done(&attempt->pick, &info);
    attempt_free(attempt);
    return code;
}
