/* Streams: the events of their attempts, and the callbacks on call threads. See stream.c. */
#include <stddef.h>
#include <stdlib.h>

#include "lb/base/memory.h"
#include "lb/call/details.h"
#include "lb/call/stream.h"
#include "lb/channel/channel_internal.h"

/* Callbacks that a call thread is to run. */
enum { PENDING_HEADERS = 1, PENDING_MESSAGE = 2, PENDING_WRITTEN = 4, PENDING_ENDED = 8 };

/* Whether callbacks run on the thread of the transport's event, without more ado. */
static bool has_callbacks_here(const evener_stream *stream)
{
    return stream->has_callbacks && stream->callback_threads == NULL && !stream->is_hedged;
}

/* Whether callbacks are put in: for a call thread, or as the events of several attempts may come at the same time. */
static bool has_callbacks_put_in(const evener_stream *stream)
{
    return stream->callback_threads != NULL || (stream->is_hedged && stream->has_callbacks);
}

/* ---- callbacks on call threads, and of hedged streams ---- */

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

/* Put an event in. True: the caller is to run the callbacks, with run_put_in(), after the mutex was released. Under the
 * mutex. */
static bool put_pending(evener_stream *stream, uint32_t event)
{
    stream->pending |= event;
    if (stream->is_delivering) {
        return false;
    }
    stream->is_delivering = true;
    atomic_fetch_add_explicit(&stream->references, 1, memory_order_relaxed);
    if (stream->callback_threads == NULL) {
        return true;
    }
    evener_work_threads_put(stream->callback_threads, &stream->work);
    return false;
}

static void run_put_in(evener_stream *stream, bool is_due)
{
    if (is_due) {
        evener_stream_run_callbacks(&stream->work);
    }
}

/* ---- writing ---- */

void evener_stream_write_on(evener_stream *stream, evener_line *line, const evener_bytes *message)
{
    if (stream->is_hedged) {
        /* The next attempt may move the message, and the stream end, while this one still writes. The message has an
         * owner, so that this takes no memory. */
        line->out = evener_bytes_ref(message);
        message = &line->out;
    }
    stream->attempts.rpc.calls->call_write(line->attempts->wire, message, false);
}

void evener_stream_half_close_on(const evener_stream *stream, evener_line *line)
{
    line->half_close_sent = true;
    stream->attempts.rpc.calls->call_half_close(line->attempts->wire);
}

/* Hand what is to be written next to the transport. Under the mutex, on the wire, while no message is under way. */
static void write_next(evener_stream *stream, evener_line *line)
{
    if (evener_replay_is_under_way(&stream->replay, line)) {
        evener_stream_write_on(stream, line, &stream->replay.messages[line->written]);
    } else if (stream->has_writing) {
        evener_stream_write_on(stream, line, &stream->writing);
    } else if (stream->half_close && !line->half_close_sent) {
        evener_stream_half_close_on(stream, line);
    }
}

/* ---- commitment ---- */

/* Leave only this attempt open; NULL: none. Under the mutex, as the next functions. */
void evener_stream_leave_open(evener_stream *stream, evener_line *chosen)
{
    for (evener_line *line = stream->open, *next; line != NULL; line = next) {
        next = line->next;
        line->next = NULL;
        line->is_open = line == chosen;
    }
    stream->open = chosen != NULL && chosen->is_open ? chosen : NULL;
}

/* Commit the stream to an attempt on the wire. False: it is committed to another one, or ends. */
bool evener_stream_commit(evener_stream *stream, evener_line *line, bool has_answer)
{
    if (stream->chosen == NULL && line->is_open && evener_hedge_commit(line->attempts, has_answer)) {
        stream->chosen = line;
        evener_stream_leave_open(stream, line);
        atomic_store_explicit(&stream->peer, line->peer, memory_order_release); /* pairs with evener_stream_peer() */
    }
    if (stream->chosen != line) {
        return false;
    }
    if (stream->may_replay) {
        evener_replay_commit(&stream->replay, line);
    }
    return true;
}

void evener_stream_reserve(evener_stream *stream, size_t message_bytes)
{
    if (!evener_replay_is_exceeded(&stream->replay, message_bytes)) {
        return;
    }
    evener_line *most = stream->chosen;
    for (evener_line *line = stream->is_hedged ? stream->open : NULL; line != NULL; line = line->next) {
        if (most == NULL || line->written > most->written) {
            most = line;
        }
    }
    stream->replay.is_on = false; /* without an attempt on the wire: begun() commits to the next one */
    if (most != NULL) {
        (void)evener_stream_commit(stream, most, false);
    }
}

/* ---- the events of an attempt ---- */

static void name_peer(evener_stream *stream, evener_line *line)
{
    const char *address = evener_subchannel_address_text(line->attempts->pick.subchannel);
    const size_t bytes = evener_details_peer(address, NULL, 0) + 1;
    evener_stream_peer_name *peer = malloc(sizeof *peer + bytes);
    if (peer != NULL) {
        (void)evener_details_peer(address, peer->text, bytes);
        peer->older = stream->peers;
        stream->peers = peer;
        line->peer = peer;
        atomic_store_explicit(&stream->peer, peer, memory_order_release); /* pairs with evener_stream_peer() */
    }
}

/* Hand the stream's requests to the transport of an attempt that has begun. Under the mutex. */
void evener_stream_line_begun(evener_stream *stream, evener_line *line)
{
    const evener_transport_calls *calls = stream->attempts.rpc.calls;
    name_peer(stream, line);
    line->half_close_sent = false;
    line->holds_headers = false; /* those of the attempt before */
    line->written = 0;
    if (stream->has_only_request) {
        line->half_close_sent = true;
        calls->call_write(line->attempts->wire, &stream->only_request, true);
    }
    write_next(stream, line);
    if (stream->reading) {
        calls->call_read(line->attempts->wire);
    }
    evener_wait_word_set(&stream->open_word, EVENER_STREAM_ANSWERED);
}

static void begun(evener_attempts *attempts)
{
    evener_stream *stream = evener_stream_of(attempts);
    evener_stream_line_begun(stream, &stream->line);
}

static bool may_repeat(evener_attempts *attempts)
{
    evener_stream *stream = evener_stream_of(attempts);
    evener_stream_lock(stream);
    const bool may = (!stream->wrote || stream->replay.is_on) && !stream->has_headers;
    attempts->is_committed = !stream->replay.is_on;
    if (may) {
        /* Until the next attempt begins: a message that overflows the buffer commits, which keeps what is still
         * to be written. */
        stream->line.written = 0;
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

/* Handle the server's headers. */
void evener_stream_line_headers(evener_stream *stream, evener_line *line, const evener_metadata *metadata, size_t count)
{
    evener_stream_lock(stream);
    if (stream->replay.is_on && count == 0 && are_ambiguous(stream) && !line->holds_headers) {
        line->holds_headers = true;
        evener_stream_unlock(stream);
        return;
    }
    line->holds_headers = false;
    if (!evener_stream_commit(stream, line, true)) {
        evener_stream_unlock(stream);
        return;
    }
    line->attempts->is_answered = true;
    evener_details_headers(&stream->headers, metadata, count);
    evener_details_headers(line->attempts->details, metadata, count);
    stream->has_headers = true;
    evener_wait_word_set(&stream->headers_word, EVENER_STREAM_ANSWERED);
    const bool is_due = has_callbacks_put_in(stream) && put_pending(stream, PENDING_HEADERS);
    evener_stream_unlock(stream);
    evener_interception_headers(stream->interception, metadata, count);
    run_put_in(stream, is_due);
    if (has_callbacks_here(stream) && stream->callbacks.headers != NULL) {
        stream->callbacks.headers(stream->arg, metadata, count);
    }
}

static bool holds_headers(evener_stream *stream, const evener_line *line)
{
    if (!stream->may_replay) {
        return false;
    }
    evener_stream_lock(stream);
    const bool holds = line->holds_headers;
    evener_stream_unlock(stream);
    return holds;
}

void evener_stream_line_message(evener_stream *stream, evener_line *line, evener_bytes *received)
{
    if (holds_headers(stream, line)) {
        evener_stream_line_headers(stream, line, NULL, 0);
    }
    evener_interception_message(stream->interception, false, received);
    evener_stream_lock(stream);
    line->attempts->is_answered = true;
    (void)evener_stream_commit(stream, line, true);
    if (line->attempts->rpc.first_message_ns == 0) {
        line->attempts->rpc.first_message_ns =
            evener_loop_now_ns(evener_runtime_loop(evener_channel_runtime(stream->channel)));
    }
    stream->reading = false;
    bool is_due = false;
    if (has_callbacks_put_in(stream)) {
        stream->message = *received;
        is_due = put_pending(stream, PENDING_MESSAGE);
    } else if (!stream->has_callbacks) {
        stream->message = *received;
        stream->has_message = true;
        evener_wait_word_set(&stream->read_word, EVENER_STREAM_ANSWERED);
    }
    evener_stream_unlock(stream);
    run_put_in(stream, is_due);
    if (has_callbacks_here(stream)) {
        stream->callbacks.message(stream->arg, received);
    }
}

/* Under the mutex, which is released. */
void evener_stream_line_written(evener_stream *stream, evener_line *line)
{
    if (evener_replay_is_under_way(&stream->replay, line)) {
        evener_replay_written(&stream->replay, line);
        write_next(stream, line);
        evener_stream_unlock(stream);
        return;
    }
    if (!stream->has_writing) { /* `only_request`, which is kept: the stream may still be attempted again */
        evener_stream_unlock(stream);
        return;
    }
    stream->wrote = true;
    stream->has_writing = false;
    const bool was_on = stream->replay.is_on;
    evener_replay_keep(&stream->replay, line, &stream->writing);
    if (was_on && !stream->replay.is_on) { /* out of memory */
        (void)evener_stream_commit(stream, line, false);
    }
    write_next(stream, line); /* the end of writing, if it is due */
    evener_wait_word_set(&stream->write_word, EVENER_STREAM_ANSWERED);
    const bool is_due = has_callbacks_put_in(stream) && put_pending(stream, PENDING_WRITTEN);
    evener_stream_unlock(stream);
    run_put_in(stream, is_due);
    if (has_callbacks_here(stream) && stream->callbacks.written != NULL) {
        stream->callbacks.written(stream->arg);
    }
}

static void headers(evener_transport_call *wire, const evener_metadata *metadata, size_t count)
{
    evener_stream *stream = evener_stream_of(wire->arg);
    evener_stream_line_headers(stream, &stream->line, metadata, count);
}

static void message(evener_transport_call *wire, evener_bytes *received)
{
    evener_stream *stream = evener_stream_of(wire->arg);
    evener_stream_line_message(stream, &stream->line, received);
}

static void written(evener_transport_call *wire)
{
    evener_stream *stream = evener_stream_of(wire->arg);
    evener_stream_lock(stream);
    evener_stream_line_written(stream, &stream->line);
}

void evener_stream_fill_users_details(evener_stream *stream)
{
    if (stream->users_details != NULL) {
        evener_details_move(&stream->details, stream->users_details);
        stream->users_details = NULL;
    }
}

void evener_stream_finished(evener_attempts *attempts, const evener_status *status, const evener_call_end *end)
{
    evener_stream *stream = evener_stream_of(attempts);
    /* Without an end they are of an attempt that was to be repeated. With one, `chosen` is not changed any more. */
    if (end != NULL && holds_headers(stream, stream->chosen)) {
        evener_stream_line_headers(stream, stream->chosen, NULL, 0);
    }
    evener_stream_lock(stream);
    stream->is_closed = true;
    evener_stream_leave_open(stream, NULL);
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
    const bool is_elsewhere = has_callbacks_put_in(stream);
    const bool is_due = is_elsewhere && put_pending(stream, PENDING_ENDED); /* the ring's reference goes with it */
    evener_stream_unlock(stream);
    if (is_elsewhere) {
        run_put_in(stream, is_due);
        return;
    }
    if (stream->has_callbacks) {
        stream->callbacks.ended(stream->arg, status);
    }
    evener_stream_drop_reference(stream);
}

void evener_stream_hold(evener_attempts *attempts)
{
    atomic_fetch_add_explicit(&evener_stream_of(attempts)->references, 1, memory_order_relaxed);
}

void evener_stream_let_go(evener_attempts *attempts)
{
    evener_stream_drop_reference(evener_stream_of(attempts));
}

static const evener_call_events events = {
    .size = sizeof events, .headers = headers, .message = message, .written = written, .ended = evener_attempts_ended};

const evener_attempts_hooks evener_stream_hooks = {.events = &events,
                                                   .begun = begun,
                                                   .may_repeat = may_repeat,
                                                   .finished = evener_stream_finished,
                                                   .ref = evener_stream_hold,
                                                   .unref = evener_stream_let_go};
