/* Health watches of shared connections (A17, client-side health checking): one per connection and service, for all
 * members that ask for it. */
#include <stdlib.h>

#include "lb/backend/shared.h"

struct evener_shared_watch {
    evener_shared_connection *connection;
    LIST_ENTRY(evener_shared_watch) of_connection;
    char *service;
    LIST_HEAD(, evener_shared_subscription) subscriptions;
    size_t references; /* subscriptions, and one while it reports */
    bool has_reported;
    evener_connectivity_state health; /* the last report */
    evener_status status;
};

/* A member's part in a watch; a member may have several. */
struct evener_shared_subscription {
    evener_shared_watch *watch;
    LIST_ENTRY(evener_shared_subscription) of_watch;
    LIST_ENTRY(evener_shared_subscription) of_member;
    bool is_due; /* the watch had reported before it began, and nothing since */
    void (*health_changed)(void *arg, evener_connectivity_state health, const evener_status *status);
    void *arg;
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

static void end(evener_shared_subscription *self)
{
    evener_shared_watch *of = self->watch;
    LIST_REMOVE(self, of_watch);
    LIST_REMOVE(self, of_member);
    free(self);
    watch_unref(of);
}

void evener_shared_end_watches(evener_shared_member *member)
{
    while (!LIST_EMPTY(&member->subscriptions)) {
        end(LIST_FIRST(&member->subscriptions));
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
    LIST_HEAD(, evener_shared_subscription) waiting;
    EVENER_SHARED_TAKE_ALL(&self->subscriptions, &waiting, of_watch);
    while (!LIST_EMPTY(&waiting)) {
        evener_shared_subscription *next = LIST_FIRST(&waiting);
        LIST_REMOVE(next, of_watch);
        LIST_INSERT_HEAD(&self->subscriptions, next, of_watch);
        next->is_due = false;
        next->health_changed(next->arg, health, status); /* may end subscriptions, and give connections up */
    }
    watch_unref(self);
    evener_shared_connection_unref(of);
}

static evener_shared_subscription *find_due(const evener_shared_member *member)
{
    evener_shared_subscription *self = LIST_FIRST(&member->subscriptions);
    while (self != NULL && !self->is_due) {
        self = LIST_NEXT(self, of_member);
    }
    return self;
}

bool evener_shared_health_is_due(const evener_shared_member *member)
{
    return find_due(member) != NULL;
}

void evener_shared_report_health(evener_shared_member *member)
{
    evener_shared_subscription *self = find_due(member);
    if (self != NULL) {
        const evener_status status = self->watch->status; /* the member may end the watch */
        self->is_due = false;
        self->health_changed(self->arg, self->watch->health, &status);
    }
}

static evener_status_code obtain_watch(evener_shared_connection *of, const char *service, evener_shared_watch **found)
{
    evener_shared_watch *self = LIST_FIRST(&of->watches);
    while (self != NULL && strcmp(self->service, service) != 0) {
        self = LIST_NEXT(self, of_connection);
    }
    if (self != NULL) {
        self->references++;
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
    self->references = 1;
    LIST_INSERT_HEAD(&of->watches, self, of_connection);
    *found = self;
    return EVENER_STATUS_OK;
}

static void end_subscription_of(const evener_shared_member *member, const void *arg)
{
    evener_shared_subscription *self = LIST_FIRST(&member->subscriptions);
    while (self != NULL && self->arg != arg) {
        self = LIST_NEXT(self, of_member);
    }
    if (self != NULL) {
        end(self);
    }
}

evener_status_code evener_shared_watch_health(evener_shared_member *member, const char *service,
                                              void (*health_changed)(void *arg, evener_connectivity_state health,
                                                                     const evener_status *status),
                                              void *arg)
{
    if (service == NULL) {
        end_subscription_of(member, arg);
        return EVENER_STATUS_OK;
    }
    evener_shared_subscription *made = calloc(1, sizeof *made);
    evener_status_code code = EVENER_STATUS_RESOURCE_EXHAUSTED;
    if (made != NULL) {
        code =
            obtain_watch(member->connection, service, &made->watch); /* before the old one ends: it may be the same */
    }
    end_subscription_of(member, arg);
    if (code != EVENER_STATUS_OK) {
        free(made);
        return code;
    }
    made->health_changed = health_changed;
    made->arg = arg;
    made->is_due = made->watch->has_reported;
    LIST_INSERT_HEAD(&made->watch->subscriptions, made, of_watch);
    LIST_INSERT_HEAD(&member->subscriptions, made, of_member);
    if (made->is_due) {
        evener_timer_start(member->loop, &member->late, 0);
    }
    return EVENER_STATUS_OK;
}
