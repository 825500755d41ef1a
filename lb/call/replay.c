#include "lb/call/replay.h"

#include <stdlib.h>

#include "lb/call/retry.h"

void evener_replay_restart(evener_replay *replay)
{
    replay->next = 0;
}

void evener_replay_written(evener_replay *replay)
{
    replay->next++;
    if (!replay->is_on && replay->next == replay->count) {
        evener_replay_clear(replay);
    }
}

void evener_replay_reserve(evener_replay *replay, size_t message_bytes)
{
    const size_t used = replay->bytes + EVENER_REPLAY_MESSAGE_BYTES;
    if (replay->is_on && (used > EVENER_RETRY_BUFFER_BYTES || message_bytes > EVENER_RETRY_BUFFER_BYTES - used)) {
        evener_replay_commit(replay);
    }
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

void evener_replay_keep(evener_replay *replay, evener_bytes *message)
{
    if (replay->is_on && !grow(replay)) {
        evener_replay_commit(replay);
    }
    if (!replay->is_on) {
        evener_bytes_clear(message);
        return;
    }
    replay->bytes += message->length + EVENER_REPLAY_MESSAGE_BYTES;
    replay->messages[replay->count++] = *message;
    replay->next = replay->count;
    *message = (evener_bytes){0};
}

void evener_replay_commit(evener_replay *replay)
{
    replay->is_on = false;
    if (!evener_replay_is_under_way(replay)) {
        evener_replay_clear(replay);
    }
}

void evener_replay_clear(evener_replay *replay)
{
    for (size_t i = 0; i < replay->count; i++) {
        evener_bytes_clear(&replay->messages[i]);
    }
    free(replay->messages);
    *replay = (evener_replay){0};
}
