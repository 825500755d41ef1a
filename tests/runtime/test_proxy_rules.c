/* Which targets go past the proxy of the environment (lb/base/proxy_rules.h). The environment is the test's. */
#include <criterion/criterion.h>

#include <string.h>

#include "lb/base/proxy_rules.h"

/* ---- names ---- */

static void splits(const char *text, const char *expected_host, const char *expected_port)
{
    char host[EVENER_PROXY_HOST_BYTES], port[EVENER_PROXY_PORT_BYTES];
    cr_assert(evener_proxy_split(text, strlen(text), host, port), "%s", text);
    cr_expect_str_eq(host, expected_host, "%s: %s", text, host);
    cr_expect_str_eq(port, expected_port, "%s: %s", text, port);
}

static void does_not_split(const char *text)
{
    char host[EVENER_PROXY_HOST_BYTES], port[EVENER_PROXY_PORT_BYTES];
    cr_expect_not(evener_proxy_split(text, strlen(text), host, port), "%s", text);
}

Test(proxy_rules, a_host_is_split_from_its_port)
{
    splits("orders.test", "orders.test", "");
    splits("orders.test:443", "orders.test", "443");
    splits("orders.test:", "orders.test", "");
    splits("a:1234567", "a", "1234567");
    splits("10.0.0.1:80", "10.0.0.1", "80");
    splits("[::1]:80", "::1", "80");
    splits("[::1]", "::1", "");
    splits("[::1]80", "::1", "");
    splits("::1", "::1", "");
    splits("fe80::1:2", "fe80::1:2", "");
    does_not_split("");
    does_not_split("[]");
    does_not_split(":80");
    does_not_split("[::1");
    does_not_split("a:12345678");
    char host[EVENER_PROXY_HOST_BYTES], port[EVENER_PROXY_PORT_BYTES];
    cr_assert(evener_proxy_split("a:80,b", 4, host, port), "nothing behind the length is read");
    cr_expect_str_eq(port, "80");
    cr_assert(evener_proxy_split("[a]:80", 3, host, port));
    cr_expect_str_eq(host, "a");
    cr_expect_str_eq(port, "");
    char text[EVENER_PROXY_HOST_BYTES + 1];
    memset(text, 'x', sizeof text);
    cr_assert(evener_proxy_split(text, EVENER_PROXY_HOST_BYTES - 1, host, port), "the longest name");
    cr_expect_eq(strlen(host), EVENER_PROXY_HOST_BYTES - 1);
    cr_expect_not(evener_proxy_split(text, EVENER_PROXY_HOST_BYTES, host, port));
}

static void has_host(const char *target, const char *expected)
{
    char host[EVENER_PROXY_HOST_BYTES];
    cr_assert(evener_proxy_target_host(target, host), "%s", target);
    cr_expect_str_eq(host, expected, "%s: %s", target, host);
}

Test(proxy_rules, a_targets_host_follows_its_scheme)
{
    has_host("orders.test", "orders.test");
    has_host("orders.test:443", "orders.test");
    has_host("orders.test:", "orders.test");
    has_host("dns:orders.test:443", "orders.test");
    has_host("dns:orders.test", "orders.test");
    has_host("dns:///orders.test:443", "orders.test");
    has_host("dns://10.0.0.53/orders.test:443", "orders.test");
    has_host("dns://10.0.0.53:53/orders.test", "orders.test");
    has_host("dns://orders.test", "orders.test");
    has_host("dns:/orders.test", "orders.test");
    has_host("[::1]:443", "::1");
    has_host("dns:[::1]:443", "::1");
    has_host("ipv4:10.0.0.1:443", "10.0.0.1");
    char host[EVENER_PROXY_HOST_BYTES];
    static const char *const without[] = {"unix:/run/x",   "UNIX:x",    "unix-abstract:x", "Unix-Abstract:x",
                                          "vsock:2:50051", "VSOCK:2:1", "dns:///",         ""};
    for (size_t i = 0; i < sizeof without / sizeof *without; i++) {
        cr_expect_not(evener_proxy_target_host(without[i], host), "%s", without[i]);
    }
    has_host("unixes.test", "unixes.test");
}

/* ---- exceptions ---- */

Test(proxy_rules, an_exception_is_an_ending_an_address_or_a_subnet)
{
    static const struct {
        const char *exceptions, *host;
        bool has;
    } rows[] = {
        {NULL, "orders.test", false},
        {"", "orders.test", false},
        {", \t", "orders.test", false},
        {"orders.test", "orders.test", true},
        {"ORDERS.Test", "orders.tEST", true},
        {".test", "orders.test", true},
        {"rs.test", "orders.test", true},
        {"test", "test", true},
        {"x.orders.test", "orders.test", false},
        {"orders.tes", "orders.test", false},
        {"other,orders.test", "orders.test", true},
        {"other orders.test", "orders.test", true},
        {"\tother\t, orders.test ,", "orders.test", true},
        {"other", "orders.test", false},
        {"10.0.0.1", "10.0.0.1", true},
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/8", "9.255.255.255", false},
        {"10.1.128.0/17", "10.1.128.0", true},
        {"10.1.128.0/17", "10.1.255.1", true},
        {"10.1.128.0/17", "10.1.127.255", false},
        {"10.1.2.4/31", "10.1.2.5", true},
        {"10.1.2.4/31", "10.1.2.6", false},
        {"10.1.2.4/32", "10.1.2.4", true},
        {"10.1.2.4/32", "10.1.2.5", false},
        {"10.1.2.4/33", "10.1.2.4", false},
        {"0.0.0.0/0", "10.1.2.4", true},
        {"10.1.2.4/", "10.1.2.4", false},
        {"10.1.2.4/x", "10.1.2.4", false},
        {"10.1.2.4/3x", "10.1.2.4", false},
        {"10.1.2.x/0", "10.1.2.4", false},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"2001:db8::/128", "2001:db8::", true},
        {"2001:db8::/129", "2001:db8::", false},
        {"::/0", "::1", true},
        {"::/0", "10.0.0.1", false},
        {"0.0.0.0/0", "::1", false},
        {"0.0.0.0/0", "orders.test", false},
        {"x/0", "orders.test", false}, /* neither is an address */
        {"/0", "orders.test", false},
        {"11111111111111111111111111111111111111111111111111111111111111111111/0", "::1", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_expect_eq(evener_proxy_list_has(rows[i].exceptions, rows[i].host), rows[i].has, "%zu: \"%s\", %s", i,
                     rows[i].exceptions, rows[i].host);
    }
    char exceptions[EVENER_PROXY_HOST_BYTES + 16];
    memset(exceptions, 'x', sizeof exceptions);
    strcpy(exceptions + EVENER_PROXY_HOST_BYTES, ",orders.test");
    cr_expect(evener_proxy_list_has(exceptions, "orders.test"), "what is too long is passed over");
    char longest[EVENER_PROXY_HOST_BYTES];
    memset(longest, 'x', sizeof longest);
    longest[EVENER_PROXY_HOST_BYTES - 1] = '\0';
    cr_expect(evener_proxy_list_has(longest, longest));
    cr_expect(evener_proxy_list_has_address("a,10.0.0.0/8", "10.1.2.3:80"));
    cr_expect(evener_proxy_list_has_address("::1", "[::1]:80"));
    cr_expect_not(evener_proxy_list_has_address("a,10.0.0.0/8", "11.1.2.3:80"));
    cr_expect_not(evener_proxy_list_has_address("a", ""));
}

/* ---- the environment ---- */

static const char *set[8][2]; /* names and values */

static const char *look_up(const char *name)
{
    for (size_t i = 0; i < 8; i++) {
        if (set[i][0] != NULL && strcmp(set[i][0], name) == 0) {
            return set[i][1];
        }
    }
    return NULL;
}

Test(proxy_rules, the_first_variable_that_is_set_counts)
{
    static const char *const proxies[] = {"grpc_proxy", "https_proxy", "http_proxy"};
    const char *name = "none";
    cr_expect_null(evener_proxy_setting(look_up, &name));
    cr_expect_str_eq(name, "none");
    cr_expect_not(evener_proxy_is_named(look_up));
    for (size_t first = 3; first-- > 0;) { /* the last one alone, then one before it as well... */
        set[first][0] = proxies[first];
        set[first][1] = "";
        cr_expect_eq(evener_proxy_setting(look_up, &name), first == 2 ? NULL : set[first + 1][1], "empty is not set");
        set[first][1] = proxies[first] + 1;
        cr_expect_eq(evener_proxy_setting(look_up, &name), set[first][1]);
        cr_expect_str_eq(name, proxies[first]);
        cr_expect(evener_proxy_is_named(look_up));
    }
    memset(set, 0, sizeof set);
    cr_expect_null(evener_proxy_exceptions(look_up));
    set[0][0] = "no_proxy";
    set[0][1] = "a";
    cr_expect_str_eq(evener_proxy_exceptions(look_up), "a");
    set[1][0] = "no_grpc_proxy";
    set[1][1] = "b";
    cr_expect_str_eq(evener_proxy_exceptions(look_up), "b");
}

Test(proxy_rules, a_target_is_excepted_from_a_proxy_that_is_named)
{
    set[0][0] = "no_proxy";
    set[0][1] = "orders.test";
    cr_expect_not(evener_proxy_excepts_target("dns:///orders.test:443", look_up), "there is no proxy");
    set[1][0] = "http_proxy";
    set[1][1] = "http://proxy.test:3128";
    cr_expect(evener_proxy_excepts_target("dns:///orders.test:443", look_up));
    cr_expect(evener_proxy_excepts_target("orders.test", look_up));
    cr_expect_not(evener_proxy_excepts_target("other.test", look_up));
    cr_expect_not(evener_proxy_excepts_target("unix:orders.test", look_up));
}
