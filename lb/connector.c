/* Connector: one address: connectivity state, backoff and the transport's connection.
 *
 * IDLE -> CONNECTING -> READY -> IDLE on a drop; CONNECTING -> TRANSIENT_FAILURE, and IDLE after the backoff
 * (grpc: doc/connectivity-semantics-and-api.md, doc/connection-backoff.md). */
#include <stdlib.h>
#include <string.h>

#include <evener/log.h>

#include "lb/runtime/rcu.h"
#include "lb/runtime/reclaim.h"
#include "lb/subchannel_pool.h"

#define BACKOFF_FACTOR 1.6
#define BACKOFF_JITTER 0.2
/* A server that takes connections only to drop them would be dialled in a tight loop, as a success resets the backoff:
 * after so many connections in a row that lived so short, the next drop counts as a failure. */
#define SHORT_LIVED_NS (100 * EVENER_NS_PER_MS)
#define SHORT_LIVED_MAX 5

/* One attempt to connect and, if it succeeds, the connection. Outlives its connector until the transport let go. */
struct evener_link {
    evener_reclaim reclaim;
    evener_subchannel_pool *pool;
    evener_connector *connector; /* NULL once given up */
    evener_connection *connection;
};

static void start_attempt(evener_connector *connector);

static void set_state(evener_connector *connector, evener_connectivity_state state)
{
    if (evener_log_enabled(EVENER_LOG_DEBUG)) {
        evener_log(EVENER_LOG_DEBUG, "subchannel", "%s: %s -> %s%s%s", evener_address_text(connector->address),
                   evener_connectivity_state_name(connector->state), evener_connectivity_state_name(state),
                   state == EVENER_TRANSIENT_FAILURE ? ": " : "",
                   state == EVENER_TRANSIENT_FAILURE && connector->last_error != NULL ? connector->last_error : "");
    }
    connector->state = state;
    connector->state_since_ns = evener_loop_now_ns(connector->pool->loop);
    for (evener_subchannel *s = connector->subchannels; s != NULL; s = s->connector_next) {
        s->failure_untold |= state == EVENER_TRANSIENT_FAILURE;
        evener_subchannel_tell_later(s);
    }
}

static void set_error(evener_connector *connector, const char *message)
{
    char *copy = strdup(message);
    if (copy != NULL) { /* without memory the last message has to do */
        free(connector->last_error);
        connector->last_error = copy;
    }
}

static void link_disconnect(void *arg)
{
    evener_link *link = arg;
    evener_subchannel_pool *pool = link->pool;
    if (link->connection != NULL) {
        pool->transport->vtable->disconnect(pool->transport, link->connection);
    }
    free(link);
    if (--pool->link_count == 0) {
        pool->drained(pool->arg);
    }
}

/* Lets the connection go. A published one may be in the hands of a pick that has not taken its reference yet: the
 * transport hears of it only after a grace period. */
static void give_up_link(evener_connector *connector)
{
    evener_link *link = connector->link;
    if (link == NULL) {
        return;
    }
    connector->link = NULL;
    link->connector = NULL;
    connector->health_watcher = NULL;
    if (connector->state != EVENER_READY) {
        link_disconnect(link);
        return;
    }
    for (evener_subchannel *s = connector->subchannels; s != NULL; s = s->connector_next) {
        evener_rcu_assign(s->connection, NULL);
    }
    link->reclaim.fn = link_disconnect;
    link->reclaim.arg = link;
    evener_runtime_reclaim(connector->pool->runtime, &link->reclaim);
}

static void backoff_over(void *arg)
{
    evener_connector *connector = arg;
    set_state(connector, EVENER_IDLE);
    if (connector->wanted) {
        start_attempt(connector);
    }
}

static void enter_failure(evener_connector *connector, const char *message)
{
    evener_loop *loop = connector->pool->loop;
    evener_timer_stop(loop, &connector->timer);
    give_up_link(connector);
    connector->connect_failures++;
    set_error(connector, message);
    const uint64_t now = evener_loop_now_ns(loop);
    const uint64_t delay = connector->next_attempt_ns > now ? connector->next_attempt_ns - now : 0;
    set_state(connector, EVENER_TRANSIENT_FAILURE);
    connector->timer.fn = backoff_over;
    evener_timer_start(loop, &connector->timer, delay);
}

static void connection_ready(evener_connector *connector)
{
    evener_timer_stop(connector->pool->loop, &connector->timer);
    connector->connects++;
    connector->backoff_ns = 0;
    for (evener_subchannel *s = connector->subchannels; s != NULL; s = s->connector_next) {
        evener_rcu_assign(s->connection, connector->link->connection);
    }
    set_state(connector, EVENER_READY);
    connector->pool->became_ready(connector->pool->arg);
}

static void connection_dropped(evener_connector *connector)
{
    const uint64_t age_ns = evener_loop_now_ns(connector->pool->loop) - connector->state_since_ns;
    give_up_link(connector);
    connector->short_lived = age_ns < SHORT_LIVED_NS ? (uint16_t)(connector->short_lived + 1) : 0;
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
    evener_connector *connector = link->connector;
    if (connector == NULL) {
        return; /* given up; the grace period is not over yet */
    }
    if (state == EVENER_READY && connector->state == EVENER_CONNECTING) {
        connection_ready(connector);
    } else if (connector->state == EVENER_READY && state != EVENER_READY) {
        connection_dropped(connector);
    } else if (connector->state == EVENER_CONNECTING && state != EVENER_CONNECTING) {
        enter_failure(connector, status != NULL && status->message[0] != '\0' ? status->message : "connection failed");
    }
}

static void attempt_timed_out(void *arg)
{
    evener_connector *connector = arg;
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "no connection within %llu ms",
                      (unsigned long long)((evener_loop_now_ns(connector->pool->loop) - connector->state_since_ns) /
                                           EVENER_NS_PER_MS));
    enter_failure(connector, status.message);
}

static void start_attempt(evener_connector *connector)
{
    evener_subchannel_pool *pool = connector->pool;
    connector->wanted = false;
    /* The backoff runs from the start of the attempt: one that took long to fail is followed soon (grpc:
     * connection-backoff.md). */
    const uint64_t backoff_ns = connector->backoff_ns != 0 ? connector->backoff_ns : pool->backoff_initial_ns;
    const double jitter = 1.0 + BACKOFF_JITTER * (2.0 * evener_loop_random_unit(pool->loop) - 1.0);
    connector->next_attempt_ns = evener_loop_now_ns(pool->loop) + (uint64_t)((double)backoff_ns * jitter);
    const double grown_ns = (double)backoff_ns * BACKOFF_FACTOR;
    connector->backoff_ns = grown_ns < (double)pool->backoff_max_ns ? (uint64_t)grown_ns : pool->backoff_max_ns;
    const uint64_t timeout_ns = backoff_ns > pool->connect_timeout_ns ? backoff_ns : pool->connect_timeout_ns;

    set_state(connector, EVENER_CONNECTING);
    evener_link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        enter_failure(connector, "out of memory");
        return;
    }
    link->pool = pool;
    link->connector = connector;
    pool->link_count++;
    connector->link = link;
    connector->timer.fn = attempt_timed_out;
    evener_timer_start(pool->loop, &connector->timer, timeout_ns);
    const char *authority = evener_address_attribute(connector->address, "authority");
    const evener_connect_args args = {
        .size = sizeof args,
        .address = connector->address,
        .authority = authority != NULL ? authority : connector->authority,
        .timeout_ms = timeout_ns / EVENER_NS_PER_MS,
        .state_changed = link_state_changed,
        .arg = link,
    };
    evener_status status;
    evener_status_clear(&status);
    if (pool->transport->vtable->connect(pool->transport, &args, &link->connection, &status) != EVENER_STATUS_OK) {
        link->connection = NULL;
        enter_failure(connector, status.message[0] != '\0' ? status.message : "connection failed");
    }
}

void evener_connector_connect(evener_connector *connector)
{
    if (connector->state == EVENER_IDLE) {
        start_attempt(connector);
    } else if (connector->state == EVENER_TRANSIENT_FAILURE) {
        connector->wanted = true;
    }
}

void evener_connector_reset_backoff(evener_connector *connector)
{
    connector->backoff_ns = 0;
    connector->next_attempt_ns = 0;
    if (connector->state == EVENER_TRANSIENT_FAILURE) {
        evener_timer_start(connector->pool->loop, &connector->timer, 0);
    }
}

static void health_told(void *arg, evener_connectivity_state health, const evener_status *status)
{
    evener_connector *connector = arg;
    evener_subchannel *watcher = connector->health_watcher;
    if (watcher != NULL) {
        evener_log(EVENER_LOG_DEBUG, "subchannel", "%s: health %s", watcher->text,
                   evener_connectivity_state_name(health));
        watcher->health_changed(watcher->health_arg, watcher, health, status);
    }
}

evener_status_code evener_connector_watch_health(evener_connector *connector, evener_subchannel *subchannel,
                                                 const char *service, evener_status *status)
{
    evener_transport *transport = connector->pool->transport;
    if (transport->vtable->watch_health == NULL) {
        return evener_status_set(status, EVENER_STATUS_UNIMPLEMENTED, "%s: the transport has no health checks",
                                 evener_address_text(connector->address));
    }
    if (connector->state != EVENER_READY) {
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION, "%s: no connection to watch health over",
                                 evener_address_text(connector->address));
    }
    connector->health_watcher = service != NULL ? subchannel : NULL;
    return transport->vtable->watch_health(transport, connector->link->connection, service, health_told, connector);
}

void evener_connector_reconnect(evener_connector *connector)
{
    if (connector->state == EVENER_READY) {
        give_up_link(connector);
        set_state(connector, EVENER_IDLE);
    } else if (connector->state == EVENER_CONNECTING) {
        evener_timer_stop(connector->pool->loop, &connector->timer);
        give_up_link(connector);
        connector->backoff_ns = 0; /* what has failed before was another connection */
        start_attempt(connector);
    } else {
        evener_connector_reset_backoff(connector);
    }
}

/* ---- the table ---- */

static evener_connector **bucket_of(const evener_subchannel_pool *pool, const evener_address *address)
{
    return &pool->buckets[evener_address_identity_hash(address) & (pool->bucket_count - 1)];
}

evener_connector *evener_subchannel_pool_find(const evener_subchannel_pool *pool, const evener_address *address)
{
    if (pool->bucket_count == 0) {
        return NULL;
    }
    evener_connector *connector = *bucket_of(pool, address);
    while (connector != NULL && !evener_address_same_backend(connector->address, address)) {
        connector = connector->bucket_next;
    }
    return connector;
}

static bool grow_table(evener_subchannel_pool *pool)
{
    const size_t count = pool->bucket_count == 0 ? 16 : pool->bucket_count * 2;
    evener_connector **buckets = calloc(count, sizeof(evener_connector *));
    if (buckets == NULL) {
        return pool->bucket_count != 0; /* longer chains, but it works */
    }
    evener_connector **old = pool->buckets;
    const size_t old_count = pool->bucket_count;
    pool->buckets = buckets;
    pool->bucket_count = count;
    for (size_t i = 0; i < old_count; i++) {
        for (evener_connector *c = old[i], *next; c != NULL; c = next) {
            next = c->bucket_next;
            evener_connector **bucket = bucket_of(pool, c->address);
            c->bucket_next = *bucket;
            *bucket = c;
        }
    }
    free(old);
    return true;
}

evener_connector *evener_connector_obtain(evener_subchannel_pool *pool, const evener_address *address)
{
    evener_connector *connector = evener_subchannel_pool_find(pool, address);
    if (connector != NULL) {
        return connector;
    }
    if (pool->connector_count >= pool->bucket_count && !grow_table(pool)) {
        return NULL;
    }
    connector = calloc(1, sizeof *connector);
    if (connector == NULL) {
        return NULL;
    }
    connector->pool = pool;
    connector->authority = pool->authority;
    connector->generation = pool->generation;
    connector->address = evener_address_ref(address);
    connector->timer = (evener_timer)EVENER_TIMER_INIT(backoff_over, connector);
    connector->state = EVENER_IDLE;
    connector->state_since_ns = evener_loop_now_ns(pool->loop);
    evener_connector **bucket = bucket_of(pool, address);
    connector->bucket_next = *bucket;
    *bucket = connector;
    pool->connector_count++;
    return connector;
}

void evener_connector_attach(evener_connector *connector, evener_subchannel *subchannel)
{
    subchannel->connector = connector;
    subchannel->connector_next = connector->subchannels;
    connector->subchannels = subchannel;
    if (connector->state == EVENER_READY) {
        evener_rcu_assign(subchannel->connection, connector->link->connection);
    }
    subchannel->told_state = EVENER_IDLE;
    if (connector->state != EVENER_IDLE) {
        subchannel->failure_untold = connector->state == EVENER_TRANSIENT_FAILURE;
        evener_subchannel_tell_later(subchannel);
    }
}

void evener_connector_detach(evener_connector *connector, evener_subchannel *subchannel)
{
    evener_subchannel **link = &connector->subchannels;
    while (*link != subchannel) {
        link = &(*link)->connector_next;
    }
    if (connector->health_watcher == subchannel && connector->link != NULL) {
        (void)evener_connector_watch_health(connector, subchannel, NULL, NULL);
    }
    if (connector->subchannels->connector_next != NULL) {
        *link = subchannel->connector_next;
        evener_rcu_assign(subchannel->connection, NULL);
        connector->gone_picks += evener_cells_started(subchannel->cells);
        connector->gone_failed += __atomic_load_n(&subchannel->failed, __ATOMIC_RELAXED);
        return;
    }
    evener_subchannel_pool *pool = connector->pool;
    evener_timer_stop(pool->loop, &connector->timer);
    give_up_link(connector);
    evener_connector **bucket = bucket_of(pool, connector->address);
    while (*bucket != connector) {
        bucket = &(*bucket)->bucket_next;
    }
    *bucket = connector->bucket_next;
    pool->connector_count--;
    evener_address_unref(connector->address);
    free(connector->last_error);
    free(connector);
}
