/* Asynchronous unary calls over the whole library, to real servers in this process. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "grpc/call_fixture.h"
#include "grpc/transport_fixture.h"
#include "tests/support/transport_choice.h"

/* What a callback has received. */
typedef struct outcome {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned count;
    unsigned ok;
    evener_status status;
    evener_bytes response;
    pthread_t thread;
} outcome;

static void outcome_init(outcome *t)
{
    *t = (outcome){.count = 0};
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->changed, NULL);
}

static void on_done(void *arg, const evener_status *status, evener_bytes *response)
{
    outcome *t = arg;
    pthread_mutex_lock(&t->mutex);
    t->count++;
    t->ok += status->code == EVENER_STATUS_OK;
    t->status = *status;
    evener_bytes_clear(&t->response);
    t->response = *response;
    response->owner = NULL; /* kept */
    t->thread = pthread_self();
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->mutex);
}

static bool outcome_wait(outcome *t, unsigned count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&t->mutex);
    int error = 0;
    while (t->count < count && error == 0) {
        error = pthread_cond_timedwait(&t->changed, &t->mutex, &until);
    }
    bool reached = t->count >= count;
    pthread_mutex_unlock(&t->mutex);
    return reached;
}

static void outcome_clear(outcome *t)
{
    evener_bytes_clear(&t->response);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->mutex);
}

static void pause_ms(long ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

Test(async, many_calls)
{
    enum { CALLS = 500 };
    call_fixture f;
    call_fixture_open(&f, 2, NULL);
    outcome t;
    outcome_init(&t);
    const evener_bytes request = bytes_of("hello");
    for (int i = 0; i < CALLS; i++) {
        cr_assert_eq(evener_call_start(f.channel, ECHO_UNARY, &request, NULL, on_done, &t, NULL, NULL),
                     EVENER_STATUS_OK);
    }
    cr_expect(outcome_wait(&t, CALLS));
    cr_expect_eq(t.ok, CALLS);
    cr_expect(bytes_equal(&t.response, "hello"), "a response that was kept outlives its callback");
    cr_expect_not(pthread_equal(t.thread, pthread_self()));
    outcome_clear(&t);
    call_fixture_close(&f);
    cr_expect_eq(named_threads_left(), 0);
}

Test(async, metadata_and_details)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    outcome t;
    outcome_init(&t);
    evener_call_details details = {.size = sizeof details};
    {
        /* All of the options is the caller's again when start has returned. */
        char key[] = "echo-name";
        char value[] = "a value that does not fit into a slice of the core's own";
        const evener_metadata metadata[] = {{key, value, strlen(value)}};
        const evener_call_options options = {
            .size = sizeof options, .metadata = metadata, .metadata_count = 1, .details = &details};
        cr_assert_eq(evener_call_start(f.channel, ECHO_UNARY, NULL, &options, on_done, &t, NULL, NULL),
                     EVENER_STATUS_OK);
        memset(key, 'x', sizeof key - 1);
        memset(value, 'x', sizeof value - 1);
    }
    cr_assert(outcome_wait(&t, 1));
    const evener_metadata *name =
        evener_metadata_find(details.trailing_metadata, details.trailing_metadata_count, "echo-name");
    cr_assert_not_null(name);
    cr_expect_str_eq(name->value, "a value that does not fit into a slice of the core's own");
    cr_expect(strncmp(details.peer, "ipv4:127.0.0.1:", 15) == 0, "%s", details.peer);
    evener_call_details_clear(&details);
    outcome_clear(&t);
    call_fixture_close(&f);
}

Test(async, cancelled_on_the_wire)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    demo_server_set_delay_ms(f.servers[0], DEMO_SERVER_NEVER_MS);
    outcome t;
    outcome_init(&t);
    evener_call *call;
    evener_call_details details = {.size = sizeof details};
    const evener_call_options options = {.size = sizeof options, .details = &details};
    cr_assert_eq(evener_call_start(f.channel, ECHO_UNARY, NULL, &options, on_done, &t, &call, NULL), EVENER_STATUS_OK);
    for (int i = 0; i < 5000 && demo_server_calls_in_flight(f.servers[0]) == 0; i++) {
        pause_ms(1);
    }
    evener_call_cancel(call);
    evener_call_cancel(call);
    cr_expect(outcome_wait(&t, 1));
    cr_expect_eq(t.status.code, EVENER_STATUS_CANCELLED);
    char peer[64];
    snprintf(peer, sizeof peer, "ipv4:%s", address_of_port(demo_server_port(f.servers[0])));
    cr_expect_str_eq(details.peer, peer, "the backend picked");
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof(evener_subchannel_stats)};
    cr_assert_eq(evener_channel_get_stats(f.channel, &stats, NULL), EVENER_STATUS_OK);
    cr_expect_eq(stats.subchannels[0].failed, 1);
    evener_channel_stats_clear(&stats);
    evener_call_details_clear(&details);
    evener_call_cancel(call); /* after the end: nothing */
    evener_call_unref(call);
    outcome_clear(&t);
    call_fixture_close(&f);
}

Test(async, cancelled_while_it_waits_for_a_backend)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    char target[64];
    snprintf(target, sizeof target, "ipv4:%s", address_of_port(free_port()));
    evener_channel *channel = call_fixture_channel(&f, target);
    outcome t;
    outcome_init(&t);
    const evener_call_options waits = {.size = sizeof waits, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
    evener_call *call;
    cr_assert_eq(evener_call_start(channel, ECHO_UNARY, NULL, &waits, on_done, &t, &call, NULL), EVENER_STATUS_OK);
    evener_call_cancel(call);
    cr_expect(outcome_wait(&t, 1));
    cr_expect_eq(t.status.code, EVENER_STATUS_CANCELLED);
    evener_call_unref(call);
    evener_channel_unref(channel);
    outcome_clear(&t);
    call_fixture_close(&f);
}

Test(async, deadline_waiting_and_on_the_wire)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    demo_server_set_delay_ms(f.servers[0], DEMO_SERVER_NEVER_MS);
    outcome t;
    outcome_init(&t);
    const evener_call_options options = {
        .size = sizeof options, .timeout_ms = 50, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
    cr_assert_eq(evener_call_start(f.channel, ECHO_UNARY, NULL, &options, on_done, &t, NULL, NULL), EVENER_STATUS_OK);
    cr_expect(outcome_wait(&t, 1));
    cr_expect_eq(t.status.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    char target[64];
    snprintf(target, sizeof target, "ipv4:%s", address_of_port(free_port()));
    evener_channel *channel = call_fixture_channel(&f, target);
    cr_assert_eq(evener_call_start(channel, ECHO_UNARY, NULL, &options, on_done, &t, NULL, NULL), EVENER_STATUS_OK);
    cr_expect(outcome_wait(&t, 2));
    cr_expect_eq(t.status.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    evener_channel_unref(channel);
    outcome_clear(&t);
    call_fixture_close(&f);
}

Test(async, closed_channel_ends_waiting_calls_and_refuses_new_ones)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    char target[64];
    snprintf(target, sizeof target, "ipv4:%s", address_of_port(free_port()));
    evener_channel *channel = call_fixture_channel(&f, target);
    outcome t;
    outcome_init(&t);
    const evener_call_options waits = {.size = sizeof waits, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
    cr_assert_eq(evener_call_start(channel, ECHO_UNARY, NULL, &waits, on_done, &t, NULL, NULL), EVENER_STATUS_OK);
    evener_channel_close(channel);
    cr_expect(outcome_wait(&t, 1));
    cr_expect_eq(t.status.code, EVENER_STATUS_UNAVAILABLE);
    evener_status status;
    cr_expect_eq(evener_call_start(channel, ECHO_UNARY, NULL, &waits, on_done, &t, NULL, &status),
                 EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(t.count, 1);
    evener_channel_unref(channel);
    outcome_clear(&t);
    call_fixture_close(&f);
}

/* The callback may give back what it likes: here the last references to channel and runtime. */
typedef struct last_owner {
    call_fixture *fixture;
    outcome outcome;
} last_owner;

static void give_all_back(void *arg, const evener_status *status, evener_bytes *response)
{
    last_owner *owner = arg;
    evener_channel_unref(owner->fixture->channel);
    evener_runtime_unref(owner->fixture->runtime);
    on_done(&owner->outcome, status, response);
}

Test(async, the_last_references_are_given_back_in_the_callback)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    last_owner owner = {.fixture = &f};
    outcome_init(&owner.outcome);
    cr_assert_eq(evener_call_start(f.channel, ECHO_UNARY, NULL, NULL, give_all_back, &owner, NULL, NULL),
                 EVENER_STATUS_OK);
    cr_expect(outcome_wait(&owner.outcome, 1));
    cr_expect_eq(owner.outcome.ok, 1);
    outcome_clear(&owner.outcome);
    evener_credentials_destroy(f.insecure);
    demo_server_stop(f.servers[0], 0);
    cr_expect_eq(named_threads_left(), 0);
}

static void start_the_next(void *arg, const evener_status *status, evener_bytes *response)
{
    last_owner *owner = arg;
    if (owner->outcome.count < 99) {
        cr_expect_eq(
            evener_call_start(owner->fixture->channel, ECHO_UNARY, response, NULL, start_the_next, owner, NULL, NULL),
            EVENER_STATUS_OK);
    }
    on_done(&owner->outcome, status, response);
}

Test(async, a_callback_starts_the_next_call)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    last_owner owner = {.fixture = &f};
    outcome_init(&owner.outcome);
    const evener_bytes request = bytes_of("round and round");
    cr_assert_eq(evener_call_start(f.channel, ECHO_UNARY, &request, NULL, start_the_next, &owner, NULL, NULL),
                 EVENER_STATUS_OK);
    cr_expect(outcome_wait(&owner.outcome, 100));
    cr_expect_eq(owner.outcome.ok, 100);
    cr_expect(bytes_equal(&owner.outcome.response, "round and round"));
    outcome_clear(&owner.outcome);
    call_fixture_close(&f);
}

/* A callback that waits for another call's. */
typedef struct slow_callback {
    call_fixture *fixture;
    bool starts_the_other;
    outcome began, outcome, other;
    bool other_came;
} slow_callback;

static void wait_for_the_other(void *arg, const evener_status *status, evener_bytes *response)
{
    slow_callback *slow = arg;
    pause_ms(5); /* a hundred times what counts as late */
    evener_bytes nothing = {0};
    on_done(&slow->began, status, &nothing);
    if (slow->starts_the_other) {
        cr_expect_eq(
            evener_call_start(slow->fixture->channel, ECHO_UNARY, NULL, NULL, on_done, &slow->other, NULL, NULL),
            EVENER_STATUS_OK);
    }
    slow->other_came = outcome_wait(&slow->other, 1);
    on_done(&slow->outcome, status, response);
}

static void expect_not_held_up(bool callback_starts_the_other)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    if (on_core()) {
        cr_assert_eq(evener_runtime_set_call_threads(f.runtime, 2, NULL), EVENER_STATUS_OK);
    }
    slow_callback slow = {.fixture = &f, .starts_the_other = callback_starts_the_other};
    outcome_init(&slow.began);
    outcome_init(&slow.outcome);
    outcome_init(&slow.other);
    cr_assert_eq(evener_call_start(f.channel, ECHO_UNARY, NULL, NULL, wait_for_the_other, &slow, NULL, NULL),
                 EVENER_STATUS_OK);
    cr_assert(outcome_wait(&slow.began, 1));
    if (!callback_starts_the_other) {
        cr_assert_eq(evener_call_start(f.channel, ECHO_UNARY, NULL, NULL, on_done, &slow.other, NULL, NULL),
                     EVENER_STATUS_OK);
    }
    cr_expect(outcome_wait(&slow.outcome, 1));
    cr_expect(slow.other_came, "the other call's callback had to wait for this one");
    cr_expect_eq(slow.other.ok, 1);
    cr_expect_not(pthread_equal(slow.other.thread, slow.outcome.thread));
    outcome_clear(&slow.other);
    outcome_clear(&slow.outcome);
    outcome_clear(&slow.began);
    call_fixture_close(&f);
    cr_expect_eq(named_threads_left(), 0);
}

/* Over "http2" callbacks run on the connection's I/O thread, which they must not hold up, unless the channel has
 * callbacks_on_call_threads. */
#define ONLY_ON_CALL_THREADS()                                                                                         \
    do {                                                                                                               \
        if (!call_fixture_has_call_threads()) {                                                                        \
            ONLY_ON_CORE("call threads");                                                                              \
        }                                                                                                              \
    } while (0)

Test(async, a_callback_that_takes_its_time_does_not_hold_up_other_calls)
{
    ONLY_ON_CALL_THREADS();
    expect_not_held_up(false);
}

Test(async, a_callback_may_wait_for_a_call_that_it_starts)
{
    ONLY_ON_CALL_THREADS();
    expect_not_held_up(true);
}

Test(async, thread_count_is_set_before_the_first_call)
{
    ONLY_ON_CORE("call threads");
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_status status;
    cr_expect_eq(evener_runtime_set_call_threads(f.runtime, EVENER_CALL_THREADS_MAX + 1, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(evener_runtime_set_call_threads(f.runtime, 1, &status), EVENER_STATUS_OK, "%s", status.message);
    outcome t;
    outcome_init(&t);
    cr_assert_eq(evener_call_start(f.channel, ECHO_UNARY, NULL, NULL, on_done, &t, NULL, NULL), EVENER_STATUS_OK);
    cr_expect(outcome_wait(&t, 1));
    cr_expect_eq(evener_runtime_set_call_threads(f.runtime, 2, &status), EVENER_STATUS_FAILED_PRECONDITION);
    cr_expect_eq(evener_call_start(f.channel, ECHO_UNARY, NULL, NULL, NULL, &t, NULL, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    outcome_clear(&t);
    call_fixture_close(&f);
}
