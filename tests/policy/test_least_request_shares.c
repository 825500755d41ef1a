/* least_request under traffic: shares follow the weights at any load, and neither a backend that fails fast nor one
 * without streams draws more than its share. Each scenario with several seeds. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "tests/policy/scene.h"

#define SEEDS 3
#define FAIL_FAST_US 200

static const double rates_per_s[] = {10, 100, 1000, 10000};

/* B3: weights when idle. Within 5 % of the weights; at least 20,000 calls, that chance makes less than that. */
static void expect_weights_with(const char *config, const char *list, const double *weights, size_t count,
                                uint64_t answer_us, bool varied)
{
    double sum = 0;
    for (size_t b = 0; b < count; b++) {
        sum += weights[b];
    }
    for (size_t r = 0; r < 4; r++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            scene *s = scene_open("least_request", config, list, seed);
            s->varied = varied;
            for (size_t b = 0; b < count; b++) {
                s->backends[b].answer_us = answer_us;
            }
            scene_run(s, rates_per_s[r], 20000 / rates_per_s[r]);
            for (size_t b = 0; b < count; b++) {
                const double wanted = weights[b] / sum;
                cr_assert(fabs(scene_share(s, b) - wanted) < 0.05 * wanted,
                          "%s, %s, %zu us, %g per s, seed %zu, backend %zu: %f", config != NULL ? config : "default",
                          list, (size_t)answer_us, rates_per_s[r], (size_t)seed, b, scene_share(s, b));
            }
            scene_close(s);
        }
    }
}

static void expect_weights(const char *list, const double *weights, size_t count, uint64_t answer_us, bool varied)
{
    expect_weights_with(NULL, list, weights, count, answer_us, varied);
}

Test(least_request_shares, b3_shares_follow_the_weights_at_any_load)
{
    static const double three[] = {3, 1}, near[] = {100, 99}, four[] = {100, 101, 102, 103};
    for (size_t i = 0; i < 4; i++) {
        const uint64_t answer_us = i % 2 == 0 ? 1000 : 20000;
        expect_weights("10.0.0.1:1;weight=3,10.0.0.2:1;weight=1", three, 2, answer_us, i < 2);
        expect_weights("10.0.0.1:1;weight=100,10.0.0.2:1;weight=99", near, 2, answer_us, i < 2);
        expect_weights("10.0.0.1:1;weight=100,10.0.0.2:1;weight=101,10.0.0.3:1;weight=102,10.0.0.4:1;weight=103", four,
                       4, answer_us, i < 2);
    }
}

/* B3: the same with more choices. */
Test(least_request_shares, b3_shares_follow_the_weights_with_any_number_of_choices)
{
    static const double three[] = {3, 1}, four[] = {100, 101, 102, 103};
    for (unsigned choices = 3; choices <= 10; choices++) {
        char config[32];
        snprintf(config, sizeof config, "{\"choiceCount\":%u}", choices);
        for (size_t i = 0; i < 3; i++) {
            const uint64_t answer_us = i == 0 ? 1000 : 20000;
            expect_weights_with(config, "10.0.0.1:1;weight=3,10.0.0.2:1;weight=1", three, 2, answer_us, i < 2);
            expect_weights_with(
                config, "10.0.0.1:1;weight=100,10.0.0.2:1;weight=101,10.0.0.3:1;weight=102,10.0.0.4:1;weight=103", four,
                4, answer_us, i < 2);
        }
    }
}

/* B3: weights further apart, and loads of up to 200 calls in flight. */
Test(least_request_shares, b3_shares_follow_weights_that_are_far_apart)
{
    static const double ten[] = {10, 1}, seven[] = {7, 3, 2, 1}, one_heavy[] = {3, 1, 1, 1};
    for (size_t i = 0; i < 2; i++) {
        const uint64_t answer_us = i == 0 ? 1000 : 20000;
        expect_weights("10.0.0.1:1;weight=10,10.0.0.2:1;weight=1", ten, 2, answer_us, i == 0);
        expect_weights("10.0.0.1:1;weight=7,10.0.0.2:1;weight=3,10.0.0.3:1;weight=2,10.0.0.4:1;weight=1", seven, 4,
                       answer_us, i == 0);
        expect_weights("10.0.0.1:1;weight=3,10.0.0.2:1;weight=1,10.0.0.3:1;weight=1,10.0.0.4:1;weight=1", one_heavy, 4,
                       answer_us, i == 0);
    }
}

/* B3: a heavy backend that hangs gets few calls though most draws find it alone. */
Test(least_request_shares, b3_a_heavy_backend_that_hangs_loses_its_calls)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        scene *s = scene_open("least_request", NULL, "10.0.0.1:1;weight=3,10.0.0.2:1;weight=1", seed);
        scene_run(s, 300, 5);
        s->backends[0].answer_us = SCENE_NEVER;
        scene_run(s, 300, 1);
        scene_run(s, 300, 5);
        cr_assert_lt(scene_share(s, 0), 0.05, "seed %zu: %f", (size_t)seed, scene_share(s, 0));
        scene_close(s);
    }
}

/* B3: Envoy 19437. A newcomer in slow start gets its growing share, from the first second on. */
Test(least_request_shares, b3_a_newcomer_gets_its_growing_share)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        scene *s = scene_open("least_request", "{\"slowStartConfig\":{\"window\":\"20s\"}}",
                              "10.0.0.1:1,10.0.0.2:1,10.0.0.3:1", seed);
        scene_run(s, 1000, 25);
        cr_assert_eq(harness_update(s->h, "10.0.0.1:1,10.0.0.2:1,10.0.0.3:1,10.0.0.4:1"), EVENER_STATUS_OK);
        double last = 0;
        for (size_t step = 0; step < 4; step++) {
            scene_run(s, 1000, 5);
            const double factor = fmax(0.1, ((double)step + 0.5) / 4), wanted = factor / (3 + factor);
            cr_assert(fabs(scene_share(s, 3) - wanted) < 0.2 * wanted + 0.005, "seed %zu, step %zu: %f, wanted %f",
                      (size_t)seed, step, scene_share(s, 3), wanted);
            cr_assert_gt(scene_share(s, 3), last);
            last = scene_share(s, 3);
        }
        scene_close(s);
    }
}

/* B1: Envoy 18789. A code that says nothing of health draws no more than the fair share and 2 points. */
Test(least_request_shares, b1_one_that_refuses_at_once_gets_no_more_than_its_share)
{
    static const evener_status_code codes[] = {EVENER_STATUS_PERMISSION_DENIED, EVENER_STATUS_NOT_FOUND};
    for (size_t i = 0; i < 8; i++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            scene *s = scene_open("least_request", NULL, NULL, seed);
            const double rate_per_s = i % 2 == 0 ? 50 : 1000;
            s->varied = i % 4 >= 2;
            if (i >= 4) {
                scene_run(s, rate_per_s, 10);
            }
            s->backends[0] = (scene_backend){FAIL_FAST_US, codes[i / 4]};
            scene_run(s, rate_per_s, 3000 / sqrt(rate_per_s));
            cr_assert(scene_share(s, 0) < 0.27 && scene_share(s, 0) > 0.05, "%zu, %g per s, seed %zu: %f", i,
                      rate_per_s, (size_t)seed, scene_share(s, 0));
            scene_close(s);
        }
    }
}

Test(least_request_shares, b1_a_listed_code_counts_against_the_backend)
{
    for (size_t i = 0; i < 2; i++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            const char *config = i == 0 ? NULL : "{\"failureCodes\":[\"NOT_FOUND\"]}";
            scene *s = scene_open("least_request", config, NULL, seed);
            s->backends[0] = (scene_backend){FAIL_FAST_US, i == 0 ? EVENER_STATUS_UNKNOWN : EVENER_STATUS_NOT_FOUND};
            scene_run(s, 1000, 1);
            scene_run(s, 1000, 20);
            cr_assert_lt(scene_share(s, 0), 0.05, "seed %zu: %f", (size_t)seed, scene_share(s, 0));
            scene_close(s);
        }
    }
}

/* B1: the same with few calls, with most of the weight, among two, and with more choices; from the start and later. */
Test(least_request_shares, b1_a_listed_code_counts_however_few_the_calls_and_large_the_weight)
{
    static const char *const lists[] = {NULL, "10.0.0.1:1,10.0.0.2:1",
                                        "10.0.0.1:1;weight=3,10.0.0.2:1,10.0.0.3:1,10.0.0.4:1",
                                        "10.0.0.1:1;weight=100,10.0.0.2:1,10.0.0.3:1,10.0.0.4:1"};
    static const char *const configs[] = {NULL, "{\"choiceCount\":4}"};
    for (size_t i = 0; i < 32; i++) {
        scene *s = scene_open("least_request", configs[i / 4 % 2], lists[i % 4], 1 + i);
        const double rate_per_s = i / 8 % 2 == 0 ? 50 : 1000;
        if (i >= 16) {
            scene_run(s, rate_per_s, 5);
        }
        s->backends[0] = (scene_backend){FAIL_FAST_US, EVENER_STATUS_INTERNAL};
        scene_run(s, rate_per_s, 1);
        scene_run(s, rate_per_s, 40);
        cr_assert_lt(scene_share(s, 0), 0.05, "%zu, %g per s: %f", i, rate_per_s, scene_share(s, 0));
        scene_close(s);
    }
}

/* Two of four that fail do not take calls from each other. */
Test(least_request_shares, b1_two_of_four_that_fail_get_few_calls)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        scene *s = scene_open("least_request", NULL, NULL, seed);
        scene_run(s, 300, 5);
        s->backends[0] = (scene_backend){FAIL_FAST_US, EVENER_STATUS_UNAVAILABLE};
        s->backends[2] = (scene_backend){FAIL_FAST_US, EVENER_STATUS_UNKNOWN};
        scene_run(s, 300, 1);
        scene_run(s, 300, 20);
        cr_assert_lt(scene_share(s, 0) + scene_share(s, 2), 0.05, "seed %zu: %f", (size_t)seed,
                     scene_share(s, 0) + scene_share(s, 2));
        cr_assert_float_eq(scene_share(s, 1), scene_share(s, 3), 0.06, "seed %zu: %f and %f", (size_t)seed,
                           scene_share(s, 1), scene_share(s, 3));
        scene_close(s);
    }
}

/* It gets its share again within 12 seconds of its recovery, and within a second of a new connection. */
Test(least_request_shares, b1_one_that_recovers_gets_its_share_again)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        scene *s = scene_open("least_request", NULL, NULL, seed);
        scene_run(s, 1000, 5);
        for (size_t reconnects = 0; reconnects < 2; reconnects++) {
            s->backends[0] = (scene_backend){FAIL_FAST_US, EVENER_STATUS_UNKNOWN};
            scene_run(s, 1000, 5);
            s->backends[0] = (scene_backend){SCENE_USUAL_US, EVENER_STATUS_OK};
            if (reconnects == 1) {
                harness_set(s->h, evener_address_text(s->h->addresses[0]), EVENER_IDLE);
            }
            scene_run(s, 1000, reconnects == 1 ? 2 : 12);
            scene_run(s, 1000, 5);
            cr_assert_float_eq(scene_share(s, 0), 0.25, 0.03, "seed %zu, %zu: %f", (size_t)seed, reconnects,
                               scene_share(s, 0));
        }
        scene_close(s);
    }
}

/* A few failures among many answers change nothing for good. */
Test(least_request_shares, b1_one_that_fails_at_times_keeps_most_of_its_share)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        scene *s = scene_open("least_request", NULL, NULL, seed);
        size_t calls = 0, sum = 0;
        for (size_t i = 0; i < 2000; i++) {
            s->backends[0].code = i % 20 == 0 ? EVENER_STATUS_UNKNOWN : EVENER_STATUS_OK;
            scene_run(s, 1000, 0.01);
            for (size_t b = 0; b < SCENE_BACKENDS; b++) {
                calls += b == 0 ? s->picks[b] : 0;
                sum += s->picks[b];
            }
        }
        cr_assert((double)calls > 0.15 * (double)sum && (double)calls < 0.26 * (double)sum, "seed %zu: %f",
                  (size_t)seed, (double)calls / (double)sum);
        scene_close(s);
    }
}

/* B2: streams open on one or on each backend are no load for unary calls. */
Test(least_request_shares, b2_streams_leave_the_shares_even)
{
    for (size_t i = 0; i < 4; i++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            scene *s = scene_open("least_request", NULL, NULL, seed);
            scene_open_streams(s, 0, i % 2 == 0 ? 1 : SCENE_BACKENDS, i / 2 == 0 ? 1 : 10);
            scene_run(s, 1000, 20);
            for (size_t b = 0; b < SCENE_BACKENDS; b++) {
                cr_assert_float_eq(scene_share(s, b), 0.25, 0.025, "%zu, seed %zu, backend %zu: %f", i, (size_t)seed, b,
                                   scene_share(s, b));
            }
            scene_close(s);
        }
    }
}

/* And streams are spread by the streams open. */
Test(least_request_shares, b2_streams_are_compared_with_streams)
{
    scene *s = scene_open("least_request", "{\"choiceCount\":4}", NULL, 1);
    size_t counts[SCENE_BACKENDS] = {0};
    scene_open_streams(s, 0, SCENE_BACKENDS, 3);
    for (size_t i = 0; i < s->stream_count; i++) {
        for (size_t b = 0; b < SCENE_BACKENDS; b++) {
            counts[b] += s->streams[i].subchannel == harness_at(s->h, b);
        }
    }
    for (size_t b = 0; b < SCENE_BACKENDS; b++) {
        cr_assert_eq(counts[b], 3);
    }
    cr_assert_eq(s->stream_count, 12);
    scene_close(s);
}
