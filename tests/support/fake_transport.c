#include "tests/support/fake_transport_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t bucket_of(const char *address)
{
    uint64_t hash = UINT64_C(1469598103934665603);
    for (; *address != '\0'; address++) {
        hash = (hash ^ (unsigned char)*address) * UINT64_C(1099511628211);
    }
    return (size_t)(hash ^ (hash >> 32)) % FAKE_BUCKETS;
}

static fake_backend *find(const fake_transport *fake, const char *address)
{
    fake_backend *b = fake->backends[bucket_of(address)];
    while (b != NULL && strcmp(b->address, address) != 0) {
        b = b->next;
    }
    return b;
}

static fake_backend *obtain(fake_transport *fake, const char *address)
{
    fake_backend *b = find(fake, address);
    if (b == NULL) {
        b = calloc(1, sizeof *b);
        b->address = strdup(address);
        b->authority = strdup("");
        b->next = fake->backends[bucket_of(address)];
        fake->backends[bucket_of(address)] = b;
    }
    return b;
}

void fake_connection_ref(evener_connection *connection)
{
    (void)__atomic_fetch_add(&connection->references, 1, __ATOMIC_RELAXED);
}

void fake_connection_unref(evener_connection *connection)
{
    if (__atomic_sub_fetch(&connection->references, 1, __ATOMIC_ACQ_REL) == 0) {
        (void)__atomic_fetch_sub(&connection->fake->unfreed, 1, __ATOMIC_RELAXED);
        connection->mark = 0;
        free(connection->service);
        free(connection);
    }
}

/* ---- the script ---- */

static void report(evener_connection *connection, evener_connectivity_state state, const char *message)
{
    evener_status status;
    evener_status_clear(&status);
    if (message != NULL) {
        evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "%s", message);
    }
    evener_timer_stop(connection->fake->loop, &connection->timer);
    connection->state = state == EVENER_READY ? EVENER_READY : EVENER_SHUTDOWN;
    connection->state_changed(connection->arg, state, &status);
}

static void ring(void *arg)
{
    evener_connection *connection = arg;
    if (connection->behaviour == FAKE_ACCEPT) {
        report(connection, EVENER_READY, NULL);
    } else {
        report(connection, EVENER_TRANSIENT_FAILURE, "connection refused");
    }
}

void fake_connection_drop(evener_connection *connection)
{
    if (connection->state == EVENER_READY) {
        report(connection, EVENER_IDLE, NULL);
    }
}

static evener_connection *newest_in(const fake_transport *fake, const char *address, evener_connectivity_state state)
{
    const fake_backend *b = find(fake, address);
    evener_connection *connection = b != NULL ? b->newest : NULL;
    while (connection != NULL && connection->state != state) {
        connection = connection->older;
    }
    return connection;
}

bool fake_transport_ready(fake_transport *fake, const char *address)
{
    evener_connection *connection = newest_in(fake, address, EVENER_CONNECTING);
    if (connection != NULL) {
        report(connection, EVENER_READY, NULL);
    }
    return connection != NULL;
}

bool fake_transport_ready_too_late(fake_transport *fake, const char *address)
{
    evener_connection *connection = newest_in(fake, address, EVENER_CONNECTING);
    if (connection != NULL) {
        connection->gone = true;
    }
    return fake_transport_ready(fake, address);
}

bool fake_transport_fail(fake_transport *fake, const char *address, const char *message)
{
    evener_connection *connection = newest_in(fake, address, EVENER_CONNECTING);
    if (connection != NULL) {
        report(connection, EVENER_TRANSIENT_FAILURE, message);
    }
    return connection != NULL;
}

bool fake_transport_drop(fake_transport *fake, const char *address)
{
    evener_connection *connection = newest_in(fake, address, EVENER_READY);
    if (connection != NULL) {
        report(connection, EVENER_IDLE, NULL);
    }
    return connection != NULL;
}

bool fake_transport_close_to_calls(fake_transport *fake, const char *address)
{
    evener_connection *connection = newest_in(fake, address, EVENER_READY);
    if (connection != NULL) {
        connection->gone = true;
    }
    return connection != NULL;
}

/* ---- health ---- */

static void report_health(void *arg)
{
    evener_connection *connection = arg;
    if (connection->health_changed != NULL && connection->state == EVENER_READY) {
        evener_status status;
        evener_status_clear(&status);
        if (connection->health == EVENER_TRANSIENT_FAILURE) {
            evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "not serving");
        }
        connection->health_changed(connection->health_arg, connection->health, &status);
    }
    fake_connection_unref(connection);
}

static void report_health_later(evener_connection *connection)
{
    (void)__atomic_fetch_add(&connection->references, 1, __ATOMIC_RELAXED);
    if (!evener_loop_post(connection->fake->loop, &connection->health_task)) {
        fake_connection_unref(connection);
    }
}

static evener_status_code watch_health(evener_transport *transport, evener_connection *connection, const char *service,
                                       void (*health_changed)(void *arg, evener_connectivity_state health,
                                                              const evener_status *status),
                                       void *arg)
{
    (void)transport;
    free(connection->service);
    connection->service = service != NULL ? strdup(service) : NULL;
    connection->health_changed = service != NULL ? health_changed : NULL;
    connection->health_arg = arg;
    if (!connection->health_known) {
        connection->health = EVENER_CONNECTING;
    }
    report_health_later(connection);
    return EVENER_STATUS_OK;
}

bool fake_transport_health(fake_transport *fake, const char *address, evener_connectivity_state health)
{
    evener_connection *connection = newest_in(fake, address, EVENER_READY);
    if (connection == NULL) {
        return false;
    }
    connection->health = health;
    connection->health_known = true;
    report_health_later(connection);
    return true;
}

/* ---- the transport ---- */

static evener_status_code connect_to(evener_transport *transport, const evener_connect_args *args,
                                     evener_connection **connection, evener_status *status)
{
    fake_transport *fake = (fake_transport *)transport;
    fake_backend *b = obtain(fake, evener_address_text(args->address));
    if (args->loop != fake->loop) {
        abort(); /* transports take their timers from it */
    }
    b->attempts++;
    b->last_attempt_ns = evener_loop_now_ns(fake->loop);
    free(b->authority);
    b->authority = strdup(args->authority != NULL ? args->authority : "");
    const fake_behaviour behaviour = b->own_behaviour ? b->behaviour : fake->behaviour;
    if (behaviour == FAKE_THROW) {
        return evener_status_set(status, EVENER_STATUS_UNAVAILABLE, "connect failed at once");
    }
    evener_connection *made = calloc(1, sizeof *made);
    made->fake = fake;
    made->to = b;
    made->state = EVENER_CONNECTING;
    made->behaviour = behaviour;
    made->timer = (evener_timer)EVENER_TIMER_INIT(ring, made);
    made->health_task = (evener_task)EVENER_TASK_INIT(report_health, made);
    made->state_changed = args->state_changed;
    made->arg = args->arg;
    made->references = 1;
    made->mark = FAKE_CONNECTION_MARK;
    made->older = b->newest;
    b->newest = made;
    b->open++;
    fake->open++;
    if (behaviour != FAKE_SILENT) {
        evener_timer_start(fake->loop, &made->timer, b->own_behaviour ? b->delay_ns : fake->delay_ns);
    }
    *connection = made;
    return EVENER_STATUS_OK;
}

static void disconnect_from(evener_transport *transport, evener_connection *connection)
{
    fake_transport *fake = (fake_transport *)transport;
    evener_timer_stop(fake->loop, &connection->timer);
    connection->state = EVENER_SHUTDOWN;
    connection->health_changed = NULL;
    connection->to->open--;
    fake->open--;
    (void)__atomic_fetch_add(&fake->unfreed, 1, __ATOMIC_RELAXED);
    evener_connection **link = &connection->to->newest;
    while (*link != connection) {
        link = &(*link)->older;
    }
    *link = connection->older;
    fake_connection_unref(connection);
}

static bool takes_calls(const evener_connection *connection)
{
    return !connection->gone;
}

static bool pick_ref(evener_connection *connection)
{
    if (connection->gone) {
        return false;
    }
    fake_connection_ref(connection);
    return true;
}

static const evener_transport_vtable plain_vtable = {
    .size = sizeof plain_vtable,
    .connect = connect_to,
    .disconnect = disconnect_from,
    .watch_health = watch_health,
};

static const evener_transport_vtable counted_vtable = {
    .size = sizeof counted_vtable,
    .connect = connect_to,
    .disconnect = disconnect_from,
    .connection_ref = pick_ref,
    .connection_unref = fake_connection_unref,
    .connection_takes_calls = takes_calls,
    .watch_health = watch_health,
};

static const evener_transport_vtable calling_vtable = {
    .size = sizeof calling_vtable,
    .connect = connect_to,
    .disconnect = disconnect_from,
    .connection_ref = pick_ref,
    .connection_unref = fake_connection_unref,
    .connection_takes_calls = takes_calls,
    .watch_health = watch_health,
    .calls = &fake_calls,
};

void fake_transport_carry_calls(fake_transport *fake, fake_call_script script, void *arg)
{
    fake->base.vtable = &calling_vtable;
    fake->script = script;
    fake->script_arg = arg;
}

size_t fake_transport_calls_under_way(const fake_transport *fake)
{
    return fake->calls;
}

fake_transport *fake_transport_create(evener_loop *loop, bool counted)
{
    fake_transport *fake = calloc(1, sizeof *fake);
    fake->base.vtable = counted ? &counted_vtable : &plain_vtable;
    fake->loop = loop;
    fake->behaviour = FAKE_ACCEPT;
    return fake;
}

void fake_transport_destroy(fake_transport *fake)
{
    if (fake->open != 0) {
        fprintf(stderr, "fake transport: %zu connections were never given up\n", fake->open);
        abort();
    }
    for (size_t i = 0; i < FAKE_BUCKETS; i++) {
        for (fake_backend *b = fake->backends[i], *next; b != NULL; b = next) {
            next = b->next;
            free(b->address);
            free(b->authority);
            free(b);
        }
    }
    free(fake);
}

evener_transport *fake_transport_transport(fake_transport *fake)
{
    return &fake->base;
}

void fake_transport_set_default(fake_transport *fake, fake_behaviour behaviour, uint64_t delay_ns)
{
    fake->behaviour = behaviour;
    fake->delay_ns = delay_ns;
}

void fake_transport_set(fake_transport *fake, const char *address, fake_behaviour behaviour, uint64_t delay_ns)
{
    fake_backend *b = obtain(fake, address);
    b->own_behaviour = true;
    b->behaviour = behaviour;
    b->delay_ns = delay_ns;
}

uint32_t fake_transport_attempts(const fake_transport *fake, const char *address)
{
    const fake_backend *b = find(fake, address);
    return b != NULL ? b->attempts : 0;
}

uint64_t fake_transport_last_attempt_ns(const fake_transport *fake, const char *address)
{
    const fake_backend *b = find(fake, address);
    return b != NULL ? b->last_attempt_ns : 0;
}

const char *fake_transport_authority(const fake_transport *fake, const char *address)
{
    const fake_backend *b = find(fake, address);
    return b != NULL ? b->authority : "";
}

const char *fake_transport_watched_service(const fake_transport *fake, const char *address)
{
    const evener_connection *connection = newest_in(fake, address, EVENER_READY);
    return connection != NULL ? connection->service : NULL;
}

size_t fake_transport_open_count(const fake_transport *fake, const char *address)
{
    if (address == NULL) {
        return fake->open;
    }
    const fake_backend *b = find(fake, address);
    return b != NULL ? b->open : 0;
}

uint64_t fake_transport_unfreed(const fake_transport *fake)
{
    return __atomic_load_n(&fake->unfreed, __ATOMIC_RELAXED);
}

bool fake_connection_is_alive(const evener_connection *connection)
{
    return connection->mark == FAKE_CONNECTION_MARK;
}
