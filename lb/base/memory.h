/* Memory: small helpers around malloc. All return NULL on out of memory; free() releases everything. */
#ifndef EVENER_LB_BASE_MEMORY_H
#define EVENER_LB_BASE_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Data that two threads write needs this distance; where nanoseconds count, EVENER_LANE_BYTES. */
#define EVENER_CACHE_LINE_BYTES 64

/* Return the struct of `type` whose `member` is at `pointer`. */
#define EVENER_CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Prefetch the cache line of `pointer` for writing: other processors give it up now instead of at the write. gcc
 * compiles its own hint to a read prefetch on generic x86-64, as the oldest of these processors have no write
 * prefetch. */
static inline void evener_prefetch_to_write(const void *pointer)
{
#ifdef __x86_64__
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)pointer));
#else
    __builtin_prefetch(pointer, 1);
#endif
}

/* Return bytes as a text, with a NUL behind them. strndup() would do, but AddressSanitizer lets it read one byte more. */
static inline char *evener_text_copy(const void *bytes, size_t length)
{
    char *copy = length < SIZE_MAX ? malloc(length + 1) : NULL;
    if (copy != NULL) {
        if (length > 0) { /* otherwise `bytes` may be NULL */
            memcpy(copy, bytes, length);
        }
        copy[length] = '\0';
    }
    return copy;
}

/* Return zeroed memory on cache lines of its own: nothing else shares its first or last line. */
static inline void *evener_cache_aligned_calloc(size_t bytes)
{
    if (bytes > SIZE_MAX - EVENER_CACHE_LINE_BYTES) {
        return NULL;
    }
    /* C11 requires a size that is a multiple of the alignment. */
    size_t rounded = (bytes + EVENER_CACHE_LINE_BYTES - 1) & ~(size_t)(EVENER_CACHE_LINE_BYTES - 1);
    if (rounded == 0) {
        rounded = EVENER_CACHE_LINE_BYTES;
    }
    void *memory = aligned_alloc(EVENER_CACHE_LINE_BYTES, rounded);
    if (memory != NULL) {
        memset(memory, 0, rounded);
    }
    return memory;
}

#endif
