/* Pending events, earliest first; equal times in order of insertion. A heap with four children per node. */
#ifndef EVENER_BENCH_SIM_EVENT_HEAP_H
#define EVENER_BENCH_SIM_EVENT_HEAP_H

#include <stdint.h>
#include <stdlib.h>

typedef struct sim_heap_event {
    uint64_t at_ns;
    uint64_t order;
    uint32_t kind;
    uint32_t index;
    uint64_t stamp; /* stamp of the call at the push: if the call's stamp has changed, the event is stale */
} sim_heap_event;

typedef struct sim_heap {
    sim_heap_event *events;
    size_t count, capacity;
    uint64_t order;
} sim_heap;

static inline int sim_event_before(const sim_heap_event *a, const sim_heap_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static inline void sim_heap_push(sim_heap *heap, uint64_t at_ns, uint32_t kind, uint32_t index, uint64_t stamp)
{
    if (heap->count == heap->capacity) {
        heap->capacity = heap->capacity == 0 ? 1024 : heap->capacity * 2;
        heap->events = realloc(heap->events, heap->capacity * sizeof *heap->events);
        if (heap->events == NULL) {
            abort();
        }
    }
    const sim_heap_event event = {at_ns, heap->order++, kind, index, stamp};
    size_t hole = heap->count++;
    while (hole > 0 && sim_event_before(&event, &heap->events[(hole - 1) / 4])) {
        heap->events[hole] = heap->events[(hole - 1) / 4];
        hole = (hole - 1) / 4;
    }
    heap->events[hole] = event;
}

static inline sim_heap_event sim_heap_pop(sim_heap *heap)
{
    const sim_heap_event top = heap->events[0];
    const sim_heap_event last = heap->events[--heap->count];
    size_t hole = 0;
    for (;;) {
        size_t least = hole * 4 + 1;
        if (least >= heap->count) {
            break;
        }
        const size_t end = least + 4 < heap->count ? least + 4 : heap->count;
        for (size_t child = least + 1; child < end; child++) {
            least = sim_event_before(&heap->events[child], &heap->events[least]) ? child : least;
        }
        if (!sim_event_before(&heap->events[least], &last)) {
            break;
        }
        heap->events[hole] = heap->events[least];
        hole = least;
    }
    heap->events[hole] = last;
    return top;
}

#endif
