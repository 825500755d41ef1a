/* A channel of evener as a client that can be compared with the plain core's (bench/rpc/client.h): same method, same
 * message, asynchronous calls. The channel is the test's own, with whatever resolver and policy. */
#ifndef TESTS_SUPPORT_CHANNEL_CLIENT_H
#define TESTS_SUPPORT_CHANNEL_CLIENT_H

#include <stdint.h>

#include <evener/evener.h>

#include "bench/rpc/client.h"

/* Open it on a channel, of which it holds a reference until its close(). `call` and `calls_to` are not there. */
bench_client *channel_client_open(evener_channel *channel, uint64_t timeout_ms);

/* "CODE: message" of the last call that failed; "" if none has. Valid until the next call of this function. One
 * thread. */
const char *channel_client_last_failure(bench_client *client);

#endif
