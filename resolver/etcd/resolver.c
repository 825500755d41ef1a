/* `etcd:` - the endpoints under a prefix of etcd, followed with a watch.
 *
 *     etcd://10.0.0.1:2379,10.0.0.2:2379/orders
 *
 * 1. List: Range in pages. The first page's revision is that of all further ones, so the list is one state of etcd.
 * 2. Watch: from the revision after the list's. Each event changes the list, and each change is pushed, at most one per
 *    PUSH_INTERVAL_MS.
 * 3. The watch ends (a member is gone, or has lost its leader): watch again, at another member, from the revision after
 *    the last event seen.
 *    After an outage, it is verified first that etcd still has the known state at that revision (verify.h).
 * 4. What makes a watch incomplete makes a new listing, whose difference to the list in force is pushed: the wanted
 *    revision was compacted; another cluster id, or a revision below one that was seen (etcd was restored from a
 *    snapshot; or this member lags behind, then the listing finds the same list); other data than was verified; a
 *    message that is malformed or too large; a refused watch.
 *
 * Until a listing is complete, the list in force stays. So a watch that ends, a compaction and an etcd that is down
 * change nothing. An empty prefix is an answer: the channel's empty_update judges it, as for DNS.
 *
 *     phase      under way       leaves for
 *     LISTING    listing         WATCHING (complete), WAITING (failed)
 *     WATCHING   watch           LISTING (4.), WAITING (ended, or lost again and again)
 *     WAITING    retry_timer     LISTING; if `may_resume` WATCHING, after an outage VERIFYING
 *     VERIFYING  verification    WATCHING (the same), LISTING (not the same), WAITING (failed) */
#include "resolver/etcd/resolver.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/backoff.h>
#include <evener/log.h>

#include "lb/base/memory.h"
#include "resolver/etcd/listing.h"
#include "resolver/etcd/verify.h"
#include "resolver/etcd/watch.h"

#define BACKOFF_INITIAL_MS 100
#define PUSH_INTERVAL_MS 10
#define GOOD_WATCH_MS 5000  /* a watch that lived this long ends the backoff */
#define RESOLVE_NOW_MS 1000 /* a hint ends a backoff, but retries at most once in this time */

typedef enum phase {
    LISTING,
    WATCHING,
    WAITING,
    VERIFYING,
} phase;

typedef struct etcd_resolver {
    evener_resolver base;
    evener_resolver_sink *sink;
    evener_loop *loop;
    evener_etcd_shared_options *shared;
    evener_etcd_client *client;
    phase phase;
    bool is_doubtful; /* a watch could not be resumed at once: etcd may be another one when it is back */
    bool may_resume;  /* the list in force is complete up to `revision`, and a watch may go on from there */

    evener_etcd_entries list; /* in force */
    bool has_list;
    uint64_t cluster_id;
    int64_t revision;

    evener_etcd_listing listing;
    evener_etcd_verification *verification;
    evener_etcd_watch *watch;
    uint64_t watch_since_ns;
    bool is_created; /* the watch was in force */
    char peer[64];

    evener_backoff backoff;
    evener_timer retry_timer;
    uint64_t last_try_ns;

    evener_address **pushed; /* room for the addresses of a push */
    size_t pushed_room;
    evener_timer push_timer;
    uint64_t last_push_ns;
    evener_backoff push_backoff; /* the sink refused the list */
} etcd_resolver;

static etcd_resolver *of(evener_resolver *base)
{
    return EVENER_CONTAINER_OF(base, etcd_resolver, base);
}

static const char *members_of(const etcd_resolver *self)
{
    return self->shared->options.members;
}

static evener_backoff_options backoff_options(const etcd_resolver *self)
{
    return (evener_backoff_options){.size = sizeof(evener_backoff_options),
                                    .initial_ms = BACKOFF_INITIAL_MS,
                                    .max_ms = self->shared->options.backoff_max_ms};
}

/* ---- pushing ---- */

static bool reserve_push(etcd_resolver *self)
{
    if (self->pushed_room >= self->list.count && self->pushed != NULL) {
        return true;
    }
    const size_t room = self->list.count + self->list.count / 4 + 16;
    evener_address **grown = realloc(self->pushed, room * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    self->pushed = grown;
    self->pushed_room = room;
    return true;
}

static void push(void *arg)
{
    etcd_resolver *self = arg;
    evener_timer_stop(self->loop, &self->push_timer);
    if (!reserve_push(self)) {
        evener_timer_start(self->loop, &self->push_timer,
                           evener_backoff_next_ns(&self->push_backoff, NULL, self->loop));
        return;
    }
    size_t count = 0;
    for (size_t i = 0; i < self->list.count; i++) {
        if (self->list.items[i].address != NULL) {
            self->pushed[count++] = self->list.items[i].address;
        }
    }
    char source[128];
    snprintf(source, sizeof source, "etcd %s revision %" PRId64, self->peer[0] != '\0' ? self->peer : "?",
             self->revision);
    const evener_resolver_update update = {
        .size = sizeof update, .addresses = self->pushed, .address_count = count, .source = source};
    self->last_push_ns = evener_loop_now_ns(self->loop);
    if (evener_resolver_sink_update(self->sink, &update)) {
        evener_backoff_reset(&self->push_backoff);
    } else {
        evener_timer_start(self->loop, &self->push_timer,
                           evener_backoff_next_ns(&self->push_backoff, NULL, self->loop));
    }
}

/* Push now, or join this change with the next ones. */
static void push_soon(etcd_resolver *self)
{
    const uint64_t now_ns = evener_loop_now_ns(self->loop);
    const uint64_t due_ns = self->last_push_ns + PUSH_INTERVAL_MS * EVENER_NS_PER_MS;
    if (self->last_push_ns == 0 || now_ns >= due_ns) {
        push(self);
    } else if (!self->push_timer.active || self->push_timer.deadline_ns > due_ns) {
        evener_timer_start(self->loop, &self->push_timer, due_ns - now_ns);
    }
}

/* ---- phases ---- */

static void list_now(etcd_resolver *self);
static void watch_now(etcd_resolver *self);
static void verify_now(etcd_resolver *self);

static void stop_watch(etcd_resolver *self)
{
    evener_etcd_watch_stop(self->watch);
    self->watch = NULL;
}

static void enter(etcd_resolver *self, phase next)
{
    static const char *const names[] = {
        [LISTING] = "listing", [WATCHING] = "watching", [WAITING] = "waiting", [VERIFYING] = "verifying"};
    evener_log(EVENER_LOG_DEBUG, "etcd", "%s: %s: %s -> %s", members_of(self), self->shared->options.layout.prefix,
               names[self->phase], names[next]);
    self->phase = next;
}

static void retry(void *arg)
{
    etcd_resolver *self = arg;
    evener_timer_stop(self->loop, &self->retry_timer);
    if (!self->may_resume) {
        list_now(self);
    } else if (self->is_doubtful) {
        verify_now(self);
    } else {
        watch_now(self);
    }
}

static void wait_for_retry(etcd_resolver *self)
{
    const evener_backoff_options backoff = backoff_options(self);
    enter(self, WAITING);
    evener_timer_start(self->loop, &self->retry_timer, evener_backoff_next_ns(&self->backoff, &backoff, self->loop));
}

static void report(etcd_resolver *self, const evener_status *reason)
{
    evener_status status;
    evener_status_set(&status, reason->code, "etcd %.100s: %.60s: %s", members_of(self),
                      self->shared->options.layout.prefix, reason->message);
    evener_resolver_sink_error(self->sink, &status);
}

/* ---- listing ---- */

static void list_now(etcd_resolver *self)
{
    enter(self, LISTING);
    self->may_resume = false;
    self->last_try_ns = evener_loop_now_ns(self->loop);
    evener_etcd_listing_go_on(&self->listing);
}

static void listing_ended(void *arg, const evener_status *status)
{
    etcd_resolver *self = arg;
    if (status->code != EVENER_STATUS_OK) {
        wait_for_retry(self);
        report(self, status);
        return;
    }
    evener_etcd_entries listed = self->listing.entries;
    self->listing.entries = (evener_etcd_entries){0};
    self->cluster_id = self->listing.cluster_id;
    self->revision = self->listing.revision;
    memcpy(self->peer, self->listing.peer, sizeof self->peer);
    evener_etcd_listing_reset(&self->listing);
    if (listed.unreadable > 0) {
        evener_log(EVENER_LOG_WARNING, "etcd", "%s: skipped: %s (%zu in the list)", members_of(self), listed.warning,
                   listed.unreadable);
    }
    evener_etcd_entries_adopt(&listed, &self->list);
    evener_etcd_entries_clear(&self->list);
    self->list = listed;
    self->has_list = true;
    self->may_resume = true;
    self->is_doubtful = false;
    watch_now(self);
    push_soon(self);
}

/* ---- verifying ---- */

static void verification_ended(void *arg, const evener_status *status)
{
    etcd_resolver *self = arg;
    self->verification = NULL;
    if (status->code == EVENER_STATUS_OK) {
        self->is_doubtful = false;
        watch_now(self);
    } else if (status->code == EVENER_STATUS_OUT_OF_RANGE) { /* other data, or compacted */
        evener_log(EVENER_LOG_INFO, "etcd", "%s: %s: everything is listed anew", members_of(self), status->message);
        list_now(self);
    } else {
        wait_for_retry(self);
        report(self, status);
    }
}

static void verify_now(etcd_resolver *self)
{
    enter(self, VERIFYING);
    self->last_try_ns = evener_loop_now_ns(self->loop);
    self->verification = evener_etcd_verify(self->client, &self->shared->options.layout, &self->list, self->revision,
                                            verification_ended, self);
    if (self->verification == NULL) {
        list_now(self);
    }
}

/* ---- watching ---- */

static void watch_created(void *arg, const evener_etcd_header *header)
{
    etcd_resolver *self = arg;
    evener_etcd_peer_text(evener_etcd_watch_peer(self->watch), self->peer, sizeof self->peer);
    if (header->cluster_id == self->cluster_id && header->revision >= self->revision) {
        self->is_created = true;
        return;
    }
    evener_log(EVENER_LOG_WARNING, "etcd",
               "%s: cluster %" PRIx64 " at revision %" PRId64 " instead of %" PRIx64 " at %" PRId64
               ": everything is listed anew",
               self->peer, header->cluster_id, header->revision, self->cluster_id, self->revision);
    stop_watch(self);
    self->may_resume = false;
    wait_for_retry(self); /* with a backoff: a member that lags behind may stay so for a while */
}

static void watch_changed(void *arg, evener_etcd_entries *changes, int64_t revision)
{
    etcd_resolver *self = arg;
    const bool is_change = changes->count > 0;
    if (is_change && !evener_etcd_entries_apply(&self->list, changes)) {
        stop_watch(self);
        self->may_resume = false; /* no memory for the changes, which are lost now */
        wait_for_retry(self);
        return;
    }
    if (revision > self->revision) {
        self->revision = revision;
    }
    evener_backoff_reset(&self->backoff);
    if (is_change) {
        push_soon(self);
    }
}

/* The end of a watch that had been good is no reason to wait. */
static void end_watch(etcd_resolver *self, const evener_status *status)
{
    const uint64_t lived_ns = evener_loop_now_ns(self->loop) - self->watch_since_ns;
    self->is_doubtful |= !self->is_created;
    stop_watch(self);
    if (lived_ns >= GOOD_WATCH_MS * EVENER_NS_PER_MS) {
        evener_backoff_reset(&self->backoff);
        evener_log(EVENER_LOG_INFO, "etcd", "%s: %s", members_of(self), status->message);
        retry(self);
    } else {
        wait_for_retry(self);
        report(self, status);
    }
}

static void watch_lost(void *arg, const evener_status *status)
{
    etcd_resolver *self = arg;
    self->may_resume = false;
    if (status->code == EVENER_STATUS_FAILED_PRECONDITION) {
        evener_etcd_client_drop_token(self->client);
    }
    end_watch(self, status);
}

static void watch_ended(void *arg, const evener_status *status)
{
    etcd_resolver *self = arg;
    if (status->code == EVENER_STATUS_PERMISSION_DENIED || evener_etcd_is_token_refused(status)) {
        evener_etcd_client_drop_token(self->client);
        self->may_resume = false; /* the listing gets a token */
    }
    end_watch(self, status);
}

static const evener_etcd_watch_events watch_events = {
    .created = watch_created, .changed = watch_changed, .lost = watch_lost, .ended = watch_ended};

static void watch_now(etcd_resolver *self)
{
    evener_status status;
    enter(self, WATCHING);
    self->is_created = false;
    self->last_try_ns = self->watch_since_ns = evener_loop_now_ns(self->loop);
    if (evener_etcd_watch_start(self->client, self->shared, self->revision + 1, &watch_events, self, &self->watch,
                                &status) != EVENER_STATUS_OK) {
        self->is_doubtful = true;
        wait_for_retry(self);
        report(self, &status);
    }
}

/* ---- the resolver ---- */

static void etcd_start(evener_resolver *base)
{
    list_now(of(base));
}

static void etcd_resolve_now(evener_resolver *base)
{
    etcd_resolver *self = of(base);
    if (self->phase == WAITING &&
        evener_loop_now_ns(self->loop) - self->last_try_ns >= RESOLVE_NOW_MS * EVENER_NS_PER_MS) {
        evener_timer_start(self->loop, &self->retry_timer, 0);
    }
}

static void etcd_reset_backoff(evener_resolver *base)
{
    etcd_resolver *self = of(base);
    evener_backoff_reset(&self->backoff);
    evener_backoff_reset(&self->push_backoff);
    if (self->push_timer.active) {
        evener_timer_start(self->loop, &self->push_timer, 0);
    }
    evener_etcd_client_reset_backoff(self->client);
    if (self->phase == WAITING) {
        evener_timer_start(self->loop, &self->retry_timer, 0);
    }
}

static void free_resolver(etcd_resolver *self)
{
    evener_etcd_entries_clear(&self->list);
    evener_etcd_client_destroy(self->client);
    evener_etcd_shared_options_unref(self->shared);
    free(self->pushed);
    free(self);
}

static void etcd_close(evener_resolver *base)
{
    etcd_resolver *self = of(base);
    evener_timer_stop(self->loop, &self->retry_timer);
    evener_timer_stop(self->loop, &self->push_timer);
    evener_etcd_listing_reset(&self->listing);
    evener_etcd_verify_stop(self->verification);
    stop_watch(self);
    free_resolver(self);
}

static const evener_resolver_vtable etcd_vtable = {
    .size = sizeof etcd_vtable,
    .start = etcd_start,
    .resolve_now = etcd_resolve_now,
    .close = etcd_close,
    .reset_backoff = etcd_reset_backoff,
};

/* ---- the builder ---- */

static evener_status_code etcd_check(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                     evener_status *status)
{
    (void)builder;
    evener_etcd_options options;
    const evener_status_code code = evener_etcd_options_read(args, &options, status);
    if (code == EVENER_STATUS_OK) {
        evener_etcd_options_clear(&options);
    }
    return code;
}

static evener_status_code etcd_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                     evener_resolver **resolver, evener_status *status)
{
    (void)builder;
    evener_etcd_options options;
    evener_status_code code = evener_etcd_options_read(args, &options, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    etcd_resolver *self = calloc(1, sizeof *self);
    if (self == NULL || (self->shared = evener_etcd_shared_options_create(&options)) == NULL) {
        free(self);
        evener_etcd_options_clear(&options);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "etcd: out of memory");
    }
    self->base.vtable = &etcd_vtable;
    self->sink = args->sink;
    self->loop = args->loop;
    self->retry_timer = (evener_timer)EVENER_TIMER_INIT(retry, self);
    self->push_timer = (evener_timer)EVENER_TIMER_INIT(push, self);
    code = evener_etcd_client_create(&self->shared->options, args->runtime, true, &self->client, status);
    if (code != EVENER_STATUS_OK) {
        free_resolver(self);
        return code;
    }
    self->listing =
        (evener_etcd_listing){.client = self->client, .shared = self->shared, .ended = listing_ended, .arg = self};
    *resolver = &self->base;
    return evener_status_clear(status);
}

/* The authority of the channel's calls: the service, not the members. */
static evener_status_code etcd_default_authority(const evener_resolver_builder *builder, const evener_target *target,
                                                 char *buffer, size_t buffer_bytes, evener_status *status)
{
    (void)builder;
    const char *service = evener_target_endpoint(target);
    size_t used = 0;
    for (; *service != '\0' && used + 1 < buffer_bytes; service++) {
        const bool plain = (*service >= 'a' && *service <= 'z') || (*service >= 'A' && *service <= 'Z') ||
                           (*service >= '0' && *service <= '9') || *service == '-' || *service == '.' ||
                           *service == '_';
        buffer[used++] = plain ? *service : '-';
    }
    buffer[used] = '\0';
    return *service == '\0' ? evener_status_clear(status)
                            : evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                                "etcd: the service is too long for an :authority; set "
                                                "options.authority");
}

/* TLS verifies each backend's own address, or its attribute "authority": a service in etcd is no host. */
static evener_server_names etcd_server_names(const evener_resolver_builder *builder, const evener_target *target)
{
    (void)builder, (void)target;
    return EVENER_SERVER_NAMES_ADDRESSES;
}

const evener_resolver_builder evener_etcd_resolver_builder = {
    .size = sizeof evener_etcd_resolver_builder,
    .scheme = "etcd",
    .build = etcd_build,
    .check = etcd_check,
    .default_authority = etcd_default_authority,
    .server_names = etcd_server_names,
};
