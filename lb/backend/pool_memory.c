/* The slabs that all pools of a runtime share. A channel of ten backends would fill a small part of its pages: with slabs
 * per channel, 1,000 such channels needed 13 KiB each for empty places. */
#include <stdlib.h>

#include "lb/backend/subchannel_pool.h"

static void *create(evener_runtime *runtime, evener_status *status)
{
    (void)runtime;
    evener_pool_memory *memory = calloc(1, sizeof *memory);
    if (memory == NULL) {
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory for backends");
        return NULL;
    }
    memory->connectors = evener_slab_for(sizeof(evener_connector), _Alignof(evener_connector));
    memory->links = evener_slab_for(sizeof(evener_link), _Alignof(evener_link));
    memory->attempts = evener_slab_for(sizeof(evener_attempt), _Alignof(evener_attempt));
    return memory;
}

static void destroy(void *object)
{
    evener_pool_memory *memory = object;
    while (memory->bodies != NULL) {
        evener_body_slab *first = memory->bodies;
        memory->bodies = first->next;
        evener_slab_clear(&first->slab);
        free(first);
    }
    evener_slab_clear(&memory->connectors);
    evener_slab_clear(&memory->links);
    evener_slab_clear(&memory->attempts);
    free(memory);
}

evener_pool_memory *evener_pool_memory_of(evener_runtime *runtime)
{
    static const evener_shared_key key = {.name = "backends", .create = create, .destroy = destroy};
    return evener_runtime_shared(runtime, &key, NULL);
}
