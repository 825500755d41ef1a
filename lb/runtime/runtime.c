/* A runtime is reference-counted. Dropping the last reference ends it, always with the same steps on the control
 * thread (wind_down()): run posted tasks and reclaimed items until none is left; then destroy the shared objects,
 * youngest first, and do the same after each. */
#include <evener/runtime.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/log.h>

#include "lb/base/fork.h"
#include "lb/base/memory.h"
#include "lb/base/options.h"
#include "lb/runtime/dead_loop.h"
#include "lb/runtime/lane.h"
#include "lb/runtime/reclaim.h"
#include "lb/runtime/runtime_internal.h"
#include "lb/runtime/thread.h"
#include "lb/runtime/uncancelled.h"
#include "lb/runtime/uv_loop.h"

#define THREAD_NAME_BYTES 16

typedef struct shared_object {
    const evener_shared_key *key;
    void *object;
    struct shared_object *older;
} shared_object;

struct evener_runtime {
    uint64_t references; /* atomic */
    evener_loop *loop;
    evener_uv_loop *own_loop; /* NULL: the caller's loop is used */
    pthread_t control_thread; /* valid with own_loop */
    sem_t is_made;            /* the control thread waits for it; then own_loop NULL makes it end */
    bool nobody_joins;        /* atomic: the control thread frees the runtime itself */
    evener_reclaimer *reclaimer;
    shared_object *youngest;
    evener_task end_task;
    evener_task lanes_task; /* starts to look for idle lanes */
    evener_timer lanes_timer;
    evener_reclaim lanes_reclaim;
    bool winds_down;
    uint32_t fork_generation;
    evener_fork_object fork_object;
    char thread_name[THREAD_NAME_BYTES];
};

/* The process-wide default: the only global of this kind in the library. */
static pthread_mutex_t default_lock = PTHREAD_MUTEX_INITIALIZER;
static evener_runtime *default_runtime; /* a weak pointer: holds no reference */

/* The runtime that scans the lanes of the process, while threads ask for some. Atomic. */
static evener_runtime *lanes_scanner;

/* The runtime that the calling thread belongs to. */
static _Thread_local evener_runtime *own_runtime;

/* ---- fork ---- */

static void forget_default(void)
{
    default_runtime = NULL;
}

EVENER_FORK_LOCK(default_lock, EVENER_FORK_RUNTIME, forget_default)

static void cut_off(evener_fork_object *object)
{
    evener_runtime *runtime = EVENER_CONTAINER_OF(object, evener_runtime, fork_object);
    if (runtime->own_loop != NULL) {
        evener_uv_loop_cut_off(runtime->own_loop);
    }
    runtime->loop = &evener_dead_loop;
    if (lanes_scanner == runtime) {
        lanes_scanner = NULL;
    }
}

bool evener_runtime_is_older_than_fork(const evener_runtime *runtime)
{
    return evener_fork_is_older(runtime->fork_generation);
}

/* ---- lanes of idle threads ---- */

#define LANES_SCAN_NS EVENER_NS_PER_S

static void scan_lanes(void *arg)
{
    evener_runtime *runtime = arg;
    if (runtime->winds_down) {
        return;
    }
    if (__atomic_load_n(&evener_lane_refused, __ATOMIC_RELAXED) == 0) {
        __atomic_store_n(&lanes_scanner, NULL, __ATOMIC_RELEASE);
    } else if (evener_lanes_scan()) {
        evener_runtime_reclaim(runtime, &runtime->lanes_reclaim);
    } else {
        evener_timer_start(runtime->loop, &runtime->lanes_timer, LANES_SCAN_NS);
    }
}

/* A grace period after a scan. */
static void settle_lanes(void *arg)
{
    evener_runtime *runtime = arg;
    evener_lanes_settle();
    if (!runtime->winds_down) {
        evener_timer_start(runtime->loop, &runtime->lanes_timer, LANES_SCAN_NS);
    }
}

static void stop_scanning(evener_runtime *runtime)
{
    runtime->winds_down = true;
    evener_timer_stop(runtime->loop, &runtime->lanes_timer);
}

static void leave_scanning(evener_runtime *runtime)
{
    evener_runtime *expected = runtime;
    (void)__atomic_compare_exchange_n(&lanes_scanner, &expected, NULL, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

void evener_runtime_ask_for_lanes(evener_runtime *runtime)
{
    /* Acquire: pairs with the release of the last scanner, whose scan has ended. */
    evener_runtime *expected = __atomic_load_n(&lanes_scanner, __ATOMIC_ACQUIRE);
    if (expected == NULL && __atomic_load_n(&evener_lane_refused, __ATOMIC_RELAXED) > 0 &&
        __atomic_compare_exchange_n(&lanes_scanner, &expected, runtime, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        (void)evener_loop_post(runtime->loop, &runtime->lanes_task);
    }
}

/* ---- the end ---- */

static void drain(evener_runtime *runtime)
{
    bool more = true;
    while (more) {
        const bool posted = runtime->own_loop != NULL && evener_uv_loop_turn(runtime->own_loop);
        more = evener_reclaimer_flush(runtime->reclaimer) || posted;
    }
}

/* Control thread; no other user of the runtime is left. */
static void wind_down(evener_runtime *runtime)
{
    stop_scanning(runtime);
    evener_reclaimer_stop(runtime->reclaimer);
    drain(runtime);
    leave_scanning(runtime);
    while (runtime->youngest != NULL) {
        shared_object *shared = runtime->youngest;
        runtime->youngest = shared->older;
        shared->key->destroy(shared->object);
        free(shared);
        drain(runtime);
    }
    evener_reclaimer_destroy(runtime->reclaimer);
    evener_fork_delist(&runtime->fork_object);
    if (runtime->own_loop != NULL) {
        evener_uv_loop_destroy(runtime->own_loop);
    }
}

static void *control_main(void *arg)
{
    evener_runtime *runtime = arg;
    evener_thread_wait_for_brief(&runtime->is_made);
    if (runtime->own_loop == NULL) {
        return NULL;
    }
    own_runtime = runtime;
    evener_uv_loop_run(runtime->own_loop);
    wind_down(runtime);
    if (__atomic_load_n(&runtime->nobody_joins, __ATOMIC_RELAXED)) { /* ordered by the post of end_task */
        free(runtime);
    }
    return NULL;
}

/* Own loop: let control_main() continue. Caller's loop: end the runtime once the reclaimer is idle. */
static void end(void *arg)
{
    evener_runtime *runtime = arg;
    if (runtime->own_loop != NULL) {
        evener_uv_loop_stop(runtime->own_loop);
    } else if (!evener_reclaimer_is_idle(runtime->reclaimer)) {
        (void)evener_loop_post(runtime->loop, &runtime->end_task);
    } else {
        wind_down(runtime);
        free(runtime);
    }
}

static void drop_last_reference(evener_runtime *runtime)
{
    EVENER_UNCANCELLED;
    pthread_mutex_lock(&default_lock);
    if (default_runtime == runtime) {
        default_runtime = NULL;
    }
    pthread_mutex_unlock(&default_lock);

    if (runtime->own_loop == NULL) {
        if (evener_loop_on_control_thread(runtime->loop) && evener_reclaimer_is_idle(runtime->reclaimer) &&
            __atomic_load_n(&runtime->lanes_task.pending, __ATOMIC_RELAXED) == 0) {
            end(runtime);
        } else {
            (void)evener_loop_post(runtime->loop, &runtime->end_task);
        }
        return;
    }
    const pthread_t control_thread = runtime->control_thread;
    if (own_runtime == runtime) {
        __atomic_store_n(&runtime->nobody_joins, true, __ATOMIC_RELAXED);
        (void)pthread_detach(control_thread);
        (void)evener_loop_post(runtime->loop, &runtime->end_task);
    } else {
        (void)evener_loop_post(runtime->loop, &runtime->end_task);
        (void)pthread_join(control_thread, NULL);
        free(runtime);
    }
}

evener_runtime *evener_runtime_ref(evener_runtime *runtime)
{
    (void)__atomic_fetch_add(&runtime->references, 1, __ATOMIC_RELAXED); /* the caller has one already */
    return runtime;
}

void evener_runtime_unref(evener_runtime *runtime)
{
    /* Release and acquire: all use through other references happens before the end. */
    if (runtime != NULL && __atomic_sub_fetch(&runtime->references, 1, __ATOMIC_ACQ_REL) == 0 &&
        !evener_runtime_is_older_than_fork(runtime)) {
        drop_last_reference(runtime);
    }
}

/* ---- create ---- */

static evener_status_code make_own_loop(evener_runtime *runtime, uint64_t random_seed, evener_status *status)
{
    evener_uv_loop *loop;
    evener_status_code code = evener_uv_loop_create(random_seed, &loop, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    char reclaimer_name[THREAD_NAME_BYTES];
    snprintf(reclaimer_name, sizeof(reclaimer_name), "%.11s-rcu", runtime->thread_name);
    code = evener_reclaimer_create(evener_uv_loop_base(loop), reclaimer_name, &runtime->reclaimer, status);
    if (code != EVENER_STATUS_OK) {
        evener_uv_loop_destroy(loop);
        return code;
    }
    runtime->own_loop = loop;
    runtime->loop = evener_uv_loop_base(loop);
    return EVENER_STATUS_OK;
}

static evener_status_code start(evener_runtime *runtime, const evener_runtime_options *options, evener_status *status)
{
    if (options->loop != NULL) {
        runtime->loop = options->loop;
        return evener_reclaimer_create(runtime->loop, NULL, &runtime->reclaimer, status);
    }
    EVENER_UNCANCELLED;
    /* The thread first: it comes up while the loop is made. */
    (void)sem_init(&runtime->is_made, 0, 0); /* cannot fail: the value is in range */
    evener_status_code code =
        evener_thread_start(&runtime->control_thread, runtime->thread_name, control_main, runtime, status);
    if (code == EVENER_STATUS_OK) {
        code = make_own_loop(runtime, options->random_seed, status);
        (void)sem_post(&runtime->is_made);
        if (code != EVENER_STATUS_OK) {
            (void)pthread_join(runtime->control_thread, NULL);
        }
    }
    return code;
}

evener_status_code evener_runtime_create(const evener_runtime_options *options, evener_runtime **runtime,
                                         evener_status *status)
{
    evener_runtime_options chosen;
    evener_status_code code =
        evener_options_read(&chosen, sizeof(chosen), options, "runtime options", "evener_runtime_options", status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    evener_runtime *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "runtime: no memory");
    }
    made->references = 1;
    made->fork_generation = evener_fork_generation;
    made->fork_object.cut_off = cut_off;
    made->end_task = (evener_task)EVENER_TASK_INIT(end, made);
    made->lanes_task = (evener_task)EVENER_TASK_INIT(scan_lanes, made);
    made->lanes_timer = (evener_timer)EVENER_TIMER_INIT(scan_lanes, made);
    made->lanes_reclaim = (evener_reclaim){.fn = settle_lanes, .arg = made};
    snprintf(made->thread_name, sizeof(made->thread_name), "%s",
             chosen.thread_name != NULL ? chosen.thread_name : "evener");
    code = start(made, &chosen, status);
    if (code != EVENER_STATUS_OK) {
        free(made);
        return code;
    }
    evener_fork_enlist(&made->fork_object);
    *runtime = made;
    return EVENER_STATUS_OK;
}

/* Take a reference unless the count has already reached zero. */
static bool try_ref(evener_runtime *runtime)
{
    uint64_t references = __atomic_load_n(&runtime->references, __ATOMIC_RELAXED);
    while (references != 0) {
        if (__atomic_compare_exchange_n(&runtime->references, &references, references + 1, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
            return true;
        }
    }
    return false;
}

evener_status_code evener_runtime_default(evener_runtime **runtime, evener_status *status)
{
    pthread_mutex_lock(&default_lock);
    /* The count may be zero while the dropping thread still waits for this lock. The memory is then still valid,
     * because freeing takes this lock first; a new default replaces it. */
    evener_runtime *found = default_runtime;
    evener_status_code code = EVENER_STATUS_OK;
    if (found == NULL || !try_ref(found)) {
        code = evener_runtime_create(NULL, &found, status);
    }
    if (code == EVENER_STATUS_OK) {
        default_runtime = found;
        *runtime = found;
    }
    pthread_mutex_unlock(&default_lock);
    return code;
}

/* ---- use ---- */

bool evener_runtime_is_driven_by_caller(const evener_runtime *runtime)
{
    return runtime->own_loop == NULL;
}

void evener_runtime_expect_task(evener_runtime *runtime)
{
    if (runtime->own_loop != NULL) {
        evener_uv_loop_expect_task(runtime->own_loop);
    }
}

bool evener_runtime_owns_this_thread(const evener_runtime *runtime)
{
    return own_runtime == runtime || evener_loop_on_control_thread(runtime->loop);
}

bool evener_runtime_has_this_thread(void)
{
    return own_runtime != NULL;
}

evener_loop *evener_runtime_loop(evener_runtime *runtime)
{
    return runtime->loop;
}

void evener_runtime_reclaim(evener_runtime *runtime, evener_reclaim *item)
{
    evener_reclaimer_add(runtime->reclaimer, item);
}

void evener_runtime_reclaim_unread(evener_runtime *runtime, evener_reclaim *item)
{
    evener_reclaimer_add_unread(runtime->reclaimer, item);
}

void evener_runtime_reclaim_hurry(evener_runtime *runtime)
{
    evener_reclaimer_hurry(runtime->reclaimer);
}

void evener_runtime_adopt_thread(evener_runtime *runtime)
{
    own_runtime = runtime;
}

typedef struct call {
    evener_task_fn fn;
    void *arg;
    sem_t done;
} call;

static void call_run(void *arg)
{
    call *c = arg;
    c->fn(c->arg);
    (void)sem_post(&c->done);
}

void evener_runtime_call(evener_runtime *runtime, evener_task_fn fn, void *arg)
{
    EVENER_UNCANCELLED;
    if (evener_runtime_is_older_than_fork(runtime)) {
        return;
    }
    if (runtime->own_loop == NULL || evener_loop_on_control_thread(runtime->loop)) {
        fn(arg);
        return;
    }
    call c = {.fn = fn, .arg = arg};
    evener_task task = EVENER_TASK_INIT(call_run, &c);
    (void)sem_init(&c.done, 0, 0); /* fails only for values out of range */
    (void)evener_loop_post(runtime->loop, &task);
    while (sem_wait(&c.done) != 0) { /* EINTR: the caller's thread got a signal */
    }
    (void)sem_destroy(&c.done);
}

void *evener_runtime_shared(evener_runtime *runtime, const evener_shared_key *key, evener_status *status)
{
    for (const shared_object *shared = runtime->youngest; shared != NULL; shared = shared->older) {
        if (shared->key == key) {
            return shared->object;
        }
    }
    shared_object *shared = calloc(1, sizeof(*shared));
    if (shared == NULL) {
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "runtime: no memory for its %s", key->name);
        return NULL;
    }
    shared->key = key;
    shared->object = key->create(runtime, status);
    if (shared->object == NULL) {
        free(shared);
        return NULL;
    }
    /* Linked after create(): shared objects that create() asked for are older and are destroyed later. */
    shared->older = runtime->youngest;
    runtime->youngest = shared;
    return shared->object;
}
