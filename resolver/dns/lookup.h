/* Lookup: what a runtime knows about names, kept fresh while anybody watches.
 *
 * All channels of a runtime that watch one name with the same options share one lookup: one query a record type is
 * under way, whoever and however many ask. An answer is asked again at TTL x U(0.8, 1.0), so that clients that
 * started together drift apart; a failure after a backoff of 1 s x 1.6 +-20 %, at most 120 s (grpc:
 * connection-backoff.md). Control thread. */
#ifndef EVENER_RESOLVER_DNS_LOOKUP_H
#define EVENER_RESOLVER_DNS_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/runtime.h>
#include <evener/status.h>

#include "resolver/dns/options.h"
#include "resolver/dns/query.h"

typedef enum evener_dns_kind {
    EVENER_DNS_HOST,    /* A and AAAA */
    EVENER_DNS_SERVICE, /* SRV */
    EVENER_DNS_TEXT     /* TXT */
} evener_dns_kind;

/* Borrowed for the call. */
typedef struct evener_dns_result {
    const evener_dns_record *const *records; /* HOST: in the order of RFC 6724 */
    size_t count;
    const char *nothing; /* "NXDOMAIN" or "NODATA" when count is 0 */
    uint64_t ttl_ms;     /* 0: not known */
    const char *source;
} evener_dns_result;

/* Where the result comes from, for people: "dns 10.0.0.2:53", "dns 10.0.0.2:53 (NXDOMAIN)". */
void evener_dns_result_source(const evener_dns_result *result, char *source, size_t source_bytes);

typedef struct evener_dns_watch evener_dns_watch;

/* Embedded in who watches. */
struct evener_dns_watch {
    /* A new answer; the same one is not told twice, unless it was not accepted or an error came between. Returns
     * whether it was. May stop other watches, but not this one. */
    bool (*answer)(evener_dns_watch *watch, const evener_dns_result *result);
    /* No answer could be had; what was told before stays as good as it was. The same rule. */
    void (*error)(evener_dns_watch *watch, const evener_status *status);
    /* The lookup's. */
    struct evener_dns_lookup *lookup; /* NULL: stopped */
    evener_dns_watch *next, *previous;
    uint64_t fingerprint; /* of the answer told last */
    bool content;         /* it was accepted, and no error came since */
};

/* Begins. What is known already is told from inside. `client` NULL: c-ares. Errors: RESOURCE_EXHAUSTED,
 * FAILED_PRECONDITION (c-ares on a loop without libuv). */
evener_status_code evener_dns_watch_start(evener_dns_watch *watch, evener_runtime *runtime, evener_dns_client *client,
                                          evener_dns_kind kind, const char *name, const evener_dns_options *options,
                                          evener_status *status);

/* A hint that the answer may be stale: asked again, but not within options->resolve_now_min_ms of the last time (then
 * at its end), nor during a backoff, nor while a query is under way. */
void evener_dns_watch_resolve_now(evener_dns_watch *watch);

/* Ends; a stopped one may be stopped again. The last one ends the lookup. */
void evener_dns_watch_stop(evener_dns_watch *watch);

#endif
