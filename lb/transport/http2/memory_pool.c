#include "lb/transport/http2/memory_pool.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST_BYTES 64
#define NO_CLASS EVENER_HTTP2_POOL_CLASSES

/* Before each block; keeps the block aligned as malloc does. */
typedef union header {
    struct {
        size_t bytes; /* of the block, without header */
        unsigned size_class;
    } info;
    union header *next_free;
    max_align_t alignment;
} header;

static unsigned class_of(size_t bytes)
{
    unsigned size_class = 0;
    size_t class_bytes = SMALLEST_BYTES;
    while (size_class < NO_CLASS && class_bytes < bytes) {
        class_bytes *= 2;
        size_class++;
    }
    return size_class;
}

static void *take(size_t bytes, void *arg)
{
    evener_http2_memory_pool *pool = arg;
    const unsigned size_class = class_of(bytes);
    const size_t block_bytes = size_class == NO_CLASS ? bytes : (size_t)SMALLEST_BYTES << size_class;
    header *block = NULL;
    if (size_class != NO_CLASS && pool->free_blocks[size_class] != NULL) {
        block = pool->free_blocks[size_class];
        pool->free_blocks[size_class] = block->next_free;
        pool->kept_bytes -= block_bytes;
    } else if (block_bytes <= SIZE_MAX - sizeof(header)) {
        block = malloc(sizeof(header) + block_bytes);
    }
    if (block == NULL) {
        return NULL;
    }
    block->info.bytes = block_bytes;
    block->info.size_class = size_class;
    return block + 1;
}

static void give_back(void *memory, void *arg)
{
    evener_http2_memory_pool *pool = arg;
    if (memory == NULL) {
        return;
    }
    header *block = (header *)memory - 1;
    const unsigned size_class = block->info.size_class;
    const size_t bytes = block->info.bytes;
    if (size_class == NO_CLASS || pool->kept_bytes + bytes > EVENER_HTTP2_POOL_BYTES_MAX) {
        free(block);
        return;
    }
    block->next_free = pool->free_blocks[size_class];
    pool->free_blocks[size_class] = block;
    pool->kept_bytes += bytes;
}

static void *take_zeroed(size_t count, size_t bytes, void *arg)
{
    if (bytes != 0 && count > SIZE_MAX / bytes) {
        return NULL;
    }
    void *memory = take(count * bytes, arg);
    if (memory != NULL) {
        memset(memory, 0, count * bytes);
    }
    return memory;
}

static void *take_again(void *memory, size_t bytes, void *arg)
{
    if (memory == NULL) {
        return take(bytes, arg);
    }
    const header *block = (const header *)memory - 1;
    if (bytes <= block->info.bytes) {
        return memory;
    }
    void *larger = take(bytes, arg);
    if (larger != NULL) {
        memcpy(larger, memory, block->info.bytes);
        give_back(memory, arg);
    }
    return larger;
}

nghttp2_mem evener_http2_memory_pool_table(evener_http2_memory_pool *pool)
{
    return (nghttp2_mem){
        .mem_user_data = pool, .malloc = take, .free = give_back, .calloc = take_zeroed, .realloc = take_again};
}

void evener_http2_memory_pool_clear(evener_http2_memory_pool *pool)
{
    for (unsigned i = 0; i < EVENER_HTTP2_POOL_CLASSES; i++) {
        while (pool->free_blocks[i] != NULL) {
            header *block = pool->free_blocks[i];
            pool->free_blocks[i] = block->next_free;
            free(block);
        }
    }
    pool->kept_bytes = 0;
}
