#include "bench/support/servers.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPTIONS_MAX 2

/* BENCH_DEMO_SERVER is the program's path, from the build. */
static bool spawn(bench_server *server, uint16_t port, const char *const options[OPTIONS_MAX], int output)
{
    char port_text[8];
    snprintf(port_text, sizeof port_text, "%u", (unsigned)port);
    char *arguments[OPTIONS_MAX + 3] = {(char *)"demo_server"};
    unsigned count = 1;
    for (unsigned i = 0; i < OPTIONS_MAX && options[i] != NULL; i++) {
        arguments[count++] = (char *)options[i];
    }
    arguments[count] = port_text;
    server->process = fork();
    if (server->process == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* no servers are left if the bench crashes */
        dup2(output, STDOUT_FILENO);
        execv(BENCH_DEMO_SERVER, arguments);
        perror(BENCH_DEMO_SERVER);
        _exit(127);
    }
    if (server->process < 0) {
        perror("bench: fork");
        server->process = 0;
    }
    return server->process != 0;
}

static bool start(bench_server *server, uint16_t port, const char *const options[OPTIONS_MAX])
{
    int ends[2];
    memset(server, 0, sizeof *server);
    if (pipe(ends) != 0) {
        perror("bench: pipe");
        return false;
    }
    bool ok = spawn(server, port, options, ends[1]);
    close(ends[1]);
    server->output = ends[0];
    char line[128] = "";
    size_t length = 0;
    while (ok && length < sizeof line - 1 && memchr(line, '\n', length) == NULL) {
        ssize_t bytes = read(ends[0], line + length, sizeof line - 1 - length);
        if (bytes > 0) {
            length += (size_t)bytes;
        } else if (bytes == 0 || errno != EINTR) {
            ok = false;
        }
    }
    unsigned listens = 0;
    if (!ok || sscanf(line, "listening on %*[^:]:%u", &listens) != 1) {
        fprintf(stderr, "bench: the server on port %u did not start\n", (unsigned)port);
        bench_server_signal(server, SIGKILL);
        return false;
    }
    server->port = (uint16_t)listens;
    return true;
}

bool bench_server_start(bench_server *server, uint16_t port, const char *option)
{
    return start(server, port, (const char *const[OPTIONS_MAX]){option});
}

bool bench_server_start_tls(bench_server *server, const char *certificate_file, const char *key_file)
{
    char certificate[512], key[512];
    snprintf(certificate, sizeof certificate, "--tls-certificate=%s", certificate_file);
    snprintf(key, sizeof key, "--tls-key=%s", key_file);
    return start(server, 0, (const char *const[OPTIONS_MAX]){certificate, key});
}

void bench_server_signal(bench_server *server, int signal)
{
    if (server->process <= 0) {
        return;
    }
    kill(server->process, signal);
    if (signal == SIGKILL || signal == SIGTERM) {
        while (waitpid(server->process, NULL, 0) < 0 && errno == EINTR) {
        }
        server->process = 0;
        close(server->output);
    }
}

void bench_servers_list(const bench_server *servers, unsigned count, char *text, unsigned text_bytes)
{
    unsigned length = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < count && length < text_bytes; i++) {
        length += (unsigned)snprintf(text + length, text_bytes - length, "%s127.0.0.1:%u", i > 0 ? "," : "",
                                     (unsigned)servers[i].port);
    }
}
