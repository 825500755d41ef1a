#include "tests/e2e/server_process.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/held_port.h"

#ifndef DEMO_SERVER_PROGRAM
#error "define DEMO_SERVER_PROGRAM as the path of the demo server"
#endif

int server_process_start(server_process *server, uint16_t port)
{
    int lines[2];
    if (port == 0) {
        (void)held_port(&port); /* held for the life of this process */
    }
    if (pipe(lines) != 0) {
        perror("server process: pipe");
        return 0;
    }
    char text[8];
    snprintf(text, sizeof text, "%u", port);
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(1);
        }
        dup2(lines[1], STDOUT_FILENO);
        close(lines[0]);
        close(lines[1]);
        const char *const first = server->option != NULL ? server->option : text;
        execl(DEMO_SERVER_PROGRAM, DEMO_SERVER_PROGRAM, first, server->option != NULL ? text : (char *)NULL,
              (char *)NULL);
        perror("server process: " DEMO_SERVER_PROGRAM);
        _exit(1);
    }
    close(lines[1]);
    FILE *output = fdopen(lines[0], "r");
    char line[256] = "";
    unsigned listening = 0;
    while (pid > 0 && listening == 0 && fgets(line, sizeof line, output) != NULL) {
        const char *colon = strrchr(line, ':');
        if (strncmp(line, "listening on ", 13) == 0 && colon != NULL) {
            listening = (unsigned)strtoul(colon + 1, NULL, 10);
        }
    }
    fclose(output); /* safe: the server writes no more, so it gets no SIGPIPE */
    server->pid = pid > 0 ? pid : 0;
    server->port = (uint16_t)listening;
    if (listening == 0) {
        fprintf(stderr, "server process: did not listen on port %u: %s\n", port, line);
        server_process_end(server);
    }
    return listening != 0;
}

void server_process_signal(const server_process *server, int signal)
{
    if (server->pid > 0) {
        kill(server->pid, signal);
    }
}

void server_process_wait(server_process *server)
{
    if (server->pid > 0) {
        waitpid(server->pid, NULL, 0);
        server->pid = 0;
    }
}

void server_process_end(server_process *server)
{
    server_process_signal(server, SIGKILL);
    server_process_wait(server);
}
