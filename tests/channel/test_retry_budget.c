/* The retry budget by itself, at times of its own. */
#include <criterion/criterion.h>

#include <evener/evener.h>

#include "lb/channel/retry_budget.h"

/* Return how many retries a budget allows when one is asked for at every step, after the first ten seconds' worth. */
static unsigned retries_in(uint32_t second_milli, uint64_t step_ns, uint64_t duration_ns)
{
    const evener_retry_budget_config config = {.is_on = true, .second_milli = second_milli};
    evener_retry_budget budget = {0};
    uint64_t now_ns = EVENER_NS_PER_S;
    evener_retry_budget_configure(&budget, &config, now_ns);
    while (evener_retry_budget_take(&budget, now_ns)) {
    }
    unsigned taken = 0;
    for (const uint64_t end_ns = now_ns + duration_ns; now_ns < end_ns;) {
        now_ns += step_ns;
        taken += evener_retry_budget_take(&budget, now_ns);
    }
    return taken;
}

Test(retry_budget, each_second_earns_its_share_however_often_it_is_asked)
{
    const uint64_t minute_ns = 60 * EVENER_NS_PER_S;
    const uint64_t steps_ns[] = {EVENER_NS_PER_MS / 10, EVENER_NS_PER_MS, 7 * EVENER_NS_PER_MS};
    for (size_t i = 0; i < sizeof steps_ns / sizeof *steps_ns; i++) {
        cr_expect_eq((retries_in(500, steps_ns[i], minute_ns) + 1) / 2, 15, "0.5 per second");
        cr_expect_eq((retries_in(1500, steps_ns[i], minute_ns) + 1) / 2, 45, "1.5 per second");
        cr_expect_eq((retries_in(10000, steps_ns[i], minute_ns) + 1) / 2, 300, "10 per second");
    }
}

Test(retry_budget, what_is_not_used_is_kept_for_ten_seconds)
{
    const evener_retry_budget_config config = {.is_on = true, .second_milli = 2000};
    evener_retry_budget budget = {0};
    evener_retry_budget_configure(&budget, &config, EVENER_NS_PER_S);
    unsigned taken = 0;
    while (evener_retry_budget_take(&budget, 3600 * EVENER_NS_PER_S)) {
        taken++;
    }
    cr_expect_geq(taken, 20);
    cr_expect_leq(taken, 120, "and what a hundred calls earn at most");
}

static unsigned take_all(evener_retry_budget *budget, uint64_t now_ns)
{
    unsigned taken = 0;
    while (evener_retry_budget_take(budget, now_ns)) {
        taken++;
    }
    return taken;
}

Test(retry_budget, its_bounds_are_exact)
{
    const evener_retry_budget_config config = {.is_on = true, .ratio_milli = 200, .second_milli = 2000};
    evener_retry_budget budget = {0};
    const uint64_t now_ns = 100 * EVENER_NS_PER_S;
    evener_retry_budget_configure(&budget, &config, now_ns);
    cr_expect_eq(take_all(&budget, now_ns), 20, "it begins with what ten seconds earn");
    for (unsigned i = 0; i < 14; i++) {
        evener_retry_budget_earn(&budget);
    }
    cr_expect_eq(take_all(&budget, now_ns), 2, "five calls earn one retry");
    evener_retry_budget_earn(&budget);
    cr_expect_eq(take_all(&budget, now_ns), 1, "what was left is kept");
    for (unsigned i = 0; i < 599; i++) {
        evener_retry_budget_earn(&budget);
    }
    cr_expect_eq(take_all(&budget, now_ns), 119);
    for (unsigned i = 0; i < 700; i++) {
        evener_retry_budget_earn(&budget);
    }
    cr_expect_eq(take_all(&budget, now_ns), 120, "no more than ten seconds and a hundred retries are kept");

    cr_expect_eq(take_all(&budget, now_ns + 499 * EVENER_NS_PER_MS), 0);
    cr_expect_eq(take_all(&budget, now_ns + 500 * EVENER_NS_PER_MS), 1);
    cr_expect_eq(take_all(&budget, now_ns), 0, "an earlier time earns nothing");
    uint64_t then_ns = now_ns + 500 * EVENER_NS_PER_MS + 9999 * EVENER_NS_PER_MS;
    cr_expect_eq(take_all(&budget, then_ns), 19);
    cr_expect_eq(take_all(&budget, then_ns + EVENER_NS_PER_MS), 1, "the remainder counts");
    then_ns += 11 * EVENER_NS_PER_S;
    cr_expect_eq(take_all(&budget, then_ns), 20, "time beyond ten seconds is lost");
    cr_expect_eq(take_all(&budget, then_ns + 499 * EVENER_NS_PER_MS), 0);
}

Test(retry_budget, a_change_keeps_what_was_earned)
{
    evener_retry_budget_config config = {.is_on = true, .second_milli = 1000};
    evener_retry_budget budget = {0};
    for (unsigned i = 0; i < 100; i++) {
        cr_assert(evener_retry_budget_take(&budget, 0), "one that is off allows all");
    }
    evener_retry_budget_configure(&budget, &config, EVENER_NS_PER_S);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert(evener_retry_budget_take(&budget, EVENER_NS_PER_S));
    }
    config = (evener_retry_budget_config){.is_on = true, .ratio_milli = 1000, .second_milli = 0};
    evener_retry_budget_configure(&budget, &config, 9 * EVENER_NS_PER_S);
    cr_expect_eq(take_all(&budget, 9 * EVENER_NS_PER_S), 6, "of the first ten four are used");
    evener_retry_budget_earn(&budget);
    cr_expect_eq(take_all(&budget, 9 * EVENER_NS_PER_S), 1);
    config.is_on = false;
    evener_retry_budget_configure(&budget, &config, 9 * EVENER_NS_PER_S);
    evener_retry_budget_earn(&budget);
    cr_expect(evener_retry_budget_take(&budget, 9 * EVENER_NS_PER_S));
    config = (evener_retry_budget_config){.is_on = true, .second_milli = 300};
    evener_retry_budget_configure(&budget, &config, 9 * EVENER_NS_PER_S);
    cr_expect_eq(take_all(&budget, 9 * EVENER_NS_PER_S), 3, "turned on again it begins anew");
}
