#include <criterion/criterion.h>

#include "tests/support/virtual_loop.h"

/* Record which bell rang at what time. */
static struct {
    int names[32];
    uint64_t times_ns[32];
    size_t count;
} rang;

typedef struct bell {
    virtual_loop *loop;
    int name;
    evener_task task;
    evener_timer timer;
    int more; /* how many more times it restarts its timer without delay */
    evener_task *posts;
} bell;

static void ring(void *arg)
{
    bell *b = arg;
    rang.names[rang.count] = b->name;
    rang.times_ns[rang.count++] = virtual_loop_now_ns(b->loop) - VIRTUAL_LOOP_START_NS;
    if (b->more > 0) {
        b->more--;
        evener_timer_start(virtual_loop_loop(b->loop), &b->timer, 0);
    }
    if (b->posts != NULL) {
        evener_loop_post(virtual_loop_loop(b->loop), b->posts);
    }
}

static void bell_init(bell *b, virtual_loop *loop, int name)
{
    *b = (bell){.loop = loop, .name = name};
    b->task = (evener_task)EVENER_TASK_INIT(ring, b);
    b->timer = (evener_timer)EVENER_TIMER_INIT(ring, b);
}

static virtual_loop *loop;
static bell bells[4];

static void setup(void)
{
    rang.count = 0;
    loop = virtual_loop_create(7);
    for (int i = 0; i < 4; i++) {
        bell_init(&bells[i], loop, i);
    }
}

static void teardown(void)
{
    virtual_loop_destroy(loop);
}

TestSuite(virtual_loop, .init = setup, .fini = teardown);

Test(virtual_loop, tasks_run_in_order_of_posting_and_never_inside_post)
{
    cr_assert(evener_loop_post(virtual_loop_loop(loop), &bells[1].task));
    cr_assert(evener_loop_post(virtual_loop_loop(loop), &bells[0].task));
    cr_assert(evener_loop_post(virtual_loop_loop(loop), &bells[2].task));
    cr_assert_eq(rang.count, 0);
    cr_assert_eq(virtual_loop_run_until_idle(loop), 3);
    cr_assert_eq(rang.names[0], 1);
    cr_assert_eq(rang.names[1], 0);
    cr_assert_eq(rang.names[2], 2);
}

Test(virtual_loop, a_pending_task_runs_once_for_two_posts)
{
    cr_assert(evener_loop_post(virtual_loop_loop(loop), &bells[0].task));
    cr_assert_not(evener_loop_post(virtual_loop_loop(loop), &bells[0].task));
    cr_assert_eq(virtual_loop_run_until_idle(loop), 1);
    cr_assert(evener_loop_post(virtual_loop_loop(loop), &bells[0].task), "it may be posted again once it runs");
}

Test(virtual_loop, what_a_task_posts_runs_after_what_was_posted_before)
{
    bells[0].posts = &bells[2].task;
    evener_loop_post(virtual_loop_loop(loop), &bells[0].task);
    evener_loop_post(virtual_loop_loop(loop), &bells[1].task);
    cr_assert_eq(virtual_loop_run_until_idle(loop), 3);
    cr_assert_eq(rang.names[1], 1);
    cr_assert_eq(rang.names[2], 2);
}

Test(virtual_loop, time_stands_still_until_it_is_stepped)
{
    const uint64_t begin_ns = evener_loop_now_ns(virtual_loop_loop(loop));
    virtual_loop_run_until_idle(loop);
    cr_assert_eq(evener_loop_now_ns(virtual_loop_loop(loop)), begin_ns);
    cr_assert_neq(begin_ns, 0);
    virtual_loop_advance_ms(loop, 3);
    cr_assert_eq(evener_loop_now_fast_ns(virtual_loop_loop(loop)), begin_ns + 3 * EVENER_NS_PER_MS);
}

Test(virtual_loop, timers_ring_each_at_its_own_time)
{
    evener_timer_start(virtual_loop_loop(loop), &bells[0].timer, 30);
    evener_timer_start(virtual_loop_loop(loop), &bells[1].timer, 10);
    evener_timer_start(virtual_loop_loop(loop), &bells[2].timer, 50);
    cr_assert_eq(virtual_loop_next_deadline_ns(loop), VIRTUAL_LOOP_START_NS + 10);
    cr_assert_eq(virtual_loop_advance_ns(loop, 49), 2);
    cr_assert_eq(rang.names[0], 1);
    cr_assert_eq(rang.times_ns[0], 10);
    cr_assert_eq(rang.names[1], 0);
    cr_assert_eq(rang.times_ns[1], 30);
    cr_assert_eq(virtual_loop_now_ns(loop), VIRTUAL_LOOP_START_NS + 49);
    cr_assert_eq(virtual_loop_advance_ns(loop, 1), 1, "due exactly at the end of the step");
    cr_assert_eq(virtual_loop_next_deadline_ns(loop), UINT64_MAX);
}

Test(virtual_loop, a_timer_is_restarted_by_start_and_silenced_by_stop)
{
    evener_timer_start(virtual_loop_loop(loop), &bells[0].timer, 10);
    evener_timer_start(virtual_loop_loop(loop), &bells[0].timer, 20);
    evener_timer_start(virtual_loop_loop(loop), &bells[1].timer, 5);
    evener_timer_stop(virtual_loop_loop(loop), &bells[1].timer);
    evener_timer_stop(virtual_loop_loop(loop), &bells[1].timer);
    cr_assert_eq(virtual_loop_advance_ns(loop, 19), 0);
    cr_assert_eq(virtual_loop_advance_ns(loop, 1), 1);
    cr_assert_eq(rang.names[0], 0);
}

Test(virtual_loop, what_is_posted_runs_before_a_timer_started_for_now_in_the_same_turn)
{
    bells[0].more = 1;
    bells[0].posts = &bells[1].task;
    evener_timer_start(virtual_loop_loop(loop), &bells[0].timer, 0);
    virtual_loop_run_until_idle(loop);
    cr_assert_eq(rang.names[0], 0);
    cr_assert_eq(rang.names[1], 1);
    cr_assert_eq(rang.names[2], 0);
}

Test(virtual_loop, step_goes_to_the_next_timer)
{
    cr_assert_not(virtual_loop_step(loop));
    evener_timer_start(virtual_loop_loop(loop), &bells[0].timer, EVENER_NS_PER_S);
    cr_assert(virtual_loop_step(loop));
    cr_assert_eq(virtual_loop_now_ns(loop), VIRTUAL_LOOP_START_NS + EVENER_NS_PER_S);
    cr_assert_eq(rang.count, 1);
}

Test(virtual_loop, a_delay_beyond_all_time_does_not_wrap)
{
    evener_timer_start(virtual_loop_loop(loop), &bells[0].timer, UINT64_MAX);
    cr_assert_eq(virtual_loop_advance_ms(loop, 1000000), 0);
    evener_timer_stop(virtual_loop_loop(loop), &bells[0].timer);
}

Test(virtual_loop, the_same_seed_gives_the_same_numbers)
{
    virtual_loop *twin = virtual_loop_create(7);
    virtual_loop *other = virtual_loop_create(8);
    int differences = 0;
    for (int i = 0; i < 100; i++) {
        const uint64_t number = evener_loop_random(virtual_loop_loop(loop));
        cr_assert_eq(number, evener_loop_random(virtual_loop_loop(twin)));
        differences += number != evener_loop_random(virtual_loop_loop(other));
    }
    cr_assert_gt(differences, 90);
    virtual_loop_destroy(twin);
    virtual_loop_destroy(other);
}

Test(virtual_loop, random_below_is_uniform_and_below)
{
    size_t counts[6] = {0};
    for (int i = 0; i < 60000; i++) {
        const uint64_t number = evener_loop_random_below(virtual_loop_loop(loop), 6);
        cr_assert_lt(number, 6);
        counts[number]++;
    }
    for (int i = 0; i < 6; i++) { /* the seed is fixed, so the result is the same in every run; 5 sigma are 456 */
        cr_assert(counts[i] > 9500 && counts[i] < 10500, "%zu", counts[i]);
    }
    cr_assert_eq(evener_loop_random_below(virtual_loop_loop(loop), 0), 0);
    cr_assert_eq(evener_loop_random_below(virtual_loop_loop(loop), 1), 0);
    for (int i = 0; i < 1000; i++) { /* about half of all products must be rejected here */
        cr_assert_leq(evener_loop_random_below(virtual_loop_loop(loop), (UINT64_C(1) << 63) + 1), UINT64_C(1) << 63);
    }
}

Test(virtual_loop, random_unit_is_in_the_half_open_interval)
{
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        const double number = evener_loop_random_unit(virtual_loop_loop(loop));
        cr_assert(number >= 0 && number < 1);
        sum += number;
    }
    cr_assert(sum > 49500 && sum < 50500, "%f", sum);
}
