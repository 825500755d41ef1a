#include "tests/support/own_network.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static bool loopback_up(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const bool up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return up;
}

/* Bind a new file with this text over `path`. */
bool own_network_replace(const char *path, const char *text)
{
    char own[] = "/tmp/evener-own-XXXXXX";
    const int fd = mkstemp(own);
    const size_t bytes = strlen(text);
    if (fd < 0) {
        return false;
    }
    const bool written = write(fd, text, bytes) == (ssize_t)bytes && fchmod(fd, 0644) == 0;
    (void)close(fd);
    (void)umount2(path, MNT_DETACH); /* nothing can be bound over a file that has no name any more */
    const bool bound = written && mount(own, path, NULL, MS_BIND, NULL) == 0;
    (void)unlink(own);
    return bound;
}

bool own_network_enter(const char *resolv_conf, const char *hosts, const char *nsswitch)
{
    return unshare(CLONE_NEWNS | CLONE_NEWNET) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           loopback_up() && own_network_replace("/etc/resolv.conf", resolv_conf) &&
           own_network_replace("/etc/hosts", hosts) && own_network_replace("/etc/nsswitch.conf", nsswitch);
}

void own_network_getent(const char *database, const char *name, char *text, unsigned bytes)
{
    char command[400];
    char line[512];
    text[0] = '\0';
    (void)snprintf(command, sizeof command, "getent %s '%s'", database, name);
    FILE *pipe = popen(command, "r");
    while (pipe != NULL && fgets(line, sizeof line, pipe) != NULL) {
        line[strcspn(line, " \t\n")] = '\0';
        if (strstr(text, line) == NULL) {
            const size_t used = strlen(text);
            (void)snprintf(text + used, bytes - used, "%s%s", used > 0 ? "," : "", line);
        }
    }
    if (pipe != NULL) {
        (void)pclose(pipe);
    }
}
