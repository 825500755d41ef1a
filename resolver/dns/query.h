/* Query: the seam between the DNS resolvers and the source of DNS answers. ares_client.c queries the network; tests use
 * scripted answers on the virtual loop. Control thread. */
#ifndef EVENER_RESOLVER_DNS_QUERY_H
#define EVENER_RESOLVER_DNS_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/loop.h>
#include <evener/status.h>

#define EVENER_DNS_NAME_BYTES_MAX 254 /* RFC 1035 section 2.3.4, with a last '.' */
#define EVENER_DNS_IP_BYTES_MAX 64    /* of an IP address in text form */
#define EVENER_DNS_RECORDS_MAX 4096   /* per answer; further records are dropped */

typedef enum evener_dns_type {
    EVENER_DNS_A = 1,
    EVENER_DNS_AAAA = 28,
    EVENER_DNS_SRV = 33,
    EVENER_DNS_TXT = 16
} evener_dns_type;

/* "A", "AAAA", "SRV", "TXT". */
const char *evener_dns_type_name(evener_dns_type type);

/* What is asked. The strings are borrowed for the call of start(). */
typedef struct evener_dns_question {
    evener_dns_type type;
    const char *name;
    const char *servers; /* "10.0.0.2:53,[::1]:53"; "": the system's */
    bool direct;         /* the servers alone: no hosts file, no search domains */
    uint64_t timeout_ms; /* of all tries together */
    uint32_t tries;      /* at each server */
} evener_dns_question;

/* One record. Which members are used depends on the type. */
typedef struct evener_dns_record {
    char *text;        /* A, AAAA: the address; SRV: the target's name; TXT: the strings of the record, joined */
    uint16_t port;     /* SRV, as the next two */
    uint16_t priority; /* 0 first */
    uint16_t weight;
} evener_dns_record;

/* NXDOMAIN and NODATA are answers without records, not errors (RFC 2308). */
typedef struct evener_dns_answer {
    /* OK: `records` is valid; if it is empty, `nothing` says why ("NXDOMAIN", "NODATA"). Otherwise the reason why there
     * is no answer ("SERVFAIL (server 10.0.0.2:53)"). */
    evener_status status;
    const char *nothing; /* a static string */
    evener_dns_record *records;
    size_t record_count;
    uint32_t ttl_s;
    bool ttl_known;   /* false for the hosts file and for negative answers without a SOA record */
    bool reachable;   /* A, AAAA: this machine has a route to the first address (RFC 6724 rule 1) */
    char source[128]; /* "dns 10.0.0.2:53", "hosts file" */
} evener_dns_answer;

/* Add a record with a copy of `text`. Beyond EVENER_DNS_RECORDS_MAX nothing is added and *record is NULL. False: out of
 * memory. */
bool evener_dns_answer_add(evener_dns_answer *answer, const char *text, evener_dns_record **record);

/* Free the records. */
void evener_dns_answer_clear(evener_dns_answer *answer);

typedef struct evener_dns_query evener_dns_query;
typedef struct evener_dns_client evener_dns_client;

/* Receives the answer. May take over the records (and set them to NULL). The query is already freed. */
typedef void (*evener_dns_answer_fn)(void *arg, evener_dns_answer *answer);

typedef struct evener_dns_client_vtable {
    /* Start a query. `fn(arg, answer)` is called once, never from inside start(), unless the query is cancelled before.
     * NULL: out of memory. */
    evener_dns_query *(*start)(evener_dns_client *client, evener_loop *loop, const evener_dns_question *question,
                               evener_dns_answer_fn fn, void *arg);
    /* Cancel a query whose `fn` has not been called: it will not be called. Never from inside its `fn`. */
    void (*cancel)(evener_dns_client *client, evener_dns_query *query);
} evener_dns_client_vtable;

/* Embedded first in every implementation. */
struct evener_dns_client {
    const evener_dns_client_vtable *vtable;
};

/* Return the c-ares client. One per process, stateless. */
evener_dns_client *evener_dns_ares_client(void);

#endif
