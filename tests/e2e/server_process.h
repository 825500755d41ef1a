/* The demo's server as a process of its own: what can be killed and paused. */
#ifndef EVENER_TESTS_E2E_SERVER_PROCESS_H
#define EVENER_TESTS_E2E_SERVER_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

typedef struct server_process {
    pid_t pid; /* 0: not running */
    uint16_t port;
    const char *option; /* one of demo_server's, "--max-age-ms=2000", for each start; or NULL */
} server_process;

/* Starts `demo_server PORT` (0: a free one, which stays the caller's while the server does not run) and waits until it
 * listens. It ends with the caller's process. False with the reason on standard error if it does not. */
int server_process_start(server_process *server, uint16_t port);

/* Sends a signal: SIGKILL, SIGTERM, SIGSTOP, SIGCONT. */
void server_process_signal(const server_process *server, int signal);

/* Waits for its end after such a signal. */
void server_process_wait(server_process *server);

/* Kills it if it runs. */
void server_process_end(server_process *server);

#endif
