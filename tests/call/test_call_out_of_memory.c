/* Every allocation of a call fails in turn: it ends exactly once, its interceptors see its end exactly once, nothing
 * leaks, and when memory is back the next call passes. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include <evener/interceptor.h>

#include "tests/call/retry_scene.h"
#include "tests/support/failing_memory.h"

#define HEDGING_CONFIG                                                                                                 \
    "{\"methodConfig\": [{\"name\": [{}], \"hedgingPolicy\": {\"maxAttempts\": 3, \"hedgingDelay\": \"0.1s\", "        \
    "\"nonFatalStatusCodes\": [\"UNAVAILABLE\"]}}]}"

static const char *const configs[] = {"{}", RETRY_CONFIG("3"), HEDGING_CONFIG};

static unsigned starts, dones;
static evener_late_metadata *asked; /* NULL: not, or answered */
static bool asks_later;

static evener_status_code on_start(void *arg, evener_new_call *call, void **state, evener_status *status)
{
    (void)arg;
    evener_status_code code = evener_new_call_add(call, "x-first", "1", status);
    if (code == EVENER_STATUS_OK && asks_later) {
        code = evener_new_call_defer(call, &asked, status);
    }
    if (code == EVENER_STATUS_OK) {
        *state = &starts;
        starts++;
    }
    return code;
}

static void on_headers(void *arg, void *state, const evener_metadata *metadata, size_t count)
{
    (void)arg, (void)state, (void)metadata, (void)count;
}

static void on_done(void *arg, void *state, const evener_status *status, const evener_metadata *trailing, size_t count)
{
    (void)arg, (void)status, (void)trailing, (void)count;
    cr_assert_eq(state, &starts);
    dones++;
}

static const evener_interceptor counting = {
    .size = sizeof counting, .start = on_start, .headers = on_headers, .done = on_done};
static const evener_interceptor *const interceptors[] = {&counting};

static void answer_late(void)
{
    if (asked != NULL) {
        evener_status status;
        evener_status_clear(&status);
        (void)evener_late_metadata_add(asked, "authorization", "secret", &status);
        evener_late_metadata_answer(asked, &status);
        asked = NULL;
    }
}

/* ---- the forms of a call: each returns the code of its start ---- */

typedef struct result {
    evener_status_code started;
    evener_status why; /* of the start */
    unsigned ends;
    evener_status end;
} result;

static void ended(void *arg, const evener_status *status, evener_bytes *response)
{
    result *r = arg;
    r->ends++;
    r->end = *status;
    evener_bytes_clear(response);
}

static void message(void *arg, evener_bytes *received)
{
    (void)arg;
    evener_bytes_clear(received);
}

static void stream_ended(void *arg, const evener_status *status)
{
    ended(arg, status, &(evener_bytes){0});
}

static const evener_stream_callbacks callbacks = {.size = sizeof callbacks, .message = message, .ended = stream_ended};
static const evener_bytes borrowed = {.data = (const uint8_t *)"hello", .length = 5};

/* Let time pass with failing memory, and then with memory. */
static void pass(retry_scene *s)
{
    virtual_loop_advance_ms(s->f->loop, 150);
    answer_late();
    virtual_loop_advance_ms(s->f->loop, 2000);
}

static void unary(retry_scene *s, result *r)
{
    evener_call_details details = {.size = sizeof details};
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 5000, .details = &details};
    evener_call *call = NULL;
    r->started = evener_call_start(s->f->channel, SCENE_METHOD, &borrowed, &options, ended, r, &call, &r->why);
    pass(s);
    (void)failing_memory_disarm();
    virtual_loop_advance_ms(s->f->loop, 10000);
    evener_call_unref(call);
    evener_call_details_clear(&details);
}

static void streaming(retry_scene *s, result *r, const evener_bytes *only_request)
{
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 5000};
    evener_stream *stream = NULL;
    r->started =
        evener_stream_start(s->f->channel, SCENE_METHOD, only_request, &options, &callbacks, r, &stream, &r->why);
    if (r->started == EVENER_STATUS_OK) {
        if (only_request == NULL) {
            (void)evener_stream_send(stream, &borrowed);
        }
        (void)evener_stream_ask(stream);
        pass(s);
        (void)evener_stream_send_done(stream);
        (void)evener_stream_ask(stream);
    }
    virtual_loop_advance_ms(s->f->loop, 150);
    (void)failing_memory_disarm();
    virtual_loop_advance_ms(s->f->loop, 10000);
    evener_stream_unref(stream);
}

static void stream(retry_scene *s, result *r)
{
    streaming(s, r, NULL);
}

static void stream_of_one_request(retry_scene *s, result *r)
{
    streaming(s, r, &borrowed);
}

typedef void (*form)(retry_scene *s, result *r);

/* Make a call with failing memory, and one with memory. Return whether the allocation came. */
static bool call_twice(retry_scene *s, form make, uint64_t fail_at, bool for_good)
{
    result r = {0};
    starts = dones = 0;
    s->attempts = 0;
    failing_memory_arm(fail_at, for_good);
    make(s, &r);
    const bool came = failing_memory_disarm() >= fail_at;
    answer_late();
    virtual_loop_run_until_idle(s->f->loop);
    cr_assert_eq(r.ends, r.started == EVENER_STATUS_OK, "allocation %lu", (unsigned long)fail_at);
    cr_assert_eq(starts, dones, "allocation %lu", (unsigned long)fail_at);
    if (r.started != EVENER_STATUS_OK) {
        cr_assert(came);
        cr_assert_eq(r.started, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s", r.why.message);
        cr_assert_eq(r.why.code, EVENER_STATUS_RESOURCE_EXHAUSTED);
        cr_assert_not_null(strstr(r.why.message, "out of memory"), "%s", r.why.message);
    } else if (r.end.code != EVENER_STATUS_OK) {
        cr_assert(came, "%s", r.end.message);
        /* UNAVAILABLE: no memory to attempt it again */
        cr_assert(r.end.code == EVENER_STATUS_RESOURCE_EXHAUSTED || r.end.code == EVENER_STATUS_UNAVAILABLE, "%s: %s",
                  evener_status_code_name(r.end.code), r.end.message);
    }
    cr_assert_eq(fake_transport_calls_under_way(s->f->transport), 0);
    return came;
}

static void fail_in_turn(form make)
{
    /* Without a policy the first attempt counts; with one, a second one follows. */
    static const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_UNAVAILABLE},
                                                 {.kind = FAKE_CALL_ANSWER}};
    for (size_t i = 0; i < sizeof configs / sizeof *configs * 2; i++) {
        const size_t config = i / 2;
        asks_later = i % 2 == 1;
        retry_scene *s =
            retry_scene_create_with((evener_channel_options){.interceptors = interceptors, .interceptor_count = 1},
                                    configs[config], outcomes + (config == 0), config == 0 ? 1 : 2);
        unsigned failed = 0;
        for (int for_good = 0; for_good < 2; for_good++) {
            /* Three times each: an object that is kept after its call is not allocated again. */
            uint64_t fail_at = 1;
            for (unsigned absent = 0; absent < 3; fail_at++) {
                absent = 0;
                for (unsigned n = 0; n < 3; n++) {
                    const bool came = call_twice(s, make, fail_at, for_good == 1);
                    failed += came;
                    absent += !came;
                }
                cr_assert_lt(fail_at, 100);
            }
        }
        cr_assert_gt(failed, 6);
        result r = {0};
        s->attempts = 0;
        make(s, &r);
        cr_assert_eq(r.started, EVENER_STATUS_OK);
        cr_assert_eq(r.ends, 1);
        cr_assert_eq(r.end.code, EVENER_STATUS_OK, "memory is back: %s", r.end.message);
        retry_scene_destroy(s);
    }
}

Test(call_out_of_memory, unary)
{
    fail_in_turn(unary);
}

Test(call_out_of_memory, stream)
{
    fail_in_turn(stream);
}

Test(call_out_of_memory, stream_of_one_request)
{
    fail_in_turn(stream_of_one_request);
}
