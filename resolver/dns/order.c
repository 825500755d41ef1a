/* Rules 1 (reachable first), 2 (same scope as the source), 5 (same label), 6 (precedence), 8 (smaller scope), 9
 * (longest common prefix, IPv6 only: for IPv4 it defeats the server's rotation) and 10 (keep the order). Rules 3, 4 and
 * 7 need facts that the kernel does not give to unprivileged programs. */
#include "resolver/dns/order.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANY_PORT 53 /* for a look at the routing table */

/* RFC 4007 section 6, as the bits of multicast scopes */
#define SCOPE_LINK 2
#define SCOPE_SITE 5
#define SCOPE_GLOBAL 14

struct ranked {
    evener_dns_record record;
    struct in6_addr address; /* IPv4-mapped for A */
    struct in6_addr source;
    bool reachable;
    size_t at;
};

/* RFC 6724 section 2.1 */
static const struct {
    struct in6_addr prefix;
    int bits;
    int precedence;
    int label;
} policies[] = {
    {{{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}}, 128, 50, 0},
    {{{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}}}, 96, 35, 4},
    {{{{0x20, 0x02}}}, 16, 30, 2},
    {{{{0x20, 0x01, 0, 0}}}, 32, 5, 5},
    {{{{0xfc}}}, 7, 3, 13},
    {{{{0}}}, 96, 1, 3},
    {{{{0xfe, 0xc0}}}, 10, 1, 11},
    {{{{0x3f, 0xfe}}}, 16, 1, 12},
    {{{{0}}}, 0, 40, 1},
};

static int common_bits(const struct in6_addr *a, const struct in6_addr *b)
{
    int bits = 0;
    for (int i = 0; i < 16; i++) {
        const unsigned difference = a->s6_addr[i] ^ b->s6_addr[i];
        for (unsigned mask = 0x80; mask != 0; mask >>= 1, bits++) {
            if ((difference & mask) != 0) {
                return bits;
            }
        }
    }
    return bits;
}

static size_t policy_of(const struct in6_addr *address)
{
    size_t i = 0;
    while (common_bits(address, &policies[i].prefix) < policies[i].bits) {
        i++; /* the last one fits all */
    }
    return i;
}

static int scope_of(const struct in6_addr *address)
{
    if (IN6_IS_ADDR_V4MAPPED(address)) { /* RFC 6724 section 3.2 */
        const uint8_t *v4 = address->s6_addr + 12;
        return v4[0] == 127 || (v4[0] == 169 && v4[1] == 254) ? SCOPE_LINK : SCOPE_GLOBAL;
    }
    if (IN6_IS_ADDR_MULTICAST(address)) {
        return address->s6_addr[1] & 0x0f;
    }
    if (IN6_IS_ADDR_LINKLOCAL(address) || IN6_IS_ADDR_LOOPBACK(address)) {
        return SCOPE_LINK;
    }
    return IN6_IS_ADDR_SITELOCAL(address) ? SCOPE_SITE : SCOPE_GLOBAL;
}

static int compare(const void *left, const void *right)
{
    const struct ranked *a = left;
    const struct ranked *b = right;
    if (a->reachable != b->reachable) {
        return a->reachable ? -1 : 1;
    }
    const int scope_a = scope_of(&a->address);
    const int scope_b = scope_of(&b->address);
    if (a->reachable) {
        const bool same_a = scope_a == scope_of(&a->source);
        const bool same_b = scope_b == scope_of(&b->source);
        if (same_a != same_b) {
            return same_a ? -1 : 1;
        }
        const bool label_a = policies[policy_of(&a->address)].label == policies[policy_of(&a->source)].label;
        const bool label_b = policies[policy_of(&b->address)].label == policies[policy_of(&b->source)].label;
        if (label_a != label_b) {
            return label_a ? -1 : 1;
        }
    }
    const int precedence_a = policies[policy_of(&a->address)].precedence;
    const int precedence_b = policies[policy_of(&b->address)].precedence;
    if (precedence_a != precedence_b) {
        return precedence_a > precedence_b ? -1 : 1;
    }
    if (scope_a != scope_b) {
        return scope_a < scope_b ? -1 : 1;
    }
    if (a->reachable && !IN6_IS_ADDR_V4MAPPED(&a->address)) {
        const int bits_a = common_bits(&a->address, &a->source);
        const int bits_b = common_bits(&b->address, &b->source);
        if (bits_a != bits_b) {
            return bits_a > bits_b ? -1 : 1;
        }
    }
    return a->at < b->at ? -1 : a->at > b->at;
}

static void map_v4(struct in6_addr *mapped, const struct in_addr *v4)
{
    memset(mapped, 0, sizeof *mapped);
    mapped->s6_addr[10] = mapped->s6_addr[11] = 0xff;
    memcpy(mapped->s6_addr + 12, v4, 4);
}

/* Ask the kernel for the source address of a route: connecting a datagram socket sends nothing. */
static bool find_route(int fd, int family, struct ranked *ranked)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } to = {.any = {.sa_family = (sa_family_t)family}}, from;
    socklen_t bytes = family == AF_INET ? sizeof to.v4 : sizeof to.v6;
    if (family == AF_INET) {
        to.v4.sin_port = htons(ANY_PORT);
        memcpy(&to.v4.sin_addr, ranked->address.s6_addr + 12, 4);
    } else {
        to.v6.sin6_port = htons(ANY_PORT);
        to.v6.sin6_addr = ranked->address;
    }
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    (void)connect(fd, &none, sizeof none); /* the source address is chosen anew */
    if (fd < 0 || connect(fd, &to.any, bytes) != 0 || getsockname(fd, &from.any, &bytes) != 0) {
        return false;
    }
    if (family == AF_INET) {
        map_v4(&ranked->source, &from.v4.sin_addr);
    } else {
        ranked->source = from.v6.sin6_addr;
    }
    return true;
}

/* Read a record's address. Return its family, or AF_UNSPEC. A zone is ignored. */
static int read_address(const char *text, struct in6_addr *address)
{
    struct in_addr v4;
    char copy[EVENER_DNS_IP_BYTES_MAX];
    const size_t bytes = strcspn(text, "%");
    if (bytes >= sizeof copy) {
        return AF_UNSPEC;
    }
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    if (inet_pton(AF_INET, copy, &v4) == 1) {
        map_v4(address, &v4);
        return AF_INET;
    }
    return inet_pton(AF_INET6, copy, address) == 1 ? AF_INET6 : AF_UNSPEC;
}

void evener_dns_order(evener_dns_answer *answer)
{
    struct ranked *all = calloc(answer->record_count + 1, sizeof *all);
    if (all == NULL || answer->record_count == 0) {
        free(all);
        return; /* the server's order is an order too */
    }
    int fd = -1;
    int fd_family = AF_UNSPEC;
    for (size_t i = 0; i < answer->record_count; i++) {
        all[i].record = answer->records[i];
        all[i].at = i;
        const int family = read_address(answer->records[i].text, &all[i].address);
        if (family != AF_UNSPEC && family != fd_family) {
            if (fd >= 0) {
                (void)close(fd);
            }
            fd_family = family;
            fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        }
        all[i].reachable = family != AF_UNSPEC && fd >= 0 && find_route(fd, family, &all[i]);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    qsort(all, answer->record_count, sizeof *all, compare);
    for (size_t i = 0; i < answer->record_count; i++) {
        answer->records[i] = all[i].record;
    }
    answer->reachable = all[0].reachable;
    free(all);
}
