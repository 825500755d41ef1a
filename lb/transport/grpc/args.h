/* The arguments of the core's channels: the target of one address and the arguments of one connection. */
#ifndef EVENER_LB_TRANSPORT_GRPC_ARGS_H
#define EVENER_LB_TRANSPORT_GRPC_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include <grpc/grpc.h>

#include <evener/address.h>

#include "lb/transport/grpc/transport.h"

/* The arguments that all connections of one transport have in common. The members are private to args.c. */
typedef struct evener_grpc_args {
    grpc_arg *items; /* owned: the user's, then our own */
    size_t count;
    char *proxy_exceptions; /* owned: of the environment at creation; NULL: none */
} evener_grpc_args;

/* Copy what the options hold. Errors: RESOURCE_EXHAUSTED, INVALID_ARGUMENT (an argument without a key). Any thread. */
evener_status_code evener_grpc_args_create(const evener_transport_args *options, evener_grpc_args *args,
                                           evener_status *status);
void evener_grpc_args_clear(evener_grpc_args *args);
bool evener_grpc_args_has(const evener_grpc_args *args, const char *key);

/* Make a channel of the core for one connection; NULL if out of memory. `address` is the text of the backend's address,
 * which the exceptions of the environment's proxy may list. Any thread. */
grpc_channel *evener_grpc_args_create_channel(const evener_grpc_args *args, const char *target, const char *address,
                                              const char *authority, uint64_t timeout_ms,
                                              grpc_channel_credentials *credentials);

/* Return a target for the core that names exactly this address. To be freed; NULL if out of memory. Any thread. */
char *evener_grpc_target_of(const evener_address *address);

/* Return the backend as evener_call_details.peer names it: "ipv4:" or "ipv6:" and the address, or the address of a unix
 * socket. To be freed; NULL if out of memory. Any thread. */
char *evener_grpc_peer_of(const evener_address *address);

#endif
