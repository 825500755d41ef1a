/* Health watches of a connector (A17, client-side health checking): one per subchannel that asks for it, as several
 * policies of a channel may have subchannels on one backend. The newest comes first. A transport that keeps one watch
 * per connection serves the newest. */
#include <stdlib.h>
#include <string.h>

#include <evener/log.h>

#include "lb/backend/shared_transport.h"
#include "lb/backend/subchannel_pool.h"

struct evener_health_watch {
    evener_health_watch *next;
    evener_connector *connector;
    evener_subchannel_body *subchannel;
    char *service;
    bool has_moved;  /* to a connection that has not reported its health yet */
    bool has_failed; /* to move */
    void (*health_changed)(void *arg, evener_subchannel *subchannel, evener_connectivity_state health,
                           const evener_status *status);
    void *arg;
};

static void on_health(void *arg, evener_connectivity_state health, const evener_status *status)
{
    evener_health_watch *self = arg;
    if (self->has_moved && health == EVENER_CONNECTING) {
        return; /* the new connection has not reported yet: the health of the old one holds */
    }
    self->has_moved = false;
    evener_log(EVENER_LOG_DEBUG, "subchannel", "%s: health %s", evener_address_text(self->connector->address),
               evener_connectivity_state_name(health));
    self->health_changed(self->arg, self->subchannel->handle, health, status); /* may end the watch */
}

static evener_status_code begin(evener_health_watch *self, evener_connection *connection)
{
    evener_transport *transport = evener_connector_pool(self->connector)->transport;
    return transport->vtable->watch_health(transport, connection, self->service, on_health, self);
}

static void end(evener_health_watch *self, evener_connection *connection)
{
    evener_transport *transport = evener_connector_pool(self->connector)->transport;
    (void)transport->vtable->watch_health(transport, connection, NULL, NULL, self);
}

static void free_watch(evener_health_watch *self)
{
    free(self->service);
    free(self);
}

static evener_health_watch **place_of(evener_connector_extra *extra, const evener_subchannel_body *subchannel)
{
    evener_health_watch **place = &extra->health_watches;
    while (*place != NULL && (*place)->subchannel != subchannel) {
        place = &(*place)->next;
    }
    return place;
}

void evener_health_watches_end(evener_connector *connector, evener_connection *connection)
{
    evener_connector_extra *extra = connector->extra;
    while (extra != NULL && extra->health_watches != NULL) {
        evener_health_watch *first = extra->health_watches;
        extra->health_watches = first->next;
        end(first, connection);
        free_watch(first);
    }
}

/* Return a watch that could not be moved; NULL: there is none. */
static evener_health_watch *find_failed(const evener_connector *connector)
{
    evener_health_watch *self = connector->extra != NULL ? connector->extra->health_watches : NULL;
    while (self != NULL && !self->has_failed) {
        self = self->next;
    }
    return self;
}

void evener_health_watches_move(evener_connector *connector, evener_connection *from, evener_connection *to)
{
    evener_health_watch *self = connector->extra != NULL ? connector->extra->health_watches : NULL;
    for (; self != NULL; self = self->next) {
        self->has_moved = true;
        end(self, from);
        self->has_failed = begin(self, to) != EVENER_STATUS_OK;
    }
    while ((self = find_failed(connector)) != NULL) { /* a report may end any watch */
        self->has_failed = false;
        evener_status status;
        evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "%s: the new connection's health cannot be watched",
                          evener_address_text(connector->address));
        on_health(self, EVENER_TRANSIENT_FAILURE, &status);
    }
}

static void end_watch_of(evener_connector *connector, const evener_subchannel_body *subchannel)
{
    evener_health_watch **place = place_of(connector->extra, subchannel);
    evener_health_watch *found = *place;
    if (found == NULL) {
        return;
    }
    *place = found->next;
    evener_connection *connection = connector->link->connection;
    end(found, connection);
    free_watch(found);
    evener_health_watch *newest = connector->extra->health_watches;
    if (newest != NULL && !evener_shared_transport_is_front(evener_connector_pool(connector)->transport)) {
        (void)begin(newest, connection); /* the transport may keep one only, which was the one that has ended */
    }
}

static evener_status_code no_memory(const evener_connector *connector, evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s: out of memory for a health watch",
                             evener_address_text(connector->address));
}

evener_status_code evener_connector_watch_health(evener_connector *connector, evener_subchannel_body *subchannel,
                                                 const char *service,
                                                 void (*health_changed)(void *arg, evener_subchannel *subchannel,
                                                                        evener_connectivity_state health,
                                                                        const evener_status *status),
                                                 void *arg, evener_status *status)
{
    const char *text = evener_address_text(connector->address);
    const bool has_one = connector->extra != NULL && *place_of(connector->extra, subchannel) != NULL;
    if (service == NULL && !has_one) {
        return evener_status_clear(status);
    }
    const evener_transport_vtable *vtable = evener_connector_pool(connector)->transport->vtable;
    if (vtable->watch_health == NULL) {
        return evener_status_set(status, EVENER_STATUS_UNIMPLEMENTED, "%s: the transport has no health checks", text);
    }
    if (connector->state != EVENER_READY) {
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION, "%s: no connection to watch health over",
                                 text);
    }
    evener_connector_extra *extra = evener_connector_obtain_extra(connector);
    if (extra == NULL) {
        return no_memory(connector, status);
    }
    evener_health_watch *made = service != NULL ? calloc(1, sizeof *made) : NULL;
    char *copy = made != NULL ? strdup(service) : NULL;
    if (service != NULL && copy == NULL) {
        free(made);
        return no_memory(connector, status);
    }
    end_watch_of(connector, subchannel);
    if (made == NULL) {
        return evener_status_clear(status);
    }
    *made = (evener_health_watch){.next = extra->health_watches,
                                  .connector = connector,
                                  .subchannel = subchannel,
                                  .service = copy,
                                  .health_changed = health_changed,
                                  .arg = arg};
    extra->health_watches = made;
    const evener_status_code code = begin(made, connector->link->connection);
    if (code != EVENER_STATUS_OK) {
        extra->health_watches = made->next;
        free_watch(made);
        return evener_status_set(status, code, "%s: its health cannot be watched", text);
    }
    return evener_status_clear(status);
}
