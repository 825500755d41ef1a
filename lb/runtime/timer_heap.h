/* Timer heap: the timers of a loop, earliest first. Intrusive: allocates nothing and cannot fail.
 *
 * A pairing heap: start and the look at the first O(1), stop and taking the first O(log n) amortised. Of two timers
 * with one deadline the one started first comes first. One thread at a time. */
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

/* Puts the timer in, to ring at `deadline_ns`; moves it when it is in already. */
void evener_timer_heap_start(evener_timer_heap *heap, evener_timer *timer, uint64_t deadline_ns);

/* Takes the timer out if it is in. */
void evener_timer_heap_stop(evener_timer_heap *heap, evener_timer *timer);

/* Takes out the first timer if it is due at `now_ns` and was started before the timer of number `sequence_end`; else
 * returns NULL. With the heap's next_sequence from before the first of several calls, timers started in between wait
 * for the next turn. */
evener_timer *evener_timer_heap_take_due(evener_timer_heap *heap, uint64_t now_ns, uint64_t sequence_end);

#endif
