/* Arena: memory that is given back all at once, or back to a mark. */
#ifndef EVENER_LB_PROTOBUF_ARENA_H
#define EVENER_LB_PROTOBUF_ARENA_H

#include <stddef.h>

typedef struct evener_arena {
    struct evener_arena_block *blocks; /* the newest first */
    size_t used;                       /* bytes of all blocks */
    size_t bytes_max;                  /* beyond it nothing is allocated; 0: no limit */
} evener_arena;

/* Return zeroed memory for any type; NULL: no memory, or beyond the limit. */
void *evener_arena_alloc(evener_arena *arena, size_t bytes);

/* Return a copy of `length` bytes with NUL behind them; NULL as above. */
char *evener_arena_text(evener_arena *arena, const void *text, size_t length);

/* Return a mark. What is allocated from now on can be freed by evener_arena_reset(). */
struct evener_arena_block *evener_arena_mark(evener_arena *arena);

/* Free what was allocated since `mark` was returned; NULL: everything. */
void evener_arena_reset(evener_arena *arena, struct evener_arena_block *mark);

#endif
