/* Timer heap: the timers of a loop, earliest first. Intrusive: allocates nothing and cannot fail.
 *
 * A pairing heap: starting a timer and reading the first are O(1), stopping and taking the first are O(log n)
 * amortised. Timers with equal deadlines come in the order of their start. One thread at a time. */
#ifndef EVENER_LB_RUNTIME_TIMER_HEAP_H
#define EVENER_LB_RUNTIME_TIMER_HEAP_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/loop.h>

typedef struct evener_timer_heap {
    evener_timer *first;
    uint64_t next_sequence;
} evener_timer_heap;
#define EVENER_TIMER_HEAP_INIT                                                                                         \
    {                                                                                                                  \
        NULL, 0                                                                                                        \
    }

/* Start the timer for `deadline_ns`. A started timer is moved to the new deadline. */
void evener_timer_heap_start(evener_timer_heap *heap, evener_timer *timer, uint64_t deadline_ns);

/* Stop the timer. A timer that is not started is left as it is. */
void evener_timer_heap_stop(evener_timer_heap *heap, evener_timer *timer);

/* Remove and return the first timer if its deadline is at or before `now_ns` and its start number is below
 * `sequence_end`; otherwise return NULL. A caller that takes several timers passes the heap's next_sequence from
 * before the first call: timers started meanwhile then wait for the next turn. */
evener_timer *evener_timer_heap_take_due(evener_timer_heap *heap, uint64_t now_ns, uint64_t sequence_end);

#endif
