/* A17 over the HTTP/2 transport. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "demo_server/server.h"
#include "http2/fixture.h"

static demo_server *server;
static h2_fixture fixture;
static h2_peer *peer;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static evener_connectivity_state states[16];
static char reason[EVENER_STATUS_MESSAGE_BYTES];
static unsigned count;

static void health_changed(void *arg, evener_connectivity_state state, const evener_status *status)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    states[count++ % 16] = state;
    strcpy(reason, status->message);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void watch_now(void *arg)
{
    (void)fixture.transport->vtable->watch_health(fixture.transport, peer->connection, arg, health_changed, NULL);
}

static void watch(const char *service)
{
    evener_runtime_call(fixture.runtime, watch_now, (void *)(uintptr_t)service);
}

static evener_connectivity_state await(unsigned wanted)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&lock);
    int error = 0;
    while (count < wanted && error == 0) {
        error = pthread_cond_timedwait(&changed, &lock, &until);
    }
    cr_assert_geq(count, wanted);
    const evener_connectivity_state state = states[(wanted - 1) % 16];
    pthread_mutex_unlock(&lock);
    return state;
}

static void open_all(void)
{
    char error[DEMO_SERVER_ERROR_BYTES];
    server = demo_server_start(&(demo_server_options){.port = 0}, error);
    h2_open(&fixture, NULL);
    peer = h2_connect_port(&fixture, demo_server_port(server));
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_READY);
}

static void close_all(void)
{
    h2_forget(peer);
    h2_close(&fixture);
    demo_server_stop(server, 0);
}

TestSuite(http2_health, .init = open_all, .fini = close_all, .timeout = 60);

static void call_blocking(void)
{
    h2_result result;
    cr_assert_eq(h2_call_blocking(peer, &(h2_call_options){.request = "hello", .request_bytes = 5}, &result),
                 EVENER_STATUS_OK, "%s", result.message);
    h2_result_clear(&result);
}

Test(http2_health, changes_are_reported_while_calls_go_on)
{
    demo_server_set_health(server, "orders", DEMO_SERVER_SERVING);
    watch("orders");
    cr_assert_eq(await(1), EVENER_READY);
    for (int i = 0; i < 100; i++) {
        call_blocking();
    }
    demo_server_set_health(server, "orders", DEMO_SERVER_NOT_SERVING);
    cr_assert_eq(await(2), EVENER_TRANSIENT_FAILURE);
    cr_assert_not_null(strstr(reason, "does not say SERVING"), "%s", reason);
    demo_server_set_health(server, "orders", DEMO_SERVER_SERVING);
    cr_assert_eq(await(3), EVENER_READY);
}

Test(http2_health, another_watch_takes_the_place_and_NULL_ends_it)
{
    demo_server_set_health(server, "orders", DEMO_SERVER_SERVING);
    watch("orders");
    cr_assert_eq(await(1), EVENER_READY);
    watch("");
    cr_assert_eq(await(2), EVENER_READY);
    demo_server_set_health(server, "orders", DEMO_SERVER_NOT_SERVING);
    watch("unknown");
    cr_assert_eq(await(3), EVENER_TRANSIENT_FAILURE);
    watch(NULL);
    demo_server_set_health(server, "unknown", DEMO_SERVER_SERVING);
    call_blocking();
    cr_assert_eq(count, 3);
}

Test(http2_health, a_watch_ends_with_its_connection)
{
    watch("");
    cr_assert_eq(await(1), EVENER_READY);
    h2_disconnect(peer);
}
