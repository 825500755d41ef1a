#include "bench/sim/transport.h"

#include <stdlib.h>
#include <string.h>

#include <evener/call.h>

struct evener_connection {
    sim_transport *transport;
    uint32_t server;
    uint32_t references;
    bool up, gone; /* gone: takes no further call */
    evener_timer timer;
    void (*state_changed)(void *arg, evener_connectivity_state state, const evener_status *status);
    void *arg;
    evener_connection *next, **link; /* in the server's list */
};

typedef struct sim_transport_call {
    evener_transport_call base;
    engine *engine;
    uint32_t attempt;
    evener_task cancel_task;
    evener_status_code cancel_code;
    const char *cancel_message;
} sim_transport_call;

/* ---- connections ---- */

static bool connection_ref(evener_connection *connection)
{
    if (connection->gone) {
        return false;
    }
    connection->references++;
    return true;
}

static void connection_unref(evener_connection *connection)
{
    if (--connection->references == 0) {
        connection->transport->alive--;
        free(connection);
    }
}

static bool takes_calls(const evener_connection *connection)
{
    return !connection->gone;
}

static void report(evener_connection *connection, evener_connectivity_state state, const char *message)
{
    evener_status status;
    evener_status_clear(&status);
    if (message != NULL) {
        evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "%s", message);
    }
    connection->up = state == EVENER_READY;
    connection->state_changed(connection->arg, state, &status);
}

static void connected(void *arg)
{
    evener_connection *connection = arg;
    if (connection->transport->engine->refusing[connection->server]) {
        report(connection, EVENER_TRANSIENT_FAILURE, "connection refused");
    } else {
        report(connection, EVENER_READY, NULL);
    }
}

static evener_status_code connect_to(evener_transport *base, const evener_connect_args *args,
                                     evener_connection **connection, evener_status *status)
{
    sim_transport *transport = (sim_transport *)base;
    evener_connection *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    made->transport = transport;
    made->server = sim_server_of(args->address);
    made->references = 1;
    made->timer = (evener_timer)EVENER_TIMER_INIT(connected, made);
    made->state_changed = args->state_changed;
    made->arg = args->arg;
    made->link = &transport->connections[made->server];
    made->next = *made->link;
    if (made->next != NULL) {
        made->next->link = &made->next;
    }
    *made->link = made;
    transport->alive++;
    evener_timer_start(args->loop, &made->timer, transport->engine->network_ns);
    *connection = made;
    return EVENER_STATUS_OK;
}

static void disconnect_from(evener_transport *base, evener_connection *connection)
{
    const sim_transport *transport = (sim_transport *)base;
    evener_timer_stop(transport->engine->world.loop, &connection->timer);
    *connection->link = connection->next;
    if (connection->next != NULL) {
        connection->next->link = connection->link;
    }
    connection_unref(connection);
}

void sim_transport_drop(sim_transport *transport, uint32_t server)
{
    for (evener_connection *c = transport->connections[server]; c != NULL; c = c->next) {
        c->gone = c->gone || c->up;
    }
    for (;;) { /* a report changes the list */
        evener_connection *c = transport->connections[server];
        while (c != NULL && !c->up) {
            c = c->next;
        }
        if (c == NULL) {
            return;
        }
        report(c, EVENER_IDLE, NULL);
    }
}

/* ---- calls ---- */

static void end(sim_transport_call *call, evener_status_code code, const char *message, bool timed_out)
{
    evener_bytes response = {0};
    const evener_call_end how = {.size = sizeof how,
                                 .code = code,
                                 .message = message,
                                 .message_bytes = strlen(message),
                                 .fate = EVENER_FATE_PERHAPS_PROCESSED,
                                 .connection_gone = call->base.connection->gone,
                                 .timed_out = timed_out,
                                 .response = code == EVENER_STATUS_OK ? &response : NULL,
                                 .headers_came = code == EVENER_STATUS_OK};
    call->base.events->ended(&call->base, &how); /* `call` may be gone */
}

void sim_transport_end(engine *e, uint32_t index, evener_status_code code)
{
    sim_transport_call *call = e->calls[index].owner;
    const bool timed_out = code == EVENER_STATUS_DEADLINE_EXCEEDED && sim_now_ns(e) >= e->calls[index].deadline_ns;
    sim_forget(e, index);
    end(call, code, code == EVENER_STATUS_OK ? "" : timed_out ? "deadline exceeded" : "the server says no", timed_out);
}

static void cancelled(void *arg)
{
    sim_transport_call *call = arg;
    end(call, call->cancel_code, call->cancel_message, false);
}

static void call_cancel(evener_transport_call *base, evener_status_code code, const char *message)
{
    sim_transport_call *call = (sim_transport_call *)base;
    call->cancel_code = code;
    call->cancel_message = message;
    sim_forget(call->engine, call->attempt);
    evener_loop_post(call->engine->world.loop, &call->cancel_task);
}

/* Add the server to those that the call has tried. Return whether it was there. */
static bool has_tried(sim_channel_call *call, uint32_t server)
{
    const uint32_t count = call->attempts < SIM_TRIED_MAX ? call->attempts : SIM_TRIED_MAX;
    bool tried = false;
    for (uint32_t i = 0; i < count; i++) {
        tried = tried || call->tried[i] == server;
    }
    if (count < SIM_TRIED_MAX) {
        call->tried[count] = server;
    }
    call->attempts++;
    return tried;
}

static evener_status_code call_begin(evener_connection *connection, evener_transport_call *base,
                                     const evener_call_begin_args *args, evener_status *status)
{
    sim_transport_call *call = (sim_transport_call *)base;
    engine *e = connection->transport->engine;
    const evener_metadata *given = evener_metadata_find(args->metadata, args->metadata_count, SIM_CALL_KEY);
    sim_channel_call *of;
    if (connection->gone) {
        return evener_status_set(status, EVENER_STATUS_UNAVAILABLE, "the connection is gone");
    }
    if (!args->unary || given == NULL || given->value_bytes != sizeof of) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "the simulation has unary calls of its own only");
    }
    memcpy(&of, given->value, sizeof of);
    *call = (sim_transport_call){.base = {.connection = connection, .events = args->events, .arg = base->arg},
                                 .engine = e,
                                 .cancel_task = EVENER_TASK_INIT(cancelled, call)};
    call->attempt = sim_take(e);
    e->calls[call->attempt].owner = call;
    const uint64_t draw = of->number + ((uint64_t)of->attempts << 40); /* the first attempt's as without retries */
    sim_send(e, call->attempt,
             &(sim_sending){.server = connection->server,
                            .begun_ns = of->begun_ns,
                            .deadline_ns = args->deadline_ns,
                            .draw = draw,
                            .repeated = has_tried(of, connection->server)});
    return EVENER_STATUS_OK;
}

/* Only streams write and read. */
static void no_write(evener_transport_call *call, const evener_bytes *message, bool last)
{
    (void)call;
    (void)message;
    (void)last;
}

static void nothing(evener_transport_call *call)
{
    (void)call;
}

static const evener_transport_calls calls = {
    .size = sizeof calls,
    .call_bytes = sizeof(sim_transport_call),
    .call_begin = call_begin,
    .call_write = no_write,
    .call_half_close = nothing,
    .call_read = nothing,
    .call_cancel = call_cancel,
};

static const evener_transport_vtable vtable = {
    .size = sizeof vtable,
    .connect = connect_to,
    .disconnect = disconnect_from,
    .connection_ref = connection_ref,
    .connection_unref = connection_unref,
    .connection_takes_calls = takes_calls,
    .calls = &calls,
};

void sim_transport_init(sim_transport *transport, engine *e)
{
    *transport = (sim_transport){.base = {.vtable = &vtable}, .engine = e};
    transport->connections = calloc(e->server_count, sizeof(evener_connection *));
    if (transport->connections == NULL) {
        abort(); /* a simulation cannot run with less memory */
    }
}

void sim_transport_clear(sim_transport *transport)
{
    if (transport->alive > 0) {
        abort(); /* the library has left a connection behind */
    }
    free(transport->connections);
}

void sim_driver_prefetch(const sim_attempt *attempt)
{
    __builtin_prefetch(attempt->owner);
}
