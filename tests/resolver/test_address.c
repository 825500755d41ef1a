#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <linux/vm_sockets.h>

#include <arpa/inet.h>
#include <criterion/criterion.h>

#include <evener/address.h>

static evener_address *make(const char *text)
{
    evener_address *address = NULL;
    evener_status status;
    cr_assert_eq(evener_address_create(text, NULL, 0, &address, &status), EVENER_STATUS_OK, "%s", status.message);
    return address;
}

static void expect_text(const char *text, const char *canonical, evener_address_family family)
{
    evener_address *address = make(text);
    cr_assert_str_eq(evener_address_text(address), canonical);
    cr_assert_eq(evener_address_get_family(address), family);
    evener_address_unref(address);
}

static void expect_refused(const char *text, const char *reason)
{
    evener_address *address = (evener_address *)&expect_refused;
    evener_status status;
    cr_assert_eq(evener_address_create(text, NULL, 0, &address, &status), EVENER_STATUS_INVALID_ARGUMENT, "%s", text);
    cr_assert_not_null(strstr(status.message, reason), "\"%s\": %s", text, status.message);
    cr_assert_eq((void *)address, (void *)&expect_refused, "output written on failure");
}

Test(address, text_is_made_canonical)
{
    expect_text("10.0.0.1:50051", "10.0.0.1:50051", EVENER_FAMILY_IPV4);
    expect_text("10.0.0.1:00080", "10.0.0.1:80", EVENER_FAMILY_IPV4);
    expect_text("10.0.0.1:65535", "10.0.0.1:65535", EVENER_FAMILY_IPV4);
    /* RFC 5952: lower case, no leading zeros, the longest run of zeros shortened */
    expect_text("[2001:DB8:0:0:1:0:0:1]:80", "[2001:db8::1:0:0:1]:80", EVENER_FAMILY_IPV6);
    expect_text("[0:0:0:0:0:0:0:1]:1", "[::1]:1", EVENER_FAMILY_IPV6);
    expect_text("[fe80::1%eth0]:80", "[fe80::1%eth0]:80", EVENER_FAMILY_IPV6);
    expect_text("unix:/run/x.sock", "unix:/run/x.sock", EVENER_FAMILY_UNIX);
    expect_text("unix:relative", "unix:relative", EVENER_FAMILY_UNIX);
    expect_text("unix-abstract:name", "unix-abstract:name", EVENER_FAMILY_UNIX_ABSTRACT);
    expect_text("vsock:2:50051", "vsock:2:50051", EVENER_FAMILY_VSOCK);
    expect_text("vsock:002:0", "vsock:2:0", EVENER_FAMILY_VSOCK);
    expect_text("vsock:4294967294:4294967294", "vsock:4294967294:4294967294", EVENER_FAMILY_VSOCK);
}

Test(address, n14_vsock_is_two_numbers)
{
    static const char *const bad[] = {"vsock:",
                                      "vsock:2",
                                      "vsock:2:",
                                      "vsock::80",
                                      "vsock:a:80",
                                      "vsock:-1:80",
                                      "vsock:2:80x",
                                      "vsock:4294967295:80",
                                      "vsock:2:4294967295",
                                      "vsock:2:99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        expect_refused(bad[i], "vsock");
    }
}

Test(address, what_is_none_is_refused_with_its_reason)
{
    expect_refused("", "empty");
    expect_refused("10.0.0.1", "no port");
    expect_refused("10.0.0.1:", "port is missing");
    expect_refused("10.0.0.1:http", "not a number");
    expect_refused("10.0.0.1:0", "port 0");
    expect_refused("10.0.0.1:65536", "larger than 65535");
    expect_refused("10.0.0.1:99999999999999999999", "larger than 65535");
    expect_refused("10.0.0:80", "host name");
    expect_refused("www.example.com:80", "host name");
    expect_refused(":80", "host name");
    expect_refused("::1", "brackets");
    expect_refused("a:b:c", "more than one ':'");
    expect_refused("[::1]", "no port");
    expect_refused("[::1", "not closed");
    expect_refused("[", "not closed");
    expect_refused("[::1]80", "may follow");
    expect_refused("[1.2.3.4]:80", "not an IPv6 address");
    expect_refused("[fe80::1%]:80", "zone");
    expect_refused("[fe80::1%interface-name-too-long]:80", "zone");
    expect_refused("unix:", "empty");
    expect_refused("unix-abstract:", "empty");
    expect_refused("10.0.0.1:80\n", "control character");
}

/* Row F7: every call would fail with a reset stream. */
Test(address, f7_an_authority_that_servers_refuse_is_refused)
{
    static const char *const wrong[] = {"a b", "a\r\nx: y", "user@host", "h\303\244.example", "a/b", "\"a\""};
    static const char *const right[] = {"a.example", "[::1]:443", "a%2Fb", "10.0.0.1:80", "a_b-c"};
    evener_address *address = NULL;
    evener_status status;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const evener_attribute authority = {"authority", wrong[i]};
        cr_expect_eq(evener_address_create("10.0.0.1:1", &authority, 1, &address, &status),
                     EVENER_STATUS_INVALID_ARGUMENT, "%s", wrong[i]);
        cr_expect_not_null(strstr(status.message, "\"authority\""));
    }
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        const evener_attribute authority = {"authority", right[i]};
        cr_assert_eq(evener_address_create("10.0.0.1:1", &authority, 1, &address, &status), EVENER_STATUS_OK, "%s",
                     right[i]);
        evener_address_unref(address);
    }
}

Test(address, limits_hold_at_the_edge)
{
    char text[EVENER_ADDRESS_BYTES_MAX + 2] = "unix:";
    memset(text + 5, 'a', 107);
    expect_text(text, text, EVENER_FAMILY_UNIX);
    text[5 + 107] = 'a';
    expect_refused(text, "longer than a socket's");
    memset(text, '1', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    expect_refused(text, "longer than 256 bytes");

    static char value[EVENER_ATTRIBUTE_BYTES_MAX + 2];
    memset(value, 'v', EVENER_ATTRIBUTE_BYTES_MAX);
    evener_attribute attribute = {"key", value};
    evener_address *address = NULL;
    evener_status status;
    cr_assert_eq(evener_address_create("1.1.1.1:1", &attribute, 1, &address, &status), EVENER_STATUS_OK);
    cr_assert_str_eq(evener_address_attribute(address, "key"), value);
    evener_address_unref(address);
    value[EVENER_ATTRIBUTE_BYTES_MAX] = 'v';
    cr_assert_eq(evener_address_create("1.1.1.1:1", &attribute, 1, &address, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(status.message, "1024"));

    char keys[EVENER_ADDRESS_ATTRIBUTES_MAX + 1][8];
    evener_attribute many[EVENER_ADDRESS_ATTRIBUTES_MAX + 1];
    for (int i = 0; i <= EVENER_ADDRESS_ATTRIBUTES_MAX; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        many[i] = (evener_attribute){keys[i], "v"};
    }
    cr_assert_eq(evener_address_create("1.1.1.1:1", many, 64, &address, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_address_attribute_count(address), 64);
    evener_address_unref(address);
    cr_assert_eq(evener_address_create("1.1.1.1:1", many, 65, &address, &status), EVENER_STATUS_INVALID_ARGUMENT);
}

Test(address, bad_arguments_are_refused)
{
    evener_address *address;
    evener_status status;
    const evener_attribute no_key = {NULL, "v"}, empty_key = {"", "v"}, no_value = {"k", NULL};
    cr_assert_eq(evener_address_create(NULL, NULL, 0, &address, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(evener_address_create("1.1.1.1:1", NULL, 0, NULL, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(evener_address_create("1.1.1.1:1", NULL, 1, &address, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(evener_address_create("1.1.1.1:1", &no_key, 1, &address, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(evener_address_create("1.1.1.1:1", &empty_key, 1, &address, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(evener_address_create("1.1.1.1:1", &no_value, 1, &address, NULL), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_null(evener_address_ref(NULL));
    evener_address_unref(NULL);
}

Test(address, attributes_are_sorted_and_the_last_of_two_wins)
{
    const evener_attribute given[] = {{"zone", "a"}, {"weight", "3"}, {"b", "1"}, {"zone", "c"}, {"weight", "4"}};
    evener_address *address;
    evener_status status;
    cr_assert_eq(evener_address_create("1.1.1.1:1", given, 5, &address, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_address_attribute_count(address), 3);
    cr_assert_str_eq(evener_address_attribute_at(address, 0).key, "b");
    cr_assert_str_eq(evener_address_attribute_at(address, 1).key, "weight");
    cr_assert_str_eq(evener_address_attribute_at(address, 2).value, "c");
    cr_assert_null(evener_address_attribute_at(address, 3).key);
    cr_assert_str_eq(evener_address_attribute(address, "zone"), "c");
    cr_assert_null(evener_address_attribute(address, "zon"));
    cr_assert_eq(evener_address_attribute_u32(address, "weight", 1), 4);
    cr_assert_eq(evener_address_attribute_u32(address, "zone", 7), 7);
    cr_assert_eq(evener_address_attribute_u32(address, "none", 9), 9);
    evener_address_unref(address);
}

Test(address, whole_numbers_are_read_at_the_edge)
{
    const evener_attribute given[] = {{"max", "4294967295"}, {"over", "4294967296"}, {"minus", "-1"}, {"empty", ""}};
    evener_address *address;
    cr_assert_eq(evener_address_create("1.1.1.1:1", given, 4, &address, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_address_attribute_u32(address, "max", 5), UINT32_MAX);
    cr_assert_eq(evener_address_attribute_u32(address, "over", 5), 5);
    cr_assert_eq(evener_address_attribute_u32(address, "minus", 5), 5);
    cr_assert_eq(evener_address_attribute_u32(address, "empty", 5), 5);
    evener_address_unref(address);
}

/* docs/semantics.md, Subchannels: identity is the address and what changes the connection */
Test(address, identity_is_text_and_authority)
{
    const evener_attribute weight = {"weight", "3"};
    const evener_attribute authority = {"authority", "a.example"}, other = {"authority", "b.example"};
    evener_address *plain = make("[::1]:80"), *alike = make("[0::1]:80"), *else_where = make("[::1]:81");
    evener_address *weighted, *named, *named_otherwise, *named_alike;
    cr_assert_eq(evener_address_with_attributes(plain, &weight, 1, &weighted, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_address_with_attributes(plain, &authority, 1, &named, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_address_with_attributes(plain, &other, 1, &named_otherwise, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_address_with_attributes(weighted, &authority, 1, &named_alike, NULL), EVENER_STATUS_OK);

    cr_assert(evener_address_same_backend(plain, alike) && evener_address_equal(plain, alike));
    cr_assert(!evener_address_same_backend(plain, else_where));
    cr_assert(evener_address_same_backend(plain, weighted) && !evener_address_equal(plain, weighted));
    cr_assert(!evener_address_same_backend(plain, named) && !evener_address_same_backend(named, named_otherwise));
    cr_assert(evener_address_equal(named, named_alike));
    cr_assert_eq(evener_address_identity_hash(plain), evener_address_identity_hash(alike));
    cr_assert_eq(evener_address_identity_hash(plain), evener_address_identity_hash(weighted));
    cr_assert_eq(evener_address_identity_hash(named), evener_address_identity_hash(named_alike));
    cr_assert_neq(evener_address_identity_hash(plain), evener_address_identity_hash(named));

    evener_address *all[] = {plain, alike, else_where, weighted, named, named_otherwise, named_alike};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        evener_address_unref(all[i]);
    }
}

/* ---- parts ---- */

static void expect_parts(const char *text, evener_address_family family, const char *host, const char *zone,
                         uint32_t port)
{
    evener_address *address = make(text);
    evener_address_parts parts = {.size = sizeof parts};
    evener_address_get_parts(address, &parts);
    cr_assert_eq(parts.size, sizeof parts);
    cr_assert_eq(parts.family, family);
    cr_assert_str_eq(parts.host, host);
    cr_assert_str_eq(parts.zone, zone);
    cr_assert_eq(parts.port, port);
    evener_address_unref(address);
}

Test(address_parts, of_every_family)
{
    expect_parts("10.0.0.1:50051", EVENER_FAMILY_IPV4, "10.0.0.1", "", 50051);
    expect_parts("255.255.255.255:65535", EVENER_FAMILY_IPV4, "255.255.255.255", "", 65535);
    expect_parts("[2001:DB8::0:1]:1", EVENER_FAMILY_IPV6, "2001:db8::1", "", 1);
    expect_parts("[fe80::1%interface-name]:80", EVENER_FAMILY_IPV6, "fe80::1", "interface-name", 80);
    expect_parts("unix:/run/a:b.sock", EVENER_FAMILY_UNIX, "/run/a:b.sock", "", 0);
    expect_parts("unix-abstract:name", EVENER_FAMILY_UNIX_ABSTRACT, "name", "", 0);
    expect_parts("vsock:3:4000000000", EVENER_FAMILY_VSOCK, "3", "", 4000000000);
}

Test(address_parts, an_older_caller_gets_no_more_than_it_knows)
{
    evener_address *address = make("10.0.0.1:80");
    evener_address_parts parts = {.size = offsetof(evener_address_parts, host), .host = "untouched"};
    evener_address_get_parts(address, &parts);
    cr_assert_eq(parts.port, 80);
    cr_assert_str_eq(parts.host, "untouched");
    evener_address_unref(address);
}

static uint32_t sockaddr_of(const char *text, struct sockaddr_storage *storage)
{
    evener_address *address = make(text);
    evener_status status;
    uint32_t bytes = 0;
    cr_assert_eq(evener_address_get_sockaddr(address, storage, &bytes, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    evener_address_unref(address);
    return bytes;
}

Test(address_sockaddr, of_every_family)
{
    union {
        struct sockaddr_storage storage;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
        struct sockaddr_vm vm;
    } a;
    cr_assert_eq(sockaddr_of("127.0.0.1:4711", &a.storage), sizeof a.in);
    cr_assert_eq(a.in.sin_family, AF_INET);
    cr_assert_eq(a.in.sin_port, htons(4711));
    cr_assert_eq(a.in.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    cr_assert_eq(sockaddr_of("[::1]:4711", &a.storage), sizeof a.in6);
    cr_assert_eq(a.in6.sin6_family, AF_INET6);
    cr_assert_eq(a.in6.sin6_port, htons(4711));
    cr_assert_eq(memcmp(&a.in6.sin6_addr, &in6addr_loopback, sizeof a.in6.sin6_addr), 0);
    cr_assert_eq(a.in6.sin6_scope_id, 0);
    cr_assert_eq(sockaddr_of("[fe80::1%lo]:1", &a.storage), sizeof a.in6);
    cr_assert_neq(a.in6.sin6_scope_id, 0);
    cr_assert_eq(sockaddr_of("[fe80::1%4294967295]:1", &a.storage), sizeof a.in6);
    cr_assert_eq(a.in6.sin6_scope_id, UINT32_MAX);
    cr_assert_eq(sockaddr_of("unix:/run/x", &a.storage), offsetof(struct sockaddr_un, sun_path) + sizeof "/run/x");
    cr_assert_eq(a.un.sun_family, AF_UNIX);
    cr_assert_str_eq(a.un.sun_path, "/run/x");
    cr_assert_eq(sockaddr_of("unix-abstract:ab", &a.storage), offsetof(struct sockaddr_un, sun_path) + 3);
    cr_assert_eq(memcmp(a.un.sun_path, "\0ab", 4), 0);
    cr_assert_eq(sockaddr_of("vsock:3:4000000000", &a.storage), sizeof a.vm);
    cr_assert_eq(a.vm.svm_family, AF_VSOCK);
    cr_assert_eq(a.vm.svm_cid, 3);
    cr_assert_eq(a.vm.svm_port, 4000000000);
}

Test(address_sockaddr, a_zone_that_is_no_interface_here_is_an_error)
{
    const char *const texts[] = {"[fe80::1%no-such-if]:80", "[fe80::1%4294967296]:80", "[fe80::1%0]:80"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        evener_address *address = make(texts[i]);
        struct sockaddr_storage storage = {.ss_family = AF_UNIX};
        uint32_t bytes = 7;
        evener_status status;
        cr_assert_eq(evener_address_get_sockaddr(address, &storage, &bytes, &status), EVENER_STATUS_NOT_FOUND);
        cr_assert_not_null(strstr(status.message, "no interface"), "%s", status.message);
        cr_assert(bytes == 7 && storage.ss_family == AF_UNIX, "output written on failure");
        evener_address_unref(address);
    }
}
