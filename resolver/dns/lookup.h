/* Lookup: the DNS answers of a runtime, refreshed while a watch exists.
 *
 * All channels of a runtime that watch one name with the same options share one lookup, with one query per record
 * type in flight. An answer is refreshed at TTL x U(0.8, 1.0), so that clients that started together drift apart. A
 * failure is retried after a backoff of 1 s x 1.6 +-20 %, at most 120 s (grpc: connection-backoff.md). Control
 * thread. */
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
    const evener_dns_record *glue; /* SERVICE: "TARGET ADDRESS" */
    size_t glue_count;
    const char *nothing; /* "NXDOMAIN" or "NODATA" when count is 0 */
    uint64_t ttl_ms;     /* 0: unknown */
    const char *source;
} evener_dns_result;

/* Write the origin of the result, for people: "dns 10.0.0.2:53", "dns 10.0.0.2:53 (NXDOMAIN)". */
void evener_dns_result_source(const evener_dns_result *result, char *source, size_t source_bytes);

typedef struct evener_dns_watch evener_dns_watch;

/* Embedded in the watcher. */
struct evener_dns_watch {
    /* A new answer. An unchanged answer is not reported again, unless it was refused or an error came in between.
     * Return whether the answer was accepted. May stop other watches, but not this one. */
    bool (*answer)(evener_dns_watch *watch, const evener_dns_result *result);
    /* Resolution failed; the last answer stays valid. May stop other watches, but not this one. */
    void (*error)(evener_dns_watch *watch, const evener_status *status);
    /* Used by the lookup. */
    struct evener_dns_lookup *lookup; /* NULL: stopped */
    evener_dns_watch *next, *previous;
    uint64_t fingerprint; /* of the last reported answer */
    bool content;         /* the last answer was accepted, and no error came since */
};

/* Start a watch. A known answer is reported from inside. `client` NULL: c-ares, on a thread of its own if the runtime's
 * loop is not libuv's. Errors: RESOURCE_EXHAUSTED, INTERNAL (that thread did not start). */
evener_status_code evener_dns_watch_start(evener_dns_watch *watch, evener_runtime *runtime, evener_dns_client *client,
                                          evener_dns_kind kind, const char *name, const evener_dns_options *options,
                                          evener_status *status);

/* Handle a hint that the answer may be stale: query again, but not within options->resolve_now_min_ms of the last round
 * (then at the end of that time), not during a backoff, and not while a query is in flight. */
void evener_dns_watch_resolve_now(evener_dns_watch *watch);

/* End a backoff and begin its sequence again: query now. A query in flight after a failure is sent again once. Control
 * thread; also from inside a push. */
void evener_dns_watch_reset_backoff(evener_dns_watch *watch);

/* What the watch has accepted was refused later, as it could not be handed on at once: query again after a backoff. A
 * watch that was not started is allowed. */
void evener_dns_watch_refused(evener_dns_watch *watch);

/* Stop a watch; a stopped watch may be stopped again. The last watch ends the lookup. */
void evener_dns_watch_stop(evener_dns_watch *watch);

#endif
