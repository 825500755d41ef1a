#include "lb/runtime/lane.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lb/base/fork.h"

_Thread_local evener_lane_thread evener_lane_self = {.own = EVENER_LANE_SHARED};
uint32_t evener_lane_bound;
uint32_t evener_lane_refused;
static _Thread_local bool refused;   /* this thread is counted in evener_lane_refused */
static _Thread_local unsigned exits; /* calls of give_back() */
/* POSIX runs a thread's destructors at least four times while they set values again. A thread gets no lane after two
 * rounds, so that give_back() always follows. */
#define EXITS_MAX 2

/* A lane:
 *
 *     FREE     its bit in `taken` is 0
 *     (taken)  bit 1, no owner yet: only its new owner touches it
 *     HELD     bit 1, an owner whose `own` is this lane
 *     REVOKED  bit 1, an owner whose `own` is not this lane any more, but which may still use it
 *
 * FREE -> HELD by its owner, without a lock; all other changes with the mutex held. */
typedef struct lane_state {
    evener_lane_thread *owner; /* atomic: set with release when the rest is set */
    uint64_t seen_uses;        /* the owner's at the last scan */
    bool revoked;
} lane_state;

_Static_assert(EVENER_LANE_SHARED == 64, "a bit per lane");
#define ALL_TAKEN UINT64_MAX

static uint64_t taken; /* atomic; bit n: lane n is not free */
static lane_state states[EVENER_LANE_SHARED];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t exit_key;
static bool has_exit_key;
static pthread_once_t exit_key_once = PTHREAD_ONCE_INIT;

/* All threads but the calling one are gone, and the channels that they counted for are used no more: their lanes are
 * free. */
static void free_lanes_of_parent(void)
{
    const uint32_t own = evener_lane_own();
    taken = own != EVENER_LANE_SHARED ? UINT64_C(1) << own : 0;
    for (uint32_t lane = 0; lane < EVENER_LANE_SHARED; lane++) {
        if (lane != own) {
            states[lane] = (lane_state){0};
        }
    }
    evener_lane_refused = refused ? 1 : 0;
}

EVENER_FORK_LOCK(mutex, EVENER_FORK_OBJECTS, free_lanes_of_parent)

/* The mutex is held. */
static void free_lane(uint32_t lane)
{
    __atomic_store_n(&states[lane].owner, NULL, __ATOMIC_RELAXED);
    states[lane].revoked = false;
    /* Release: the owner's plain stores to its lane, which this thread has seen or made, happen before those of the
     * next owner. Pairs with the acquire in take_free(). */
    (void)__atomic_fetch_and(&taken, ~(UINT64_C(1) << lane), __ATOMIC_RELEASE);
}

static void stop_asking(void)
{
    if (refused) {
        refused = false;
        (void)__atomic_fetch_sub(&evener_lane_refused, 1, __ATOMIC_RELAXED);
    }
}

/* Give the lane back when its thread exits. A later destructor of the same thread may pick again: it takes a lane
 * again, and this function runs again. */
static void give_back(void *value)
{
    (void)value;
    exits++;
    stop_asking();
    pthread_mutex_lock(&mutex);
    __atomic_store_n(&evener_lane_self.own, EVENER_LANE_SHARED, __ATOMIC_RELAXED);
    for (uint32_t lane = 0; lane < EVENER_LANE_SHARED; lane++) {
        if (__atomic_load_n(&states[lane].owner, __ATOMIC_RELAXED) == &evener_lane_self) {
            free_lane(lane);
        }
    }
    pthread_mutex_unlock(&mutex);
}

static void make_exit_key(void)
{
    has_exit_key = pthread_key_create(&exit_key, give_back) == 0;
}

/* Return a lane that was free, or EVENER_LANE_SHARED if there is none. */
static uint32_t take_free(void)
{
    uint64_t before = __atomic_load_n(&taken, __ATOMIC_RELAXED);
    while (before != ALL_TAKEN) {
        const uint32_t lane = (uint32_t)__builtin_ctzll(~before);
        /* Acquire: pairs with the release in free_lane(). */
        if (__atomic_compare_exchange_n(&taken, &before, before | UINT64_C(1) << lane, false, __ATOMIC_ACQUIRE,
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

/* Make sure that give_back() runs at the thread's end. */
static bool will_give_back(void)
{
    return has_exit_key && exits < EXITS_MAX &&
           (pthread_getspecific(exit_key) != NULL || pthread_setspecific(exit_key, &exit_key) == 0);
}

uint32_t evener_lane_take(void)
{
    if (refused && __atomic_load_n(&taken, __ATOMIC_RELAXED) == ALL_TAKEN) {
        return EVENER_LANE_SHARED;
    }
    (void)pthread_once(&exit_key_once, make_exit_key);
    const uint32_t lane = will_give_back() ? take_free() : EVENER_LANE_SHARED;
    raise_bound(lane);
    if (lane == EVENER_LANE_SHARED) {
        if (!refused && has_exit_key && exits < EXITS_MAX) {
            refused = true;
            (void)__atomic_fetch_add(&evener_lane_refused, 1, __ATOMIC_RELAXED);
        }
        return lane;
    }
    stop_asking();
    states[lane].seen_uses = UINT64_MAX; /* in use, as far as the next scan knows */
    __atomic_store_n(&evener_lane_self.own, lane, __ATOMIC_RELAXED);
    /* Release: a control thread that takes the lane back sees the lines above. */
    __atomic_store_n(&states[lane].owner, &evener_lane_self, __ATOMIC_RELEASE);
    return lane;
}

/* ---- taking lanes back ---- */

/* Make every thread of the process pass a memory barrier. False: this kernel cannot. */
static bool barrier_on_all_threads(void)
{
    static bool registered; /* guarded by mutex */
    if (!registered) {
        registered = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
    }
    return registered && syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

bool evener_lanes_scan(void)
{
    bool any_revoked = false;
    const uint32_t refused_count = __atomic_load_n(&evener_lane_refused, __ATOMIC_RELAXED);
    /* Threads on the shared lane may be idle as well: lanes that none of them has taken yet are enough for as many. */
    const uint32_t free_count = (uint32_t)__builtin_popcountll(~__atomic_load_n(&taken, __ATOMIC_RELAXED));
    pthread_mutex_lock(&mutex);
    uint32_t wanted = refused_count > free_count && barrier_on_all_threads() ? refused_count - free_count : 0;
    for (uint32_t lane = 0; lane < EVENER_LANE_SHARED; lane++) {
        lane_state *state = &states[lane];
        /* Acquire: pairs with the release in evener_lane_take(). */
        evener_lane_thread *owner = __atomic_load_n(&state->owner, __ATOMIC_ACQUIRE);
        if (owner == NULL) {
            continue;
        }
        const uint64_t uses = __atomic_load_n(&owner->uses, __ATOMIC_RELAXED);
        if (!state->revoked && wanted > 0 && uses == state->seen_uses && !EVENER_LANE_IN_USE(uses)) {
            __atomic_store_n(&owner->own, EVENER_LANE_SHARED, __ATOMIC_RELAXED);
            state->revoked = true;
            wanted--;
        }
        state->seen_uses = uses;
        any_revoked |= state->revoked;
    }
    /* A use that begins after this finds `own` changed; one that began before is seen by evener_lanes_settle(). */
    any_revoked = any_revoked && barrier_on_all_threads();
    pthread_mutex_unlock(&mutex);
    return any_revoked;
}

void evener_lanes_settle(void)
{
    pthread_mutex_lock(&mutex);
    for (uint32_t lane = 0; lane < EVENER_LANE_SHARED; lane++) {
        lane_state *state = &states[lane];
        evener_lane_thread *owner = __atomic_load_n(&state->owner, __ATOMIC_ACQUIRE);
        if (owner == NULL || !state->revoked) {
            continue;
        }
        /* Acquire: pairs with the release of evener_lane_use_end(). */
        if (!EVENER_LANE_IN_USE(__atomic_load_n(&owner->uses, __ATOMIC_ACQUIRE))) {
            free_lane(lane);
        }
    }
    pthread_mutex_unlock(&mutex);
}
