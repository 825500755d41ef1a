/* The gateway under many clients at once, some of which go before their answer, while it is stopped with calls under
 * way: every answer that comes is whole and has a known status, and nothing is left. The gateway's own sources run in this
 * process, so that ThreadSanitizer sees them. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <evener/evener.h>
#include <evener/reflection.h>

#include "demo_server/server.h"
#include "examples/gateway/gateway.h"

#define ROUNDS 6
#define CLIENTS 8
#define REQUESTS 60

typedef struct round_state {
    uint16_t port;
    atomic_uint answered, closed, wrong;
} round_state;

typedef struct client {
    round_state *round;
    unsigned seed;
} client;

/* Requests of all kinds, each with the statuses that it may have: UNAVAILABLE and CANCELLED when the gateway stops. */
static const struct {
    const char *text;
    const char *statuses;
} requests[] = {
    {"POST /v1/call HTTP/1.1\r\nHost: x\r\nContent-Length: 25\r\n\r\n{\"config\":{\"name\":\"ann\"}}", "200 499 503"},
    {"POST /grpcdemo.GrpcDemo/FetchData HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", "200 499 503"},
    {"POST /grpcdemo.GrpcDemo/DemoImport HTTP/1.1\r\nHost: x\r\nGrpc-Timeout: 1m\r\nContent-Length: 2\r\n\r\n{}",
     "200 499 503 504"},
    {"POST /v1/call HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{", "400 503"},
    {"GET /v1/call HTTP/1.1\r\nHost: x\r\n\r\n", "405"},
    {"GET /openapi.yaml HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
    {"GET /none HTTP/1.1\r\nHost: x\r\n\r\n", "404"},
};
#define KINDS (sizeof requests / sizeof requests[0])

static void pause_us(unsigned us)
{
    const struct timespec pause = {.tv_nsec = (long)us * 1000};
    nanosleep(&pause, NULL);
}

static int open_connection(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int connection = socket(AF_INET, SOCK_STREAM, 0);
    if (connection >= 0 && connect(connection, (struct sockaddr *)&address, sizeof address) != 0) {
        close(connection);
        return -1;
    }
    return connection;
}

/* Read an answer to its end. Return its status; 0: the connection ended before. */
static int read_answer(int connection, char *text, size_t room)
{
    size_t length = 0;
    for (;;) {
        const ssize_t bytes = recv(connection, text + length, room - 1 - length, 0);
        if (bytes <= 0) {
            return 0;
        }
        length += (size_t)bytes;
        text[length] = '\0';
        const char *body = strstr(text, "\r\n\r\n");
        const char *header = body != NULL ? strcasestr(text, "\r\nContent-Length:") : NULL;
        const bool is_whole = body == NULL     ? false
                              : header != NULL ? length >= (size_t)(body + 4 - text) + strtoul(header + 17, NULL, 10)
                                               : strstr(body, "\r\n0\r\n\r\n") != NULL; /* chunks */
        if (is_whole) {
            return atoi(text + strlen("HTTP/1.1 "));
        }
        if (length + 1 == room) {
            return 0;
        }
    }
}

static void *run_client(void *arg)
{
    client *self = arg;
    char *text = malloc(65536);
    int connection = -1;
    for (int i = 0; i < REQUESTS; i++) {
        if (connection < 0 && (connection = open_connection(self->round->port)) < 0) {
            break; /* the gateway has stopped */
        }
        const size_t kind = (size_t)rand_r(&self->seed) % KINDS;
        const bool goes = rand_r(&self->seed) % 8 == 0;
        (void)send(connection, requests[kind].text, strlen(requests[kind].text), MSG_NOSIGNAL);
        if (goes) {
            pause_us((unsigned)rand_r(&self->seed) % 500);
        }
        const int status = goes ? 0 : read_answer(connection, text, 65536);
        if (status == 0) {
            atomic_fetch_add(&self->round->closed, 1);
            close(connection);
            connection = -1;
            continue;
        }
        atomic_fetch_add(&self->round->answered, 1);
        char number[16];
        snprintf(number, sizeof number, "%d", status);
        if (strstr(requests[kind].statuses, number) == NULL) {
            fprintf(stderr, "%.30s: %d: %s\n", requests[kind].text, status, text);
            atomic_fetch_add(&self->round->wrong, 1);
        }
        if (strcasestr(text, "\r\nConnection: close") != NULL) {
            close(connection);
            connection = -1;
        }
    }
    if (connection >= 0) {
        close(connection);
    }
    free(text);
    return NULL;
}

static bool run_round(unsigned number, evener_channel *channel, const evener_http_routes *routes)
{
    gateway server = {.channel = channel, .routes = routes, .openapi = (char *)"a: b", .page = (char *)"<title>"};
    round_state round = {0};
    char error[512];
    if (!gateway_start(&server, "127.0.0.1:0", error, sizeof error)) {
        fprintf(stderr, "%s\n", error);
        return false;
    }
    round.port = server.port;
    pthread_t threads[CLIENTS];
    client clients[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (client){.round = &round, .seed = number * CLIENTS + i};
        pthread_create(&threads[i], NULL, run_client, &clients[i]);
    }
    const bool stops_amid = number % 2 == 1;
    if (stops_amid) {
        pause_us(20000 * number);
        gateway_stop(&server, 1);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
    }
    if (!stops_amid) {
        gateway_stop(&server, 1000);
    }
    printf("round %u: %u answered, %u closed\n", number, atomic_load(&round.answered), atomic_load(&round.closed));
    return atomic_load(&round.wrong) == 0 && server.request_count == 0 && server.first == NULL &&
           (stops_amid || atomic_load(&round.answered) > 0);
}

int main(void)
{
    char target[128] = "ipv4:", error[DEMO_SERVER_ERROR_BYTES];
    demo_server *servers[2];
    for (unsigned i = 0; i < 2; i++) {
        servers[i] = demo_server_start(&(demo_server_options){0}, error);
        if (servers[i] == NULL) {
            fprintf(stderr, "%s\n", error);
            return 1;
        }
        snprintf(target + strlen(target), sizeof target - strlen(target), "%s127.0.0.1:%u", i > 0 ? "," : "",
                 (unsigned)demo_server_port(servers[i]));
    }
    demo_server_set_delay_ms(servers[1], 2);
    evener_credentials *insecure = NULL;
    evener_channel *channel = NULL;
    evener_descriptors *types = NULL;
    evener_http_routes *routes = NULL;
    evener_status status;
    bool ok = evener_credentials_create_insecure(&insecure, &status) == EVENER_STATUS_OK;
    const evener_channel_options options = {.size = sizeof options, .credentials = insecure, .policy = "round_robin"};
    ok = ok && evener_channel_create(target, &options, &channel, &status) == EVENER_STATUS_OK &&
         evener_descriptors_create(&types, &status) == EVENER_STATUS_OK &&
         evener_reflection_add(channel, "grpcdemo.GrpcDemo", NULL, types, &status) == EVENER_STATUS_OK &&
         evener_http_routes_create(types, NULL, &routes, &status) == EVENER_STATUS_OK;
    if (!ok) {
        fprintf(stderr, "%s\n", status.message);
    }
    for (unsigned number = 0; number < ROUNDS && ok; number++) {
        ok = run_round(number, channel, routes);
    }
    evener_http_routes_destroy(routes);
    evener_descriptors_destroy(types);
    evener_channel_unref(channel);
    evener_credentials_destroy(insecure);
    for (int i = 0; i < 2; i++) {
        demo_server_stop(servers[i], 0);
    }
    printf("stress_gateway: %s\n", ok ? "ok" : "FAILED");
    return ok ? 0 : 1;
}
