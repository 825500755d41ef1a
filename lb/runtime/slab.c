/* A page is aligned to its size, so the page of an object follows from the object's address. The page's metadata is
 * at its end, so that the first object has every alignment. A chunk is 16 bytes shorter than its pages: malloc puts
 * its own header there, and consecutive chunks leave no gap.
 *
 * malloc needs about 400 ns for aligned memory. A slab with many pages therefore allocates several at once, a chunk,
 * and frees a chunk when none of its pages is in use. Up to about a thirtieth of the slab may be unused for that
 * reason. */
#include "lb/runtime/slab.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/memory.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FROM_MALLOC true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FROM_MALLOC true
#endif
#endif
#ifndef FROM_MALLOC
#define FROM_MALLOC false
#endif

#define PAGE_BYTES 4096
#define LEFT_BYTES 16 /* left for malloc's header, at the end of a chunk */
#define CHUNK_PAGES_MAX 16
#define PAGES_PER_CHUNK_PAGE 32 /* chunks grow by one page per this many pages of the slab */

typedef struct unused_object {
    struct unused_object *next;
} unused_object;

struct evener_slab_page {
    evener_slab_page *next, *previous; /* in the slab's `with_room` or `spare` list */
    unused_object *unused;             /* free list of objects that were used before */
    uint16_t fresh_bytes;              /* offset of the first object that was never used */
    uint16_t in_use;
    uint8_t place; /* index in its chunk */
    /* Valid in a chunk's first page: its number of pages, and how many of them are not spare. */
    uint8_t chunk_pages, chunk_used;
};

#define OBJECTS_BYTES (PAGE_BYTES - LEFT_BYTES - sizeof(evener_slab_page))
/* With fewer objects per page too much of the page is wasted. */
#define OBJECTS_PER_PAGE_MIN 6

static bool uses_pages(const evener_slab *slab)
{
    return !FROM_MALLOC && slab->object_bytes <= OBJECTS_BYTES / OBJECTS_PER_PAGE_MIN;
}

static evener_slab_page *page_of(const void *object)
{
    return (evener_slab_page *)(((uintptr_t)object & ~(uintptr_t)(PAGE_BYTES - 1)) + OBJECTS_BYTES);
}

static char *objects_of(evener_slab_page *page)
{
    return (char *)page - OBJECTS_BYTES;
}

static bool has_room(const evener_slab *slab, const evener_slab_page *page)
{
    return page->unused != NULL || page->fresh_bytes + slab->object_bytes <= OBJECTS_BYTES;
}

static void link_page(evener_slab_page **list, evener_slab_page *page)
{
    page->previous = NULL;
    page->next = *list;
    if (page->next != NULL) {
        page->next->previous = page;
    }
    *list = page;
}

static void unlink_page(evener_slab_page **list, evener_slab_page *page)
{
    if (page->previous != NULL) {
        page->previous->next = page->next;
    } else {
        *list = page->next;
    }
    if (page->next != NULL) {
        page->next->previous = page->previous;
    }
}

static evener_slab_page *at_place(evener_slab_page *page, uint8_t place)
{
    return (evener_slab_page *)(void *)((char *)page + ((ptrdiff_t)place - page->place) * PAGE_BYTES);
}

/* Add a chunk of spare pages. Return false on out of memory. */
static bool add_chunk(evener_slab *slab, size_t pages)
{
    void *memory;
    if (posix_memalign(&memory, PAGE_BYTES, pages * PAGE_BYTES - LEFT_BYTES) != 0) {
        return false;
    }
    evener_slab_page *first = page_of(memory);
    first->place = 0;
    for (size_t left = pages; left > 0; left--) { /* so that pages are used in address order */
        evener_slab_page *page = at_place(first, (uint8_t)(left - 1));
        page->place = (uint8_t)(left - 1);
        link_page(&slab->spare, page);
    }
    first->chunk_pages = (uint8_t)pages;
    first->chunk_used = 0;
    slab->page_count += pages;
    return true;
}

/* Add an empty page to `with_room`. Return NULL on out of memory. */
static evener_slab_page *add_page(evener_slab *slab)
{
    if (slab->spare == NULL) {
        const size_t pages = slab->page_count / PAGES_PER_CHUNK_PAGE;
        const size_t wanted = pages < 1 ? 1 : pages > CHUNK_PAGES_MAX ? CHUNK_PAGES_MAX : pages;
        if (!add_chunk(slab, wanted) && (wanted == 1 || !add_chunk(slab, 1))) {
            return NULL;
        }
    }
    evener_slab_page *page = slab->spare;
    unlink_page(&slab->spare, page);
    at_place(page, 0)->chunk_used++;
    page->unused = NULL;
    page->fresh_bytes = 0;
    page->in_use = 0;
    link_page(&slab->with_room, page);
    return page;
}

/* Make an empty page spare; free its chunk if all of the chunk's pages are spare. */
static void remove_page(evener_slab *slab, evener_slab_page *page)
{
    unlink_page(&slab->with_room, page);
    link_page(&slab->spare, page);
    evener_slab_page *first = at_place(page, 0);
    if (--first->chunk_used > 0) {
        return;
    }
    const uint8_t pages = first->chunk_pages;
    for (uint8_t place = 0; place < pages; place++) {
        unlink_page(&slab->spare, at_place(first, place));
    }
    slab->page_count -= pages;
    free(objects_of(first));
}

evener_slab evener_slab_for(size_t object_bytes, size_t alignment)
{
    const size_t least = object_bytes > sizeof(unused_object) ? object_bytes : sizeof(unused_object);
    return (evener_slab){.object_bytes = (least + alignment - 1) / alignment * alignment};
}

void *evener_slab_take(evener_slab *slab)
{
    if (!uses_pages(slab)) {
        return evener_cache_aligned_calloc(slab->object_bytes);
    }
    evener_slab_page *page = slab->with_room != NULL ? slab->with_room : add_page(slab);
    if (page == NULL) {
        return NULL;
    }
    void *object = page->unused;
    if (object != NULL) {
        page->unused = page->unused->next;
    } else {
        object = objects_of(page) + page->fresh_bytes;
        page->fresh_bytes = (uint16_t)(page->fresh_bytes + slab->object_bytes);
    }
    page->in_use++;
    if (!has_room(slab, page)) {
        unlink_page(&slab->with_room, page);
    }
    return memset(object, 0, slab->object_bytes);
}

void evener_slab_give_back(evener_slab *slab, void *object)
{
    if (object == NULL || !uses_pages(slab)) {
        free(object);
        return;
    }
    evener_slab_page *page = page_of(object);
    if (!has_room(slab, page)) {
        link_page(&slab->with_room, page);
    }
    unused_object *unused = object;
    unused->next = page->unused;
    page->unused = unused;
    page->in_use--;
    /* Keep the last page: otherwise a single object that comes and goes allocates a page each time. */
    if (page->in_use == 0 && (page->next != NULL || page->previous != NULL)) {
        remove_page(slab, page);
    }
}

void evener_slab_clear(evener_slab *slab)
{
    if (slab->with_room != NULL) {
        remove_page(slab, slab->with_room);
    }
}
