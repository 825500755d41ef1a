/* Credentials, as the gRPC transport sees them. */
#ifndef EVENER_LB_CREDENTIALS_H
#define EVENER_LB_CREDENTIALS_H

#include <evener/credentials.h>

/* Another reference to the same credentials, to be given back with evener_credentials_destroy(). Any thread. */
evener_credentials *evener_credentials_ref(const evener_credentials *credentials);

/* The core's handle; borrowed. */
struct grpc_channel_credentials *evener_credentials_core(const evener_credentials *credentials);

#endif
