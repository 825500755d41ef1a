/* Lanes: the lane (see evener/lane.h) that the calling thread counts on.
 *
 * A thread takes a free lane at its first pick and gives it back when it exits. When no lane is free it uses the
 * shared lane, and asks again with every pick. While such threads exist, a control thread takes lanes back from
 * threads that have not used theirs for a second (evener_lanes_scan()).
 *
 * Lanes are changed with plain loads and stores, so a lane may only pass on when its owner is certainly not about to
 * store. A thread that uses its lane is therefore either inside an RCU section in which it has loaded `own`, or
 * between evener_lane_use_begin() and evener_lane_use_end(), with `own` loaded in between. The fast side needs no
 * memory barrier: the side that takes back executes membarrier(2) after it has changed `own`. */
#ifndef EVENER_LB_RUNTIME_LANE_H
#define EVENER_LB_RUNTIME_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/picker.h>

#include "lb/runtime/rcu.h"

typedef struct evener_lane_thread {
    uint32_t own; /* atomic: the thread's lane; EVENER_LANE_SHARED: none. Taken back by other threads */
    /* Low 16 bits: uses in progress, which may be nested; the others: uses that have ended. Written by this thread
     * only, read by others. */
    uint64_t uses;
} evener_lane_thread;

#define EVENER_LANE_USE_BEGIN UINT64_C(1)
#define EVENER_LANE_USE_END (UINT64_C(0x10000) - 1)
#define EVENER_LANE_IN_USE(uses) (((uses)&0xffff) != 0)

extern _Thread_local evener_lane_thread evener_lane_self __attribute__((tls_model("initial-exec")));

/* No lane at or above this index was ever taken, so a sum over lanes may stop here. Atomic; only grows. A thread
 * that sees a count through a lock or an acquire also sees a bound above that count's lane. */
extern uint32_t evener_lane_bound;

/* Number of threads that asked for a lane and have none yet. Atomic. */
extern uint32_t evener_lane_refused;

/* Take a lane for the calling thread, or return EVENER_LANE_SHARED: the slow path of evener_lane_current(). */
uint32_t evener_lane_take(void);

/* One instruction on x86-64, whose stores are in order; the clobber keeps the compiler from moving other accesses. */
static inline void evener_lane_uses_add(uint64_t n)
{
#if defined(__x86_64__) && !defined(EVENER_RCU_TSAN)
    __asm__ volatile("addq %1, %0" : "+m"(evener_lane_self.uses) : "er"(n) : "memory");
#else
    uint64_t *uses = &evener_lane_self.uses;
    __atomic_store_n(uses, __atomic_load_n(uses, __ATOMIC_RELAXED) + n, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
#endif
}

/* Begin or end a use of the thread's lane outside RCU. May be nested. */
static inline void evener_lane_use_begin(void)
{
    evener_lane_uses_add(EVENER_LANE_USE_BEGIN);
}

static inline void evener_lane_use_end(void)
{
    evener_lane_uses_add(EVENER_LANE_USE_END);
}

/* Return the calling thread's lane, or EVENER_LANE_SHARED, without asking for one. Inside a use or an RCU section. */
static inline uint32_t evener_lane_own(void)
{
    return __atomic_load_n(&evener_lane_self.own, __ATOMIC_RELAXED);
}

/* Return the calling thread's lane, below EVENER_LANES. Inside a use. */
static inline uint32_t evener_lane_current(void)
{
    const uint32_t lane = evener_lane_own();
    if (__builtin_expect(lane != EVENER_LANE_SHARED, 1)) {
        return lane;
    }
    return evener_lane_take();
}

/* ---- for the control threads ---- */

/* Look at all lanes: take back those whose owners have not used them since the last scan, at most as many as threads
 * ask for. Return whether there are any that may be free after a grace period of RCU; then call evener_lanes_settle().
 * At least a second after the last scan. Any thread; one at a time. */
bool evener_lanes_scan(void);

/* After a grace period: free the lanes that were taken back and are not in use. Those that are, wait for the next
 * call. Any thread. */
void evener_lanes_settle(void);

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
