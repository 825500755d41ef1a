/* The choice of p2c_ewma: the short way of a plain pick decides as the full one does. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lb/policy/p2c_choice.h"
#include "tests/support/policy_harness.h"

#define BACKENDS 12
#define ROUNDS 3000

typedef enum way { PLAIN, TRACED, ON_THE_SHARED_LANE, WAYS } way;

/* Everything that a pick reads and writes. */
typedef struct snapshot {
    p2c_lane lane;
    p2c_stats stats[BACKENDS];
} snapshot;

static snapshot save(const p2c_picker *picker)
{
    snapshot all = {.lane = picker->lanes[0]};
    for (size_t b = 0; b < BACKENDS; b++) {
        all.stats[b] = *picker->backends[b];
    }
    return all;
}

static void restore(p2c_picker *picker, const snapshot *all, uint32_t lane, uint64_t seed)
{
    picker->lanes[lane] = all->lane;
    picker->lanes[lane].random = (evener_lane_generator){.state = seed};
    if (lane != EVENER_LANE_SHARED) { /* has drawn one number ahead */
        picker->lanes[lane].random.ahead = evener_lane_generator_next(&picker->lanes[lane].random, lane);
    }
    for (size_t b = 0; b < BACKENDS; b++) {
        *picker->backends[b] = all->stats[b];
    }
}

/* Pick from the state in `all` and take the call back; the state is then as it was. */
static evener_subchannel *pick_from(policy_harness *h, const snapshot *all, way how, uint64_t seed)
{
    const evener_pick_trace trace = {.size = sizeof trace};
    const evener_pick_args args = {.size = sizeof args, .trace = how == TRACED ? &trace : NULL};
    p2c_picker *picker = (p2c_picker *)h->picker;
    evener_pick pick;
    h->lane = how == ON_THE_SHARED_LANE ? EVENER_LANE_SHARED : 0;
    restore(picker, all, h->lane, seed);
    cr_assert_eq(harness_pick(h, &args, &pick, NULL), EVENER_PICK_COMPLETE);
    evener_subchannel *taken = pick.subchannel;
    harness_done_with(
        h, &pick, &(evener_done_info){.size = sizeof(evener_done_info), .not_sent = true, .code = EVENER_STATUS_OK});
    h->lane = 0;
    restore(picker, all, 0, seed);
    return taken;
}

static void expect_one_decision(const char *config, const char *weights)
{
    char list[1024] = "";
    for (size_t b = 0; b < BACKENDS; b++) {
        char one[64];
        snprintf(one, sizeof one, "%s10.0.0.%zu:1;weight=%c", b > 0 ? "," : "", b + 1, weights[b % strlen(weights)]);
        strcat(list, one);
    }
    policy_harness *h = harness_create("p2c_ewma", config);
    h->connect_succeeds = true;
    cr_assert_eq(harness_update(h, list), EVENER_STATUS_OK);
    evener_pick held[8];
    size_t probes = 0, different = 0;
    evener_subchannel *last = NULL;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        evener_pick *pick = &held[i % 8];
        if (i >= 8) {
            harness_done(h, pick, i % 37 == 0 ? EVENER_STATUS_UNAVAILABLE : EVENER_STATUS_OK);
        }
        const snapshot all = save((p2c_picker *)h->picker);
        evener_subchannel *taken[WAYS];
        for (way how = PLAIN; how < WAYS; how++) {
            taken[how] = pick_from(h, &all, how, i);
            cr_assert_eq(taken[how], taken[PLAIN], "round %zu, way %d: %s instead of %s", (size_t)i, (int)how,
                         evener_subchannel_address_text(taken[how]), evener_subchannel_address_text(taken[PLAIN]));
        }
        different += taken[PLAIN] != last;
        last = taken[PLAIN];
        cr_assert_eq(harness_pick(h, NULL, pick, NULL), EVENER_PICK_COMPLETE);
        cr_assert_eq(pick->subchannel, last);
        probes += ((p2c_picker *)h->picker)->lanes[0].picks == 0;
        virtual_loop_advance_ns(h->vl, (100 + i * 7919 % 9000) * EVENER_NS_PER_US);
    }
    cr_assert_gt(different, ROUNDS / 4);
    cr_assert_gt(probes, 0);
    for (size_t i = 0; i < 8; i++) {
        harness_done(h, &held[i], EVENER_STATUS_OK);
    }
    harness_destroy(h);
}

Test(p2c_choice, plain_traced_and_shared_lane_picks_take_the_same_backend)
{
    expect_one_decision("{\"forcePickInterval\":\"0.1s\"}", "1");
    expect_one_decision("{\"forcePickInterval\":\"0.1s\"}", "123");
}
