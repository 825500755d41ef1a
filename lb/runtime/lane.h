/* Lanes: the lane (see evener/picker.h) that the calling thread counts on.
 *
 * A thread takes a free lane at its first pick and gives it back when it exits. When no lane is free, it uses the
 * shared lane until it exits. */
#ifndef EVENER_LB_RUNTIME_LANE_H
#define EVENER_LB_RUNTIME_LANE_H

#include <stdint.h>

#include <evener/picker.h>

/* The thread's lane; EVENER_LANE_SHARED until the thread has asked for one. */
extern _Thread_local uint32_t evener_lane_own __attribute__((tls_model("initial-exec")));

/* No lane at or above this index was ever taken, so a sum over lanes may stop here. Atomic; only grows. A thread
 * that sees a count through a lock or an acquire also sees a bound above that count's lane. */
extern uint32_t evener_lane_bound;

/* Take a lane for the calling thread: the slow path of evener_lane_current(). */
uint32_t evener_lane_take(void);

/* Return the calling thread's lane, below EVENER_LANES. */
static inline uint32_t evener_lane_current(void)
{
    const uint32_t lane = evener_lane_own;
    if (__builtin_expect(lane != EVENER_LANE_SHARED, 1)) {
        return lane;
    }
    return evener_lane_take();
}

/* Add `n` to a counter of the calling thread's lane. Other threads may read it with a relaxed load. A lane with one
 * owner needs only a load and a store (0.5 ns instead of 3); the shared lane has many writers. */
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
