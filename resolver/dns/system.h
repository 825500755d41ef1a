/* System: how this machine resolves a name: hosts file, resolv.conf, nsswitch.conf, environment. The files are read
 * again when they have changed. Control thread. */
#ifndef EVENER_RESOLVER_DNS_SYSTEM_H
#define EVENER_RESOLVER_DNS_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/status.h>

#include "resolver/dns/options.h"
#include "resolver/dns/query.h"
#include "resolver/dns/resolv_conf.h"

typedef struct evener_dns_system evener_dns_system;

/* The texts of the files, for tests; NULL: there is no such file. */
typedef struct evener_dns_texts {
    const char *resolv_conf;
    const char *hosts;
    const char *nsswitch;
    evener_dns_environment environment;
} evener_dns_texts;

/* When `local` is the answer although servers are asked first (`hosts: dns files` in nsswitch.conf). */
typedef enum evener_dns_then {
    EVENER_DNS_NEVER_LOCAL = 0,
    EVENER_DNS_THEN_LOCAL,     /* if no candidate has addresses */
    EVENER_DNS_IF_UNAVAILABLE, /* if the search failed */
} evener_dns_then;

/* What to do for one name. */
typedef struct evener_dns_plan {
    evener_status status; /* not OK: why no server may be asked */
    bool is_local;        /* `local` is the answer */
    evener_dns_then then_local;
    evener_dns_answer local[2];  /* A and AAAA: of the hosts file, or of the rule for .localhost */
    evener_dns_candidates names; /* to ask for, in order */
    char servers[EVENER_DNS_SERVERS_BYTES_MAX];
    uint64_t timeout_ms; /* per name */
    uint64_t try_ms;     /* per try; 0: the time limit is divided among the rounds */
    uint32_t tries;      /* rounds over the servers */
    bool rotate;
    bool use_tcp;
    bool no_aaaa;
} evener_dns_plan;

/* NULL: out of memory. */
evener_dns_system *evener_dns_system_create(void);

void evener_dns_system_destroy(evener_dns_system *system);

/* Make the plan for a name, `host`: one with addresses. `texts` NULL: the machine's files. False: out of memory. Free
 * with evener_dns_plan_clear(). */
bool evener_dns_system_plan(evener_dns_system *system, const evener_dns_texts *texts, const char *name, bool host,
                            const evener_dns_options *options, evener_dns_plan *plan);

void evener_dns_plan_clear(evener_dns_plan *plan);

#endif
