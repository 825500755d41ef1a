/* One uv_async wakes the control thread for posted tasks; one uv_timer is set to the earliest timer of the heap.
 * libuv counts whole milliseconds: a timer fires up to one millisecond late, never early. */
#include "lb/runtime/uv_loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <urcu/arch.h>
#include <uv.h>

#include <evener/log.h>

#include "lb/base/c_locale.h"
#include "lb/base/memory.h"
#include "lb/runtime/clock.h"
#include "lb/runtime/dead_loop.h"
#include "lb/runtime/random.h"
#include "lb/runtime/task_queue.h"
#include "lb/runtime/timer_heap.h"
#include "lb/runtime/uncancelled.h"

struct evener_uv_loop {
    evener_loop base;
    uv_loop_t uv;
    uv_async_t wake;
    uv_timer_t alarm;
    uint64_t alarm_ns; /* the deadline of `alarm`; UINT64_MAX: not set */
    evener_timer_heap timers;
    evener_task_queue tasks;
    bool runs_tasks;   /* control thread */
    bool expects_task; /* control thread; see evener_uv_loop_expect_task() */
    evener_random random;
};

/* The loop that the calling thread drives. */
static _Thread_local evener_uv_loop *driven;

static void ring(uv_timer_t *alarm);

static evener_uv_loop *of(evener_loop *base)
{
    return EVENER_CONTAINER_OF(base, evener_uv_loop, base);
}

/* ---- the loop's functions ---- */

static uint64_t loop_now_ns(evener_loop *base)
{
    (void)base;
    return evener_clock_now_ns();
}

static uint64_t loop_now_fast_ns(evener_loop *base)
{
    (void)base;
    return evener_clock_now_fast_ns();
}

static bool loop_post(evener_loop *base, evener_task *task)
{
    evener_uv_loop *loop = of(base);
    const evener_task_posted posted = evener_task_queue_post(&loop->tasks, task);
    if (posted == EVENER_TASK_QUEUED_FIRST && !(driven == loop && loop->runs_tasks)) { /* else woken() goes on */
        EVENER_UNCANCELLED;               /* otherwise the task would wait for the next one's wake-up */
        (void)uv_async_send(&loop->wake); /* cannot fail: the handle is an async */
    }
    return posted != EVENER_TASK_WAS_PENDING;
}

static void set_alarm(evener_uv_loop *loop, uint64_t now_ns)
{
    const evener_timer *first = loop->timers.first;
    if (first == NULL) {
        if (loop->alarm_ns != UINT64_MAX) {
            loop->alarm_ns = UINT64_MAX;
            (void)uv_timer_stop(&loop->alarm);
        }
        return;
    }
    /* The alarm of a stopped timer is left to fire without effect: cheaper than changing it every time. */
    if (first->deadline_ns >= loop->alarm_ns) {
        return;
    }
    const uint64_t delay_ns = first->deadline_ns > now_ns ? first->deadline_ns - now_ns : 0;
    const uint64_t delay_ms = delay_ns / EVENER_NS_PER_MS + (delay_ns % EVENER_NS_PER_MS != 0);
    loop->alarm_ns = first->deadline_ns;
    uv_update_time(&loop->uv); /* uv_timer_start() counts from libuv's cached time, which may be old */
    (void)uv_timer_start(&loop->alarm, ring, delay_ms, 0);
}

static void ring(uv_timer_t *alarm)
{
    evener_uv_loop *loop = alarm->data;
    loop->alarm_ns = UINT64_MAX;
    const uint64_t now_ns = evener_clock_now_ns();
    const uint64_t sequence_end = loop->timers.next_sequence;
    evener_timer *timer = NULL;
    while ((timer = evener_timer_heap_take_due(&loop->timers, now_ns, sequence_end)) != NULL) {
        timer->fn(timer->arg);
    }
    set_alarm(loop, evener_clock_now_ns());
}

static void loop_timer_start(evener_loop *base, evener_timer *timer, uint64_t delay_ns)
{
    evener_uv_loop *loop = of(base);
    const uint64_t now_ns = evener_clock_now_ns();
    /* UINT64_MAX means "not set", so deadlines are capped just below (584 years). */
    const uint64_t deadline_ns = delay_ns < UINT64_MAX - 1 - now_ns ? now_ns + delay_ns : UINT64_MAX - 1;
    evener_timer_heap_start(&loop->timers, timer, deadline_ns);
    set_alarm(loop, now_ns);
}

static void loop_timer_stop(evener_loop *base, evener_timer *timer)
{
    evener_uv_loop *loop = of(base);
    evener_timer_heap_stop(&loop->timers, timer);
    if (loop->timers.first == NULL) {
        set_alarm(loop, 0);
    }
}

static uint64_t loop_random(evener_loop *base)
{
    return evener_random_next(&of(base)->random);
}

static bool loop_on_control_thread(evener_loop *base)
{
    return driven == of(base);
}

static void *loop_uv(evener_loop *base)
{
    return &of(base)->uv;
}

static const evener_loop_vtable vtable = {
    .size = sizeof(evener_loop_vtable),
    .now_ns = loop_now_ns,
    .now_fast_ns = loop_now_fast_ns,
    .post = loop_post,
    .timer_start = loop_timer_start,
    .timer_stop = loop_timer_stop,
    .random = loop_random,
    .on_control_thread = loop_on_control_thread,
    .uv = loop_uv,
};

/* How often the tasks that tasks have posted run before sockets and timers have their turn. A wake-up of its own costs
 * three system calls, and closing a channel takes four rounds. */
#define ROUNDS_MAX 4

/* About 5 us: the other thread needs less than one from the end of its wait to its next task. */
#define LOOKS_FOR_TASK 100

static void woken(uv_async_t *wake)
{
    evener_uv_loop *loop = wake->data;
    loop->runs_tasks = true;
    for (int round = 0; round < ROUNDS_MAX && !evener_task_queue_is_empty(&loop->tasks); round++) {
        (void)evener_task_queue_run(&loop->tasks);
    }
    loop->runs_tasks = false;
    for (int look = 0; loop->expects_task && look < LOOKS_FOR_TASK && evener_task_queue_is_empty(&loop->tasks);
         look++) {
        caa_cpu_relax();
    }
    loop->expects_task = false;
    if (!evener_task_queue_is_empty(&loop->tasks)) {
        (void)uv_async_send(&loop->wake);
    }
}

void evener_uv_loop_expect_task(evener_uv_loop *loop)
{
    loop->expects_task = true;
}

/* ---- create, run, destroy ---- */

/* Descriptors that a libuv loop opens: epoll, a signal pipe per loop and one per process (two each), an eventfd. */
#define LOOP_DESCRIPTORS 6

/* Return 0 if there are enough file descriptors, otherwise an errno value. When they run out, libuv 1.44 aborts the
 * process or leaks the descriptors it has opened, so this is tried first. */
static int try_descriptors(void)
{
    int descriptors[LOOP_DESCRIPTORS];
    int error = 0;
    int count = 0;
    while (error == 0 && count < LOOP_DESCRIPTORS) {
        descriptors[count] = eventfd(0, EFD_CLOEXEC);
        if (descriptors[count] < 0) {
            error = errno;
        } else {
            count++;
        }
    }
    while (count > 0) {
        (void)close(descriptors[--count]);
    }
    return error;
}

static evener_status_code refused(evener_status *status, const char *what, const char *why)
{
    return evener_status_set(status, EVENER_STATUS_INTERNAL,
                             "runtime: libuv could not make %s: %s (check the limit of open files, ulimit -n)", what,
                             why);
}

evener_status_code evener_uv_loop_create(uint64_t random_seed, evener_uv_loop **loop, evener_status *status)
{
    evener_uv_loop *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "runtime: no memory for its loop");
    }
    made->base.vtable = &vtable;
    made->alarm_ns = UINT64_MAX;
    evener_random_seed(&made->random, random_seed);
    int error = try_descriptors();
    if (error != 0) {
        free(made);
        return refused(status, "a loop", strerror_l(error, evener_c_locale()));
    }
    error = uv_loop_init(&made->uv);
    if (error != 0) {
        free(made);
        return refused(status, "a loop", uv_strerror(error));
    }
    error = uv_async_init(&made->uv, &made->wake, woken);
    if (error != 0) {
        (void)uv_loop_close(&made->uv);
        free(made);
        return refused(status, "a wake-up", uv_strerror(error));
    }
    made->wake.data = made;
    (void)uv_timer_init(&made->uv, &made->alarm); /* cannot fail */
    made->alarm.data = made;
    *loop = made;
    return EVENER_STATUS_OK;
}

evener_loop *evener_uv_loop_base(evener_uv_loop *loop)
{
    return &loop->base;
}

void evener_uv_loop_run(evener_uv_loop *loop)
{
    driven = loop;
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void evener_uv_loop_stop(evener_uv_loop *loop)
{
    uv_stop(&loop->uv);
}

void evener_uv_loop_cut_off(evener_uv_loop *loop)
{
    loop->base.vtable = evener_dead_loop.vtable;
}

bool evener_uv_loop_turn(evener_uv_loop *loop)
{
    (void)uv_run(&loop->uv, UV_RUN_NOWAIT);
    return !evener_task_queue_is_empty(&loop->tasks);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    const evener_uv_loop *loop = arg;
    if (uv_is_closing(handle)) {
        return;
    }
    if (handle != (const uv_handle_t *)&loop->wake && handle != (const uv_handle_t *)&loop->alarm) {
        evener_log(
            EVENER_LOG_ERROR, "runtime",
            "a libuv handle (%s) was left open at the runtime's end: its owner must close it when it is destroyed",
            uv_handle_type_name(uv_handle_get_type(handle)));
    }
    uv_close(handle, NULL);
}

void evener_uv_loop_destroy(evener_uv_loop *loop)
{
    uv_walk(&loop->uv, close_handle, loop);
    /* uv_run() returns when the last handle has closed. */
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop->uv);
    if (driven == loop) {
        driven = NULL;
    }
    free(loop);
}
