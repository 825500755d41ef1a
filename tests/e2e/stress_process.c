/* The life of a process around evener: each case runs in a child of its own, with calls in flight on eight threads. */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <evener/evener.h>

#include "tests/e2e/server_process.h"

#define CALLERS 8
#define CALLS 2000

static server_process server;
static evener_channel *channel;
static pthread_t callers[CALLERS];
static atomic_bool stopping;
static atomic_uint calls, failed;

static evener_status_code call_once(void)
{
    evener_status status;
    const evener_call_options options = {
        .size = sizeof options, .timeout_ms = 60000, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
    const evener_status_code code =
        evener_unary_call(channel, "/grpcdemo.GrpcDemo/DemoImport", NULL, &options, NULL, &status);
    if (code != EVENER_STATUS_OK && atomic_fetch_add(&failed, 1) == 0) {
        fprintf(stderr, "a call failed: %s\n", status.message);
    }
    atomic_fetch_add(&calls, 1);
    return code;
}

static void *call_without_pause(void *arg)
{
    while (!atomic_load(&stopping)) {
        (void)call_once();
    }
    return arg;
}

static void *call_and_end(void *arg)
{
    (void)call_once();
    return arg;
}

static void open_channel(void)
{
    char target[64];
    evener_status status;
    evener_credentials *insecure = NULL;
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u", server.port);
    assert(evener_credentials_create_insecure(&insecure, &status) == EVENER_STATUS_OK);
    const evener_channel_options options = {.size = sizeof options, .credentials = insecure};
    assert(evener_channel_create(target, &options, &channel, &status) == EVENER_STATUS_OK);
    evener_credentials_destroy(insecure);
}

static void let_pass(unsigned count)
{
    const unsigned until = atomic_load(&calls) + count;
    while (atomic_load(&calls) < until) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

static void start_callers(void)
{
    open_channel();
    for (int i = 0; i < CALLERS; i++) {
        assert(pthread_create(&callers[i], NULL, call_without_pause, NULL) == 0);
    }
    let_pass(100);
}

static void end_callers(void)
{
    atomic_store(&stopping, true);
    for (int i = 0; i < CALLERS; i++) {
        assert(pthread_join(callers[i], NULL) == 0);
    }
    evener_channel_unref(channel);
    assert(atomic_load(&failed) == 0);
}

/* ---- the cases ---- */

static void exits_with_calls_in_flight(void)
{
    start_callers();
    exit(0);
}

static void exits_quickly_with_calls_in_flight(void)
{
    start_callers();
    quick_exit(0);
}

static atomic_uint signals;

static void on_alarm(int signal)
{
    (void)signal;
    atomic_fetch_add(&signals, 1);
}

/* The handler is installed without SA_RESTART: system calls of any thread end with EINTR. */
static void a_storm_of_signals_fails_no_call(void)
{
    const struct sigaction action = {.sa_handler = on_alarm};
    const struct itimerval often = {.it_interval.tv_usec = 500, .it_value.tv_usec = 500};
    start_callers();
    assert(sigaction(SIGALRM, &action, NULL) == 0);
    assert(setitimer(ITIMER_REAL, &often, NULL) == 0);
    let_pass(CALLS);
    for (int i = 0; i < CALLS; i++) {
        (void)pthread_kill(callers[i % CALLERS], SIGALRM);
    }
    let_pass(CALLS);
    assert(atomic_load(&signals) > 0);
    end_callers();
}

/* More threads than there are lanes, which end while others call. */
static void threads_may_end_in_any_order(void)
{
    start_callers();
    for (int round = 0; round < 20; round++) {
        pthread_t ends[100];
        for (int i = 0; i < 100; i++) {
            assert(pthread_create(&ends[i], NULL, call_and_end, NULL) == 0);
        }
        for (int i = 0; i < 100; i++) {
            assert(pthread_join(ends[(i * 37) % 100], NULL) == 0);
        }
    }
    end_callers();
}

/* Root is exempt from the limit. */
static void a_refused_thread_is_an_error_that_passes(void)
{
    struct rlimit limit;
    evener_status status;
    evener_runtime *runtime = NULL;
    if (getuid() == 0 && setuid(65534) != 0) {
        fprintf(stderr, "skipped: %s\n", strerror(errno));
        _exit(0);
    }
    assert(getrlimit(RLIMIT_NPROC, &limit) == 0);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 0;
    assert(setrlimit(RLIMIT_NPROC, &limit) == 0);
    for (int i = 0; i < 100; i++) {
        const evener_status_code code = evener_runtime_create(NULL, &runtime, &status);
        assert(code == EVENER_STATUS_INTERNAL || code == EVENER_STATUS_RESOURCE_EXHAUSTED);
        assert(status.message[0] != '\0');
    }
    limit.rlim_cur = before;
    assert(setrlimit(RLIMIT_NPROC, &limit) == 0);
    assert(evener_runtime_create(NULL, &runtime, &status) == EVENER_STATUS_OK);
    evener_runtime_unref(runtime);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"exits with calls in flight", exits_with_calls_in_flight},
    {"exits quickly with calls in flight", exits_quickly_with_calls_in_flight},
    {"a storm of signals fails no call", a_storm_of_signals_fails_no_call},
    {"threads may end in any order", threads_may_end_in_any_order},
    {"a refused thread is an error that passes", a_refused_thread_is_an_error_that_passes},
};

int main(void)
{
    int worst = 0;
    assert(server_process_start(&server, 0));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = -1;
        fflush(NULL);
        const pid_t pid = fork(); /* nothing of evener's has been made here: the child begins anew */
        if (pid == 0) {
            cases[i].run();
            _exit(0);
        }
        assert(pid > 0 && waitpid(pid, &status, 0) == pid);
        printf("%s: %s\n", status == 0 ? "ok" : "FAILED", cases[i].name);
        worst = status != 0 ? 1 : worst;
    }
    server_process_end(&server);
    return worst;
}
