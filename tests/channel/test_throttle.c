/* The throttle of retries (A6, client retries) by itself. */
#include <criterion/criterion.h>

#include <evener/runtime.h>

#include "lb/channel/shared_throttle.h"
#include "lb/channel/throttle.h"
#include "tests/support/virtual_loop.h"

Test(throttle, without_a_maximum_it_allows_all)
{
    evener_throttle throttle = {0};
    const evener_throttle_config none = {0};
    evener_throttle_configure(&throttle, &none);
    for (unsigned i = 0; i < 5; i++) {
        cr_expect(evener_throttle_allows(&throttle));
        evener_throttle_failed(&throttle);
        cr_expect_eq(throttle.tokens_milli, 0);
    }
    evener_throttle_succeeded(&throttle);
    cr_expect_eq(throttle.tokens_milli, 0);
    cr_expect(evener_throttle_allows(&throttle));
}

Test(throttle, a_failure_takes_a_token_and_a_success_adds_the_ratio)
{
    const evener_throttle_config config = {.max_milli = 10000, .ratio_milli = 400};
    evener_throttle throttle = {0};
    evener_throttle_configure(&throttle, &config);
    cr_expect_eq(throttle.tokens_milli, 10000, "it begins full");
    evener_throttle_succeeded(&throttle);
    cr_expect_eq(throttle.tokens_milli, 10000, "and is never more than full");
    for (unsigned i = 1; i <= 4; i++) {
        evener_throttle_failed(&throttle);
        cr_expect_eq(throttle.tokens_milli, 10000 - i * 1000);
        cr_expect(evener_throttle_allows(&throttle));
    }
    evener_throttle_failed(&throttle);
    cr_expect_eq(throttle.tokens_milli, 5000);
    cr_expect_not(evener_throttle_allows(&throttle), "more than half is needed");
    evener_throttle_succeeded(&throttle);
    cr_expect_eq(throttle.tokens_milli, 5400);
    cr_expect(evener_throttle_allows(&throttle));
    for (unsigned i = 0; i < 5; i++) {
        evener_throttle_failed(&throttle);
    }
    cr_expect_eq(throttle.tokens_milli, 400);
    evener_throttle_failed(&throttle);
    cr_expect_eq(throttle.tokens_milli, 0, "never less than none");
    evener_throttle_failed(&throttle);
    cr_expect_eq(throttle.tokens_milli, 0);
    for (unsigned i = 1; i <= 24; i++) {
        evener_throttle_succeeded(&throttle);
        cr_expect_eq(throttle.tokens_milli, i * 400);
    }
    evener_throttle_succeeded(&throttle);
    cr_expect_eq(throttle.tokens_milli, 10000);
    evener_throttle_failed(&throttle);
    throttle.tokens_milli = 1000;
    evener_throttle_failed(&throttle);
    cr_expect_eq(throttle.tokens_milli, 0);
    throttle.tokens_milli = 1001;
    evener_throttle_failed(&throttle);
    cr_expect_eq(throttle.tokens_milli, 1);
}

Test(throttle, a_change_keeps_the_share_of_tokens)
{
    evener_throttle_config config = {.max_milli = 10000, .ratio_milli = 400};
    evener_throttle throttle = {0};
    evener_throttle_configure(&throttle, &config);
    evener_throttle_failed(&throttle);
    evener_throttle_failed(&throttle);
    evener_throttle_configure(&throttle, &config);
    cr_expect_eq(throttle.tokens_milli, 8000, "nothing has changed");
    config.max_milli = 1000;
    evener_throttle_configure(&throttle, &config);
    cr_expect_eq(throttle.tokens_milli, 800);
    cr_expect_eq(throttle.max_milli, 1000);
    cr_expect_eq(throttle.ratio_milli, 400);
    config.ratio_milli = 100;
    evener_throttle_configure(&throttle, &config);
    cr_expect_eq(throttle.tokens_milli, 800);
    cr_expect_eq(throttle.ratio_milli, 100);
    throttle.tokens_milli = 1500; /* by a call that counted during a change */
    evener_throttle_succeeded(&throttle);
    cr_expect_eq(throttle.tokens_milli, 1000, "the next success corrects it");
    config = (evener_throttle_config){0};
    evener_throttle_configure(&throttle, &config);
    cr_expect(evener_throttle_allows(&throttle));
    config = (evener_throttle_config){.max_milli = 4000, .ratio_milli = 1};
    evener_throttle_configure(&throttle, &config);
    cr_expect_eq(throttle.tokens_milli, 4000, "turned on again it begins full");
}

/* ---- throttles that channels share ---- */

static virtual_loop *loop;
static evener_runtime *runtime;

static void set_up(void)
{
    evener_status status;
    loop = virtual_loop_create(1);
    const evener_runtime_options options = {.size = sizeof options, .loop = virtual_loop_loop(loop)};
    cr_assert_eq(evener_runtime_create(&options, &runtime, &status), EVENER_STATUS_OK);
}

static void tear_down(void)
{
    evener_runtime_unref(runtime);
    virtual_loop_destroy(loop);
}

TestSuite(shared_throttle, .init = set_up, .fini = tear_down);

Test(shared_throttle, channels_share_that_of_a_server_name)
{
    static const char *const names[] = {"a", "ab", "b", ""};
    evener_held_throttle *first = NULL, *second = NULL;
    evener_throttle *throttles[4];
    for (size_t i = 0; i < 4; i++) {
        throttles[i] = evener_throttle_hold(runtime, names[i], &first);
        cr_assert_not_null(throttles[i]);
        for (size_t j = 0; j < i; j++) {
            cr_expect_neq(throttles[i], throttles[j], "\"%s\" and \"%s\"", names[i], names[j]);
        }
        throttles[i]->tokens_milli = (uint32_t)i + 1;
    }
    for (size_t i = 0; i < 4; i++) {
        cr_expect_eq(evener_throttle_hold(runtime, names[i], &first), throttles[i], "held already");
        cr_expect_eq(evener_throttle_hold(runtime, names[3 - i], &second), throttles[3 - i], "another channel's");
    }
    evener_throttles_release(runtime, &first);
    cr_expect_null(first);
    for (size_t i = 0; i < 4; i++) {
        cr_expect_eq(throttles[i]->tokens_milli, i + 1, "the other channel holds it");
        cr_expect_eq(evener_throttle_hold(runtime, names[i], &first), throttles[i]);
    }
    evener_throttles_release(runtime, &second);
    evener_throttles_release(runtime, &first);
    evener_throttle *fresh = evener_throttle_hold(runtime, "b", &first);
    cr_expect_eq(fresh->tokens_milli, 0, "nobody has held it since");
    evener_throttles_release(runtime, &first);
    evener_throttles_release(runtime, &first);
}

/* Names come and go in any order; those that are held stay. */
Test(shared_throttle, one_that_nobody_holds_is_forgotten_alone)
{
    static const char *const names[] = {"a", "b", "c"};
    for (size_t gone = 0; gone < 3; gone++) {
        evener_held_throttle *held[3] = {NULL};
        evener_throttle *throttles[3];
        for (size_t i = 0; i < 3; i++) {
            throttles[i] = evener_throttle_hold(runtime, names[i], &held[i]);
            throttles[i]->tokens_milli = 7;
        }
        evener_throttles_release(runtime, &held[gone]);
        cr_expect_eq(evener_throttle_hold(runtime, names[gone], &held[gone])->tokens_milli, 0, "it begins anew");
        for (size_t i = 0; i < 3; i++) {
            evener_held_throttle *other = NULL;
            const evener_throttle *found = evener_throttle_hold(runtime, names[i], &other);
            cr_expect(i == gone || (found == throttles[i] && found->tokens_milli == 7), "%zu of %zu", i, gone);
            evener_throttles_release(runtime, &other);
        }
        for (size_t i = 0; i < 3; i++) {
            evener_throttles_release(runtime, &held[i]);
        }
    }
}
