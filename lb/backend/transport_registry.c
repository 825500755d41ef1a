/* The registry of transports: first the program's, then the built-in ones. Few entries, looked up once per channel. */
#include "lb/backend/transport_registry.h"

#include <pthread.h>
#include <string.h>

#include "lb/base/fork.h"

/* The size of a factory in the first version. */
#define FIRST_VERSION_BYTES                                                                                            \
    (offsetof(evener_transport_factory, create) + sizeof((evener_transport_factory *)NULL)->create)

/* Far more than programs need. */
#define FACTORIES_MAX 32

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
EVENER_FORK_LOCK(mutex, EVENER_FORK_REGISTRY, NULL)
static evener_named_transport registered[FACTORIES_MAX]; /* guarded by mutex */
static size_t registered_count;                          /* guarded by mutex */

static evener_named_transport *find_locked(const char *name)
{
    for (size_t i = 0; i < registered_count; i++) {
        if (strcmp(registered[i].name, name) == 0) {
            return &registered[i];
        }
    }
    return NULL;
}

/* Register or replace a factory. Return false when the registry is full. */
static bool enter(const char *name, const evener_transport_factory *factory)
{
    pthread_mutex_lock(&mutex);
    evener_named_transport *entry = find_locked(name);
    if (entry == NULL && registered_count < FACTORIES_MAX) {
        entry = &registered[registered_count++];
        entry->name = name;
    }
    if (entry != NULL) {
        entry->factory = factory;
    }
    pthread_mutex_unlock(&mutex);
    return entry != NULL;
}

evener_status_code evener_transport_register(const char *name, const evener_transport_factory *factory,
                                             evener_status *status)
{
    if (name == NULL || name[0] == '\0') {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "transport registry: a name is needed");
    }
    if (factory == NULL || factory->size < FIRST_VERSION_BYTES || factory->create == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "transport registry: the factory of \"%s\" needs its size and a create function",
                                 name);
    }
    if (!enter(name, factory)) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                                 "transport registry: no room for \"%s\" beside %d others", name, FACTORIES_MAX);
    }
    return evener_status_clear(status);
}

static const evener_transport_factory *find_built_in(const char *name)
{
    const evener_named_transport *entry = evener_builtin_transports;
    while (entry->name != NULL && strcmp(entry->name, name) != 0) {
        entry++;
    }
    return entry->factory;
}

const evener_transport_factory *evener_transport_find(const char *name)
{
    if (name == NULL) {
        return NULL;
    }
    pthread_mutex_lock(&mutex);
    const evener_named_transport *entry = find_locked(name);
    const evener_transport_factory *factory = entry != NULL ? entry->factory : NULL;
    pthread_mutex_unlock(&mutex);
    return factory != NULL ? factory : find_built_in(name);
}
