/* How a connection goes from one blocking caller to the next, step by step: two functions that the callers pass on
 * their way are wrapped, and stop them there. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "http2/raw_scene.h"
#include "lb/transport/http2/internal.h"
#include "lb/transport/http2/tls.h"

#define LEAVER_TIMEOUT_MS 50
#define WAITER_TIMEOUT_MS 150
#define LOOKS_MAX 5 /* more than the leaver takes on its way out */

TestSuite(http2_handover, .init = raw_scene_open, .fini = raw_scene_close, .timeout = 60);

/* ---- the callers ---- */

typedef enum role { NOBODY, LEAVER, WAITER } role;

static _Thread_local role self;
static _Thread_local unsigned passed; /* by this thread, of what is wrapped */
static _Atomic bool leaver_has_ended, leaver_is_gone;
static _Atomic bool waiter_has_ended, waiter_stands, waiter_goes_on;
static _Atomic pid_t waiter_thread;
static evener_status_code leaver_code, waiter_code;
static unsigned look_before; /* which look of the leaver the waiter falls asleep before */

/* Return whether the waiter sleeps. While it stands it is running. */
static bool waiter_sleeps(void)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)atomic_load(&waiter_thread));
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return true; /* without /proc nothing is interleaved */
    }
    const size_t bytes = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[bytes] = '\0';
    const char *state = strrchr(text, ')');
    return state != NULL && state[1] == ' ' && state[2] == 'S';
}

bool __real_evener_http2_has_operations(evener_connection *connection);
bool __wrap_evener_http2_has_operations(evener_connection *connection);
bool __real_evener_http2_tls_has_output(const evener_connection *connection);
bool __wrap_evener_http2_tls_has_output(const evener_connection *connection);

/* The waiter stands where it has sent its call, as a guest of the leaver, and has not gone to sleep. */
bool __wrap_evener_http2_has_operations(evener_connection *connection)
{
    if (self == WAITER && ++passed == 2) {
        atomic_store(&waiter_stands, true);
        while (!atomic_load(&waiter_goes_on) && !atomic_load(&leaver_is_gone)) {
            sched_yield();
        }
    }
    return __real_evener_http2_has_operations(connection);
}

/* The leaver looks whether there is work for the I/O thread, several times between its call's end and its leaving. */
bool __wrap_evener_http2_tls_has_output(const evener_connection *connection)
{
    if (self == LEAVER && atomic_load(&leaver_has_ended) && ++passed == look_before && atomic_load(&waiter_stands)) {
        atomic_store(&waiter_goes_on, true);
        while (!waiter_sleeps() && !atomic_load(&waiter_has_ended)) {
            sched_yield();
        }
    }
    return __real_evener_http2_tls_has_output(connection);
}

static void note(void *arg)
{
    atomic_store((_Atomic bool *)arg, true);
}

static evener_status_code call(uint64_t timeout_ms, _Atomic bool *has_ended)
{
    h2_result result;
    const h2_call_options options = {HELLO, .timeout_ms = timeout_ms, .ended = note, .arg = has_ended};
    const evener_status_code code = h2_call_blocking(peer, &options, &result);
    h2_result_clear(&result);
    return code;
}

static void *leave(void *arg)
{
    (void)arg;
    self = LEAVER;
    leaver_code = call(LEAVER_TIMEOUT_MS, &leaver_has_ended);
    atomic_store(&leaver_is_gone, true);
    return NULL;
}

static void *wait_longer(void *arg)
{
    (void)arg;
    self = WAITER;
    atomic_store(&waiter_thread, gettid());
    waiter_code = call(WAITER_TIMEOUT_MS, &waiter_has_ended);
    return NULL;
}

/* ---- the test ---- */

static void await_owner(evener_http2_owner owner)
{
    while (atomic_load(&peer->connection->owner) != (uint32_t)owner && !atomic_load(&leaver_is_gone)) {
        sched_yield();
    }
}

/* The owner leaves at its deadline while another caller, whose call has a later one, falls asleep. Nobody else serves
 * the connection, and nothing arrives. */
static void fall_asleep_before(unsigned look)
{
    pthread_t leaver, waiter;
    look_before = look;
    atomic_store(&leaver_is_gone, false);
    atomic_store(&leaver_has_ended, false);
    atomic_store(&waiter_has_ended, false);
    atomic_store(&waiter_stands, false);
    atomic_store(&waiter_goes_on, false);
    await_owner(EVENER_HTTP2_OWNER_FREE);
    cr_assert_eq(pthread_create(&leaver, NULL, leave, NULL), 0);
    await_owner(EVENER_HTTP2_OWNER_POLLING);
    cr_assert_eq(pthread_create(&waiter, NULL, wait_longer, NULL), 0);
    pthread_join(leaver, NULL);
    pthread_join(waiter, NULL);
    cr_assert_eq(leaver_code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_assert_eq(waiter_code, EVENER_STATUS_DEADLINE_EXCEEDED);
}

Test(http2_handover, a_caller_that_falls_asleep_as_the_owner_leaves_has_its_deadline)
{
    raw_scene_connect();
    for (unsigned look = 1; look <= LOOKS_MAX; look++) {
        fall_asleep_before(look);
    }
}
