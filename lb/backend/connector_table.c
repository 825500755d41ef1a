/* The table of a pool's connectors: one an address, found by its identity. */
#include <stdlib.h>

#include "lb/backend/subchannel_pool.h"
#include "lb/base/hash_tags.h"

/* When it grows. */
#define CONNECTORS_PER_BUCKET 2

static evener_connector **bucket_of(const evener_subchannel_pool *pool, const evener_address *address)
{
    return &pool->buckets[evener_address_identity_hash(address) & (pool->bucket_count - 1)];
}

static uint16_t *tags_of(const evener_subchannel_pool *pool, const evener_address *address)
{
    return evener_hash_tags(pool->buckets, pool->bucket_count, evener_address_identity_hash(address));
}

static void enter(evener_subchannel_pool *pool, evener_connector *connector)
{
    evener_connector **bucket = bucket_of(pool, connector->address);
    connector->bucket_next = *bucket;
    *bucket = connector;
    *tags_of(pool, connector->address) |= evener_hash_tag_bit(connector->hash_tag);
}

evener_connector *evener_subchannel_pool_find(const evener_subchannel_pool *pool, const evener_address *address)
{
    if (pool->bucket_count == 0) {
        return NULL;
    }
    const uint8_t tag = evener_hash_tag(evener_address_identity_hash(address));
    if ((*tags_of(pool, address) & evener_hash_tag_bit(tag)) == 0) {
        return NULL;
    }
    evener_connector *connector = *bucket_of(pool, address);
    while (connector != NULL &&
           (connector->hash_tag != tag || !evener_address_same_backend(connector->address, address))) {
        connector = connector->bucket_next;
    }
    return connector;
}

static bool grow_table(evener_subchannel_pool *pool)
{
    const size_t count = pool->bucket_count == 0 ? 16 : pool->bucket_count * 2;
    evener_connector **buckets = calloc(count, EVENER_TAGGED_BUCKET_BYTES);
    if (buckets == NULL) {
        return pool->bucket_count != 0; /* longer chains, but it works */
    }
    evener_connector **old = pool->buckets;
    const size_t old_count = pool->bucket_count;
    pool->buckets = buckets;
    pool->bucket_count = count;
    for (size_t i = 0; i < old_count; i++) {
        for (evener_connector *c = old[i], *next; c != NULL; c = next) {
            next = c->bucket_next;
            enter(pool, c);
        }
    }
    free(old);
    return true;
}

evener_connector *evener_connector_obtain(evener_subchannel_pool *pool, const evener_address *address)
{
    evener_connector *connector = evener_subchannel_pool_find(pool, address);
    if (connector != NULL) {
        return connector;
    }
    if (pool->connector_count >= CONNECTORS_PER_BUCKET * pool->bucket_count && !grow_table(pool)) {
        return NULL;
    }
    connector = evener_slab_take(&pool->connectors);
    if (connector == NULL) {
        return NULL;
    }
    connector->pool = pool;
    evener_connector_take_authority(pool, connector);
    connector->address = evener_address_ref(address);
    connector->hash_tag = evener_hash_tag(evener_address_identity_hash(address));
    connector->state = EVENER_IDLE;
    connector->state_since_ns = evener_connector_time_ns(pool);
    enter(pool, connector);
    pool->connector_count++;
    return connector;
}

void evener_connector_leave_table(evener_subchannel_pool *pool, const evener_connector *connector)
{
    evener_connector **bucket = bucket_of(pool, connector->address);
    while (*bucket != connector) {
        bucket = &(*bucket)->bucket_next;
    }
    *bucket = connector->bucket_next;
    uint16_t tags = 0;
    for (const evener_connector *c = *bucket_of(pool, connector->address); c != NULL; c = c->bucket_next) {
        tags |= evener_hash_tag_bit(c->hash_tag);
    }
    *tags_of(pool, connector->address) = tags;
    pool->connector_count--;
}
