/* The handle of a manual resolver may be destroyed at any time: its channels keep the last update. ASan checks the
 * lifetimes. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <evener/factory.h>

#include "tests/support/channel_fixture.h"

#define A "127.0.0.1:1001"
#define B "127.0.0.1:1002"
#define IDLE_MS 60000

static fixture *open_channel(void)
{
    return fixture_create(&(evener_channel_options){.policy = "round_robin", .idle_timeout_ms = IDLE_MS});
}

static void destroy_handle(fixture *f)
{
    evener_manual_resolver_destroy(f->resolver);
    f->resolver = NULL;
}

static void push(fixture *f, const char *addresses)
{
    evener_status status;
    cr_assert_eq(evener_manual_resolver_set(f->resolver, addresses, NULL, &status), EVENER_STATUS_OK, "%s",
                 status.message);
}

/* The channel closes its resolver, and builds another one for the next pick. */
static void expect_serves_after_idleness(fixture *f, const char *address)
{
    for (int i = 0; i < 3; i++) {
        virtual_loop_advance_ms(f->loop, 2 * IDLE_MS + 1);
        cr_assert_eq(evener_channel_state(f->channel, false), EVENER_IDLE);
        cr_expect_str_eq(fixture_pick(f), "queue");
        virtual_loop_run_until_idle(f->loop);
        cr_expect_str_eq(fixture_pick(f), address);
    }
}

Test(manual_life, destroyed_before_the_channel_resolves)
{
    fixture *f = open_channel();
    push(f, A);
    destroy_handle(f);
    fixture_connect(f);
    cr_expect_str_eq(fixture_pick(f), A);
    expect_serves_after_idleness(f, A);
    fixture_destroy(f);
}

Test(manual_life, destroyed_while_the_channel_serves)
{
    fixture *f = open_channel();
    fixture_push(f, A);
    fixture_connect(f);
    cr_expect_str_eq(fixture_pick(f), A);
    push(f, B); /* pending while the handle is destroyed */
    destroy_handle(f);
    virtual_loop_run_until_idle(f->loop);
    cr_expect_str_eq(fixture_pick(f), B);
    expect_serves_after_idleness(f, B);
    fixture_destroy(f);
}

Test(manual_life, destroyed_while_the_channel_is_idle)
{
    fixture *f = open_channel();
    fixture_push(f, A);
    fixture_connect(f);
    virtual_loop_advance_ms(f->loop, 2 * IDLE_MS + 1);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_IDLE);
    push(f, B);
    destroy_handle(f);
    expect_serves_after_idleness(f, B);
    fixture_destroy(f);
}

Test(manual_life, destroyed_after_the_channel_is_closed)
{
    fixture *f = open_channel();
    fixture_push(f, A);
    fixture_connect(f);
    evener_channel_close(f->channel);
    virtual_loop_run_until_idle(f->loop);
    push(f, B);
    destroy_handle(f);
    virtual_loop_run_until_idle(f->loop);
    cr_expect_str_eq(fixture_pick(f), "UNAVAILABLE: channel closed");
    fixture_destroy(f);
}

Test(manual_life, destroyed_without_a_push_the_channel_waits_on)
{
    fixture *f = open_channel();
    destroy_handle(f);
    fixture_connect(f);
    cr_expect_str_eq(fixture_pick(f), "queue");
    virtual_loop_advance_ms(f->loop, 10 * IDLE_MS);
    cr_expect_str_eq(fixture_pick(f), "queue");
    fixture_destroy(f);
}

/* A composite resolver looks the builder up again for each child. */
Test(manual_life, destroyed_under_a_fallback)
{
    fixture *f = open_channel();
    evener_status status;
    destroy_handle(f);
    cr_assert_eq(evener_manual_resolver_create("dns", &f->resolver, &status), EVENER_STATUS_OK);
    const evener_resolver_builder *own[] = {evener_manual_resolver_builder(f->resolver)};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = f->runtime,
                                            .transport = fake_transport_transport(f->transport),
                                            .policy = "round_robin",
                                            .resolvers = own,
                                            .resolver_count = 1,
                                            .idle_timeout_ms = IDLE_MS};
    evener_channel *first = f->channel;
    cr_assert_eq(evener_channel_create("fallback:dns:///x|static:" B, &options, &f->channel, &status), EVENER_STATUS_OK,
                 "%s", status.message);
    evener_channel_unref(first);
    push(f, A);
    destroy_handle(f);
    fixture_connect(f);
    cr_expect_str_eq(fixture_pick(f), A);
    expect_serves_after_idleness(f, A);
    fixture_destroy(f);
}

/* A factory creates channels with its builders as long as it is open. */
Test(manual_life, destroyed_before_a_factory_makes_another_channel)
{
    fixture *f = open_channel();
    char path[] = "/tmp/evener-manual-XXXXXX";
    const int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs("channels = { };\n", file);
    fclose(file);
    const evener_resolver_builder *own[] = {evener_manual_resolver_builder(f->resolver)};
    const evener_factory_options options = {.size = sizeof options,
                                            .runtime = f->runtime,
                                            .transport = fake_transport_transport(f->transport),
                                            .resolvers = own,
                                            .resolver_count = 1};
    evener_factory *factory;
    evener_status status;
    cr_assert_eq(evener_factory_open(path, &options, &factory, &status), EVENER_STATUS_OK, "%s", status.message);
    push(f, A);
    destroy_handle(f);
    evener_channel_unref(f->channel); /* only the factory has the builder */
    virtual_loop_run_until_idle(f->loop);
    file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs("channels = { a = { target = \"orders:///x\"; credentials = \"insecure\"; policy = \"round_robin\"; }; };\n",
          file);
    fclose(file);
    cr_assert_eq(evener_factory_reload(factory, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_factory_channel(factory, "a", &f->channel, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_factory_close(factory);
    fixture_connect(f);
    cr_expect_str_eq(fixture_pick(f), A);
    fixture_destroy(f);
    unlink(path);
}

Test(manual_life, destroyed_after_it_was_registered_for_the_process)
{
    fixture *f = open_channel();
    evener_status status;
    evener_manual_resolver *manual;
    cr_assert_eq(evener_manual_resolver_create("elsewhere", &manual, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_resolver_register(evener_manual_resolver_builder(manual), &status), EVENER_STATUS_OK, "%s",
                 status.message);
    cr_assert_eq(evener_manual_resolver_set(manual, A, NULL, &status), EVENER_STATUS_OK);
    evener_manual_resolver_destroy(manual);
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = f->runtime,
                                            .transport = fake_transport_transport(f->transport),
                                            .policy = "round_robin"};
    evener_channel_unref(f->channel);
    cr_assert_eq(evener_channel_create("elsewhere:///x", &options, &f->channel, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    fixture_connect(f);
    cr_expect_str_eq(fixture_pick(f), A);
    fixture_destroy(f);
}

/* ---- counted builders ---- */

static int references;

static void count_ref(const evener_resolver_builder *builder)
{
    (void)builder;
    references++;
}

static void count_unref(const evener_resolver_builder *builder)
{
    (void)builder;
    references--;
}

static evener_status_code build_nothing(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                        evener_resolver **resolver, evener_status *status)
{
    (void)args;
    (void)resolver;
    return evener_status_set(status, EVENER_STATUS_UNAVAILABLE, "%s is not built", builder->scheme);
}

static evener_status_code refuse_target(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                        evener_status *status)
{
    (void)args;
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s is refused", builder->scheme);
}

static int references_after(evener_resolver_builder builder, evener_status_code expected)
{
    fixture *f = open_channel();
    const evener_resolver_builder *own[] = {&builder};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = f->runtime,
                                            .transport = fake_transport_transport(f->transport),
                                            .resolvers = own,
                                            .resolver_count = 1};
    evener_channel *channel = NULL;
    evener_status status;
    references = 0;
    cr_assert_eq(evener_channel_create("mine:///x", &options, &channel, &status), expected, "%s", status.message);
    const int held = references;
    evener_channel_unref(channel);
    virtual_loop_run_until_idle(f->loop);
    cr_expect_eq(references, 0, "every reference comes back");
    fixture_destroy(f);
    return held;
}

Test(manual_life, a_channel_holds_one_reference_of_each_builder)
{
    evener_resolver_builder mine = {
        .size = sizeof mine, .scheme = "mine", .build = build_nothing, .ref = count_ref, .unref = count_unref};
    cr_expect_eq(references_after(mine, EVENER_STATUS_OK), 1);
    mine.check = refuse_target;
    cr_expect_eq(references_after(mine, EVENER_STATUS_INVALID_ARGUMENT), 0);
    /* A program built against a version without reference counts. */
    mine.check = NULL;
    mine.size = offsetof(evener_resolver_builder, ref);
    cr_expect_eq(references_after(mine, EVENER_STATUS_OK), 0);
    evener_status status;
    cr_expect_eq(evener_resolver_register(&mine, &status), EVENER_STATUS_OK, "%s", status.message);
}
