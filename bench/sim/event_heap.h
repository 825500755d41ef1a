/* Pending events: a heap, earliest first, equal times in order of insertion, with four children per node; and a queue
 * for events that come in the order of their times. */
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

/* A ring of events. `first` and `end` count all events that were ever taken and added. */
typedef struct sim_queue {
    sim_heap_event *events;
    size_t capacity; /* a power of two, or 0 */
    uint64_t first, end;
} sim_queue;

static inline const sim_heap_event *sim_queue_first(const sim_queue *queue)
{
    return queue->first < queue->end ? &queue->events[queue->first & (queue->capacity - 1)] : NULL;
}

/* `at_ns` is not before that of the last event added. */
static inline void sim_queue_add(sim_queue *queue, uint64_t at_ns, uint32_t kind, uint32_t index, uint64_t stamp)
{
    if (queue->end - queue->first == queue->capacity) {
        const size_t capacity = queue->capacity == 0 ? 1024 : queue->capacity * 2;
        sim_heap_event *events = malloc(capacity * sizeof *events);
        if (events == NULL) {
            abort();
        }
        for (uint64_t i = queue->first; i < queue->end; i++) {
            events[i & (capacity - 1)] = queue->events[i & (queue->capacity - 1)];
        }
        free(queue->events);
        queue->events = events;
        queue->capacity = capacity;
    }
    queue->events[queue->end++ & (queue->capacity - 1)] = (sim_heap_event){at_ns, 0, kind, index, stamp};
}

#endif
