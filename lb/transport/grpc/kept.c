#include "lb/transport/grpc/kept.h"

#include <stdlib.h>
#include <string.h>

/* Policies that connect again do so in the same turn of the loop; pick_first does at the next call. */
#define KEPT_MS 1000

typedef struct evener_grpc_kept_channel {
    evener_grpc_core_channel *channel;
    evener_grpc_kept *kept;
    evener_timer expiry;
    struct evener_grpc_kept_channel *next;
} kept_channel;

evener_grpc_core_channel *evener_grpc_core_channel_create(grpc_channel *channel, const char *address,
                                                          const char *authority, uint64_t timeout_ms,
                                                          const evener_grpc_kept *kept)
{
    evener_grpc_core_channel *made = calloc(1, sizeof *made);
    char *address_copy = strdup(address);
    char *authority_copy = strdup(authority);
    if (made == NULL || address_copy == NULL || authority_copy == NULL) {
        free(made);
        free(address_copy);
        free(authority_copy);
        grpc_channel_destroy(channel);
        return NULL;
    }
    made->channel = channel;
    atomic_init(&made->references, 1);
    made->address = address_copy;
    made->authority = authority_copy;
    made->timeout_ms = timeout_ms;
    made->settings = kept->settings;
    return made;
}

void evener_grpc_core_channel_unref(evener_grpc_core_channel *self)
{
    /* acq_rel: the last one sees what the others did. */
    if (atomic_fetch_sub_explicit(&self->references, 1, memory_order_acq_rel) == 1) {
        grpc_channel_destroy(self->channel);
        free(self->address);
        free(self->authority);
        free(self);
    }
}

/* Return the channel; the entry is freed. */
static evener_grpc_core_channel *remove_entry(kept_channel **at)
{
    kept_channel *entry = *at;
    evener_grpc_core_channel *channel = entry->channel;
    *at = entry->next;
    evener_timer_stop(entry->kept->loop, &entry->expiry);
    free(entry);
    return channel;
}

static void expire(void *arg)
{
    kept_channel *entry = arg;
    kept_channel **at = &entry->kept->first;
    while (*at != entry) {
        at = &(*at)->next;
    }
    evener_grpc_core_channel_unref(remove_entry(at));
}

void evener_grpc_kept_add(evener_grpc_kept *kept, evener_grpc_core_channel *channel, bool has_calls)
{
    if (channel->settings != kept->settings) {
        return;
    }
    const grpc_connectivity_state state = grpc_channel_check_connectivity_state(channel->channel, 0);
    if (state != GRPC_CHANNEL_READY && (state != GRPC_CHANNEL_IDLE || has_calls)) {
        return;
    }
    kept_channel *entry = calloc(1, sizeof *entry);
    if (entry == NULL) {
        return;
    }
    atomic_fetch_add_explicit(&channel->references, 1, memory_order_relaxed);
    entry->channel = channel;
    entry->kept = kept;
    entry->expiry = (evener_timer)EVENER_TIMER_INIT(expire, entry);
    entry->next = kept->first;
    kept->first = entry;
    evener_timer_start(kept->loop, &entry->expiry, KEPT_MS * EVENER_NS_PER_MS);
}

evener_grpc_core_channel *evener_grpc_kept_take(evener_grpc_kept *kept, const char *address, const char *authority,
                                                uint64_t timeout_ms)
{
    for (kept_channel **at = &kept->first; *at != NULL; at = &(*at)->next) {
        const evener_grpc_core_channel *channel = (*at)->channel;
        if (channel->timeout_ms == timeout_ms && strcmp(channel->address, address) == 0 &&
            strcmp(channel->authority, authority) == 0) {
            return remove_entry(at);
        }
    }
    return NULL;
}

void evener_grpc_kept_clear(evener_grpc_kept *kept)
{
    while (kept->first != NULL) {
        evener_grpc_core_channel_unref(remove_entry(&kept->first));
    }
}
