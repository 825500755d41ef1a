#include <criterion/criterion.h>

#include "lb/runtime/random.h"
#include "lb/runtime/timer_heap.h"

#define FOREVER UINT64_MAX

static void never(void *arg)
{
    (void)arg;
    cr_assert_fail("the heap does not run timers");
}

static evener_timer *take(evener_timer_heap *heap, uint64_t now_ns)
{
    return evener_timer_heap_take_due(heap, now_ns, UINT64_MAX);
}

Test(timer_heap, an_empty_heap_has_no_first)
{
    evener_timer_heap heap = EVENER_TIMER_HEAP_INIT;
    cr_assert_null(heap.first);
    cr_assert_null(take(&heap, FOREVER));
}

Test(timer_heap, comes_in_order_of_deadlines)
{
    evener_timer_heap heap = EVENER_TIMER_HEAP_INIT;
    evener_timer a = EVENER_TIMER_INIT(never, NULL);
    evener_timer b = EVENER_TIMER_INIT(never, NULL);
    evener_timer c = EVENER_TIMER_INIT(never, NULL);
    evener_timer_heap_start(&heap, &b, 20);
    evener_timer_heap_start(&heap, &c, 30);
    evener_timer_heap_start(&heap, &a, 10);
    cr_assert_eq(heap.first, &a);
    cr_assert_null(take(&heap, 9), "not due yet");
    cr_assert_eq(take(&heap, 10), &a);
    cr_assert_not(a.active);
    cr_assert_eq(take(&heap, FOREVER), &b);
    cr_assert_eq(take(&heap, FOREVER), &c);
    cr_assert_null(take(&heap, FOREVER));
}

Test(timer_heap, of_equal_deadlines_the_one_started_first_comes_first)
{
    evener_timer_heap heap = EVENER_TIMER_HEAP_INIT;
    evener_timer timers[9];
    for (size_t i = 0; i < 9; i++) {
        timers[i] = (evener_timer)EVENER_TIMER_INIT(never, NULL);
        evener_timer_heap_start(&heap, &timers[i], 5);
    }
    evener_timer_heap_start(&heap, &timers[0], 5); /* restarted: now the last */
    for (size_t i = 1; i < 9; i++) {
        cr_assert_eq(take(&heap, 5), &timers[i]);
    }
    cr_assert_eq(take(&heap, 5), &timers[0]);
}

Test(timer_heap, stopping_a_stopped_timer_is_allowed)
{
    evener_timer_heap heap = EVENER_TIMER_HEAP_INIT;
    evener_timer a = EVENER_TIMER_INIT(never, NULL);
    evener_timer_heap_stop(&heap, &a);
    evener_timer_heap_start(&heap, &a, 1);
    evener_timer_heap_stop(&heap, &a);
    evener_timer_heap_stop(&heap, &a);
    cr_assert_null(heap.first);
}

Test(timer_heap, timers_started_during_a_turn_wait_for_the_next)
{
    evener_timer_heap heap = EVENER_TIMER_HEAP_INIT;
    evener_timer a = EVENER_TIMER_INIT(never, NULL);
    evener_timer b = EVENER_TIMER_INIT(never, NULL);
    evener_timer_heap_start(&heap, &a, 5);
    const uint64_t turn = heap.next_sequence;
    cr_assert_eq(evener_timer_heap_take_due(&heap, 5, turn), &a);
    evener_timer_heap_start(&heap, &b, 5);
    cr_assert_null(evener_timer_heap_take_due(&heap, 5, turn));
    cr_assert_eq(take(&heap, 5), &b);
}

#define TIMERS 200

static const evener_timer *expected_first(const evener_timer *timers)
{
    const evener_timer *first = NULL;
    for (size_t i = 0; i < TIMERS; i++) {
        const evener_timer *t = &timers[i];
        if (t->active && (first == NULL || t->deadline_ns < first->deadline_ns ||
                          (t->deadline_ns == first->deadline_ns && t->sequence < first->sequence))) {
            first = t;
        }
    }
    return first;
}

Test(timer_heap, agrees_with_a_search_through_all_over_random_starts_stops_and_takes)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        evener_random random;
        evener_random_seed(&random, seed);
        evener_timer_heap heap = EVENER_TIMER_HEAP_INIT;
        evener_timer timers[TIMERS];
        for (size_t i = 0; i < TIMERS; i++) {
            timers[i] = (evener_timer)EVENER_TIMER_INIT(never, NULL);
        }
        for (int step = 0; step < 5000; step++) {
            evener_timer *timer = &timers[evener_random_next(&random) % TIMERS];
            const uint64_t what = evener_random_next(&random) % 8;
            if (what < 4) {
                evener_timer_heap_start(&heap, timer, evener_random_next(&random) % 50);
            } else if (what < 6) {
                evener_timer_heap_stop(&heap, timer);
            } else {
                const evener_timer *expected = expected_first(timers);
                cr_assert_eq(take(&heap, FOREVER), expected);
            }
            cr_assert_eq(heap.first, expected_first(timers), "seed %lu, step %d", (unsigned long)seed, step);
        }
    }
}
