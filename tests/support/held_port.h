/* Ports that stay a test's own while nobody listens on them. A port that a stopped server gave back may be given to the
 * server of a test beside it: what was to be refused then gets an answer. */
#ifndef TESTS_SUPPORT_HELD_PORT_H
#define TESTS_SUPPORT_HELD_PORT_H

#include <stdint.h>

/* Takes a free port of 127.0.0.1, which is nobody else's until the socket that this returns is closed: connections to it are
 * refused, and only who asks for that very port gets it. So a server that sets SO_REUSEADDR, as the core's do, may be
 * started and stopped there. Aborts the test program when there is none. */
int held_port(uint16_t *port);

#endif
