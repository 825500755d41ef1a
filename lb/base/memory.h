/* Memory: small helpers around malloc. All return NULL without memory; free() ends everything. */
#ifndef EVENER_LB_BASE_MEMORY_H
#define EVENER_LB_BASE_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What two threads that write must keep apart; where nanoseconds count, EVENER_LANE_BYTES. */
#define EVENER_CACHE_LINE_BYTES 64

/* The struct of `type` that `pointer` is the `member` of. */
#define EVENER_CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Asks for the line of `pointer` as one that will be written: other processors give it up now, and not when the write comes.
 * For x86 gcc makes an ordinary prefetch of its own hint, as the oldest of them know no other. */
static inline void evener_prefetch_to_write(const void *pointer)
{
#ifdef __x86_64__
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)pointer));
#else
    __builtin_prefetch(pointer, 1);
#endif
}

/* Zeroed memory on cache lines of its own: nothing else shares its first or its last line. */
static inline void *evener_cache_aligned_calloc(size_t bytes)
{
    if (bytes > SIZE_MAX - EVENER_CACHE_LINE_BYTES) {
        return NULL;
    }
    /* C11 wants the size to be a multiple of the alignment. */
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
