/* A process forks while sixteen threads call. The parent notices nothing; in the child what was made before answers at
 * once, and a new runtime and channel work. The servers are processes of their own, so that the core is in use only
 * where the transport under test uses it. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <evener/evener.h>

#include "lb/runtime/rcu.h"
#include "tests/e2e/server_process.h"
#include "tests/support/transport_choice.h"

#define CALLERS 16
#define FORKS 100
#define METHOD "/grpcdemo.GrpcDemo/DemoImport"
#define STREAM_METHOD "/grpcdemo.GrpcDemo/Exchange"

typedef struct scene {
    server_process server;
    char target[64];
    evener_runtime *runtime;
    evener_manual_resolver *manual;
    evener_channel *channel, *manual_channel;
    evener_stream *stream; /* open, with a read that waits in no thread */
    evener_pick pick;      /* not ended before the forks */
    pthread_t callers[CALLERS];
    atomic_bool stop;
    atomic_uint_fast64_t calls, failed;
    evener_status failure; /* the first */
} scene;

static evener_status_code open_channel(const char *target, const char *transport, evener_runtime *runtime,
                                       const evener_resolver_builder *resolver, evener_channel **channel,
                                       evener_status *status)
{
    evener_credentials *insecure = NULL;
    evener_status_code code = evener_credentials_create_insecure(&insecure, status);
    const evener_channel_options options = {.size = sizeof options,
                                            .credentials = insecure,
                                            .transport_name = transport,
                                            .runtime = runtime,
                                            .resolvers = &resolver,
                                            .resolver_count = resolver != NULL ? 1 : 0};
    if (code == EVENER_STATUS_OK) {
        code = evener_channel_create(target, &options, channel, status);
    }
    evener_credentials_destroy(insecure);
    return code;
}

static evener_status_code call_once(evener_channel *channel, evener_status *status)
{
    const evener_call_options options = {
        .size = sizeof options, .timeout_ms = 60000, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
    return evener_unary_call(channel, METHOD, NULL, &options, NULL, status);
}

static void *call_without_pause(void *arg)
{
    scene *s = arg;
    while (!atomic_load(&s->stop)) {
        evener_status status;
        if (call_once(s->channel, &status) != EVENER_STATUS_OK && atomic_fetch_add(&s->failed, 1) == 0) {
            s->failure = status;
        }
        atomic_fetch_add(&s->calls, 1);
    }
    return NULL;
}

static void let_pass(scene *s, uint64_t more)
{
    const uint64_t wanted = atomic_load(&s->calls) + more;
    for (int tries = 0; tries < 60000 && atomic_load(&s->calls) < wanted; tries++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    cr_assert_geq(atomic_load(&s->calls), wanted, "calls go on");
}

static void open_channels(scene *s)
{
    evener_status status;
    snprintf(s->target, sizeof s->target, "ipv4:127.0.0.1:%u", s->server.port);
    cr_assert_eq(evener_runtime_create(NULL, &s->runtime, &status), EVENER_STATUS_OK);
    cr_assert_eq(open_channel(s->target, NULL, s->runtime, NULL, &s->channel, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    cr_assert_eq(evener_manual_resolver_create("manual", &s->manual, &status), EVENER_STATUS_OK);
    cr_assert_eq(open_channel("manual:x", NULL, s->runtime, evener_manual_resolver_builder(s->manual),
                              &s->manual_channel, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_channel_wait_ready(s->channel, 60000, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_stream_open(s->channel, STREAM_METHOD, NULL, NULL, &s->stream, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    cr_assert_eq(evener_channel_pick(s->channel, NULL, &s->pick, &status), EVENER_STATUS_OK);
}

static void open_scene(scene *s)
{
    cr_assert(server_process_start(&s->server, 0));
    open_channels(s);
}

static void start_callers(scene *s)
{
    for (int i = 0; i < CALLERS; i++) {
        cr_assert_eq(pthread_create(&s->callers[i], NULL, call_without_pause, s), 0);
    }
    let_pass(s, 100);
}

static void stop_callers(scene *s)
{
    atomic_store(&s->stop, true);
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(s->callers[i], NULL);
    }
}

static void close_scene(scene *s)
{
    evener_pick_done(&s->pick, NULL);
    evener_stream_cancel(s->stream);
    evener_stream_unref(s->stream);
    evener_channel_unref(s->channel);
    evener_channel_unref(s->manual_channel);
    evener_manual_resolver_destroy(s->manual);
    evener_runtime_unref(s->runtime);
    server_process_end(&s->server);
}

/* ---- the child: its exit status is the line of the first check that does not hold, as far as 8 bits go ---- */

static void check_at(bool holds, int line, const char *what)
{
    if (!holds) {
        char text[256];
        const int bytes = snprintf(text, sizeof text, "test_fork.c:%d: in the child: %s\n", line, what);
        (void)!write(STDERR_FILENO, text, (size_t)bytes);
        _exit(1);
    }
}

#define CHECK(condition) check_at(condition, __LINE__, #condition)

/* Longest time of an answer, in microseconds. For people; nothing asserts it. */
static uint64_t longest_us;

static uint64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static bool refuses(evener_status_code code, const evener_status *status)
{
    return code == EVENER_STATUS_FAILED_PRECONDITION && strstr(status->message, "made before fork()") != NULL;
}

#define ANSWERS(expression)                                                                                            \
    do {                                                                                                               \
        const uint64_t before_us = now_us();                                                                           \
        CHECK(expression);                                                                                             \
        const uint64_t took_us = now_us() - before_us;                                                                 \
        longest_us = took_us > longest_us ? took_us : longest_us;                                                      \
    } while (0)

static void use_calls_of_parent(scene *s)
{
    evener_status status;
    evener_pick pick;
    evener_call *call = NULL;
    evener_stream *stream = NULL;
    evener_pick_request request = {.size = sizeof request, .pick = &pick};
    ANSWERS(refuses(call_once(s->channel, &status), &status));
    ANSWERS(evener_channel_try_pick(s->channel, NULL, &pick, &status) == EVENER_PICK_DROP &&
            refuses(status.code, &status));
    ANSWERS(refuses(evener_channel_pick(s->channel, NULL, &pick, &status), &status));
    ANSWERS(evener_channel_pick_async(s->channel, NULL, &request, &status) == EVENER_PICK_DROP &&
            refuses(status.code, &status));
    ANSWERS(refuses(evener_stream_open(s->channel, STREAM_METHOD, NULL, NULL, &stream, &status), &status));
    ANSWERS(refuses(
        evener_call_start(s->channel, METHOD, NULL, NULL, (evener_call_callback)abort, NULL, &call, &status), &status));
}

static void use_stream_of_parent(scene *s)
{
    evener_status status;
    evener_bytes message = {0};
    const evener_metadata *metadata;
    size_t count;
    ANSWERS(!evener_stream_headers(s->stream, &metadata, &count));
    ANSWERS(!evener_stream_read(s->stream, &message));
    ANSWERS(!evener_stream_write(s->stream, &message));
    ANSWERS(!evener_stream_writes_done(s->stream));
    ANSWERS((evener_stream_cancel(s->stream), true));
    ANSWERS(refuses(evener_stream_finish(s->stream, &status), &status));
    ANSWERS((evener_stream_unref(s->stream), true));
}

static void use_channels_of_parent(scene *s)
{
    evener_status status;
    evener_channel *channel;
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    ANSWERS(refuses(evener_channel_get_stats(s->channel, &stats, &status), &status));
    ANSWERS(refuses(evener_channel_wait_ready(s->channel, 60000, &status), &status));
    ANSWERS(refuses(evener_channel_set_default_service_config(s->channel, "{}", &status), &status));
    ANSWERS(evener_channel_state(s->channel, true) == EVENER_SHUTDOWN);
    ANSWERS(evener_channel_wait_for_state_change(s->channel, EVENER_SHUTDOWN, 60000) == EVENER_SHUTDOWN);
    ANSWERS((evener_channel_connect(s->channel), true));
    ANSWERS((evener_channel_close(s->channel), refuses(call_once(s->channel, &status), &status)));
    ANSWERS(refuses(evener_manual_resolver_set(s->manual, "127.0.0.1:1", NULL, &status), &status));
    ANSWERS(refuses(open_channel(s->target, "http2", s->runtime, NULL, &channel, &status), &status));
    ANSWERS((evener_pick_done(&s->pick, NULL), true));
    ANSWERS((evener_channel_unref(s->channel), true));
    ANSWERS((evener_channel_unref(s->manual_channel), true));
    ANSWERS((evener_manual_resolver_destroy(s->manual), true));
    ANSWERS((evener_runtime_unref(s->runtime), true));
}

static void use_new_channel(const scene *s, const char *transport)
{
    evener_status status;
    evener_channel *channel = NULL;
    CHECK(open_channel(s->target, transport, NULL, NULL, &channel, &status) == EVENER_STATUS_OK);
    CHECK(call_once(channel, &status) == EVENER_STATUS_OK);
    evener_channel_unref(channel);
}

static void the_core_refuses(const scene *s)
{
    evener_status status;
    evener_channel *channel = NULL;
    CHECK(open_channel(s->target, "grpc", NULL, NULL, &channel, &status) == EVENER_STATUS_FAILED_PRECONDITION);
    CHECK(strstr(status.message, "http2") != NULL);
}

/* Run `child` in a child; return the longest time of an answer there, in microseconds. */
static uint64_t fork_once(scene *s, void (*child)(scene *s))
{
    int results[2];
    uint64_t us = 0;
    int status;
    cr_assert_eq(pipe(results), 0);
    const pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        alarm(120); /* hangs are failures, not timeouts of the suite */
        child(s);
        _exit(write(results[1], &longest_us, sizeof longest_us) == sizeof longest_us ? 0 : 1);
    }
    close(results[1]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status), "the child ended by signal %d", WTERMSIG(status));
    cr_assert_eq(WEXITSTATUS(status), 0, "the child fails: see its message");
    cr_assert_eq(read(results[0], &us, sizeof us), sizeof us);
    close(results[0]);
    return us;
}

static void whole_life(scene *s)
{
    use_calls_of_parent(s);
    use_stream_of_parent(s);
    use_channels_of_parent(s);
    use_new_channel(s, "http2");
}

Test(fork, sixteen_callers_lose_no_call_over_a_hundred_forks_and_each_child_makes_its_own)
{
    scene s = {0};
    uint64_t longest = 0;
    open_scene(&s);
    start_callers(&s);
    for (int i = 0; i < FORKS; i++) {
        const uint64_t us = fork_once(&s, whole_life);
        longest = us > longest ? us : longest;
        let_pass(&s, 1);
    }
    stop_callers(&s);
    cr_assert_eq(atomic_load(&s.failed), 0, "%llu of %llu calls failed: %s", (unsigned long long)atomic_load(&s.failed),
                 (unsigned long long)atomic_load(&s.calls), s.failure.message);
    cr_log_info("%llu calls; longest answer of an old handle: %llu us", (unsigned long long)atomic_load(&s.calls),
                (unsigned long long)longest);
    close_scene(&s);
}

static atomic_bool is_over;

static void *have_grace_periods(void *arg)
{
    while (!atomic_load(&is_over)) {
        evener_rcu_synchronize();
    }
    return arg;
}

static void have_one(scene *s)
{
    (void)s;
    evener_rcu_synchronize();
}

/* liburcu's lock is taken nearly all the time. This program is linked with the static library. */
Test(fork, grace_periods_of_the_parent_do_not_hold_up_the_child)
{
    scene s = {0};
    pthread_t thread;
    open_scene(&s);
    cr_assert_eq(pthread_create(&thread, NULL, have_grace_periods, NULL), 0);
    for (int i = 0; i < FORKS; i++) {
        (void)fork_once(&s, have_one);
    }
    atomic_store(&is_over, true);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    close_scene(&s);
}

static uint64_t count_sockets(void)
{
    uint64_t sockets = 0;
    for (int descriptor = 0; descriptor < 1024; descriptor++) {
        char path[64];
        char what[64] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
        sockets += readlink(path, what, sizeof what - 1) > 0 && strncmp(what, "socket:", 7) == 0;
    }
    return sockets;
}

static void look_at_sockets(scene *s)
{
    (void)s;
    longest_us = count_sockets();
}

Test(fork, a_child_holds_no_socket_of_the_parents_http2_connections)
{
    scene s = {0};
    uint64_t without = 0;
    if (on_core()) {
        return; /* the core's sockets are its own */
    }
    cr_assert(server_process_start(&s.server, 0));
    without = fork_once(&s, look_at_sockets);
    open_channels(&s);
    const uint64_t with = fork_once(&s, look_at_sockets);
    close_scene(&s);
    cr_assert_eq(with, without, "%llu sockets instead of %llu", (unsigned long long)with, (unsigned long long)without);
}

/* ---- channels that share connections ---- */

#define SHARERS 4

static evener_channel *sharers[SHARERS];

static void life_beside_sharers(scene *s)
{
    evener_status status;
    evener_channel *own[SHARERS] = {NULL};
    for (int i = 0; i < SHARERS; i++) {
        ANSWERS(refuses(call_once(sharers[i], &status), &status));
        ANSWERS(evener_channel_state(sharers[i], true) == EVENER_SHUTDOWN);
    }
    const uint64_t sockets = count_sockets();
    for (int i = 0; i < SHARERS; i++) { /* while the old handles are still open */
        CHECK(open_channel(s->target, "http2", NULL, NULL, &own[i], &status) == EVENER_STATUS_OK);
        CHECK(call_once(own[i], &status) == EVENER_STATUS_OK);
    }
    CHECK(count_sockets() == sockets + 1);
    for (int i = 0; i < SHARERS; i++) {
        ANSWERS((evener_channel_unref(sharers[i]), true));
        CHECK(call_once(own[i], &status) == EVENER_STATUS_OK);
    }
    for (int i = 0; i < SHARERS; i++) {
        evener_channel_unref(own[i]);
        for (int other = i + 1; other < SHARERS; other++) {
            CHECK(call_once(own[other], &status) == EVENER_STATUS_OK);
        }
    }
}

Test(fork, channels_that_share_connections_go_on_and_a_child_shares_its_own)
{
    scene s = {0};
    evener_status status;
    open_scene(&s);
    for (int i = 0; i < SHARERS; i++) {
        cr_assert_eq(open_channel(s.target, NULL, s.runtime, NULL, &sharers[i], &status), EVENER_STATUS_OK);
        cr_assert_eq(call_once(sharers[i], &status), EVENER_STATUS_OK, "%s", status.message);
    }
    start_callers(&s);
    for (int i = 0; i < 10; i++) {
        (void)fork_once(&s, life_beside_sharers);
        for (int sharer = 0; sharer < SHARERS; sharer++) {
            cr_expect_eq(call_once(sharers[sharer], &status), EVENER_STATUS_OK, "%s", status.message);
        }
    }
    stop_callers(&s);
    for (int i = 0; i < SHARERS; i++) { /* the last one keeps the connection */
        evener_channel_unref(sharers[i]);
        cr_expect_eq(call_once(s.channel, &status), EVENER_STATUS_OK, "%s", status.message);
    }
    cr_assert_eq(atomic_load(&s.failed), 0, "%llu of %llu calls failed: %s", (unsigned long long)atomic_load(&s.failed),
                 (unsigned long long)atomic_load(&s.calls), s.failure.message);
    close_scene(&s);
}

static void core_of_parent(scene *s)
{
    the_core_refuses(s);
    use_new_channel(s, "http2");
}

static void core_of_child(scene *s)
{
    use_new_channel(s, "grpc");
}

Test(fork, the_core_works_in_a_child_exactly_if_the_parent_did_not_use_it)
{
    scene s = {0};
    open_scene(&s);
    (void)fork_once(&s, on_core() ? core_of_parent : core_of_child);
    close_scene(&s);
}

static void grandchild(scene *s)
{
    evener_status status;
    evener_channel *channel = NULL;
    CHECK(open_channel(s->target, "http2", NULL, NULL, &channel, &status) == EVENER_STATUS_OK);
    CHECK(call_once(channel, &status) == EVENER_STATUS_OK);
    const pid_t pid = fork();
    if (pid == 0) {
        CHECK(refuses(call_once(channel, &status), &status));
        use_new_channel(s, "http2");
        _exit(0);
    }
    int code = 1;
    CHECK(waitpid(pid, &code, 0) == pid && code == 0);
    CHECK(call_once(channel, &status) == EVENER_STATUS_OK);
    evener_channel_unref(channel);
}

Test(fork, a_child_of_a_child_likewise)
{
    scene s = {0};
    open_scene(&s);
    (void)fork_once(&s, grandchild);
    close_scene(&s);
}

/* ---- evener_prefork() ---- */

static void set_flag(void *flag)
{
    atomic_store((atomic_bool *)flag, true);
}

static void wait_for_flag(atomic_bool *flag)
{
    for (int tries = 0; tries < 60000 && !atomic_load(flag); tries++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    cr_assert(atomic_load(flag));
}

static void end_what_is_open(scene *s)
{
    evener_pick_done(&s->pick, NULL);
    evener_stream_cancel(s->stream);
}

static void life_after_rest(scene *s)
{
    evener_status status;
    evener_postfork_child();
    ANSWERS(refuses(call_once(s->channel, &status), &status));
    use_new_channel(s, "http2");
    CHECK(evener_prefork(60000, &status) == EVENER_STATUS_OK); /* the child begins without the parent's rest */
    evener_postfork_parent();
    use_new_channel(s, "http2");
}

Test(fork, at_rest_picks_wait_control_threads_stand_and_no_call_is_lost)
{
    scene s = {0};
    evener_status status;
    evener_pick pick;
    atomic_bool ran;
    evener_task task = EVENER_TASK_INIT(set_flag, &ran);
    open_scene(&s);
    end_what_is_open(&s);
    start_callers(&s);
    for (int i = 0; i < FORKS / 4; i++) {
        atomic_store(&ran, false);
        cr_assert_eq(evener_prefork(60000, &status), EVENER_STATUS_OK, "%s", status.message);
        cr_assert_eq(evener_channel_try_pick(s.channel, NULL, &pick, &status), EVENER_PICK_QUEUE);
        evener_loop_post(evener_runtime_loop(s.runtime), &task);
        (void)fork_once(&s, life_after_rest);
        cr_assert_not(atomic_load(&ran), "a task ran on the control thread at rest");
        cr_assert_eq(evener_channel_try_pick(s.channel, NULL, &pick, &status), EVENER_PICK_QUEUE);
        evener_postfork_parent();
        wait_for_flag(&ran);
        let_pass(&s, 16);
    }
    stop_callers(&s);
    cr_assert_eq(atomic_load(&s.failed), 0, "%s", s.failure.message);
    s.pick = (evener_pick){0};
    cr_assert_eq(evener_channel_pick(s.channel, NULL, &s.pick, &status), EVENER_STATUS_OK);
    close_scene(&s);
}

Test(fork, rest_that_does_not_come_in_time_changes_nothing)
{
    scene s = {0};
    evener_status status;
    evener_pick pick;
    open_scene(&s);
    for (int i = 0; i < 2; i++) {
        /* Long enough for the channel without calls to come to rest on a busy machine. */
        cr_assert_eq(evener_prefork(2000, &status), EVENER_STATUS_DEADLINE_EXCEEDED);
        cr_assert_str_eq(status.message, "prefork: 1 channels still have calls in flight after 2000 ms");
        cr_assert_eq(call_once(s.channel, &status), EVENER_STATUS_OK, "%s", status.message);
    }
    end_what_is_open(&s);
    cr_assert_eq(evener_prefork(60000, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_prefork(60000, &status), EVENER_STATUS_FAILED_PRECONDITION);
    cr_assert_eq(evener_channel_try_pick(s.channel, NULL, &pick, &status), EVENER_PICK_QUEUE);
    evener_postfork_parent();
    evener_postfork_parent();
    cr_assert_eq(evener_channel_pick(s.channel, NULL, &s.pick, &status), EVENER_STATUS_OK);
    close_scene(&s);
}

static void rest_on_control_thread(void *code)
{
    evener_status status;
    *(evener_status_code *)code = evener_prefork(0, &status);
}

Test(fork, rest_is_refused_on_a_thread_of_eveners)
{
    scene s = {0};
    evener_status status;
    evener_status_code code = EVENER_STATUS_OK;
    cr_assert_eq(evener_runtime_create(NULL, &s.runtime, &status), EVENER_STATUS_OK);
    evener_runtime_call(s.runtime, rest_on_control_thread, &code);
    evener_runtime_unref(s.runtime);
    cr_assert_eq(code, EVENER_STATUS_FAILED_PRECONDITION);
    cr_assert_eq(evener_prefork(0, &status), EVENER_STATUS_OK, "nothing to wait for");
    evener_postfork_parent();
}
