/* Stats: a snapshot of the channel for people and monitors. */
#include <evener/stats.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/channel/channel_internal.h"

typedef struct query {
    evener_channel *channel;
    evener_channel_stats *stats;
    evener_status_code code;
} query;

static void copy_text(char *to, size_t bytes, const char *from)
{
    snprintf(to, bytes, "%s", from != NULL ? from : "");
}

static void describe_connector(evener_channel *channel, const evener_connector *connector, evener_subchannel_stats *out)
{
    const uint64_t now = evener_loop_now_fast_ns(channel->loop); /* as the connector's */
    copy_text(out->address, sizeof out->address, evener_address_text(connector->address));
    copy_text(out->last_error, sizeof out->last_error, evener_connector_last_error(connector));
    out->state = (evener_connectivity_state)connector->state;
    out->state_age_ms = (now - connector->state_since_ns) / EVENER_NS_PER_MS;
    if (connector->extra != NULL) {
        out->picks = connector->extra->gone_picks;
        out->failed = connector->extra->gone_failed;
    }
    out->connects = connector->connects;
    out->connect_failures = connector->connect_failures;
    const uint64_t backoff_end_ns = evener_connector_backoff_end_ns(connector);
    if (backoff_end_ns > now) {
        out->backoff_remaining_ms = (backoff_end_ns - now) / EVENER_NS_PER_MS;
    }
    const void *owner = channel->lb != NULL ? evener_graceful_switch_owner(channel->lb) : NULL;
    for (evener_subchannel_body *s = connector->subchannels; s != NULL; s = s->connector_next) {
        const evener_slot_counts counts = evener_slot_sum(s->handle);
        out->picks += counts.picks;
        out->in_flight += counts.in_flight;
        out->failed += __atomic_load_n(&s->failed, __ATOMIC_RELAXED);
        if (s->kind->owner == owner && owner != NULL) {
            evener_graceful_switch_describe(channel->lb, s->handle, out->note, sizeof out->note);
        }
    }
}

static void take_snapshot(void *arg)
{
    query *q = arg;
    evener_channel *channel = q->channel;
    evener_channel_stats *stats = q->stats;
    evener_subchannel_stats *list = calloc(channel->address_count > 0 ? channel->address_count : 1, sizeof *list);
    if (list == NULL) {
        q->code = EVENER_STATUS_RESOURCE_EXHAUSTED;
        return;
    }
    *stats = (evener_channel_stats){.state = __atomic_load_n(&channel->state, __ATOMIC_RELAXED)};
    copy_text(stats->policy, sizeof stats->policy,
              channel->lb != NULL ? evener_graceful_switch_policy_name(channel->lb) : "");
    copy_text(stats->last_resolver_error, sizeof stats->last_resolver_error, channel->last_resolver_error);
    stats->queued_picks = __atomic_load_n(&channel->queue.count, __ATOMIC_RELAXED);
    stats->resolver_updates = channel->resolver_updates;
    stats->resolver_errors = channel->resolver_errors;
    stats->subchannels = list;
    for (size_t i = 0; i < channel->address_count; i++) {
        const evener_connector *connector = evener_subchannel_pool_find(&channel->pool, channel->addresses[i]);
        evener_subchannel_stats *out = &list[stats->subchannel_count++];
        if (connector != NULL) {
            describe_connector(channel, connector, out);
        } else { /* the policy does not use it now */
            copy_text(out->address, sizeof out->address, evener_address_text(channel->addresses[i]));
        }
    }
}

evener_status_code evener_channel_get_stats(evener_channel *channel, evener_channel_stats *stats, evener_status *status)
{
    query q = {channel, stats, EVENER_STATUS_OK};
    evener_runtime_call(channel->runtime, take_snapshot, &q);
    if (q.code != EVENER_STATUS_OK) {
        return evener_status_set(status, q.code, "channel stats: out of memory");
    }
    return evener_status_clear(status);
}

void evener_channel_stats_clear(evener_channel_stats *stats)
{
    free(stats->subchannels);
    *stats = (evener_channel_stats){.state = EVENER_IDLE};
}
