/* Slab: memory for many objects of one size that come and go, of one thread.
 *
 *     evener_slab slab = evener_slab_for(sizeof(thing), _Alignof(thing));
 *     thing *t = evener_slab_take(&slab);      // zeroed; NULL without memory
 *     evener_slab_give_back(&slab, t);
 *     evener_slab_clear(&slab);                // all were given back
 *
 * A channel of 10,000 backends makes five objects for each. From malloc each would cost 8 bytes more and some 100 ns, and
 * they would come to lie far apart. Here those that are made one after the other lie side by side, in pages of 4 KiB; what
 * is empty goes back to malloc, but for one page.
 *
 * Under AddressSanitizer and ThreadSanitizer every object comes from malloc, so that a use after its end is found. */
#ifndef EVENER_LB_RUNTIME_SLAB_H
#define EVENER_LB_RUNTIME_SLAB_H

#include <stddef.h>

typedef struct evener_slab_page evener_slab_page;

typedef struct evener_slab {
    size_t object_bytes; /* a multiple of their alignment */
    evener_slab_page *with_room;
    evener_slab_page *spare; /* without objects, of chunks of pages that are not all spare */
    size_t page_count;
} evener_slab;

/* An empty slab for objects of so many bytes; `alignment` is a power of two, 64 at most. Objects that are too big for
 * pages come from malloc. */
evener_slab evener_slab_for(size_t object_bytes, size_t alignment);

/* Zeroed memory for one object; NULL without. */
void *evener_slab_take(evener_slab *slab);

/* NULL is allowed. */
void evener_slab_give_back(evener_slab *slab, void *object);

/* Lets go of the page that is kept. No object is in use. */
void evener_slab_clear(evener_slab *slab);

#endif
