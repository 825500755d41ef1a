/* Every allocation of the library fails in turn, alone or with all following ones, during a resolver's life. Nothing
 * crashes or leaks, and the list arrives when memory is available again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <evener/manual_resolver.h>
#include <evener/runtime.h>

#include "tests/support/failing_memory.h"
#include "tests/support/fake_dns_client.h"
#include "tests/support/resolver_fixture.h"
#include "tests/support/virtual_loop.h"

#define POLL_MS 5000

/* A sink that needs no memory. */
struct sink {
    evener_resolver_sink base;
    size_t address_count; /* of the last update */
    unsigned updates, empty, errors;
    bool has_config; /* the last update had a service config */
};

static bool sink_update(evener_resolver_sink *base, const evener_resolver_update *update)
{
    struct sink *sink = (struct sink *)base;
    sink->address_count = update->address_count;
    sink->has_config = update->service_config != NULL;
    sink->updates++;
    sink->empty += update->address_count == 0;
    return true;
}

static void sink_error(evener_resolver_sink *base, const evener_status *status)
{
    cr_assert(status->code == EVENER_STATUS_RESOURCE_EXHAUSTED || strstr(status->message, "out of memory") != NULL,
              "%s", status->message);
    ((struct sink *)base)->errors++;
}

static const evener_resolver_sink_vtable sink_vtable = {
    .size = sizeof sink_vtable, .update = sink_update, .error = sink_error};

static evener_manual_resolver *names; /* serves "dns" */
static char path[64];

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static void expect_ok_or_exhausted(evener_status_code code, const evener_status *status)
{
    cr_assert(code == EVENER_STATUS_OK || code == EVENER_STATUS_RESOURCE_EXHAUSTED, "%s", status->message);
}

/* Open the target, let allocations fail from a given one on, then let them succeed. */
static void live(const char *target_text, const char *changed, size_t expected, uint64_t fail_at, bool for_good,
                 uint64_t *allocations)
{
    const evener_resolver_builder *own[] = {evener_manual_resolver_builder(names)};
    const evener_resolver_set set = {.own = own, .own_count = 1};
    struct sink sink = {.base = {.vtable = &sink_vtable}};
    virtual_loop *loop = virtual_loop_create(1);
    const evener_runtime_options runtime_options = {.size = sizeof runtime_options, .loop = virtual_loop_loop(loop)};
    evener_runtime *runtime;
    cr_assert_eq(evener_runtime_create(&runtime_options, &runtime, NULL), EVENER_STATUS_OK);
    write_file("10.0.0.1:80 weight=2\nhost.test:80 zone=a\n");

    evener_target *target = NULL;
    evener_resolver *resolver = NULL;
    const evener_resolver_builder *builder = NULL;
    evener_status status;
    failing_memory_arm(fail_at, for_good);
    evener_status_code code = evener_resolver_lookup(&set, target_text, &target, &builder, &status);
    expect_ok_or_exhausted(code, &status);
    if (code == EVENER_STATUS_OK) {
        const evener_resolver_args args = {
            .size = sizeof args,
            .target = target,
            .sink = &sink.base,
            .runtime = runtime,
            .loop = virtual_loop_loop(loop),
            .resolvers = &set,
        };
        code = builder->build(builder, &args, &resolver, &status);
        expect_ok_or_exhausted(code, &status);
    }
    if (code == EVENER_STATUS_OK) {
        resolver->vtable->start(resolver);
        virtual_loop_advance_ms(loop, POLL_MS);
        expect_ok_or_exhausted(evener_manual_resolver_set(names, "10.0.1.1:80,10.0.1.2:80;x=y", "{}", &status),
                               &status);
        virtual_loop_run_until_idle(loop);
    }
    *allocations = failing_memory_disarm();

    if (code == EVENER_STATUS_OK) {
        write_file(changed);
        cr_assert_eq(evener_manual_resolver_set(names, "10.0.1.1:80,10.0.1.2:80", NULL, &status), EVENER_STATUS_OK);
        virtual_loop_advance_ms(loop, 2 * POLL_MS);
        cr_assert_eq(sink.address_count, expected, "allocation %lu%s: %zu addresses", (unsigned long)fail_at,
                     for_good ? " and on" : "", sink.address_count);
        resolver->vtable->close(resolver);
    }
    evener_target_destroy(target);
    virtual_loop_run_until_idle(loop);
    evener_runtime_unref(runtime);
    virtual_loop_destroy(loop);
}

static void fail_in_turn(const char *target, const char *changed, size_t expected)
{
    uint64_t allocations = 0;
    live(target, changed, expected, 0, false, &allocations);
    cr_assert_gt(allocations, 3);
    for (int for_good = 0; for_good < 2; for_good++) {
        uint64_t fail_at = 0;
        do {
            fail_at++;
            live(target, changed, expected, fail_at, for_good == 1, &allocations);
        } while (allocations >= fail_at); /* otherwise the run ended before this allocation */
        cr_assert_gt(fail_at, 3);
    }
}

static void set_up(void)
{
    snprintf(path, sizeof path, "/tmp/evener-memory-%ld", (long)getpid());
    cr_assert_eq(evener_manual_resolver_create("dns", &names, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_manual_resolver_set(names, "10.0.1.1:80", NULL, NULL), EVENER_STATUS_OK);
}

static void tear_down(void)
{
    evener_manual_resolver_destroy(names);
    unlink(path);
}

TestSuite(resolver_out_of_memory, .init = set_up, .fini = tear_down);

Test(resolver_out_of_memory, static_list)
{
    fail_in_turn("static:10.0.0.1:80;weight=3;zone=a,10.0.0.2:80", "", 2);
}

Test(resolver_out_of_memory, manual)
{
    fail_in_turn("dns:///x", "", 2);
}

Test(resolver_out_of_memory, file_with_other_content_afterwards)
{
    char target[96];
    snprintf(target, sizeof target, "file://%s", path);
    fail_in_turn(target, "10.0.0.1:80\n10.0.0.2:80 a=b\nhost.test:80 zone=b\n", 4);
}

/* A failure by lack of memory is retried although the file is unchanged. */
Test(resolver_out_of_memory, file_with_the_same_content_afterwards)
{
    char target[96];
    snprintf(target, sizeof target, "file://%s", path);
    fail_in_turn(target, "10.0.0.1:80 weight=2\nhost.test:80 zone=a\n", 3);
}

/* ---- DNS with scripted answers ---- */

#define SERVICE "_grpc._tcp.orders.prod"

enum moment {
    START,           /* allocations fail during start() only */
    START_AND_AFTER, /* also while the first answers arrive */
    START_OF_SECOND, /* during start() of a second resolver, for which the answers are known already */
};

static fake_dns_client dns;

/* As live(); the answers never change, and are valid for longer than the test lasts. */
static void live_with_dns(const char *target_text, size_t expected, enum moment moment, uint64_t fail_at, bool for_good,
                          uint64_t *allocations)
{
    const evener_attribute option = {"dns.txt_service_config", "true"};
    struct sink sink = {.base = {.vtable = &sink_vtable}};
    virtual_loop *loop = virtual_loop_create(1);
    const evener_runtime_options runtime_options = {.size = sizeof runtime_options, .loop = virtual_loop_loop(loop)};
    evener_runtime *runtime;
    evener_target *target;
    evener_resolver *resolver, *first = NULL;
    const evener_resolver_builder *builder;
    struct sink first_sink = {.base = {.vtable = &sink_vtable}};
    cr_assert_eq(evener_runtime_create(&runtime_options, &runtime, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_resolver_lookup(&dns.set, target_text, &target, &builder, NULL), EVENER_STATUS_OK);
    evener_resolver_args args = {
        .size = sizeof args,
        .target = target,
        .sink = &first_sink.base,
        .runtime = runtime,
        .loop = virtual_loop_loop(loop),
        .default_port = 80,
        .options = &option,
        .option_count = 1,
        .resolvers = &dns.set,
    };
    if (moment == START_OF_SECOND) {
        cr_assert_eq(builder->build(builder, &args, &first, NULL), EVENER_STATUS_OK);
        first->vtable->start(first);
        virtual_loop_run_until_idle(loop);
        cr_assert_eq(first_sink.address_count, expected);
    }
    args.sink = &sink.base;
    cr_assert_eq(builder->build(builder, &args, &resolver, NULL), EVENER_STATUS_OK);

    failing_memory_arm(fail_at, for_good);
    resolver->vtable->start(resolver);
    if (moment == START_AND_AFTER) {
        virtual_loop_advance_ms(loop, POLL_MS);
    }
    *allocations = failing_memory_disarm();

    virtual_loop_advance_ms(loop, 2 * POLL_MS);
    cr_assert_eq(sink.address_count, expected, "allocation %lu%s: %zu addresses", (unsigned long)fail_at,
                 for_good ? " and on" : "", sink.address_count);
    cr_assert_eq(sink.empty, 0, "allocation %lu%s: lack of memory is no empty list", (unsigned long)fail_at,
                 for_good ? " and on" : "");
    cr_assert(sink.has_config, "allocation %lu%s: the service config is missing", (unsigned long)fail_at,
              for_good ? " and on" : "");
    resolver->vtable->close(resolver);
    if (first != NULL) {
        first->vtable->close(first);
    }
    cr_assert_eq(dns.in_flight, 0);
    evener_target_destroy(target);
    virtual_loop_run_until_idle(loop);
    evener_runtime_unref(runtime);
    virtual_loop_destroy(loop);
}

static void fail_in_turn_with_dns(const char *target, size_t expected)
{
    fake_dns_client_init(&dns);
    fake_dns_set(&dns, EVENER_DNS_A, "a.prod", "10.0.0.1,10.0.0.2", 36000);
    fake_dns_set(&dns, EVENER_DNS_A, "b.prod", "10.0.0.3", 36000);
    fake_dns_set(&dns, EVENER_DNS_SRV, SERVICE, "0 1 80 a.prod,0 1 80 b.prod", 36000);
    fake_dns_set(&dns, EVENER_DNS_SRV, "_one._tcp.b", "0 1 80 b.prod", 36000);
    static const char *const configured[] = {"a.prod", SERVICE, "_one._tcp.b"};
    for (size_t i = 0; i < sizeof configured / sizeof configured[0]; i++) {
        char txt[64];
        (void)snprintf(txt, sizeof txt, "_grpc_config.%s", configured[i]);
        fake_dns_set(&dns, EVENER_DNS_TXT, txt, "grpc_config=[{\"serviceConfig\":{}}]", 36000);
    }
    static const enum moment moments[] = {START, START_AND_AFTER, START_OF_SECOND};
    for (int run = 0; run < 6; run++) {
        const enum moment moment = moments[run / 2];
        uint64_t fail_at = 0, allocations;
        do {
            fail_at++;
            live_with_dns(target, expected, moment, fail_at, run % 2 == 1, &allocations);
        } while (allocations >= fail_at);
        cr_assert_gt(fail_at, 3);
    }
}

Test(resolver_out_of_memory, dns_name)
{
    fail_in_turn_with_dns("dns:///a.prod", 2);
}

Test(resolver_out_of_memory, srv_with_two_targets)
{
    fail_in_turn_with_dns("srv:///" SERVICE, 3);
}

/* Its only target cannot be added or watched: that is no empty list. */
Test(resolver_out_of_memory, srv_with_one_target)
{
    fail_in_turn_with_dns("srv:///_one._tcp.b", 1);
}

/* A start that failed is tried again at once when a hint comes, but not from inside: the caller may be in a push. */
Test(resolver_out_of_memory, hints_start_what_could_not_be_started)
{
    static const char *const targets[] = {"dns:///b.prod", "srv:///_one._tcp.b"};
    for (size_t i = 0; i < 4; i++) {
        fake_dns_client_init(&dns);
        fake_dns_set(&dns, EVENER_DNS_A, "b.prod", "10.0.0.3", 36000);
        fake_dns_set(&dns, EVENER_DNS_SRV, "_one._tcp.b", "0 1 80 b.prod", 36000);
        resolver_fixture *f = resolver_fixture_create();
        f->set = dns.set;
        cr_assert_eq(resolver_fixture_build(f, targets[i / 2]), EVENER_STATUS_OK);
        failing_memory_arm(1, true);
        f->resolver->vtable->start(f->resolver);
        (void)failing_memory_disarm();
        virtual_loop_run_until_idle(f->loop);
        cr_assert_eq(f->sink.error_count, 1);
        cr_assert_eq(dns.asked, 0);
        if (i % 2 == 0) {
            f->resolver->vtable->resolve_now(f->resolver);
        } else {
            evener_resolver_reset_backoff(f->resolver);
        }
        cr_assert_eq(dns.asked, 0);
        virtual_loop_run_until_idle(f->loop);
        cr_assert_eq(f->sink.address_count, 1);
        resolver_fixture_destroy(f);
    }
}

Test(resolver_out_of_memory, closed_before_a_start_that_failed_is_tried_again)
{
    static const char *const targets[] = {"dns:///b.prod", "srv:///_one._tcp.b"};
    const evener_attribute option = {"dns.txt_service_config", "true"};
    for (size_t i = 0; i < 2; i++) {
        fake_dns_client_init(&dns);
        resolver_fixture *f = resolver_fixture_create();
        f->set = dns.set;
        f->options = &option;
        f->option_count = 1;
        cr_assert_eq(resolver_fixture_build(f, targets[i]), EVENER_STATUS_OK);
        failing_memory_arm(1, true);
        f->resolver->vtable->start(f->resolver);
        (void)failing_memory_disarm();
        resolver_fixture_close(f);
        virtual_loop_advance_ms(f->loop, 10000);
        cr_assert_eq(dns.asked, 0);
        resolver_fixture_destroy(f);
    }
}
