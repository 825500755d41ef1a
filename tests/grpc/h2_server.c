/* RFC 9113, as far as a test needs it: one thread a connection, no flow control (messages are small), and header blocks
 * that are written with literals only (RFC 7541). What the client sends in headers is not read. */
#include "grpc/h2_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PREFACE_BYTES 24
#define FRAME_HEADER_BYTES 9
#define CONNECTIONS_MAX 64

enum { FRAME_DATA = 0, FRAME_HEADERS = 1, FRAME_RST_STREAM = 3, FRAME_SETTINGS = 4, FRAME_PING = 6, FRAME_GOAWAY = 7 };
enum { FLAG_END_STREAM = 1, FLAG_ACK = 1, FLAG_END_HEADERS = 4 };
enum { REFUSED_STREAM = 7 };

typedef struct connection {
    h2_server *server;
    int fd;
    pthread_t thread;
} connection;

struct h2_server {
    int fd;
    uint16_t port;
    h2_refusal refusal;
    char grpc_status[4];
    atomic_uint to_refuse;
    atomic_uint streams;
    atomic_uint pings;
    pthread_t thread;
    connection connections[CONNECTIONS_MAX];
    atomic_uint connection_count;
};

static bool read_all(int fd, void *to, size_t bytes)
{
    for (char *at = to; bytes > 0;) {
        ssize_t got = read(fd, at, bytes);
        if (got <= 0) {
            return false;
        }
        at += got;
        bytes -= (size_t)got;
    }
    return true;
}

static void send_frame(int fd, int type, int flags, uint32_t stream, const void *payload, size_t bytes)
{
    uint8_t frame[FRAME_HEADER_BYTES + 192];
    const uint8_t header[FRAME_HEADER_BYTES] = {
        (uint8_t)(bytes >> 16),  (uint8_t)(bytes >> 8),   (uint8_t)bytes,         (uint8_t)type,  (uint8_t)flags,
        (uint8_t)(stream >> 24), (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};
    memcpy(frame, header, sizeof header);
    if (bytes > 0) {
        memcpy(frame + sizeof header, payload, bytes);
    }
    (void)!send(fd, frame, sizeof header + bytes, MSG_NOSIGNAL);
}

/* A literal header without indexing. */
static size_t put_header(uint8_t *to, const char *name, const char *value)
{
    size_t name_bytes = strlen(name);
    size_t value_bytes = strlen(value);
    to[0] = 0;
    to[1] = (uint8_t)name_bytes;
    memcpy(to + 2, name, name_bytes);
    to[2 + name_bytes] = (uint8_t)value_bytes;
    memcpy(to + 3 + name_bytes, value, value_bytes);
    return 3 + name_bytes + value_bytes;
}

static void answer(const connection *c, uint32_t stream)
{
    static const uint8_t empty_message[5] = {0};
    uint8_t block[96];
    size_t bytes = put_header(block, ":status", "200");
    bytes += put_header(block + bytes, "content-type", "application/grpc");
    send_frame(c->fd, FRAME_HEADERS, FLAG_END_HEADERS, stream, block, bytes);
    if (strcmp(c->server->grpc_status, "0") == 0) {
        send_frame(c->fd, FRAME_DATA, 0, stream, empty_message, sizeof empty_message);
    }
    bytes = put_header(block, "grpc-status", c->server->grpc_status);
    send_frame(c->fd, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, stream, block, bytes);
}

static void end_with(const connection *c, uint32_t stream, const char *status, const char *message)
{
    uint8_t block[192];
    size_t bytes = put_header(block, ":status", "200");
    bytes += put_header(block + bytes, "content-type", "application/grpc");
    bytes += put_header(block + bytes, "grpc-status", status);
    bytes += put_header(block + bytes, "grpc-message", message);
    send_frame(c->fd, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, stream, block, bytes);
}

static void answer_as_a_proxy(const connection *c, uint32_t stream)
{
    static const char body[] = "<html>Service Unavailable</html>";
    uint8_t block[96];
    size_t bytes = put_header(block, ":status", "503");
    bytes += put_header(block + bytes, "content-type", "text/html");
    send_frame(c->fd, FRAME_HEADERS, FLAG_END_HEADERS, stream, block, bytes);
    send_frame(c->fd, FRAME_DATA, FLAG_END_STREAM, stream, body, sizeof body - 1);
}

/* False: the connection is to close. */
static bool refuse(const connection *c, uint32_t stream)
{
    static const uint8_t reason[4] = {0, 0, 0, REFUSED_STREAM};
    static const uint8_t nothing_seen[8] = {0};
    static const uint8_t all_seen[8] = {0x7f, 0xff, 0xff, 0xff};
    switch (c->server->refusal) {
    case H2_RST_STREAM:
        send_frame(c->fd, FRAME_RST_STREAM, 0, stream, reason, sizeof reason);
        break;
    case H2_GOAWAY:
        send_frame(c->fd, FRAME_GOAWAY, 0, 0, nothing_seen, sizeof nothing_seen);
        return false;
    case H2_CANCEL:
        end_with(c, stream, "1", "CANCELLED");
        break;
    case H2_CANCEL_AND_DRAIN:
        end_with(c, stream, "1", "CANCELLED");
        (void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        send_frame(c->fd, FRAME_GOAWAY, 0, 0, all_seen, sizeof all_seen);
        break;
    case H2_LIKE_A_GOAWAY:
        end_with(c, stream, "14", "GOAWAY received");
        break;
    case H2_LIKE_NO_CONNECTION:
        end_with(c, stream, "14", "failed to connect to all addresses; last error: UNKNOWN: refused");
        break;
    case H2_HTTP_503:
        answer_as_a_proxy(c, stream);
        break;
    case H2_SILENCE:
        break;
    }
    return true;
}

static bool stream_came(const connection *c, uint32_t stream)
{
    atomic_fetch_add(&c->server->streams, 1);
    unsigned left = atomic_load(&c->server->to_refuse);
    if (left > 0) {
        atomic_store(&c->server->to_refuse, left - 1);
        return refuse(c, stream);
    }
    answer(c, stream);
    return true;
}

static void *serve(void *arg)
{
    connection *c = arg;
    uint8_t preface[PREFACE_BYTES];
    uint8_t head[FRAME_HEADER_BYTES];
    bool open = read_all(c->fd, preface, sizeof preface);
    send_frame(c->fd, FRAME_SETTINGS, 0, 0, NULL, 0);
    while (open && read_all(c->fd, head, sizeof head)) {
        size_t bytes = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        uint32_t stream = (uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8];
        uint8_t *payload = malloc(bytes + 1);
        open = read_all(c->fd, payload, bytes);
        const bool is_answer = (head[4] & FLAG_ACK) != 0;
        if (open && head[3] == FRAME_SETTINGS && !is_answer) {
            send_frame(c->fd, FRAME_SETTINGS, FLAG_ACK, 0, NULL, 0);
        } else if (open && head[3] == FRAME_PING && !is_answer) {
            atomic_fetch_add(&c->server->pings, 1);
            send_frame(c->fd, FRAME_PING, FLAG_ACK, 0, payload, bytes);
        } else if (open && head[3] == FRAME_HEADERS) {
            open = stream_came(c, stream);
        }
        free(payload);
    }
    shutdown(c->fd, SHUT_RDWR);
    return NULL;
}

static void *accept_all(void *arg)
{
    h2_server *server = arg;
    for (;;) {
        int fd = accept(server->fd, NULL, NULL);
        const unsigned count = atomic_load(&server->connection_count);
        if (fd < 0 || count == CONNECTIONS_MAX) {
            return NULL;
        }
        connection *c = &server->connections[count];
        *c = (connection){.server = server, .fd = fd};
        if (pthread_create(&c->thread, NULL, serve, c) != 0) {
            abort();
        }
        atomic_store(&server->connection_count, count + 1);
    }
}

h2_server *h2_server_start(h2_refusal refusal, unsigned refuse_count, const char *grpc_status)
{
    h2_server *server = calloc(1, sizeof *server);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server->fd, (struct sockaddr *)&address, bytes) != 0 || listen(server->fd, 16) != 0 ||
        getsockname(server->fd, (struct sockaddr *)&address, &bytes) != 0) {
        abort();
    }
    server->port = ntohs(address.sin_port);
    server->refusal = refusal;
    strncpy(server->grpc_status, grpc_status, sizeof server->grpc_status - 1);
    atomic_store(&server->to_refuse, refuse_count);
    if (pthread_create(&server->thread, NULL, accept_all, server) != 0) {
        abort();
    }
    return server;
}

void h2_server_hang_up(h2_server *server)
{
    const unsigned count = atomic_load(&server->connection_count);
    for (unsigned i = 0; i < count; i++) {
        shutdown(server->connections[i].fd, SHUT_RDWR);
    }
}

void h2_server_stop(h2_server *server)
{
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    h2_server_hang_up(server);
    for (unsigned i = 0; i < atomic_load(&server->connection_count); i++) {
        pthread_join(server->connections[i].thread, NULL);
        close(server->connections[i].fd);
    }
    close(server->fd);
    free(server);
}

uint16_t h2_server_port(const h2_server *server)
{
    return server->port;
}

unsigned h2_server_streams(h2_server *server)
{
    return atomic_load(&server->streams);
}

unsigned h2_server_pings(h2_server *server)
{
    return atomic_load(&server->pings);
}
