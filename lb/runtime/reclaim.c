#include "lb/runtime/reclaim.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include <evener/log.h>

#include "lb/runtime/rcu.h"
#include "lb/runtime/thread.h"

#ifdef EVENER_RCU_TSAN
char evener_rcu_tsan_tag;
#endif

/* The first items come while a process makes its first channel. Their grace period begins this much later, so that the
 * start of the thread does not take the processor from the first call. */
#define START_DELAY_NS (10 * EVENER_NS_PER_MS)
#define THREAD_NAME_BYTES 16

static __attribute__((constructor)) void follow_forks(void)
{
    evener_rcu_follow_forks();
}

/* A queue of items. */
typedef struct batch {
    evener_reclaim *first;
    evener_reclaim *last;
} batch;

struct evener_reclaimer {
    evener_loop *loop;
    batch waiting;     /* their grace period has not begun */
    batch in_progress; /* their grace period is in progress */
    evener_task task;  /* with a thread: runs after the grace period; without: waits for the grace period */
    batch unread;      /* need no grace period */
    evener_task unread_task;
    bool busy;       /* from the start of a grace period until its items have run */
    bool stopped;    /* atomic: the control thread writes it, both threads read it */
    bool has_thread; /* false also if it could not be started */
    bool is_started;
    pthread_t thread;
    sem_t work; /* wakes the thread: a grace period is wanted, or it must stop */
    evener_timer start_timer;
    char thread_name[THREAD_NAME_BYTES];
};

static batch batch_take(batch *from)
{
    const batch taken = *from;
    from->first = NULL;
    from->last = NULL;
    return taken;
}

static void batch_add(batch *to, evener_reclaim *item)
{
    item->next = NULL;
    if (to->first == NULL) {
        to->first = item;
    } else {
        to->last->next = item;
    }
    to->last = item;
}

/* Run the items. An item may add others and may free itself. */
static void batch_run(batch items)
{
    evener_reclaim *item = items.first;
    while (item != NULL) {
        evener_reclaim *next = item->next;
        item->fn(item->arg);
        item = next;
    }
}

/* ---- with a thread ---- */

static void *reclaimer_main(void *arg)
{
    evener_reclaimer *reclaimer = arg;
    for (;;) {
        while (sem_wait(&reclaimer->work) != 0) { /* EINTR: for example a debugger */
        }
        if (__atomic_load_n(&reclaimer->stopped, __ATOMIC_RELAXED)) {
            return NULL;
        }
        evener_rcu_synchronize();
        (void)evener_loop_post(reclaimer->loop, &reclaimer->task);
    }
}

/* An item added during a grace period waits for the next one: a reader may have entered after this one began. */
static void begin_grace_period(evener_reclaimer *reclaimer)
{
    reclaimer->busy = true;
    if (!reclaimer->has_thread) {
        (void)evener_loop_post(reclaimer->loop, &reclaimer->task);
    } else if (!reclaimer->is_started) {
        evener_timer_start(reclaimer->loop, &reclaimer->start_timer, START_DELAY_NS);
    } else {
        reclaimer->in_progress = batch_take(&reclaimer->waiting);
        (void)sem_post(&reclaimer->work);
    }
}

/* `busy` stays true while items run, so that the end of the runtime waits for all of them. */
static void run_and_continue(evener_reclaimer *reclaimer, batch items)
{
    batch_run(items);
    reclaimer->busy = false;
    if (reclaimer->waiting.first != NULL && !reclaimer->stopped) {
        begin_grace_period(reclaimer);
    }
}

static void grace_period_over(void *arg)
{
    evener_reclaimer *reclaimer = arg;
    run_and_continue(reclaimer, batch_take(&reclaimer->in_progress));
}

/* ---- without ---- */

static void wait_for_grace_period(void *arg)
{
    evener_reclaimer *reclaimer = arg;
    evener_rcu_synchronize();
    run_and_continue(reclaimer, batch_take(&reclaimer->waiting));
}

static void start_thread(void *arg)
{
    evener_reclaimer *reclaimer = arg;
    evener_status status;
    reclaimer->is_started = evener_thread_start(&reclaimer->thread, reclaimer->thread_name, reclaimer_main, reclaimer,
                                                &status) == EVENER_STATUS_OK;
    if (!reclaimer->is_started) {
        evener_log(EVENER_LOG_WARNING, "runtime", "%s; its control thread waits for grace periods instead",
                   status.message);
        (void)sem_destroy(&reclaimer->work);
        reclaimer->has_thread = false;
        reclaimer->task.fn = wait_for_grace_period;
    }
    begin_grace_period(reclaimer);
}

/* ---- both ---- */

static void run_unread(void *arg)
{
    evener_reclaimer *reclaimer = arg;
    batch_run(batch_take(&reclaimer->unread));
}

evener_status_code evener_reclaimer_create(evener_loop *loop, const char *thread_name, evener_reclaimer **reclaimer,
                                           evener_status *status)
{
    evener_reclaimer *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "runtime: no memory for its reclaimer");
    }
    made->loop = loop;
    made->task = (evener_task)EVENER_TASK_INIT(thread_name != NULL ? grace_period_over : wait_for_grace_period, made);
    made->unread_task = (evener_task)EVENER_TASK_INIT(run_unread, made);
    made->start_timer = (evener_timer)EVENER_TIMER_INIT(start_thread, made);
    if (thread_name != NULL) {
        (void)snprintf(made->thread_name, sizeof made->thread_name, "%s", thread_name);
        (void)sem_init(&made->work, 0, 0); /* cannot fail: the value is in range */
        made->has_thread = true;
    }
    *reclaimer = made;
    return EVENER_STATUS_OK;
}

void evener_reclaimer_add(evener_reclaimer *reclaimer, evener_reclaim *item)
{
    batch_add(&reclaimer->waiting, item);
    if (!reclaimer->busy && !reclaimer->stopped) {
        begin_grace_period(reclaimer);
    }
}

void evener_reclaimer_hurry(evener_reclaimer *reclaimer)
{
    if (reclaimer->busy && reclaimer->has_thread && !reclaimer->is_started) {
        evener_timer_stop(reclaimer->loop, &reclaimer->start_timer);
        start_thread(reclaimer);
    }
}

void evener_reclaimer_add_unread(evener_reclaimer *reclaimer, evener_reclaim *item)
{
    batch_add(&reclaimer->unread, item);
    (void)evener_loop_post(reclaimer->loop, &reclaimer->unread_task);
}

bool evener_reclaimer_is_idle(const evener_reclaimer *reclaimer)
{
    return !reclaimer->busy && reclaimer->waiting.first == NULL && reclaimer->unread.first == NULL;
}

void evener_reclaimer_stop(evener_reclaimer *reclaimer)
{
    __atomic_store_n(&reclaimer->stopped, true, __ATOMIC_RELAXED); /* ordered by the semaphore and the join */
    evener_timer_stop(reclaimer->loop, &reclaimer->start_timer);
    if (reclaimer->is_started) {
        (void)sem_post(&reclaimer->work);
        (void)pthread_join(reclaimer->thread, NULL);
        reclaimer->is_started = false;
    }
    if (reclaimer->has_thread) {
        (void)sem_destroy(&reclaimer->work);
        reclaimer->has_thread = false;
    }
    /* The thread may have stopped instead of handling a request: put that request's items back in front. If the
     * thread has posted its task, the task finds an empty batch. */
    if (reclaimer->in_progress.first != NULL) {
        batch all = batch_take(&reclaimer->in_progress);
        if (reclaimer->waiting.first != NULL) {
            all.last->next = reclaimer->waiting.first;
            all.last = reclaimer->waiting.last;
        }
        reclaimer->waiting = all;
    }
    reclaimer->busy = false;
}

bool evener_reclaimer_flush(evener_reclaimer *reclaimer)
{
    if (reclaimer->waiting.first == NULL) {
        return false;
    }
    evener_rcu_synchronize();
    batch_run(batch_take(&reclaimer->waiting));
    return true;
}

void evener_reclaimer_destroy(evener_reclaimer *reclaimer)
{
    free(reclaimer);
}
