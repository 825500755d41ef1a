#include "bench/support/instant_transport.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>

#define CHUNK_CONNECTIONS 64

typedef struct instant_connection {
    void (*state_changed)(void *arg, evener_connectivity_state state, const evener_status *status);
    void *arg;
    struct instant_connection *next; /* in the list of requested or of unused connections */
    bool is_ready;
    bool is_given_up;
} instant_connection;

typedef struct instant_chunk {
    struct instant_chunk *next;
    instant_connection connections[CHUNK_CONNECTIONS];
} instant_chunk;

static void put_aside(instant_transport *transport, instant_connection *connection)
{
    connection->next = transport->unused;
    transport->unused = connection;
    atomic_fetch_sub_explicit(&transport->alive, 1, memory_order_release);
}

/* Report all requested connections as READY. A callback may request more connections and release any. */
static void report_ready(void *arg)
{
    instant_transport *transport = arg;
    evener_status ok;
    evener_status_clear(&ok);
    instant_connection *next = transport->requested;
    transport->requested = NULL;
    transport->requested_tail = &transport->requested;
    while (next != NULL) {
        instant_connection *connection = next;
        next = connection->next;
        __builtin_prefetch(next, 1);
        if (connection->is_given_up) {
            put_aside(transport, connection);
            continue;
        }
        connection->is_ready = true;
        atomic_fetch_add_explicit(&transport->ready, 1, memory_order_release);
        atomic_fetch_add_explicit(&transport->made, 1, memory_order_relaxed);
        connection->state_changed(connection->arg, EVENER_READY, &ok);
    }
}

static instant_connection *take_unused(instant_transport *transport)
{
    if (transport->unused == NULL) {
        instant_chunk *chunk = malloc(sizeof *chunk);
        if (chunk == NULL) {
            return NULL;
        }
        transport->bytes += malloc_usable_size(chunk) + sizeof(size_t); /* plus malloc's size field */
        chunk->next = transport->chunks;
        transport->chunks = chunk;
        for (size_t i = 0; i < CHUNK_CONNECTIONS; i++) {
            chunk->connections[i].next = transport->unused;
            transport->unused = &chunk->connections[i];
        }
    }
    instant_connection *taken = transport->unused;
    transport->unused = taken->next;
    __builtin_prefetch(transport->unused, 1); /* the transport's cache misses are not to be measured */
    return taken;
}

static evener_status_code instant_connect(evener_transport *base, const evener_connect_args *args,
                                          evener_connection **connection, evener_status *status)
{
    instant_transport *transport = (instant_transport *)base;
    instant_connection *made = take_unused(transport);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory for a connection");
    }
    *made = (instant_connection){.state_changed = args->state_changed, .arg = args->arg};
    atomic_fetch_add_explicit(&transport->alive, 1, memory_order_relaxed);
    if (transport->requested == NULL) {
        evener_loop_post(transport->loop, &transport->ready_task);
    }
    *transport->requested_tail = made;
    transport->requested_tail = &made->next;
    *connection = (evener_connection *)made;
    return EVENER_STATUS_OK;
}

static void instant_disconnect(evener_transport *base, evener_connection *given)
{
    instant_transport *transport = (instant_transport *)base;
    instant_connection *connection = (instant_connection *)given;
    connection->is_given_up = true;
    if (connection->is_ready) {
        atomic_fetch_sub_explicit(&transport->ready, 1, memory_order_relaxed);
        put_aside(transport, connection);
    } /* otherwise it is still requested; report_ready() finds it */
}

static const evener_transport_vtable vtable = {
    .size = sizeof vtable,
    .connect = instant_connect,
    .disconnect = instant_disconnect,
};

void instant_transport_init(instant_transport *transport, evener_loop *loop)
{
    *transport = (instant_transport){.base = {.vtable = &vtable}, .loop = loop};
    transport->ready_task = (evener_task)EVENER_TASK_INIT(report_ready, transport);
    transport->requested_tail = &transport->requested;
    atomic_init(&transport->ready, 0);
    atomic_init(&transport->made, 0);
    atomic_init(&transport->alive, 0);
}

void instant_transport_clear(instant_transport *transport)
{
    while (transport->chunks != NULL) {
        instant_chunk *chunk = transport->chunks;
        transport->chunks = chunk->next;
        free(chunk);
    }
}

size_t instant_transport_bytes(const instant_transport *transport)
{
    return transport->bytes;
}
