/* Metadata of calls that comes later, from an interceptor or credentials, over the simulated transport. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/call/call_storm.h"
#include "tests/call/retry_scene.h"

#define OK                                                                                                             \
    {                                                                                                                  \
        .kind = FAKE_CALL_ANSWER                                                                                       \
    }
#define HEDGED                                                                                                         \
    "{\"methodConfig\": [{\"name\": [{}], \"hedgingPolicy\": {\"maxAttempts\": 3, \"hedgingDelay\": \"0.1s\"}}]}"

/* What the credentials were asked for and have not answered. */
static evener_late_metadata *asked[512];
static size_t asked_count;

static evener_status_code ask_later(void *arg, evener_new_call *call, const char *url, evener_status *status)
{
    (void)arg;
    cr_expect_str_eq(url, "https://x/sim.Sim");
    cr_assert_eq(evener_new_call_defer(call, &asked[asked_count], status), EVENER_STATUS_OK);
    asked_count++;
    return EVENER_STATUS_OK;
}

static evener_status_code answer_at_once(void *arg, evener_new_call *call, const char *url, evener_status *status)
{
    (void)arg;
    (void)url;
    evener_late_metadata *late;
    cr_assert_eq(evener_new_call_defer(call, &late, status), EVENER_STATUS_OK);
    cr_assert_eq(evener_late_metadata_add(late, "authorization", "quick", status), EVENER_STATUS_OK);
    evener_late_metadata_answer(late, NULL);
    return EVENER_STATUS_OK;
}

static const evener_call_credentials later = {.size = sizeof later, .add = ask_later, .allow_insecure = true};
static const evener_call_credentials quick = {.size = sizeof quick, .add = answer_at_once, .allow_insecure = true};
static const evener_interceptor later_auth = EVENER_CALL_CREDENTIALS(&later);
static const evener_interceptor quick_auth = EVENER_CALL_CREDENTIALS(&quick);
static const evener_interceptor *const asks_later[] = {&later_auth};
static const evener_interceptor *const asks_twice[] = {&later_auth, &later_auth};
static const evener_interceptor *const is_quick[] = {&quick_auth};

static void answer(size_t index, const char *token, evener_status_code code)
{
    evener_status status;
    if (token != NULL) {
        cr_assert_eq(evener_late_metadata_add(asked[index], "authorization", token, &status), EVENER_STATUS_OK);
    }
    evener_status_set(&status, code, "%s", code == EVENER_STATUS_OK ? "" : "the token server says no");
    evener_late_metadata_answer(asked[index], &status);
    asked[index] = NULL;
}

static retry_scene *create(const char *config, const evener_interceptor *const *interceptors, size_t count)
{
    static const fake_call_outcome outcomes[] = {OK};
    asked_count = 0;
    return retry_scene_create_with((evener_channel_options){.interceptors = interceptors, .interceptor_count = count},
                                   config, outcomes, 1);
}

Test(late_metadata, the_call_waits_for_its_metadata)
{
    retry_scene *s = create("{}", asks_later, 1);
    retry_scene_start(s, 1000);
    virtual_loop_advance_ms(s->f->loop, 300);
    cr_expect_eq(s->attempts, 0);
    cr_expect_eq(s->ends, 0);
    cr_assert_eq(asked_count, 1);
    answer(0, "secret", EVENER_STATUS_OK);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    cr_expect_eq(s->attempts, 1);
    cr_expect_str_eq(s->authorization, "secret");
    cr_expect_eq(s->seen[0].timeout_ms, 700, "the deadline has been running");
    retry_scene_destroy(s);
}

Test(late_metadata, all_answers_are_waited_for)
{
    retry_scene *s = create("{}", asks_twice, 2);
    retry_scene_start(s, 0);
    answer(1, "second", EVENER_STATUS_OK);
    virtual_loop_advance_ms(s->f->loop, 10);
    cr_expect_eq(s->attempts, 0);
    answer(0, NULL, EVENER_STATUS_OK);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK);
    cr_expect_str_eq(s->authorization, "second");
    retry_scene_destroy(s);
}

/* An answer inside `start` is not the last one when a further interceptor defers. */
Test(late_metadata, an_answer_at_once_does_not_stand_for_a_later_one)
{
    static const evener_interceptor *const both[] = {&quick_auth, &later_auth};
    retry_scene *s = create("{}", both, 2);
    retry_scene_start(s, 0);
    virtual_loop_advance_ms(s->f->loop, 10);
    cr_assert_eq(asked_count, 1);
    cr_expect_eq(s->attempts, 0);
    answer(0, NULL, EVENER_STATUS_OK);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK);
    cr_expect_eq(s->attempts, 1);
    cr_expect_str_eq(s->authorization, "quick");
    retry_scene_destroy(s);
}

Test(late_metadata, an_answer_at_once_is_an_answer)
{
    retry_scene *s = create("{}", is_quick, 1);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK);
    cr_expect_str_eq(s->authorization, "quick");
    retry_scene_destroy(s);
}

Test(late_metadata, a_failure_ends_the_call_without_an_attempt)
{
    retry_scene *s = create(RETRY_CONFIG("4"), asks_twice, 2);
    retry_scene_start(s, 0);
    answer(0, NULL, EVENER_STATUS_UNAUTHENTICATED);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAUTHENTICATED);
    cr_expect_str_eq(s->status.message, "the token server says no");
    cr_expect_eq(s->attempts, 0);
    answer(1, "too late", EVENER_STATUS_OK);
    retry_scene_destroy(s);
}

Test(late_metadata, deadline_and_cancellation_work_meanwhile)
{
    static const char *const configs[] = {"{}", RETRY_CONFIG("3"), HEDGED};
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        retry_scene *s = create(configs[i], asks_later, 1);
        retry_scene_start(s, 200);
        retry_scene_finish(s, 10000);
        cr_expect_eq(s->status.code, EVENER_STATUS_DEADLINE_EXCEEDED);
        cr_expect_not_null(strstr(s->status.message, "waiting for metadata"), "%s", s->status.message);
        cr_expect_eq(s->ended_ms, 200);
        answer(0, "too late", EVENER_STATUS_OK);
        virtual_loop_advance_ms(s->f->loop, 1000);
        asked_count = 0;
        retry_scene_start(s, 0);
        virtual_loop_advance_ms(s->f->loop, 50);
        evener_call_cancel(s->call);
        evener_call_cancel(s->call);
        retry_scene_finish(s, 10000);
        cr_expect_eq(s->status.code, EVENER_STATUS_CANCELLED);
        cr_expect_eq(s->ends, 1);
        cr_expect_eq(s->attempts, 0);
        retry_scene_destroy(s);
        answer(0, "after the end of the channel", EVENER_STATUS_OK);
    }
}

/* At every order of cancellation and answer the call ends once. */
Test(late_metadata, a_cancelled_call_ends_once_however_the_answer_comes)
{
    static const char *const configs[] = {"{}", HEDGED};
    for (unsigned order = 0; order < 8; order++) {
        retry_scene *s = create(configs[order & 1], asks_later, 1);
        s->outcomes[0] = (fake_call_outcome){.kind = FAKE_CALL_SILENT};
        retry_scene_start(s, 0);
        if ((order & 2) != 0) {
            answer(0, "secret", EVENER_STATUS_OK);
        }
        if ((order & 4) != 0) {
            virtual_loop_run_until_idle(s->f->loop);
        }
        evener_call_cancel(s->call);
        if ((order & 2) == 0) {
            answer(0, "secret", EVENER_STATUS_OK);
        }
        retry_scene_finish(s, 10000);
        cr_expect_eq(s->ends, 1, "%u", order);
        cr_expect_eq(s->status.code, EVENER_STATUS_CANCELLED, "%u: %s", order, s->status.message);
        retry_scene_destroy(s);
    }
}

Test(late_metadata, hedged_calls_have_it_in_every_attempt)
{
    retry_scene *s = create(HEDGED, asks_later, 1);
    s->outcomes[0] = (fake_call_outcome){.kind = FAKE_CALL_SILENT};
    s->outcomes[1] = (fake_call_outcome)OK;
    s->outcome_count = 2;
    retry_scene_start(s, 0);
    virtual_loop_advance_ms(s->f->loop, 50);
    answer(0, "secret", EVENER_STATUS_OK);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK);
    cr_expect_eq(s->attempts, 2);
    cr_expect_eq(s->seen[0].at_ms, 50);
    cr_expect_eq(s->seen[1].at_ms, 150);
    cr_expect_str_eq(s->authorization, "secret");
    retry_scene_destroy(s);
}

/* ---- streams ---- */

static void on_message(void *arg, evener_bytes *message)
{
    (void)arg;
    evener_bytes_clear(message);
}

static void on_ended(void *arg, const evener_status *status)
{
    retry_scene_ended(arg, status, NULL);
}

Test(late_metadata, streams_wait_too)
{
    static const evener_stream_callbacks callbacks = {
        .size = sizeof callbacks, .message = on_message, .ended = on_ended};
    retry_scene *s = create("{}", asks_later, 1);
    evener_stream *stream;
    evener_status status;
    cr_assert_eq(evener_stream_start(s->f->channel, SCENE_METHOD, NULL, NULL, &callbacks, s, &stream, &status),
                 EVENER_STATUS_OK);
    cr_assert(evener_stream_send(stream, &s->request));
    cr_assert(evener_stream_send_done(stream));
    cr_assert(evener_stream_ask(stream));
    virtual_loop_advance_ms(s->f->loop, 100);
    cr_expect_eq(s->attempts, 0);
    answer(0, "secret", EVENER_STATUS_OK);
    virtual_loop_run_until_idle(s->f->loop);
    cr_expect_eq(s->attempts, 1);
    cr_expect_str_eq(s->authorization, "secret");
    (void)evener_stream_ask(stream);
    virtual_loop_run_until_idle(s->f->loop);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK);
    evener_stream_unref(stream);

    asked_count = 0;
    cr_assert_eq(evener_stream_start(s->f->channel, SCENE_METHOD, NULL, NULL, &callbacks, s, &stream, &status),
                 EVENER_STATUS_OK);
    evener_stream_cancel(stream);
    virtual_loop_run_until_idle(s->f->loop);
    cr_expect_eq(s->ends, 2);
    cr_expect_eq(s->status.code, EVENER_STATUS_CANCELLED);
    evener_stream_unref(stream);
    answer(0, "too late", EVENER_STATUS_OK);
    cr_assert_eq(evener_stream_open(s->f->channel, SCENE_METHOD, NULL, NULL, &stream, &status),
                 EVENER_STATUS_FAILED_PRECONDITION, "it would wait for itself");
    answer(1, "too late", EVENER_STATUS_OK);
    retry_scene_destroy(s);
}

/* Each attempt of a hedged stream has it; a failure ends the stream without an attempt. */
Test(late_metadata, hedged_streams_have_it_in_every_attempt)
{
    static const evener_stream_callbacks callbacks = {
        .size = sizeof callbacks, .message = on_message, .ended = on_ended};
    static const evener_status_code codes[] = {EVENER_STATUS_OK, EVENER_STATUS_UNAUTHENTICATED};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        retry_scene *s = create(HEDGED, asks_later, 1);
        s->outcomes[0] = (fake_call_outcome){.kind = FAKE_CALL_SILENT};
        s->outcomes[1] = (fake_call_outcome)OK;
        s->outcome_count = 2;
        evener_stream *stream;
        evener_status status;
        cr_assert_eq(
            evener_stream_start(s->f->channel, SCENE_METHOD, &s->request, NULL, &callbacks, s, &stream, &status),
            EVENER_STATUS_OK);
        cr_assert(evener_stream_ask(stream));
        virtual_loop_advance_ms(s->f->loop, 50);
        answer(0, "secret", codes[i]);
        virtual_loop_advance_ms(s->f->loop, 99);
        cr_expect_eq(s->attempts, i == 0);
        virtual_loop_advance_ms(s->f->loop, 1);
        (void)evener_stream_ask(stream);
        virtual_loop_advance_ms(s->f->loop, 10);
        cr_expect_eq(s->ends, 1);
        cr_expect_eq(s->status.code, codes[i], "%s", s->status.message);
        cr_expect_eq(s->attempts, i == 0 ? 2 : 0);
        cr_expect_str_eq(s->authorization, i == 0 ? "secret" : "");
        evener_stream_unref(stream);
        retry_scene_destroy(s);
    }
}

/* ---- many calls, at random, by seed ---- */

static void answer_some(uint64_t random)
{
    const size_t index = asked_count > 0 ? random % asked_count : 0;
    if (random % 3 == 0 || asked_count == 0 || asked[index] == NULL) {
        return;
    }
    answer(index, "secret", random % 16 == 1 ? EVENER_STATUS_UNAUTHENTICATED : EVENER_STATUS_OK);
}

static void answer_the_rest(void)
{
    for (size_t i = 0; i < asked_count; i++) {
        if (asked[i] != NULL) {
            answer(i, "too late", EVENER_STATUS_OK);
        }
    }
    asked_count = 0;
}

Test(late_metadata, whatever_happens_each_call_ends_once_in_time)
{
    static const char *const configs[] = {NULL, RETRY_CONFIG("4"), HEDGED};
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        const call_storm storm = {.channel = {.policy = "round_robin",
                                              .default_service_config = configs[i],
                                              .interceptors = asks_later,
                                              .interceptor_count = 1},
                                  .executions_max = i == 0 ? 1 : 4,
                                  .timeout_ms_max = 600,
                                  .meanwhile = answer_some,
                                  .at_end = answer_the_rest};
        asked_count = 0;
        for (uint64_t seed = 1; seed <= 20; seed++) {
            call_storm_run(&storm, seed);
        }
    }
}
