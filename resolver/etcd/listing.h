/* Listing: all keys of a prefix as of one revision, read in pages.
 *
 * A page that is too large is asked for again with fewer keys, but no value is left out. After a failure the listing
 * goes on with the page that failed, unless etcd has compacted the revision. Control thread. */
#ifndef EVENER_RESOLVER_ETCD_LISTING_H
#define EVENER_RESOLVER_ETCD_LISTING_H

#include "resolver/etcd/client.h"
#include "resolver/etcd/endpoints.h"

typedef struct evener_etcd_listing {
    evener_etcd_client *client;         /* set by the owner */
    evener_etcd_shared_options *shared; /* likewise; lives at least as long */
    /* OK: the three members below have the result. Otherwise evener_etcd_listing_go_on() may try again. May come inside
     * go_on() (out of memory). */
    void (*ended)(void *arg, const evener_status *status);
    void *arg;
    evener_etcd_entries entries;
    uint64_t cluster_id;
    int64_t revision; /* 0: no page was read yet */
    char peer[64];    /* the member that gave the last page */
    /* private */
    struct evener_etcd_page *page; /* under way, or NULL */
    int64_t limit;
} evener_etcd_listing;

/* Ask for the first page, or for the next one. */
void evener_etcd_listing_go_on(evener_etcd_listing *listing);
/* Cancel the page under way, and forget all pages. `ended` does not come. */
void evener_etcd_listing_reset(evener_etcd_listing *listing);

#endif
