/* Credentials in the core's form. */
#ifndef EVENER_LB_TRANSPORT_GRPC_CREDENTIALS_H
#define EVENER_LB_TRANSPORT_GRPC_CREDENTIALS_H

#include <stdbool.h>

#include <grpc/grpc.h>

#include <evener/credentials.h>

/* The name under which the core's own credentials are known (evener_credentials_foreign()). */
#define EVENER_GRPC_TRANSPORT_NAME "grpc"

typedef struct evener_grpc_credentials {
    evener_credentials *handle; /* a reference */
    grpc_channel_credentials *core;
    bool is_own; /* `core` is owned; otherwise it is the handle's */
} evener_grpc_credentials;

/* Convert to the core's form; take a reference. Errors: INVALID_ARGUMENT (the core refuses them, or they are another
 * transport's). Any thread. */
evener_status_code evener_grpc_credentials_make(const evener_credentials *credentials, evener_grpc_credentials *made,
                                                evener_status *status);
void evener_grpc_credentials_clear(evener_grpc_credentials *credentials);

#endif
