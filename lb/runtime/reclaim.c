#include "lb/runtime/reclaim.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include "lb/runtime/rcu.h"
#include "lb/runtime/thread.h"

#ifdef EVENER_RCU_TSAN
char evener_rcu_tsan_tag;
#endif

/* Items in order. */
typedef struct batch {
    evener_reclaim *first;
    evener_reclaim *last;
} batch;

struct evener_reclaimer {
    evener_loop *loop;
    batch waiting;    /* no grace period has begun for these */
    batch under_way;  /* the thread waits for the grace period of these */
    evener_task task; /* with a thread: the grace period is over; without: time to wait for one */
    bool busy;        /* from the request for a grace period until its items have run */
    bool stopped;     /* atomic: written by the control thread, read by both */
    bool has_thread;
    pthread_t thread;
    sem_t work; /* to the thread: wait for a grace period, or stop */
};

static batch batch_take(batch *from)
{
    const batch taken = *from;
    from->first = NULL;
    from->last = NULL;
    return taken;
}

/* Items may add others to the reclaimer, and free themselves. */
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
        while (sem_wait(&reclaimer->work) != 0) { /* EINTR: a debugger */
        }
        if (__atomic_load_n(&reclaimer->stopped, __ATOMIC_RELAXED)) {
            return NULL;
        }
        evener_rcu_synchronize();
        (void)evener_loop_post(reclaimer->loop, &reclaimer->task);
    }
}

/* An item that comes while a grace period is under way waits for the next one: readers that see it may have entered
 * since. */
static void begin_grace_period(evener_reclaimer *reclaimer)
{
    reclaimer->busy = true;
    if (reclaimer->has_thread) {
        reclaimer->under_way = batch_take(&reclaimer->waiting);
        (void)sem_post(&reclaimer->work);
    } else {
        (void)evener_loop_post(reclaimer->loop, &reclaimer->task);
    }
}

/* `busy` stays true while items run: who would end the runtime then has to wait for the rest of them. */
static void run_then_go_on(evener_reclaimer *reclaimer, batch items)
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
    run_then_go_on(reclaimer, batch_take(&reclaimer->under_way));
}

/* ---- on a caller's loop ---- */

static void wait_for_grace_period(void *arg)
{
    evener_reclaimer *reclaimer = arg;
    evener_rcu_synchronize();
    run_then_go_on(reclaimer, batch_take(&reclaimer->waiting));
}

/* ---- both ---- */

evener_status_code evener_reclaimer_create(evener_loop *loop, bool own_thread, const char *thread_name,
                                           evener_reclaimer **reclaimer, evener_status *status)
{
    evener_reclaimer *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "runtime: no memory for its reclaimer");
    }
    made->loop = loop;
    made->task = (evener_task)EVENER_TASK_INIT(own_thread ? grace_period_over : wait_for_grace_period, made);
    if (own_thread) {
        (void)sem_init(&made->work, 0, 0); /* fails only for values out of range */
        const evener_status_code code = evener_thread_start(&made->thread, thread_name, reclaimer_main, made, status);
        if (code != EVENER_STATUS_OK) {
            (void)sem_destroy(&made->work);
            free(made);
            return code;
        }
        made->has_thread = true;
    }
    *reclaimer = made;
    return EVENER_STATUS_OK;
}

void evener_reclaimer_add(evener_reclaimer *reclaimer, evener_reclaim *item)
{
    item->next = NULL;
    if (reclaimer->waiting.first == NULL) {
        reclaimer->waiting.first = item;
    } else {
        reclaimer->waiting.last->next = item;
    }
    reclaimer->waiting.last = item;
    if (!reclaimer->busy && !reclaimer->stopped) {
        begin_grace_period(reclaimer);
    }
}

bool evener_reclaimer_is_idle(const evener_reclaimer *reclaimer)
{
    return !reclaimer->busy && reclaimer->waiting.first == NULL;
}

void evener_reclaimer_stop(evener_reclaimer *reclaimer)
{
    __atomic_store_n(&reclaimer->stopped, true, __ATOMIC_RELAXED); /* the semaphore and the join order it */
    if (reclaimer->has_thread) {
        (void)sem_post(&reclaimer->work);
        (void)pthread_join(reclaimer->thread, NULL);
        (void)sem_destroy(&reclaimer->work);
        reclaimer->has_thread = false;
    }
    /* The thread may have seen `stopped` in the place of a request: its items come first again. If it has posted, the
     * task will find nothing. */
    if (reclaimer->under_way.first != NULL) {
        batch all = batch_take(&reclaimer->under_way);
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
