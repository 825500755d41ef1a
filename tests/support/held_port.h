/* Ports that stay reserved for a test while nothing listens on them. Otherwise the port of a stopped server may go
 * to the server of another test that runs at the same time, and a connection that should be refused is accepted. */
#ifndef TESTS_SUPPORT_HELD_PORT_H
#define TESTS_SUPPORT_HELD_PORT_H

#include <stdint.h>

/* Reserve a free port of 127.0.0.1 until the returned socket is closed. Connections to it are refused, and the
 * system gives it only to sockets that ask for it. A server that sets SO_REUSEADDR, as the core's servers do, can be
 * started and stopped on it. Aborts the test program if there is no free port. */
int held_port(uint16_t *port);

#endif
