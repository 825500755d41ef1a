/* p2c_ewma is not captured: neither a backend that fails fast, nor one that hangs, nor one without streams draws more than
 * its share. Four backends on the virtual loop, calls at random times, each scenario with several seeds. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/sim/numbers.h"
#include "tests/support/policy_harness.h"

#define BACKENDS 4
#define CALLS_MAX 1024
#define SEEDS 5
#define USUAL_US 20000
#define FAIL_FAST_US 200
#define NEVER UINT64_MAX

static const uint64_t rates_per_s[] = {50, 1000};

typedef struct backend {
    uint64_t answer_us; /* NEVER: it hangs */
    evener_status_code code;
} backend;

typedef struct call {
    evener_pick pick;
    uint64_t end_ns;
    evener_status_code code;
} call;

typedef struct scene {
    policy_harness *h;
    uint64_t random;
    backend backends[BACKENDS];
    bool varied;          /* answers take exponential times, `answer_us` on the mean */
    uint64_t patience_us; /* callers cancel after this time; 0: they wait */
    call calls[CALLS_MAX];
    size_t call_count;
    size_t picks[BACKENDS]; /* of run() */
    evener_pick streams[CALLS_MAX];
    size_t stream_count;
} scene;

static scene the_scene;

static scene *open_scene_with(const char *config, uint64_t seed)
{
    scene *s = &the_scene;
    *s = (scene){.h = harness_create("p2c_ewma", config), .random = sim_mix(seed)};
    s->h->connect_succeeds = true;
    for (uint64_t i = 0; i < seed; i++) { /* each seed gives the policy other random numbers */
        (void)evener_loop_random(s->h->loop);
    }
    cr_assert_eq(harness_update_range(s->h, 1, BACKENDS), EVENER_STATUS_OK);
    harness_run(s->h);
    for (size_t b = 0; b < BACKENDS; b++) {
        s->backends[b] = (backend){USUAL_US, EVENER_STATUS_OK};
    }
    return s;
}

static scene *open_scene(uint64_t seed)
{
    return open_scene_with(NULL, seed);
}

static size_t index_of(const scene *s, const evener_pick *pick)
{
    size_t b = 0;
    while (b < BACKENDS &&
           strcmp(evener_address_text(s->h->addresses[b]), evener_subchannel_address_text(pick->subchannel)) != 0) {
        b++;
    }
    cr_assert_lt(b, BACKENDS);
    return b;
}

static void end_call(scene *s, size_t index)
{
    harness_done(s->h, &s->calls[index].pick, s->calls[index].code);
    s->calls[index] = s->calls[--s->call_count];
}

static void close_scene(scene *s)
{
    while (s->call_count > 0) {
        end_call(s, 0);
    }
    while (s->stream_count > 0) {
        harness_done(s->h, &s->streams[--s->stream_count], EVENER_STATUS_OK);
    }
    cr_assert_eq(harness_in_flight(s->h), 0);
    harness_destroy(s->h);
}

static void begin_call(scene *s)
{
    cr_assert_lt(s->call_count, CALLS_MAX);
    call *c = &s->calls[s->call_count++];
    cr_assert_eq(harness_pick(s->h, NULL, &c->pick, NULL), EVENER_PICK_COMPLETE);
    const size_t b = index_of(s, &c->pick);
    const uint64_t now_ns = virtual_loop_now_ns(s->h->vl);
    const double factor = s->varied ? sim_exponential(&s->random) : 1;
    const uint64_t answer_us =
        s->backends[b].answer_us == NEVER ? NEVER : (uint64_t)((double)s->backends[b].answer_us * factor);
    const bool cancelled = s->patience_us > 0 && s->patience_us < answer_us;
    const uint64_t took_us = cancelled ? s->patience_us : answer_us;
    c->code = cancelled ? EVENER_STATUS_CANCELLED : s->backends[b].code;
    c->end_ns = took_us == NEVER ? NEVER : now_ns + took_us * EVENER_NS_PER_US;
    s->picks[b]++;
}

static void advance_to(scene *s, uint64_t at_ns)
{
    const uint64_t now_ns = virtual_loop_now_ns(s->h->vl);
    if (at_ns > now_ns) {
        virtual_loop_advance_ns(s->h->vl, at_ns - now_ns);
    }
}

/* Ends what ends until then, in order. */
static void end_until(scene *s, uint64_t until_ns)
{
    for (;;) {
        size_t first = 0;
        for (size_t i = 1; i < s->call_count; i++) {
            first = s->calls[i].end_ns < s->calls[first].end_ns ? i : first;
        }
        if (s->call_count == 0 || s->calls[first].end_ns > until_ns) {
            break;
        }
        advance_to(s, s->calls[first].end_ns);
        end_call(s, first);
    }
    advance_to(s, until_ns);
}

/* Calls at random times for so long; counts the picks of each backend anew. */
static void run(scene *s, double rate_per_s, double seconds)
{
    uint64_t at_ns = virtual_loop_now_ns(s->h->vl);
    const uint64_t over_ns = at_ns + (uint64_t)(seconds * 1e9);
    memset(s->picks, 0, sizeof s->picks);
    for (;;) {
        at_ns += (uint64_t)(sim_exponential(&s->random) / rate_per_s * 1e9);
        if (at_ns > over_ns) {
            break;
        }
        end_until(s, at_ns);
        begin_call(s);
    }
    end_until(s, over_ns);
}

/* Lets the calls under way end. */
static void drain(scene *s)
{
    uint64_t last_ns = virtual_loop_now_ns(s->h->vl);
    for (size_t i = 0; i < s->call_count; i++) {
        last_ns = s->calls[i].end_ns > last_ns ? s->calls[i].end_ns : last_ns;
    }
    end_until(s, last_ns);
}

static double share(const scene *s, size_t b)
{
    size_t sum = 0;
    for (size_t i = 0; i < BACKENDS; i++) {
        sum += s->picks[i];
    }
    return (double)s->picks[b] / (double)sum;
}

/* One figure of what the policy says of a backend. */
static double described(scene *s, size_t b, const char *name)
{
    char note[256] = "", key[32];
    s->h->policy->vtable->describe(s->h->policy, harness_find(s->h, evener_address_text(s->h->addresses[b])), note,
                                   sizeof note);
    snprintf(key, sizeof key, "%s=", name);
    const char *at = strstr(note, key);
    cr_assert_not_null(at, "no %s in \"%s\"", name, note);
    return strtod(at + strlen(key), NULL);
}

/* ---- ends that are not OK ---- */

/* B1: ingress-nginx 5540, Envoy 18789. */
Test(p2c_capture, one_that_answers_unknown_at_once_gets_less_than_a_twentieth)
{
    for (size_t r = 0; r < 2; r++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            scene *s = open_scene(seed);
            s->backends[0] = (backend){FAIL_FAST_US, EVENER_STATUS_UNKNOWN};
            run(s, (double)rates_per_s[r], 20);
            cr_assert_lt(share(s, 0), 0.05, "%zu per s, seed %zu: %f", (size_t)rates_per_s[r], (size_t)seed,
                         share(s, 0));
            close_scene(s);
        }
    }
}

/* The same after it was well for a time. */
Test(p2c_capture, one_that_begins_to_fail_fast_gets_less_than_a_twentieth)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        scene *s = open_scene(seed);
        run(s, 1000, 10);
        s->backends[0] = (backend){FAIL_FAST_US, EVENER_STATUS_UNKNOWN};
        run(s, 1000, 20);
        cr_assert_lt(share(s, 0), 0.05, "seed %zu: %f", (size_t)seed, share(s, 0));
        close_scene(s);
    }
}

/* A code that says nothing of the backend's health neither draws nor drives away. */
static void refuses_fast(evener_status_code code, bool from_the_start)
{
    for (size_t r = 0; r < 2; r++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            scene *s = open_scene(seed);
            if (!from_the_start) {
                run(s, (double)rates_per_s[r], 10);
            }
            s->backends[0] = (backend){FAIL_FAST_US, code};
            run(s, (double)rates_per_s[r], 30);
            cr_assert(share(s, 0) < 0.27 && share(s, 0) > 0.1, "code %d, %zu per s, seed %zu, %s: %f", (int)code,
                      (size_t)rates_per_s[r], (size_t)seed, from_the_start ? "from the start" : "later", share(s, 0));
            close_scene(s);
        }
    }
}

Test(p2c_capture, one_that_refuses_at_once_gets_no_more_than_its_share)
{
    refuses_fast(EVENER_STATUS_PERMISSION_DENIED, false);
    refuses_fast(EVENER_STATUS_UNAUTHENTICATED, true);
}

/* The averages of the others come and go above and below what is known of it. */
Test(p2c_capture, one_that_refuses_at_once_does_not_win_by_an_average_from_another_time)
{
    for (size_t r = 0; r < 2; r++) {
        for (uint64_t seed = 1; seed <= 2 * SEEDS; seed++) {
            scene *s = open_scene(seed);
            s->varied = true;
            if (seed > SEEDS) {
                run(s, (double)rates_per_s[r], 10);
            }
            s->backends[0] = (backend){FAIL_FAST_US, EVENER_STATUS_NOT_FOUND};
            run(s, (double)rates_per_s[r], 30);
            cr_assert_lt(share(s, 0), 0.27, "%zu per s, seed %zu: %f", (size_t)rates_per_s[r], (size_t)seed,
                         share(s, 0));
            close_scene(s);
        }
    }
}

Test(p2c_capture, no_code_but_ok_lowers_the_average_or_the_cost)
{
    for (int code = EVENER_STATUS_CANCELLED; code <= EVENER_STATUS_UNAUTHENTICATED; code++) {
        scene *s = open_scene(1);
        run(s, 200, 5);
        drain(s);
        const double average_us = described(s, 0, "ewma_us");
        const double cost_us = described(s, 0, "cost_us");
        cr_assert_float_eq(average_us, USUAL_US, 1);
        for (size_t b = 0; b < BACKENDS; b++) {
            s->backends[b] = (backend){FAIL_FAST_US, (evener_status_code)code};
        }
        run(s, 200, 5);
        drain(s);
        cr_assert_geq(described(s, 0, "ewma_us"), average_us, "code %d", code);
        cr_assert_geq(described(s, 0, "cost_us"), cost_us, "code %d", code);
        for (size_t b = 0; b < BACKENDS; b++) {
            s->backends[b].answer_us = 10 * USUAL_US;
        }
        run(s, 200, 5);
        cr_assert_gt(described(s, 0, "ewma_us"), 2 * average_us, "code %d", code);
        close_scene(s);
    }
}

/* UNKNOWN counts as the six codes of go-zero do; all others leave the success alone. */
Test(p2c_capture, the_codes_that_speak_against_a_backend)
{
    static const evener_status_code failures[] = {
        EVENER_STATUS_UNKNOWN,  EVENER_STATUS_DEADLINE_EXCEEDED, EVENER_STATUS_RESOURCE_EXHAUSTED,
        EVENER_STATUS_INTERNAL, EVENER_STATUS_UNIMPLEMENTED,     EVENER_STATUS_UNAVAILABLE,
        EVENER_STATUS_DATA_LOSS};
    for (int code = EVENER_STATUS_OK; code <= EVENER_STATUS_UNAUTHENTICATED; code++) {
        bool failure = false;
        for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
            failure = failure || failures[i] == (evener_status_code)code;
        }
        scene *s = open_scene(1);
        for (size_t b = 0; b < BACKENDS; b++) {
            s->backends[b].code = (evener_status_code)code;
        }
        run(s, 200, 5);
        cr_assert(failure ? described(s, 0, "success") < 0.5 : described(s, 0, "success") > 0.999, "code %d: %f", code,
                  described(s, 0, "success"));
        close_scene(s);
    }
}

/* The exact mode keeps go-zero's list (codes.Acceptable). */
Test(p2c_capture, unknown_is_no_failure_to_go_zero)
{
    static const evener_status_code codes[] = {EVENER_STATUS_UNKNOWN, EVENER_STATUS_INTERNAL};
    for (size_t i = 0; i < 2; i++) {
        scene *s = open_scene_with("{\"compat\":\"go-zero\"}", 1);
        for (size_t b = 0; b < BACKENDS; b++) {
            s->backends[b].code = codes[i];
        }
        run(s, 20, 60);
        cr_assert(i == 0 ? described(s, 0, "success") == 1 : described(s, 0, "success") < 0.5, "code %d: %f",
                  (int)codes[i], described(s, 0, "success"));
        close_scene(s);
    }
}

/* ---- streams ---- */

/* Opens streams until each of `backends` from the first on has `count`; what goes elsewhere is not sent. */
static const evener_pick_args stream_args = {.size = sizeof stream_args, .streaming = true};

static void open_streams(scene *s, size_t first, size_t backends, size_t count)
{
    static evener_pick elsewhere[CALLS_MAX];
    const evener_done_info not_sent = {
        .size = sizeof not_sent, .code = EVENER_STATUS_UNAVAILABLE, .not_sent = true, .streaming = true};
    size_t opened[BACKENDS] = {0}, elsewhere_count = 0;
    for (size_t missing = backends * count; missing > 0;) {
        evener_pick pick;
        cr_assert_eq(harness_pick(s->h, &stream_args, &pick, NULL), EVENER_PICK_COMPLETE);
        const size_t b = index_of(s, &pick);
        if (b >= first && b < first + backends && opened[b] < count) {
            opened[b]++;
            missing--;
            s->streams[s->stream_count++] = pick;
        } else {
            cr_assert_lt(elsewhere_count, CALLS_MAX);
            elsewhere[elsewhere_count++] = pick;
        }
    }
    while (elsewhere_count > 0) {
        harness_done_with(s->h, &elsewhere[--elsewhere_count], &not_sent);
    }
}

static void expect_even(scene *s, const char *what, uint64_t rate_per_s, uint64_t seed)
{
    const double off_max = rate_per_s >= 1000 ? 0.025 : 0.1;
    for (size_t b = 0; b < BACKENDS; b++) {
        cr_assert(fabs(share(s, b) - 0.25) < off_max, "%s, %zu per s, seed %zu, backend %zu: %f", what,
                  (size_t)rate_per_s, (size_t)seed, b, share(s, b));
    }
}

typedef enum opening { AT_START, IDLE_FOR_AN_HOUR, UNDER_TRAFFIC, ONE_AFTER_THE_OTHER } opening;

/* B2: grpc-dotnet 2389, linkerd2 PR 1080. */
static void streams_and_unary_calls(const char *what, opening when, size_t backends, size_t count)
{
    for (size_t r = 0; r < 2; r++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            scene *s = open_scene(seed);
            const double rate = (double)rates_per_s[r];
            if (when == UNDER_TRAFFIC) {
                run(s, rate, 10);
            }
            for (size_t b = 0; when == ONE_AFTER_THE_OTHER && b < backends; b++) {
                open_streams(s, b, 1, count);
                run(s, rate, 0.7);
            }
            if (when != ONE_AFTER_THE_OTHER) {
                open_streams(s, 0, backends, count);
            }
            if (when == IDLE_FOR_AN_HOUR) {
                virtual_loop_advance_ns(s->h->vl, 3600 * EVENER_NS_PER_S);
            }
            run(s, rate, 30);
            expect_even(s, what, rates_per_s[r], seed);
            close_scene(s);
        }
    }
}

Test(p2c_capture, a_stream_on_each_leaves_the_shares_even)
{
    streams_and_unary_calls("a stream on each, at the start", AT_START, BACKENDS, 1);
    streams_and_unary_calls("a stream on each, an hour before", IDLE_FOR_AN_HOUR, BACKENDS, 1);
    streams_and_unary_calls("a stream on each, under traffic", UNDER_TRAFFIC, BACKENDS, 1);
    streams_and_unary_calls("a stream on each, one after the other", ONE_AFTER_THE_OTHER, BACKENDS, 1);
}

Test(p2c_capture, streams_on_one_leave_the_shares_even)
{
    streams_and_unary_calls("a stream on one, at the start", AT_START, 1, 1);
    streams_and_unary_calls("ten streams on one, at the start", AT_START, 1, 10);
    streams_and_unary_calls("ten streams on one, an hour before", IDLE_FOR_AN_HOUR, 1, 10);
    streams_and_unary_calls("ten streams on one, under traffic", UNDER_TRAFFIC, 1, 10);
}

Test(p2c_capture, ten_streams_on_each_leave_the_shares_even)
{
    streams_and_unary_calls("ten streams on each, at the start", AT_START, BACKENDS, 10);
    streams_and_unary_calls("ten streams on each, under traffic", UNDER_TRAFFIC, BACKENDS, 10);
}

/* A stream is opened wherever the policy puts it, now and then, and each stays for a while. */
Test(p2c_capture, streams_that_come_and_go_leave_the_shares_even)
{
    for (size_t r = 0; r < 2; r++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            scene *s = open_scene(seed);
            size_t picks[BACKENDS] = {0};
            for (size_t i = 0; i < 60; i++) {
                if (s->stream_count == 12) {
                    harness_done(s->h, &s->streams[0], i % 2 == 0 ? EVENER_STATUS_OK : EVENER_STATUS_CANCELLED);
                    memmove(s->streams, s->streams + 1, --s->stream_count * sizeof *s->streams);
                }
                cr_assert_eq(harness_pick(s->h, &stream_args, &s->streams[s->stream_count++], NULL),
                             EVENER_PICK_COMPLETE);
                run(s, (double)rates_per_s[r], 0.5 + sim_unit(&s->random));
                for (size_t b = 0; b < BACKENDS; b++) {
                    picks[b] += s->picks[b];
                }
            }
            memcpy(s->picks, picks, sizeof picks);
            expect_even(s, "come and go", rates_per_s[r], seed);
            close_scene(s);
        }
    }
}

/* ---- few calls ---- */

/* B10: p2c at 20 calls/s. Answers take exponential times. */
Test(p2c_capture, few_calls_over_equal_backends_are_spread)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        scene *s = open_scene(seed);
        s->varied = true;
        for (size_t period = 0; period < 4; period++) {
            run(s, 20, 30);
            for (size_t b = 0; b < BACKENDS; b++) {
                cr_assert(share(s, b) > 0.15 && share(s, b) < 0.35, "seed %zu, period %zu, backend %zu: %f",
                          (size_t)seed, period, b, share(s, b));
            }
        }
        close_scene(s);
    }
}

/* ---- hung backends ---- */

/* With a stream under way on each, too, one that hangs is found out before any call times out. */
Test(p2c_capture, a_hung_backend_with_a_stream_loses_its_traffic)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        scene *s = open_scene(seed);
        open_streams(s, 0, BACKENDS, 1);
        run(s, 1000, 10);
        s->backends[0].answer_us = NEVER;
        run(s, 1000, 1);
        cr_assert_lt(share(s, 0), 0.05, "seed %zu: %f", (size_t)seed, share(s, 0));
        run(s, 1000, 20);
        cr_assert_lt(share(s, 0), 0.01, "seed %zu: %f", (size_t)seed, share(s, 0));
        close_scene(s);
    }
}

/* C3: grpc-java 12834. */
static void hangs_and_callers_cancel(bool from_the_start, uint64_t rate_per_s, double share_max)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        scene *s = open_scene(seed);
        s->patience_us = 100000;
        if (!from_the_start) {
            run(s, (double)rate_per_s, 10);
        }
        s->backends[0].answer_us = NEVER;
        run(s, (double)rate_per_s, 1);
        run(s, (double)rate_per_s, 30);
        cr_assert_lt(share(s, 0), share_max, "%s, %zu per s, seed %zu: %f", from_the_start ? "from the start" : "later",
                     (size_t)rate_per_s, (size_t)seed, share(s, 0));
        close_scene(s);
    }
}

Test(p2c_capture, a_hung_backend_whose_calls_are_cancelled_gets_less_than_a_hundredth)
{
    hangs_and_callers_cancel(true, 1000, 0.01);
    hangs_and_callers_cancel(false, 1000, 0.01);
}

Test(p2c_capture, a_hung_backend_whose_calls_are_cancelled_loses_slow_traffic_too)
{
    hangs_and_callers_cancel(true, 50, 0.04);
    hangs_and_callers_cancel(false, 50, 0.04);
}

/* And it comes back when it answers again. */
Test(p2c_capture, a_backend_that_hung_gets_its_share_again)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        scene *s = open_scene(seed);
        s->patience_us = 100000;
        run(s, 1000, 10);
        s->backends[0].answer_us = NEVER;
        run(s, 1000, 10);
        s->backends[0].answer_us = USUAL_US;
        run(s, 1000, 20);
        run(s, 1000, 20);
        cr_assert_gt(share(s, 0), 0.15, "seed %zu: %f", (size_t)seed, share(s, 0));
        close_scene(s);
    }
}
