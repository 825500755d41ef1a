/* Threads take and release the default runtime, so that it repeatedly ends and starts, while the log sink changes
 * under threads that log. */
#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <evener/log.h>
#include <evener/runtime.h>

#define THREADS 4
#define ROUNDS 400
#define SINKS 4

static bool stop; /* atomic */

static void add_one(void *arg)
{
    ++*(int *)arg;
}

static void unref_here(void *arg)
{
    evener_runtime_unref(arg);
}

static void *use_default(void *arg)
{
    const bool end_on_control_thread = arg != NULL;
    for (int i = 0; i < ROUNDS; i++) {
        evener_runtime *runtime = NULL;
        assert(evener_runtime_default(&runtime, NULL) == EVENER_STATUS_OK);
        int ran = 0;
        evener_runtime_call(runtime, add_one, &ran);
        assert(ran == 1);
        evener_log(EVENER_LOG_INFO, "stress", "round %d", i);
        if (end_on_control_thread && i % 2 == 0) {
            evener_runtime_call(runtime, unref_here, runtime);
        } else {
            evener_runtime_unref(runtime);
        }
    }
    return NULL;
}

static int marks[SINKS];
static uint64_t lines; /* atomic */

static void check(void *arg, int number)
{
    assert(arg == &marks[number]); /* a sink's function always gets its own argument */
    (void)__atomic_fetch_add(&lines, 1, __ATOMIC_RELAXED);
}

#define SINK(number)                                                                                                   \
    static void sink_##number(void *arg, evener_log_level level, const char *component, const char *message)           \
    {                                                                                                                  \
        assert(level == EVENER_LOG_INFO && component != NULL && message != NULL);                                      \
        check(arg, number);                                                                                            \
    }
SINK(0)
SINK(1)
SINK(2)
SINK(3)

static void *change_sinks(void *arg)
{
    (void)arg;
    static const evener_log_sink sinks[SINKS] = {sink_0, sink_1, sink_2, sink_3};
    for (unsigned i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
        evener_log_set_sink(sinks[i % SINKS], &marks[i % SINKS], EVENER_LOG_INFO);
    }
    return NULL;
}

int main(void)
{
    evener_log_set_sink(sink_0, &marks[0], EVENER_LOG_INFO);
    pthread_t changer;
    pthread_t users[THREADS];
    assert(pthread_create(&changer, NULL, change_sinks, NULL) == 0);
    for (int i = 0; i < THREADS; i++) {
        assert(pthread_create(&users[i], NULL, use_default, i % 2 == 0 ? &marks[0] : NULL) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert(pthread_join(users[i], NULL) == 0);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    assert(pthread_join(changer, NULL) == 0);
    assert(lines == (uint64_t)THREADS * ROUNDS);
    return 0;
}
