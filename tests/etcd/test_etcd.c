/* The resolver `etcd:` against a scripted etcd: listing, watching, and everything that goes wrong. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <evener/etcd.h>
#include <evener/log.h>

#include "tests/support/fake_etcd.h"
#include "tests/support/resolver_fixture.h"

#define A "{\"Op\":0,\"Addr\":\"127.0.0.1:1\",\"Metadata\":null}"
#define B "{\"Op\":0,\"Addr\":\"127.0.0.1:2\",\"Metadata\":{\"weight\":3,\"zone\":\"b\"}}"
#define C "{\"Op\":0,\"Addr\":\"127.0.0.1:3\"}"

typedef struct scene {
    fake_etcd *etcd;
    resolver_fixture *f;
    evener_attribute options[8];
    const evener_resolver_builder *builders[1];
} scene;

static scene *scene_create(void)
{
    scene *s = calloc(1, sizeof *s);
    s->etcd = fake_etcd_start();
    s->f = resolver_fixture_create_on_thread();
    s->builders[0] = evener_etcd_resolver();
    s->f->set = (evener_resolver_set){.own = s->builders, .own_count = 1};
    s->f->options = s->options;
    s->options[0] = (evener_attribute){"etcd.backoff_max_ms", "200"};
    s->f->option_count = 1;
    return s;
}

static void set_option(scene *s, const char *key, const char *value)
{
    s->options[s->f->option_count++] = (evener_attribute){key, value};
}

static void scene_open(scene *s, const char *service)
{
    char target[128];
    snprintf(target, sizeof target, "etcd://127.0.0.1:%u/%s", fake_etcd_port(s->etcd), service);
    resolver_fixture_open(s->f, target);
}

static void scene_destroy(scene *s)
{
    resolver_fixture_destroy(s->f);
    fake_etcd_stop(s->etcd);
    free(s);
}

static void expect_list(scene *s, const char *addresses)
{
    cr_assert(resolver_fixture_wait_addresses(s->f, addresses), "the list is %s", s->f->sink.addresses);
}

/* ---- listing and watching ---- */

Test(etcd, lists_and_follows_a_prefix)
{
    scene *s = scene_create();
    fake_etcd_put(s->etcd, "orders/a", A);
    fake_etcd_put(s->etcd, "ordersx/b", B);
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1");
    fake_etcd_put(s->etcd, "orders/b", B);
    expect_list(s, "127.0.0.1:1,127.0.0.1:2;weight=3;zone=b");
    fake_etcd_put(s->etcd, "orders/a", C);
    expect_list(s, "127.0.0.1:3,127.0.0.1:2;weight=3;zone=b");
    fake_etcd_delete(s->etcd, "orders/b");
    expect_list(s, "127.0.0.1:3");
    fake_etcd_delete(s->etcd, "orders/a");
    expect_list(s, "");
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_RANGES), 1);
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_WATCHES), 1);
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_WITHOUT_HASLEADER), 0);
    scene_destroy(s);
}

static bool source_has(const recording_sink *sink, void *arg)
{
    return strstr(sink->source, arg) != NULL;
}

Test(etcd, the_source_names_member_and_revision)
{
    scene *s = scene_create();
    char wanted[64];
    fake_etcd_put(s->etcd, "orders/a", A); /* revision 2 */
    scene_open(s, "orders");
    snprintf(wanted, sizeof wanted, "etcd 127.0.0.1:%u revision 2", fake_etcd_port(s->etcd));
    cr_expect(resolver_fixture_wait(s->f, source_has, wanted), "%s", s->f->sink.source);
    fake_etcd_put(s->etcd, "orders/b", C); /* revision 3 */
    snprintf(wanted, sizeof wanted, "etcd 127.0.0.1:%u revision 3", fake_etcd_port(s->etcd));
    cr_expect(resolver_fixture_wait(s->f, source_has, wanted), "%s", s->f->sink.source);
    scene_destroy(s);
}

static bool has_count(const recording_sink *sink, void *arg)
{
    return sink->address_count == *(size_t *)arg;
}

Test(etcd, pages_are_one_state)
{
    scene *s = scene_create();
    size_t wanted = 1000;
    set_option(s, "etcd.page", "7");
    fake_etcd_put_many(s->etcd, "orders/", 0, 1000);
    scene_open(s, "orders");
    cr_expect(resolver_fixture_wait(s->f, has_count, &wanted), "%zu", s->f->sink.address_count);
    cr_expect_geq(fake_etcd_count_of(s->etcd, FAKE_ETCD_RANGES), 1000 / 7 + 1);
    cr_expect_eq(s->f->sink.update_count, 1);
    scene_destroy(s);
}

Test(etcd, many_changes_at_once_arrive_whole_also_in_fragments)
{
    scene *s = scene_create();
    size_t wanted = 1001;
    fake_etcd_put(s->etcd, "orders/a", A);
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1");
    fake_etcd_fragment(s->etcd, 10);
    fake_etcd_put_many(s->etcd, "orders/b", 0, 1000);
    cr_expect(resolver_fixture_wait(s->f, has_count, &wanted), "%zu", s->f->sink.address_count);
    cr_expect_eq(s->f->sink.update_count, 2); /* none of a part of the revision */
    scene_destroy(s);
}

/* ---- what ends a watch ---- */

Test(etcd, a_connection_that_ends_loses_no_change)
{
    scene *s = scene_create();
    fake_etcd_put(s->etcd, "orders/a", A);
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1");
    for (unsigned i = 0; i < 5; i++) {
        char key[32], value[64], wanted[160] = "127.0.0.1:1";
        snprintf(key, sizeof key, "orders/b%u", i);
        snprintf(value, sizeof value, "{\"Addr\":\"127.0.0.2:%u\"}", i + 1);
        cr_assert(fake_etcd_wait(s->etcd, FAKE_ETCD_WATCHES, i + 1));
        fake_etcd_hang_up(s->etcd);
        fake_etcd_put(s->etcd, key, value);
        for (unsigned k = 0; k <= i; k++) {
            snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), ",127.0.0.2:%u", k + 1);
        }
        expect_list(s, wanted);
    }
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_RANGES), 1, "the watch goes on, nothing is listed again");
    scene_destroy(s);
}

Test(etcd, a_compaction_while_away_is_a_new_listing)
{
    scene *s = scene_create();
    fake_etcd_put(s->etcd, "orders/a", A);
    fake_etcd_put(s->etcd, "orders/b", B);
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1,127.0.0.1:2;weight=3;zone=b");
    fake_etcd_set_down(s->etcd, true);
    fake_etcd_delete(s->etcd, "orders/b");
    fake_etcd_put(s->etcd, "orders/c", C);
    fake_etcd_compact(s->etcd);
    fake_etcd_put(s->etcd, "other/key", "x");
    fake_etcd_set_down(s->etcd, false);
    expect_list(s, "127.0.0.1:1,127.0.0.1:3");
    cr_expect_geq(fake_etcd_count_of(s->etcd, FAKE_ETCD_RANGES), 2);
    scene_destroy(s);
}

Test(etcd, a_compaction_between_pages_starts_again)
{
    scene *s = scene_create();
    size_t wanted = 20;
    set_option(s, "etcd.page", "10");
    fake_etcd_put_many(s->etcd, "orders/", 0, 20);
    fake_etcd_fail(s->etcd, "Range", 1, 11, "etcdserver: mvcc: required revision has been compacted");
    scene_open(s, "orders");
    cr_expect(resolver_fixture_wait(s->f, has_count, &wanted));
    scene_destroy(s);
}

static bool has_errors(const recording_sink *sink, void *arg)
{
    return sink->error_count >= *(size_t *)arg;
}

Test(etcd, down_keeps_the_list_and_says_so)
{
    scene *s = scene_create();
    size_t errors = 2;
    fake_etcd_put(s->etcd, "orders/a", A);
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1");
    cr_assert(fake_etcd_wait(s->etcd, FAKE_ETCD_WATCHES, 1));
    const size_t updates = s->f->sink.update_count;
    fake_etcd_set_down(s->etcd, true);
    cr_assert(resolver_fixture_wait(s->f, has_errors, &errors));
    cr_expect_eq(s->f->sink.update_count, updates);
    cr_expect_not_null(strstr(s->f->sink.error.message, "etcd 127.0.0.1:"), "%s", s->f->sink.error.message);
    cr_expect_not_null(strstr(s->f->sink.error.message, "orders/"), "%s", s->f->sink.error.message);
    fake_etcd_put(s->etcd, "orders/b", C);
    fake_etcd_set_down(s->etcd, false);
    expect_list(s, "127.0.0.1:1,127.0.0.1:3");
    scene_destroy(s);
}

Test(etcd, down_at_the_start_is_reported_and_overcome)
{
    scene *s = scene_create();
    size_t errors = 1;
    fake_etcd_put(s->etcd, "orders/a", A);
    fake_etcd_set_down(s->etcd, true);
    scene_open(s, "orders");
    cr_assert(resolver_fixture_wait(s->f, has_errors, &errors));
    cr_expect_eq(s->f->sink.update_count, 0);
    fake_etcd_set_down(s->etcd, false);
    expect_list(s, "127.0.0.1:1");
    scene_destroy(s);
}

Test(etcd, a_member_without_a_leader_ends_the_watch_and_another_attempt_goes_on)
{
    scene *s = scene_create();
    fake_etcd_put(s->etcd, "orders/a", A);
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1");
    cr_assert(fake_etcd_wait(s->etcd, FAKE_ETCD_WATCHES, 1));
    fake_etcd_fail(s->etcd, "Watch", 2, 14, "etcdserver: no leader");
    fake_etcd_end_watches(s->etcd, 14, "etcdserver: no leader");
    fake_etcd_put(s->etcd, "orders/b", C);
    expect_list(s, "127.0.0.1:1,127.0.0.1:3");
    scene_destroy(s);
}

Test(etcd, another_member_is_used_when_one_is_gone)
{
    scene *s = scene_create();
    fake_etcd *other = fake_etcd_start();
    char target[128];
    for (int i = 0; i < 2; i++) {
        fake_etcd_put(i == 0 ? s->etcd : other, "orders/a", A);
    }
    snprintf(target, sizeof target, "etcd://localhost:%u,127.0.0.1:%u/orders", fake_etcd_port(s->etcd),
             fake_etcd_port(other));
    resolver_fixture_open(s->f, target);
    expect_list(s, "127.0.0.1:1");
    fake_etcd_set_down(s->etcd, true);
    fake_etcd_put(other, "orders/b", C);
    expect_list(s, "127.0.0.1:1,127.0.0.1:3");
    fake_etcd_put(s->etcd, "orders/b", C);
    fake_etcd_set_down(s->etcd, false);
    fake_etcd_set_down(other, true);
    fake_etcd_put(s->etcd, "orders/c", "{\"Addr\":\"127.0.0.1:4\"}");
    expect_list(s, "127.0.0.1:1,127.0.0.1:3,127.0.0.1:4");
    scene_destroy(s);
    fake_etcd_stop(other);
}

Test(etcd, a_restored_snapshot_is_a_new_listing)
{
    scene *s = scene_create();
    fake_etcd_put(s->etcd, "orders/a", A);
    fake_etcd_put(s->etcd, "orders/b", B);
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1,127.0.0.1:2;weight=3;zone=b");
    fake_etcd_restore(s->etcd, 0xc0ffee, 1); /* the same cluster, its revision went back */
    fake_etcd_put(s->etcd, "orders/c", C);
    expect_list(s, "127.0.0.1:3");
    fake_etcd_restore(s->etcd, 0xbeef, 1000); /* another cluster */
    fake_etcd_put(s->etcd, "orders/a", A);
    expect_list(s, "127.0.0.1:1");
    scene_destroy(s);
}

Test(etcd, other_data_at_the_same_revision_is_found)
{
    scene *s = scene_create();
    size_t errors = 2;
    fake_etcd_put(s->etcd, "orders/a", A); /* revision 2 */
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1");
    cr_assert(fake_etcd_wait(s->etcd, FAKE_ETCD_WATCHES, 1));
    fake_etcd_set_down(s->etcd, true);
    cr_assert(resolver_fixture_wait(s->f, has_errors, &errors));
    fake_etcd_restore(s->etcd, 0xc0ffee, 1); /* made anew: the same members have the same cluster id */
    fake_etcd_put(s->etcd, "orders/b", C);
    fake_etcd_set_down(s->etcd, false);
    expect_list(s, "127.0.0.1:3");
    scene_destroy(s);
}

/* What a check has found stays found, while the listing fails. */
Test(etcd, other_data_is_checked_once_and_then_listed_until_it_succeeds)
{
    scene *s = scene_create();
    size_t errors = 2;
    fake_etcd_put(s->etcd, "orders/a", A); /* revision 2 */
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1");
    cr_assert(fake_etcd_wait(s->etcd, FAKE_ETCD_WATCHES, 1));
    cr_assert_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_CHECKS), 0);
    fake_etcd_set_down(s->etcd, true);
    cr_assert(resolver_fixture_wait(s->f, has_errors, &errors));
    fake_etcd_restore(s->etcd, 0xc0ffee, 1);
    fake_etcd_put(s->etcd, "orders/b", C);
    fake_etcd_fail(s->etcd, "List", 2, EVENER_STATUS_UNAVAILABLE, "not now");
    fake_etcd_set_down(s->etcd, false);
    expect_list(s, "127.0.0.1:3");
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_CHECKS), 1);
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_RANGES), 1 + 2 + 1);
    scene_destroy(s);
}

Test(etcd, a_check_that_fails_is_tried_again)
{
    scene *s = scene_create();
    size_t errors = 2;
    fake_etcd_put(s->etcd, "orders/a", A);
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1");
    cr_assert(fake_etcd_wait(s->etcd, FAKE_ETCD_WATCHES, 1));
    fake_etcd_set_down(s->etcd, true);
    cr_assert(resolver_fixture_wait(s->f, has_errors, &errors));
    fake_etcd_put(s->etcd, "orders/b", C);
    fake_etcd_fail(s->etcd, "Range", 2, EVENER_STATUS_UNAVAILABLE, "not now");
    fake_etcd_set_down(s->etcd, false);
    expect_list(s, "127.0.0.1:1,127.0.0.1:3");
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_CHECKS), 1); /* those that fail are not counted */
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_RANGES), 1);
    scene_destroy(s);
}

/* An empty list is checked by its number of keys alone. */
Test(etcd, an_empty_list_is_checked_too)
{
    scene *s = scene_create();
    size_t errors = 2;
    fake_etcd_put(s->etcd, "other/a", A);
    scene_open(s, "orders");
    cr_assert(fake_etcd_wait(s->etcd, FAKE_ETCD_WATCHES, 1));
    fake_etcd_set_down(s->etcd, true);
    cr_assert(resolver_fixture_wait(s->f, has_errors, &errors));
    fake_etcd_set_down(s->etcd, false);
    cr_assert(fake_etcd_wait(s->etcd, FAKE_ETCD_WATCHES, 2));
    fake_etcd_put(s->etcd, "orders/b", C);
    expect_list(s, "127.0.0.1:3");
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_CHECKS), 1);
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_RANGES), 1);
    scene_destroy(s);
}

Test(etcd, a_refused_watch_is_reported_and_tried_again)
{
    scene *s = scene_create();
    size_t errors = 2;
    fake_etcd_put(s->etcd, "orders/a", A);
    fake_etcd_refuse_watches(s->etcd, 2, "etcdserver: permission denied");
    scene_open(s, "orders");
    cr_assert(resolver_fixture_wait(s->f, has_errors, &errors));
    cr_expect_not_null(strstr(s->f->sink.error.message, "permission denied"), "%s", s->f->sink.error.message);
    fake_etcd_put(s->etcd, "orders/b", C);
    expect_list(s, "127.0.0.1:1,127.0.0.1:3");
    scene_destroy(s);
}

Test(etcd, progress_moves_the_revision_on_over_a_compaction)
{
    scene *s = scene_create();
    fake_etcd_put(s->etcd, "orders/a", A);
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1");
    cr_assert(fake_etcd_wait(s->etcd, FAKE_ETCD_WATCHES, 1));
    fake_etcd_put(s->etcd, "other/x", "x");
    fake_etcd_put(s->etcd, "other/y", "y");
    fake_etcd_compact(s->etcd); /* at revision 4; the last event of the prefix was revision 2 */
    fake_etcd_send_progress(s->etcd);
    fake_etcd_put(s->etcd, "orders/b", C); /* proves that the progress has been read */
    expect_list(s, "127.0.0.1:1,127.0.0.1:3");
    fake_etcd_hang_up(s->etcd);
    fake_etcd_put(s->etcd, "orders/b", B);
    expect_list(s, "127.0.0.1:1,127.0.0.1:2;weight=3;zone=b");
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_RANGES), 1);
    scene_destroy(s);
}

/* ---- users ---- */

Test(etcd, a_user_gets_a_token_and_another_one_when_it_expires)
{
    scene *s = scene_create();
    fake_etcd_set_user(s->etcd, "reader", "secret");
    set_option(s, "etcd.user", "reader");
    set_option(s, "etcd.password", "secret");
    fake_etcd_put(s->etcd, "orders/a", A);
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1");
    cr_assert(fake_etcd_wait(s->etcd, FAKE_ETCD_WATCHES, 1));
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_AUTHENTICATIONS), 1);
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_REFUSED_TOKENS), 0);
    fake_etcd_expire_tokens(s->etcd);
    fake_etcd_hang_up(s->etcd);
    fake_etcd_put(s->etcd, "orders/b", C);
    expect_list(s, "127.0.0.1:1,127.0.0.1:3");
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_AUTHENTICATIONS), 2);
    scene_destroy(s);
}

Test(etcd, a_wrong_password_is_reported_without_it)
{
    scene *s = scene_create();
    size_t errors = 1;
    fake_etcd_set_user(s->etcd, "reader", "secret");
    set_option(s, "etcd.user", "reader");
    set_option(s, "etcd.password", "guess");
    scene_open(s, "orders");
    cr_assert(resolver_fixture_wait(s->f, has_errors, &errors));
    cr_expect_not_null(strstr(s->f->sink.error.message, "user reader"), "%s", s->f->sink.error.message);
    cr_expect_null(strstr(s->f->sink.error.message, "guess"));
    scene_destroy(s);
}

Test(etcd, a_password_file_may_change_and_authentication_may_be_off)
{
    scene *s = scene_create();
    char path[] = "/tmp/evener-etcd-password-XXXXXX";
    const int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "old\n", 4), 4);
    fake_etcd_put(s->etcd, "orders/a", A);
    set_option(s, "etcd.user", "reader");
    set_option(s, "etcd.password_file", path);
    scene_open(s, "orders"); /* etcd knows no users */
    expect_list(s, "127.0.0.1:1");
    fake_etcd_set_user(s->etcd, "reader", "new");
    cr_assert_eq(pwrite(fd, "new\n", 4, 0), 4);
    fake_etcd_hang_up(s->etcd);
    fake_etcd_put(s->etcd, "orders/b", C);
    expect_list(s, "127.0.0.1:1,127.0.0.1:3");
    close(fd);
    unlink(path);
    scene_destroy(s);
}

/* ---- hostile values and messages ---- */

Test(etcd, what_cannot_be_read_is_skipped_and_the_rest_is_used)
{
    static const char *const bad[] = {
        "",
        "not JSON",
        "[]",
        "{",
        "{\"Op\":0}",
        "{\"Op\":0,\"Addr\":7}",
        "{\"Op\":0,\"Addr\":\"127.0.0.1\"}",
        "{\"Op\":0,\"Addr\":\"127.0.0.1:65536\"}",
        "{\"Op\":0,\"Addr\":\"127.0.0.1:0\"}",
        "{\"Op\":0,\"Addr\":\"orders.prod:80\"}",
        "{\"Op\":0,\"Addr\":\"127.0.0.1:1\\u0007\"}",
        "{\"Op\":0,\"Addr\":\"127.0.0.1:1\\u0000\"}",
        "\x01\x02\xff\xfe",
    };
    scene *s = scene_create();
    char *large = malloc(1500000);
    memset(large, 'x', 1500000);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char key[32];
        snprintf(key, sizeof key, "orders/%02zu", i);
        fake_etcd_put(s->etcd, key, bad[i]);
    }
    fake_etcd_put_bytes(s->etcd, "orders/large", large, 1500000);
    fake_etcd_put(s->etcd, "orders/\x1b[31mred\n", "bad");
    fake_etcd_put(s->etcd, "orders/z", A);
    fake_etcd_put(s->etcd, "orders/zz", "{\"Op\":1,\"Addr\":\"127.0.0.1:9\"}");
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) { /* the same as events */
        fake_etcd_put(s->etcd, "orders/event", bad[i]);
    }
    fake_etcd_put_bytes(s->etcd, "orders/event", large, 1500000);
    fake_etcd_put(s->etcd, "orders/z", C);
    expect_list(s, "127.0.0.1:3");
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_RANGES), 1);
    free(large);
    scene_destroy(s);
}

Test(etcd, an_overloaded_etcd_is_asked_again_for_every_value)
{
    scene *s = scene_create();
    set_option(s, "etcd.page", "1");
    fake_etcd_put(s->etcd, "orders/a", A);
    fake_etcd_put(s->etcd, "orders/b", C);
    fake_etcd_fail(s->etcd, "Range", 3, EVENER_STATUS_RESOURCE_EXHAUSTED, "etcdserver: too many requests");
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1,127.0.0.1:3");
    scene_destroy(s);
}

Test(etcd, a_bad_value_keeps_the_last_good_one_of_its_key)
{
    scene *s = scene_create();
    fake_etcd_put(s->etcd, "orders/a", A);
    fake_etcd_put(s->etcd, "orders/b", C);
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1,127.0.0.1:3");
    fake_etcd_put(s->etcd, "orders/a", "oops");
    fake_etcd_put(s->etcd, "orders/c", "{\"Addr\":\"127.0.0.1:4\"}");
    expect_list(s, "127.0.0.1:1,127.0.0.1:3,127.0.0.1:4");
    fake_etcd_compact(s->etcd);
    fake_etcd_put(s->etcd, "other/x", "x");
    fake_etcd_compact(s->etcd);
    fake_etcd_hang_up(s->etcd); /* listed anew: still not readable */
    fake_etcd_delete(s->etcd, "orders/c");
    expect_list(s, "127.0.0.1:1,127.0.0.1:3");
    fake_etcd_delete(s->etcd, "orders/a");
    expect_list(s, "127.0.0.1:3");
    scene_destroy(s);
}

Test(etcd, malformed_messages_lose_nothing)
{
    static const uint8_t truncated[] = {0x5a, 0x7f, 0x0a, 0x02};        /* an event that is longer than the message */
    static const uint8_t endless[] = {0x38, 0x01, 0x5a, 0x02, 0x12, 0}; /* a fragment with an event without a key */
    static const uint8_t varint[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const struct {
        const uint8_t *bytes;
        size_t length;
    } messages[] = {{truncated, sizeof truncated}, {endless, sizeof endless}, {varint, sizeof varint}};
    scene *s = scene_create();
    fake_etcd_put(s->etcd, "orders/a", A);
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1");
    for (size_t i = 0; i < 3; i++) {
        char key[32];
        char wanted[128];
        size_t count = i + 2;
        cr_assert(fake_etcd_wait(s->etcd, FAKE_ETCD_WATCHES, i + 1));
        fake_etcd_send_to_watches(s->etcd, messages[i].bytes, messages[i].length);
        snprintf(key, sizeof key, "orders/b%zu", i);
        snprintf(wanted, sizeof wanted, "{\"Addr\":\"127.0.0.5:%zu\"}", i + 1);
        cr_assert(fake_etcd_wait(s->etcd, FAKE_ETCD_RANGES, i + 2)); /* listed anew */
        fake_etcd_put(s->etcd, key, wanted);
        cr_assert(resolver_fixture_wait(s->f, has_count, &count), "%zu: %s", i, s->f->sink.addresses);
    }
    scene_destroy(s);
}

Test(etcd, malformed_lists_are_refused_and_tried_again)
{
    static const uint8_t garbage[] = {0x12, 0x7f, 1, 2, 3};
    scene *s = scene_create();
    size_t errors = 2;
    fake_etcd_put(s->etcd, "orders/a", A);
    fake_etcd_answer_ranges(s->etcd, garbage, sizeof garbage);
    scene_open(s, "orders");
    cr_assert(resolver_fixture_wait(s->f, has_errors, &errors));
    cr_expect_not_null(strstr(s->f->sink.error.message, "malformed"), "%s", s->f->sink.error.message);
    fake_etcd_answer_ranges(s->etcd, NULL, 0);
    expect_list(s, "127.0.0.1:1");
    scene_destroy(s);
}

Test(etcd, a_page_that_is_too_large_is_asked_for_in_parts)
{
    scene *s = scene_create();
    size_t wanted = 100;
    char *value = malloc(600000);
    memset(value, ' ', 600000);
    for (unsigned i = 0; i < 100; i++) { /* 60 MB, above what one answer may have */
        char key[32];
        snprintf(key, sizeof key, "orders/%03u", i);
        snprintf(value, 600000, "{\"Addr\":\"127.0.0.1:%u\"}", i + 1);
        value[strlen(value)] = ' ';
        fake_etcd_put_bytes(s->etcd, key, value, i % 10 == 0 ? 600000 : 60000);
    }
    (void)wanted;
    free(value);
    scene_open(s, "orders");
    wanted = 90; /* values above 64 KiB are not read */
    cr_expect(resolver_fixture_wait(s->f, has_count, &wanted), "%zu", s->f->sink.address_count);
    scene_destroy(s);
}

Test(etcd, a_stream_of_changes_without_end_is_joined)
{
    scene *s = scene_create();
    fake_etcd_put(s->etcd, "orders/a", A);
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1");
    for (unsigned i = 0; i < 5000; i++) {
        fake_etcd_put(s->etcd, "orders/b", i % 2 == 0 ? B : C);
    }
    expect_list(s, "127.0.0.1:1,127.0.0.1:3");
    cr_expect_lt(s->f->sink.update_count, 5000); /* at most one per 10 ms */
    scene_destroy(s);
}

/* ---- options ---- */

Test(etcd, wrong_targets_and_options_are_refused_by_name)
{
    static const struct {
        const char *target, *key, *value, *part;
    } cases[] = {
        {"etcd:///orders", NULL, NULL, "no members"},
        {"etcd://127.0.0.1:2379/", NULL, NULL, "a service of 1 to 1024 bytes"},
        {"etcd://127.0.0.1:0/orders", NULL, NULL, "127.0.0.1:0"},
        {"etcd://127.0.0.1:65536/orders", NULL, NULL, "65536"},
        {"etcd://::1/orders", NULL, NULL, "brackets"},
        {"etcd://a b:1/orders", NULL, NULL, "neither a name nor an address"},
        {"etcd://127.0.0.1/orders", "etcd.layout", "nacos", "etcd.layout"},
        {"etcd://127.0.0.1/orders", "etcd.page", "0", "etcd.page"},
        {"etcd://127.0.0.1/orders", "etcd.timeout_ms", "x", "etcd.timeout_ms"},
        {"etcd://127.0.0.1/orders", "etcd.backoff_max_ms", "0", "etcd.backoff_max_ms"},
        {"etcd://127.0.0.1/orders", "etcd.secure", "yes", "etcd.secure"},
        {"etcd://127.0.0.1/orders", "etcd.tls", "1", "etcd.tls"},
        {"etcd://127.0.0.1/orders", "etcd.user", "u", "etcd.password"},
        {"etcd://127.0.0.1/orders", "etcd.password", "p", "etcd.user"},
        {"etcd://a.prod,b.prod/orders", "etcd.tls", "true", "etcd.server_name"},
        {"etcd://127.0.0.1/orders", "etcd.certificate", "x.pem", "etcd.key"},
    };
    scene *s = scene_create();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        s->f->option_count = 0;
        if (cases[i].key != NULL) {
            set_option(s, cases[i].key, cases[i].value);
        }
        cr_expect_eq(resolver_fixture_build(s->f, cases[i].target), EVENER_STATUS_INVALID_ARGUMENT, "%zu", i);
        cr_expect_not_null(strstr(s->f->status.message, cases[i].part), "%s: %s", cases[i].target,
                           s->f->status.message);
        resolver_fixture_close(s->f);
    }
    scene_destroy(s);
}

Test(etcd, go_zero_kratos_and_plain_keys_are_read_as_their_programs_write_them)
{
    /* Recorded: the key that go-zero 1.10.3 (core/discov) put, and the first value for kratos, a
     * registry.ServiceInstance written by kratos 2.8.3. Its keys are in the form that contrib/registry/etcd documents. */
    static const struct {
        const char *layout, *service, *key, *value, *list;
    } cases[] = {
        {"go-zero", "user.rpc", "user.rpc/4111120312537425157", "127.0.0.1:8080", "127.0.0.1:8080"},
        {"kratos", "helloworld", "/microservices/helloworld/host-1",
         "{\"id\":\"host-1\",\"name\":\"helloworld\",\"version\":\"v1.0.0\",\"metadata\":{\"weight\":\"3\"},"
         "\"endpoints\":[\"http://127.0.0.1:8000\",\"grpc://127.0.0.1:9000\"]}",
         "127.0.0.1:9000;version=v1.0.0;weight=3"},
        {"kratos", "helloworld", "/microservices/helloworld/host-1",
         "{\"id\":\"host-1\",\"name\":\"helloworld\",\"version\":\"\",\"metadata\":null,"
         "\"endpoints\":[\"grpc://127.0.0.1:9000?isSecure=false\"]}",
         "127.0.0.1:9000;version="},
        {"plain", "orders", "orders/1", "127.0.0.1:7", "127.0.0.1:7"},
        {"plain", "orders", "orders/127.0.0.1:8", "up", "127.0.0.1:8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scene *s = scene_create();
        set_option(s, "etcd.layout", cases[i].layout);
        fake_etcd_put(s->etcd, cases[i].key, cases[i].value);
        scene_open(s, cases[i].service);
        expect_list(s, cases[i].list);
        scene_destroy(s);
    }
}

Test(etcd, closing_in_any_phase_leaves_nothing)
{
    for (unsigned i = 0; i < 40; i++) {
        scene *s = scene_create();
        set_option(s, "etcd.page", "10");
        if (i % 4 == 1) {
            fake_etcd_set_user(s->etcd, "reader", "secret");
            set_option(s, "etcd.user", "reader");
            set_option(s, "etcd.password", i % 8 == 1 ? "secret" : "wrong");
        }
        fake_etcd_put_many(s->etcd, "orders/", 0, 100);
        fake_etcd_set_down(s->etcd, i % 4 == 2);
        scene_open(s, "orders");
        usleep(i % 10 * 500);
        scene_destroy(s);
    }
}
