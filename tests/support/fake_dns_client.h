/* Scripted DNS on a virtual loop: tests and simulations use it instead of c-ares.
 *
 *     fake_dns_client client;
 *     fake_dns_client_init(&client);
 *     fake_dns_set(&client, EVENER_DNS_A, "orders.prod", "10.0.0.1,10.0.0.2", 30);
 *     ...
 *     f->set = client.set;     // the resolvers that use it, for a resolver_fixture
 *
 * Names without a script are NXDOMAIN (A, SRV, TXT) or NODATA (AAAA). */
#ifndef EVENER_TESTS_SUPPORT_FAKE_DNS_CLIENT_H
#define EVENER_TESTS_SUPPORT_FAKE_DNS_CLIENT_H

#include <evener/resolver.h>

#include "resolver/dns/query.h"

#define FAKE_DNS_SCRIPTS_MAX 64

typedef struct fake_dns_script {
    evener_dns_type type;
    char name[64];
    char records[1024]; /* "10.0.0.1,10.0.0.2"; SRV: "0 5 80 a.example,..."; "!SERVFAIL": an error; "?": silence */
    uint32_t ttl_s;
    uint64_t latency_ms;
    bool unreachable; /* no route to the addresses */
    size_t asked;
} fake_dns_script;

typedef struct fake_dns_client {
    evener_dns_client base;
    fake_dns_script scripts[FAKE_DNS_SCRIPTS_MAX];
    size_t script_count;
    size_t asked; /* queries of any name and type */
    size_t in_flight;
    size_t in_flight_most;
    size_t cancelled;
    bool no_memory; /* set by the test: queries do not start */
    evener_resolver_builder builders[2];
    const evener_resolver_builder *own[2];
    evener_resolver_set set;
} fake_dns_client;

void fake_dns_client_init(fake_dns_client *client);

/* Set the answer from now on. Return the script, for its latency and counters. */
fake_dns_script *fake_dns_set(fake_dns_client *client, evener_dns_type type, const char *name, const char *records,
                              uint32_t ttl_s);

#endif
