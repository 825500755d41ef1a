/* Statistics per method: the counters of names in methodConfig that have a policy. */
#include <evener/stats.h>

#include <stdio.h>
#include <string.h>

#include "lb/channel/channel_internal.h"

typedef struct query {
    evener_channel *channel;
    char *stats;
    size_t stride, room;
    size_t count;
} query;

static uint64_t load(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void take_snapshot(void *arg)
{
    query *q = arg;
    const evener_method_table *table = &q->channel->control.methods;
    for (size_t i = 0; i < table->count; i++) {
        const evener_method_state *state = table->states[i];
        if (q->count < q->room) {
            evener_method_stats one = {.calls = load(&state->calls),
                                       .attempts = load(&state->attempts),
                                       .retries = load(&state->retries),
                                       .hedges = load(&state->hedges),
                                       .transparent_retries = load(&state->transparent_retries),
                                       .throttled = load(&state->throttled),
                                       .breaker_rejections = load(&state->breaker.rejections),
                                       .quantile_ns = load(&state->quantile_ns),
                                       .attempts_cancelled = load(&state->losers)};
            (void)snprintf(one.method, sizeof one.method, "%s", state->path);
            char *to = q->stats + q->count * q->stride;
            memset(to, 0, q->stride);
            memcpy(to, &one, q->stride < sizeof one ? q->stride : sizeof one);
        }
        q->count++;
    }
}

size_t evener_channel_get_method_stats(evener_channel *channel, evener_method_stats *stats, size_t stride, size_t room)
{
    query q = {.channel = channel, .stats = (char *)stats, .stride = stride, .room = room};
    if (evener_channel_check_fork(channel, NULL) == EVENER_STATUS_OK) {
        evener_runtime_call(channel->settings.runtime, take_snapshot, &q);
    }
    return q.count;
}
