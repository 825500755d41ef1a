#include "tests/support/virtual_loop.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "lb/base/memory.h"
#include "lb/runtime/random.h"
#include "lb/runtime/task_queue.h"
#include "lb/runtime/timer_heap.h"

struct virtual_loop {
    evener_loop base;
    uint64_t now_ns;  /* atomic: read by any thread */
    pthread_t driver; /* atomic: the thread that created the loop or drove it last */
    evener_timer_heap timers;
    evener_task_queue tasks;
    evener_random random;
};

static virtual_loop *of(evener_loop *base)
{
    return EVENER_CONTAINER_OF(base, virtual_loop, base);
}

static uint64_t loop_now_ns(evener_loop *base)
{
    return virtual_loop_now_ns(of(base));
}

static bool loop_post(evener_loop *base, evener_task *task)
{
    return evener_task_queue_post(&of(base)->tasks, task) != EVENER_TASK_WAS_PENDING;
}

static void loop_timer_start(evener_loop *base, evener_timer *timer, uint64_t delay_ns)
{
    virtual_loop *loop = of(base);
    const uint64_t now_ns = virtual_loop_now_ns(loop);
    const uint64_t deadline_ns = delay_ns < UINT64_MAX - 1 - now_ns ? now_ns + delay_ns : UINT64_MAX - 1;
    evener_timer_heap_start(&loop->timers, timer, deadline_ns);
}

static void loop_timer_stop(evener_loop *base, evener_timer *timer)
{
    evener_timer_heap_stop(&of(base)->timers, timer);
}

static uint64_t loop_random(evener_loop *base)
{
    return evener_random_next(&of(base)->random);
}

static bool loop_on_control_thread(evener_loop *base)
{
    return pthread_equal(pthread_self(), __atomic_load_n(&of(base)->driver, __ATOMIC_RELAXED)) != 0;
}

static void *loop_uv(evener_loop *base)
{
    (void)base;
    return NULL;
}

static const evener_loop_vtable vtable = {
    .size = sizeof(evener_loop_vtable),
    .now_ns = loop_now_ns,
    .now_fast_ns = loop_now_ns,
    .post = loop_post,
    .timer_start = loop_timer_start,
    .timer_stop = loop_timer_stop,
    .random = loop_random,
    .on_control_thread = loop_on_control_thread,
    .uv = loop_uv,
};

virtual_loop *virtual_loop_create(uint64_t seed)
{
    virtual_loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL) {
        abort();
    }
    loop->base.vtable = &vtable;
    loop->now_ns = VIRTUAL_LOOP_START_NS;
    loop->driver = pthread_self();
    evener_random_seed(&loop->random, seed != 0 ? seed : 1);
    return loop;
}

void virtual_loop_destroy(virtual_loop *loop)
{
    if (loop == NULL) {
        return;
    }
    __atomic_store_n(&loop->driver, pthread_self(), __ATOMIC_RELAXED);
    while (evener_task_queue_run(&loop->tasks) > 0) {
    }
    if (loop->timers.first != NULL) {
        fprintf(stderr, "virtual loop: a timer is still set: what it belongs to may be gone\n");
        abort();
    }
    free(loop);
}

evener_loop *virtual_loop_loop(virtual_loop *loop)
{
    return &loop->base;
}

uint64_t virtual_loop_now_ns(const virtual_loop *loop)
{
    return __atomic_load_n(&loop->now_ns, __ATOMIC_RELAXED);
}

uint64_t virtual_loop_next_deadline_ns(const virtual_loop *loop)
{
    return loop->timers.first != NULL ? loop->timers.first->deadline_ns : UINT64_MAX;
}

bool virtual_loop_has_posted(const virtual_loop *loop)
{
    return !evener_task_queue_is_empty(&loop->tasks);
}

size_t virtual_loop_run_until_idle(virtual_loop *loop)
{
    __atomic_store_n(&loop->driver, pthread_self(), __ATOMIC_RELAXED);
    size_t total = 0;
    size_t turn = 0;
    do {
        turn = evener_task_queue_run(&loop->tasks);
        /* As on a real loop, timers started in this turn fire in the next one, after tasks posted meanwhile. */
        const uint64_t sequence_end = loop->timers.next_sequence;
        evener_timer *timer = NULL;
        while ((timer = evener_timer_heap_take_due(&loop->timers, loop->now_ns, sequence_end)) != NULL) {
            timer->fn(timer->arg);
            turn++;
        }
        total += turn;
    } while (turn > 0);
    return total;
}

static void set_now(virtual_loop *loop, uint64_t now_ns)
{
    __atomic_store_n(&loop->now_ns, now_ns, __ATOMIC_RELAXED);
}

size_t virtual_loop_advance_ns(virtual_loop *loop, uint64_t delay_ns)
{
    const uint64_t end_ns = virtual_loop_now_ns(loop) + delay_ns;
    size_t total = virtual_loop_run_until_idle(loop);
    while (virtual_loop_next_deadline_ns(loop) <= end_ns) {
        set_now(loop, virtual_loop_next_deadline_ns(loop));
        total += virtual_loop_run_until_idle(loop);
    }
    set_now(loop, end_ns);
    return total;
}

size_t virtual_loop_advance_ms(virtual_loop *loop, uint64_t delay_ms)
{
    return virtual_loop_advance_ns(loop, delay_ms * EVENER_NS_PER_MS);
}

bool virtual_loop_step(virtual_loop *loop)
{
    (void)virtual_loop_run_until_idle(loop);
    const uint64_t deadline_ns = virtual_loop_next_deadline_ns(loop);
    if (deadline_ns == UINT64_MAX) {
        return false;
    }
    set_now(loop, deadline_ns);
    (void)virtual_loop_run_until_idle(loop);
    return true;
}
