/* The life of a process around evener: each case runs in a child of its own, with calls in flight on eight threads. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
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
#include "tests/support/transport_choice.h"

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

static void open_channel(evener_channel **opened)
{
    char target[64];
    evener_status status;
    evener_credentials *insecure = NULL;
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u", server.port);
    assert(evener_credentials_create_insecure(&insecure, &status) == EVENER_STATUS_OK);
    const evener_channel_options options = {.size = sizeof options, .credentials = insecure};
    assert(evener_channel_create(target, &options, opened, &status) == EVENER_STATUS_OK);
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
    open_channel(&channel);
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

/* Every 100 us. The handler is installed without SA_RESTART: system calls of any thread end with EINTR. */
static void begin_storm(void)
{
    const struct sigaction action = {.sa_handler = on_alarm};
    const struct itimerval often = {.it_interval.tv_usec = 100, .it_value.tv_usec = 100};
    assert(sigaction(SIGALRM, &action, NULL) == 0);
    assert(setitimer(ITIMER_REAL, &often, NULL) == 0);
}

static void a_storm_of_signals_fails_no_call(void)
{
    start_callers();
    begin_storm();
    let_pass(CALLS);
    for (int i = 0; i < CALLS; i++) {
        (void)pthread_kill(callers[i % CALLERS], SIGALRM);
    }
    let_pass(CALLS);
    assert(atomic_load(&signals) > 0);
    end_callers();
}

/* What a life begins and ends with: threads, event loops, files that are watched, names, connections. */
static void a_storm_of_signals_fails_no_beginning_and_no_end(void)
{
    evener_status status;
    evener_credentials *insecure = NULL;
    char path[] = "/tmp/evener-storm-XXXXXX";
    char target[64];
    const int file = mkstemp(path);
    assert(file >= 0 && dprintf(file, "127.0.0.1:%u\n", server.port) > 0 && close(file) == 0);
    snprintf(target, sizeof target, "file:%s", path);
    assert(evener_credentials_create_insecure(&insecure, &status) == EVENER_STATUS_OK);
    begin_storm();
    for (int i = 0; i < 20; i++) {
        evener_runtime *runtime = NULL;
        assert(evener_runtime_create(NULL, &runtime, &status) == EVENER_STATUS_OK);
        const evener_channel_options options = {.size = sizeof options, .credentials = insecure, .runtime = runtime};
        assert(evener_channel_create(target, &options, &channel, &status) == EVENER_STATUS_OK);
        assert(evener_channel_wait_ready(channel, 60000, &status) == EVENER_STATUS_OK);
        assert(call_once() == EVENER_STATUS_OK);
        evener_channel_unref(channel);
        evener_runtime_unref(runtime);
    }
    evener_credentials_destroy(insecure);
    (void)unlink(path);
}

static void exit_here(void *arg)
{
    (void)arg;
    exit(0);
}

static void exits_on_a_thread_of_eveners(void)
{
    evener_status status;
    evener_runtime *runtime = NULL;
    start_callers();
    assert(evener_runtime_create(NULL, &runtime, &status) == EVENER_STATUS_OK);
    evener_runtime_call(runtime, exit_here, NULL);
}

static void *exit_on_thread(void *arg)
{
    exit_here(arg);
    return arg;
}

/* The main thread creates and gives back channels meanwhile. */
static void exits_while_channels_come_and_go(void)
{
    pthread_t ends;
    start_callers();
    assert(pthread_create(&ends, NULL, exit_on_thread, NULL) == 0);
    for (;;) {
        evener_channel *other = NULL;
        open_channel(&other);
        (void)evener_channel_wait_ready(other, 60000, NULL);
        evener_channel_unref(other);
    }
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

/* Refuse further threads, or permit them again. Root is exempt from the limit. */
static void permit_threads(bool permitted)
{
    struct rlimit limit;
    if (getuid() == 0 && setuid(65534) != 0) {
        fprintf(stderr, "skipped: %s\n", strerror(errno));
        _exit(0);
    }
    assert(getrlimit(RLIMIT_NPROC, &limit) == 0);
    limit.rlim_cur = permitted ? limit.rlim_max : 0;
    assert(setrlimit(RLIMIT_NPROC, &limit) == 0);
}

/* Not from /proc: after setuid() a process may not read its own. */
static unsigned count_descriptors(void)
{
    unsigned count = 0;
    for (int descriptor = 0; descriptor < 1024; descriptor++) {
        count += fcntl(descriptor, F_GETFD) != -1;
    }
    return count;
}

static void a_refused_thread_is_an_error_that_passes(void)
{
    evener_status status;
    evener_runtime *runtime = NULL;
    unsigned descriptors = 0; /* after the first attempt: libuv keeps a pipe for the life of the process */
    permit_threads(false);
    for (int i = 0; i < 100; i++) {
        const evener_status_code code = evener_runtime_create(NULL, &runtime, &status);
        assert(code == EVENER_STATUS_INTERNAL || code == EVENER_STATUS_RESOURCE_EXHAUSTED);
        assert(strstr(status.message, "thread") != NULL);
        descriptors = i == 0 ? count_descriptors() : descriptors;
    }
    assert(count_descriptors() == descriptors);
    permit_threads(true);
    assert(evener_runtime_create(NULL, &runtime, &status) == EVENER_STATUS_OK);
    evener_runtime_unref(runtime);
}

static atomic_bool waits_itself;

static void look_for_the_refused_thread(void *arg, evener_log_level level, const char *component, const char *message)
{
    (void)arg;
    (void)level;
    (void)component;
    if (strstr(message, "waits for grace periods") != NULL) {
        atomic_store(&waits_itself, true);
    }
}

/* The channel has its runtime; its transport gets no thread, nor does the wait for grace periods. */
static void a_transport_without_threads_connects_later(void)
{
    evener_status status;
    evener_runtime *runtime = NULL;
    evener_credentials *insecure = NULL;
    char target[64];
    const evener_call_options one_call = {.size = sizeof one_call, .timeout_ms = 60000};
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u", server.port);
    assert(evener_credentials_create_insecure(&insecure, &status) == EVENER_STATUS_OK);
    assert(evener_runtime_create(NULL, &runtime, &status) == EVENER_STATUS_OK);
    const evener_channel_options options = {.size = sizeof options,
                                            .credentials = insecure,
                                            .runtime = runtime,
                                            .transport_name = chosen_transport(),
                                            .io_threads = 1, /* keeps its descriptors for the next attempt */
                                            .backoff_initial_ms = 10,
                                            .backoff_max_ms = 20};
    unsigned descriptors = 0;
    evener_log_set_sink(look_for_the_refused_thread, NULL, EVENER_LOG_WARNING);
    permit_threads(false);
    evener_status_code code = EVENER_STATUS_OK;
    /* Over the core no channel can be made. */
    for (int i = 0; i < 10 || (code == EVENER_STATUS_OK && !atomic_load(&waits_itself)); i++) {
        code = evener_channel_create(target, &options, &channel, &status);
        if (code == EVENER_STATUS_OK) {
            assert(evener_unary_call(channel, "/grpcdemo.GrpcDemo/DemoImport", NULL, &one_call, NULL, &status) !=
                   EVENER_STATUS_OK);
            evener_channel_unref(channel);
        }
        assert(strstr(status.message, "thread") != NULL);
        descriptors = i == 0 ? count_descriptors() : descriptors;
    }
    assert(count_descriptors() == descriptors);
    if (evener_channel_create(target, &options, &channel, &status) != EVENER_STATUS_OK) {
        channel = NULL;
    }
    permit_threads(true);
    if (channel == NULL) {
        assert(evener_channel_create(target, &options, &channel, &status) == EVENER_STATUS_OK);
    }
    assert(call_once() == EVENER_STATUS_OK);
    evener_channel_unref(channel);
    evener_runtime_unref(runtime);
    evener_credentials_destroy(insecure);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"exits with calls in flight", exits_with_calls_in_flight},
    {"exits quickly with calls in flight", exits_quickly_with_calls_in_flight},
    {"exits on a thread of evener's", exits_on_a_thread_of_eveners},
    {"exits while channels come and go", exits_while_channels_come_and_go},
    {"a storm of signals fails no call", a_storm_of_signals_fails_no_call},
    {"a storm of signals fails no beginning and no end", a_storm_of_signals_fails_no_beginning_and_no_end},
    {"threads may end in any order", threads_may_end_in_any_order},
    {"a refused thread is an error that passes", a_refused_thread_is_an_error_that_passes},
    {"a transport without threads connects later", a_transport_without_threads_connects_later},
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
