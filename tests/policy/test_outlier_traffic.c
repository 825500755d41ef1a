/* outlier_detection under traffic, over children with their default parameters. Some of them avoid a backend that fails
 * by themselves and leave it few calls to be judged by. On the virtual loop, each scenario with several seeds. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/policy/scene.h"

#define SEEDS 10
#define FAIL_FAST_US 200
#define IN_A_ROW "\"consecutiveFailureEjection\":{\"threshold\":5}"
#define PERCENTAGE "\"failurePercentageEjection\":{\"threshold\":50,\"minimumHosts\":1,\"requestVolume\":5}"

static scene *open_over(const char *child, const char *mode, uint64_t seed)
{
    char config[512];
    snprintf(config, sizeof config,
             "{\"interval\":\"1s\",\"baseEjectionTime\":\"5s\",%s,\"childPolicy\":[{\"%s\":{}}]}", mode, child);
    return scene_open("outlier_detection", config, NULL, seed);
}

static bool is_ejected(const scene *s, size_t b)
{
    char note[256] = "";
    s->h->policy->vtable->describe(s->h->policy, harness_find(s->h, evener_address_text(s->h->addresses[b])), note,
                                   sizeof note);
    return strstr(note, "ejected") != NULL;
}

static void expect_healthy(const scene *s, size_t first, const char *child, uint64_t seed)
{
    for (size_t b = first; b < SCENE_BACKENDS; b++) {
        cr_assert_not(is_ejected(s, b), "%s, seed %zu: backend %zu", child, (size_t)seed, b);
    }
}

/* The first backend has recovered: it gets its share again. */
static void expect_share_after_recovery(scene *s, const char *child, uint64_t seed)
{
    s->backends[0] = (scene_backend){SCENE_USUAL_US, EVENER_STATUS_OK};
    scene_run(s, 1000, 30);
    scene_run(s, 1000, 10);
    expect_healthy(s, 0, child, seed);
    cr_assert_float_eq(scene_share(s, 0), 0.25, 0.03, "%s, seed %zu: %f", child, (size_t)seed, scene_share(s, 0));
}

/* Also least_request gives enough calls to a backend that begins to fail: it is ejected. */
Test(outlier_traffic, a_backend_that_fails_is_ejected_and_taken_back)
{
    static const char *const children[] = {"round_robin", "weighted_round_robin", "random", "least_request"};
    for (size_t c = 0; c < sizeof children / sizeof *children; c++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            scene *s = open_over(children[c], IN_A_ROW, seed);
            scene_run(s, 1000, 5);
            expect_healthy(s, 0, children[c], seed);
            s->backends[0] = (scene_backend){FAIL_FAST_US, EVENER_STATUS_UNAVAILABLE};
            scene_run(s, 1000, 1.5);
            cr_assert(is_ejected(s, 0), "%s, seed %zu: %zu calls failed", children[c], (size_t)seed, s->picks[0]);
            expect_healthy(s, 1, children[c], seed);
            scene_run(s, 1000, 2);
            cr_assert_eq(s->picks[0], 0, "%s, seed %zu: %zu", children[c], (size_t)seed, s->picks[0]);
            expect_share_after_recovery(s, children[c], seed);
            scene_close(s);
        }
    }
}

/* Ejected or not: the failing backend gets few calls, and no other one is ejected in its place. */
Test(outlier_traffic, a_backend_that_its_policy_avoids_gets_few_calls)
{
    static const char *const children[] = {"least_request", "p2c_ewma"};
    static const char *const modes[] = {IN_A_ROW, PERCENTAGE};
    for (size_t c = 0; c < 4; c++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            const char *child = children[c % 2];
            scene *s = open_over(child, modes[c / 2], seed);
            scene_run(s, 1000, 5);
            s->backends[0] = (scene_backend){FAIL_FAST_US, EVENER_STATUS_UNAVAILABLE};
            scene_run(s, 1000, 1);
            scene_run(s, 1000, 30);
            cr_assert_lt(scene_share(s, 0), 0.01, "%s, seed %zu: %f", child, (size_t)seed, scene_share(s, 0));
            expect_healthy(s, 1, child, seed);
            expect_share_after_recovery(s, child, seed);
            scene_close(s);
        }
    }
}

/* B5: two of four fail all but one call in twenty: mean less 1.9 standard deviations is below 0. One that fails every
 * other call is no outlier by that. */
Test(outlier_traffic, b5_backends_that_fail_nearly_every_call_are_ejected)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        scene *s = scene_open("outlier_detection",
                              "{\"interval\":\"1s\",\"maxEjectionPercent\":50,\"successRateEjection\":{"
                              "\"minimumHosts\":3},\"childPolicy\":[{\"round_robin\":{}}]}",
                              NULL, seed);
        for (size_t i = 0; i < 1200; i++) {
            const bool nearly = i >= 600;
            s->backends[0].code = i % (nearly ? 20 : 2) == 0 ? EVENER_STATUS_OK : EVENER_STATUS_UNAVAILABLE;
            s->backends[1].code = s->backends[0].code;
            scene_run(s, 1000, 0.005);
            if (i == 599) {
                expect_healthy(s, 0, "round_robin", seed);
            }
        }
        cr_assert(is_ejected(s, 0) && is_ejected(s, 1), "seed %zu", (size_t)seed);
        expect_healthy(s, 2, "round_robin", seed);
        scene_close(s);
    }
}
