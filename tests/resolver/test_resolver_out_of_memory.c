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
#include "tests/support/virtual_loop.h"

#define POLL_MS 5000

/* A sink that needs no memory. */
struct sink {
    evener_resolver_sink base;
    size_t address_count; /* of the last update */
    unsigned updates, errors;
};

static bool sink_update(evener_resolver_sink *base, const evener_resolver_update *update)
{
    struct sink *sink = (struct sink *)base;
    sink->address_count = update->address_count;
    sink->updates++;
    return true;
}

static void sink_error(evener_resolver_sink *base, const evener_status *status)
{
    cr_assert_eq(status->code, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s", status->message);
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
