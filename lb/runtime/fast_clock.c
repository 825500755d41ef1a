/* IMPLEMENTATION NOTES
 *
 * The fast clock extrapolates. Each thread keeps one reading of both clocks (its anchor) and adds to the anchor's
 * nanoseconds the cycles since then, at the measured rate. The thread reads the exact clock again after ANCHOR_NS, or
 * when the cycle counter went backwards (counters of different processors are out of step).
 *
 * Measuring the rate does not block: each thread takes the rate of a window between two of its readings. While the
 * machine is suspended or the virtual machine paused, only one of the two clocks may go on, and a thread may lose its
 * processor between the two halves of a reading. So a rate counts when two windows in a row, which have one reading in
 * common, agree. Until then every call reads the exact clock.
 *
 * A rate that does not hold any more (a virtual machine may move to another processor) is given up when an anchor is
 * renewed and the exact clock is far from the extrapolation; then it is measured anew. That may also happen after a
 * suspension, although the rate is right: it costs some slower calls. An error of the rate or of the counters therefore
 * costs at most a fraction of ANCHOR_NS and does not accumulate. */
#include "lb/runtime/fast_clock.h"

#include <stdbool.h>

#include <evener/loop.h>

#define ANCHOR_NS EVENER_NS_PER_MS
#define WINDOW_NS_MIN (10 * EVENER_NS_PER_MS)
#define WINDOW_NS_MAX EVENER_NS_PER_S
#define WINDOW_ERROR_MAX 0.001 /* two windows agree if their rates differ by less */
#define ANCHOR_ERROR_MAX                                                                                               \
    0.125 /* the rate holds if the extrapolation is wrong by less: the time may be only ANCHOR_NS */

static bool are_near(double a, double b, double error_max)
{
    return (a > b ? a - b : b - a) < a * error_max;
}

/* Return the rate if it is known by now; 0: it is not. */
static uint64_t measure(evener_fast_clock *clock, uint64_t counter, uint64_t now_ns)
{
    const uint64_t ns = now_ns - clock->window_ns;
    uint64_t rate = 0;
    if (clock->window_ns != 0 && counter > clock->window_cycles && ns <= WINDOW_NS_MAX) {
        if (ns < WINDOW_NS_MIN) {
            return 0;
        }
        rate = (uint64_t)((double)ns / (double)(counter - clock->window_cycles) * 0x1.0p32);
    }
    const bool is_known = are_near((double)rate, (double)clock->window_rate, WINDOW_ERROR_MAX);
    clock->window_rate = is_known ? 0 : rate;
    clock->window_cycles = counter;
    clock->window_ns = is_known ? 0 : now_ns;
    return is_known ? rate : 0;
}

/* Return whether the time since the anchor is what the rate foretold. A counter that went back says nothing of it. */
static bool rate_holds(const evener_fast_clock *clock, uint64_t counter, uint64_t now_ns)
{
    const double foretold_ns = (double)(counter - clock->anchor_cycles) * (double)clock->rate * 0x1.0p-32;
    return counter <= clock->anchor_cycles ||
           are_near(foretold_ns, (double)(now_ns - clock->anchor_ns), ANCHOR_ERROR_MAX);
}

uint64_t evener_fast_clock_anchor(evener_fast_clock *clock, uint64_t *published_rate, uint64_t counter, uint64_t now_ns)
{
    /* Relaxed: no other data depends on the rate. */
    if (clock->valid_cycles != 0 && !rate_holds(clock, counter, now_ns)) {
        uint64_t given_up = clock->rate; /* not a rate that another thread has measured since */
        (void)__atomic_compare_exchange_n(published_rate, &given_up, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    uint64_t rate = __atomic_load_n(published_rate, __ATOMIC_RELAXED);
    if (rate == 0) {
        rate = measure(clock, counter, now_ns);
        if (rate != 0) {
            __atomic_store_n(published_rate, rate, __ATOMIC_RELAXED);
        }
    }
    clock->anchor_cycles = counter;
    clock->anchor_ns = now_ns;
    clock->valid_cycles = rate != 0 ? (ANCHOR_NS << 32) / rate : 0;
    clock->rate = rate;
    if (now_ns < clock->last_ns) {
        now_ns = clock->last_ns;
    }
    clock->last_ns = now_ns;
    return now_ns;
}
