/* A client of the plain gRPC core with its own policies, to compare evener with. */
#ifndef TESTS_GRPC_CORE_CLIENT_H
#define TESTS_GRPC_CORE_CLIENT_H

#include "tests/grpc/call_load.h"

typedef struct core_client core_client;

/* `target` in the core's spelling: "ipv4:127.0.0.1:1,127.0.0.1:2". Ends the process when it cannot start. */
core_client *core_client_create(const char *target, const char *policy);
/* call_load's start_call; load->client is the client. */
void core_client_start_call(call_load *load);
/* Destroy the client, when no call is in flight. */
void core_client_destroy(core_client *client);

#endif
