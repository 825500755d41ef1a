/* file: on a virtual loop, where only the poll timer detects a change. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <evener/manual_resolver.h>

#include "resolver/file_read.h"
#include "tests/support/mistaken_resolver.h"
#include "tests/support/resolver_fixture.h"

#define POLL_MS 5000

/* ---- a directory with a file, and names with scripted results ---- */

#define NAMES 2

static struct {
    resolver_fixture *f;
    char directory[64];
    char path[128];
    char target[160];
    const char *names[NAMES];
    evener_manual_resolver *answers[NAMES];
    const evener_resolver_builder *own[1];
    unsigned built;
} s;

static evener_status_code build_name(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                     evener_resolver **resolver, evener_status *status)
{
    (void)builder;
    for (int i = 0; i < NAMES; i++) {
        if (strcmp(s.names[i], evener_target_endpoint(args->target)) == 0) {
            const evener_resolver_builder *manual = evener_manual_resolver_builder(s.answers[i]);
            s.built++;
            return manual->build(manual, args, resolver, status);
        }
    }
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "no such name in the test");
}

static const evener_resolver_builder names_builder = {
    .size = sizeof names_builder, .scheme = "dns", .build = build_name};

static void set_up(void)
{
    s.f = resolver_fixture_create();
    strcpy(s.directory, "/tmp/evener-file-XXXXXX");
    cr_assert_not_null(mkdtemp(s.directory));
    snprintf(s.path, sizeof s.path, "%s/list", s.directory);
    snprintf(s.target, sizeof s.target, "file://%s", s.path);
    s.names[0] = "a.test:80";
    s.names[1] = "b.test:81";
    for (int i = 0; i < NAMES; i++) {
        cr_assert_eq(evener_manual_resolver_create("dns", &s.answers[i], NULL), EVENER_STATUS_OK);
    }
    s.own[0] = &names_builder;
    s.f->set = (evener_resolver_set){.own = s.own, .own_count = 1};
}

static void tear_down(void)
{
    resolver_fixture_destroy(s.f);
    for (int i = 0; i < NAMES; i++) {
        evener_manual_resolver_destroy(s.answers[i]);
    }
    unlink(s.path);
    rmdir(s.directory);
}

TestSuite(file, .init = set_up, .fini = tear_down);

static void write_file(const char *text)
{
    FILE *file = fopen(s.path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static void answer(int name, const char *addresses)
{
    cr_assert_eq(evener_manual_resolver_set(s.answers[name], addresses, NULL, NULL), EVENER_STATUS_OK);
    virtual_loop_run_until_idle(s.f->loop);
    virtual_loop_advance_ms(s.f->loop, 10); /* answers that come together are pushed together */
}

static void poll_once(void)
{
    virtual_loop_advance_ms(s.f->loop, POLL_MS);
}

static void expect_addresses(const char *addresses)
{
    cr_assert(!s.f->sink.last_was_error, "%s", s.f->sink.error.message);
    cr_assert_str_eq(s.f->sink.addresses, addresses);
}

static void expect_error(const char *part)
{
    cr_assert(s.f->sink.last_was_error);
    cr_assert_not_null(strstr(s.f->sink.error.message, part), "%s", s.f->sink.error.message);
}

/* ---- file content ---- */

Test(file, list_is_pushed_at_the_start)
{
    write_file("10.0.0.1:80 weight=3 zone=a\n10.0.0.2:80\n10.0.0.1:80\n");
    resolver_fixture_open(s.f, s.target);
    expect_addresses("10.0.0.1:80;weight=3;zone=a,10.0.0.2:80");
    cr_assert_eq(s.f->sink.update_count, 1);
    cr_assert_eq(strncmp(s.f->sink.source, "file /tmp/", 10), 0);
}

Test(file, libconfig_form_is_recognised_by_content)
{
    write_file("endpoints = ( { address = \"10.0.0.1:50051\"; weight = 3; } );\n");
    resolver_fixture_open(s.f, s.target);
    expect_addresses("10.0.0.1:50051;weight=3");
}

Test(file, form_can_be_chosen)
{
    const evener_attribute libconfig = {"file.format", "libconfig"};
    s.f->options = &libconfig;
    s.f->option_count = 1;
    write_file("service = \"x\"; endpoints = ( \"10.0.0.1:50051\" );\n");
    resolver_fixture_open(s.f, s.target);
    expect_addresses("10.0.0.1:50051");
}

Test(file, change_is_seen_by_the_poll)
{
    write_file("10.0.0.1:80\n");
    resolver_fixture_open(s.f, s.target);
    write_file("10.0.0.2:80\n");
    virtual_loop_advance_ms(s.f->loop, POLL_MS - 1);
    expect_addresses("10.0.0.1:80");
    virtual_loop_advance_ms(s.f->loop, 1);
    expect_addresses("10.0.0.2:80");
    poll_once();
    cr_assert_eq(s.f->sink.update_count, 2, "the same content is no change");
}

Test(file, hint_looks_at_once)
{
    write_file("10.0.0.1:80\n");
    resolver_fixture_open(s.f, s.target);
    write_file("10.0.0.2:80\n");
    s.f->resolver->vtable->resolve_now(s.f->resolver);
    cr_assert_eq(s.f->sink.update_count, 1, "never from inside resolve_now()");
    virtual_loop_run_until_idle(s.f->loop);
    expect_addresses("10.0.0.2:80");
}

Test(file, same_list_in_another_writing_is_no_change)
{
    write_file("10.0.0.1:80 a=1 b=2\n");
    resolver_fixture_open(s.f, s.target);
    write_file("# new\n10.0.0.1:80   b=2 a=1 # x\n");
    poll_once();
    cr_assert_eq(s.f->sink.update_count, 1);
}

/* ---- invalid files ---- */

Test(file, missing_file_is_an_error_until_it_appears)
{
    resolver_fixture_open(s.f, s.target);
    expect_error("No such file");
    cr_assert_eq(s.f->sink.error.code, EVENER_STATUS_NOT_FOUND);
    poll_once();
    cr_assert_eq(s.f->sink.error_count, 1, "reported once");
    write_file("10.0.0.1:80\n");
    poll_once();
    expect_addresses("10.0.0.1:80");
}

Test(file, bad_content_keeps_the_list_and_names_the_line)
{
    write_file("10.0.0.1:80\n");
    resolver_fixture_open(s.f, s.target);
    write_file("10.0.0.1:80\n10.0.0.2:80\nnonsense\n");
    poll_once();
    cr_assert_eq(s.f->sink.update_count, 1);
    expect_error("/list:3: host \"nonsense\": no port");
    poll_once();
    cr_assert_eq(s.f->sink.error_count, 1, "reported once");
    write_file("10.0.0.1:80\n");
    poll_once();
    expect_addresses("10.0.0.1:80");
    cr_assert_eq(s.f->sink.update_count, 2, "the same list again: it ends the error");
}

Test(file, deleted_file_keeps_the_list)
{
    write_file("10.0.0.1:80\n");
    resolver_fixture_open(s.f, s.target);
    unlink(s.path);
    poll_once();
    expect_error("No such file");
    cr_assert_str_eq(s.f->sink.addresses, "10.0.0.1:80");
}

Test(file, empty_file_keeps_the_list_unless_it_may_be_empty)
{
    write_file("10.0.0.1:80\n");
    resolver_fixture_open(s.f, s.target);
    write_file("# nobody\n");
    poll_once();
    expect_error("lists no endpoint");

    const evener_attribute allowed = {"file.allow_empty", "true"};
    s.f->options = &allowed;
    s.f->option_count = 1;
    resolver_fixture_open(s.f, s.target);
    expect_addresses("");
}

Test(file, last_line_without_newline_counts_when_it_has_kept_quiet)
{
    write_file("10.0.0.1:80\n10.0.0.2:80");
    resolver_fixture_open(s.f, s.target);
    expect_addresses("10.0.0.1:80,10.0.0.2:80");
    write_file("10.0.0.1:80\n10.0.0.2:8");
    poll_once();
    expect_addresses("10.0.0.1:80,10.0.0.2:80");
    write_file("10.0.0.1:80\n10.0.0.2:8080\n"); /* the writer continues */
    virtual_loop_advance_ms(s.f->loop, 100);
    expect_addresses("10.0.0.1:80,10.0.0.2:8080");
    write_file("10.0.0.3:80");
    poll_once();
    virtual_loop_advance_ms(s.f->loop, 100);
    expect_addresses("10.0.0.3:80");
}

Test(file, other_than_a_regular_file_is_refused)
{
    mkfifo(s.path, 0600);
    resolver_fixture_open(s.f, s.target); /* does not wait for a writer */
    expect_error("no regular file");
}

Test(file, too_large_a_file_is_refused)
{
    write_file("");
    cr_assert_eq(truncate(s.path, 32 * 1024 * 1024 + 1), 0);
    resolver_fixture_open(s.f, s.target);
    expect_error("at most 33554432 are read");
}

Test(file, refused_update_is_pushed_again)
{
    write_file("10.0.0.1:80\n");
    s.f->sink.refuse = true;
    resolver_fixture_open(s.f, s.target);
    s.f->sink.refuse = false;
    poll_once();
    cr_assert_eq(s.f->sink.update_count, 2);
    poll_once();
    cr_assert_eq(s.f->sink.update_count, 2);
}

static void expect_build_error(const char *target, const char *key, const char *value, const char *part)
{
    const evener_attribute option = {key, value};
    s.f->options = &option;
    s.f->option_count = 1;
    cr_assert_eq(resolver_fixture_build(s.f, target), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(s.f->status.message, part), "%s", s.f->status.message);
}

Test(file, bad_target_or_option_is_refused_by_name)
{
    expect_build_error("file:", "x", "", "names no file");
    expect_build_error("file:///etc/", "x", "", "names no file");
    expect_build_error("file://etc/list", "x", "", "\"etc\" would be a host");
    expect_build_error(s.target, "file.poll_ms", "9", "file.poll_ms");
    expect_build_error(s.target, "file.poll_ms", "-1", "file.poll_ms");
    expect_build_error(s.target, "file.poll_ms", "99999999999999999999", "file.poll_ms");
    expect_build_error(s.target, "file.settle_ms", "1001", "file.settle_ms");
    expect_build_error(s.target, "file.settle_ms", "x", "file.settle_ms");
    expect_build_error(s.target, "file.allow_empty", "yes", "true or false");
    expect_build_error(s.target, "file.format", "json", "auto, lines or libconfig");
}

/* ---- host names ---- */

Test(file, host_names_are_resolved_in_their_place)
{
    write_file("10.0.0.1:80\na.test:80 weight=2 zone=z\nb.test:81\n10.0.0.2:80\n");
    resolver_fixture_open(s.f, s.target);
    cr_assert_eq(s.f->sink.update_count, 0, "answers are waited for");
    answer(0, "10.1.0.1:80;weight=9;x=y,10.1.0.2:80");
    cr_assert_eq(s.f->sink.update_count, 0);
    answer(1, "10.2.0.1:81");
    expect_addresses("10.0.0.1:80,10.1.0.1:80;weight=2;x=y;zone=z,10.1.0.2:80;weight=2;zone=z,10.2.0.1:81,10.0.0.2:80");
    answer(1, "10.2.0.1:81,10.2.0.2:81");
    cr_assert_eq(s.f->sink.update_count, 2);
    cr_assert_eq(s.f->sink.address_count, 6);
}

static void answer_for(int name, const char *address, uint64_t ttl_ms)
{
    evener_address *parsed = NULL;
    evener_status status;
    cr_assert_eq(evener_address_create(address, NULL, 0, &parsed, &status), EVENER_STATUS_OK, "%s", status.message);
    const evener_resolver_update update = {
        .size = sizeof update, .addresses = &parsed, .address_count = 1, .ttl_ms = ttl_ms};
    cr_assert_eq(evener_manual_resolver_update(s.answers[name], &update, &status), EVENER_STATUS_OK);
    evener_address_unref(parsed);
    virtual_loop_run_until_idle(s.f->loop);
    virtual_loop_advance_ms(s.f->loop, 10);
}

Test(file, list_holds_as_long_as_the_shortest_answer)
{
    write_file("a.test:80\nb.test:81\n");
    resolver_fixture_open(s.f, s.target);
    answer_for(0, "10.1.0.1:80", 0);
    answer_for(1, "10.2.0.1:81", 0);
    cr_assert_eq(s.f->sink.ttl_ms, 0);
    answer_for(1, "10.2.0.2:81", 20000);
    cr_assert_eq(s.f->sink.ttl_ms, 20000);
    answer_for(0, "10.1.0.2:80", 30000);
    cr_assert_eq(s.f->sink.ttl_ms, 20000);
    answer_for(1, "10.2.0.3:81", 40000);
    cr_assert_eq(s.f->sink.ttl_ms, 30000);
    answer_for(0, "10.1.0.3:80", 0);
    cr_assert_eq(s.f->sink.ttl_ms, 40000);
}

Test(file, silent_name_is_not_waited_for_longer_than_half_a_second)
{
    write_file("10.0.0.1:80\na.test:80\n");
    resolver_fixture_open(s.f, s.target);
    virtual_loop_advance_ms(s.f->loop, 499);
    cr_assert_eq(s.f->sink.update_count, 0);
    virtual_loop_advance_ms(s.f->loop, 1);
    expect_addresses("10.0.0.1:80");
    answer(0, "10.1.0.1:80");
    expect_addresses("10.0.0.1:80,10.1.0.1:80");
}

Test(file, failing_name_costs_only_itself)
{
    evener_status nxdomain;
    evener_status_set(&nxdomain, EVENER_STATUS_UNAVAILABLE, "no answer from 10.0.0.53");
    write_file("10.0.0.1:80\na.test:80\n");
    resolver_fixture_open(s.f, s.target);
    evener_manual_resolver_error(s.answers[0], &nxdomain);
    virtual_loop_run_until_idle(s.f->loop);
    expect_addresses("10.0.0.1:80");
    answer(0, "10.1.0.1:80");
    evener_manual_resolver_error(s.answers[0], &nxdomain);
    virtual_loop_run_until_idle(s.f->loop);
    expect_addresses("10.0.0.1:80,10.1.0.1:80");
}

Test(file, error_of_the_only_name_is_reported)
{
    evener_status timeout;
    evener_status_set(&timeout, EVENER_STATUS_UNAVAILABLE, "no answer from 10.0.0.53");
    write_file("a.test:80\n");
    resolver_fixture_open(s.f, s.target);
    evener_manual_resolver_error(s.answers[0], &timeout);
    virtual_loop_run_until_idle(s.f->loop);
    expect_error("host \"a.test:80\": no answer from 10.0.0.53");
}

Test(file, names_that_stay_keep_their_resolver)
{
    write_file("a.test:80\na.test:80 zone=again\n");
    resolver_fixture_open(s.f, s.target);
    answer(0, "10.1.0.1:80");
    cr_assert_eq(s.built, 1);
    write_file("a.test:80 weight=5\nb.test:81\n");
    poll_once();
    cr_assert_eq(s.built, 2);
    answer(1, "10.2.0.1:81");
    expect_addresses("10.1.0.1:80;weight=5,10.2.0.1:81");
    write_file("b.test:81\n");
    poll_once();
    expect_addresses("10.2.0.1:81");
    answer(0, "10.9.9.9:80"); /* the resolver is closed: ignored */
    expect_addresses("10.2.0.1:81");
}

static evener_status_code check_name(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                     evener_status *status)
{
    (void)builder;
    cr_assert(args->sink == NULL && args->runtime == NULL && args->loop == NULL);
    return strcmp(evener_target_endpoint(args->target), "b.test:81") == 0
               ? evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "b is not served")
               : EVENER_STATUS_OK;
}

/* include/evener/resolver.h: build() is called after a check() that succeeded. */
Test(file, a_name_is_checked_before_its_resolver_is_built)
{
    evener_resolver_builder checked = names_builder;
    checked.check = check_name;
    s.own[0] = &checked;
    write_file("a.test:80\n");
    resolver_fixture_open(s.f, s.target);
    answer(0, "10.1.0.1:80");
    cr_assert_eq(s.built, 1);
    write_file("a.test:80\nb.test:81\n");
    poll_once();
    cr_assert_eq(s.built, 1);
    expect_error("/list:2: b is not served");
    cr_assert_str_eq(s.f->sink.addresses, "10.1.0.1:80");
    resolver_fixture_close(s.f);
}

Test(file, name_that_cannot_be_resolved_at_all_keeps_the_list)
{
    write_file("10.0.0.1:80\n");
    resolver_fixture_open(s.f, s.target);
    write_file("a.test:80\nc.test:80\n");
    poll_once();
    expect_error("/list:2: no such name in the test");
    cr_assert_str_eq(s.f->sink.addresses, "10.0.0.1:80");
}

Test(file, hint_is_passed_to_the_names)
{
    write_file("a.test:80\n");
    resolver_fixture_open(s.f, s.target);
    s.f->resolver->vtable->resolve_now(s.f->resolver);
    cr_assert_eq(evener_manual_resolver_resolve_now_count(s.answers[0]), 1);
}

/* ---- rows of the cases from the field ---- */

Test(file, n6_unchanged_answers_are_not_pushed_again)
{
    write_file("10.0.0.1:80\na.test:80\n");
    resolver_fixture_open(s.f, s.target);
    answer(0, "10.1.0.1:80");
    cr_assert_eq(s.f->sink.update_count, 1);
    answer(0, "10.1.0.1:80");
    answer(0, "10.1.0.1:80,10.0.0.1:80"); /* a duplicate of the file's */
    cr_assert_eq(s.f->sink.update_count, 1);
    answer(0, "10.1.0.2:80");
    cr_assert_eq(s.f->sink.update_count, 2);
}

Test(file, n6_answers_that_come_together_are_pushed_together)
{
    write_file("a.test:80\nb.test:81\n");
    resolver_fixture_open(s.f, s.target);
    answer(0, "10.1.0.1:80");
    answer(1, "10.2.0.1:81");
    cr_assert_eq(s.f->sink.update_count, 1);
    for (int i = 2; i < 10; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "10.1.0.%d:80", i);
        cr_assert_eq(evener_manual_resolver_set(s.answers[0], text, NULL, NULL), EVENER_STATUS_OK);
        (void)snprintf(text, sizeof text, "10.2.0.%d:81", i);
        cr_assert_eq(evener_manual_resolver_set(s.answers[1], text, NULL, NULL), EVENER_STATUS_OK);
        virtual_loop_run_until_idle(s.f->loop);
    }
    virtual_loop_advance_ms(s.f->loop, 10);
    cr_assert_eq(s.f->sink.update_count, 3, "%zu", s.f->sink.update_count);
    expect_addresses("10.1.0.9:80,10.2.0.9:81");
}

Test(file, n6_size_limit_is_an_option)
{
    const evener_attribute options[] = {{"file.bytes_max", "20"}};
    s.f->options = options;
    s.f->option_count = 1;
    write_file("10.0.0.1:80\n");
    resolver_fixture_open(s.f, s.target);
    expect_addresses("10.0.0.1:80");
    write_file("10.0.0.1:80\n10.0.0.2:80\n");
    virtual_loop_advance_ms(s.f->loop, 6000);
    expect_error("it has 24 bytes; at most 20 are read");
}

/* A program that changes its working directory keeps its endpoints; in compositions too. */
static void relative_path(const char *text, const char *addresses)
{
    evener_target *target;
    const evener_resolver_builder *builder;
    evener_status status;
    write_file("10.0.0.1:80\n");
    cr_assert_eq(chdir(s.directory), 0);
    cr_assert_eq(evener_resolver_lookup(&s.f->set, text, &target, &builder, &status), EVENER_STATUS_OK);
    cr_assert_eq(chdir("/"), 0);
    const evener_resolver_args args = {
        .size = sizeof args,
        .target = target,
        .sink = &s.f->sink.base,
        .runtime = s.f->runtime,
        .loop = evener_runtime_loop(s.f->runtime),
        .default_port = 443,
        .resolvers = &s.f->set,
    };
    s.f->target = target;
    cr_assert_eq(builder->build(builder, &args, &s.f->resolver, &status), EVENER_STATUS_OK, "%s", status.message);
    s.f->resolver->vtable->start(s.f->resolver);
    virtual_loop_run_until_idle(s.f->loop);
    expect_addresses(addresses);
}

Test(file, n13_relative_path_is_fixed_at_creation)
{
    relative_path("file:list", "10.0.0.1:80");
}

Test(file, n13_relative_path_in_a_composition)
{
    relative_path("merge:file:list|static:10.0.0.2:80", "10.0.0.1:80,10.0.0.2:80");
}

/* procfs and FUSE say that a file has 0 bytes. */
Test(file, n15_file_without_a_size_is_read_to_the_end)
{
    char *text;
    size_t bytes;
    evener_file_state state;
    bool torn;
    evener_status status;
    cr_assert_eq(evener_file_read("/proc/self/status", 1 << 20, &text, &bytes, &state, &torn, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    cr_assert_gt(bytes, 500);
    cr_assert_eq(bytes, strlen(text));
    cr_assert_not_null(strstr(text, "Threads:"));
    cr_assert(!torn);
    free(text);
    cr_assert_eq(evener_file_read("/proc/self/status", 100, &text, &bytes, &state, &torn, &status),
                 EVENER_STATUS_RESOURCE_EXHAUSTED);
    cr_assert_not_null(strstr(status.message, "more than 100 bytes"), "%s", status.message);
}

/* ---- a resolver of names with a mistake: NULL among its addresses ---- */

static const evener_resolver_builder mistaken_builder = {
    .size = sizeof mistaken_builder, .scheme = "dns", .build = mistaken_resolver_build};

Test(file, a_name_whose_resolver_pushes_null_keeps_its_last_addresses)
{
    evener_address *addresses[3] = {NULL};
    evener_resolver_update update = {.size = sizeof update, .addresses = addresses};
    cr_assert_eq(evener_address_create("10.1.0.1:80", NULL, 0, &addresses[0], NULL), EVENER_STATUS_OK);
    s.own[0] = &mistaken_builder;
    write_file("a.test:80\n");
    resolver_fixture_open(s.f, s.target);
    for (size_t count = 2; count <= 3; count++) {
        addresses[1] = count == 3 ? addresses[0] : NULL;
        update.address_count = count;
        cr_assert_not(evener_resolver_sink_update(mistaken_resolver_last_sink(), &update));
        virtual_loop_advance_ms(s.f->loop, 10);
        expect_error(count == 2 ? "its resolver pushed NULL as address 2" : "its resolver pushed NULL as address 3");
    }
    update.address_count = 2;
    cr_assert(evener_resolver_sink_update(mistaken_resolver_last_sink(), &update));
    virtual_loop_advance_ms(s.f->loop, 10);
    expect_addresses("10.1.0.1:80");
    addresses[1] = NULL;
    cr_assert_not(evener_resolver_sink_update(mistaken_resolver_last_sink(), &update));
    virtual_loop_advance_ms(s.f->loop, 10);
    cr_assert_str_eq(s.f->sink.addresses, "10.1.0.1:80");
    cr_assert_eq(s.f->sink.update_count, 1);
    evener_address_unref(addresses[0]);
}

/* A file of sysfs says that it has 4096 bytes, and has less: as one that is being written, it is read again, until four
 * times the settle time have passed. */
Test(file, a_file_that_is_never_whole_is_taken_after_four_times_the_settle_time)
{
    static const char path[] = "/sys/devices/system/cpu/online";
    struct stat about;
    char text[8192];
    FILE *file = fopen(path, "r");
    const bool fits = file != NULL && fstat(fileno(file), &about) == 0 && about.st_size > 0 &&
                      fread(text, 1, sizeof text, file) < (size_t)about.st_size;
    if (file != NULL) {
        fclose(file);
    }
    if (!fits) {
        cr_skip_test("no file of sysfs here");
    }
    const evener_attribute options[] = {{"file.settle_ms", "100"}, {"file.format", "lines"}};
    s.f->options = options;
    s.f->option_count = 2;
    snprintf(s.target, sizeof s.target, "file://%s", path);
    resolver_fixture_open(s.f, s.target);
    virtual_loop_advance_ms(s.f->loop, 399);
    cr_assert_eq(s.f->sink.error_count, 0);
    virtual_loop_advance_ms(s.f->loop, 1);
    cr_assert_eq(s.f->sink.error_count, 1, "its text is no list of endpoints");
}

Test(file, limits_of_options_hold_at_their_edges)
{
    static const char *const good[][2] = {
        {"file.poll_ms", "10"},        {"file.poll_ms", "3600000"}, {"file.settle_ms", "0"},
        {"file.settle_ms", "1000"},    {"file.bytes_max", "1"},     {"file.bytes_max", "1073741824"},
        {"file.allow_empty", "false"}, {"file.format", "auto"},     {"file.format", "lines"}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        const evener_attribute option = {good[i][0], good[i][1]};
        s.f->options = &option;
        s.f->option_count = 1;
        cr_assert_eq(resolver_fixture_build(s.f, s.target), EVENER_STATUS_OK, "%s=%s: %s", good[i][0], good[i][1],
                     s.f->status.message);
        resolver_fixture_close(s.f);
    }
    expect_build_error(s.target, "file.poll_ms", "3600001", "file.poll_ms");
    expect_build_error(s.target, "file.bytes_max", "0", "file.bytes_max");
    expect_build_error(s.target, "file.bytes_max", "1073741825", "file.bytes_max");
    expect_build_error("file:///", "x", "", "names no file");
    s.f->option_count = 0;
    cr_assert_eq(resolver_fixture_build(s.f, "file://localhost/etc/list"), EVENER_STATUS_OK, "%s", s.f->status.message);
}
