#include "tests/support/held_port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

int held_port(uint16_t *port)
{
    /* Two sockets with SO_REUSEADDR may share a port as long as at most one of them listens. The system does not
     * choose such a port for a socket that did not ask for it (socket(7), SO_REUSEADDR). */
    const int shared = 1;
    const int held = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    if (held < 0 || setsockopt(held, SOL_SOCKET, SO_REUSEADDR, &shared, sizeof shared) != 0 ||
        bind(held, (struct sockaddr *)&address, bytes) != 0 ||
        getsockname(held, (struct sockaddr *)&address, &bytes) != 0) {
        abort();
    }
    *port = ntohs(address.sin_port);
    return held;
}
