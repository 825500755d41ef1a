/* fallback: and merge: over manual resolvers on the virtual loop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <evener/manual_resolver.h>

#include "resolver/compose.h"
#include "tests/support/fake_dns_client.h"
#include "tests/support/mistaken_resolver.h"
#include "tests/support/resolver_fixture.h"

#define A "10.0.0.1:1"
#define B "10.0.0.2:2"

struct scene {
    resolver_fixture *f;
    evener_manual_resolver *a, *b;
    const evener_resolver_builder *own[2];
};

static struct scene *scene_create(const char *target)
{
    struct scene *s = calloc(1, sizeof *s);
    cr_assert_not_null(s);
    s->f = resolver_fixture_create();
    cr_assert_eq(evener_manual_resolver_create("a", &s->a, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_manual_resolver_create("b", &s->b, NULL), EVENER_STATUS_OK);
    s->own[0] = evener_manual_resolver_builder(s->a);
    s->own[1] = evener_manual_resolver_builder(s->b);
    s->f->set = (evener_resolver_set){.own = s->own, .own_count = 2};
    if (target != NULL) {
        resolver_fixture_open(s->f, target);
        virtual_loop_run_until_idle(s->f->loop);
    }
    return s;
}

static void scene_destroy(struct scene *s)
{
    resolver_fixture_destroy(s->f);
    evener_manual_resolver_destroy(s->a);
    evener_manual_resolver_destroy(s->b);
    free(s);
}

static void push(struct scene *s, evener_manual_resolver *resolver, const char *list)
{
    cr_assert_eq(evener_manual_resolver_set(resolver, list, NULL, NULL), EVENER_STATUS_OK);
    virtual_loop_run_until_idle(s->f->loop);
}

static void fail(struct scene *s, evener_manual_resolver *resolver, const char *why)
{
    evener_status status;
    (void)evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "%s", why);
    evener_manual_resolver_error(resolver, &status);
    virtual_loop_run_until_idle(s->f->loop);
}

Test(fallback, primary_serves_and_the_secondary_is_not_asked)
{
    struct scene *s = scene_create("fallback:a:x|static:" B);
    cr_assert_eq(s->f->sink.update_count, 0);
    push(s, s->a, A);
    cr_assert_str_eq(s->f->sink.addresses, A);
    virtual_loop_advance_ms(s->f->loop, 60000);
    cr_assert_eq(s->f->sink.update_count, 1);
    scene_destroy(s);
}

Test(fallback, empty_primary_and_its_return)
{
    struct scene *s = scene_create("fallback:a:x|b:x");
    push(s, s->a, "");
    push(s, s->b, B);
    cr_assert_str_eq(s->f->sink.addresses, B);
    push(s, s->a, A);
    cr_assert_str_eq(s->f->sink.addresses, A);
    push(s, s->b, B);
    cr_assert_str_eq(s->f->sink.addresses, A, "the secondary is closed");
    push(s, s->a, "");
    virtual_loop_run_until_idle(s->f->loop);
    cr_assert_str_eq(s->f->sink.addresses, B, "and is started anew");
    scene_destroy(s);
}

/* ---- a resolver that pushes when the test says so ---- */

static evener_resolver_sink *direct_sink;

static void direct_start(evener_resolver *resolver)
{
    (void)resolver;
}

static const evener_resolver_vtable direct_vtable = {
    .size = sizeof direct_vtable, .start = direct_start, .close = direct_start};

static evener_status_code direct_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                       evener_resolver **resolver, evener_status *status)
{
    static evener_resolver direct = {.vtable = &direct_vtable};
    (void)builder;
    (void)status;
    direct_sink = args->sink;
    *resolver = &direct;
    return EVENER_STATUS_OK;
}

static void push_directly(const char *text)
{
    evener_address *address = NULL;
    evener_status status;
    if (text != NULL) {
        cr_assert_eq(evener_address_create(text, NULL, 0, &address, &status), EVENER_STATUS_OK);
    }
    const evener_resolver_update update = {
        .size = sizeof update, .addresses = &address, .address_count = text != NULL ? 1 : 0};
    cr_assert(evener_resolver_sink_update(direct_sink, &update));
    evener_address_unref(address);
}

/* The primary has something, and nothing again at once: the secondary, which is waited for, is not closed meanwhile. */
Test(fallback, a_secondary_that_is_waited_for_stays)
{
    static const evener_resolver_builder direct = {.size = sizeof direct, .scheme = "direct", .build = direct_build};
    struct scene *s = scene_create(NULL);
    s->own[1] = &direct;
    resolver_fixture_open(s->f, "fallback:direct:x|a:x");
    virtual_loop_run_until_idle(s->f->loop);
    push_directly(NULL);
    push_directly(A);
    push_directly(NULL);
    virtual_loop_run_until_idle(s->f->loop);
    push(s, s->a, B);
    cr_assert_str_eq(s->f->sink.addresses, B);
    scene_destroy(s);
}

Test(fallback, error_before_anything_and_error_after)
{
    struct scene *s = scene_create("fallback:a:x|static:" B);
    fail(s, s->a, "broken");
    cr_assert_str_eq(s->f->sink.addresses, B);
    cr_assert_eq(s->f->sink.error_count, 0);
    fail(s, s->a, "still broken");
    cr_assert_eq(s->f->sink.update_count, 1);
    push(s, s->a, A);
    fail(s, s->a, "broken again");
    cr_assert_str_eq(s->f->sink.addresses, A, "what was good serves on");
    cr_assert_str_eq(s->f->sink.error.message, "broken again");
    scene_destroy(s);
}

Test(fallback, silent_primary)
{
    struct scene *s = scene_create("fallback:a:x|static:" B);
    virtual_loop_advance_ms(s->f->loop, 4999);
    cr_assert_eq(s->f->sink.update_count, 0);
    virtual_loop_advance_ms(s->f->loop, 1);
    cr_assert_str_eq(s->f->sink.addresses, B);
    push(s, s->a, A);
    cr_assert_str_eq(s->f->sink.addresses, A);
    scene_destroy(s);
}

Test(fallback, nobody_has_anything)
{
    struct scene *s = scene_create("fallback:a:x|b:x");
    push(s, s->a, "");
    push(s, s->b, "");
    cr_assert_eq(s->f->sink.update_count, 1);
    cr_assert_eq(s->f->sink.address_count, 0);
    fail(s, s->b, "broken");
    cr_assert_str_eq(s->f->sink.error.message, "fallback: no addresses; broken");
    scene_destroy(s);
}

Test(merge, union_in_order)
{
    struct scene *s = scene_create("merge:a:x|b:x|static:" A);
    push(s, s->b, B ";weight=2");
    cr_assert_eq(s->f->sink.update_count, 0, "the first update waits for all");
    push(s, s->a, "10.0.0.9:9," B);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.9:9," B "," A);
    push(s, s->a, "");
    cr_assert_str_eq(s->f->sink.addresses, B ";weight=2," A);
    scene_destroy(s);
}

Test(merge, one_fails)
{
    struct scene *s = scene_create("merge:a:x|b:x");
    push(s, s->b, B);
    fail(s, s->a, "broken");
    cr_assert_str_eq(s->f->sink.addresses, B);
    push(s, s->a, A);
    fail(s, s->a, "broken");
    cr_assert_str_eq(s->f->sink.addresses, A "," B);
    cr_assert_eq(s->f->sink.update_count, 2);
    cr_assert_eq(s->f->sink.error_count, 1);
    scene_destroy(s);
}

Test(merge, one_is_silent)
{
    struct scene *s = scene_create("merge:a:x|static:" B);
    virtual_loop_advance_ms(s->f->loop, 4999);
    cr_assert_eq(s->f->sink.update_count, 0, "it is waited for, for a while");
    virtual_loop_advance_ms(s->f->loop, 1);
    cr_assert_eq(s->f->sink.update_count, 1);
    cr_assert_str_eq(s->f->sink.addresses, B);
    cr_assert_eq(s->f->sink.error_count, 0, "silence is no error");
    push(s, s->a, A);
    cr_assert_str_eq(s->f->sink.addresses, A "," B);
    scene_destroy(s);
}

Test(merge, nobody_has_anything)
{
    struct scene *s = scene_create("merge:a:x|b:x");
    push(s, s->a, "");
    fail(s, s->b, "broken");
    cr_assert_str_eq(s->f->sink.error.message, "merge: no addresses; broken");
    push(s, s->b, "");
    cr_assert_eq(s->f->sink.address_count, 0);
    cr_assert_eq(s->f->sink.update_count, 1);
    scene_destroy(s);
}

Test(compose, nests)
{
    struct scene *s = scene_create("merge:fallback:a:x%257Cstatic:" B "|static:" A);
    push(s, s->a, "");
    cr_assert_str_eq(s->f->sink.addresses, B "," A);
    scene_destroy(s);
}

static void fails(const char *target, const char *reason)
{
    struct scene *s = scene_create(NULL);
    cr_assert_eq(resolver_fixture_build(s->f, target), EVENER_STATUS_INVALID_ARGUMENT, "%s", target);
    cr_assert_not_null(strstr(s->f->status.message, reason), "\"%s\": %s", target, s->f->status.message);
    scene_destroy(s);
}

Test(compose, bad_targets)
{
    fails("fallback:a:x", "at least two targets");
    fails("fallback:", "target 1 is empty");
    fails("merge:a:x||b:x", "target 2 is empty");
    fails("merge://h/a:x|b:x", "authority");
    fails("merge:a:x|dns:///h:", "merge: target 2: dns: \"h:\"");
    fails("fallback:a:x|static:nonsense", "fallback: target 2: static");
    fails("merge:a:1|a:2|a:3|a:4|a:5|a:6|a:7|a:8|a:9|a:10|a:11|a:12|a:13|a:14|a:15|a:16|a:17", "more than 16");
}

/* Letters of a scheme may be of any case. */
Test(compose, the_bound_of_nested_ones_holds_in_any_case_of_letters)
{
    static const char *const schemes[] = {"merge:", "Merge:", "FALLBACK:", "fallbacK:"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        static char target[EVENER_COMPOSE_NESTED_BYTES_MAX + 64];
        int used = snprintf(target, sizeof target, "merge:a:x|%sa:", schemes[i]);
        memset(target + used, 'x', EVENER_COMPOSE_NESTED_BYTES_MAX);
        target[used + EVENER_COMPOSE_NESTED_BYTES_MAX] = '\0';
        fails(target, "a composition of more than 4096 bytes");
    }
}

Test(compose, authority_is_the_first_targets)
{
    static const char *const cases[][2] = {
        {"fallback:dns:///orders.prod:80|static:" A, "orders.prod:80"},
        {"merge:ipv4:" A "," B "|static:" A, A},
        {"merge:unix:/x|static:" A, "localhost"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        evener_target *target;
        const evener_resolver_builder *builder;
        char authority[64];
        cr_assert_eq(evener_resolver_lookup(NULL, cases[i][0], &target, &builder, NULL), EVENER_STATUS_OK);
        cr_assert_eq(builder->default_authority(builder, target, authority, sizeof authority, NULL), EVENER_STATUS_OK);
        cr_assert_str_eq(authority, cases[i][1]);
        evener_target_destroy(target);
    }
}

/* ---- what comes with the addresses ---- */

static void push_with(struct scene *s, evener_manual_resolver *resolver, const char *address, const char *config,
                      const char *config_error, uint64_t ttl_ms)
{
    evener_address *parsed = NULL;
    evener_status error, status;
    evener_status_set(&error, EVENER_STATUS_INVALID_ARGUMENT, "%s", config_error != NULL ? config_error : "");
    cr_assert_eq(evener_address_create(address, NULL, 0, &parsed, &status), EVENER_STATUS_OK, "%s", status.message);
    const evener_resolver_update update = {.size = sizeof update,
                                           .addresses = &parsed,
                                           .address_count = 1,
                                           .service_config = config,
                                           .service_config_error = config_error != NULL ? &error : NULL,
                                           .ttl_ms = ttl_ms,
                                           .source = "here"};
    cr_assert_eq(evener_manual_resolver_update(resolver, &update, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_address_unref(parsed);
    virtual_loop_run_until_idle(s->f->loop);
}

Test(merge, the_first_service_config_and_the_shortest_ttl_count)
{
    struct scene *s = scene_create("merge:a:x|b:x");
    push_with(s, s->a, A, NULL, NULL, 0);
    push_with(s, s->b, B, "{\"b\":1}", NULL, 0);
    cr_assert_str_eq(s->f->sink.service_config, "{\"b\":1}");
    cr_assert_eq(s->f->sink.ttl_ms, 0);
    cr_assert_str_eq(s->f->sink.source, "merge");
    push_with(s, s->a, A, "{\"a\":1}", NULL, 5000);
    cr_assert_str_eq(s->f->sink.service_config, "{\"a\":1}");
    cr_assert_eq(s->f->sink.ttl_ms, 5000);
    push_with(s, s->b, B, "{\"b\":2}", NULL, 4000);
    cr_assert_str_eq(s->f->sink.service_config, "{\"a\":1}");
    cr_assert_eq(s->f->sink.ttl_ms, 4000);
    push_with(s, s->b, B, NULL, NULL, 6000);
    cr_assert_eq(s->f->sink.ttl_ms, 5000);
    push_with(s, s->a, A, NULL, "bad", 0);
    cr_assert_str_eq(s->f->sink.service_config, "");
    cr_assert_str_eq(s->f->sink.service_config_error.message, "bad");
    cr_assert_eq(s->f->sink.ttl_ms, 6000);
    push_with(s, s->b, B, "{\"b\":3}", NULL, 6000);
    cr_assert_str_eq(s->f->sink.service_config_error.message, "bad", "the first one counts, good or bad");
    push_with(s, s->a, A, NULL, NULL, 0);
    cr_assert_str_eq(s->f->sink.service_config, "{\"b\":3}");
    cr_assert_eq(s->f->sink.service_config_error.code, EVENER_STATUS_OK);
    cr_assert_eq(s->f->sink.error_count, 0);
    cr_assert_str_eq(s->f->sink.addresses, A "," B);
    scene_destroy(s);
}

Test(fallback, everything_of_the_target_in_use_is_passed_on)
{
    struct scene *s = scene_create("fallback:a:x|b:x");
    push_with(s, s->a, A, "{\"a\":1}", NULL, 5000);
    cr_assert_str_eq(s->f->sink.service_config, "{\"a\":1}");
    cr_assert_eq(s->f->sink.ttl_ms, 5000);
    cr_assert_str_eq(s->f->sink.source, "here");
    push_with(s, s->a, A, NULL, "bad", 0);
    cr_assert_str_eq(s->f->sink.service_config, "");
    cr_assert_str_eq(s->f->sink.service_config_error.message, "bad");
    cr_assert_eq(s->f->sink.ttl_ms, 0);
    push_with(s, s->b, B, "{\"b\":1}", NULL, 0);
    push(s, s->a, "");
    cr_assert_str_eq(s->f->sink.addresses, B);
    cr_assert_str_eq(s->f->sink.service_config, "{\"b\":1}");
    cr_assert_eq(s->f->sink.service_config_error.code, EVENER_STATUS_OK);
    scene_destroy(s);
}

Test(merge, a_first_target_that_fails_makes_an_empty_union_uncertain)
{
    struct scene *s = scene_create("merge:a:x|b:x");
    fail(s, s->a, "broken");
    push(s, s->b, "");
    cr_assert_eq(s->f->sink.update_count, 0);
    cr_assert_str_eq(s->f->sink.error.message, "merge: broken; no addresses");
    push(s, s->a, "");
    cr_assert_eq(s->f->sink.update_count, 1);
    scene_destroy(s);
    s = scene_create("merge:a:x|b:x");
    push(s, s->b, "");
    virtual_loop_advance_ms(s->f->loop, 5000);
    cr_assert_eq(s->f->sink.update_count, 0, "silence of the first is no empty list");
    cr_assert_str_eq(s->f->sink.error.message, "merge: no answer yet; no addresses");
    scene_destroy(s);
}

Test(compose, long_reasons_are_cut)
{
    struct scene *s = scene_create("merge:a:1|a:2|a:3|a:4");
    char reason[301], expected[1024] = "";
    for (size_t i = 0; i < 300; i++) {
        reason[i] = (char)('a' + i % 26);
    }
    reason[300] = '\0';
    fail(s, s->a, reason);
    for (int i = 0; i < 4; i++) {
        (void)snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%s%.200s", i > 0 ? "; " : "",
                       reason);
    }
    cr_assert_eq(strncmp(s->f->sink.error.message, "merge: ", 7), 0);
    cr_assert_eq(strlen(s->f->sink.error.message), 487);
    cr_assert_eq(strncmp(s->f->sink.error.message + 7, expected, 480), 0, "%s", s->f->sink.error.message);
    scene_destroy(s);
}

static void wait_option(const char *target, const char *key, const char *value, bool good)
{
    struct scene *s = scene_create(NULL);
    const evener_attribute option = {key, value};
    s->f->options = &option;
    s->f->option_count = 1;
    cr_assert_eq(resolver_fixture_build(s->f, target), good ? EVENER_STATUS_OK : EVENER_STATUS_INVALID_ARGUMENT,
                 "%s=%s", key, value);
    resolver_fixture_close(s->f);
    scene_destroy(s);
}

Test(compose, the_time_to_wait_has_limits)
{
    static const char *const targets[] = {"merge:a:x|b:x", "fallback:a:x|b:x"};
    static const char *const keys[] = {"merge.wait_ms", "fallback.wait_ms"};
    for (size_t i = 0; i < 2; i++) {
        wait_option(targets[i], keys[i], "0", false);
        wait_option(targets[i], keys[i], "1", true);
        wait_option(targets[i], keys[i], "600000", true);
        wait_option(targets[i], keys[i], "600001", false);
        wait_option(targets[i], keys[1 - i], "0", true); /* of the other */
    }
    struct scene *s = scene_create(NULL);
    const evener_attribute option = {"merge.wait_ms", "70"};
    s->f->options = &option;
    s->f->option_count = 1;
    resolver_fixture_open(s->f, "merge:a:x|static:" B);
    virtual_loop_advance_ms(s->f->loop, 69);
    cr_assert_eq(s->f->sink.update_count, 0);
    virtual_loop_advance_ms(s->f->loop, 1);
    cr_assert_str_eq(s->f->sink.addresses, B);
    scene_destroy(s);
}

Test(compose, hints_are_passed_to_the_targets_that_run)
{
    struct scene *s = scene_create("fallback:a:x|b:x");
    push(s, s->a, A);
    s->f->resolver->vtable->resolve_now(s->f->resolver);
    cr_assert_eq(evener_manual_resolver_resolve_now_count(s->a), 1);
    cr_assert_eq(evener_manual_resolver_resolve_now_count(s->b), 0);
    push(s, s->a, "");
    s->f->resolver->vtable->resolve_now(s->f->resolver);
    cr_assert_eq(evener_manual_resolver_resolve_now_count(s->a), 2);
    cr_assert_eq(evener_manual_resolver_resolve_now_count(s->b), 1);
    scene_destroy(s);
}

/* ---- refused updates ---- */

/* include/evener/resolver.h: a resolver whose update is not accepted backs off and retries. The children hear that
 * their updates were accepted: they pushed them from inside start(). */
static void expect_pushed_again_until_accepted(const char *target, const char *addresses)
{
    struct scene *s = scene_create(NULL);
    s->f->sink.refuse = true;
    resolver_fixture_open(s->f, target);
    virtual_loop_advance_ms(s->f->loop, 500);
    cr_assert_eq(s->f->sink.update_count, 1);
    virtual_loop_advance_ms(s->f->loop, 750);
    cr_assert_eq(s->f->sink.update_count, 2);
    virtual_loop_advance_ms(s->f->loop, 2000);
    cr_assert_eq(s->f->sink.update_count, 3);
    s->f->sink.refuse = false;
    virtual_loop_advance_ms(s->f->loop, 3200);
    cr_assert_eq(s->f->sink.update_count, 4);
    cr_assert_str_eq(s->f->sink.addresses, addresses);
    virtual_loop_advance_ms(s->f->loop, 1000000);
    cr_assert_eq(s->f->sink.update_count, 4, "it was accepted");
    scene_destroy(s);
}

Test(compose, refused_list_is_pushed_again_until_it_is_accepted)
{
    expect_pushed_again_until_accepted("fallback:static:" A "|static:" B, A);
    expect_pushed_again_until_accepted("merge:static:" A "|static:" B, A "," B);
}

/* The list of another target than the one whose error or silence caused the push. */
Test(compose, refused_list_of_the_second_target_is_pushed_again)
{
    static const char *const targets[] = {"fallback:a:x|static:" B, "merge:a:x|static:" B};
    for (size_t i = 0; i < 4; i++) {
        struct scene *s = scene_create(targets[i / 2]);
        s->f->sink.refuse = true;
        if (i % 2 == 0) {
            fail(s, s->a, "broken");
        } else {
            virtual_loop_advance_ms(s->f->loop, 5000);
        }
        cr_assert_eq(s->f->sink.update_count, 1, "%zu", i);
        s->f->sink.refuse = false;
        virtual_loop_advance_ms(s->f->loop, 1200);
        cr_assert_eq(s->f->sink.update_count, 2, "%zu", i);
        cr_assert_str_eq(s->f->sink.addresses, B);
        scene_destroy(s);
    }
}

/* An empty list is refused: the targets, which have heard that it was accepted, are asked again. */
Test(compose, targets_without_addresses_are_asked_again_while_the_list_is_refused)
{
    static const char *const targets[] = {"fallback:dns:///a.test:80|dns:///b.test:80",
                                          "merge:dns:///a.test:80|dns:///b.test:80"};
    for (size_t i = 0; i < 4; i++) {
        static fake_dns_client dns;
        const char *const registered = i % 2 == 0 ? "a.test" : "b.test";
        fake_dns_client_init(&dns);
        resolver_fixture *f = resolver_fixture_create();
        f->set = dns.set;
        for (const char *name = "a.test"; name != NULL; name = name[0] == 'a' ? "b.test" : NULL) {
            fake_dns_set(&dns, EVENER_DNS_A, name, "", 300);
            fake_dns_set(&dns, EVENER_DNS_AAAA, name, "", 300);
        }
        f->sink.refuse = true;
        resolver_fixture_open(f, targets[i / 2]);
        virtual_loop_advance_ms(f->loop, 10000);
        fake_dns_set(&dns, EVENER_DNS_A, registered, "10.0.0.1", 300);
        virtual_loop_advance_ms(f->loop, 60000); /* 30 s between hints, and the backoff */
        cr_assert_str_eq(f->sink.addresses, "10.0.0.1:80", "%s: %s", targets[i / 2], registered);
        resolver_fixture_destroy(f);
        memset(&dns, 0, sizeof dns);
    }
}

/* Without waiting, but not from inside: the caller may be in a push. */
Test(compose, hints_end_the_backoff_of_a_refused_list)
{
    static const char *const targets[] = {"fallback:static:" A "|static:" B, "merge:static:" A "|static:" B};
    for (size_t i = 0; i < 4; i++) {
        struct scene *s = scene_create(NULL);
        s->f->sink.refuse = true;
        resolver_fixture_open(s->f, targets[i / 2]);
        for (size_t pushes = 1; pushes <= 3; pushes++) {
            cr_assert_eq(s->f->sink.update_count, pushes, "never from inside");
            if (i % 2 == 0) {
                s->f->resolver->vtable->resolve_now(s->f->resolver);
            } else {
                evener_resolver_reset_backoff(s->f->resolver);
            }
            cr_assert_eq(s->f->sink.update_count, pushes, "never from inside");
            s->f->sink.refuse = pushes < 3;
            virtual_loop_run_until_idle(s->f->loop);
        }
        cr_assert_eq(s->f->sink.update_count, 4);
        s->f->resolver->vtable->resolve_now(s->f->resolver);
        evener_resolver_reset_backoff(s->f->resolver);
        virtual_loop_run_until_idle(s->f->loop);
        cr_assert_eq(s->f->sink.update_count, 4, "it was accepted");
        scene_destroy(s);
    }
}

/* reset_backoff begins the sequence again: the next delay is one second, not ten. */
Test(compose, reset_backoff_begins_the_delays_again)
{
    struct scene *s = scene_create(NULL);
    s->f->sink.refuse = true;
    resolver_fixture_open(s->f, "merge:static:" A "|static:" B);
    virtual_loop_advance_ms(s->f->loop, 20000);
    evener_resolver_reset_backoff(s->f->resolver);
    virtual_loop_run_until_idle(s->f->loop);
    const size_t updates = s->f->sink.update_count;
    virtual_loop_advance_ms(s->f->loop, 1200);
    cr_assert_eq(s->f->sink.update_count, updates + 1);
    scene_destroy(s);
}

/* What was refused is not pushed when it is no longer valid, and an error is nothing to push again. */
Test(fallback, a_refused_list_that_is_gone_is_not_pushed_again)
{
    struct scene *s = scene_create("fallback:a:x|b:x");
    s->f->sink.refuse = true;
    push(s, s->a, A);
    s->f->sink.refuse = false;
    push(s, s->a, "");
    virtual_loop_advance_ms(s->f->loop, 4000);
    cr_assert_eq(s->f->sink.update_count, 1, "an answer of the second is waited for");
    scene_destroy(s);
    s = scene_create("fallback:a:x|b:x");
    s->f->sink.refuse = true;
    push(s, s->a, A);
    s->f->sink.refuse = false;
    push(s, s->a, "");
    fail(s, s->b, "broken");
    virtual_loop_advance_ms(s->f->loop, 4000);
    cr_assert_eq(s->f->sink.error_count, 1);
    cr_assert_eq(s->f->sink.update_count, 1);
    scene_destroy(s);
}

Test(compose, a_list_that_follows_a_refused_one_is_pushed_once)
{
    static const char *const targets[] = {"fallback:a:x|static:" B, "merge:a:x|static:" B};
    for (size_t i = 0; i < 2; i++) {
        struct scene *s = scene_create(targets[i]);
        s->f->sink.refuse = true;
        fail(s, s->a, "broken");
        s->f->sink.refuse = false;
        push(s, s->a, A);
        cr_assert_eq(s->f->sink.update_count, 2);
        virtual_loop_advance_ms(s->f->loop, 10000);
        cr_assert_eq(s->f->sink.update_count, 2);
        scene_destroy(s);
    }
}

Test(compose, close_while_a_list_is_refused)
{
    static const char *const targets[] = {"fallback:static:" A "|static:" B, "merge:static:" A "|static:" B};
    for (size_t i = 0; i < 2; i++) {
        struct scene *s = scene_create(NULL);
        s->f->sink.refuse = true;
        resolver_fixture_open(s->f, targets[i]);
        s->f->resolver->vtable->resolve_now(s->f->resolver);
        resolver_fixture_close(s->f);
        virtual_loop_advance_ms(s->f->loop, 2000);
        cr_assert_eq(s->f->sink.update_count, 1);
        scene_destroy(s);
    }
}

/* ---- a target that cannot be built again ---- */

static struct {
    const evener_resolver_builder *real;
    size_t built, fail_from, fail_to; /* builds with these numbers fail */
} faulty;

static evener_status_code faulty_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                       evener_resolver **resolver, evener_status *status)
{
    (void)builder;
    faulty.built++;
    return faulty.built >= faulty.fail_from && faulty.built <= faulty.fail_to
               ? evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "no memory today")
               : faulty.real->build(faulty.real, args, resolver, status);
}

static const evener_resolver_builder faulty_builder = {
    .size = sizeof faulty_builder, .scheme = "b", .build = faulty_build};

/* The second target is closed while the first serves; when it is needed again, its builds fail `failures` times. */
static struct scene *scene_with_unbuilt_target(size_t failures)
{
    struct scene *s = scene_create(NULL);
    faulty.real = s->own[1];
    faulty.built = 0;
    faulty.fail_from = 2;
    faulty.fail_to = 1 + failures;
    s->own[1] = &faulty_builder;
    resolver_fixture_open(s->f, "fallback:a:x|b:x");
    push(s, s->a, "");
    push(s, s->b, B);
    push(s, s->a, A);
    push(s, s->a, "");
    cr_assert_eq(faulty.built, 2);
    cr_assert_str_eq(s->f->sink.error.message, "fallback: no addresses; no memory today");
    return s;
}

Test(fallback, a_target_that_cannot_be_built_again_is_built_after_a_backoff)
{
    struct scene *s = scene_with_unbuilt_target(2);
    virtual_loop_advance_ms(s->f->loop, 799);
    cr_assert_eq(faulty.built, 2);
    virtual_loop_advance_ms(s->f->loop, 401);
    cr_assert_eq(faulty.built, 3);
    cr_assert_eq(s->f->sink.error_count, 2);
    virtual_loop_advance_ms(s->f->loop, 1920);
    cr_assert_eq(faulty.built, 4);
    cr_assert_str_eq(s->f->sink.addresses, B);
    virtual_loop_advance_ms(s->f->loop, 100000);
    cr_assert_eq(faulty.built, 4);
    scene_destroy(s);
}

Test(fallback, hints_build_a_target_that_could_not_be_built_again)
{
    for (size_t i = 0; i < 2; i++) {
        struct scene *s = scene_with_unbuilt_target(1);
        if (i == 0) {
            s->f->resolver->vtable->resolve_now(s->f->resolver);
        } else {
            evener_resolver_reset_backoff(s->f->resolver);
        }
        cr_assert_eq(faulty.built, 2, "never from inside");
        virtual_loop_run_until_idle(s->f->loop);
        cr_assert_eq(faulty.built, 3);
        cr_assert_str_eq(s->f->sink.addresses, B);
        scene_destroy(s);
    }
}

Test(fallback, a_target_that_is_not_needed_any_more_is_not_built)
{
    struct scene *s = scene_with_unbuilt_target(1);
    push(s, s->a, A);
    virtual_loop_advance_ms(s->f->loop, 100000);
    cr_assert_eq(faulty.built, 2);
    cr_assert_str_eq(s->f->sink.addresses, A);
    scene_destroy(s);
    s = scene_with_unbuilt_target(1);
    resolver_fixture_close(s->f);
    virtual_loop_advance_ms(s->f->loop, 100000);
    cr_assert_eq(faulty.built, 2);
    scene_destroy(s);
}

/* ---- a resolver with a mistake: NULL among its addresses ---- */

static const evener_resolver_builder mistaken_builder = {
    .size = sizeof mistaken_builder, .scheme = "b", .build = mistaken_resolver_build};

static bool push_mistake(size_t count, size_t null_at)
{
    evener_address *addresses[4];
    cr_assert_leq(count, 4);
    for (size_t i = 0; i < count; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "10.1.0.%zu:1", i);
        addresses[i] = NULL;
        cr_assert(i == null_at || evener_address_create(text, NULL, 0, &addresses[i], NULL) == EVENER_STATUS_OK);
    }
    const evener_resolver_update update = {.size = sizeof update, .addresses = addresses, .address_count = count};
    const bool accepted = evener_resolver_sink_update(mistaken_resolver_last_sink(), &update);
    for (size_t i = 0; i < count; i++) {
        evener_address_unref(addresses[i]);
    }
    return accepted;
}

Test(compose, a_target_that_pushes_null_keeps_its_last_list)
{
    struct scene *s = scene_create(NULL);
    s->own[1] = &mistaken_builder;
    resolver_fixture_open(s->f, "merge:a:x|b:x");
    push(s, s->a, A);
    cr_assert_not(push_mistake(3, 1));
    cr_assert_str_eq(s->f->sink.addresses, A, "it has failed, and the other serves");
    push(s, s->a, "");
    cr_assert_str_eq(s->f->sink.error.message, "merge: no addresses; its resolver pushed NULL as address 2");
    cr_assert(push_mistake(2, 9));
    cr_assert_str_eq(s->f->sink.addresses, "10.1.0.0:1,10.1.0.1:1");
    cr_assert_not(push_mistake(1, 0));
    cr_assert_str_eq(s->f->sink.error.message, "its resolver pushed NULL as address 1");
    push(s, s->a, A);
    cr_assert_str_eq(s->f->sink.addresses, A ",10.1.0.0:1,10.1.0.1:1");
    scene_destroy(s);
}
