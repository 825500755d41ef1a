/* The gRPC transport against real servers in this process. */
#include <criterion/criterion.h>

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "demo_server/server.h"
#include "grpc/transport_fixture.h"
#include "lb/base/memory.h"
#include "lb/transport/grpc/connection.h"
#include "tests/support/own_sockets.h"

static evener_credentials *insecure;
static transport_fixture fixture;
static demo_server *server;

static void start(uint64_t max_connection_age_ms)
{
    char error[DEMO_SERVER_ERROR_BYTES];
    const demo_server_options options = {.max_connection_age_ms = max_connection_age_ms};
    server = demo_server_start(&options, error);
    cr_assert(server != NULL, "%s", error);
    cr_assert_eq(evener_credentials_create_insecure(&insecure, NULL), EVENER_STATUS_OK);
    fixture_open(&fixture, insecure);
}

static void finish(void)
{
    fixture_close(&fixture);
    evener_credentials_destroy(insecure);
    demo_server_stop(server, 0);
}

static const char *server_address(void)
{
    return address_of_port(demo_server_port(server));
}

Test(transport, connects_and_reports_ready)
{
    start(0);
    followed *connection = fixture_connect(&fixture, server_address(), "localhost");
    cr_expect_eq(followed_wait(connection, 1), EVENER_READY);
    followed_forget(connection);
    finish();
}

Test(transport, refused_connection_fails_with_address_and_reason)
{
    start(0);
    uint16_t port = free_port();
    followed *connection = fixture_connect(&fixture, address_of_port(port), "localhost");
    cr_expect_eq(followed_wait(connection, 1), EVENER_TRANSIENT_FAILURE);
    char expected[128];
    snprintf(expected, sizeof expected, "failed to connect to 127.0.0.1:%u: Failed to connect to remote host: %s",
             (unsigned)port, strerror(ECONNREFUSED)); /* the core's words depend on the locale */
    cr_expect_eq(connection->last_status.code, EVENER_STATUS_UNAVAILABLE);
    cr_expect_str_eq(connection->last_status.message, expected);
    followed_forget(connection);
    finish();
}

Test(transport, dropped_connection_reports_idle)
{
    start(0);
    followed *connection = fixture_connect(&fixture, server_address(), "localhost");
    cr_expect_eq(followed_wait(connection, 1), EVENER_READY);
    demo_server_stop(server, 0);
    server = NULL;
    cr_expect_eq(followed_wait(connection, 2), EVENER_IDLE);
    followed_forget(connection);
    finish();
}

/* docs/semantics.md, Subchannels: a GOAWAY (here of max_connection_age) drains the connection. */
Test(transport, goaway_reports_idle)
{
    start(300);
    followed *connection = fixture_connect(&fixture, server_address(), "localhost");
    cr_expect_eq(followed_wait(connection, 1), EVENER_READY);
    cr_expect_eq(followed_wait(connection, 2), EVENER_IDLE);
    followed_forget(connection);
    finish();
}

Test(transport, nothing_is_reported_after_disconnect)
{
    start(0);
    for (int i = 0; i < 20; i++) {
        followed *connection = fixture_connect(&fixture, server_address(), "localhost");
        followed_disconnect(connection);
        uint32_t reported = followed_count(connection);
        followed *next = fixture_connect(&fixture, server_address(), "localhost");
        cr_expect_eq(followed_wait(next, 1), EVENER_READY);
        cr_expect_eq(followed_count(connection), reported);
        followed_forget(next);
        followed_forget(connection);
    }
    finish();
}

Test(transport, disconnect_from_inside_the_event)
{
    start(0);
    followed *ready = fixture_connect(&fixture, server_address(), "localhost");
    ready->disconnect_in_report = true;
    followed *refused = fixture_connect(&fixture, address_of_port(free_port()), "localhost");
    refused->disconnect_in_report = true;
    cr_expect_geq(followed_wait(ready, 1), 0);
    cr_expect_geq(followed_wait(refused, 1), 0);
    followed_forget(ready);
    followed_forget(refused);
    finish();
}

Test(transport, many_connections_at_once)
{
    enum { COUNT = 100 };
    start(0);
    followed *connections[COUNT];
    for (int i = 0; i < COUNT; i++) {
        connections[i] = fixture_connect(&fixture, server_address(), "localhost");
    }
    for (int i = 0; i < COUNT; i++) {
        const int state = followed_wait(connections[i], 1);
        cr_expect_eq(state, EVENER_READY, "%d: %d, %s", i, state, connections[i]->last_status.message);
    }
    for (int i = 0; i < COUNT; i++) {
        followed_forget(connections[i]);
    }
    finish();
}

static void connects_to(const char *listen, const char *address)
{
    char error[DEMO_SERVER_ERROR_BYTES];
    start(0);
    const demo_server_options options = {.address = listen};
    demo_server *other = demo_server_start(&options, error);
    cr_assert(other != NULL, "%s", error);
    char text[256];
    snprintf(text, sizeof text, address, (unsigned)demo_server_port(other));
    followed *connection = fixture_connect(&fixture, text, "localhost");
    cr_expect_eq(followed_wait(connection, 1), EVENER_READY, "%s: %s", text, connection->last_status.message);
    followed_forget(connection);
    demo_server_stop(other, 0);
    finish();
}

Test(transport, unix_socket)
{
    char folder[] = "/tmp/evener-test-XXXXXX";
    cr_assert(mkdtemp(folder) != NULL);
    char address[128];
    snprintf(address, sizeof address, "unix:%s/odd %%name", folder);
    char listen[128];
    snprintf(listen, sizeof listen, "unix:%s/odd%%20%%25name", folder);
    /* `address` is a format for connects_to(): its own sign is doubled. */
    char format[128];
    snprintf(format, sizeof format, "unix:%s/odd %%%%name", folder);
    connects_to(listen, format);
    unlink(address + strlen("unix:"));
    rmdir(folder);
}

Test(transport, abstract_unix_socket)
{
    char address[64];
    snprintf(address, sizeof address, "unix-abstract:evener-test-%d", (int)getpid());
    connects_to(address, address);
}

Test(transport, ipv6)
{
    connects_to("[::1]:0", "[::1]:%u");
}

/* Credentials must be named. */
Test(transport, without_credentials_it_is_refused_and_says_how)
{
    evener_runtime *runtime;
    evener_status status;
    cr_assert_eq(evener_runtime_create(NULL, &runtime, &status), EVENER_STATUS_OK);
    evener_transport *transport = NULL;
    const evener_transport_args args = {.size = sizeof args, .runtime = runtime};
    cr_expect_eq(evener_transport_find("grpc")->create(&args, &transport, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect(strstr(status.message, "evener_credentials_create_insecure()") != NULL, "%s", status.message);
    cr_expect(strstr(status.message, "evener_credentials_create_tls()") != NULL, "%s", status.message);
    cr_expect_null(transport);
    evener_runtime_unref(runtime);
}

Test(transport, no_thread_is_left)
{
    char error[DEMO_SERVER_ERROR_BYTES];
    server = demo_server_start(&(demo_server_options){0}, error);
    cr_assert(server != NULL, "%s", error);
    cr_assert_eq(evener_credentials_create_insecure(&insecure, NULL), EVENER_STATUS_OK);
    fixture_open(&fixture, insecure);
    followed *connection = fixture_connect(&fixture, server_address(), "localhost");
    cr_expect_eq(followed_wait(connection, 1), EVENER_READY);
    followed_forget(connection);
    fixture_close(&fixture);
    evener_credentials_destroy(insecure);
    demo_server_stop(server, 0);
    cr_expect_eq(named_threads_left(), 0);
}

/* The core's threads end with what it keeps of the attempt. */
Test(transport, no_thread_is_left_of_an_attempt_that_failed)
{
    cr_assert_eq(evener_credentials_create_insecure(&insecure, NULL), EVENER_STATUS_OK);
    fixture_open(&fixture, insecure);
    followed *connection = fixture_connect(&fixture, address_of_port(free_port()), "localhost");
    cr_expect_eq(followed_wait(connection, 1), EVENER_TRANSIENT_FAILURE);
    followed_forget(connection);
    fixture_close(&fixture);
    evener_credentials_destroy(insecure);
    cr_expect_eq(named_threads_left(), 0);
}

/* ---- attempts that are given up ---- */

/* An attempt to connect to one who takes it, and says nothing: the socket of the other end. */
static followed *another_attempt_without_answer(int *accepted)
{
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, bytes), 0);
    cr_assert_eq(listen(listener, 8), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &bytes), 0);
    followed *connection = fixture_connect(&fixture, address_of_port(ntohs(address.sin_port)), "localhost");
    *accepted = accept(listener, NULL, NULL);
    cr_assert_geq(*accepted, 0);
    close(listener);
    return connection;
}

static followed *attempt_without_answer(int *accepted)
{
    cr_assert_eq(evener_credentials_create_insecure(&insecure, NULL), EVENER_STATUS_OK);
    fixture_open(&fixture, insecure);
    return another_attempt_without_answer(accepted);
}

/* Whether the peer closes the socket within so long; what it says is thrown away. */
static bool is_closed_within_ms(int socket, int ms)
{
    char thrown_away[4096];
    struct pollfd readable = {.fd = socket, .events = POLLIN};
    while (poll(&readable, 1, ms) == 1) {
        if (read(socket, thrown_away, sizeof thrown_away) <= 0) {
            return true;
        }
    }
    return false;
}

/* The core up to 1.51 may forget a connection if the attempt is given up just when it succeeds (grpc 32071). */
Test(transport, an_attempt_that_is_given_up_comes_to_its_end_and_the_connection_is_closed)
{
    int accepted;
    followed *connection = attempt_without_answer(&accepted);
    followed_disconnect(connection);
    cr_expect_not(is_closed_within_ms(accepted, 100));
    static const char settings[9] = {0, 0, 0, 4, 0, 0, 0, 0, 0}; /* RFC 9113, 6.5: an empty SETTINGS frame */
    cr_assert_eq(write(accepted, settings, sizeof settings), (ssize_t)sizeof settings);
    cr_expect(is_closed_within_ms(accepted, 10000));
    cr_expect_eq(followed_count(connection), 0);
    followed_forget(connection);
    fixture_close(&fixture);
    evener_credentials_destroy(insecure);
    close(accepted);
    cr_expect_eq(named_threads_left(), 0);
}

/* It would take 20 s. (What the core keeps of it may stay so long: its threads are not looked for.) */
Test(transport, the_end_does_not_wait_for_an_attempt_that_gets_no_answer, .timeout = 15)
{
    int accepted;
    followed *connection = attempt_without_answer(&accepted);
    followed_forget(connection);
    fixture_close(&fixture);
    evener_credentials_destroy(insecure);
    close(accepted);
}

static void count_line(void *arg, evener_log_level level, const char *component, const char *message)
{
    (void)level, (void)component, (void)message;
    atomic_fetch_add((_Atomic unsigned *)arg, 1);
}

/* Of three attempts this one fails. The watcher's end ends the others: without that it would wait for their channels,
 * and say so. */
static void one_of_three_fails(int failing)
{
    _Atomic unsigned errors = 0;
    int accepted[3];
    followed *connections[3];
    connections[0] = attempt_without_answer(&accepted[0]);
    for (int i = 1; i < 3; i++) {
        connections[i] = another_attempt_without_answer(&accepted[i]);
    }
    close(accepted[failing]);
    cr_expect_eq(followed_wait(connections[failing], 1), EVENER_TRANSIENT_FAILURE);
    for (int i = 0; i < 3; i++) {
        followed_forget(connections[i]);
    }
    evener_log_set_sink(count_line, &errors, EVENER_LOG_ERROR);
    fixture_close(&fixture);
    evener_log_set_sink(NULL, NULL, EVENER_LOG_ERROR);
    cr_expect_eq(atomic_load(&errors), 0, "attempt %d has failed", failing);
    evener_credentials_destroy(insecure);
    for (int i = 0; i < 3; i++) {
        if (i != failing) {
            close(accepted[i]);
        }
    }
}

Test(transport, an_attempt_that_fails_leaves_the_others_to_the_end, .timeout = 60)
{
    for (int i = 0; i < 3; i++) {
        one_of_three_fails(i);
    }
}

/* The attempts come to their ends while the runtime lives: at its own end it does not wait long for them, and then the core
 * may forget one that succeeds at that moment. */
Test(transport, given_up_at_any_moment_no_connection_is_left, .timeout = 120)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    start(0);
    const uint16_t port = demo_server_port(server);
    for (long i = 0; i < 300; i++) {
        followed *connection = fixture_connect(&fixture, server_address(), "localhost");
        const struct timespec moment = {.tv_nsec = i % 100 * 10000};
        nanosleep(&moment, NULL);
        followed_forget(connection);
    }
    followed *last = fixture_connect(&fixture, server_address(), "localhost");
    cr_expect_eq(followed_wait(last, 1), EVENER_READY);
    followed_forget(last);
    for (own_sockets left = own_sockets_count(&port, 1); left.clients + left.servers > 0;
         left = own_sockets_count(&port, 1)) { /* or the time-out */
        nanosleep(&pause, NULL);
    }
    finish();
    cr_expect_eq(named_threads_left(), 0);
}

/* ---- the end ---- */

typedef struct straggler {
    evener_grpc_tag tag;
    evener_connection *connection;
    sem_t inside;
} straggler;

/* The watcher's thread: stays inside the connection until that is given up and the runtime's end is under way. */
static void stay_inside(evener_grpc_tag *tag, bool ok)
{
    (void)ok;
    straggler *self = EVENER_CONTAINER_OF(tag, straggler, tag);
    const struct timespec moment = {.tv_nsec = 20000000};
    (void)evener_grpc_connection_enter(self->connection);
    sem_post(&self->inside);
    while ((atomic_load(&self->connection->use) & EVENER_GRPC_USE_GIVEN_UP) == 0) {
        nanosleep(&moment, NULL);
    }
    nanosleep(&moment, NULL);
    evener_grpc_connection_leave(self->connection);
    evener_grpc_connection_unref(self->connection);
}

/* The control thread waits for the watcher's end: it cannot act for a connection that the watcher leaves last. */
Test(transport, the_watcher_leaves_a_connection_while_the_runtime_ends)
{
    start(0);
    _Atomic unsigned errors = 0;
    evener_log_set_sink(count_line, &errors, EVENER_LOG_ERROR);
    followed *ready = fixture_connect(&fixture, server_address(), "localhost");
    cr_expect_eq(followed_wait(ready, 1), EVENER_READY);
    straggler self = {.tag.done = stay_inside, .connection = ready->connection};
    evener_grpc_watcher *watcher = self.connection->engine->watcher;
    sem_init(&self.inside, 0, 0);
    evener_grpc_connection_ref(self.connection);
    EVENER_GRPC_HANDS_OVER(&self.tag);
    evener_grpc_watcher_expect(watcher);
    grpc_channel_watch_connectivity_state(self.connection->channel, GRPC_CHANNEL_IDLE,
                                          gpr_inf_future(GPR_CLOCK_MONOTONIC), evener_grpc_watcher_queue(watcher),
                                          &self.tag);
    evener_grpc_watcher_wake(watcher);
    while (sem_wait(&self.inside) != 0) {
    }
    followed_forget(ready);
    finish();
    cr_expect_eq(atomic_load(&errors), 0);
    cr_expect_eq(named_threads_left(), 0);
    evener_log_set_sink(NULL, NULL, EVENER_LOG_ERROR);
    sem_destroy(&self.inside);
}

/* ---- A17 ---- */

Test(health, follows_the_service)
{
    start(0);
    demo_server_set_health(server, "orders", DEMO_SERVER_NOT_SERVING);
    followed *connection = fixture_connect(&fixture, server_address(), "localhost");
    cr_expect_eq(followed_wait(connection, 1), EVENER_READY);
    followed_watch_health(connection, "orders");
    cr_expect_eq(followed_wait_health(connection, 1), EVENER_TRANSIENT_FAILURE);
    cr_expect(strstr(connection->health_status.message, "does not say SERVING") != NULL, "%s",
              connection->health_status.message);
    demo_server_set_health(server, "orders", DEMO_SERVER_SERVING);
    cr_expect_eq(followed_wait_health(connection, 2), EVENER_READY);
    demo_server_set_health(server, "orders", DEMO_SERVER_NOT_SERVING);
    cr_expect_eq(followed_wait_health(connection, 3), EVENER_TRANSIENT_FAILURE);
    followed_forget(connection);
    finish();
}

Test(health, another_service_replaces_the_watch_and_null_ends_it)
{
    start(0);
    demo_server_set_health(server, "a", DEMO_SERVER_SERVING);
    demo_server_set_health(server, "b", DEMO_SERVER_NOT_SERVING);
    followed *connection = fixture_connect(&fixture, server_address(), "localhost");
    cr_expect_eq(followed_wait(connection, 1), EVENER_READY);
    followed_watch_health(connection, "a");
    cr_expect_eq(followed_wait_health(connection, 1), EVENER_READY);
    followed_watch_health(connection, "b");
    cr_expect_eq(followed_wait_health(connection, 2), EVENER_TRANSIENT_FAILURE);
    /* A change of "a" reaches a watch that another connection has, and not this one. */
    followed *other = fixture_connect(&fixture, server_address(), "localhost");
    cr_expect_eq(followed_wait(other, 1), EVENER_READY);
    followed_watch_health(other, "a");
    cr_expect_eq(followed_wait_health(other, 1), EVENER_READY);
    demo_server_set_health(server, "a", DEMO_SERVER_NOT_SERVING);
    cr_expect_eq(followed_wait_health(other, 2), EVENER_TRANSIENT_FAILURE);
    cr_expect_eq(followed_health_count(connection), 2, "the first watch was replaced");
    demo_server_set_health(server, "b", DEMO_SERVER_SERVING);
    cr_expect_eq(followed_wait_health(connection, 3), EVENER_READY);
    /* The same of the end of a watch. */
    followed_watch_health(connection, NULL);
    followed_watch_health(other, "b");
    cr_expect_eq(followed_wait_health(other, 3), EVENER_READY);
    demo_server_set_health(server, "b", DEMO_SERVER_NOT_SERVING);
    cr_expect_eq(followed_wait_health(other, 4), EVENER_TRANSIENT_FAILURE);
    cr_expect_eq(followed_health_count(connection), 3, "NULL ended the watch");
    followed_forget(other);
    followed_forget(connection);
    finish();
}
