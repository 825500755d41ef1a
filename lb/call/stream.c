/* Streams: the loop of attempts (attempts.h), in which attempts read and write.
 *
 * A request (to write a message, to end writing, to read a message) stays in the stream until the transport has
 * answered it. So it can be made before there is a backend, and again at the next backend when the transport reports
 * that an attempt was not processed.
 *
 * With a retry policy the messages that were sent are kept, and sent again to the next backend (replay.h), until the
 * call is committed: by the server's headers or first message, or by more than 256 KiB (A6, client retries).
 *
 * With a hedging policy several attempts are on the wire at once (hedge.h), and each writes what was kept. What is still
 * to be written goes to all of them, and is reported as written when the first has written it. The attempt whose answer
 * begins first is chosen, and the others are cancelled. Until then nothing of the answer was given to the program.
 *
 * The blocking functions wait on words that the events change (evener_wait_word_set()); streams that were started with
 * callbacks call those instead, or have a call thread call them (callbacks_on_call_threads). */
#include <stdlib.h>
#include <string.h>

#include "lb/base/fork.h"
#include "lb/base/memory.h"
#include "lb/base/options.h"
#include "lb/call/copies.h"
#include "lb/call/details.h"
#include "lb/call/retry.h"
#include "lb/call/stream.h"
#include "lb/channel/channel_internal.h"
#include "lb/runtime/uncancelled.h"

/* The threads that the stream needs are the parent's, and one of them may have held its mutex at the fork(). */
static bool is_older_than_fork(const evener_stream *stream)
{
    return evener_channel_is_older_than_fork(stream->channel);
}

static void wait_for(uint32_t *word)
{
    /* Acquire pairs with evener_wait_word_set(). */
    while ((__atomic_load_n(word, __ATOMIC_ACQUIRE) & ~EVENER_WAIT_BITS) == EVENER_STREAM_WAITING) {
        evener_wait_word_sleep(word, EVENER_STREAM_WAITING, UINT64_MAX);
    }
}

/* ---- life ---- */

evener_stream *evener_stream_ref(evener_stream *stream)
{
    atomic_fetch_add_explicit(&stream->users, 1, memory_order_relaxed);
    return stream;
}

static void stream_free(evener_stream *stream)
{
    evener_hedge_free(atomic_load_explicit(&stream->hedge, memory_order_relaxed));
    evener_attempts_clear(&stream->attempts);
    evener_bytes_clear(&stream->only_request);
    evener_bytes_clear(&stream->writing);
    if (stream->may_replay) {
        evener_replay_clear(&stream->replay);
    }
    evener_bytes_clear(&stream->message);
    evener_call_details_clear(&stream->headers);
    evener_call_details_clear(&stream->details);
    evener_stream_peer_name *peer = stream->peers;
    while (peer != NULL) {
        evener_stream_peer_name *older = peer->older;
        free(peer);
        peer = older;
    }
    evener_channel_unref(stream->channel);
    free(stream);
}

void evener_stream_drop_reference(evener_stream *stream)
{
    /* acq_rel: the last one sees what the others did. */
    if (atomic_fetch_sub_explicit(&stream->references, 1, memory_order_acq_rel) == 1) {
        stream_free(stream);
    }
}

static void cancel(evener_stream *stream)
{
    evener_attempts_cancel(&stream->attempts); /* nothing happens if the stream has ended */
    /* Acquire pairs with evener_stream_start_hedge(). */
    evener_hedge *hedge = atomic_load_explicit(&stream->hedge, memory_order_acquire);
    if (__builtin_expect(hedge != NULL, 0)) {
        evener_hedge_cancel(hedge);
    }
}

void evener_stream_unref(evener_stream *stream)
{
    /* acq_rel: the last user sees what the others did. */
    if (stream == NULL || atomic_fetch_sub_explicit(&stream->users, 1, memory_order_acq_rel) != 1 ||
        is_older_than_fork(stream)) {
        return;
    }
    if (!stream->has_callbacks) { /* with callbacks they are filled before `ended` */
        evener_stream_lock(stream);
        stream->users_details = NULL; /* borrowed from a caller who may be gone */
        evener_stream_unlock(stream);
    }
    cancel(stream);
    evener_stream_drop_reference(stream);
}

/* ---- opening ---- */

static evener_status_code no_memory(const char *method, evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "stream of %s: out of memory", method);
}

static evener_status_code end_without_stream(evener_interception *interception, const char *method,
                                             evener_status *status)
{
    evener_status found;
    (void)no_memory(method, &found);
    evener_interception_end(interception, &found, NULL);
    return evener_status_set(status, found.code, "%s", found.message);
}

/* Choose how the stream is repeated: by retries, by hedging, or not. */
static void choose_policy(evener_stream *stream, bool blocks)
{
    evener_attempts *attempts = &stream->attempts;
    const evener_rpc *rpc = &attempts->rpc;
    const size_t request_bytes = stream->has_only_request ? stream->only_request.length : 0;
    stream->line.attempts = attempts;
    stream->chosen = &stream->line;
    if (__builtin_expect(rpc->policy.kind != EVENER_CALL_POLICY_NONE, 0) && blocks &&
        evener_rpc_waits_for_itself(rpc)) {
        return; /* a delay would hold up what it waits for */
    }
    stream->may_replay = rpc->policy.kind == EVENER_CALL_POLICY_RETRY && rpc->attempts_max > 1;
    stream->replay.is_on = stream->may_replay;
    if (__builtin_expect(evener_hedge_is_wanted(rpc), 0) && request_bytes <= EVENER_RETRY_BUFFER_BYTES) {
        stream->may_replay = stream->replay.is_on = stream->is_hedged = true;
        stream->chosen = NULL;
        attempts->hooks = &evener_stream_hedged_hooks;
    }
    if (stream->may_replay) {
        evener_stream_reserve(stream, request_bytes);
    }
}

/* `blocks`: the caller waits until the stream has begun. */
static evener_status_code stream_create(evener_channel *channel, const char *method, const evener_bytes *only_request,
                                        bool blocks, evener_call_options *options, evener_stream **stream,
                                        evener_status *status)
{
    evener_interception *interception = NULL;
    const evener_status_code code =
        evener_is_intercepted(channel, options)
            ? evener_interception_begin(channel, method, true, options, &interception, status)
            : EVENER_STATUS_OK;
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    const evener_transport_calls *calls = evener_channel_transport(channel)->vtable->calls;
    const size_t wire_at = (sizeof(evener_stream) + 63) & ~(size_t)63;
    const size_t copies_at = wire_at + evener_rpc_call_bytes(calls);
    evener_stream *made = evener_cache_aligned_calloc(copies_at + evener_copies_bytes(method, options));
    if (made == NULL) {
        return end_without_stream(interception, method, status);
    }
    if (only_request != NULL) {
        made->only_request = evener_bytes_ref(only_request);
        if (made->only_request.length < only_request->length) {
            free(made);
            return end_without_stream(interception, method, status);
        }
        made->has_only_request = true;
        made->half_close = true;
    }
    made->interception = interception;
    if (only_request != NULL) {
        evener_interception_message(interception, true, only_request);
    }
    made->headers.size = sizeof made->headers;
    made->details.size = sizeof made->details;
    made->users_details = options->details;
    evener_details_begin(made->users_details, 0);
    atomic_init(&made->users, 1);
    atomic_init(&made->references, 2);
    made->channel = evener_channel_ref(channel);

    evener_attempts *attempts = &made->attempts;
    evener_rpc_init(&attempts->rpc, channel, method, options);
    attempts->rpc.pick_args.streaming = true;
    evener_copies_make(&attempts->rpc, (char *)made + copies_at);
    attempts->hooks = &evener_stream_hooks;
    attempts->late = evener_late_ref(evener_interception_late(interception));
    attempts->wire = (evener_transport_call *)(void *)((char *)made + wire_at);
    attempts->details = &made->details;
    attempts->begin = (evener_call_begin_args){.wants_metadata = true};
    evener_attempts_init(attempts);
    choose_policy(made, blocks);
    *stream = made;
    return EVENER_STATUS_OK;
}

static evener_status_code begin(evener_stream *stream, bool may_wait, evener_status *status)
{
    evener_attempts *attempts = &stream->attempts;
    evener_status_code code = evener_rpc_admit(&attempts->rpc, status);
    if (code == EVENER_STATUS_OK) {
        code = stream->is_hedged && !evener_attempts_has_late(attempts)
                   ? evener_stream_start_hedge(stream, status)
                   : evener_attempts_begin(attempts, may_wait, status);
        if (code != EVENER_STATUS_OK) {
            evener_rpc_report(&attempts->rpc, code);
        }
    }
    return code;
}

/* Drop a stream without an attempt: give both references back. */
static void stream_drop(evener_stream *stream, const evener_status *status)
{
    evener_interception_end(stream->interception, status, NULL);
    stream->interception = NULL;
    stream->ended = true;
    evener_stream_drop_reference(stream);
    evener_stream_drop_reference(stream);
}

evener_status_code evener_stream_open(evener_channel *channel, const char *method, const evener_bytes *only_request,
                                      const evener_call_options *given, evener_stream **stream, evener_status *status)
{
    EVENER_UNCANCELLED;
    evener_call_options options;
    evener_stream *made = NULL;
    evener_status found;
    evener_status_code code = evener_rpc_check(channel, method, given, &options, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (stream == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "evener_stream_open: `stream` is NULL");
    }
    code = stream_create(channel, method, only_request, true, &options, &made, status);
    if (made == NULL) {
        return code;
    }
    code = begin(made, !evener_rpc_waits_for_itself(&made->attempts.rpc), &found);
    if (code != EVENER_STATUS_OK) {
        evener_status_set(status, code, "%s", found.message);
        stream_drop(made, &found);
        return code;
    }
    wait_for(&made->open_word);
    evener_stream_lock(made);
    const bool failed = made->ended && atomic_load_explicit(&made->peer, memory_order_relaxed) == NULL;
    if (failed) {
        found = made->status;
        evener_stream_fill_users_details(made);
    }
    evener_stream_unlock(made);
    if (failed) {
        evener_stream_unref(made);
        return evener_status_set(status, found.code, "%s", found.message);
    }
    *stream = made;
    return evener_status_clear(status);
}

evener_status_code evener_stream_start(evener_channel *channel, const char *method, const evener_bytes *only_request,
                                       const evener_call_options *given, const evener_stream_callbacks *callbacks,
                                       void *arg, evener_stream **stream, evener_status *status)
{
    EVENER_UNCANCELLED;
    evener_call_options options;
    evener_stream_callbacks own;
    evener_stream *made = NULL;
    evener_status found;
    evener_status_code code = evener_rpc_check(channel, method, given, &options, status);
    if (code == EVENER_STATUS_OK) {
        code = evener_options_read(&own, sizeof own, callbacks, "stream callbacks", "evener_stream_callbacks", status);
    }
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (stream == NULL || own.message == NULL || own.ended == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "evener_stream_start: `%s` is NULL",
                                 stream == NULL        ? "stream"
                                 : own.message == NULL ? "callbacks->message"
                                                       : "callbacks->ended");
    }
    code = stream_create(channel, method, only_request, false, &options, &made, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    made->callbacks = own;
    made->arg = arg;
    made->has_callbacks = true;
    /* Acquire: pairs with evener_channel_reconfigure(). */
    made->callback_threads = __atomic_load_n(&channel->calls.callback_threads, __ATOMIC_ACQUIRE);
    made->work.run = evener_stream_run_callbacks;
    *stream = made; /* callbacks may use it before this returns */
    code = begin(made, true, &found);
    if (code != EVENER_STATUS_OK) {
        *stream = NULL;
        evener_status_set(status, code, "%s", found.message);
        stream_drop(made, &found);
        return code;
    }
    return evener_status_clear(status);
}

/* ---- messages ---- */

bool evener_stream_ask(evener_stream *stream)
{
    EVENER_UNCANCELLED;
    if (is_older_than_fork(stream)) {
        return false;
    }
    evener_stream_lock(stream);
    const bool can = !stream->ended && !stream->reading;
    if (can) {
        stream->reading = true;
        __atomic_store_n(&stream->read_word, EVENER_STREAM_WAITING, __ATOMIC_RELAXED);
        for (evener_line *line = evener_stream_first_line(stream); line != NULL; line = line->next) {
            stream->attempts.rpc.calls->call_read(line->attempts->wire);
        }
    }
    evener_stream_unlock(stream);
    return can;
}

bool evener_stream_read(evener_stream *stream, evener_bytes *received)
{
    EVENER_UNCANCELLED;
    if (!evener_stream_ask(stream)) {
        return false;
    }
    wait_for(&stream->read_word);
    evener_stream_lock(stream);
    const bool got = stream->has_message;
    if (got) {
        *received = stream->message;
        stream->message = (evener_bytes){0};
        stream->has_message = false;
    }
    evener_stream_unlock(stream);
    return got;
}

bool evener_stream_send(evener_stream *stream, const evener_bytes *sent)
{
    EVENER_UNCANCELLED;
    if (is_older_than_fork(stream)) {
        return false;
    }
    evener_bytes kept = evener_bytes_ref(sent);
    if (kept.length < sent->length) {
        return false;
    }
    evener_stream_lock(stream);
    const bool can = !stream->ended && !stream->half_close && !stream->has_writing;
    if (can) {
        evener_interception_message(stream->interception, true, sent); /* under the mutex: it may end meanwhile */
        stream->writing = kept;
        kept = (evener_bytes){0};
        stream->has_writing = true;
        if (stream->may_replay) {
            evener_stream_reserve(stream, sent->length);
        }
        __atomic_store_n(&stream->write_word, EVENER_STREAM_WAITING, __ATOMIC_RELAXED);
        for (evener_line *line = evener_stream_first_line(stream); line != NULL; line = line->next) {
            if (!evener_replay_is_under_way(&stream->replay, line)) {
                evener_stream_write_on(stream, line, &stream->writing);
            }
        }
    }
    evener_stream_unlock(stream);
    evener_bytes_clear(&kept);
    return can;
}

bool evener_stream_write(evener_stream *stream, const evener_bytes *sent)
{
    EVENER_UNCANCELLED;
    if (!evener_stream_send(stream, sent)) {
        return false;
    }
    wait_for(&stream->write_word);
    evener_stream_lock(stream);
    const bool passed = !stream->ended || stream->status.code == EVENER_STATUS_OK;
    evener_stream_unlock(stream);
    return passed;
}

bool evener_stream_send_done(evener_stream *stream)
{
    EVENER_UNCANCELLED;
    if (is_older_than_fork(stream)) {
        return false;
    }
    evener_stream_lock(stream);
    const bool can = !stream->ended && !stream->half_close;
    if (can) {
        stream->half_close = true;
        for (evener_line *line = evener_stream_first_line(stream); line != NULL; line = line->next) {
            if (!stream->has_writing && !evener_replay_is_under_way(&stream->replay, line)) {
                evener_stream_half_close_on(stream, line);
            }
        }
    }
    evener_stream_unlock(stream);
    return can;
}

bool evener_stream_writes_done(evener_stream *stream)
{
    return evener_stream_send_done(stream);
}

bool evener_stream_headers(evener_stream *stream, const evener_metadata **metadata, size_t *count)
{
    EVENER_UNCANCELLED;
    if (is_older_than_fork(stream)) {
        return false;
    }
    wait_for(&stream->headers_word);
    evener_stream_lock(stream);
    const bool has = stream->has_headers;
    if (has) {
        *metadata = stream->headers.initial_metadata;
        *count = stream->headers.initial_metadata_count;
    }
    evener_stream_unlock(stream);
    return has;
}

/* ---- the end ---- */

void evener_stream_cancel(evener_stream *stream)
{
    EVENER_UNCANCELLED;
    if (is_older_than_fork(stream)) {
        return;
    }
    cancel(stream);
}

evener_status_code evener_stream_finish(evener_stream *stream, evener_status *status)
{
    EVENER_UNCANCELLED;
    if (is_older_than_fork(stream)) {
        return evener_fork_refuse(status, "stream");
    }
    (void)evener_stream_send_done(stream);
    /* The status arrives after all messages have been read. */
    evener_bytes dropped;
    while (evener_stream_read(stream, &dropped)) {
        evener_bytes_clear(&dropped);
    }
    evener_stream_lock(stream);
    evener_stream_fill_users_details(stream);
    const evener_status found = stream->status;
    evener_stream_unlock(stream);
    if (status != NULL) {
        *status = found;
    }
    return found.code;
}

const char *evener_stream_peer(const evener_stream *stream)
{
    /* Acquire pairs with the release in name_peer(). */
    const evener_stream_peer_name *peer =
        atomic_load_explicit(&((evener_stream *)(uintptr_t)stream)->peer, memory_order_acquire);
    return peer != NULL ? peer->text : "";
}
