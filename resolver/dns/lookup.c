#include "resolver/dns/lookup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/memory.h"
#include "resolver/dns/lookup_internal.h"

#define RESTART_AGE_MS 500         /* a younger round is not begun again by reset_backoff */
#define RESOLVE_NOW_FAILED_MS 5000 /* between rounds that hints ask for while rounds fail */

/* ---- notifying watches ---- */

/* FNV-1a. Only used to detect an unchanged answer. */
static uint64_t hash(uint64_t state, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        state = (state ^ ((const unsigned char *)data)[i]) * UINT64_C(0x100000001b3);
    }
    return state;
}

uint64_t evener_dns_fingerprint(const evener_dns_result *result)
{
    uint64_t state = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < result->count; i++) {
        const evener_dns_record *record = result->records[i];
        const uint64_t numbers = (uint64_t)record->port << 32 | (uint64_t)record->priority << 16 | record->weight;
        state = hash(state, record->text, strlen(record->text) + 1);
        state = (state ^ numbers) * UINT64_C(0x100000001b3);
    }
    for (size_t i = 0; i < result->glue_count; i++) {
        state = hash(state, result->glue[i].text, strlen(result->glue[i].text) + 1);
    }
    return hash(state, result->nothing, result->count == 0 ? strlen(result->nothing) : 0);
}

void evener_dns_result_source(const evener_dns_result *result, char *source, size_t source_bytes)
{
    const bool empty = result->count == 0;
    snprintf(source, source_bytes, "%s%s%s%s", result->source, empty ? " (" : "", empty ? result->nothing : "",
             empty ? ")" : "");
}

void evener_dns_notify_watch(evener_dns_watch *watch, const evener_dns_result *result, uint64_t print)
{
    if (watch->content && watch->fingerprint == print) {
        return;
    }
    watch->fingerprint = print;
    watch->content = watch->answer(watch, result);
}

/* Notify every watch. A watch may stop others and start new ones; new ones are notified when they start. `result` NULL:
 * report lookup->error. Return whether a watch accepts the result. */
bool evener_dns_notify(struct evener_dns_lookup *lookup, const evener_dns_result *result)
{
    const uint64_t print = result != NULL ? evener_dns_fingerprint(result) : 0;
    bool accepted = false;
    lookup->notifying = true;
    for (evener_dns_watch *watch = lookup->first; watch != NULL; watch = lookup->cursor) {
        lookup->cursor = watch->next;
        if (result != NULL) {
            evener_dns_notify_watch(watch, result, print);
            accepted = accepted || watch->content;
        } else {
            watch->content = false;
            watch->error(watch, &lookup->error);
        }
    }
    lookup->cursor = NULL;
    lookup->notifying = false;
    return accepted;
}

/* ---- create and destroy ---- */

static void *cache_create(evener_runtime *runtime, evener_status *status)
{
    struct evener_dns_cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL) {
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "dns: out of memory");
        return NULL;
    }
    cache->loop = evener_runtime_loop(runtime);
    evener_dns_queue_init(&cache->queue, cache->loop);
    cache->system = evener_dns_system_create();
    if (cache->system == NULL) {
        free(cache);
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "dns: out of memory");
        return NULL;
    }
    return cache;
}

static void cache_destroy(void *shared)
{
    struct evener_dns_cache *cache = shared;
    evener_dns_own_thread_destroy(cache->own_thread);
    evener_dns_system_destroy(cache->system);
    free(cache);
}

static const evener_shared_key cache_key = {.name = "dns", .create = cache_create, .destroy = cache_destroy};

void evener_dns_lookup_destroy(struct evener_dns_lookup *lookup)
{
    struct evener_dns_lookup **link = &lookup->cache->buckets[lookup->bucket];
    while (*link != lookup) {
        link = &(*link)->next;
    }
    *link = lookup->next;
    evener_dns_round_stop(lookup);
    free(lookup->key);
    free(lookup);
}

/* Everything that makes two lookups different. */
static char *make_key(const evener_dns_client *client, evener_dns_kind kind, const char *name,
                      const evener_dns_options *options)
{
    char *key = NULL;
    const int bytes = asprintf(
        &key, "%p %d %s %s %d%d%d%d %d %u %llu %llu %llu %llu %llu %u", (const void *)client, (int)kind, name,
        options->servers, options->direct, options->absolute, options->timeout_set, options->tries_set,
        (int)options->family, options->in_flight_max, (unsigned long long)options->keep_removed_ms,
        (unsigned long long)options->min_refresh_ms, (unsigned long long)options->max_refresh_ms,
        (unsigned long long)options->resolve_now_min_ms, (unsigned long long)options->timeout_ms, options->tries);
    return bytes < 0 ? NULL : key;
}

static struct evener_dns_lookup *lookup_create(struct evener_dns_cache *cache, char *key, uint32_t bucket,
                                               evener_dns_client *client, evener_dns_kind kind, const char *name,
                                               const evener_dns_options *options)
{
    struct evener_dns_lookup *lookup = calloc(1, sizeof *lookup);
    if (lookup == NULL) {
        return NULL;
    }
    lookup->cache = cache;
    lookup->next = cache->buckets[bucket];
    cache->buckets[bucket] = lookup;
    lookup->bucket = bucket;
    lookup->key = key;
    snprintf(lookup->name, sizeof lookup->name, "%s", name);
    lookup->options = *options;
    lookup->client = client;
    lookup->loop = cache->loop;
    lookup->part_count = kind == EVENER_DNS_HOST ? 2 : 1;
    lookup->parts[0].type = kind == EVENER_DNS_HOST      ? EVENER_DNS_A
                            : kind == EVENER_DNS_SERVICE ? EVENER_DNS_SRV
                                                         : EVENER_DNS_TXT;
    lookup->parts[1].type = EVENER_DNS_AAAA;
    evener_dns_round_init(lookup);
    return lookup;
}

/* Return the lookup with this key; create it, without a round, if there is none. NULL: out of memory. */
static struct evener_dns_lookup *find_or_create(struct evener_dns_cache *cache, evener_dns_client *client,
                                                evener_dns_kind kind, const char *name,
                                                const evener_dns_options *options)
{
    char *key = make_key(client, kind, name, options);
    if (key == NULL) {
        return NULL;
    }
    const uint32_t bucket = (uint32_t)(hash(UINT64_C(0xcbf29ce484222325), key, strlen(key)) % EVENER_DNS_BUCKETS);
    struct evener_dns_lookup *lookup = cache->buckets[bucket];
    while (lookup != NULL && strcmp(lookup->key, key) != 0) {
        lookup = lookup->next;
    }
    if (lookup == NULL) {
        lookup = lookup_create(cache, key, bucket, client, kind, name, options);
        key = lookup != NULL ? NULL : key; /* owned by the lookup */
    }
    free(key);
    return lookup;
}

/* Report the current answer to a new watch. */
static void notify_new_watch(struct evener_dns_lookup *lookup, evener_dns_watch *watch)
{
    evener_dns_result result = {.records = NULL};
    bool ttl_known = false;
    if (!lookup->known) {
        if (lookup->error.code != EVENER_STATUS_OK) {
            watch->error(watch, &lookup->error);
        }
        return;
    }
    if (evener_dns_round_result(lookup, &result, &ttl_known)) {
        evener_dns_notify_watch(watch, &result, evener_dns_fingerprint(&result));
        free((void *)(uintptr_t)result.records);
    } else {
        evener_status status;
        evener_status_set(&status, EVENER_STATUS_RESOURCE_EXHAUSTED, "dns: %s: out of memory", lookup->name);
        watch->error(watch, &status);
    }
    if (!watch->content) {
        evener_dns_watch_refused(watch);
    }
}

/* Return the client that asks the network for lookups on this loop. NULL with a filled status: it could not start. */
static evener_dns_client *network_client(struct evener_dns_cache *cache, evener_status *status)
{
    if (evener_loop_uv(cache->loop) != NULL) {
        return evener_dns_ares_client();
    }
    if (cache->own_thread == NULL) {
        cache->own_thread = evener_dns_own_thread_create(status);
    }
    return cache->own_thread != NULL ? evener_dns_own_thread_client(cache->own_thread) : NULL;
}

evener_status_code evener_dns_watch_start(evener_dns_watch *watch, evener_runtime *runtime, evener_dns_client *client,
                                          evener_dns_kind kind, const char *name, const evener_dns_options *options,
                                          evener_status *status)
{
    struct evener_dns_cache *cache = evener_runtime_shared(runtime, &cache_key, status);
    if (cache == NULL) {
        return EVENER_STATUS_RESOURCE_EXHAUSTED;
    }
    if (client == NULL) {
        client = network_client(cache, status);
        if (client == NULL) {
            return status->code;
        }
    }
    struct evener_dns_lookup *lookup = find_or_create(cache, client, kind, name, options);
    if (lookup == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "dns: %s: out of memory", name);
    }
    const bool started = lookup->phase != LOOKUP_NEW;
    watch->lookup = lookup;
    watch->next = NULL;
    watch->previous = lookup->last;
    watch->content = false;
    *(lookup->last != NULL ? &lookup->last->next : &lookup->first) = watch;
    lookup->last = watch;
    if (started) {
        notify_new_watch(lookup, watch);
    } else {
        evener_dns_round_begin(lookup);
    }
    return EVENER_STATUS_OK;
}

void evener_dns_watch_refused(evener_dns_watch *watch)
{
    watch->content = false;
    if (watch->lookup != NULL && !evener_dns_round_is_asking(watch->lookup)) {
        evener_dns_round_refused(watch->lookup);
    }
}

void evener_dns_watch_resolve_now(evener_dns_watch *watch)
{
    struct evener_dns_lookup *lookup = watch->lookup;
    if (lookup == NULL || evener_dns_round_is_asking(lookup)) {
        return;
    }
    uint64_t pause_ms = lookup->options.resolve_now_min_ms;
    if (lookup->phase == LOOKUP_BACKING_OFF && pause_ms > RESOLVE_NOW_FAILED_MS) {
        pause_ms = RESOLVE_NOW_FAILED_MS;
    }
    const uint64_t now_ns = evener_loop_now_ns(lookup->loop);
    const uint64_t earliest_ns = lookup->round_ns + pause_ms * EVENER_NS_PER_MS;
    /* By timer even without delay: the round that is being reported has not set its own timer yet. */
    evener_dns_round_within(lookup, earliest_ns > now_ns ? earliest_ns - now_ns : 0);
}

void evener_dns_watch_reset_backoff(evener_dns_watch *watch)
{
    struct evener_dns_lookup *lookup = watch->lookup;
    if (lookup == NULL) {
        return;
    }
    evener_backoff_reset(&lookup->backoff);
    const uint64_t age_ns = evener_loop_now_ns(lookup->loop) - lookup->round_ns;
    const bool retrying = lookup->phase == LOOKUP_ASKING && age_ns >= RESTART_AGE_MS * EVENER_NS_PER_MS;
    /* A round that began while the network was away waits for its next try: begin it again, but not for ever. */
    if (lookup->phase == LOOKUP_BACKING_OFF || (retrying && !lookup->restarted)) {
        lookup->restarted = true;
        evener_dns_round_within(lookup, 0);
    }
}

void evener_dns_watch_stop(evener_dns_watch *watch)
{
    struct evener_dns_lookup *lookup = watch->lookup;
    if (lookup == NULL) {
        return;
    }
    if (lookup->cursor == watch) {
        lookup->cursor = watch->next;
    }
    *(watch->previous != NULL ? &watch->previous->next : &lookup->first) = watch->next;
    *(watch->next != NULL ? &watch->next->previous : &lookup->last) = watch->previous;
    watch->lookup = NULL;
    if (lookup->first == NULL && !lookup->notifying) {
        evener_dns_lookup_destroy(lookup);
    }
}
