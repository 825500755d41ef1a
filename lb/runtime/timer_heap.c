/* Fredman, Sedgewick, Sleator, Tarjan: "The pairing heap", Algorithmica 1, 1986. `child` is the first child;
 * `sibling` is the next child of the same parent; `previous` is the previous sibling, or the parent of a first
 * child. */
#include "lb/runtime/timer_heap.h"

#include <stddef.h>

static bool comes_first(const evener_timer *a, const evener_timer *b)
{
    return a->deadline_ns < b->deadline_ns || (a->deadline_ns == b->deadline_ns && a->sequence < b->sequence);
}

/* Join two roots: the later one becomes the first child of the earlier one. */
static evener_timer *meld(evener_timer *a, evener_timer *b)
{
    if (a == NULL) {
        return b;
    }
    if (b == NULL) {
        return a;
    }
    if (comes_first(b, a)) {
        evener_timer *swap = a;
        a = b;
        b = swap;
    }
    b->previous = a;
    b->sibling = a->child;
    if (b->sibling != NULL) {
        b->sibling->previous = b;
    }
    a->child = b;
    return a;
}

/* Join the children of a removed node: in pairs from first to last, then the pairs from last to first. No recursion,
 * as a node may have many children. */
static evener_timer *meld_siblings(evener_timer *first)
{
    evener_timer *pairs = NULL; /* linked through `sibling`, last pair first */
    while (first != NULL) {
        evener_timer *a = first;
        evener_timer *b = a->sibling;
        first = b != NULL ? b->sibling : NULL;
        a->sibling = NULL;
        a->previous = NULL;
        if (b != NULL) {
            b->sibling = NULL;
            b->previous = NULL;
        }
        evener_timer *pair = meld(a, b);
        pair->sibling = pairs;
        pairs = pair;
    }
    evener_timer *root = NULL;
    while (pairs != NULL) {
        evener_timer *pair = pairs;
        pairs = pair->sibling;
        pair->sibling = NULL;
        root = meld(root, pair);
    }
    return root;
}

void evener_timer_heap_start(evener_timer_heap *heap, evener_timer *timer, uint64_t deadline_ns)
{
    evener_timer_heap_stop(heap, timer);
    timer->deadline_ns = deadline_ns;
    timer->sequence = heap->next_sequence++;
    timer->child = NULL;
    timer->sibling = NULL;
    timer->previous = NULL;
    timer->active = true;
    heap->first = meld(heap->first, timer);
}

void evener_timer_heap_stop(evener_timer_heap *heap, evener_timer *timer)
{
    if (!timer->active) {
        return;
    }
    evener_timer *children = meld_siblings(timer->child);
    if (timer == heap->first) {
        heap->first = children;
    } else {
        if (timer->previous->child == timer) {
            timer->previous->child = timer->sibling;
        } else {
            timer->previous->sibling = timer->sibling;
        }
        if (timer->sibling != NULL) {
            timer->sibling->previous = timer->previous;
        }
        heap->first = meld(heap->first, children);
    }
    timer->child = NULL;
    timer->sibling = NULL;
    timer->previous = NULL;
    timer->active = false;
}

evener_timer *evener_timer_heap_take_due(evener_timer_heap *heap, uint64_t now_ns, uint64_t sequence_end)
{
    evener_timer *timer = heap->first;
    if (timer == NULL || timer->deadline_ns > now_ns || timer->sequence >= sequence_end) {
        return NULL;
    }
    evener_timer_heap_stop(heap, timer);
    return timer;
}
