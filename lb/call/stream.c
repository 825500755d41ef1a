/* Streams: the loop of attempts (attempts.h), in which attempts read and write.
 *
 * A request (to write a message, to end writing, to read a message) stays in the stream until the transport has
 * answered it. So it can be made before there is a backend, and again at the next backend when the transport reports
 * that an attempt was not processed.
 *
 * With a retry policy the messages that were sent are kept, and sent again to the next backend (replay.h), until the
 * call is committed: by the server's headers or first message, or by more than 256 KiB (A6, client retries).
 *
 * The blocking functions wait on words that the events change (evener_wait_word_set()); streams that were started with
 * callbacks call those instead, or have a call thread call them (callbacks_on_call_threads). */
#include <evener/call.h>

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/fork.h"
#include "lb/base/memory.h"
#include "lb/base/options.h"
#include "lb/call/attempts.h"
#include "lb/call/copies.h"
#include "lb/call/details.h"
#include "lb/call/interceptors.h"
#include "lb/call/replay.h"
#include "lb/channel/channel_internal.h"
#include "lb/runtime/uncancelled.h"
#include "lb/runtime/work_threads.h"

/* Callbacks that a call thread is to run. */
enum { PENDING_HEADERS = 1, PENDING_MESSAGE = 2, PENDING_WRITTEN = 4, PENDING_ENDED = 8 };

/* The words. */
enum { WAITING = 0, ANSWERED = 1 };

/* A backend's name. Lives as long as the stream, which may be attempted again at another backend. */
typedef struct peer_name {
    struct peer_name *older;
    char text[];
} peer_name;

struct evener_stream {
    evener_attempts attempts;
    _Atomic uint32_t users;      /* references of the program; together they hold one of `references` */
    _Atomic uint32_t references; /* of the memory: the users', the ring's until the end, and temporary ones */
    evener_channel *channel;     /* a reference */
    evener_stream_callbacks callbacks;
    void *arg;
    bool has_callbacks;
    evener_work_threads *callback_threads; /* NULL: callbacks run where the transport's events come */
    evener_work work;                      /* with callback_threads; put in while `is_delivering` */
    evener_call_details headers;           /* the server's, from their arrival to the end of the stream */
    evener_call_details details;
    evener_interception *interception;  /* ended with the stream; or NULL */
    evener_call_details *users_details; /* filled at the end; or NULL */
    evener_bytes only_request;          /* a reference */
    bool has_only_request;
    bool may_replay; /* the stream has a retry policy: only then messages are kept, and empty headers held */
    peer_name *_Atomic peer;

    /* under the mutex of the attempts */
    evener_replay replay;
    evener_bytes writing; /* a reference; the message that is to be written */
    bool has_writing;     /* until `written` */
    bool half_close;      /* writing has ended, or is to end behind `writing` */
    bool half_close_sent; /* to the transport of this attempt */
    bool reading;         /* until `message` */
    bool wrote;           /* a message was written: the stream cannot be attempted again */
    bool has_headers;
    bool holds_headers; /* empty ones came, which may be none: see empty_headers_are_ambiguous */
    bool ended;
    evener_status status; /* set when ended */
    evener_bytes message; /* the answer to a blocking read, or on its way to a call thread */
    bool has_message;
    uint32_t pending; /* PENDING_*: what a call thread has not reported yet */
    bool is_delivering;

    /* changed under the mutex, waited for without it */
    uint32_t open_word, read_word, write_word, headers_word;
};

static evener_stream *stream_of(evener_attempts *attempts)
{
    return EVENER_CONTAINER_OF(attempts, evener_stream, attempts);
}

/* The threads that the stream needs are the parent's, and one of them may have held its mutex at the fork(). */
static bool is_older_than_fork(const evener_stream *stream)
{
    return evener_channel_is_older_than_fork(stream->channel);
}

static void lock(evener_stream *stream)
{
    pthread_mutex_lock(&stream->attempts.mutex);
}

static void unlock(evener_stream *stream)
{
    pthread_mutex_unlock(&stream->attempts.mutex);
}

/* Whether callbacks run on the thread of the transport's event. */
static bool has_callbacks_here(const evener_stream *stream)
{
    return stream->has_callbacks && stream->callback_threads == NULL;
}

static bool is_on_wire(const evener_stream *stream)
{
    return stream->attempts.place == EVENER_ATTEMPTS_WIRE;
}

static void wait_for(uint32_t *word)
{
    /* Acquire pairs with evener_wait_word_set(). */
    while ((__atomic_load_n(word, __ATOMIC_ACQUIRE) & ~EVENER_WAIT_BITS) == WAITING) {
        evener_wait_word_sleep(word, WAITING, UINT64_MAX);
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
    evener_attempts_clear(&stream->attempts);
    evener_bytes_clear(&stream->only_request);
    evener_bytes_clear(&stream->writing);
    if (stream->may_replay) {
        evener_replay_clear(&stream->replay);
    }
    evener_bytes_clear(&stream->message);
    evener_call_details_clear(&stream->headers);
    evener_call_details_clear(&stream->details);
    peer_name *peer = atomic_load_explicit(&stream->peer, memory_order_relaxed);
    while (peer != NULL) {
        peer_name *older = peer->older;
        free(peer);
        peer = older;
    }
    evener_channel_unref(stream->channel);
    free(stream);
}

static void drop_reference(evener_stream *stream)
{
    /* acq_rel: the last one sees what the others did. */
    if (atomic_fetch_sub_explicit(&stream->references, 1, memory_order_acq_rel) == 1) {
        stream_free(stream);
    }
}

void evener_stream_unref(evener_stream *stream)
{
    /* acq_rel: the last user sees what the others did. */
    if (stream == NULL || atomic_fetch_sub_explicit(&stream->users, 1, memory_order_acq_rel) != 1 ||
        is_older_than_fork(stream)) {
        return;
    }
    lock(stream);
    stream->users_details = NULL; /* borrowed from a caller who may be gone */
    unlock(stream);
    evener_attempts_cancel(&stream->attempts); /* nothing happens if the stream has ended */
    drop_reference(stream);
}

/* ---- callbacks on call threads ---- */

/* Report what is pending, on a call thread; one thread at a time, as the work is put in only while none is. */
static void run_callbacks(evener_work *work)
{
    evener_stream *stream = EVENER_CONTAINER_OF(work, evener_stream, work);
    const evener_stream_callbacks *callbacks = &stream->callbacks;
    bool has_ended = false;
    for (;;) {
        lock(stream);
        const uint32_t pending = stream->pending;
        evener_bytes message = stream->message;
        stream->pending = 0;
        stream->message = (evener_bytes){0};
        stream->is_delivering = pending != 0;
        unlock(stream);
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
        drop_reference(stream); /* the ring's */
    }
    drop_reference(stream); /* the work's */
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
    peer_name *peer = malloc(sizeof *peer + bytes);
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
    evener_wait_word_set(&stream->open_word, ANSWERED);
}

static bool may_repeat(evener_attempts *attempts)
{
    evener_stream *stream = stream_of(attempts);
    lock(stream);
    const bool may = (!stream->wrote || stream->replay.is_on) && !stream->has_headers;
    attempts->is_committed = !stream->replay.is_on;
    if (may) {
        /* Until the next attempt begins: a message that overflows the buffer commits, which keeps what is still
         * to be written. */
        evener_replay_restart(&stream->replay);
    }
    unlock(stream);
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
    lock(stream);
    if (stream->replay.is_on && count == 0 && are_ambiguous(stream) && !stream->holds_headers) {
        stream->holds_headers = true;
        unlock(stream);
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
    evener_wait_word_set(&stream->headers_word, ANSWERED);
    if (stream->callback_threads != NULL) {
        put_pending(stream, PENDING_HEADERS);
    }
    unlock(stream);
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
    lock(stream);
    const bool holds = stream->holds_headers;
    unlock(stream);
    return holds;
}

static void message(evener_transport_call *wire, evener_bytes *received)
{
    evener_stream *stream = stream_of(wire->arg);
    if (holds_headers(stream)) {
        headers(wire, NULL, 0);
    }
    evener_interception_message(stream->interception, false, received);
    lock(stream);
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
        evener_wait_word_set(&stream->read_word, ANSWERED);
    }
    unlock(stream);
    if (has_callbacks_here(stream)) {
        stream->callbacks.message(stream->arg, received);
    }
}

static void written(evener_transport_call *wire)
{
    evener_stream *stream = stream_of(wire->arg);
    lock(stream);
    if (evener_replay_is_under_way(&stream->replay)) {
        evener_replay_written(&stream->replay);
        write_next(stream);
        unlock(stream);
        return;
    }
    if (!stream->has_writing) { /* `only_request`, which is kept: the stream may still be attempted again */
        unlock(stream);
        return;
    }
    stream->wrote = true;
    stream->has_writing = false;
    evener_replay_keep(&stream->replay, &stream->writing);
    write_next(stream); /* the end of writing, if it is due */
    evener_wait_word_set(&stream->write_word, ANSWERED);
    if (stream->callback_threads != NULL) {
        put_pending(stream, PENDING_WRITTEN);
    }
    unlock(stream);
    if (has_callbacks_here(stream) && stream->callbacks.written != NULL) {
        stream->callbacks.written(stream->arg);
    }
}

/* Move the details into the caller's struct, up to its size. */
static void fill_users_details(evener_stream *stream)
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
    lock(stream);
    evener_interception *interception = stream->interception;
    stream->interception = NULL; /* evener_stream_send() looks for it under the mutex */
    unlock(stream);
    evener_interception_end(interception, status, &stream->details);
    evener_rpc_report(&attempts->rpc, status->code);
    lock(stream);
    if (stream->may_replay) {
        evener_replay_clear(&stream->replay);
    }
    stream->status = *status;
    stream->ended = true;
    stream->reading = false;
    stream->has_writing = false;
    if (stream->has_callbacks) {
        fill_users_details(stream);
    }
    evener_wait_word_set(&stream->open_word, ANSWERED);
    evener_wait_word_set(&stream->headers_word, ANSWERED);
    evener_wait_word_set(&stream->write_word, ANSWERED);
    evener_wait_word_set(&stream->read_word, ANSWERED);
    const bool is_elsewhere = stream->callback_threads != NULL;
    if (is_elsewhere) {
        put_pending(stream, PENDING_ENDED); /* the ring's reference goes with it */
    }
    unlock(stream);
    if (is_elsewhere) {
        return;
    }
    if (stream->has_callbacks) {
        stream->callbacks.ended(stream->arg, status);
    }
    drop_reference(stream);
}

static void ref(evener_attempts *attempts)
{
    atomic_fetch_add_explicit(&stream_of(attempts)->references, 1, memory_order_relaxed);
}

static void unref(evener_attempts *attempts)
{
    drop_reference(stream_of(attempts));
}

static const evener_call_events events = {
    .size = sizeof events, .headers = headers, .message = message, .written = written, .ended = evener_attempts_ended};

static const evener_attempts_hooks hooks = {
    .events = &events, .begun = begun, .may_repeat = may_repeat, .finished = finished, .ref = ref, .unref = unref};

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

static evener_status_code stream_create(evener_channel *channel, const char *method, const evener_bytes *only_request,
                                        evener_call_options *options, evener_stream **stream, evener_status *status)
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
    attempts->hooks = &hooks;
    attempts->late = evener_late_ref(evener_interception_late(interception));
    attempts->wire = (evener_transport_call *)(void *)((char *)made + wire_at);
    attempts->details = &made->details;
    attempts->begin = (evener_call_begin_args){.wants_metadata = true};
    evener_attempts_init(attempts);
    made->may_replay = attempts->rpc.policy.kind == EVENER_CALL_POLICY_RETRY && attempts->rpc.attempts_max > 1;
    made->replay.is_on = made->may_replay;
    if (made->may_replay) {
        evener_replay_reserve(&made->replay, only_request != NULL ? only_request->length : 0);
    }
    *stream = made;
    return EVENER_STATUS_OK;
}

/* Drop a stream without an attempt: give both references back. */
static void stream_drop(evener_stream *stream, const evener_status *status)
{
    evener_interception_end(stream->interception, status, NULL);
    stream->interception = NULL;
    stream->ended = true;
    drop_reference(stream);
    drop_reference(stream);
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
    code = stream_create(channel, method, only_request, &options, &made, status);
    if (made == NULL) {
        return code;
    }
    code = evener_rpc_admit(&made->attempts.rpc, &found);
    if (code == EVENER_STATUS_OK) {
        code = evener_attempts_begin(&made->attempts, !evener_rpc_waits_for_itself(&made->attempts.rpc), &found);
        if (code != EVENER_STATUS_OK) {
            evener_rpc_report(&made->attempts.rpc, code);
        }
    }
    if (code != EVENER_STATUS_OK) {
        evener_status_set(status, code, "%s", found.message);
        stream_drop(made, &found);
        return code;
    }
    wait_for(&made->open_word);
    lock(made);
    const bool failed = made->ended && atomic_load_explicit(&made->peer, memory_order_relaxed) == NULL;
    if (failed) {
        found = made->status;
        fill_users_details(made);
    }
    unlock(made);
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
    code = stream_create(channel, method, only_request, &options, &made, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    made->callbacks = own;
    made->arg = arg;
    made->has_callbacks = true;
    /* Acquire: pairs with evener_channel_reconfigure(). */
    made->callback_threads = __atomic_load_n(&channel->calls.callback_threads, __ATOMIC_ACQUIRE);
    made->work.run = run_callbacks;
    *stream = made; /* callbacks may use it before this returns */
    code = evener_rpc_admit(&made->attempts.rpc, &found);
    if (code == EVENER_STATUS_OK) {
        code = evener_attempts_begin(&made->attempts, true, &found);
        if (code != EVENER_STATUS_OK) {
            evener_rpc_report(&made->attempts.rpc, code);
        }
    }
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
    lock(stream);
    const bool can = !stream->ended && !stream->reading;
    if (can) {
        stream->reading = true;
        __atomic_store_n(&stream->read_word, WAITING, __ATOMIC_RELAXED);
        if (is_on_wire(stream)) {
            stream->attempts.rpc.calls->call_read(stream->attempts.wire);
        }
    }
    unlock(stream);
    return can;
}

bool evener_stream_read(evener_stream *stream, evener_bytes *received)
{
    EVENER_UNCANCELLED;
    if (!evener_stream_ask(stream)) {
        return false;
    }
    wait_for(&stream->read_word);
    lock(stream);
    const bool got = stream->has_message;
    if (got) {
        *received = stream->message;
        stream->message = (evener_bytes){0};
        stream->has_message = false;
    }
    unlock(stream);
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
    lock(stream);
    const bool can = !stream->ended && !stream->half_close && !stream->has_writing;
    if (can) {
        evener_interception_message(stream->interception, true, sent); /* under the mutex: it may end meanwhile */
        stream->writing = kept;
        kept = (evener_bytes){0};
        stream->has_writing = true;
        if (stream->may_replay) {
            evener_replay_reserve(&stream->replay, sent->length);
        }
        __atomic_store_n(&stream->write_word, WAITING, __ATOMIC_RELAXED);
        if (is_on_wire(stream) && !evener_replay_is_under_way(&stream->replay)) {
            stream->attempts.rpc.calls->call_write(stream->attempts.wire, &stream->writing, false);
        }
    }
    unlock(stream);
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
    lock(stream);
    const bool passed = !stream->ended || stream->status.code == EVENER_STATUS_OK;
    unlock(stream);
    return passed;
}

bool evener_stream_send_done(evener_stream *stream)
{
    EVENER_UNCANCELLED;
    if (is_older_than_fork(stream)) {
        return false;
    }
    lock(stream);
    const bool can = !stream->ended && !stream->half_close;
    if (can) {
        stream->half_close = true;
        if (is_on_wire(stream) && !stream->has_writing && !evener_replay_is_under_way(&stream->replay)) {
            stream->half_close_sent = true;
            stream->attempts.rpc.calls->call_half_close(stream->attempts.wire);
        }
    }
    unlock(stream);
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
    lock(stream);
    const bool has = stream->has_headers;
    if (has) {
        *metadata = stream->headers.initial_metadata;
        *count = stream->headers.initial_metadata_count;
    }
    unlock(stream);
    return has;
}

/* ---- the end ---- */

void evener_stream_cancel(evener_stream *stream)
{
    EVENER_UNCANCELLED;
    if (is_older_than_fork(stream)) {
        return;
    }
    evener_attempts_cancel(&stream->attempts);
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
    lock(stream);
    fill_users_details(stream);
    const evener_status found = stream->status;
    unlock(stream);
    if (status != NULL) {
        *status = found;
    }
    return found.code;
}

const char *evener_stream_peer(const evener_stream *stream)
{
    /* Acquire pairs with the release in name_peer(). */
    const peer_name *peer = atomic_load_explicit(&((evener_stream *)(uintptr_t)stream)->peer, memory_order_acquire);
    return peer != NULL ? peer->text : "";
}
