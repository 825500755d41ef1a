/* Three server processes under load at 16 calls in flight (issue 2, "What must be seen"):
 *
 *   one is killed with SIGKILL              no more calls fail than were on the wire to it
 *   it starts again on its port             it gets calls again, within its backoff
 *   one ends gracefully on SIGTERM          no call fails
 *   an address is removed from the list     no call fails, and it gets none any more
 *
 * A plain program, so that it also runs under ThreadSanitizer. */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <evener/evener.h>

#include "tests/e2e/server_process.h"

#define SERVERS 3
#define IN_FLIGHT 16
#define WAIT_S 60

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    evener_channel *channel;
    bool stop;
    unsigned under_way;
    uint64_t ended;
    uint64_t failed;
    char failure[EVENER_STATUS_MESSAGE_BYTES + 32];
    uint64_t answered[65536]; /* by port */
} load = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                                            \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

/* ---- servers ---- */

static void server_start(server_process *server)
{
    CHECK(server_process_start(server, server->port), "port %u", (unsigned)server->port);
}

static void server_stop(server_process *server, int with_signal)
{
    server_process_signal(server, with_signal);
    server_process_wait(server);
}

/* ---- load: one call follows the other in each of 16 places ---- */

static void next_call(void);

/* CustomMessage{custom_message = 1}: the port as text. */
static unsigned answering_port(const evener_bytes *response)
{
    char text[8] = "";
    if (response->length > 2 && response->length - 2 < sizeof text) {
        memcpy(text, response->data + 2, response->length - 2);
    }
    return (unsigned)strtoul(text, NULL, 10) % 65536;
}

static void ended(void *arg, const evener_status *status, evener_bytes *response)
{
    (void)arg;
    pthread_mutex_lock(&load.mutex);
    load.ended++;
    if (status->code == EVENER_STATUS_OK) {
        load.answered[answering_port(response)]++;
    } else {
        load.failed++;
        snprintf(load.failure, sizeof load.failure, "%s: %s", evener_status_code_name(status->code), status->message);
    }
    const bool stop = load.stop;
    if (stop) {
        load.under_way--;
    }
    pthread_cond_signal(&load.changed);
    pthread_mutex_unlock(&load.mutex);
    if (!stop) {
        next_call();
    }
}

static void next_call(void)
{
    evener_status status;
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 20000};
    evener_status_code code =
        evener_call_start(load.channel, "/grpcdemo.GrpcDemo/DemoImport", NULL, &options, ended, NULL, NULL, &status);
    CHECK(code == EVENER_STATUS_OK, "a call did not start: %s", status.message);
}

static void load_start(evener_channel *channel)
{
    load.channel = channel;
    load.under_way = IN_FLIGHT;
    for (int i = 0; i < IN_FLIGHT; i++) {
        next_call();
    }
}

/* Waits, under the mutex, until `counter` has grown by `more`. */
static void wait_for_more(const uint64_t *counter, uint64_t more, const char *what)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    const uint64_t wanted = *counter + more;
    int error = 0;
    while (*counter < wanted && error == 0) {
        error = pthread_cond_timedwait(&load.changed, &load.mutex, &until);
    }
    CHECK(*counter >= wanted, "%s: %llu of %llu", what, (unsigned long long)*counter, (unsigned long long)wanted);
}

static void let_calls_pass(uint64_t count)
{
    pthread_mutex_lock(&load.mutex);
    wait_for_more(&load.ended, count, "calls");
    pthread_mutex_unlock(&load.mutex);
}

static void wait_for_answers_of(unsigned port)
{
    pthread_mutex_lock(&load.mutex);
    wait_for_more(&load.answered[port], 10, "answers of one server");
    pthread_mutex_unlock(&load.mutex);
}

static uint64_t failures_so_far(void)
{
    pthread_mutex_lock(&load.mutex);
    uint64_t failed = load.failed;
    load.failed = 0;
    pthread_mutex_unlock(&load.mutex);
    return failed;
}

static void load_stop(void)
{
    pthread_mutex_lock(&load.mutex);
    load.stop = true;
    while (load.under_way > 0) {
        pthread_cond_wait(&load.changed, &load.mutex);
    }
    pthread_mutex_unlock(&load.mutex);
}

/* ---- the scenario ---- */

static evener_channel *open_channel(evener_manual_resolver *manual)
{
    evener_credentials *insecure;
    evener_status status;
    CHECK(evener_credentials_create_insecure(&insecure, &status) == EVENER_STATUS_OK, "%s", status.message);
    const evener_resolver_builder *const resolvers[] = {evener_manual_resolver_builder(manual)};
    const evener_channel_options options = {.size = sizeof options,
                                            .credentials = insecure,
                                            .resolvers = resolvers,
                                            .resolver_count = 1,
                                            .policy = "round_robin",
                                            .backoff_initial_ms = 100,
                                            .backoff_max_ms = 500};
    evener_channel *channel;
    CHECK(evener_channel_create("servers:///x", &options, &channel, &status) == EVENER_STATUS_OK, "%s", status.message);
    evener_credentials_destroy(insecure);
    return channel;
}

static void set_list(evener_manual_resolver *manual, const server_process *servers, size_t count)
{
    char list[128] = "";
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s127.0.0.1:%u", i > 0 ? "," : "", (unsigned)servers[i].port);
    }
    evener_status status;
    CHECK(evener_manual_resolver_set(manual, list, NULL, &status) == EVENER_STATUS_OK, "%s", status.message);
}

int main(void)
{
    server_process servers[SERVERS] = {{0}};
    for (int i = 0; i < SERVERS; i++) {
        server_start(&servers[i]);
    }
    evener_manual_resolver *manual;
    CHECK(evener_manual_resolver_create("servers", &manual, NULL) == EVENER_STATUS_OK, "manual resolver");
    set_list(manual, servers, SERVERS);
    evener_channel *channel = open_channel(manual);
    load_start(channel);
    for (int i = 0; i < SERVERS; i++) {
        wait_for_answers_of(servers[i].port);
    }
    CHECK(failures_so_far() == 0, "%s", load.failure);

    server_stop(&servers[0], SIGKILL);
    let_calls_pass(2000);
    uint64_t lost = failures_so_far();
    printf("SIGKILL: %llu of %d calls in flight failed\n", (unsigned long long)lost, IN_FLIGHT);
    CHECK(lost <= IN_FLIGHT, "%llu calls failed, %s", (unsigned long long)lost, load.failure);

    server_start(&servers[0]);
    wait_for_answers_of(servers[0].port);
    CHECK(failures_so_far() == 0, "after the restart: %s", load.failure);

    server_stop(&servers[1], SIGTERM);
    let_calls_pass(2000);
    CHECK(failures_so_far() == 0, "after SIGTERM: %s", load.failure);

    server_start(&servers[1]);
    wait_for_answers_of(servers[1].port);
    set_list(manual, servers, SERVERS - 1);
    let_calls_pass(2000);
    CHECK(failures_so_far() == 0, "after a removal: %s", load.failure);
    const uint64_t answered = load.answered[servers[SERVERS - 1].port];
    let_calls_pass(200);
    CHECK(load.answered[servers[SERVERS - 1].port] == answered, "the removed server still gets calls");

    load_stop();
    evener_channel_unref(channel);
    evener_manual_resolver_destroy(manual);
    for (int i = 0; i < SERVERS; i++) {
        server_stop(&servers[i], SIGTERM);
    }
    printf("stress_kill: ok, %llu calls\n", (unsigned long long)load.ended);
    return 0;
}
