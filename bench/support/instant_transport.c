#include "bench/support/instant_transport.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct instant_connection {
    instant_transport *transport;
    void (*state_changed)(void *arg, evener_connectivity_state state, const evener_status *status);
    void *arg;
    evener_task task; /* tells READY; after disconnect(), frees */
    bool is_ready;
    bool is_given_up;
} instant_connection;

static void run(void *arg)
{
    instant_connection *connection = arg;
    if (connection->is_given_up) {
        atomic_fetch_sub_explicit(&connection->transport->alive, 1, memory_order_release);
        free(connection);
    } else {
        evener_status ok;
        evener_status_clear(&ok);
        connection->is_ready = true;
        atomic_fetch_add_explicit(&connection->transport->ready, 1, memory_order_release);
        atomic_fetch_add_explicit(&connection->transport->made, 1, memory_order_relaxed);
        connection->state_changed(connection->arg, EVENER_READY, &ok);
    }
}

static evener_status_code instant_connect(evener_transport *base, const evener_connect_args *args,
                                          evener_connection **connection, evener_status *status)
{
    instant_transport *transport = (instant_transport *)base;
    instant_connection *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory for a connection");
    }
    made->transport = transport;
    atomic_fetch_add_explicit(&transport->alive, 1, memory_order_relaxed);
    made->state_changed = args->state_changed;
    made->arg = args->arg;
    made->task = (evener_task)EVENER_TASK_INIT(run, made);
    evener_loop_post(transport->loop, &made->task);
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
        connection->is_ready = false;
    }
    evener_loop_post(transport->loop, &connection->task); /* a task that is pending still frees as well */
}

static const evener_transport_vtable vtable = {
    .size = sizeof vtable,
    .connect = instant_connect,
    .disconnect = instant_disconnect,
};

void instant_transport_init(instant_transport *transport, evener_loop *loop)
{
    transport->base.vtable = &vtable;
    transport->loop = loop;
    atomic_init(&transport->ready, 0);
    atomic_init(&transport->made, 0);
    atomic_init(&transport->alive, 0);
}

size_t instant_transport_bytes(const instant_transport *transport)
{
    void *one = malloc(sizeof(instant_connection));
    size_t bytes = malloc_usable_size(one) + sizeof(size_t); /* with the size that malloc keeps before it */
    free(one);
    return bytes * (size_t)atomic_load_explicit(&transport->alive, memory_order_relaxed);
}
