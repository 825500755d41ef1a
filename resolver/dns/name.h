/* The parts of a `dns:` or `srv:` target: a host or service name, a port, a DNS server. */
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
    bool literal; /* `name` is an IP address: no query needed */
} evener_dns_host;

/* Parse "host", "host:port", ":port" (localhost), "[v6]", "[v6]:port", a bare v6 address. Errors: INVALID_ARGUMENT with
 * the reason (no host, "host:", an invalid port, an invalid DNS name). Any thread. */
evener_status_code evener_dns_host_parse(const char *text, uint32_t default_port, evener_dns_host *host,
                                         evener_status *status);

/* Return why a name is invalid; NULL: it is valid. Only letters, digits, '-', '_' and '.' are accepted, because names
 * from servers end up in logs and authorities. Any thread. */
const char *evener_dns_name_problem(const char *name);

/* Return whether the name is a service name, "_grpc._tcp.orders.prod" (RFC 2782). */
bool evener_dns_is_service(const char *name);

/* Return whether the text is an IP address, of version 6 with or without a zone. Any thread. */
bool evener_dns_is_ip(const char *text);

/* Convert a list of IP addresses with or without ports to "10.0.0.2:53,[::1]:5353". `servers` has room for
 * EVENER_DNS_SERVERS_BYTES_MAX. Errors: INVALID_ARGUMENT. Any thread. */
evener_status_code evener_dns_servers_parse(const char *text, char *servers, evener_status *status);

/* Return why a server of such a list cannot be used on this machine (a zone that is no interface, a link-local address
 * without a zone); NULL: it can. Any thread. */
const char *evener_dns_server_problem(const char *server);

#endif
