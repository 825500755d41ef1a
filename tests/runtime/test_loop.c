/* The libuv loop of a runtime: the same guarantees as the virtual loop, with real time and threads. */
#include <criterion/criterion.h>
#include <semaphore.h>
#include <uv.h>

#include <evener/runtime.h>

#include "lb/runtime/clock.h"

static evener_runtime *runtime;
static evener_loop *loop;
static sem_t done;

static void setup(void)
{
    evener_status status;
    const evener_runtime_options options = {.size = sizeof(options), .random_seed = 5};
    cr_assert_eq(evener_runtime_create(&options, &runtime, &status), EVENER_STATUS_OK, "%s", status.message);
    loop = evener_runtime_loop(runtime);
    sem_init(&done, 0, 0);
}

static void teardown(void)
{
    evener_runtime_unref(runtime);
    sem_destroy(&done);
}

TestSuite(loop, .init = setup, .fini = teardown);

static void wait_done(void)
{
    while (sem_wait(&done) != 0) {
    }
}

static void signal_done(void *arg)
{
    (void)arg;
    sem_post(&done);
}

static struct {
    int names[64];
    size_t count;
    bool early;
} rang;

typedef struct bell {
    int name;
    evener_timer timer;
    evener_task task;
    uint64_t not_before_ns;
    size_t again; /* how many more times it is started or posted again */
} bell;

static void ring(void *arg)
{
    bell *b = arg;
    rang.names[rang.count++] = b->name;
    rang.early = rang.early || evener_loop_now_ns(loop) < b->not_before_ns;
}

static void bell_start(bell *b, int name, uint64_t delay_ns)
{
    b->name = name;
    b->timer = (evener_timer)EVENER_TIMER_INIT(ring, b);
    b->not_before_ns = evener_loop_now_ns(loop) + delay_ns;
    evener_timer_start(loop, &b->timer, delay_ns);
}

/* ---- timers ---- */

static bell bells[8];
static evener_timer end_timer = EVENER_TIMER_INIT(signal_done, NULL);

static void start_out_of_order(void *arg)
{
    (void)arg;
    bell_start(&bells[0], 0, 9 * EVENER_NS_PER_MS);
    bell_start(&bells[1], 1, 3 * EVENER_NS_PER_MS);
    bell_start(&bells[2], 2, 3 * EVENER_NS_PER_MS + 1);
    bell_start(&bells[3], 3, 0);
    bell_start(&bells[4], 4, 6 * EVENER_NS_PER_MS);
    bell_start(&bells[5], 5, 1);
    evener_timer_start(loop, &end_timer, 9 * EVENER_NS_PER_MS + 100);
}

Test(loop, timers_ring_in_order_and_never_early)
{
    evener_runtime_call(runtime, start_out_of_order, NULL);
    wait_done();
    static const int expected[] = {3, 5, 1, 2, 4, 0};
    cr_assert_eq(rang.count, 6);
    for (size_t i = 0; i < 6; i++) {
        cr_assert_eq(rang.names[i], expected[i], "%zu: %d", i, rang.names[i]);
    }
    cr_assert_not(rang.early);
}

static void start_and_change(void *arg)
{
    (void)arg;
    bell_start(&bells[0], 0, 0);
    evener_timer_stop(loop, &bells[0].timer);
    bell_start(&bells[1], 1, 0);
    evener_timer_start(loop, &bells[1].timer, 4 * EVENER_NS_PER_MS); /* later */
    bell_start(&bells[2], 2, EVENER_NS_PER_S * 3600);
    evener_timer_start(loop, &bells[2].timer, 2 * EVENER_NS_PER_MS); /* sooner */
    bell_start(&bells[3], 3, UINT64_MAX - 1);
    evener_timer_start(loop, &end_timer, 6 * EVENER_NS_PER_MS);
    cr_assert_eq(rang.count, 0, "never inside the call");
}

static void stop_the_endless_one(void *arg)
{
    (void)arg;
    evener_timer_stop(loop, &bells[3].timer);
}

Test(loop, timers_can_be_stopped_and_restarted)
{
    evener_runtime_call(runtime, start_and_change, NULL);
    wait_done();
    cr_assert_eq(rang.count, 2);
    cr_assert_eq(rang.names[0], 2);
    cr_assert_eq(rang.names[1], 1);
    evener_runtime_call(runtime, stop_the_endless_one, NULL);
}

static void ring_and_stop_the_others(void *arg)
{
    ring(arg);
    for (size_t i = 0; i < 4; i++) {
        evener_timer_stop(loop, &bells[i].timer);
    }
}

static void start_rivals(void *arg)
{
    (void)arg;
    for (int i = 0; i < 4; i++) {
        bell_start(&bells[i], i, 0);
        bells[i].timer.fn = ring_and_stop_the_others;
    }
    evener_timer_start(loop, &end_timer, EVENER_NS_PER_MS);
}

Test(loop, a_timer_stopped_by_another_that_is_due_with_it_does_not_ring)
{
    evener_runtime_call(runtime, start_rivals, NULL);
    wait_done();
    cr_assert_eq(rang.count, 1);
    cr_assert_eq(rang.names[0], 0);
}

static void ring_for_ever(void *arg)
{
    bell *b = arg;
    if (b->again-- > 0) {
        evener_timer_start(loop, &b->timer, 0);
    } else {
        signal_done(NULL);
    }
}

static void start_for_ever(void *arg)
{
    bell *b = arg;
    b->timer = (evener_timer)EVENER_TIMER_INIT(ring_for_ever, b);
    evener_timer_start(loop, &b->timer, 0);
}

static void add_one(void *arg)
{
    ++*(size_t *)arg;
}

Test(loop, timers_that_restart_themselves_for_now_let_tasks_through)
{
    bells[0].again = 1000;
    evener_runtime_call(runtime, start_for_ever, &bells[0]);
    size_t ran = 0;
    for (size_t i = 0; i < 10; i++) {
        evener_runtime_call(runtime, add_one, &ran);
    }
    cr_assert_eq(ran, 10);
    wait_done();
}

/* ---- tasks ---- */

static void post_in_order(void *arg)
{
    (void)arg;
    for (int i = 0; i < 8; i++) {
        bells[i].name = i;
        bells[i].task = (evener_task)EVENER_TASK_INIT(ring, &bells[i]);
        cr_assert(evener_loop_post(loop, &bells[i].task));
    }
    cr_assert_not(evener_loop_post(loop, &bells[3].task), "pending already");
    cr_assert_eq(rang.count, 0, "never inside the call");
}

Test(loop, tasks_run_in_order_of_posting)
{
    evener_runtime_call(runtime, post_in_order, NULL);
    size_t ran = 0;
    evener_runtime_call(runtime, add_one, &ran); /* posted after them */
    cr_assert_eq(rang.count, 8);
    for (int i = 0; i < 8; i++) {
        cr_assert_eq(rang.names[i], i);
    }
}

static void post_itself(void *arg)
{
    bell *b = arg;
    if (b->again-- > 0) {
        cr_assert(evener_loop_post(loop, &b->task), "no longer pending while it runs");
    } else {
        signal_done(NULL);
    }
}

Test(loop, a_task_may_post_itself_from_its_run)
{
    bells[0].again = 100;
    bells[0].task = (evener_task)EVENER_TASK_INIT(post_itself, &bells[0]);
    evener_loop_post(loop, &bells[0].task);
    wait_done();
}

static void post_until_the_timer_rings(void *arg)
{
    bell *b = arg;
    if (rang.count == 0) {
        evener_loop_post(loop, &b->task);
    } else {
        signal_done(NULL);
    }
}

static void start_timer_and_post(void *arg)
{
    bell *b = arg;
    b->timer = (evener_timer)EVENER_TIMER_INIT(ring, b);
    b->task = (evener_task)EVENER_TASK_INIT(post_until_the_timer_rings, b);
    evener_timer_start(loop, &b->timer, 0);
    evener_loop_post(loop, &b->task);
}

Test(loop, a_task_that_posts_itself_lets_timers_through)
{
    evener_runtime_call(runtime, start_timer_and_post, &bells[0]);
    wait_done();
}

/* ---- clock, random numbers, libuv ---- */

Test(loop, time_does_not_go_back_and_both_clocks_agree)
{
    uint64_t last_ns = evener_loop_now_ns(loop);
    uint64_t last_fast_ns = evener_loop_now_fast_ns(loop);
    cr_assert_neq(last_ns, 0);
    /* Long enough for the fast clock to measure its rate and to renew its anchor. */
    const uint64_t end_ns = last_ns + 60 * EVENER_NS_PER_MS;
    while (last_ns < end_ns) {
        const uint64_t fast_ns = evener_loop_now_fast_ns(loop);
        cr_assert_geq(fast_ns, last_fast_ns);
        const uint64_t now_ns = evener_loop_now_ns(loop);
        cr_assert_geq(now_ns, last_ns);
        /* `fast` was read between the previous `now` and this one: it must be within 1 ms of that interval. */
        cr_assert_leq(fast_ns, now_ns + EVENER_NS_PER_MS);
        cr_assert_geq(fast_ns + EVENER_NS_PER_MS, last_ns);
        last_ns = now_ns;
        last_fast_ns = fast_ns;
    }
}

static void draw(void *arg)
{
    *(uint64_t *)arg = evener_loop_random(loop);
}

Test(loop, the_seed_makes_the_random_numbers)
{
    evener_runtime *others[2] = {NULL, NULL};
    const evener_runtime_options same = {.size = sizeof(same), .random_seed = 5};
    cr_assert_eq(evener_runtime_create(&same, &others[0], NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_runtime_create(NULL, &others[1], NULL), EVENER_STATUS_OK);
    uint64_t numbers[3];
    evener_runtime_call(runtime, draw, &numbers[0]);
    loop = evener_runtime_loop(others[0]);
    evener_runtime_call(others[0], draw, &numbers[1]);
    loop = evener_runtime_loop(others[1]);
    evener_runtime_call(others[1], draw, &numbers[2]);
    cr_assert_eq(numbers[0], numbers[1]);
    cr_assert_neq(numbers[0], numbers[2], "seeded by the system");
    evener_runtime_unref(others[0]);
    evener_runtime_unref(others[1]);
}

static uv_idle_t idle;

static void idle_ran(uv_idle_t *handle)
{
    uv_close((uv_handle_t *)handle, NULL);
    signal_done(NULL);
}

static void use_libuv(void *arg)
{
    (void)arg;
    uv_loop_t *uv = evener_loop_uv(loop);
    cr_assert_not_null(uv);
    cr_assert_eq(uv_idle_init(uv, &idle), 0);
    cr_assert_eq(uv_idle_start(&idle, idle_ran), 0);
}

Test(loop, plug_ins_may_put_handles_on_it)
{
    evener_runtime_call(runtime, use_libuv, NULL);
    wait_done();
}

static void forget_a_handle(void *arg)
{
    (void)arg;
    cr_assert_eq(uv_idle_init(evener_loop_uv(loop), &idle), 0);
}

Test(loop, a_handle_left_open_does_not_hang_the_end)
{
    evener_runtime_call(runtime, forget_a_handle, NULL);
    /* the teardown destroys the runtime */
}
