/* Health watches of shared connections (A17, client-side health checking): one per connection and service, for all
 * members that ask for it. */
#include <stdlib.h>

#include "lb/backend/shared.h"

struct evener_shared_watch {
    evener_shared_connection *connection;
    LIST_ENTRY(evener_shared_watch) of_connection;
    char *service;
    evener_shared_member_list members; /* by of_watch */
    size_t references;                 /* members, and one while it reports */
    bool has_reported;
    evener_connectivity_state health; /* the last report */
    evener_status status;
};

static void watch_unref(evener_shared_watch *self)
{
    if (--self->references == 0) {
        const evener_shared_connection *of = self->connection;
        LIST_REMOVE(self, of_connection);
        (void)of->shared->real->vtable->watch_health(of->shared->real, of->real, NULL, NULL, self);
        free(self->service);
        free(self);
    }
}

void evener_shared_end_watch(evener_shared_member *member)
{
    evener_shared_watch *of = member->watch;
    if (of != NULL) {
        member->watch = NULL;
        member->health_due = false;
        LIST_REMOVE(member, of_watch);
        watch_unref(of);
    }
}

static void on_health(void *arg, evener_connectivity_state health, const evener_status *status)
{
    evener_shared_watch *self = arg;
    evener_shared_connection *of = self->connection;
    self->has_reported = true;
    self->health = health;
    self->status = *status;
    self->references++;
    of->references++;
    evener_shared_member_list waiting;
    EVENER_SHARED_TAKE_ALL(&self->members, &waiting, of_watch);
    while (!LIST_EMPTY(&waiting)) {
        evener_shared_member *next = LIST_FIRST(&waiting);
        LIST_REMOVE(next, of_watch);
        LIST_INSERT_HEAD(&self->members, next, of_watch);
        next->health_due = false;
        next->health_changed(next->health_arg, health, status); /* may end watches, and give connections up */
    }
    watch_unref(self);
    evener_shared_connection_unref(of);
}

void evener_shared_report_health(evener_shared_member *member)
{
    if (member->watch != NULL) {
        const evener_status status = member->watch->status; /* the member may end the watch */
        member->health_changed(member->health_arg, member->watch->health, &status);
    }
}

static evener_status_code obtain_watch(evener_shared_connection *of, const char *service, evener_shared_watch **found)
{
    evener_shared_watch *self = LIST_FIRST(&of->watches);
    while (self != NULL && strcmp(self->service, service) != 0) {
        self = LIST_NEXT(self, of_connection);
    }
    if (self != NULL) {
        *found = self;
        return EVENER_STATUS_OK;
    }
    self = calloc(1, sizeof *self);
    char *copy = strdup(service);
    evener_status_code code = EVENER_STATUS_RESOURCE_EXHAUSTED;
    if (self != NULL && copy != NULL) {
        self->connection = of;
        self->service = copy;
        code = of->shared->real->vtable->watch_health(of->shared->real, of->real, service, on_health, self);
    }
    if (code != EVENER_STATUS_OK) {
        free(copy);
        free(self);
        return code;
    }
    LIST_INSERT_HEAD(&of->watches, self, of_connection);
    *found = self;
    return EVENER_STATUS_OK;
}

evener_status_code evener_shared_watch_health(evener_shared_member *member, const char *service,
                                              void (*health_changed)(void *arg, evener_connectivity_state health,
                                                                     const evener_status *status),
                                              void *arg)
{
    if (service == NULL) {
        evener_shared_end_watch(member);
        return EVENER_STATUS_OK;
    }
    evener_shared_watch *joined = NULL;
    const evener_status_code code = obtain_watch(member->connection, service, &joined);
    if (code == EVENER_STATUS_OK) {
        joined->references++; /* before the old one ends, which may be the same */
    }
    evener_shared_end_watch(member);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    member->watch = joined;
    member->health_changed = health_changed;
    member->health_arg = arg;
    LIST_INSERT_HEAD(&joined->members, member, of_watch);
    if (joined->has_reported) {
        member->health_due = true;
        evener_timer_start(member->loop, &member->late, 0);
    }
    return EVENER_STATUS_OK;
}
