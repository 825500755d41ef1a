/* ring_hash: A42, A76, A61; by the names of core's ring hash end-to-end and unit tests where they apply. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/policy/hash_ring.h"
#include "lb/policy/xxh64.h"
#include "tests/support/policy_harness.h"

#define A "10.0.0.1:1"
#define B "10.0.0.2:1"
#define C "10.0.0.3:1"

/* The hash that lands on the endpoint's first place: A42, XXH64 of "ADDRESS_0". */
static uint64_t hash_of(const char *address)
{
    char text[64];
    const int bytes = snprintf(text, sizeof text, "%s_0", address);
    return evener_xxh64(text, (size_t)bytes, 0);
}

static const char *pick_hash(policy_harness *h, uint64_t hash)
{
    static char text[64];
    evener_pick pick;
    const evener_pick_args args = {.size = sizeof args, .has_hash = true, .hash = hash};
    const evener_pick_outcome outcome = harness_pick(h, &args, &pick, NULL);
    if (outcome != EVENER_PICK_COMPLETE) {
        harness_run(h);
        return outcome == EVENER_PICK_QUEUE ? "queue" : outcome == EVENER_PICK_FAIL ? "fail" : "drop";
    }
    snprintf(text, sizeof text, "%s", evener_subchannel_address_text(pick.subchannel));
    harness_done(h, &pick, EVENER_STATUS_OK);
    return text;
}

static const char *pick_for(policy_harness *h, const char *address)
{
    return pick_hash(h, hash_of(address));
}

/* ---- XXH64 ---- */

/* xxHash: published test values */
Test(xxh64, gives_the_published_values)
{
    cr_assert_eq(evener_xxh64("", 0, 0), UINT64_C(0xEF46DB3751D8E999));
    cr_assert_eq(evener_xxh64("a", 1, 0), UINT64_C(0xD24EC4F1A98C6E5B));
    cr_assert_eq(evener_xxh64("abc", 3, 0), UINT64_C(0x44BC2CF5AD770999));
    cr_assert_eq(evener_xxh64("Nobody inspects the spammish repetition", 39, 0), UINT64_C(0xFBCEA83C8A378BF1));
}

/* xxHash: its own test of itself, over bytes from a simple generator; each way of the algorithm's end, and seeds. */
Test(xxh64, gives_the_values_of_its_self_test)
{
    static const struct {
        size_t bytes;
        uint64_t seed, hash;
    } cases[] = {
        {0, 0, UINT64_C(0xEF46DB3751D8E999)},
        {0, UINT64_C(2654435761), UINT64_C(0xAC75FDA2929B17EF)},
        {1, 0, UINT64_C(0xE934A84ADB052768)},
        {1, UINT64_C(2654435761), UINT64_C(0x5014607643A9B4C3)},
        {4, 0, UINT64_C(0x9136A0DCA57457EE)},
        {14, 0, UINT64_C(0x8282DCC4994E35C8)},
        {14, UINT64_C(2654435761), UINT64_C(0xC3BD6BF63DEB6DF0)},
        {222, 0, UINT64_C(0xB641AE8CB691C174)},
        {222, UINT64_C(2654435761), UINT64_C(0x20CB8AB7AE10C14A)},
    };
    uint8_t bytes[222];
    uint64_t generator = 2654435761;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(generator >> 56);
        generator *= UINT64_C(11400714785074694797);
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_eq(evener_xxh64(bytes, cases[i].bytes, cases[i].seed), cases[i].hash, "%zu bytes", cases[i].bytes);
    }
}

/* ---- the ring ---- */

static void count_places(const evener_hash_ring *ring, uint32_t *counts)
{
    for (uint32_t i = 0; i < ring->size; i++) {
        counts[ring->entries[i].endpoint]++;
        cr_assert(i == 0 || ring->entries[i - 1].hash <= ring->entries[i].hash);
    }
}

static uint32_t without; /* endpoints without a place */

/* A42: at least min_ring_size places, in proportion to the weights */
Test(hash_ring, places_follow_the_weights)
{
    const char *const keys[] = {A, B, C};
    evener_hash_ring *ring = evener_hash_ring_create(keys, (uint32_t[]){1, 1, 1}, 3, 1024, 4096, &without);
    uint32_t counts[3] = {0};
    count_places(ring, counts);
    cr_assert_eq(ring->size, 1026);
    cr_assert(counts[0] == 342 && counts[1] == 342 && counts[2] == 342);
    evener_hash_ring_unref(ring);

    ring = evener_hash_ring_create(keys, (uint32_t[]){6, 3, 1}, 3, 1024, 4096, &without);
    memset(counts, 0, sizeof counts);
    count_places(ring, counts);
    cr_assert_eq(counts[2], 103);
    cr_assert_eq(counts[1], 309);
    cr_assert_eq(counts[0], 618);
    evener_hash_ring_unref(ring);
}

/* A42: max_ring_size bounds it, even when the smallest get no place */
Test(hash_ring, is_bounded)
{
    const char *const keys[] = {A, B};
    evener_hash_ring *ring = evener_hash_ring_create(keys, (uint32_t[]){1000000, 1}, 2, 1024, 4096, &without);
    cr_assert_eq(ring->size, 4096);
    evener_hash_ring_unref(ring);
    ring = evener_hash_ring_create(keys, (uint32_t[]){1, 1}, 2, 1, 1, &without);
    cr_assert_eq(ring->size, 1);
    cr_assert_eq(evener_hash_ring_find(ring, 0), 0);
    cr_assert_eq(evener_hash_ring_find(ring, UINT64_MAX), 0);
    evener_hash_ring_unref(ring);
    evener_hash_ring_unref(NULL);
}

/* B4: grpc-proposal 338, grpc-go 5801. */
#define MANY 10000

static void many_keys(char (*texts)[24], const char **keys, uint32_t *weights)
{
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(texts[i], sizeof texts[i], "10.1.%u.%u:1", i / 250, i % 250);
        keys[i] = texts[i];
        weights[i] = 1;
    }
}

/* The largest share of the circle over the mean; every endpoint must have some. */
static double max_over_mean(uint32_t size_min)
{
    static char texts[MANY][24];
    static const char *keys[MANY];
    static uint32_t weights[MANY];
    static double shares[MANY];
    many_keys(texts, keys, weights);
    memset(shares, 0, sizeof shares);
    evener_hash_ring *ring =
        evener_hash_ring_create(keys, weights, MANY, size_min, size_min > 65536 ? size_min : 65536, &without);
    cr_assert_eq(without, 0);
    for (uint32_t i = 0; i < ring->size; i++) {
        const uint64_t before = ring->entries[i > 0 ? i - 1 : ring->size - 1].hash;
        shares[ring->entries[i].endpoint] += (double)(ring->entries[i].hash - before) * 0x1p-64;
    }
    evener_hash_ring_unref(ring);
    double most = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        cr_assert_gt(shares[i], 0, "%s has no place", keys[i]);
        most = shares[i] > most ? shares[i] : most;
    }
    return most * MANY;
}

Test(hash_ring, b4_every_one_of_ten_thousand_has_places)
{
    const double by_default = max_over_mean(1024), large = max_over_mean(262144);
    cr_assert_leq(by_default, 4, "%f", by_default);
    cr_assert_leq(large, 2, "%f", large);
}

Test(hash_ring, b4_a_ring_without_room_counts_who_has_no_place)
{
    static char texts[MANY][24];
    static const char *keys[MANY];
    static uint32_t weights[MANY];
    many_keys(texts, keys, weights);
    evener_hash_ring *ring = evener_hash_ring_create(keys, weights, MANY, 1024, 4096, &without);
    cr_assert_eq(without, MANY - 4096);
    cr_assert_eq(ring->size, 4096);
    evener_hash_ring_unref(ring);
}

/* Two clients with the same backends in another order agree on every key, with and without weights. */
Test(hash_ring, b4_the_order_of_the_list_does_not_matter)
{
    enum { COUNT = 1000 };
    static char texts[MANY][24];
    static const char *keys[MANY], *other_keys[COUNT];
    static uint32_t weights[MANY], other_weights[COUNT];
    many_keys(texts, keys, weights);
    for (uint32_t round = 0; round < 4; round++) {
        const uint32_t size_max = round < 2 ? 65536 : 700; /* where not all have a place, too */
        for (uint32_t i = 0; i < COUNT; i++) {
            weights[i] = round % 2 == 0 ? 1 : 1 + i * 7 % 13;
        }
        for (uint32_t i = 0; i < COUNT; i++) {
            const uint32_t from = i * 387 % COUNT; /* 387 and 1000 have no common divisor */
            other_keys[i] = keys[from];
            other_weights[i] = weights[from];
        }
        evener_hash_ring *one = evener_hash_ring_create(keys, weights, COUNT, 700, size_max, &without);
        evener_hash_ring *other = evener_hash_ring_create(other_keys, other_weights, COUNT, 700, size_max, &without);
        cr_assert_eq(one->size, other->size);
        for (uint64_t key = 0; key < 20000; key++) {
            const uint64_t hash = evener_xxh64(&key, sizeof key, 0);
            cr_assert_str_eq(keys[one->entries[evener_hash_ring_find(one, hash)].endpoint],
                             other_keys[other->entries[evener_hash_ring_find(other, hash)].endpoint]);
        }
        evener_hash_ring_unref(one);
        evener_hash_ring_unref(other);
    }
}

static uint32_t first_at_or_after(const evener_hash_ring *ring, uint64_t hash)
{
    uint32_t i = 0;
    while (i < ring->size && ring->entries[i].hash < hash) {
        i++;
    }
    return i < ring->size ? i : 0;
}

Test(hash_ring, find_is_the_first_place_at_or_after_the_hash)
{
    const char *const keys[] = {A, B, C};
    const uint32_t sizes[] = {1, 2, 3, 16, 1024, 4096};
    uint32_t crowded = 0;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        evener_hash_ring *ring = evener_hash_ring_create(keys, (uint32_t[]){1, 1, 1}, 3, sizes[s], sizes[s], &without);
        cr_assert_eq(evener_hash_ring_find(ring, 0), 0);
        cr_assert_eq(evener_hash_ring_find(ring, UINT64_MAX), 0);
        for (uint32_t i = 0; i < ring->size; i++) {
            const uint64_t hash = ring->entries[i].hash;
            cr_assert_eq(evener_hash_ring_find(ring, hash), i);
            cr_assert_eq(evener_hash_ring_find(ring, hash + 1), (i + 1) % ring->size);
            /* Of the same first bits the first and the last. */
            const uint64_t first = hash & ~((UINT64_C(1) << ring->start_shift) - 1);
            const uint64_t last = hash | ((UINT64_C(1) << ring->start_shift) - 1);
            cr_assert_eq(evener_hash_ring_find(ring, first), first_at_or_after(ring, first));
            cr_assert_eq(evener_hash_ring_find(ring, last), first_at_or_after(ring, last));
            crowded += i >= 4 && ring->entries[i - 4].hash >= first;
        }
        evener_hash_ring_unref(ring);
    }
    cr_assert_gt(crowded, 0, "no part of a ring was so crowded that it had to be halved");
}

/* ---- uneven weights: every endpoint has its floor of places ---- */

/* Create the ring of `count` light endpoints of weight 1 + i % spread beside one of `heavy`; check its bounds, and that
 * everyone has at least `floor` places and the heavy one the rest, and that the reversed list gives the same ring. */
static void check_floor(uint32_t count, uint32_t spread, uint32_t heavy, uint32_t size_max, uint32_t floor)
{
    const uint32_t all = count + 1;
    char(*texts)[24] = calloc(all, sizeof *texts);
    const char **keys = calloc(2 * (size_t)all, sizeof *keys);
    uint32_t *numbers = calloc(3 * (size_t)all, sizeof *numbers);
    cr_assert(texts != NULL && keys != NULL && numbers != NULL);
    uint32_t *weights = numbers, *reversed = numbers + all, *counts = numbers + 2 * (size_t)all;
    for (uint32_t i = 0; i < all; i++) {
        snprintf(texts[i], sizeof texts[i], "10.%u.%u.%u:1", i / 62500, i / 250 % 250, i % 250);
        keys[i] = keys[all + all - 1 - i] = texts[i];
        weights[i] = reversed[all - 1 - i] = i < count ? 1 + i % spread : heavy;
    }
    evener_hash_ring *ring = evener_hash_ring_create(keys, weights, all, 1024, size_max, &without);
    cr_assert_eq(without, 0);
    cr_assert_eq(ring->size, size_max);
    count_places(ring, counts);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(counts[i], floor, "%s has %u places, not %u", keys[i], counts[i], floor);
    }
    cr_assert_eq(counts[count], size_max - count * floor);
    evener_hash_ring *other = evener_hash_ring_create(keys + all, reversed, all, 1024, size_max, &without);
    cr_assert_eq(other->size, ring->size);
    for (uint32_t i = 0; i < ring->size; i++) {
        cr_assert_eq(ring->entries[i].hash, other->entries[i].hash);
        cr_assert_eq(ring->entries[i].endpoint, all - 1 - other->entries[i].endpoint);
    }
    evener_hash_ring_unref(ring);
    evener_hash_ring_unref(other);
    free(texts);
    free(keys);
    free(numbers);
}

Test(hash_ring, b4_light_endpoints_beside_a_heavy_one_have_six_places_each)
{
    check_floor(1000, 1, 1000000, 65536, 6);
    check_floor(1000, 13, 100000000, 65536, 6);
    check_floor(5, 1, 10000000, 65536, 6);
    check_floor(10, 1, 1000000, 66, 6); /* six each fill the ring */
}

Test(hash_ring, b4_light_endpoints_have_one_place_each_where_six_have_no_room)
{
    check_floor(20000, 1, 1000000000, 65536, 1);
    check_floor(10, 1, 1000000, 65, 1);
    check_floor(10, 1, 1000000, 11, 1); /* one each fills the ring */
}

/* Places that remain go to the largest rests; of equal rests, in the order of the keys' hashes. */
Test(hash_ring, places_that_remain_go_to_the_largest_rests)
{
    const char *const keys[] = {A, B, C};
    static const struct {
        uint32_t size_max, places[3];
    } cases[] = {{7, {4, 2, 1}}, {8, {4, 2, 2}}, {9, {4, 3, 2}}, {10, {5, 3, 2}}, {11, {6, 3, 2}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        evener_hash_ring *ring =
            evener_hash_ring_create(keys, (uint32_t[]){5, 3, 2}, 3, 7, cases[i].size_max, &without);
        uint32_t counts[3] = {0};
        count_places(ring, counts);
        cr_expect_arr_eq(counts, cases[i].places, sizeof counts, "%u: %u %u %u", cases[i].size_max, counts[0],
                         counts[1], counts[2]);
        evener_hash_ring_unref(ring);
    }
    size_t first = 0, last = 0;
    for (size_t i = 1; i < 3; i++) {
        const uint64_t hash = evener_xxh64(keys[i], strlen(keys[i]), 0);
        first = hash < evener_xxh64(keys[first], strlen(keys[first]), 0) ? i : first;
        last = hash > evener_xxh64(keys[last], strlen(keys[last]), 0) ? i : last;
    }
    for (uint32_t size = 1000; size <= 1001; size++) {
        evener_hash_ring *ring = evener_hash_ring_create(keys, (uint32_t[]){1, 1, 1}, 3, size, size, &without);
        uint32_t counts[3] = {0};
        count_places(ring, counts);
        cr_expect_eq(ring->size, size);
        cr_expect_eq(counts[first], 334);
        cr_expect_eq(counts[last], 333);
        cr_expect_eq(counts[3 - first - last], size - 667);
        evener_hash_ring_unref(ring);
    }
}

/* Those above the floor share the rest by weight; weight 0 has no place. */
Test(hash_ring, weights_are_followed_above_the_floor)
{
    const char *const keys[] = {A, B, C, "10.0.0.4:1", "10.0.0.5:1"};
    evener_hash_ring *ring =
        evener_hash_ring_create(keys, (uint32_t[]){3000000, 1, 1000000, 0, 2}, 5, 1024, 4012, &without);
    uint32_t counts[5] = {0};
    count_places(ring, counts);
    cr_assert_eq(without, 0);
    cr_assert(counts[0] == 3000 && counts[1] == 6 && counts[2] == 1000 && counts[3] == 0 && counts[4] == 6,
              "%u %u %u %u %u", counts[0], counts[1], counts[2], counts[3], counts[4]);
    evener_hash_ring_unref(ring);
}

/* ---- the policy ---- */

/* A42: nothing is connected before a pick asks; core: ring hash picks connect lazily */
Test(ring_hash, connects_on_demand_and_only_what_is_asked_for)
{
    policy_harness *h = harness_create("ring_hash", NULL);
    harness_update(h, A "," B "," C);
    cr_assert_eq(h->state, EVENER_IDLE);
    cr_assert_eq(h->connect_count, 0);
    cr_assert_str_eq(pick_for(h, B), "queue");
    cr_assert_str_eq(harness_connect_log(h), B "@0");
    cr_assert_eq(h->state, EVENER_CONNECTING);
    cr_assert_str_eq(pick_for(h, B), "queue");
    cr_assert_eq(h->connect_count, 1);
    harness_set(h, B, EVENER_READY);
    cr_assert_eq(h->state, EVENER_READY);
    cr_assert_str_eq(pick_for(h, B), B);
    cr_assert_str_eq(pick_for(h, A), "queue", "its own backend is IDLE: connect, wait");
    cr_assert_eq(harness_connects(h, A), 1);
    harness_destroy(h);
}

/* core: ChannelIdHashing / HeaderHashing: one hash, one backend */
Test(ring_hash, one_hash_goes_to_one_backend)
{
    policy_harness *h = harness_create("ring_hash", NULL);
    h->connect_succeeds = true;
    harness_update(h, A "," B "," C);
    for (size_t i = 0; i < 3; i++) {
        const char *address = evener_address_text(h->addresses[i]);
        (void)pick_for(h, address);
        for (int j = 0; j < 100; j++) {
            cr_assert_str_eq(pick_for(h, address), address);
        }
    }
    harness_destroy(h);
}

static const char *pick_with_header(policy_harness *h, const char *value, const char *second)
{
    const evener_metadata metadata[] = {
        {"other", "x", 1}, {"session", value, strlen(value)}, {"session", second, second != NULL ? strlen(second) : 0}};
    const evener_pick_args args = {.size = sizeof args, .metadata = metadata, .metadata_count = second != NULL ? 3 : 2};
    static char text[64];
    evener_pick pick;
    cr_assert_eq(harness_pick(h, &args, &pick, NULL), EVENER_PICK_COMPLETE);
    snprintf(text, sizeof text, "%s", evener_subchannel_address_text(pick.subchannel));
    harness_done(h, &pick, EVENER_STATUS_OK);
    return text;
}

/* A76: request_hash_header; core: HeaderHashing */
Test(ring_hash, hashes_a_header)
{
    policy_harness *h = harness_create("ring_hash", "{\"requestHashHeader\":\"Session\"}");
    harness_update(h, A "," B "," C);
    h->connect_succeeds = true;
    for (size_t i = 0; i < h->subchannel_count; i++) {
        evener_subchannel_connect(harness_at(h, i));
    }
    harness_run(h);
    cr_assert_str_eq(pick_with_header(h, A "_0", NULL), A);
    cr_assert_str_eq(pick_with_header(h, B "_0", NULL), B);
    cr_assert_str_eq(pick_with_header(h, C "_0", NULL), C);
    /* A76: several values are joined by commas */
    char first[64];
    strcpy(first, pick_with_header(h, "one", "two"));
    cr_assert_str_eq(first, pick_hash(h, evener_xxh64("one,two", 7, 0)));
    harness_destroy(h);
}

/* core: NoHashPolicyHashesRandomly; A76: a random hash takes a READY backend rather than wait */
Test(ring_hash, without_a_hash_spreads_at_random)
{
    policy_harness *h = harness_create("ring_hash", NULL);
    h->connect_succeeds = true;
    harness_update(h, A "," B "," C);
    cr_assert_str_eq(harness_pick_one(h), "queue");
    harness_run(h);
    cr_assert_eq(h->connect_count, 1);
    for (int i = 0; i < 20; i++) { /* asks for the others one by one, and goes to what is READY meanwhile */
        cr_assert_neq(strcmp(harness_pick_one(h), "queue"), 0);
        harness_run(h);
    }
    cr_assert_eq(h->connect_count, 3);
    size_t counts[3];
    harness_count_picks(h, 30000, counts);
    for (size_t i = 0; i < 3; i++) {
        cr_assert(counts[i] > 7000 && counts[i] < 13000, "%zu", counts[i]);
    }
    harness_destroy(h);
}

/* core: EndpointWeights */
Test(ring_hash, endpoint_weights)
{
    policy_harness *h = harness_create("ring_hash", NULL);
    h->connect_succeeds = true;
    harness_update(h, A ";weight=1," B ";weight=1," C ";weight=2");
    for (int i = 0; i < 50; i++) {
        (void)harness_pick_one(h);
        harness_run(h);
    }
    size_t counts[3];
    harness_count_picks(h, 40000, counts);
    cr_assert_float_eq((double)counts[2] / 40000, 0.5, 0.06, "%zu", counts[2]);
    harness_destroy(h);
}

/* The ring's first place of each light backend is its own. */
Test(ring_hash, b4_light_backends_get_calls_beside_a_heavy_one)
{
    policy_harness *h = harness_create("ring_hash", NULL);
    h->connect_succeeds = true;
    harness_update(h, A ";weight=1," B ";weight=1," C ";weight=10000000");
    const char *const all[] = {A, B, C};
    for (size_t i = 0; i < 3; i++) {
        (void)pick_for(h, all[i]); /* connects it, if it has that place */
        cr_assert_str_eq(pick_for(h, all[i]), all[i]);
    }
    harness_destroy(h);
}

/* core: TransientFailureCheckNextOne */
Test(ring_hash, transient_failure_check_next_one)
{
    policy_harness *h = harness_create("ring_hash", NULL);
    harness_update(h, A "," B);
    (void)pick_for(h, A);
    harness_fail(h, A, "refused");
    cr_assert_eq(h->reresolutions, 1);
    /* One of several fails: CONNECTING, and B is connected without a pick. */
    cr_assert_eq(h->state, EVENER_CONNECTING);
    cr_assert_eq(harness_connects(h, B), 1);
    cr_assert_str_eq(pick_for(h, A), "queue");
    harness_set(h, B, EVENER_READY);
    cr_assert_str_eq(pick_for(h, A), B);
    harness_destroy(h);
}

/* core: AllInTransientFailure, ContinuesConnectingWithoutPicks, TransientFailureReportedOnlyAfter... */
Test(ring_hash, all_in_transient_failure_goes_on_connecting_without_picks)
{
    policy_harness *h = harness_create("ring_hash", NULL);
    harness_update(h, A "," B "," C);
    (void)pick_for(h, A);
    harness_fail(h, A, "one");
    for (int i = 0; i < 2; i++) { /* the next two are connected one after the other */
        for (size_t j = 0; j < 3; j++) {
            const char *address = evener_address_text(h->addresses[j]);
            if (harness_subchannel_state(harness_find(h, address)) == EVENER_CONNECTING) {
                harness_fail(h, address, "too");
                break;
            }
        }
    }
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    evener_pick pick;
    evener_status status;
    cr_assert_eq(harness_pick(h, NULL, &pick, &status), EVENER_PICK_FAIL);
    cr_assert_not_null(strstr(status.message, "too"), "%s", status.message);
    cr_assert_str_eq(pick_for(h, A), "fail");
    /* Each tries again after its backoff, and one that succeeds ends the failure. */
    harness_set(h, B, EVENER_IDLE);
    cr_assert_eq(harness_connects(h, B), 2);
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    harness_set(h, B, EVENER_READY);
    cr_assert_eq(h->state, EVENER_READY);
    cr_assert_str_eq(pick_for(h, A), B);
    harness_destroy(h);
}

/* core: ReattemptWhenGoingFromTransientFailureToIdle, and a READY one that is lost waits for a pick */
Test(ring_hash, lost_connection_waits_for_a_pick)
{
    policy_harness *h = harness_create("ring_hash", NULL);
    h->connect_succeeds = true;
    harness_update(h, A "," B);
    (void)pick_for(h, A);
    cr_assert_eq(h->state, EVENER_READY);
    harness_set(h, A, EVENER_IDLE);
    cr_assert_eq(h->state, EVENER_IDLE);
    cr_assert_eq(h->reresolutions, 1);
    cr_assert_eq(harness_connects(h, A), 1);
    cr_assert_str_eq(pick_for(h, A), "queue");
    cr_assert_str_eq(pick_for(h, A), A);
    harness_destroy(h);
}

/* A42: the state of one of several backends that fails */
Test(ring_hash, single_backend_that_fails_is_transient_failure)
{
    policy_harness *h = harness_create("ring_hash", NULL);
    harness_update(h, A);
    cr_assert_eq(h->state, EVENER_IDLE);
    (void)pick_for(h, A);
    cr_assert_eq(h->state, EVENER_CONNECTING);
    harness_fail(h, A, "refused");
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    harness_destroy(h);
}

/* Few calls move when a backend comes. Some go from one old backend to another: A42 keeps the ring at its size, so that
 * each has fewer places. */
Test(ring_hash, a_new_backend_takes_its_share_and_moves_few_other_calls)
{
    policy_harness *h = harness_create("ring_hash", NULL);
    h->connect_succeeds = true;
    harness_update(h, A "," B);
    (void)pick_for(h, A);
    (void)pick_for(h, B);
    char before[1000][16];
    for (uint64_t i = 0; i < 1000; i++) {
        snprintf(before[i], sizeof before[i], "%s", pick_hash(h, i * UINT64_C(0x9E3779B97F4A7C15)));
    }
    harness_update(h, A "," B "," C);
    (void)pick_for(h, C);
    int to_new = 0, moved = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        const char *now = pick_hash(h, i * UINT64_C(0x9E3779B97F4A7C15));
        if (strcmp(before[i], now) != 0) {
            to_new += strcmp(now, C) == 0;
            moved++;
        }
    }
    cr_assert(to_new > 250 && to_new < 420, "%d", to_new);
    cr_assert(moved - to_new < 150, "%d", moved - to_new);
    cr_assert_eq(harness_connects(h, A), 1);
    harness_destroy(h);
}

Test(ring_hash, exit_idle_connects_one_unless_a_pick_has_asked)
{
    policy_harness *h = harness_create("ring_hash", NULL);
    harness_update(h, A "," B "," C);
    harness_exit_idle(h);
    cr_assert_eq(h->connect_count, 1);
    harness_exit_idle(h);
    cr_assert_eq(h->connect_count, 1);
    harness_destroy(h);
    h = harness_create("ring_hash", NULL);
    harness_update(h, A "," B "," C);
    evener_pick pick;
    const evener_pick_args args = {.size = sizeof args, .has_hash = true, .hash = hash_of(C)};
    cr_assert_eq(harness_pick(h, &args, &pick, NULL), EVENER_PICK_QUEUE);
    harness_exit_idle(h);
    cr_assert_str_eq(harness_connect_log(h), C "@0");
    harness_destroy(h);
}

Test(ring_hash, a_request_to_connect_may_outlive_picker_and_policy)
{
    policy_harness *h = harness_create("ring_hash", NULL);
    harness_update(h, A "," B);
    evener_pick pick;
    const evener_pick_args args = {.size = sizeof args, .has_hash = true, .hash = hash_of(A)};
    cr_assert_eq(harness_pick(h, &args, &pick, NULL), EVENER_PICK_QUEUE);
    harness_destroy(h);
}

Test(ring_hash, empty_list_fails_and_the_next_one_serves)
{
    policy_harness *h = harness_create("ring_hash", NULL);
    harness_resolver_error(h, "no DNS");
    cr_assert_eq(h->state, EVENER_TRANSIENT_FAILURE);
    h->connect_succeeds = true;
    harness_update(h, A "," A);
    cr_assert_eq(h->subchannel_count, 1);
    (void)pick_for(h, A);
    cr_assert_str_eq(pick_for(h, A), A);
    cr_assert_eq(harness_update(h, ""), EVENER_STATUS_UNAVAILABLE);
    cr_assert_str_eq(pick_for(h, A), "fail");
    harness_update(h, B);
    (void)pick_for(h, B);
    cr_assert_str_eq(pick_for(h, B), B);
    harness_destroy(h);
}

/* A76: hash_key instead of the address */
Test(ring_hash, hash_key_keeps_the_place_of_a_backend_that_moves)
{
    policy_harness *h = harness_create("ring_hash", NULL);
    h->connect_succeeds = true;
    harness_update(h, A ";hash_key=shard1," B ";hash_key=shard2");
    (void)pick_for(h, "shard1");
    cr_assert_str_eq(pick_for(h, "shard1"), A);
    harness_update(h, C ";hash_key=shard1," B ";hash_key=shard2");
    (void)pick_for(h, "shard1");
    cr_assert_str_eq(pick_for(h, "shard1"), C);
    harness_destroy(h);
}

/* A42: validation */
Test(ring_hash, bad_configuration_names_the_field)
{
    const struct {
        const char *config, *message;
    } cases[] = {
        {"{\"minRingSize\":0}", "minRingSize"},
        {"{\"maxRingSize\":8388609}", "maxRingSize"},
        {"{\"minRingSize\":10,\"maxRingSize\":9}", "minRingSize: 10 is more than maxRingSize, 9"},
        {"{\"requestHashHeader\":\"trace-bin\"}", "requestHashHeader"},
        {"{\"requestHashHeader\":7}", "requestHashHeader: a string is needed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char json[256];
        snprintf(json, sizeof json, "[{\"ring_hash_experimental\":%s}]", cases[i].config);
        evener_policy_choice choice = {0};
        evener_status status;
        cr_assert_eq(evener_policy_choose(NULL, json, "lb", &choice, &status), EVENER_STATUS_INVALID_ARGUMENT, "%s",
                     json);
        cr_assert_not_null(strstr(status.message, cases[i].message), "%s", status.message);
    }
    evener_policy_choice choice = {0};
    cr_assert_eq(evener_policy_choose(NULL, "[{\"ring_hash\":{\"maxRingSize\":16}}]", "lb", &choice, NULL),
                 EVENER_STATUS_OK);
    evener_policy_choice_clear(&choice);
}

/* Out of memory for a new backend: the old list serves on, the whole of it, and the resolver hears that it must try
 * again. */
Test(ring_hash, out_of_memory_the_old_list_serves_on)
{
    policy_harness *h = harness_create("ring_hash_experimental", NULL);
    h->connect_succeeds = true;
    cr_assert_eq(harness_update(h, A "," B), EVENER_STATUS_OK);
    cr_assert_str_eq(pick_for(h, A), "queue");
    cr_assert_str_eq(pick_for(h, A), A);
    cr_assert_str_eq(pick_for(h, B), "queue");
    cr_assert_str_eq(pick_for(h, B), B);
    const unsigned published = h->published;
    evener_status status;
    h->create_fails = true;
    cr_assert_eq(harness_update_quietly(h, B ";weight=5," C, &status), EVENER_STATUS_RESOURCE_EXHAUSTED);
    harness_run(h);
    cr_assert_not_null(strstr(status.message, "the last list serves on"), "%s", status.message);
    cr_assert_eq(h->published, published, "the old picker is in force");
    cr_assert_str_eq(pick_for(h, A), A);
    cr_assert_str_eq(pick_for(h, B), B);
    cr_assert_eq(h->subchannel_count, 2);
    h->create_fails = false;
    cr_assert_eq(harness_update(h, B ";weight=5," C), EVENER_STATUS_OK);
    cr_assert_null(harness_find(h, A));
    cr_assert_str_eq(pick_for(h, B), B);
    cr_assert_eq(h->connect_count, 2, "B stays connected");
    harness_destroy(h);
}

Test(ring_hash, out_of_memory_for_the_first_list_is_an_error)
{
    policy_harness *h = harness_create("ring_hash_experimental", NULL);
    evener_status status;
    h->create_fails = true;
    cr_assert_eq(harness_update_quietly(h, A, &status), EVENER_STATUS_RESOURCE_EXHAUSTED);
    cr_assert_eq(h->subchannel_count, 0);
    h->create_fails = false;
    cr_assert_eq(harness_update(h, A), EVENER_STATUS_OK);
    harness_destroy(h);
}

/* maxLoadFactor: of calls with one hash, no backend has more in flight than its bound, and the overflow follows the
 * ring. */
Test(ring_hash, bounded_loads)
{
    enum { CALLS = 40 };
    policy_harness *h = harness_create("ring_hash", "{\"maxLoadFactor\":1.25}");
    h->connect_succeeds = true;
    harness_update(h, A "," B "," C);
    for (size_t i = 0; i < 3; i++) {
        evener_subchannel_connect(harness_at(h, i));
    }
    harness_run(h);
    const evener_pick_args args = {.size = sizeof args, .has_hash = true, .hash = hash_of(B)};
    evener_pick picks[CALLS];
    for (size_t i = 0; i < CALLS; i++) {
        cr_assert_eq(harness_pick(h, &args, &picks[i], NULL), EVENER_PICK_COMPLETE);
        for (size_t b = 0; b < 3; b++) {
            const double bound = 1.25 * (double)(i + 1) / 3;
            cr_assert_lt((double)evener_subchannel_in_flight(harness_at(h, b)), bound + 1);
        }
    }
    cr_assert_gt(evener_subchannel_in_flight(harness_find(h, B)), CALLS / 3, "the hash's own backend has the most");
    for (size_t i = 0; i < CALLS; i++) {
        harness_done(h, &picks[i], EVENER_STATUS_OK);
    }
    evener_pick pick; /* nothing is in flight: the hash's own backend again */
    cr_assert_eq(harness_pick(h, &args, &pick, NULL), EVENER_PICK_COMPLETE);
    cr_assert_eq(pick.subchannel, harness_find(h, B));
    harness_done(h, &pick, EVENER_STATUS_OK);
    harness_destroy(h);
}

/* The bound is of the mean over the backends that calls can go to. */
Test(ring_hash, bounded_loads_beside_failed_backends)
{
    enum { BACKENDS = 10, CALLS = 1000 };
    static evener_pick picks[CALLS];
    for (size_t ready = 2; ready <= 5; ready += 3) {
        char list[512] = "";
        policy_harness *h = harness_create("ring_hash", "{\"maxLoadFactor\":1.25}");
        for (size_t i = 0; i < BACKENDS; i++) {
            char one[32];
            snprintf(one, sizeof one, "%s10.0.0.%zu:1", i > 0 ? "," : "", i + 1);
            strcat(list, one);
        }
        harness_update(h, list);
        for (size_t i = 0; i < BACKENDS; i++) {
            char one[32];
            snprintf(one, sizeof one, "10.0.0.%zu:1", i + 1);
            if (i < ready) {
                harness_set(h, one, EVENER_READY);
            } else {
                harness_fail(h, one, "refused");
            }
        }
        harness_run(h);
        const evener_pick_args args = {.size = sizeof args, .has_hash = true, .hash = hash_of(C)};
        for (size_t i = 0; i < CALLS; i++) {
            cr_assert_eq(harness_pick(h, &args, &picks[i], NULL), EVENER_PICK_COMPLETE);
        }
        for (size_t i = 0; i < ready; i++) {
            char one[32];
            snprintf(one, sizeof one, "10.0.0.%zu:1", i + 1);
            const double in_flight = (double)evener_subchannel_in_flight(harness_find(h, one));
            cr_expect_leq(in_flight, 1.25 * CALLS / (double)ready + 1, "%zu READY: %s", ready, one);
        }
        for (size_t i = 0; i < CALLS; i++) {
            harness_done(h, &picks[i], EVENER_STATUS_OK);
        }
        harness_destroy(h);
    }
}

/* A backend that drains gets no calls while another READY one has more weight, and all of them when none has. */
Test(ring_hash, a_backend_without_a_place_serves_when_all_others_have_failed)
{
    policy_harness *h = harness_create("ring_hash", NULL);
    harness_update(h, A ";weight=0," B ";weight=1");
    harness_set(h, A, EVENER_READY);
    harness_set(h, B, EVENER_READY);
    harness_run(h);
    cr_expect_str_eq(pick_for(h, A), B);
    harness_fail(h, B, "refused");
    harness_run(h);
    cr_assert_eq(h->state, EVENER_READY);
    cr_expect_str_eq(pick_for(h, B), A);
    evener_pick pick;
    cr_assert_eq(harness_pick(h, NULL, &pick, NULL), EVENER_PICK_COMPLETE, "without a hash, too");
    harness_done(h, &pick, EVENER_STATUS_OK);
    harness_destroy(h);
}

/* ---- field cases B4 and B9, further examples ---- */

#define KEYS 2000

/* Store which backend each key goes to; connections are made on demand. */
static void places_of_keys(policy_harness *h, char (*places)[24])
{
    for (uint64_t key = 0; key < KEYS; key++) {
        const evener_pick_args args = {
            .size = sizeof args, .hash = evener_xxh64(&key, sizeof key, 0), .has_hash = true};
        evener_pick pick;
        while (harness_pick(h, &args, &pick, NULL) == EVENER_PICK_QUEUE) {
            harness_run(h);
        }
        snprintf(places[key], sizeof places[key], "%s", evener_subchannel_address_text(pick.subchannel));
        harness_done(h, &pick, EVENER_STATUS_OK);
    }
}

/* B4: one client has the list from the start. The other one has come to it by other lists, weights and duplicates. */
Test(ring_hash, b4_the_history_of_a_list_does_not_matter)
{
    static char one[KEYS][24], other[KEYS][24];
    policy_harness *h = harness_create("ring_hash", NULL);
    h->connect_succeeds = true;
    harness_update(h, "10.0.0.1:1;weight=2,10.0.0.2:1,10.0.0.3:1;weight=5,10.0.0.4:1,10.0.0.5:1");
    places_of_keys(h, one);
    harness_destroy(h);
    h = harness_create("ring_hash", NULL);
    h->connect_succeeds = true;
    harness_update(h, "10.0.0.9:1,10.0.0.4:1;weight=7");
    places_of_keys(h, other);
    harness_update(h, "10.0.0.5:1,10.0.0.4:1");
    places_of_keys(h, other);
    harness_update(h, "10.0.0.5:1,10.0.0.4:1,10.0.0.4:1;weight=9,10.0.0.3:1;weight=5,10.0.0.2:1,10.0.0.1:1;weight=2");
    places_of_keys(h, other);
    for (size_t key = 0; key < KEYS; key++) {
        cr_assert_str_eq(one[key], other[key], "key %zu", key);
    }
    harness_destroy(h);
}

/* B9: evener_channel_connect() connects also through policies that wrap it. */
Test(ring_hash, b9_connects_through_wrapping_policies)
{
    static const char *const configs[] = {"{\"childPolicy\":[{\"ring_hash\":{}}]}",
                                          "{\"failurePercentageEjection\":{},\"childPolicy\":[{\"health_check\":{"
                                          "\"childPolicy\":[{\"ring_hash\":{}}]}}]}"};
    for (size_t i = 0; i < 2; i++) {
        policy_harness *h = harness_create("outlier_detection", configs[i]);
        h->connect_succeeds = true;
        harness_update(h, "10.0.0.1:1,10.0.0.2:1,10.0.0.3:1");
        harness_run(h);
        size_t ready = 0;
        for (size_t b = 0; b < 3; b++) {
            ready += harness_subchannel_state(harness_at(h, b)) == EVENER_READY;
        }
        cr_assert_eq(ready, 0, "on demand");
        harness_exit_idle(h);
        harness_run(h);
        for (size_t b = 0; b < 3; b++) {
            ready += harness_subchannel_state(harness_at(h, b)) == EVENER_READY;
        }
        cr_assert_eq(ready, 1, "%s: %zu", configs[i], ready);
        harness_destroy(h);
    }
}
