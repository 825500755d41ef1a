/* Tried backends: every policy avoids them while another backend is READY, and takes one of them otherwise. */
#include <criterion/criterion.h>

#include <string.h>

#include "tests/support/policy_harness.h"

#define A "10.0.0.1:1"
#define B "10.0.0.2:1"
#define C "10.0.0.3:1"
#define D "10.0.0.4:1"
#define PICKS 400

static const struct {
    const char *policy, *config;
} policies[] = {
    {"round_robin", NULL},
    {"random", NULL},
    {"weighted_random", NULL},
    {"weighted_round_robin", NULL},
    {"least_request", NULL},
    {"p2c_ewma", NULL},
    {"p2c_ewma", "{\"compat\": \"go-zero\"}"},
    {"ring_hash", NULL},
    {"ring_hash", "{\"maxLoadFactor\": 1.25}"},
    {"outlier_detection", "{\"childPolicy\": [{\"round_robin\": {}}]}"},
};
#define POLICIES (sizeof policies / sizeof policies[0])

static policy_harness *create(size_t p, const char *list)
{
    policy_harness *h = harness_create(policies[p].policy, policies[p].config);
    harness_update(h, list);
    harness_exit_idle(h);
    for (int i = 0; i < 100; i++) {
        harness_set_all(h, EVENER_READY);
    }
    return h;
}

/* Make picks with these tried backends and count them per backend of A, B, C, D. */
static void count_picks(policy_harness *h, const char *const *tried, size_t tried_count, size_t counts[4])
{
    static const char *const backends[] = {A, B, C, D};
    memset(counts, 0, 4 * sizeof counts[0]);
    for (int i = 0; i < PICKS; i++) {
        const evener_pick_args args = {.size = sizeof args,
                                       .tried = tried,
                                       .tried_count = tried_count,
                                       .has_hash = true,
                                       .hash = (uint64_t)i * UINT64_C(0x9E3779B97F4A7C15),
                                       .streaming = i % 7 == 0};
        evener_pick pick;
        h->lane = i % 5 == 0 ? EVENER_LANE_SHARED : (uint32_t)i % 3;
        cr_assert_eq(harness_pick(h, &args, &pick, NULL), EVENER_PICK_COMPLETE);
        for (int b = 0; b < 4; b++) {
            counts[b] += strcmp(evener_subchannel_address_text(pick.subchannel), backends[b]) == 0;
        }
        harness_done(h, &pick, EVENER_STATUS_OK);
    }
    cr_assert_eq(harness_in_flight(h), 0);
}

Test(tried, one_tried_backend_is_avoided_and_the_others_share_its_picks)
{
    for (size_t p = 0; p < POLICIES; p++) {
        policy_harness *h = create(p, A "," B "," C "," D);
        size_t counts[4];
        count_picks(h, (const char *const[]){B}, 1, counts);
        cr_expect_eq(counts[1], 0, "%s: %zu picks of it", policies[p].policy, counts[1]);
        for (int b = 0; b < 4; b++) {
            cr_expect(b == 1 || counts[b] > PICKS / 20, "%s: backend %d: %zu", policies[p].policy, b, counts[b]);
        }
        harness_destroy(h);
    }
}

Test(tried, the_last_one_that_was_not_tried_is_taken)
{
    for (size_t p = 0; p < POLICIES; p++) {
        static const char *const all[] = {A, B, C, D, A, B, C};
        policy_harness *h = create(p, A "," B "," C "," D);
        for (size_t left = 0; left < 4; left++) {
            size_t counts[4];
            count_picks(h, (const char *const[]){all[left + 3], all[left + 1], all[left + 2]}, 3, counts);
            cr_expect_eq(counts[left], PICKS, "%s: %zu of %s", policies[p].policy, counts[left], all[left]);
        }
        harness_destroy(h);
    }
}

Test(tried, a_tried_backend_is_better_than_none)
{
    for (size_t p = 0; p < POLICIES; p++) {
        policy_harness *h = create(p, A "," B);
        size_t counts[4];
        count_picks(h, (const char *const[]){A, B}, 2, counts);
        cr_expect_eq(counts[0] + counts[1], PICKS, "%s", policies[p].policy);
        harness_destroy(h);
        h = create(p, A);
        count_picks(h, (const char *const[]){A}, 1, counts);
        cr_expect_eq(counts[0], PICKS, "%s", policies[p].policy);
        harness_destroy(h);
    }
}

/* Backends that are not READY are no alternative. */
Test(tried, a_tried_backend_is_better_than_one_that_is_not_ready)
{
    for (size_t p = 0; p < POLICIES; p++) {
        if (strcmp(policies[p].policy, "ring_hash") == 0) {
            continue; /* may wait for the backend of the hash */
        }
        policy_harness *h = create(p, A "," B);
        harness_set(h, B, EVENER_TRANSIENT_FAILURE);
        size_t counts[4];
        count_picks(h, (const char *const[]){A}, 1, counts);
        cr_expect_eq(counts[0], PICKS, "%s: %zu", policies[p].policy, counts[0]);
        harness_destroy(h);
    }
}

/* Of those that were not tried, one below its bound comes first; when all are full, the first on the ring. */
Test(tried, ring_hash_takes_one_below_its_bound_if_there_is_one)
{
    policy_harness *h = harness_create("ring_hash", "{\"maxLoadFactor\": 1}");
    harness_update(h, A "," B "," C);
    harness_exit_idle(h);
    for (int i = 0; i < 100; i++) {
        harness_set_all(h, EVENER_READY);
    }
    const evener_pick_args own = {.size = sizeof own, .has_hash = true, .hash = 1};
    evener_pick first, picks[8];
    cr_assert_eq(harness_pick(h, &own, &first, NULL), EVENER_PICK_COMPLETE);
    const char *const tried[] = {evener_subchannel_address_text(first.subchannel)};
    harness_done(h, &first, EVENER_STATUS_UNAVAILABLE);
    const evener_pick_args again = {
        .size = sizeof again, .has_hash = true, .hash = 1, .tried = tried, .tried_count = 1};
    size_t counts[2] = {0}; /* of the next on the ring, and of the one after it */
    for (size_t i = 0; i < 8; i++) {
        cr_assert_eq(harness_pick(h, &again, &picks[i], NULL), EVENER_PICK_COMPLETE);
        cr_expect_str_neq(evener_subchannel_address_text(picks[i].subchannel), tried[0]);
        const size_t bound = i / 3 + 1; /* the mean of three, this call included, rounded up */
        const size_t expected = counts[0] >= bound && counts[1] < bound ? 1 : 0;
        cr_expect_eq(picks[i].subchannel != picks[0].subchannel, expected, "%zu", i);
        counts[expected]++;
    }
    for (size_t i = 0; i < 8; i++) {
        harness_done(h, &picks[i], EVENER_STATUS_OK);
    }
    harness_destroy(h);
}
