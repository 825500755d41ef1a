/* Subchannel: a policy's handle on a backend. Telling of states, references, and the end of its memory. */
#include <evener/subchannel.h>

#include <stdlib.h>
#include <string.h>

#include "lb/runtime/rcu.h"
#include "lb/subchannel_pool.h"

#define CACHE_LINE 64
#define RETIRE_POLL_MIN_NS (20 * EVENER_NS_PER_MS)
#define RETIRE_POLL_MAX_NS EVENER_NS_PER_S

static size_t rounded_up(size_t bytes)
{
    return (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
}

/* ---- memory ---- */

static void destroy(evener_subchannel *subchannel)
{
    evener_subchannel_pool *pool = subchannel->pool;
    if (subchannel->data_destroy != NULL) {
        subchannel->data_destroy(subchannel->data);
    }
    evener_cells_give_back(&pool->cells, (evener_cell_column){subchannel->cells, subchannel->cell_block});
    evener_address_unref(subchannel->address);
    evener_address_unref(subchannel->identity);
    free(subchannel);
    pool->subchannel_count--;
}

/* No picker can give it out any more, so `started` stands still: all picks are done when `finished` has reached it. */
static bool all_picks_done(const evener_subchannel *subchannel)
{
    return evener_cells_finished(subchannel->cells) == evener_cells_started(subchannel->cells);
}

static void retire_poll(void *arg)
{
    evener_subchannel_pool *pool = arg;
    evener_subchannel **link = &pool->retired;
    while (*link != NULL) {
        evener_subchannel *subchannel = *link;
        if (all_picks_done(subchannel)) {
            *link = subchannel->queue_next;
            destroy(subchannel);
        } else {
            link = &subchannel->queue_next;
        }
    }
    if (pool->retired != NULL) {
        pool->retire_poll_ns *= 2;
        if (pool->retire_poll_ns > RETIRE_POLL_MAX_NS) {
            pool->retire_poll_ns = RETIRE_POLL_MAX_NS;
        }
        evener_timer_start(pool->loop, &pool->retire_timer, pool->retire_poll_ns);
    }
}

evener_subchannel *evener_subchannel_ref(evener_subchannel *subchannel)
{
    subchannel->references++;
    return subchannel;
}

void evener_subchannel_unref(evener_subchannel *subchannel)
{
    if (subchannel == NULL || --subchannel->references > 0) {
        return;
    }
    if (all_picks_done(subchannel)) {
        destroy(subchannel);
        return;
    }
    /* A done does not tell the control thread (that would be a system call): it looks from time to time. */
    evener_subchannel_pool *pool = subchannel->pool;
    subchannel->queue_next = pool->retired;
    pool->retired = subchannel;
    pool->retire_poll_ns = RETIRE_POLL_MIN_NS;
    evener_timer_start(pool->loop, &pool->retire_timer, pool->retire_poll_ns);
}

/* ---- telling ---- */

void evener_subchannel_tell_later(evener_subchannel *subchannel)
{
    if (subchannel->untold) {
        return;
    }
    evener_subchannel_pool *pool = subchannel->pool;
    subchannel->untold = true;
    subchannel->queue_next = NULL;
    *pool->untold_tail = evener_subchannel_ref(subchannel);
    pool->untold_tail = &subchannel->queue_next;
    evener_loop_post(pool->loop, &pool->tell_task);
}

static void tell_one(evener_subchannel *subchannel)
{
    evener_status status;
    if (subchannel->failure_untold && subchannel->connector != NULL) {
        subchannel->failure_untold = false;
        const char *reason = subchannel->connector->last_error;
        evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "%s: %s", subchannel->text,
                          reason != NULL ? reason : "connection failed");
        subchannel->told_state = EVENER_TRANSIENT_FAILURE;
        subchannel->state_changed(subchannel->arg, subchannel, EVENER_TRANSIENT_FAILURE, &status);
    }
    /* The listener may have released it. */
    if (subchannel->connector == NULL || subchannel->connector->state == subchannel->told_state) {
        return;
    }
    evener_status_clear(&status);
    subchannel->told_state = (uint8_t)subchannel->connector->state;
    subchannel->state_changed(subchannel->arg, subchannel, subchannel->connector->state, &status);
}

static void tell_all(void *arg)
{
    evener_subchannel_pool *pool = arg;
    evener_subchannel *list = pool->untold;
    pool->untold = NULL;
    pool->untold_tail = &pool->untold;
    while (list != NULL) {
        evener_subchannel *subchannel = list;
        list = subchannel->queue_next;
        subchannel->untold = false;
        tell_one(subchannel);
        evener_subchannel_unref(subchannel);
    }
}

/* ---- the policy's functions ---- */

evener_subchannel *evener_subchannel_pool_create_subchannel(evener_subchannel_pool *pool, const evener_address *address,
                                                            const evener_subchannel_options *options)
{
    const size_t own_bytes = rounded_up(sizeof(evener_subchannel));
    evener_subchannel *subchannel = aligned_alloc(CACHE_LINE, own_bytes + rounded_up(options->data_bytes));
    if (subchannel == NULL) {
        return NULL;
    }
    memset(subchannel, 0, own_bytes + rounded_up(options->data_bytes));
    const evener_cell_column column = evener_cells_take(&pool->cells);
    evener_connector *connector = column.cells != NULL ? evener_connector_obtain(pool, address) : NULL;
    if (connector == NULL) {
        evener_cells_give_back(&pool->cells, column);
        free(subchannel);
        return NULL;
    }
    subchannel->cells = column.cells;
    subchannel->cell_block = column.block;
    subchannel->data = options->data_bytes > 0 ? (char *)subchannel + own_bytes : NULL;
    subchannel->pool = pool;
    subchannel->connection_unref = pool->connection_unref;
    subchannel->address = evener_address_ref(address);
    subchannel->identity = evener_address_ref(address);
    subchannel->text = evener_address_text(address);
    subchannel->state_changed = options->state_changed;
    subchannel->arg = options->arg;
    subchannel->released = options->released;
    subchannel->data_destroy = options->data_destroy;
    subchannel->references = 1;
    pool->subchannel_count++;
    evener_connector_attach(connector, subchannel);
    return subchannel;
}

void evener_subchannel_connect(evener_subchannel *subchannel)
{
    if (subchannel->connector != NULL) {
        evener_connector_connect(subchannel->connector);
    }
}

void evener_subchannel_release(evener_subchannel *subchannel)
{
    evener_connector *connector = subchannel->connector;
    evener_connector_detach(connector, subchannel);
    subchannel->connector = NULL;
    if (subchannel->released != NULL) {
        subchannel->released(subchannel->arg, subchannel);
    }
    evener_subchannel_unref(subchannel);
}

evener_status_code evener_subchannel_watch_health(evener_subchannel *subchannel, const char *service,
                                                  void (*health_changed)(void *arg, evener_subchannel *subchannel,
                                                                         evener_connectivity_state health,
                                                                         const evener_status *status),
                                                  void *arg, evener_status *status)
{
    evener_connector *connector = subchannel->connector;
    if (connector == NULL) {
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION, "%s: released", subchannel->text);
    }
    if (service == NULL && connector->health_watcher != subchannel) {
        return evener_status_clear(status);
    }
    subchannel->health_changed = health_changed;
    subchannel->health_arg = arg;
    return evener_connector_watch_health(connector, subchannel, service, status);
}

evener_connectivity_state evener_subchannel_state(const evener_subchannel *subchannel)
{
    return subchannel->connector != NULL ? subchannel->connector->state : EVENER_SHUTDOWN;
}

const evener_address *evener_subchannel_address(const evener_subchannel *subchannel)
{
    return subchannel->address;
}

void evener_subchannel_set_address(evener_subchannel *subchannel, const evener_address *address)
{
    evener_address *old = subchannel->address;
    subchannel->address = evener_address_ref(address);
    evener_address_unref(old);
}

void *evener_subchannel_data(evener_subchannel *subchannel)
{
    return subchannel->data;
}

const char *evener_subchannel_address_text(const evener_subchannel *subchannel)
{
    return subchannel->text;
}

uint64_t evener_subchannel_in_flight(const evener_subchannel *subchannel)
{
    const uint64_t finished = evener_cells_finished(subchannel->cells);
    return evener_cells_started(subchannel->cells) - finished;
}

/* ---- the pool ---- */

void evener_subchannel_pool_init(evener_subchannel_pool *pool)
{
    pool->untold_tail = &pool->untold;
    pool->tell_task = (evener_task)EVENER_TASK_INIT(tell_all, pool);
    pool->retire_timer = (evener_timer)EVENER_TIMER_INIT(retire_poll, pool);
}

void evener_subchannel_pool_clear(evener_subchannel_pool *pool)
{
    evener_timer_stop(pool->loop, &pool->retire_timer);
    while (pool->retired != NULL) {
        evener_subchannel *subchannel = pool->retired;
        pool->retired = subchannel->queue_next;
        destroy(subchannel);
    }
    free(pool->buckets);
    pool->buckets = NULL;
    pool->bucket_count = 0;
}

void evener_subchannel_pool_reset_backoff(evener_subchannel_pool *pool)
{
    for (size_t i = 0; i < pool->bucket_count; i++) {
        for (evener_connector *c = pool->buckets[i]; c != NULL; c = c->bucket_next) {
            evener_connector_reset_backoff(c);
        }
    }
}

void evener_subchannel_pool_renew(evener_subchannel_pool *pool, evener_address *const *addresses, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        evener_connector *connector = evener_subchannel_pool_find(pool, addresses[i]);
        if (connector != NULL && connector->generation != pool->generation) {
            connector->generation = pool->generation;
            connector->authority = pool->authority;
            evener_connector_reconnect(connector);
        }
    }
}

void evener_subchannel_pool_activity(const evener_subchannel_pool *pool, uint64_t *started, uint64_t *in_flight)
{
    *started = 0;
    *in_flight = 0;
    for (const evener_subchannel *s = pool->retired; s != NULL; s = s->queue_next) {
        *in_flight += evener_subchannel_in_flight(s);
    }
    for (size_t i = 0; i < pool->bucket_count; i++) {
        for (const evener_connector *c = pool->buckets[i]; c != NULL; c = c->bucket_next) {
            for (const evener_subchannel *s = c->subchannels; s != NULL; s = s->connector_next) {
                *started += evener_cells_started(s->cells);
                *in_flight += evener_subchannel_in_flight(s);
            }
        }
    }
}
