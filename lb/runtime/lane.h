/* Lanes: which lane (see evener/picker.h) the calling thread counts on.
 *
 * A thread takes a free lane at its first pick and gives it back when it exits; when all lanes are taken it shares the
 * last one for good. */
#ifndef EVENER_LB_RUNTIME_LANE_H
#define EVENER_LB_RUNTIME_LANE_H

#include <stdint.h>

#include <evener/picker.h>

/* The thread's lane; EVENER_LANE_SHARED also while it has not asked for one. */
extern _Thread_local uint32_t evener_lane_own __attribute__((tls_model("initial-exec")));

/* Lanes from this one on were never taken, so nothing was ever counted on them: a sum over lanes may end here. Atomic;
 * only grows. Who was told of a count (by a lock, an acquire) is told of its lane, too. */
extern uint32_t evener_lane_bound;

/* The slow path of evener_lane_current(). */
uint32_t evener_lane_take(void);

/* The calling thread's lane, below EVENER_LANES. */
static inline uint32_t evener_lane_current(void)
{
    const uint32_t lane = evener_lane_own;
    if (__builtin_expect(lane != EVENER_LANE_SHARED, 1)) {
        return lane;
    }
    return evener_lane_take();
}

/* Adds to a counter of the calling thread's lane. Others may read it with a relaxed load. On a lane of one's own a load
 * and a store are enough, 0.5 ns instead of 3; the last lane has many writers. */
/* NOLINTNEXTLINE(readability-non-const-parameter): clang-tidy does not see that the builtins write */
static inline void evener_lane_add_u64(uint64_t *counter, uint32_t lane, uint64_t n)
{
    if (__builtin_expect(lane != EVENER_LANE_SHARED, 1)) {
        __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
    } else {
        (void)__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
    }
}

#endif
