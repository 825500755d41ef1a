#include <string.h>

#include <criterion/criterion.h>
#include <stddef.h>

#include <evener/manual_resolver.h>

#include "tests/support/resolver_fixture.h"

struct scene {
    resolver_fixture *f;
    evener_manual_resolver *manual;
    const evener_resolver_builder *own[1];
};

static void scene_init(struct scene *scene)
{
    evener_status status;
    scene->f = resolver_fixture_create();
    cr_assert_eq(evener_manual_resolver_create("dns", &scene->manual, &status), EVENER_STATUS_OK, "%s", status.message);
    scene->own[0] = evener_manual_resolver_builder(scene->manual);
    scene->f->set = (evener_resolver_set){.own = scene->own, .own_count = 1};
}

static void scene_clear(struct scene *scene)
{
    evener_manual_resolver_destroy(scene->manual);
    resolver_fixture_destroy(scene->f);
}

static void set(struct scene *scene, const char *addresses)
{
    evener_status status;
    cr_assert_eq(evener_manual_resolver_set(scene->manual, addresses, NULL, &status), EVENER_STATUS_OK, "%s",
                 status.message);
}

static void error(struct scene *scene, const char *message)
{
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "%s", message);
    evener_manual_resolver_error(scene->manual, &status);
}

Test(manual, push_arrives_on_the_control_thread)
{
    struct scene s;
    scene_init(&s);
    resolver_fixture_open(s.f, "dns:///x");
    cr_assert_eq(s.f->sink.update_count, 0);
    set(&s, "10.0.0.1:80;weight=3");
    cr_assert_eq(s.f->sink.update_count, 0);
    virtual_loop_run_until_idle(s.f->loop);
    cr_assert_eq(s.f->sink.update_count, 1);
    cr_assert_str_eq(s.f->sink.addresses, "10.0.0.1:80;weight=3");
    cr_assert_str_eq(s.f->sink.source, "manual");
    scene_clear(&s);
}

Test(manual, everything_of_an_update_arrives)
{
    struct scene s;
    scene_init(&s);
    resolver_fixture_open(s.f, "dns:///x");
    evener_address *address;
    evener_status wrong;
    cr_assert_eq(evener_address_create("10.0.0.1:80", NULL, 0, &address, NULL), EVENER_STATUS_OK);
    evener_status_set(&wrong, EVENER_STATUS_INTERNAL, "no TXT");
    char config[] = "{}", source[] = "mine";
    const evener_resolver_update update = {
        .size = sizeof update,
        .addresses = &address,
        .address_count = 1,
        .service_config = config,
        .service_config_error = &wrong,
        .ttl_ms = 2000,
        .source = source,
    };
    cr_assert_eq(evener_manual_resolver_update(s.manual, &update, NULL), EVENER_STATUS_OK);
    evener_address_unref(address);
    config[0] = source[0] = wrong.message[0] = 'X'; /* the arguments are copied */
    virtual_loop_run_until_idle(s.f->loop);
    cr_assert_str_eq(s.f->sink.addresses, "10.0.0.1:80");
    cr_assert_str_eq(s.f->sink.service_config, "{}");
    cr_assert_str_eq(s.f->sink.service_config_error.message, "no TXT");
    cr_assert_str_eq(s.f->sink.source, "mine");
    cr_assert_eq(s.f->sink.ttl_ms, 2000);
    scene_clear(&s);
}

/* A program built against a version without `ttl_ms`. */
Test(manual, an_older_update_is_taken_as_far_as_it_goes)
{
    struct scene s;
    scene_init(&s);
    resolver_fixture_open(s.f, "dns:///x");
    evener_address *address;
    evener_status status;
    cr_assert_eq(evener_address_create("10.0.0.1:80", NULL, 0, &address, NULL), EVENER_STATUS_OK);
    const evener_resolver_update update = {
        .size = offsetof(evener_resolver_update, ttl_ms),
        .addresses = &address,
        .address_count = 1,
        .service_config = "{}",
        .ttl_ms = 2000,
        .source = (const char *)(uintptr_t)1, /* not read */
    };
    cr_assert_eq(evener_manual_resolver_update(s.manual, &update, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_address_unref(address);
    virtual_loop_run_until_idle(s.f->loop);
    cr_assert_str_eq(s.f->sink.addresses, "10.0.0.1:80");
    cr_assert_str_eq(s.f->sink.service_config, "{}");
    cr_assert_eq(s.f->sink.ttl_ms, 0);
    scene_clear(&s);
}

Test(manual, last_push_is_given_to_a_channel_that_starts_later)
{
    struct scene s;
    scene_init(&s);
    set(&s, "10.0.0.1:80");
    set(&s, "10.0.0.2:80");
    resolver_fixture_open(s.f, "dns:///x");
    cr_assert_eq(s.f->sink.update_count, 1);
    cr_assert_str_eq(s.f->sink.addresses, "10.0.0.2:80");
    resolver_fixture_open(s.f, "dns:///x"); /* starts again */
    cr_assert_eq(s.f->sink.update_count, 2);
    error(&s, "broken");
    resolver_fixture_open(s.f, "dns:///x");
    cr_assert_eq(s.f->sink.update_count, 3);
    cr_assert_eq(s.f->sink.error_count, 1);
    cr_assert(s.f->sink.last_was_error);
    scene_clear(&s);
}

Test(manual, pushes_join_while_the_loop_is_behind)
{
    struct scene s;
    scene_init(&s);
    resolver_fixture_open(s.f, "dns:///x");
    set(&s, "10.0.0.1:80");
    set(&s, "10.0.0.2:80");
    error(&s, "one");
    error(&s, "two");
    virtual_loop_run_until_idle(s.f->loop);
    cr_assert_eq(s.f->sink.update_count, 1);
    cr_assert_str_eq(s.f->sink.addresses, "10.0.0.2:80");
    cr_assert_eq(s.f->sink.error_count, 1, "an error after an update does not replace it");
    cr_assert_str_eq(s.f->sink.error.message, "two");
    cr_assert(s.f->sink.last_was_error);

    error(&s, "three");
    set(&s, "10.0.0.3:80");
    virtual_loop_run_until_idle(s.f->loop);
    cr_assert_eq(s.f->sink.error_count, 1, "an update replaces an error before it");
    cr_assert_str_eq(s.f->sink.addresses, "10.0.0.3:80");
    cr_assert(!s.f->sink.last_was_error);
    scene_clear(&s);
}

static void push_one_more(void *arg)
{
    struct scene *s = arg;
    if (s->f->sink.update_count == 1) {
        set(s, "10.0.0.2:80");
        s->f->resolver->vtable->resolve_now(s->f->resolver);
    }
}

Test(manual, push_from_inside_a_push_comes_after_it)
{
    struct scene s;
    scene_init(&s);
    s.f->sink.on_push = push_one_more;
    s.f->sink.on_push_arg = &s;
    resolver_fixture_open(s.f, "dns:///x");
    set(&s, "10.0.0.1:80");
    virtual_loop_run_until_idle(s.f->loop);
    cr_assert_eq(s.f->sink.update_count, 2);
    cr_assert_str_eq(s.f->sink.addresses, "10.0.0.2:80");
    cr_assert_eq(evener_manual_resolver_resolve_now_count(s.manual), 1);
    scene_clear(&s);
}

Test(manual, empty_list_is_an_answer)
{
    struct scene s;
    scene_init(&s);
    resolver_fixture_open(s.f, "dns:///x");
    set(&s, "");
    virtual_loop_run_until_idle(s.f->loop);
    cr_assert_eq(s.f->sink.update_count, 1);
    cr_assert_eq(s.f->sink.address_count, 0);
    scene_clear(&s);
}

Test(manual, closed_channel_hears_nothing_and_memory_goes_with_the_last_user)
{
    struct scene s;
    scene_init(&s);
    resolver_fixture_open(s.f, "dns:///x");
    set(&s, "10.0.0.1:80");
    resolver_fixture_close(s.f); /* with the task posted */
    virtual_loop_run_until_idle(s.f->loop);
    cr_assert_eq(s.f->sink.update_count, 0);

    resolver_fixture_open(s.f, "dns:///x");
    set(&s, "10.0.0.2:80");
    evener_manual_resolver_destroy(s.manual);
    s.manual = NULL;
    virtual_loop_run_until_idle(s.f->loop);
    cr_assert_str_eq(s.f->sink.addresses, "10.0.0.2:80");
    scene_clear(&s);
}

/* include/evener/resolver.h: a resolver whose update is not accepted backs off and retries. */
Test(manual, a_refused_update_is_given_again_until_it_is_accepted)
{
    struct scene s;
    scene_init(&s);
    s.f->sink.refuse = true;
    resolver_fixture_open(s.f, "dns:///x");
    set(&s, "10.0.0.1:80");
    virtual_loop_advance_ms(s.f->loop, 500);
    cr_assert_eq(s.f->sink.update_count, 1);
    virtual_loop_advance_ms(s.f->loop, 750);
    cr_assert_eq(s.f->sink.update_count, 2);
    virtual_loop_advance_ms(s.f->loop, 2000);
    cr_assert_eq(s.f->sink.update_count, 3);
    s.f->sink.refuse = false;
    virtual_loop_advance_ms(s.f->loop, 3200);
    cr_assert_eq(s.f->sink.update_count, 4);
    virtual_loop_advance_ms(s.f->loop, 1000000);
    cr_assert_eq(s.f->sink.update_count, 4, "it was accepted");
    s.f->sink.refuse = true;
    set(&s, "10.0.0.2:80");
    virtual_loop_advance_ms(s.f->loop, 1250);
    cr_assert_eq(s.f->sink.update_count, 6, "the intervals are short again");
    scene_clear(&s);
}

Test(manual, an_error_after_a_refused_update_stays_the_newest)
{
    struct scene s;
    scene_init(&s);
    s.f->sink.refuse = true;
    resolver_fixture_open(s.f, "dns:///x");
    set(&s, "10.0.0.1:80");
    virtual_loop_run_until_idle(s.f->loop);
    error(&s, "gone");
    virtual_loop_run_until_idle(s.f->loop);
    cr_assert_eq(s.f->sink.update_count, 1);
    virtual_loop_advance_ms(s.f->loop, 1250);
    cr_assert_eq(s.f->sink.update_count, 2);
    cr_assert_eq(s.f->sink.error_count, 2);
    cr_assert(s.f->sink.last_was_error);
    scene_clear(&s);
}

Test(manual, a_refused_update_is_given_again_when_asked_for)
{
    struct scene s;
    scene_init(&s);
    resolver_fixture_open(s.f, "dns:///x");
    evener_resolver *resolver = s.f->resolver;
    set(&s, "10.0.0.1:80");
    virtual_loop_run_until_idle(s.f->loop);
    resolver->vtable->resolve_now(resolver);
    evener_resolver_reset_backoff(resolver);
    virtual_loop_run_until_idle(s.f->loop);
    cr_assert_eq(s.f->sink.update_count, 1, "it was accepted");
    s.f->sink.refuse = true;
    set(&s, "10.0.0.2:80");
    virtual_loop_run_until_idle(s.f->loop);
    resolver->vtable->resolve_now(resolver);
    cr_assert_eq(s.f->sink.update_count, 2, "never from inside resolve_now()");
    virtual_loop_run_until_idle(s.f->loop);
    cr_assert_eq(s.f->sink.update_count, 3);
    virtual_loop_advance_ms(s.f->loop, 1000000);
    const size_t pushes = s.f->sink.update_count;
    evener_resolver_reset_backoff(resolver);
    virtual_loop_run_until_idle(s.f->loop);
    cr_assert_eq(s.f->sink.update_count, pushes + 1);
    virtual_loop_advance_ms(s.f->loop, 1250);
    cr_assert_eq(s.f->sink.update_count, pushes + 2, "the intervals are short again");
    resolver->vtable->resolve_now(resolver);
    resolver_fixture_close(s.f);
    virtual_loop_run_until_idle(s.f->loop);
    cr_assert_eq(s.f->sink.update_count, pushes + 2);
    scene_clear(&s);
}

Test(manual, built_but_never_started)
{
    struct scene s;
    scene_init(&s);
    cr_assert_eq(resolver_fixture_build(s.f, "dns:///x"), EVENER_STATUS_OK);
    set(&s, "10.0.0.1:80");
    virtual_loop_run_until_idle(s.f->loop);
    cr_assert_eq(s.f->sink.update_count, 0);
    scene_clear(&s);
}

Test(manual, nonsense_is_refused_and_nothing_is_pushed)
{
    struct scene s;
    scene_init(&s);
    resolver_fixture_open(s.f, "dns:///x");
    evener_status status;
    evener_address *nothing[] = {NULL};
    const evener_resolver_update with_null = {.size = sizeof with_null, .addresses = nothing, .address_count = 1};
    const evener_resolver_update no_list = {.size = sizeof no_list, .address_count = 1};
    const evener_resolver_update too_many = {
        .size = sizeof too_many, .addresses = nothing, .address_count = EVENER_RESOLVER_ADDRESSES_MAX + 1};
    const evener_resolver_update no_size = {.addresses = nothing};
    cr_assert_eq(evener_manual_resolver_update(s.manual, &with_null, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(status.message, "address 1 of 1 is NULL"));
    cr_assert_eq(evener_manual_resolver_update(s.manual, &no_list, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(evener_manual_resolver_update(s.manual, &too_many, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(evener_manual_resolver_update(s.manual, &no_size, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(status.message, "sizeof(evener_resolver_update)"), "%s", status.message);
    cr_assert_eq(evener_manual_resolver_update(s.manual, NULL, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(evener_manual_resolver_set(s.manual, NULL, NULL, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(evener_manual_resolver_set(s.manual, "10.0.0.1:80,host:80", NULL, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(status.message, "item 2"));
    evener_manual_resolver_error(s.manual, NULL);
    virtual_loop_run_until_idle(s.f->loop);
    cr_assert_eq(s.f->sink.update_count + s.f->sink.error_count, 0);

    evener_manual_resolver *manual;
    cr_assert_eq(evener_manual_resolver_create(NULL, &manual, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(evener_manual_resolver_create("Bad", &manual, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(evener_manual_resolver_create("x", NULL, &status), EVENER_STATUS_INVALID_ARGUMENT);
    scene_clear(&s);
}
