/* Stream: what its files share. stream.c has what the program calls, stream_events.c what comes from the transport,
 * stream_hedge.c what distributes that of a hedged stream's attempts. */
#ifndef EVENER_LB_CALL_STREAM_H
#define EVENER_LB_CALL_STREAM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <evener/call.h>

#include "lb/base/memory.h"
#include "lb/call/attempts.h"
#include "lb/call/hedge.h"
#include "lb/call/interceptors.h"
#include "lb/call/line.h"
#include "lb/call/replay.h"
#include "lb/runtime/work_threads.h"

/* Values of the words. */
enum { EVENER_STREAM_WAITING = 0, EVENER_STREAM_ANSWERED = 1 };

/* A backend's name. Lives as long as the stream, which may be attempted again at another backend. */
typedef struct evener_stream_peer_name {
    struct evener_stream_peer_name *older; /* in any order */
    char text[];
} evener_stream_peer_name;

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
    bool may_replay; /* the stream has a retry or hedging policy: only then messages are kept, and empty headers held */
    bool is_hedged;  /* then `attempts` makes no attempt itself, but those of the hedge */
    evener_hedge *_Atomic hedge; /* NULL: not hedged, or not yet */
    evener_stream_peer_name *_Atomic peer;

    /* under the mutex of the attempts */
    evener_stream_peer_name *peers; /* all */
    evener_line line;               /* of a stream that is not hedged */
    evener_line *open;              /* of a hedged stream: the attempts on the wire */
    evener_line *chosen;            /* whose events are the stream's; NULL: a hedged stream that is not committed yet */
    bool is_closed;                 /* a hedged stream: its end was decided */
    evener_replay replay;
    evener_bytes writing; /* a reference; the message that is to be written */
    bool has_writing;     /* until `written` */
    bool half_close;      /* writing has ended, or is to end behind `writing` */
    bool reading;         /* until `message` */
    bool wrote;           /* a message was written: the stream cannot be attempted again */
    bool has_headers;
    bool ended;
    evener_status status; /* set when ended */
    evener_bytes message; /* the answer to a blocking read, or on its way to a call thread */
    bool has_message;
    uint32_t pending; /* PENDING_* of stream_events.c: what a call thread has not reported yet */
    bool is_delivering;

    /* changed under the mutex, waited for without it */
    uint32_t open_word, read_word, write_word, headers_word;
};

static inline evener_stream *evener_stream_of(evener_attempts *attempts)
{
    return EVENER_CONTAINER_OF(attempts, evener_stream, attempts);
}

static inline void evener_stream_lock(evener_stream *stream)
{
    pthread_mutex_lock(&stream->attempts.mutex);
}

static inline void evener_stream_unlock(evener_stream *stream)
{
    pthread_mutex_unlock(&stream->attempts.mutex);
}

/* Return the first attempt on the wire; the others follow by `next`. NULL: there is none. Under the mutex. */
static inline evener_line *evener_stream_first_line(evener_stream *stream)
{
    if (__builtin_expect(stream->is_hedged, 0)) {
        return stream->open;
    }
    return stream->attempts.place == EVENER_ATTEMPTS_WIRE ? &stream->line : NULL;
}

/* Free the stream with its last reference. */
void evener_stream_drop_reference(evener_stream *stream);

/* What the attempts call: the events of the transport and of the loop of attempts. */
extern const evener_attempts_hooks evener_stream_hooks;

/* The same of a hedged stream. */
extern const evener_attempts_hooks evener_stream_hedged_hooks;

/* Start the attempts of a hedged stream. As evener_attempts_start(). */
evener_status_code evener_stream_start_hedge(evener_stream *stream, evener_status *status);

/* Commit the stream if a further message of this length exceeds the buffer: a hedged one to the attempt that has written
 * most, or to the next that begins if none is on the wire. Under the mutex. */
void evener_stream_reserve(evener_stream *stream, size_t message_bytes);

/* Hand a message to the attempt's transport. Under the mutex. */
void evener_stream_write_on(evener_stream *stream, evener_line *line, const evener_bytes *message);

/* End writing on the attempt. Under the mutex. */
void evener_stream_half_close_on(const evener_stream *stream, evener_line *line);

/* ---- the events of an attempt, for stream_hedge.c ---- */

/* Hand the stream's requests to the transport of an attempt that has begun. Under the mutex. */
void evener_stream_line_begun(evener_stream *stream, evener_line *line);

/* Handle headers: hold them, or commit the stream and report them, unless another attempt is chosen. */
void evener_stream_line_headers(evener_stream *stream, evener_line *line, const evener_metadata *metadata,
                                size_t count);

/* Handle a message of the attempt that is chosen. Takes the message. */
void evener_stream_line_message(evener_stream *stream, evener_line *line, evener_bytes *received);

/* Handle that a message was written. Under the mutex, which is released. */
void evener_stream_line_written(evener_stream *stream, evener_line *line);

/* Commit the stream to an attempt on the wire; `has_answer`: as its answer has begun. False: it is committed to another
 * one, or ends. Under the mutex. */
bool evener_stream_commit(evener_stream *stream, evener_line *line, bool has_answer);

/* Leave only this attempt open; NULL: none. Under the mutex. */
void evener_stream_leave_open(evener_stream *stream, evener_line *chosen);

/* Hooks that all streams have: finished, ref, unref. */
void evener_stream_finished(evener_attempts *attempts, const evener_status *status, const evener_call_end *end);
void evener_stream_hold(evener_attempts *attempts);
void evener_stream_let_go(evener_attempts *attempts);

/* Report what is pending, on a call thread; one thread at a time, as the work is put in only while none is. */
void evener_stream_run_callbacks(evener_work *work);

/* Move the details into the caller's struct, up to its size. Under the mutex. */
void evener_stream_fill_users_details(evener_stream *stream);

#endif
