/* Replay: the messages that a stream has sent, kept by reference for further attempts until the call is committed (A6).
 * Under the mutex of the stream. */
#ifndef EVENER_LB_CALL_REPLAY_H
#define EVENER_LB_CALL_REPLAY_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/bytes.h>

/* What a message that is kept takes of the buffer beside its bytes: empty messages, too, are limited. */
#define EVENER_REPLAY_MESSAGE_BYTES (sizeof(evener_bytes) + 64)

typedef struct evener_replay {
    bool is_on; /* messages are kept; false: the call is committed, or has no retry policy */
    evener_bytes *messages;
    size_t count, capacity;
    size_t bytes; /* of all, each with EVENER_REPLAY_MESSAGE_BYTES */
    size_t next;  /* the one that the attempt under way writes; count: it has written all of them */
} evener_replay;

/* Return whether messages of earlier attempts are still to be written. */
static inline bool evener_replay_is_under_way(const evener_replay *replay)
{
    return replay->next < replay->count;
}

/* Start the replay for a new attempt. */
void evener_replay_restart(evener_replay *replay);

/* Note that the message under way was written. */
void evener_replay_written(evener_replay *replay);

/* Commit the call if a further message of this length exceeds the buffer. */
void evener_replay_reserve(evener_replay *replay, size_t message_bytes);

/* Keep a message that was written, and take its reference. Committed, or without memory, which commits: drop it. */
void evener_replay_keep(evener_replay *replay, evener_bytes *message);

/* Commit the call: keep nothing but what the attempt under way still has to write. */
void evener_replay_commit(evener_replay *replay);

/* Free everything. */
void evener_replay_clear(evener_replay *replay);

#endif
