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
#define EVENER_DNS_SERVERS_BYTES_MAX 512
#define EVENER_DNS_IP_BYTES_MAX 64  /* of an IP address in text form */
#define EVENER_DNS_RECORDS_MAX 4096 /* per answer; further records are dropped */

typedef enum evener_dns_type {
    EVENER_DNS_A = 1,
    EVENER_DNS_AAAA = 28,
    EVENER_DNS_SRV = 33,
    EVENER_DNS_TXT = 16
} evener_dns_type;

/* "A", "AAAA", "SRV", "TXT". */
const char *evener_dns_type_name(evener_dns_type type);

/* A question. The strings are borrowed for the call of start(). */
typedef struct evener_dns_question {
    evener_dns_type type;
    const char *name;    /* absolute: asked as it is */
    const char *servers; /* "10.0.0.2:53,[fe80::1%eth0]:53" */
    uint64_t timeout_ms; /* of all tries together */
    uint32_t tries;      /* rounds over the servers */
    uint64_t try_ms;     /* of each try; 0: the time limit is divided, each round twice as long as the one before */
    bool rotate;         /* begin with another server each time */
    bool use_tcp;
} evener_dns_question;

/* One record. Which members are used depends on the type. */
typedef struct evener_dns_record {
    char *text;        /* A, AAAA: the address; SRV: the target's name; TXT: the strings of the record, joined */
    uint16_t port;     /* SRV, as the next two */
    uint16_t priority; /* 0 first */
    uint16_t weight;
    uint64_t seen_ns; /* A, AAAA: when an answer had it last; for options->keep_removed_ms */
} evener_dns_record;

/* NXDOMAIN and NODATA are answers without records, not errors (RFC 2308). */
typedef struct evener_dns_answer {
    /* OK: `records` is valid; if it is empty, `nothing` says why ("NXDOMAIN", "NODATA"). Otherwise the reason why there
     * is no answer ("SERVFAIL (server 10.0.0.2:53)"). */
    evener_status status;
    const char *nothing; /* a static string */
    evener_dns_record *records;
    size_t record_count;
    evener_dns_record *glue; /* SRV: "TARGET ADDRESS" of the additional section */
    size_t glue_count;
    bool server_error; /* not OK: a server answered, with an error code; another name may be asked */
    uint32_t ttl_s;
    bool skipped;     /* nothing, because this family is not wanted */
    bool ttl_known;   /* false for the hosts file and for negative answers without a SOA record */
    bool reachable;   /* A, AAAA: this machine has a route to the first address (RFC 6724 rule 1) */
    char source[128]; /* "dns 10.0.0.2:53", "hosts file" */
} evener_dns_answer;

/* Add a record with a copy of `text`. Beyond EVENER_DNS_RECORDS_MAX nothing is added and *record is NULL. False: out of
 * memory. */
bool evener_dns_answer_add(evener_dns_answer *answer, const char *text, evener_dns_record **record);

/* Add "TARGET ADDRESS" to the glue; likewise. */
bool evener_dns_answer_add_glue(evener_dns_answer *answer, const char *text);

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
    const struct evener_dns_texts *texts; /* the files of the machine in a test; NULL: the real ones */
};

/* Return the c-ares client. One per process, stateless. */
evener_dns_client *evener_dns_ares_client(void);

#endif
