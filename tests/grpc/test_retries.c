/* Retries (A6, client retries) over the built-in transports, against scripted servers that count the requests. The
 * names are those of the core's end-to-end tests. */
#include <criterion/criterion.h>

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/evener.h>

#include "lb/call/retry.h"
#include "support/transport_choice.h"
#include "tests/support/h2_script_server.h"

#define METHOD "/orders.Orders/List"
#define POLICY(attempts, more)                                                                                         \
    "{\"methodConfig\": [{\"name\": [{}], \"retryPolicy\": {\"maxAttempts\": " attempts ", \"initialBackoff\": "       \
    "\"0.01s\", \"maxBackoff\": \"0.02s\", \"backoffMultiplier\": 2, \"retryableStatusCodes\": [\"UNAVAILABLE\"]" more \
    "}}], \"loadBalancingPolicy\": \"round_robin\"}"

/* ---- scripts ---- */

#define GRPC_HEADERS                                                                                                   \
    {":status", "200"},                                                                                                \
    {                                                                                                                  \
        "content-type", "application/grpc"                                                                             \
    }

static const h2_step ok[] = {{.kind = H2_AWAIT_END_STREAM},
                             {.kind = H2_HEADERS, .headers = {GRPC_HEADERS}},
                             {.kind = H2_DATA, .data = "\0\0\0\0\2hi", .data_bytes = 7},
                             {.kind = H2_HEADERS, .headers = {{"grpc-status", "0"}}, .end_stream = true},
                             {.kind = H2_END}};
static const h2_step unavailable[] = {
    {.kind = H2_AWAIT_END_STREAM},
    {.kind = H2_HEADERS, .headers = {GRPC_HEADERS, {"grpc-status", "14"}}, .end_stream = true},
    {.kind = H2_END}};
static const h2_step pushback[] = {{.kind = H2_AWAIT_END_STREAM},
                                   {.kind = H2_HEADERS,
                                    .headers = {GRPC_HEADERS, {"grpc-status", "14"}, {"grpc-retry-pushback-ms", "300"}},
                                    .end_stream = true},
                                   {.kind = H2_END}};
static const h2_step pushback_disabled[] = {
    {.kind = H2_AWAIT_END_STREAM},
    {.kind = H2_HEADERS,
     .headers = {GRPC_HEADERS, {"grpc-status", "14"}, {"grpc-retry-pushback-ms", "-1"}},
     .end_stream = true},
    {.kind = H2_END}};
static const h2_step invalid[] = {
    {.kind = H2_AWAIT_END_STREAM},
    {.kind = H2_HEADERS, .headers = {GRPC_HEADERS, {"grpc-status", "3"}}, .end_stream = true},
    {.kind = H2_END}};
static const h2_step headers_then_unavailable[] = {
    {.kind = H2_AWAIT_END_STREAM},
    {.kind = H2_HEADERS, .headers = {GRPC_HEADERS, {"x-served-by", "one"}}},
    {.kind = H2_HEADERS, .headers = {{"grpc-status", "14"}}, .end_stream = true},
    {.kind = H2_END}};
static const h2_step silent[] = {{.kind = H2_AWAIT_END_STREAM}, {.kind = H2_END}};
static const h2_step refused[] = {{.kind = H2_RST_STREAM, .code = 7}, {.kind = H2_END}};
static const h2_step goaway[] = {
    {.kind = H2_GOAWAY, .last_stream = H2_NO_STREAM}, {.kind = H2_CLOSE}, {.kind = H2_END}};

/* ---- the scene ---- */

typedef struct scene {
    h2_script scripts[H2_SCRIPTS_MAX];
    h2_script_server *server;
    evener_runtime *runtime;
    evener_credentials *insecure;
    evener_channel *channel;
    evener_status status;
    evener_call_details details;
} scene;

static void open_scene(scene *s, const char *config)
{
    char target[64];
    evener_status status;
    snprintf(target, sizeof target, "static:127.0.0.1:%u", (unsigned)h2_script_server_port(s->server));
    s->details = (evener_call_details){.size = sizeof s->details};
    cr_assert_eq(evener_credentials_create_insecure(&s->insecure, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_runtime_create(NULL, &s->runtime, &status), EVENER_STATUS_OK);
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = s->runtime,
                                            .credentials = s->insecure,
                                            .backoff_initial_ms = 50,
                                            .default_service_config = config};
    cr_assert_eq(evener_channel_create(target, &options, &s->channel, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_channel_wait_ready(s->channel, 20000, &status), EVENER_STATUS_OK, "%s", status.message);
}

/* One server: the first script `plays` times, then the second one. */
static scene *create(const char *config, const h2_step *first, uint64_t plays, const h2_step *then)
{
    scene *s = calloc(1, sizeof *s);
    s->scripts[0] = (h2_script){.steps = first, .plays = plays};
    s->scripts[1] = (h2_script){.steps = then};
    s->server = h2_script_server_start(&(h2_script_server_options){.scripts = s->scripts, .count = 2});
    open_scene(s, config);
    return s;
}

static void destroy(scene *s)
{
    evener_call_details_clear(&s->details);
    evener_channel_unref(s->channel);
    evener_runtime_unref(s->runtime);
    evener_credentials_destroy(s->insecure);
    h2_script_server_stop(s->server);
    free(s);
}

static uint64_t requests(scene *s)
{
    return h2_script_server_count(s->server, H2_REQUESTS);
}

typedef struct waiting {
    sem_t ended;
    evener_status status;
} waiting;

static void async_ended(void *arg, const evener_status *status, evener_bytes *response)
{
    waiting *w = arg;
    (void)response;
    w->status = *status;
    sem_post(&w->ended);
}

/* Make a call, blocking or asynchronous. */
static evener_status_code call_with(scene *s, bool is_async, const evener_bytes *request, uint64_t timeout_ms)
{
    const evener_call_options options = {.size = sizeof options, .timeout_ms = timeout_ms, .details = &s->details};
    if (!is_async) {
        return evener_unary_call(s->channel, METHOD, request, &options, NULL, &s->status);
    }
    waiting w;
    sem_init(&w.ended, 0, 0);
    cr_assert_eq(evener_call_start(s->channel, METHOD, request, &options, async_ended, &w, NULL, &s->status),
                 EVENER_STATUS_OK, "%s", s->status.message);
    while (sem_wait(&w.ended) != 0) {
    }
    sem_destroy(&w.ended);
    s->status = w.status;
    return w.status.code;
}

static evener_status_code call(scene *s, bool is_async)
{
    return call_with(s, is_async, NULL, 20000);
}

/* ---- cases ---- */

Test(retries, retry)
{
    for (int is_async = 0; is_async < 2; is_async++) {
        scene *s = create(POLICY("3", ""), unavailable, 2, ok);
        cr_expect_eq(call(s, is_async), EVENER_STATUS_OK, "%s", s->status.message);
        cr_expect_eq(requests(s), 3);
        cr_expect_eq(s->details.attempts, 3);
        destroy(s);
    }
}

Test(retries, retry_non_retriable_status)
{
    for (int is_async = 0; is_async < 2; is_async++) {
        scene *s = create(POLICY("3", ""), invalid, 1, ok);
        cr_expect_eq(call(s, is_async), EVENER_STATUS_INVALID_ARGUMENT);
        cr_expect_eq(requests(s), 1);
        destroy(s);
    }
}

Test(retries, retry_disabled)
{
    scene *s = create("{}", unavailable, 1, ok);
    cr_expect_eq(call(s, false), EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(requests(s), 1);
    destroy(s);
}

Test(retries, retry_too_many_attempts)
{
    for (int is_async = 0; is_async < 2; is_async++) {
        scene *s = create(POLICY("3", ""), unavailable, 0, ok);
        cr_expect_eq(call(s, is_async), EVENER_STATUS_UNAVAILABLE);
        cr_expect_eq(requests(s), 3);
        destroy(s);
    }
}

Test(retries, retry_throttled)
{
    static const char throttled[] =
        "{\"retryThrottling\": {\"maxTokens\": 2, \"tokenRatio\": 1}, \"methodConfig\": [{\"name\": [{}], "
        "\"retryPolicy\": {\"maxAttempts\": 3, \"initialBackoff\": \"0.01s\", \"maxBackoff\": \"0.02s\", "
        "\"backoffMultiplier\": 2, \"retryableStatusCodes\": [\"UNAVAILABLE\"]}}]}";
    for (int is_async = 0; is_async < 2; is_async++) {
        scene *s = create(throttled, unavailable, 1, ok);
        cr_expect_eq(call(s, is_async), EVENER_STATUS_UNAVAILABLE);
        cr_expect_eq(requests(s), 1);
        destroy(s);
    }
}

/* The delay itself is shown on the virtual loop. Here: that it ends a call whose deadline comes before. */
Test(retries, retry_server_pushback_delay)
{
    for (int is_async = 0; is_async < 2; is_async++) {
        scene *s = create(POLICY("3", ""), pushback, 1, ok);
        cr_expect_eq(call(s, is_async), EVENER_STATUS_OK, "%s", s->status.message);
        cr_expect_eq(requests(s), 2);
        destroy(s);
        s = create(POLICY("3", ""), pushback, 0, ok);
        cr_expect_eq(call_with(s, is_async, NULL, 150), EVENER_STATUS_DEADLINE_EXCEEDED);
        cr_expect_leq(requests(s), 1);
        destroy(s);
    }
}

Test(retries, retry_server_pushback_disabled)
{
    for (int is_async = 0; is_async < 2; is_async++) {
        scene *s = create(POLICY("5", ""), unavailable, 1, pushback_disabled);
        cr_expect_eq(call(s, is_async), EVENER_STATUS_UNAVAILABLE);
        cr_expect_eq(requests(s), 2);
        destroy(s);
    }
}

/* Without details, so that the transport would not keep metadata for the application. */
Test(retries, retry_server_pushback_without_details)
{
    scene *s = create(POLICY("5", ""), pushback_disabled, 0, ok);
    cr_expect_eq(evener_unary_call(s->channel, METHOD, NULL, NULL, NULL, &s->status), EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(requests(s), 1);
    destroy(s);
}

Test(retries, retry_recv_initial_metadata)
{
    for (int is_async = 0; is_async < 2; is_async++) {
        scene *s = create(POLICY("3", ""), headers_then_unavailable, 1, ok);
        cr_expect_eq(call(s, is_async), EVENER_STATUS_UNAVAILABLE);
        cr_expect_eq(requests(s), 1);
        destroy(s);
    }
}

Test(retries, retry_per_attempt_recv_timeout)
{
    for (int is_async = 0; is_async < 2; is_async++) {
        scene *s = create(POLICY("3", ", \"perAttemptRecvTimeout\": \"0.2s\""), silent, 1, ok);
        cr_expect_eq(call(s, is_async), EVENER_STATUS_OK, "%s", s->status.message);
        cr_expect_eq(requests(s), 2);
        destroy(s);
    }
}

Test(retries, retry_per_attempt_recv_timeout_on_last_attempt)
{
    scene *s = create(POLICY("2", ", \"perAttemptRecvTimeout\": \"0.2s\""), silent, 0, ok);
    cr_expect_eq(call(s, false), EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_expect_not_null(strstr(s->status.message, "attempt 2 timed out"), "%s", s->status.message);
    cr_expect_eq(requests(s), 2);
    destroy(s);
}

Test(retries, retry_exceeds_buffer_size_in_initial_batch)
{
    evener_bytes large;
    uint8_t *to = evener_bytes_create(EVENER_RETRY_BUFFER_BYTES + 1, &large);
    memset(to, 0, EVENER_RETRY_BUFFER_BYTES + 1);
    for (int is_async = 0; is_async < 2; is_async++) {
        scene *s = create(POLICY("3", ""), unavailable, 1, ok);
        cr_expect_eq(call_with(s, is_async, &large, 20000), EVENER_STATUS_UNAVAILABLE);
        cr_expect_eq(requests(s), 1);
        destroy(s);
    }
    evener_bytes_clear(&large);
}

/* A GOAWAY that excludes the stream: made again at once, on the next connection. The core does not report it. */
Test(retries, retry_transparent_goaway)
{
    if (on_core()) {
        cr_skip_test("only http2 reports streams that a GOAWAY excludes");
    }
    for (int is_async = 0; is_async < 2; is_async++) {
        scene *s = create("{}", goaway, 1, ok);
        cr_expect_eq(call(s, is_async), EVENER_STATUS_OK, "%s", s->status.message);
        cr_expect_eq(requests(s), 2);
        destroy(s);
    }
}

/* Refused once without a policy; refused again the policy decides. */
Test(retries, retry_transparent_refused)
{
    if (on_core()) {
        cr_skip_test("only http2 reports refused streams");
    }
    for (int is_async = 0; is_async < 2; is_async++) {
        scene *s = create("{}", refused, 1, ok);
        cr_expect_eq(call(s, is_async), EVENER_STATUS_OK, "%s", s->status.message);
        cr_expect_eq(requests(s), 2);
        destroy(s);
        s = create("{}", refused, 2, ok);
        cr_expect_eq(call(s, is_async), EVENER_STATUS_UNAVAILABLE);
        cr_expect_eq(requests(s), 2);
        destroy(s);
        s = create(POLICY("2", ""), refused, 2, ok);
        cr_expect_eq(call(s, is_async), EVENER_STATUS_OK, "%s", s->status.message);
        cr_expect_eq(requests(s), 3);
        destroy(s);
    }
}

/* The second call waits for the first one's stream, and so was never sent when the connection ends. It is made again
 * without a policy. */
Test(retries, retry_transparent_max_concurrent_streams)
{
    if (on_core()) {
        cr_skip_test("the core reports such a call like one whose connection was lost on the way");
    }
    static const h2_step ends[] = {
        {.kind = H2_AWAIT_END_STREAM}, {.kind = H2_AWAIT_RELEASE}, {.kind = H2_CLOSE}, {.kind = H2_END}};
    scene *s = calloc(1, sizeof *s);
    s->scripts[0] = (h2_script){.steps = ends, .plays = 1};
    s->scripts[1] = (h2_script){.steps = ok};
    s->server = h2_script_server_start(
        &(h2_script_server_options){.scripts = s->scripts, .count = 2, .settings = {{.id = 3, .value = 1}}});
    open_scene(s, "{}");
    waiting first;
    waiting second;
    evener_status status;
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 20000};
    sem_init(&first.ended, 0, 0);
    sem_init(&second.ended, 0, 0);
    cr_assert_eq(evener_call_start(s->channel, METHOD, NULL, &options, async_ended, &first, NULL, &status), 0);
    cr_assert(h2_script_server_wait(s->server, H2_REQUESTS, 1));
    cr_assert_eq(evener_call_start(s->channel, METHOD, NULL, &options, async_ended, &second, NULL, &status), 0);
    h2_script_server_release(s->server);
    while (sem_wait(&first.ended) != 0) {
    }
    while (sem_wait(&second.ended) != 0) {
    }
    cr_expect_eq(first.status.code, EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(second.status.code, EVENER_STATUS_OK, "%s", second.status.message);
    cr_expect_eq(requests(s), 2);
    sem_destroy(&first.ended);
    sem_destroy(&second.ended);
    destroy(s);
}

/* Cancelled while the second attempt is on the wire. */
Test(retries, retry_cancel_during_a_later_attempt)
{
    scene *s = create(POLICY("3", ""), unavailable, 1, silent);
    waiting w;
    evener_call *made;
    evener_status status;
    sem_init(&w.ended, 0, 0);
    cr_assert_eq(evener_call_start(s->channel, METHOD, NULL, NULL, async_ended, &w, &made, &status), 0);
    cr_assert(h2_script_server_wait(s->server, H2_REQUESTS, 2));
    evener_call_cancel(made);
    while (sem_wait(&w.ended) != 0) {
    }
    cr_expect_eq(w.status.code, EVENER_STATUS_CANCELLED);
    cr_expect_eq(requests(s), 2);
    evener_call_unref(made);
    sem_destroy(&w.ended);
    destroy(s);
}

/* Cancelled in a backoff that would last a minute. */
Test(retries, retry_cancel_during_delay)
{
    static const h2_step minute[] = {
        {.kind = H2_AWAIT_END_STREAM},
        {.kind = H2_HEADERS,
         .headers = {GRPC_HEADERS, {"grpc-status", "14"}, {"grpc-retry-pushback-ms", "60000"}},
         .end_stream = true},
        {.kind = H2_END}};
    scene *s = create(POLICY("3", ""), minute, 1, ok);
    waiting w;
    evener_call *made;
    evener_status status;
    evener_call_details details = {.size = sizeof details};
    sem_init(&w.ended, 0, 0);
    cr_assert_eq(evener_call_start(s->channel, METHOD, NULL, NULL, async_ended, &w, &made, &status), 0);
    cr_assert(h2_script_server_wait(s->server, H2_REQUESTS, 1));
    evener_call_cancel(made); /* on the wire or in the backoff */
    while (sem_wait(&w.ended) != 0) {
    }
    /* UNAVAILABLE: the answer came with the cancellation, which ends the call all the same. */
    cr_expect(w.status.code == EVENER_STATUS_CANCELLED || w.status.code == EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(requests(s), 1);
    evener_call_unref(made);
    evener_call_details_clear(&details);
    sem_destroy(&w.ended);
    destroy(s);
}

/* ---- streams ---- */

/* Open a stream, send two messages and end writing; read until the end. */
static evener_status_code call_streaming(scene *s, const char *const *messages, size_t count, size_t *received)
{
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 20000};
    evener_stream *stream;
    evener_status_code code = evener_stream_open(s->channel, METHOD, NULL, &options, &stream, &s->status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    for (size_t i = 0; i < count; i++) {
        const evener_bytes message = {.data = (const uint8_t *)messages[i], .length = strlen(messages[i])};
        (void)evener_stream_write(stream, &message);
    }
    (void)evener_stream_writes_done(stream);
    *received = 0;
    evener_bytes message;
    while (evener_stream_read(stream, &message)) {
        (*received)++;
        evener_bytes_clear(&message);
    }
    code = evener_stream_finish(stream, &s->status);
    evener_stream_unref(stream);
    return code;
}

static const char *const two[] = {"one", "two"};

/* The script answers at the end of the request: so the messages and the end of writing came again. */
Test(retries, retry_streaming)
{
    scene *s = create(POLICY("3", ""), unavailable, 2, ok);
    size_t received = 0;
    cr_expect_eq(call_streaming(s, two, 2, &received), EVENER_STATUS_OK, "%s", s->status.message);
    cr_expect_eq(received, 1);
    cr_expect_eq(requests(s), 3);
    destroy(s);
}

typedef struct on_control {
    scene *s;
    evener_status_code code;
} on_control;

static void call_on_control_thread(void *arg)
{
    on_control *c = arg;
    size_t received = 0;
    c->code = call_streaming(c->s, two, 2, &received);
}

/* Its backoff would wait for the thread that the stream blocks. */
Test(retries, streaming_on_the_control_thread_is_not_retried, .timeout = 60)
{
    scene *s = create(POLICY("3", ""), unavailable, 2, ok);
    on_control c = {.s = s, .code = EVENER_STATUS_OK};
    evener_runtime_call(s->runtime, call_on_control_thread, &c);
    cr_expect_eq(c.code, EVENER_STATUS_UNAVAILABLE, "%s", s->status.message);
    cr_expect_eq(requests(s), 1);
    destroy(s);
}

Test(retries, retry_streaming_too_many_attempts)
{
    scene *s = create(POLICY("3", ""), unavailable, 0, ok);
    size_t received = 0;
    cr_expect_eq(call_streaming(s, two, 2, &received), EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(requests(s), 3);
    destroy(s);
}

Test(retries, retry_streaming_after_commit)
{
    static const h2_step one_message[] = {{.kind = H2_AWAIT_END_STREAM},
                                          {.kind = H2_HEADERS, .headers = {GRPC_HEADERS}},
                                          {.kind = H2_DATA, .data = "\0\0\0\0\2hi", .data_bytes = 7},
                                          {.kind = H2_HEADERS, .headers = {{"grpc-status", "14"}}, .end_stream = true},
                                          {.kind = H2_END}};
    scene *s = create(POLICY("3", ""), one_message, 0, ok);
    size_t received = 0;
    cr_expect_eq(call_streaming(s, two, 2, &received), EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(received, 1);
    cr_expect_eq(requests(s), 1);
    destroy(s);
}

Test(retries, retry_streaming_headers_commit)
{
    scene *s = create(POLICY("3", ""), headers_then_unavailable, 1, ok);
    size_t received = 0;
    cr_expect_eq(call_streaming(s, two, 2, &received), EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(requests(s), 1);
    destroy(s);
}

Test(retries, retry_exceeds_buffer_size_in_subsequent_batch)
{
    char *half = malloc(EVENER_RETRY_BUFFER_BYTES / 2 + 2);
    memset(half, 'x', EVENER_RETRY_BUFFER_BYTES / 2 + 1);
    half[EVENER_RETRY_BUFFER_BYTES / 2 + 1] = '\0';
    const char *const halves[] = {half, half};
    scene *s = create(POLICY("3", ""), unavailable, 1, ok);
    size_t received = 0;
    cr_expect_eq(call_streaming(s, halves, 2, &received), EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(requests(s), 1);
    destroy(s);
    s = create(POLICY("3", ""), unavailable, 1, ok);
    cr_expect_eq(call_streaming(s, halves, 1, &received), EVENER_STATUS_OK, "%s", s->status.message);
    cr_expect_eq(requests(s), 2);
    destroy(s);
    free(half);
}

/* ---- hedging ---- */

#define HEDGING(delay)                                                                                                 \
    "{\"methodConfig\": [{\"name\": [{}], \"hedgingPolicy\": {\"maxAttempts\": 3, \"hedgingDelay\": \"" delay          \
    "\", \"nonFatalStatusCodes\": [\"UNAVAILABLE\"]}}]}"

Test(retries, hedging_answers_for_a_server_that_hangs)
{
    for (int is_async = 0; is_async < 2; is_async++) {
        scene *s = create(HEDGING("0.05s"), silent, 1, ok);
        cr_expect_eq(call(s, is_async), EVENER_STATUS_OK, "%s", s->status.message);
        cr_expect_geq(requests(s), 2);
        cr_expect_leq(requests(s), 3);
        cr_expect(h2_script_server_wait(s->server, H2_RESETS, 1), "the hung attempt is cancelled");
        destroy(s);
    }
}

Test(retries, hedging_starts_the_next_after_a_non_fatal_status)
{
    for (int is_async = 0; is_async < 2; is_async++) {
        scene *s = create(HEDGING("60s"), unavailable, 2, ok);
        cr_expect_eq(call(s, is_async), EVENER_STATUS_OK, "%s", s->status.message);
        cr_expect_eq(requests(s), 3);
        cr_expect_eq(s->details.attempts, 3);
        destroy(s);
        s = create(HEDGING("60s"), unavailable, 0, ok);
        cr_expect_eq(call(s, is_async), EVENER_STATUS_UNAVAILABLE);
        cr_expect_eq(requests(s), 3);
        destroy(s);
        s = create(HEDGING("60s"), invalid, 0, ok);
        cr_expect_eq(call(s, is_async), EVENER_STATUS_INVALID_ARGUMENT);
        cr_expect_eq(requests(s), 1);
        destroy(s);
    }
}
