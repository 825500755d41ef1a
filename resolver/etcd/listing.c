#include "resolver/etcd/listing.h"

#include <stdlib.h>
#include <string.h>

#include "lb/base/memory.h"

#define SHRINK 10 /* a page that was too large has this many times fewer keys in the next attempt */

/* One page under way. */
typedef struct evener_etcd_page {
    evener_etcd_operation operation;
    evener_etcd_listing *owner; /* NULL: it was reset */
    evener_etcd_shared_options *shared;
    evener_etcd_range_response response;
    evener_etcd_entries entries;
    bool no_memory;
} evener_etcd_page;

static bool visit(void *arg, const evener_etcd_key_value *kv)
{
    evener_etcd_page *page = arg;
    page->no_memory = !evener_etcd_entries_add(&page->entries, &page->shared->options.layout, false, kv);
    return !page->no_memory;
}

/* On a call thread. */
static evener_status_code decode(evener_etcd_operation *operation, const evener_bytes *response, evener_status *status)
{
    evener_etcd_page *page = EVENER_CONTAINER_OF(operation, evener_etcd_page, operation);
    const bool good = evener_etcd_range_parse(response, &page->response, visit, page);
    if (page->no_memory) {
        return evener_status_set(status, EVENER_STATUS_INTERNAL, "out of memory");
    }
    if (!good || page->response.header.revision <= 0 || (page->response.more && page->entries.count == 0)) {
        return evener_status_set(status, EVENER_STATUS_INTERNAL, "the list is malformed");
    }
    return EVENER_STATUS_OK;
}

static void forget_pages(evener_etcd_listing *listing)
{
    evener_etcd_entries_clear(&listing->entries);
    listing->revision = 0;
    listing->cluster_id = 0;
}

/* Add the page to the listing. */
static evener_status_code take_page(evener_etcd_listing *listing, evener_etcd_page *page, evener_status *status)
{
    const evener_etcd_header *header = &page->response.header;
    if (listing->revision == 0) {
        listing->revision = header->revision;
        listing->cluster_id = header->cluster_id;
    } else if (header->cluster_id != listing->cluster_id) {
        forget_pages(listing);
        return evener_status_set(status, EVENER_STATUS_ABORTED, "the members belong to different clusters");
    }
    if (listing->entries.count + page->entries.count > EVENER_RESOLVER_ADDRESSES_MAX) {
        forget_pages(listing);
        return evener_status_set(status, EVENER_STATUS_INTERNAL, "more than %d keys", EVENER_RESOLVER_ADDRESSES_MAX);
    }
    if (!evener_etcd_entries_append(&listing->entries, &page->entries)) {
        forget_pages(listing);
        return evener_status_set(status, EVENER_STATUS_INTERNAL, "no memory, or keys that are not in order");
    }
    return EVENER_STATUS_OK;
}

/* Adapt the next attempt to a failure. RESOURCE_EXHAUSTED may be a page that is too large, or an etcd that is
 * overloaded: the status does not say which, and neither is a reason to go without a value. */
static void take_failure(evener_etcd_listing *listing, const evener_status *status)
{
    if (status->code == EVENER_STATUS_RESOURCE_EXHAUSTED) {
        listing->limit = listing->limit > SHRINK ? listing->limit / SHRINK : 1;
    } else if (status->code == EVENER_STATUS_OUT_OF_RANGE || status->code == EVENER_STATUS_INTERNAL) {
        forget_pages(listing); /* compacted, or an answer that may be wrong */
    }
}

static void page_done(evener_etcd_operation *operation)
{
    evener_etcd_page *page = EVENER_CONTAINER_OF(operation, evener_etcd_page, operation);
    evener_etcd_listing *listing = page->owner;
    if (listing != NULL) {
        evener_status status = operation->status;
        bool more = false;
        listing->page = NULL;
        if (status.code == EVENER_STATUS_OK) {
            more = page->response.more;
            (void)take_page(listing, page, &status);
        }
        if (status.code != EVENER_STATUS_OK) {
            take_failure(listing, &status);
            listing->ended(listing->arg, &status);
        } else {
            const int64_t page_max = (int64_t)listing->shared->options.page;
            memcpy(listing->peer, operation->peer, sizeof listing->peer);
            listing->limit = listing->limit * SHRINK < page_max ? listing->limit * SHRINK : page_max;
            if (more) {
                evener_etcd_listing_go_on(listing);
            } else {
                listing->ended(listing->arg, &status);
            }
        }
    }
    evener_etcd_entries_clear(&page->entries);
    evener_etcd_shared_options_unref(page->shared);
    free(page);
}

/* Fill the request. The key of a further page follows the last one: that key and a NUL byte. */
static bool make_request(const evener_etcd_listing *listing, evener_etcd_page *page)
{
    const char *prefix = listing->shared->options.layout.prefix;
    const size_t prefix_bytes = strlen(prefix);
    const size_t count = listing->entries.count;
    const evener_etcd_entry *last = count > 0 ? &listing->entries.items[count - 1] : NULL;
    const size_t key_bytes = last != NULL ? last->key_bytes + (size_t)1 : prefix_bytes;
    uint8_t *key = malloc(key_bytes);
    uint8_t *end = malloc(prefix_bytes + 1);
    bool good = key != NULL && end != NULL;
    if (good) {
        memcpy(key, last != NULL ? last->key : (const uint8_t *)prefix, last != NULL ? last->key_bytes : prefix_bytes);
        if (last != NULL) {
            key[key_bytes - 1] = 0;
        }
        const evener_etcd_range range = {
            .key = {key, key_bytes},
            .end = {end, evener_etcd_prefix_end((evener_etcd_span){(const uint8_t *)prefix, prefix_bytes}, end)},
            .limit = listing->limit,
            .revision = listing->revision,
        };
        good = evener_etcd_range_request(&range, &page->operation.request);
    }
    free(key);
    free(end);
    return good;
}

void evener_etcd_listing_go_on(evener_etcd_listing *listing)
{
    evener_etcd_page *page = calloc(1, sizeof *page);
    if (listing->limit == 0) {
        listing->limit = (int64_t)listing->shared->options.page;
    }
    if (page == NULL || !make_request(listing, page)) {
        free(page);
        evener_status status;
        evener_status_set(&status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        listing->ended(listing->arg, &status);
        return;
    }
    page->owner = listing;
    page->shared = evener_etcd_shared_options_ref(listing->shared);
    page->operation.method = EVENER_ETCD_RANGE;
    page->operation.decode = decode;
    page->operation.done = page_done;
    listing->page = page;
    evener_etcd_client_start(listing->client, &page->operation);
}

void evener_etcd_listing_reset(evener_etcd_listing *listing)
{
    if (listing->page != NULL) {
        listing->page->owner = NULL;
        evener_etcd_operation_cancel(&listing->page->operation);
        listing->page = NULL;
    }
    forget_pages(listing);
}
