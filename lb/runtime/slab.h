/* Slab: memory for many objects of one size that are created and destroyed by one thread.
 *
 *     evener_slab slab = evener_slab_for(sizeof(thing), _Alignof(thing));
 *     thing *t = evener_slab_take(&slab);      // zeroed; NULL on out of memory
 *     evener_slab_give_back(&slab, t);
 *     evener_slab_clear(&slab);                // after all objects were given back
 *
 * A channel of 10,000 backends needs five objects per backend. malloc would cost 8 bytes and about 100 ns more per
 * object and scatter them. A slab places objects that are created in a row next to each other, in pages of 4 KiB.
 * Empty pages go back to malloc, except one.
 *
 * Under AddressSanitizer and ThreadSanitizer every object comes from malloc, so that a use after free is found. */
#ifndef EVENER_LB_RUNTIME_SLAB_H
#define EVENER_LB_RUNTIME_SLAB_H

#include <stddef.h>

typedef struct evener_slab_page evener_slab_page;

typedef struct evener_slab {
    size_t object_bytes; /* a multiple of the alignment */
    evener_slab_page *with_room;
    evener_slab_page *spare; /* empty pages of chunks that have pages in use */
    size_t page_count;
} evener_slab;

/* Return an empty slab for objects of `object_bytes`; `alignment` is a power of two, at most 64. Objects too big for
 * pages come from malloc. */
evener_slab evener_slab_for(size_t object_bytes, size_t alignment);

/* Return zeroed memory for one object; NULL on out of memory. */
void *evener_slab_take(evener_slab *slab);

/* Give back an object. NULL is allowed. */
void evener_slab_give_back(evener_slab *slab, void *object);

/* Free the page that is kept. No object may be in use. */
void evener_slab_clear(evener_slab *slab);

#endif
