/* Three servers under load at 16 calls in flight, from evener and from the plain core's round_robin at the same
 * time. Neither can know what a server did with the calls that it did not answer: evener loses no more than the
 * core does, except for one call in each place.
 *
 *   one is killed with SIGKILL, and starts again     it gets calls again, within its backoff
 *   one ends gracefully on SIGTERM
 *   an address is removed from evener's list         no call of evener's fails, and it gets none any more
 *   connections end at their maximum age (2 s)       several times a server
 *
 * A plain program, so that it also runs under ThreadSanitizer. */
#include <signal.h>
#include <string.h>
#include <time.h>

#include <evener/evener.h>

#include "examples/demo_server/server.h"
#include "tests/e2e/server_process.h"
#include "tests/grpc/call_load.h"
#include "tests/grpc/core_client.h"

#define SERVERS 3
#define MAX_AGE_MS 2000
#define MAX_AGES 4 /* the load goes on for this number of ages */

static call_load ours = CALL_LOAD_INIT;
static call_load cores = CALL_LOAD_INIT;
static evener_manual_resolver *manual;
static evener_channel *channel;
static core_client *client;

/* ---- evener's calls ---- */

static void ended(void *arg, const evener_status *status, evener_bytes *response)
{
    call_load_ended(arg, status->code, status->message, response->data, response->length);
}

static void start_call(call_load *load)
{
    evener_status status;
    const evener_call_options options = {.size = sizeof options, .timeout_ms = CALL_LOAD_TIMEOUT_MS};
    evener_status_code code =
        evener_call_start(load->client, CALL_LOAD_METHOD, NULL, &options, ended, load, NULL, &status);
    CHECK(code == EVENER_STATUS_OK, "a call did not start: %s", status.message);
}

/* ---- the two clients ---- */

static void put_list(char *list, size_t bytes, const uint16_t *ports, size_t count)
{
    list[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        const size_t used = strlen(list);
        snprintf(list + used, bytes - used, "%s127.0.0.1:%u", i > 0 ? "," : "", (unsigned)ports[i]);
    }
}

static void set_list(const uint16_t *ports, size_t count)
{
    char list[128];
    evener_status status;
    put_list(list, sizeof list, ports, count);
    CHECK(evener_manual_resolver_set(manual, list, NULL, &status) == EVENER_STATUS_OK, "%s", status.message);
}

static void open_channel(void)
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
    CHECK(evener_channel_create("servers:///x", &options, &channel, &status) == EVENER_STATUS_OK, "%s", status.message);
    evener_credentials_destroy(insecure);
}

static void begin(const uint16_t ports[SERVERS])
{
    memset(ours.answered, 0, sizeof ours.answered);
    memset(cores.answered, 0, sizeof cores.answered);
    ours.stop = cores.stop = false;
    CHECK(evener_manual_resolver_create("servers", &manual, NULL) == EVENER_STATUS_OK, "manual resolver");
    set_list(ports, SERVERS);
    open_channel();
    char target[128] = "ipv4:";
    put_list(target + 5, sizeof target - 5, ports, SERVERS);
    client = core_client_create(target, "round_robin");
    call_load_begin(&ours, start_call, channel);
    call_load_begin(&cores, core_client_start_call, client);
    for (int i = 0; i < SERVERS; i++) {
        call_load_wait_for_answers_of(&ours, ports[i]);
        call_load_wait_for_answers_of(&cores, ports[i]);
    }
    CHECK(call_load_take_failures(&ours) == 0, "%s", ours.failure);
    (void)call_load_take_failures(&cores);
}

static void end(void)
{
    call_load_stop(&ours);
    call_load_stop(&cores);
    evener_channel_unref(channel);
    evener_manual_resolver_destroy(manual);
    core_client_destroy(client);
}

static void compare(const char *what)
{
    call_load_wait(&ours, 2000);
    call_load_wait(&cores, 2000);
    const uint64_t of_ours = call_load_take_failures(&ours);
    const uint64_t of_cores = call_load_take_failures(&cores);
    printf("%s: %llu calls failed, %llu of the plain core's\n", what, (unsigned long long)of_ours,
           (unsigned long long)of_cores);
    CHECK(of_ours <= of_cores + CALL_LOAD_IN_FLIGHT, "%s: %llu calls failed, and %llu of the plain core's; %s", what,
          (unsigned long long)of_ours, (unsigned long long)of_cores, ours.failure);
}

/* ---- processes that end ---- */

static server_process servers[SERVERS];

static void server_start(server_process *server)
{
    CHECK(server_process_start(server, server->port), "port %u", (unsigned)server->port);
}

static void server_end(server_process *server, int with_signal)
{
    server_process_signal(server, with_signal);
    server_process_wait(server);
}

static void processes_end(void)
{
    uint16_t ports[SERVERS];
    for (int i = 0; i < SERVERS; i++) {
        server_start(&servers[i]);
        ports[i] = servers[i].port;
    }
    begin(ports);

    server_end(&servers[0], SIGKILL);
    compare("SIGKILL");
    server_start(&servers[0]);
    call_load_wait_for_answers_of(&ours, ports[0]);
    CHECK(call_load_take_failures(&ours) == 0, "after the restart: %s", ours.failure);

    server_end(&servers[1], SIGTERM);
    compare("SIGTERM");
    server_start(&servers[1]);
    call_load_wait_for_answers_of(&ours, ports[1]);
    CHECK(call_load_take_failures(&ours) == 0, "after the second restart: %s", ours.failure);

    set_list(ports, SERVERS - 1);
    call_load_wait(&ours, 2000);
    CHECK(call_load_take_failures(&ours) == 0, "after a removal: %s", ours.failure);
    const uint64_t answered = call_load_answered(&ours, ports[SERVERS - 1]);
    call_load_wait(&ours, 200);
    CHECK(call_load_answered(&ours, ports[SERVERS - 1]) == answered, "the removed server still gets calls");

    end();
    for (int i = 0; i < SERVERS; i++) {
        server_end(&servers[i], SIGTERM);
    }
}

/* ---- connections that end ---- */

static void connections_end(void)
{
    demo_server *aging[SERVERS];
    uint16_t ports[SERVERS];
    for (int i = 0; i < SERVERS; i++) {
        char error[DEMO_SERVER_ERROR_BYTES];
        aging[i] = demo_server_start(&(demo_server_options){.max_connection_age_ms = MAX_AGE_MS}, error);
        CHECK(aging[i] != NULL, "%s", error);
        ports[i] = demo_server_port(aging[i]);
    }
    begin(ports);
    nanosleep(&(struct timespec){.tv_sec = MAX_AGES * MAX_AGE_MS / 1000}, NULL);
    compare("MAX_CONNECTION_AGE");
    end();
    for (int i = 0; i < SERVERS; i++) {
        demo_server_stop(aging[i], 1000);
    }
}

int main(void)
{
    processes_end();
    connections_end();
    printf("stress_kill: ok, %llu calls\n", (unsigned long long)ours.ended);
    return 0;
}
