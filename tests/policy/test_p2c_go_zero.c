/* "compat": "go-zero": the original's arithmetic, held against figures worked out by hand from its formulas
 * (zrpc/internal/balancer/p2c/p2c.go). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/memory.h"
#include "lb/policy/p2c_internal.h"
#include "tests/support/policy_harness.h"

#define A "10.0.0.1:1"
#define B "10.0.0.2:1"
#define GO_ZERO "{\"compat\":\"go-zero\"}"

static policy_harness *ready_harness(const char *list)
{
    policy_harness *h = harness_create("p2c_ewma", GO_ZERO);
    h->connect_succeeds = true;
    cr_assert_eq(harness_update(h, list), EVENER_STATUS_OK);
    return h;
}

static const p2c_go_zero_stats *stats_of(policy_harness *h, const char *address)
{
    const p2c_stats *stats = evener_subchannel_data(harness_find(h, address));
    return stats->common->is_go_zero ? EVENER_CONTAINER_OF(stats->common, p2c_go_zero_stats, common) : NULL;
}

/* One call that takes `ms`; the time between two answers is what the caller makes it. */
static const char *call(policy_harness *h, uint64_t ms, evener_status_code code)
{
    evener_pick pick;
    cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    const char *address = evener_subchannel_address_text(pick.subchannel);
    harness_advance_ms(h, ms);
    harness_done(h, &pick, code);
    return address;
}

/* The first answer is taken whole, w = 0: lag 1,000,000. The next comes 10 s later, dt = decay, w = exp(-1) =
 * 0.36787944: 1,000,000 * 0.36787944 + 3,000,000 * 0.63212056 = 2,264,241.1, cut to a whole number. */
Test(p2c_go_zero, lag)
{
    policy_harness *h = ready_harness(A);
    cr_assert_eq(stats_of(h, A)->success, 1000);
    call(h, 1, EVENER_STATUS_OK);
    cr_assert_eq(stats_of(h, A)->lag_ns, 1000000);
    harness_advance_ms(h, 9997);
    call(h, 3, EVENER_STATUS_OK);
    cr_assert_eq(stats_of(h, A)->lag_ns, 2264241);
    harness_destroy(h);
}

/* Failing for the first time: w = 0, so success falls to 0 at once. Then OK after 10 s: 1000 * 0.63212056 = 632; a
 * failure 5 s after, w = exp(-0.5) = 0.60653066: 632 * 0.60653066 = 383.3, cut to 383. */
Test(p2c_go_zero, success)
{
    policy_harness *h = ready_harness(A);
    call(h, 1, EVENER_STATUS_UNAVAILABLE);
    cr_assert_eq(stats_of(h, A)->success, 0);
    harness_advance_ms(h, 9999);
    call(h, 1, EVENER_STATUS_OK);
    cr_assert_eq(stats_of(h, A)->success, 632);
    harness_advance_ms(h, 4999);
    call(h, 1, EVENER_STATUS_DATA_LOSS);
    cr_assert_eq(stats_of(h, A)->success, 383);
    harness_destroy(h);
}

/* dt = 10 ms: w = exp(-0.001) = 0.9990005. 1000 * w + 1000 * (1 - w) is 1000 or a hair less: cut. From 999 on every OK
 * loses one more: 999 * w + 1000 * (1 - w) = 999.001 stays, but 0 after an error: 1000 * w = 999.0005. */
Test(p2c_go_zero, success_is_cut_to_whole_numbers)
{
    policy_harness *h = ready_harness(A);
    call(h, 10, EVENER_STATUS_OK);
    call(h, 10, EVENER_STATUS_UNAVAILABLE);
    cr_assert_eq(stats_of(h, A)->success, 999);
    call(h, 10, EVENER_STATUS_OK);
    cr_assert_leq(stats_of(h, A)->success, 999);
    harness_destroy(h);
}

/* The codes that count as failures, and no others. */
Test(p2c_go_zero, codes)
{
    const uint32_t failing = 1U << EVENER_STATUS_DEADLINE_EXCEEDED | 1U << EVENER_STATUS_INTERNAL |
                             1U << EVENER_STATUS_UNAVAILABLE | 1U << EVENER_STATUS_DATA_LOSS |
                             1U << EVENER_STATUS_UNIMPLEMENTED | 1U << EVENER_STATUS_RESOURCE_EXHAUSTED;
    for (unsigned code = 0; code <= 16; code++) {
        policy_harness *h = ready_harness(A);
        call(h, 1, (evener_status_code)code);
        cr_assert_eq(stats_of(h, A)->success, (failing >> code & 1) != 0 ? 0 : 1000, "%u", code);
        harness_destroy(h);
    }
}

/* load = isqrt(lag + 1) * (in_flight + 1). A has lag 1,000,000 (1,000.0 -> 1000), B 4,000,000 (2000): B wins when A has
 * two calls under way (3000 against 2000), not with one (2000 against 2000: the first of the two stays). */
Test(p2c_go_zero, load)
{
    policy_harness *h = ready_harness(A "," B);
    bool seen_b = false;
    for (int i = 0; i < 8 && !seen_b; i++) { /* at first both are forced */
        evener_pick pick;
        cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
        seen_b = strcmp(evener_subchannel_address_text(pick.subchannel), B) == 0;
        harness_advance_ms(h, seen_b ? 4 : 1);
        harness_done(h, &pick, EVENER_STATUS_OK);
    }
    cr_assert(seen_b);
    cr_assert_str_eq(call(h, 1, EVENER_STATUS_OK), A);
    evener_pick held[3];
    const char *const expected[] = {A, A, B};
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(harness_pick(h, NULL, &held[i], NULL), EVENER_PICK_COMPLETE);
        cr_assert_str_eq(evener_subchannel_address_text(held[i].subchannel), expected[i], "%zu", i);
    }
    for (size_t i = 0; i < 3; i++) {
        harness_done(h, &held[i], EVENER_STATUS_OK);
    }
    harness_destroy(h);
}

/* The loser is picked when its last pick is more than a second ago, once. */
Test(p2c_go_zero, force_pick)
{
    policy_harness *h = ready_harness(A "," B);
    for (int i = 0; i < 10; i++) {
        evener_pick pick;
        cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
        harness_advance_ms(h, strcmp(evener_subchannel_address_text(pick.subchannel), B) == 0 ? 20 : 1);
        harness_done(h, &pick, EVENER_STATUS_OK);
    }
    cr_assert_str_eq(call(h, 1, EVENER_STATUS_OK), A);
    harness_advance_ms(h, 1500);
    cr_assert_str_eq(call(h, 1, EVENER_STATUS_OK), B);
    cr_assert_str_eq(call(h, 1, EVENER_STATUS_OK), A);
    harness_destroy(h);
}

/* A call begun under an earlier picker ends under a later one: its statistics are another's, and nothing is counted
 * twice. */
Test(p2c_go_zero, a_late_answer_is_the_old_pickers)
{
    policy_harness *h = ready_harness(A);
    evener_pick pick;
    cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    harness_update(h, A "," B);
    harness_done(h, &pick, EVENER_STATUS_UNAVAILABLE);
    cr_assert_eq(stats_of(h, A)->in_flight, 0);
    cr_assert_eq(stats_of(h, A)->success, 1000);
    harness_destroy(h);
}

/* `compat` may change on a live channel: statistics of either kind stay, and calls under way end in their own. */
Test(p2c_go_zero, a_change_of_compat_keeps_both_statistics_apart)
{
    policy_harness *h = ready_harness(A);
    evener_pick pick, other;
    call(h, 7, EVENER_STATUS_OK);
    const p2c_go_zero_stats *go_zero = stats_of(h, A);
    p2c_stats *stats = evener_subchannel_data(harness_find(h, A));
    cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    harness_configure(h, "{\"decay\":\"3s\"}");
    cr_assert_float_eq(p2c_decay_ns(stats), 3e9F, 1, "the new configuration is in force");
    cr_assert_eq(harness_pick(h, NULL, &other, NULL), EVENER_PICK_COMPLETE);
    cr_assert_eq(stats->in_flight, 1);
    harness_advance_ms(h, 5);
    harness_done(h, &pick, EVENER_STATUS_OK);
    cr_assert_eq(go_zero->in_flight, 0);
    cr_assert_eq(stats->in_flight, 1);
    harness_done(h, &other, EVENER_STATUS_OK);
    cr_assert_eq(stats->in_flight, 0);
    cr_assert_float_eq(p2c_get(&stats->latency_ns), 5e6F, 10, "%f", (double)stats->latency_ns);
    harness_configure(h, GO_ZERO);
    cr_assert_eq(stats_of(h, A), go_zero);
    cr_assert_eq(go_zero->lag_ns, 0, "they begin anew with each picker");
    harness_destroy(h);
}

/* The other way round: backends that begin with p2c_ewma's own statistics. */
Test(p2c_go_zero, compat_begins_on_a_live_channel)
{
    policy_harness *h = harness_create("p2c_ewma", NULL);
    h->connect_succeeds = true;
    cr_assert_eq(harness_update(h, A), EVENER_STATUS_OK);
    evener_pick pick;
    p2c_stats *stats = evener_subchannel_data(harness_find(h, A));
    cr_assert_null(stats_of(h, A));
    cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    harness_configure(h, GO_ZERO);
    harness_advance_ms(h, 5);
    harness_done(h, &pick, EVENER_STATUS_OK);
    cr_assert_eq(stats->in_flight, 0);
    cr_assert_eq(stats_of(h, A)->in_flight, 0);
    call(h, 7, EVENER_STATUS_OK);
    cr_assert_eq(stats_of(h, A)->lag_ns, 7000000);
    harness_destroy(h);
}
