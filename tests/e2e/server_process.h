/* The demo server as a separate process, which can be killed and paused. */
#ifndef EVENER_TESTS_E2E_SERVER_PROCESS_H
#define EVENER_TESTS_E2E_SERVER_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

typedef struct server_process {
    pid_t pid; /* 0: not running */
    uint16_t port;
    const char *option; /* one of demo_server's, "--max-age-ms=2000", for each start; or NULL */
} server_process;

/* Start `demo_server PORT` and wait until it listens. Port 0: a free one, which stays reserved while the server is
 * down. The server ends with the caller's process. Return false with the reason on stderr if it does not start. */
int server_process_start(server_process *server, uint16_t port);

/* Send a signal: SIGKILL, SIGTERM, SIGSTOP, SIGCONT. */
void server_process_signal(const server_process *server, int signal);

/* Wait for the process to end after SIGKILL or SIGTERM. */
void server_process_wait(server_process *server);

/* Kill the process if it is running. */
void server_process_end(server_process *server);

#endif
