#include "tests/support/own_sockets.h"

#include <dirent.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static uint16_t port_of(const struct sockaddr_storage *address)
{
    switch (address->ss_family) {
    case AF_INET:
        return ntohs(((const struct sockaddr_in *)address)->sin_port);
    case AF_INET6:
        return ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
    default:
        return 0;
    }
}

static bool is_one_of(const uint16_t *ports, size_t count, uint16_t port)
{
    for (size_t i = 0; i < count; i++) {
        if (ports[i] == port) {
            return true;
        }
    }
    return false;
}

own_sockets own_sockets_count(const uint16_t *ports, size_t count)
{
    own_sockets found = {0, 0};
    DIR *descriptors = opendir("/proc/self/fd");
    if (descriptors == NULL) {
        abort();
    }
    for (const struct dirent *entry = readdir(descriptors); entry != NULL; entry = readdir(descriptors)) {
        const int fd = atoi(entry->d_name);
        struct sockaddr_storage own = {.ss_family = AF_UNSPEC}, peer = {.ss_family = AF_UNSPEC};
        socklen_t own_bytes = sizeof own, peer_bytes = sizeof peer;
        if (getsockname(fd, (struct sockaddr *)&own, &own_bytes) == 0 &&
            getpeername(fd, (struct sockaddr *)&peer, &peer_bytes) == 0) {
            found.servers += is_one_of(ports, count, port_of(&own));
            found.clients += is_one_of(ports, count, port_of(&peer));
        }
    }
    (void)closedir(descriptors);
    return found;
}

unsigned own_descriptors_count(const char *kind)
{
    unsigned found = 0;
    DIR *descriptors = opendir("/proc/self/fd");
    if (descriptors == NULL) {
        abort();
    }
    for (const struct dirent *entry = readdir(descriptors); entry != NULL; entry = readdir(descriptors)) {
        char what[64] = "";
        found += readlinkat(dirfd(descriptors), entry->d_name, what, sizeof what - 1) > 0 &&
                 strncmp(what, kind, strlen(kind)) == 0;
    }
    (void)closedir(descriptors);
    return found;
}
