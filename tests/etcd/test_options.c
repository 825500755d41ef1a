/* Options of `etcd:` (resolver/etcd/options.h): members, limits at their edges, and what goes together. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <evener/etcd.h>
#include <evener/target.h>

#include "resolver/etcd/options.h"

static evener_etcd_options options;
static evener_status status;

/* Read a target with options; those that have no value count as not set. */
static evener_status_code read_options(const char *text, const evener_attribute *given, size_t count)
{
    evener_target *target = NULL;
    cr_assert_eq(evener_target_parse(text, &target, &status), EVENER_STATUS_OK, "%s", status.message);
    const evener_resolver_args args = {
        .size = sizeof args, .target = target, .options = given, .option_count = count, .default_port = 443};
    memset(&options, 'x', sizeof options);
    const evener_status_code code = evener_etcd_options_read(&args, &options, &status);
    evener_target_destroy(target);
    if (code != EVENER_STATUS_OK) {
        cr_assert_eq(status.code, code);
    }
    return code;
}

static void expect_members(const char *members, const char *inner_target, unsigned names, bool several)
{
    char text[4096];
    (void)snprintf(text, sizeof text, "etcd://%s/orders", members);
    cr_assert_eq(read_options(text, NULL, 0), EVENER_STATUS_OK, "%s: %s", members, status.message);
    cr_expect_str_eq(options.inner_target, inner_target, "%s: %s", members, options.inner_target);
    cr_expect_str_eq(options.members, members);
    cr_expect_eq(options.named_members, names);
    cr_expect_eq(options.has_several_members, several);
    evener_etcd_options_clear(&options);
    cr_expect_null(options.inner_target);
}

static void expect_refused(const char *target, const char *key, const char *value, const char *part)
{
    const evener_attribute option = {key, value};
    cr_expect_eq(read_options(target, &option, key != NULL ? 1 : 0), EVENER_STATUS_INVALID_ARGUMENT, "%s", target);
    cr_expect_not_null(strstr(status.message, part), "%s: %s", target, status.message);
}

Test(etcd_options, members_become_one_target)
{
    expect_members("10.0.0.1:2379", "static:10.0.0.1:2379", 0, false);
    expect_members("10.0.0.1", "static:10.0.0.1:2379", 0, false);
    expect_members("10.0.0.1,10.0.0.2:1", "static:10.0.0.1:2379,10.0.0.2:1", 0, true);
    expect_members("[::1]", "static:[::1]:2379", 0, false);
    expect_members("[::1]:65535", "static:[::1]:65535", 0, false);
    expect_members("etcd.prod", "dns:///etcd.prod:2379", 1, false);
    expect_members("a:1,b_2-z.Z9:2", "merge:dns:///a:1|dns:///b_2-z.Z9:2", 2, true);
    expect_members("a:1,10.0.0.1:2,b:3,10.0.0.2:4", "merge:static:10.0.0.1:2,10.0.0.2:4|dns:///a:1|dns:///b:3", 2,
                   true);
    expect_members(",a:1,,", "dns:///a:1", 1, false);
}

Test(etcd_options, ports_and_hosts_have_limits)
{
    static const char *const refused[] = {"a:0",
                                          "a:65536",
                                          "a:000001",
                                          "a:",
                                          "a:x",
                                          "a:1x",
                                          "a:-1",
                                          "[::1",
                                          "[::1]x",
                                          "[::1]:",
                                          "[::1]0",
                                          "::1",
                                          "a:1:2",
                                          "[a]:80",
                                          "a%20b",
                                          ":1",
                                          "[]:1",
                                          "a;b",
                                          "a%7Cb:1",
                                          "10.0.0.256",
                                          "10.0.0",
                                          "etcd..prod",
                                          "a,10.0.0.1,b..c:1"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "etcd://%s/orders", refused[i]);
        expect_refused(text, NULL, NULL, "etcd: ");
    }
    expect_members("a:1", "dns:///a:1", 1, false);
    expect_members("a:00001", "dns:///a:00001", 1, false);
    expect_members("a:65535", "dns:///a:65535", 1, false);
    /* RFC 1035: 253 bytes of a name, as it is written, and 63 of a label. */
    char host[260], text[400], expected[400];
    for (size_t bytes = 252; bytes <= 256; bytes++) {
        memset(host, 'h', bytes);
        for (size_t dot = 63; dot < bytes; dot += 64) {
            host[dot] = '.';
        }
        host[bytes] = '\0';
        (void)snprintf(text, sizeof text, "etcd://%s/orders", host);
        if (bytes <= 253) {
            (void)snprintf(expected, sizeof expected, "dns:///%s:2379", host);
            expect_members(host, expected, 1, false);
        } else {
            (void)snprintf(expected, sizeof expected, "etcd: the member%s \"%.63s", bytes <= 255 ? "s" : "", host);
            expect_refused(text, NULL, NULL, expected);
        }
    }
    memset(host, 'h', 64);
    host[64] = '\0';
    (void)snprintf(text, sizeof text, "etcd://%s/orders", host);
    expect_refused(text, NULL, NULL, "etcd: the members \"hhh");
}

/* What the inner target holds is decoded again, twice inside `merge:`. */
Test(etcd_options, the_zone_of_an_ipv6_address_stays)
{
    evener_target *inner = NULL;
    cr_assert_eq(read_options("etcd://[fe80::1%25lo]/orders", NULL, 0), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_str_eq(options.inner_target, "static:[fe80::1%25lo]:2379");
    cr_assert_eq(evener_target_parse(options.inner_target, &inner, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_str_eq(evener_target_endpoint(inner), "[fe80::1%lo]:2379");
    evener_target_destroy(inner);
    evener_etcd_options_clear(&options);
    cr_assert_eq(read_options("etcd://[fe80::1%25lo]:1,a/orders", NULL, 0), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_str_eq(options.inner_target, "merge:static:[fe80::1%2525lo]:1|dns:///a:2379");
    evener_etcd_options_clear(&options);
}

/* They become a `merge:`, which has 16 targets at most. */
Test(etcd_options, sixteen_members_by_name_are_the_most_and_all_addresses_count_as_one)
{
    char text[256] = "etcd://";
    for (int i = 0; i < 17; i++) {
        const size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "%sm%d", i > 0 ? "," : "", i);
        const size_t without_service = strlen(text);
        (void)snprintf(text + without_service, sizeof text - without_service, "/orders");
        const evener_status_code alone = read_options(text, NULL, 0);
        if (alone == EVENER_STATUS_OK) {
            evener_etcd_options_clear(&options);
        }
        (void)snprintf(text + without_service, sizeof text - without_service, ",10.0.0.1,10.0.0.2/orders");
        const evener_status_code beside_addresses = read_options(text, NULL, 0);
        if (beside_addresses == EVENER_STATUS_OK) {
            evener_etcd_options_clear(&options);
        } else {
            cr_expect_not_null(strstr(status.message, "more than 16 members by name"), "%s", status.message);
        }
        text[without_service] = '\0';
        cr_expect_eq(alone, i < 16 ? EVENER_STATUS_OK : EVENER_STATUS_INVALID_ARGUMENT, "%s", text);
        cr_expect_eq(beside_addresses, i < 15 ? EVENER_STATUS_OK : EVENER_STATUS_INVALID_ARGUMENT, "%s", text);
    }
}

Test(etcd_options, sixty_four_members_and_a_service_of_1024_bytes_are_the_most)
{
    char text[2048] = "etcd://";
    for (int i = 0; i < EVENER_ETCD_MEMBERS_MAX + 1; i++) {
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), i % 5 == 0 ? "%sm%d" : "%s10.0.0.%d",
                       i > 0 ? "," : "", i + 1);
        if (i < EVENER_ETCD_MEMBERS_MAX - 1) {
            continue;
        }
        const size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "/orders");
        const evener_status_code code = read_options(text, NULL, 0);
        if (i == EVENER_ETCD_MEMBERS_MAX - 1) {
            cr_assert_eq(code, EVENER_STATUS_OK, "%s", status.message);
            cr_expect_eq(options.named_members, 13);
            evener_etcd_options_clear(&options);
        } else {
            cr_assert_eq(code, EVENER_STATUS_INVALID_ARGUMENT);
            cr_expect_not_null(strstr(status.message, "more than 64 members"), "%s", status.message);
        }
        text[used] = '\0';
    }
    (void)snprintf(text, sizeof text, "etcd://a/");
    memset(text + 9, 's', 1025);
    text[9 + 1024] = '\0';
    cr_assert_eq(read_options(text, NULL, 0), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(strlen(options.layout.service), 1024);
    evener_etcd_options_clear(&options);
    text[9 + 1024] = 's';
    text[9 + 1025] = '\0';
    expect_refused(text, NULL, NULL, "a service of 1 to 1024 bytes");
}

Test(etcd_options, what_is_not_set_has_a_default)
{
    cr_assert_eq(read_options("etcd://a/orders", NULL, 0), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(options.page, 10000);
    cr_expect_eq(options.timeout_ms, 5000);
    cr_expect_eq(options.backoff_max_ms, 5000);
    cr_expect_not(options.tls || options.layout.secure);
    cr_expect(options.user == NULL && options.password == NULL && options.password_file == NULL);
    cr_expect(options.ca == NULL && options.certificate == NULL && options.key == NULL && options.server_name == NULL);
    cr_expect_eq(options.layout.kind, EVENER_ETCD_LAYOUT_NAMING);
    cr_expect_str_eq(options.layout.service, "orders");
    evener_etcd_options_clear(&options);
}

Test(etcd_options, numbers_have_limits)
{
    static const struct {
        const char *key, *below, *least, *most, *above;
    } cases[] = {
        {"etcd.page", "0", "1", "1000000", "1000001"},
        {"etcd.timeout_ms", "0", "1", "600000", "600001"},
        {"etcd.backoff_max_ms", "0", "1", "600000", "600001"},
    };
    for (size_t i = 0; i < 3; i++) {
        expect_refused("etcd://a/orders", cases[i].key, cases[i].below, cases[i].key);
        expect_refused("etcd://a/orders", cases[i].key, cases[i].above, cases[i].key);
        const char *const good[] = {cases[i].least, cases[i].most};
        for (size_t j = 0; j < 2; j++) {
            const evener_attribute option = {cases[i].key, good[j]};
            cr_assert_eq(read_options("etcd://a/orders", &option, 1), EVENER_STATUS_OK, "%s", status.message);
            const uint64_t values[] = {options.page, options.timeout_ms, options.backoff_max_ms};
            cr_expect_eq(values[i], strtoull(good[j], NULL, 10), "%s", cases[i].key);
            evener_etcd_options_clear(&options);
        }
    }
}

Test(etcd_options, each_text_is_its_own)
{
    const evener_attribute given[] = {
        {"etcd.user", "u"},     {"etcd.password", "p"},    {"etcd.ca", "ca.pem"},     {"etcd.certificate", "c.pem"},
        {"etcd.key", "k.pem"},  {"etcd.server_name", "s"}, {"etcd.layout", "kratos"}, {"etcd.namespace", "/n"},
        {"etcd.secure", "true"}};
    cr_assert_eq(read_options("etcd://a,b/orders", given, 9), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_str_eq(options.user, "u");
    cr_expect_str_eq(options.password, "p");
    cr_expect_str_eq(options.ca, "ca.pem");
    cr_expect_str_eq(options.certificate, "c.pem");
    cr_expect_str_eq(options.key, "k.pem");
    cr_expect_str_eq(options.server_name, "s");
    cr_expect_str_eq(options.layout.prefix, "/n/orders/");
    cr_expect(options.tls && options.layout.secure);
    evener_etcd_options_clear(&options);
    const evener_attribute empty[] = {{"etcd.user", ""}, {"etcd.password", ""}, {"etcd.ca", ""}};
    cr_assert_eq(read_options("etcd://a/orders", empty, 3), EVENER_STATUS_OK, "%s", status.message);
    cr_expect(options.user == NULL && options.password == NULL && options.ca == NULL && !options.tls);
    evener_etcd_options_clear(&options);
}

Test(etcd_options, what_does_not_go_together_is_refused_by_name)
{
    static const struct {
        const char *target;
        evener_attribute options[3];
        const char *part; /* NULL: it goes together */
    } cases[] = {
        {"etcd://a/o", {{"etcd.certificate", "c"}, {NULL, NULL}}, "etcd.certificate and etcd.key need each other"},
        {"etcd://a/o", {{"etcd.key", "k"}, {NULL, NULL}}, "etcd.certificate and etcd.key need each other"},
        {"etcd://a/o", {{"etcd.certificate", "c"}, {"etcd.key", "k"}}, NULL},
        {"etcd://a/o", {{"etcd.password", "p"}, {NULL, NULL}}, "etcd.password needs etcd.user"},
        {"etcd://a/o", {{"etcd.password_file", "p"}, {NULL, NULL}}, "etcd.password needs etcd.user"},
        {"etcd://a/o", {{"etcd.user", "u"}, {NULL, NULL}}, "etcd.user needs etcd.password"},
        {"etcd://a/o", {{"etcd.user", "u"}, {"etcd.password", "p"}}, NULL},
        {"etcd://a/o", {{"etcd.user", "u"}, {"etcd.password_file", "p"}}, NULL},
        {"etcd://a/o",
         {{"etcd.user", "u"}, {"etcd.password", "p"}, {"etcd.password_file", "p"}},
         "etcd.password and etcd.password_file are both set"},
        {"etcd://a/o", {{"etcd.tls", "false"}, {"etcd.ca", "c"}}, "etcd.tls is false, but"},
        {"etcd://a/o", {{"etcd.tls", "false"}, {"etcd.server_name", "s"}}, "etcd.tls is false, but"},
        {"etcd://a/o", {{"etcd.tls", "false"}, {"etcd.certificate", "c"}, {"etcd.key", "k"}}, "etcd.tls is false, but"},
        {"etcd://a/o", {{"etcd.tls", "true"}, {NULL, NULL}}, NULL},
        {"etcd://a,b/o", {{"etcd.tls", "true"}, {NULL, NULL}}, "etcd.server_name is needed"},
        {"etcd://a,10.0.0.1/o", {{"etcd.tls", "true"}, {NULL, NULL}}, "etcd.server_name is needed"},
        {"etcd://10.0.0.1,10.0.0.2/o", {{"etcd.tls", "true"}, {NULL, NULL}}, NULL},
        {"etcd://a,b/o", {{"etcd.server_name", "s"}, {NULL, NULL}}, NULL},
        {"etcd://a/o", {{"etcd.tls", "t"}, {NULL, NULL}}, "etcd.tls: true or false is needed"},
        {"etcd://a/o", {{"etcd.secure", ""}, {NULL, NULL}}, "etcd.secure: true or false is needed"},
        {"etcd://a/o", {{"etcd.layout", "Plain"}, {NULL, NULL}}, "naming, go-zero, kratos or plain is needed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const evener_status_code code = read_options(cases[i].target, cases[i].options, 3);
        if (cases[i].part == NULL) {
            cr_expect_eq(code, EVENER_STATUS_OK, "%zu: %s", i, status.message);
            evener_etcd_options_clear(&options);
        } else {
            cr_expect_eq(code, EVENER_STATUS_INVALID_ARGUMENT, "%zu", i);
            cr_expect_not_null(strstr(status.message, cases[i].part), "%zu: %s", i, status.message);
        }
    }
}

Test(etcd_options, shared_ones_live_as_long_as_the_last_reference)
{
    cr_assert_eq(read_options("etcd://a/orders", NULL, 0), EVENER_STATUS_OK, "%s", status.message);
    evener_etcd_shared_options *shared = evener_etcd_shared_options_create(&options);
    cr_assert_not_null(shared);
    cr_expect_null(options.members, "they are moved");
    cr_expect_eq(evener_etcd_shared_options_ref(shared), shared);
    evener_etcd_shared_options_unref(shared);
    cr_expect_str_eq(shared->options.members, "a");
    evener_etcd_shared_options_unref(shared);
    evener_etcd_shared_options_unref(NULL);
}

/* The service as the authority of calls: what is neither a letter nor a digit nor one of "-._" becomes '-'. */
Test(etcd_options, default_authority)
{
    const evener_resolver_builder *etcd = evener_etcd_resolver();
    static const char *const cases[][2] = {
        {"azAZ09-._", "azAZ09-._"}, {"%60%7B@[%2F:", "------"}, {"a/b", "a-b"}, {"%2C%2F", "--"}, {"\xc3\xa9", "--"}};
    char text[64], authority[16];
    evener_target *target = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        (void)snprintf(text, sizeof text, "etcd://a/%s", cases[i][0]);
        cr_assert_eq(evener_target_parse(text, &target, &status), EVENER_STATUS_OK, "%s", status.message);
        cr_expect_eq(etcd->default_authority(etcd, target, authority, sizeof authority, &status), EVENER_STATUS_OK);
        cr_expect_str_eq(authority, cases[i][1], "%s", authority);
        evener_target_destroy(target);
    }
    cr_assert_eq(evener_target_parse("etcd://a/orders", &target, &status), EVENER_STATUS_OK);
    cr_expect_eq(etcd->default_authority(etcd, target, authority, 7, &status), EVENER_STATUS_OK);
    cr_expect_str_eq(authority, "orders");
    cr_expect_eq(etcd->default_authority(etcd, target, authority, 6, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(authority, "order");
    cr_expect_eq(etcd->server_names(etcd, target), EVENER_SERVER_NAMES_ADDRESSES);
    evener_target_destroy(target);
}
