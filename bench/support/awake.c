#include "bench/support/awake.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#define PROCESSORS_MAX 64

static pthread_t threads[PROCESSORS_MAX];
static unsigned thread_count;
static atomic_bool ending;

static void *run(void *arg)
{
    (void)arg;
    const struct sched_param none = {.sched_priority = 0};
    if (pthread_setschedparam(pthread_self(), SCHED_IDLE, &none) != 0) {
        return NULL; /* at normal priority it would take time from others */
    }
    /* No pause instruction: a hypervisor may react to many of them by running another machine. */
    while (!atomic_load_explicit(&ending, memory_order_relaxed)) {
    }
    return NULL;
}

void bench_awake_begin(void)
{
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    atomic_store_explicit(&ending, false, memory_order_relaxed);
    for (long i = 0; i < processors && i < PROCESSORS_MAX; i++) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET((size_t)i, &one);
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setaffinity_np(&attributes, sizeof one, &one);
        thread_count += pthread_create(&threads[thread_count], &attributes, run, NULL) == 0;
        pthread_attr_destroy(&attributes);
    }
}

void bench_awake_end(void)
{
    atomic_store_explicit(&ending, true, memory_order_relaxed);
    while (thread_count > 0) {
        pthread_join(threads[--thread_count], NULL);
    }
}
