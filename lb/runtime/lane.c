#include "lb/runtime/lane.h"

#include <pthread.h>
#include <stdbool.h>

_Thread_local uint32_t evener_lane_own = EVENER_LANE_SHARED;
uint32_t evener_lane_bound;
static _Thread_local bool refused; /* this thread asked for a lane and no lane was free */

#define ALL_TAKEN ((UINT32_C(1) << EVENER_LANE_SHARED) - 1)

static uint32_t taken; /* bit n: lane n belongs to a thread */
static pthread_key_t exit_key;
static bool has_exit_key;
static pthread_once_t exit_key_once = PTHREAD_ONCE_INIT;

/* Runs when a thread exits. A later destructor of the same thread may pick again: that takes a new lane, and this
 * runs again. */
static void give_back(void *value)
{
    const uint32_t lane = (uint32_t)(uintptr_t)value - 1;
    evener_lane_own = EVENER_LANE_SHARED;
    refused = false;
    /* Release: this thread's plain stores to its lane happen before those of the lane's next owner. Pairs with the
     * acquire in take_free(). */
    (void)__atomic_fetch_and(&taken, ~(UINT32_C(1) << lane), __ATOMIC_RELEASE);
}

static void make_exit_key(void)
{
    has_exit_key = pthread_key_create(&exit_key, give_back) == 0;
}

/* Return a free lane, or EVENER_LANE_SHARED if there is none. */
static uint32_t take_free(void)
{
    uint32_t before = __atomic_load_n(&taken, __ATOMIC_RELAXED);
    while (before != ALL_TAKEN) {
        const uint32_t lane = (uint32_t)__builtin_ctz(~before);
        /* Acquire: pairs with the release in give_back(). */
        if (__atomic_compare_exchange_n(&taken, &before, before | UINT32_C(1) << lane, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED)) {
            return lane;
        }
    }
    return EVENER_LANE_SHARED;
}

static void raise_bound(uint32_t lane)
{
    uint32_t bound = __atomic_load_n(&evener_lane_bound, __ATOMIC_RELAXED);
    while (bound <= lane && !__atomic_compare_exchange_n(&evener_lane_bound, &bound, lane + 1, false, __ATOMIC_RELAXED,
                                                         __ATOMIC_RELAXED)) {
    }
}

uint32_t evener_lane_take(void)
{
    if (refused) {
        return EVENER_LANE_SHARED;
    }
    (void)pthread_once(&exit_key_once, make_exit_key);
    uint32_t lane = has_exit_key ? take_free() : EVENER_LANE_SHARED;
    if (lane != EVENER_LANE_SHARED && pthread_setspecific(exit_key, (void *)(uintptr_t)(lane + 1)) != 0) {
        /* Without the thread-specific value the lane would never be given back. */
        give_back((void *)(uintptr_t)(lane + 1));
        lane = EVENER_LANE_SHARED;
    }
    refused = lane == EVENER_LANE_SHARED;
    raise_bound(lane);
    evener_lane_own = lane;
    return lane;
}
