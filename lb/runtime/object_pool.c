#include "lb/runtime/object_pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/fork.h"
#include "lb/base/memory.h"
#include "lb/runtime/lane.h"

#define CLASSES (EVENER_POOL_BYTES_MAX / EVENER_POOL_STEP_BYTES)

typedef struct free_object {
    struct free_object *next;
} free_object;

/* A lane's lists; those of the shared lane are used under its lock. */
typedef struct lane_lists {
    _Alignas(EVENER_LANE_BYTES) free_object *first[CLASSES];
} lane_lists;

typedef struct shared_stack {
    _Alignas(EVENER_LANE_BYTES) free_object *first; /* atomic */
} shared_stack;

static lane_lists lanes[EVENER_LANES];
static pthread_mutex_t shared_lane_lock = PTHREAD_MUTEX_INITIALIZER;
static shared_stack returned[CLASSES];

/* The lists of lanes whose threads are gone may be half changed: their objects are lost. */
static void forget_lists(void)
{
    const uint32_t own = evener_lane_own();
    for (uint32_t lane = 0; lane < EVENER_LANES - 1; lane++) {
        if (lane != own) {
            memset(&lanes[lane], 0, sizeof lanes[lane]);
        }
    }
}

EVENER_FORK_LOCK(shared_lane_lock, EVENER_FORK_OBJECTS, forget_lists)

static size_t class_of(size_t bytes)
{
    return bytes == 0 ? 0 : (bytes - 1) / EVENER_POOL_STEP_BYTES;
}

static free_object *take_from(uint32_t lane, size_t class)
{
    free_object **first = &lanes[lane].first[class];
    if (*first == NULL) {
        /* Acquire pairs with the release of the threads that gave the objects back. */
        *first = __atomic_exchange_n(&returned[class].first, NULL, __ATOMIC_ACQUIRE);
    }
    free_object *object = *first;
    if (object != NULL) {
        *first = object->next;
    }
    return object;
}

void *evener_pool_take(size_t bytes, bool *is_new)
{
    const size_t class = class_of(bytes);
    free_object *object = NULL;
    evener_lane_use_begin();
    const uint32_t lane = evener_lane_current();
    if (class < CLASSES && lane < EVENER_LANES - 1) {
        object = take_from(lane, class);
    } else if (class < CLASSES) {
        pthread_mutex_lock(&shared_lane_lock);
        object = take_from(EVENER_LANES - 1, class);
        pthread_mutex_unlock(&shared_lane_lock);
    }
    evener_lane_use_end();
    *is_new = object == NULL;
    return object != NULL ? object : evener_cache_aligned_calloc((class + 1) * EVENER_POOL_STEP_BYTES);
}

void evener_pool_give_back(void *memory, size_t bytes)
{
    const size_t class = class_of(bytes);
    if (memory == NULL) {
        return;
    }
    if (class >= CLASSES) {
        free(memory);
        return;
    }
    free_object *object = memory;
    free_object *first = __atomic_load_n(&returned[class].first, __ATOMIC_RELAXED);
    do {
        object->next = first;
    } while (
        !__atomic_compare_exchange_n(&returned[class].first, &first, object, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}
