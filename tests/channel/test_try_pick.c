/* The two ways of a pick that does not wait: over a transport whose connections stay valid for their picks, and over
 * one without that. Both behave the same. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <pthread.h>
#include <stddef.h>
#include <string.h>

#include <evener/stats.h>

#include "lb/channel/channel_internal.h"
#include "lb/runtime/lane.h"
#include "lb/runtime/rcu.h"
#include "tests/support/channel_fixture.h"

#define A "127.0.0.1:1"
#define B "127.0.0.1:2"

typedef struct way {
    bool counted;
} way;

static fixture *fixture_on(const way *w)
{
    return w->counted ? fixture_create(NULL) : fixture_create_uncounted(NULL);
}

static way both[] = {{.counted = true}, {.counted = false}};

#define BOTH_WAYS(test)                                                                                                \
    ParameterizedTestParameters(try_pick, test)                                                                        \
    {                                                                                                                  \
        return cr_make_param_array(way, both, sizeof both / sizeof both[0]);                                           \
    }

static void expect_queued_until_ready(fixture *f)
{
    cr_assert_str_eq(fixture_pick(f), "queue");
    virtual_loop_run_until_idle(f->loop);
    cr_assert_str_eq(fixture_pick(f), "queue");
    cr_assert(fake_transport_ready(f->transport, A));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_str_eq(fixture_pick(f), A);
    cr_assert_eq(fixture_stats(f, A).picks, 1, "those that found nothing, and lost ones, do not count");
    cr_assert_eq(fixture_stats(f, A).in_flight, 0);
}

BOTH_WAYS(idle_is_kicked_and_connecting_queues)
ParameterizedTest(way *w, try_pick, idle_is_kicked_and_connecting_queues)
{
    fixture *f = fixture_on(w);
    fake_transport_set_default(f->transport, FAKE_SILENT, 0);
    fixture_push(f, A);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 0);
    expect_queued_until_ready(f);
    cr_assert_eq(fake_transport_attempts(f->transport, A), 1, "the pick had the channel connect");
    fixture_destroy(f);
}

BOTH_WAYS(all_down_fails_or_queues_as_asked)
ParameterizedTest(way *w, try_pick, all_down_fails_or_queues_as_asked)
{
    fixture *f = fixture_on(w);
    fake_transport_set_default(f->transport, FAKE_REFUSE, 0);
    fixture_push(f, A);
    fixture_connect(f);
    cr_assert_not_null(strstr(fixture_pick(f), "UNAVAILABLE: "), "%s", f->picked);
    cr_assert_not_null(strstr(f->picked, "connection refused"), "%s", f->picked);
    evener_pick pick;
    const evener_pick_args patient = {.size = sizeof patient, .wait_for_ready = true};
    cr_assert_eq(evener_channel_try_pick(f->channel, &patient, &pick, NULL), EVENER_PICK_QUEUE);
    cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &pick, NULL), EVENER_PICK_FAIL);
    evener_channel_close(f->channel);
    cr_assert_str_eq(fixture_pick(f), "UNAVAILABLE: channel closed");
    fixture_destroy(f);
}

/* After the drop of a connection, before the policy is notified. */
BOTH_WAYS(a_lost_connection_is_passed_over)
ParameterizedTest(way *w, try_pick, a_lost_connection_is_passed_over)
{
    fixture *f = fixture_on(w);
    fixture_push(f, A "," B);
    fixture_connect(f);
    fake_transport_set_default(f->transport, FAKE_SILENT, 0);
    cr_assert(fake_transport_drop(f->transport, A)); /* the loop has not run since */
    for (int i = 0; i < 20; i++) {
        cr_assert_str_eq(fixture_pick(f), B);
    }
    cr_assert(fake_transport_drop(f->transport, B));
    expect_queued_until_ready(f);
    fixture_destroy(f);
}

/* A program's picker may pick on another channel: the outer pick's section outlives the inner pick's. */
BOTH_WAYS(a_pick_within_a_section_leaves_it_open)
ParameterizedTest(way *w, try_pick, a_pick_within_a_section_leaves_it_open)
{
    fixture *f = fixture_on(w);
    fixture_push(f, A "," B);
    fixture_connect(f);
    (void)fixture_pick(f);
    evener_rcu_read_lock();
    char first[EVENER_ADDRESS_BYTES_MAX];
    (void)strcpy(first, fixture_pick(f));
    cr_assert(urcu_bp_read_ongoing());
    cr_assert_str_neq(fixture_pick(f), first);
    cr_assert(urcu_bp_read_ongoing());
    evener_rcu_read_unlock();
    cr_assert_not(urcu_bp_read_ongoing());
    (void)fixture_pick(f);
    cr_assert_not(urcu_bp_read_ongoing());
    fixture_destroy(f);
}

BOTH_WAYS(arguments_of_another_size)
ParameterizedTest(way *w, try_pick, arguments_of_another_size)
{
    fixture *f = fixture_on(w);
    fixture_push(f, A);
    fixture_connect(f);
    evener_pick pick;
    const evener_pick_args older = {.size = offsetof(evener_pick_args, has_hash)};
    for (int i = 0; i < 2; i++) { /* a thread's first pick, and a later one */
        cr_assert_eq(evener_channel_try_pick(f->channel, &older, &pick, NULL), EVENER_PICK_COMPLETE);
        evener_pick_done(&pick, NULL);
    }
    struct {
        evener_pick_args args;
        uint64_t unknown;
    } newer = {.args = {.size = sizeof newer}};
    cr_assert_eq(evener_channel_try_pick(f->channel, &newer.args, &pick, NULL), EVENER_PICK_COMPLETE);
    evener_pick_done(&pick, NULL);
    const evener_pick_args none = {.size = 0};
    evener_status status;
    cr_assert_eq(evener_channel_try_pick(f->channel, &none, &pick, &status), EVENER_PICK_FAIL);
    cr_assert_eq(status.code, EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(fixture_stats(f, A).picks, 3);
    fixture_destroy(f);
}

/* ---- threads ---- */

static void expect_lane_unused(const char *after)
{
    cr_assert_not(EVENER_LANE_IN_USE(evener_lane_self.uses), "after %s", after);
}

static void add_nothing(void *data, uint64_t word, const evener_done_info *info, uint32_t lane)
{
    (void)word, (void)info;
    (void)__atomic_add_fetch((unsigned *)data, 1, __ATOMIC_RELAXED);
    cr_assert_eq(lane, evener_lane_own());
    cr_assert(EVENER_LANE_IN_USE(evener_lane_self.uses), "its lane cannot be taken away meanwhile");
}

/* A lane that seems to be in use for ever can never be taken back from an idle thread. */
BOTH_WAYS(each_use_of_a_lane_ends)
ParameterizedTest(way *w, try_pick, each_use_of_a_lane_ends)
{
    fixture *f = fixture_on(w);
    fake_transport_set_default(f->transport, FAKE_SILENT, 0);
    fixture_push(f, A);
    evener_pick pick;
    const evener_done_info bad = {.size = sizeof bad, .code = EVENER_STATUS_INTERNAL},
                           old = {.size = offsetof(evener_done_info, not_sent)};
    const evener_done_info *const infos[] = {NULL, &bad, &old};
    for (int i = 0; i < 2; i++) {
        cr_assert_str_eq(fixture_pick(f), "queue");
        expect_lane_unused("a pick without a backend");
        virtual_loop_run_until_idle(f->loop);
    }
    cr_assert(fake_transport_ready(f->transport, A));
    virtual_loop_run_until_idle(f->loop);
    unsigned ends = 0;
    uint64_t uses = evener_lane_self.uses;
    for (size_t i = 0; i < 3; i++) {
        for (unsigned layers = 0; layers <= 2; layers++) {
            cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
            expect_lane_unused("a pick");
            for (unsigned n = 0; n < layers; n++) {
                pick.layers[n] = (evener_pick_layer){.done = add_nothing, .data = &ends};
                pick.layer_count++; /* as evener_pick_on_done() in a picker */
            }
            if (w->counted) {
                evener_connection_let_go(evener_pick_keep_connection(&pick));
                expect_lane_unused("keeping the connection");
            }
            evener_pick_done(&pick, infos[i]);
            expect_lane_unused("the end of a pick");
            cr_assert_neq(evener_lane_self.uses, uses, "it has been in use");
            uses = evener_lane_self.uses;
        }
    }
    cr_assert_eq(ends, 3 * (1 + 2));
    cr_assert(fake_transport_drop(f->transport, A)); /* the policy is not notified yet */
    cr_assert_str_eq(fixture_pick(f), "queue");
    expect_lane_unused("a lost backend");
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(fixture_stats(f, A).in_flight, 0);
    cr_assert_eq(fixture_stats(f, A).picks, 9);
    cr_assert_eq(fixture_stats(f, A).failed, 3);
    fixture_destroy(f);
}

typedef struct first_pick {
    fixture *f;
    bool reads_before; /* the thread has been in a section of RCU before: it is known there */
    uint32_t lane_before, lane;
} first_pick;

static void *pick_once(void *arg)
{
    first_pick *self = arg;
    evener_pick pick;
    if (self->reads_before) {
        evener_rcu_read_lock();
        evener_rcu_read_unlock();
    }
    self->lane_before = evener_lane_own();
    cr_assert_eq(evener_channel_try_pick(self->f->channel, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    self->lane = evener_lane_own();
    cr_assert_not(urcu_bp_read_ongoing());
    evener_pick_done(&pick, NULL);
    return NULL;
}

/* So that its counters are nobody else's from then on. */
BOTH_WAYS(the_first_pick_of_a_thread_takes_a_lane)
ParameterizedTest(way *w, try_pick, the_first_pick_of_a_thread_takes_a_lane)
{
    fixture *f = fixture_on(w);
    fixture_push(f, A);
    fixture_connect(f);
    for (int i = 0; i < 2; i++) {
        first_pick first = {.f = f, .reads_before = i == 1};
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, pick_once, &first), 0);
        cr_assert_eq(pthread_join(thread, NULL), 0);
        cr_assert_eq(first.lane_before, EVENER_LANE_SHARED);
        cr_assert_neq(first.lane, EVENER_LANE_SHARED);
    }
    cr_assert_eq(fixture_stats(f, A).picks, 2);
    cr_assert_eq(fixture_stats(f, A).in_flight, 0);
    fixture_destroy(f);
}

typedef struct shared_lane_threads {
    fixture *f;
    pthread_barrier_t all_picked;
    uint32_t shared; /* atomic: threads on the shared lane */
    uint32_t picked; /* atomic */
} shared_lane_threads;

#define THREADS (EVENER_LANES + 4)

static void *pick_and_stay(void *arg)
{
    shared_lane_threads *s = arg;
    evener_pick pick;
    for (int i = 0; i < 100; i++) {
        if (evener_channel_try_pick(s->f->channel, NULL, &pick, NULL) == EVENER_PICK_COMPLETE) {
            (void)__atomic_fetch_add(&s->picked, 1, __ATOMIC_RELAXED);
            evener_pick_done(&pick, NULL);
        }
    }
    (void)__atomic_fetch_add(&s->shared, evener_lane_own() == EVENER_LANE_SHARED, __ATOMIC_RELAXED);
    (void)pthread_barrier_wait(&s->all_picked); /* no thread gives its lane back before */
    return NULL;
}

BOTH_WAYS(more_threads_than_lanes)
ParameterizedTest(way *w, try_pick, more_threads_than_lanes)
{
    shared_lane_threads s = {.f = fixture_on(w)};
    fixture_push(s.f, A "," B);
    fixture_connect(s.f);
    cr_assert_eq(pthread_barrier_init(&s.all_picked, NULL, THREADS), 0);
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, pick_and_stay, &s), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    (void)pthread_barrier_destroy(&s.all_picked);
    cr_assert_eq(s.picked, THREADS * 100);
    cr_assert_geq(s.shared, THREADS - EVENER_LANES + 1);
    const uint64_t on_a = fixture_stats(s.f, A).picks;
    const uint64_t on_b = fixture_stats(s.f, B).picks;
    cr_assert_eq(on_a + on_b, THREADS * 100);
    cr_assert_leq(on_a > on_b ? on_a - on_b : on_b - on_a, EVENER_LANES, "at most one a lane");
    cr_assert_eq(fixture_stats(s.f, A).in_flight, 0);
    fixture_destroy(s.f);
}

/* ---- idle threads ---- */

typedef struct idler {
    fixture *f;
    pthread_barrier_t *step;
    uint32_t lanes[3]; /* after the first pick, after more than a second, and after the next pick */
} idler;

static void *pick_and_idle(void *arg)
{
    idler *self = arg;
    for (int i = 0; i < 3; i++) {
        if (i != 1) {
            evener_pick pick;
            (void)evener_channel_try_pick(self->f->channel, NULL, &pick, NULL);
            evener_pick_done(&pick, NULL);
        }
        self->lanes[i] = evener_lane_own();
        (void)pthread_barrier_wait(self->step);
        (void)pthread_barrier_wait(self->step);
    }
    return NULL;
}

/* Field case B7: as many idle threads as there are lanes that once picked, and one that picks now. */
Test(lanes, a_thread_that_picks_gets_the_lane_of_an_idle_one_within_seconds)
{
    fixture *f = fixture_create_uncounted(NULL);
    fixture_push(f, A);
    fixture_connect(f);
    static idler idlers[EVENER_LANE_SHARED];
    static pthread_t threads[EVENER_LANE_SHARED];
    pthread_barrier_t step;
    pthread_barrier_init(&step, NULL, EVENER_LANE_SHARED + 1);
    for (size_t i = 0; i < EVENER_LANE_SHARED; i++) {
        idlers[i] = (idler){.f = f, .step = &step};
        cr_assert_eq(pthread_create(&threads[i], NULL, pick_and_idle, &idlers[i]), 0);
    }
    (void)pthread_barrier_wait(&step);
    cr_assert_str_eq(fixture_pick(f), A);
    cr_assert_eq(evener_lane_own(), EVENER_LANE_SHARED);
    for (int i = 0; i < 4; i++) {
        virtual_loop_advance_ms(f->loop, 1000);
        (void)fixture_pick(f);
    }
    cr_assert_lt(evener_lane_own(), EVENER_LANE_SHARED);
    cr_assert_gt(virtual_loop_next_deadline_ns(f->loop) - virtual_loop_now_ns(f->loop), EVENER_NS_PER_S,
                 "the scan goes on although no thread asks");
    (void)pthread_barrier_wait(&step);
    (void)pthread_barrier_wait(&step);
    size_t without = 0;
    for (size_t i = 0; i < EVENER_LANE_SHARED; i++) {
        without += idlers[i].lanes[1] == EVENER_LANE_SHARED;
    }
    cr_assert_eq(without, 1, "as many as asked for: %zu", without);
    (void)pthread_barrier_wait(&step);
    (void)pthread_barrier_wait(&step);
    (void)pthread_barrier_wait(&step);
    for (size_t i = 0; i < EVENER_LANE_SHARED; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    cr_assert_eq(fixture_stats(f, A).in_flight, 0);
    cr_assert_eq(fixture_stats(f, A).picks, 2 * EVENER_LANE_SHARED + 5);
    fixture_destroy(f);
}

/* ---- a crowd of threads of which some are hot ---- */

#define CROWD_MAX 128
#define CROWD_ROUNDS 6

typedef struct crowd_thread {
    fixture *f;
    pthread_barrier_t *step;
    bool hot;                   /* picks in every round; otherwise only in the first one */
    uint32_t lane_before, lane; /* after the round before the last one, and after the last one */
} crowd_thread;

static void *pick_in_rounds(void *arg)
{
    crowd_thread *self = arg;
    for (int round = 0; round < CROWD_ROUNDS; round++) {
        if (round == 0 || self->hot) {
            evener_pick pick;
            (void)evener_channel_try_pick(self->f->channel, NULL, &pick, NULL);
            evener_pick_done(&pick, NULL);
        }
        self->lane_before = self->lane;
        self->lane = evener_lane_own();
        (void)pthread_barrier_wait(self->step);
        (void)pthread_barrier_wait(self->step);
    }
    return NULL;
}

/* A second passes between rounds. In the end each hot thread has a lane of its own, or as many as there are lanes, and
 * they keep them. Idle threads may have taken lanes before. */
static void expect_lanes(size_t threads, size_t hot)
{
    fixture *f = fixture_create_uncounted(NULL);
    fixture_push(f, A);
    fixture_connect(f);
    crowd_thread crowd[CROWD_MAX];
    pthread_t ids[CROWD_MAX];
    pthread_barrier_t step;
    pthread_barrier_init(&step, NULL, (unsigned)threads + 1);
    for (size_t i = 0; i < threads; i++) {
        crowd[i] = (crowd_thread){.f = f, .step = &step, .hot = i >= threads - hot};
        cr_assert_eq(pthread_create(&ids[i], NULL, pick_in_rounds, &crowd[i]), 0);
    }
    for (int round = 0; round < CROWD_ROUNDS; round++) {
        (void)pthread_barrier_wait(&step);
        virtual_loop_advance_ms(f->loop, 1000);
        (void)pthread_barrier_wait(&step);
    }
    bool taken[EVENER_LANES] = {false};
    size_t with_lane = 0;
    for (size_t i = 0; i < threads; i++) {
        cr_assert_eq(pthread_join(ids[i], NULL), 0);
        if (crowd[i].hot && crowd[i].lane != EVENER_LANE_SHARED) {
            cr_assert_not(taken[crowd[i].lane], "%zu threads, %zu hot: lane %u twice", threads, hot, crowd[i].lane);
            cr_assert_eq(crowd[i].lane, crowd[i].lane_before, "%zu threads, %zu hot: lane changed", threads, hot);
            taken[crowd[i].lane] = true;
            with_lane++;
        }
    }
    const size_t lanes = hot < EVENER_LANE_SHARED ? hot : EVENER_LANE_SHARED;
    cr_assert_eq(with_lane, lanes, "%zu threads, %zu hot: %zu have a lane", threads, hot, with_lane);
    cr_assert_eq(fixture_stats(f, A).picks, threads - hot + hot * CROWD_ROUNDS);
    cr_assert_eq(fixture_stats(f, A).in_flight, 0);
    pthread_barrier_destroy(&step);
    fixture_destroy(f);
}

/* Field case B7 with other numbers of threads. */
Test(lanes, b7_hot_threads_have_lanes_whatever_the_crowd)
{
    static const size_t crowds[] = {16, 64, 96, 128};
    for (size_t i = 0; i < sizeof crowds / sizeof *crowds; i++) {
        expect_lanes(crowds[i], 1);
        expect_lanes(crowds[i], 2);
        expect_lanes(crowds[i], 8);
        expect_lanes(crowds[i], crowds[i]);
    }
}
