/* A page begins at a multiple of its size, so that an object's address tells its page. What the page says of itself is
 * at its end: the objects begin where every alignment begins. 16 bytes less than the power of two are asked for: malloc
 * puts its own behind, and pages then lie side by side without a gap.
 *
 * malloc takes some 400 ns for aligned memory. A slab that has many pages asks for several at once, a chunk, and gives it
 * back when none of them is in use: about a thirtieth of the slab may wait for that. */
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

#define CACHE_LINE_BYTES 64
#define PAGE_BYTES 4096
#define LEFT_BYTES 16 /* for malloc, at the end of a chunk */
#define CHUNK_PAGES_MAX 16
#define PAGES_PER_CHUNK_PAGE 32 /* that a slab has before its chunks get a page longer */

typedef struct unused_object {
    struct unused_object *next;
} unused_object;

struct evener_slab_page {
    evener_slab_page *next, *previous; /* among those with room, or those that are spare */
    unused_object *unused;             /* objects that were in use before */
    uint16_t fresh_bytes;              /* from here on none was ever in use */
    uint16_t in_use;
    uint8_t place; /* in its chunk */
    /* Of a chunk's first page: how many it has, and how many of them are not spare. */
    uint8_t chunk_pages, chunk_used;
};

#define OBJECTS_BYTES (PAGE_BYTES - LEFT_BYTES - sizeof(evener_slab_page))
/* Fewer than that in a page waste too much of it. */
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

/* A chunk of spare pages. */
static bool add_chunk(evener_slab *slab, size_t pages)
{
    void *memory;
    if (posix_memalign(&memory, PAGE_BYTES, pages * PAGE_BYTES - LEFT_BYTES) != 0) {
        return false;
    }
    evener_slab_page *first = page_of(memory);
    first->place = 0;
    for (size_t left = pages; left > 0; left--) { /* so that they are used in the order of their addresses */
        evener_slab_page *page = at_place(first, (uint8_t)(left - 1));
        page->place = (uint8_t)(left - 1);
        link_page(&slab->spare, page);
    }
    first->chunk_pages = (uint8_t)pages;
    first->chunk_used = 0;
    slab->page_count += pages;
    return true;
}

/* A page with room; NULL without memory. */
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

/* Of a page without objects, the chunk with it if it was the last one. */
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

/* Asks for the object to come, which was not touched for long when thousands are taken one after the other. */
static void prefetch(const void *object, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += CACHE_LINE_BYTES) {
        __builtin_prefetch((const char *)object + at, 1);
    }
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
        if (page->unused != NULL) {
            prefetch(page->unused, slab->object_bytes);
        }
    } else {
        object = objects_of(page) + page->fresh_bytes;
        page->fresh_bytes = (uint16_t)(page->fresh_bytes + slab->object_bytes);
        prefetch(objects_of(page) + page->fresh_bytes, slab->object_bytes);
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
    /* One is kept: what comes and goes one at a time is not to cost a page each time. */
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
