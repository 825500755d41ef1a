/* p2c_ewma is not captured: neither a backend that fails fast, nor one that hangs, nor one without streams draws more
 * than its share. Four backends on the virtual loop, calls at random times, each scenario with several seeds. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/sim/numbers.h"
#include "tests/policy/scene.h"

#define SEEDS 5
#define USUAL_US SCENE_USUAL_US
#define FAIL_FAST_US 200
#define BACKENDS SCENE_BACKENDS

static const uint64_t rates_per_s[] = {50, 1000};

static scene *open_scene_with(const char *config, uint64_t seed)
{
    return scene_open("p2c_ewma", config, NULL, seed);
}

static scene *open_scene(uint64_t seed)
{
    return open_scene_with(NULL, seed);
}

/* ---- ends that are not OK ---- */

/* B1: ingress-nginx 5540, Envoy 18789. */
Test(p2c_capture, one_that_answers_unknown_at_once_gets_less_than_a_twentieth)
{
    for (size_t r = 0; r < 2; r++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            scene *s = open_scene(seed);
            s->backends[0] = (scene_backend){FAIL_FAST_US, EVENER_STATUS_UNKNOWN};
            scene_run(s, (double)rates_per_s[r], 20);
            cr_assert_lt(scene_share(s, 0), 0.05, "%zu per s, seed %zu: %f", (size_t)rates_per_s[r], (size_t)seed,
                         scene_share(s, 0));
            scene_close(s);
        }
    }
}

/* The same after it was well for a time. */
Test(p2c_capture, one_that_begins_to_fail_fast_gets_less_than_a_twentieth)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        scene *s = open_scene(seed);
        scene_run(s, 1000, 10);
        s->backends[0] = (scene_backend){FAIL_FAST_US, EVENER_STATUS_UNKNOWN};
        scene_run(s, 1000, 20);
        cr_assert_lt(scene_share(s, 0), 0.05, "seed %zu: %f", (size_t)seed, scene_share(s, 0));
        scene_close(s);
    }
}

/* A code that says nothing of the backend's health neither draws nor drives away. */
static void refuses_fast(evener_status_code code, bool from_the_start)
{
    for (size_t r = 0; r < 2; r++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            scene *s = open_scene(seed);
            if (!from_the_start) {
                scene_run(s, (double)rates_per_s[r], 10);
            }
            s->backends[0] = (scene_backend){FAIL_FAST_US, code};
            scene_run(s, (double)rates_per_s[r], 30);
            cr_assert(scene_share(s, 0) < 0.27 && scene_share(s, 0) > 0.1, "code %d, %zu per s, seed %zu, %s: %f",
                      (int)code, (size_t)rates_per_s[r], (size_t)seed, from_the_start ? "from the start" : "later",
                      scene_share(s, 0));
            scene_close(s);
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
                scene_run(s, (double)rates_per_s[r], 10);
            }
            s->backends[0] = (scene_backend){FAIL_FAST_US, EVENER_STATUS_NOT_FOUND};
            scene_run(s, (double)rates_per_s[r], 30);
            cr_assert_lt(scene_share(s, 0), 0.27, "%zu per s, seed %zu: %f", (size_t)rates_per_s[r], (size_t)seed,
                         scene_share(s, 0));
            scene_close(s);
        }
    }
}

/* Answers that take as long as others' answers, each another time: the average must not rise to the slowest of them. */
Test(p2c_capture, b1_answers_not_ok_of_varying_times_keep_their_share)
{
    for (size_t i = 0; i < 4; i++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            scene *s = open_scene(seed);
            const double rate_per_s = (double)rates_per_s[i % 2];
            s->varied = true;
            if (i < 2) {
                scene_run(s, rate_per_s, 10);
            }
            s->backends[0].code = EVENER_STATUS_NOT_FOUND;
            scene_run(s, rate_per_s, i % 2 == 0 ? 100 : 30);
            cr_assert(scene_share(s, 0) > 0.06 && scene_share(s, 0) < 0.27, "%zu, %g per s, seed %zu: %f", i,
                      rate_per_s, (size_t)seed, scene_share(s, 0));
            scene_close(s);
        }
    }
}

/* One answer of two or ten is not OK. */
Test(p2c_capture, b1_some_answers_not_ok_of_varying_times_change_little)
{
    for (size_t i = 0; i < 2; i++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            scene *s = open_scene(seed);
            size_t calls = 0, sum = 0;
            s->varied = true;
            for (size_t step = 0; step < 2000; step++) {
                s->backends[0].code = step % (i == 0 ? 2 : 10) == 0 ? EVENER_STATUS_NOT_FOUND : EVENER_STATUS_OK;
                scene_run(s, 1000, 0.01);
                calls += s->picks[0];
                for (size_t b = 0; b < BACKENDS; b++) {
                    sum += s->picks[b];
                }
            }
            const double share = (double)calls / (double)sum;
            cr_assert(share > 0.15 && share < 0.27, "%zu, seed %zu: %f", i, (size_t)seed, share);
            scene_close(s);
        }
    }
}

Test(p2c_capture, no_code_but_ok_lowers_the_average_or_the_cost)
{
    for (int code = EVENER_STATUS_CANCELLED; code <= EVENER_STATUS_UNAUTHENTICATED; code++) {
        scene *s = open_scene(1);
        scene_run(s, 200, 5);
        scene_drain(s);
        const double average_us = scene_described(s, 0, "ewma_us");
        const double cost_us = scene_described(s, 0, "cost_us");
        cr_assert_float_eq(average_us, USUAL_US, 1);
        for (size_t b = 0; b < BACKENDS; b++) {
            s->backends[b] = (scene_backend){FAIL_FAST_US, (evener_status_code)code};
        }
        scene_run(s, 200, 5);
        scene_drain(s);
        cr_assert_geq(scene_described(s, 0, "ewma_us"), average_us, "code %d", code);
        cr_assert_geq(scene_described(s, 0, "cost_us"), cost_us, "code %d", code);
        for (size_t b = 0; b < BACKENDS; b++) {
            s->backends[b].answer_us = 10 * USUAL_US;
        }
        scene_run(s, 200, 5);
        cr_assert_gt(scene_described(s, 0, "ewma_us"), 2 * average_us, "code %d", code);
        scene_close(s);
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
        scene_run(s, 200, 5);
        cr_assert(failure ? scene_described(s, 0, "success") < 0.5 : scene_described(s, 0, "success") > 0.999,
                  "code %d: %f", code, scene_described(s, 0, "success"));
        scene_close(s);
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
        scene_run(s, 20, 60);
        cr_assert(i == 0 ? scene_described(s, 0, "success") == 1 : scene_described(s, 0, "success") < 0.5,
                  "code %d: %f", (int)codes[i], scene_described(s, 0, "success"));
        scene_close(s);
    }
}

/* ---- streams ---- */

static void expect_even(scene *s, const char *what, uint64_t rate_per_s, uint64_t seed)
{
    const double off_max = rate_per_s >= 1000 ? 0.025 : 0.1;
    for (size_t b = 0; b < BACKENDS; b++) {
        cr_assert(fabs(scene_share(s, b) - 0.25) < off_max, "%s, %zu per s, seed %zu, backend %zu: %f", what,
                  (size_t)rate_per_s, (size_t)seed, b, scene_share(s, b));
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
                scene_run(s, rate, 10);
            }
            for (size_t b = 0; when == ONE_AFTER_THE_OTHER && b < backends; b++) {
                scene_open_streams(s, b, 1, count);
                scene_run(s, rate, 0.7);
            }
            if (when != ONE_AFTER_THE_OTHER) {
                scene_open_streams(s, 0, backends, count);
            }
            if (when == IDLE_FOR_AN_HOUR) {
                virtual_loop_advance_ns(s->h->vl, 3600 * EVENER_NS_PER_S);
            }
            scene_run(s, rate, 30);
            expect_even(s, what, rates_per_s[r], seed);
            scene_close(s);
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
                cr_assert_eq(harness_pick(s->h, &scene_stream_args, &s->streams[s->stream_count++], NULL),
                             EVENER_PICK_COMPLETE);
                scene_run(s, (double)rates_per_s[r], 0.5 + sim_unit(&s->random));
                for (size_t b = 0; b < BACKENDS; b++) {
                    picks[b] += s->picks[b];
                }
            }
            memcpy(s->picks, picks, sizeof picks);
            expect_even(s, "come and go", rates_per_s[r], seed);
            scene_close(s);
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
            scene_run(s, 20, 30);
            for (size_t b = 0; b < BACKENDS; b++) {
                cr_assert(scene_share(s, b) > 0.15 && scene_share(s, b) < 0.35, "seed %zu, period %zu, backend %zu: %f",
                          (size_t)seed, period, b, scene_share(s, b));
            }
        }
        scene_close(s);
    }
}

/* B3 for this policy: shares follow the weights where times vary, at any load. A heavy backend has more calls that
 * overlap and a lower average for it. */
Test(p2c_capture, b3_shares_follow_the_weights_where_times_vary)
{
    static const double rates[] = {10, 100, 1000, 4000};
    for (size_t r = 0; r < 4; r++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            scene *s = scene_open("p2c_ewma", NULL, "10.0.0.1:1;weight=3,10.0.0.2:1", seed);
            s->varied = true;
            s->backends[0].answer_us = s->backends[1].answer_us = r < 3 ? USUAL_US / 2 : USUAL_US / 20;
            scene_run(s, rates[r], 10);
            scene_run(s, rates[r], fmax(20000 / rates[r], 20));
            cr_assert_float_eq(scene_share(s, 0), 0.75, r < 3 ? 0.1 : 0.13, "%g per s, seed %zu: %f", rates[r],
                               (size_t)seed, scene_share(s, 0));
            scene_close(s);
        }
    }
}

/* Backends of equal weight have equal shares also beside a heavy one, wherever that is in the list. */
Test(p2c_capture, b3_equal_backends_beside_a_heavy_one_have_equal_shares)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        scene *s = scene_open("p2c_ewma", NULL, "10.0.0.1:1,10.0.0.2:1;weight=10,10.0.0.3:1,10.0.0.4:1", seed);
        s->varied = true;
        for (size_t b = 0; b < BACKENDS; b++) {
            s->backends[b].answer_us = USUAL_US / 2;
        }
        scene_run(s, 10, 10);
        scene_run(s, 10, 4000);
        const double light = (scene_share(s, 0) + scene_share(s, 2) + scene_share(s, 3)) / 3;
        for (size_t b = 0; b < BACKENDS; b++) {
            cr_assert(b == 1 || fabs(scene_share(s, b) / light - 1) < 0.2, "seed %zu, backend %zu: %f of %f",
                      (size_t)seed, b, scene_share(s, b), light);
        }
        scene_close(s);
    }
}

/* And those of equal backends stay even while calls overlap. */
Test(p2c_capture, b3_equal_backends_whose_times_vary_stay_even)
{
    for (uint64_t seed = 1; seed <= 2 * (uint64_t)SEEDS; seed++) {
        scene *s = open_scene(seed);
        s->varied = true;
        scene_run(s, 1000, 5);
        scene_run(s, 1000, 20);
        for (size_t b = 0; b < BACKENDS; b++) {
            cr_assert_float_eq(scene_share(s, b), 0.25, 0.025, "seed %zu, backend %zu: %f", (size_t)seed, b,
                               scene_share(s, b));
        }
        scene_close(s);
    }
}

/* ---- hung backends ---- */

/* With a stream under way on each, too, one that hangs is found out before any call times out. */
Test(p2c_capture, a_hung_backend_with_a_stream_loses_its_traffic)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        scene *s = open_scene(seed);
        scene_open_streams(s, 0, BACKENDS, 1);
        scene_run(s, 1000, 10);
        s->backends[0].answer_us = SCENE_NEVER;
        scene_run(s, 1000, 1);
        cr_assert_lt(scene_share(s, 0), 0.05, "seed %zu: %f", (size_t)seed, scene_share(s, 0));
        scene_run(s, 1000, 20);
        cr_assert_lt(scene_share(s, 0), 0.01, "seed %zu: %f", (size_t)seed, scene_share(s, 0));
        scene_close(s);
    }
}

/* C3: grpc-java 12834. */
static void hangs_and_callers_cancel(bool from_the_start, uint64_t rate_per_s, double share_max)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        scene *s = open_scene(seed);
        s->patience_us = 100000;
        if (!from_the_start) {
            scene_run(s, (double)rate_per_s, 10);
        }
        s->backends[0].answer_us = SCENE_NEVER;
        scene_run(s, (double)rate_per_s, 1);
        scene_run(s, (double)rate_per_s, 30);
        cr_assert_lt(scene_share(s, 0), share_max, "%s, %zu per s, seed %zu: %f",
                     from_the_start ? "from the start" : "later", (size_t)rate_per_s, (size_t)seed, scene_share(s, 0));
        scene_close(s);
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

/* Callers that cancel after 2.5 usual times, and answers that vary so much that a longer one is no surprise. */
Test(p2c_capture, b2_impatient_callers_find_a_hung_backend_too)
{
    static const double rates[] = {100, 1000, 4000};
    for (size_t i = 0; i < 12; i++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            scene *s = open_scene(seed);
            const double rate_per_s = rates[i / 4];
            s->varied = i % 2 == 1;
            if (i / 2 % 2 == 1) {
                scene_run(s, rate_per_s, 10);
            }
            s->patience_us = 50000;
            s->backends[0].answer_us = SCENE_NEVER;
            scene_run(s, rate_per_s, 1);
            scene_run(s, rate_per_s, 20);
            cr_assert_lt(scene_share(s, 0), rate_per_s < 1000 ? 0.015 : 0.01, "%zu, seed %zu: %f", i, (size_t)seed,
                         scene_share(s, 0));
            scene_close(s);
        }
    }
}

/* Calls that are cancelled before the usual time, as hedged ones are, are no evidence: shares stay even. */
Test(p2c_capture, early_cancellations_say_nothing)
{
    for (size_t r = 0; r < 2; r++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            scene *s = open_scene(seed);
            for (size_t step = 0; step < 60; step++) {
                s->patience_us = step % 2 == 0 ? 0 : USUAL_US / 4;
                scene_run(s, (double)rates_per_s[r], 0.25);
            }
            s->patience_us = 0;
            scene_run(s, (double)rates_per_s[r], 30);
            expect_even(s, "after early cancellations", rates_per_s[r], seed);
            scene_close(s);
        }
    }
}

/* And it comes back when it answers again. */
Test(p2c_capture, a_backend_that_hung_gets_its_share_again)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        scene *s = open_scene(seed);
        s->patience_us = 100000;
        scene_run(s, 1000, 10);
        s->backends[0].answer_us = SCENE_NEVER;
        scene_run(s, 1000, 10);
        s->backends[0].answer_us = USUAL_US;
        scene_run(s, 1000, 20);
        scene_run(s, 1000, 20);
        cr_assert_gt(scene_share(s, 0), 0.15, "seed %zu: %f", (size_t)seed, scene_share(s, 0));
        scene_close(s);
    }
}
