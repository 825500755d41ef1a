/* Allocations per call in the steady state, of the whole process: the channel, the call layer and the HTTP/2 transport.
 * The server is another process. */
#include <criterion/criterion.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <evener/evener.h>

#include "bench/support/counts.h"
#include "bench/support/servers.h"

#define METHOD "/evener.demo.Echo/Unary"
#define READY_MS 20000
#define IN_FLIGHT 16
#define WARM_CALLS 4000
#define CALLS 4000
/* A connection's pool grows when more calls than ever before happen to be sent at once, as after a pause of a thread on
 * a busy machine; one allocation per call would be a hundred times as many. Calls in flight at once may do so in two
 * rounds of three: pools that have grown stay. */
#define ALLOCATIONS_MAX (CALLS / 100)
#define ROUNDS 3

static bench_server server;
static evener_runtime *runtime;
static evener_channel *channel;
static evener_bytes request; /* owned: sent without a copy */

static void open_all(void)
{
    char target[64];
    evener_status status;
    evener_credentials *insecure;
    uint8_t *to = evener_bytes_create(10, &request);
    cr_assert_not_null(to);
    memcpy(to, "0123456789", 10);
    cr_assert(bench_server_start(&server, 0, NULL));
    snprintf(target, sizeof target, "static:127.0.0.1:%u", (unsigned)server.port);
    cr_assert_eq(evener_runtime_create(NULL, &runtime, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_credentials_create_insecure(&insecure, &status), EVENER_STATUS_OK, "%s", status.message);
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = runtime,
                                            .credentials = insecure,
                                            .policy = "p2c_ewma",
                                            .transport_name = "http2"};
    cr_assert_eq(evener_channel_create(target, &options, &channel, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_channel_wait_ready(channel, READY_MS, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_credentials_destroy(insecure);
}

static void close_all(void)
{
    evener_channel_unref(channel);
    evener_runtime_unref(runtime);
    evener_bytes_clear(&request);
    bench_server_signal(&server, SIGKILL);
}

TestSuite(http2_allocations, .init = open_all, .fini = close_all, .timeout = 120);

static void call_blocking(unsigned count)
{
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 60000};
    for (unsigned i = 0; i < count; i++) {
        evener_bytes response;
        evener_status status;
        cr_assert_eq(evener_unary_call(channel, METHOD, &request, &options, &response, &status), EVENER_STATUS_OK, "%s",
                     status.message);
        cr_assert_eq(response.length, request.length);
        evener_bytes_clear(&response);
    }
}

Test(http2_allocations, blocking_calls_allocate_nothing_in_the_steady_state)
{
    call_blocking(WARM_CALLS);
    const uint64_t before = bench_counts_read().allocations;
    call_blocking(CALLS);
    const uint64_t made = bench_counts_read().allocations - before;
    cr_assert_gt(before, 0, "allocations are not counted");
    cr_assert_leq(made, ALLOCATIONS_MAX, "%llu allocations in %d calls", (unsigned long long)made, CALLS);
}

#define RETRIES                                                                                                        \
    "{\"methodConfig\": [{\"name\": [{}], \"retryPolicy\": {\"maxAttempts\": 3, \"initialBackoff\": \"0.1s\", "        \
    "\"maxBackoff\": \"1s\", \"backoffMultiplier\": 2, \"retryableStatusCodes\": [\"UNAVAILABLE\"]}}], "               \
    "\"retryThrottling\": {\"maxTokens\": 100, \"tokenRatio\": 0.1}, \"loadBalancingConfig\": [{\"p2c_ewma\": {}}]}"

static void configure(const char *config)
{
    evener_status status;
    cr_assert_eq(evener_channel_set_default_service_config(channel, config, &status), EVENER_STATUS_OK, "%s",
                 status.message);
}

Test(http2_allocations, blocking_calls_with_a_retry_policy_and_no_failure_allocate_nothing)
{
    configure(RETRIES);
    call_blocking(WARM_CALLS);
    const uint64_t before = bench_counts_read().allocations;
    call_blocking(CALLS);
    const uint64_t made = bench_counts_read().allocations - before;
    cr_assert_gt(before, 0, "allocations are not counted");
    cr_assert_leq(made, ALLOCATIONS_MAX, "%llu allocations in %d calls", (unsigned long long)made, CALLS);
}

static void nothing(void *arg)
{
    (void)arg;
}

/* The control thread holds the hedge of a call that has ended until its next turn, and the pools grow with what it
 * holds: on a busy machine it may rest for thousands of calls. So hedged calls and streams wait for it now and then. */
static void let_control_thread_catch_up(void)
{
    evener_runtime_call(runtime, nothing, NULL);
}

/* Calls in flight that begin one another. The count is read on the I/O thread while they run. */
static bool are_hedged;
static atomic_int begun, failed, running;
static _Atomic uint64_t before_calls, after_calls;

static void begin_next(void);

static void answered(void *arg, const evener_status *status, evener_bytes *response)
{
    (void)arg;
    if (status->code != EVENER_STATUS_OK || response->length != request.length) {
        atomic_fetch_add(&failed, 1);
    }
    begin_next();
}

static void begin_next(void)
{
    static const evener_call_options options = {.size = sizeof options, .timeout_ms = 60000};
    const int number = atomic_fetch_add(&begun, 1);
    if (are_hedged && number % IN_FLIGHT == 0) {
        let_control_thread_catch_up();
    }
    if (number == WARM_CALLS) {
        atomic_store(&before_calls, bench_counts_read().allocations);
    } else if (number == WARM_CALLS + CALLS) {
        atomic_store(&after_calls, bench_counts_read().allocations);
    }
    if (number > WARM_CALLS + CALLS ||
        evener_call_start(channel, METHOD, &request, &options, answered, NULL, NULL, NULL) != EVENER_STATUS_OK) {
        atomic_fetch_sub(&running, 1);
    }
}

/* Return the number of allocations of CALLS calls. */
static uint64_t allocations_with_callbacks(void)
{
    atomic_store(&begun, 0);
    atomic_store(&running, IN_FLIGHT);
    for (int i = 0; i < IN_FLIGHT; i++) {
        begin_next();
    }
    while (atomic_load(&running) > 0) {
        const struct timespec moment = {.tv_nsec = 1000000};
        nanosleep(&moment, NULL);
    }
    cr_assert_eq(atomic_load(&failed), 0);
    cr_assert_gt(atomic_load(&before_calls), 0);
    return atomic_load(&after_calls) - atomic_load(&before_calls);
}

static void call_with_callbacks(void)
{
    uint64_t made = ALLOCATIONS_MAX + 1;
    for (int round = 0; round < ROUNDS && made > ALLOCATIONS_MAX; round++) {
        made = allocations_with_callbacks();
    }
    cr_assert_leq(made, ALLOCATIONS_MAX, "%llu allocations in %d calls", (unsigned long long)made, CALLS);
}

Test(http2_allocations, calls_with_callbacks_allocate_nothing_in_the_steady_state)
{
    call_with_callbacks();
}

Test(http2_allocations, calls_with_callbacks_and_a_retry_policy_and_no_failure_allocate_nothing)
{
    configure(RETRIES);
    call_with_callbacks();
}

/* A delay that no call reaches: one attempt per call, by the machinery of hedging. */
Test(http2_allocations, hedged_calls_allocate_nothing_in_the_steady_state)
{
    configure(
        "{\"methodConfig\": [{\"name\": [{}], \"hedgingPolicy\": {\"maxAttempts\": 2, \"hedgingDelay\": \"60s\"}}], "
        "\"loadBalancingConfig\": [{\"p2c_ewma\": {}}]}");
    are_hedged = true;
    call_with_callbacks();
}

/* ---- streams ---- */

#define STREAMS 1000
#define STREAMS_UNTIL_WAIT 20

/* Of a method that the server does not have: a message that arrives before its reader waits is copied, which would make
 * the count depend on the threads' order. */
static void run_streams(int count)
{
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 60000};
    for (int i = 0; i < count; i++) {
        evener_stream *stream;
        evener_status status;
        if (i % STREAMS_UNTIL_WAIT == 0) {
            let_control_thread_catch_up();
        }
        cr_assert_eq(evener_stream_open(channel, "/evener.demo.Echo/Nothing", NULL, &options, &stream, &status),
                     EVENER_STATUS_OK, "%s", status.message);
        cr_assert_eq(evener_stream_finish(stream, &status), EVENER_STATUS_UNIMPLEMENTED, "%s", status.message);
        evener_stream_unref(stream);
    }
}

static uint64_t allocations_of_streams(const char *config)
{
    configure(config);
    run_streams(STREAMS);
    const uint64_t before = bench_counts_read().allocations;
    run_streams(STREAMS);
    return bench_counts_read().allocations - before;
}

/* What hedging needs for a stream comes out of pools: it allocates as often as one with a retry policy. */
Test(http2_allocations, hedged_streams_allocate_no_more_than_retried_ones)
{
    const uint64_t retried = allocations_of_streams(RETRIES);
    const uint64_t hedged = allocations_of_streams(
        "{\"methodConfig\": [{\"name\": [{}], \"hedgingPolicy\": {\"maxAttempts\": 2, \"hedgingDelay\": "
        "\"60s\"}}], \"loadBalancingConfig\": [{\"p2c_ewma\": {}}]}");
    cr_assert_geq(retried, STREAMS, "a stream itself is allocated");
    cr_assert_leq(hedged, retried + STREAMS / 4, "%llu allocations, with retries %llu", (unsigned long long)hedged,
                  (unsigned long long)retried);
}
