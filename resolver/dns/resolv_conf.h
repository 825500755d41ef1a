/* resolv.conf(5), and which of the names to ask it makes of one name.
 *
 * The rules are those of glibc's stub resolver; what it does not honour is listed in docs/resolvers.md. */
#ifndef EVENER_RESOLVER_DNS_RESOLV_CONF_H
#define EVENER_RESOLVER_DNS_RESOLV_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "resolver/dns/query.h"

#define EVENER_DNS_SYSTEM_SERVERS_MAX 3 /* MAXNS: further nameserver lines are ignored, as in glibc */
#define EVENER_DNS_SEARCH_MAX 32        /* further search domains are ignored */

typedef struct evener_dns_resolv_conf {
    char servers[EVENER_DNS_SERVERS_BYTES_MAX]; /* "10.0.0.2:53,[fe80::1%eth0]:53"; never empty */
    char search[EVENER_DNS_SEARCH_MAX][EVENER_DNS_NAME_BYTES_MAX + 1]; /* without trailing dot; "" is the root */
    size_t search_count;
    uint32_t ndots;
    uint32_t timeout_s; /* 0: the file does not say */
    uint32_t attempts;  /* 0: the file does not say */
    bool rotate;
    bool use_vc;
    bool no_aaaa;
    bool no_tld_query;
    char problem[160]; /* why a line was ignored, with its number; "": none was */
} evener_dns_resolv_conf;

/* The environment of resolv.conf: LOCALDOMAIN and RES_OPTIONS (NULL: not set), and the name of this machine, whose
 * domain is the search list without a `search` or `domain` line. */
typedef struct evener_dns_environment {
    const char *local_domain;
    const char *res_options;
    const char *hostname;
} evener_dns_environment;

/* Parse the text of a resolv.conf ("" for a missing file: the server is 127.0.0.1). Invalid lines are ignored and
 * mentioned in conf->problem. Any thread. */
void evener_dns_resolv_conf_parse(const char *text, const evener_dns_environment *environment,
                                  evener_dns_resolv_conf *conf);

/* The absolute names to ask for one name, in order, without trailing dots. */
typedef struct evener_dns_candidates {
    char (*names)[EVENER_DNS_NAME_BYTES_MAX + 1]; /* owned */
    size_t count;
} evener_dns_candidates;

/* List the candidates: `name` itself first if it has `ndots` dots, then with each search domain, and itself last if it
 * was not first. A name with a trailing dot, or `absolute`, is the only candidate. Names that would be too long are
 * left out. Free with evener_dns_candidates_clear(). False: out of memory. Any thread. */
bool evener_dns_candidates_make(const evener_dns_resolv_conf *conf, const char *name, bool absolute,
                                evener_dns_candidates *candidates);

void evener_dns_candidates_clear(evener_dns_candidates *candidates);

#endif
