/* The options of `dns:` and `srv:` (docs/resolvers.md), read once per resolver. */
#ifndef EVENER_RESOLVER_DNS_OPTIONS_H
#define EVENER_RESOLVER_DNS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/resolver.h>

#include "resolver/dns/name.h"

typedef enum evener_dns_family {
    EVENER_DNS_FAMILY_AUTO,
    EVENER_DNS_FAMILY_IPV4,
    EVENER_DNS_FAMILY_IPV6,
    EVENER_DNS_FAMILY_IPV6_FIRST
} evener_dns_family;

typedef struct evener_dns_options {
    uint64_t min_refresh_ms;                    /* "dns.min_refresh_ms" */
    uint64_t max_refresh_ms;                    /* "dns.max_refresh_ms" */
    uint64_t resolve_now_min_ms;                /* "dns.resolve_now_min_ms" */
    uint64_t timeout_ms;                        /* "dns.timeout_ms" */
    uint32_t tries;                             /* "dns.tries" */
    bool txt_service_config;                    /* "dns.txt_service_config" */
    bool all_tiers;                             /* "dns.srv_tiers" = "all" */
    bool timeout_set;                           /* "dns.timeout_ms" was given: resolv.conf's does not count */
    bool tries_set;                             /* likewise "dns.tries" */
    uint64_t keep_removed_ms;                   /* "dns.keep_removed_ms" */
    uint32_t in_flight_max;                     /* "dns.in_flight_max" */
    evener_dns_family family;                   /* "dns.family" */
    bool absolute;                              /* the name is not searched: the target of an SRV record */
    const void *owner;                          /* identifies the channel, for the fair queue; not dereferenced */
    bool direct;                                /* the server comes from the target's authority */
    char servers[EVENER_DNS_SERVERS_BYTES_MAX]; /* "dns.servers", or the target's authority; "": the system's */
} evener_dns_options;

/* Read and check the options; fill in the defaults. Errors: INVALID_ARGUMENT naming the key. Any thread. */
evener_status_code evener_dns_options_read(const evener_resolver_args *args, evener_dns_options *options,
                                           evener_status *status);

#endif
