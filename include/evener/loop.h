/* Loop: time, timers, tasks and random numbers of the control thread.
 *
 * Everything with logic in evener (resolvers, policies, subchannels, the channel) takes time, timers and random
 * numbers from a loop, and runs on it one function at a time, so it needs no locks. In production the loop is libuv
 * on the runtime's control thread. A virtual loop advances time by hand, so that the same object code runs in tests
 * and in the simulator.
 *
 *     static void ring(void *arg) { ... }
 *     evener_timer timer = EVENER_TIMER_INIT(ring, self);
 *     evener_timer_start(loop, &timer, 250 * EVENER_NS_PER_MS);
 *     ...
 *     evener_timer_stop(loop, &timer);    // before its memory goes */
#ifndef EVENER_LOOP_H
#define EVENER_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/export.h>

EVENER_BEGIN_DECLS

#define EVENER_NS_PER_US UINT64_C(1000)
#define EVENER_NS_PER_MS UINT64_C(1000000)
#define EVENER_NS_PER_S UINT64_C(1000000000)

typedef struct evener_loop evener_loop;
typedef void (*evener_task_fn)(void *arg);

/* A function for the control thread. Embedded in its owner: posting allocates nothing and cannot fail. The members
 * after `arg` belong to the loop. The memory must stay until the task has run. */
typedef struct evener_task {
    evener_task_fn fn;
    void *arg;
    struct evener_task *next;
    uint32_t pending;
} evener_task;
#define EVENER_TASK_INIT(function, argument)                                                                           \
    {                                                                                                                  \
        (function), (argument), NULL, 0                                                                                \
    }

/* A one-shot timer. Embedded in its owner: starting allocates nothing and cannot fail. The members after `arg` belong
 * to the loop. */
typedef struct evener_timer {
    evener_task_fn fn;
    void *arg;
    uint64_t deadline_ns;
    uint64_t sequence; /* of two timers with one deadline, the one started first rings first */
    struct evener_timer *child, *sibling, *previous;
    bool active;
} evener_timer;
#define EVENER_TIMER_INIT(function, argument)                                                                          \
    {                                                                                                                  \
        (function), (argument), 0, 0, NULL, NULL, NULL, false                                                          \
    }

/* The functions of a loop. Control thread, unless marked "any thread". */
typedef struct evener_loop_vtable {
    size_t size; /* sizeof(evener_loop_vtable) */
    /* Return the nanoseconds of a monotonic clock, never 0. Any thread. */
    uint64_t (*now_ns)(evener_loop *loop);
    /* Return the same clock for the data plane. May be cheaper and some microseconds off, but is monotonic per
     * thread. Any thread. */
    uint64_t (*now_fast_ns)(evener_loop *loop);
    /* Queue the task. It runs later in order of posting, never inside this call. A task that is pending already
     * stays as it is (one run serves both posts). Return whether it was queued. Any thread. */
    bool (*post)(evener_loop *loop, evener_task *task);
    /* Start or restart the timer. It rings once, `delay_ns` from now, never inside this call. */
    void (*timer_start)(evener_loop *loop, evener_timer *timer, uint64_t delay_ns);
    /* Stop the timer: it does not ring after this. Stopping a stopped timer is allowed. */
    void (*timer_stop)(evener_loop *loop, evener_timer *timer);
    /* Return a random number, uniform over 64 bits; not for secrets. */
    uint64_t (*random)(evener_loop *loop);
    /* Return whether the caller is on the control thread. Any thread. */
    bool (*on_control_thread)(evener_loop *loop);
    /* Return the libuv loop (`uv_loop_t *`) behind it, for sockets and files; NULL if it is not libuv's. Then `dns:`
     * and `srv:` ask on a thread of their own, and files are not watched by inotify but looked at from time to time. */
    void *(*uv)(evener_loop *loop);
} evener_loop_vtable;

/* Embedded first in every implementation. */
struct evener_loop {
    const evener_loop_vtable *vtable;
};

/* Call the function of that name in the loop's vtable. */
static inline uint64_t evener_loop_now_ns(evener_loop *loop)
{
    return loop->vtable->now_ns(loop);
}
static inline uint64_t evener_loop_now_fast_ns(evener_loop *loop)
{
    return loop->vtable->now_fast_ns(loop);
}
static inline bool evener_loop_post(evener_loop *loop, evener_task *task)
{
    return loop->vtable->post(loop, task);
}
static inline void evener_timer_start(evener_loop *loop, evener_timer *timer, uint64_t delay_ns)
{
    loop->vtable->timer_start(loop, timer, delay_ns);
}
static inline void evener_timer_stop(evener_loop *loop, evener_timer *timer)
{
    loop->vtable->timer_stop(loop, timer);
}
static inline uint64_t evener_loop_random(evener_loop *loop)
{
    return loop->vtable->random(loop);
}
static inline bool evener_loop_on_control_thread(evener_loop *loop)
{
    return loop->vtable->on_control_thread(loop);
}
static inline void *evener_loop_uv(evener_loop *loop)
{
    return loop->vtable->uv(loop);
}

/* Return a random number uniform in [0, bound), without modulo bias; 0 when bound is 0. Control thread. */
EVENER_API uint64_t evener_loop_random_below(evener_loop *loop, uint64_t bound);

/* Return a random number uniform in [0, 1). Control thread. */
EVENER_API double evener_loop_random_unit(evener_loop *loop);

EVENER_END_DECLS

#endif
