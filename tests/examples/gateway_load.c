/* gateway_load PORT THREADS REQUESTS PID: send requests to a gateway, each thread one after the other on a
 * connection of its own, and kill the process after a third of them. Exit status 0: no more failed than were under
 * way at the kill, one per thread, all of them with 503. */
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
    uint16_t port;
    unsigned requests;
    pid_t victim;
    atomic_uint started, ok, unavailable, other;
} load;

static int open_connection(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(load.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int connection = socket(AF_INET, SOCK_STREAM, 0);
    if (connection < 0 || connect(connection, (struct sockaddr *)&address, sizeof address) != 0) {
        perror("gateway_load: connect");
        exit(2);
    }
    return connection;
}

/* Read an answer with Content-Length into `text`. Return its HTTP status, or 0. */
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
        const char *header = strcasestr(text, "\r\nContent-Length:");
        if (body != NULL && header != NULL && length >= (size_t)(body + 4 - text) + strtoul(header + 17, NULL, 10)) {
            return atoi(text + 9);
        }
        if (length + 1 == room) {
            return 0;
        }
    }
}

static void *run(void *arg)
{
    (void)arg;
    static const char request[] = "POST /grpcdemo.GrpcDemo/DemoImport HTTP/1.1\r\nHost: gateway\r\n"
                                  "Content-Length: 2\r\n\r\n{}";
    const int connection = open_connection();
    for (;;) {
        const unsigned number = atomic_fetch_add(&load.started, 1);
        if (number >= load.requests) {
            break;
        }
        if (number == load.requests / 3) {
            kill(load.victim, SIGKILL);
        }
        char text[4096] = "";
        const bool sent = send(connection, request, sizeof request - 1, MSG_NOSIGNAL) == (ssize_t)sizeof request - 1;
        const int status = sent ? read_answer(connection, text, sizeof text) : 0;
        atomic_fetch_add(status == 200 ? &load.ok : status == 503 ? &load.unavailable : &load.other, 1);
        if (status != 200 && status != 503) {
            fprintf(stderr, "gateway_load: %.300s\n", text);
            if (status == 0) {
                break;
            }
        }
    }
    close(connection);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: gateway_load PORT THREADS REQUESTS PID\n");
        return 2;
    }
    load.port = (uint16_t)strtoul(argv[1], NULL, 10);
    const unsigned thread_count = (unsigned)strtoul(argv[2], NULL, 10);
    load.requests = (unsigned)strtoul(argv[3], NULL, 10);
    load.victim = (pid_t)strtol(argv[4], NULL, 10);
    pthread_t *threads = calloc(thread_count, sizeof *threads);
    for (unsigned i = 0; threads != NULL && i < thread_count; i++) {
        if (pthread_create(&threads[i], NULL, run, NULL) != 0) {
            perror("gateway_load");
            return 2;
        }
    }
    for (unsigned i = 0; threads != NULL && i < thread_count; i++) {
        pthread_join(threads[i], NULL);
    }
    free(threads);
    printf("%u requests, %u at once, a backend killed: %u ok, %u unavailable, %u other failures\n", load.requests,
           thread_count, load.ok, load.unavailable, load.other);
    return load.ok + load.unavailable == load.requests && load.unavailable <= thread_count ? 0 : 1;
}
