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
    /* A thread that ends frees its lane for the next thread. */
    const uint32_t freed = holders[3].lane;
    holder_end(&holders[3]);
    holder_start(&holders[3]);
    cr_assert_eq(holders[3].lane, freed);
    cr_assert_eq(evener_lane_bound, EVENER_LANES);
    for (size_t i = 0; i < EVENER_LANE_SHARED; i++) {
        holder_end(&holders[i]);
        cr_assert_eq(holders[i].lane_again, holders[i].lane, "a thread keeps its lane");
    }
    cr_assert_eq(evener_lane_refused, 3);
    for (size_t i = EVENER_LANE_SHARED; i < EVENER_LANES + 2; i++) {
        holder_end(&holders[i]);
        cr_assert_lt(holders[i].lane_again, EVENER_LANE_SHARED, "a thread on the shared lane asks again");
    }
    cr_assert_eq(evener_lane_refused, 0);
}

/* Do what a control thread does while threads ask for lanes: two scans a second apart, and a grace period. */
static bool scan_and_settle(void)
{
    const bool any = evener_lanes_scan();
    evener_rcu_synchronize();
    evener_lanes_settle();
    return any;
}

/* Field case B7: idle threads hold all lanes. */
Test(lane, lanes_come_back_from_idle_threads)
{
    holder idle[EVENER_LANE_SHARED];
    for (size_t i = 0; i < EVENER_LANE_SHARED; i++) {
        holder_start(&idle[i]);
    }
    cr_assert_not(scan_and_settle());
    cr_assert_not(scan_and_settle(), "nobody asks");
    cr_assert_eq(evener_lane_current(), EVENER_LANE_SHARED);
    cr_assert(scan_and_settle());
    const uint32_t lane = evener_lane_current();
    cr_assert_lt(lane, EVENER_LANE_SHARED);
    cr_assert_eq(evener_lane_refused, 0);
    cr_assert_not(scan_and_settle(), "not more lanes than asked for");
    /* The one that lost its lane finds none; as soon as another thread ends, it does. */
    size_t loser = 0;
    while (idle[loser].lane != lane) {
        loser++;
    }
    const size_t other = (loser + 1) % EVENER_LANE_SHARED;
    holder_end(&idle[other]);
    holder_end(&idle[loser]);
    cr_assert_eq(idle[loser].lane_again, idle[other].lane);
    for (size_t i = 0; i < EVENER_LANE_SHARED; i++) {
        if (i != other && i != loser) {
            holder_end(&idle[i]);
            cr_assert_eq(idle[i].lane_again, idle[i].lane);
        }
    }
}

/* The thread that is to lose its lane, in all phases of a use. */
static void *use_slowly(void *arg)
{
    holder *h = arg;
    h->lane = evener_lane_current();
    pthread_barrier_wait(&h->looked);
    evener_lane_use_begin();
    h->lane_again = evener_lane_own();
    pthread_barrier_wait(&h->let_go); /* in use */
    pthread_barrier_wait(&h->looked);
    evener_lane_use_end();
    pthread_barrier_wait(&h->let_go); /* idle */
    pthread_barrier_wait(&h->looked);
    return NULL;
}

Test(lane, a_lane_in_use_is_not_taken_back)
{
    holder user;
    holder idle[EVENER_LANE_SHARED - 1];
    pthread_barrier_init(&user.looked, NULL, 2);
    pthread_barrier_init(&user.let_go, NULL, 2);
    pthread_create(&user.thread, NULL, use_slowly, &user);
    pthread_barrier_wait(&user.looked);
    pthread_barrier_wait(&user.let_go);
    cr_assert_eq(user.lane_again, user.lane);
    (void)scan_and_settle();
    cr_assert_eq(evener_lane_current(), 1);
    for (size_t i = 2; i < EVENER_LANE_SHARED; i++) {
        holder_start(&idle[i - 2]);
    }
    holder asking[EVENER_LANE_SHARED]; /* more than there are idle ones */
    for (size_t i = 0; i < EVENER_LANE_SHARED; i++) {
        holder_start(&asking[i]);
        cr_assert_eq(asking[i].lane, EVENER_LANE_SHARED);
    }
    (void)scan_and_settle();
    cr_assert(scan_and_settle());
    bool again[EVENER_LANES] = {false};
    for (size_t i = 0; i < EVENER_LANE_SHARED; i++) {
        pthread_barrier_wait(&asking[i].let_go);
        pthread_join(asking[i].thread, NULL);
        again[asking[i].lane_again] = true;
    }
    cr_assert_not(again[user.lane], "its lane was given away during a use");
    pthread_barrier_wait(&user.looked);
    pthread_barrier_wait(&user.let_go);
    pthread_barrier_wait(&user.looked);
    pthread_join(user.thread, NULL);
    for (size_t i = 2; i < EVENER_LANE_SHARED; i++) {
        holder_end(&idle[i - 2]);
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
