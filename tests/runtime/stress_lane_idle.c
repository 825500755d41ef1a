/* More threads than lanes, which use them in bursts, while lanes are taken back from idle threads without pause. No
 * count is lost, and no two threads have one lane, although a lane is changed with plain loads and stores.
 *
 *     stress_lane_idle [SCANS]      until this number of scans has taken lanes back */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "lb/runtime/lane.h"

#define THREADS (EVENER_LANE_SHARED + 16)
#define BURST 200

static struct {
    _Alignas(EVENER_LANE_BYTES) uint64_t counter;
    uint64_t plain; /* non-atomic writes by the owner of an exclusive lane: TSan reports a race */
} lanes[EVENER_LANES];
static uint64_t scans = 500;
static uint64_t total;        /* atomic */
static bool stop;             /* atomic */
static uint64_t shared_count; /* atomic */

static void count(uint32_t lane)
{
    evener_lane_add_u64(&lanes[lane].counter, lane, 1);
    if (lane != EVENER_LANE_SHARED) {
        lanes[lane].plain++;
    } else {
        (void)__atomic_fetch_add(&shared_count, 1, __ATOMIC_RELAXED);
    }
}

/* As a pick on the fast path does. Return false if the thread has no lane. */
static bool count_in_section(void)
{
    evener_rcu_reader *reader = evener_rcu_enter_outermost();
    if (reader == NULL) {
        return false;
    }
    const uint32_t lane = evener_lane_own();
    if (lane != EVENER_LANE_SHARED) {
        count(lane);
    }
    evener_rcu_leave_outermost(reader);
    return lane != EVENER_LANE_SHARED;
}

static void *use(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    evener_rcu_read_lock(); /* registers the thread */
    evener_rcu_read_unlock();
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        for (int i = 0; i < BURST; i++) {
            if (i % 2 == 0 && count_in_section()) {
                continue;
            }
            evener_lane_use_begin();
            count(evener_lane_current());
            if (i % 16 == 1) { /* nested, as in a policy's done */
                evener_lane_use_begin();
                count(evener_lane_current());
                evener_lane_use_end();
                (void)__atomic_fetch_sub(&lanes[EVENER_LANE_SHARED].counter, 1, __ATOMIC_RELAXED);
            }
            evener_lane_use_end();
        }
        (void)__atomic_fetch_add(&total, BURST, __ATOMIC_RELAXED);
        const struct timespec pause = {.tv_nsec = rand_r(&seed) % 2000000};
        nanosleep(&pause, NULL);
    }
    return NULL;
}

/* As the control thread does, but without pause. */
static void take_back(void)
{
    if (evener_lanes_scan()) {
        evener_rcu_synchronize();
        evener_lanes_settle();
        scans--;
    }
    const struct timespec pause = {.tv_nsec = 100000};
    nanosleep(&pause, NULL);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        scans = strtoull(argv[1], NULL, 10);
    }
    if (!evener_rcu_may_enter_outermost()) {
        return 0; /* a kernel without membarrier(2): lanes are never taken back */
    }
    static pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        assert(pthread_create(&threads[i], NULL, use, (void *)(uintptr_t)(i + 1)) == 0);
    }
    while (scans > 0) {
        take_back();
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < THREADS; i++) {
        assert(pthread_join(threads[i], NULL) == 0);
    }
    uint64_t sum = 0;
    for (uint32_t lane = 0; lane < EVENER_LANES; lane++) {
        sum += lanes[lane].counter;
        assert(lane == EVENER_LANE_SHARED || lanes[lane].plain == lanes[lane].counter);
    }
    assert(sum == total);
    assert(shared_count > 0);
    assert(evener_lane_refused == 0);
    return 0;
}
