/* Calls of all kinds from 8 threads over two connections that are given up and made anew all the time: blocking calls
 * that hand the connection from caller to caller, calls with callbacks, cancellations, deadlines, streams. Each call
 * must end exactly once, and nothing may be touched afterwards: what ThreadSanitizer and AddressSanitizer see. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "demo_server/server.h"
#include "http2/fixture.h"

#define THREADS 8
#define PEERS 2
#define SECONDS 4

static h2_fixture fixture;
static demo_server *server;
static _Atomic bool stopping;
static _Atomic uint64_t ended, failed_oddly;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static h2_peer *current[PEERS];

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* A peer that holds a reference to its connection, as a pick does. */
static h2_peer hold(uint32_t which)
{
    pthread_mutex_lock(&lock);
    h2_peer held = {.fixture = &fixture, .connection = current[which % PEERS]->connection};
    fixture.transport->vtable->connection_ref(held.connection);
    pthread_mutex_unlock(&lock);
    return held;
}

static void let_go(h2_peer *held)
{
    fixture.transport->vtable->connection_unref(held->connection);
}

static void count_end(evener_status_code code)
{
    atomic_fetch_add(&ended, 1);
    if (code != EVENER_STATUS_OK && code != EVENER_STATUS_UNAVAILABLE && code != EVENER_STATUS_CANCELLED &&
        code != EVENER_STATUS_DEADLINE_EXCEEDED) {
        atomic_fetch_add(&failed_oddly, 1);
        fprintf(stderr, "stress: status %d\n", (int)code);
    }
}

static void call_once(h2_peer *held, uint32_t *random)
{
    h2_call_options options = {.request = "0123456789", .request_bytes = 10};
    const uint32_t kind = next_random(random) % 16;
    if (kind % 4 == 0) {
        options.timeout_ms = 1 + next_random(random) % 3;
    }
    if (kind < 10) {
        h2_result result;
        count_end(h2_call_blocking(held, &options, &result));
        h2_result_clear(&result);
        return;
    }
    options.stream = kind == 15;
    h2_call *call = h2_call_start(held, &options, NULL);
    if (call == NULL) {
        return;
    }
    if (options.stream) {
        if (h2_stream_write(call, "hello", 5, false)) {
            free(h2_stream_read(call, NULL));
        }
        h2_stream_half_close(call);
        h2_call_cancel(call, EVENER_STATUS_CANCELLED, "enough");
    } else if (kind % 3 == 0) {
        h2_call_cancel(call, EVENER_STATUS_CANCELLED, "no more");
    }
    count_end(h2_call_wait(call)->code);
    h2_call_free(call);
}

static void *call_on(void *arg)
{
    uint32_t random = (uint32_t)(uintptr_t)arg;
    while (!atomic_load(&stopping)) {
        h2_peer held = hold(next_random(&random));
        const uint32_t count = 1 + next_random(&random) % 20;
        for (uint32_t i = 0; i < count; i++) {
            call_once(&held, &random);
        }
        let_go(&held);
    }
    return NULL;
}

static void connect_again(unsigned which)
{
    h2_peer *made = h2_connect_port(&fixture, demo_server_port(server));
    if (h2_wait_state(made, 1) != EVENER_READY) {
        fprintf(stderr, "stress: %s\n", h2_state_message(made, 1));
        abort();
    }
    pthread_mutex_lock(&lock);
    h2_peer *before = current[which];
    current[which] = made;
    pthread_mutex_unlock(&lock);
    if (before != NULL) {
        h2_forget(before);
    }
}

int main(void)
{
    char error[DEMO_SERVER_ERROR_BYTES];
    server = demo_server_start(&(demo_server_options){.port = 0}, error);
    h2_open(&fixture, NULL);
    for (unsigned i = 0; i < PEERS; i++) {
        connect_again(i);
    }
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, call_on, (void *)(i + 1));
    }
    const struct timespec pause = {.tv_nsec = 20000000};
    for (unsigned i = 0; i < SECONDS * 50; i++) {
        nanosleep(&pause, NULL);
        connect_again(i % PEERS);
    }
    atomic_store(&stopping, true);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (unsigned i = 0; i < PEERS; i++) {
        h2_forget(current[i]);
    }
    h2_close(&fixture);
    demo_server_stop(server, 0);
    printf("%llu calls ended\n", (unsigned long long)atomic_load(&ended));
    return atomic_load(&failed_oddly) > 0 || atomic_load(&ended) < 100;
}
