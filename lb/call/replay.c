#include "lb/call/replay.h"

#include <stdlib.h>

#include "lb/call/retry.h"

/* Free what a committed attempt has written. */
static void drop(evener_replay *replay, evener_line *line)
{
    if (!evener_replay_is_under_way(replay, line)) {
        evener_replay_clear(replay);
        line->written = 0;
    }
}

void evener_replay_written(evener_replay *replay, evener_line *line)
{
    line->written++;
    if (!replay->is_on) {
        drop(replay, line);
    }
}

bool evener_replay_is_exceeded(const evener_replay *replay, size_t message_bytes)
{
    const size_t used = replay->bytes + EVENER_REPLAY_MESSAGE_BYTES;
    return replay->is_on && (used > EVENER_RETRY_BUFFER_BYTES || message_bytes > EVENER_RETRY_BUFFER_BYTES - used);
}

static bool grow(evener_replay *replay)
{
    if (replay->count < replay->capacity) {
        return true;
    }
    const size_t capacity = replay->capacity > 0 ? replay->capacity * 2 : 8;
    evener_bytes *larger = realloc(replay->messages, capacity * sizeof *larger);
    if (larger == NULL) {
        return false;
    }
    replay->messages = larger;
    replay->capacity = capacity;
    return true;
}

void evener_replay_keep(evener_replay *replay, evener_line *line, evener_bytes *message)
{
    if (replay->is_on && !grow(replay)) {
        evener_replay_commit(replay, line);
    }
    if (!replay->is_on) {
        evener_bytes_clear(message);
        return;
    }
    replay->bytes += message->length + EVENER_REPLAY_MESSAGE_BYTES;
    replay->messages[replay->count++] = *message;
    line->written = replay->count;
    *message = (evener_bytes){0};
}

void evener_replay_commit(evener_replay *replay, evener_line *line)
{
    replay->is_on = false;
    drop(replay, line);
}

void evener_replay_clear(evener_replay *replay)
{
    for (size_t i = 0; i < replay->count; i++) {
        evener_bytes_clear(&replay->messages[i]);
    }
    free(replay->messages);
    *replay = (evener_replay){0};
}
