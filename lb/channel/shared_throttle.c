#include "lb/channel/shared_throttle.h"

#include <stdlib.h>
#include <string.h>

typedef struct shared_throttle {
    struct shared_throttle *next;
    size_t channels;
    evener_throttle throttle;
    char server_name[];
} shared_throttle;

/* The runtime's. */
typedef struct throttles {
    shared_throttle *first;
} throttles;

struct evener_held_throttle {
    evener_held_throttle *next;
    shared_throttle *shared;
};

static void *create(evener_runtime *runtime, evener_status *status)
{
    (void)runtime;
    throttles *made = calloc(1, sizeof *made);
    if (made == NULL) {
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory for retry throttling");
    }
    return made;
}

static void destroy(void *object)
{
    free(object); /* all channels have given theirs back */
}

static throttles *throttles_of(evener_runtime *runtime)
{
    static const evener_shared_key key = {.name = "retry throttles", .create = create, .destroy = destroy};
    return evener_runtime_shared(runtime, &key, NULL);
}

static shared_throttle *find_or_add(throttles *all, const char *server_name)
{
    shared_throttle *found = all->first;
    while (found != NULL && strcmp(found->server_name, server_name) != 0) {
        found = found->next;
    }
    if (found == NULL) {
        const size_t bytes = strlen(server_name) + 1;
        found = calloc(1, sizeof *found + bytes);
        if (found != NULL) {
            memcpy(found->server_name, server_name, bytes);
            found->next = all->first;
            all->first = found;
        }
    }
    return found;
}

evener_throttle *evener_throttle_hold(evener_runtime *runtime, const char *server_name, evener_held_throttle **held)
{
    for (const evener_held_throttle *h = *held; h != NULL; h = h->next) {
        if (strcmp(h->shared->server_name, server_name) == 0) {
            return &h->shared->throttle;
        }
    }
    throttles *all = throttles_of(runtime);
    evener_held_throttle *made = all != NULL ? calloc(1, sizeof *made) : NULL;
    shared_throttle *shared = made != NULL ? find_or_add(all, server_name) : NULL;
    if (shared == NULL) {
        free(made);
        return NULL;
    }
    shared->channels++;
    made->shared = shared;
    made->next = *held;
    *held = made;
    return &shared->throttle;
}

void evener_throttles_release(evener_runtime *runtime, evener_held_throttle **held)
{
    while (*held != NULL) {
        evener_held_throttle *first = *held;
        shared_throttle *shared = first->shared;
        *held = first->next;
        free(first);
        if (--shared->channels == 0) {
            shared_throttle **link = &throttles_of(runtime)->first;
            while (*link != shared) {
                link = &(*link)->next;
            }
            *link = shared->next;
            free(shared);
        }
    }
}
