/* Streams: the attempts of a hedged stream, which run at the same time (hedge.h). Each has a line; those on the wire are
 * in stream->open. The events of an attempt that is not chosen end here. See stream.c. */
#include <stddef.h>

#include "lb/base/memory.h"
#include "lb/call/stream.h"

/* Return the line of an attempt, with the mutex of the stream locked. The attempt's own orders this after begun(). */
static evener_line *lock_line(evener_transport_call *wire, evener_stream **stream)
{
    evener_attempts *child = wire->arg;
    pthread_mutex_lock(&child->mutex);
    pthread_mutex_unlock(&child->mutex);
    *stream = evener_stream_of(evener_hedge_call_of(child));
    evener_stream_lock(*stream);
    return evener_hedge_line_of(child);
}

static void hedged_begun(evener_attempts *child)
{
    evener_stream *stream = evener_stream_of(evener_hedge_call_of(child));
    evener_line *line = evener_hedge_line_of(child);
    evener_stream_lock(stream);
    if (!stream->is_closed && (stream->chosen == NULL || stream->chosen == line)) {
        line->is_open = true;
        line->next = stream->open;
        stream->open = line;
        evener_stream_line_begun(stream, line);
        if (stream->chosen == NULL && !stream->replay.is_on) {
            (void)evener_stream_commit(stream, line,
                                       false); /* the buffer was exceeded while no attempt was on the wire */
        }
    }
    evener_stream_unlock(stream);
}

/* Take the line from those that are open. Under the mutex. */
static void close_line(evener_stream *stream, evener_line *line)
{
    for (evener_line **at = &stream->open; *at != NULL; at = &(*at)->next) {
        if (*at == line) {
            *at = line->next;
            break;
        }
    }
    line->next = NULL;
    line->is_open = false;
}

static bool hedged_may_repeat(evener_attempts *child)
{
    evener_stream *stream = evener_stream_of(evener_hedge_call_of(child));
    evener_line *line = evener_hedge_line_of(child);
    evener_stream_lock(stream);
    const bool may = !stream->is_closed &&
                     (stream->chosen == NULL || (stream->chosen == line && !stream->wrote && !stream->has_headers));
    if (may) {
        line->written = 0;
    }
    evener_stream_unlock(stream);
    return may;
}

static void hedged_chosen(evener_attempts *child)
{
    evener_stream *stream = evener_stream_of(evener_hedge_call_of(child));
    evener_line *line = evener_hedge_line_of(child);
    evener_stream_lock(stream);
    stream->is_closed = true;
    stream->chosen = line;
    if (line->peer != NULL) {
        atomic_store_explicit(&stream->peer, line->peer, memory_order_release); /* pairs with evener_stream_peer() */
    }
    evener_stream_leave_open(stream, NULL);
    evener_stream_unlock(stream);
}

static void hedged_headers(evener_transport_call *wire, const evener_metadata *metadata, size_t count)
{
    evener_stream *stream;
    evener_line *line = lock_line(wire, &stream);
    const bool is_open = line->is_open;
    evener_stream_unlock(stream);
    if (is_open) {
        evener_stream_line_headers(stream, line, metadata, count);
    }
}

static void hedged_message(evener_transport_call *wire, evener_bytes *received)
{
    evener_stream *stream;
    evener_line *line = lock_line(wire, &stream);
    const bool is_chosen = line->is_open && evener_stream_commit(stream, line, true);
    evener_stream_unlock(stream);
    if (is_chosen) {
        evener_stream_line_message(stream, line, received);
    } else {
        evener_bytes_clear(received);
    }
}

static void hedged_written(evener_transport_call *wire)
{
    evener_stream *stream;
    evener_line *line = lock_line(wire, &stream);
    evener_bytes done = line->out;
    line->out = (evener_bytes){0};
    if (line->is_open) {
        evener_stream_line_written(stream, line);
    } else {
        evener_stream_unlock(stream);
    }
    evener_bytes_clear(&done);
}

/* Before the attempt's pick ends: from here on nothing is written to its connection. */
static void hedged_ended(evener_transport_call *wire, const evener_call_end *end)
{
    evener_stream *stream;
    evener_line *line = lock_line(wire, &stream);
    evener_bytes done = line->out;
    line->out = (evener_bytes){0};
    close_line(stream, line);
    evener_stream_unlock(stream);
    evener_bytes_clear(&done);
    evener_attempts_ended(wire, end);
}

static const evener_call_events hedged_events = {.size = sizeof hedged_events,
                                                 .headers = hedged_headers,
                                                 .message = hedged_message,
                                                 .written = hedged_written,
                                                 .ended = hedged_ended};

static const evener_hedge_hooks hedge_hooks = {
    .events = &hedged_events, .begun = hedged_begun, .may_repeat = hedged_may_repeat, .chosen = hedged_chosen};

evener_status_code evener_stream_start_hedge(evener_stream *stream, evener_status *status)
{
    evener_hedge *hedge = NULL;
    evener_stream_hold(&stream->attempts); /* the stream may end before this returns */
    const evener_status_code code = evener_hedge_start(&stream->attempts, &hedge, status);
    /* Release pairs with cancel() of stream.c. */
    atomic_store_explicit(&stream->hedge, hedge, memory_order_release);
    if (code == EVENER_STATUS_OK && evener_attempts_is_cancelled(&stream->attempts)) {
        evener_hedge_cancel(hedge);
    }
    evener_stream_let_go(&stream->attempts);
    return code;
}

/* Start the attempts after metadata that came later. */
static void hedged_resumed(evener_attempts *attempts)
{
    evener_status status;
    evener_stream_hold(attempts);
    if (evener_stream_start_hedge(evener_stream_of(attempts), &status) != EVENER_STATUS_OK) {
        evener_attempts_fail(attempts, &status);
    }
    evener_stream_let_go(attempts);
}

const evener_attempts_hooks evener_stream_hedged_hooks = {.resumed = hedged_resumed,
                                                          .finished = evener_stream_finished,
                                                          .ref = evener_stream_hold,
                                                          .unref = evener_stream_let_go,
                                                          .hedged = &hedge_hooks};
