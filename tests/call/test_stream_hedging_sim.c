/* Hedging of streams (A6, client retries) over the simulated transport: what was sent goes to each attempt, the one whose
 * answer begins first is chosen, and the others are cancelled. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/call/replay.h"
#include "lb/call/retry.h"
#include "tests/call/retry_scene.h"

#define MS(n) ((n)*EVENER_NS_PER_MS)
#define HEDGING(attempts, delay)                                                                                       \
    "{\"methodConfig\": [{\"name\": [{}], \"hedgingPolicy\": {\"maxAttempts\": " attempts                              \
    ", \"hedgingDelay\": \"" delay "\", \"nonFatalStatusCodes\": [\"UNAVAILABLE\"]}}]}"
#define LOST(ms)                                                                                                       \
    {                                                                                                                  \
        .kind = FAKE_CALL_LOST, .delay_ns = MS(ms)                                                                     \
    }
#define ECHO(ms)                                                                                                       \
    {                                                                                                                  \
        .kind = FAKE_CALL_ANSWER, .delay_ns = MS(ms)                                                                   \
    }
#define FAILS(ms, status)                                                                                              \
    {                                                                                                                  \
        .kind = FAKE_CALL_ANSWER, .delay_ns = MS(ms), .code = EVENER_STATUS_##status                                   \
    }
#define SILENT                                                                                                         \
    {                                                                                                                  \
        .kind = FAKE_CALL_SILENT                                                                                       \
    }

typedef struct scene {
    retry_scene *base;
    evener_stream *stream;
    uint32_t written, headers, messages, ends;
    uint64_t answered_ms, ended_ms; /* since the start: the first message, and the end */
    evener_status status;
    evener_call_details details;
    char received[256]; /* the messages, joined */
    size_t received_bytes;
    bool asks; /* for the next message after each one */
} scene;

static uint64_t since_start_ms(const scene *s)
{
    return (virtual_loop_now_ns(s->base->f->loop) - s->base->started_ns) / EVENER_NS_PER_MS;
}

static void on_headers(void *arg, const evener_metadata *metadata, size_t count)
{
    (void)metadata;
    (void)count;
    ((scene *)arg)->headers++;
}

static void on_message(void *arg, evener_bytes *message)
{
    scene *s = arg;
    if (s->messages++ == 0) {
        s->answered_ms = since_start_ms(s);
    }
    s->received_bytes += message->length;
    const size_t used = strlen(s->received);
    if (message->length < sizeof s->received - used) {
        memcpy(s->received + used, message->data, message->length);
    }
    evener_bytes_clear(message);
    if (s->asks) {
        (void)evener_stream_ask(s->stream);
    }
}

static void on_written(void *arg)
{
    ((scene *)arg)->written++;
}

static void on_ended(void *arg, const evener_status *status)
{
    scene *s = arg;
    s->ends++;
    s->ended_ms = since_start_ms(s);
    s->status = *status;
}

static const evener_stream_callbacks callbacks = {
    .size = sizeof callbacks, .headers = on_headers, .message = on_message, .written = on_written, .ended = on_ended};

static void start(scene *s, const evener_bytes *only_request, uint64_t timeout_ms)
{
    const evener_call_options options = {.size = sizeof options, .timeout_ms = timeout_ms, .details = &s->details};
    evener_status status;
    evener_stream_unref(s->stream);
    s->base->attempts = 0;
    s->base->executions = 0;
    s->ends = s->messages = s->written = s->headers = 0;
    s->received_bytes = 0;
    memset(s->received, 0, sizeof s->received);
    s->base->started_ns = virtual_loop_now_ns(s->base->f->loop);
    cr_assert_eq(evener_stream_start(s->base->f->channel, SCENE_METHOD, only_request, &options, &callbacks, s,
                                     &s->stream, &status),
                 EVENER_STATUS_OK, "%s", status.message);
}

static scene *create(const char *config, const fake_call_outcome *outcomes, size_t count)
{
    scene *s = calloc(1, sizeof *s);
    s->details.size = sizeof s->details;
    s->base = retry_scene_create(config, outcomes, count);
    return s;
}

static void destroy(scene *s)
{
    evener_stream_unref(s->stream);
    virtual_loop_run_until_idle(s->base->f->loop);
    evener_call_details_clear(&s->details);
    retry_scene_destroy(s->base);
    free(s);
}

static void advance(scene *s, uint64_t ms)
{
    virtual_loop_advance_ms(s->base->f->loop, ms);
}

static void send_text(scene *s, const char *text)
{
    const evener_bytes message = {.data = (const uint8_t *)text, .length = strlen(text)};
    cr_assert(evener_stream_send(s->stream, &message));
}

static void send_bytes(scene *s, size_t bytes)
{
    evener_bytes message;
    uint8_t *to = evener_bytes_create(bytes, &message);
    memset(to, 'x', bytes);
    cr_assert(evener_stream_send(s->stream, &message));
    evener_bytes_clear(&message);
}

static size_t under_way(const scene *s)
{
    return fake_transport_calls_under_way(s->base->f->transport);
}

static evener_method_stats stats_of(const scene *s)
{
    evener_method_stats stats;
    cr_assert_eq(evener_channel_get_method_stats(s->base->f->channel, &stats, sizeof stats, 1), 1);
    return stats;
}

/* The first hangs; the second, at another backend, gets the same messages and answers. */
Test(stream_hedging_sim, attempts_start_after_each_delay_and_the_first_answer_is_chosen)
{
    const fake_call_outcome outcomes[] = {SILENT, SILENT, ECHO(20)};
    scene *s = create(HEDGING("4", "0.1s"), outcomes, 3);
    s->asks = true;
    start(s, NULL, 0);
    send_text(s, "one ");
    cr_expect(evener_stream_ask(s->stream));
    advance(s, 219);
    cr_expect_eq(s->messages, 0);
    cr_expect_eq(under_way(s), 3);
    advance(s, 1);
    cr_expect_str_eq(s->received, "one ");
    cr_expect_eq(s->answered_ms, 220);
    cr_expect_eq(under_way(s), 1, "the others are cancelled");
    advance(s, 1000);
    cr_expect_eq(s->base->attempts, 3, "none starts after the commitment");
    send_text(s, "two ");
    advance(s, 1);
    send_text(s, "three ");
    advance(s, 1);
    cr_expect(evener_stream_send_done(s->stream));
    advance(s, 10);
    cr_expect_str_eq(s->received, "one two three ");
    cr_expect_eq(s->written, 3);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    cr_expect_eq(s->details.attempts, 3);
    cr_expect(strstr(s->details.peer, s->base->seen[2].address) != NULL, "%s", s->details.peer);
    cr_expect(strstr(evener_stream_peer(s->stream), s->base->seen[2].address) != NULL);
    for (uint32_t i = 0; i < 3; i++) {
        cr_expect_eq(s->base->seen[i].at_ms, 100 * i);
        cr_expect_eq(s->base->seen[i].previous_attempts, i);
        cr_expect_str_neq(s->base->seen[i].address, s->base->seen[(i + 1) % 3].address);
    }
    cr_expect_eq(stats_of(s).attempts_cancelled, 2);
    cr_expect_eq(stats_of(s).hedges, 2);
    destroy(s);
}

/* What is sent while several attempts are on the wire goes to each; it is reported once. */
Test(stream_hedging_sim, each_attempt_gets_all_messages_and_the_end_of_writing)
{
    const fake_call_outcome outcomes[] = {LOST(500), LOST(500), ECHO(300)};
    for (uint64_t done_at = 0; done_at < 2; done_at++) {
        scene *s = create(HEDGING("3", "0.1s"), outcomes, 3);
        s->asks = true;
        start(s, NULL, 0);
        send_text(s, "one ");
        cr_expect(evener_stream_ask(s->stream));
        advance(s, 150);
        send_text(s, "two ");
        advance(s, 1);
        cr_expect_eq(s->written, 2);
        advance(s, 100);
        send_text(s, "three ");
        advance(s, done_at);
        cr_expect(evener_stream_send_done(s->stream));
        advance(s, 200);
        cr_expect_eq(s->messages, 0);
        advance(s, 100);
        cr_expect_str_eq(s->received, "one two three ");
        cr_expect_eq(s->written, 3);
        cr_expect_eq(s->ends, 1);
        cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
        destroy(s);
    }
}

Test(stream_hedging_sim, headers_commit)
{
    fake_call_outcome outcomes[] = {SILENT, LOST(400), ECHO(0)};
    outcomes[1].headers = true;
    scene *s = create(HEDGING("3", "0.1s"), outcomes, 3);
    start(s, NULL, 0);
    send_text(s, "one");
    advance(s, 99);
    cr_expect_eq(s->headers, 0);
    advance(s, 2);
    cr_expect_eq(s->headers, 1);
    cr_expect_eq(under_way(s), 1);
    advance(s, 1000);
    cr_expect_eq(s->base->attempts, 2);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE, "its status counts, whatever it is");
    cr_expect_eq(s->ended_ms, 500);
    destroy(s);
}

Test(stream_hedging_sim, a_non_fatal_status_sends_the_next_at_once)
{
    const fake_call_outcome outcomes[] = {FAILS(10, UNAVAILABLE), FAILS(10, UNAVAILABLE), ECHO(10)};
    scene *s = create(HEDGING("3", "5s"), outcomes, 3);
    const evener_bytes request = {.data = (const uint8_t *)"list", .length = 4};
    s->asks = true;
    start(s, &request, 0);
    cr_expect(evener_stream_ask(s->stream));
    advance(s, 100);
    cr_expect_str_eq(s->received, "list");
    cr_expect_eq(s->answered_ms, 30);
    cr_expect_eq(s->base->attempts, 3);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    destroy(s);
}

/* A hedge is a spare: an attempt under way still answers. */
Test(stream_hedging_sim, a_hedge_that_the_closed_channel_refuses_leaves_the_first_attempt_alone)
{
    const fake_call_outcome outcomes[] = {ECHO(200)};
    scene *s = create(HEDGING("3", "0.05s"), outcomes, 1);
    const evener_bytes request = {.data = (const uint8_t *)"list", .length = 4};
    s->asks = true;
    start(s, &request, 0);
    cr_expect(evener_stream_ask(s->stream));
    advance(s, 10);
    evener_channel_close(s->base->f->channel);
    advance(s, 1000);
    cr_expect_str_eq(s->received, "list");
    cr_expect_eq(s->answered_ms, 200);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    cr_expect_eq(s->base->attempts, 1);
    destroy(s);
}

Test(stream_hedging_sim, a_fatal_status_is_the_end)
{
    const fake_call_outcome outcomes[] = {SILENT, FAILS(10, INVALID_ARGUMENT)};
    scene *s = create(HEDGING("4", "0.1s"), outcomes, 2);
    start(s, NULL, 0);
    send_text(s, "one");
    advance(s, 1000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(s->ended_ms, 110);
    cr_expect_eq(s->base->attempts, 2);
    cr_expect_eq(s->headers, 0);
    cr_expect_eq(under_way(s), 0);
    destroy(s);
}

Test(stream_hedging_sim, when_all_have_failed_the_last_status_is_the_end)
{
    const fake_call_outcome outcomes[] = {FAILS(500, UNAVAILABLE), LOST(10), FAILS(20, UNAVAILABLE)};
    scene *s = create(HEDGING("3", "0.1s"), outcomes, 3);
    start(s, NULL, 0);
    send_text(s, "one");
    advance(s, 2000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->ended_ms, 500);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(s->base->attempts, 3);
    destroy(s);
}

Test(stream_hedging_sim, pushback_moves_the_next_attempt_or_forbids_it)
{
    fake_call_outcome outcomes[] = {FAILS(10, UNAVAILABLE), ECHO(0)};
    outcomes[0].pushback = "300";
    scene *s = create(HEDGING("3", "0.1s"), outcomes, 2);
    start(s, NULL, 0);
    send_text(s, "one");
    cr_expect(evener_stream_ask(s->stream));
    advance(s, 309);
    cr_expect_eq(s->base->attempts, 1);
    advance(s, 1);
    cr_expect_str_eq(s->received, "one");
    evener_stream_cancel(s->stream);
    advance(s, 1);
    s->base->outcomes[0].pushback = "-1";
    start(s, NULL, 0);
    advance(s, 1000);
    cr_expect_eq(s->base->attempts, 1);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    destroy(s);
}

Test(stream_hedging_sim, the_throttle_ends_hedging)
{
    const fake_call_outcome outcomes[] = {FAILS(1, UNAVAILABLE)};
    scene *s =
        create("{\"methodConfig\": [{\"name\": [{}], \"hedgingPolicy\": {\"maxAttempts\": 4, \"hedgingDelay\": "
               "\"0.1s\", \"nonFatalStatusCodes\": [\"UNAVAILABLE\"]}}], \"retryThrottling\": {\"maxTokens\": 4, "
               "\"tokenRatio\": 0.1}}",
               outcomes, 1);
    start(s, NULL, 0);
    advance(s, 1000);
    cr_expect_eq(s->base->attempts, 2);
    cr_expect_eq(s->ends, 1);
    start(s, NULL, 0);
    advance(s, 1000);
    cr_expect_eq(s->base->attempts, 1);
    destroy(s);
}

/* 256 KiB are kept for further attempts. More commits the stream to the attempt that has written most, which gets all. */
Test(stream_hedging_sim, more_than_the_buffer_commits_to_one_attempt)
{
    const size_t part = EVENER_RETRY_BUFFER_BYTES / 2;
    const fake_call_outcome outcomes[] = {SILENT, ECHO(150), ECHO(0)};
    scene *s = create(HEDGING("4", "0.1s"), outcomes, 3);
    s->asks = true;
    start(s, NULL, 0);
    send_bytes(s, part);
    advance(s, 150);
    cr_expect_eq(s->written, 0);
    cr_expect_eq(under_way(s), 2);
    cr_expect_not(evener_stream_send(s->stream, &(evener_bytes){.data = (const uint8_t *)"", .length = 0}));
    cr_expect(evener_stream_ask(s->stream));
    advance(s, 40);
    cr_expect_eq(s->written, 0);
    advance(s, 20);
    cr_expect_eq(s->received_bytes, part, "the third has answered");
    destroy(s);

    fake_call_outcome lost[] = {LOST(1000), LOST(1000), ECHO(0)};
    s = create(HEDGING("4", "0.1s"), lost, 3);
    start(s, NULL, 0);
    send_bytes(s, part);
    advance(s, 150);
    cr_expect_eq(s->written, 1);
    cr_expect_eq(under_way(s), 2);
    send_bytes(s, part);
    advance(s, 1);
    cr_expect_eq(s->written, 2);
    cr_expect_eq(under_way(s), 1);
    advance(s, 5000);
    cr_expect_eq(s->base->attempts, 2, "no further attempt");
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(s->ended_ms, 1100, "of the newest, as both had written all");
    destroy(s);

    const fake_call_outcome one_takes_all[] = {LOST(1000), SILENT};
    s = create(HEDGING("4", "0.1s"), one_takes_all, 2);
    start(s, NULL, 0);
    send_bytes(s, part);
    advance(s, 150);
    cr_expect_eq(s->written, 1);
    send_bytes(s, part);
    advance(s, 1);
    cr_expect_eq(s->written, 2);
    cr_expect_eq(under_way(s), 1);
    advance(s, 5000);
    cr_expect_eq(s->ended_ms, 1000, "of the first, which alone had written all");
    destroy(s);
}

/* While no attempt is on the wire the buffer overflows: the next one gets all messages, and is the last. */
Test(stream_hedging_sim, more_than_the_buffer_between_attempts_commits_to_the_next_one)
{
    fake_call_outcome outcomes[] = {FAILS(10, UNAVAILABLE), ECHO(0)};
    outcomes[0].pushback = "300";
    for (int fails = 0; fails < 2; fails++) {
        scene *s = create(HEDGING("4", "0.1s"), outcomes, 2);
        s->asks = true;
        start(s, NULL, 0);
        send_bytes(s, 1000);
        advance(s, 50);
        cr_expect_eq(s->written, 1);
        cr_expect_eq(under_way(s), 0);
        send_bytes(s, EVENER_RETRY_BUFFER_BYTES);
        cr_expect(evener_stream_ask(s->stream));
        if (fails != 0) {
            s->base->outcomes[1] = (fake_call_outcome)LOST(150);
        }
        advance(s, 1000);
        cr_expect(evener_stream_send_done(s->stream) || fails != 0);
        advance(s, 1);
        cr_expect_eq(s->base->attempts, 2);
        cr_expect_eq(s->received_bytes, fails != 0 ? 0 : 1000 + EVENER_RETRY_BUFFER_BYTES);
        cr_expect_eq(s->ends, 1);
        cr_expect_eq(s->status.code, fails != 0 ? EVENER_STATUS_UNAVAILABLE : EVENER_STATUS_OK);
        destroy(s);
    }
}

Test(stream_hedging_sim, a_request_above_the_buffer_is_not_hedged)
{
    const fake_call_outcome outcomes[] = {SILENT};
    evener_bytes request;
    memset(evener_bytes_create(EVENER_RETRY_BUFFER_BYTES + 1, &request), 'x', EVENER_RETRY_BUFFER_BYTES + 1);
    scene *s = create(HEDGING("3", "0.1s"), outcomes, 1);
    start(s, &request, 1000);
    advance(s, 2000);
    cr_expect_eq(s->base->attempts, 1);
    cr_expect_eq(s->ended_ms, 1000);
    cr_expect_eq(s->status.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    evener_bytes_clear(&request);
    destroy(s);
}

Test(stream_hedging_sim, transparent_retries_are_made_inside_an_attempt)
{
    const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_REFUSED}, ECHO(20)};
    scene *s = create(HEDGING("2", "5s"), outcomes, 2);
    start(s, NULL, 0);
    send_text(s, "one");
    cr_expect(evener_stream_ask(s->stream));
    advance(s, 100);
    cr_expect_str_eq(s->received, "one");
    cr_expect_eq(s->base->attempts, 2);
    cr_expect_eq(s->base->seen[1].previous_attempts, 0);
    destroy(s);
}

static void ask_now(void *arg)
{
    const scene *s = arg;
    (void)evener_stream_ask(s->stream);
}

/* Two events of one moment: an attempt answers, and another one is refused, which would be made again if it could still
 * be chosen. */
Test(stream_hedging_sim, an_attempt_that_is_refused_after_another_one_was_chosen_is_not_made_again)
{
    const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_REFUSED, .delay_ns = MS(120)}, ECHO(0)};
    const evener_bytes request = {.data = (const uint8_t *)"one", .length = 3};
    for (int has_only_request = 0; has_only_request < 2; has_only_request++) {
        scene *s = create(HEDGING("2", "0.1s"), outcomes, 2);
        evener_loop *loop = virtual_loop_loop(s->base->f->loop);
        evener_timer timer = EVENER_TIMER_INIT(ask_now, s);
        evener_timer_start(loop, &timer, MS(120)); /* fires before that of the attempt, which starts later */
        start(s, has_only_request == 1 ? &request : NULL, 0);
        if (has_only_request == 0) {
            send_text(s, "one");
        }
        advance(s, 119);
        cr_expect_eq(under_way(s), 2);
        cr_expect_eq(s->messages, 0);
        advance(s, 1);
        cr_expect_str_eq(s->received, "one");
        cr_expect_eq(s->base->attempts, 2);
        cr_expect_eq(under_way(s), 1);
        advance(s, 1000);
        cr_expect_eq(s->base->attempts, 2);
        destroy(s);
    }
}

/* Empty headers are held back while they may be none: they do not commit. A message then does. */
Test(stream_hedging_sim, empty_headers_do_not_commit_while_they_may_be_none)
{
    fake_call_outcome outcomes[] = {LOST(50), ECHO(0)};
    outcomes[0].empty_headers = true;
    scene *s = create(HEDGING("2", "5s"), outcomes, 2);
    start(s, NULL, 0);
    send_text(s, "one");
    cr_expect(evener_stream_ask(s->stream));
    advance(s, 100);
    cr_expect_eq(s->base->attempts, 2);
    cr_expect_str_eq(s->received, "one");
    destroy(s);
}

Test(stream_hedging_sim, the_deadline_bounds_all_attempts)
{
    const fake_call_outcome outcomes[] = {SILENT};
    scene *s = create(HEDGING("4", "0.4s"), outcomes, 1);
    start(s, NULL, 1000);
    send_text(s, "one");
    advance(s, 999);
    cr_expect_eq(s->ends, 0);
    cr_expect_eq(under_way(s), 3);
    advance(s, 1);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_expect_eq(s->base->seen[2].timeout_ms, 200);
    destroy(s);
}

Test(stream_hedging_sim, cancelled_at_each_step)
{
    fake_call_outcome outcomes[] = {FAILS(30, UNAVAILABLE), SILENT, LOST(60), ECHO(40)};
    outcomes[0].pushback = "20";
    scene *s = create(HEDGING("4", "0.05s"), outcomes, 4);
    s->asks = true;
    for (uint64_t at_ms = 0; at_ms < 300; at_ms += 5) {
        start(s, NULL, 10000);
        send_text(s, "one");
        (void)evener_stream_ask(s->stream);
        advance(s, at_ms);
        cr_assert_eq(s->ends, 0);
        evener_stream_cancel(s->stream);
        evener_stream_cancel(s->stream);
        const uint32_t attempts = s->base->attempts;
        virtual_loop_run_until_idle(s->base->f->loop);
        cr_assert_eq(s->ends, 1, "cancelled after %u ms", (unsigned)at_ms);
        cr_assert_eq(s->status.code, EVENER_STATUS_CANCELLED, "%s", s->status.message);
        cr_assert_eq(under_way(s), 0);
        advance(s, 1000);
        cr_assert_eq(s->ends, 1);
        cr_assert_eq(s->base->attempts, attempts, "nothing comes after the end");
        evener_stream_cancel(s->stream);
    }
    destroy(s);
}

/* Beyond A6: the latency of a stream is the time until its answer begins, not its life. */
Test(stream_hedging_sim, the_quantile_is_of_the_time_until_the_answer)
{
    const fake_call_outcome outcomes[] = {ECHO(20)};
    scene *s = create("{\"methodConfig\": [{\"name\": [{}], \"hedgingPolicy\": {\"maxAttempts\": 2, \"hedgingDelay\": "
                      "\"0.5s\", \"evenerHedgingQuantile\": 0.9}}]}",
                      outcomes, 1);
    for (int i = 0; i < 1000; i++) {
        start(s, NULL, 0);
        send_text(s, "one");
        (void)evener_stream_ask(s->stream);
        advance(s, 400);
        cr_assert_eq(s->messages, 1);
        evener_stream_cancel(s->stream);
        advance(s, 1);
    }
    const uint64_t quantile_ns = stats_of(s).quantile_ns;
    cr_expect(quantile_ns > MS(15) && quantile_ns < MS(30), "%llu ns", (unsigned long long)quantile_ns);
    s->base->outcomes[0] = (fake_call_outcome)SILENT;
    start(s, NULL, 0);
    advance(s, 100);
    cr_expect_eq(s->base->attempts, 2);
    destroy(s);
}

/* ---- many streams, at random, by seed ---- */

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static fake_call_outcome random_outcome(uint64_t *state)
{
    static const char *const pushbacks[] = {NULL, NULL, NULL, "0", "30", "-1"};
    static const evener_status_code codes[] = {EVENER_STATUS_OK, EVENER_STATUS_OK, EVENER_STATUS_UNAVAILABLE,
                                               EVENER_STATUS_UNAVAILABLE, EVENER_STATUS_INTERNAL};
    fake_call_outcome outcome = {.kind = (fake_call_kind)(next_random(state) % 5),
                                 .delay_ns = MS(next_random(state) % 60),
                                 .code = codes[next_random(state) % 5],
                                 .headers = next_random(state) % 6 == 0,
                                 .empty_headers = next_random(state) % 3 == 0,
                                 .pushback = pushbacks[next_random(state) % 6],
                                 .connection_ends = next_random(state) % 20 == 0};
    outcome.headers = outcome.headers && outcome.kind != FAKE_CALL_NEVER_LEFT && outcome.kind != FAKE_CALL_REFUSED;
    outcome.empty_headers = outcome.empty_headers && !outcome.headers;
    return outcome;
}

static void run_seed(uint64_t seed)
{
    uint64_t state = seed;
    const fake_call_outcome first = SILENT;
    scene *s = create(HEDGING("4", "0.02s"), &first, 1);
    s->asks = true;
    for (int call = 0; call < 20; call++) {
        for (size_t i = 0; i < SCENE_ATTEMPTS; i++) {
            s->base->outcomes[i] = random_outcome(&state);
        }
        s->base->outcome_count = SCENE_ATTEMPTS;
        char sent[16] = "";
        const uint64_t cancel_at = next_random(&state) % 4 == 0 ? next_random(&state) % 150 : UINT64_MAX;
        uint32_t accepted = 0;
        bool is_done = false;
        start(s, NULL, 150);
        (void)evener_stream_ask(s->stream);
        for (uint64_t ms = 0; ms < 160; ms++) {
            if (accepted < 10 && next_random(&state) % 4 == 0) {
                const char digit = (char)('0' + accepted);
                const evener_bytes message = {.data = (const uint8_t *)&digit, .length = 1};
                if (evener_stream_send(s->stream, &message)) {
                    sent[accepted++] = digit;
                }
            } else if (!is_done && accepted > 0 && next_random(&state) % 40 == 0) {
                is_done = evener_stream_send_done(s->stream);
                accepted = 10;
            }
            if (ms == cancel_at) {
                evener_stream_cancel(s->stream);
            }
            advance(s, 1);
        }
        virtual_loop_run_until_idle(s->base->f->loop);
        cr_assert_eq(s->ends, 1, "seed %llu, stream %d", (unsigned long long)seed, call);
        cr_assert_leq(s->ended_ms, 150);
        cr_assert_leq(s->base->executions, 4);
        cr_assert_leq(s->headers, 1);
        cr_assert_eq(strncmp(s->received, sent, strlen(s->received)), 0, "seed %llu: \"%s\" of \"%s\"",
                     (unsigned long long)seed, s->received, sent);
        if (s->status.code == EVENER_STATUS_OK) {
            cr_assert_str_eq(s->received, sent, "seed %llu", (unsigned long long)seed);
        }
        cr_assert_eq(under_way(s), 0, "seed %llu: an attempt is left behind", (unsigned long long)seed);
        advance(s, 2000); /* connections that ended come back */
        cr_assert_eq(s->ends, 1);
    }
    destroy(s);
}

Test(stream_hedging_sim, whatever_happens_each_stream_ends_once_in_time_and_is_executed_as_often_as_its_policy_allows)
{
    for (uint64_t seed = 1; seed <= 100; seed++) {
        run_seed(seed);
    }
}
