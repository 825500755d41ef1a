/* Order of addresses (RFC 6724 section 6), with routes of the test's own: connect() to an address finds a source address
 * in a table, or nothing. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "resolver/dns/order.h"

#define EXPORTED __attribute__((visibility("default")))

/* ---- the kernel's part ---- */

typedef struct route {
    const char *to, *from; /* the source address for one address; "*" for all others of the family */
} route;

static _Thread_local const route *routes; /* ended by NULL; NULL: the kernel's own */
static _Thread_local struct sockaddr_storage source;
static _Thread_local size_t sockets;

EXPORTED int socket(int domain, int type, int protocol)
{
    if (routes != NULL) {
        cr_assert(domain == AF_INET || domain == AF_INET6);
        cr_assert_eq(type, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC);
        cr_assert_eq(protocol, 0);
        sockets++;
    }
    return (int)syscall(SYS_socket, domain, type, protocol);
}

static bool same_family(const char *text, int family)
{
    return (strchr(text, ':') != NULL) == (family == AF_INET6);
}

EXPORTED int connect(int fd, const struct sockaddr *to, socklen_t bytes)
{
    char text[INET6_ADDRSTRLEN] = "";
    if (routes == NULL) {
        return (int)syscall(SYS_connect, fd, to, bytes);
    }
    if (to->sa_family == AF_UNSPEC) {
        return 0;
    }
    if (to->sa_family == AF_INET) {
        cr_assert_eq(bytes, sizeof(struct sockaddr_in));
        (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)to)->sin_addr, text, sizeof text);
    } else {
        cr_assert_eq(bytes, sizeof(struct sockaddr_in6));
        (void)inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)to)->sin6_addr, text, sizeof text);
    }
    for (const route *at = routes; at->to != NULL; at++) {
        if (strcmp(at->to, text) != 0 && !(strcmp(at->to, "*") == 0 && same_family(at->from, to->sa_family))) {
            continue;
        }
        source.ss_family = to->sa_family;
        if (to->sa_family == AF_INET) {
            (void)inet_pton(AF_INET, at->from, &((struct sockaddr_in *)&source)->sin_addr);
        } else {
            (void)inet_pton(AF_INET6, at->from, &((struct sockaddr_in6 *)&source)->sin6_addr);
        }
        return 0;
    }
    errno = ENETUNREACH;
    return -1;
}

EXPORTED int getsockname(int fd, struct sockaddr *name, socklen_t *bytes)
{
    if (routes == NULL) {
        return (int)syscall(SYS_getsockname, fd, name, bytes);
    }
    const socklen_t size = source.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    cr_assert_geq(*bytes, size);
    memcpy(name, &source, size);
    *bytes = size;
    return 0;
}

/* ---- lists ---- */

static const route nowhere[] = {{NULL, NULL}};

/* Order a list, separated by blanks, over these routes; return it as text, with '!' in front if the first address is
 * reachable. */
static const char *order(const route *over, const char *list)
{
    static char text[1024];
    char copy[1024], *rest = NULL;
    evener_dns_answer answer = {.records = NULL};
    evener_dns_record *record;
    (void)snprintf(copy, sizeof copy, "%s", list);
    for (char *one = strtok_r(copy, " ", &rest); one != NULL; one = strtok_r(NULL, " ", &rest)) {
        cr_assert(evener_dns_answer_add(&answer, one, &record));
    }
    const size_t count = answer.record_count;
    sockets = 0;
    routes = over;
    evener_dns_order(&answer);
    routes = NULL;
    cr_assert_eq(answer.record_count, count);
    (void)snprintf(text, sizeof text, "%s", answer.reachable ? "!" : "");
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i > 0 ? " " : "",
                       answer.records[i].text);
    }
    evener_dns_answer_clear(&answer);
    return text;
}

static void expect(const route *over, const char *list, const char *expected)
{
    const char *got = order(over, list);
    cr_expect_str_eq(got, expected, "%s: %s", list, got);
}

Test(dns_order, reachable_addresses_come_first)
{
    static const route some[] = {{"10.0.0.2", "10.9.9.9"}, {"10.0.0.4", "10.9.9.9"}, {NULL, NULL}};
    expect(some, "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4", "!10.0.0.2 10.0.0.4 10.0.0.1 10.0.0.3");
    expect(nowhere, "10.0.0.2 10.0.0.1", "10.0.0.2 10.0.0.1");
    expect(some, "10.0.0.2", "!10.0.0.2");
    expect(some, "", "");
    static const route six[] = {{"2400::2", "2400::9"}, {NULL, NULL}};
    expect(six, "::1 2400::1 2400::2", "!2400::2 ::1 2400::1");
}

Test(dns_order, what_is_no_address_stays_at_the_end)
{
    char list[200] = "x 10.0.0.256 ", expected[200] = "!10.0.0.1 10.0.0.2 x 10.0.0.256 ";
    static const route all[] = {{"*", "10.9.9.9"}, {"*", "fe80::9"}, {NULL, NULL}};
    expect(all, "x 10.0.0.1 10.0.0.256 10.0.0.2", "!10.0.0.1 10.0.0.2 x 10.0.0.256");
    memset(list + 13, '1', 64); /* longer than an address can be */
    (void)snprintf(list + 77, sizeof list - 77, " 10.0.0.1 10.0.0.2");
    memset(expected + 32, '1', 64);
    expect(all, list, expected);
    expect(all, "x", "x");
    expect(all, "fe80::1%eth0 fe80::2%", "!fe80::1%eth0 fe80::2%"); /* a zone is ignored */
}

/* The order costs one socket, also for many addresses, and one more where the family changes. */
Test(dns_order, one_socket_per_family)
{
    (void)order(nowhere, "10.0.0.1 10.0.0.2 10.0.0.3");
    cr_expect_eq(sockets, 1);
    (void)order(nowhere, "2400::1 2400::2");
    cr_expect_eq(sockets, 1);
    (void)order(nowhere, "10.0.0.1 10.0.0.2 2400::1 2400::2");
    cr_expect_eq(sockets, 2);
    (void)order(nowhere, "x y");
    cr_expect_eq(sockets, 0);
}

/* Rule 2: a source of another scope than the address will not get an answer. */
Test(dns_order, the_scope_of_the_source_counts)
{
    static const route global[] = {{"*", "10.9.9.9"}, {NULL, NULL}};
    expect(global, "169.254.0.1 10.0.0.1", "!10.0.0.1 169.254.0.1");
    expect(global, "127.0.0.1 169.253.0.1 169.254.0.2 169.255.0.1 168.254.0.1 170.254.0.1 126.0.0.1 128.0.0.1",
           "!169.253.0.1 169.255.0.1 168.254.0.1 170.254.0.1 126.0.0.1 128.0.0.1 127.0.0.1 169.254.0.2");
    static const route local[] = {{"*", "169.254.9.9"}, {NULL, NULL}};
    expect(local, "10.0.0.1 169.254.0.1 127.0.0.1", "!169.254.0.1 127.0.0.1 10.0.0.1");
    static const route six[] = {{"fe80::1", "fe80::9"}, {"*", "fe80::9"}, {NULL, NULL}};
    expect(six, "2400::1 fe80::1", "!fe80::1 2400::1");
}

/* Rule 5: a source with another label, as a 6to4 one. */
Test(dns_order, the_label_of_the_source_counts)
{
    static const route six_to_four[] = {{"*", "2002::9"}, {NULL, NULL}};
    expect(six_to_four, "2400::1 2002::1", "!2002::1 2400::1");
    static const route native[] = {{"*", "2400::9"}, {NULL, NULL}};
    expect(native, "2002::1 2400::1", "!2400::1 2002::1");
    static const route teredo[] = {{"*", "2001::9"}, {NULL, NULL}};
    expect(teredo, "2400::1 2001::1", "!2001::1 2400::1");
    static const route own[] = {{"*", "fd00::9"}, {NULL, NULL}};
    expect(own, "2400::1 fc00::1", "!fc00::1 2400::1");
}

/* Rule 6, the precedences of RFC 6724 section 2.1, and the edges of their prefixes. */
Test(dns_order, the_precedence_of_prefixes_counts)
{
    expect(nowhere, "3ffe::1 ::2 fec0::1 fc00::1 2001::1 2002::1 ::ffff:1.2.3.4 2400::1 ::1",
           "::1 2400::1 ::ffff:1.2.3.4 2002::1 2001::1 fc00::1 fec0::1 3ffe::1 ::2");
    static const struct {
        const char *inside, *outside;
    } edges[] = {{"2002:ffff::1", "2003::1"}, {"2001:0:ffff::1", "2001:1::1"}, {"fdff::1", "fe00::1"},
                 {"fc00::1", "fbff::1"},      {"3ffe:ffff::1", "3fff::1"},     {"3ffe::1", "3ffd::1"}};
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) { /* inside: less than the default */
        char list[100], expected[100];
        (void)snprintf(list, sizeof list, "%s %s", edges[i].inside, edges[i].outside);
        (void)snprintf(expected, sizeof expected, "%s %s", edges[i].outside, edges[i].inside);
        expect(nowhere, list, expected);
    }
    expect(nowhere, "::3 ::1", "::1 ::3");
    expect(nowhere, "::ffff:0.0.0.1 ::fffe:0.0.0.1", "::fffe:0.0.0.1 ::ffff:0.0.0.1");
    expect(nowhere, "::1:0:1 2400::1 ::1.0.0.1", "::1:0:1 2400::1 ::1.0.0.1"); /* ::/96 */
}

/* Rule 8 */
Test(dns_order, a_smaller_scope_comes_first)
{
    expect(nowhere, "10.0.0.1 169.254.0.1", "169.254.0.1 10.0.0.1");
    expect(nowhere, "10.0.0.1 127.0.0.1", "127.0.0.1 10.0.0.1");
    expect(nowhere, "ff0e::1 2400::1 ff05::1 ff02::1 fe80::1 ff01::1 ff18::1",
           "ff01::1 ff02::1 fe80::1 ff05::1 ff18::1 ff0e::1 2400::1");
    expect(nowhere, "::2 fec0::1", "fec0::1 ::2");
}

/* Rule 9, for IPv6 only: a server that rotates IPv4 addresses keeps its order. */
Test(dns_order, the_longest_common_prefix_comes_first)
{
    static const route all[] = {{"*", "2400:0:0:2::9"}, {"*", "10.0.0.9"}, {NULL, NULL}};
    expect(all, "2400:0:0:1::1 2400:0:0:3::1 2400:0:0:2::1 2400:0:0:2::8",
           "!2400:0:0:2::8 2400:0:0:2::1 2400:0:0:3::1 2400:0:0:1::1");
    expect(all, "10.255.0.1 10.0.0.8", "!10.255.0.1 10.0.0.8");
    expect(nowhere, "2400:0:0:1::1 2400:0:0:2::1", "2400:0:0:1::1 2400:0:0:2::1");
}
