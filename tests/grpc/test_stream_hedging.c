/* Hedging of streams (A6, client retries) over the built-in transports, against real servers that count the calls. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "grpc/call_fixture.h"

#define MESSAGES 1000
#define CONFIG(attempts, delay)                                                                                        \
    "{\"loadBalancingPolicy\": \"round_robin\", \"methodConfig\": [{\"name\": [{\"service\": \"evener.demo.Echo\", "   \
    "\"method\": \"Stream\"}], \"hedgingPolicy\": {\"maxAttempts\": " attempts ", \"hedgingDelay\": \"" delay          \
    "\", \"nonFatalStatusCodes\": [\"UNAVAILABLE\"]}}]}"

/* ---- the scene ---- */

static uint64_t calls_of(const call_fixture *f)
{
    uint64_t calls = 0;
    for (size_t i = 0; i < f->server_count; i++) {
        calls += demo_server_calls(f->servers[i]);
    }
    return calls;
}

/* Wait until no server has a call any more: no attempt is left behind. */
static bool no_call_is_left(const call_fixture *f)
{
    for (int i = 0; i < 20000; i++) {
        uint64_t left = 0;
        for (size_t k = 0; k < f->server_count; k++) {
            left += demo_server_calls_in_flight(f->servers[k]);
        }
        if (left == 0) {
            return true;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return false;
}

/* Return the number of calls that the servers have had before the test's. */
static uint64_t open_scene(call_fixture *f, size_t servers, const char *config)
{
    char target[256] = "ipv4:";
    evener_status status;
    call_fixture_open(f, servers, NULL);
    for (size_t i = 0; i < servers; i++) {
        const size_t used = strlen(target);
        snprintf(target + used, sizeof target - used, "%s127.0.0.1:%u", i > 0 ? "," : "",
                 (unsigned)demo_server_port(f->servers[i]));
    }
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = f->runtime,
                                            .credentials = f->insecure,
                                            .callbacks_on_call_threads = call_fixture_has_call_threads(),
                                            .default_service_config = config};
    evener_channel_unref(f->channel);
    cr_assert_eq(evener_channel_create(target, &options, &f->channel, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_channel_wait_ready(f->channel, 20000, &status), EVENER_STATUS_OK, "%s", status.message);
    /* An attempt avoids the backends of the others while another one is READY: so all are, before a test. */
    for (size_t i = 0; i < servers; i++) {
        while (demo_server_calls(f->servers[i]) == 0) {
            const evener_bytes request = bytes_of("are you there?");
            cr_assert_eq(evener_unary_call(f->channel, ECHO_UNARY, &request, NULL, NULL, &status), EVENER_STATUS_OK,
                         "%s", status.message);
        }
    }
    cr_assert(no_call_is_left(f));
    return calls_of(f);
}

static evener_bytes numbered(char text[16], unsigned number)
{
    snprintf(text, 16, "%u", number);
    return bytes_of(text);
}

/* ---- blocking streams ---- */

typedef struct reader {
    evener_stream *stream;
    unsigned from, count;
    bool in_order;
} reader;

static void *read_all(void *arg)
{
    reader *r = arg;
    evener_bytes message;
    char text[16];
    while (evener_stream_read(r->stream, &message)) {
        (void)numbered(text, r->from + r->count++);
        r->in_order = r->in_order && bytes_equal(&message, text);
        evener_bytes_clear(&message);
    }
    return NULL;
}

/* Send 20 messages, then 1,000 more once the first has been answered; check that each is answered, in order. */
static void run_blocking(evener_channel *channel)
{
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 60000};
    evener_stream *stream;
    evener_status status;
    char text[16];
    cr_assert_eq(evener_stream_open(channel, ECHO_STREAM, NULL, &options, &stream, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    for (unsigned i = 0; i < 20; i++) {
        const evener_bytes message = numbered(text, i);
        cr_assert(evener_stream_write(stream, &message));
    }
    evener_bytes first;
    cr_assert(evener_stream_read(stream, &first));
    cr_expect(bytes_equal(&first, "0"));
    evener_bytes_clear(&first);
    reader r = {.stream = stream, .from = 1, .in_order = true};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, read_all, &r), 0);
    for (unsigned i = 20; i < 20 + MESSAGES; i++) {
        const evener_bytes message = numbered(text, i);
        cr_assert(evener_stream_write(stream, &message));
    }
    cr_expect(evener_stream_writes_done(stream));
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_expect_eq(r.count, 19 + MESSAGES, "%u answers", r.count);
    cr_expect(r.in_order);
    cr_expect_eq(evener_stream_finish(stream, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_stream_unref(stream);
}

/* ---- streams with callbacks ---- */

typedef struct started {
    evener_stream *stream;
    unsigned total, sent, received, headers, ends;
    bool in_order;
    evener_status status;
    sem_t ended;
} started;

static void on_headers(void *arg, const evener_metadata *metadata, size_t count)
{
    (void)metadata;
    (void)count;
    ((started *)arg)->headers++;
}

static void on_written(void *arg)
{
    started *s = arg;
    char text[16];
    if (s->sent < s->total) {
        const evener_bytes message = numbered(text, s->sent++);
        (void)evener_stream_send(s->stream, &message);
    } else {
        (void)evener_stream_send_done(s->stream);
    }
}

static void on_message(void *arg, evener_bytes *message)
{
    started *s = arg;
    char text[16];
    (void)numbered(text, s->received++);
    s->in_order = s->in_order && bytes_equal(message, text);
    evener_bytes_clear(message);
    (void)evener_stream_ask(s->stream);
}

static void on_ended(void *arg, const evener_status *status)
{
    started *s = arg;
    s->ends++;
    s->status = *status;
    sem_post(&s->ended);
}

static const evener_stream_callbacks callbacks = {
    .size = sizeof callbacks, .headers = on_headers, .message = on_message, .written = on_written, .ended = on_ended};

static void start(started *s, evener_channel *channel, unsigned total)
{
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 60000};
    evener_status status;
    *s = (started){.total = total, .in_order = true};
    sem_init(&s->ended, 0, 0);
    cr_assert_eq(evener_stream_start(channel, ECHO_STREAM, NULL, &options, &callbacks, s, &s->stream, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    (void)evener_stream_ask(s->stream);
    on_written(s); /* the first; the others follow from callbacks */
}

static void finish(started *s)
{
    while (sem_wait(&s->ended) != 0) {
    }
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->headers, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    cr_expect_eq(s->received, s->total, "%u answers", s->received);
    cr_expect(s->in_order);
    evener_stream_unref(s->stream);
    sem_destroy(&s->ended);
}

/* ---- cases ---- */

Test(stream_hedging, one_server_hangs_and_the_other_answers)
{
    call_fixture f;
    const uint64_t before = open_scene(&f, 2, CONFIG("2", "0.02s"));
    const uint64_t before_hung = demo_server_calls(f.servers[0]);
    demo_server_set_delay_ms(f.servers[0], DEMO_SERVER_NEVER_MS);
    for (int i = 0; i < 4; i++) {
        started s;
        run_blocking(f.channel);
        start(&s, f.channel, MESSAGES);
        finish(&s);
    }
    cr_expect_gt(demo_server_calls(f.servers[0]), before_hung);
    cr_expect_leq(calls_of(&f) - before, 16);
    cr_expect(no_call_is_left(&f), "the hung attempts are cancelled");
    call_fixture_close(&f);
}

Test(stream_hedging, one_server_fails_and_the_other_answers)
{
    call_fixture f;
    const uint64_t before = open_scene(&f, 2, CONFIG("2", "60s"));
    const uint64_t before_failed = demo_server_calls(f.servers[0]);
    demo_server_set_failure(f.servers[0], GRPC_STATUS_UNAVAILABLE, "not today");
    for (int i = 0; i < 4; i++) {
        run_blocking(f.channel);
    }
    const uint64_t failed = demo_server_calls(f.servers[0]) - before_failed;
    cr_expect_gt(failed, 0);
    cr_expect_eq(calls_of(&f) - before, 4 + failed, "another attempt follows each that failed");
    cr_expect(no_call_is_left(&f));
    call_fixture_close(&f);
}

/* All attempts answer at the same time: each stream has one answer. */
Test(stream_hedging, attempts_that_race_give_one_answer)
{
    enum { STREAMS = 20, ROUNDS = 5 };
    call_fixture f;
    const uint64_t before = open_scene(&f, 3, CONFIG("3", "0s"));
    started *streams = calloc(STREAMS, sizeof *streams);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < STREAMS; i++) {
            start(&streams[i], f.channel, 50);
        }
        for (int i = 0; i < STREAMS; i++) {
            finish(&streams[i]);
        }
    }
    cr_expect_leq(calls_of(&f) - before, 3 * STREAMS * ROUNDS);
    cr_expect(no_call_is_left(&f));
    free(streams);
    call_fixture_close(&f);
}
