#include "lb/transport/grpc/overdue.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "lb/base/memory.h"
#include "lb/runtime/clock.h"
#include "lb/transport/grpc/core_call.h"

/* Calls are spread over this number of lists, so that threads that begin and end calls seldom contend for a lock. */
#define LISTS 8
#define LOOK_INTERVAL_NS (50 * EVENER_NS_PER_MS)
/* A unary call takes long after this number of looks: a second. */
#define LONG_LOOKS 20

typedef struct list {
    _Alignas(EVENER_CACHE_LINE_BYTES) pthread_mutex_t mutex;
    evener_grpc_core_call *first; /* under mutex */
} list;

struct evener_grpc_overdue {
    _Atomic uint64_t next_look_ns; /* of evener_clock_now_fast_ns() */
    list lists[LISTS];
};

static list *list_of(evener_grpc_overdue *overdue, const evener_grpc_core_call *call)
{
    return &overdue->lists[((uintptr_t)call >> 10) % LISTS]; /* calls are close to a KiB in size */
}

evener_grpc_overdue *evener_grpc_overdue_create(evener_status *status)
{
    evener_grpc_overdue *overdue = evener_cache_aligned_calloc(sizeof *overdue);
    if (overdue == NULL) {
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "gRPC transport: out of memory");
        return NULL;
    }
    for (int i = 0; i < LISTS; i++) {
        pthread_mutex_init(&overdue->lists[i].mutex, NULL);
    }
    return overdue;
}

void evener_grpc_overdue_destroy(evener_grpc_overdue *overdue)
{
    if (overdue == NULL) {
        return;
    }
    for (int i = 0; i < LISTS; i++) {
        pthread_mutex_destroy(&overdue->lists[i].mutex);
    }
    free(overdue);
}

/* Under the list's mutex. */
static void link_call(list *l, evener_grpc_core_call *call)
{
    call->overdue_next = l->first;
    call->overdue_link = &l->first;
    if (l->first != NULL) {
        l->first->overdue_link = &call->overdue_next;
    }
    l->first = call;
}

void evener_grpc_overdue_add(evener_grpc_overdue *overdue, evener_grpc_core_call *call)
{
    list *l = list_of(overdue, call);
    call->is_listed = true;
    pthread_mutex_lock(&l->mutex);
    link_call(l, call);
    pthread_mutex_unlock(&l->mutex);
}

/* Put a call that was taken back, unless it has ended meanwhile. */
static void add_again(evener_grpc_overdue *overdue, evener_grpc_core_call *call)
{
    list *l = list_of(overdue, call);
    pthread_mutex_lock(&l->mutex);
    if (!call->was_removed) {
        link_call(l, call);
    }
    pthread_mutex_unlock(&l->mutex);
}

/* Unlink a call. Under the list's mutex. */
static void unlink_call(evener_grpc_core_call *call)
{
    *call->overdue_link = call->overdue_next;
    if (call->overdue_next != NULL) {
        call->overdue_next->overdue_link = call->overdue_link;
    }
    call->overdue_link = NULL;
}

void evener_grpc_overdue_remove(evener_grpc_overdue *overdue, evener_grpc_core_call *call)
{
    if (!call->is_listed) {
        return;
    }
    list *l = list_of(overdue, call);
    pthread_mutex_lock(&l->mutex);
    call->was_removed = true;
    if (call->overdue_link != NULL) {
        unlink_call(call);
    }
    pthread_mutex_unlock(&l->mutex);
}

/* Move what is overdue out of the list, each with a reference. Store the unary calls that take long, which stay in the
 * list, likewise. */
static evener_grpc_core_call *take_overdue(list *l, evener_grpc_core_call **long_ones)
{
    evener_grpc_core_call *taken = NULL;
    *long_ones = NULL;
    uint64_t now_ns = 0;
    pthread_mutex_lock(&l->mutex);
    for (evener_grpc_core_call *call = l->first, *next; call != NULL; call = next) {
        next = call->overdue_next;
        if (now_ns == 0) {
            now_ns = evener_loop_now_ns(call->connection->loop); /* all connections are of one runtime */
        }
        const uint64_t grace_ns = EVENER_GRPC_CORE_GRACE_MS * EVENER_NS_PER_MS;
        if (call->deadline_ns < UINT64_MAX - grace_ns && now_ns >= call->deadline_ns + grace_ns) {
            unlink_call(call);
            atomic_fetch_add_explicit(&call->references, 1, memory_order_relaxed);
            call->overdue_next = taken;
            taken = call;
        } else if (call->is_unary && ++call->looks % LONG_LOOKS == 0) {
            atomic_fetch_add_explicit(&call->references, 1, memory_order_relaxed);
            call->long_next = *long_ones;
            *long_ones = call;
        }
    }
    pthread_mutex_unlock(&l->mutex);
    return taken;
}

static bool is_time(evener_grpc_overdue *overdue)
{
    const uint64_t now_ns = evener_clock_now_fast_ns();
    uint64_t next_ns = atomic_load_explicit(&overdue->next_look_ns, memory_order_relaxed);
    return now_ns >= next_ns &&
           atomic_compare_exchange_strong_explicit(&overdue->next_look_ns, &next_ns, now_ns + LOOK_INTERVAL_NS,
                                                   memory_order_relaxed, memory_order_relaxed);
}

void evener_grpc_overdue_look(evener_grpc_overdue *overdue)
{
    if (!is_time(overdue)) {
        return;
    }
    for (int i = 0; i < LISTS; i++) {
        evener_grpc_core_call *long_ones;
        evener_grpc_core_call *next;
        evener_grpc_core_call *overdue_ones = take_overdue(&overdue->lists[i], &long_ones);
        for (evener_grpc_core_call *call = long_ones; call != NULL; call = next) {
            next = call->long_next;
            evener_grpc_call_read_second(call);
            evener_grpc_core_call_unref(call);
        }
        for (evener_grpc_core_call *call = overdue_ones; call != NULL; call = next) {
            next = call->overdue_next;
            if (!evener_grpc_core_call_try_abandon(call)) {
                add_again(overdue, call); /* try again: an event of the call is under way */
            }
            evener_grpc_core_call_unref(call);
        }
    }
}
