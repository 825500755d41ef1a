#include "lb/protobuf/arena.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 8192

typedef struct evener_arena_block {
    struct evener_arena_block *next;
    size_t used, room; /* bytes of `memory` */
    bool sealed;       /* a mark: nothing is added any more */
    alignas(max_align_t) uint8_t memory[];
} evener_arena_block;

void *evener_arena_alloc(evener_arena *arena, size_t bytes)
{
    const size_t unit = alignof(max_align_t);
    if (bytes > SIZE_MAX / 2) {
        return NULL;
    }
    bytes = bytes == 0 ? unit : (bytes + unit - 1) / unit * unit;
    evener_arena_block *block = arena->blocks;
    if (block == NULL || block->sealed || block->room - block->used < bytes) {
        const size_t room = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        if (arena->bytes_max > 0 && (arena->used > arena->bytes_max || room > arena->bytes_max - arena->used)) {
            return NULL;
        }
        block = calloc(1, sizeof *block + room);
        if (block == NULL) {
            return NULL;
        }
        block->room = room;
        block->next = arena->blocks;
        arena->blocks = block;
        arena->used += room;
    }
    void *memory = block->memory + block->used;
    block->used += bytes;
    return memory;
}

char *evener_arena_text(evener_arena *arena, const void *text, size_t length)
{
    char *copy = length < SIZE_MAX ? evener_arena_alloc(arena, length + 1) : NULL;
    if (copy != NULL && length > 0) {
        memcpy(copy, text, length);
    }
    return copy;
}

struct evener_arena_block *evener_arena_mark(evener_arena *arena)
{
    if (arena->blocks != NULL) {
        arena->blocks->sealed = true;
    }
    return arena->blocks;
}

void evener_arena_reset(evener_arena *arena, struct evener_arena_block *mark)
{
    while (arena->blocks != mark) {
        evener_arena_block *block = arena->blocks;
        arena->blocks = block->next;
        arena->used -= block->room;
        free(block);
    }
}
