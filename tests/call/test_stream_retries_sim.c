/* Retries of streams (A6, client retries) over the simulated transport: what was sent is sent again, until the call is
 * committed. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/call/replay.h"
#include "lb/call/retry.h"
#include "lb/call/stream.h"
#include "tests/call/retry_scene.h"

#define MS(n) ((n)*EVENER_NS_PER_MS)
#define LOST(ms)                                                                                                       \
    {                                                                                                                  \
        .kind = FAKE_CALL_LOST, .delay_ns = MS(ms)                                                                     \
    }
#define ECHO                                                                                                           \
    {                                                                                                                  \
        .kind = FAKE_CALL_ANSWER                                                                                       \
    }

typedef struct scene {
    retry_scene *base;
    evener_stream *stream;
    uint32_t written, headers, ends;
    evener_status status;
    char received[256]; /* the messages, joined */
    size_t sizes[4];    /* of the first ones */
    uint32_t messages;
} scene;

static void on_headers(void *arg, const evener_metadata *metadata, size_t count)
{
    (void)metadata;
    (void)count;
    ((scene *)arg)->headers++;
}

static void on_message(void *arg, evener_bytes *message)
{
    scene *s = arg;
    if (s->messages < sizeof s->sizes / sizeof s->sizes[0]) {
        s->sizes[s->messages] = message->length;
    }
    s->messages++;
    const size_t used = strlen(s->received);
    if (message->length < sizeof s->received - used) {
        memcpy(s->received + used, message->data, message->length);
    }
    evener_bytes_clear(message);
}

static void on_written(void *arg)
{
    ((scene *)arg)->written++;
}

static void on_ended(void *arg, const evener_status *status)
{
    scene *s = arg;
    s->ends++;
    s->status = *status;
}

static const evener_stream_callbacks callbacks = {
    .size = sizeof callbacks, .headers = on_headers, .message = on_message, .written = on_written, .ended = on_ended};

static void start(scene *s, const evener_bytes *only_request, uint64_t timeout_ms)
{
    const evener_call_options options = {.size = sizeof options, .timeout_ms = timeout_ms};
    evener_status status;
    s->base->attempts = 0;
    s->base->started_ns = virtual_loop_now_ns(s->base->f->loop);
    cr_assert_eq(evener_stream_start(s->base->f->channel, SCENE_METHOD, only_request, &options, &callbacks, s,
                                     &s->stream, &status),
                 EVENER_STATUS_OK, "%s", status.message);
}

static scene *create(const char *config, const fake_call_outcome *outcomes, size_t count)
{
    scene *s = calloc(1, sizeof *s);
    s->base = retry_scene_create(config, outcomes, count);
    return s;
}

static void destroy(scene *s)
{
    evener_stream_unref(s->stream);
    virtual_loop_run_until_idle(s->base->f->loop);
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

#define TIMED_CONFIG                                                                                                   \
    "{\"methodConfig\": [{\"name\": [{}], \"retryPolicy\": {\"maxAttempts\": 3, \"initialBackoff\": \"0.1s\", "        \
    "\"maxBackoff\": \"0.1s\", \"backoffMultiplier\": 1, \"retryableStatusCodes\": [\"UNAVAILABLE\"], "                \
    "\"perAttemptRecvTimeout\": \"0.05s\"}}]}"

/* The core's case, for streams: an attempt without an answer ends by its own timeout. */
Test(stream_retries_sim, retry_per_attempt_recv_timeout)
{
    const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_SILENT}, {.kind = FAKE_CALL_SILENT}, ECHO};
    scene *s = create(TIMED_CONFIG, outcomes, 3);
    start(s, NULL, 0);
    send_text(s, "one ");
    cr_expect(evener_stream_ask(s->stream));
    advance(s, 49);
    cr_expect_eq(s->base->attempts, 1);
    advance(s, 500);
    cr_expect_eq(s->base->attempts, 3);
    cr_expect(s->base->seen[1].at_ms >= 130 && s->base->seen[1].at_ms <= 172, "%llu ms",
              (unsigned long long)s->base->seen[1].at_ms);
    cr_expect_str_eq(s->received, "one ");
    advance(s, 1000);
    cr_expect_eq(s->ends, 0, "an answered attempt has no timeout of its own");
    cr_expect(evener_stream_send_done(s->stream));
    (void)evener_stream_ask(s->stream);
    advance(s, 10);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    destroy(s);
}

/* When all attempts time out the last one's status stands; a cancelled stream leaves no timer behind. */
Test(stream_retries_sim, attempts_that_time_out_are_limited)
{
    const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_SILENT}};
    scene *s = create(TIMED_CONFIG, outcomes, 1);
    start(s, NULL, 0);
    advance(s, 2000);
    cr_expect_eq(s->base->attempts, 3);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_expect_not_null(strstr(s->status.message, "attempt 3 timed out after 50 ms"), "%s", s->status.message);
    evener_stream_unref(s->stream);
    start(s, NULL, 0);
    advance(s, 20);
    evener_stream_cancel(s->stream);
    advance(s, 1);
    cr_expect_eq(s->ends, 2);
    cr_expect_eq(s->status.code, EVENER_STATUS_CANCELLED);
    destroy(s);
}

/* The transport is asked once to end an attempt, and the program's cancellation decides the status. */
Test(stream_retries_sim, a_cancellation_while_a_timed_out_attempt_ends)
{
    const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_SILENT, .cancel_ns = MS(10)}};
    scene *s = create(TIMED_CONFIG, outcomes, 1);
    start(s, NULL, 0);
    advance(s, 55);
    cr_assert_eq(s->base->attempts, 1);
    cr_assert_eq(s->ends, 0);
    evener_stream_cancel(s->stream);
    advance(s, 1000);
    cr_expect_eq(s->base->attempts, 1);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_CANCELLED, "%s", s->status.message);
    destroy(s);
}

Test(stream_retries_sim, retry_streaming)
{
    const fake_call_outcome outcomes[] = {LOST(10), LOST(10), ECHO};
    scene *s = create(RETRY_CONFIG("4"), outcomes, 3);
    start(s, NULL, 0);
    send_text(s, "one ");
    advance(s, 1);
    send_text(s, "two ");
    advance(s, 1);
    cr_expect_eq(s->written, 2);
    cr_expect(evener_stream_ask(s->stream));
    advance(s, 20);
    cr_expect_eq(s->base->attempts, 1, "in the backoff");
    send_text(s, "three ");
    for (int i = 0; i < 3; i++) {
        advance(s, 1000);
        cr_assert_eq(s->ends, 0);
        cr_expect(evener_stream_ask(s->stream) || i == 0);
    }
    advance(s, 10);
    cr_expect_eq(s->base->attempts, 3);
    cr_expect_eq(s->written, 3, "each message is reported once");
    cr_expect_str_eq(s->received, "one two three ");
    cr_expect(evener_stream_send_done(s->stream));
    (void)evener_stream_ask(s->stream);
    advance(s, 10);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    for (uint32_t i = 0; i < 3; i++) {
        cr_expect_eq(s->base->seen[i].previous_attempts, i);
    }
    destroy(s);
}

Test(stream_retries_sim, the_end_of_writing_is_repeated_too)
{
    const fake_call_outcome outcomes[] = {LOST(10), ECHO};
    scene *s = create(RETRY_CONFIG("3"), outcomes, 2);
    start(s, NULL, 0);
    send_text(s, "one");
    advance(s, 1);
    cr_expect(evener_stream_send_done(s->stream));
    cr_expect(evener_stream_ask(s->stream));
    advance(s, 1000);
    cr_expect_str_eq(s->received, "one");
    cr_expect(evener_stream_ask(s->stream));
    advance(s, 10);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    destroy(s);
}

Test(stream_retries_sim, a_server_streaming_call_is_retried)
{
    const fake_call_outcome outcomes[] = {LOST(10), ECHO};
    const evener_bytes request = {.data = (const uint8_t *)"list", .length = 4};
    scene *s = create(RETRY_CONFIG("3"), outcomes, 2);
    start(s, &request, 0);
    cr_expect(evener_stream_ask(s->stream));
    advance(s, 1000);
    cr_expect_str_eq(s->received, "list");
    cr_expect_eq(s->base->attempts, 2);
    destroy(s);
}

Test(stream_retries_sim, retry_streaming_too_many_attempts)
{
    const fake_call_outcome outcomes[] = {LOST(10)};
    scene *s = create(RETRY_CONFIG("3"), outcomes, 1);
    start(s, NULL, 0);
    send_text(s, "one");
    advance(s, 5000);
    cr_expect_eq(s->base->attempts, 3);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    destroy(s);
}

/* After a message of the server the call is committed. */
Test(stream_retries_sim, retry_streaming_after_commit)
{
    fake_call_outcome outcomes[] = {ECHO, ECHO};
    scene *s = create(RETRY_CONFIG("3"), outcomes, 2);
    start(s, NULL, 0);
    send_text(s, "one");
    cr_expect(evener_stream_ask(s->stream));
    advance(s, 1);
    cr_expect_str_eq(s->received, "one");
    evener_stream_cancel(s->stream);
    advance(s, 1000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->base->attempts, 1);
    destroy(s);
}

/* The messages of all sends count: 256 KiB are kept, one byte more commits the call. Each counts a little more than its
 * bytes. */
Test(stream_retries_sim, retry_exceeds_buffer_size_in_subsequent_batch)
{
    const fake_call_outcome outcomes[] = {LOST(10), LOST(10), ECHO};
    for (size_t more = 0; more < 2; more++) {
        scene *s = create(RETRY_CONFIG("3"), outcomes, 1);
        start(s, NULL, 0);
        send_bytes(s, EVENER_RETRY_BUFFER_BYTES - 1000);
        advance(s, 1);
        send_bytes(s, 1000 - 2 * EVENER_REPLAY_MESSAGE_BYTES + more);
        advance(s, 5000);
        cr_expect_eq(s->ends, 1);
        cr_expect_eq(s->base->attempts, more == 0 ? 3 : 1, "%zu more: %u attempts", more, s->base->attempts);
        destroy(s);
    }
}

Test(stream_retries_sim, empty_messages_exceed_the_buffer_too)
{
    const fake_call_outcome outcomes[] = {LOST(10000)};
    for (size_t more = 0; more < 2; more++) {
        scene *s = create(RETRY_CONFIG("3"), outcomes, 1);
        start(s, NULL, 0);
        for (size_t i = 0; i < EVENER_RETRY_BUFFER_BYTES / EVENER_REPLAY_MESSAGE_BYTES + more; i++) {
            send_text(s, "");
            advance(s, 1);
        }
        advance(s, 60000);
        cr_expect_eq(s->ends, 1);
        cr_expect_eq(s->base->attempts, more == 0 ? 3 : 1, "%zu more: %u attempts", more, s->base->attempts);
        destroy(s);
    }
}

Test(stream_retries_sim, retry_exceeds_buffer_size_in_initial_batch)
{
    const fake_call_outcome outcomes[] = {LOST(10)};
    scene *s = create(RETRY_CONFIG("3"), outcomes, 1);
    start(s, NULL, 0);
    send_bytes(s, EVENER_RETRY_BUFFER_BYTES + 1);
    advance(s, 5000);
    cr_expect_eq(s->base->attempts, 1);
    destroy(s);
}

/* In a replay the buffer overflows: the attempt under way still gets all messages, in order, but is the last one. */
Test(stream_retries_sim, retry_exceeds_buffer_size_in_a_replay)
{
    const fake_call_outcome outcomes[] = {LOST(10), LOST(10), ECHO};
    scene *s = create(RETRY_CONFIG("5"), outcomes, 3);
    start(s, NULL, 0);
    send_text(s, "one");
    advance(s, 1);
    send_text(s, "two");
    advance(s, 20); /* in the backoff */
    send_bytes(s, EVENER_RETRY_BUFFER_BYTES);
    advance(s, 5000);
    cr_expect_eq(s->base->attempts, 2);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    destroy(s);
}

/* In a backoff the buffer overflows, after the attempt before has written all that is in it: the next attempt still
 * gets all messages. */
Test(stream_retries_sim, a_message_that_overflows_the_buffer_in_a_backoff_follows_those_written_before)
{
    const fake_call_outcome outcomes[] = {LOST(10), ECHO};
    const size_t first = 200 * (size_t)1024, second = 100 * (size_t)1024;
    scene *s = create(RETRY_CONFIG("5"), outcomes, 2);
    start(s, NULL, 0);
    send_bytes(s, first);
    advance(s, 1);
    cr_expect_eq(s->written, 1);
    advance(s, 20);
    cr_expect_eq(s->base->attempts, 1, "in the backoff");
    send_bytes(s, second);
    cr_expect(evener_stream_send_done(s->stream));
    for (int i = 0; i < 3; i++) {
        cr_expect(evener_stream_ask(s->stream));
        advance(s, 1000);
    }
    cr_expect_eq(s->base->attempts, 2);
    cr_expect_eq(s->written, 2);
    cr_expect_eq(s->messages, 2, "the server got %u messages", s->messages);
    cr_expect_eq(s->sizes[0], first);
    cr_expect_eq(s->sizes[1], second);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    destroy(s);
}

/* Empty headers are held back until the attempt's end shows what they were; those of an attempt that is repeated are
 * dropped, also when no further attempt begins. */
Test(stream_retries_sim, held_headers_of_an_attempt_that_is_repeated_are_not_reported)
{
    fake_call_outcome outcomes[] = {LOST(10)};
    outcomes[0].empty_headers = true;
    for (int last = 0; last < 2; last++) {
        scene *s = create(RETRY_CONFIG("2"), outcomes, 1);
        const evener_metadata *metadata;
        size_t count;
        start(s, NULL, 0);
        send_text(s, "one");
        advance(s, 20);
        cr_expect_eq(s->base->attempts, 1, "in the backoff");
        cr_expect_eq(s->headers, 0);
        if (last == 0) {
            evener_stream_cancel(s->stream);
        }
        advance(s, 1000);
        cr_assert_eq(s->ends, 1);
        cr_expect_eq(s->base->attempts, 1 + (uint32_t)last);
        cr_expect_eq(s->headers, (uint32_t)last, "of the attempt whose end is the stream's");
        cr_expect_eq(evener_stream_headers(s->stream, &metadata, &count), last == 1);
        destroy(s);
    }
}

Test(stream_retries_sim, without_a_policy_a_stream_that_wrote_is_not_repeated)
{
    const fake_call_outcome outcomes[] = {LOST(10), ECHO};
    scene *s = create("{}", outcomes, 2);
    start(s, NULL, 0);
    send_text(s, "one");
    advance(s, 1000);
    cr_expect_eq(s->base->attempts, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    destroy(s);
}

/* With a policy that the channel's limit leaves one attempt, no message is kept for a further one. */
Test(stream_retries_sim, with_one_attempt_nothing_is_kept)
{
    const fake_call_outcome outcomes[] = {LOST(10)};
    for (uint32_t limit = 1; limit <= 2; limit++) {
        scene *s = calloc(1, sizeof *s);
        s->base =
            retry_scene_create_with((evener_channel_options){.attempts_max = limit}, RETRY_CONFIG("3"), outcomes, 1);
        start(s, NULL, 0);
        send_text(s, "one");
        advance(s, 5);
        cr_expect_eq(s->written, 1);
        cr_expect_eq(s->stream->may_replay, limit == 2);
        cr_expect_eq(s->stream->replay.count, limit - 1);
        advance(s, 1000);
        cr_expect_eq(s->base->attempts, limit);
        cr_expect_eq(s->ends, 1);
        destroy(s);
    }
}

/* Cancelled on the wire, in a backoff, and in a replay. */
Test(stream_retries_sim, retry_cancel_at_each_step)
{
    const fake_call_outcome outcomes[] = {LOST(20), LOST(20), ECHO};
    for (uint64_t at_ms = 0; at_ms < 400; at_ms += 5) {
        scene *s = create(RETRY_CONFIG("4"), outcomes, 3);
        start(s, NULL, 10000);
        send_text(s, "one");
        advance(s, at_ms);
        cr_assert_eq(s->ends, 0);
        evener_stream_cancel(s->stream);
        const uint32_t attempts = s->base->attempts;
        virtual_loop_run_until_idle(s->base->f->loop);
        cr_assert_eq(s->ends, 1, "cancelled after %u ms", (unsigned)at_ms);
        cr_assert_eq(s->status.code, EVENER_STATUS_CANCELLED);
        advance(s, 1000);
        cr_assert_eq(s->base->attempts, attempts);
        cr_assert_eq(s->ends, 1);
        destroy(s);
    }
}

Test(stream_retries_sim, the_deadline_bounds_all_attempts)
{
    const fake_call_outcome outcomes[] = {LOST(20)};
    scene *s = create("{\"methodConfig\": [{\"name\": [{}], \"retryPolicy\": {\"maxAttempts\": 5, \"initialBackoff\": "
                      "\"1s\", \"maxBackoff\": \"9s\", \"backoffMultiplier\": 5, \"retryableStatusCodes\": "
                      "[\"UNAVAILABLE\"]}}]}",
                      outcomes, 1);
    start(s, NULL, 3000);
    send_text(s, "one");
    advance(s, 2999);
    cr_expect_eq(s->ends, 0);
    advance(s, 1);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_DEADLINE_EXCEEDED, "%s", s->status.message);
    cr_expect_eq(s->base->attempts, 2);
    destroy(s);
}

static void expect_peer(const scene *s, size_t attempt)
{
    char peer[64];
    (void)snprintf(peer, sizeof peer, "ipv4:%s", s->base->seen[attempt].address);
    cr_expect_str_eq(evener_stream_peer(s->stream), peer);
}

/* Also while no answer came; of a call that is made again, the newest attempt's. */
Test(stream_retries_sim, the_peer_is_that_of_the_attempt_under_way)
{
    const fake_call_outcome outcomes[] = {LOST(20), {.kind = FAKE_CALL_SILENT}};
    scene *s = create(RETRY_CONFIG("2"), outcomes, 2);
    start(s, NULL, 0);
    cr_assert_eq(s->base->attempts, 1);
    expect_peer(s, 0);
    advance(s, 500);
    cr_assert_eq(s->base->attempts, 2);
    cr_assert_str_neq(s->base->seen[0].address, s->base->seen[1].address);
    expect_peer(s, 1);
    evener_stream_cancel(s->stream);
    advance(s, 10);
    cr_expect_eq(s->ends, 1);
    expect_peer(s, 1); /* it stays known */
    destroy(s);
}
