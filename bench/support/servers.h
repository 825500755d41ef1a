/* Servers to call: each a demo_server process of its own, so that its work is not counted as the client's, and so that it
 * can be stopped and killed as a real one. */
#ifndef BENCH_SUPPORT_SERVERS_H
#define BENCH_SUPPORT_SERVERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_SERVERS_MAX 32

typedef struct bench_server {
    pid_t process; /* 0: does not run */
    uint16_t port;
    int output; /* its stdout */
} bench_server;

/* Starts one; `option` ("--delay-ms=5") may be NULL; port 0: a free one. Waits until it listens. False: the reason is on
 * stderr. */
bool bench_server_start(bench_server *server, uint16_t port, const char *option);

/* Sends a signal; SIGKILL and SIGTERM also wait for its end. A server that does not run is left alone. */
void bench_server_signal(bench_server *server, int signal);

/* "127.0.0.1:P1,127.0.0.1:P2,...": a list for a static: or ipv4: target. */
void bench_servers_list(const bench_server *servers, unsigned count, char *text, unsigned text_bytes);

#endif
