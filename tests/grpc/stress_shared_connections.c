/* Channels that share connections, over both transports: 1,000 equal channels to 10 servers have 10 connections; then
 * channels are opened, given other settings, reset and closed at random by 8 threads that also make calls on them. No
 * call fails, and at the end there is no connection. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <evener/evener.h>

#include "demo_server/server.h"
#include "lb/channel/reconfigure.h"
#include "tests/support/own_sockets.h"

#define THREADS 8
#define SERVERS 10
#define EQUAL 1000
#define SECONDS 3
#define KEPT 8

static demo_server *servers[SERVERS];
static uint16_t ports[SERVERS];
static char target[512];
static const char *transport;
static evener_credentials *insecure;
static evener_runtime *runtime;
static _Atomic bool stopping;
static _Atomic uint64_t calls, failed, channels, changes;

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}

static evener_channel *open_channel(uint32_t random)
{
    const evener_channel_options options = {
        .size = sizeof options,
        .runtime = runtime,
        .transport_name = transport,
        .credentials = insecure,
        .policy = random % 3 == 0 ? "pick_first" : "round_robin",
        .user_agent = random % 5 == 0 ? "other/1" : NULL,
        .own_connections = random % 17 == 0,
    };
    evener_channel *channel = NULL;
    evener_status status;
    if (evener_channel_create(target, &options, &channel, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "stress: %s\n", status.message);
        abort();
    }
    atomic_fetch_add(&channels, 1);
    return channel;
}

static void call_once(evener_channel *channel)
{
    evener_bytes request;
    evener_bytes response;
    evener_status status;
    *evener_bytes_create(1, &request) = 'x';
    const evener_call_options options = {
        .size = sizeof options, .timeout_ms = 60000, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
    if (evener_unary_call(channel, "/evener.demo.Echo/Unary", &request, &options, &response, &status) ==
        EVENER_STATUS_OK) {
        evener_bytes_clear(&response);
    } else {
        atomic_fetch_add(&failed, 1);
        fprintf(stderr, "stress: %s: %s\n", evener_status_code_name(status.code), status.message);
    }
    evener_bytes_clear(&request);
    atomic_fetch_add(&calls, 1);
}

typedef struct change {
    evener_channel *live, *prepared;
} change;

static void reconfigure(void *arg)
{
    const change *self = arg;
    evener_status status;
    if (evener_channel_reconfigure(self->live, self->prepared, false, true, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "stress: %s\n", status.message);
        abort();
    }
}

/* Give the channel the settings of a new one, as the reload of a factory file does. */
static void reload(evener_channel *channel, uint32_t random)
{
    change self = {channel, open_channel(random)};
    evener_runtime_call(runtime, reconfigure, &self);
    evener_channel_unref(self.prepared);
    atomic_fetch_add(&changes, 1);
}

static void change_somehow(evener_channel *channel, uint32_t *random)
{
    evener_status status;
    switch (next_random(random) % 4) {
    case 0:
        reload(channel, next_random(random));
        break;
    case 1:
        (void)evener_channel_set_credentials(channel, insecure, &status);
        break;
    case 2:
        evener_channel_reset_connect_backoff(channel);
        break;
    default:
        break;
    }
}

static void *run(void *arg)
{
    uint32_t random = (uint32_t)(uintptr_t)arg;
    evener_channel *kept[KEPT] = {NULL};
    while (!atomic_load(&stopping)) {
        const uint32_t which = next_random(&random) % KEPT;
        if (kept[which] == NULL) {
            kept[which] = open_channel(next_random(&random));
        } else if (next_random(&random) % 4 == 0) {
            evener_channel_unref(kept[which]);
            kept[which] = NULL;
        } else {
            change_somehow(kept[which], &random);
        }
        if (kept[which] != NULL) {
            call_once(kept[which]);
        }
    }
    for (size_t i = 0; i < KEPT; i++) {
        evener_channel_unref(kept[i]);
    }
    return NULL;
}

static void require(bool holds, const char *what, unsigned value)
{
    if (!holds) {
        fprintf(stderr, "stress: %s: %s: %u\n", transport, what, value);
        exit(1);
    }
}

/* Every channel has used its connections: both ends of each are open. */
static void require_one_per_server(const char *what)
{
    const own_sockets count = own_sockets_count(ports, SERVERS);
    require(count.clients == SERVERS, what, count.clients);
    require(count.servers == SERVERS, what, count.servers);
}

/* Wait until no connection is left. The servers see the end of one a moment after the client. */
static void require_none_left(const char *what)
{
    own_sockets count = own_sockets_count(ports, SERVERS);
    const struct timespec moment = {.tv_nsec = 10000000};
    for (unsigned i = 0; i < 3000 && count.clients + count.servers != 0; i++) {
        nanosleep(&moment, NULL);
        count = own_sockets_count(ports, SERVERS);
    }
    require(count.clients == 0, what, count.clients);
    require(count.servers == 0, what, count.servers);
}

static void many_equal_channels(void)
{
    static evener_channel *equal[EQUAL];
    evener_status status;
    for (size_t i = 0; i < EQUAL; i++) {
        equal[i] = open_channel(1);
        evener_channel_connect(equal[i]);
    }
    for (size_t i = 0; i < EQUAL; i++) {
        if (evener_channel_wait_ready_backends(equal[i], SERVERS, 120000, &status) != EVENER_STATUS_OK) {
            fprintf(stderr, "stress: %s\n", status.message);
            exit(1);
        }
    }
    require_one_per_server("connections of equal channels");
    for (size_t i = 0; i < EQUAL; i++) {
        call_once(equal[i]);
    }
    require_one_per_server("connections of equal channels after calls");
    for (size_t i = 0; i < EQUAL; i++) {
        evener_channel_unref(equal[i]);
    }
    require_none_left("connections left of equal channels");
}

static void at_random(void)
{
    pthread_t threads[THREADS];
    atomic_store(&stopping, false);
    for (uintptr_t i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, run, (void *)(i + 1));
    }
    const struct timespec pause = {.tv_sec = SECONDS};
    nanosleep(&pause, NULL);
    atomic_store(&stopping, true);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    require_none_left("connections left");
}

int main(void)
{
    static const char *const transports[] = {"http2", "grpc"};
    char error[DEMO_SERVER_ERROR_BYTES];
    evener_status status;
    size_t used = (size_t)snprintf(target, sizeof target, "static:");
    for (size_t i = 0; i < SERVERS; i++) {
        servers[i] = demo_server_start(&(demo_server_options){.threads = 1}, error);
        ports[i] = demo_server_port(servers[i]);
        used += (size_t)snprintf(target + used, sizeof target - used, "%s127.0.0.1:%u", i > 0 ? "," : "", ports[i]);
    }
    if (evener_credentials_create_insecure(&insecure, &status) != EVENER_STATUS_OK ||
        evener_runtime_create(NULL, &runtime, &status) != EVENER_STATUS_OK) {
        return 1;
    }
    for (size_t i = 0; i < sizeof transports / sizeof transports[0]; i++) {
        transport = transports[i];
        many_equal_channels();
        at_random();
        printf("%s: %" PRIu64 " calls on %" PRIu64 " channels, %" PRIu64 " with new settings\n", transport,
               atomic_load(&calls), atomic_load(&channels), atomic_load(&changes));
        require(atomic_load(&failed) == 0, "calls failed", (unsigned)atomic_load(&failed));
    }
    evener_credentials_destroy(insecure);
    evener_runtime_unref(runtime);
    for (size_t i = 0; i < SERVERS; i++) {
        demo_server_stop(servers[i], 0);
    }
    return 0;
}
