/* pthread_cancel() of threads that block in evener: the function returns as if nothing had happened, and the thread ends
 * at its next cancellation point. Nothing is left behind. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include <evener/evener.h>

#include "tests/e2e/server_process.h"

#define METHOD "/grpcdemo.GrpcDemo/DemoImport"
#define STREAM_METHOD "/grpcdemo.GrpcDemo/Exchange"

typedef struct scene {
    server_process server;
    evener_channel *channel, *unresolved;
    evener_stream *stream;
    atomic_uint_fast32_t inside, returned;
    atomic_int code;
} scene;

static evener_channel *open_channel(const char *target)
{
    evener_status status;
    evener_credentials *insecure = NULL;
    evener_channel *channel = NULL;
    cr_assert_eq(evener_credentials_create_insecure(&insecure, &status), EVENER_STATUS_OK);
    const evener_channel_options options = {.size = sizeof options, .credentials = insecure};
    cr_assert_eq(evener_channel_create(target, &options, &channel, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_credentials_destroy(insecure);
    return channel;
}

/* Wait for the cancellation, which may come late. */
static void end_when_cancelled(void)
{
#ifdef __SANITIZE_ADDRESS__
    /* gcc 12's AddressSanitizer does not unpoison the stack that a cancelled thread leaves: its destructors, which run on
     * the same stack, would then be reported. */
    __asan_handle_no_return();
#endif
    for (;;) {
        pause();
    }
}

static void *block_in_a_call(void *arg)
{
    scene *s = arg;
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 300};
    atomic_fetch_add(&s->inside, 1);
    atomic_store(&s->code, (int)evener_unary_call(s->channel, METHOD, NULL, &options, NULL, NULL));
    atomic_fetch_add(&s->returned, 1);
    end_when_cancelled();
    return NULL;
}

static void *block_in_a_pick(void *arg)
{
    scene *s = arg;
    evener_pick pick;
    const evener_pick_args args = {.size = sizeof args, .timeout_ms = 300, .wait_for_ready = true};
    atomic_fetch_add(&s->inside, 1);
    atomic_store(&s->code, (int)evener_channel_pick(s->unresolved, &args, &pick, NULL));
    atomic_fetch_add(&s->returned, 1);
    end_when_cancelled();
    return NULL;
}

static void *block_in_waiting(void *arg)
{
    scene *s = arg;
    atomic_fetch_add(&s->inside, 1);
    atomic_store(&s->code, (int)evener_channel_wait_ready(s->unresolved, 300, NULL));
    atomic_fetch_add(&s->returned, 1);
    end_when_cancelled();
    return NULL;
}

static void *block_in_a_read(void *arg)
{
    scene *s = arg;
    evener_bytes message = {0};
    atomic_fetch_add(&s->inside, 1);
    atomic_store(&s->code,
                 evener_stream_read(s->stream, &message) ? EVENER_STATUS_OK : EVENER_STATUS_DEADLINE_EXCEEDED);
    atomic_fetch_add(&s->returned, 1);
    end_when_cancelled();
    return NULL;
}

static void cancel_one(scene *s, const char *what, void *(*block)(void *))
{
    pthread_t thread;
    void *result = NULL;
    atomic_store(&s->inside, 0);
    atomic_store(&s->returned, 0);
    cr_assert_eq(pthread_create(&thread, NULL, block, s), 0);
    while (atomic_load(&s->inside) == 0) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    cr_assert_eq(pthread_cancel(thread), 0);
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_assert_eq(result, PTHREAD_CANCELED);
    cr_assert_eq(atomic_load(&s->returned), 1, "the function returns before the thread ends");
    const evener_status_code code = (evener_status_code)atomic_load(&s->code);
    cr_assert_eq(code, EVENER_STATUS_DEADLINE_EXCEEDED, "%s: %s", what, evener_status_code_name(code));
}

static void *create_and_end(void *arg)
{
    scene *s = arg;
    (void)pthread_cancel(pthread_self()); /* acts at the next cancellation point */
    s->channel = open_channel("ipv4:127.0.0.1:1");
    atomic_fetch_add(&s->returned, 1);
    end_when_cancelled();
    return NULL;
}

/* The first one: it looks whether the core will get its threads. */
Test(cancel, a_channel_is_created_before_its_thread_ends)
{
    scene s = {0};
    pthread_t thread;
    void *result = NULL;
    cr_assert_eq(pthread_create(&thread, NULL, create_and_end, &s), 0);
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_expect_eq(result, PTHREAD_CANCELED);
    cr_assert_eq(atomic_load(&s.returned), 1);
    evener_channel_unref(s.channel);
}

Test(cancel, blocked_functions_return_before_their_thread_ends)
{
    scene s = {0};
    evener_status status;
    char target[64];
    const evener_call_options call = {.size = sizeof call, .timeout_ms = 60000};
    const evener_call_options short_stream = {.size = sizeof short_stream, .timeout_ms = 1000};
    cr_assert(server_process_start(&s.server, 0));
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u", s.server.port);
    s.channel = open_channel(target);
    s.unresolved = open_channel("ipv4:127.0.0.1:1"); /* nobody listens there */
    cr_assert_eq(evener_channel_wait_ready(s.channel, 60000, &status), EVENER_STATUS_OK, "%s", status.message);
    server_process_signal(&s.server, SIGSTOP);
    int stopped = 0; /* the signal may take effect later */
    cr_assert(waitpid(s.server.pid, &stopped, WUNTRACED) == s.server.pid && WIFSTOPPED(stopped));
    cancel_one(&s, "call", block_in_a_call);
    cancel_one(&s, "pick", block_in_a_pick);
    cancel_one(&s, "wait", block_in_waiting);
    cr_assert_eq(evener_stream_open(s.channel, STREAM_METHOD, NULL, &short_stream, &s.stream, &status),
                 EVENER_STATUS_OK);
    cancel_one(&s, "read", block_in_a_read);
    evener_stream_cancel(s.stream);
    evener_stream_unref(s.stream);
    server_process_signal(&s.server, SIGCONT);
    cr_assert_eq(evener_unary_call(s.channel, METHOD, NULL, &call, NULL, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    evener_channel_unref(s.channel);
    evener_channel_unref(s.unresolved);
    server_process_end(&s.server);
}
