/* What a target of `dns:` or `srv:` says: a host or service, a port, a server to ask. */
#ifndef EVENER_RESOLVER_DNS_NAME_H
#define EVENER_RESOLVER_DNS_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/status.h>
#include <evener/target.h>

#include "resolver/dns/query.h"

typedef struct evener_dns_host {
    char name[EVENER_DNS_NAME_BYTES_MAX + 1]; /* a name, or an address without brackets */
    uint32_t port;
    bool literal; /* `name` is an IP address: nothing is asked */
} evener_dns_host;

#define EVENER_DNS_SERVERS_BYTES_MAX 512

/* Reads "host", "host:port", ":port" (localhost), "[v6]", "[v6]:port", a bare v6 address. Errors: INVALID_ARGUMENT with
 * the reason (no host, "host:", a port that is none, a name that DNS cannot carry). Any thread. */
evener_status_code evener_dns_host_parse(const char *text, uint32_t default_port, evener_dns_host *host,
                                         evener_status *status);

/* What is wrong with a name; NULL: nothing. Letters, digits, '-', '_' and '.' are taken: what else a server may put
 * into a name ends up in logs and authorities. Any thread. */
const char *evener_dns_name_problem(const char *name);

/* Whether the name is one of a service, "_grpc._tcp.orders.prod" (RFC 2782). */
bool evener_dns_is_service(const char *name);

/* Makes "10.0.0.2:53,[::1]:5353" of a list of IP addresses with or without ports. `servers` has room for
 * EVENER_DNS_SERVERS_BYTES_MAX. Errors: INVALID_ARGUMENT. Any thread. */
evener_status_code evener_dns_servers_parse(const char *text, char *servers, evener_status *status);

#endif
