/* Pending events, earliest first, equal times in order of insertion: a heap with four children per node; an agenda, which
 * has the next events in a heap that fits into the processor's first cache, and later ones by their time; and a queue for
 * events that come in the order of their times. */
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
} sim_heap;

static inline int sim_event_before(const sim_heap_event *a, const sim_heap_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static inline sim_heap_event *sim_events_reserve(sim_heap_event *events, size_t count, size_t *capacity)
{
    if (count == *capacity) {
        *capacity = *capacity == 0 ? 64 : *capacity * 2;
        events = realloc(events, *capacity * sizeof *events);
        if (events == NULL) {
            abort();
        }
    }
    return events;
}

static inline void sim_heap_push(sim_heap *heap, const sim_heap_event *event)
{
    heap->events = sim_events_reserve(heap->events, heap->count, &heap->capacity);
    size_t hole = heap->count++;
    while (hole > 0 && sim_event_before(event, &heap->events[(hole - 1) / 4])) {
        heap->events[hole] = heap->events[(hole - 1) / 4];
        hole = (hole - 1) / 4;
    }
    heap->events[hole] = *event;
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

#define SIM_PERIOD_BITS 17 /* 131 us */
#define SIM_PERIODS 1024   /* a power of two */

/* Zeroed: empty. */
typedef struct sim_agenda {
    sim_heap near;                 /* events before near_end_ns */
    sim_heap periods[SIM_PERIODS]; /* the periods after it, unsorted */
    sim_heap later;                /* events after those */
    uint64_t near_end_ns;          /* a multiple of a period */
    size_t in_periods;
    uint64_t order;
} sim_agenda;

static inline void sim_agenda_push(sim_agenda *a, uint64_t at_ns, uint32_t kind, uint32_t index, uint64_t stamp)
{
    const sim_heap_event event = {at_ns, a->order++, kind, index, stamp};
    if (at_ns < a->near_end_ns) {
        sim_heap_push(&a->near, &event);
    } else if ((at_ns >> SIM_PERIOD_BITS) - (a->near_end_ns >> SIM_PERIOD_BITS) < SIM_PERIODS) {
        sim_heap *period = &a->periods[(at_ns >> SIM_PERIOD_BITS) % SIM_PERIODS];
        period->events = sim_events_reserve(period->events, period->count, &period->capacity);
        period->events[period->count++] = event;
        a->in_periods++;
    } else {
        sim_heap_push(&a->later, &event);
    }
}

/* Move the events of the next period to the heap; there are some after it. */
static inline void sim_agenda_move(sim_agenda *a)
{
    if (a->in_periods == 0) {
        a->near_end_ns = a->later.events[0].at_ns >> SIM_PERIOD_BITS << SIM_PERIOD_BITS;
    }
    sim_heap *period = &a->periods[(a->near_end_ns >> SIM_PERIOD_BITS) % SIM_PERIODS];
    for (size_t i = 0; i < period->count; i++) {
        sim_heap_push(&a->near, &period->events[i]);
    }
    a->in_periods -= period->count;
    period->count = 0;
    a->near_end_ns += UINT64_C(1) << SIM_PERIOD_BITS;
    while (a->later.count > 0 && a->later.events[0].at_ns < a->near_end_ns) {
        const sim_heap_event event = sim_heap_pop(&a->later);
        sim_heap_push(&a->near, &event);
    }
}

/* Return the earliest event, which sim_heap_pop() takes from `near`, or NULL. */
static inline const sim_heap_event *sim_agenda_first(sim_agenda *a)
{
    while (a->near.count == 0 && (a->in_periods > 0 || a->later.count > 0)) {
        sim_agenda_move(a);
    }
    return a->near.count > 0 ? &a->near.events[0] : NULL;
}

static inline void sim_agenda_clear(sim_agenda *a)
{
    for (size_t i = 0; i < SIM_PERIODS; i++) {
        free(a->periods[i].events);
    }
    free(a->near.events);
    free(a->later.events);
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
