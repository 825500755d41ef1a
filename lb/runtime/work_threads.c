#include "lb/runtime/work_threads.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lb/runtime/thread.h"

#define THREADS_MIN 2 /* so that a callback may wait for another one */
#define THREADS_MAX 4

struct evener_work_threads {
    evener_runtime *runtime; /* not counted: it outlives the threads */
    pthread_t threads[THREADS_MAX];
    unsigned count; /* of threads that were started */
    pthread_mutex_t mutex;
    pthread_cond_t is_work;

    /* under the mutex */
    evener_work *first, **last;
    unsigned idle;
    bool stopping;
};

/* Wait for work; NULL: the threads end. */
static evener_work *take(evener_work_threads *threads)
{
    pthread_mutex_lock(&threads->mutex);
    while (threads->first == NULL && !threads->stopping) {
        threads->idle++;
        pthread_cond_wait(&threads->is_work, &threads->mutex);
        threads->idle--;
    }
    evener_work *work = threads->first;
    if (work != NULL) {
        threads->first = work->next;
        if (threads->first == NULL) {
            threads->last = &threads->first;
        }
    }
    pthread_mutex_unlock(&threads->mutex);
    return work;
}

static void *work_main(void *arg)
{
    evener_work_threads *threads = arg;
    evener_runtime_adopt_thread(threads->runtime);
    for (evener_work *work = take(threads); work != NULL; work = take(threads)) {
        work->run(work);
    }
    return NULL;
}

void evener_work_threads_put(evener_work_threads *threads, evener_work *work)
{
    work->next = NULL;
    pthread_mutex_lock(&threads->mutex);
    *threads->last = work;
    threads->last = &work->next;
    const bool is_awaited = threads->idle > 0;
    pthread_mutex_unlock(&threads->mutex);
    if (is_awaited) {
        pthread_cond_signal(&threads->is_work);
    }
}

/* ---- life ---- */

static void destroy(void *object)
{
    evener_work_threads *threads = object;
    pthread_mutex_lock(&threads->mutex);
    threads->stopping = true;
    pthread_mutex_unlock(&threads->mutex);
    pthread_cond_broadcast(&threads->is_work);
    for (unsigned i = 0; i < threads->count; i++) {
        (void)pthread_join(threads->threads[i], NULL);
    }
    pthread_cond_destroy(&threads->is_work);
    pthread_mutex_destroy(&threads->mutex);
    free(threads);
}

static unsigned wanted_count(void)
{
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors < THREADS_MIN ? THREADS_MIN : processors > THREADS_MAX ? THREADS_MAX : (unsigned)processors;
}

static void *create(evener_runtime *runtime, unsigned wanted, const char *prefix, evener_status *status)
{
    evener_work_threads *threads = calloc(1, sizeof *threads);
    if (threads == NULL) {
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "work threads: out of memory");
        return NULL;
    }
    threads->runtime = runtime;
    threads->last = &threads->first;
    pthread_mutex_init(&threads->mutex, NULL);
    pthread_cond_init(&threads->is_work, NULL);
    while (threads->count < wanted) {
        char name[16];
        snprintf(name, sizeof name, "%s-%u", prefix, threads->count);
        if (evener_thread_start(&threads->threads[threads->count], name, work_main, threads, status) !=
            EVENER_STATUS_OK) {
            destroy(threads);
            return NULL;
        }
        threads->count++;
    }
    return threads;
}

static void *create_for_calls(evener_runtime *runtime, evener_status *status)
{
    return create(runtime, wanted_count(), "evener-call", status);
}

static void *create_for_disk(evener_runtime *runtime, evener_status *status)
{
    return create(runtime, 1, "evener-disk", status);
}

static const evener_shared_key calls_key = {.name = "call threads", .create = create_for_calls, .destroy = destroy};
static const evener_shared_key disk_key = {.name = "disk thread", .create = create_for_disk, .destroy = destroy};

typedef struct get {
    evener_runtime *runtime;
    const evener_shared_key *key;
    evener_status *status;
    evener_work_threads *threads;
} get;

static void get_on_control_thread(void *arg)
{
    get *request = arg;
    request->threads = evener_runtime_shared(request->runtime, request->key, request->status);
}

static evener_work_threads *get_by_key(evener_runtime *runtime, const evener_shared_key *key, evener_status *status)
{
    get request = {.runtime = runtime, .key = key, .status = status};
    evener_runtime_call(runtime, get_on_control_thread, &request);
    return request.threads;
}

evener_work_threads *evener_work_threads_get(evener_runtime *runtime, evener_status *status)
{
    return get_by_key(runtime, &calls_key, status);
}

evener_work_threads *evener_work_threads_get_disk(evener_runtime *runtime, evener_status *status)
{
    return get_by_key(runtime, &disk_key, status);
}
