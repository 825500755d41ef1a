/* A scripted server and the connection to it: what the suites over raw frames begin with. One scene per program. */
#ifndef TESTS_HTTP2_RAW_SCENE_H
#define TESTS_HTTP2_RAW_SCENE_H

#include <stddef.h>
#include <stdint.h>

#include "http2/fixture.h"
#include "http2/raw_server.h"

#define HELLO .request = "hello", .request_bytes = 5

extern h2_fixture fixture;
extern raw_server server;
extern raw_peer raw;    /* the server's side of the connection */
extern h2_peer *peer;   /* the client's side */
extern raw_frame frame; /* the last one read */

/* Open the transport and the server; the `init` of a suite. */
void raw_scene_open(void);
/* Close both, and the connection; the `fini` of a suite. */
void raw_scene_close(void);

/* Connect with `settings` (id, value pairs) of the server, until READY. */
void raw_scene_connect_with(const uint32_t (*settings)[2], size_t count);
void raw_scene_connect(void);

#endif
