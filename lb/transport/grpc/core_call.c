#include "lb/transport/grpc/core_call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer.h>
#include <grpc/compression.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

#include "lb/base/metadata_rules.h"
#include "lb/transport/grpc/bytes.h"
#include "lb/transport/grpc/engine.h"
#include "lb/transport/grpc/fate.h"
#include "lb/transport/grpc/overdue.h"

/* A58. This core does not pass on the trailer of the standard's name (1.51: call.cc publishes only some of the keys
 * that it knows). A server reaches clients behind it with the same bytes under the second name. */
static const char *const load_report_keys[] = {"endpoint-load-metrics-bin", "x-endpoint-load-metrics-bin"};

/* Status messages up to this length need no memory of their own. */
#define MESSAGE_BYTES_INLINE 512

/* ---- life ---- */

static void clear_metadata(evener_grpc_core_call *call)
{
    for (size_t i = 0; i < call->metadata_count; i++) {
        grpc_slice_unref(call->metadata[i].key);
        grpc_slice_unref(call->metadata[i].value);
    }
    if (call->metadata != call->inlined) {
        free(call->metadata);
    }
}

void evener_grpc_core_call_unref(evener_grpc_core_call *call)
{
    /* acq_rel: the last one sees what the others did. */
    if (atomic_fetch_sub_explicit(&call->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    clear_metadata(call);
    if (call->request != NULL) {
        grpc_byte_buffer_destroy(call->request);
    }
    if (call->second != NULL) {
        grpc_byte_buffer_destroy(call->second);
    }
    if (call->response != NULL) {
        grpc_byte_buffer_destroy(call->response);
    }
    grpc_metadata_array_destroy(&call->initial_metadata);
    grpc_metadata_array_destroy(&call->trailing_metadata);
    grpc_slice_unref(call->message);
    gpr_free((void *)(uintptr_t)call->error_string);
    grpc_call_unref(call->core);
    /* Release pairs with the read before a channel is kept: the call has left it. */
    atomic_fetch_sub_explicit(&call->connection->calls, 1, memory_order_release);
    evener_grpc_connection_unref(call->connection);
    pthread_mutex_destroy(&call->mutex);
    free(call);
}

/* The core compresses the messages of a call whose metadata say so, and does not send this key. */
static void add_compression(evener_grpc_core_call *call, evener_compression compression)
{
    if (compression == EVENER_COMPRESSION_NONE) {
        return;
    }
    grpc_metadata *entry = &call->metadata[call->metadata_count++];
    entry->key = grpc_slice_from_static_string(GRPC_COMPRESSION_REQUEST_ALGORITHM_MD_KEY);
    entry->value = grpc_slice_from_static_string(compression == EVENER_COMPRESSION_GZIP ? "gzip" : "deflate");
}

static void add_previous_attempts(evener_grpc_core_call *call, uint32_t previous_attempts)
{
    if (previous_attempts == 0) {
        return;
    }
    char text[12];
    (void)snprintf(text, sizeof text, "%u", previous_attempts);
    grpc_metadata *entry = &call->metadata[call->metadata_count++];
    entry->key = grpc_slice_from_static_string("grpc-previous-rpc-attempts");
    entry->value = grpc_slice_from_copied_string(text);
}

static evener_status_code copy_metadata(evener_grpc_core_call *call, const evener_call_begin_args *args,
                                        evener_status *status)
{
    call->metadata = call->inlined;
    if (!evener_metadata_check(args->metadata, args->metadata_count, status)) {
        return EVENER_STATUS_INVALID_ARGUMENT;
    }
    const size_t room = args->metadata_count + 2; /* and compression, and previous attempts */
    if (room > EVENER_GRPC_METADATA_INLINE) {
        call->metadata = calloc(room, sizeof *call->metadata);
        if (call->metadata == NULL) {
            return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        }
    }
    for (size_t i = 0; i < args->metadata_count; i++) {
        const evener_metadata *entry = &args->metadata[i];
        grpc_metadata *copy = &call->metadata[i];
        copy->key = grpc_slice_from_copied_string(entry->key);
        copy->value = grpc_slice_from_copied_buffer(entry->value_bytes > 0 ? entry->value : "", entry->value_bytes);
    }
    call->metadata_count = args->metadata_count;
    add_compression(call, args->compression);
    add_previous_attempts(call, args->previous_attempts);
    return EVENER_STATUS_OK;
}

static gpr_timespec core_deadline(const evener_connection *connection, uint64_t deadline_ns)
{
    if (deadline_ns == UINT64_MAX) {
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    }
    const uint64_t now_ns = evener_loop_now_ns(connection->loop);
    const uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos((int64_t)left_ns, GPR_TIMESPAN));
}

evener_status_code evener_grpc_core_call_create(evener_connection *connection, grpc_completion_queue *queue,
                                                const evener_call_begin_args *args, evener_grpc_core_call **call,
                                                evener_status *status)
{
    evener_grpc_core_call *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    const evener_status_code code = copy_metadata(made, args, status);
    if (code != EVENER_STATUS_OK) {
        clear_metadata(made);
        free(made);
        return code;
    }
    atomic_init(&made->references, 1);
    pthread_mutex_init(&made->mutex, NULL);
    evener_grpc_connection_ref(connection);
    atomic_fetch_add_explicit(&connection->calls, 1, memory_order_relaxed);
    made->connection = connection;
    made->deadline_ns = args->deadline_ns;
    made->end_awaited_ns = atomic_load_explicit(&connection->end_awaited_ns, memory_order_relaxed);
    made->receive_bytes_max = args->receive_bytes_max;
    made->send_bytes_max = args->send_bytes_max;
    made->wants_metadata = args->wants_metadata;
    made->events = args->events;
    made->code = GRPC_STATUS_UNKNOWN;
    made->message = grpc_empty_slice();
    grpc_metadata_array_init(&made->initial_metadata);
    grpc_metadata_array_init(&made->trailing_metadata);
    grpc_slice method = grpc_slice_from_copied_string(args->method);
    grpc_slice authority = grpc_slice_from_copied_string(args->authority != NULL ? args->authority : "");
    made->core = grpc_channel_create_call(connection->channel, NULL, 0, queue, method,
                                          args->authority != NULL ? &authority : NULL,
                                          core_deadline(connection, args->deadline_ns), NULL);
    grpc_slice_unref(method);
    grpc_slice_unref(authority);
    *call = made;
    return EVENER_STATUS_OK;
}

/* ---- operations ---- */

void evener_grpc_core_call_send_metadata_op(const evener_grpc_core_call *call, grpc_op *operation)
{
    operation->op = GRPC_OP_SEND_INITIAL_METADATA;
    operation->data.send_initial_metadata.count = call->metadata_count;
    operation->data.send_initial_metadata.metadata = call->metadata;
}

void evener_grpc_core_call_headers_op(evener_grpc_core_call *call, grpc_op *operation)
{
    operation->op = GRPC_OP_RECV_INITIAL_METADATA;
    operation->data.recv_initial_metadata.recv_initial_metadata = &call->initial_metadata;
}

void evener_grpc_core_call_status_op(evener_grpc_core_call *call, grpc_op *operation)
{
    operation->op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    operation->data.recv_status_on_client.trailing_metadata = &call->trailing_metadata;
    operation->data.recv_status_on_client.status = &call->code;
    operation->data.recv_status_on_client.status_details = &call->message;
    operation->data.recv_status_on_client.error_string = &call->error_string;
}

bool evener_grpc_core_call_start(evener_grpc_core_call *call, const grpc_op *operations, size_t count, void *tag)
{
    /* The call may end before this returns: take references. */
    evener_connection *connection = call->connection;
    grpc_call *core = call->core;
    evener_grpc_connection_ref(connection);
    EVENER_GRPC_HANDS_OVER(tag); /* from here on `call` may be another thread's */
    const grpc_call_error error = grpc_call_start_batch(core, operations, count, tag, NULL);
    evener_grpc_connection_leave(connection);
    evener_grpc_connection_unref(connection);
    return error == GRPC_CALL_OK;
}

/* ---- metadata, as the owner reads them ---- */

typedef struct read_metadata {
    evener_metadata *entries; /* one block with the texts */
    size_t count;
} read_metadata;

/* Read all entries; `entries` NULL: out of memory. */
static read_metadata read_all(const grpc_metadata_array *from)
{
    size_t bytes = from->count * sizeof(evener_metadata);
    for (size_t i = 0; i < from->count; i++) {
        bytes += GRPC_SLICE_LENGTH(from->metadata[i].key) + GRPC_SLICE_LENGTH(from->metadata[i].value) + 2;
    }
    read_metadata read = {.entries = from->count > 0 ? malloc(bytes) : NULL};
    if (read.entries == NULL) {
        return read;
    }
    char *at = (char *)(read.entries + from->count);
    for (size_t i = 0; i < from->count; i++) {
        const grpc_metadata *entry = &from->metadata[i];
        const size_t key_bytes = GRPC_SLICE_LENGTH(entry->key);
        const size_t value_bytes = GRPC_SLICE_LENGTH(entry->value);
        read.entries[i] = (evener_metadata){.key = at, .value = at + key_bytes + 1, .value_bytes = value_bytes};
        memcpy(at, GRPC_SLICE_START_PTR(entry->key), key_bytes);
        at[key_bytes] = '\0';
        memcpy(at + key_bytes + 1, GRPC_SLICE_START_PTR(entry->value), value_bytes);
        at[key_bytes + 1 + value_bytes] = '\0';
        at += key_bytes + value_bytes + 2;
    }
    read.count = from->count;
    return read;
}

void evener_grpc_core_call_deliver_headers(evener_grpc_core_call *call)
{
    if (call->owner == NULL || !call->wants_metadata || call->events->headers == NULL) {
        return;
    }
    read_metadata read = read_all(&call->initial_metadata);
    call->events->headers(call->owner, read.entries, read.count);
    free(read.entries);
}

/* ---- the end ---- */

static bool is_answered(const evener_grpc_core_call *call)
{
    return call->answered || call->response != NULL || call->initial_metadata.count > 0 ||
           call->trailing_metadata.count > 0;
}

static void find_load_report(const evener_grpc_core_call *call, evener_call_end *end)
{
    for (size_t i = 0; i < call->trailing_metadata.count; i++) {
        const grpc_metadata *entry = &call->trailing_metadata.metadata[i];
        if (grpc_slice_str_cmp(entry->key, load_report_keys[0]) == 0 ||
            grpc_slice_str_cmp(entry->key, load_report_keys[1]) == 0) {
            end->load_report = GRPC_SLICE_START_PTR(entry->value);
            end->load_report_bytes = GRPC_SLICE_LENGTH(entry->value);
            return;
        }
    }
}

/* A6. Valid as long as the call. */
static const char pushback_key[] = "grpc-retry-pushback-ms";

static void find_pushback(const evener_grpc_core_call *call, evener_metadata *entry, evener_call_end *end)
{
    for (size_t i = 0; i < call->trailing_metadata.count; i++) {
        const grpc_metadata *from = &call->trailing_metadata.metadata[i];
        if (grpc_slice_str_cmp(from->key, pushback_key) == 0) {
            *entry = (evener_metadata){.key = pushback_key,
                                       .value = (const char *)GRPC_SLICE_START_PTR(from->value),
                                       .value_bytes = GRPC_SLICE_LENGTH(from->value)};
            end->trailing = entry;
            end->trailing_count = 1;
            return;
        }
    }
}

/* Deliver `ended`. The owner may free its memory as soon as the event returns. */
static void deliver(evener_grpc_core_call *call, const evener_call_end *end)
{
    evener_transport_call *owner = call->owner;
    call->owner = NULL;
    evener_grpc_overdue_remove(call->connection->engine->overdue, call);
    call->events->ended(owner, end);
}

/* Judge the connection by the call's end. May wait for a moment. */
static void judge_connection(evener_grpc_core_call *call, const evener_call_end *end)
{
    evener_grpc_connection_judge(call->connection, end->code, end->fate == EVENER_FATE_NEVER_LEFT);
    if (is_answered(call)) {
        evener_grpc_connection_answered(call->connection, call->end_awaited_ns);
    } else if (end->code == EVENER_STATUS_UNAVAILABLE) {
        evener_grpc_connection_await_end(call->connection, call->deadline_ns);
    }
}

/* Return whether the call's own deadline ended it. The core's error string does not distinguish the core's status from
 * a server's here (1.51), so the clock decides: the deadline has passed. A server's longer message is passed on. */
static bool is_past_deadline(const evener_grpc_core_call *call)
{
    return call->code == GRPC_STATUS_DEADLINE_EXCEEDED && call->deadline_ns != UINT64_MAX &&
           grpc_slice_str_cmp(call->message, "Deadline Exceeded") == 0 &&
           evener_loop_now_ns(call->connection->loop) >= call->deadline_ns;
}

/* The core's message for an answer whose headers were not gRPC's; the status code is already the one of
 * http-grpc-status-mapping.md. The message is reworded for people; nothing is decided by it. */
static const char http_words[] = "Received http2 header with status: ";

/* Return the status message, which may hold NUL bytes, with a NUL behind it, in `inlined` or in memory to be freed;
 * truncated on out of memory. */
static char *make_message(const evener_grpc_core_call *call, char *inlined, size_t inlined_bytes, size_t *length)
{
    const char *from = (const char *)GRPC_SLICE_START_PTR(call->message);
    const size_t bytes = GRPC_SLICE_LENGTH(call->message);
    const size_t words = sizeof http_words - 1;
    if (bytes > words && bytes < inlined_bytes / 3 && memcmp(from, http_words, words) == 0) {
        *length = (size_t)snprintf(inlined, inlined_bytes, "HTTP status %.*s (%.*s)", (int)(bytes - words),
                                   from + words, (int)bytes, from);
        return inlined;
    }
    char *message = bytes < inlined_bytes ? inlined : malloc(bytes + 1);
    const size_t kept = message != NULL ? bytes : inlined_bytes - 1;
    message = message != NULL ? message : inlined;
    memcpy(message, from, kept);
    message[kept] = '\0';
    *length = kept;
    return message;
}

bool evener_grpc_core_call_take_message(evener_grpc_core_call *call, grpc_byte_buffer *received, evener_bytes *message)
{
    if (!evener_grpc_bytes_receive(received, message)) {
        call->message_is_lost = true;
    }
    if (call->receive_bytes_max > 0 && message->length > call->receive_bytes_max) {
        call->too_long_bytes = message->length;
        evener_bytes_clear(message);
    }
    return !call->message_is_lost && call->too_long_bytes == 0;
}

void evener_grpc_core_call_deliver_end(evener_grpc_core_call *call)
{
    if (call->owner == NULL) {
        return;
    }
    char inlined[MESSAGE_BYTES_INLINE];
    char too_long[MESSAGE_BYTES_INLINE];
    size_t message_bytes;
    char *message = make_message(call, inlined, sizeof inlined, &message_bytes);
    const bool is_known = call->code >= GRPC_STATUS_OK && call->code <= GRPC_STATUS_UNAUTHENTICATED;
    evener_call_end end = {
        .size = sizeof end,
        .code = is_known ? (evener_status_code)call->code : EVENER_STATUS_UNKNOWN,
        .message = message,
        .message_bytes = message_bytes,
        .headers_came = call->answered || call->response != NULL || call->initial_metadata.count > 0,
    };
    if (end.code != EVENER_STATUS_OK) {
        end.timed_out = is_past_deadline(call);
        end.fate = evener_grpc_was_not_taken(call->error_string, is_answered(call)) ? EVENER_FATE_NEVER_LEFT
                                                                                    : EVENER_FATE_PERHAPS_PROCESSED;
    }
    judge_connection(call, &end);
    evener_bytes response = {0};
    if (end.code == EVENER_STATUS_OK) {
        (void)evener_grpc_core_call_take_message(call, call->response, &response);
        call->response = NULL;
        end.response = &response;
    }
    if (call->too_long_bytes > 0) {
        end.response = NULL;
        end.code = EVENER_STATUS_RESOURCE_EXHAUSTED;
        end.fate = EVENER_FATE_PERHAPS_PROCESSED;
        end.timed_out = false;
        end.message_bytes =
            (size_t)snprintf(too_long, sizeof too_long, "received message of %zu bytes is larger than the limit of %zu",
                             call->too_long_bytes, call->receive_bytes_max);
        end.message = too_long;
    }
    if (call->message_is_lost) {
        static const char lost[] = "out of memory for a received message";
        end.response = NULL;
        end.code = EVENER_STATUS_RESOURCE_EXHAUSTED;
        end.fate = EVENER_FATE_PERHAPS_PROCESSED;
        end.timed_out = false;
        end.message = lost;
        end.message_bytes = sizeof lost - 1;
    }
    if (call->second_came) {
        static const char second[] = "the server sent a second message in answer to a unary call";
        end.response = NULL;
        end.code = EVENER_STATUS_INTERNAL; /* as grpc-go */
        end.fate = EVENER_FATE_PERHAPS_PROCESSED;
        end.timed_out = false;
        end.message = second;
        end.message_bytes = sizeof second - 1;
    }
    find_load_report(call, &end);
    read_metadata trailing = {0};
    evener_metadata pushback;
    if (call->wants_metadata) {
        trailing = read_all(&call->trailing_metadata);
        end.trailing = trailing.entries;
        end.trailing_count = trailing.count;
    } else {
        find_pushback(call, &pushback, &end);
    }
    deliver(call, &end);
    evener_bytes_clear(&response);
    free(trailing.entries);
    if (message != inlined) {
        free(message);
    }
}

/* Abandon the call. Called with the mutex held, and unlocks it. */
static void abandon(evener_grpc_core_call *call)
{
    static const char message[] = "deadline exceeded";
    const evener_call_end end = {
        .size = sizeof end,
        .code = EVENER_STATUS_DEADLINE_EXCEEDED,
        .message = message,
        .message_bytes = sizeof message - 1,
        .timed_out = true,
    };
    const bool ends = call->owner != NULL;
    if (ends) {
        (void)grpc_call_cancel(call->core, NULL);
        deliver(call, &end);
    }
    pthread_mutex_unlock(&call->mutex);
    if (ends) {
        evener_grpc_core_call_unref(call); /* the owner's */
    }
}

void evener_grpc_core_call_abandon(evener_grpc_core_call *call)
{
    pthread_mutex_lock(&call->mutex);
    abandon(call);
}

bool evener_grpc_core_call_try_abandon(evener_grpc_core_call *call)
{
    const bool locked = pthread_mutex_trylock(&call->mutex) == 0;
    if (locked) {
        abandon(call);
    }
    return locked;
}
