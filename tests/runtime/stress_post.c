/* Many threads post to one control thread. Every task runs once, tasks of one thread run in order, and a task that
 * is posted while it is pending or running sees everything written before the post. */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include <evener/runtime.h>

#define POSTERS 4
#define TASKS 20000
#define SIGNALS 20000

static evener_runtime *runtime;

typedef struct poster {
    pthread_t thread;
    /* Separate tasks, each freed by its run: plain memory, passed on by the post. */
    size_t next_expected; /* control thread */
    /* One task that is posted repeatedly: posts coalesce. */
    evener_task signal;
    size_t written; /* atomic */
    size_t seen;    /* control thread */
    size_t signals_queued;
    size_t signals_run; /* control thread */
} poster;

typedef struct parcel {
    evener_task task;
    poster *from;
    size_t number;
} parcel;

static void parcel_arrives(void *arg)
{
    parcel *p = arg;
    assert(p->number == p->from->next_expected);
    p->from->next_expected++;
    free(p);
}

static void signal_arrives(void *arg)
{
    poster *p = arg;
    p->signals_run++;
    p->seen = __atomic_load_n(&p->written, __ATOMIC_RELAXED); /* ordered by post and run, not by this load */
}

static void *post(void *arg)
{
    poster *self = arg;
    evener_loop *loop = evener_runtime_loop(runtime);
    for (size_t i = 0; i < TASKS; i++) {
        parcel *p = malloc(sizeof(*p));
        assert(p != NULL);
        *p = (parcel){EVENER_TASK_INIT(parcel_arrives, p), self, i};
        assert(evener_loop_post(loop, &p->task));
    }
    for (size_t i = 1; i <= SIGNALS; i++) {
        __atomic_store_n(&self->written, i, __ATOMIC_RELAXED);
        self->signals_queued += evener_loop_post(loop, &self->signal);
    }
    return NULL;
}

int main(void)
{
    static poster posters[POSTERS];
    assert(evener_runtime_create(NULL, &runtime, NULL) == EVENER_STATUS_OK);
    for (size_t i = 0; i < POSTERS; i++) {
        posters[i].signal = (evener_task)EVENER_TASK_INIT(signal_arrives, &posters[i]);
        assert(pthread_create(&posters[i].thread, NULL, post, &posters[i]) == 0);
    }
    for (size_t i = 0; i < POSTERS; i++) {
        assert(pthread_join(posters[i].thread, NULL) == 0);
    }
    evener_runtime_unref(runtime);
    for (size_t i = 0; i < POSTERS; i++) {
        assert(posters[i].next_expected == TASKS);
        assert(posters[i].signals_run == posters[i].signals_queued);
        assert(posters[i].seen == SIGNALS);
    }
    return 0;
}
