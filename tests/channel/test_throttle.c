/* The throttle of retries (A6, client retries) by itself. */
#include <criterion/criterion.h>

#include "lb/channel/throttle.h"

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
