/* RCU readers run while the control thread replaces and reclaims the object that they read. No reader sees a freed
 * object. */
#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include <evener/runtime.h>

#include "lb/runtime/rcu.h"
#include "lb/runtime/reclaim.h"

#define READERS 6
#define VERSIONS 5000
#define ALIVE 0x5eedu

static evener_runtime *runtime;

typedef struct version {
    evener_reclaim reclaim;
    unsigned alive; /* plain: written by the control thread before publication and after the grace period */
    size_t number;
} version;

static version *current; /* RCU */
static bool stop;        /* atomic */
static size_t ended;     /* control thread */

static void version_end(void *arg)
{
    version *v = arg;
    assert(v->alive == ALIVE);
    v->alive = 0;
    ended++;
    free(v);
}

static version *version_create(size_t number)
{
    version *v = calloc(1, sizeof(*v));
    assert(v != NULL);
    v->alive = ALIVE;
    v->number = number;
    v->reclaim = (evener_reclaim){version_end, v, NULL};
    return v;
}

static void *read_on(void *arg)
{
    size_t *reads = arg;
    size_t last = 0;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        evener_rcu_read_lock();
        const version *v = evener_rcu_dereference(current);
        assert(v->alive == ALIVE);
        assert(v->number >= last); /* publications are seen in order */
        last = v->number;
        evener_rcu_read_lock(); /* nested */
        assert(evener_rcu_dereference(current)->alive == ALIVE);
        evener_rcu_read_unlock();
        assert(v->alive == ALIVE);
        evener_rcu_read_unlock();
        ++*reads;
    }
    return NULL;
}

static void replace(void *arg)
{
    (void)arg;
    version *old = current;
    evener_rcu_assign(current, version_create(old->number + 1));
    evener_runtime_reclaim(runtime, &old->reclaim);
}

static void end_last(void *arg)
{
    (void)arg;
    evener_runtime_reclaim(runtime, &current->reclaim);
    evener_rcu_assign(current, NULL);
}

int main(void)
{
    assert(evener_runtime_create(NULL, &runtime, NULL) == EVENER_STATUS_OK);
    current = version_create(0);
    pthread_t threads[READERS];
    size_t reads[READERS * 16] = {0};
    for (size_t i = 0; i < READERS; i++) {
        assert(pthread_create(&threads[i], NULL, read_on, &reads[i * 16]) == 0);
    }
    for (size_t i = 0; i < VERSIONS; i++) {
        evener_runtime_call(runtime, replace, NULL);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < READERS; i++) {
        assert(pthread_join(threads[i], NULL) == 0);
    }
    evener_runtime_call(runtime, end_last, NULL);
    evener_runtime_unref(runtime);
    assert(ended == VERSIONS + 1);
    return 0;
}
