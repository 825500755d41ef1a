/* Stream: what its two files share. stream.c has what the program calls, stream_events.c what comes from the
 * transport. */
#ifndef EVENER_LB_CALL_STREAM_H
#define EVENER_LB_CALL_STREAM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <evener/call.h>

#include "lb/call/attempts.h"
#include "lb/call/interceptors.h"
#include "lb/call/replay.h"
#include "lb/runtime/work_threads.h"

/* Values of the words. */
enum { EVENER_STREAM_WAITING = 0, EVENER_STREAM_ANSWERED = 1 };

/* A backend's name. Lives as long as the stream, which may be attempted again at another backend. */
typedef struct evener_stream_peer_name {
    struct evener_stream_peer_name *older;
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
    bool may_replay; /* the stream has a retry policy: only then messages are kept, and empty headers held */
    evener_stream_peer_name *_Atomic peer;

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
    uint32_t pending; /* PENDING_* of stream_events.c: what a call thread has not reported yet */
    bool is_delivering;

    /* changed under the mutex, waited for without it */
    uint32_t open_word, read_word, write_word, headers_word;
};

static inline void evener_stream_lock(evener_stream *stream)
{
    pthread_mutex_lock(&stream->attempts.mutex);
}

static inline void evener_stream_unlock(evener_stream *stream)
{
    pthread_mutex_unlock(&stream->attempts.mutex);
}

static inline bool evener_stream_is_on_wire(const evener_stream *stream)
{
    return stream->attempts.place == EVENER_ATTEMPTS_WIRE;
}

/* Free the stream with its last reference. */
void evener_stream_drop_reference(evener_stream *stream);

/* What the attempts call: the events of the transport and of the loop of attempts. */
extern const evener_attempts_hooks evener_stream_hooks;

/* Report what is pending, on a call thread; one thread at a time, as the work is put in only while none is. */
void evener_stream_run_callbacks(evener_work *work);

/* Move the details into the caller's struct, up to its size. Under the mutex. */
void evener_stream_fill_users_details(evener_stream *stream);

#endif
