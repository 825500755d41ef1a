#include <criterion/criterion.h>
#include <pthread.h>

#include "lb/runtime/lane.h"

/* A thread that looks up its lane and keeps it until holder_end(). */
typedef struct holder {
    pthread_t thread;
    pthread_barrier_t looked;
    pthread_barrier_t let_go;
    uint32_t lane;
    uint32_t lane_again;
} holder;

static void *hold(void *arg)
{
    holder *h = arg;
    h->lane = evener_lane_current();
    pthread_barrier_wait(&h->looked);
    pthread_barrier_wait(&h->let_go);
    h->lane_again = evener_lane_current();
    return NULL;
}

static void holder_start(holder *h)
{
    cr_assert_eq(pthread_barrier_init(&h->looked, NULL, 2), 0);
    cr_assert_eq(pthread_barrier_init(&h->let_go, NULL, 2), 0);
    cr_assert_eq(pthread_create(&h->thread, NULL, hold, h), 0);
    pthread_barrier_wait(&h->looked);
}

static void holder_end(holder *h)
{
    pthread_barrier_wait(&h->let_go);
    cr_assert_eq(pthread_join(h->thread, NULL), 0);
    pthread_barrier_destroy(&h->looked);
    pthread_barrier_destroy(&h->let_go);
    cr_assert_eq(h->lane_again, h->lane, "a thread keeps its lane");
}

Test(lane, a_thread_keeps_its_lane)
{
    const uint32_t lane = evener_lane_current();
    cr_assert_lt(lane, EVENER_LANE_SHARED);
    cr_assert_eq(evener_lane_bound, lane + 1, "the first thread of a process takes the first lane");
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(evener_lane_current(), lane);
    }
}

Test(lane, threads_have_lanes_of_their_own_until_all_are_taken_and_share_the_last_then)
{
    holder holders[EVENER_LANES + 2];
    bool taken[EVENER_LANES] = {false};
    for (size_t i = 0; i < EVENER_LANES + 2; i++) {
        holder_start(&holders[i]);
        if (i < EVENER_LANE_SHARED) {
            cr_assert_lt(holders[i].lane, EVENER_LANE_SHARED);
            cr_assert_not(taken[holders[i].lane], "two threads have the same lane");
            taken[holders[i].lane] = true;
        } else {
            cr_assert_eq(holders[i].lane, EVENER_LANE_SHARED);
        }
    }
    /* A thread that ends frees its lane for the next thread; threads on the shared lane stay there. */
    const uint32_t freed = holders[3].lane;
    holder_end(&holders[3]);
    holder_start(&holders[3]);
    cr_assert_eq(holders[3].lane, freed);
    cr_assert_eq(evener_lane_bound, EVENER_LANES);
    for (size_t i = 0; i < EVENER_LANES + 2; i++) {
        holder_end(&holders[i]);
    }
}

Test(lane, lanes_of_ended_threads_do_not_run_out)
{
    for (int i = 0; i < 500; i++) {
        holder h;
        holder_start(&h);
        cr_assert_lt(h.lane, EVENER_LANE_SHARED);
        holder_end(&h);
    }
}

/* A destructor of thread-specific data may pick after the lane was given back. */
static pthread_key_t late_key;
static uint32_t late_lane;

static void pick_late(void *value)
{
    (void)value;
    late_lane = evener_lane_current();
}

static void *end_late(void *arg)
{
    (void)evener_lane_current(); /* The library's key is older than late_key, so its destructor runs first. */
    cr_assert_eq(pthread_setspecific(late_key, arg), 0);
    return NULL;
}

Test(lane, a_pick_in_a_thread_s_last_destructors_does_not_lose_a_lane)
{
    (void)evener_lane_current(); /* creates the library's key */
    cr_assert_eq(pthread_key_create(&late_key, pick_late), 0);
    for (int i = 0; i < 50; i++) {
        pthread_t thread;
        late_lane = UINT32_MAX;
        cr_assert_eq(pthread_create(&thread, NULL, end_late, &late_key), 0);
        cr_assert_eq(pthread_join(thread, NULL), 0);
        cr_assert_lt(late_lane, EVENER_LANE_SHARED);
    }
}

Test(lane, adding_counts_on_every_lane)
{
    uint64_t counters[EVENER_LANES] = {0};
    for (uint32_t lane = 0; lane < EVENER_LANES; lane++) {
        evener_lane_add_u64(&counters[lane], lane, 2);
        evener_lane_add_u64(&counters[lane], lane, 3);
        cr_assert_eq(counters[lane], 5);
    }
}
