/* fallback: and merge: over manual resolvers on the virtual loop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <evener/manual_resolver.h>

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
