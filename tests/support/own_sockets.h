/* The connections of this program's own servers and clients, by asking its sockets: the kernel's tables come in pieces, and
 * miss or repeat one while other programs open and close theirs. */
#ifndef EVENER_TESTS_SUPPORT_OWN_SOCKETS_H
#define EVENER_TESTS_SUPPORT_OWN_SOCKETS_H

#include <stddef.h>
#include <stdint.h>

typedef struct own_sockets {
    unsigned clients, servers; /* connected sockets: to, and of, a server at one of the ports */
} own_sockets;

own_sockets own_sockets_count(const uint16_t *ports, size_t count);

/* Return how many descriptors are open whose name in /proc/self/fd begins so: "socket:", "anon_inode:[eventfd]". */
unsigned own_descriptors_count(const char *kind);

#endif
