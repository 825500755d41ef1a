/* Streams: the events of their attempts, and the callbacks on call threads. See stream.c. */
#include <stddef.h>
#include <stdlib.h>

#include "lb/base/memory.h"
#include "lb/call/details.h"
#include "lb/call/stream.h"
#include "lb/channel/channel_internal.h"

/* Callbacks that a call thread is to run. */
enum { PENDING_HEADERS = 1, PENDING_MESSAGE = 2, PENDING_WRITTEN = 4, PENDING_ENDED = 8 };

static evener_stream *stream_of(evener_attempts *attempts)
{
    return EVENER_CONTAINER_OF(attempts, evener_stream, attempts);
}

/* Whether callbacks run on the thread of the transport's event. */
static bool has_callbacks_here(const evener_stream *stream)
{
    return stream->has_callbacks && stream->callback_threads == NULL;
}

/* ---- callbacks on call threads ---- */

void evener_stream_run_callbacks(evener_work *work)
{
    evener_stream *stream = EVENER_CONTAINER_OF(work, evener_stream, work);
    const evener_stream_callbacks *callbacks = &stream->callbacks;
    bool has_ended = false;
    for (;;) {
        evener_stream_lock(stream);
        const uint32_t pending = stream->pending;
        evener_bytes message = stream->message;
        stream->pending = 0;
        stream->message = (evener_bytes){0};
        stream->is_delivering = pending != 0;
        evener_stream_unlock(stream);
        if (pending == 0) {
            break;
        }
        if ((pending & PENDING_HEADERS) != 0 && callbacks->headers != NULL) {
            callbacks->headers(stream->arg, stream->headers.initial_metadata, stream->headers.initial_metadata_count);
        }
        if ((pending & PENDING_MESSAGE) != 0) {
            callbacks->message(stream->arg, &message);
        }
        if ((pending & PENDING_WRITTEN) != 0 && callbacks->written != NULL) {
            callbacks->written(stream->arg);
        }
        if ((pending & PENDING_ENDED) != 0) {
            callbacks->ended(stream->arg, &stream->status); /* not changed any more */
            has_ended = true;
        }
    }
    if (has_ended) {
        evener_stream_drop_reference(stream); /* the ring's */
    }
    evener_stream_drop_reference(stream); /* the work's */
}

/* Under the mutex. */
static void put_pending(evener_stream *stream, uint32_t event)
{
    stream->pending |= event;
    if (!stream->is_delivering) {
        stream->is_delivering = true;
        atomic_fetch_add_explicit(&stream->references, 1, memory_order_relaxed);
        evener_work_threads_put(stream->callback_threads, &stream->work);
    }
}

/* ---- the events of an attempt ---- */

/* Hand what is to be written next to the transport. Under the mutex, on the wire, while no message is under way. */
static void write_next(evener_stream *stream)
{
    const evener_transport_calls *calls = stream->attempts.rpc.calls;
    evener_transport_call *wire = stream->attempts.wire;
    if (evener_replay_is_under_way(&stream->replay)) {
        calls->call_write(wire, &stream->replay.messages[stream->replay.next], false);
    } else if (stream->has_writing) {
        calls->call_write(wire, &stream->writing, false);
    } else if (stream->half_close && !stream->half_close_sent) {
        stream->half_close_sent = true;
        calls->call_half_close(wire);
    }
}

/* Hand the stream's requests to the transport. Under the mutex, on the wire. */
static void ask_transport(evener_stream *stream)
{
    const evener_transport_calls *calls = stream->attempts.rpc.calls;
    evener_transport_call *wire = stream->attempts.wire;
    write_next(stream);
    if (stream->reading) {
        calls->call_read(wire);
    }
}

static void name_peer(evener_stream *stream)
{
    const char *address = evener_subchannel_address_text(stream->attempts.pick.subchannel);
    const size_t bytes = evener_details_peer(address, NULL, 0) + 1;
    evener_stream_peer_name *peer = malloc(sizeof *peer + bytes);
    if (peer != NULL) {
        (void)evener_details_peer(address, peer->text, bytes);
        peer->older = atomic_load_explicit(&stream->peer, memory_order_relaxed);
        atomic_store_explicit(&stream->peer, peer, memory_order_release); /* pairs with evener_stream_peer() */
    }
}

static void begun(evener_attempts *attempts)
{
    evener_stream *stream = stream_of(attempts);
    name_peer(stream);
    stream->half_close_sent = false;
    stream->holds_headers = false; /* those of the attempt before */
    evener_replay_restart(&stream->replay);
    if (stream->has_only_request) {
        stream->half_close_sent = true;
        attempts->rpc.calls->call_write(attempts->wire, &stream->only_request, true);
    }
    ask_transport(stream);
    evener_wait_word_set(&stream->open_word, EVENER_STREAM_ANSWERED);
}

static bool may_repeat(evener_attempts *attempts)
{
    evener_stream *stream = stream_of(attempts);
    evener_stream_lock(stream);
    const bool may = (!stream->wrote || stream->replay.is_on) && !stream->has_headers;
    attempts->is_committed = !stream->replay.is_on;
    if (may) {
        /* Until the next attempt begins: a message that overflows the buffer commits, which keeps what is still
         * to be written. */
        evener_replay_restart(&stream->replay);
    }
    evener_stream_unlock(stream);
    return may;
}

/* Return whether the transport says what empty headers are. */
static bool are_ambiguous(const evener_stream *stream)
{
    const evener_transport_calls *calls = stream->attempts.rpc.calls;
    return calls->size >= offsetof(evener_transport_calls, empty_headers_are_ambiguous) + sizeof(bool) &&
           calls->empty_headers_are_ambiguous;
}

static void headers(evener_transport_call *wire, const evener_metadata *metadata, size_t count)
{
    evener_stream *stream = stream_of(wire->arg);
    evener_stream_lock(stream);
    if (stream->replay.is_on && count == 0 && are_ambiguous(stream) && !stream->holds_headers) {
        stream->holds_headers = true;
        evener_stream_unlock(stream);
        return;
    }
    stream->holds_headers = false;
    stream->attempts.is_answered = true;
    if (stream->may_replay) {
        evener_replay_commit(&stream->replay);
    }
    evener_details_headers(&stream->headers, metadata, count);
    evener_details_headers(&stream->details, metadata, count);
    stream->has_headers = true;
    evener_wait_word_set(&stream->headers_word, EVENER_STREAM_ANSWERED);
    if (stream->callback_threads != NULL) {
        put_pending(stream, PENDING_HEADERS);
    }
    evener_stream_unlock(stream);
    evener_interception_headers(stream->interception, metadata, count);
    if (has_callbacks_here(stream) && stream->callbacks.headers != NULL) {
        stream->callbacks.headers(stream->arg, metadata, count);
    }
}

static bool holds_headers(evener_stream *stream)
{
    if (!stream->may_replay) {
        return false;
    }
    evener_stream_lock(stream);
    const bool holds = stream->holds_headers;
    evener_stream_unlock(stream);
    return holds;
}

static void message(evener_transport_call *wire, evener_bytes *received)
{
    evener_stream *stream = stream_of(wire->arg);
    if (holds_headers(stream)) {
        headers(wire, NULL, 0);
    }
    evener_interception_message(stream->interception, false, received);
    evener_stream_lock(stream);
    stream->attempts.is_answered = true;
    if (stream->may_replay) {
        evener_replay_commit(&stream->replay);
    }
    if (stream->attempts.rpc.first_message_ns == 0) {
        stream->attempts.rpc.first_message_ns =
            evener_loop_now_ns(evener_runtime_loop(evener_channel_runtime(stream->channel)));
    }
    stream->reading = false;
    if (stream->callback_threads != NULL) {
        stream->message = *received;
        put_pending(stream, PENDING_MESSAGE);
    } else if (!stream->has_callbacks) {
        stream->message = *received;
        stream->has_message = true;
        evener_wait_word_set(&stream->read_word, EVENER_STREAM_ANSWERED);
    }
    evener_stream_unlock(stream);
    if (has_callbacks_here(stream)) {
        stream->callbacks.message(stream->arg, received);
    }
}

static void written(evener_transport_call *wire)
{
    evener_stream *stream = stream_of(wire->arg);
    evener_stream_lock(stream);
    if (evener_replay_is_under_way(&stream->replay)) {
        evener_replay_written(&stream->replay);
        write_next(stream);
        evener_stream_unlock(stream);
        return;
    }
    if (!stream->has_writing) { /* `only_request`, which is kept: the stream may still be attempted again */
        evener_stream_unlock(stream);
        return;
    }
    stream->wrote = true;
    stream->has_writing = false;
    evener_replay_keep(&stream->replay, &stream->writing);
    write_next(stream); /* the end of writing, if it is due */
    evener_wait_word_set(&stream->write_word, EVENER_STREAM_ANSWERED);
    if (stream->callback_threads != NULL) {
        put_pending(stream, PENDING_WRITTEN);
    }
    evener_stream_unlock(stream);
    if (has_callbacks_here(stream) && stream->callbacks.written != NULL) {
        stream->callbacks.written(stream->arg);
    }
}

void evener_stream_fill_users_details(evener_stream *stream)
{
    if (stream->users_details != NULL) {
        evener_details_move(&stream->details, stream->users_details);
        stream->users_details = NULL;
    }
}

static void finished(evener_attempts *attempts, const evener_status *status, const evener_call_end *end)
{
    evener_stream *stream = stream_of(attempts);
    if (end != NULL && holds_headers(stream)) { /* without an end they are of an attempt that was to be repeated */
        headers(attempts->wire, NULL, 0);
    }
    evener_stream_lock(stream);
    evener_interception *interception = stream->interception;
    stream->interception = NULL; /* evener_stream_send() looks for it under the mutex */
    evener_stream_unlock(stream);
    evener_interception_end(interception, status, &stream->details);
    evener_rpc_report(&attempts->rpc, status->code);
    evener_stream_lock(stream);
    if (stream->may_replay) {
        evener_replay_clear(&stream->replay);
    }
    stream->status = *status;
    stream->ended = true;
    stream->reading = false;
    stream->has_writing = false;
    if (stream->has_callbacks) {
        evener_stream_fill_users_details(stream);
    }
    evener_wait_word_set(&stream->open_word, EVENER_STREAM_ANSWERED);
    evener_wait_word_set(&stream->headers_word, EVENER_STREAM_ANSWERED);
    evener_wait_word_set(&stream->write_word, EVENER_STREAM_ANSWERED);
    evener_wait_word_set(&stream->read_word, EVENER_STREAM_ANSWERED);
    const bool is_elsewhere = stream->callback_threads != NULL;
    if (is_elsewhere) {
        put_pending(stream, PENDING_ENDED); /* the ring's reference goes with it */
    }
    evener_stream_unlock(stream);
    if (is_elsewhere) {
        return;
    }
    if (stream->has_callbacks) {
        stream->callbacks.ended(stream->arg, status);
    }
    evener_stream_drop_reference(stream);
}

static void ref(evener_attempts *attempts)
{
    atomic_fetch_add_explicit(&stream_of(attempts)->references, 1, memory_order_relaxed);
}

static void unref(evener_attempts *attempts)
{
    evener_stream_drop_reference(stream_of(attempts));
}

static const evener_call_events events = {
    .size = sizeof events, .headers = headers, .message = message, .written = written, .ended = evener_attempts_ended};

const evener_attempts_hooks evener_stream_hooks = {
    .events = &events, .begun = begun, .may_repeat = may_repeat, .finished = finished, .ref = ref, .unref = unref};
