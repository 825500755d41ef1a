/* Stats: a snapshot of the channel for people and monitors. */
#include <evener/stats.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/backend/in_flight.h"
#include "lb/channel/channel_internal.h"

typedef struct query {
    evener_channel *channel;
    evener_channel_stats *stats; /* of the caller's version of evener: only the first stats->size bytes exist */
    evener_status_code code;
} query;

/* Sizes of the first version; no stats struct is as large as the maximum. */
#define STATS_BYTES_MIN (offsetof(evener_channel_stats, subchannels) + sizeof(evener_subchannel_stats *))
#define SUBCHANNEL_BYTES_MIN (offsetof(evener_subchannel_stats, last_error) + EVENER_STATUS_MESSAGE_BYTES)
#define STATS_BYTES_MAX 65536

static size_t least_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void copy_text(char *to, size_t bytes, const char *from)
{
    snprintf(to, bytes, "%s", from != NULL ? from : "");
}

static void describe_connector(evener_channel *channel, const evener_connector *connector, evener_subchannel_stats *out)
{
    const uint64_t now = evener_loop_now_fast_ns(channel->hot.loop); /* the connector's clock */
    copy_text(out->address, sizeof out->address, evener_address_text(connector->address));
    copy_text(out->last_error, sizeof out->last_error, evener_connector_last_error(connector));
    out->state = (evener_connectivity_state)connector->state;
    out->state_age_ms = (now - connector->state_since_ns) / EVENER_NS_PER_MS;
    if (connector->extra != NULL) {
        out->picks = connector->extra->gone_picks;
        out->failed = connector->extra->gone_failed;
        out->retries = connector->extra->gone_retries;
        out->hedges = connector->extra->gone_hedges;
        out->transparent_retries = connector->extra->gone_transparent_retries;
    }
    out->connects = connector->connects;
    out->connect_failures = connector->connect_failures;
    const uint64_t backoff_end_ns = evener_connector_backoff_end_ns(connector);
    if (backoff_end_ns > now) {
        out->backoff_remaining_ms = (backoff_end_ns - now) / EVENER_NS_PER_MS;
    }
    for (evener_subchannel_body *s = connector->subchannels; s != NULL; s = s->connector_next) {
        const evener_slot_counts counts = evener_slot_sum(s->handle);
        out->picks += counts.picks;
        out->in_flight += counts.in_flight;
        out->failed += evener_failed(s);
        const uint64_t repeats = evener_slot_repeats(s->handle, EVENER_SLOT_RETRIES_AND_HEDGES);
        out->retries += (uint32_t)repeats;
        out->hedges += repeats >> 32;
        out->transparent_retries += evener_slot_repeats(s->handle, EVENER_SLOT_TRANSPARENT_RETRIES);
        if (channel->control.lb != NULL && s->kind->owner != NULL && out->note[0] == '\0') {
            evener_child_policy_describe(channel->control.lb, s->kind->owner, s->handle, out->note, sizeof out->note);
        }
    }
}

static void describe_address(evener_channel *channel, evener_address *address, evener_subchannel_stats *out)
{
    const evener_connector *connector = evener_subchannel_pool_find(&channel->pool, address);
    *out = (evener_subchannel_stats){.state = EVENER_IDLE};
    if (connector != NULL) {
        describe_connector(channel, connector, out);
    } else { /* the policy does not use it now */
        copy_text(out->address, sizeof out->address, evener_address_text(address));
    }
}

static void take_snapshot(void *arg)
{
    query *q = arg;
    evener_channel *channel = q->channel;
    const size_t stride = q->stats->subchannel_bytes;
    char *list = calloc(channel->control.list.count > 0 ? channel->control.list.count : 1, stride);
    if (list == NULL) {
        q->code = EVENER_STATUS_RESOURCE_EXHAUSTED;
        return;
    }
    evener_channel_stats stats = {.size = q->stats->size,
                                  .subchannel_bytes = stride,
                                  .state = __atomic_load_n(&channel->hot.state, __ATOMIC_RELAXED),
                                  .queued_picks = __atomic_load_n(&channel->queue.count, __ATOMIC_RELAXED),
                                  .resolver_updates = channel->control.resolver_updates,
                                  .resolver_errors = channel->control.resolver_errors,
                                  .subchannel_count = channel->control.list.count,
                                  .cached_list_age_ms = evener_channel_cache_age_ms(&channel->control.cache),
                                  .limited_calls_in_flight =
                                      (uint32_t)__atomic_load_n(&channel->limits.word, __ATOMIC_RELAXED),
                                  .limited_calls_waiting = __atomic_load_n(&channel->limits.waiting, __ATOMIC_RELAXED),
                                  .limited_calls_refused = __atomic_load_n(&channel->limits.refused, __ATOMIC_RELAXED),
                                  .limited_calls_expired = __atomic_load_n(&channel->limits.expired, __ATOMIC_RELAXED),
                                  .cache_writes = channel->control.cache.writes,
                                  .cache_write_errors = channel->control.cache.write_errors,
                                  .subchannels = (evener_subchannel_stats *)(void *)list};
    copy_text(stats.policy, sizeof stats.policy,
              channel->control.lb != NULL ? evener_child_policy_name(channel->control.lb) : "");
    copy_text(stats.list_source, sizeof stats.list_source, channel->control.list_source);
    copy_text(stats.last_cache_error, sizeof stats.last_cache_error, channel->control.cache.last_error);
    copy_text(stats.last_resolver_error, sizeof stats.last_resolver_error, channel->control.last_resolver_error);
    for (size_t i = 0; i < channel->control.list.count; i++) {
        evener_subchannel_stats one;
        describe_address(channel, channel->control.list.addresses[i], &one);
        memcpy(list + i * stride, &one, least_of(stride, sizeof one));
    }
    memset(q->stats, 0, stats.size);
    memcpy(q->stats, &stats, least_of(stats.size, sizeof stats));
}

static bool is_stats_size(size_t bytes, size_t bytes_min)
{
    return bytes >= bytes_min && bytes <= STATS_BYTES_MAX && bytes % sizeof(uint64_t) == 0;
}

evener_status_code evener_channel_get_stats(evener_channel *channel, evener_channel_stats *stats, evener_status *status)
{
    if (!is_stats_size(stats->size, STATS_BYTES_MIN)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "channel stats: size is %zu: set it to sizeof(evener_channel_stats)", stats->size);
    }
    if (!is_stats_size(stats->subchannel_bytes, SUBCHANNEL_BYTES_MIN)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "channel stats: subchannel_bytes is %zu: set it to sizeof(evener_subchannel_stats)",
                                 stats->subchannel_bytes);
    }
    const evener_status_code too_old = evener_channel_check_fork(channel, status);
    if (too_old != EVENER_STATUS_OK) {
        return too_old;
    }
    query q = {channel, stats, EVENER_STATUS_OK};
    evener_runtime_call(channel->settings.runtime, take_snapshot, &q);
    if (q.code != EVENER_STATUS_OK) {
        return evener_status_set(status, q.code, "channel stats: out of memory");
    }
    return evener_status_clear(status);
}

void evener_channel_stats_clear(evener_channel_stats *stats)
{
    if (stats == NULL || stats->size == 0) {
        return;
    }
    free(stats->subchannels);
    const size_t bytes = stats->size;
    const size_t subchannel_bytes = stats->subchannel_bytes;
    memset(stats, 0, bytes);
    stats->size = bytes;
    stats->subchannel_bytes = subchannel_bytes;
}
