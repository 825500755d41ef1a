#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <evener/resolver.h>
#include <evener/target.h>

#include "resolver/target.h"

static void expect(const char *text, const char *scheme, const char *authority, const char *endpoint, const char *path)
{
    evener_target *target;
    evener_status status;
    cr_assert_eq(evener_target_parse(text, &target, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_str_eq(evener_target_text(target), text);
    cr_assert_str_eq(evener_target_scheme(target), scheme);
    cr_assert_str_eq(evener_target_authority(target), authority);
    cr_assert_str_eq(evener_target_endpoint(target), endpoint);
    cr_assert_str_eq(evener_target_path(target), path);
    evener_target_destroy(target);
}

static void expect_refused(const char *text, const char *reason)
{
    evener_target *target = NULL;
    evener_status status;
    cr_assert_eq(evener_target_parse(text, &target, &status), EVENER_STATUS_INVALID_ARGUMENT, "%s", text);
    cr_assert_not_null(strstr(status.message, reason), "\"%s\": %s", text, status.message);
    cr_assert_null(target);
}

/* grpc: doc/naming.md; grpc-go: parsed_target_test.go */
Test(target, is_cut_into_its_parts)
{
    expect("dns:///orders.prod:50051", "dns", "", "orders.prod:50051", "/orders.prod:50051");
    expect("dns://8.8.8.8:53/orders", "dns", "8.8.8.8:53", "orders", "/orders");
    expect("dns:orders:80", "dns", "", "orders:80", "orders:80");
    expect("dns:/orders", "dns", "", "orders", "/orders");
    expect("DNS:x", "dns", "", "x", "x");
    expect("dns://server", "dns", "server", "", "");
    expect("dns:", "dns", "", "", "");
    expect("unix:relative/path", "unix", "", "relative/path", "relative/path");
    expect("unix:///abs/path", "unix", "", "abs/path", "/abs/path");
    expect("unix:/abs", "unix", "", "abs", "/abs");
    expect("file:////twice", "file", "", "/twice", "//twice");
    expect("x-y+z.1:e", "x-y+z.1", "", "e", "e");
    expect("localhost:50051", "localhost", "", "50051", "50051");
    expect("ipv6:[::1]:80,[::2]:80", "ipv6", "", "[::1]:80,[::2]:80", "[::1]:80,[::2]:80");
}

Test(target, parts_are_percent_decoded_after_the_cut)
{
    expect("a://x%2Fy/z%2f%25", "a", "x/y", "z/%", "/z/%");
    expect("file:///with%20blank and blank", "file", "", "with blank and blank", "/with blank and blank");
    expect("a:%3f%23", "a", "", "?#", "?#");
}

Test(target, what_is_none_is_refused_with_place_and_reason)
{
    expect_refused("", "empty");
    expect_refused("no-scheme", "no scheme");
    expect_refused(":80", "no scheme");
    expect_refused("127.0.0.1:80", "no scheme");
    expect_refused("/path", "no scheme");
    expect_refused("a:%", "byte 2");
    expect_refused("a:x%4", "byte 3");
    expect_refused("a:%zz", "%25");
    expect_refused("a:%00", "%00");
    expect_refused("a:b\nc", "byte 3 is a control character");
    expect_refused("a:b?c", "%3F");
    expect_refused("a:b#c", "%23");
    evener_target *target;
    cr_assert_eq(evener_target_parse(NULL, &target, NULL), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(evener_target_parse("a:b", NULL, NULL), EVENER_STATUS_INVALID_ARGUMENT);
    evener_target_destroy(NULL);
}

Test(target, limit_holds_at_the_edge)
{
    char *text = malloc(EVENER_TARGET_BYTES_MAX + 2);
    memset(text, 'a', EVENER_TARGET_BYTES_MAX + 1);
    text[EVENER_TARGET_BYTES_MAX + 1] = '\0';
    text[1] = ':';
    expect_refused(text, "longer than");
    text[EVENER_TARGET_BYTES_MAX] = '\0';
    evener_target *target;
    cr_assert_eq(evener_target_parse(text, &target, NULL), EVENER_STATUS_OK);
    evener_target_destroy(target);
    free(text);
}

/* Relative paths count from the directory of the time when they were parsed; compositions may have such parts. */
Test(target, directory_is_kept_where_it_matters)
{
    static const struct {
        const char *text;
        bool kept;
    } cases[] = {{"file:a/b", true},   {"file:b", true},    {"file:", true},         {"file:/a", false},
                 {"file:///a", false}, {"merge:x|y", true}, {"fallback:/x|y", true}, {"dns:a", false},
                 {"dns:a/b", false},   {"unix:a/b", false}, {"files:a", false}};
    char here[4096];
    cr_assert_not_null(getcwd(here, sizeof here));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        evener_target *target;
        cr_assert_eq(evener_target_parse(cases[i].text, &target, NULL), EVENER_STATUS_OK);
        const char *directory = evener_target_directory(target);
        cr_expect_eq(directory != NULL, cases[i].kept, "%s", cases[i].text);
        cr_expect(directory == NULL || strcmp(directory, here) == 0);
        evener_target_destroy(target);
    }
}

Test(target, a_part_inherits_the_directory_of_the_whole)
{
    evener_target *whole, *relative, *absolute;
    cr_assert_eq(chdir("/tmp"), 0);
    cr_assert_eq(evener_target_parse("merge:x|y", &whole, NULL), EVENER_STATUS_OK);
    cr_assert_eq(chdir("/"), 0);
    cr_assert_eq(evener_target_parse("file:a", &relative, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_target_parse("file:/a", &absolute, NULL), EVENER_STATUS_OK);
    cr_assert_str_eq(evener_target_directory(relative), "/");
    evener_target_inherit_directory(relative, absolute); /* has none */
    cr_assert_str_eq(evener_target_directory(relative), "/");
    evener_target_inherit_directory(relative, whole);
    evener_target_inherit_directory(absolute, whole);
    cr_assert_str_eq(evener_target_directory(relative), "/tmp");
    cr_assert_null(evener_target_directory(absolute));
    evener_target_destroy(whole);
    cr_assert_str_eq(evener_target_directory(relative), "/tmp");
    evener_target_destroy(relative);
    evener_target_destroy(absolute);
}

/* ---- registry ---- */

static evener_status_code never_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                      evener_resolver **resolver, evener_status *status)
{
    (void)builder, (void)args, (void)resolver;
    return evener_status_set(status, EVENER_STATUS_INTERNAL, "not in this test");
}

static evener_status_code refuse_slash(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                       evener_status *status)
{
    (void)builder;
    return strchr(evener_target_endpoint(args->target), '/') != NULL
               ? evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "dns: bad host")
               : EVENER_STATUS_OK;
}

static const evener_resolver_builder own_dns = {
    .size = sizeof own_dns, .scheme = "dns", .build = never_build, .check = refuse_slash};
static const evener_resolver_builder own_static = {.size = sizeof own_static, .scheme = "static", .build = never_build};
static const evener_resolver_builder *const own[] = {NULL, &own_dns, &own_static};
static const evener_resolver_set set = {.own = own, .own_count = 3};

static void expect_lookup(const char *text, const evener_resolver_builder *builder, const char *endpoint)
{
    evener_target *target;
    const evener_resolver_builder *found;
    evener_status status;
    cr_assert_eq(evener_resolver_lookup(&set, text, &target, &found, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(found, builder);
    cr_assert_str_eq(evener_target_endpoint(target), endpoint);
    evener_target_destroy(target);
}

/* grpc: client_channel_specification.md: without a scheme, or with one that is not registered, dns:/// is tried */
Test(registry, unknown_scheme_is_tried_as_a_name)
{
    expect_lookup("dns:///x", &own_dns, "x");
    expect_lookup("localhost:50051", &own_dns, "localhost:50051");
    expect_lookup("127.0.0.1:80", &own_dns, "127.0.0.1:80");
    expect_lookup(":80", &own_dns, ":80");
    expect_lookup("[::1]", &own_dns, "[::1]");
}

Test(registry, scheme_that_is_no_name_either_is_an_error_that_names_it)
{
    evener_target *target = NULL;
    const evener_resolver_builder *found = NULL;
    evener_status status;
    cr_assert_eq(evener_resolver_lookup(&set, "nosuch://a/b", &target, &found, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(status.message, "\"nosuch\""), "%s", status.message);
    cr_assert_not_null(strstr(status.message, "bad host"), "%s", status.message);
    cr_assert_null(target);
    cr_assert_eq(evener_resolver_lookup(&set, "", &target, &found, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(evener_resolver_lookup(&set, NULL, &target, &found, &status), EVENER_STATUS_INVALID_ARGUMENT);
}

/* grpc.WithResolvers: the channel's own win */
Test(registry, own_builder_wins_over_the_process_and_the_built_in)
{
    cr_assert_eq(evener_resolver_find(&set, "static"), &own_static);
    cr_assert_neq(evener_resolver_find(NULL, "static"), &own_static);
    cr_assert_not_null(evener_resolver_find(NULL, "static"));
    cr_assert_not_null(evener_resolver_find(NULL, "ipv4"));
    cr_assert_not_null(evener_resolver_find(NULL, "ipv6"));
    cr_assert_not_null(evener_resolver_find(NULL, "unix"));
    cr_assert_not_null(evener_resolver_find(NULL, "unix-abstract"));
    cr_assert_null(evener_resolver_find(NULL, "nosuch"));
    cr_assert_null(evener_resolver_find(NULL, NULL));
}

Test(registry, registered_builder_serves_the_process_and_can_be_replaced)
{
    static const evener_resolver_builder one = {.size = sizeof one, .scheme = "mine", .build = never_build};
    static const evener_resolver_builder two = {.size = sizeof two, .scheme = "mine", .build = never_build};
    static const evener_resolver_builder instead = {.size = sizeof two, .scheme = "ipv4", .build = never_build};
    cr_assert_eq(evener_resolver_register(&one, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_resolver_find(NULL, "mine"), &one);
    cr_assert_eq(evener_resolver_register(&two, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_resolver_find(NULL, "mine"), &two);
    cr_assert_eq(evener_resolver_register(&instead, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_resolver_find(NULL, "ipv4"), &instead);
}

Test(registry, bad_builder_is_refused)
{
    static const evener_resolver_builder bad[] = {
        {.size = sizeof bad[0], .build = never_build},
        {.size = sizeof bad[0], .scheme = "x"},
        {.size = sizeof bad[0], .scheme = "", .build = never_build},
        {.size = sizeof bad[0], .scheme = "Upper", .build = never_build},
        {.size = sizeof bad[0], .scheme = "1x", .build = never_build},
        {.size = sizeof bad[0], .scheme = "a b", .build = never_build},
        {.scheme = "x", .build = never_build},
    };
    evener_status status;
    cr_assert_eq(evener_resolver_register(NULL, &status), EVENER_STATUS_INVALID_ARGUMENT);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(evener_resolver_register(&bad[i], &status), EVENER_STATUS_INVALID_ARGUMENT, "%zu", i);
        cr_assert_neq(status.message[0], '\0');
    }
}

Test(registry, option_is_found_by_key_and_the_last_wins)
{
    const evener_attribute options[] = {{"a", "1"}, {"b", "2"}, {"a", "3"}, {NULL, NULL}};
    const evener_resolver_args args = {.size = sizeof args, .options = options, .option_count = 4};
    cr_assert_str_eq(evener_resolver_option(&args, "a"), "3");
    cr_assert_str_eq(evener_resolver_option(&args, "b"), "2");
    cr_assert_null(evener_resolver_option(&args, "c"));
}

/* ---- builders that are counted, and those of older versions ---- */

static int references;

static void take_reference(const evener_resolver_builder *builder)
{
    (void)builder;
    references++;
}

static void give_back(const evener_resolver_builder *builder)
{
    (void)builder;
    references--;
}

Test(registry, builders_are_counted_if_they_have_both_functions)
{
    const evener_resolver_builder counted = {.size = sizeof counted, .ref = take_reference, .unref = give_back};
    evener_resolver_builder other = counted;
    const evener_resolver_builder *all[] = {NULL, &counted, &other, &counted};
    evener_resolver_builders_ref(all, 4);
    cr_assert_eq(references, 3);
    evener_resolver_builders_unref(all, 4);
    cr_assert_eq(references, 0);
    other.ref = NULL;
    evener_resolver_builders_ref(all, 4);
    cr_assert_eq(references, 2);
    other = counted;
    other.unref = NULL;
    evener_resolver_builders_unref(all, 4);
    cr_assert_eq(references, 0);
    other = counted;
    static const size_t end = offsetof(evener_resolver_builder, unref) + sizeof other.unref;
    for (size_t size = end - sizeof other.unref; size <= end; size++) { /* compiled against an older version */
        other.size = size;
        references = 0;
        evener_resolver_builders_ref(all, 4);
        cr_assert_eq(references, size < end ? 2 : 3, "%zu", size);
    }
    evener_resolver_builders_ref(NULL, 4);
    evener_resolver_builders_unref(NULL, 4);
}

/* Which names TLS verifies: the target's, or each address's own. */
Test(registry, server_names_of_each_scheme)
{
    static const struct {
        const char *target;
        evener_server_names names;
    } cases[] = {
        {"dns:///x", EVENER_SERVER_NAMES_TARGET},
        {"srv:///_a._b.c", EVENER_SERVER_NAMES_TARGET},
        {"file:///x", EVENER_SERVER_NAMES_ADDRESSES},
        {"static:10.0.0.1:80", EVENER_SERVER_NAMES_ADDRESSES},
        {"static:10.0.0.1:80,[::1]:80", EVENER_SERVER_NAMES_ADDRESSES},
        {"static:unix:/x", EVENER_SERVER_NAMES_MISSING},
        {"static:unix:/x;authority=a", EVENER_SERVER_NAMES_ADDRESSES},
        {"static:unix:/x;authority=", EVENER_SERVER_NAMES_MISSING},
        {"static:10.0.0.1:80,unix:/x;authority=a,unix:/y", EVENER_SERVER_NAMES_MISSING},
        {"static:unix:/y,10.0.0.1:80", EVENER_SERVER_NAMES_MISSING},
        {"merge:dns:///x|static:10.0.0.1:80", EVENER_SERVER_NAMES_TARGET},
        {"merge:static:10.0.0.1:80|dns:///x", EVENER_SERVER_NAMES_ADDRESSES},
        {"fallback:static:unix:/x|dns:///x", EVENER_SERVER_NAMES_MISSING},
        {"fallback:file:/x|static:unix:/x", EVENER_SERVER_NAMES_ADDRESSES},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        evener_target *target;
        const evener_resolver_builder *builder;
        evener_status status;
        cr_assert_eq(evener_resolver_lookup(NULL, cases[i].target, &target, &builder, &status), EVENER_STATUS_OK, "%s",
                     status.message);
        cr_expect_eq(evener_resolver_server_names(builder, target), cases[i].names, "%s", cases[i].target);
        evener_target_destroy(target);
    }
    static const size_t end = offsetof(evener_resolver_builder, server_names) + sizeof own_dns.server_names;
    evener_target *target;
    cr_assert_eq(evener_target_parse("static:10.0.0.1:80", &target, NULL), EVENER_STATUS_OK);
    evener_resolver_builder older = *evener_resolver_find(NULL, "static");
    for (size_t size = end - sizeof own_dns.server_names; size <= end; size++) {
        older.size = size;
        cr_expect_eq(evener_resolver_server_names(&older, target),
                     size < end ? EVENER_SERVER_NAMES_TARGET : EVENER_SERVER_NAMES_ADDRESSES, "%zu", size);
    }
    evener_target_destroy(target);
}
