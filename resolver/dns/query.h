/* Query: the seam between what is done with DNS answers and how they are had. ares_client.c asks the network; tests
 * answer by script on the virtual loop. All on the control thread. */
#ifndef EVENER_RESOLVER_DNS_QUERY_H
#define EVENER_RESOLVER_DNS_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/loop.h>
#include <evener/status.h>

#define EVENER_DNS_NAME_BYTES_MAX 254 /* RFC 1035 section 2.3.4, with a last '.' */
#define EVENER_DNS_IP_BYTES_MAX 64    /* of an IP address as text */
#define EVENER_DNS_RECORDS_MAX 4096   /* of one answer; further ones are left out */

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

/* One record; what is used depends on the type. */
typedef struct evener_dns_record {
    char *text;        /* A, AAAA: the address; SRV: the target's name; TXT: the strings of the record, joined */
    uint16_t port;     /* SRV, as the next two */
    uint16_t priority; /* 0 first */
    uint16_t weight;
} evener_dns_record;

/* NXDOMAIN and NODATA are answers with no records, and no errors (RFC 2308). */
typedef struct evener_dns_answer {
    /* OK: `records` holds, and if there are none `nothing` says why ("NXDOMAIN", "NODATA"). Else why the question got
     * no answer ("SERVFAIL (server 10.0.0.2:53)"). */
    evener_status status;
    const char *nothing; /* a static string */
    evener_dns_record *records;
    size_t record_count;
    uint32_t ttl_s;
    bool ttl_known;   /* an answer of the hosts file has no TTL, nor has a negative one without a SOA record */
    bool reachable;   /* A, AAAA: this machine has a route to the first of them (RFC 6724 rule 1) */
    char source[128]; /* "dns 10.0.0.2:53", "hosts file" */
} evener_dns_answer;

/* Adds a record with a copy of `text`; beyond EVENER_DNS_RECORDS_MAX nothing is
 * added, and *record is NULL. False without memory. */
bool evener_dns_answer_add(evener_dns_answer *answer, const char *text, evener_dns_record **record);

/* Frees the records. */
void evener_dns_answer_clear(evener_dns_answer *answer);

typedef struct evener_dns_query evener_dns_query;
typedef struct evener_dns_client evener_dns_client;

/* Takes the answer's records over (and sets them to NULL) or leaves them. The query is gone when this is called. */
typedef void (*evener_dns_answer_fn)(void *arg, evener_dns_answer *answer);

typedef struct evener_dns_client_vtable {
    /* Asks. `fn(arg, answer)` is called once, never from inside start(), unless the query is cancelled before. NULL
     * without memory. */
    evener_dns_query *(*start)(evener_dns_client *client, evener_loop *loop, const evener_dns_question *question,
                               evener_dns_answer_fn fn, void *arg);
    /* Ends a query whose answer has not come: it will not. Never from inside its `fn`. */
    void (*cancel)(evener_dns_client *client, evener_dns_query *query);
} evener_dns_client_vtable;

/* Embedded first in every implementation. */
struct evener_dns_client {
    const evener_dns_client_vtable *vtable;
};

/* c-ares on the loop's libuv. One for the process, without a state of its own. */
evener_dns_client *evener_dns_ares_client(void);

#endif
