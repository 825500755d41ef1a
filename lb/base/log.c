/* The sink is read on every thread and seldom set. A sequence lock over atomics lets readers neither wait nor see a
 * function with another sink's argument, and leaves nothing to free. */
#include <evener/log.h>

#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lb/base/c_locale.h"
#include "lb/base/fork.h"
#include "lb/base/printable.h"

/* Longer lines are truncated. */
#define MESSAGE_BYTES 1024

static const char *const level_names[] = {"debug", "info", "warning", "error", "none"};

static pthread_mutex_t setting = PTHREAD_MUTEX_INITIALIZER;
static uint32_t sequence; /* odd while the sink changes */
static evener_log_sink current_sink;
static void *current_arg;
static int current_minimum = EVENER_LOG_NONE;

static pthread_once_t environment_once = PTHREAD_ONCE_INIT;
static int environment_minimum = EVENER_LOG_NONE; /* written in environment_once */

EVENER_FORK_LOCK(setting, EVENER_FORK_LOG, NULL)

static void to_standard_error(void *arg, evener_log_level level, const char *component, const char *message)
{
    (void)arg;
    struct timespec now;
    struct tm utc;
    char day[32];
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &utc) == NULL || strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &utc) == 0) {
        day[0] = '\0';
    }
    /* One call, so that lines of different threads are not interleaved. */
    (void)fprintf(stderr, "%s.%06ldZ %-7s %s: %s\n", day, now.tv_nsec / 1000, level_names[level], component, message);
}

/* The caller holds `setting`, or runs in environment_once. */
static void publish(evener_log_sink sink, void *arg, int minimum)
{
    /* Readers compare `sequence` before and after. Every field is stored with release after `sequence` became odd: a
     * reader that sees a new field also sees the odd number. A reader that sees it even again sees all new fields. */
    const uint32_t before = __atomic_load_n(&sequence, __ATOMIC_RELAXED);
    __atomic_store_n(&sequence, before + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&current_sink, sink, __ATOMIC_RELEASE);
    __atomic_store_n(&current_arg, arg, __ATOMIC_RELEASE);
    __atomic_store_n(&current_minimum, minimum, __ATOMIC_RELEASE);
    __atomic_store_n(&sequence, before + 2, __ATOMIC_RELEASE);
}

static void read_environment(void)
{
    const char *text = getenv("EVENER_LOG");
    for (int level = EVENER_LOG_DEBUG; text != NULL && level <= EVENER_LOG_NONE; level++) {
        if (strcmp(text, level_names[level]) == 0) {
            environment_minimum = level;
        }
    }
    publish(to_standard_error, NULL, environment_minimum);
}

void evener_log_set_sink(evener_log_sink sink, void *arg, evener_log_level minimum_level)
{
    (void)pthread_once(&environment_once, read_environment);
    pthread_mutex_lock(&setting);
    if (sink != NULL) {
        publish(sink, arg, (int)minimum_level);
    } else {
        publish(to_standard_error, NULL, environment_minimum);
    }
    pthread_mutex_unlock(&setting);
}

bool evener_log_enabled(evener_log_level level)
{
    (void)pthread_once(&environment_once, read_environment);
    return level < EVENER_LOG_NONE && (int)level >= __atomic_load_n(&current_minimum, __ATOMIC_RELAXED);
}

/* Read one consistent pair of sink and argument. Return NULL if the sink does not want this level. */
static evener_log_sink read_sink(evener_log_level level, void **arg)
{
    for (;;) {
        const uint32_t before = __atomic_load_n(&sequence, __ATOMIC_ACQUIRE);
        /* Acquire: a reader that sees a field of a later setting also sees that setting's odd `sequence`, so its
         * second read of `sequence` differs from the first. */
        evener_log_sink sink = __atomic_load_n(&current_sink, __ATOMIC_ACQUIRE);
        void *sink_arg = __atomic_load_n(&current_arg, __ATOMIC_ACQUIRE);
        const int minimum = __atomic_load_n(&current_minimum, __ATOMIC_ACQUIRE);
        if (before % 2 == 0 && __atomic_load_n(&sequence, __ATOMIC_RELAXED) == before) {
            *arg = sink_arg;
            return (int)level >= minimum ? sink : NULL;
        }
    }
}

void evener_log(evener_log_level level, const char *component, const char *format, ...)
{
    if (!evener_log_enabled(level)) {
        return;
    }
    char message[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    const int length = evener_vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    if (length < 0) { /* an invalid multibyte string in the arguments */
        return;
    }
    void *arg = NULL;
    evener_log_sink sink = read_sink(level, &arg);
    if (sink != NULL) {
        char line[MESSAGE_BYTES]; /* messages quote servers, name servers and files */
        (void)evener_printable(message, strlen(message), line, sizeof line);
        sink(arg, level, component, line);
    }
}
