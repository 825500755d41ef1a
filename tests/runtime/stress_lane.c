/* Threads start and end, more of them than there are lanes, and all of them count. No count is lost when a lane
 * passes from an ended thread to a new one, although its counter is changed with plain loads and stores. */
#include <assert.h>
#include <pthread.h>

#include "lb/runtime/lane.h"

#define AT_ONCE (EVENER_LANES + 8)
#define GENERATIONS 30
#define ADDS 500

static struct {
    _Alignas(64) uint64_t counter;
    uint64_t plain; /* non-atomic writes by the owner of an exclusive lane: TSan reports a race */
} lanes[EVENER_LANES];

static void *count(void *arg)
{
    (void)arg;
    for (int i = 0; i < ADDS; i++) {
        const uint32_t lane = evener_lane_current();
        evener_lane_add_u64(&lanes[lane].counter, lane, 1);
        if (lane != EVENER_LANE_SHARED) {
            lanes[lane].plain++;
        }
    }
    return NULL;
}

static void *come_and_go(void *arg)
{
    (void)arg;
    for (int i = 0; i < GENERATIONS; i++) {
        pthread_t thread;
        assert(pthread_create(&thread, NULL, count, NULL) == 0);
        assert(pthread_join(thread, NULL) == 0);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++) {
        assert(pthread_create(&threads[i], NULL, come_and_go, NULL) == 0);
    }
    for (int i = 0; i < AT_ONCE; i++) {
        assert(pthread_join(threads[i], NULL) == 0);
    }
    uint64_t sum = 0;
    for (uint32_t lane = 0; lane < EVENER_LANES; lane++) {
        sum += lanes[lane].counter;
        assert(lane == EVENER_LANE_SHARED || lanes[lane].plain == lanes[lane].counter);
    }
    assert(sum == (uint64_t)AT_ONCE * GENERATIONS * ADDS);
    return 0;
}
