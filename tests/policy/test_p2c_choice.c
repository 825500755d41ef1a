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

Test(p2c_choice, the_short_way_is_for_two_choices_of_two_backends_or_more)
{
    static const struct {
        const char *config, *list;
        bool is_short;
    } cases[] = {{NULL, "10.0.0.1:1", false},
                 {NULL, "10.0.0.1:1,10.0.0.2:1", true},
                 {NULL, "10.0.0.1:1,10.0.0.2:1,10.0.0.3:1", true},
                 {"{\"choices\":3}", "10.0.0.1:1,10.0.0.2:1", false},
                 {"{\"choices\":3}", "10.0.0.1:1,10.0.0.2:1,10.0.0.3:1", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        policy_harness *h = harness_create("p2c_ewma", cases[i].config);
        h->connect_succeeds = true;
        cr_assert_eq(harness_update(h, cases[i].list), EVENER_STATUS_OK);
        cr_expect_eq(((p2c_picker *)h->picker)->chooses_of_two, cases[i].is_short, "%zu", i);
        harness_destroy(h);
    }
}

/* ---- what a lane learns ---- */

#define USUAL_NS 1e7F

/* A policy of two backends of weight 1 that both take `latency_ns`; its lane 0 knows USUAL_NS, and learns with its next
 * pick. */
static policy_harness *learner(float latency_ns)
{
    policy_harness *h = harness_create("p2c_ewma", NULL);
    h->connect_succeeds = true;
    cr_assert_eq(harness_update(h, "10.0.0.1:1,10.0.0.2:1"), EVENER_STATUS_OK);
    p2c_picker *picker = (p2c_picker *)h->picker;
    p2c_lane *lane = &picker->lanes[0];
    lane->usual = (p2c_usual){.latency_ns = USUAL_NS, .crowding = 1};
    lane->usual_cost = USUAL_NS;
    lane->dear_cost = USUAL_NS * 1.5F + 20e3F;
    lane->usual_in_flight = 0;
    lane->picks = 15;
    for (size_t b = 0; b < 2; b++) {
        picker->backends[b]->latency_ns = latency_ns;
    }
    return h;
}

/* Pick once and take the call back. */
static void pick_once(policy_harness *h)
{
    evener_pick pick;
    cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    harness_done_with(
        h, &pick, &(evener_done_info){.size = sizeof(evener_done_info), .not_sent = true, .code = EVENER_STATUS_OK});
}

static void expect_near(float value, double expected, const char *what)
{
    cr_expect_float_eq(value, expected, expected * 1e-4, "%s: %g instead of %g", what, (double)value, expected);
}

Test(p2c_choice, a_lane_learns_what_is_usual_from_one_pick_in_sixteen)
{
    policy_harness *h = learner(12e6F);
    const p2c_lane *lane = &((p2c_picker *)h->picker)->lanes[0];
    for (size_t i = 0; i < 16; i++) { /* the first of them counts, by an eighth */
        pick_once(h);
        expect_near(lane->usual.latency_ns, 10.25e6, "latency");
        expect_near(lane->usual_cost, 10.25e6, "cost");
        expect_near(lane->dear_cost, 10.25e6 * 1.5 + 20e3, "dear cost");
        expect_near(lane->usual.crowding, 1, "crowding");
    }
    pick_once(h);
    expect_near(lane->usual.latency_ns, 10.25e6 + 1.75e6 / 8, "latency");
    harness_destroy(h);
}

Test(p2c_choice, a_lane_learns_how_many_calls_are_usually_in_flight)
{
    policy_harness *h = learner(USUAL_NS);
    p2c_picker *picker = (p2c_picker *)h->picker;
    for (size_t b = 0; b < 2; b++) { /* all were in flight when the backend last answered: no sign of a hang */
        picker->backends[b]->in_flight = 8;
        picker->backends[b]->answered_around = 8;
        picker->backends[b]->weight_inverse = 0.5F;
    }
    pick_once(h);
    expect_near(picker->lanes[0].usual_in_flight, 0.5, "half of 8 by the weight, and an eighth of this");
    expect_near(picker->lanes[0].usual.crowding, 1 / 1.5, "crowding");
    for (size_t b = 0; b < 2; b++) {
        picker->backends[b]->in_flight = 0;
    }
    harness_destroy(h);
}

/* What was learned before any latency was known is discarded. */
Test(p2c_choice, a_lane_begins_with_the_first_latency_that_is_known)
{
    policy_harness *h = learner(0);
    p2c_picker *picker = (p2c_picker *)h->picker;
    p2c_lane *lane = &picker->lanes[0];
    lane->usual.latency_ns = P2C_UNKNOWN_NS;
    pick_once(h);
    expect_near(lane->usual_cost, USUAL_NS, "nothing is known");
    cr_expect_eq(lane->usual.latency_ns, P2C_UNKNOWN_NS);
    picker->backends[0]->latency_ns = 3e6F; /* of the winner or of the loser */
    lane->picks = 15;
    pick_once(h);
    expect_near(lane->usual.latency_ns, 3e6, "latency");
    cr_expect_eq(lane->usual_cost, 0.0F);
    cr_expect_eq(lane->dear_cost, 0.0F);
    picker->backends[1]->latency_ns = 3e6F;
    lane->picks = 15;
    pick_once(h);
    expect_near(lane->usual_cost, 3e6, "the first cost that is known");
    expect_near(lane->dear_cost, 3e6 * 1.5 + 20e3, "dear cost");
    harness_destroy(h);
}

/* ---- probes ---- */

/* The second backend, which loses, as the next pick finds it. */
typedef struct loser {
    uint64_t picked_ms_ago, answered_ms_ago;
    uint32_t in_flight; /* none of them answered */
    uint32_t picks;     /* of the lane, with the next one, since its last probe */
    float success;
} loser;

static bool is_probed(loser as)
{
    policy_harness *h = learner(USUAL_NS);
    p2c_picker *picker = (p2c_picker *)h->picker;
    p2c_stats *best = picker->backends[0], *other = picker->backends[1];
    virtual_loop_advance_ms(h->vl, 1000000);
    const uint64_t now_ns = virtual_loop_now_ns(h->vl);
    best->progress_ns = best->updated_ns = best->picked_ns = now_ns;
    other->latency_ns = 2 * USUAL_NS;
    other->updated_ns = now_ns;
    other->picked_ns = now_ns - as.picked_ms_ago * EVENER_NS_PER_MS;
    other->progress_ns = now_ns - as.answered_ms_ago * EVENER_NS_PER_MS;
    other->in_flight = as.in_flight;
    other->success = as.success;
    picker->lanes[0].picks = as.picks - 1;
    evener_pick pick;
    cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    const bool probed = pick.subchannel == other->subchannel;
    cr_expect_eq(picker->lanes[0].picks, probed ? 0 : as.picks);
    cr_expect_eq(other->picked_ns == now_ns, probed);
    harness_done_with(
        h, &pick, &(evener_done_info){.size = sizeof(evener_done_info), .not_sent = true, .code = EVENER_STATUS_OK});
    other->in_flight = 0;
    harness_destroy(h);
    return probed;
}

Test(p2c_choice, a_loser_is_probed_after_the_interval_and_not_too_often)
{
    cr_expect(is_probed((loser){1001, 1001, 0, 256, 1}));
    cr_expect_not(is_probed((loser){1000, 1000, 0, 256, 1}), "the interval is not over");
    cr_expect_not(is_probed((loser){1001, 1001, 0, 240, 1}), "the lane's last probe is too few picks ago");
}

Test(p2c_choice, a_loser_that_failed_is_probed_later_and_one_that_fails_never)
{
    cr_expect_not(is_probed((loser){1500, 0, 0, 256, 0.9F}), "0.6561 of the time counts");
    cr_expect(is_probed((loser){1550, 0, 0, 256, 0.9F}));
    cr_expect(is_probed((loser){100000, 0, 0, 256, 0.51F}));
    cr_expect_not(is_probed((loser){100000, 0, 0, 256, 0.49F}));
}

/* However few picks there were, but after pauses that double. */
Test(p2c_choice, a_loser_that_does_not_answer_is_probed_after_pauses_that_double)
{
    cr_expect(is_probed((loser){5000, 9999, 1, 16, 1}));
    cr_expect_not(is_probed((loser){5000, 10000, 1, 16, 1}), "as long as it had not answered then");
    cr_expect_not(is_probed((loser){5000, 15000, 1, 256, 1}));
    cr_expect_not(is_probed((loser){1000, 1500, 1, 16, 1}), "the interval is not over");
}

/* ---- what newcomers begin with ---- */

Test(p2c_choice, newcomers_begin_with_the_mean_of_the_latencies_that_are_known)
{
    static const float latencies[][3] = {
        {0.75F, 1.25F, 1}, {4e6F, 0, 4e6F}, {0, 0, 0}, {2e6F, 6e6F, 4e6F}}; /* of 1, 2; of 3 */
    for (size_t i = 0; i < sizeof latencies / sizeof *latencies; i++) {
        policy_harness *h = learner(0);
        p2c_picker *picker = (p2c_picker *)h->picker;
        picker->backends[0]->latency_ns = latencies[i][0];
        picker->backends[1]->latency_ns = latencies[i][1];
        cr_assert_eq(harness_update(h, "10.0.0.1:1,10.0.0.2:1,10.0.0.3:1"), EVENER_STATUS_OK);
        picker = (p2c_picker *)h->picker;
        cr_assert_eq(picker->count, 3);
        expect_near(picker->backends[0]->latency_ns, (double)latencies[i][0], "of one that stays");
        expect_near(picker->backends[1]->latency_ns, (double)latencies[i][1], "of one that stays");
        expect_near(picker->backends[2]->latency_ns, (double)latencies[i][2], "of the newcomer");
        expect_near(picker->backends[2]->spread_ns, (double)latencies[i][2] / 2, "spread of the newcomer");
        expect_near(picker->backends[2]->success, 1, "success of the newcomer");
        const float usual_ns = latencies[i][2] > 0 ? latencies[i][2] : P2C_UNKNOWN_NS;
        for (size_t lane = 0; lane < EVENER_LANES; lane++) {
            expect_near(picker->lanes[lane].usual.latency_ns, (double)usual_ns, "of the lanes");
        }
        harness_destroy(h);
    }
}
