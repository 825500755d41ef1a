/* The call layer over a simulated transport, on the virtual loop: all three fates, a server that counts executions,
 * cancellation and deadlines at every step. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/evener.h>

#include "tests/call/call_storm.h"
#include "tests/call/retry_scene.h"
#include "tests/support/channel_fixture.h"

#define METHOD "/sim.Sim/Run"
#define THREE "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3"

/* ---- one call ---- */

typedef struct scene {
    fixture *f;
    fake_call_outcome outcomes[16]; /* of the first, the second... attempt; the last one repeats */
    size_t outcome_count;
    uint32_t attempts, executions, ends;
    char addresses[16][32]; /* of the attempts */
    evener_status status;
    char response[64];
    evener_call_details details;
    evener_call *call;
} scene;

static bool is_executed(fake_call_outcome outcome)
{
    return outcome.kind == FAKE_CALL_ANSWER || outcome.kind == FAKE_CALL_LOST;
}

static fake_call_outcome scripted(void *arg, const char *address, const evener_call_begin_args *args)
{
    scene *s = arg;
    (void)args;
    const size_t at = s->attempts < s->outcome_count ? s->attempts : s->outcome_count - 1;
    if (s->attempts < 16) {
        strncpy(s->addresses[s->attempts], address, sizeof s->addresses[0] - 1);
    }
    s->attempts++;
    s->executions += is_executed(s->outcomes[at]);
    return s->outcomes[at];
}

static scene *scene_create_with(const fake_call_outcome *outcomes, size_t count, fake_behaviour behaviour)
{
    scene *s = calloc(1, sizeof *s);
    memcpy(s->outcomes, outcomes, count * sizeof *outcomes);
    s->outcome_count = count;
    s->details.size = sizeof s->details;
    s->f = fixture_create_calling(NULL, scripted, s);
    fake_transport_set_default(s->f->transport, behaviour, 0);
    fixture_push(s->f, THREE);
    fixture_connect(s->f);
    return s;
}

static scene *scene_create(const fake_call_outcome *outcomes, size_t count)
{
    return scene_create_with(outcomes, count, FAKE_ACCEPT);
}

static void scene_destroy(scene *s)
{
    cr_expect_eq(fake_transport_calls_under_way(s->f->transport), 0);
    evener_call_unref(s->call);
    evener_call_details_clear(&s->details);
    fixture_destroy(s->f);
    free(s);
}

static void call_ended(void *arg, const evener_status *status, evener_bytes *response)
{
    scene *s = arg;
    s->ends++;
    s->status = *status;
    if (response->length > 0 && response->length < sizeof s->response) {
        memcpy(s->response, response->data, response->length);
    }
}

static void start(scene *s, uint64_t timeout_ms)
{
    const evener_call_options options = {.size = sizeof options, .timeout_ms = timeout_ms, .details = &s->details};
    const evener_bytes request = {.data = (const uint8_t *)"hello", .length = 5};
    evener_status status;
    cr_assert_eq(evener_call_start(s->f->channel, METHOD, &request, &options, call_ended, s, &s->call, &status),
                 EVENER_STATUS_OK, "%s", status.message);
}

Test(calls_sim, an_answer_is_handed_on)
{
    scene *s = scene_create(&(fake_call_outcome){.kind = FAKE_CALL_ANSWER}, 1);
    start(s, 1000);
    cr_expect_eq(s->ends, 0); /* never from inside evener_call_start() */
    virtual_loop_run_until_idle(s->f->loop);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK);
    cr_expect_str_eq(s->response, "hello");
    cr_expect_eq(s->details.attempts, 1);
    cr_expect(strncmp(s->details.peer, "ipv4:127.0.0.1:", 15) == 0, "%s", s->details.peer);
    scene_destroy(s);
}

/* A6, transparent retry: what never left is picked again. */
Test(calls_sim, what_never_left_is_made_again_elsewhere)
{
    const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_NEVER_LEFT}, {.kind = FAKE_CALL_ANSWER}};
    scene *s = scene_create(outcomes, 2);
    start(s, 1000);
    virtual_loop_run_until_idle(s->f->loop);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    cr_expect_eq(s->executions, 1);
    cr_expect_eq(s->details.attempts, 2);
    scene_destroy(s);
}

/* A6: refused unprocessed, once. */
Test(calls_sim, what_was_refused_is_made_again_once)
{
    const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_REFUSED}, {.kind = FAKE_CALL_REFUSED}};
    scene *s = scene_create(outcomes, 2);
    start(s, 1000);
    virtual_loop_run_until_idle(s->f->loop);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    cr_expect_str_eq(s->status.message, "refused");
    cr_expect_eq(s->attempts, 2);
    scene_destroy(s);
}

Test(calls_sim, what_was_perhaps_processed_is_reported)
{
    scene *s = scene_create(&(fake_call_outcome){.kind = FAKE_CALL_LOST}, 1);
    start(s, 1000);
    virtual_loop_run_until_idle(s->f->loop);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(s->executions, 1);
    cr_expect_eq(s->attempts, 1);
    const evener_subchannel_stats stats = fixture_stats(s->f, s->addresses[0]);
    cr_expect_eq(stats.failed, 1, "the picked backend is charged");
    scene_destroy(s);
}

/* At most three times in a row on one connection; then that one counts as gone, and the call waits as the picker
 * says. */
Test(calls_sim, a_connection_on_which_nothing_leaves_counts_as_gone)
{
    scene *s = scene_create(&(fake_call_outcome){.kind = FAKE_CALL_NEVER_LEFT}, 1);
    start(s, 1000);
    virtual_loop_run_until_idle(s->f->loop);
    /* Three attempts per connection; after five connections in a row that lived so short each backend backs off. */
    cr_expect_eq(s->attempts, 3 * 3 * 5, "%u", s->attempts);
    virtual_loop_advance_ms(s->f->loop, 1000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->executions, 0);
    cr_expect_neq(s->status.code, EVENER_STATUS_OK);
    scene_destroy(s);
}

Test(calls_sim, a_deadline_ends_a_call_on_the_wire_and_names_the_backend)
{
    scene *s = scene_create(&(fake_call_outcome){.kind = FAKE_CALL_SILENT}, 1);
    start(s, 1000);
    virtual_loop_advance_ms(s->f->loop, 999);
    cr_expect_eq(s->ends, 0);
    virtual_loop_advance_ms(s->f->loop, 1);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    char expected[128];
    snprintf(expected, sizeof expected, "deadline exceeded after 1.000 s at %s", s->addresses[0]);
    cr_expect_str_eq(s->status.message, expected);
    cr_expect_eq(fixture_stats(s->f, s->addresses[0]).failed, 1);
    scene_destroy(s);
}

Test(calls_sim, the_deadline_bounds_all_attempts)
{
    const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_NEVER_LEFT, .delay_ns = 600 * EVENER_NS_PER_MS},
                                          {.kind = FAKE_CALL_NEVER_LEFT, .delay_ns = 600 * EVENER_NS_PER_MS}};
    scene *s = scene_create(outcomes, 2);
    start(s, 1000);
    virtual_loop_advance_ms(s->f->loop, 1000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    scene_destroy(s);
}

Test(calls_sim, cancelled_on_the_wire)
{
    scene *s = scene_create(&(fake_call_outcome){.kind = FAKE_CALL_SILENT}, 1);
    start(s, 0);
    evener_call_cancel(s->call);
    evener_call_cancel(s->call);
    virtual_loop_run_until_idle(s->f->loop);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_CANCELLED);
    evener_call_cancel(s->call);
    scene_destroy(s);
}

/* The handle is all that is left then. */
Test(calls_sim, cancelled_after_its_end_and_that_of_its_channel_and_runtime)
{
    scene *s = scene_create(&(fake_call_outcome){.kind = FAKE_CALL_ANSWER}, 1);
    start(s, 1000);
    virtual_loop_run_until_idle(s->f->loop);
    cr_expect_eq(s->ends, 1);
    evener_call *call = s->call;
    s->call = NULL;
    scene_destroy(s);
    evener_call_cancel(call);
    evener_call_unref(call);
}

Test(calls_sim, cancelled_between_two_attempts_it_is_not_made_again)
{
    const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_SILENT}, {.kind = FAKE_CALL_ANSWER}};
    scene *s = scene_create(outcomes, 2);
    fixture_push(s->f, "127.0.0.1:1");
    s->outcomes[0] = (fake_call_outcome){.kind = FAKE_CALL_NEVER_LEFT, .delay_ns = EVENER_NS_PER_MS};
    start(s, 0);
    evener_call_cancel(s->call);
    virtual_loop_advance_ms(s->f->loop, 10);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_CANCELLED);
    cr_expect_eq(s->executions, 0);
    scene_destroy(s);
}

/* ---- streams ---- */

typedef struct stream_scene {
    scene *base;
    evener_stream *stream;
    uint32_t headers, messages, written, ends;
    evener_status status;
    size_t received_bytes;
} stream_scene;

static void stream_message(void *arg, evener_bytes *message)
{
    stream_scene *s = arg;
    s->messages++;
    s->received_bytes += message->length;
    evener_bytes_clear(message);
}

static void stream_written(void *arg)
{
    ((stream_scene *)arg)->written++;
}

static void stream_ended(void *arg, const evener_status *status)
{
    stream_scene *s = arg;
    s->ends++;
    s->status = *status;
}

static const evener_stream_callbacks stream_callbacks = {
    .size = sizeof stream_callbacks, .message = stream_message, .written = stream_written, .ended = stream_ended};

static void start_stream(stream_scene *s, uint64_t timeout_ms)
{
    const evener_call_options options = {.size = sizeof options, .timeout_ms = timeout_ms};
    evener_status status;
    cr_assert_eq(
        evener_stream_start(s->base->f->channel, METHOD, NULL, &options, &stream_callbacks, s, &s->stream, &status),
        EVENER_STATUS_OK, "%s", status.message);
}

static void stream_scene_destroy(stream_scene *s)
{
    evener_stream_unref(s->stream);
    virtual_loop_run_until_idle(s->base->f->loop);
    scene_destroy(s->base);
}

Test(streams_sim, messages_go_and_come_one_at_a_time)
{
    stream_scene s = {.base = scene_create(&(fake_call_outcome){.kind = FAKE_CALL_ANSWER}, 1)};
    start_stream(&s, 1000);
    const evener_bytes message = {.data = (const uint8_t *)"hello", .length = 5};
    for (uint32_t i = 1; i <= 10; i++) {
        cr_expect(evener_stream_send(s.stream, &message));
        cr_expect_not(evener_stream_send(s.stream, &message), "one is under way");
        cr_expect(evener_stream_ask(s.stream));
        cr_expect_not(evener_stream_ask(s.stream), "one is asked for");
        virtual_loop_run_until_idle(s.base->f->loop);
        cr_expect_eq(s.written, i);
        cr_expect_eq(s.messages, i);
    }
    cr_expect(evener_stream_send_done(s.stream));
    cr_expect_not(evener_stream_send(s.stream, &message));
    cr_expect(evener_stream_ask(s.stream));
    virtual_loop_run_until_idle(s.base->f->loop);
    cr_expect_eq(s.ends, 1);
    cr_expect_eq(s.status.code, EVENER_STATUS_OK);
    cr_expect_eq(s.received_bytes, 50);
    cr_expect_not(evener_stream_ask(s.stream), "it has ended");
    stream_scene_destroy(&s);
}

/* Requests made before there is a backend reach the backend that serves. */
Test(streams_sim, is_made_again_while_nothing_was_written)
{
    const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_NEVER_LEFT, .delay_ns = EVENER_NS_PER_MS},
                                          {.kind = FAKE_CALL_ANSWER}};
    stream_scene s = {.base = scene_create(outcomes, 2)};
    start_stream(&s, 1000);
    const evener_bytes message = {.data = (const uint8_t *)"hello", .length = 5};
    cr_expect(evener_stream_send(s.stream, &message));
    cr_expect(evener_stream_ask(s.stream));
    cr_expect(evener_stream_send_done(s.stream));
    virtual_loop_advance_ms(s.base->f->loop, 10);
    cr_expect_eq(s.written, 1);
    cr_expect_eq(s.messages, 1);
    cr_expect(evener_stream_ask(s.stream));
    virtual_loop_run_until_idle(s.base->f->loop);
    cr_expect_eq(s.ends, 1);
    cr_expect_eq(s.status.code, EVENER_STATUS_OK, "%s", s.status.message);
    cr_expect_eq(s.base->attempts, 2);
    stream_scene_destroy(&s);
}

/* The details are borrowed until `ended`, whoever still has the stream. */
Test(streams_sim, given_back_before_its_end_it_fills_the_details)
{
    stream_scene s = {.base = scene_create(&(fake_call_outcome){.kind = FAKE_CALL_SILENT}, 1)};
    evener_call_details details = {.size = sizeof details};
    const evener_call_options options = {.size = sizeof options, .details = &details};
    evener_status status;
    cr_assert_eq(
        evener_stream_start(s.base->f->channel, METHOD, NULL, &options, &stream_callbacks, &s, &s.stream, &status),
        EVENER_STATUS_OK, "%s", status.message);
    evener_stream_unref(s.stream);
    s.stream = NULL;
    virtual_loop_run_until_idle(s.base->f->loop);
    cr_expect_eq(s.ends, 1);
    cr_expect_eq(s.status.code, EVENER_STATUS_CANCELLED);
    cr_expect_eq(details.attempts, 1);
    cr_expect(details.peer != NULL && strncmp(details.peer, "ipv4:127.0.0.1:", 15) == 0, "%s", details.peer);
    evener_call_details_clear(&details);
    stream_scene_destroy(&s);
}

Test(streams_sim, opening_can_be_cancelled_and_ends_with_the_channel)
{
    const fake_call_outcome answer = {.kind = FAKE_CALL_ANSWER};
    stream_scene waiting = {.base = scene_create_with(&answer, 1, FAKE_SILENT)};
    start_stream(&waiting, 0);
    virtual_loop_run_until_idle(waiting.base->f->loop);
    cr_expect_eq(waiting.ends, 0);
    evener_stream_cancel(waiting.stream);
    virtual_loop_run_until_idle(waiting.base->f->loop);
    cr_expect_eq(waiting.ends, 1);
    cr_expect_eq(waiting.status.code, EVENER_STATUS_CANCELLED);
    evener_stream_unref(waiting.stream);

    start_stream(&waiting, 0);
    virtual_loop_run_until_idle(waiting.base->f->loop);
    evener_channel_close(waiting.base->f->channel);
    virtual_loop_run_until_idle(waiting.base->f->loop);
    cr_expect_eq(waiting.ends, 2);
    cr_expect_eq(waiting.status.code, EVENER_STATUS_UNAVAILABLE);
    stream_scene_destroy(&waiting);
}

/* ---- blocking streams on the control thread, which must not wait for it ---- */

#define LONG_BACKOFF                                                                                                   \
    "{\"methodConfig\": [{\"name\": [{}], \"retryPolicy\": {\"maxAttempts\": 3, \"initialBackoff\": \"100s\", "        \
    "\"maxBackoff\": \"100s\", \"backoffMultiplier\": 1, \"retryableStatusCodes\": [\"UNAVAILABLE\"]}}]}"

static evener_status_code open_blocking(scene *s, evener_stream **stream, evener_status *status)
{
    const evener_call_options options = {.size = sizeof options, .details = &s->details};
    return evener_stream_open(s->f->channel, METHOD, NULL, &options, stream, status);
}

Test(blocking_streams_sim, are_not_retried_by_policy, .timeout = 10)
{
    const fake_call_outcome outcomes[] = {
        {.kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_UNAVAILABLE, .delay_ns = EVENER_NS_PER_MS},
        {.kind = FAKE_CALL_ANSWER}};
    scene *s = scene_create(outcomes, 2);
    fixture_push_config(s->f, THREE, LONG_BACKOFF);
    evener_stream *stream;
    evener_status status;
    cr_assert_eq(open_blocking(s, &stream, &status), EVENER_STATUS_OK, "%s", status.message);
    virtual_loop_advance_ms(s->f->loop, 1);
    cr_expect_eq(evener_stream_finish(stream, &status), EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(s->attempts, 1);
    evener_stream_unref(stream);
    scene_destroy(s);
}

/* Transparent retries are made at once, as long as there is a backend. */
Test(blocking_streams_sim, what_never_left_waits_for_no_backend, .timeout = 10)
{
    scene *s = scene_create(
        &(fake_call_outcome){.kind = FAKE_CALL_NEVER_LEFT, .delay_ns = EVENER_NS_PER_MS, .connection_ends = true}, 1);
    fake_transport_set_default(s->f->transport, FAKE_SILENT, 0);
    evener_stream *stream;
    evener_status status;
    cr_assert_eq(open_blocking(s, &stream, &status), EVENER_STATUS_OK, "%s", status.message);
    virtual_loop_advance_ms(s->f->loop, 10);
    cr_expect_eq(evener_stream_finish(stream, &status), EVENER_STATUS_FAILED_PRECONDITION);
    cr_expect_not_null(strstr(status.message, "no backend now"), "%s", status.message);
    cr_expect_eq(s->attempts, 3, "%u", s->attempts);
    evener_stream_unref(stream);
    virtual_loop_run_until_idle(s->f->loop);
    scene_destroy(s);
}

/* Attempts in a row on one stack are limited, and the next ones would need the control thread. */
Test(blocking_streams_sim, what_never_leaves_ends, .timeout = 10)
{
    scene *s = scene_create(&(fake_call_outcome){.kind = FAKE_CALL_NEVER_LEFT, .delay_ns = EVENER_NS_PER_MS}, 1);
    evener_stream *stream;
    evener_status status;
    cr_assert_eq(open_blocking(s, &stream, &status), EVENER_STATUS_OK, "%s", status.message);
    virtual_loop_advance_ms(s->f->loop, 20);
    cr_expect_eq(evener_stream_finish(stream, &status), EVENER_STATUS_UNAVAILABLE, "%s", status.message);
    cr_expect_eq(s->attempts, 8, "%u", s->attempts);
    evener_stream_unref(stream);
    virtual_loop_run_until_idle(s->f->loop);
    scene_destroy(s);
}

Test(blocking_streams_sim, a_connection_lost_since_the_pick_is_not_waited_for, .timeout = 10)
{
    scene *s = scene_create(&(fake_call_outcome){.kind = FAKE_CALL_NOT_BEGUN}, 1);
    evener_stream *stream = NULL;
    evener_status status;
    cr_expect_eq(open_blocking(s, &stream, &status), EVENER_STATUS_FAILED_PRECONDITION, "%s", status.message);
    cr_expect_null(stream);
    cr_expect_eq(s->attempts, 1);
    scene_destroy(s);
}

/* A call that may wait is picked again. */
Test(calls_sim, a_call_on_a_connection_lost_since_the_pick_is_made_elsewhere)
{
    const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_NOT_BEGUN}, {.kind = FAKE_CALL_ANSWER}};
    scene *s = scene_create(outcomes, 2);
    start(s, 1000);
    virtual_loop_run_until_idle(s->f->loop);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    cr_expect_eq(s->attempts, 2);
    scene_destroy(s);
}

/* ---- many calls, at random, by seed ---- */

Test(calls_sim, whatever_happens_each_call_ends_once_in_time_and_is_executed_at_most_once)
{
    static const call_storm storm = {.executions_max = 1, .timeout_ms_max = 200};
    for (uint64_t seed = 1; seed <= 50; seed++) {
        call_storm_run(&storm, seed);
    }
}

/* Calls above the limits wait or are refused; none is forgotten, and none overstays its time. */
Test(calls_sim, whatever_happens_within_limits_each_call_ends_once_in_time)
{
    static const call_storm storms[] = {
        {.channel =
             {.policy = "round_robin", .calls_in_flight_max = 5, .calls_waiting_max = 20, .calls_wait_ms_max = 60},
         .executions_max = 1,
         .timeout_ms_max = 200,
         .late_ns_max = EVENER_NS_PER_MS},
        {.channel = {.policy = "p2c_ewma", .backend_calls_in_flight_max = 2},
         .executions_max = 1,
         .timeout_ms_max = 200,
         .late_ns_max = EVENER_NS_PER_MS},
        {.channel = {.policy = "least_request",
                     .calls_in_flight_max = 6,
                     .backend_calls_in_flight_max = 3,
                     .default_service_config = RETRY_CONFIG("4")},
         .executions_max = 4,
         .timeout_ms_max = 600,
         .late_ns_max = EVENER_NS_PER_MS},
    };
    for (size_t i = 0; i < sizeof storms / sizeof storms[0]; i++) {
        for (uint64_t seed = 1; seed <= 30; seed++) {
            call_storm_run(&storms[i], seed);
        }
    }
}
