/* Connector: one address: connectivity state, backoff and the transport's connection.
 *
 * IDLE -> CONNECTING -> READY -> IDLE on a drop; CONNECTING -> TRANSIENT_FAILURE, and IDLE after the backoff (grpc:
 * doc/connectivity-semantics-and-api.md, doc/connection-backoff.md).
 *
 * A connection that is to be replaced (new authority or credentials) serves until its successor is READY, so no call
 * waits: a READY connector may have an attempt as well. An attempt in flight is never restarted for a change, it ends
 * first: otherwise changes that are faster than connecting would starve a backend. A failed attempt for a successor
 * is retried after the backoff while the old connection serves on, however often that happens: a connection that
 * works is never closed because its replacement failed. If the old connection drops during that backoff, the backend
 * is in TRANSIENT_FAILURE until the backoff ends. */
#include <stdlib.h>
#include <string.h>

#include <evener/log.h>

#include "lb/backend/in_flight.h"
#include "lb/backend/load_reports.h"
#include "lb/backend/shared_transport.h"
#include "lb/backend/subchannel_pool.h"
#include "lb/runtime/rcu.h"
#include "lb/runtime/reclaim.h"

/* A success resets the backoff, so a server that accepts connections only to drop them would be dialled in a tight
 * loop. The next drop after this many short-lived connections in a row counts as a failure. */
#define SHORT_LIVED_NS (100 * EVENER_NS_PER_MS)
#define SHORT_LIVED_MAX 5
/* Retry interval of connectors that had no memory for an attempt. */
#define STARVED_RETRY_NS EVENER_NS_PER_S

static void start_attempt(evener_connector *connector);

static void set_state_at(evener_connector *connector, evener_connectivity_state state, uint64_t now_fast_ns)
{
    if (evener_log_enabled(EVENER_LOG_DEBUG)) {
        const char *last_error = evener_connector_last_error(connector);
        evener_log(EVENER_LOG_DEBUG, "subchannel", "%s: %s -> %s%s%s", evener_address_text(connector->address),
                   evener_connectivity_state_name((evener_connectivity_state)connector->state),
                   evener_connectivity_state_name(state), state == EVENER_TRANSIENT_FAILURE ? ": " : "",
                   state == EVENER_TRANSIENT_FAILURE && last_error != NULL ? last_error : "");
    }
    connector->state = (uint8_t)state;
    connector->state_since_ns = now_fast_ns;
    for (evener_subchannel_body *s = connector->subchannels; s != NULL; s = s->connector_next) {
        s->failure_pending |= state == EVENER_TRANSIENT_FAILURE;
        s->idle_pending |= state == EVENER_IDLE;
        evener_subchannel_notify_later(s);
    }
}

static void set_state(evener_connector *connector, evener_connectivity_state state)
{
    set_state_at(connector, state, evener_loop_now_fast_ns(evener_connector_pool(connector)->loop));
}

evener_connector_extra *evener_connector_obtain_extra(evener_connector *connector)
{
    if (connector->extra == NULL) {
        connector->extra = calloc(1, sizeof *connector->extra);
    }
    return connector->extra;
}

static void set_error(evener_connector *connector, const char *message)
{
    evener_connector_extra *extra = evener_connector_obtain_extra(connector);
    char *copy = extra != NULL ? strdup(message) : NULL;
    if (copy != NULL) { /* on out of memory the previous message stays */
        free(extra->last_error);
        extra->last_error = copy;
    }
}

/* Give up the attempt's connection, which no pick has seen. */
static void give_up_attempted(evener_attempt *attempt)
{
    evener_link *link = attempt->link;
    if (link != NULL) {
        attempt->link = NULL;
        evener_link_set_next(link, NULL);
        evener_link_disconnect(evener_connector_pool(attempt->connector), link);
    }
}

/* Publish the connection that picks find from now on; NULL: none. */
static void publish(const evener_connector *connector, const evener_link *link)
{
    for (evener_subchannel_body *s = connector->subchannels; s != NULL; s = s->connector_next) {
        evener_link_publish(link, s->handle);
    }
}

/* Start a grace period for the links given up so far. Links given up during it wait for the next one. */
static void begin_grace_period(evener_subchannel_pool *pool)
{
    pool->in_grace_period = pool->given_up;
    pool->given_up = NULL;
    evener_subchannel_pool_reclaim(pool, &pool->grace_period);
}

static void grace_period_over(void *arg)
{
    evener_subchannel_pool *pool = arg;
    evener_link *link = pool->in_grace_period;
    pool->in_grace_period = NULL;
    if (pool->given_up != NULL) {
        begin_grace_period(pool);
    }
    while (link != NULL) {
        evener_link *next = evener_link_next(link);
        evener_link_disconnect(pool, link); /* the last one may end the pool */
        link = next;
    }
}

/* Give up a published connection. A pick may have loaded the pointer without having counted itself yet, so the
 * transport is asked only after a grace period. */
static void retire(const evener_connector *connector, evener_link *link)
{
    evener_subchannel_pool *pool = evener_connector_pool(connector);
    evener_link_set_next(link, NULL);
    if (pool->given_up != NULL) {
        evener_link_set_next(pool->given_up_last, link);
    } else {
        pool->given_up = link;
    }
    pool->given_up_last = link;
    if (pool->in_grace_period == NULL) {
        begin_grace_period(pool);
    }
}

/* The load reports of this connector come over `connection` from now on; NULL: it has none. */
static void move_load_reports(const evener_connector *connector, evener_connection *connection)
{
    if (connector->extra != NULL && connector->extra->load_reports != NULL) {
        evener_load_reports_move(connector->extra->load_reports, connection);
    }
}

/* Give up the connection in service. */
static void give_up_link(evener_connector *connector)
{
    evener_link *link = connector->link;
    if (link != NULL) {
        evener_health_watches_end(connector, link->connection);
        connector->link = NULL;
        move_load_reports(connector, NULL);
        publish(connector, NULL);
        retire(connector, link);
    }
}

static void backoff_over(void *arg)
{
    evener_attempt *attempt = arg;
    evener_connector *connector = attempt->connector;
    if (connector->link != NULL) {
        start_attempt(connector); /* for the successor, without a request by the policy */
        return;
    }
    set_state(connector, EVENER_IDLE);
    if (attempt->wanted) {
        start_attempt(connector);
    }
}

/* Return the connector's attempt, created if necessary. NULL on out of memory: then the pool retries later. */
static evener_attempt *obtain_attempt(evener_connector *connector)
{
    if (connector->attempt != NULL) {
        return connector->attempt;
    }
    evener_subchannel_pool *pool = evener_connector_pool(connector);
    evener_attempt *attempt = evener_slab_take(&pool->memory->attempts);
    if (attempt == NULL) {
        evener_timer_start(pool->loop, &pool->starved_timer, STARVED_RETRY_NS);
        return NULL;
    }
    attempt->connector = connector;
    attempt->timer = (evener_timer)EVENER_TIMER_INIT(backoff_over, attempt);
    connector->attempt = attempt;
    return attempt;
}

static void free_attempt(evener_connector *connector)
{
    evener_attempt *attempt = connector->attempt;
    if (attempt != NULL) {
        evener_attempt_stop_time_out(evener_connector_pool(connector), attempt);
        give_up_attempted(attempt);
        evener_slab_give_back(&evener_connector_pool(connector)->memory->attempts, attempt);
        connector->attempt = NULL;
    }
}

/* Start the backoff until `next_ns`; then backoff_over() runs. */
static void start_backoff(evener_attempt *attempt, uint64_t next_ns)
{
    evener_subchannel_pool *pool = evener_connector_pool(attempt->connector);
    const uint64_t now_ns = evener_loop_now_ns(pool->loop);
    evener_attempt_stop_time_out(pool, attempt);
    attempt->timer.fn = backoff_over;
    evener_timer_start(pool->loop, &attempt->timer, next_ns > now_ns ? next_ns - now_ns : 0);
}

/* Return when the attempt that follows the failed one starts: at a time that channels which share the backend have in
 * common, or by its own backoff. */
static uint64_t next_attempt_ns(const evener_attempt *attempt)
{
    if (attempt->retry_at_ns != 0) {
        return attempt->retry_at_ns;
    }
    const evener_subchannel_pool *pool = evener_connector_pool(attempt->connector);
    return attempt->started_ns + evener_backoff_spread_ns(attempt->backoff.delay_ns, &pool->backoff, pool->loop);
}

/* Without a connection in service. */
static void enter_failure(evener_connector *connector, const char *message)
{
    evener_loop *loop = evener_connector_pool(connector)->loop;
    const bool was_connected = connector->attempt == NULL;
    evener_attempt *attempt = obtain_attempt(connector);
    connector->outdated = false;
    connector->connect_failures++;
    set_error(connector, message);
    set_state(connector, EVENER_TRANSIENT_FAILURE);
    if (attempt != NULL) {
        give_up_attempted(attempt);
        const evener_backoff_options *backoff = &evener_connector_pool(connector)->backoff;
        evener_backoff first = {0};
        start_backoff(attempt, was_connected ? evener_loop_now_ns(loop) + evener_backoff_next_ns(&first, backoff, loop)
                                             : next_attempt_ns(attempt));
    }
}

/* Keep the connection in service and log one warning per row of failures; the statistics have the last reason. */
static void successor_failed(evener_connector *connector, const char *message)
{
    evener_attempt *attempt = connector->attempt;
    give_up_attempted(attempt);
    connector->connect_failures++;
    set_error(connector, message);
    evener_log(
        attempt->failure_logged ? EVENER_LOG_DEBUG : EVENER_LOG_WARNING, "subchannel",
        "%s: the connection that is to replace the one in service failed, which serves on; it is tried again: %s",
        evener_address_text(connector->address), message);
    attempt->failure_logged = true;
    start_backoff(attempt, next_attempt_ns(attempt));
}

void evener_connector_starved_again(evener_subchannel_pool *pool)
{
    for (evener_connector *c = evener_address_table_first(&pool->table); c != NULL;
         c = evener_address_table_next(&pool->table, c)) {
        if (c->state == EVENER_TRANSIENT_FAILURE && c->attempt == NULL) {
            set_state(c, EVENER_IDLE); /* policies that want it connected request that again */
        } else if (c->state == EVENER_READY && c->outdated && c->attempt == NULL) {
            start_attempt(c);
        }
    }
}

static void attempt_failed(evener_connector *connector, const char *message)
{
    if (connector->outdated) { /* it failed with settings that are no longer in force */
        give_up_attempted(connector->attempt);
        evener_backoff_reset(&connector->attempt->backoff);
        start_attempt(connector);
        return;
    }
    if (connector->link != NULL) {
        successor_failed(connector, message);
    } else {
        enter_failure(connector, message);
    }
}

static void attempt_succeeded(evener_connector *connector)
{
    evener_link *predecessor = connector->link;
    evener_link_hold(evener_connector_pool(connector), connector->attempt->link);
    if (predecessor != NULL && evener_link_connection(connector->attempt->link) == NULL) {
        attempt_failed(connector, "the server ended the connection right after it was made");
        return;
    }
    const bool failed_before = connector->attempt->failure_logged;
    connector->link = connector->attempt->link;
    connector->attempt->link = NULL;
    free_attempt(connector);
    connector->connects++;
    publish(connector, connector->link);
    move_load_reports(connector, evener_link_connection(connector->link));
    if (predecessor == NULL) {
        set_state(connector, EVENER_READY);
        evener_connector_pool(connector)->became_ready(evener_connector_pool(connector)->arg);
    } else {
        evener_log(failed_before ? EVENER_LOG_INFO : EVENER_LOG_DEBUG, "subchannel", "%s: its new connection serves",
                   evener_address_text(connector->address));
        evener_health_watches_move(connector, predecessor->connection, connector->link->connection);
        retire(connector, predecessor);
    }
    if (connector->outdated) {
        start_attempt(connector);
    }
}

static void connection_dropped(evener_connector *connector)
{
    const uint64_t age_ns = evener_loop_now_fast_ns(evener_connector_pool(connector)->loop) - connector->state_since_ns;
    give_up_link(connector);
    if (connector->attempt != NULL) { /* its successor is being connected, or in backoff */
        set_state(connector, connector->attempt->link != NULL ? EVENER_CONNECTING : EVENER_TRANSIENT_FAILURE);
        return;
    }
    connector->outdated = false; /* the next attempt uses the settings in force */
    connector->short_lived = age_ns < SHORT_LIVED_NS ? (uint8_t)(connector->short_lived + 1) : 0;
    if (connector->short_lived >= SHORT_LIVED_MAX) {
        connector->short_lived = 0;
        enter_failure(connector, "the server drops every connection right after it was made");
        return;
    }
    set_state(connector, EVENER_IDLE);
}

static void link_state_changed(void *arg, evener_connectivity_state state, const evener_status *status)
{
    evener_link *link = arg;
    evener_connector *connector = evener_link_connector(link);
    if (connector == NULL) {
        return; /* given up; its grace period is not over */
    }
    if (link == connector->link) {
        if (state != EVENER_READY) {
            connection_dropped(connector);
        }
    } else if (state == EVENER_READY) {
        attempt_succeeded(connector);
    } else if (state != EVENER_CONNECTING) {
        attempt_failed(connector, status != NULL && status->message[0] != '\0' ? status->message : "connection failed");
    }
}

void evener_attempt_timed_out(void *arg)
{
    const evener_attempt *attempt = arg;
    evener_connector *connector = attempt->connector;
    evener_loop *loop = evener_connector_pool(connector)->loop;
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "no connection within %llu ms",
                      (unsigned long long)((evener_loop_now_ns(loop) - attempt->started_ns) / EVENER_NS_PER_MS));
    attempt_failed(connector, status.message);
}

/* Keep a connection in service and retry its successor later. */
static void no_memory_for_attempt(evener_connector *connector)
{
    if (connector->link == NULL) {
        enter_failure(connector, "out of memory");
        return;
    }
    evener_subchannel_pool *pool = evener_connector_pool(connector);
    free_attempt(connector);
    connector->outdated = true;
    evener_timer_start(pool->loop, &pool->starved_timer, STARVED_RETRY_NS);
}

/* Set start, timeout and backoff of an attempt that starts now. The backoff counts from the start, so an attempt that
 * was slow to fail is followed soon (grpc: connection-backoff.md). */
static void set_times(evener_subchannel_pool *pool, evener_attempt *attempt)
{
    const uint64_t delay_ns = evener_backoff_advance_ns(&attempt->backoff, &pool->backoff);
    attempt->timeout_ns = delay_ns > pool->connect_timeout_ns ? delay_ns : pool->connect_timeout_ns;
    attempt->wanted = false;
    attempt->retry_at_ns = 0;
    attempt->started_ns = evener_connector_time_ns(pool);
}

/* Start an attempt for the first connection, or for the successor of the one in service. */
static void start_attempt(evener_connector *connector)
{
    evener_subchannel_pool *pool = evener_connector_pool(connector);
    evener_attempt *attempt = connector->attempt;
    if (attempt != NULL) {
        evener_attempt_stop_time_out(pool, attempt);
    } else {
        attempt = obtain_attempt(connector);
    }
    if (attempt == NULL) {
        no_memory_for_attempt(connector);
        return;
    }
    set_times(pool, attempt);
    evener_link *link = evener_link_create(connector);
    if (link == NULL) {
        no_memory_for_attempt(connector);
        return;
    }
    connector->outdated = false;
    if (connector->state != EVENER_CONNECTING && connector->link == NULL) {
        set_state_at(connector, EVENER_CONNECTING, attempt->started_ns);
    }
    attempt->link = link;
    evener_attempt_start_time_out(pool, attempt);
    char name[EVENER_ADDRESS_BYTES_MAX];
    const evener_authority_origin origin = (evener_authority_origin)connector->authority_origin;
    const evener_shared_connect_args args = {
        .base = {.size = sizeof args.base,
                 .address = connector->address,
                 .authority = evener_backend_authority(connector->address, connector->authority, origin),
                 .timeout_ms = attempt->timeout_ns / EVENER_NS_PER_MS,
                 .state_changed = link_state_changed,
                 .arg = link,
                 .server_name = evener_backend_server_name(connector->address, connector->authority, origin, name),
                 .loop = pool->loop},
        .connect_timeout_ns = pool->connect_timeout_ns,
        .backoff = &pool->backoff,
        .retry_at_ns = &attempt->retry_at_ns,
        .end_backoff = attempt->was_reset,
    };
    attempt->was_reset = false;
    evener_status status;
    evener_status_clear(&status);
    if (pool->transport->vtable->connect(pool->transport, &args.base, &link->connection, &status) != EVENER_STATUS_OK) {
        link->connection = NULL;
        attempt_failed(connector, status.message[0] != '\0' ? status.message : "connection failed");
    }
}

void evener_connector_connect(evener_connector *connector)
{
    if (connector->state == EVENER_IDLE) {
        start_attempt(connector);
    } else if (connector->state == EVENER_TRANSIENT_FAILURE && connector->attempt != NULL) {
        connector->attempt->wanted = true;
    }
}

void evener_connector_reset_backoff(evener_connector *connector)
{
    evener_attempt *attempt = connector->attempt;
    if (attempt == NULL) {
        return;
    }
    evener_backoff_reset(&attempt->backoff);
    attempt->was_reset = true;
    evener_connector_end_backoff(connector);
}

void evener_connector_end_backoff(evener_connector *connector)
{
    evener_attempt *attempt = connector->attempt;
    if (attempt == NULL) {
        return;
    }
    const bool successor_waits = connector->link != NULL && attempt->link == NULL;
    if (connector->state == EVENER_TRANSIENT_FAILURE || successor_waits) {
        evener_timer_start(evener_connector_pool(connector)->loop, &attempt->timer, 0);
    }
}

uint64_t evener_connector_backoff_end_ns(const evener_connector *connector)
{
    return connector->state == EVENER_TRANSIENT_FAILURE && connector->attempt != NULL
               ? connector->attempt->timer.deadline_ns
               : 0;
}

evener_status_code evener_connector_watch_load(evener_connector *connector, evener_subchannel_body *subchannel,
                                               uint64_t interval_ms,
                                               void (*load_reported)(void *arg, evener_subchannel *subchannel,
                                                                     const void *report, size_t report_bytes),
                                               void *arg, evener_status *status)
{
    evener_subchannel_pool *pool = evener_connector_pool(connector);
    if (interval_ms == 0) {
        if (connector->extra != NULL && connector->extra->load_reports != NULL) {
            evener_load_reports_unwatch(connector->extra->load_reports, subchannel);
        }
        return evener_status_clear(status);
    }
    if (pool->transport->vtable->calls == NULL) {
        return evener_status_set(status, EVENER_STATUS_UNIMPLEMENTED,
                                 "%s: the transport carries no calls, and so no load reports",
                                 evener_address_text(connector->address));
    }
    evener_connector_extra *extra = evener_connector_obtain_extra(connector);
    if (extra != NULL && extra->load_reports == NULL) {
        extra->load_reports = evener_load_reports_create(
            pool, connector->address, connector->link != NULL ? evener_link_connection(connector->link) : NULL);
    }
    if (extra == NULL || extra->load_reports == NULL ||
        !evener_load_reports_watch(extra->load_reports, subchannel, interval_ms, load_reported, arg)) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s: out of memory for load reports",
                                 evener_address_text(connector->address));
    }
    return evener_status_clear(status);
}

void evener_connector_reconnect(evener_connector *connector)
{
    if (connector->attempt != NULL && connector->attempt->link != NULL) {
        connector->outdated = true;
    } else if (connector->state == EVENER_READY) {
        if (connector->attempt != NULL) { /* a successor in backoff, which failed with the settings before */
            evener_backoff_reset(&connector->attempt->backoff);
            connector->attempt->failure_logged = false;
        }
        start_attempt(connector);
    } else {
        evener_connector_reset_backoff(connector);
    }
}

void evener_connector_prepare(evener_subchannel_pool *pool)
{
    evener_attempt_time_outs_prepare(pool);
    pool->table = (evener_address_table)EVENER_ADDRESS_TABLE_INIT(evener_connector, table_next, address, table_tag);
    pool->grace_period = (evener_reclaim){.fn = grace_period_over, .arg = pool};
}

void evener_connector_attach(evener_connector *connector, evener_subchannel_body *subchannel)
{
    subchannel->connector = connector;
    subchannel->connector_next = connector->subchannels;
    connector->subchannels = subchannel;
    if (connector->state == EVENER_READY) {
        evener_link_publish(connector->link, subchannel->handle);
    }
    subchannel->reported_state = EVENER_IDLE;
    subchannel->idle_pending = false;
    if (connector->state != EVENER_IDLE) {
        subchannel->failure_pending = connector->state == EVENER_TRANSIENT_FAILURE;
        evener_subchannel_notify_later(subchannel);
    }
}

/* Add the counts of a subchannel that is released to those of its address. On out of memory they are lost. */
static void keep_counts(evener_connector *connector, const evener_subchannel_body *subchannel)
{
    evener_connector_extra *extra = evener_connector_obtain_extra(connector);
    if (extra != NULL) {
        extra->gone_picks += evener_slot_sum(subchannel->handle).picks;
        extra->gone_failed += evener_failed(subchannel);
        const uint64_t repeats = evener_slot_repeats(subchannel->handle, EVENER_SLOT_RETRIES_AND_HEDGES);
        extra->gone_retries += (uint32_t)repeats;
        extra->gone_hedges += (uint32_t)(repeats >> 32);
        extra->gone_transparent_retries +=
            (uint32_t)evener_slot_repeats(subchannel->handle, EVENER_SLOT_TRANSPARENT_RETRIES);
    }
}

static void connector_end(evener_connector *connector)
{
    evener_subchannel_pool *pool = evener_connector_pool(connector);
    free_attempt(connector);
    give_up_link(connector);
    evener_connector_leave_table(pool, connector);
    evener_address_unref(connector->address);
    if (connector->extra != NULL) {
        evener_load_reports_destroy(connector->extra->load_reports);
        free(connector->extra->last_error);
        free(connector->extra);
    }
    evener_slab_give_back(&pool->memory->connectors, connector);
}

void evener_connector_detach(evener_connector *connector, evener_subchannel_body *subchannel)
{
    if (connector->link != NULL) {
        (void)evener_connector_watch_health(connector, subchannel, NULL, NULL, NULL, NULL);
    }
    (void)evener_connector_watch_load(connector, subchannel, 0, NULL, NULL, NULL);
    if (connector->subchannels == subchannel && subchannel->connector_next == NULL) {
        connector_end(connector);
        return;
    }
    evener_subchannel_body **link = &connector->subchannels;
    while (*link != subchannel) {
        link = &(*link)->connector_next;
    }
    *link = subchannel->connector_next;
    evener_link_publish(NULL, subchannel->handle);
    keep_counts(connector, subchannel);
}
