/* Real servers in this process and a channel over the gRPC transport to them. */
#ifndef TESTS_GRPC_CALL_FIXTURE_H
#define TESTS_GRPC_CALL_FIXTURE_H

#include <evener/evener.h>

#include "demo_server/server.h"

#define CALL_FIXTURE_SERVERS_MAX 4
#define ECHO_UNARY "/evener.demo.Echo/Unary"
#define ECHO_STREAM "/evener.demo.Echo/Stream"

typedef struct call_fixture {
    size_t server_count;
    demo_server *servers[CALL_FIXTURE_SERVERS_MAX];
    evener_credentials *insecure;
    evener_runtime *runtime;
    evener_channel *channel;
} call_fixture;

/* Start the servers and open a round_robin channel to them (none for no servers). Abort the test program on
 * failure. */
void call_fixture_open(call_fixture *fixture, size_t server_count, const demo_server_options *server_options);
/* Return whether the environment has EVENER_TEST_CALL_THREADS: then channels have callbacks_on_call_threads. */
bool call_fixture_has_call_threads(void);
/* Open another channel of the fixture's runtime; the caller's to give back. */
evener_channel *call_fixture_channel(const call_fixture *fixture, const char *target);
/* End all and check that nothing of it is left running. */
void call_fixture_close(call_fixture *fixture);

/* Return a message that points at the caller's text. */
evener_bytes bytes_of(const char *text);
bool bytes_equal(const evener_bytes *bytes, const char *text);

#endif
