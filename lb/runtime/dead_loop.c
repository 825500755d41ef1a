#include "lb/runtime/dead_loop.h"

#include <stddef.h>

#include "lb/runtime/clock.h"

/* A loop of the program's may stand in here too: none of these looks at the loop that they are called for. */

static uint64_t dead_now_ns(evener_loop *loop)
{
    (void)loop;
    return evener_clock_now_ns();
}

static bool dead_post(evener_loop *loop, evener_task *task)
{
    (void)loop;
    (void)task;
    return true; /* so that nobody undoes what the task would have done */
}

static void dead_timer_start(evener_loop *loop, evener_timer *timer, uint64_t delay_ns)
{
    (void)loop;
    (void)timer;
    (void)delay_ns;
}

static void dead_timer_stop(evener_loop *loop, evener_timer *timer)
{
    (void)loop;
    (void)timer;
}

static bool dead_on_control_thread(evener_loop *loop)
{
    (void)loop;
    return false;
}

static void *dead_uv(evener_loop *loop)
{
    (void)loop;
    return NULL;
}

static const evener_loop_vtable vtable = {
    .size = sizeof(evener_loop_vtable),
    .now_ns = dead_now_ns,
    .now_fast_ns = dead_now_ns,
    .post = dead_post,
    .timer_start = dead_timer_start,
    .timer_stop = dead_timer_stop,
    .random = dead_now_ns,
    .on_control_thread = dead_on_control_thread,
    .uv = dead_uv,
};

evener_loop evener_dead_loop = {.vtable = &vtable};
