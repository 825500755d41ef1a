/* Fast clock: extrapolates a monotonic clock from a cycle counter. It reads neither: both values come from outside.
 *
 *     uint64_t now_ns;
 *     if (!evener_fast_clock_read(&clock, counter, &now_ns)) {
 *         now_ns = evener_fast_clock_anchor(&clock, &rate, counter, exact_ns);
 *     }
 *
 * Each thread has a clock of its own. */
#ifndef EVENER_LB_RUNTIME_FAST_CLOCK_H
#define EVENER_LB_RUNTIME_FAST_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Zeroed: no anchor, and no rate measured. */
typedef struct evener_fast_clock {
    uint64_t anchor_cycles;
    uint64_t anchor_ns;
    uint64_t valid_cycles; /* the anchor is valid for this many cycles; 0: no anchor */
    uint64_t rate;         /* nanoseconds per cycle, times 2^32 */
    uint64_t last_ns;      /* the last returned value; later values are not smaller */
    /* while no rate is known */
    uint64_t window_cycles, window_ns; /* readings at the start of the window that measures the rate; 0: none */
    uint64_t window_rate;              /* rate of the window before; 0: there was none */
} evener_fast_clock;

/* Store the extrapolated nanoseconds; false: the anchor has to be renewed. */
static inline bool evener_fast_clock_read(evener_fast_clock *clock, uint64_t counter, uint64_t *now_ns)
{
    const uint64_t cycles = counter - clock->anchor_cycles; /* huge if the counter went back */
    if (__builtin_expect(cycles >= clock->valid_cycles, 0)) {
        return false;
    }
    *now_ns = clock->anchor_ns + ((cycles * clock->rate) >> 32);
    if (*now_ns < clock->last_ns) {
        *now_ns = clock->last_ns;
    }
    clock->last_ns = *now_ns;
    return true;
}

/* Take two readings of the same moment, which become the anchor if the rate is known, and return the nanoseconds.
 * `published_rate` is shared by the clocks of all threads (atomic; 0: not known) and is measured here. `now_ns` is not
 * 0. */
uint64_t evener_fast_clock_anchor(evener_fast_clock *clock, uint64_t *published_rate, uint64_t counter,
                                  uint64_t now_ns);

#endif
