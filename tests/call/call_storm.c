#include "tests/call/call_storm.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/call/retry_scene.h"

#define CALLS 300

typedef struct storm storm;

typedef struct storm_call {
    storm *owner;
    evener_call *call;
    uint32_t executions, ends;
    uint64_t deadline_ns, ended_ns;
    evener_status_code code;
} storm_call;

struct storm {
    const call_storm *of;
    fixture *f;
    uint64_t random;
    storm_call calls[CALLS];
};

static uint64_t draw(storm *s, uint64_t below)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return s->random % below;
}

static fake_call_outcome at_random(void *arg, const char *address, const evener_call_begin_args *args)
{
    storm *s = arg;
    (void)address;
    static const fake_call_kind kinds[] = {FAKE_CALL_ANSWER,  FAKE_CALL_ANSWER, FAKE_CALL_ANSWER, FAKE_CALL_NEVER_LEFT,
                                           FAKE_CALL_REFUSED, FAKE_CALL_LOST,   FAKE_CALL_SILENT};
    static const char *const pushbacks[] = {NULL, NULL, NULL, "0", "30", "-1", "x"};
    const fake_call_outcome outcome = {.kind = kinds[draw(s, sizeof kinds / sizeof kinds[0])],
                                       .delay_ns = draw(s, 50) * EVENER_NS_PER_MS,
                                       .code = draw(s, 2) == 0 ? EVENER_STATUS_UNAVAILABLE : EVENER_STATUS_OK,
                                       .headers_came = draw(s, 8) == 0,
                                       .pushback = pushbacks[draw(s, sizeof pushbacks / sizeof pushbacks[0])],
                                       .connection_ends = draw(s, 20) == 0};
    uint32_t index;
    memcpy(&index, args->request->data, sizeof index);
    storm_call *c = &s->calls[index];
    cr_assert_eq(c->ends, 0, "an attempt begins after the end");
    cr_assert_lt(args->previous_attempts, s->of->executions_max);
    c->executions += outcome.kind == FAKE_CALL_ANSWER || outcome.kind == FAKE_CALL_LOST;
    return outcome;
}

static void storm_ended(void *arg, const evener_status *status, evener_bytes *response)
{
    storm_call *c = arg;
    (void)response;
    c->ends++;
    c->ended_ns = virtual_loop_now_ns(c->owner->f->loop);
    c->code = status->code;
}

static void start_one(storm *s, uint32_t index)
{
    storm_call *c = &s->calls[index];
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 1 + draw(s, s->of->timeout_ms_max)};
    const evener_bytes request = {.data = (const uint8_t *)&index, .length = sizeof index};
    evener_status status;
    c->owner = s;
    c->deadline_ns = virtual_loop_now_ns(s->f->loop) + options.timeout_ms * EVENER_NS_PER_MS;
    if (evener_call_start(s->f->channel, SCENE_METHOD, &request, &options, storm_ended, c, &c->call, &status) !=
        EVENER_STATUS_OK) {
        c->ends++; /* it has ended at once, and no callback comes */
        c->ended_ns = virtual_loop_now_ns(s->f->loop);
        c->code = status.code;
    }
}

/* One step between two calls. */
static void disturb(storm *s, uint32_t started)
{
    if (s->of->meanwhile != NULL) {
        s->of->meanwhile(draw(s, UINT32_MAX));
    }
    if (draw(s, 3) == 0) {
        virtual_loop_advance_ms(s->f->loop, draw(s, 10));
    }
    storm_call *other = &s->calls[draw(s, started)];
    if (draw(s, 5) == 0 && other->call != NULL) {
        evener_call_cancel(other->call);
    }
    if (draw(s, 7) == 0) {
        evener_call_unref(other->call);
        other->call = NULL;
    }
    if (draw(s, 40) == 0) {
        fixture_push(s->f, draw(s, 2) == 0 ? "127.0.0.1:1,127.0.0.1:4" : SCENE_BACKENDS);
    }
}

void call_storm_run(const call_storm *of, uint64_t seed)
{
    storm *s = calloc(1, sizeof *s);
    s->of = of;
    s->random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    s->f = fixture_create_calling(&of->channel, at_random, s);
    fixture_push(s->f, SCENE_BACKENDS);
    fixture_connect(s->f);
    for (uint32_t i = 0; i < CALLS; i++) {
        start_one(s, i);
        disturb(s, i + 1);
    }
    virtual_loop_advance_ms(s->f->loop, of->timeout_ms_max + 1000);
    uint32_t successes = 0;
    for (uint32_t i = 0; i < CALLS; i++) {
        const storm_call *c = &s->calls[i];
        cr_assert_eq(c->ends, 1, "seed %llu, call %u: ended %u times", (unsigned long long)seed, i, c->ends);
        cr_assert_leq(c->executions, of->executions_max, "seed %llu, call %u: executed %u times",
                      (unsigned long long)seed, i, c->executions);
        cr_assert_leq(c->ended_ns, c->deadline_ns + of->late_ns_max, "seed %llu, call %u: %llu us late: %s",
                      (unsigned long long)seed, i, (unsigned long long)(c->ended_ns - c->deadline_ns) / 1000,
                      evener_status_code_name(c->code));
        cr_assert(c->code != EVENER_STATUS_OK || c->executions > 0, "seed %llu, call %u: nobody answered it",
                  (unsigned long long)seed, i);
        successes += c->code == EVENER_STATUS_OK;
        evener_call_unref(c->call);
    }
    cr_assert_gt(successes, 0, "seed %llu: no call succeeds", (unsigned long long)seed);
    cr_assert_eq(fake_transport_calls_under_way(s->f->transport), 0);
    if (of->at_end != NULL) {
        of->at_end();
    }
    fixture_destroy(s->f);
    free(s);
}
