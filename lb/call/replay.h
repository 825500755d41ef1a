/* Replay: the messages that a stream has sent, kept by reference for further attempts until the call is committed (A6).
 * Under the mutex of the stream. */
#ifndef EVENER_LB_CALL_REPLAY_H
#define EVENER_LB_CALL_REPLAY_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/bytes.h>

#include "lb/call/line.h"

/* What a message that is kept takes of the buffer beside its bytes: empty messages, too, are limited. */
#define EVENER_REPLAY_MESSAGE_BYTES (sizeof(evener_bytes) + 64)

typedef struct evener_replay {
    bool is_on; /* messages are kept; false: the call is committed, or has neither retry nor hedging policy */
    evener_bytes *messages;
    size_t count, capacity;
    size_t bytes; /* of all, each with EVENER_REPLAY_MESSAGE_BYTES */
} evener_replay;

/* Return whether the attempt still has to write messages that are kept. */
static inline bool evener_replay_is_under_way(const evener_replay *replay, const evener_line *line)
{
    return line->written < replay->count;
}

/* Note that the attempt has written the message under way. */
void evener_replay_written(evener_replay *replay, evener_line *line);

/* Return whether a further message of this length exceeds the buffer. */
bool evener_replay_is_exceeded(const evener_replay *replay, size_t message_bytes);

/* Keep a message that the attempt was the first to write, and take its reference. Committed, or without memory, which
 * commits: drop it. */
void evener_replay_keep(evener_replay *replay, evener_line *line, evener_bytes *message);

/* Commit the call to an attempt: keep nothing but what it still has to write. */
void evener_replay_commit(evener_replay *replay, evener_line *line);

/* Free everything. The lines are of no use any more. */
void evener_replay_clear(evener_replay *replay);

#endif
