/* Allocations of the parts below `etcd:` fail in turn: the failure is reported, nothing is lost, and nothing leaks. No etcd
 * is asked: what could be sent is never complete. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <evener/runtime.h>
#include <evener/target.h>

#include "resolver/etcd/client.h"
#include "resolver/etcd/endpoints.h"
#include "resolver/etcd/listing.h"
#include "resolver/etcd/options.h"
#include "resolver/etcd/verify.h"
#include "resolver/etcd/watch.h"
#include "tests/support/failing_memory.h"
#include "tests/support/virtual_loop.h"

static evener_status status;

static evener_status_code read_options(evener_etcd_options *options)
{
    static const evener_attribute given[] = {{"etcd.user", "u"}, {"etcd.password", "p"}};
    evener_target *target = NULL;
    cr_assert_eq(evener_target_parse("etcd://127.0.0.1:1,a.prod/orders", &target, &status), EVENER_STATUS_OK);
    const evener_resolver_args args = {.size = sizeof args, .target = target, .options = given, .option_count = 2};
    const evener_status_code code = evener_etcd_options_read(&args, options, &status);
    evener_target_destroy(target);
    return code;
}

/* ---- a client that cannot ask for a token ---- */

static struct {
    virtual_loop *loop;
    evener_runtime *runtime;
    evener_etcd_shared_options *shared;
    evener_etcd_client *client;
} s;

static void set_up(void)
{
    evener_etcd_options options;
    s.loop = virtual_loop_create(1);
    const evener_runtime_options runtime_options = {.size = sizeof runtime_options, .loop = virtual_loop_loop(s.loop)};
    cr_assert_eq(evener_runtime_create(&runtime_options, &s.runtime, &status), EVENER_STATUS_OK);
    cr_assert_eq(read_options(&options), EVENER_STATUS_OK, "%s", status.message);
    s.shared = evener_etcd_shared_options_create(&options);
    cr_assert_not_null(s.shared);
    cr_assert_eq(evener_etcd_client_create(&s.shared->options, s.runtime, true, &s.client, &status), EVENER_STATUS_OK,
                 "%s", status.message);
}

static void tear_down(void)
{
    evener_etcd_client_destroy(s.client);
    evener_etcd_shared_options_unref(s.shared);
    virtual_loop_run_until_idle(s.loop);
    evener_runtime_unref(s.runtime);
    virtual_loop_destroy(s.loop);
}

TestSuite(etcd_out_of_memory, .init = set_up, .fini = tear_down);

static size_t ended;

static void count_end(evener_etcd_operation *operation)
{
    (void)operation;
    ended++;
}

/* All operations that wait for the token get the reason. */
Test(etcd_out_of_memory, an_operation_that_gets_no_token_says_why)
{
    size_t without_token = 0;
    for (uint64_t fail_at = 1; fail_at < 20; fail_at++) {
        evener_etcd_operation operation = {.method = EVENER_ETCD_RANGE, .done = count_end};
        ended = 0;
        failing_memory_arm(fail_at, true);
        evener_etcd_client_start(s.client, &operation);
        failing_memory_disarm();
        cr_assert_eq(ended, 0, "never inside start()");
        virtual_loop_run_until_idle(s.loop);
        cr_assert_eq(ended, 1, "%llu", (unsigned long long)fail_at);
        cr_assert_eq(operation.status.code, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s", operation.status.message);
        if (strncmp(operation.status.message, "user u: ", 8) == 0) {
            break; /* the request was made, and its call could not start */
        }
        cr_assert_str_eq(operation.status.message, "out of memory");
        without_token++;
    }
    cr_assert_geq(without_token, 4); /* the request's object, password, bytes and message */
}

/* ---- pages, checks and watches that cannot be asked for ---- */

static void listing_ended(void *arg, const evener_status *why)
{
    (void)arg;
    status = *why;
    ended++;
}

Test(etcd_out_of_memory, a_page_that_cannot_be_asked_for_is_reported)
{
    evener_etcd_listing listing = {.client = s.client, .shared = s.shared, .ended = listing_ended};
    for (uint64_t fail_at = 1; fail_at <= 4; fail_at++) { /* the page, both ends of the range, the message */
        ended = 0;
        failing_memory_arm(fail_at, true);
        evener_etcd_listing_go_on(&listing);
        failing_memory_disarm();
        virtual_loop_run_until_idle(s.loop);
        cr_assert_eq(ended, 1, "%llu", (unsigned long long)fail_at);
        cr_assert_eq(status.code, EVENER_STATUS_RESOURCE_EXHAUSTED);
        cr_assert_null(listing.page);
    }
    cr_assert_eq(s.shared->references, 1);
    evener_etcd_listing_reset(&listing);
}

Test(etcd_out_of_memory, a_check_that_cannot_be_asked_for_does_not_begin)
{
    evener_etcd_entries list = {0};
    const evener_etcd_key_value kv = {{(const uint8_t *)"orders/a", 8}, {(const uint8_t *)"{}", 2}, 1};
    cr_assert(evener_etcd_entries_add(&list, &s.shared->options.layout, false, &kv));
    for (uint64_t fail_at = 1; fail_at <= 4; fail_at++) {
        failing_memory_arm(fail_at, true);
        cr_assert_null(evener_etcd_verify(s.client, &s.shared->options.layout, &list, 7, listing_ended, NULL));
        failing_memory_disarm();
    }
    evener_etcd_entries_clear(&list);
}

Test(etcd_out_of_memory, a_watch_that_cannot_be_asked_for_does_not_begin)
{
    static const evener_etcd_watch_events events = {.created = NULL};
    for (uint64_t fail_at = 1; fail_at <= 5; fail_at++) {
        evener_etcd_watch *watch = NULL;
        failing_memory_arm(fail_at, true);
        const evener_status_code code = evener_etcd_watch_start(s.client, s.shared, 7, &events, NULL, &watch, &status);
        failing_memory_disarm();
        cr_assert_eq(code, EVENER_STATUS_RESOURCE_EXHAUSTED, "%llu", (unsigned long long)fail_at);
        cr_assert_null(watch);
        cr_assert_eq(s.shared->references, 1);
    }
}

/* ---- lists and options ---- */

static void add(evener_etcd_entries *entries, char key, const char *value, int64_t revision)
{
    const char text[] = {'o', 'r', 'd', 'e', 'r', 's', '/', key};
    const evener_etcd_key_value kv = {
        {(const uint8_t *)text, sizeof text}, {(const uint8_t *)value, strlen(value)}, revision};
    cr_assert(evener_etcd_entries_add(entries, &s.shared->options.layout, false, &kv));
}

Test(etcd_out_of_memory, a_list_that_cannot_grow_stays_as_it_is)
{
    evener_etcd_entries list = {0}, more = {0};
    for (char key = 'a'; key <= 'p'; key++) { /* 16: no room is left */
        add(&list, key, "{\"Addr\":\"127.0.0.1:1\"}", 1);
    }
    cr_assert_eq(list.room, list.count);
    for (int many = 0; many < 2; many++) {
        for (char key = 'q'; key <= (many == 1 ? 'z' : 'r'); key++) {
            add(&more, key, "{\"Addr\":\"127.0.0.1:2\"}", 2);
        }
        const size_t count = more.count;
        failing_memory_arm(1, true);
        cr_assert_not(evener_etcd_entries_append(&list, &more));
        failing_memory_arm(1, true);
        cr_assert_not(evener_etcd_entries_apply(&list, &more));
        failing_memory_disarm();
        cr_assert(list.count == 16 && more.count == count);
        evener_etcd_entries_clear(&more);
    }
    const evener_etcd_key_value kv = {{(const uint8_t *)"orders/q", 8}, {(const uint8_t *)"", 0}, 1};
    for (uint64_t fail_at = 1; fail_at <= 2; fail_at++) {
        failing_memory_arm(fail_at, true);
        cr_assert_not(evener_etcd_entries_add(&list, &s.shared->options.layout, true, &kv));
        failing_memory_disarm();
        cr_assert_eq(list.count, 16);
    }
    evener_etcd_entries_clear(&list);
}

Test(etcd_out_of_memory, options_are_read_as_a_whole_or_not_at_all)
{
    uint64_t allocations = 0, fail_at = 0;
    do {
        evener_etcd_options options;
        memset(&options, 'x', sizeof options);
        const evener_etcd_options before = options;
        fail_at++;
        evener_target *target = NULL;
        cr_assert_eq(evener_target_parse("etcd://[::1]:1,a.prod/orders", &target, &status), EVENER_STATUS_OK);
        static const evener_attribute given[] = {{"etcd.user", "u"}, {"etcd.password", "p"}};
        const evener_resolver_args args = {.size = sizeof args, .target = target, .options = given, .option_count = 2};
        failing_memory_arm(fail_at, false);
        const evener_status_code code = evener_etcd_options_read(&args, &options, &status);
        allocations = failing_memory_disarm();
        evener_target_destroy(target);
        if (code == EVENER_STATUS_OK) {
            cr_assert_str_eq(options.members, "[::1]:1,a.prod");
            cr_assert_str_eq(options.password, "p");
            evener_etcd_options_clear(&options);
        } else {
            cr_assert_eq(code, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s", status.message);
            cr_assert_eq(memcmp(&options, &before, sizeof options), 0);
        }
    } while (allocations >= fail_at);
    cr_assert_gt(fail_at, 5);
}

/* ---- what a status and a peer say ---- */

Test(etcd_out_of_memory, tokens_that_are_refused_are_known_by_their_texts)
{
    static const struct {
        int code;
        const char *message;
        bool refused;
    } cases[] = {{EVENER_STATUS_UNAUTHENTICATED, "", true},
                 {EVENER_STATUS_INVALID_ARGUMENT, "etcdserver: invalid auth token", true},
                 {EVENER_STATUS_INVALID_ARGUMENT, "etcdserver: revision of auth store is old", true},
                 {EVENER_STATUS_INVALID_ARGUMENT, "etcdserver: user name is empty", true},
                 {EVENER_STATUS_INVALID_ARGUMENT, "etcdserver: key is not provided", false},
                 {EVENER_STATUS_PERMISSION_DENIED, "etcdserver: permission denied", false},
                 {EVENER_STATUS_OK, "", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        evener_status_set(&status, (evener_status_code)cases[i].code, "%s", cases[i].message);
        cr_expect_eq(evener_etcd_is_token_refused(&status), cases[i].refused, "%zu", i);
    }
    char text[16];
    evener_etcd_peer_text("ipv4:10.0.0.1:2379", text, sizeof text);
    cr_expect_str_eq(text, "10.0.0.1:2379");
    evener_etcd_peer_text("member", text, sizeof text);
    cr_expect_str_eq(text, "member");
    evener_etcd_peer_text("ipv6:[fd00::1:2:3]:2379", text, sizeof text);
    cr_expect_str_eq(text, "[fd00::1:2:3]:2");
}
