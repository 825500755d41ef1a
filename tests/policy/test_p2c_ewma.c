/* p2c_ewma: what a pick does with what is known of the backends. Its behaviour under load stands in test_p2c_sim.c.
 * Each mend of go-zero's faults has a test here that its arithmetic (`compat`) does not pass. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/policy_harness.h"

#define A "10.0.0.1:1"
#define B "10.0.0.2:1"
#define C "10.0.0.3:1"
#define D "10.0.0.4:1"
#define GO_ZERO "{\"compat\":\"go-zero\"}"

static policy_harness *ready_harness(const char *config, const char *list)
{
    policy_harness *h = harness_create("p2c_ewma", config);
    h->connect_succeeds = true;
    cr_assert_eq(harness_update(h, list), EVENER_STATUS_OK);
    cr_assert_eq(h->state, EVENER_READY);
    return h;
}

/* Each seed gives the policy other random numbers. */
static policy_harness *ready_range_with(const char *config, size_t count, uint64_t seed)
{
    policy_harness *h = harness_create("p2c_ewma", config);
    h->connect_succeeds = true;
    for (uint64_t i = 0; i < seed; i++) {
        (void)evener_loop_random(h->loop);
    }
    cr_assert_eq(harness_update_range(h, 1, count), EVENER_STATUS_OK);
    harness_run(h);
    cr_assert_eq(h->state, EVENER_READY);
    return h;
}

static policy_harness *ready_range(const char *config, size_t count)
{
    return ready_range_with(config, count, 0);
}

static void advance_us(policy_harness *h, uint64_t us)
{
    virtual_loop_advance_ns(h->vl, us * EVENER_NS_PER_US);
}

/* Return one figure of the policy's description of a backend, as "success". */
static double described(policy_harness *h, const char *address, const char *name)
{
    char note[256] = "", key[32];
    h->policy->vtable->describe(h->policy, harness_find(h, address), note, sizeof note);
    snprintf(key, sizeof key, "%s=", name);
    const char *at = strstr(note, key);
    cr_assert_not_null(at, "no %s in \"%s\"", name, note);
    return strtod(at + strlen(key), NULL);
}

static const char *picked(const evener_pick *pick)
{
    return evener_subchannel_address_text(pick->subchannel);
}

/* Pick and leave the call under way. */
static evener_pick begin(policy_harness *h)
{
    evener_pick pick;
    cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    return pick;
}

/* What a backend does with a call. */
typedef struct backend {
    const char *address;
    uint64_t answer_us;
    evener_status_code code;
} backend;

/* `count` calls, one after the other, `pause_us` apart; how many went to the first backend. */
static size_t calls(policy_harness *h, const backend *backends, size_t backend_count, size_t count, uint64_t pause_us)
{
    size_t first = 0;
    for (size_t i = 0; i < count; i++) {
        evener_pick pick = begin(h);
        size_t b = 0;
        while (b < backend_count && strcmp(backends[b].address, picked(&pick)) != 0) {
            b++;
        }
        cr_assert_lt(b, backend_count, "picked %s", picked(&pick));
        advance_us(h, backends[b].answer_us);
        harness_done(h, &pick, backends[b].code);
        advance_us(h, pause_us);
        first += b == 0;
    }
    return first;
}

/* ---- go-zero p2c_test.go ---- */

/* Entropy of the shares, over its highest value. */
static double entropy(const size_t *counts, size_t backends, size_t total)
{
    double sum = 0;
    for (size_t i = 0; i < backends; i++) {
        const double share = (double)counts[i] / (double)total;
        sum -= share > 0 ? share * log2(share) : 0;
    }
    return backends > 1 ? sum / log2((double)backends) : 1;
}

/* As there, calls end a little later, each in a goroutine of its own: here when three more have begun. */
static double entropy_with_seed(const char *config, size_t backends, uint64_t seed)
{
    enum { UNDER_WAY = 3 };
    const size_t total = 10000;
    policy_harness *h = ready_range_with(config, backends, seed);
    size_t *counts = calloc(backends, sizeof *counts);
    cr_assert_not_null(counts);
    evener_pick held[UNDER_WAY];
    for (size_t i = 0; i < total; i++) {
        evener_pick *pick = &held[i % UNDER_WAY];
        if (i >= UNDER_WAY) {
            harness_done(h, pick, i % 100 == 0 ? EVENER_STATUS_DEADLINE_EXCEEDED : EVENER_STATUS_OK);
        }
        *pick = begin(h);
        for (size_t b = 0; b < backends; b++) {
            counts[b] += strcmp(evener_address_text(h->addresses[b]), picked(pick)) == 0;
        }
        advance_us(h, 1);
    }
    for (size_t i = 0; i < UNDER_WAY; i++) {
        harness_done(h, &held[i], EVENER_STATUS_OK);
    }
    const double found = entropy(counts, backends, total);
    free(counts);
    harness_destroy(h);
    return found;
}

static double entropy_of_picks(const char *config, size_t backends)
{
    return entropy_with_seed(config, backends, 0);
}

/* go-zero: TestP2cPicker_PickNil, TestPickerWithEmptyConns, TestP2cPicker_Pick/empty. Without backends a pick waits
 * while they connect, and fails when there are none at all (gRPC's way with an empty list). */
Test(p2c_ewma, pick_nil)
{
    const char *const configs[] = {NULL, GO_ZERO};
    for (size_t i = 0; i < 2; i++) {
        policy_harness *h = harness_create("p2c_ewma", configs[i]);
        cr_assert_str_eq(harness_pick_one(h), "queue");
        harness_update(h, A "," B);
        cr_assert_str_eq(harness_pick_one(h), "queue");
        harness_update(h, "");
        cr_assert_str_eq(harness_pick_one(h), "fail");
        harness_destroy(h);
    }
}

/* go-zero: TestP2cPicker_Pick/single, two, multiple, with its thresholds. */
Test(p2c_ewma, pick_single)
{
    cr_assert_gt(entropy_of_picks(NULL, 1), 0.9);
    cr_assert_gt(entropy_of_picks(GO_ZERO, 1), 0.9);
}

Test(p2c_ewma, pick_two)
{
    const double ours = entropy_of_picks(NULL, 2), original = entropy_of_picks(GO_ZERO, 2);
    cr_assert_gt(ours, 0.5, "%f", ours);
    cr_assert_gt(original, 0.5, "%f", original);
}

Test(p2c_ewma, pick_multiple)
{
    const double ours = entropy_of_picks(NULL, 100), original = entropy_of_picks(GO_ZERO, 100);
    cr_assert_gt(ours, 0.95, "%f", ours);
    cr_assert_gt(original, 0.95, "%f", original);
}

Test(p2c_ewma, pick_multiple_with_twenty_seeds)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        const double of_two = entropy_with_seed(NULL, 2, seed), of_hundred = entropy_with_seed(NULL, 100, seed);
        cr_assert_gt(of_two, 0.9, "seed %zu: %f", (size_t)seed, of_two);
        cr_assert_gt(of_hundred, 0.95, "seed %zu: %f", (size_t)seed, of_hundred);
    }
}

/* ---- mend 1: statistics survive a new picker ---- */

static double success_after_new_picker(const char *config)
{
    policy_harness *h = ready_harness(config, A);
    const backend failing[] = {{A, 1000, EVENER_STATUS_UNAVAILABLE}};
    calls(h, failing, 1, 50, 100000);
    harness_update(h, A "," B);
    const double success = described(h, A, "success");
    harness_destroy(h);
    return success;
}

Test(p2c_ewma, statistics_survive_any_update)
{
    cr_assert_lt(success_after_new_picker(NULL), 0.5);
    cr_assert_float_eq(success_after_new_picker(GO_ZERO), 1, 1e-9, "the original forgets");
}

Test(p2c_ewma, statistics_survive_an_update_of_parameters)
{
    policy_harness *h = ready_harness(NULL, A "," B);
    const backend both[] = {{A, 3000, EVENER_STATUS_OK}, {B, 3000, EVENER_STATUS_OK}};
    calls(h, both, 2, 100, 0);
    harness_configure(h, "{\"choices\":3,\"decay\":\"2s\"}");
    cr_assert_float_eq(described(h, A, "ewma_us"), 3000, 1);
    cr_assert_float_eq(described(h, B, "ewma_us"), 3000, 1);
    cr_assert_eq(h->created, 2);
    harness_destroy(h);
}

/* ---- mend 2: a newcomer starts from its peers' level ---- */

/* Ten backends answer in 1 ms; an eleventh joins. Of 1,000 calls in a second, how many times its share does it get, all
 * its answers coming after that second? */
static double newcomers_share(const char *config)
{
    enum { PEERS = 10, CALLS = 1000 };
    policy_harness *h = ready_range(config, PEERS);
    for (size_t i = 0; i < 20000; i++) {
        evener_pick pick = begin(h);
        advance_us(h, 1000);
        harness_done(h, &pick, EVENER_STATUS_OK);
    }
    harness_update_range(h, 1, PEERS + 1);
    harness_run(h);
    const char *newcomer = evener_address_text(h->addresses[PEERS]);
    static evener_pick slow[CALLS];
    size_t slow_count = 0;
    for (size_t i = 0; i < CALLS; i++) {
        evener_pick pick = begin(h);
        advance_us(h, 1000);
        if (strcmp(picked(&pick), newcomer) == 0) {
            slow[slow_count++] = pick;
        } else {
            harness_done(h, &pick, EVENER_STATUS_OK);
        }
    }
    for (size_t i = 0; i < slow_count; i++) {
        harness_done(h, &slow[i], EVENER_STATUS_OK);
    }
    harness_destroy(h);
    return (double)slow_count * (PEERS + 1) / (double)CALLS;
}

Test(p2c_ewma, a_newcomer_draws_no_herd)
{
    const double ours = newcomers_share(NULL), original = newcomers_share(GO_ZERO);
    cr_assert_leq(ours, 1.5, "%f", ours);
    cr_assert_gt(original, 1.5, "%f", original);
}

Test(p2c_ewma, a_newcomer_starts_from_its_peers_latency)
{
    policy_harness *h = ready_harness(NULL, A "," B);
    const backend both[] = {{A, 3000, EVENER_STATUS_OK}, {B, 3000, EVENER_STATUS_OK}};
    calls(h, both, 2, 100, 0);
    harness_update(h, A "," B "," C);
    cr_assert_float_eq(described(h, C, "ewma_us"), 3000, 1);
    harness_destroy(h);
}

/* ---- mend 3: success is no ratchet ---- */

/* 100 calls per second, every hundredth fails, for 700 s; then 20 s without a failure. */
static double success_after_errors(const char *config)
{
    policy_harness *h = ready_harness(config, A);
    const backend good[] = {{A, 1000, EVENER_STATUS_OK}}, bad[] = {{A, 1000, EVENER_STATUS_UNAVAILABLE}};
    for (size_t i = 0; i < 700; i++) {
        calls(h, good, 1, 99, 9000);
        calls(h, bad, 1, 1, 9000);
    }
    calls(h, good, 1, 2000, 9000);
    const double success = described(h, A, "success");
    harness_destroy(h);
    return success;
}

Test(p2c_ewma, success_returns_after_good_traffic)
{
    cr_assert_gt(success_after_errors(NULL), 0.99);
    cr_assert_lt(success_after_errors(GO_ZERO), 0.5, "the original never comes back");
}

Test(p2c_ewma, success_returns_at_any_rate)
{
    const uint64_t pauses_us[] = {10, 1000, 100000, 10000000};
    for (size_t i = 0; i < 4; i++) {
        policy_harness *h = ready_harness(NULL, A);
        const backend good[] = {{A, 100, EVENER_STATUS_OK}}, bad[] = {{A, 100, EVENER_STATUS_UNAVAILABLE}};
        calls(h, bad, 1, 200, pauses_us[i]);
        cr_assert_lt(described(h, A, "success"), 0.5, "pause %zu", i);
        calls(h, good, 1, 200, pauses_us[i]);
        cr_assert_gt(described(h, A, "success"), 0.99, "pause %zu", i);
        harness_destroy(h);
    }
}

/* ---- mend 4: what is under way counts, bad news counts at once, failing fast does not attract ---- */

/* Calls on their way to A and B, each taking 20 ms; while A hangs, its calls end with the test. */
typedef struct traffic {
    policy_harness *h;
    evener_pick held[8192];
    uint64_t begun_ns[8192];
    size_t first, last;
    evener_pick hanging[8192];
    size_t hanging_count;
} traffic;

static void traffic_calls(traffic *t, size_t count, uint64_t pause_us, bool a_hangs)
{
    for (size_t i = 0; i < count; i++) {
        evener_pick pick = begin(t->h);
        if (a_hangs && strcmp(picked(&pick), A) == 0) {
            t->hanging[t->hanging_count++] = pick;
        } else {
            t->begun_ns[t->last] = virtual_loop_now_ns(t->h->vl);
            t->held[t->last++] = pick;
        }
        advance_us(t->h, pause_us);
        while (t->first < t->last && virtual_loop_now_ns(t->h->vl) - t->begun_ns[t->first] >= 20 * EVENER_NS_PER_MS) {
            harness_done(t->h, &t->held[t->first++], EVENER_STATUS_OK);
        }
    }
}

/* A hangs; half a second later traffic quadruples. How many of these 2,000 calls go to A? */
static size_t picks_of_the_hung(const char *config)
{
    static traffic t;
    t = (traffic){.h = ready_harness(config, A "," B)};
    traffic_calls(&t, 2000, 1000, false);
    traffic_calls(&t, 500, 1000, true);
    const size_t before = t.hanging_count;
    traffic_calls(&t, 2000, 250, true);
    const size_t to_a = t.hanging_count - before;
    while (t.first < t.last) {
        harness_done(t.h, &t.held[t.first++], EVENER_STATUS_OK);
    }
    while (t.hanging_count > 0) {
        harness_done(t.h, &t.hanging[--t.hanging_count], EVENER_STATUS_DEADLINE_EXCEEDED);
    }
    harness_destroy(t.h);
    return to_a;
}

Test(p2c_ewma, a_hung_backend_loses_traffic_before_its_calls_time_out)
{
    const size_t ours = picks_of_the_hung(NULL), original = picks_of_the_hung(GO_ZERO);
    cr_assert_leq(ours, 5, "%zu", ours);
    cr_assert_gt(original, 40, "%zu", original);
}

/* At 1,000 calls per second A answers after 100 ms once, instead of 1 ms. */
static double ewma_after_a_slow_answer(const char *config)
{
    policy_harness *h = ready_harness(config, A);
    calls(h, (const backend[]){{A, 1000, EVENER_STATUS_OK}}, 1, 5000, 0);
    calls(h, (const backend[]){{A, 100000, EVENER_STATUS_OK}}, 1, 1, 0);
    const double ewma_us = described(h, A, "ewma_us");
    harness_destroy(h);
    return ewma_us;
}

Test(p2c_ewma, a_slow_answer_counts_at_once)
{
    cr_assert_gt(ewma_after_a_slow_answer(NULL), 10000);
    cr_assert_lt(ewma_after_a_slow_answer(GO_ZERO), 3000);
}

/* Ten calls under way at once wait for the same pause of 10 ms, where 1 ms is usual. */
static double ewma_after_a_pause(const char *config)
{
    policy_harness *h = ready_harness(config, A);
    calls(h, (const backend[]){{A, 1000, EVENER_STATUS_OK}}, 1, 5000, 0);
    evener_pick held[10];
    for (size_t i = 0; i < 10; i++) {
        held[i] = begin(h);
        advance_us(h, 1000);
    }
    for (size_t i = 0; i < 10; i++) {
        harness_done(h, &held[i], EVENER_STATUS_OK);
    }
    const double ewma_us = described(h, A, "ewma_us");
    harness_destroy(h);
    return ewma_us;
}

/* The first of them counts a quarter: 3,250 us. All as much would make it 5,400. */
Test(p2c_ewma, a_pause_of_many_calls_is_one_piece_of_news)
{
    const double ewma_us = ewma_after_a_pause(NULL);
    cr_assert(ewma_us > 2500 && ewma_us < 4500, "%f", ewma_us);
}

/* A was at 250 ms, is at 1 ms again, and is only asked every other second. */
static double ewma_after_probes(const char *config)
{
    policy_harness *h = ready_harness(config, A);
    calls(h, (const backend[]){{A, 250000, EVENER_STATUS_OK}}, 1, 20, 0);
    advance_us(h, 2000000);
    calls(h, (const backend[]){{A, 1000, EVENER_STATUS_OK}}, 1, 4, 2000000);
    const double ewma_us = described(h, A, "ewma_us");
    harness_destroy(h);
    return ewma_us;
}

Test(p2c_ewma, a_few_probes_clear_a_backend)
{
    const double ours = ewma_after_probes(NULL), original = ewma_after_probes(GO_ZERO);
    cr_assert_lt(ours, 2000, "%f", ours);
    cr_assert_gt(original, 50000, "%f", original);
}

/* A fails in 100 us, B answers in 1 ms. */
static double share_of_failing_fast(const char *config)
{
    policy_harness *h = ready_harness(config, A "," B);
    const backend both[] = {{A, 100, EVENER_STATUS_UNAVAILABLE}, {B, 1000, EVENER_STATUS_OK}};
    const size_t to_a = calls(h, both, 2, 5000, 100);
    harness_destroy(h);
    return (double)to_a / 5000;
}

Test(p2c_ewma, failing_fast_does_not_attract)
{
    const double ours = share_of_failing_fast(NULL), original = share_of_failing_fast(GO_ZERO);
    cr_assert_lt(ours, 0.01, "%f", ours);
    cr_assert_gt(original, 0.9, "%f", original);
}

/* ---- mend 5: probes ---- */

/* A fails all calls. Calls that reach it in 3 s, after it is known to. */
static size_t probes_of_a_failing_one(const char *config)
{
    policy_harness *h = ready_harness(config, A);
    const backend both[] = {{A, 10000, EVENER_STATUS_UNAVAILABLE}, {B, 1000, EVENER_STATUS_OK}};
    calls(h, both, 1, 50, 0);
    harness_update(h, A "," B);
    calls(h, both, 2, 500, 0);
    const size_t to_a = calls(h, both, 2, 3000, 0);
    harness_destroy(h);
    return to_a;
}

Test(p2c_ewma, probes_spare_what_is_known_to_fail)
{
    const size_t ours = probes_of_a_failing_one(NULL), original = probes_of_a_failing_one(GO_ZERO);
    cr_assert_eq(ours, 0, "%zu", ours);
    cr_assert_geq(original, 2, "%zu", original);
}

Test(p2c_ewma, probes_find_one_that_recovered)
{
    policy_harness *h = ready_harness("{\"decay\":\"1s\"}", A "," B);
    const backend slow[] = {{A, 10000, EVENER_STATUS_OK}, {B, 1000, EVENER_STATUS_OK}};
    calls(h, slow, 2, 1000, 0);
    cr_assert_lt(calls(h, slow, 2, 1000, 0), 10);
    const backend well[] = {{A, 1000, EVENER_STATUS_OK}, {B, 1000, EVENER_STATUS_OK}};
    calls(h, well, 2, 30000, 0);
    cr_assert_gt(calls(h, well, 2, 1000, 0), 300);
    harness_destroy(h);
}

/* ---- latency, weights, failures (brpc_load_balancer_unittest) ---- */

/* brpc: prefers_lower_latency, 1 ms against 50 ms: at least 90 % of 1,000. */
Test(p2c_ewma, prefers_lower_latency)
{
    policy_harness *h = ready_harness(NULL, A "," B);
    const backend both[] = {{A, 1000, EVENER_STATUS_OK}, {B, 50000, EVENER_STATUS_OK}};
    const size_t to_a = calls(h, both, 2, 1000, 0);
    cr_assert_geq(to_a, 900, "%zu", to_a);
    harness_destroy(h);
}

/* brpc: weighted_split 1:2:4 within 5 %. */
Test(p2c_ewma, weighted_split)
{
    policy_harness *h = ready_harness(NULL, A ";weight=1," B ";weight=2," C ";weight=4");
    size_t counts[3] = {0};
    for (size_t i = 0; i < 70000; i++) {
        evener_pick pick = begin(h);
        counts[strcmp(picked(&pick), A) == 0 ? 0 : strcmp(picked(&pick), B) == 0 ? 1 : 2]++;
        advance_us(h, 1000);
        harness_done(h, &pick, EVENER_STATUS_OK);
    }
    for (size_t i = 0; i < 3; i++) {
        const double expected = 10000 << i;
        cr_assert_float_eq((double)counts[i], expected, expected * 0.05, "%zu: %zu", i, counts[i]);
    }
    harness_destroy(h);
}

/* The same with calls under way: 70 at a time, each backend taking as long as the others. */
Test(p2c_ewma, weighted_split_under_load)
{
    enum { UNDER_WAY = 70 };
    policy_harness *h = ready_harness(NULL, A ";weight=1," B ";weight=2," C ";weight=4");
    size_t counts[3] = {0};
    evener_pick held[UNDER_WAY];
    for (size_t i = 0; i < 70000; i++) {
        if (i >= UNDER_WAY) {
            harness_done(h, &held[i % UNDER_WAY], EVENER_STATUS_OK);
        }
        held[i % UNDER_WAY] = begin(h);
        const char *to = picked(&held[i % UNDER_WAY]);
        counts[strcmp(to, A) == 0 ? 0 : strcmp(to, B) == 0 ? 1 : 2]++;
        advance_us(h, 100);
    }
    for (size_t i = 0; i < UNDER_WAY; i++) {
        harness_done(h, &held[i], EVENER_STATUS_OK);
    }
    for (size_t i = 0; i < 3; i++) {
        const double expected = 10000 << i;
        cr_assert_float_eq((double)counts[i], expected, expected * 0.05, "%zu: %zu", i, counts[i]);
    }
    harness_destroy(h);
}

/* brpc: sheds_degraded_server: one of four fails half of its calls. */
Test(p2c_ewma, sheds_degraded_server)
{
    policy_harness *h = ready_harness(NULL, A "," B "," C "," D);
    size_t to_a = 0;
    for (size_t i = 0; i < 4000; i++) {
        evener_pick pick = begin(h);
        const bool is_a = strcmp(picked(&pick), A) == 0;
        to_a += is_a;
        advance_us(h, 1000);
        harness_done(h, &pick, is_a && to_a % 2 == 0 ? EVENER_STATUS_UNAVAILABLE : EVENER_STATUS_OK);
    }
    cr_assert_lt(to_a, 400, "%zu", to_a);
    harness_destroy(h);
}

/* Calls that never reached the backend say nothing about it. */
Test(p2c_ewma, what_was_not_sent_does_not_count)
{
    policy_harness *h = ready_harness(NULL, A);
    calls(h, (const backend[]){{A, 1000, EVENER_STATUS_OK}}, 1, 100, 0);
    for (size_t i = 0; i < 100; i++) {
        evener_pick pick = begin(h);
        advance_us(h, 50000);
        harness_done_with(
            h, &pick,
            &(evener_done_info){.size = sizeof(evener_done_info), .code = EVENER_STATUS_UNAVAILABLE, .not_sent = true});
    }
    cr_assert_float_eq(described(h, A, "ewma_us"), 1000, 1);
    cr_assert_float_eq(described(h, A, "success"), 1, 1e-9);
    harness_destroy(h);
}

/* Every lane finds the same. */
Test(p2c_ewma, lanes_share_what_is_known)
{
    policy_harness *h = ready_harness(NULL, A "," B);
    const backend both[] = {{A, 1000, EVENER_STATUS_OK}, {B, 50000, EVENER_STATUS_OK}};
    calls(h, both, 2, 200, 0);
    for (uint32_t lane = 1; lane < EVENER_LANES; lane++) {
        h->lane = lane;
        const size_t to_a = calls(h, both, 2, 100, 0);
        cr_assert_geq(to_a, 95, "lane %u: %zu", lane, to_a);
    }
    harness_destroy(h);
}

/* ---- why this backend? ---- */

typedef struct heard {
    size_t candidates;
    double load_a, load_b;
    const char *reason;
} heard;

static void hear_candidate(void *arg, const char *address, double load, const char *note)
{
    (void)note;
    heard *heard_so_far = arg;
    heard_so_far->candidates++;
    *(strcmp(address, A) == 0 ? &heard_so_far->load_a : &heard_so_far->load_b) = load;
}

static void hear_reason(void *arg, const char *reason)
{
    ((heard *)arg)->reason = reason;
}

Test(p2c_ewma, a_traced_pick_reports_candidates_loads_and_reason)
{
    policy_harness *h = ready_harness(NULL, A "," B);
    const backend both[] = {{A, 1000, EVENER_STATUS_OK}, {B, 4000, EVENER_STATUS_OK}};
    calls(h, both, 2, 100, 0);
    heard so_far = {0};
    const evener_pick_trace trace = {
        .size = sizeof trace, .arg = &so_far, .candidate = hear_candidate, .reason = hear_reason};
    const evener_pick_args args = {.size = sizeof args, .trace = &trace};
    evener_pick pick;
    cr_assert_eq(harness_pick(h, &args, &pick, NULL), EVENER_PICK_COMPLETE);
    cr_assert_str_eq(picked(&pick), A);
    cr_assert_geq(so_far.candidates, 2);
    cr_assert_float_eq(so_far.load_a, 1000000, 2000);
    cr_assert_float_eq(so_far.load_b, 4000000, 2000);
    cr_assert_str_eq(so_far.reason, "lower load");
    harness_done(h, &pick, EVENER_STATUS_OK);
    harness_destroy(h);
}

/* What evener_channel_get_stats() shows of a backend. */
Test(p2c_ewma, says_what_it_knows_of_a_backend)
{
    policy_harness *h = ready_harness(NULL, A);
    char note[256] = "";
    calls(h, (const backend[]){{A, 5000, EVENER_STATUS_OK}}, 1, 1, 0);
    h->policy->vtable->describe(h->policy, harness_find(h, A), note, sizeof note);
    cr_assert_str_eq(note, "ewma_us=5000 success=1.000 cost_us=5000");
    calls(h, (const backend[]){{A, 5000, EVENER_STATUS_UNAVAILABLE}}, 1, 1, 0);
    h->policy->vtable->describe(h->policy, harness_find(h, A), note, sizeof note);
    cr_assert_eq(strncmp(note, "ewma_us=5000 success=0.875 cost_us=", 35), 0, "%s", note);
    cr_assert_null(strstr(note, "failing"), "%s", note);
    calls(h, (const backend[]){{A, 5000, EVENER_STATUS_UNAVAILABLE}}, 1, 8, 0);
    h->policy->vtable->describe(h->policy, harness_find(h, A), note, sizeof note);
    cr_assert_not_null(strstr(note, " failing"), "%s", note);
    harness_destroy(h);
}

/* ---- configuration (A21, A24) ---- */

Test(p2c_ewma, alias)
{
    policy_harness *h = harness_create("p2c", "{\"choices\":64}");
    h->connect_succeeds = true;
    harness_update(h, A);
    cr_assert_str_eq(harness_pick_one(h), A);
    harness_destroy(h);
}

static void refused(const char *config, const char *field)
{
    char json[256];
    evener_status status;
    evener_policy_choice choice = {0};
    snprintf(json, sizeof json, "[{\"p2c_ewma\":%s}]", config);
    cr_assert_eq(evener_policy_choose(NULL, json, "loadBalancingConfig", &choice, &status),
                 EVENER_STATUS_INVALID_ARGUMENT, "%s", config);
    cr_assert_not_null(strstr(status.message, field), "%s: \"%s\"", config, status.message);
}

Test(p2c_ewma, a_wrong_field_is_named)
{
    refused("{\"choices\":1}", "choices");
    refused("{\"choices\":65}", "choices");
    refused("{\"choices\":4,\"maxChoices\":3}", "maxChoices");
    refused("{\"decay\":10}", "decay");
    refused("{\"decay\":\"0s\"}", "decay");
    refused("{\"forcePickInterval\":\"1\"}", "forcePickInterval");
    refused("{\"slowStartConfig\":{\"window\":10}}", "slowStartConfig.window");
    refused("{\"compat\":\"finagle\"}", "compat");
}

Test(p2c_ewma, every_number_of_choices)
{
    for (unsigned choices = 2; choices <= 64; choices += 31) {
        for (size_t backends = 1; backends <= 70; backends += 23) {
            char config[64];
            snprintf(config, sizeof config, "{\"choices\":%u}", choices);
            policy_harness *h = ready_range(config, backends);
            for (size_t i = 0; i < 500; i++) {
                evener_pick pick = begin(h);
                advance_us(h, 100 + i % 7 * 100);
                harness_done(h, &pick, EVENER_STATUS_OK);
            }
            cr_assert_eq(harness_in_flight(h), 0);
            harness_destroy(h);
        }
    }
}
