/* A scripted server that refuses one stream in `refused_every` with REFUSED_STREAM, which says nothing of its connection
 * (RFC 9113 section 8.7), and answers all others with an empty message. */
#ifndef TESTS_SUPPORT_REFUSING_SERVER_H
#define TESTS_SUPPORT_REFUSING_SERVER_H

#include "tests/support/h2_script_server.h"

/* Start one, to be stopped by h2_script_server_stop(). One at a time per process that refuses. `refused_every` 0: it
 * refuses nothing. */
h2_script_server *refusing_server_start(uint64_t refused_every);

#endif
