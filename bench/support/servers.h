/* Servers to call. Each is a separate demo_server process, so that its work is not counted as the client's and it
 * can be stopped or killed. */
#ifndef BENCH_SUPPORT_SERVERS_H
#define BENCH_SUPPORT_SERVERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_SERVERS_MAX 32

typedef struct bench_server {
    pid_t process; /* 0: not running */
    uint16_t port;
    int output; /* its stdout */
} bench_server;

/* Start a server and wait until it listens. `option` ("--delay-ms=5") may be NULL; port 0: a free one. Return false
 * after printing the reason on stderr. */
bool bench_server_start(bench_server *server, uint16_t port, const char *option);

/* Start a server with TLS on a free port, with the certificate and the key in these PEM files. */
bool bench_server_start_tls(bench_server *server, const char *certificate_file, const char *key_file);

/* Send a signal. With SIGKILL and SIGTERM also wait for the process to end. Does nothing if the server is not
 * running. */
void bench_server_signal(bench_server *server, int signal);

/* Write "127.0.0.1:P1,127.0.0.1:P2,..." into `text`, for a static: or ipv4: target. */
void bench_servers_list(const bench_server *servers, unsigned count, char *text, unsigned text_bytes);

#endif
