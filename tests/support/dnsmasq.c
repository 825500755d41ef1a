#include "tests/support/dnsmasq.h"

#include <arpa/inet.h>
#include <assert.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM "/usr/sbin/dnsmasq"
#define START_MS_MAX 5000

struct dnsmasq {
    pid_t process; /* 0: not running */
    uint16_t port;
    uint32_t ttl_s;
    char hosts[64];
};

bool dnsmasq_is_installed(void)
{
    return access(PROGRAM, X_OK) == 0;
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* Return a port that is free now. If another program takes it before dnsmasq does, dnsmasq fails to start and the
 * next port is tried. */
static uint16_t free_port(void)
{
    struct sockaddr_in address = loopback(0);
    socklen_t bytes = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    assert(getsockname(fd, (struct sockaddr *)&address, &bytes) == 0);
    (void)close(fd);
    return ntohs(address.sin_port);
}

static bool answers(uint16_t port)
{
    const struct sockaddr_in address = loopback(port);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool connected = fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    (void)close(fd);
    return connected;
}

static void run(const dnsmasq *server)
{
    char port[32], hosts[96], ttl[32], user[64];
    const struct passwd *self = getpwuid(getuid());
    (void)snprintf(port, sizeof port, "--port=%u", server->port);
    (void)snprintf(hosts, sizeof hosts, "--addn-hosts=%s", server->hosts);
    (void)snprintf(ttl, sizeof ttl, "--local-ttl=%u", server->ttl_s);
    (void)snprintf(user, sizeof user, "--user=%.50s", self != NULL ? self->pw_name : "root");
    const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    (void)dup2(nothing, STDOUT_FILENO);
    (void)dup2(nothing, STDERR_FILENO);
    (void)execl(PROGRAM, PROGRAM, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                "--listen-address=127.0.0.1", "--bind-interfaces", "--local=/test/", "--pid-file=", port, hosts, ttl,
                user, (char *)NULL);
    _exit(127);
}

bool dnsmasq_start(dnsmasq *server)
{
    server->process = fork();
    if (server->process == 0) {
        run(server);
    }
    for (int waited_ms = 0; server->process > 0 && waited_ms < START_MS_MAX; waited_ms += 10) {
        if (waitpid(server->process, NULL, WNOHANG) == server->process) {
            server->process = 0;
            return false;
        }
        if (answers(server->port)) {
            return true;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    dnsmasq_kill(server);
    return false;
}

void dnsmasq_kill(dnsmasq *server)
{
    if (server->process > 0) {
        (void)kill(server->process, SIGKILL);
        (void)waitpid(server->process, NULL, 0);
    }
    server->process = 0;
}

static void write_hosts(const dnsmasq *server, const char *hosts)
{
    FILE *file = fopen(server->hosts, "w");
    assert(file != NULL && fputs(hosts, file) >= 0 && fclose(file) == 0);
}

void dnsmasq_set_hosts(dnsmasq *server, const char *hosts)
{
    write_hosts(server, hosts);
    if (server->process > 0) {
        (void)kill(server->process, SIGHUP);
    }
}

dnsmasq *dnsmasq_create(const char *hosts, uint32_t ttl_s)
{
    dnsmasq *server = calloc(1, sizeof *server);
    assert(server != NULL);
    server->ttl_s = ttl_s;
    (void)snprintf(server->hosts, sizeof server->hosts, "/tmp/evener-dnsmasq-XXXXXX");
    const int fd = mkstemp(server->hosts);
    assert(fd >= 0 && fchmod(fd, 0644) == 0);
    (void)close(fd);
    write_hosts(server, hosts);
    for (int tries = 0; tries < 10; tries++) {
        server->port = free_port();
        if (dnsmasq_start(server)) {
            return server;
        }
    }
    dnsmasq_destroy(server);
    return NULL;
}

void dnsmasq_destroy(dnsmasq *server)
{
    if (server == NULL) {
        return;
    }
    dnsmasq_kill(server);
    (void)unlink(server->hosts);
    free(server);
}

uint16_t dnsmasq_port(const dnsmasq *server)
{
    return server->port;
}
